//! What is known of syncs and nodes. Readings go in; rows, rates and the next question come out. No calls, no clock.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use sluice_client::proto::{
    delivery::v1::{Attempt, SyncMetrics},
    node::v1::{Node, NodeLedger},
    sync::v1::Sync,
};

use super::rows::{NodeRow, SyncRow, id};

/// Syncs outside the view whose figures are asked for with those in it, in turn, so that an order by them means something.
const OTHERS_AT_ONCE: usize = 20;

/// Readings between two lists of all syncs, where there are many: they are the largest answer.
const LIST_EVERY: u64 = 5;

/// So many syncs are listed with every reading.
const FEW_SYNCS: usize = 200;

/// What to ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Want {
    /// Whether to list the syncs.
    pub(crate) syncs: bool,
    /// Full names of the syncs whose figures are wanted.
    pub(crate) metrics: Vec<String>,
    /// Full name of the sync whose latest attempts are wanted.
    pub(crate) attempts: Option<String>,
}

/// What was answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// When, by a clock that never jumps.
    pub(crate) at: Duration,
    /// When, in milliseconds since the epoch.
    pub(crate) now_ms: i64,
    /// All syncs, if they were asked for.
    pub(crate) syncs: Option<Vec<Sync>>,
    /// Whether there are more syncs than were listed.
    pub(crate) more_syncs: bool,
    pub(crate) metrics: Vec<SyncMetrics>,
    pub(crate) nodes: Vec<Node>,
    /// The newest revision.
    pub(crate) revision: i64,
    /// The nodes' ledgers; `None` if they could not be read.
    pub(crate) ledgers: Option<Vec<NodeLedger>>,
    /// The latest attempts of the sync that was named.
    pub(crate) attempts: Option<(String, Vec<Attempt>)>,
}

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct Board {
    readings: u64,
    now_ms: i64,
    syncs: Vec<Sync>,
    pub(crate) more_syncs: bool,
    /// By full name; with the number of the reading that they came with.
    metrics: HashMap<String, (u64, SyncMetrics)>,
    nodes: Vec<Node>,
    revision: i64,
    totals: Option<(Duration, Totals)>,
    rates: Option<Rates>,
    attempts: Option<(String, Vec<Attempt>)>,
    pub(crate) sync_rows: Vec<SyncRow>,
    pub(crate) node_rows: Vec<NodeRow>,
}

/// What the ledgers have counted, by node.
#[derive(Debug, Default)]
struct Totals {
    /// Accepted events.
    accepted: BTreeMap<String, i64>,
    /// Delivered, by node and sync.
    delivered: HashMap<(String, String), i64>,
    /// Open, by sync.
    pending: HashMap<String, i64>,
}

/// By the second.
#[derive(Debug, Default)]
struct Rates {
    /// By node.
    accepted: HashMap<String, f64>,
    /// By sync; those that are not named have none.
    delivered: HashMap<String, f64>,
}

impl Board {
    /// When the newest reading was made, in milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// Whether the ledgers could be read: rates are of the last moments then, not of the window.
    pub(crate) fn has_ledgers(&self) -> bool {
        self.totals.is_some()
    }

    /// Takes what was answered.
    pub(crate) fn take(&mut self, reading: Reading) {
        self.readings += 1;
        self.now_ms = reading.now_ms;
        if let Some(syncs) = reading.syncs {
            let names: HashSet<&str> = syncs.iter().map(|sync| sync.name.as_str()).collect();
            self.metrics.retain(|name, _| names.contains(name.as_str()));
            self.syncs = syncs;
            self.more_syncs = reading.more_syncs;
        }
        for metrics in reading.metrics {
            self.metrics.insert(metrics.name.clone(), (self.readings, metrics));
        }
        (self.nodes, self.revision) = (reading.nodes, reading.revision);
        let totals = reading.ledgers.map(|ledgers| (reading.at, Totals::new(&ledgers)));
        self.rates = match (&self.totals, &totals) {
            (Some((then, before)), Some((now, totals))) if now > then => Some(totals.since(before, *now - *then)),
            _ => None,
        };
        self.totals = totals;
        if let Some(attempts) = reading.attempts {
            self.attempts = Some(attempts);
        }
        self.sync_rows = self.syncs.iter().map(|sync| self.sync_row(sync)).collect();
        self.node_rows = self.nodes.iter().map(|node| self.node_row(node)).collect();
    }

