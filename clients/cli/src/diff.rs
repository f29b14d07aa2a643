//! What changed in a sync, field by field. Secrets are never shown.

use std::collections::BTreeMap;

use serde_json::Value;
use sluice_client::proto::sync::v1::{Sync, header};

use crate::{exit::Failure, proto_json::Printed};

/// Fields that are not settable, and those that only tell whether a secret is stored.
pub(crate) const OUTPUT_ONLY: [&str; 7] =
    ["uid", "revision", "etag", "create_time", "update_time", "rollout", "required_features"];
/// Longest value that is shown.
const SHOWN_CHARACTERS: usize = 60;

/// A field that changed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Change {
    /// Its path.
    pub(crate) field: String,
    /// Its value before, for people; empty if it was not set.
    pub(crate) before: String,
    /// Its value now; empty if it is not set.
    pub(crate) after: String,
}

/// What changed from `before` to `after`, both as the control plane gave them; `written` is what was sent. Empty if
/// their fingerprints are the same.
pub(crate) fn changes(before: &Sync, after: &Sync, written: &Sync) -> Result<Vec<Change>, Failure> {
    if before.etag == after.etag {
        return Ok(Vec::new());
    }
    let (old, new) = (leaves(before)?, leaves(after)?);
    let mut changes: Vec<Change> = old
        .keys()
        .chain(new.keys().filter(|field| !old.contains_key(*field)))
        .filter(|field| old.get(*field) != new.get(*field))
        .map(|field| Change {
            field: field.clone(),
            before: old.get(field).map(show).unwrap_or_default(),
            after: new.get(field).map(show).unwrap_or_default(),
        })
        .collect();
    changes.sort_by(|a, b| a.field.cmp(&b.field));
    changes.extend(secret_changes(before, after, written, changes.is_empty()));
    Ok(changes)
}

/// Secrets cannot be read back, but they count in the fingerprint.
fn secret_changes(before: &Sync, after: &Sync, written: &Sync, nothing_else: bool) -> Vec<Change> {
    let given: BTreeMap<String, (usize, &str)> = secrets(written)
        .filter(|(_, _, value)| !value.is_empty())
        .map(|(index, name, value)| (name.to_lowercase(), (index, value)))
        .collect();
    let stored: Vec<String> = secrets(before).map(|(_, name, _)| name.to_lowercase()).collect();
    let kept: Vec<usize> =
        given.iter().filter(|(name, _)| stored.contains(name)).map(|(_, (index, _))| *index).collect();
    if kept.is_empty() {
        return Vec::new();
    }
    let with_given = |sync: &Sync| {
        let mut sync = sync.clone();
        for header in sync.destination.iter_mut().flat_map(|destination| &mut destination.headers) {
            if let Some(header::Value::Secret(secret)) = &mut header.value {
                let (_, value) = given.get(&header.name.to_lowercase())?;
                secret.value = (*value).to_owned();
            }
        }
        Some(sluice_pipeline::sync::etag(&sync))
    };
    // Our fingerprint says something only if it is the control plane's.
    let ours_is_theirs = with_given(after).is_some_and(|etag| etag == after.etag);
    let changed = if ours_is_theirs { with_given(before).is_none_or(|etag| etag != before.etag) } else { nothing_else };
    if !changed {
        return Vec::new();
    }
    let masked = || "***".to_owned();
    kept.into_iter()
        .map(|index| Change {
            field: format!("destination.headers[{index}].secret"),
            before: masked(),
            after: masked(),
        })
        .collect()
}

fn secrets(sync: &Sync) -> impl Iterator<Item = (usize, &str, &str)> {
    let headers = sync.destination.iter().flat_map(|destination| &destination.headers);
    headers.enumerate().filter_map(|(index, header)| match &header.value {
        Some(header::Value::Secret(secret)) => Some((index, header.name.as_str(), secret.value.as_str())),
        Some(header::Value::Plain(_)) | None => None,
    })
}

