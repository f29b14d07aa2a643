//! The audit log: who changed what, in the transaction that changed it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use sluice_proto::{
    audit::v1::{AuditEntry, ListAuditEntriesRequest, audit_service_client::AuditServiceClient},
    sync::v1::{
        ApplySyncsRequest, DeleteSyncRequest, DisableSyncRequest, Header, Secret, Sync, UpdateSyncRequest,
        header::Value,
    },
};
use tonic::Code;

use self::support::{PARENT, Plane, START_MS, name, sync, with_headers};

async fn entries(plane: &Plane, request: ListAuditEntriesRequest) -> Vec<AuditEntry> {
    let request = ListAuditEntriesRequest { parent: PARENT.to_owned(), ..request };
    AuditServiceClient::new(plane.channel.clone()).list_audit_entries(request).await.unwrap().into_inner().entries
}

fn told(entry: &AuditEntry) -> String {
    let method = entry.method.rsplit('/').next().unwrap();
    let changes = entry.changes.iter().map(|one| format!("{}: {} -> {}", one.field, one.before, one.after));
    format!("{method} {} [{}]", entry.resource, changes.collect::<Vec<_>>().join(", "))
}

fn with_secret(value: &str) -> Sync {
    let value = Value::Secret(Secret { value: value.to_owned(), set: true });
    with_headers(vec![Header { name: "Authorization".to_owned(), value: Some(value) }])
}

#[tokio::test]
async fn each_change_is_told_field_by_field_the_newest_first() {
    let plane = Plane::start().await;
    let created = plane.create("orders", sync()).await;
    plane.hand.advance_to(START_MS + 1_000);
    let update = UpdateSyncRequest {
        sync: Some(Sync { display_name: "Sales".to_owned(), ..created.clone() }),
        ..UpdateSyncRequest::default()
    };
    plane.syncs().update_sync(update.clone()).await.unwrap();
    // Nothing changes: nothing is told.
    plane
        .syncs()
        .update_sync(UpdateSyncRequest {
            sync: update.sync.clone().map(|sync| Sync { etag: String::new(), ..sync }),
            ..update.clone()
        })
        .await
        .unwrap();
    plane.syncs().disable_sync(DisableSyncRequest { name: name("orders"), ..Default::default() }).await.unwrap();
    plane.syncs().delete_sync(DeleteSyncRequest { name: name("orders"), ..Default::default() }).await.unwrap();

    let entries = entries(&plane, ListAuditEntriesRequest::default()).await;
    let lines: Vec<_> = entries.iter().map(told).collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(
        lines[0].starts_with("DeleteSync projects/default/syncs/orders [destination.url: \"https://hooks"),
        "{lines:#?}"
    );
    assert_eq!(lines[1], "DisableSync projects/default/syncs/orders [enabled: true -> ]");
    assert_eq!(lines[2], "UpdateSync projects/default/syncs/orders [display_name: \"Orders\" -> \"Sales\"]");
    assert!(lines[3].starts_with("CreateSync") && lines[3].contains("display_name:  -> \"Orders\""), "{lines:#?}");
    assert!(entries.iter().all(|entry| entry.actor_address.starts_with("127.0.0.1:") && entry.actor.is_empty()));
    assert_eq!(entries[2].time.unwrap().seconds, START_MS / 1_000 + 1);
}

#[tokio::test]
async fn what_is_refused_or_only_validated_is_not_told() {
    let plane = Plane::start().await;
    plane.create("orders", sync()).await;
    let stale = DeleteSyncRequest { name: name("orders"), etag: "other".to_owned(), ..Default::default() };
    assert_eq!(plane.syncs().delete_sync(stale).await.unwrap_err().code(), Code::Aborted);
    let only = DeleteSyncRequest { name: name("orders"), validate_only: true, ..Default::default() };
    plane.syncs().delete_sync(only).await.unwrap();
    assert_eq!(entries(&plane, ListAuditEntriesRequest::default()).await.len(), 1);
}

