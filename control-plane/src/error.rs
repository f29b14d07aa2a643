//! What can go wrong in a call, and the one place that makes a gRPC status of it.

use sluice_access::Refusal;
use sluice_pipeline::violation::{Violation, reason};
use sluice_proto::sync::v1 as sync;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::{session::PROTOCOL_VERSIONS, store::StoreError};

/// `ErrorInfo.domain` of every error.
pub(crate) const DOMAIN: &str = "sluice.dev";

/// Details travel in trailers, for which clients have 16 KiB: so many bytes of violations are told, and the rest counted.
const DETAIL_BYTES: usize = 6 * 1024;
const MESSAGE_BYTES: usize = 1024;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Arguments that cannot be right whatever is stored; every violation at once, never empty.
    #[error("{} arguments are invalid", .0.len())]
    Invalid(Vec<Violation>),
    /// There is nothing with that name.
    #[error("there is no {kind} {name}{hint}")]
    NotFound {
        /// What it would be: project, sync, node or dead letter.
        kind: &'static str,
        /// Its resource name.
        name: String,
        /// What to do, beginning with `: `, or empty.
        hint: &'static str,
    },
    /// There is one with that name.
    #[error("there is a {kind} {name} already: choose another id, or update that one")]
    AlreadyExists {
        /// What it is: project, sync or key.
        kind: &'static str,
        /// Its resource name.
        name: String,
    },
    /// A project has as many of something as it may have.
    #[error("{subject} has {max} {what}, the most that it may have: {remedy}")]
    QuotaExceeded {
        /// Whose quota it is, a resource name.
        subject: String,
        /// Of what.
        what: &'static str,
        /// The quota.
        max: usize,
        /// What to do.
        remedy: &'static str,
    },
    /// The resource has changed since the caller read it.
    #[error("the {kind} {name} has changed since it was read: read it again and repeat the change")]
    StaleEtag {
        /// What it is.
        kind: &'static str,
        /// Its resource name.
        name: String,
    },
    /// There is no node to do it.
    #[error("no node is connected: start one, or see `sluice nodes list`")]
    NoNode,
    /// The node that the call is about gave no answer.
    #[error("{name} gave no answer: {reason}")]
    NodeUnreachable {
        /// Its resource name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A node speaks a version of the session protocol that this control plane does not take.
    #[error(
        "the node speaks version {found} of the session protocol, this control plane takes {} to {}: upgrade the older \
         of the two, control planes first",
        PROTOCOL_VERSIONS.start(),
        PROTOCOL_VERSIONS.end()
    )]
    ProtocolVersion {
        /// What it speaks.
        found: u32,
    },
    /// A stream that does not keep to its protocol.
    #[error("{0}")]
    Protocol(&'static str),
    /// A stream on which nothing came in time.
    #[error("nothing was heard for {seconds} s")]
    Silent {
        /// The bound.
        seconds: u64,
    },
    /// A newer stream of the same node has taken over.
    #[error("a newer session of this node has begun")]
    Replaced,
    /// The caller may not do that.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The process ends.
    #[error("the control plane is stopping: try again")]
    Stopping,
    /// The store failed; the cause is for the log.
    #[error("the control plane's store failed: its log says why")]
    Store(#[from] StoreError),
}

impl Error {
    /// A single invalid argument.
    pub(crate) fn invalid(field: impl Into<String>, reason: &'static str, description: impl Into<String>) -> Self {
        Self::Invalid(vec![violation(field, reason, description)])
    }

    /// A name that is not of the right form, in `field`.
    pub(crate) fn name(field: &str, invalid: &sluice_proto::name::InvalidName) -> Self {
        Self::invalid(field, reason::INVALID_NAME, shorten(&invalid.to_string(), 300))
    }

    /// The project's quota of syncs is used up.
    pub(crate) fn too_many_syncs(project: &str, max: usize) -> Self {
        Self::QuotaExceeded {
            subject: format!("projects/{project}"),
            what: "syncs",
            max,
            remedy: "delete some, or start the control plane with a higher --max-syncs-per-project",
        }
    }

    fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::Invalid(_) => (Code::InvalidArgument, "INVALID_ARGUMENT"),
            Self::NotFound { kind: "project", .. } => (Code::NotFound, "PROJECT_NOT_FOUND"),
            Self::NotFound { kind: "node", .. } => (Code::NotFound, "NODE_NOT_FOUND"),
            Self::NotFound { kind: "dead letter", .. } => (Code::NotFound, "DEAD_LETTER_NOT_FOUND"),
            Self::NotFound { kind: "alert rule", .. } => (Code::NotFound, "ALERT_RULE_NOT_FOUND"),
            Self::NotFound { kind: "key", .. } => (Code::NotFound, "KEY_NOT_FOUND"),
            Self::NotFound { .. } => (Code::NotFound, "SYNC_NOT_FOUND"),
            Self::NoNode => (Code::Unavailable, "NO_NODE_CONNECTED"),
            Self::NodeUnreachable { .. } => (Code::Unavailable, "NODE_UNREACHABLE"),
            Self::AlreadyExists { kind: "project", .. } => (Code::AlreadyExists, "PROJECT_ALREADY_EXISTS"),
            Self::AlreadyExists { kind: "alert rule", .. } => (Code::AlreadyExists, "ALERT_RULE_ALREADY_EXISTS"),
            Self::AlreadyExists { kind: "key", .. } => (Code::AlreadyExists, "KEY_ALREADY_EXISTS"),
            Self::AlreadyExists { .. } => (Code::AlreadyExists, "SYNC_ALREADY_EXISTS"),
            Self::QuotaExceeded { .. } => (Code::ResourceExhausted, "QUOTA_EXCEEDED"),
            Self::StaleEtag { .. } => (Code::Aborted, "ETAG_MISMATCH"),
            Self::ProtocolVersion { .. } => (Code::FailedPrecondition, "PROTOCOL_VERSION_UNSUPPORTED"),
            Self::Protocol(_) => (Code::InvalidArgument, "PROTOCOL_VIOLATION"),
            Self::Silent { .. } => (Code::DeadlineExceeded, "STREAM_SILENT"),
            Self::Replaced => (Code::Aborted, "SESSION_REPLACED"),
            // The refusal's own status is given instead.
            Self::Refused(_) => (Code::PermissionDenied, "PERMISSION_DENIED"),
            Self::Stopping => (Code::Unavailable, "STOPPING"),
            Self::Store(_) => (Code::Internal, "STORE_FAILED"),
        }
    }
}

