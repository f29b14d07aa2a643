//! Events and syncs to test with.

use std::{io::Read as _, path::Path};

use bytes::Bytes;
use sluice_proto::sync::v1::{
    Condition, Destination, EventSelection, Filter, Header, OriginalPayload, PropertyCondition, PropertyOperator,
    PropertyRoot, Secret, Sync, TemplatePayload, condition, event_selection::Payload, header,
};

/// A small event of a type.
#[must_use]
pub fn event(event_type: &str, user: &str) -> Bytes {
    format!(
        r#"{{"event_type":"{event_type}","user_id":"{user}","event_time":"2024-03-13 10:21:14.919000","session_id":1710325274919,"event_properties":{{}},"user_properties":{{"email":"{user}@example.com"}}}}"#
    )
    .into()
}

/// The 1,000 events of `tests/data`, in Amplitude's export shape.
#[must_use]
pub fn export() -> Vec<Bytes> {
    read_events(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/events.ndjson.gz"))
}

/// The lines of a gzipped NDJSON file.
#[must_use]
pub fn read_events(path: &Path) -> Vec<Bytes> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut text).unwrap();
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(Bytes::copy_from_slice).collect()
}

/// An enabled sync that sends events as they are.
#[must_use]
pub fn sync_to(url: &str) -> Sync {
    Sync {
        enabled: true,
        destination: Some(Destination { url: url.to_owned(), ..Destination::default() }),
        events: Some(EventSelection { filter: None, payload: Some(Payload::Original(OriginalPayload {})) }),
        ..Sync::default()
    }
}

/// Changes of a sync, one after the other.
pub trait SyncBuilder: Sized {
    /// Takes only these types.
    #[must_use]
    fn event_types(self, types: &[&str]) -> Self;
    /// Takes only events whose property at `path` (below the event itself) is as said.
    #[must_use]
    fn property(self, path: &[&str], operator: PropertyOperator, values: &[&str]) -> Self;
    /// Renders this template.
    #[must_use]
    fn template(self, source: &str) -> Self;
    /// Sends a header with a secret value.
    #[must_use]
    fn secret_header(self, name: &str, value: &str) -> Self;
    /// Sends a header.
    #[must_use]
    fn header(self, name: &str, value: &str) -> Self;
}

impl SyncBuilder for Sync {
    fn event_types(mut self, types: &[&str]) -> Self {
        let filter = self.events.get_or_insert_default().filter.get_or_insert_default();
        filter.event_types = types.iter().map(|event_type| (*event_type).to_owned()).collect();
        self
    }

    fn property(mut self, path: &[&str], operator: PropertyOperator, values: &[&str]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let filter: &mut Filter = self.events.get_or_insert_default().filter.get_or_insert_default();
        filter.conditions.push(Condition {
            condition: Some(condition::Condition::Property(PropertyCondition {
                root: PropertyRoot::Event.into(),
                path: owned(path),
                operator: operator.into(),
                values: owned(values),
            })),
        });
        self
    }

    fn template(mut self, source: &str) -> Self {
        let template = TemplatePayload { source: source.to_owned(), allow_invalid_json: false };
        self.events.get_or_insert_default().payload = Some(Payload::Template(template));
        self
    }

    fn secret_header(mut self, name: &str, value: &str) -> Self {
        let value = header::Value::Secret(Secret { value: value.to_owned(), set: false });
        self.destination.get_or_insert_default().headers.push(Header { name: name.to_owned(), value: Some(value) });
        self
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        let value = header::Value::Plain(value.to_owned());
        self.destination.get_or_insert_default().headers.push(Header { name: name.to_owned(), value: Some(value) });
        self
    }
}