#[tokio::test]
async fn secrets_are_told_as_changed_and_not_to_what() {
    let plane = Plane::start().await;
    let created = plane.create("orders", with_secret("marked-one")).await;
    let new = Sync { name: created.name, ..with_secret("marked-two") };
    plane.syncs().update_sync(UpdateSyncRequest { sync: Some(new), ..Default::default() }).await.unwrap();
    let entries = entries(&plane, ListAuditEntriesRequest::default()).await;
    assert!(told(&entries[0]).contains("destination.headers[0].secret.value: *** -> ***"), "{entries:#?}");
    assert!(!format!("{entries:?}").contains("marked"), "{entries:#?}");
}

#[tokio::test]
async fn an_apply_is_told_sync_by_sync() {
    let plane = Plane::start().await;
    plane.create("old", sync()).await;
    let named = |id: &str| Sync { name: name(id), ..sync() };
    let request = ApplySyncsRequest {
        parent: PARENT.to_owned(),
        syncs: vec![named("a"), named("b")],
        prune: true,
        ..Default::default()
    };
    plane.syncs().apply_syncs(request.clone()).await.unwrap();
    plane.syncs().apply_syncs(request).await.unwrap();
    let lines: Vec<_> = entries(&plane, ListAuditEntriesRequest::default()).await.iter().map(told).collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    for id in ["a", "b", "old"] {
        assert!(lines.iter().any(|line| line.starts_with(&format!("ApplySyncs {}", name(id)))), "{lines:#?}");
    }
}

#[tokio::test]
async fn entries_are_found_page_by_page_and_by_what_they_are_about() {
    let plane = Plane::start().await;
    for id in ["a", "b", "c", "d", "e"] {
        plane.create(id, sync()).await;
    }
    let mut seen = Vec::new();
    let mut request = ListAuditEntriesRequest { parent: PARENT.to_owned(), page_size: 2, ..Default::default() };
    loop {
        let mut client = AuditServiceClient::new(plane.channel.clone());
        let page = client.list_audit_entries(request.clone()).await.unwrap().into_inner();
        seen.extend(page.entries.iter().map(|entry| entry.resource.clone()));
        // What comes meanwhile is newer than what follows.
        plane.create(&format!("new-{}", seen.len()), sync()).await;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["e", "d", "c", "b", "a"].map(name));
    let of_one = entries(&plane, ListAuditEntriesRequest { resource: name("c"), ..Default::default() }).await;
    assert_eq!(of_one.len(), 1);
    let by_nobody = entries(&plane, ListAuditEntriesRequest { actor: "keys/x".to_owned(), ..Default::default() }).await;
    assert!(by_nobody.is_empty());
}

#[tokio::test]
async fn the_log_is_only_appended_to() {
    let mut plane = Plane::start().await;
    plane.create("a", sync()).await;
    plane.create("b", sync()).await;
    plane.stop().await;
    let store = rusqlite::Connection::open(plane.store().join("control-plane.sqlite")).unwrap();
    for change in ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log WHERE sequence = 2"] {
        let error = store.execute(change, []).unwrap_err().to_string();
        assert!(error.contains("the audit log"), "{change}: {error}");
    }
}

#[tokio::test]
async fn old_entries_go_after_their_retention() {
    let plane = Plane::start_with(|config| config.audit_retention = std::time::Duration::from_secs(3_600)).await;
    plane.create("a", sync()).await;
    plane.hand.advance_to(START_MS + 3_000_000);
    plane.create("b", sync()).await;
    plane.hand.advance_to(START_MS + 3_601_000);
    loop {
        let left = entries(&plane, ListAuditEntriesRequest::default()).await;
        if left.len() == 1 {
            assert_eq!(left[0].resource, name("b"));
            return;
        }
        plane.hand.advance_to_next("retention").await;
    }
}
