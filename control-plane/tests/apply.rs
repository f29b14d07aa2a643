//! Many syncs are made what a folder of files says, all or nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use sluice_proto::sync::v1::{
    AppliedSync, ApplyResult, ApplySyncsRequest, Header, ListSyncsRequest, Secret, Sync, header::Value,
};
use tonic::{Code, Status};

use self::support::{PARENT, Plane, fields, name, reason, sync, with_headers, with_template};

fn named(id: &str, sync: Sync) -> Sync {
    Sync { name: name(id), ..sync }
}

fn labelled(id: &str, team: &str) -> Sync {
    Sync { labels: [("team".to_owned(), team.to_owned())].into(), ..named(id, sync()) }
}

/// Without a value: as it is stored.
fn authorization(value: &str) -> Header {
    let set = value.is_empty();
    Header { name: "Authorization".into(), value: Some(Value::Secret(Secret { value: value.into(), set })) }
}

fn request(syncs: Vec<Sync>) -> ApplySyncsRequest {
    ApplySyncsRequest { parent: PARENT.into(), syncs, ..Default::default() }
}

async fn apply(plane: &Plane, request: ApplySyncsRequest) -> Result<Vec<AppliedSync>, Status> {
    plane.syncs().apply_syncs(request).await.map(|response| response.into_inner().syncs)
}

/// Each sync's id with what was done to it.
fn results(applied: &[AppliedSync]) -> Vec<(String, ApplyResult)> {
    let one = |applied: &AppliedSync| {
        let name = applied.sync.as_ref().unwrap().name.clone();
        (name.rsplit('/').next().unwrap().to_owned(), applied.result())
    };
    applied.iter().map(one).collect()
}

