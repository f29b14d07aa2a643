//! The ledger of the nodes, which adds up at any moment, and their dead letters, over the same calls that operators use.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sluice_client::connect;
use sluice_node::spool::store::Ledger;
use sluice_proto::{
    delivery::v1::{DeadLetter, ListDeadLettersRequest},
    node::v1::{DeliveryLedger, EventLedger, GetLedgerRequest},
};

use crate::{cluster::sync_name, endpoint::PATIENCE};

/// What all nodes have counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// Events, over all projects.
    pub events: EventLedger,
    /// Deliveries by name of the sync, over all syncs of that name.
    pub syncs: BTreeMap<String, DeliveryLedger>,
}

impl Counted {
    /// Deliveries that events made.
    #[must_use]
    pub fn created(&self) -> i64 {
        self.syncs.values().map(|counts| counts.created_count).sum()
    }

    /// Deliveries that are open.
    #[must_use]
    pub fn pending(&self) -> i64 {
        self.syncs.values().map(|counts| counts.pending_count).sum()
    }

    fn check(&self) {
        let events = &self.events;
        assert_eq!(
            events.received_count,
            events.rejected_count + events.duplicate_count + events.unmatched_count + events.matched_count,
            "received = rejected + duplicates + accepted: {self:?}"
        );
        for (sync, counts) in &self.syncs {
            assert_eq!(
                counts.created_count + counts.redelivered_count,
                counts.delivered_count + counts.expired_count + counts.discarded_count + counts.pending_count,
                "{sync}: created + redelivered = delivered + expired + discarded + pending: {self:?}"
            );
            assert!(counts.pending_count >= 0, "{sync}: {self:?}");
        }
        assert_eq!(self.created(), events.created_count, "created = the syncs that the events matched: {self:?}");
    }
}

/// Asks the control plane for the ledgers of all nodes and checks that each adds up; none if one did not answer.
pub async fn of_all_nodes(control_plane: &str) -> Option<Counted> {
    let mut nodes = sluice_client::node_client(connect(control_plane).await.unwrap());
    let answer = nodes.get_ledger(GetLedgerRequest { name: "nodes/-".to_owned() }).await.ok()?.into_inner();
    if !answer.unreachable_nodes.is_empty() || answer.ledgers.is_empty() {
        return None;
    }
    let mut sum = Counted::default();
    for ledger in answer.ledgers {
        let mut counted = Counted::default();
        for events in ledger.events {
            add_events(&mut counted.events, &events);
        }
        for deliveries in ledger.deliveries {
            add_deliveries(counted.syncs.entry(deliveries.sync.clone()).or_default(), &deliveries);
        }
        counted.check();
        add_events(&mut sum.events, &counted.events);
        for (name, deliveries) in counted.syncs {
            add_deliveries(sum.syncs.entry(name).or_default(), &deliveries);
        }
    }
    Some(sum)
}

/// Waits until `created` deliveries were made and none is open. Gives up when nothing has moved for [`PATIENCE`].
pub async fn settled(control_plane: &str, created: i64) -> Counted {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let (mut last, mut moved) = (Counted::default(), Instant::now());
    loop {
        ticks.tick().await;
        let counted = of_all_nodes(control_plane).await.unwrap_or_default();
        if counted.created() == created && counted.pending() == 0 {
            return counted;
        }
        if counted != last {
            (last, moved) = (counted, Instant::now());
        }
        assert!(moved.elapsed() < PATIENCE, "not all of {created} deliveries end: {last:?}");
    }
}

/// Asks the control plane for every dead letter of a sync; none if a node did not answer, or none is connected.
pub async fn dead_letters(control_plane: &str, sync_id: &str) -> Option<Vec<DeadLetter>> {
    of_all_nodes(control_plane).await?;
    let mut client = sluice_client::delivery_client(connect(control_plane).await.unwrap());
    let (mut letters, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListDeadLettersRequest { parent: sync_name(sync_id), page_size: 1_000, page_token, filter: None };
        let page = client.list_dead_letters(request).await.unwrap().into_inner();
        if !page.unreachable_nodes.is_empty() {
            return None;
        }
        letters.extend(page.dead_letters);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Some(letters);
        }
    }
}

/// Checks that a node's own ledger adds up.
pub fn check(ledger: &Ledger) {
    let events = ledger.events;
    assert_eq!(
        events.received,
        events.rejected + events.duplicates + events.unmatched + events.matched,
        "received = rejected + duplicates + accepted: {ledger:?}"
    );
    let mut created = 0;
    for (key, counts) in &ledger.deliveries {
        assert_eq!(
            counts.created + counts.redelivered,
            counts.delivered + counts.expired + counts.discarded + counts.pending,
            "{}: created + redelivered = delivered + expired + discarded + pending: {ledger:?}",
            key.name
        );
        assert!(counts.pending >= 0, "{}: {ledger:?}", key.name);
        created += counts.created;
    }
    assert_eq!(created, events.created, "created = the syncs that the events matched: {ledger:?}");
}

fn add_events(sum: &mut EventLedger, other: &EventLedger) {
    sum.received_count += other.received_count;
    sum.rejected_count += other.rejected_count;
    sum.duplicate_count += other.duplicate_count;
    sum.unmatched_count += other.unmatched_count;
    sum.matched_count += other.matched_count;
    sum.created_count += other.created_count;
}

fn add_deliveries(sum: &mut DeliveryLedger, other: &DeliveryLedger) {
    sum.created_count += other.created_count;
    sum.redelivered_count += other.redelivered_count;
    sum.delivered_count += other.delivered_count;
    sum.expired_count += other.expired_count;
    sum.discarded_count += other.discarded_count;
    sum.pending_count += other.pending_count;
    sum.dead_letter_count += other.dead_letter_count;
    sum.removed_count += other.removed_count;
}
