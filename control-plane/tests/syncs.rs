//! Syncs are managed as the contract says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use prost_types::FieldMask;
use sluice_proto::sync::v1::{
    CreateSyncRequest, DeleteSyncRequest, Destination, DisableSyncRequest, EnableSyncRequest, ListSyncsRequest, Sync,
    UpdateSyncRequest,
};
use tonic::{Code, Request};

use self::support::{
    PARENT, Plane, START_MS, descriptions, fields, name, plain, reason, sync, timestamp, with_headers, with_template,
};

fn create(id: &str, sync: Sync) -> CreateSyncRequest {
    CreateSyncRequest {
        parent: PARENT.into(),
        sync_id: id.into(),
        sync: Some(sync),
        validate_only: false,
        ..Default::default()
    }
}

fn update(sync: Sync, paths: &[&str]) -> UpdateSyncRequest {
    let update_mask = Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() });
    UpdateSyncRequest { sync: Some(sync), update_mask, validate_only: false, ..Default::default() }
}

fn list(page_size: i32, page_token: &str) -> ListSyncsRequest {
    ListSyncsRequest { parent: PARENT.into(), page_size, page_token: page_token.into(), ..Default::default() }
}

#[tokio::test]
async fn a_created_sync_reads_back_as_it_was_answered() {
    let plane = Plane::start().await;
    let created = plane.create("orders", with_template("{\"x\": \"${input.event_type}\"}")).await;
    assert_eq!(created.name, name("orders"));
    assert_eq!(created.revision, 1);
    assert_eq!(created.create_time, Some(timestamp(START_MS)));
    assert_eq!(created.update_time, created.create_time);
    assert!(!created.uid.is_empty() && !created.etag.is_empty());
    assert_eq!(created.required_features, ["payload.template"]);
    assert_eq!(created.rollout, Some(Default::default()));
    assert_eq!(plane.get("orders").await.unwrap(), created);
}

#[tokio::test]
async fn without_an_id_one_is_made() {
    let plane = Plane::start().await;
    let (a, b) = (plane.create("", sync()).await, plane.create("", sync()).await);
    assert!(a.name.starts_with(&name("sync-")), "{}", a.name);
    assert_ne!(a.name, b.name);
}

#[tokio::test]
async fn output_only_fields_of_a_new_sync_are_ignored() {
    let plane = Plane::start().await;
    let written = Sync { uid: "mine".into(), revision: 77, etag: "e".into(), name: "x".into(), ..sync() };
    let created = plane.create("orders", written).await;
    assert_eq!((created.name, created.revision), (name("orders"), 1));
    assert_ne!(created.uid, "mine");
}

#[tokio::test]
async fn a_second_sync_with_the_same_id_already_exists() {
    let plane = Plane::start().await;
    plane.create("orders", sync()).await;
    for validate_only in [false, true] {
        let request = CreateSyncRequest { validate_only, ..create("orders", sync()) };
        let status = plane.syncs().create_sync(request).await.unwrap_err();
        assert_eq!(reason(&status), (Code::AlreadyExists, "SYNC_ALREADY_EXISTS".into()));
        assert!(status.message().contains(&name("orders")));
    }
}

