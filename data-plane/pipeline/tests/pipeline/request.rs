//! Bodies and headers of requests.

use bytes::Bytes;
use sluice_pipeline::{
    event::{EventId, WebhookId},
    request::{MASKED, RenderError, Rendered, WEBHOOK_ID, headers, masked, render_body},
    violation::{Violation, reason},
};
use sluice_proto::sync::v1::{Sync, TemplatePayload, event_selection::Payload};

use crate::support::{SyncExt, compiled, plain, secret, sync};

const NOW: i64 = 1_795_435_200_000;

fn render(sync: &Sync, event: &'static str) -> Result<Rendered, RenderError> {
    render_body(&compiled(sync), &Bytes::from_static(event.as_bytes()), NOW)
}

fn webhook_id() -> WebhookId {
    WebhookId::new(EventId::new("default", "p1", 1), "uid-s")
}

#[test]
fn the_original_is_sent_byte_for_byte_without_a_copy() {
    let event = Bytes::from_static(b"{ \"event_type\" : \"a\", \"n\":1.0e0,\"n\":2 }\n");
    let rendered = render_body(&compiled(&sync("s")), &event, NOW).unwrap();
    assert_eq!(rendered.body, event);
    assert_eq!(rendered.body.as_ptr(), event.as_ptr());
    assert_eq!(rendered.steps, 0);
}

#[test]
fn a_template_writes_the_body() {
    let sync = sync("s").with_template(
        "{<#if input.user_id??>\"external_id\": \"${input.user_id?json_string}\", </#if>\"name\": \"${input.event_type}\"}",
    );
    let rendered = render(&sync, r#"{"event_type": "a", "user_id": "u \"1\""}"#).unwrap();
    assert_eq!(rendered.body, r#"{"external_id": "u \"1\"", "name": "a"}"#);
    assert!(rendered.steps > 0);
    let rendered = render(&sync, r#"{"event_type": "a", "user_id": null}"#).unwrap();
    assert_eq!(rendered.body, r#"{"name": "a"}"#);
}

#[test]
fn a_template_that_fails_on_an_event_says_where() {
    let sync = sync("s").with_template("{\n  \"id\": \"${input.user_id}\"\n}");
    let error = render(&sync, r#"{"event_type": "a"}"#).unwrap_err();
    assert_eq!(error.reason, reason::RENDER_FAILED);
    let position = error.position.clone().unwrap();
    assert_eq!(position.line, 2);
    assert_eq!(position.source_line, "  \"id\": \"${input.user_id}\"");
    let violation = Violation::from(error);
    assert_eq!(violation.field, "events.template.source");
    assert!(!violation.description.is_empty());
}

#[test]
fn output_that_is_not_json_is_an_error_where_the_content_type_asks_for_json() {
    let template = "{\n  \"name\": \"${input.event_type}\",\n}";
    let error = render(&sync("s").with_template(template), r#"{"event_type": "a"}"#).unwrap_err();
    assert_eq!(error.reason, reason::OUTPUT_NOT_JSON);
    assert!(error.message.contains("not JSON") && error.message.contains("line 3 column 1"), "{}", error.message);
    let position = error.position.unwrap();
    assert_eq!((position.line, position.column, position.source_line.as_str()), (3, 1, "}"));

    let empty = render(&sync("s").with_template("<#if false>x</#if>"), r#"{"event_type": "a"}"#).unwrap_err();
    assert!(empty.message.contains("is empty"), "{}", empty.message);
}

#[test]
fn any_json_value_will_do() {
    for output in ["1", "[]", " \"a\" ", "null\n", "{\"a\":[{}]}"] {
        let sync = sync("s").with_template(output);
        assert!(render(&sync, r#"{"event_type": "a"}"#).is_ok(), "{output}");
    }
}

#[test]
fn other_content_types_and_syncs_that_allow_it_send_what_they_write() {
    let text = sync("s").with_template("hello").with_destination(|d| d.content_type = "text/plain".into());
    assert_eq!(render(&text, r#"{"event_type": "a"}"#).unwrap().body, "hello");
    let allowed = sync("s").with(|sync| {
        let payload = TemplatePayload { source: "{\"a\": 1,}".into(), allow_invalid_json: true };
        sync.events.as_mut().unwrap().payload = Some(Payload::Template(payload));
    });
    assert_eq!(render(&allowed, r#"{"event_type": "a"}"#).unwrap().body, "{\"a\": 1,}");
}

#[test]
fn requests_carry_the_fixed_headers_and_the_syncs_own() {
    let sync = compiled(&sync("s").with_destination(|destination| {
        destination.headers = vec![plain("X-Team", "growth"), secret("Authorization", "Bearer abc")];
    }));
    let headers = headers(&sync, webhook_id());
    assert_eq!(headers[WEBHOOK_ID], webhook_id().to_string());
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["user-agent"], "Sluice/Webhook/1.0");
    assert_eq!(headers["authorization"], "Bearer abc");
    assert_eq!(headers.len(), 5);

    let shown = masked(&headers);
    let value = |name: &str| shown.iter().find(|header| header.name == name).unwrap().value.clone();
    assert_eq!(value("authorization"), MASKED);
    assert_eq!(value("x-team"), "growth");
    assert_eq!(value("webhook-id"), webhook_id().to_string());
}
