//! Syncs, compiled: everything that can be worked out before an event comes.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use prost::Message;
use sha2::{Digest, Sha256};
use sluice_freemarker::Template;
use sluice_proto::{
    name::SyncName,
    sync::v1::{self, event_selection},
};

use crate::{
    destination,
    filter::Filter,
    policy, profile,
    schedule::RetryPolicy,
    violation::{Position, Violation, Violations, reason, shown},
};
pub use crate::{
    destination::Destination,
    rules::{Refusal, Rules},
};

/// The largest template, in bytes of its source.
pub const MAX_TEMPLATE_BYTES: usize = 256 << 10;

/// The features that this version has; see [`required_features`].
pub const FEATURES: &[&str] = &[
    DESTINATION_TRACE_CONTEXT,
    DESTINATION_TRUSTED_CA,
    FILTER_EVENT_TYPE_PATTERNS,
    FILTER_NESTED,
    FILTER_PROPERTY,
    LIMITS_BACKLOG,
    LIMITS_RATE,
    PAYLOAD_TEMPLATE,
];

const DESTINATION_TRACE_CONTEXT: &str = "destination.trace_context";
const DESTINATION_TRUSTED_CA: &str = "destination.trusted_ca";
const FILTER_EVENT_TYPE_PATTERNS: &str = "filter.event_type_patterns";
const FILTER_NESTED: &str = "filter.nested";
const FILTER_PROPERTY: &str = "filter.property";
const LIMITS_BACKLOG: &str = "limits.backlog";
const LIMITS_RATE: &str = "limits.rate";
const PAYLOAD_TEMPLATE: &str = "payload.template";

const MAX_DISPLAY_NAME_CHARS: usize = 128;
const MAX_LABELS: usize = 32;
const MAX_LABEL_CHARS: usize = 63;

/// A sync that can be served. Its `Debug` shows no secret.
pub struct CompiledSync {
    /// Identity for life; empty for a draft.
    pub uid: Arc<str>,
    /// `projects/{project}/syncs/{sync}`.
    pub name: SyncName,
    /// The same as text, for what is made per delivery.
    pub full_name: Arc<str>,
    /// The store's revision of its last change.
    pub revision: i64,
    /// Fingerprint of its content.
    pub etag: String,
    /// Whether new events are matched and open deliveries worked on.
    pub enabled: bool,
    /// Which events it takes.
    pub filter: Filter,
    /// The shape of the body.
    pub payload: Payload,
    /// Where it delivers.
    pub destination: Destination,
    /// When failed deliveries are tried again.
    pub retry: RetryPolicy,
}

impl fmt::Debug for CompiledSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledSync")
            .field("uid", &self.uid)
            .field("name", &self.name.to_string())
            .field("revision", &self.revision)
            .field("etag", &self.etag)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

/// The shape of the body.
pub enum Payload {
    /// The event's JSON, byte for byte as it came.
    Original,
    /// The output of a template.
    Template {
        /// The parsed template.
        template: Box<Template>,
        /// Whether output that is not JSON is an error: the content type is a JSON type, and the sync does not allow it.
        must_be_json: bool,
    },
}

