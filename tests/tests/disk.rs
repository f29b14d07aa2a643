//! A disk that is full, that fails, that has rotted: producers are told, deliveries go on, and what is whole is served.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use sluice_proto::{
    delivery::v1::{EndingReason, GetDeadLetterRequest},
    event::v1::{Event, SendEventsRequest},
    sync::v1::RetryPolicy,
};
use sluice_tests::{
    cluster::sync_name,
    endpoint::{Endpoint, status},
    events::{event, sync_to},
    faults::{Faults, Io},
    ledger,
    process::{Plane, Setup, asked_again},
    scenario::{Scenario, create},
};
use tonic::Code;

fn open_to(faults: &Faults) -> Setup {
    Setup { env: faults.env(), ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_producers_and_not_deliveries() {
    let scenario = Scenario::start(|folder| open_to(&Faults::of(folder))).await;
    let faults = Faults::of(&scenario.node_folder());
    scenario.publish(600).await;
    scenario.acked().await;
    faults.fill_disk();
    asked_again("producers are refused", async || {
        (scenario.send_alone().await == Err(Code::ResourceExhausted)).then_some(())
    })
    .await;
    // The publisher keeps what it cannot send. Second rounds come due, are made, and end: more than are in flight at once.
    scenario.publish(100).await;
    scenario.wait_for_rounds_of(600).await;
    faults.give_room();
    scenario.acked().await;
    scenario.publish(200).await;
    println!("{:?}", scenario.finish().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_io_stops_nothing_for_good() {
    let mut scenario = Scenario::start(|folder| open_to(&Faults::of(folder))).await;
    let faults = Faults::of(&scenario.node_folder());
    for io in [Io::Sync, Io::Write] {
        scenario.publish(150).await;
        faults.fail_next(io, 3);
        scenario.publish(150).await;
        asked_again("the calls have failed", async || (!faults.is_failing(io)).then_some(())).await;
        scenario.acked().await;
    }
    // Reads: while it runs, and while it starts.
    faults.fail(Io::Read);
    scenario.publish(300).await;
    faults.mend(Io::Read);
    scenario.acked().await;
    scenario.kill().await;
    faults.fail(Io::Read);
    let status = scenario.restart(open_to(&faults)).await.expect_err("a node that cannot read must not start");
    assert!(status.code().is_some_and(|code| code == 1 || code == 6), "{status}: {}", scenario.node_log());
    faults.mend(Io::Read);
    scenario.restart(open_to(&faults)).await.unwrap();
    scenario.publish(100).await;
    println!("{:?}", scenario.finish().await);
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Flips one bit in the middle of every occurrence of `text` in the files of a folder; gives how many there were.
fn flip(folder: &Path, text: &str) -> usize {
    let mut count = 0;
    for path in files(folder) {
        let mut bytes = fs::read(&path).unwrap();
        let places: Vec<usize> =
            bytes.windows(text.len()).enumerate().filter(|(_, at)| *at == text.as_bytes()).map(|(at, _)| at).collect();
        for at in &places {
            bytes[at + text.len() / 2] ^= 1;
        }
        if !places.is_empty() {
            fs::write(&path, bytes).unwrap();
        }
        count += places.len();
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_costs_one_event_which_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("node"), folder.path().join("node.log"));
    let control_plane = Plane::control_plane(&folder.path().join("control-plane"), "127.0.0.1:0").await;
    let setup = Setup { log: Some(log.clone()), ..Setup::default() };
    let start = async || Plane::node_with(&data, "127.0.0.1:0", control_plane.address(), &setup).await.unwrap();
    let node = start().await;
    let endpoint = Endpoint::start().await;
    endpoint.always(status(400));
    let mut sync = sync_to(&endpoint.url("/"));
    let offsets = [4, 5, 6, 7].map(|seconds| prost_types::Duration { seconds, nanos: 0 });
    sync.retry_policy = Some(RetryPolicy { round_offsets: offsets.into(), ..RetryPolicy::default() });
    create(&control_plane.url(), "all", sync).await;

    let marker = |number: usize| format!("marker-{number:03}-of-an-event");
    let events = (0..100).map(|number| Event { json: event("a", &marker(number)), ..Event::default() }).collect();
    let request = SendEventsRequest { events, ..SendEventsRequest::default() };
    let channel = sluice_client::connect(&node.url()).await.unwrap();
    sluice_client::event_client(channel).send_events(request).await.unwrap();
    let first = endpoint.wait_for(100).await;
    asked_again("every first round is on disk", async || {
        let counted = ledger::of_all_nodes(&control_plane.url()).await?;
        (counted.pending() == 100).then_some(())
    })
    .await;
    assert_eq!(node.terminate().await.code(), Some(0));
    endpoint.disconnected().await;
    endpoint.always(status(200));
    // As `user_id` and within the e-mail address, in whichever file.
    assert!(flip(&data, &marker(42)) >= 1, "the event is not found in {:?}", files(&data));

    let _node = start().await;
    let counted = ledger::settled(&control_plane.url(), 100).await;
    let counts = &counted.syncs[&sync_name("all")];
    assert_eq!((counts.delivered_count, counts.discarded_count, counts.expired_count), (99, 1, 0));
    let id_of = |number: usize| {
        let request = first.iter().find(|request| request.text().contains(&marker(number))).unwrap();
        request.header("webhook-id").to_owned()
    };
    let damaged = id_of(42);
    let by_id = endpoint.by_webhook_id();
    for (id, requests) in &by_id {
        assert!(requests.iter().all(|request| request.body == requests[0].body), "{id} came with two bodies");
        assert_eq!(requests.len() == 1, *id == damaged, "{id}: {} requests", requests.len());
    }
    let letters = ledger::dead_letters(&control_plane.url(), "all").await.unwrap();
    let held: Vec<_> = letters.iter().map(|letter| (letter.delivery.as_str(), letter.reason())).collect();
    let delivery = format!("{}/deliveries/{damaged}", sync_name("all"));
    assert_eq!(held, [(delivery.as_str(), EndingReason::Damaged)]);
    let channel = sluice_client::connect(&control_plane.url()).await.unwrap();
    let request = GetDeadLetterRequest { name: delivery };
    let shown = sluice_client::delivery_client(channel).get_dead_letter(request).await.unwrap().into_inner();
    assert_eq!(shown.attempts.len(), 1, "the attempt before is told");
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("checksum") && log.contains(&letters[0].event_id), "the damaged event is named:\n{log}");
}
