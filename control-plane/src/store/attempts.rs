//! Reads attempts back, the newest first.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    ops::RangeInclusive,
};

use bytes::Bytes;
use sluice_proto::delivery::v1::{Attempt, AttemptOutcome};
use sqlx::SqliteConnection;

use super::{
    Store, StoreError,
    chunks::{self, Candidate, Span},
    marks,
    reports::attempt,
};
use crate::{
    reports::{
        Fate,
        chunk::Reader,
        head::{Attempted, Head, Read},
        marks::{Mark, MarkKind},
        slot,
    },
    time::millis,
};

/// Which attempts. Every field that is set must hold.
pub(crate) struct AttemptQuery {
    /// Of what.
    pub(crate) scope: AttemptScope,
    /// One of these `AttemptOutcome`s; empty: any.
    pub(crate) outcomes: Vec<i32>,
    /// Begun at this time or later, milliseconds since the epoch.
    pub(crate) start_ms_inclusive: Option<i64>,
    /// Begun before this time.
    pub(crate) end_ms_exclusive: Option<i64>,
    /// Id of the event; empty: any.
    pub(crate) event_id: String,
    /// Id of the delivery; empty: any.
    pub(crate) delivery_id: String,
}

/// Whose attempts.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum AttemptScope {
    /// Of every sync of a project, deleted ones too.
    Project(String),
    /// Of the sync with this uid.
    Sync(String),
}

/// One attempt of a list and its place in it.
pub(crate) struct ListedAttempt {
    /// When it began, milliseconds since the epoch: first part of the place.
    pub(crate) start_ms: i64,
    /// Order of storing: second part of the place.
    pub(crate) id: i64,
    /// Bytes of the report as it is stored.
    pub(crate) encoded_len: usize,
    /// The attempt.
    pub(crate) attempt: Attempt,
}

/// What an attempt is chosen by.
struct Chosen<'a> {
    delivery: &'a [u8],
    sync_uid: &'a [u8],
    event_id: &'a [u8],
    outcome: i32,
    start_ms: i64,
}

/// A place in a list: when an attempt began, and the order of storing.
type Place = (i64, i64);

/// The id of a chunk's report, from its place among them.
const ID_SHIFT: u32 = 16;

/// Slots that are asked at once, at most: three and a half days.
const MOST_SLOTS: i64 = 1_024;

/// So many chunks are looked up one by one; of more, all of their slots are gone through.
const FEW_CHUNKS: usize = if cfg!(test) { 8 } else { 512 };

impl AttemptQuery {
    /// Whether an attempt is one of these.
    pub(crate) fn takes(&self, attempt: &Attempt) -> bool {
        self.takes_chosen(&Chosen {
            delivery: attempt.delivery.as_bytes(),
            sync_uid: attempt.sync_uid.as_bytes(),
            event_id: attempt.event_id.as_bytes(),
            outcome: attempt.outcome,
            start_ms: millis(attempt.start_time.as_ref()),
        })
    }

    /// Whether a report is of one of these.
    fn takes_report(&self, head: &Head) -> bool {
        let Some(Attempted { start_ms, outcome, .. }) = head.attempt else { return false };
        self.takes_chosen(&Chosen {
            delivery: &head.delivery,
            sync_uid: &head.sync_uid,
            event_id: &head.event_id,
            outcome,
            start_ms,
        })
    }

    fn takes_chosen(&self, attempt: &Chosen<'_>) -> bool {
        let mut parts = attempt.delivery.split(|byte| *byte == b'/');
        let of_scope = match &self.scope {
            AttemptScope::Sync(uid) => attempt.sync_uid == uid.as_bytes(),
            AttemptScope::Project(project) => parts.nth(1) == Some(project.as_bytes()),
        };
        let is = |id: &str, found: Option<&[u8]>| id.is_empty() || found == Some(id.as_bytes());
        of_scope
            && (self.outcomes.is_empty() || self.outcomes.contains(&attempt.outcome))
            && self.start_ms_inclusive.is_none_or(|bound| attempt.start_ms >= bound)
            && self.end_ms_exclusive.is_none_or(|bound| attempt.start_ms < bound)
            && is(&self.event_id, Some(attempt.event_id))
            && is(&self.delivery_id, attempt.delivery.rsplit(|byte| *byte == b'/').next())
    }

    /// The id that singles out the fewest, if one is given.
    fn id(&self) -> Option<Mark> {
        match (self.delivery_id.as_str(), self.event_id.as_str()) {
            ("", "") => None,
            ("", event) => Some(Mark::of(MarkKind::Event, event.as_bytes())),
            (delivery, _) => Some(Mark::of(MarkKind::Delivery, delivery.as_bytes())),
        }
    }

    fn scope_mark(&self) -> Mark {
        match &self.scope {
            AttemptScope::Sync(uid) => Mark::of(MarkKind::Sync, uid.as_bytes()),
            AttemptScope::Project(project) => Mark::of(MarkKind::Project, project.as_bytes()),
        }
    }

