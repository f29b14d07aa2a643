//! Secrets are written and never read.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use prost::Message as _;
use prost_types::FieldMask;
use sluice_proto::sync::v1::{
    DisableSyncRequest, EnableSyncRequest, GetSyncRequest, ListSyncsRequest, PreviewSyncRequest, Sync,
    UpdateSyncRequest, header::Value, preview_sync_request::Subject,
};

use self::support::{Held, PARENT, Plane, fields, name, secret, sync, with_headers};

const SECRET: &str = "Bearer tr0ub4dor";

fn authorized() -> Sync {
    with_headers(vec![secret("Authorization", SECRET)])
}

/// What the nodes are sent for the sync.
async fn stored_secret(plane: &Plane) -> String {
    let mut node = plane.node("reader", &Held::default()).await;
    node.welcome().await;
    node.settle().await;
    match node.held.syncs[0].destination.as_ref().unwrap().headers[0].value.as_ref().unwrap() {
        Value::Secret(secret) => secret.value.clone(),
        Value::Plain(_) => panic!("a secret became plain"),
    }
}

fn update(sync: Sync, paths: &[&str]) -> UpdateSyncRequest {
    let update_mask = Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() });
    UpdateSyncRequest { sync: Some(sync), update_mask, validate_only: false, ..Default::default() }
}

#[tokio::test]
async fn no_answer_holds_a_secret() {
    let plane = Plane::start().await;
    let mut syncs = plane.syncs();
    let mut answers = Vec::new();
    let created = plane.create("orders", authorized()).await;
    let draft = Subject::Sync(authorized());
    for subject in [Subject::Name(created.name.clone()), draft] {
        let request = PreviewSyncRequest { subject: Some(subject), event_json: r#"{"event_type":"x"}"#.into() };
        let preview = syncs.preview_sync(request).await.unwrap().into_inner();
        assert!(preview.headers.iter().any(|header| header.name == "authorization" && header.value == "***"));
        answers.push(preview.encode_to_vec());
    }
    let (name, etag) = (created.name.clone(), String::new());
    answers.push(created.encode_to_vec());
    answers.push(syncs.get_sync(GetSyncRequest { name: name.clone() }).await.unwrap().into_inner().encode_to_vec());
    let request = ListSyncsRequest { parent: PARENT.into(), ..Default::default() };
    answers.push(syncs.list_syncs(request).await.unwrap().into_inner().encode_to_vec());
    let renamed = Sync { display_name: "n".into(), ..created };
    answers.push(syncs.update_sync(update(renamed, &["display_name"])).await.unwrap().into_inner().encode_to_vec());
    let request = DisableSyncRequest { name: name.clone(), etag: etag.clone(), ..Default::default() };
    answers.push(syncs.disable_sync(request).await.unwrap().into_inner().encode_to_vec());
    let request = EnableSyncRequest { name, etag, ..Default::default() };
    answers.push(syncs.enable_sync(request).await.unwrap().into_inner().encode_to_vec());
    for answer in answers {
        assert!(!answer.windows(9).any(|window| window == b"tr0ub4dor"));
    }
}

#[tokio::test]
async fn no_error_holds_a_secret() {
    let plane = Plane::start().await;
    let mut broken = with_headers(vec![secret("Authorization", "Bearer tr0ub4dor\r\nX: y")]);
    broken.destination.as_mut().unwrap().url = "nonsense".into();
    let request = sluice_proto::sync::v1::CreateSyncRequest {
        parent: PARENT.into(),
        sync_id: "orders".into(),
        sync: Some(broken),
        validate_only: false,
        ..Default::default()
    };
    let status = plane.syncs().create_sync(request).await.unwrap_err();
    assert!(fields(&status).contains(&"destination.headers[0].secret.value".to_owned()));
    assert!(!status.message().contains("tr0ub4dor"));
    assert!(!status.details().windows(9).any(|window| window == b"tr0ub4dor"));
}

#[tokio::test]
async fn a_read_secret_that_is_written_back_is_kept() {
    let plane = Plane::start().await;
    let mut read = plane.create("orders", authorized()).await;
    read.display_name = "Renamed".into();
    let destination = read.destination.as_mut().unwrap();
    destination.headers[0].name = "AUTHORIZATION".into();
    destination.url.push_str("/more");
    plane.syncs().update_sync(update(read, &[])).await.unwrap();
    assert_eq!(stored_secret(&plane).await, SECRET);
}

#[tokio::test]
async fn a_change_beside_the_headers_keeps_the_secret() {
    let plane = Plane::start().await;
    plane.create("orders", authorized()).await;
    let renamed = Sync { name: name("orders"), display_name: "Renamed".into(), ..Default::default() };
    plane.syncs().update_sync(update(renamed, &["display_name"])).await.unwrap();
    assert_eq!(stored_secret(&plane).await, SECRET);
}

#[tokio::test]
async fn a_new_secret_replaces_the_old() {
    let plane = Plane::start().await;
    let created = plane.create("orders", authorized()).await;
    let mut written = with_headers(vec![secret("Authorization", "Bearer new")]);
    written.name = created.name.clone();
    let updated = plane.syncs().update_sync(update(written, &["destination.headers"])).await.unwrap().into_inner();
    assert_ne!(updated.etag, created.etag);
    assert_eq!(stored_secret(&plane).await, "Bearer new");
}

#[tokio::test]
async fn another_origin_asks_for_the_secret_again() {
    let plane = Plane::start().await;
    let created = plane.create("orders", authorized()).await;
    for paths in [&["destination.url"][..], &["destination"], &[]] {
        let mut moved = created.clone();
        moved.destination.as_mut().unwrap().url = "https://evil.example.com/".into();
        let status = plane.syncs().update_sync(update(moved, paths)).await.unwrap_err();
        assert_eq!(fields(&status), ["destination.headers[0].secret.value"]);
    }
    let mut moved = with_headers(vec![secret("Authorization", "Bearer new")]);
    moved.name = created.name;
    moved.destination.as_mut().unwrap().url = "https://new.example.com/".into();
    plane.syncs().update_sync(update(moved, &["destination"])).await.unwrap();
    assert_eq!(stored_secret(&plane).await, "Bearer new");
}

#[tokio::test]
async fn a_secret_that_was_never_stored_must_be_given() {
    let plane = Plane::start().await;
    let created = plane.create("orders", sync()).await;
    let mut written = with_headers(vec![secret("Authorization", "")]);
    written.name = created.name;
    let status = plane.syncs().update_sync(update(written, &["destination.headers"])).await.unwrap_err();
    assert_eq!(fields(&status), ["destination.headers[0].secret.value"]);
}

#[cfg(unix)]
#[tokio::test]
async fn the_store_is_readable_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let plane = Plane::start().await;
    plane.create("orders", authorized()).await;
    let mut seen = 0;
    for entry in std::fs::read_dir(plane.store()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().contains("sqlite") {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.path());
            seen += 1;
        }
    }
    assert!(seen >= 2, "the file and its log");
}
