//! Follows a sync's newest revision to the nodes, until every connected one serves it.

use std::time::Duration;

use clap::Args;
use sluice_client::proto::sync::v1::{
    GetSyncRequest, ListSyncRolloutsRequest, Rollout, RolloutState, Sync, SyncRollout,
    sync_service_client::SyncServiceClient,
};
use tokio::time::{Instant, sleep};

use crate::{
    context::call,
    duration,
    exit::{Exit, Failure},
    output::{count, note},
    violation::Shown,
};

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Who is waited for is said after so long, and when it has changed.
const TELL_INTERVAL: Duration = Duration::from_secs(2);

/// Nodes that a line names; of the others it says how many they are.
const NAMED: usize = 5;

type Client = SyncServiceClient<sluice_client::Connection>;

/// Whether and for how long to wait.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct WaitArgs {
    /// How long to wait until every connected node serves the change
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    wait: Duration,
    /// Do not wait for the nodes
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
}

impl WaitArgs {
    /// Until when to wait, from now on; `None`: not at all.
    pub(crate) fn deadline(self) -> Option<Instant> {
        (!self.no_wait).then(|| Instant::now() + self.wait)
    }
}

/// How far a sync has come.
pub(crate) struct Followed {
    /// The sync as it was last read.
    pub(crate) sync: Sync,
    /// What each connected node makes of it; empty if nobody waited.
    pub(crate) nodes: Vec<SyncRollout>,
    /// A node that refuses the sync is a failure; so are nodes that do not answer in time, with exit code 5.
    pub(crate) failure: Option<Failure>,
}

/// Follows the sync until every connected node has answered, or until `until` (`None`: not at all).
pub(crate) async fn follow(client: &mut Client, sync: Sync, until: Option<Instant>) -> Result<Followed, Failure> {
    let Some(until) = until else { return Ok(Followed { sync, nodes: Vec::new(), failure: None }) };
    let (mut told, mut tell_at) = (String::new(), Instant::now() + TELL_INTERVAL);
    let nodes = loop {
        let nodes = nodes(client, &sync.name).await?;
        if names(&nodes, RolloutState::Pending).is_empty() || Instant::now() >= until {
            break nodes;
        }
        if Instant::now() >= tell_at {
            let line = format!("{}: {}", sync.name, progress(&nodes));
            if line != told {
                note(&line);
                told = line;
            }
            tell_at = Instant::now() + TELL_INTERVAL;
        }
        sleep(POLL_INTERVAL.min(until.saturating_duration_since(Instant::now()))).await;
    };
    let sync = client.get_sync(call(GetSyncRequest { name: sync.name })).await?.into_inner();
    let failure = failure(&nodes);
    Ok(Followed { sync, nodes, failure })
}

/// The same where anything but success ends the command.
pub(crate) async fn wait(client: &mut Client, sync: Sync, until: Option<Instant>) -> Result<Followed, Failure> {
    let followed = follow(client, sync, until).await?;
    followed.failure.clone().map_or(Ok(followed), Err)
}

/// What each connected node makes of the sync of that name, in the order of their names.
pub(crate) async fn nodes(client: &mut Client, name: &str) -> Result<Vec<SyncRollout>, Failure> {
    let (mut nodes, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListSyncRolloutsRequest { parent: name.to_owned(), page_size: 1_000, page_token };
        let page = client.list_sync_rollouts(call(request)).await?.into_inner();
        nodes.extend(page.rollouts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(nodes);
        }
    }
}

/// How far a sync has come, for people.
pub(crate) fn show(rollout: Option<&Rollout>) -> String {
    let Some(rollout) = rollout else { return "-".to_owned() };
    let Rollout { serving_count, pending_count, refusing_count, .. } = rollout;
    let mut parts = Vec::new();
    if *serving_count > 0 || (*pending_count == 0 && *refusing_count == 0) {
        parts.push(format!("{serving_count} serving"));
    }
    if *pending_count > 0 {
        parts.push(format!("{pending_count} pending"));
    }
    if *refusing_count > 0 {
        parts.push(format!("{refusing_count} refusing"));
    }
    parts.join(", ")
}

/// The end of the line that reports a change: who serves it.
pub(crate) fn served(followed: &Followed, waited: bool) -> String {
    let serving = names(&followed.nodes, RolloutState::Serving);
    if !waited {
        String::new()
    } else if followed.nodes.is_empty() {
        "no node is connected".to_owned()
    } else if serving.is_empty() {
        "served by no node".to_owned()
    } else {
        format!("served by {}: {}", count(serving.len() as u64, "node"), listed(&serving))
    }
}

fn names(nodes: &[SyncRollout], state: RolloutState) -> Vec<&str> {
    nodes.iter().filter(|node| node.state() == state).map(|node| node.node.as_str()).collect()
}

/// The names, the first of them if they are many.
fn listed(names: &[&str]) -> String {
    match names.len().saturating_sub(NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ")),
    }
}

fn progress(nodes: &[SyncRollout]) -> String {
    let mut parts = vec![format!("waiting for {}", listed(&names(nodes, RolloutState::Pending)))];
    for (state, word) in [(RolloutState::Serving, "serving"), (RolloutState::Refused, "refusing")] {
        match names(nodes, state).len() {
            0 => {}
            number => parts.push(format!("{number} {word}")),
        }
    }
    parts.join("; ")
}