/// The settable fields that are set, by path.
fn leaves(sync: &Sync) -> Result<BTreeMap<String, Value>, Failure> {
    let mut tree = Printed::new("sluice.sync.v1.Sync", sync)?.to_value()?;
    if let Value::Object(fields) = &mut tree {
        fields.retain(|name, _| !OUTPUT_ONLY.contains(&name.as_str()));
    }
    let mut leaves = BTreeMap::new();
    collect(&tree, String::new(), &mut leaves);
    Ok(leaves)
}

fn collect(value: &Value, path: String, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if fields.is_empty() => {
            leaves.insert(path, Value::Object(serde_json::Map::new()));
        }
        // Whether a secret is stored, never its value.
        Value::Object(_) if path.ends_with(".secret") => {
            leaves.insert(path, Value::String("***".to_owned()));
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(value, path, leaves);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            for (index, value) in values.iter().enumerate() {
                collect(value, format!("{path}[{index}]"), leaves);
            }
        }
        value => {
            leaves.insert(path, value.clone());
        }
    }
}

/// A value on one line, shortened.
fn show(value: &Value) -> String {
    let text = match value {
        Value::String(text) if text.lines().count() > 1 => return format!("{} lines", text.lines().count()),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use sluice_client::proto::sync::v1::{Destination, EventSelection, Filter, Header, Secret};

    use super::*;

    fn sync(url: &str, types: &[&str], secret: &str) -> Sync {
        Sync {
            name: "projects/default/syncs/a".into(),
            uid: "u".into(),
            enabled: true,
            destination: Some(Destination {
                url: url.into(),
                headers: vec![Header {
                    name: "Authorization".into(),
                    value: Some(header::Value::Secret(Secret { value: secret.into(), set: false })),
                }],
                ..Destination::default()
            }),
            events: Some(EventSelection {
                filter: Some(Filter {
                    event_types: types.iter().map(|&event_type| event_type.to_owned()).collect(),
                    conditions: Vec::new(),
                }),
                payload: None,
            }),
            ..Sync::default()
        }
    }

    /// As the control plane gives it.
    fn stored(mut sync: Sync, revision: i64) -> Sync {
        sync.etag = sluice_pipeline::sync::etag(&sync);
        sync.revision = revision;
        for header in &mut sync.destination.as_mut().unwrap().headers {
            header.value = Some(header::Value::Secret(Secret { value: String::new(), set: true }));
        }
        sync
    }

    fn changed(before: Sync, written: Sync) -> Vec<String> {
        let changes = changes(&stored(before, 1), &stored(written.clone(), 2), &written).unwrap();
        assert!(!format!("{changes:?}").contains("hush"));
        changes.into_iter().map(|change| format!("{}: {} -> {}", change.field, change.before, change.after)).collect()
    }

    #[test]
    fn nothing_changed() {
        let same = sync("https://a.example", &["a"], "hush");
        assert_eq!(changed(same.clone(), same), Vec::<String>::new());
    }

    #[test]
    fn changed_fields_are_named_with_their_values() {
        let mut after = sync("https://b.example", &["a", "b"], "hush");
        after.enabled = false;
        after.display_name = "A".into();
        assert_eq!(
            changed(sync("https://a.example", &["a"], "hush"), after),
            [
                "destination.url: https://a.example -> https://b.example",
                "display_name:  -> A",
                "enabled: true -> false",
                "events.filter.event_types: [\"a\"] -> [\"a\",\"b\"]",
            ]
        );
    }

    #[test]
    fn a_changed_secret_is_told_and_not_shown() {
        assert_eq!(
            changed(sync("https://a.example", &[], "hush 1"), sync("https://b.example", &[], "hush 2")),
            ["destination.url: https://a.example -> https://b.example", "destination.headers[0].secret: *** -> ***"]
        );
    }

    #[test]
    fn long_values_are_shortened() {
        assert_eq!(show(&Value::String("a\nb\nc".into())), "3 lines");
        assert_eq!(show(&Value::String("é".repeat(100))).chars().count(), 61);
    }
}
