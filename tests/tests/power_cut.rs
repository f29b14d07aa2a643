//! The power goes while events stream through the node: what was not synced is lost or torn, and nothing that was acked is.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::ExitStatus;

use sluice_tests::{
    faults::{Faults, POWER_CUT},
    process::{Plane, Setup},
    random::{Random, full, seed},
    scenario::Scenario,
};

/// Calls of one life at most: from recovery alone to some seconds of work.
const CALLS: usize = 4_000;

fn assert_power_cut(status: ExitStatus, log: &str) {
    assert_eq!(status.code(), Some(POWER_CUT), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_power_goes_loses_nothing() {
    let cuts = if full() { 50 } else { 5 };
    let seed = seed();
    println!("seed {seed}: {cuts} power cuts");
    let mut random = Random::new(seed);
    let env = |env| Setup { env, ..Setup::default() };
    let mut scenario = Scenario::start(|folder| env(Faults::of(folder).env())).await;
    let faults = Faults::of(&scenario.node_folder());
    scenario.publish(100).await;
    scenario.kill().await;
    for _ in 0..cuts {
        // Often within what the start does, else somewhere in the work.
        let most = if random.between(0, 2) == 0 { 50 } else { CALLS };
        let cut = faults.env_with_cut(random.between(1, most) as u64, random.number());
        let status = match scenario.restart(env(cut)).await {
            Ok(()) => scenario.publish_until_the_end().await,
            Err(status) => status,
        };
        assert_power_cut(status, &scenario.node_log());
    }
    scenario.restart(env(faults.env())).await.expect("the node does not start after the last power cut");
    scenario.publish(100).await;
    let log = faults.cut_log();
    assert_eq!(log.lines().count(), cuts, "{log}");
    println!("{log}");
    println!("{:?}", scenario.finish().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_during_the_first_start_leaves_a_folder_that_starts() {
    let seed = seed();
    let mut random = Random::new(seed);
    let nobody = "127.0.0.1:9".parse().unwrap();
    let calls: Vec<u64> =
        if full() { (1..=80).collect() } else { (0..10).map(|_| random.between(1, 40) as u64).collect() };
    println!("seed {seed}: power cuts at the calls {calls:?}");
    for call in calls {
        let folder = tempfile::tempdir().unwrap();
        let (data, log) = (folder.path().join("node"), folder.path().join("node.log"));
        let faults = Faults::of(&data);
        let setup = |env| Setup { env, log: Some(log.clone()), ..Setup::default() };
        let cut = setup(faults.env_with_cut(call, random.number()));
        match Plane::node_with(&data, "127.0.0.1:0", nobody, &cut).await {
            // Fewer calls than that: it runs.
            Ok(node) => node.kill().await,
            Err(status) => assert_power_cut(status, &std::fs::read_to_string(&log).unwrap()),
        }
        let Ok(node) = Plane::node_with(&data, "127.0.0.1:0", nobody, &setup(faults.env())).await else {
            panic!("call {call}: {}{}", faults.cut_log(), std::fs::read_to_string(&log).unwrap());
        };
        node.kill().await;
    }
}
