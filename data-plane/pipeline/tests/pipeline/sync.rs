//! Syncs: what is valid, and what is said about what is not.

use std::time::Duration;

use sluice_pipeline::{
    sync::{FEATURES, Payload, Rules, compile, etag, required_features},
    violation::reason,
};
use sluice_proto::sync::v1::{
    Destination, EventSelection, Header, Limits, PropertyOperator, PropertyRoot, RetryPolicy, Rollout, Sync, header,
};

use crate::support::{SyncExt, compiled, conditions, plain, property, secret, sync, types, violations};

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

#[test]
fn a_valid_sync_is_compiled_with_its_defaults() {
    let sync = compiled(&sync("orders"));
    assert_eq!(sync.name.to_string(), "projects/default/syncs/orders");
    assert_eq!((sync.uid.as_ref(), sync.revision, sync.enabled), ("uid-orders", 1, true));
    assert!(matches!(sync.payload, Payload::Original));
    let destination = &sync.destination;
    assert_eq!(destination.uri, "https://hooks.example.com/in");
    assert_eq!(destination.timeout, Duration::from_secs(10));
    assert_eq!(destination.limits.max_concurrency, 32);
    assert_eq!(destination.headers["content-type"], "application/json");
    assert_eq!(destination.headers["user-agent"], "Sluice/Webhook/1.0");
    assert_eq!(sync.retry.rounds(), 10);
}

#[test]
fn what_the_sync_says_is_taken_over() {
    let sync = compiled(&sync("orders").with_destination(|destination| {
        destination.headers = vec![plain("X-Team", "growth"), secret("Authorization", "Bearer abc")];
        destination.content_type = "application/vnd.api+json; charset=utf-8".into();
        destination.timeout = seconds(3);
        destination.limits = Some(Limits { max_concurrency: 7, ..Default::default() });
    }));
    let destination = &sync.destination;
    assert_eq!(destination.headers["x-team"], "growth");
    assert_eq!(destination.headers["authorization"], "Bearer abc");
    assert!(destination.headers["authorization"].is_sensitive());
    assert!(!destination.headers["x-team"].is_sensitive());
    assert_eq!(destination.headers["content-type"], "application/vnd.api+json; charset=utf-8");
    assert_eq!((destination.timeout, destination.limits.max_concurrency), (Duration::from_secs(3), 7));
    assert!(destination.takes_json());
}

#[test]
fn no_debug_output_shows_a_secret() {
    let sync = sync("orders").with_destination(|destination| {
        destination.headers = vec![secret("Authorization", "Bearer hush")];
    });
    let compiled = compiled(&sync);
    for text in [format!("{compiled:?}"), format!("{:?}", compiled.destination)] {
        assert!(!text.contains("hush"), "{text}");
    }
}