    /// What to ask for next, while the rows with these numbers are in view and the details of `open` are shown.
    pub(crate) fn want(&self, in_view: impl IntoIterator<Item = usize>, open: Option<usize>) -> Want {
        let in_view: HashSet<usize> = in_view.into_iter().collect();
        let known_since = |name: &str| self.metrics.get(name).map_or(0, |(reading, _)| *reading);
        let mut others: Vec<usize> = (0..self.syncs.len()).filter(|index| !in_view.contains(index)).collect();
        others.sort_by_key(|index| self.syncs.get(*index).map_or(0, |sync| known_since(&sync.name)));
        others.truncate(OTHERS_AT_ONCE);
        let name = |index: usize| self.syncs.get(index).map(|sync| sync.name.clone());
        Want {
            syncs: self.syncs.len() <= FEW_SYNCS || self.readings.is_multiple_of(LIST_EVERY),
            metrics: in_view.into_iter().chain(others).filter_map(name).collect(),
            attempts: open.and_then(name),
        }
    }

    /// The sync of a row.
    pub(crate) fn sync(&self, index: usize) -> Option<&Sync> {
        self.syncs.get(index)
    }

    /// The figures of a row's sync.
    pub(crate) fn metrics(&self, index: usize) -> Option<&SyncMetrics> {
        self.metrics.get(&self.syncs.get(index)?.name).map(|(_, metrics)| metrics)
    }

    /// The latest attempts of a row's sync, the newest first; `None` if they were not read yet.
    pub(crate) fn attempts(&self, index: usize) -> Option<&[Attempt]> {
        let (name, attempts) = self.attempts.as_ref()?;
        (self.syncs.get(index)?.name == *name).then_some(attempts.as_slice())
    }

    fn sync_row(&self, sync: &Sync) -> SyncRow {
        let metrics = self.metrics.get(&sync.name).map(|(_, metrics)| metrics);
        let mut row = SyncRow::new(sync, metrics, self.now_ms);
        match (&self.totals, &self.rates) {
            (Some((_, totals)), rates) => {
                row.pending_count = Some(totals.pending.get(&sync.name).copied().unwrap_or(0));
                row.delivered_per_second =
                    rates.as_ref().map(|rates| rates.delivered.get(&sync.name).copied().unwrap_or(0.0));
            }
            // Nobody may read the ledgers: the mean of the window.
            (None, _) => row.delivered_per_second = metrics.and_then(mean_rate),
        }
        row
    }

    fn node_row(&self, node: &Node) -> NodeRow {
        let rate = self.rates.as_ref().and_then(|rates| rates.accepted.get(&node.name).copied());
        NodeRow { accepted_per_second: rate, ..NodeRow::new(node, self.revision, self.now_ms) }
    }
}

impl Totals {
    fn new(ledgers: &[NodeLedger]) -> Self {
        let mut totals = Self::default();
        for ledger in ledgers {
            let accepted = ledger.events.iter().map(|events| events.unmatched_count + events.matched_count).sum();
            totals.accepted.insert(ledger.node.clone(), accepted);
            for delivery in &ledger.deliveries {
                let key = (ledger.node.clone(), delivery.sync.clone());
                // A sync of that name that was deleted is another row of the ledger.
                *totals.delivered.entry(key).or_default() += delivery.delivered_count;
                *totals.pending.entry(delivery.sync.clone()).or_default() += delivery.pending_count;
            }
        }
        totals
    }

    /// Nodes that have not answered both times tell nothing; a spool that was made anew counts from zero.
    fn since(&self, before: &Self, passed: Duration) -> Rates {
        let rate = |now: i64, then: i64| now.saturating_sub(then).max(0) as f64 / passed.as_secs_f64();
        let accepted = self.accepted.iter().filter_map(|(node, now)| {
            let then = before.accepted.get(node)?;
            Some((node.clone(), rate(*now, *then)))
        });
        let mut delivered = HashMap::<String, f64>::new();
        for ((node, sync), now) in &self.delivered {
            if before.accepted.contains_key(node) {
                let then = before.delivered.get(&(node.clone(), sync.clone())).copied().unwrap_or(0);
                *delivered.entry(sync.clone()).or_default() += rate(*now, then);
            }
        }
        Rates { accepted: accepted.collect(), delivered }
    }
}

fn mean_rate(metrics: &SyncMetrics) -> Option<f64> {
    let interval = metrics.interval?;
    let seconds = interval.end_time_exclusive?.seconds - interval.start_time_inclusive?.seconds;
    (seconds > 0).then(|| metrics.delivered_count as f64 / seconds as f64)
}

/// What an attempt's node is called.
pub(crate) fn node_of(attempt: &Attempt) -> String {
    id(&attempt.node)
}

#[cfg(test)]
mod tests {
    use sluice_client::proto::{
        delivery::v1::Interval,
        node::v1::{DeliveryLedger, EventLedger},
    };

    use super::*;

