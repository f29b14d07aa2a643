//! Alert rules: what they find, and how people are told.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use sluice_client::Connection;
use sluice_proto::{
    alert::v1::{
        AlertRule, BacklogAgeAbove, CreateAlertRuleRequest, DeleteAlertRuleRequest, DeliveryRateBelow, ExpiredAbove,
        FailingFor, GetAlertRuleRequest, ListAlertRulesRequest, ListAlertsRequest, NodeGone, PendingAbove,
        UpdateAlertRuleRequest, alert_rule::Condition, alert_service_client::AlertServiceClient,
    },
    sync::v1::Sync,
};
use sluice_tests::{
    cluster::{Cluster, eventually, sync_name},
    endpoint::{Endpoint, status},
    events::{SyncBuilder as _, event, sync_to},
};
use tonic::{Code, Status};

const PARENT: &str = "projects/default";

async fn alerts(cluster: &Cluster) -> AlertServiceClient<Connection> {
    AlertServiceClient::new(cluster.control_channel().await)
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

async fn create(cluster: &Cluster, id: &str, rule: AlertRule) -> Result<AlertRule, Status> {
    let request = CreateAlertRuleRequest {
        parent: PARENT.to_owned(),
        alert_rule_id: id.to_owned(),
        alert_rule: Some(rule),
        ..Default::default()
    };
    alerts(cluster).await.create_alert_rule(request).await.map(tonic::Response::into_inner)
}

async fn wrong_now(cluster: &Cluster) -> Vec<String> {
    let request = ListAlertsRequest { parent: PARENT.to_owned() };
    let alerts = alerts(cluster).await.list_alerts(request).await.unwrap().into_inner().alerts;
    alerts.into_iter().map(|alert| format!("{}: {}", alert.subject, alert.summary)).collect()
}

/// Moves the clock from look to look until there is an answer.
async fn look_until<T>(cluster: &Cluster, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let looked = eventually(what, async || {
        cluster.time.advance_to_next("alerts").await;
        cluster.time.next("alerts").await;
        ask().await
    });
    cluster.redialling(looked).await
}

#[tokio::test]
async fn people_are_told_once_when_a_sync_fails_and_once_when_it_is_well() {
    let cluster = Cluster::start().await;
    let (orders, people) = (Endpoint::start().await, Endpoint::start().await);
    orders.always(status(404));
    people.always(status(200));
    let shape = r#"{"text": "${input.event_type}: ${input.event_properties.subject} ${input.event_properties.summary?json_string}"}"#;
    let on_call = sync_to(&people.url("/hook")).template(shape);
    cluster.create("on-call", Sync { enabled: false, ..on_call }).await;
    cluster.create("orders", sync_to(&orders.url("/"))).await;
    let rule = AlertRule {
        condition: Some(Condition::FailingFor(FailingFor { duration: seconds(60) })),
        clear_after: seconds(0),
        notify_sync: sync_name("on-call"),
        ..AlertRule::default()
    };
    create(&cluster, "failing", rule).await.unwrap();
    cluster.send([event("order", "u")]).await;
    cluster.wait_for_attempts("orders", 1).await;

    look_until(&cluster, "people are told", async || (people.count() == 1).then_some(())).await;
    let told = people.received().remove(0);
    assert!(
        told.text()
            .starts_with(r#"{"text": "sluice_alert_fired: projects/default/syncs/orders nothing but failures since"#),
        "{}",
        told.text()
    );
    assert_eq!(wrong_now(&cluster).await.len(), 1);

    orders.always(status(200));
    look_until(&cluster, "people are told again", async || (people.count() == 2).then_some(())).await;
    assert!(people.received()[1].text().contains("sluice_alert_resolved"), "{}", people.received()[1].text());
    assert!(wrong_now(&cluster).await.is_empty());
}

#[tokio::test]
async fn a_rule_is_checked_with_every_violation_at_once() {
    let cluster = Cluster::start().await;
    let bad = AlertRule {
        display_name: "x".repeat(201),
        sync: "projects/other/syncs/a".to_owned(),
        notify_sync: "on-call".to_owned(),
        condition: Some(Condition::DeliveryRateBelow(DeliveryRateBelow { rate: 1.5, over: seconds(5), min_count: -1 })),
        clear_after: seconds(-1),
        ..AlertRule::default()
    };
    let refused = create(&cluster, "Bad", bad).await.unwrap_err();
    let violations =
        tonic_types::StatusExt::get_error_details(&refused).bad_request().unwrap().field_violations.clone();
    let fields: Vec<_> = violations.iter().map(|one| one.field.trim_start_matches("alert_rule.")).collect();
    assert_eq!(
        fields,
        [
            "alert_rule_id",
            "display_name",
            "sync",
            "notify_sync",
            "delivery_rate_below.over",
            "delivery_rate_below.rate",
            "delivery_rate_below.min_count",
            "clear_after",
        ]
    );
    let missing = AlertRule {
        condition: Some(Condition::PendingAbove(PendingAbove { count: 1 })),
        notify_sync: sync_name("nobody"),
        ..AlertRule::default()
    };
    assert_eq!(create(&cluster, "a", missing).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn rules_are_made_listed_and_deleted() {
    let cluster = Cluster::start().await;
    let rule = |condition| AlertRule { condition: Some(condition), ..AlertRule::default() };
    let expired = rule(Condition::ExpiredAbove(ExpiredAbove { count: 0, over: seconds(3_600) }));
    create(&cluster, "expired", expired.clone()).await.unwrap();
    create(&cluster, "gone", rule(Condition::NodeGone(NodeGone { duration: seconds(60) }))).await.unwrap();
    assert_eq!(create(&cluster, "gone", expired).await.unwrap_err().code(), Code::AlreadyExists);
    let list = async || {
        let request = ListAlertRulesRequest { parent: PARENT.to_owned(), ..Default::default() };
        let rules = alerts(&cluster).await.list_alert_rules(request).await.unwrap().into_inner().alert_rules;
        rules.into_iter().map(|rule| rule.name).collect::<Vec<_>>()
    };
    assert_eq!(list().await, ["expired", "gone"].map(|id| format!("{PARENT}/alertRules/{id}")));
    let request = DeleteAlertRuleRequest { name: format!("{PARENT}/alertRules/gone"), ..Default::default() };
    alerts(&cluster).await.delete_alert_rule(request.clone()).await.unwrap();
    assert_eq!(alerts(&cluster).await.delete_alert_rule(request).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(list().await.len(), 1);
}

async fn update(cluster: &Cluster, rule: AlertRule, paths: &[&str]) -> Result<AlertRule, Status> {
    let request = UpdateAlertRuleRequest {
        alert_rule: Some(rule),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
        ..Default::default()
    };
    alerts(cluster).await.update_alert_rule(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_rule_is_changed_field_by_field_and_only_as_it_was_read() {
    let cluster = Cluster::start().await;
    let failing = |seconds_| Some(Condition::FailingFor(FailingFor { duration: seconds(seconds_) }));
    let rule = AlertRule { display_name: "old".to_owned(), condition: failing(60), ..AlertRule::default() };
    let made = create(&cluster, "a", rule).await.unwrap();
    assert!(!made.etag.is_empty());

    let longer = AlertRule { condition: failing(120), ..made.clone() };
    let changed = update(&cluster, longer, &["failing_for.duration"]).await.unwrap();
    assert_eq!((changed.display_name.as_str(), changed.condition), ("old", failing(120)));
    assert_eq!(changed.create_time, made.create_time);
    assert_ne!(changed.etag, made.etag);
    let stale = update(&cluster, AlertRule { display_name: "new".to_owned(), ..made.clone() }, &["display_name"]);
    assert_eq!(stale.await.unwrap_err().code(), Code::Aborted);

    let pending = Some(Condition::PendingAbove(PendingAbove { count: 7 }));
    let other = AlertRule { name: made.name.clone(), condition: pending, ..AlertRule::default() };
    assert_eq!(update(&cluster, other, &["pending_above"]).await.unwrap().condition, pending);
    let bad = AlertRule { name: made.name.clone(), condition: failing(1), ..AlertRule::default() };
    assert_eq!(update(&cluster, bad, &["failing_for"]).await.unwrap_err().code(), Code::InvalidArgument);
    for path in ["create_time", "etag", "name", "nothing"] {
        let refused = update(&cluster, AlertRule { name: made.name.clone(), ..AlertRule::default() }, &[path]).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument, "{path}");
    }
    let whole = AlertRule { name: made.name.clone(), condition: failing(90), ..AlertRule::default() };
    let whole = update(&cluster, whole, &["*"]).await.unwrap();
    assert_eq!((whole.display_name.as_str(), whole.condition), ("", failing(90)));
    let read = alerts(&cluster).await.get_alert_rule(GetAlertRuleRequest { name: made.name.clone() }).await;
    assert_eq!(read.unwrap().into_inner(), whole);
    let nobody = AlertRule { name: format!("{PARENT}/alertRules/nobody"), ..AlertRule::default() };
    assert_eq!(update(&cluster, nobody, &["display_name"]).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_request_that_is_repeated_makes_no_second_rule() {
    let cluster = Cluster::start().await;
    let rule =
        AlertRule { condition: Some(Condition::PendingAbove(PendingAbove { count: 1 })), ..AlertRule::default() };
    let request = CreateAlertRuleRequest {
        parent: PARENT.to_owned(),
        alert_rule: Some(rule),
        request_id: "made-once".to_owned(),
        ..Default::default()
    };
    let mut client = alerts(&cluster).await;
    let first = client.create_alert_rule(request.clone()).await.unwrap().into_inner();
    assert_eq!(client.create_alert_rule(request.clone()).await.unwrap().into_inner(), first);
    let other = CreateAlertRuleRequest { alert_rule_id: "b".to_owned(), ..request };
    assert_eq!(client.create_alert_rule(other).await.unwrap_err().code(), Code::InvalidArgument);
    let delete = DeleteAlertRuleRequest {
        name: first.name.clone(),
        etag: first.etag.clone(),
        request_id: "gone-once".to_owned(),
        ..Default::default()
    };
    assert_eq!(client.delete_alert_rule(delete.clone()).await.unwrap().into_inner().name, first.name);
    assert_eq!(client.delete_alert_rule(delete).await.unwrap().into_inner().name, first.name);
}

#[tokio::test]
async fn a_delivery_that_waits_for_long_is_found() {
    let cluster = Cluster::start().await;
    let endpoint = Endpoint::start().await;
    endpoint.always(status(404));
    cluster.create("orders", sync_to(&endpoint.url("/"))).await;
    let condition = Some(Condition::BacklogAgeAbove(BacklogAgeAbove { duration: seconds(90) }));
    create(&cluster, "old", AlertRule { condition, ..AlertRule::default() }).await.unwrap();
    cluster.send([event("order", "u")]).await;
    cluster.wait_for_attempts("orders", 1).await;

    let found = look_until(&cluster, "it is found", async || wrong_now(&cluster).await.pop()).await;
    assert!(found.starts_with("projects/default/syncs/orders: the oldest delivery has waited since"), "{found}");
}

#[tokio::test]
async fn a_node_that_is_gone_is_found() {
    let mut cluster = Cluster::start().await;
    let rule =
        AlertRule { condition: Some(Condition::NodeGone(NodeGone { duration: seconds(60) })), ..AlertRule::default() };
    create(&cluster, "gone", rule).await.unwrap();
    cluster.stop_node().await;
    for _ in 0..4 {
        cluster.time.advance_to_next("alerts").await;
    }
    cluster.time.next("alerts").await;
    let wrong = wrong_now(&cluster).await;
    assert!(wrong.len() == 1 && wrong[0].starts_with("nodes/n1: nodes/n1 has been away since"), "{wrong:?}");
}
