//! Each method × each role × its project and another one: no row is open.

use std::collections::BTreeSet;

use sluice_client::{Connection, Credentials};
use sluice_proto::access::v1::{Key, Role};
use sluice_tests::{
    closed::Closed,
    cluster::START_MS,
    dynamic::{self, methods},
};
use tonic::{Code, Status};

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// The project `{p}` in it.
    Project,
    /// Nothing of any project.
    Nothing,
    /// All projects at once.
    Everything,
}
use About::{Everything, Nothing, Project};

const ADMIN: &[Role] = &[Role::Admin];
const EDIT: &[Role] = &[Role::Admin, Role::Editor];
const VIEW: &[Role] = &[Role::Admin, Role::Editor, Role::Viewer];
const ALL: [Role; 5] = [Role::Admin, Role::Editor, Role::Viewer, Role::Ingest, Role::Node];

type Row = (&'static str, &'static [Role], About, &'static str);

/// What the control plane serves: who may call it, and a request. Sessions are of a node with a name that is none: they are let in,
/// and end at once.
const CONTROL_PLANE: &[Row] = &[
    ("sluice.sync.v1.SyncService/CreateSync", EDIT, Project, r#"{"parent":"projects/{p}"}"#),
    ("sluice.sync.v1.SyncService/GetSync", VIEW, Project, r#"{"name":"projects/{p}/syncs/a"}"#),
    ("sluice.sync.v1.SyncService/ListSyncs", VIEW, Project, r#"{"parent":"projects/{p}"}"#),
    ("sluice.sync.v1.SyncService/UpdateSync", EDIT, Project, r#"{"sync":{"name":"projects/{p}/syncs/a"}}"#),
    ("sluice.sync.v1.SyncService/DeleteSync", EDIT, Project, r#"{"name":"projects/{p}/syncs/none"}"#),
    ("sluice.sync.v1.SyncService/EnableSync", EDIT, Project, r#"{"name":"projects/{p}/syncs/a"}"#),
    ("sluice.sync.v1.SyncService/DisableSync", EDIT, Project, r#"{"name":"projects/{p}/syncs/none"}"#),
    ("sluice.sync.v1.SyncService/ListSyncRollouts", VIEW, Project, r#"{"parent":"projects/{p}/syncs/a"}"#),
    ("sluice.sync.v1.SyncService/PreviewSync", VIEW, Project, r#"{"name":"projects/{p}/syncs/a","event_json":"e30="}"#),
    ("sluice.sync.v1.SyncService/PreviewSync", VIEW, Project, r#"{"sync":{"name":"projects/{p}/syncs/a"}}"#),
    ("sluice.sync.v1.SyncService/PreviewSync", VIEW, Nothing, r#"{"sync":{}}"#),
    ("sluice.sync.v1.SyncService/TestSync", EDIT, Project, r#"{"name":"projects/{p}/syncs/none","event_json":"e30="}"#),
    ("sluice.sync.v1.SyncService/TestSync", EDIT, Project, r#"{"sync":{"name":"projects/{p}/syncs/a"}}"#),
    ("sluice.sync.v1.SyncService/ApplySyncs", EDIT, Project, r#"{"parent":"projects/{p}"}"#),
    ("sluice.delivery.v1.DeliveryService/ListAttempts", VIEW, Project, r#"{"parent":"projects/{p}/syncs/-"}"#),
    ("sluice.delivery.v1.DeliveryService/WatchAttempts", VIEW, Project, r#"{"parent":"projects/{p}/syncs/-"}"#),
    ("sluice.delivery.v1.DeliveryService/GetSyncMetrics", VIEW, Project, r#"{"name":"projects/{p}/syncs/a"}"#),
    ("sluice.delivery.v1.DeliveryService/GetSyncTimeSeries", VIEW, Project, r#"{"name":"projects/{p}/syncs/a"}"#),
    ("sluice.delivery.v1.DeliveryService/ListDeadLetters", VIEW, Project, r#"{"parent":"projects/{p}/syncs/a"}"#),
    (
        "sluice.delivery.v1.DeliveryService/GetDeadLetter",
        VIEW,
        Project,
        r#"{"name":"projects/{p}/syncs/a/deliveries/x"}"#,
    ),
    ("sluice.delivery.v1.DeliveryService/CountDeadLetters", VIEW, Project, r#"{"parent":"projects/{p}/syncs/a"}"#),
    ("sluice.delivery.v1.DeliveryService/RedeliverDeadLetters", EDIT, Project, r#"{"parent":"projects/{p}/syncs/a"}"#),
    ("sluice.delivery.v1.DeliveryService/ExportDeadLetters", VIEW, Project, r#"{"parent":"projects/{p}/syncs/a"}"#),
    (
        "sluice.delivery.v1.DeliveryService/MarkDeadLettersExported",
        EDIT,
        Project,
        r#"{"parent":"projects/{p}/syncs/a"}"#,
    ),
    ("sluice.node.v1.NodeService/ListNodes", VIEW, Nothing, "{}"),
    ("sluice.node.v1.NodeService/GetLedger", VIEW, Everything, r#"{"name":"nodes/n1"}"#),
    ("sluice.node.v1.NodeService/GetSpoolStats", VIEW, Everything, r#"{"name":"nodes/n1"}"#),
    ("sluice.node.v1.NodeService/DrainNode", ADMIN, Everything, r#"{"name":"nodes/none"}"#),
    (
        "sluice.node.v1.NodeSessionService/SyncCatalog",
        &[Role::Node],
        Nothing,
        r#"{"hello":{"node":"x","protocol_version":1}}"#,
    ),
    (
        "sluice.node.v1.NodeSessionService/ReportAttempts",
        &[Role::Node],
        Nothing,
        r#"{"open":{"node":"x","spool_id":"s"}}"#,
    ),
    ("sluice.node.v1.NodeSessionService/ServeCommands", &[Role::Node], Nothing, r#"{"open":{"node":"x"}}"#),
    (
        "sluice.access.v1.AccessService/CreateKey",
        ADMIN,
        Project,
        r#"{"validate_only":true,"key":{"role":"ROLE_VIEWER","project":"projects/{p}"}}"#,
    ),
    (
        "sluice.access.v1.AccessService/CreateKey",
        ADMIN,
        Everything,
        r#"{"validate_only":true,"key":{"role":"ROLE_VIEWER"}}"#,
    ),
    (
        "sluice.access.v1.AccessService/CreateKey",
        ADMIN,
        Everything,
        r#"{"validate_only":true,"key":{"role":"ROLE_NODE"}}"#,
    ),
    ("sluice.access.v1.AccessService/GetKey", ADMIN, Project, r#"{"name":"keys/{p}-key"}"#),
    ("sluice.access.v1.AccessService/ListKeys", ADMIN, Project, r#"{"project":"projects/{p}"}"#),
    ("sluice.access.v1.AccessService/RevokeKey", ADMIN, Project, r#"{"validate_only":true,"name":"keys/{p}-key"}"#),
    ("sluice.access.v1.AccessService/GetCaller", &ALL, Nothing, "{}"),
    (
        "sluice.alert.v1.AlertService/CreateAlertRule",
        EDIT,
        Project,
        r#"{"parent":"projects/{p}","validate_only":true}"#,
    ),
    (
        "sluice.alert.v1.AlertService/CreateAlertRule",
        EDIT,
        Everything,
        r#"{"parent":"projects/shop","validate_only":true,"alert_rule":{"node_gone":{"duration":"60s"}}}"#,
    ),
    ("sluice.alert.v1.AlertService/GetAlertRule", VIEW, Project, r#"{"name":"projects/{p}/alertRules/a"}"#),
    ("sluice.alert.v1.AlertService/ListAlertRules", VIEW, Project, r#"{"parent":"projects/{p}"}"#),
    (
        "sluice.alert.v1.AlertService/UpdateAlertRule",
        EDIT,
        Project,
        r#"{"alertRule":{"name":"projects/{p}/alertRules/a","displayName":"b"},"updateMask":"displayName"}"#,
    ),
    (
        "sluice.alert.v1.AlertService/UpdateAlertRule",
        EDIT,
        Everything,
        r#"{"alertRule":{"name":"projects/shop/alertRules/a","nodeGone":{"duration":"60s"}},"updateMask":"nodeGone"}"#,
    ),
    ("sluice.alert.v1.AlertService/DeleteAlertRule", EDIT, Project, r#"{"name":"projects/{p}/alertRules/a"}"#),
    ("sluice.alert.v1.AlertService/ListAlerts", VIEW, Project, r#"{"parent":"projects/{p}"}"#),
    ("sluice.audit.v1.AuditService/ListAuditEntries", ADMIN, Project, r#"{"parent":"projects/{p}"}"#),
    ("sluice.audit.v1.AuditService/ListAuditEntries", ADMIN, Everything, r#"{"parent":"projects/-"}"#),
    (
        "sluice.access.v1.ProjectService/CreateProject",
        ADMIN,
        Everything,
        r#"{"validate_only":true,"project_id":"new"}"#,
    ),
    ("sluice.access.v1.ProjectService/ListProjects", VIEW, Nothing, "{}"),
];

/// What a node serves. The project of events is that of the key.
const NODE: &[Row] = &[
    (
        "sluice.event.v1.EventService/StreamEvents",
        &[Role::Ingest],
        Nothing,
        r#"{"open":{"producer_id":"p","first_sequence":1}}"#,
    ),
    ("sluice.event.v1.EventService/SendEvents", &[Role::Ingest], Nothing, r#"{"events":[{"json":"e30="}]}"#),
];

/// One who calls.
struct Caller {
    shown: String,
    credentials: Credentials,
    role: Role,
    /// The project that its key is bound to; empty: none.
    project: &'static str,
}

async fn callers(closed: &Closed) -> Vec<Caller> {
    let mut callers = Vec::new();
    for (role, project) in [
        (Role::Admin, ""),
        (Role::Editor, ""),
        (Role::Viewer, ""),
        (Role::Node, ""),
        (Role::Admin, "shop"),
        (Role::Editor, "shop"),
        (Role::Viewer, "shop"),
        (Role::Ingest, "shop"),
    ] {
        let (_, text) = closed.key(role, project).await;
        let shown = format!("{role:?} of `{project}`");
        callers.push(Caller { shown, credentials: closed.with_key(&text), role, project });
    }
    callers
}

/// Those whom nothing is opened for.
async fn strangers(closed: &Closed) -> Vec<(&'static str, Credentials)> {
    let (revoked, revoked_text) = closed.key(Role::Admin, "").await;
    closed.revoke(&revoked).await;
    let soon = prost_types::Timestamp { seconds: START_MS / 1_000 + 1, nanos: 0 };
    let expiring = Key { role: Role::Admin.into(), expire_time: Some(soon), ..Key::default() };
    let (_, expired_text) = closed.key_like("", expiring).await;
    closed.time.advance_to(START_MS + 1_000);
    vec![
        ("without a key", closed.anonymous()),
        ("with no key of ours", closed.with_key(&format!("sluice_{}", "0".repeat(64)))),
        ("with a revoked key", closed.with_key(&revoked_text)),
        ("with an expired key", closed.with_key(&expired_text)),
    ]
}

async fn start() -> Closed {
    let closed = Closed::start().await;
    for project in ["shop", "other"] {
        closed.project(project).await;
        let key = Key { role: Role::Ingest.into(), project: format!("projects/{project}"), ..Key::default() };
        closed.key_like(&format!("{project}-key"), key).await;
    }
    closed
}

#[tokio::test]
async fn no_row_of_the_control_plane_is_open() {
    let closed = start().await;
    for caller in callers(&closed).await {
        let connection = caller.credentials.connect(&closed.control_url()).await.unwrap();
        for (path, roles, about, request) in CONTROL_PLANE {
            for project in ["shop", "other"] {
                let within = match about {
                    Project => caller.project.is_empty() || caller.project == project,
                    Nothing => true,
                    Everything => caller.project.is_empty(),
                };
                let status = call(&connection, path, &request.replace("{p}", project)).await;
                let told = format!("{} calls {path} about {project}: {status:?}", caller.shown);
                // Whether there is a key of another project is not told.
                let hidden = status.code() == Code::NotFound && path.contains("AccessService");
                match roles.contains(&caller.role) && within {
                    true => assert!(!is_refusal(&status) && !hidden, "{told}"),
                    false => assert!(status.code() == Code::PermissionDenied || hidden, "{told}"),
                }
            }
        }
        for (path, ..) in NODE {
            let status = call(&connection, path, "{}").await;
            assert!(is_refusal(&status), "{} calls {path} on the control plane: {status:?}", caller.shown);
        }
    }
}

#[tokio::test]
async fn no_row_of_a_node_is_open() {
    let closed = start().await;
    for caller in callers(&closed).await {
        let connection = caller.credentials.connect(&closed.node_url()).await.unwrap();
        for (path, roles, _, request) in NODE {
            let status = call(&connection, path, request).await;
            match roles.contains(&caller.role) {
                true => assert!(!is_refusal(&status), "{} calls {path}: {status:?}", caller.shown),
                // Nodes know the keys for events alone.
                false => assert_eq!(status.code(), Code::Unauthenticated, "{} calls {path}", caller.shown),
            }
        }
        for (path, _, _, request) in CONTROL_PLANE {
            let status = call(&connection, path, &request.replace("{p}", "shop")).await;
            assert!(is_refusal(&status), "{} calls {path} on a node: {status:?}", caller.shown);
        }
    }
}

#[tokio::test]
async fn nothing_is_open_to_strangers() {
    let closed = start().await;
    for (shown, credentials) in strangers(&closed).await {
        for (address, rows) in [(closed.control_url(), CONTROL_PLANE), (closed.node_url(), NODE)] {
            let connection = credentials.connect(&address).await.unwrap();
            for (path, _, _, request) in rows {
                let status = call(&connection, path, &request.replace("{p}", "shop")).await;
                assert_eq!(status.code(), Code::Unauthenticated, "{path} {shown}: {status:?}");
            }
            for version in ["v1", "v1alpha"] {
                let reflection = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
                assert_eq!(call(&connection, &reflection, "{}").await.code(), Code::Unauthenticated, "{shown}");
            }
            assert!(!is_refusal(&call(&connection, "grpc.health.v1.Health/Check", "{}").await));
        }
    }
}

#[test]
fn every_method_has_its_row() {
    let rows: BTreeSet<_> = CONTROL_PLANE.iter().chain(NODE).map(|(path, ..)| (*path).to_owned()).collect();
    assert_eq!(rows, methods().into_iter().collect());
}

fn is_refusal(status: &Status) -> bool {
    matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented)
}

/// What a call comes to at its first answer.
async fn call(connection: &Connection, path: &str, json: &str) -> Status {
    dynamic::call(connection, path, json).await.err().unwrap_or_else(|| Status::ok(""))
}
