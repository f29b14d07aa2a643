//! A request that is sent again with its id is done once; lists are filtered and ordered; quotas hold.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use sluice_proto::sync::v1::{
    CreateSyncRequest, DeleteSyncRequest, DisableSyncRequest, EnableSyncRequest, ListSyncsRequest, Sync,
    UpdateSyncRequest,
};
use tonic::Code;
use tonic_types::StatusExt as _;

use self::support::{PARENT, Plane, fields, name, reason, sync, with_template};

fn create(id: &str, request_id: &str, sync: Sync) -> CreateSyncRequest {
    CreateSyncRequest {
        parent: PARENT.into(),
        sync_id: id.into(),
        sync: Some(sync),
        request_id: request_id.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_create_that_is_sent_again_makes_one_sync() {
    let plane = Plane::start().await;
    let mut syncs = plane.syncs();
    for id in ["", "orders"] {
        let request = create(id, &format!("first-{id}"), sync());
        let first = syncs.create_sync(request.clone()).await.unwrap().into_inner();
        let again = syncs.create_sync(request).await.unwrap().into_inner();
        assert_eq!(first, again);
    }
    let other = syncs.create_sync(create("other", "first-orders", sync())).await.unwrap_err();
    assert_eq!((other.code(), fields(&other)), (Code::InvalidArgument, vec!["request_id".to_owned()]));
    let bad = syncs.create_sync(create("other", "no good", sync())).await.unwrap_err();
    assert_eq!(fields(&bad), ["request_id"]);
}

#[tokio::test]
async fn changes_that_are_sent_again_do_not_undo_what_came_between() {
    let plane = Plane::start().await;
    let mut syncs = plane.syncs();
    let created = plane.create("a", sync()).await;
    let update = UpdateSyncRequest {
        sync: Some(Sync { name: created.name.clone(), ..with_template("{}") }),
        request_id: "u".into(),
        ..Default::default()
    };
    syncs.update_sync(update.clone()).await.unwrap();
    let between = Sync { name: created.name.clone(), ..with_template("[]") };
    let between = UpdateSyncRequest { sync: Some(between), ..Default::default() };
    let between = syncs.update_sync(between).await.unwrap().into_inner();
    assert_eq!(syncs.update_sync(update).await.unwrap().into_inner(), between);

    let disable = DisableSyncRequest { name: name("a"), request_id: "d".into(), ..Default::default() };
    let enable = EnableSyncRequest { name: name("a"), request_id: "e".into(), ..Default::default() };
    syncs.enable_sync(enable.clone()).await.unwrap();
    syncs.disable_sync(disable).await.unwrap();
    assert!(!syncs.enable_sync(enable).await.unwrap().into_inner().enabled, "it was enabled before it was disabled");

    let delete = DeleteSyncRequest { name: name("a"), request_id: "x".into(), ..Default::default() };
    syncs.delete_sync(delete.clone()).await.unwrap();
    plane.create("a", sync()).await;
    syncs.delete_sync(delete).await.unwrap();
    assert!(plane.get("a").await.is_ok(), "the sync that came after it is another one");
}

#[tokio::test]
async fn an_id_is_forgotten_after_an_hour_and_kept_over_a_restart() {
    let mut plane = Plane::start().await;
    plane.syncs().create_sync(create("a", "id", sync())).await.unwrap();
    plane.restart().await;
    assert!(plane.syncs().create_sync(create("a", "id", sync())).await.is_ok());
    plane.hand.advance(std::time::Duration::from_secs(3_601));
    let status = plane.syncs().create_sync(create("a", "id", sync())).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn what_is_only_validated_leaves_everything_as_it_is() {
    let plane = Plane::start().await;
    let before = plane.create("a", sync()).await;
    let mut syncs = plane.syncs();
    let (name, validate_only) = (name("a"), true);
    let delete = DeleteSyncRequest { name: name.clone(), validate_only, ..Default::default() };
    syncs.delete_sync(delete).await.unwrap();
    let enabled = !before.enabled;
    let switched = if enabled {
        syncs.enable_sync(EnableSyncRequest { name, validate_only, ..Default::default() }).await
    } else {
        syncs.disable_sync(DisableSyncRequest { name, validate_only, ..Default::default() }).await
    };
    assert_eq!(switched.unwrap().into_inner().enabled, enabled);
    assert_eq!(plane.get("a").await.unwrap(), before);
    let missing = DeleteSyncRequest { name: support::name("b"), validate_only, ..Default::default() };
    assert_eq!(syncs.delete_sync(missing).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_list_shows_what_its_filter_takes_in_its_order_over_pages() {
    let plane = Plane::start().await;
    for index in 0..120 {
        let labels = [("parity".to_owned(), if index % 2 == 0 { "even" } else { "odd" }.to_owned())].into();
        let display_name = format!("{:03}", 999 - index);
        plane.create(&format!("s{index:03}"), Sync { labels, display_name, ..sync() }).await;
    }
    for (order_by, expected) in [
        ("", (0..120).step_by(2).collect::<Vec<_>>()),
        ("display_name", (0..120).step_by(2).rev().collect()),
        ("revision desc", (0..120).step_by(2).rev().collect()),
    ] {
        let mut request = ListSyncsRequest {
            parent: PARENT.into(),
            page_size: 7,
            filter: "labels.parity = even".into(),
            order_by: order_by.into(),
            ..Default::default()
        };
        let mut listed = Vec::new();
        loop {
            let page = plane.syncs().list_syncs(request.clone()).await.unwrap().into_inner();
            assert!(page.syncs.len() <= 7);
            listed.extend(page.syncs.into_iter().map(|sync| sync.name));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        let expected: Vec<_> = expected.into_iter().map(|index| name(&format!("s{index:03}"))).collect();
        assert_eq!(listed, expected, "{order_by}");
    }
    let bad = ListSyncsRequest { parent: PARENT.into(), filter: "colour = red".into(), ..Default::default() };
    assert_eq!(fields(&plane.syncs().list_syncs(bad).await.unwrap_err()), ["filter"]);
    let bad = ListSyncsRequest { parent: PARENT.into(), order_by: "colour".into(), ..Default::default() };
    assert_eq!(fields(&plane.syncs().list_syncs(bad).await.unwrap_err()), ["order_by"]);
}

#[tokio::test]
async fn a_walk_over_pages_misses_nothing_that_stays_while_others_come_and_go() {
    let plane = Plane::start().await;
    for index in 0..60 {
        plane.create(&format!("keep-{index:02}"), sync()).await;
    }
    for order_by in ["", "display_name, name desc"] {
        let mut request =
            ListSyncsRequest { parent: PARENT.into(), page_size: 5, order_by: order_by.into(), ..Default::default() };
        let (mut listed, mut round) = (Vec::new(), 0);
        loop {
            let page = plane.syncs().list_syncs(request.clone()).await.unwrap().into_inner();
            listed.extend(page.syncs.into_iter().map(|sync| sync.name).filter(|name| name.contains("keep-")));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
            let id = format!("a-{round}-{}", order_by.len());
            plane.create(&id, sync()).await;
            if round % 2 == 0 {
                let delete = DeleteSyncRequest { name: name(&id), ..Default::default() };
                plane.syncs().delete_sync(delete).await.unwrap();
            }
            round += 1;
        }
        listed.sort();
        let expected: Vec<_> = (0..60).map(|index| name(&format!("keep-{index:02}"))).collect();
        assert_eq!(listed, expected, "{order_by}");
    }
}

#[tokio::test]
async fn a_project_has_so_many_syncs_and_no_more() {
    let plane = Plane::start_with(|config| config.max_syncs_per_project = 2).await;
    plane.create("a", sync()).await;
    plane.create("b", sync()).await;
    let status = plane.syncs().create_sync(create("c", "", sync())).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "QUOTA_EXCEEDED".into()));
    assert!(status.message().contains("--max-syncs-per-project"), "{}", status.message());
    let details = status.get_error_details();
    assert_eq!(details.quota_failure().unwrap().violations[0].subject, PARENT);
    plane.syncs().delete_sync(DeleteSyncRequest { name: name("a"), ..Default::default() }).await.unwrap();
    plane.create("c", sync()).await;
}

#[tokio::test]
async fn of_a_hundred_writers_none_overwrites_what_it_has_not_seen() {
    let plane = Plane::start().await;
    let begun = plane.create("a", sync()).await;
    let writers = (0..100).map(|writer| {
        let mut syncs = plane.syncs();
        tokio::spawn(async move {
            let request = sluice_proto::sync::v1::GetSyncRequest { name: name("a") };
            loop {
                let mut seen = syncs.get_sync(request.clone()).await.unwrap().into_inner();
                seen.labels.insert(format!("w{}", writer % 30), writer.to_string());
                seen.display_name.push('x');
                let update = UpdateSyncRequest { sync: Some(seen), ..Default::default() };
                match syncs.update_sync(update).await {
                    Ok(_) => return,
                    Err(status) => assert_eq!(status.code(), Code::Aborted),
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let end = plane.get("a").await.unwrap();
    assert_eq!(end.display_name.len() - begun.display_name.len(), 100, "no update was lost");
    assert_eq!(end.revision, 101);
}