/// Compiles a sync. `uid`, `revision` and `etag` are taken over as they are; a draft may lack them.
///
/// # Errors
/// Everything that is wrong with it, with field paths from the `Sync` message down: `destination.headers[2].name`.
pub fn compile(sync: &v1::Sync, rules: &Rules) -> Result<CompiledSync, Vec<Violation>> {
    let mut violations = Violations::default();
    let name = name(&sync.name, &mut violations);
    display_name(&sync.display_name, &mut violations);
    labels(&sync.labels, &mut violations);
    let destination = destination::compile(sync.destination.as_ref(), rules, &mut violations);
    let content_is_json = destination.as_ref().is_none_or(Destination::takes_json);
    let selection = sync.events.as_ref();
    let filter = Filter::compile(selection.and_then(|events| events.filter.as_ref()), &mut violations);
    let payload = payload(selection, content_is_json, &mut violations);
    let retry = policy::compile(sync.retry_policy.as_ref(), &mut violations);
    disable_after_failing(sync.disable_after_failing.as_ref(), &mut violations);
    features(&sync.required_features, &mut violations);

    let violations = violations.into_vec();
    match (name, destination, payload) {
        (Some(name), Some(destination), Some(payload)) if violations.is_empty() => Ok(CompiledSync {
            uid: sync.uid.as_str().into(),
            full_name: sync.name.as_str().into(),
            name,
            revision: sync.revision,
            etag: sync.etag.clone(),
            enabled: sync.enabled,
            filter,
            payload,
            destination,
            retry,
        }),
        _ => Err(violations),
    }
}

/// How long a sync may fail before it is disabled.
const DISABLE_AFTER: std::ops::RangeInclusive<Duration> = Duration::from_secs(3_600)..=Duration::from_secs(30 * 86_400);

fn disable_after_failing(after: Option<&prost_types::Duration>, violations: &mut Violations) {
    if after.is_some_and(|after| !DISABLE_AFTER.contains(&crate::duration::from_proto(after))) {
        violations.add("disable_after_failing", reason::OUT_OF_RANGE, "must be 1 hour to 30 days");
    }
}

