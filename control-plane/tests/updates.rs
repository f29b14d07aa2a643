//! Updates change what they name, and nothing that somebody else has changed since.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use prost_types::FieldMask;
use sluice_proto::sync::v1::{
    DeleteSyncRequest, Destination, DisableSyncRequest, EnableSyncRequest, Limits, RetryPolicy, Sync, UpdateSyncRequest,
};
use tonic::Code;

use self::support::{Plane, START_MS, descriptions, fields, plain, reason, secret, sync, timestamp, with_headers};

fn update(sync: Sync, paths: &[&str]) -> UpdateSyncRequest {
    let update_mask = Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() });
    UpdateSyncRequest { sync: Some(sync), update_mask, validate_only: false, ..Default::default() }
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names() {
    let plane = Plane::start().await;
    let created = plane.create("orders", with_headers(vec![plain("X-A", "1")])).await;
    plane.hand.advance(std::time::Duration::from_secs(5));
    let written = Sync {
        name: created.name.clone(),
        display_name: "not named".into(),
        destination: Some(Destination {
            url: "https://other.example.com".into(),
            limits: Some(Limits { max_concurrency: 7, ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = update(written, &["destination.url", "destination.limits.max_concurrency"]);
    let updated = plane.syncs().update_sync(request).await.unwrap().into_inner();
    let destination = updated.destination.clone().unwrap();
    assert_eq!(destination.url, "https://other.example.com");
    assert_eq!(destination.limits, Some(Limits { max_concurrency: 7, ..Default::default() }));
    assert_eq!(destination.headers, created.destination.unwrap().headers);
    assert_eq!((updated.display_name.as_str(), updated.uid.as_str()), ("Orders", created.uid.as_str()));
    assert_eq!(updated.revision, 2);
    assert_ne!(updated.etag, created.etag);
    assert_eq!(updated.create_time, created.create_time);
    assert_eq!(updated.update_time, Some(timestamp(START_MS + 5_000)));
    assert_eq!(plane.get("orders").await.unwrap(), updated);
}

#[tokio::test]
async fn an_update_without_a_mask_replaces_all_that_can_be_set() {
    let plane = Plane::start().await;
    let stored = Sync {
        labels: [("team".to_owned(), "crm".to_owned())].into(),
        retry_policy: Some(RetryPolicy { max_attempts_per_round: 2, ..Default::default() }),
        ..sync()
    };
    let created = plane.create("orders", stored).await;
    let written = Sync { name: created.name.clone(), display_name: "New".into(), enabled: false, ..sync() };
    for paths in [&[][..], &["*"]] {
        let request = update(written.clone(), paths);
        let updated = plane.syncs().update_sync(request).await.unwrap().into_inner();
        assert_eq!((updated.display_name.as_str(), updated.enabled), ("New", false));
        assert!(updated.labels.is_empty() && updated.retry_policy.is_none());
        assert_eq!(updated.revision, 2, "the second time nothing changes");
    }
}

#[tokio::test]
async fn an_update_that_changes_nothing_keeps_the_revision() {
    let plane = Plane::start().await;
    let created = plane.create("orders", with_headers(vec![secret("Authorization", "s3cret")])).await;
    let read = plane.get("orders").await.unwrap();
    let updated = plane.syncs().update_sync(update(read, &[])).await.unwrap().into_inner();
    assert_eq!(updated, created);
}

#[tokio::test]
async fn validating_an_update_stores_nothing() {
    let plane = Plane::start().await;
    let created = plane.create("orders", sync()).await;
    let written = Sync { display_name: "New".into(), ..created.clone() };
    let request = UpdateSyncRequest { validate_only: true, ..update(written, &["display_name"]) };
    let answered = plane.syncs().update_sync(request).await.unwrap().into_inner();
    assert_eq!((answered.display_name.as_str(), answered.revision), ("New", 2));
    assert_eq!(plane.get("orders").await.unwrap(), created);
}

#[tokio::test]
async fn paths_that_name_nothing_settable_are_violations() {
    let plane = Plane::start().await;
    let created = plane.create("orders", sync()).await;
    let request = update(created, &["destination.uri", "revision", "labels.team"]);
    let status = plane.syncs().update_sync(request).await.unwrap_err();
    assert_eq!(fields(&status), ["update_mask"; 3]);
    let told = descriptions(&status);
    for (path, (_, description)) in ["destination.uri", "revision", "labels.team"].into_iter().zip(told) {
        assert!(description.contains(path), "{description}");
    }
}

#[tokio::test]
async fn a_stale_etag_aborts() {
    let plane = Plane::start().await;
    let created = plane.create("orders", sync()).await;
    let newer = Sync { display_name: "Newer".into(), ..created.clone() };
    let newer = plane.syncs().update_sync(update(newer, &["display_name"])).await.unwrap().into_inner();

    let stale = (Code::Aborted, "ETAG_MISMATCH".to_owned());
    let mut syncs = plane.syncs();
    let status = syncs.update_sync(update(created.clone(), &["display_name"])).await.unwrap_err();
    assert_eq!(reason(&status), stale);
    let request = DeleteSyncRequest { name: created.name.clone(), etag: created.etag.clone(), ..Default::default() };
    assert_eq!(reason(&syncs.delete_sync(request).await.unwrap_err()), stale);
    let request = DisableSyncRequest { name: created.name.clone(), etag: created.etag.clone(), ..Default::default() };
    assert_eq!(reason(&syncs.disable_sync(request).await.unwrap_err()), stale);
    let request = EnableSyncRequest { name: created.name.clone(), etag: created.etag, ..Default::default() };
    assert_eq!(reason(&syncs.enable_sync(request).await.unwrap_err()), stale);
    assert_eq!(plane.get("orders").await.unwrap(), newer);

    let request = DeleteSyncRequest { name: newer.name, etag: newer.etag, ..Default::default() };
    syncs.delete_sync(request).await.unwrap();
    assert_eq!(plane.get("orders").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_writers_with_one_etag_exactly_one_wins() {
    let plane = Plane::start().await;
    let created = plane.create("orders", sync()).await;
    let writers: Vec<_> = (0..20)
        .map(|number| {
            let written = Sync { display_name: format!("Writer {number}"), ..created.clone() };
            let mut syncs = plane.syncs();
            tokio::spawn(async move { syncs.update_sync(update(written, &["display_name"])).await })
        })
        .collect();
    let mut winners = Vec::new();
    for writer in writers {
        match writer.await.unwrap() {
            Ok(updated) => winners.push(updated.into_inner()),
            Err(status) => assert_eq!(reason(&status), (Code::Aborted, "ETAG_MISMATCH".into())),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(plane.get("orders").await.unwrap(), winners[0]);
    assert_eq!(winners[0].revision, 2);
}