    fn name(id: &str) -> String {
        format!("projects/p/syncs/{id}")
    }

    fn sync(id: &str) -> Sync {
        Sync { name: name(id), enabled: true, ..Sync::default() }
    }

    fn ledger(node: &str, accepted: i64, delivered: &[(&str, i64)]) -> NodeLedger {
        let of = |(id, count): &(&str, i64)| DeliveryLedger {
            sync: name(id),
            delivered_count: *count,
            pending_count: 1,
            ..Default::default()
        };
        NodeLedger {
            node: format!("nodes/{node}"),
            events: vec![EventLedger { matched_count: accepted, received_count: accepted + 9, ..Default::default() }],
            deliveries: delivered.iter().map(of).collect(),
        }
    }

    fn reading(seconds: u64, ledgers: Option<Vec<NodeLedger>>) -> Reading {
        let node = |name: &str| Node { name: name.into(), ..Node::default() };
        Reading {
            at: Duration::from_secs(seconds),
            syncs: Some(vec![sync("a"), sync("b")]),
            nodes: vec![node("nodes/n1"), node("nodes/n2")],
            ledgers,
            ..Reading::default()
        }
    }

    fn rates(board: &Board) -> (Vec<Option<f64>>, Vec<Option<f64>>) {
        (
            board.sync_rows.iter().map(|row| row.delivered_per_second).collect(),
            board.node_rows.iter().map(|row| row.accepted_per_second).collect(),
        )
    }

    #[test]
    fn rates_are_differences_of_ledgers() {
        let mut board = Board::default();
        board.take(reading(10, Some(vec![ledger("n1", 100, &[("a", 50)]), ledger("n2", 0, &[("a", 5)])])));
        assert_eq!(rates(&board), (vec![None, None], vec![None, None]), "one reading has none");
        assert_eq!(board.sync_rows[0].pending_count, Some(2));
        board.take(reading(14, Some(vec![ledger("n1", 140, &[("a", 70)]), ledger("n2", 4, &[("a", 7), ("b", 2)])])));
        assert_eq!(rates(&board), (vec![Some(5.5), Some(0.5)], vec![Some(10.0), Some(1.0)]));
    }

    #[test]
    fn a_node_that_did_not_answer_or_began_anew_makes_no_false_rate() {
        let mut board = Board::default();
        board.take(reading(0, Some(vec![ledger("n1", 100, &[("a", 50)])])));
        board.take(reading(1, Some(vec![ledger("n1", 3, &[("a", 2)]), ledger("n2", 9_000, &[("a", 9_000)])])));
        assert_eq!(rates(&board), (vec![Some(0.0), Some(0.0)], vec![Some(0.0), None]));
    }

    #[test]
    fn without_ledgers_the_mean_of_the_window_is_shown() {
        let mut board = Board::default();
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let interval = Some(Interval { start_time_inclusive: at(0), end_time_exclusive: at(600) });
        let metrics = SyncMetrics { name: name("a"), interval, delivered_count: 300, ..Default::default() };
        board.take(Reading { metrics: vec![metrics], ..reading(0, None) });
        assert_eq!(rates(&board).0, [Some(0.5), None]);
        assert!(!board.has_ledgers());
    }

    #[test]
    fn what_is_in_view_is_asked_for_and_some_others_in_turn() {
        let mut board = Board::default();
        assert_eq!(board.want([], None), Want { syncs: true, ..Want::default() });
        let all: Vec<_> = (0..300).map(|number| sync(&format!("s{number:03}"))).collect();
        board.take(Reading { syncs: Some(all), ..Reading::default() });
        let mut asked = HashSet::new();
        let mut lists = 0;
        for _ in 0..15 {
            let want = board.want(0..10, Some(3));
            assert_eq!(want.metrics.len(), 10 + OTHERS_AT_ONCE);
            assert!((0..10).all(|index| want.metrics.contains(&name(&format!("s{index:03}")))));
            assert_eq!(want.attempts, Some(name("s003")));
            lists += u32::from(want.syncs);
            asked.extend(want.metrics.clone());
            let metrics = want.metrics.into_iter().map(|name| SyncMetrics { name, ..Default::default() });
            board.take(Reading { metrics: metrics.collect(), ..Reading::default() });
        }
        assert_eq!((asked.len(), lists), (300, 3));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut board = Board::default();
        let metrics = vec![SyncMetrics { name: name("a"), ..Default::default() }];
        board.take(Reading { metrics, ..reading(0, None) });
        assert!(board.metrics(0).is_some());
        board.take(Reading { syncs: Some(vec![sync("b")]), ..Reading::default() });
        assert!(board.sync_rows.len() == 1 && board.metrics.is_empty());
    }
}