/// Fingerprint of a sync's content, secrets included: 32 hexadecimal digits. Output-only fields other than `uid` don't count,
/// so that the same content of the same sync always has the same etag.
#[must_use]
pub fn etag(sync: &v1::Sync) -> String {
    let mut content = v1::Sync {
        required_features: Vec::new(),
        revision: 0,
        etag: String::new(),
        create_time: None,
        update_time: None,
        rollout: None,
        health: None,
        disable_reason: String::new(),
        ..sync.clone()
    };
    for header in content.destination.iter_mut().flat_map(|destination| &mut destination.headers) {
        if let Some(v1::header::Value::Secret(secret)) = &mut header.value {
            secret.set = false;
        }
    }
    // one encoding for one content: fields in the order of their numbers, maps in the order of their keys
    let hash: [u8; 32] = Sha256::digest(content.encode_to_vec()).into();
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The features that a node must have to serve `sync`, sorted: what the control plane writes into `required_features`.
#[must_use]
pub fn required_features(sync: &v1::Sync) -> Vec<String> {
    let events = sync.events.as_ref();
    let filter = events.and_then(|events| events.filter.as_ref());
    let payload = events.and_then(|events| events.payload.as_ref());
    let destination = sync.destination.as_ref();
    let limits = destination.and_then(|destination| destination.limits.as_ref());
    [
        (destination.is_some_and(|destination| destination.send_trace_context), DESTINATION_TRACE_CONTEXT),
        (destination.is_some_and(|destination| !destination.trusted_ca_pem.is_empty()), DESTINATION_TRUSTED_CA),
        (filter.is_some_and(|filter| !filter.event_type_patterns.is_empty()), FILTER_EVENT_TYPE_PATTERNS),
        (filter.is_some_and(|filter| filter.conditions.iter().any(is_nested)), FILTER_NESTED),
        (filter.is_some_and(|filter| !filter.conditions.is_empty()), FILTER_PROPERTY),
        (limits.is_some_and(|limits| limits.max_backlog != 0), LIMITS_BACKLOG),
        (limits.is_some_and(|limits| limits.max_requests_per_second != 0.0), LIMITS_RATE),
        (matches!(payload, Some(event_selection::Payload::Template(_))), PAYLOAD_TEMPLATE),
    ]
    .into_iter()
    .filter(|(needed, _)| *needed)
    .map(|(_, feature)| feature.to_owned())
    .collect()
}

fn is_nested(condition: &v1::Condition) -> bool {
    !matches!(condition.condition, Some(v1::condition::Condition::Property(_)) | None)
}

fn name(name: &str, violations: &mut Violations) -> Option<SyncName> {
    name.parse()
        .map_err(|error: sluice_proto::name::InvalidName| {
            violations.add("name", reason::INVALID_NAME, error.to_string());
        })
        .ok()
}

fn display_name(text: &str, violations: &mut Violations) {
    let count = text.chars().count();
    if count > MAX_DISPLAY_NAME_CHARS {
        violations.add(
            "display_name",
            reason::TOO_LONG,
            format!("{count} characters; at most {MAX_DISPLAY_NAME_CHARS} are taken"),
        );
    }
    if text.chars().any(char::is_control) {
        violations.add("display_name", reason::INVALID_TEXT, "holds a control character or a line break");
    }
}

fn labels(labels: &BTreeMap<String, String>, violations: &mut Violations) {
    if labels.len() > MAX_LABELS {
        violations.add("labels", reason::TOO_MANY, format!("{} labels; at most {MAX_LABELS} are taken", labels.len()));
    }
    for (key, value) in labels {
        let field = format!("labels[{:?}]", shown(key, MAX_LABEL_CHARS));
        if key.is_empty() {
            violations.add(&field, reason::REQUIRED, "the key is empty");
        }
        for (what, text) in [("key", key), ("value", value)] {
            let count = text.chars().count();
            if count > MAX_LABEL_CHARS {
                violations.add(
                    &field,
                    reason::TOO_LONG,
                    format!("the {what} has {count} characters; at most {MAX_LABEL_CHARS} are taken"),
                );
            }
            if text.chars().any(char::is_control) {
                violations.add(
                    &field,
                    reason::INVALID_TEXT,
                    format!("the {what} holds a control character or a line break"),
                );
            }
        }
    }
}

fn payload(events: Option<&v1::EventSelection>, content_is_json: bool, violations: &mut Violations) -> Option<Payload> {
    match events.and_then(|events| events.payload.as_ref()) {
        None => {
            violations.add(
                "events",
                reason::REQUIRED,
                "no payload is chosen that this version can read: `original` or `template` is expected",
            );
            None
        }
        Some(event_selection::Payload::Original(_)) => Some(Payload::Original),
        Some(event_selection::Payload::Template(payload)) => {
            let template = template(&payload.source, violations)?;
            Some(Payload::Template {
                template: Box::new(template),
                must_be_json: content_is_json && !payload.allow_invalid_json,
            })
        }
    }
}

/// The field that holds a template's source.
pub(crate) const TEMPLATE_FIELD: &str = "events.template.source";

fn template(source: &str, violations: &mut Violations) -> Option<Template> {
    if source.trim().is_empty() {
        violations.add(TEMPLATE_FIELD, reason::REQUIRED, "the template is empty: it would send empty bodies");
        return None;
    }
    if source.len() > MAX_TEMPLATE_BYTES {
        violations.add(
            TEMPLATE_FIELD,
            reason::TOO_LONG,
            format!("the template has {} bytes; at most {MAX_TEMPLATE_BYTES} (256 KiB) are taken", source.len()),
        );
        return None;
    }
    Template::parse("template", source, profile::settings())
        .map_err(|error| {
            violations.push(Violation {
                field: TEMPLATE_FIELD.into(),
                reason: reason::INVALID_TEMPLATE,
                description: error.message().to_owned(),
                position: Position::of(&error),
            });
        })
        .ok()
}

fn features(required: &[String], violations: &mut Violations) {
    for (index, feature) in required.iter().enumerate() {
        if !FEATURES.contains(&feature.as_str()) {
            violations.add(
                format!("required_features[{index}]"),
                reason::UNKNOWN_FEATURE,
                format!(
                    "this version does not have the feature `{}` that the sync needs: upgrade it",
                    shown(feature, 64)
                ),
            );
        }
    }
}
