//! Resource names: `projects/{project}/syncs/{sync}` and its kin, parsed once and checked
//! ([AIP-122](https://google.aip.dev/122)).

use std::{fmt, str::FromStr};

/// Id of the project that a fresh install has.
pub const DEFAULT_PROJECT: &str = "default";

/// Why a name was refused; names the form that would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    name: String,
    expected: &'static str,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a name of the form `{}`; {ID_RULE}", self.name.escape_debug(), self.expected)
    }
}

impl std::error::Error for InvalidName {}

/// What an id may be, for messages.
pub const ID_RULE: &str = "an id is 1 to 63 characters of a-z, 0-9 and -, begins with a letter and does not end with -";

/// Whether `id` may be the last segment of a project's, sync's or node's name (RFC 1034 label, [`ID_RULE`]).
#[must_use]
pub fn is_valid_id(id: &str) -> bool {
    let bytes = id.as_bytes();
    matches!(bytes.first(), Some(b'a'..=b'z'))
        && bytes.len() <= 63
        && !id.ends_with('-')
        && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident { $($field:ident),+ } $form:literal, $($collection:literal),+) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type {
            $(
                #[doc = concat!("Id of the ", stringify!($field), ".")]
                pub $field: String,
            )+
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, InvalidName> {
                let invalid = || InvalidName { name: name.to_owned(), expected: $form };
                let mut segments = name.split('/');
                $(
                    if segments.next() != Some($collection) {
                        return Err(invalid());
                    }
                    let $field = match segments.next() {
                        Some(id) if is_valid_id(id) => id.to_owned(),
                        _ => return Err(invalid()),
                    };
                )+
                if segments.next().is_some() {
                    return Err(invalid());
                }
                Ok(Self { $($field),+ })
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut separator = "";
                $(
                    write!(f, "{separator}{}/{}", $collection, self.$field)?;
                    separator = "/";
                )+
                let _ = separator;
                Ok(())
            }
        }
    };
}

name! {
    /// `projects/{project}`.
    ProjectName { project } "projects/{project}", "projects"
}
name! {
    /// `projects/{project}/syncs/{sync}`.
    SyncName { project, sync } "projects/{project}/syncs/{sync}", "projects", "syncs"
}
name! {
    /// `nodes/{node}`.
    NodeName { node } "nodes/{node}", "nodes"
}
name! {
    /// `projects/{project}/alertRules/{rule}`.
    AlertRuleName { project, alert_rule } "projects/{project}/alertRules/{rule}", "projects", "alertRules"
}
name! {
    /// `keys/{key}`.
    KeyName { key } "keys/{key}", "keys"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_they_were_written() {
        for name in ["projects/default/syncs/orders-2", "projects/p/syncs/a"] {
            assert_eq!(name.parse::<SyncName>().unwrap().to_string(), name);
        }
        assert_eq!("nodes/n1".parse::<NodeName>().unwrap().node, "n1");
        assert_eq!("projects/default".parse::<ProjectName>().unwrap().project, DEFAULT_PROJECT);
    }

    #[test]
    fn other_forms_are_refused_with_the_right_one() {
        for name in [
            "",
            "orders",
            "projects/default",
            "projects//syncs/a",
            "projects/default/syncs/Orders",
            "projects/default/syncs/a-",
            "projects/default/syncs/1a",
            "projects/default/syncs/a/b",
            "projects/default/sync/a",
            "/projects/default/syncs/a",
        ] {
            let error = name.parse::<SyncName>().unwrap_err().to_string();
            assert!(error.contains("projects/{project}/syncs/{sync}"), "{error}");
        }
        assert!(!is_valid_id(&"a".repeat(64)));
        assert!(is_valid_id(&"a".repeat(63)));
    }
}
