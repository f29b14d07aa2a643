//! What is wrong with a sync, for people and programs.

use std::fmt;

use sluice_proto::sync::v1;

/// One thing that is wrong with a sync, a template or its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field from the `Sync` message down, such as `destination.headers[2].name`.
    pub field: String,
    /// The same as `description` for programs: one of [`reason`].
    pub reason: &'static str,
    /// What is wrong and what would be right. Never holds a secret.
    pub description: String,
    /// Where in a template; `None` for other fields.
    pub position: Option<Position>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.description)?;
        match &self.position {
            Some(position) => write!(f, " (line {}, column {})", position.line, position.column),
            None => Ok(()),
        }
    }
}

impl From<Violation> for v1::Violation {
    fn from(violation: Violation) -> Self {
        Self {
            field: violation.field,
            description: violation.description,
            reason: violation.reason.to_owned(),
            position: violation.position.map(Into::into),
        }
    }
}

impl From<&Violation> for v1::Violation {
    fn from(violation: &Violation) -> Self {
        violation.clone().into()
    }
}

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The text of that line. Of a line of more than 240 characters only the part around the column, marked by `…` where it
    /// was cut.
    pub source_line: String,
}

impl Position {
    /// The place at `line` and `column` (both from 1), where the text of the line is `source_line`.
    #[must_use]
    pub fn new(line: u32, column: u32, source_line: &str) -> Self {
        Self { line, column, source_line: window(source_line, column as usize) }
    }

    /// Where a template went wrong; `None` if the error is about no place in it.
    #[must_use]
    pub fn of(error: &sluice_freemarker::Error) -> Option<Self> {
        let source_line = error.source_line()?;
        Some(Self::new(error.line(), error.column(), source_line))
    }
}

/// Violations travel in the trailers of an answer, which have little room.
fn window(line: &str, column: usize) -> String {
    const WIDTH: usize = 240;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.chars().nth(WIDTH).is_none() {
        return line.to_owned();
    }
    let start = column.saturating_sub(WIDTH / 2);
    let part = line.chars().skip(start).take(WIDTH);
    let (before, after) = (if start > 0 { "…" } else { "" }, line.chars().nth(start + WIDTH).map_or("", |_| "…"));
    before.chars().chain(part).chain(after.chars()).collect()
}

impl From<Position> for v1::SourcePosition {
    fn from(position: Position) -> Self {
        Self { line: position.line, column: position.column, source_line: position.source_line }
    }
}