#[test]
fn no_violation_shows_a_secret() {
    let wrong = sync("orders").with_destination(|destination| {
        destination.headers =
            vec![secret("A", "hush\n"), secret("B", " hush"), secret("C", &"hush".repeat(2000)), secret("D", "hushé")];
    });
    let violations = compile(&wrong, &Rules::default()).unwrap_err();
    assert_eq!(violations.len(), 4);
    for violation in violations {
        assert!(!format!("{violation:?} {violation}").contains("hush"), "{violation}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let wrong = Sync {
        name: "orders".into(),
        display_name: "x".repeat(129),
        labels: [("k".repeat(64), String::new()), (String::new(), "a\nb".into())].into(),
        destination: Some(Destination {
            url: "ftp://example.com".into(),
            headers: vec![
                plain("Content-Type", "text/plain"),
                plain("X A", "1"),
                plain("X-B", "a\r\nb"),
                Header { name: "X-C".into(), value: None },
                plain("X-D", "1"),
                secret("x-d", ""),
            ],
            content_type: "json".into(),
            timeout: seconds(61),
            limits: Some(Limits { max_concurrency: 1001, ..Default::default() }),
            trusted_ca_pem: String::new(),
            send_trace_context: false,
        }),
        events: Some(EventSelection { filter: Some(types(&[""])), payload: None }),
        retry_policy: Some(RetryPolicy { max_attempts_per_round: 4, ..Default::default() }),
        required_features: vec!["time.travel".into()],
        ..Default::default()
    };
    let expected = [
        ("name", reason::INVALID_NAME),
        ("display_name", reason::TOO_LONG),
        ("labels[\"\"]", reason::REQUIRED),
        ("labels[\"\"]", reason::INVALID_TEXT),
        (&format!("labels[\"{}…\"]", "k".repeat(63)), reason::TOO_LONG),
        ("destination.url", reason::SCHEME_NOT_ALLOWED),
        ("destination.content_type", reason::INVALID_MEDIA_TYPE),
        ("destination.headers", reason::TOO_MANY),
        ("destination.headers[0].name", reason::RESERVED_HEADER),
        ("destination.headers[1].name", reason::INVALID_HEADER_NAME),
        ("destination.headers[2].plain", reason::INVALID_HEADER_VALUE),
        ("destination.headers[3]", reason::REQUIRED),
        ("destination.headers[5].secret.value", reason::REQUIRED),
        ("destination.headers[5].name", reason::DUPLICATE_HEADER),
        ("destination.timeout", reason::OUT_OF_RANGE),
        ("destination.limits.max_concurrency", reason::OUT_OF_RANGE),
        ("events.filter.event_types[0]", reason::REQUIRED),
        ("events", reason::REQUIRED),
        ("retry_policy.max_attempts_per_round", reason::OUT_OF_RANGE),
        ("required_features[0]", reason::UNKNOWN_FEATURE),
    ];
    assert_eq!(violations(&wrong), expected.map(|(field, reason)| (field.to_owned(), reason)));
}

#[test]
fn an_empty_sync_lacks_its_name_destination_and_payload() {
    let expected = [("name", reason::INVALID_NAME), ("destination", reason::REQUIRED), ("events", reason::REQUIRED)];
    assert_eq!(violations(&Sync::default()), expected.map(|(field, reason)| (field.to_owned(), reason)));
}

#[test]
fn names_of_headers_are_tokens_that_are_not_ours() {
    let name = |name: &str| {
        let sync = sync("s").with_destination(|destination| destination.headers = vec![plain(name, "1")]);
        compile(&sync, &Rules::default()).err().map(|violations| violations[0].reason)
    };
    for ours in [
        "Content-Type",
        "user-agent",
        "WEBHOOK-ID",
        "webhook-signature",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Expect",
    ] {
        assert_eq!(name(ours), Some(reason::RESERVED_HEADER), "{ours}");
    }
    for wrong in ["X A", "X:A", "X\nA", "Ä", "X/A", "(x)", ":path"] {
        assert_eq!(name(wrong), Some(reason::INVALID_HEADER_NAME), "{wrong}");
    }
    assert_eq!(name(""), Some(reason::REQUIRED));
    assert_eq!(name(&"x".repeat(257)), Some(reason::TOO_LONG));
    for fine in ["Authorization", "X-Api-Key", "x_y", "Accept", "Cookie", "traceparent", "!#$%&'*+-.^_`|~"] {
        assert_eq!(name(fine), None, "{fine}");
    }
}

#[test]
fn values_of_headers_are_visible_ascii() {
    let value = |value: &str| {
        let sync = sync("s").with_destination(|destination| destination.headers = vec![plain("X", value)]);
        compile(&sync, &Rules::default()).err().map(|violations| violations[0].reason)
    };
    for wrong in ["a\r\nb", "a\nb", "a\rb", "a\0b", "a\x1bb", "\x7f", "é", " a", "a\t"] {
        assert_eq!(value(wrong), Some(reason::INVALID_HEADER_VALUE), "{wrong:?}");
    }
    assert_eq!(value(""), Some(reason::REQUIRED));
    assert_eq!(value(&"a".repeat(4096)), None);
    assert_eq!(value(&"a".repeat(4097)), Some(reason::TOO_LONG));
    assert_eq!(value("a\tb c~!"), None);
}

#[test]
fn five_headers_are_taken_and_six_are_not() {
    let with = |count: usize| {
        sync("s").with_destination(|destination| {
            destination.headers = (0..count).map(|n| plain(&format!("X-{n}"), "1")).collect();
        })
    };
    assert_eq!(compiled(&with(5)).destination.headers.len(), 7);
    assert_eq!(violations(&with(6)), [("destination.headers".to_owned(), reason::TOO_MANY)]);
}

#[test]
fn content_types_are_media_types() {
    let content_type = |content_type: &str| {
        let sync = sync("s").with_destination(|destination| destination.content_type = content_type.into());
        compile(&sync, &Rules::default()).map(|sync| sync.destination.takes_json()).ok()
    };
    for json in ["", "application/json", "Application/JSON;charset=utf-8", "application/cloudevents+json", "text/json"]
    {
        assert_eq!(content_type(json), Some(true), "{json}");
    }
    for other in ["text/plain", "application/x-www-form-urlencoded", "multipart/mixed; boundary=\"a b\"", "text/x-json"]
    {
        assert_eq!(content_type(other), Some(false), "{other}");
    }
    for wrong in ["json", "a/", "/b", "a/b/c", "a/b;", "a/b; c", "a/b; c=", "a/b\r\nX: 1", "a b/c", "a/b; c=\"", "ä/b"]
    {
        assert_eq!(content_type(wrong), None, "{wrong}");
    }
}

#[test]
fn time_limits_and_concurrency_have_bounds() {
    let fields = |change: &dyn Fn(&mut Destination)| {
        let sync = sync("s").with_destination(change);
        compile(&sync, &Rules::default()).err().map(|violations| violations[0].field.clone())
    };
    let millis = |millis: i32| Some(prost_types::Duration { seconds: 0, nanos: millis * 1_000_000 });
    for (timeout, fine) in [
        (millis(100), true),
        (millis(99), false),
        (seconds(60), true),
        (seconds(61), false),
        (seconds(0), false),
        (seconds(-1), false),
        (None, true),
    ] {
        let expected = (!fine).then(|| "destination.timeout".to_owned());
        assert_eq!(fields(&|destination| destination.timeout = timeout), expected, "{timeout:?}");
    }
    for (max_concurrency, fine) in [(0, true), (1, true), (1000, true), (1001, false), (-1, false), (i32::MIN, false)] {
        let expected = (!fine).then(|| "destination.limits.max_concurrency".to_owned());
        let change =
            |destination: &mut Destination| destination.limits = Some(Limits { max_concurrency, ..Default::default() });
        assert_eq!(fields(&change), expected, "{max_concurrency}");
    }
}

#[test]
fn a_broken_template_is_told_with_its_place() {
    let broken = sync("s").with_template("{\n  \"a\": <#if input.user_id??>1\n}");
    let violations = compile(&broken, &Rules::default()).unwrap_err();
    let [violation] = violations.as_slice() else { panic!("{violations:?}") };
    assert_eq!((violation.field.as_str(), violation.reason), ("events.template.source", reason::INVALID_TEMPLATE));
    let position = violation.position.as_ref().unwrap();
    assert!(position.line >= 1 && position.column >= 1, "{position:?}");
    assert!(!position.source_line.is_empty());
}

#[test]
fn templates_are_bounded() {
    let field = "events.template.source".to_owned();
    assert_eq!(violations(&sync("s").with_template(" \n")), [(field.clone(), reason::REQUIRED)]);
    let large = "x".repeat((256 << 10) + 1);
    assert_eq!(violations(&sync("s").with_template(&large)), [(field, reason::TOO_LONG)]);
}

#[test]
fn the_etag_is_of_the_content() {
    let base = sync("s").with_destination(|destination| destination.headers = vec![secret("Authorization", "a")]);
    assert_eq!(etag(&base).len(), 32);
    let mut output_only = base.clone();
    output_only.revision = 9;
    output_only.etag = "other".into();
    output_only.required_features = vec!["payload.template".into()];
    output_only.create_time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    output_only.update_time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    output_only.rollout = Some(Rollout { serving_count: 1, ..Default::default() });
    if let Some(header::Value::Secret(secret)) = &mut output_only.destination.as_mut().unwrap().headers[0].value {
        secret.set = false;
    }
    assert_eq!(etag(&output_only), etag(&base));

    let changed = [
        base.clone().with(|sync| sync.uid = "other".into()),
        base.clone().with(|sync| sync.name = "projects/default/syncs/t".into()),
        base.clone().with(|sync| sync.enabled = false),
        base.clone().with(|sync| sync.display_name = "S".into()),
        base.clone().with_url("https://hooks.example.com/other"),
        base.clone().with_destination(|destination| destination.headers = vec![secret("Authorization", "b")]),
        base.clone().with_destination(|destination| destination.headers = vec![plain("Authorization", "a")]),
        base.clone().with_filter(types(&["a"])),
        base.clone().with_template("x"),
    ];
    for sync in changed {
        assert_ne!(etag(&sync), etag(&base), "{}", sync.name);
    }
}

#[test]
fn a_sync_names_the_features_that_it_needs() {
    assert_eq!(required_features(&sync("s")), [""; 0]);
    assert_eq!(required_features(&sync("s").with_filter(types(&["a"]))), [""; 0]);
    let condition = property(PropertyRoot::Event, "a", PropertyOperator::IsSet, &[]);
    let full = sync("s").with_filter(conditions([condition])).with_template("x");
    let features = required_features(&full);
    assert_eq!(features, ["filter.property", "payload.template"]);
    assert!(features.iter().all(|feature| FEATURES.contains(&feature.as_str())));
    assert_eq!(required_features(&Sync::default()), [""; 0]);
    compiled(&full.with(|sync| sync.required_features = features));
}
