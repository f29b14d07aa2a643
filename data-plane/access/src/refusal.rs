//! Why a call is refused.

use std::collections::HashMap;

use sluice_proto::access::v1::Role;
use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// `ErrorInfo.domain` of every error.
const DOMAIN: &str = "sluice.dev";

/// Why a call is refused. None of them tells whether what was asked for exists.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The caller showed nothing.
    #[error(
        "this call needs an API key: `authorization: Bearer sluice_…`; clients take one from SLUICE_API_KEY or --api-key-file"
    )]
    NoKey,
    /// What it showed is no key that is known here.
    #[error("the API key is unknown or was revoked: ask an admin for another")]
    UnknownKey,
    /// Its time is over.
    #[error("the API key {key} has expired: ask an admin for another")]
    ExpiredKey {
        /// `keys/{key}`.
        key: String,
    },
    /// Its role does not cover the method.
    #[error("{caller} may not call {method}: that needs the role {}, not {}", roles(.allowed), role(*.found))]
    Role {
        /// Who.
        caller: String,
        /// Full name of the method.
        method: String,
        /// What it has.
        found: Role,
        /// What would do.
        allowed: &'static [Role],
    },
    /// Nobody may call that: it is no method.
    #[error("there is no method {method}")]
    UnknownMethod {
        /// Its name.
        method: String,
    },
    /// It is bound to another project.
    #[error("{caller} is bound to projects/{project}: it may do nothing elsewhere, nor over all projects")]
    Project {
        /// Who.
        caller: String,
        /// Where it may do something.
        project: String,
    },
    /// It is bound to a project, and what it asks for concerns all of them.
    #[error("{caller} is bound to projects/{project}: this needs a key without a project")]
    EveryProject {
        /// Who.
        caller: String,
        /// Where it may do something.
        project: String,
    },
    /// It makes calls too fast.
    #[error("{key} may make {per_second} calls in a second: try again later")]
    Calls {
        /// `keys/{key}`.
        key: String,
        /// Its limit.
        per_second: i32,
        /// When the next may be made, in milliseconds from now.
        retry_ms: i64,
    },
    /// It sends events too fast, in a call that cannot wait.
    #[error("{key} has used up its {what} in a second: send later, or by a stream, which waits")]
    Events {
        /// `keys/{key}`.
        key: String,
        /// Events or bytes.
        what: &'static str,
        /// When it may send again, in milliseconds from now.
        retry_ms: i64,
    },
    /// It has too many streams.
    #[error("{key} may have {max} streams of events open on a node, and has")]
    Streams {
        /// `keys/{key}`.
        key: String,
        /// Its limit.
        max: usize,
    },
    /// A node shows a certificate or key of another.
    #[error("{caller} is not {claimed}")]
    OtherNode {
        /// Who.
        caller: String,
        /// Who it says that it is.
        claimed: String,
    },
}

/// A role as people write it.
#[must_use]
pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Editor => "editor",
        Role::Viewer => "viewer",
        Role::Ingest => "ingest",
        Role::Node => "node",
        Role::Unspecified => "none",
    }
}

fn roles(roles: &[Role]) -> String {
    roles.iter().map(|one| role(*one)).collect::<Vec<_>>().join(" or ")
}

impl Refusal {
    fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::NoKey => (Code::Unauthenticated, "KEY_MISSING"),
            Self::UnknownKey => (Code::Unauthenticated, "KEY_UNKNOWN"),
            Self::ExpiredKey { .. } => (Code::Unauthenticated, "KEY_EXPIRED"),
            Self::Role { .. } => (Code::PermissionDenied, "ROLE_INSUFFICIENT"),
            Self::UnknownMethod { .. } => (Code::Unimplemented, "METHOD_UNKNOWN"),
            Self::Project { .. } | Self::EveryProject { .. } => (Code::PermissionDenied, "PROJECT_DENIED"),
            Self::Calls { .. } | Self::Events { .. } | Self::Streams { .. } => {
                (Code::ResourceExhausted, "KEY_LIMIT_EXCEEDED")
            }
            Self::OtherNode { .. } => (Code::PermissionDenied, "NODE_DENIED"),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (code, reason) = refusal.code_and_reason();
        let mut metadata = HashMap::new();
        let mut details = ErrorDetails::new();
        match &refusal {
            Refusal::Role { method, allowed, .. } => {
                metadata.insert("method".to_owned(), method.clone());
                metadata.insert("roles".to_owned(), roles(allowed));
            }
            Refusal::Calls { key, retry_ms, .. } | Refusal::Events { key, retry_ms, .. } => {
                let retry = std::time::Duration::from_millis(u64::try_from(*retry_ms).unwrap_or_default());
                details.set_retry_info(Some(retry));
                details.add_quota_failure_violation(key.clone(), refusal.to_string());
            }
            Refusal::Streams { key, .. } => {
                details.add_quota_failure_violation(key.clone(), refusal.to_string());
            }
            _ => {}
        }
        details.set_error_info(reason, DOMAIN, metadata);
        Self::with_error_details(code, refusal.to_string(), details)
    }
}
