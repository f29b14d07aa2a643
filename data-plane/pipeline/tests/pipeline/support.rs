//! Syncs and events to test with.

use sluice_pipeline::sync::{CompiledSync, Rules, compile, etag};
use sluice_proto::sync::v1::{
    Condition, Destination, EventSelection, Filter, Header, OriginalPayload, PropertyCondition, PropertyOperator,
    PropertyRoot, Secret, Sync, TemplatePayload, condition, event_selection::Payload, header,
};

/// An enabled sync of the project `default` that sends every event as it came.
pub(crate) fn sync(id: &str) -> Sync {
    let sync = Sync {
        name: format!("projects/default/syncs/{id}"),
        enabled: true,
        uid: format!("uid-{id}"),
        revision: 1,
        destination: Some(Destination { url: "https://hooks.example.com/in".into(), ..Default::default() }),
        events: Some(EventSelection { filter: None, payload: Some(Payload::Original(OriginalPayload {})) }),
        ..Default::default()
    };
    with_etag(sync)
}

/// The sync with the etag of its content, as the control plane sends it.
pub(crate) fn with_etag(sync: Sync) -> Sync {
    Sync { etag: etag(&sync), ..sync }
}

pub(crate) trait SyncExt: Sized {
    /// Changes the sync and gives it the etag that goes with it.
    fn with(self, change: impl FnOnce(&mut Sync)) -> Self;
    fn with_destination(self, change: impl FnOnce(&mut Destination)) -> Self;
    fn with_url(self, url: &str) -> Self;
    fn with_filter(self, filter: Filter) -> Self;
    fn with_template(self, source: &str) -> Self;
}

impl SyncExt for Sync {
    fn with(mut self, change: impl FnOnce(&mut Sync)) -> Self {
        change(&mut self);
        with_etag(self)
    }

    fn with_destination(self, change: impl FnOnce(&mut Destination)) -> Self {
        self.with(|sync| change(sync.destination.as_mut().unwrap()))
    }

    fn with_url(self, url: &str) -> Self {
        self.with_destination(|destination| destination.url = url.into())
    }

    fn with_filter(self, filter: Filter) -> Self {
        self.with(|sync| sync.events.as_mut().unwrap().filter = Some(filter))
    }

    fn with_template(self, source: &str) -> Self {
        let payload = Payload::Template(TemplatePayload { source: source.into(), allow_invalid_json: false });
        self.with(|sync| sync.events.as_mut().unwrap().payload = Some(payload))
    }
}

pub(crate) fn types(event_types: &[&str]) -> Filter {
    Filter { event_types: event_types.iter().map(ToString::to_string).collect(), ..Filter::default() }
}

pub(crate) fn conditions(conditions: impl IntoIterator<Item = Condition>) -> Filter {
    Filter { conditions: conditions.into_iter().collect(), ..Filter::default() }
}

/// A test of a property below `root`; the path's keys are separated by `/`.
pub(crate) fn property(root: PropertyRoot, path: &str, operator: PropertyOperator, values: &[&str]) -> Condition {
    Condition {
        condition: Some(condition::Condition::Property(PropertyCondition {
            root: root.into(),
            path: path.split('/').map(Into::into).collect(),
            operator: operator.into(),
            values: values.iter().map(ToString::to_string).collect(),
        })),
    }
}

pub(crate) fn plain(name: &str, value: &str) -> Header {
    Header { name: name.into(), value: Some(header::Value::Plain(value.into())) }
}

pub(crate) fn secret(name: &str, value: &str) -> Header {
    let value = header::Value::Secret(Secret { value: value.into(), set: true });
    Header { name: name.into(), value: Some(value) }
}

/// Compiles by the strictest rules a sync that is valid.
#[track_caller]
pub(crate) fn compiled(sync: &Sync) -> CompiledSync {
    compile(sync, &Rules::default()).unwrap()
}

/// What is wrong with a sync by the strictest rules, as (field, reason).
#[track_caller]
pub(crate) fn violations(sync: &Sync) -> Vec<(String, &'static str)> {
    violations_by(sync, &Rules::default())
}

#[track_caller]
pub(crate) fn violations_by(sync: &Sync, rules: &Rules) -> Vec<(String, &'static str)> {
    let violations = compile(sync, rules).expect_err("the sync is valid");
    violations.into_iter().map(|violation| (violation.field, violation.reason)).collect()
}
