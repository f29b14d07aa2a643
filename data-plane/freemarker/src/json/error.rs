//! What is wrong with a text.

use std::fmt;

/// A text that is no JSON, or is nested too deeply.
///
/// ```
/// use sluice_freemarker::json::Document;
///
/// let error = Document::parse(b"[1, oops]", 8).unwrap_err();
/// assert_eq!(error.offset(), 4);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    pub(super) message: String,
    pub(super) offset: usize,
    /// It is long, and not wrong.
    pub(super) is_limit: bool,
}

impl JsonError {
    pub(crate) fn is_limit(&self) -> bool {
        self.is_limit
    }

    /// Where the text went wrong, in bytes from its start.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.message, self.offset)
    }
}

impl std::error::Error for JsonError {}
