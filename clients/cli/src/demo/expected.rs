//! What the receiver must get, computed from the events by plain code: neither the filters nor the template engine of
//! Sluice are used. Only the ids are, since they are its own.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sluice_client::proto::name::DEFAULT_PROJECT;
use sluice_pipeline::event::{EventId, WebhookId};

use crate::{
    demo::syncs::{DEFAULT_EMAIL, DemoSync, LEAST_TOTAL, PURCHASE_TYPES, TOTAL},
    exit::Failure,
    receiver::BodyHash,
};

/// How often each (`webhook-id`, hash of the body) must come for these events, sent by `producer_id` from sequence 1 on.
pub(super) fn deliveries(
    kind: DemoSync,
    sync_uid: &str,
    producer_id: &str,
    events: &[Bytes],
) -> Result<HashMap<(String, BodyHash), u64>, Failure> {
    let mut deliveries = HashMap::new();
    for (sequence, event) in (1..).zip(events) {
        let Some(body) = body(kind, event)? else { continue };
        let event_id = EventId::new(DEFAULT_PROJECT, producer_id, sequence);
        let webhook_id = WebhookId::new(event_id, sync_uid).to_string();
        *deliveries.entry((webhook_id, BodyHash::from(Sha256::digest(&body)))).or_default() += 1;
    }
    Ok(deliveries)
}

/// The body that a sync of the demo makes of an event; `None` if it does not take it.
fn body(kind: DemoSync, event: &Bytes) -> Result<Option<Bytes>, Failure> {
    let fields: Value = serde_json::from_slice(event)
        .map_err(|error| Failure::failed(format!("a generated event is not JSON: {error}")))?;
    Ok(match kind {
        DemoSync::Original => takes_purchase(&fields).then(|| event.clone()),
        DemoSync::Templated => Some(templated(&fields).into()),
    })
}

fn takes_purchase(event: &Value) -> bool {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let is_purchase = text(event, "event_type").is_some_and(|name| PURCHASE_TYPES.contains(&name.as_str()));
    let total = event.get("event_properties").and_then(|properties| properties.get(TOTAL)).and_then(Value::as_f64);
    is_purchase && total.is_some_and(|total| total >= LEAST_TOTAL)
}

/// The output of the template. Its white space: the text before the first directive stays, with the six spaces that
/// follow the brace; the line break after `<#if …>` and the line of `</#if>` go.
fn templated(event: &Value) -> String {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(escaped);
    let mut body = "{\n      ".to_owned();
    if let Some(user_id) = text(event.get("user_id")) {
        body.push_str(&format!("      \"external_id\": \"{user_id}\",\n"));
    }
    let name = text(event.get("event_type")).unwrap_or_default();
    let time = text(event.get("event_time")).unwrap_or_default();
    let email = text(event.get("user_properties").and_then(|properties| properties.get("email")));
    let email = email.unwrap_or_else(|| DEFAULT_EMAIL.to_owned());
    body.push_str(&format!(
        "      \"name\": \"{name}\",\n      \"time\": \"{time}\",\n      \"email\": \"{email}\"\n}}"
    ));
    body
}

/// The inside of a JSON string. The generated values hold no other characters that would need an escape.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use sluice_client::proto::sync::v1::Sync;
    use sluice_pipeline::{
        event::Event,
        request::render_body,
        sync::{Rules, compile, etag},
    };

    use super::*;
    use crate::demo::events;

    #[test]
    fn the_template_gives_what_its_documentation_shows() {
        let event = serde_json::json!({"event_type": "Tapped \"Buy\"", "user_id": "zoë", "event_time": "t",
            "user_properties": {"email": "a@b.example"}});
        let body = "{\n            \"external_id\": \"zoë\",\n      \"name\": \"Tapped \\\"Buy\\\"\",\n      \
                    \"time\": \"t\",\n      \"email\": \"a@b.example\"\n}";
        assert_eq!(templated(&event), body);
        let event = serde_json::json!({"event_type": "x", "user_id": null, "event_time": "t", "user_properties": {}});
        let body =
            "{\n            \"name\": \"x\",\n      \"time\": \"t\",\n      \"email\": \"unknown@example.com\"\n}";
        assert_eq!(templated(&event), body);
    }

    #[test]
    fn plain_code_and_the_engine_agree() {
        let rules = Rules { allow_http: true, allow_private_destinations: true, ..Rules::default() };
        let events = events::generate(3, 500);
        for kind in DemoSync::ALL {
            let mut sync =
                Sync { name: format!("projects/default/syncs/{}", kind.id()), ..kind.sync("http://127.0.0.1:9/", "t") };
            sync.uid = "uid".into();
            sync.etag = etag(&sync);
            let compiled = compile(&sync, &rules).unwrap();
            let mut taken = 0;
            for event in &events {
                let parsed = Event::parse(event).unwrap();
                let rendered = compiled.filter.matches(&parsed).then(|| render_body(&compiled, event, 0).unwrap().body);
                assert_eq!(rendered, body(kind, event).unwrap());
                taken += usize::from(rendered.is_some());
            }
            assert!((20..=500).contains(&taken), "{taken}");
        }
    }
}
