//! The real processes, ended by SIGKILL half-way: the sender resumes by itself, nothing is lost.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::HashMap,
    io::Write as _,
    net::SocketAddr,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use bytes::Bytes;
use sluice_tests::{
    cluster::eventually,
    endpoint::{Endpoint, PATIENCE},
    events::{export, read_events, sync_to},
    process::{Plane, Setup, binary},
    random::{Random, full, seed},
    scenario::Scenario,
};
use tokio::process::Command;

/// Limit of the sync's lane.
const MAX_CONCURRENCY: usize = 64;

/// `sluice` with these arguments.
fn sluice(control_plane: SocketAddr, args: &[&str]) -> Command {
    let mut command = Command::new(binary("sluice"));
    command.args(["--control-plane", &format!("http://{control_plane}")]).args(args);
    command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn succeed(mut command: Command) -> String {
    let output: Output = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The file that `tests/full.sh` names, or copies of the export, each with its own marker and `$insert_id`s, so that there is a
/// half-way to kill at.
fn events() -> Vec<Bytes> {
    if let Some(path) = std::env::var_os("SLUICE_EXPORT").filter(|path| !path.is_empty()) {
        return read_events(Path::new(&path));
    }
    let (export, copies) = (export(), if full() { 31 } else { 4 });
    let copy = |n: usize| {
        export.iter().map(move |event| {
            let event =
                std::str::from_utf8(event).unwrap().replace("\"$insert_id\":\"", &format!("\"$insert_id\":\"{n}-"));
            format!("{{\"copy\":{n},{}", &event[1..]).into()
        })
    };
    (0..copies).flat_map(copy).collect()
}

fn write_lines(path: &Path, events: &[Bytes]) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    for event in events {
        file.write_all(event).unwrap();
        file.write_all(b"\n").unwrap();
    }
    file.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_half_way_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::start().await;
    let control_plane = Plane::control_plane(&folder.path().join("control-plane"), "127.0.0.1:0").await;
    let control = control_plane.address();
    let node_folder = folder.path().join("node");
    let mut node = Plane::node(&node_folder, "127.0.0.1:0", control).await;
    let node_address = node.address();

    let manifest = folder.path().join("sync.yaml");
    std::fs::write(
        &manifest,
        format!(
            "name: all\nenabled: true\ndestination:\n  url: {}\n  \
             limits: {{max_concurrency: {MAX_CONCURRENCY}}}\nevents:\n  original: {{}}\n",
            endpoint.url("/")
        ),
    )
    .unwrap();
    succeed(sluice(control, &["sync", "apply", "-f", manifest.to_str().unwrap()])).await;

    let sent = events();
    println!("{} events", sent.len());
    let file = folder.path().join("events.ndjson");
    write_lines(&file, &sent);
    let mut send = sluice(control, &["--node", &format!("http://{node_address}"), "events", "send"]);
    send.arg(&file);
    let sending = tokio::spawn(succeed(send));
    let kills = if full() { 8 } else { 3 };
    for kill in 1..=kills {
        endpoint.wait_for(kill * sent.len() / (kills + 2)).await;
        node.kill().await;
        node = Plane::node(&node_folder, &node_address.to_string(), control).await;
    }
    let summary = sending.await.unwrap();
    assert!(summary.contains(" accepted, 0 rejected"), "{summary}");
    println!("{summary}");

    // Every event arrives, each under one webhook-id; what came twice is the same.
    let mut wanted: HashMap<&[u8], usize> = HashMap::new();
    for event in &sent {
        *wanted.entry(event).or_default() += 1;
    }
    assert_eq!(wanted.len(), sent.len());
    let by_id = eventually("every event has arrived", async || {
        // Counting is dear: only when enough has come.
        endpoint.wait_for(sent.len()).await;
        let by_id = endpoint.by_webhook_id();
        (by_id.len() >= sent.len()).then_some(by_id)
    })
    .await;
    assert_eq!(by_id.len(), sent.len());
    let mut duplicates = 0;
    for requests in by_id.values() {
        assert!(requests.iter().all(|request| request.body == requests[0].body));
        assert_eq!(wanted.remove(&requests[0].body[..]), Some(1));
        duplicates += requests.len() - 1;
    }
    assert!(wanted.is_empty());
    // Only what was in flight at a kill may come again, and that is bounded by the lane's limit.
    println!("{duplicates} duplicates after {kills} kills");
    assert!(duplicates <= kills * MAX_CONCURRENCY, "{duplicates} duplicates");

    // What the control plane has counted is what the receiver saw: each delivery ended once.
    let metrics = eventually("every ending is reported", async || {
        let text = succeed(sluice(control, &["-o", "json", "metrics", "all", "--window", "1h"])).await;
        let metrics: serde_json::Value = serde_json::from_str(&text).unwrap();
        let delivered = usize::try_from(metrics["delivered_count"].as_u64().unwrap()).unwrap();
        (delivered >= sent.len()).then_some(delivered)
    })
    .await;
    assert_eq!(metrics, sent.len());
    node.kill().await;
    control_plane.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_at_random_instants_loses_nothing() {
    let (kills, share) = if full() { (200, 250) } else { (20, 250) };
    let seed = seed();
    println!("seed {seed}: {kills} kills, {} events", (kills + 1) * share);
    let mut random = Random::new(seed);
    let mut scenario = Scenario::start(|_| Setup::default()).await;
    for _ in 0..kills {
        scenario.publish(share).await;
        // At once, or when some more have been delivered, perhaps all.
        if random.between(0, 3) > 0 {
            scenario.wait_for_deliveries(random.between(1, share)).await;
        }
        scenario.kill().await;
        // And sometimes while it recovers.
        if random.between(0, 4) == 0 {
            let life = Duration::from_millis(random.number() % 100);
            scenario.start_and_kill(life, Setup::default()).await;
        }
        scenario.restart(Setup::default()).await.unwrap();
    }
    scenario.publish(share).await;
    println!("{:?}", scenario.finish().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_killed_while_syncs_change_keeps_what_it_answered() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("control-plane");
    let mut control_plane = Plane::control_plane(&data, "127.0.0.1:0").await;
    let address = control_plane.address();
    for round in 0..5 {
        let channel = sluice_client::connect(&format!("http://{address}")).await.unwrap();
        let request = sluice_proto::sync::v1::CreateSyncRequest {
            parent: "projects/default".to_owned(),
            sync_id: format!("s{round}"),
            sync: Some(sync_to("http://127.0.0.1:9/")),
            validate_only: false,
            ..Default::default()
        };
        sluice_client::sync_client(channel).create_sync(request).await.unwrap();
        control_plane.kill().await;
        control_plane = Plane::control_plane(&data, &address.to_string()).await;
    }
    let list = succeed(sluice(address, &["-o", "json", "sync", "list"])).await;
    for round in 0..5 {
        assert!(list.contains(&format!("projects/default/syncs/s{round}")), "{list}");
    }
}
