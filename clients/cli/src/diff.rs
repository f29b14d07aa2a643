//! What changed in a sync, field by field. Secrets are never shown.

use std::collections::BTreeMap;

use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use sluice_client::proto::sync::v1::{Sync, header};

use crate::{exit::Failure, proto_json::Printed};

/// Fields that are not settable, and those that only tell whether a secret is stored.
pub(crate) const OUTPUT_ONLY: [&str; 9] = [
    "uid",
    "revision",
    "etag",
    "create_time",
    "update_time",
    "rollout",
    "required_features",
    "health",
    "disable_reason",
];
/// Lines that are shown around those that differ.
const CONTEXT_LINES: usize = 2;
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
    /// For values of several lines: those that differ, with `-` and `+`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) lines: Vec<String>,
}

/// What changed from `before` to `after`, both as the control plane gave them, in the order of the fields' paths; of the headers
/// `changed_secrets` that they are another secret now.
pub(crate) fn changes(before: &Sync, after: &Sync, changed_secrets: &[String]) -> Result<Vec<Change>, Failure> {
    let (old, new) = (leaves(before)?, leaves(after)?);
    let mut changes: Vec<Change> = old
        .keys()
        .chain(new.keys().filter(|field| !old.contains_key(*field)))
        .filter(|field| old.get(*field) != new.get(*field))
        .map(|field| Change::of(field, old.get(field), new.get(field)))
        .collect();
    for (index, _) in secrets(after).filter(|(_, name)| changed_secrets.iter().any(|changed| changed == name)) {
        let field = format!("destination.headers[{index}].secret");
        // One that is new is there already.
        if changes.iter().all(|change| change.field != field) {
            let masked = || "***".to_owned();
            changes.push(Change { field, before: masked(), after: masked(), lines: Vec::new() });
        }
    }
    changes.sort_by(|a, b| a.field.cmp(&b.field));
    Ok(changes)
}

impl Change {
    fn of(field: &str, before: Option<&Value>, after: Option<&Value>) -> Self {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let (old, new) = (text(before), text(after));
        let has_lines = old.contains('\n') || new.contains('\n');
        Self {
            field: field.to_owned(),
            before: before.map(show).unwrap_or_default(),
            after: after.map(show).unwrap_or_default(),
            lines: if has_lines { line_changes(&old, &new) } else { Vec::new() },
        }
    }
}

/// The lines that differ, each with `-` or `+`, and those around them.
fn line_changes(old: &str, new: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(old, new);
    let mut lines = Vec::new();
    for (index, group) in diff.grouped_ops(CONTEXT_LINES).iter().enumerate() {
        if index > 0 {
            lines.push("…".to_owned());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            lines.push(format!("{sign} {}", change.value().trim_end_matches(['\n', '\r'])));
        }
    }
    lines
}

/// Places and names of the headers that hold secrets.
fn secrets(sync: &Sync) -> impl Iterator<Item = (usize, &str)> {
    let headers = sync.destination.iter().flat_map(|destination| &destination.headers);
    headers
        .enumerate()
        .filter(|(_, header)| matches!(header.value, Some(header::Value::Secret(_))))
        .map(|(index, header)| (index, header.name.as_str()))
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
        Value::String(text) if text.contains('\n') => return format!("{} lines", text.lines().count()),
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
                    ..Filter::default()
                }),
                payload: None,
            }),
            ..Sync::default()
        }
    }

    /// As the control plane gives it.
    fn stored(mut sync: Sync) -> Sync {
        for header in &mut sync.destination.as_mut().unwrap().headers {
            header.value = Some(header::Value::Secret(Secret { value: String::new(), set: true }));
        }
        sync
    }

    fn changed(before: Sync, after: Sync, changed_secrets: &[&str]) -> Vec<String> {
        let changed_secrets: Vec<_> = changed_secrets.iter().map(|&name| name.to_owned()).collect();
        let changes = changes(&stored(before), &stored(after), &changed_secrets).unwrap();
        changes.into_iter().map(|change| format!("{}: {} -> {}", change.field, change.before, change.after)).collect()
    }

    #[test]
    fn nothing_changed() {
        let same = sync("https://a.example", &["a"], "hush");
        assert_eq!(changed(same.clone(), same, &[]), Vec::<String>::new());
    }

    #[test]
    fn changed_fields_are_named_with_their_values() {
        let mut after = sync("https://b.example", &["a", "b"], "hush");
        after.enabled = false;
        after.display_name = "A".into();
        assert_eq!(
            changed(sync("https://a.example", &["a"], "hush"), after, &[]),
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
            changed(
                sync("https://a.example", &[], "hush 1"),
                sync("https://b.example", &[], "hush 2"),
                &["Authorization"]
            ),
            ["destination.headers[0].secret: *** -> ***", "destination.url: https://a.example -> https://b.example"]
        );
    }

    #[test]
    fn of_texts_with_lines_those_that_differ_are_shown() {
        let old = "a\nb\nc\nd\ne\nf\n";
        let change = Change::of("t", Some(&Value::from(old)), Some(&Value::from(old.replace('d', "D"))));
        assert_eq!(change.lines, ["  b", "  c", "- d", "+ D", "  e", "  f"]);
        assert_eq!(Change::of("t", None, Some(&Value::from("a\nb"))).lines, ["+ a", "+ b"]);
        assert!(Change::of("t", Some(&Value::from("a")), Some(&Value::from("b"))).lines.is_empty());
    }

    #[test]
    fn long_values_are_shortened() {
        assert_eq!(show(&Value::String("a\nb\nc".into())), "3 lines");
        assert_eq!(show(&Value::String("é".repeat(100))).chars().count(), 61);
    }
}