    /// Where those that follow a place can be.
    fn span(&self, after: Option<Place>) -> Span {
        let end = self.end_ms_exclusive.map_or(i64::MAX, |end| end.saturating_sub(1));
        let is_success = |outcome: &i32| *outcome == AttemptOutcome::Delivered as i32;
        let fate = match self.outcomes.as_slice() {
            [] => None,
            outcomes if outcomes.iter().all(is_success) => Some(Fate::Succeeded),
            outcomes if !outcomes.iter().any(is_success) => Some(Fate::Failed),
            _ => None,
        };
        Span {
            first_ms: self.start_ms_inclusive.unwrap_or(i64::MIN),
            last_ms: after.map_or(end, |(start_ms, _)| start_ms.min(end)),
            fate,
            attempts: true,
        }
    }
}

impl Store {
    /// Up to `limit` attempts that follow the place `after` (start, id), the newest first.
    pub(crate) async fn attempts(
        &self,
        query: &AttemptQuery,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<ListedAttempt>, StoreError> {
        // One look at the store: chunks that go meanwhile are there to its end.
        let mut transaction = self.readers.begin().await?;
        let span = query.span(after);
        let mut newest = Newest { query, after, limit, found: BinaryHeap::new(), reader: chunks::reader()? };
        if let Some(id) = query.id() {
            let slots = slot(span.first_ms)..=slot(span.last_ms);
            let ids = marks::chunks_with(&mut transaction, slots, id).await?;
            let candidates = chunks::among(&mut transaction, &ids, &span).await?;
            newest.look_into(&mut transaction, &candidates).await?;
            return Ok(newest.list());
        }
        let scope = query.scope_mark();
        let first_slot = slot(span.first_ms);
        let mut slot_before = slot(span.last_ms).saturating_add(1);
        // Where a few slots do not suffice there is little in each: many are asked at once then.
        let mut width = 1;
        while let Some(last) = chunks::slot_before(&mut transaction, slot_before).await?
            && last >= first_slot
            && !newest.is_full()
        {
            let first = last.saturating_sub(width - 1).max(first_slot);
            let ids = marks::chunks_with(&mut transaction, first..=last, scope).await?;
            let candidates = candidates(&mut transaction, &ids, first..=last, &span).await?;
            newest.look_into(&mut transaction, &candidates).await?;
            slot_before = first;
            width = (width * 4).min(MOST_SLOTS);
        }
        Ok(newest.list())
    }
}

/// Those of these chunks, which are of these slots, that are of the span, the latest first.
async fn candidates(
    connection: &mut SqliteConnection,
    ids: &HashSet<i64>,
    slots: RangeInclusive<i64>,
    span: &Span,
) -> Result<Vec<Candidate>, StoreError> {
    if ids.len() <= FEW_CHUNKS {
        return chunks::among(connection, ids, span).await;
    }
    let mut candidates = chunks::in_slots(connection, slots, span).await?;
    candidates.retain(|candidate| ids.contains(&candidate.id));
    Ok(candidates)
}

/// The newest attempts that were found so far.
struct Newest<'a> {
    query: &'a AttemptQuery,
    after: Option<Place>,
    limit: usize,
    /// The oldest of them on top.
    found: BinaryHeap<Reverse<(Place, Bytes)>>,
    reader: Reader,
}

impl Newest<'_> {
    fn is_full(&self) -> bool {
        self.found.len() >= self.limit
    }

    /// Looks into chunks, which come in the order of their ends, the latest first: until what follows is older than all.
    async fn look_into(
        &mut self,
        connection: &mut SqliteConnection,
        candidates: &[Candidate],
    ) -> Result<(), StoreError> {
        for candidate in candidates {
            let oldest_ms = self.found.peek().map_or(i64::MIN, |Reverse(((start_ms, _), _))| *start_ms);
            if self.is_full() && oldest_ms > candidate.last_ms {
                return Ok(());
            }
            let reports = chunks::read(connection, &mut self.reader, candidate.id).await?;
            for (report, at) in reports.into_iter().zip(0_i64..) {
                let Ok(Read::Kept(head)) = Read::of(report.clone()) else { continue };
                let place = (head.at_ms(), candidate.id << ID_SHIFT | at);
                if self.after.is_none_or(|after| place < after) && self.query.takes_report(&head) {
                    // By itself: what is shared would keep the whole chunk in memory.
                    self.found.push(Reverse((place, Bytes::copy_from_slice(&report))));
                    if self.found.len() > self.limit {
                        self.found.pop();
                    }
                }
            }
        }
        Ok(())
    }

    fn list(self) -> Vec<ListedAttempt> {
        let sorted = self.found.into_sorted_vec().into_iter();
        let listed = sorted.filter_map(|Reverse(((start_ms, id), report))| {
            let encoded_len = report.len();
            let Some(attempt) = attempt(report) else {
                tracing::error!(id, "a stored attempt cannot be read: left out");
                return None;
            };
            Some(ListedAttempt { start_ms, id, encoded_len, attempt })
        });
        listed.collect()
    }
}

#[cfg(test)]
mod tests;
