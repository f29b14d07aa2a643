//! Copies of the store: taken while it runs, verified, restored as a new life.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use sha2::{Digest as _, Sha256};
use sluice_control_plane::{CopyError, StoreError, backup, key_of, restore, verify};
use sluice_host::sealing::SecretsKey;
use sluice_proto::sync::v1::{Header, Secret, header::Value};

use self::support::{Held, Plane, Update, sync, with_headers};

const FILE: &str = "control-plane.sqlite";

async fn plane_with_syncs() -> Plane {
    let plane = Plane::start().await;
    let value = Value::Secret(Secret { value: "marked-secret".to_owned(), set: true });
    let secret = with_headers(vec![Header { name: "Authorization".to_owned(), value: Some(value) }]);
    plane.create("secret", secret).await;
    plane.create("plain", sync()).await;
    plane
}

#[tokio::test]
async fn a_copy_that_is_restored_serves_what_it_held_as_a_new_life() {
    let mut plane = plane_with_syncs().await;
    let mut node = plane.node("a", &Held::default()).await;
    let before = node.welcome().await;
    node.update().await;
    node.ack().await;
    let copy = plane.folder.path().join("copy.sqlite");
    let contents = backup(&plane.store(), &copy).await.unwrap();
    assert_eq!((contents.sync_count, contents.revision, &contents.epoch), (2, 2, &before.epoch));
    assert!(!String::from_utf8_lossy(&std::fs::read(&copy).unwrap()).contains("marked-secret"));
    // What comes later is not in it, but the node has seen it.
    plane.create("later", sync()).await;
    node.update().await;
    node.ack().await;
    let held = node.held.clone();
    plane.stop().await;

    std::fs::remove_file(plane.store().join(FILE)).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(plane.store().join(format!("{FILE}{suffix}")));
    }
    let key = key_of(&plane.store(), None).unwrap();
    assert!(key.is_some(), "the key is in the folder");
    restore(&copy, &plane.store(), key.as_ref()).await.unwrap();
    plane.start_again().await;
    let mut node = plane.node("a", &held).await.holding(&held);
    let after = node.welcome().await;
    assert_ne!(after.epoch, before.epoch);
    assert!(matches!(node.update().await, Update::Snapshot { .. }));
    assert_eq!(node.held.syncs.len(), 2, "what the store does not hold, no node holds");
    assert!(plane.get("later").await.is_err());
}

#[tokio::test]
async fn copies_taken_while_syncs_change_fit_together() {
    let plane = plane_with_syncs().await;
    let changes = async {
        for n in 0..50 {
            plane.create(&format!("s{n}"), sync()).await;
        }
    };
    let copies = async {
        for n in 0..5 {
            backup(&plane.store(), &plane.folder.path().join(format!("{n}.sqlite"))).await.unwrap();
        }
    };
    tokio::join!(changes, copies);
    let key = key_of(&plane.store(), None).unwrap();
    for n in 0..5 {
        verify(&plane.folder.path().join(format!("{n}.sqlite")), key.as_ref()).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_damaged_or_of_another_key_is_found() {
    let plane = plane_with_syncs().await;
    let path = |name: &str| plane.folder.path().join(name);
    let copy = path("copy.sqlite");
    backup(&plane.store(), &copy).await.unwrap();
    let other = SecretsKey::random();
    assert!(matches!(verify(&copy, Some(&other)).await, Err(CopyError::Store(StoreError::OtherKey))));
    assert!(matches!(backup(&plane.store(), &copy).await, Err(CopyError::Exists { .. })));

    let bytes = std::fs::read(&copy).unwrap();
    std::fs::write(path("half.sqlite"), &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(path("text.sqlite"), "not a store").unwrap();
    for name in ["half.sqlite", "text.sqlite"] {
        let error = verify(&path(name), None).await.unwrap_err();
        assert!(matches!(error, CopyError::Damaged { .. }) && error.to_string().contains(name), "{error}");
    }
    // A change that the log does not tell of.
    std::fs::copy(&copy, path("changed.sqlite")).unwrap();
    let store = rusqlite::Connection::open(path("changed.sqlite")).unwrap();
    store.execute("UPDATE syncs SET etag = 'other' WHERE id = 'plain'", []).unwrap();
    drop(store);
    let error = verify(&path("changed.sqlite"), None).await.unwrap_err().to_string();
    assert!(error.contains("not those of its newest revision"), "{error}");
    let refused = restore(&path("changed.sqlite"), &path("new"), None).await;
    assert!(refused.is_err() && !path("new").join(FILE).exists());
}

#[tokio::test]
async fn a_copy_whose_hash_was_made_by_an_earlier_version_fits_together() {
    let plane = plane_with_syncs().await;
    let copy = plane.folder.path().join("copy.sqlite");
    backup(&plane.store(), &copy).await.unwrap();
    let store = rusqlite::Connection::open(&copy).unwrap();
    let etags = "SELECT group_concat(uid || char(0) || etag || char(0), '') FROM (SELECT * FROM syncs ORDER BY uid)";
    let text: String = store.query_row(etags, [], |row| row.get(0)).unwrap();
    let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    store.execute("UPDATE change_log SET catalog_hash = ? WHERE revision = 2", [&hash]).unwrap();
    assert_eq!(verify(&copy, None).await.unwrap().sync_count, 2);
    store.execute("DELETE FROM syncs WHERE id = 'plain'", []).unwrap();
    drop(store);
    assert!(matches!(verify(&copy, None).await, Err(CopyError::Damaged { .. })));
}

#[tokio::test]
async fn a_folder_that_is_in_use_or_holds_a_store_is_left_alone() {
    let mut plane = plane_with_syncs().await;
    let copy = plane.folder.path().join("copy.sqlite");
    backup(&plane.store(), &copy).await.unwrap();
    assert!(matches!(restore(&copy, &plane.store(), None).await, Err(CopyError::DataFolder(_))));
    plane.stop().await;
    assert!(matches!(restore(&copy, &plane.store(), None).await, Err(CopyError::Exists { .. })));
    plane.start_again().await;
    plane.get("plain").await.unwrap();
}
