//! Messages as JSON and YAML and back, in protobuf's mapping, with the field names of the proto files.
//!
//! Printed are all fields with presence that are set, and of the others all numbers, booleans and enums, also zero and
//! false; empty texts, lists and maps are left out. 64-bit numbers are printed as numbers, which every reader of the
//! mapping takes.

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_STANDARD};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, SerializeOptions, Value};
use serde::{
    Serialize, Serializer,
    ser::{Error as _, SerializeMap, SerializeSeq},
};

use crate::exit::Failure;

static POOL: LazyLock<Result<DescriptorPool, String>> = LazyLock::new(|| {
    DescriptorPool::decode(sluice_client::proto::FILE_DESCRIPTOR_SET).map_err(|error| error.to_string())
});

/// The descriptor of a message, by its full name such as `sluice.sync.v1.Sync`.
pub(crate) fn descriptor(name: &str) -> Result<MessageDescriptor, Failure> {
    let pool =
        POOL.as_ref().map_err(|error| Failure::failed(format!("the built-in descriptors are broken: {error}")))?;
    pool.get_message_by_name(name).ok_or_else(|| Failure::failed(format!("there is no message `{name}`")))
}

/// A message as it is printed.
#[derive(Clone, Debug)]
pub(crate) struct Printed(DynamicMessage);

impl Printed {
    /// `name` is the full name of the message's type.
    pub(crate) fn new(name: &str, message: &impl Message) -> Result<Self, Failure> {
        let mut dynamic = DynamicMessage::new(descriptor(name)?);
        dynamic
            .transcode_from(message)
            .map_err(|error| Failure::failed(format!("`{name}` does not fit its descriptor: {error}")))?;
        Ok(Self(dynamic))
    }

    /// The same as a tree, for those who compare.
    pub(crate) fn to_value(&self) -> Result<serde_json::Value, Failure> {
        serde_json::to_value(self).map_err(|error| Failure::failed(error.to_string()))
    }
}

impl Serialize for Printed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Shown(&self.0).serialize(serializer)
    }
}

struct Shown<'a>(&'a DynamicMessage);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use prost_reflect::ReflectMessage;
        let descriptor = self.0.descriptor();
        if descriptor.package_name() == "google.protobuf" {
            return self.0.serialize_with_options(serializer, &SerializeOptions::new());
        }
        let mut map = serializer.serialize_map(None)?;
        for field in descriptor.fields() {
            let shown = self.0.has_field(&field)
                || !(field.supports_presence()
                    || field.is_list()
                    || field.is_map()
                    || matches!(field.kind(), Kind::String | Kind::Bytes));
            if shown {
                let value = self.0.get_field(&field);
                map.serialize_entry(field.name(), &ShownValue { value: &value, kind: field.kind() })?;
            }
        }
        map.end()
    }
}

struct ShownValue<'a> {
    value: &'a Value,
    kind: Kind,
}

impl Serialize for ShownValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I32(value) => serializer.serialize_i32(*value),
            Value::I64(value) => serializer.serialize_i64(*value),
            Value::U32(value) => serializer.serialize_u32(*value),
            Value::U64(value) => serializer.serialize_u64(*value),
            Value::F32(value) => serializer.serialize_f32(*value),
            Value::F64(value) => serializer.serialize_f64(*value),
            Value::String(value) => serializer.serialize_str(value),
            Value::Bytes(value) => serializer.serialize_str(&BASE64_STANDARD.encode(value)),
            Value::EnumNumber(number) => {
                match self.kind.as_enum().and_then(|descriptor| descriptor.get_value(*number)) {
                    Some(value) => serializer.serialize_str(value.name()),
                    None => serializer.serialize_i32(*number),
                }
            }
            Value::Message(message) => Shown(message).serialize(serializer),
            Value::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(&ShownValue { value, kind: self.kind.clone() })?;
                }
                list.end()
            }
            Value::Map(entries) => {
                let kind = self.kind.as_message().map(|entry| entry.map_entry_value_field().kind());
                let kind = kind.ok_or_else(|| S::Error::custom("a map without entries"))?;
                let mut entries: Vec<_> = entries.iter().map(|(key, value)| (key_text(key), value)).collect();
                entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(&key, &ShownValue { value, kind: kind.clone() })?;
                }
                map.end()
            }
        }
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sluice_client::proto::{
        delivery::v1::{Attempt, AttemptOutcome},
        sync::v1::{Destination, EventSelection, Header, OriginalPayload, Secret, Sync, event_selection, header},
    };

    use super::*;

    #[test]
    fn numbers_and_booleans_are_always_there_and_empty_texts_never() {
        let attempt = Attempt {
            event_id: "e".into(),
            outcome: AttemptOutcome::Delivered.into(),
            response_excerpt: "hi".into(),
            start_time: Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }),
            ..Attempt::default()
        };
        let json = Printed::new("sluice.delivery.v1.Attempt", &attempt).unwrap().to_value().unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "sync_revision": 0, "event_id": "e", "round": 0, "attempt": 0,
                "outcome": "ATTEMPT_OUTCOME_DELIVERED", "http_status": 0, "error": "ATTEMPT_ERROR_UNSPECIFIED",
                "response_excerpt": "aGk=", "start_time": "1970-01-01T00:00:01.500Z", "request_bytes": 0,
                "connection_reused": false, "schedule": 0
            })
        );
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        let sync = Sync {
            name: "projects/default/syncs/orders".into(),
            labels: BTreeMap::from([("team".into(), "crm".into())]),
            destination: Some(Destination {
                url: "https://example.com".into(),
                headers: vec![Header {
                    name: "Authorization".into(),
                    value: Some(header::Value::Secret(Secret { value: String::new(), set: true })),
                }],
                ..Destination::default()
            }),
            events: Some(EventSelection {
                filter: None,
                payload: Some(event_selection::Payload::Original(OriginalPayload {})),
            }),
            revision: 7,
            ..Sync::default()
        };
        let printed = Printed::new("sluice.sync.v1.Sync", &sync).unwrap();
        let yaml = serde_saphyr::to_string(&printed).unwrap();
        let tree: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(tree, printed.to_value().unwrap());
        let back = DynamicMessage::deserialize(descriptor("sluice.sync.v1.Sync").unwrap(), tree).unwrap();
        assert_eq!(back.transcode_to::<Sync>().unwrap(), sync);
    }
}
