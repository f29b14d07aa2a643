//! Which roles may call which method: one table. What is not in it nobody may call.

use sluice_proto::access::v1::Role;

const ADMIN: &[Role] = &[Role::Admin];
const EDIT: &[Role] = &[Role::Admin, Role::Editor];
const VIEW: &[Role] = &[Role::Admin, Role::Editor, Role::Viewer];
const INGEST: &[Role] = &[Role::Ingest];
const NODE: &[Role] = &[Role::Node];
const ANY: &[Role] = &[Role::Admin, Role::Editor, Role::Viewer, Role::Ingest, Role::Node];

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Whoever reaches the port: what load balancers ask.
    Anybody,
    /// Callers of these roles.
    Roles(&'static [Role]),
}

/// Who may call the method at `path`, such as `/sluice.sync.v1.SyncService/GetSync`; none: there is no such method.
#[must_use]
pub fn allowed(path: &str) -> Option<Allowed> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let roles = match (service, method) {
        ("grpc.health.v1.Health", "Check" | "Watch" | "List") => return Some(Allowed::Anybody),
        (
            "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection",
            "ServerReflectionInfo",
        ) => ANY,
        ("sluice.access.v1.AccessService", "GetCaller") => ANY,
        ("sluice.access.v1.ProjectService", "CreateProject") => ADMIN,
        ("sluice.access.v1.ProjectService", "ListProjects") => VIEW,
        ("sluice.access.v1.AccessService", "CreateKey" | "GetKey" | "ListKeys" | "RevokeKey") => ADMIN,
        ("sluice.alert.v1.AlertService", "GetAlertRule" | "ListAlertRules" | "ListAlerts") => VIEW,
        ("sluice.alert.v1.AlertService", "CreateAlertRule" | "UpdateAlertRule" | "DeleteAlertRule") => EDIT,
        ("sluice.audit.v1.AuditService", "ListAuditEntries") => ADMIN,
        ("sluice.sync.v1.SyncService", "GetSync" | "ListSyncs" | "ListSyncRollouts" | "PreviewSync") => VIEW,
        (
            "sluice.sync.v1.SyncService",
            "CreateSync" | "UpdateSync" | "DeleteSync" | "EnableSync" | "DisableSync" | "TestSync" | "ApplySyncs",
        ) => EDIT,
        (
            "sluice.delivery.v1.DeliveryService",
            "ListAttempts" | "WatchAttempts" | "GetSyncMetrics" | "GetSyncTimeSeries" | "ListDeadLetters"
            | "GetDeadLetter" | "CountDeadLetters" | "ExportDeadLetters",
        ) => VIEW,
        ("sluice.delivery.v1.DeliveryService", "RedeliverDeadLetters" | "MarkDeadLettersExported") => EDIT,
        ("sluice.node.v1.NodeService", "ListNodes" | "GetLedger" | "GetSpoolStats") => VIEW,
        ("sluice.node.v1.NodeService", "DrainNode") => ADMIN,
        ("sluice.node.v1.NodeSessionService", "SyncCatalog" | "ReportAttempts" | "ServeCommands") => NODE,
        ("sluice.event.v1.EventService", "StreamEvents" | "SendEvents") => INGEST,
        _ => return None,
    };
    Some(Allowed::Roles(roles))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;
    use sluice_proto::FILE_DESCRIPTOR_SET;

    use super::*;

    #[test]
    fn every_method_of_ours_has_its_row() {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
        let mut count = 0;
        for file in &files {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    assert!(matches!(allowed(&path), Some(Allowed::Roles(_))), "{path}");
                    count += 1;
                }
            }
        }
        assert!(count >= 30, "{count}");
    }

    #[test]
    fn what_is_not_there_nobody_may_call() {
        for path in
            ["", "/", "GetSync", "/sluice.sync.v1.SyncService/", "/sluice.sync.v1.SyncService/GetSync/x", "/x/GetSync"]
        {
            assert_eq!(allowed(path), None, "{path}");
        }
    }
}
