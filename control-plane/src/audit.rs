//! What is written down of a change: who made it, and which fields it left other than before. Pure.

use std::sync::Arc;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _, SerializeOptions};
use serde_json::Value;
use sluice_access::{Called, Caller};
use sluice_proto::audit::v1::{AuditEntry, FieldChange};
use tonic::Request;

use crate::time::timestamp;

/// JSON of a value is cut after so many characters.
const MAX_VALUE: usize = 500;
/// Changes in one entry; what is beyond is counted in the last.
const MAX_CHANGES: usize = 500;

/// Fields that the control plane sets with every change.
const OWN_FIELDS: [&str; 7] =
    ["revision", "etag", "update_time", "create_time", "rollout", "required_features", "health"];

/// Who changes something, from where, how and when.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    name: String,
    address: String,
    method: Arc<str>,
    now_ms: i64,
}

impl Actor {
    /// Who has sent this request.
    pub(crate) fn of<T>(request: &Request<T>, caller: &Caller, now_ms: i64) -> Self {
        let address = request.remote_addr().map(|address| address.to_string()).unwrap_or_default();
        let method = request.extensions().get::<Called>().map(|called| called.0.clone());
        Self { name: caller.name().to_owned(), address, method: method.unwrap_or_default(), now_ms }
    }

    /// The control plane itself.
    pub(crate) fn system(method: &str, now_ms: i64) -> Self {
        Self { name: "system".to_owned(), address: String::new(), method: method.into(), now_ms }
    }

    /// The entry of what it does to a resource.
    pub(crate) fn entry(&self, resource: &str, changes: Vec<FieldChange>) -> AuditEntry {
        AuditEntry {
            sequence: 0,
            time: Some(timestamp(self.now_ms)),
            actor: self.name.clone(),
            actor_address: self.address.clone(),
            method: self.method.to_string(),
            resource: resource.to_owned(),
            changes,
        }
    }
}

/// The project that a resource belongs to.
pub(crate) fn project_of(resource: &str) -> Option<&str> {
    resource.strip_prefix("projects/")?.split('/').next().filter(|project| *project != "-")
}

/// Which scalars of a message of that full name are other than before; secrets as `***`.
pub(crate) fn changes<M: Message>(name: &str, before: Option<&M>, after: Option<&M>) -> Vec<FieldChange> {
    let tree = |message: Option<&M>| message.map_or(Value::Null, |message| tree(name, message));
    let mut changes = Vec::new();
    compare("", Some(&tree(before)), Some(&tree(after)), false, &mut changes);
    if changes.len() > MAX_CHANGES {
        let left_out = changes.len() - MAX_CHANGES;
        changes.truncate(MAX_CHANGES);
        changes.push(FieldChange { field: format!("and {left_out} more"), ..FieldChange::default() });
    }
    changes
}