/// A violation without a place in a template.
pub(crate) fn violation(field: impl Into<String>, reason: &'static str, description: impl Into<String>) -> Violation {
    Violation { field: field.into(), reason, description: description.into(), position: None }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let error = match error {
            Error::Refused(refusal) => return refusal.into(),
            error => error,
        };
        let (code, reason) = error.code_and_reason();
        let mut metadata = std::collections::HashMap::new();
        let mut details = ErrorDetails::new();
        let mut message = error.to_string();
        match &error {
            Error::Invalid(violations) => {
                message = summary(violations);
                details.set_bad_request(field_violations(violations));
            }
            Error::NotFound { name, .. }
            | Error::AlreadyExists { name, .. }
            | Error::StaleEtag { name, .. }
            | Error::NodeUnreachable { name, .. } => {
                metadata.insert("name".to_owned(), shorten(name, 200));
            }
            Error::QuotaExceeded { subject, what, max, .. } => {
                metadata.insert("name".to_owned(), shorten(subject, 200));
                metadata.insert("max".to_owned(), max.to_string());
                details.add_quota_failure_violation(shorten(subject, 200), format!("at most {max} {what}"));
            }
            Error::ProtocolVersion { found } => {
                metadata.insert("found".to_owned(), found.to_string());
                metadata.insert("min_inclusive".to_owned(), PROTOCOL_VERSIONS.start().to_string());
                metadata.insert("max_inclusive".to_owned(), PROTOCOL_VERSIONS.end().to_string());
            }
            Error::Store(cause) => {
                let cause: &dyn std::error::Error = cause;
                tracing::error!(error = cause, "store failed");
            }
            Error::Protocol(_)
            | Error::Silent { .. }
            | Error::Replaced
            | Error::Refused(_)
            | Error::Stopping
            | Error::NoNode => {}
        }
        details.set_error_info(reason, DOMAIN, metadata);
        Self::with_error_details(code, message, details)
    }
}