#[tokio::test]
async fn validating_a_creation_stores_nothing() {
    let plane = Plane::start().await;
    let request = CreateSyncRequest { validate_only: true, ..create("orders", sync()) };
    let answered = plane.syncs().create_sync(request).await.unwrap().into_inner();
    assert_eq!((answered.name, answered.revision), (name("orders"), 1));
    assert_eq!(plane.get("orders").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn every_violation_is_told_at_once() {
    let plane = Plane::start().await;
    let mut broken = with_template("line one\n<#if input.a>\nx");
    broken.destination = Some(Destination {
        url: "ftp://hooks.example.com".into(),
        headers: vec![
            plain("X-A", "line\r\nbreak"),
            plain("Host", "reserved"),
            plain("x y", "1"),
            plain("X-B", "1"),
            plain("x-b", "2"),
            plain("X-C", "1"),
        ],
        ..Default::default()
    });
    let request = CreateSyncRequest { parent: "projects/Default".into(), ..create("Orders!", broken) };
    let status = plane.syncs().create_sync(request).await.unwrap_err();
    let told = fields(&status);
    for field in [
        "parent",
        "sync_id",
        "destination.url",
        "destination.headers",
        "destination.headers[0].plain",
        "destination.headers[1].name",
        "destination.headers[2].name",
        "destination.headers[4].name",
        "events.template.source",
    ] {
        assert!(told.iter().any(|told| told == field), "{field} is not among {told:?}");
    }
    assert!(status.message().starts_with(&format!("{} violations: ", told.len())), "{}", status.message());
    let (_, template) = descriptions(&status).into_iter().find(|(field, _)| field == "events.template.source").unwrap();
    assert!(template.contains(", line ") && template.contains(", column "), "{template}");
    assert!(template.lines().count() >= 3 && template.trim_end().ends_with('^'), "source line and caret: {template}");
}

#[tokio::test]
async fn a_request_without_a_sync_is_refused() {
    let plane = Plane::start().await;
    let status = plane.syncs().create_sync(CreateSyncRequest { sync: None, ..create("a", sync()) }).await.unwrap_err();
    assert_eq!(fields(&status), ["sync"]);
    let status = plane.syncs().update_sync(UpdateSyncRequest::default()).await.unwrap_err();
    assert_eq!(fields(&status), ["sync"]);
}

#[tokio::test]
async fn another_project_is_not_found() {
    let plane = Plane::start().await;
    let request = CreateSyncRequest { parent: "projects/other".into(), ..create("a", sync()) };
    let status = plane.syncs().create_sync(request).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "PROJECT_NOT_FOUND".into()));
    assert!(status.message().contains("projects/other"), "{}", status.message());
    let request = ListSyncsRequest { parent: "projects/other".into(), ..Default::default() };
    assert_eq!(plane.syncs().list_syncs(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn names_that_are_none_are_violations_and_missing_ones_not_found() {
    let plane = Plane::start().await;
    let mut syncs = plane.syncs();
    for bad in ["", "orders", "projects/default/syncs/", "projects/default/syncs/a%00\u{7}", &"x/".repeat(5_000)] {
        let request = EnableSyncRequest { name: bad.into(), etag: String::new(), ..Default::default() };
        assert_eq!(fields(&syncs.enable_sync(request).await.unwrap_err()), ["name"]);
        let request = DeleteSyncRequest { name: bad.into(), etag: String::new(), ..Default::default() };
        assert_eq!(fields(&syncs.delete_sync(request).await.unwrap_err()), ["name"]);
        let status = syncs.update_sync(update(Sync { name: bad.into(), ..sync() }, &[])).await.unwrap_err();
        assert_eq!(fields(&status), ["name"]);
    }
    let missing = (Code::NotFound, "SYNC_NOT_FOUND".to_owned());
    assert_eq!(reason(&plane.get("gone").await.unwrap_err()), missing);
    let request = DisableSyncRequest { name: name("gone"), etag: String::new(), ..Default::default() };
    assert_eq!(reason(&syncs.disable_sync(request).await.unwrap_err()), missing);
    let request = DeleteSyncRequest { name: name("gone"), etag: String::new(), ..Default::default() };
    assert_eq!(reason(&syncs.delete_sync(request).await.unwrap_err()), missing);
    let status = syncs.update_sync(update(Sync { name: name("gone"), ..sync() }, &[])).await.unwrap_err();
    assert_eq!(reason(&status), missing);
}

#[tokio::test]
async fn pages_lead_through_all_syncs_in_the_order_of_their_names() {
    let plane = Plane::start().await;
    let mut expected: Vec<_> = (0..45).map(|number| format!("s{number}")).collect();
    for id in &expected {
        plane.create(id, sync()).await;
    }
    expected.sort();
    let (mut listed, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = plane.syncs().list_syncs(list(15, &token)).await.unwrap().into_inner();
        assert!(page.syncs.len() <= 15);
        listed.extend(page.syncs.into_iter().map(|sync| sync.name.rsplit('/').next().unwrap().to_owned()));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, expected);
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn large_syncs_make_short_pages_and_none_is_lost() {
    let plane = Plane::start().await;
    let template = format!("\"{}\"", "x".repeat(250_000));
    for number in 0..12 {
        plane.create(&format!("s{number:02}"), with_template(&template)).await;
    }
    let first = plane.syncs().list_syncs(list(1_000, "")).await.unwrap().into_inner();
    let rest = plane.syncs().list_syncs(list(1_000, &first.next_page_token)).await.unwrap().into_inner();
    assert!((1..12).contains(&first.syncs.len()));
    assert_eq!(first.syncs.len() + rest.syncs.len(), 12);
    assert_eq!(rest.next_page_token, "");
}

#[tokio::test]
async fn page_arguments_are_checked() {
    let plane = Plane::start().await;
    for request in [list(-1, ""), list(0, "6e6f"), list(0, "nonsense")] {
        let field = if request.page_size < 0 { "page_size" } else { "page_token" };
        assert_eq!(fields(&plane.syncs().list_syncs(request).await.unwrap_err()), [field]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_creations_get_revisions_of_their_own() {
    let plane = Plane::start().await;
    let creations: Vec<_> = (0..20)
        .map(|number| {
            let mut syncs = plane.syncs();
            tokio::spawn(async move { syncs.create_sync(create(&format!("s{}", number / 2), sync())).await })
        })
        .collect();
    let mut revisions = Vec::new();
    for creation in creations {
        match creation.await.unwrap() {
            Ok(created) => revisions.push(created.into_inner().revision),
            Err(status) => assert_eq!(status.code(), Code::AlreadyExists),
        }
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn disabling_and_enabling_change_once() {
    let plane = Plane::start().await;
    let created = plane.create("orders", sync()).await;
    let mut syncs = plane.syncs();
    let disable = DisableSyncRequest { name: created.name.clone(), etag: created.etag, ..Default::default() };
    let disabled = syncs.disable_sync(disable.clone()).await.unwrap().into_inner();
    assert_eq!((disabled.enabled, disabled.revision), (false, 2));
    let again = DisableSyncRequest { etag: String::new(), ..disable };
    assert_eq!(syncs.disable_sync(again).await.unwrap().into_inner(), disabled);
    let enable = EnableSyncRequest { name: created.name, etag: disabled.etag, ..Default::default() };
    let enabled = syncs.enable_sync(enable).await.unwrap().into_inner();
    assert_eq!((enabled.enabled, enabled.revision), (true, 3));
}

#[tokio::test]
async fn a_new_sync_with_an_old_id_is_another() {
    let plane = Plane::start().await;
    let first = plane.create("orders", sync()).await;
    plane
        .syncs()
        .delete_sync(DeleteSyncRequest { name: first.name, etag: String::new(), ..Default::default() })
        .await
        .unwrap();
    let second = plane.create("orders", sync()).await;
    assert_ne!(second.uid, first.uid);
    assert_ne!(second.etag, first.etag);
    assert_eq!(second.revision, 3);
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let mut plane = Plane::start().await;
    let kept = plane.create("kept", with_headers(vec![support::secret("Authorization", "s3cret")])).await;
    let gone = plane.create("gone", sync()).await;
    plane
        .syncs()
        .delete_sync(DeleteSyncRequest { name: gone.name, etag: String::new(), ..Default::default() })
        .await
        .unwrap();
    plane.restart().await;
    assert_eq!(plane.get("kept").await.unwrap(), kept);
    assert_eq!(plane.get("gone").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(plane.create("next", sync()).await.revision, 4);
}

#[tokio::test]
async fn a_sync_that_no_message_to_a_node_could_carry_is_refused() {
    let plane = Plane::start().await;
    let mut huge = sync();
    let values = (0..1_000).map(|number| format!("{number}{}", "x".repeat(1_500))).collect();
    huge.events.as_mut().unwrap().filter =
        Some(sluice_proto::sync::v1::Filter { event_types: values, ..Default::default() });
    let status = plane.syncs().create_sync(Request::new(create("huge", huge))).await.unwrap_err();
    assert!(fields(&status).contains(&"sync".to_owned()), "{status}");
}

#[tokio::test]
async fn own_ports_are_no_destination() {
    let plane = Plane::start().await;
    let mut own = sync();
    own.destination.as_mut().unwrap().url = format!("https://{}/", plane.address());
    let status = plane.syncs().create_sync(create("own", own)).await.unwrap_err();
    assert!(fields(&status).contains(&"destination.url".to_owned()));
}