fn tree<M: Message>(name: &str, message: &M) -> Value {
    static POOL: std::sync::LazyLock<Option<DescriptorPool>> =
        std::sync::LazyLock::new(|| DescriptorPool::decode(sluice_proto::FILE_DESCRIPTOR_SET).ok());
    let Some(descriptor) = POOL.as_ref().and_then(|pool| pool.get_message_by_name(name)) else { return Value::Null };
    let mut dynamic = DynamicMessage::new(descriptor);
    // The message is of that type: both come from the same files.
    let _ = dynamic.transcode_from(message);
    for field in OWN_FIELDS {
        if dynamic.descriptor().get_field_by_name(field).is_some() {
            dynamic.clear_field_by_name(field);
        }
    }
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    dynamic.serialize_with_options(serde_json::value::Serializer, &options).unwrap_or(Value::Null)
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, secret: bool, changes: &mut Vec<FieldChange>) {
    const NOTHING: Value = Value::Null;
    let (old, new) = (before.unwrap_or(&NOTHING), after.unwrap_or(&NOTHING));
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(_) | Value::Null, Value::Object(_)) | (Value::Object(_), Value::Null) => {
            let fields = |value: &Value| value.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
            let mut names = fields(old).unwrap_or_default();
            names.extend(fields(new).unwrap_or_default());
            names.sort();
            names.dedup();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&path, old.get(&name), new.get(&name), secret || name == "secret", changes);
            }
        }
        (Value::Array(_) | Value::Null, Value::Array(_)) | (Value::Array(_), Value::Null) => {
            let count = |value: &Value| value.as_array().map_or(0, Vec::len);
            for index in 0..count(old).max(count(new)) {
                compare(&format!("{path}[{index}]"), old.get(index), new.get(index), secret, changes);
            }
        }
        _ => {
            let shown = |value: &Value| match value {
                Value::Null => String::new(),
                _ if secret => "***".to_owned(),
                value => cut(&value.to_string()),
            };
            changes.push(FieldChange { field: path.to_owned(), before: shown(old), after: shown(new) });
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_VALUE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use sluice_proto::sync::v1::{Destination, Header, Secret, Sync, header::Value as HeaderValue};

    use super::*;

    fn sync(url: &str, secret: &str) -> Sync {
        let value = HeaderValue::Secret(Secret { value: secret.to_owned(), set: true });
        let header = Header { name: "Authorization".to_owned(), value: Some(value) };
        let destination = Destination { url: url.to_owned(), headers: vec![header], ..Destination::default() };
        Sync { name: "projects/p/syncs/a".to_owned(), destination: Some(destination), ..Sync::default() }
    }

    fn told(before: Option<&Sync>, after: Option<&Sync>) -> Vec<String> {
        let changes = changes("sluice.sync.v1.Sync", before, after);
        changes.iter().map(|one| format!("{}: {} -> {}", one.field, one.before, one.after)).collect()
    }

    #[test]
    fn a_change_is_told_field_by_field() {
        let (before, after) = (sync("https://a", "x"), Sync { enabled: true, revision: 9, ..sync("https://b", "x") });
        assert_eq!(
            told(Some(&before), Some(&after)),
            ["destination.url: \"https://a\" -> \"https://b\"", "enabled:  -> true"]
        );
        assert!(told(Some(&before), Some(&before)).is_empty());
    }

    #[test]
    fn that_a_secret_has_changed_is_told_and_never_to_what() {
        let changes = told(Some(&sync("https://a", "marked-1")), Some(&sync("https://a", "marked-2")));
        assert_eq!(changes, ["destination.headers[0].secret.value: *** -> ***"]);
        let created = told(None, Some(&sync("https://a", "marked"))).join("\n");
        assert!(created.contains("secret.value:  -> ***") && !created.contains("marked"), "{created}");
        let deleted = told(Some(&sync("https://a", "marked")), None).join("\n");
        assert!(deleted.contains("secret.value: *** -> ") && !deleted.contains("marked"), "{deleted}");
    }

    #[test]
    fn long_values_and_many_changes_are_cut() {
        let long = changes("sluice.sync.v1.Sync", None, Some(&sync(&"é".repeat(10_000), "x")));
        assert!(long.iter().all(|change| change.after.chars().count() <= MAX_VALUE + 1));
        let header = |index| Header { name: format!("X-{index}"), value: None };
        let destination = Destination { headers: (0..600).map(header).collect(), ..Destination::default() };
        let many =
            changes("sluice.sync.v1.Sync", None, Some(&Sync { destination: Some(destination), ..Sync::default() }));
        assert_eq!((many.len(), many[500].field.as_str()), (501, "and 100 more"));
    }

    #[test]
    fn resources_know_their_project() {
        assert_eq!(project_of("projects/p/syncs/a"), Some("p"));
        assert_eq!(project_of("projects/p"), Some("p"));
        assert_eq!(project_of("nodes/n"), None);
        assert_eq!(project_of("projects/-/syncs/-"), None);
    }
}
