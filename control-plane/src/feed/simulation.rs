//! A thousand nodes and a hundred thousand syncs in one process: the real store, change log, updates, feeds, sessions and
//! subscriptions; the network and the time are simulated. `SLUICE_FULL=1` takes the full counts.
//!
//! What the nodes hold is shared where it is the same, as a thousand catalogs do not fit into one process: which bytes reach
//! which node is checked, the first node to get them compiles them.

mod waiting;
mod world;

use self::{
    waiting::Waiting,
    world::{World, name},
};
use crate::updates::CHUNK_BYTES;

/// Within this time a change must serve everywhere, ms.
const REACH_MS: u64 = 1_000;

struct Scale {
    nodes: usize,
    syncs: usize,
    changes: usize,
}

fn scale() -> Scale {
    if std::env::var_os("SLUICE_FULL").is_some() {
        Scale { nodes: 1_000, syncs: 100_000, changes: 40 }
    } else {
        Scale { nodes: 300, syncs: 1_500, changes: 20 }
    }
}

#[tokio::test]
async fn a_change_reaches_a_thousand_nodes_within_a_second_and_memory_is_bounded() {
    let scale = scale();
    let mut world = World::new(&scale).await;
    let contents: usize = world.store.contents().await.unwrap().syncs.iter().map(|sync| sync.size()).sum();

    // All nodes join at once, while syncs go on changing.
    for _ in 0..scale.nodes {
        let in_ms = world.dice.below(200);
        world.join(in_ms);
    }
    for version in 1..5 {
        world.run(Some(world.now_ms + 100)).await;
        world.change(version, Some(version)).await;
    }
    world.run(None).await;
    world.settled();
    assert!(world.nodes.iter().all(|node| node.snapshots == 1), "nobody needs a second one");
    assert_eq!(world.chunks.len(), 1, "one snapshot is made and shared by all that join");
    assert!(world.largest_chunk < 2 * CHUNK_BYTES, "{} bytes in one message", world.largest_chunk);
    let Waiting { most_bytes, most_copied_bytes, .. } = world.waiting;
    assert!(most_bytes <= contents + CHUNK_BYTES, "{most_bytes} bytes wait, the catalog has {contents}");
    eprintln!(
        "{} nodes join a catalog of {} syncs, {}, at once: at most {} wait for them, {} if each had its copy; {} s simulated",
        scale.nodes,
        scale.syncs,
        mib(contents),
        mib(most_bytes),
        mib(most_copied_bytes),
        world.now_ms / 1_000
    );
    world.waiting = Waiting::default();
    world.chunks.clear();

    // Changes come at any moment, in the middle of the one before, too.
    let (mut slowest_ms, mut changed) = (0, Vec::new());
    let begun = std::time::Instant::now();
    for number in 0..scale.changes {
        let which = scale.syncs.min(50) + number % 20;
        let version = if number % 5 == 4 { None } else { Some(number + 10) };
        changed.push((world.now_ms, world.change(which, version).await));
        let pause_ms = world.dice.below(400);
        // In steps, to see when each has come everywhere.
        for _ in 0..pause_ms.div_ceil(10) {
            world.run(Some(world.now_ms + 10)).await;
            let now_ms = world.now_ms;
            let reached: Vec<_> = changed.iter().copied().filter(|(_, revision)| world.all_serve(*revision)).collect();
            changed.retain(|change| !reached.contains(change));
            slowest_ms = reached.iter().map(|(at_ms, _)| now_ms - at_ms).fold(slowest_ms, u64::max);
            assert!(
                changed.iter().all(|(at_ms, _)| now_ms - at_ms <= REACH_MS),
                "after {slowest_ms} ms not everywhere"
            );
        }
        world.forget();
    }
    let last_at_ms = changed.first().map_or(world.now_ms, |(at_ms, _)| *at_ms);
    world.run(None).await;
    world.settled();
    assert!(world.now_ms - last_at_ms <= REACH_MS + 200, "with the acks' way");
    assert!(world.nodes.iter().all(|node| node.snapshots == 1), "changes travel as deltas");
    eprintln!(
        "{} changes reach {} nodes within {slowest_ms} ms each; {} ms of work a change; at most {} bytes wait",
        scale.changes,
        scale.nodes,
        begun.elapsed().as_millis() / u128::try_from(scale.changes).unwrap(),
        world.waiting.most_bytes
    );

    // A node that is slow to read gets one delta of all that has changed meanwhile, not one for each.
    let before = world.nodes[0].deltas;
    (world.nodes[0].latency_ms, world.nodes[0].read_ms) = (3_000, 3_000);
    for number in 0..scale.changes {
        world.change(60 + number % 3, Some(1_000 + number)).await;
        world.run(Some(world.now_ms + 20)).await;
        assert!(world.nodes[0].queued <= 1, "deltas do not queue up");
        world.forget();
    }
    world.run(None).await;
    world.settled();
    assert!(world.nodes[0].deltas - before <= 2, "{} deltas", world.nodes[0].deltas - before);
    (world.nodes[0].latency_ms, world.nodes[0].read_ms) = (10, 1);

    // The control plane is started again: all dial at once, and all that they are sent is an empty delta.
    world.restart();
    world.run(None).await;
    world.settled();
    assert!(world.nodes.iter().all(|node| (node.snapshots, node.deltas) == (0, 1)));
    let sync = world.store.sync(&name(60)).await.unwrap().unwrap();
    let rollout = world.registry.rollout(&sync, &world.newest().epoch);
    assert_eq!(usize::try_from(rollout.serving_count).unwrap(), scale.nodes);
    world.store.close().await;
}

fn mib(bytes: usize) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}
