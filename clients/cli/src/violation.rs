//! Violations as they are printed: field, description, and for templates the line with a caret.

use std::fmt;

use prost::Message;
use sluice_client::proto::sync::v1::{SourcePosition, TemplateWarning, Violation};
use tonic::Status;
use tonic_types::StatusExt;

/// Type of the details that hold a violation with its place in the template.
const VIOLATION_TYPE: &str = "sluice.sync.v1.Violation";

/// A violation, ready to be printed.
#[derive(Debug)]
pub(crate) struct Shown(pub(crate) Violation);

impl Shown {
    /// A trap in a template, with what to write instead.
    pub(crate) fn warning(warning: &TemplateWarning) -> Self {
        let TemplateWarning { rule, message, remedy, position } = warning;
        Self(Violation {
            field: "events.template.source".to_owned(),
            description: format!("{message}; {remedy}"),
            reason: rule.clone(),
            position: position.clone(),
        })
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { field, description, position, .. } = &self.0;
        if !field.is_empty() {
            write!(f, "{field}: ")?;
        }
        // A description may show the line of a template itself.
        let mut lines = description.trim_end().lines();
        f.write_str(lines.next().unwrap_or_default())?;
        lines.try_for_each(|line| write!(f, "\n    {line}"))?;
        match position {
            Some(position) => write!(f, "\n{}", excerpt(position)),
            None => Ok(()),
        }
    }
}

/// The violations that a status carries, with their places in templates where the server gave them.
pub(crate) fn of_status(status: &Status) -> Vec<Shown> {
    let details = tonic_types::Status::decode(status.details()).unwrap_or_default().details;
    let placed: Vec<Shown> = details
        .iter()
        .filter(|detail| detail.type_url.rsplit('/').next() == Some(VIOLATION_TYPE))
        .filter_map(|detail| Violation::decode(detail.value.as_ref()).ok())
        .map(Shown)
        .collect();
    if !placed.is_empty() {
        return placed;
    }
    let bad_request = status.get_details_bad_request();
    bad_request
        .into_iter()
        .flat_map(|bad_request| bad_request.field_violations)
        .map(|violation| {
            Shown(Violation {
                field: violation.field,
                description: violation.description,
                reason: violation.reason,
                position: None,
            })
        })
        .collect()
}

/// Where the place stands in a long line of which only a piece is given: the piece then begins with `…`.
const PLACE_IN_PIECE: usize = 120;

/// The line of the source with a caret under the column:
/// ```text
///   --> line 2, column 9
///    |
///  2 |   <#if input.>
///    |            ^
/// ```
fn excerpt(position: &SourcePosition) -> String {
    let SourcePosition { line, column, source_line } = position;
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let mut expanded = String::new();
    let mut width = 0_usize;
    for character in source_line.trim_end().chars() {
        // A tab counts to the next multiple of eight, as in the column.
        let step = if character == '\t' { 8 - width % 8 } else { 1 };
        width += step;
        match character {
            '\t' => expanded.extend(std::iter::repeat_n(' ', step)),
            character if character.is_control() => expanded.push('\u{fffd}'),
            character => expanded.push(character),
        }
    }
    let before = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
    let caret = " ".repeat(if source_line.starts_with('…') { before.min(PLACE_IN_PIECE) } else { before.min(width) });
    format!("{margin}--> line {line}, column {column}\n{margin} |\n{number} | {expanded}\n{margin} | {caret}^")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(position: Option<SourcePosition>) -> Shown {
        let (field, description) = ("events.template.source".to_owned(), "unexpected `>`".to_owned());
        Shown(Violation { field, description, reason: String::new(), position })
    }

    #[test]
    fn a_template_error_shows_the_line_with_a_caret() {
        let position = SourcePosition { line: 12, column: 13, source_line: "\t<#if >\r".into() };
        assert_eq!(
            violation(Some(position)).to_string(),
            "events.template.source: unexpected `>`\n  --> line 12, column 13\n   |\n12 |         <#if >\n   |             ^"
        );
        assert_eq!(violation(None).to_string(), "events.template.source: unexpected `>`");
    }

    #[test]
    fn a_caret_past_the_end_stays_at_the_end() {
        let position = SourcePosition { line: 1, column: 99, source_line: "ab".into() };
        assert!(violation(Some(position)).to_string().ends_with("\n  |   ^"));
    }

    #[test]
    fn violations_of_a_bad_request_are_all_found() {
        let details = tonic_types::ErrorDetails::with_bad_request_violation("destination.url", "is missing");
        let status = Status::with_error_details(tonic::Code::InvalidArgument, "the sync is invalid", details);
        let shown: Vec<_> = of_status(&status).iter().map(Shown::to_string).collect();
        assert_eq!(shown, ["destination.url: is missing"]);
        assert!(of_status(&Status::not_found("x")).is_empty());
    }
}