/// The values of [`Violation::reason`]. They are part of the API: a value is never changed, only added.
pub mod reason {
    /// A field that must be set is empty.
    pub const REQUIRED: &str = "REQUIRED";
    /// Longer than the field may be.
    pub const TOO_LONG: &str = "TOO_LONG";
    /// More elements than the field may hold.
    pub const TOO_MANY: &str = "TOO_MANY";
    /// Outside the bounds of the field.
    pub const OUT_OF_RANGE: &str = "OUT_OF_RANGE";
    /// Not of the form `projects/{project}/syncs/{sync}`.
    pub const INVALID_NAME: &str = "INVALID_NAME";
    /// A text with characters that the field does not take.
    pub const INVALID_TEXT: &str = "INVALID_TEXT";
    /// Not an absolute URL that a webhook can be sent to.
    pub const INVALID_URL: &str = "INVALID_URL";
    /// A scheme other than `https` (or `http`, where the operator allows it).
    pub const SCHEME_NOT_ALLOWED: &str = "SCHEME_NOT_ALLOWED";
    /// The URL names an address that webhooks may not reach.
    pub const ADDRESS_NOT_ALLOWED: &str = "ADDRESS_NOT_ALLOWED";
    /// The URL names a port that webhooks may not go to.
    pub const PORT_NOT_ALLOWED: &str = "PORT_NOT_ALLOWED";
    /// Not PEM, or not a certificate that can be trusted.
    pub const INVALID_CERTIFICATE: &str = "INVALID_CERTIFICATE";
    /// The header's name is not a token (RFC 9110 §5.6.2).
    pub const INVALID_HEADER_NAME: &str = "INVALID_HEADER_NAME";
    /// The header's value holds characters that headers may not hold.
    pub const INVALID_HEADER_VALUE: &str = "INVALID_HEADER_VALUE";
    /// The header is set by Sluice or belongs to the connection.
    pub const RESERVED_HEADER: &str = "RESERVED_HEADER";
    /// The header is there twice.
    pub const DUPLICATE_HEADER: &str = "DUPLICATE_HEADER";
    /// Not a media type.
    pub const INVALID_MEDIA_TYPE: &str = "INVALID_MEDIA_TYPE";
    /// The offsets do not ascend.
    pub const NOT_ASCENDING: &str = "NOT_ASCENDING";
    /// A choice that this version does not know.
    pub const UNKNOWN_VARIANT: &str = "UNKNOWN_VARIANT";
    /// A value that makes no sense with the operator.
    pub const INVALID_VALUE: &str = "INVALID_VALUE";
    /// The sync needs a feature that this version does not have.
    pub const UNKNOWN_FEATURE: &str = "UNKNOWN_FEATURE";
    /// The template cannot be parsed.
    pub const INVALID_TEMPLATE: &str = "INVALID_TEMPLATE";
    /// The template failed on an event.
    pub const RENDER_FAILED: &str = "RENDER_FAILED";
    /// The template's output is not JSON, although the content type is a JSON type.
    pub const OUTPUT_NOT_JSON: &str = "OUTPUT_NOT_JSON";
}

/// So many violations are told at most; who has more has other things to do than to read them.
const MAX_VIOLATIONS: usize = 100;

/// Collects violations while a sync is compiled.
#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<Violation>);

impl Violations {
    pub(crate) fn add(&mut self, field: impl Into<String>, reason: &'static str, description: impl Into<String>) {
        self.push(Violation { field: field.into(), reason, description: description.into(), position: None });
    }

    pub(crate) fn push(&mut self, violation: Violation) {
        if self.0.len() < MAX_VIOLATIONS {
            self.0.push(violation);
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Violation> {
        self.0
    }
}

/// At most `max` characters of `text` for a message, what was cut off marked by `…`, control characters escaped.
pub(crate) fn shown(text: &str, max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(max));
    for (count, c) in text.chars().enumerate() {
        if count == max {
            shown.push('…');
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_travels_as_proto_with_its_place() {
        let violation = Violation {
            field: "events.template.source".into(),
            reason: reason::INVALID_TEMPLATE,
            description: "unclosed `<#if>`".into(),
            position: Some(Position { line: 2, column: 5, source_line: "a <#if x>".into() }),
        };
        assert_eq!(violation.to_string(), "events.template.source: unclosed `<#if>` (line 2, column 5)");
        let proto = v1::Violation::from(&violation);
        assert_eq!(proto.reason, "INVALID_TEMPLATE");
        assert_eq!(proto.position.unwrap().source_line, "a <#if x>");
    }

    #[test]
    fn of_long_lines_the_part_around_the_column_is_shown() {
        assert_eq!(Position::new(1, 2, "short\n").source_line, "short");
        let line = format!("{}X{}", "a".repeat(999), "b".repeat(999));
        let shown = Position::new(1, 1000, &line).source_line;
        assert_eq!(shown.chars().count(), 242);
        assert!(shown.starts_with("…a") && shown.contains("aXb") && shown.ends_with("b…"), "{shown}");
        let shown = Position::new(1, 1, &line).source_line;
        assert!(shown.starts_with("aaa") && shown.ends_with("a…"), "{shown}");
    }

    #[test]
    fn texts_in_messages_are_short_and_printable() {
        assert_eq!(shown("abc", 3), "abc");
        assert_eq!(shown("abcd", 3), "abc…");
        assert_eq!(shown("a\nb", 9), "a\\nb");
    }
}
