//! Secrets lie sealed on disk, and open with the right key only.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;

use sluice_control_plane::{StartError, StoreError, rotate_secrets_key, start};
use sluice_host::{clock::Clock, sealing::SecretsKey};
use sluice_proto::sync::v1::{Sync, UpdateSyncRequest, header::Value};

use self::support::{Held, Plane, config, secret, sync, with_headers};

const MARK: &str = "MARKED-s3cret-0815";

fn marked() -> Sync {
    with_headers(vec![secret("Authorization", &format!("Bearer {MARK}"))])
}

/// All bytes of all files below a folder.
fn bytes_below(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        bytes.extend(if path.is_dir() { bytes_below(&path) } else { std::fs::read(&path).unwrap() });
    }
    bytes
}

fn holds(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

/// How the secret of the only sync lies on disk.
fn sealed_secret(store: &Path) -> String {
    use prost::Message as _;
    let sql = rusqlite::Connection::open(store.join("control-plane.sqlite")).unwrap();
    let content: Vec<u8> = sql.query_row("SELECT content FROM syncs", [], |row| row.get(0)).unwrap();
    let sync = Sync::decode(content.as_slice()).unwrap();
    let Some(Value::Secret(secret)) = &sync.destination.unwrap().headers[0].value else { panic!("a secret") };
    secret.value.clone()
}

#[tokio::test]
async fn no_file_holds_a_secret_and_nodes_get_it_all_the_same() {
    let mut plane = Plane::start().await;
    let created = plane.create("a", marked()).await;
    let moved = Sync { display_name: "b".into(), name: created.name.clone(), ..marked() };
    plane.syncs().update_sync(UpdateSyncRequest { sync: Some(moved), ..Default::default() }).await.unwrap();
    assert!(!holds(&bytes_below(plane.folder.path()), MARK), "while it runs");
    plane.restart().await;
    assert!(!holds(&bytes_below(plane.folder.path()), MARK), "after a stop");
    let mut node = plane.node("n", &Held::default()).await;
    node.welcome().await;
    node.settle().await;
    assert!(format!("{:?}", node.held.syncs[0].destination.as_ref().unwrap().headers[0].value).len() > 1);
    let header = &node.held.syncs[0].destination.as_ref().unwrap().headers[0];
    let Some(Value::Secret(secret)) = &header.value else { panic!("a secret") };
    assert_eq!(secret.value, format!("Bearer {MARK}"));
}

#[tokio::test]
async fn an_etag_tells_nothing_of_the_secrets_that_it_covers() {
    let (one, other) = (Plane::start().await, Plane::start().await);
    let created = one.create("a", marked()).await;
    let guessed = Sync { etag: String::new(), ..created.clone() };
    let mut guessed = guessed;
    guessed.destination = marked().destination;
    assert_ne!(sluice_pipeline::sync::etag(&guessed), created.etag, "whoever guesses the secret cannot check it");
    assert_ne!(other.create("a", marked()).await.etag, created.etag);
    let same = Sync { name: created.name.clone(), ..marked() };
    let kept = one.syncs().update_sync(UpdateSyncRequest { sync: Some(same), ..Default::default() }).await.unwrap();
    assert_eq!(kept.into_inner().etag, created.etag, "the same content has the same etag");
}

#[tokio::test]
async fn another_key_does_not_start_and_a_new_one_does() {
    let (old, new) = (SecretsKey::random(), SecretsKey::random());
    let with = {
        let old = old.clone();
        move |config: &mut sluice_control_plane::Config| config.secrets_key = Some(old)
    };
    let mut plane = Plane::start_with(with).await;
    plane.create("a", marked()).await;
    plane.stop().await;

    let starting = |key: &SecretsKey| {
        let config =
            sluice_control_plane::Config { secrets_key: Some(key.clone()), ..config(&plane.store(), Clock::system()) };
        async move { start(config).await }
    };
    let refused = starting(&new).await.err().unwrap();
    assert!(matches!(refused, StartError::Store(StoreError::OtherKey)), "{refused}");
    let wrong = rotate_secrets_key(&plane.store(), Some(new.clone()), &new).await.err().unwrap();
    assert!(matches!(wrong, StartError::Store(StoreError::OtherKey)), "{wrong}");

    let sealed = sealed_secret(&plane.store());
    rotate_secrets_key(&plane.store(), Some(old.clone()), &new).await.unwrap();
    assert_ne!(sealed_secret(&plane.store()), sealed, "sealed anew");
    assert!(!holds(&bytes_below(plane.folder.path()), &sealed), "what the old keys open is in no page any longer");
    assert!(starting(&old).await.is_err());
    starting(&new).await.unwrap().stop().await;
    assert!(!holds(&bytes_below(plane.folder.path()), MARK));
}

#[tokio::test]
async fn a_store_in_clear_is_sealed_when_it_is_opened() {
    let mut plane = Plane::start().await;
    let created = plane.create("a", sync()).await;
    plane.stop().await;
    // As a version stored it that did not seal: the sync in clear, and no data key.
    let file = plane.store().join("control-plane.sqlite");
    let clear = Sync { rollout: None, ..Sync { destination: marked().destination, ..created.clone() } };
    {
        use prost::Message as _;
        let sql = rusqlite::Connection::open(&file).unwrap();
        sql.execute("UPDATE syncs SET content = ?", [clear.encode_to_vec()]).unwrap();
        sql.execute("DELETE FROM data_key", []).unwrap();
    }
    assert!(holds(&std::fs::read(&file).unwrap(), MARK) || holds(&bytes_below(plane.folder.path()), MARK));
    plane.start_again().await;
    assert!(!holds(&bytes_below(plane.folder.path()), MARK), "sealed, and no page holds it any longer");
    let mut node = plane.node("n", &Held::default()).await;
    node.welcome().await;
    node.settle().await;
    assert!(format!("{:?}", node.held.syncs[0].uid).contains(&created.uid));
}