fn failure(nodes: &[SyncRollout]) -> Option<Failure> {
    let (pending, refusing) = (names(nodes, RolloutState::Pending), names(nodes, RolloutState::Refused));
    let mut parts = Vec::new();
    if !pending.is_empty() {
        let have = if pending.len() == 1 { "has" } else { "have" };
        let who = count(pending.len() as u64, "node");
        parts.push(format!("{who} {have} not answered in time ({})", listed(&pending)));
    }
    if !refusing.is_empty() {
        let refuse = if refusing.len() == 1 { "refuses" } else { "refuse" };
        let who = count(refusing.len() as u64, "node");
        parts.push(format!("{who} {refuse} it ({}); the last good version keeps serving there", listed(&refusing)));
    }
    let exit = match (pending.is_empty(), refusing.is_empty()) {
        (true, true) => return None,
        (false, true) => Exit::Unavailable,
        (_, false) => Exit::Failed,
    };
    let mut failure = Failure::new(exit, format!("stored, but {}", parts.join("; ")));
    failure.details = violations(nodes);
    Some(failure)
}

/// Why the sync is refused, and where: nodes of the same version say the same, told once.
fn violations(nodes: &[SyncRollout]) -> Vec<String> {
    let mut told: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
    for node in nodes.iter().filter(|node| node.state() == RolloutState::Refused) {
        let why: Vec<_> = node.violations.iter().map(|violation| Shown(violation.clone()).to_string()).collect();
        match told.iter_mut().find(|(others, _)| *others == why) {
            Some((_, who)) => who.push(&node.node),
            None => told.push((why, vec![&node.node])),
        }
    }
    let line = |(why, who): (Vec<String>, Vec<&str>)| {
        let who = listed(&who);
        why.into_iter().map(|why| format!("{who}: {why}")).collect::<Vec<_>>()
    };
    told.into_iter().flat_map(line).collect()
}

#[cfg(test)]
mod tests {
    use sluice_client::proto::sync::v1::Violation;

    use super::*;

    fn node(name: &str, state: RolloutState) -> SyncRollout {
        let violation = Violation { field: "events".into(), description: "unknown".into(), ..Violation::default() };
        let violations = if state == RolloutState::Refused { vec![violation] } else { Vec::new() };
        SyncRollout { node: format!("nodes/{name}"), state: state.into(), violations, ..SyncRollout::default() }
    }

    #[test]
    fn a_rollout_is_shown_in_words() {
        let rollout = |serving_count, pending_count, refusing_count| Rollout {
            serving_count,
            pending_count,
            refusing_count,
            refusals: Vec::new(),
        };
        assert_eq!(show(Some(&rollout(2, 0, 0))), "2 serving");
        assert_eq!(show(Some(&rollout(0, 0, 0))), "0 serving");
        assert_eq!(show(Some(&rollout(0, 1, 2))), "1 pending, 2 refusing");
        assert_eq!(show(None), "-");
    }

    #[test]
    fn nodes_that_serve_are_named() {
        let followed = |nodes| Followed { sync: Sync::default(), nodes, failure: None };
        let some = followed(vec![node("a", RolloutState::Serving), node("b", RolloutState::Serving)]);
        assert_eq!(served(&some, true), "served by 2 nodes: nodes/a, nodes/b");
        assert_eq!(served(&some, false), "");
        assert_eq!(served(&followed(Vec::new()), true), "no node is connected");
        let many: Vec<_> = (0..9).map(|number| node(&number.to_string(), RolloutState::Serving)).collect();
        assert!(served(&followed(many), true).ends_with("nodes/3, nodes/4 and 4 more"));
    }

    #[test]
    fn refusals_name_the_nodes_and_the_field_once() {
        let nodes = [
            node("a", RolloutState::Refused),
            node("b", RolloutState::Serving),
            node("c", RolloutState::Refused),
            SyncRollout { violations: Vec::new(), ..node("d", RolloutState::Refused) },
        ];
        let failure = failure(&nodes).unwrap();
        assert_eq!(
            failure.text(),
            "stored, but 3 nodes refuse it (nodes/a, nodes/c, nodes/d); the last good version keeps serving there\n  \
             nodes/a, nodes/c: events: unknown"
        );
        assert_eq!(failure.exit, Exit::Failed);
    }

    #[test]
    fn nodes_that_do_not_answer_are_named() {
        let nodes =
            [node("a", RolloutState::Pending), node("b", RolloutState::Serving), node("c", RolloutState::Refused)];
        assert_eq!(progress(&nodes), "waiting for nodes/a; 1 serving; 1 refusing");
        let both = failure(&nodes).unwrap();
        assert!(both.message.starts_with("stored, but 1 node has not answered in time (nodes/a); 1 node refuses it"));
        let late = failure(&nodes[..2]).unwrap();
        assert_eq!((late.exit, late.details.len()), (Exit::Unavailable, 0));
        assert_eq!(failure(&nodes[1..2]), None);
    }
}