fn summary(violations: &[Violation]) -> String {
    let mut message = match violations.len() {
        1 => String::new(),
        count => format!("{count} violations: "),
    };
    for (index, violation) in violations.iter().enumerate() {
        let next = format!("{}{violation}", if index > 0 { "; " } else { "" });
        if message.len() + next.len() > MESSAGE_BYTES && index > 0 {
            message.push_str("; …");
            break;
        }
        message.push_str(&shorten(&next, MESSAGE_BYTES));
    }
    message
}

fn field_violations(violations: &[Violation]) -> Vec<FieldViolation> {
    let mut told = Vec::new();
    let mut room = DETAIL_BYTES;
    for (index, violation) in violations.iter().enumerate() {
        let field = shorten(&violation.field, 200);
        let description = shorten(&describe(&sync::Violation::from(violation)), 2_000);
        let size = field.len() + description.len() + violation.reason.len() + 16;
        if size > room {
            told.push(FieldViolation::new("", format!("and {} more", violations.len() - index)));
            break;
        }
        room -= size;
        told.push(FieldViolation { reason: violation.reason.to_owned(), ..FieldViolation::new(field, description) });
    }
    told
}

/// The description for people; for a place in a template with line, column, the source line and a caret beneath it.
pub(crate) fn describe(violation: &sync::Violation) -> String {
    let Some(position) = &violation.position else {
        return violation.description.clone();
    };
    let line = expand_tabs(&position.source_line);
    // A long line was cut to a window: the sign of the cut stands 120 characters before the place.
    const WINDOW: usize = 120;
    let column = usize::try_from(position.column).unwrap_or(usize::MAX);
    let indent = match line.starts_with('…') {
        true => WINDOW.min(column),
        false => column.saturating_sub(1).min(line.chars().count()),
    };
    format!(
        "{}, line {}, column {}\n{line}\n{}^",
        violation.description,
        position.line,
        position.column,
        " ".repeat(indent)
    )
}

/// Columns count a tab to the next multiple of eight; so must what is printed above the caret.
fn expand_tabs(line: &str) -> String {
    let mut column = 0;
    let mut expanded = String::with_capacity(line.len());
    for c in line.chars() {
        let width = if c == '\t' { 8 - column % 8 } else { 1 };
        match c {
            '\t' => expanded.extend(std::iter::repeat_n(' ', width)),
            c => expanded.push(c),
        }
        column += width;
    }
    expanded
}

/// At most `max` bytes of `text`, what was cut marked.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use sluice_pipeline::violation::Position;

    use super::*;

    fn broken_template() -> Violation {
        Violation {
            position: Some(Position { line: 3, column: 9, source_line: "\t<#if>".into() }),
            ..violation("events.template.source", "INVALID_TEMPLATE", "a condition is missing")
        }
    }

    #[test]
    fn a_place_in_a_template_is_shown_with_a_caret() {
        assert_eq!(
            describe(&broken_template().into()),
            "a condition is missing, line 3, column 9\n        <#if>\n        ^"
        );
    }

    #[test]
    fn every_violation_travels_with_its_field_and_the_error_with_its_reason() {
        let status =
            Status::from(Error::Invalid(vec![broken_template(), violation("destination.url", "REQUIRED", "empty")]));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("2 violations: events.template.source: "), "{}", status.message());
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().domain, "sluice.dev");
        let told = &details.bad_request().unwrap().field_violations;
        assert_eq!(told[0].reason, "INVALID_TEMPLATE");
        assert_eq!((told[1].field.as_str(), told[1].description.as_str()), ("destination.url", "empty"));
    }

    #[test]
    fn more_than_trailers_can_carry_is_counted() {
        let many = (0..1_000).map(|i| violation(format!("labels[{i}]"), "TOO_LONG", "é".repeat(80))).collect();
        let status = Status::from(Error::Invalid(many));
        assert!(status.details().len() < 8 * 1024 && status.message().len() < 2 * 1024);
        let details = status.get_error_details();
        let last = details.bad_request().unwrap().field_violations.last().unwrap().description.clone();
        assert!(last.starts_with("and ") && last.ends_with(" more"), "{last}");
    }

    #[test]
    fn what_the_store_says_stays_in_the_log() {
        let status = Status::from(Error::Store(StoreError::Database(sqlx::Error::Protocol("disk image".into()))));
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("disk image"));
    }
}
