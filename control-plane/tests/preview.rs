//! A preview tells what a sync would make of an event.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use sluice_proto::sync::v1::{
    Condition, ConditionList, Filter, PreviewSyncRequest, PreviewSyncResponse, PropertyCondition, PropertyOperator,
    PropertyRoot, Sync, condition, preview_sync_request::Subject,
};
use tonic::{Code, Status};

use self::support::{Plane, fields, name, reason, secret, sync, with_headers, with_template};

const EVENT: &str = r#"{"event_type":"order","user_id":"u1"}"#;

async fn preview(plane: &Plane, subject: Subject, event: &str) -> Result<PreviewSyncResponse, Status> {
    let request = PreviewSyncRequest { subject: Some(subject), event_json: event.to_owned().into() };
    plane.syncs().preview_sync(request).await.map(tonic::Response::into_inner)
}

async fn of_draft(plane: &Plane, draft: Sync) -> PreviewSyncResponse {
    preview(plane, Subject::Sync(draft), EVENT).await.unwrap()
}

fn only(event_type: &str, mut sync: Sync) -> Sync {
    let filter = Filter { event_types: vec![event_type.into()], ..Filter::default() };
    sync.events.as_mut().unwrap().filter = Some(filter);
    sync
}

#[tokio::test]
async fn a_stored_sync_is_shown_with_its_verdict_body_and_headers() {
    let plane = Plane::start().await;
    plane.create("orders", only("order", with_template(r#"{"id": "${input.user_id}"}"#))).await;
    let shown = preview(&plane, Subject::Name(name("orders")), EVENT).await.unwrap();
    assert!(shown.matched && !shown.verdict.is_empty());
    assert_eq!(shown.body, r#"{"id": "u1"}"#);
    assert_eq!(shown.violations, []);
    let header = |name: &str| shown.headers.iter().find(|header| header.name == name).unwrap().value.clone();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("user-agent"), "Sluice/Webhook/1.0");
    assert_eq!(header("webhook-id").len(), 32);
}

#[tokio::test]
async fn what_the_event_lacks_and_the_traps_of_the_template_are_told() {
    let plane = Plane::start().await;
    let draft =
        with_template("{\"a\": \"${input.user_id!}\",\n \"b\": \"${input.email!'-'}\", \"c\": \"${(input.a.b)!'x'}\"}");
    let shown = of_draft(&plane, draft).await;
    let missing: Vec<_> = shown.missing_paths.iter().map(|one| (one.path.as_str(), one.guarded)).collect();
    assert_eq!(missing, [("input.email", true), ("input.a.b", true)]);
    assert_eq!(shown.missing_paths[0].position.as_ref().unwrap().line, 2);
    assert!(shown.warnings.iter().any(|one| one.rule == "UNESCAPED_STRING"), "{:?}", shown.warnings);
    assert!(shown.warnings.iter().all(|one| !one.message.is_empty() && !one.remedy.is_empty()));
    let shown = of_draft(&plane, sync()).await;
    assert!(shown.missing_paths.is_empty() && shown.warnings.is_empty());
}

#[tokio::test]
async fn an_event_that_is_not_taken_is_rendered_all_the_same() {
    let plane = Plane::start().await;
    let shown = of_draft(&plane, only("signup", sync())).await;
    assert!(!shown.matched);
    assert!(shown.verdict.contains("order"), "{}", shown.verdict);
    assert_eq!(shown.body, EVENT);
}

#[tokio::test]
async fn a_draft_may_refer_to_a_stored_secret() {
    let plane = Plane::start().await;
    let shown = of_draft(&plane, with_headers(vec![secret("Authorization", "")])).await;
    assert_eq!(shown.violations, []);
    assert!(shown.headers.iter().any(|header| header.name == "authorization" && header.value == "***"));
}

#[tokio::test]
async fn a_broken_template_is_shown_with_its_place() {
    let plane = Plane::start().await;
    let shown = of_draft(&plane, with_template("{\n  <#if input.user_id>\n}")).await;
    let violation = &shown.violations[0];
    assert_eq!(violation.field, "events.template.source");
    let position = violation.position.as_ref().unwrap();
    assert!(position.line >= 1 && position.column >= 1 && !position.source_line.is_empty(), "{position:?}");
    assert!(shown.body.is_empty());
}

#[tokio::test]
async fn a_template_that_fails_on_the_event_is_shown_with_its_place() {
    let plane = Plane::start().await;
    let shown = of_draft(&plane, with_template("{\n\"x\": \"${input.missing}\"}")).await;
    assert!(shown.matched, "the filter takes it");
    let position = shown.violations[0].position.as_ref().unwrap();
    assert_eq!((position.line, position.source_line.as_str()), (2, "\"x\": \"${input.missing}\"}"));
}

#[tokio::test]
async fn output_that_is_not_json_is_a_violation() {
    let plane = Plane::start().await;
    let shown = of_draft(&plane, with_template("{\"x\": ${input.user_id}}")).await;
    assert_eq!(shown.violations[0].reason, "OUTPUT_NOT_JSON");
    assert!(shown.body.is_empty());
}

#[tokio::test]
async fn all_that_is_wrong_with_a_draft_is_told() {
    let plane = Plane::start().await;
    let mut draft = with_template("<#if>");
    draft.destination.as_mut().unwrap().url = String::new();
    let shown = of_draft(&plane, draft).await;
    let told: Vec<_> = shown.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(told, ["destination.url", "events.template.source"]);
}

#[tokio::test]
async fn an_event_that_is_none_is_refused() {
    let plane = Plane::start().await;
    for event in ["", "nonsense", "[]", "{}", r#"{"event_type":7}"#, &format!("\"{}\"", "x".repeat(1 << 20))] {
        let status = preview(&plane, Subject::Sync(sync()), event).await.unwrap_err();
        assert_eq!(fields(&status), ["event_json"]);
    }
}

#[tokio::test]
async fn a_preview_needs_a_subject_that_is_there() {
    let plane = Plane::start().await;
    let request = PreviewSyncRequest { subject: None, event_json: EVENT.into() };
    assert_eq!(fields(&plane.syncs().preview_sync(request).await.unwrap_err()), ["subject"]);
    let status = preview(&plane, Subject::Name(name("gone")), EVENT).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "SYNC_NOT_FOUND".into()));
}

#[tokio::test]
async fn every_part_of_a_filter_says_what_it_found() {
    let plane = Plane::start().await;
    let test = |path: &str, operator: PropertyOperator, value: &str| Condition {
        condition: Some(condition::Condition::Property(PropertyCondition {
            root: PropertyRoot::Event.into(),
            path: vec![path.into()],
            operator: operator.into(),
            values: vec![value.into()],
        })),
    };
    let either = ConditionList {
        conditions: vec![
            test("platform", PropertyOperator::Is, "web"),
            test("country", PropertyOperator::Regex, "^(CH|AT)$"),
        ],
    };
    let mut draft = sync();
    draft.events.as_mut().unwrap().filter = Some(Filter {
        event_type_patterns: vec!["order.*".into()],
        conditions: vec![Condition { condition: Some(condition::Condition::Any(either)) }],
        ..Filter::default()
    });
    let preview =
        preview(&plane, Subject::Sync(draft), r#"{"event_type": "order.paid", "device_id": "d", "country": "AT"}"#)
            .await
            .unwrap();
    assert!(preview.matched, "{}", preview.verdict);
    let told: Vec<_> =
        preview.conditions.iter().map(|part| (part.field.as_str(), part.holds, part.reason.as_str())).collect();
    assert_eq!(
        told,
        [
            ("events.filter.event_types", true, "event_type is \"order.paid\", which fits \"order.*\""),
            ("events.filter.conditions[0]", true, "any of 2"),
            (
                "events.filter.conditions[0].any.conditions[0]",
                false,
                "platform is missing or null: being \"web\" does not hold"
            ),
            (
                "events.filter.conditions[0].any.conditions[1]",
                true,
                "country is \"AT\": fitting the expression \"^(CH|AT)$\" holds"
            ),
        ]
    );
}
