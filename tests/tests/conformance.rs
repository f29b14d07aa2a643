//! Every method of both planes, called by a client that knows the descriptors alone: what it answers when all is well, what it says of
//! each wrong argument, of what is not there, of pages and of requests that are only to be validated.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_client::{Connection, connect};
use sluice_tests::{
    cluster::{Cluster, eventually},
    dynamic::{call, method, methods},
    endpoint::{Endpoint, status},
    events::{SyncBuilder as _, event, sync_to},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// What is known of a method. `{letter}` in a request is the name of a dead letter.
struct Row {
    path: &'static str,
    /// A request that is done.
    good: &'static str,
    /// Requests that are refused, each with the field that is named.
    bad: &'static [(&'static str, &'static str)],
    /// A request about what is not there; empty: it is about nothing that could lack.
    missing: &'static str,
}

const WEEK: &str = r#"{"name":"projects/default/syncs/a","interval":{"start_time_inclusive":"2026-01-01T00:00:00Z","end_time_exclusive":"2026-01-08T00:00:00Z"}}"#;

/// In the order in which they are called.
const CONTROL_PLANE: &[Row] = &[
    Row {
        path: "sluice.sync.v1.SyncService/CreateSync",
        good: r#"{"parent":"projects/default","sync_id":"new","sync":{"destination":{"url":"http://127.0.0.1:1/"},"events":{"original":{}}}}"#,
        bad: &[
            (r#"{"parent":"default","sync":{}}"#, "parent"),
            (r#"{"parent":"projects/default","sync_id":"Not An Id","sync":{}}"#, "sync_id"),
            (r#"{"parent":"projects/default"}"#, "sync"),
            (r#"{"parent":"projects/default","sync":{"events":{"original":{}}}}"#, "destination"),
            (r#"{"parent":"projects/default","sync":{"destination":{"url":"ftp://x"}}}"#, "destination.url"),
            (r#"{"parent":"projects/default","sync":{"destination":{"url":"https://hooks.example/"}}}"#, "events"),
            (
                r#"{"parent":"projects/default","request_id":"not an id","sync":{"destination":{"url":"http://127.0.0.1:1/"},"events":{"original":{}}}}"#,
                "request_id",
            ),
        ],
        missing: r#"{"parent":"projects/none","sync":{"destination":{"url":"http://127.0.0.1:1/"},"events":{"original":{}}}}"#,
    },
    Row {
        path: "sluice.sync.v1.SyncService/GetSync",
        good: r#"{"name":"projects/default/syncs/a"}"#,
        bad: &[(r#"{"name":"a"}"#, "name"), ("{}", "name")],
        missing: r#"{"name":"projects/default/syncs/none"}"#,
    },
    Row {
        path: "sluice.sync.v1.SyncService/ListSyncs",
        good: r#"{"parent":"projects/default"}"#,
        bad: &[
            (r#"{"parent":"x"}"#, "parent"),
            (r#"{"parent":"projects/default","filter":"enabled = maybe"}"#, "filter"),
            (r#"{"parent":"projects/default","order_by":"colour"}"#, "order_by"),
        ],
        missing: r#"{"parent":"projects/none"}"#,
    },
    Row {
        path: "sluice.sync.v1.SyncService/UpdateSync",
        good: r#"{"sync":{"name":"projects/default/syncs/a","display_name":"A"},"update_mask":"displayName"}"#,
        bad: &[
            ("{}", "sync"),
            (r#"{"sync":{"name":"x"}}"#, "name"),
            (r#"{"sync":{"name":"projects/default/syncs/a"},"update_mask":"revision"}"#, "update_mask"),
            (r#"{"sync":{"name":"projects/default/syncs/a"},"update_mask":"colour"}"#, "update_mask"),
            (r#"{"sync":{"name":"projects/default/syncs/a"},"update_mask":"destination"}"#, "destination"),
        ],
        missing: r#"{"sync":{"name":"projects/default/syncs/none","display_name":"A"},"update_mask":"displayName"}"#,
    },
    Row {
        path: "sluice.sync.v1.SyncService/DisableSync",
        good: r#"{"name":"projects/default/syncs/new"}"#,
        bad: &[(r#"{"name":"x"}"#, "name")],
        missing: r#"{"name":"projects/default/syncs/none"}"#,
    },
    Row {
        path: "sluice.sync.v1.SyncService/EnableSync",
        good: r#"{"name":"projects/default/syncs/new"}"#,
        bad: &[(r#"{"name":"x"}"#, "name")],
        missing: r#"{"name":"projects/default/syncs/none"}"#,
    },
    Row {
        path: "sluice.sync.v1.SyncService/ListSyncRollouts",
        good: r#"{"parent":"projects/default/syncs/a"}"#,
        bad: &[(r#"{"parent":"x"}"#, "parent")],
        missing: r#"{"parent":"projects/default/syncs/none"}"#,
    },
    Row {
        path: "sluice.sync.v1.SyncService/PreviewSync",
        good: r#"{"name":"projects/default/syncs/a","event_json":"eyJldmVudF90eXBlIjoiYSJ9"}"#,
        bad: &[
            (r#"{"event_json":"e30="}"#, "subject"),
            (r#"{"name":"x","event_json":"e30="}"#, "name"),
            (r#"{"name":"projects/default/syncs/a","event_json":"Ww=="}"#, "event_json"),
        ],
        missing: r#"{"name":"projects/default/syncs/none","event_json":"eyJldmVudF90eXBlIjoiYSJ9"}"#,
    },
    Row {
        path: "sluice.sync.v1.SyncService/TestSync",
        good: r#"{"name":"projects/default/syncs/a","event_json":"eyJldmVudF90eXBlIjoiYSJ9"}"#,
        bad: &[
            (r#"{"event_json":"e30="}"#, "subject"),
            (r#"{"name":"x","event_json":"e30="}"#, "name"),
            (r#"{"name":"projects/default/syncs/a","event_json":"Ww=="}"#, "event_json"),
        ],
        missing: r#"{"name":"projects/default/syncs/none","event_json":"eyJldmVudF90eXBlIjoiYSJ9"}"#,
    },
    Row {
        path: "sluice.sync.v1.SyncService/ApplySyncs",
        good: r#"{"parent":"projects/default","syncs":[{"name":"projects/default/syncs/applied","destination":{"url":"http://127.0.0.1:1/"},"events":{"original":{}}}]}"#,
        bad: &[
            (r#"{"parent":"x"}"#, "parent"),
            (r#"{"parent":"projects/default","syncs":[{"name":"x"}]}"#, "syncs[0].name"),
            (
                r#"{"parent":"projects/default","syncs":[{"name":"projects/default/syncs/b","events":{"original":{}}}]}"#,
                "syncs[0].destination",
            ),
            (r#"{"parent":"projects/default","prune":true,"prune_filter":"("}"#, "prune_filter"),
        ],
        missing: r#"{"parent":"projects/none"}"#,
    },
    Row {
        path: "sluice.sync.v1.SyncService/DeleteSync",
        good: r#"{"name":"projects/default/syncs/applied"}"#,
        bad: &[(r#"{"name":"x"}"#, "name"), (r#"{"name":"projects/default/syncs/a","request_id":"?"}"#, "request_id")],
        missing: r#"{"name":"projects/default/syncs/none"}"#,
    },
    Row {
        path: "sluice.delivery.v1.DeliveryService/ListAttempts",
        good: r#"{"parent":"projects/default/syncs/a"}"#,
        bad: &[
            (r#"{"parent":"x"}"#, "parent"),
            (
                r#"{"parent":"projects/default/syncs/a","filter":{"start_time_inclusive":"2026-01-02T00:00:00Z","end_time_exclusive":"2026-01-01T00:00:00Z"}}"#,
                "filter.end_time_exclusive",
            ),
        ],
        missing: r#"{"parent":"projects/default/syncs/none"}"#,
    },
    Row {
        path: "sluice.delivery.v1.DeliveryService/WatchAttempts",
        good: "",
        bad: &[(r#"{"parent":"x"}"#, "parent")],
        missing: r#"{"parent":"projects/default/syncs/none"}"#,
    },
    Row {
        path: "sluice.delivery.v1.DeliveryService/GetSyncMetrics",
        good: WEEK,
        bad: &[
            (r#"{"name":"x","window":"METRICS_WINDOW_ONE_DAY"}"#, "name"),
            (r#"{"name":"projects/default/syncs/a"}"#, "period"),
            (r#"{"name":"projects/default/syncs/a","window":"METRICS_WINDOW_UNSPECIFIED"}"#, "window"),
        ],
        missing: r#"{"name":"projects/default/syncs/none","window":"METRICS_WINDOW_ONE_DAY"}"#,
    },
    Row {
        path: "sluice.delivery.v1.DeliveryService/GetSyncTimeSeries",
        good: r#"{"name":"projects/default/syncs/a","interval":{"start_time_inclusive":"2026-01-01T00:00:00Z","end_time_exclusive":"2026-01-02T00:00:00Z"},"step":"TIME_SERIES_STEP_HOUR"}"#,
        bad: &[
            (r#"{"name":"x"}"#, "name"),
            (r#"{"name":"projects/default/syncs/a","step":"TIME_SERIES_STEP_HOUR"}"#, "period"),
        ],
        missing: r#"{"name":"projects/default/syncs/none","interval":{"start_time_inclusive":"2026-01-01T00:00:00Z","end_time_exclusive":"2026-01-02T00:00:00Z"},"step":"TIME_SERIES_STEP_HOUR"}"#,
    },
    Row {
        path: "sluice.delivery.v1.DeliveryService/ListDeadLetters",
        good: r#"{"parent":"projects/default/syncs/broken"}"#,
        bad: &[(r#"{"parent":"x"}"#, "parent")],
        missing: "",
    },
    Row {
        path: "sluice.delivery.v1.DeliveryService/GetDeadLetter",
        good: r#"{"name":"{letter}"}"#,
        bad: &[(r#"{"name":"x"}"#, "name")],
        missing: r#"{"name":"projects/default/syncs/broken/deliveries/00000000000000000000000000000000"}"#,
    },
    Row {
        path: "sluice.delivery.v1.DeliveryService/CountDeadLetters",
        good: r#"{"parent":"projects/default/syncs/broken"}"#,
        bad: &[(r#"{"parent":"x"}"#, "parent")],
        missing: "",
    },
    Row {
        path: "sluice.delivery.v1.DeliveryService/ExportDeadLetters",
        good: r#"{"parent":"projects/default/syncs/broken"}"#,
        bad: &[(r#"{"parent":"x"}"#, "parent")],
        missing: "",
    },
    Row {
        path: "sluice.delivery.v1.DeliveryService/MarkDeadLettersExported",
        good: r#"{"parent":"projects/default/syncs/broken","deliveries":["{letter}"]}"#,
        bad: &[(r#"{"parent":"x"}"#, "parent")],
        missing: "",
    },
    Row {
        path: "sluice.delivery.v1.DeliveryService/RedeliverDeadLetters",
        good: r#"{"parent":"projects/default/syncs/broken"}"#,
        bad: &[(r#"{"parent":"x"}"#, "parent")],
        missing: r#"{"parent":"projects/default/syncs/none"}"#,
    },
    Row {
        path: "sluice.node.v1.NodeService/ListNodes",
        good: "{}",
        bad: &[(r#"{"page_size":-1}"#, "page_size")],
        missing: "",
    },
    Row {
        path: "sluice.node.v1.NodeService/GetLedger",
        good: r#"{"name":"nodes/-"}"#,
        bad: &[(r#"{"name":"x"}"#, "name")],
        missing: r#"{"name":"nodes/none"}"#,
    },
    Row {
        path: "sluice.node.v1.NodeService/GetSpoolStats",
        good: r#"{"name":"nodes/n1"}"#,
        bad: &[(r#"{"name":"x"}"#, "name")],
        missing: r#"{"name":"nodes/none"}"#,
    },
    Row {
        path: "sluice.access.v1.ProjectService/CreateProject",
        good: r#"{"project_id":"shop"}"#,
        bad: &[(r#"{"project_id":"Not An Id"}"#, "project_id")],
        missing: "",
    },
    Row {
        path: "sluice.access.v1.ProjectService/ListProjects",
        good: "{}",
        bad: &[(r#"{"page_size":-1}"#, "page_size")],
        missing: "",
    },
    Row {
        path: "sluice.access.v1.AccessService/CreateKey",
        good: r#"{"key_id":"k","key":{"role":"ROLE_VIEWER"}}"#,
        bad: &[
            ("{}", "key"),
            (r#"{"key_id":"Not An Id","key":{"role":"ROLE_VIEWER"}}"#, "key_id"),
            (r#"{"key":{}}"#, "key.role"),
            (r#"{"key":{"role":"ROLE_VIEWER","project":"shop"}}"#, "key.project"),
            (r#"{"key":{"role":"ROLE_VIEWER","expire_time":"2020-01-01T00:00:00Z"}}"#, "key.expire_time"),
        ],
        missing: r#"{"key":{"role":"ROLE_VIEWER","project":"projects/none"}}"#,
    },
    Row {
        path: "sluice.access.v1.AccessService/GetKey",
        good: r#"{"name":"keys/k"}"#,
        bad: &[(r#"{"name":"k"}"#, "name")],
        missing: r#"{"name":"keys/none"}"#,
    },
    Row {
        path: "sluice.access.v1.AccessService/ListKeys",
        good: "{}",
        bad: &[(r#"{"project":"x"}"#, "project")],
        missing: "",
    },
    Row {
        path: "sluice.access.v1.AccessService/RevokeKey",
        good: r#"{"name":"keys/k"}"#,
        bad: &[(r#"{"name":"k"}"#, "name")],
        missing: r#"{"name":"keys/none"}"#,
    },
    Row { path: "sluice.access.v1.AccessService/GetCaller", good: "{}", bad: &[], missing: "" },
    Row {
        path: "sluice.alert.v1.AlertService/CreateAlertRule",
        good: r#"{"parent":"projects/default","alert_rule_id":"r","alert_rule":{"pending_above":{"count":5}}}"#,
        bad: &[
            (r#"{"parent":"x","alert_rule":{"pending_above":{}}}"#, "parent"),
            (r#"{"parent":"projects/default"}"#, "alert_rule"),
            (r#"{"parent":"projects/default","alert_rule":{}}"#, "alert_rule.condition"),
            (
                r#"{"parent":"projects/default","alert_rule":{"failing_for":{"duration":"1s"}}}"#,
                "alert_rule.failing_for.duration",
            ),
        ],
        missing: r#"{"parent":"projects/none","alert_rule":{"pending_above":{"count":5}}}"#,
    },
    Row {
        path: "sluice.alert.v1.AlertService/GetAlertRule",
        good: r#"{"name":"projects/default/alertRules/r"}"#,
        bad: &[(r#"{"name":"x"}"#, "name")],
        missing: r#"{"name":"projects/default/alertRules/none"}"#,
    },
    Row {
        path: "sluice.alert.v1.AlertService/ListAlertRules",
        good: r#"{"parent":"projects/default"}"#,
        bad: &[(r#"{"parent":"x"}"#, "parent")],
        missing: "",
    },
    Row {
        path: "sluice.alert.v1.AlertService/UpdateAlertRule",
        good: r#"{"alert_rule":{"name":"projects/default/alertRules/r","display_name":"R"},"update_mask":"displayName"}"#,
        bad: &[
            ("{}", "alert_rule"),
            (r#"{"alert_rule":{"name":"x"}}"#, "alert_rule.name"),
            (r#"{"alert_rule":{"name":"projects/default/alertRules/w"},"update_mask":"colour"}"#, "update_mask"),
        ],
        missing: r#"{"alert_rule":{"name":"projects/default/alertRules/none"},"update_mask":"displayName"}"#,
    },
    Row {
        path: "sluice.alert.v1.AlertService/DeleteAlertRule",
        good: r#"{"name":"projects/default/alertRules/r"}"#,
        bad: &[(r#"{"name":"x"}"#, "name")],
        missing: r#"{"name":"projects/default/alertRules/none"}"#,
    },
    Row {
        path: "sluice.alert.v1.AlertService/ListAlerts",
        good: r#"{"parent":"projects/default"}"#,
        bad: &[(r#"{"parent":"x"}"#, "parent")],
        missing: "",
    },
    Row {
        path: "sluice.audit.v1.AuditService/ListAuditEntries",
        good: r#"{"parent":"projects/default"}"#,
        bad: &[(r#"{"parent":"x"}"#, "parent")],
        missing: "",
    },
    // The last: the node takes no more events then.
    Row {
        path: "sluice.node.v1.NodeService/DrainNode",
        good: r#"{"name":"nodes/n1"}"#,
        bad: &[(r#"{"name":"x"}"#, "name")],
        missing: r#"{"name":"nodes/none"}"#,
    },
];

/// Methods that the tests of their own protocols call.
const STREAMS: [&str; 5] = [
    "sluice.event.v1.EventService/StreamEvents",
    "sluice.event.v1.EventService/SendEvents",
    "sluice.node.v1.NodeSessionService/SyncCatalog",
    "sluice.node.v1.NodeSessionService/ReportAttempts",
    "sluice.node.v1.NodeSessionService/ServeCommands",
];

/// A cluster with the syncs `a` and `broken`, a dead letter of the latter, and an alert rule.
struct World {
    cluster: Cluster,
    _endpoint: Endpoint,
    connection: Connection,
    letter: String,
}

impl World {
    async fn start() -> Self {
        let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
        endpoint.always(status(200));
        cluster.create("a", sync_to(&endpoint.url("/")).event_types(&["a"])).await;
        cluster.create("broken", sync_to(&endpoint.url("/")).template("${input.nothing}")).await;
        cluster.send([event("a", "u"), event("b", "u")]).await;
        cluster.wait_for_attempts("a", 1).await;
        let letter = eventually("a dead letter", async || cluster.dead_letters("broken").await.pop()).await;
        let connection = cluster.control_channel().await;
        let world = Self { cluster, _endpoint: endpoint, connection, letter: letter.delivery };
        let rule = r#"{"parent":"projects/default","alert_rule_id":"w","alert_rule":{"pending_above":{"count":5}}}"#;
        world.call("sluice.alert.v1.AlertService/CreateAlertRule", rule).await.unwrap();
        world
    }

    async fn call(&self, path: &str, request: &str) -> Result<Value, Status> {
        call(&self.connection, path, &request.replace("{letter}", &self.letter)).await
    }
}

#[test]
fn every_method_has_its_row() {
    let rows = CONTROL_PLANE.iter().map(|row| row.path).chain(STREAMS).map(str::to_owned);
    assert_eq!(rows.collect::<BTreeSet<_>>(), methods().into_iter().collect());
}

#[tokio::test]
async fn every_method_answers_when_all_is_well() {
    let world = World::start().await;
    for row in CONTROL_PLANE.iter().filter(|row| !row.good.is_empty()) {
        let answered = world.call(row.path, row.good).await;
        assert!(answered.is_ok(), "{}: {:?}", row.path, answered.unwrap_err());
    }
}

#[tokio::test]
async fn every_wrong_argument_is_named_with_its_field() {
    let world = World::start().await;
    for row in CONTROL_PLANE {
        for (request, field) in row.bad {
            let refused = world.call(row.path, request).await.expect_err(&format!("{} {request}", row.path));
            let shown = format!("{} {request}: {refused:?}", row.path);
            assert_eq!(refused.code(), Code::InvalidArgument, "{shown}");
            let details = refused.get_error_details();
            let fields = details.bad_request().expect(&shown).field_violations.iter().map(|found| found.field.clone());
            let fields: Vec<_> = fields.collect();
            assert!(fields.iter().any(|found| found.starts_with(field)), "{fields:?}: {shown}");
            assert_eq!(details.error_info().expect(&shown).reason, "INVALID_ARGUMENT", "{shown}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_by_its_name() {
    let world = World::start().await;
    for row in CONTROL_PLANE.iter().filter(|row| !row.missing.is_empty()) {
        let missing = world.call(row.path, row.missing).await.expect_err(row.path);
        assert_eq!(missing.code(), Code::NotFound, "{}: {missing:?}", row.path);
        let details = missing.get_error_details();
        let info = details.error_info().expect(row.path);
        assert!(info.reason.ends_with("_NOT_FOUND") && info.domain == "sluice.dev", "{}: {info:?}", row.path);
        assert!(
            info.metadata.get("name").is_some_and(|name| name.contains("none") || name.contains("0000")),
            "{info:?}"
        );
    }
}

#[tokio::test]
async fn every_list_is_walked_to_its_end_and_takes_its_own_tokens_alone() {
    let world = World::start().await;
    for (path, request) in [
        ("sluice.sync.v1.SyncService/CreateSync", CONTROL_PLANE[0].good),
        ("sluice.access.v1.ProjectService/CreateProject", r#"{"project_id":"shop"}"#),
        ("sluice.access.v1.AccessService/CreateKey", r#"{"key":{"role":"ROLE_VIEWER"}}"#),
        ("sluice.access.v1.AccessService/CreateKey", r#"{"key":{"role":"ROLE_EDITOR"}}"#),
        (
            "sluice.alert.v1.AlertService/CreateAlertRule",
            r#"{"parent":"projects/default","alert_rule":{"pending_above":{"count":5}}}"#,
        ),
        (
            "sluice.alert.v1.AlertService/CreateAlertRule",
            r#"{"parent":"projects/default","alert_rule":{"pending_above":{"count":6}}}"#,
        ),
    ] {
        world.call(path, request).await.unwrap();
    }
    let mut walked = 0;
    for row in CONTROL_PLANE {
        let takes_pages = method(row.path).unwrap().input().get_field_by_name("page_size").is_some();
        if !takes_pages {
            continue;
        }
        walked += 1;
        let with = |fields: Value| {
            let mut request: Value = serde_json::from_str(row.good).unwrap();
            request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            request.to_string()
        };
        let whole = elements(&world.call(row.path, &with(json!({"page_size": 1_000_000}))).await.unwrap());
        let mut token = String::new();
        let mut found = Vec::new();
        loop {
            let page = world.call(row.path, &with(json!({"page_size": 1, "page_token": token}))).await.unwrap();
            let some = elements(&page);
            assert!(some.len() <= 1, "{}: {page}", row.path);
            found.extend(some);
            token = page["next_page_token"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(found, whole, "{}", row.path);
        for (fields, named) in [
            (json!({"page_size": -1}), "page_size"),
            (json!({"page_token": "no token"}), "page_token"),
            (json!({"page_token": "AAAA"}), "page_token"),
        ] {
            let refused = world.call(row.path, &with(fields)).await.expect_err(row.path);
            let details = refused.get_error_details();
            let fields = &details.bad_request().expect(row.path).field_violations;
            assert!(fields.iter().any(|found| found.field == named), "{}: {refused:?}", row.path);
        }
    }
    assert!(walked >= 8, "{walked}");
}

/// The elements of a page.
fn elements(page: &Value) -> Vec<Value> {
    let lists = page.as_object().unwrap().values().filter_map(Value::as_array);
    lists.flatten().map(|element| element.get("name").unwrap_or(element).clone()).collect()
}

#[tokio::test]
async fn what_is_only_validated_changes_nothing() {
    let world = World::start().await;
    let rule = r#"{"parent":"projects/default","alert_rule_id":"r","alert_rule":{"pending_above":{"count":5}}}"#;
    world.call("sluice.alert.v1.AlertService/CreateAlertRule", rule).await.unwrap();
    let key = r#"{"key_id":"k","key":{"role":"ROLE_VIEWER"}}"#;
    world.call("sluice.access.v1.AccessService/CreateKey", key).await.unwrap();
    let applied = r#"{"parent":"projects/default","sync_id":"applied","sync":{"destination":{"url":"http://127.0.0.1:1/"},"events":{"original":{}}}}"#;
    world.call("sluice.sync.v1.SyncService/CreateSync", applied).await.unwrap();
    let state = async || {
        let mut state = Vec::new();
        for (path, request) in [
            ("sluice.sync.v1.SyncService/ListSyncs", r#"{"parent":"projects/default"}"#),
            ("sluice.access.v1.AccessService/ListKeys", r#"{"show_inactive":true}"#),
            ("sluice.access.v1.ProjectService/ListProjects", "{}"),
            ("sluice.alert.v1.AlertService/ListAlertRules", r#"{"parent":"projects/default"}"#),
            ("sluice.audit.v1.AuditService/ListAuditEntries", r#"{"parent":"projects/default"}"#),
        ] {
            state.push(world.call(path, request).await.unwrap());
        }
        state
    };
    eventually("the node serves it", async || {
        world.cluster.get("applied").await.rollout.filter(|rollout| rollout.serving_count == 1)
    })
    .await;
    let before = state().await;
    let mut validated = 0;
    for row in CONTROL_PLANE {
        if method(row.path).unwrap().input().get_field_by_name("validate_only").is_none() {
            continue;
        }
        let mut request: Value = serde_json::from_str(row.good).unwrap();
        request["validate_only"] = true.into();
        let request = request.to_string().replace("syncs/new", "syncs/applied");
        match world.call(row.path, &request).await {
            Ok(_) => validated += 1,
            // It is there already.
            Err(status) => assert_eq!(status.code(), Code::AlreadyExists, "{}: {status:?}", row.path),
        }
        assert_eq!(state().await, before, "{}", row.path);
    }
    assert!(validated >= 9, "{validated}");
}

#[tokio::test]
async fn events_are_refused_one_by_one_and_a_call_that_is_none_as_a_whole() {
    let world = World::start().await;
    let node = connect(&world.cluster.node_url()).await.unwrap();
    let path = "sluice.event.v1.EventService/SendEvents";
    // {"event_type":"a"} and [.
    let some = call(&node, path, r#"{"events":[{"json":"eyJldmVudF90eXBlIjoiYSJ9"},{"json":"Ww=="}]}"#).await.unwrap();
    assert_eq!(some["rejections"].as_array().unwrap().len(), 1, "{some}");
    for request in [r#"{"producer_id":"p","events":[{"json":"e30="}]}"#, r#"{"first_sequence":4}"#] {
        let refused = call(&node, path, request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{request}: {refused:?}");
    }
}