async fn ids(plane: &Plane) -> Vec<String> {
    let request = ListSyncsRequest { parent: PARENT.into(), ..Default::default() };
    let syncs = plane.syncs().list_syncs(request).await.unwrap().into_inner().syncs;
    syncs.into_iter().map(|sync| sync.name.rsplit('/').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_missing_is_made_what_differs_changed_and_the_rest_left() {
    let plane = Plane::start().await;
    plane.create("same", with_headers(vec![authorization("hush")])).await;
    let before = plane.create("other", sync()).await;
    plane.create("alone", sync()).await;

    let syncs = vec![
        named("new", sync()),
        named("same", with_headers(vec![authorization("")])),
        named("other", with_template("{}")),
    ];
    let applied = apply(&plane, request(syncs.clone())).await.unwrap();
    let (created, unchanged, updated) = (ApplyResult::Created, ApplyResult::Unchanged, ApplyResult::Updated);
    assert_eq!(results(&applied), [("new".into(), created), ("same".into(), unchanged), ("other".into(), updated)]);
    assert_eq!(applied[2].previous.as_ref().unwrap().etag, before.etag);
    assert_eq!(applied[0].previous, None);
    assert_eq!(ids(&plane).await, ["alone", "new", "other", "same"], "without prune nothing is deleted");
    assert_eq!(plane.get("other").await.unwrap(), *applied[2].sync.as_ref().unwrap());

    let again = apply(&plane, request(syncs)).await.unwrap();
    assert!(results(&again).iter().all(|(_, result)| *result == unchanged), "{:?}", results(&again));
}

#[tokio::test]
async fn one_that_is_wrong_holds_up_all_and_everything_wrong_is_told() {
    let plane = Plane::start().await;
    let mut bad_url = named("a", sync());
    bad_url.destination.as_mut().unwrap().url = "ftp://crm.example.com".into();
    let syncs = vec![named("b", sync()), bad_url, named("c", with_template("${x"))];
    let status = apply(&plane, request(syncs)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(fields(&status), ["syncs[1].destination.url", "syncs[2].events.template.source"]);
    assert_eq!(ids(&plane).await, Vec::<String>::new());

    let elsewhere = Sync { name: "projects/other/syncs/d".into(), ..sync() };
    let syncs = vec![named("b", sync()), named("b", sync()), named("Not An Id", sync()), elsewhere];
    let status = apply(&plane, request(syncs)).await.unwrap_err();
    assert_eq!(fields(&status), ["syncs[1].name", "syncs[2].name", "syncs[3].name"]);
}

#[tokio::test]
async fn a_stale_etag_holds_up_all() {
    let plane = Plane::start().await;
    let seen = plane.create("a", sync()).await;
    let newer = plane.create("b", sync()).await;
    apply(&plane, request(vec![named("a", with_template("{}"))])).await.unwrap();
    let syncs = vec![named("b", with_template("{}")), Sync { etag: seen.etag, ..named("a", sync()) }];
    let status = apply(&plane, request(syncs)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Aborted, "ETAG_MISMATCH".into()));
    assert_eq!(plane.get("b").await.unwrap().etag, newer.etag);
    let gone = Sync { etag: "seen".into(), ..named("never", sync()) };
    assert_eq!(apply(&plane, request(vec![gone])).await.unwrap_err().code(), Code::Aborted);
}

#[tokio::test]
async fn pruning_deletes_what_is_not_named_within_its_filter() {
    let plane = Plane::start().await;
    apply(&plane, request(vec![labelled("a", "crm"), labelled("b", "crm"), labelled("c", "chat")])).await.unwrap();
    let prune = |filter: &str, validate_only| ApplySyncsRequest {
        prune: true,
        prune_filter: filter.into(),
        validate_only,
        ..request(vec![labelled("a", "crm")])
    };
    let expected = [("a".to_owned(), ApplyResult::Unchanged), ("b".to_owned(), ApplyResult::Deleted)];
    let told = apply(&plane, prune("labels.team = crm", true)).await.unwrap();
    assert_eq!(results(&told), expected);
    assert_eq!(ids(&plane).await, ["a", "b", "c"], "only validated");
    let done = apply(&plane, prune("labels.team = crm", false)).await.unwrap();
    assert_eq!(results(&done), expected);
    assert_eq!(ids(&plane).await, ["a", "c"]);
    apply(&plane, prune("", false)).await.unwrap();
    assert_eq!(ids(&plane).await, ["a"]);

    let without = ApplySyncsRequest { prune_filter: "enabled = true".into(), ..request(Vec::new()) };
    assert_eq!(fields(&apply(&plane, without).await.unwrap_err()), ["prune_filter"]);
    assert_eq!(fields(&apply(&plane, prune("enabled", false)).await.unwrap_err()), ["prune_filter"]);
}

#[tokio::test]
async fn a_changed_secret_is_named_and_never_told() {
    let plane = Plane::start().await;
    apply(&plane, request(vec![named("a", with_headers(vec![authorization("hush one")]))])).await.unwrap();
    let applied =
        apply(&plane, request(vec![named("a", with_headers(vec![authorization("hush two")]))])).await.unwrap();
    assert_eq!(applied[0].changed_secrets, ["Authorization"]);
    assert_eq!(applied[0].result(), ApplyResult::Updated);
    assert!(!format!("{applied:?}").contains("hush"));
}

#[tokio::test]
async fn an_apply_that_is_sent_again_is_done_once() {
    let plane = Plane::start().await;
    let once = ApplySyncsRequest { request_id: "one".into(), ..request(vec![named("a", sync())]) };
    let first = apply(&plane, once.clone()).await.unwrap();
    apply(&plane, request(vec![named("a", with_template("{}"))])).await.unwrap();
    let again = apply(&plane, once).await.unwrap();
    assert_eq!((first[0].result(), again[0].result()), (ApplyResult::Created, ApplyResult::Unchanged));
    assert_eq!(again[0].sync.as_ref().unwrap().etag, plane.get("a").await.unwrap().etag, "as it is now");
}

#[tokio::test]
async fn nodes_get_an_apply_as_one_change() {
    let plane = Plane::start().await;
    let mut node = plane.node("a", &support::Held::default()).await;
    node.welcome().await;
    node.settle().await;
    let syncs = (0..50).map(|index| named(&format!("s{index}"), sync())).collect();
    apply(&plane, request(syncs)).await.unwrap();
    assert_eq!(node.settle().await, support::Update::Delta { from: 0 });
    assert_eq!((node.held.syncs.len(), node.held.revision), (50, 50));
}
