//! Taking events in: what is new, whether there is room, and what is stored of it.

use std::collections::BTreeMap;

use super::commit::Commit;
use crate::spool::store::{Accept, Created, Effect, EventCounts, Full, InsertKey, Item, Matched, StoreError};

impl Commit<'_> {
    /// Takes in what is new of consecutive events; all of it or, where there is no room or a gap, nothing.
    pub(super) fn accept(&mut self, accept: &Accept) -> Result<Effect, StoreError> {
        let count = accept.items.len();
        let mut skip = 0;
        if let Some(producer) = &accept.producer {
            let expected = self.next_sequence(producer)?.unwrap_or(accept.first_sequence);
            if accept.first_sequence > expected {
                return Ok(Effect::Gap { expected });
            }
            skip = usize::try_from(expected - accept.first_sequence).unwrap_or(usize::MAX).min(count);
        }
        let mark = self.dedup.mark();
        let new: Vec<&Item> = accept.items.iter().skip(skip).filter(|item| self.is_new(item)).collect();
        if skip < count
            && let Some(full) = self.full(accept, &new)
        {
            self.dedup.unstage(mark);
            return Ok(Effect::Full(full));
        }
        if let Some(producer) = accept.producer.as_ref().filter(|_| skip < count) {
            self.set_next_sequence(producer, accept.first_sequence + count as u64)?;
        }

        let mut counts =
            EventCounts { received: count as i64, duplicates: (count - new.len()) as i64, ..EventCounts::default() };
        let mut created = Vec::new();
        for item in new {
            match item {
                Item::Rejected => counts.rejected += 1,
                Item::Unmatched { .. } => counts.unmatched += 1,
                Item::Matched(matched) => {
                    counts.matched += 1;
                    self.store(matched, &mut created)?;
                }
            }
        }
        counts.created = created.len() as i64;
        self.state.change_project(&accept.project, |project| {
            project.received += counts.received;
            project.rejected += counts.rejected;
            project.duplicates += counts.duplicates;
            project.unmatched += counts.unmatched;
            project.matched += counts.matched;
            project.created += counts.created;
        });
        let open = self.open_of(&created);
        Ok(Effect::Accepted { created, open })
    }

    /// Whether the event was not seen before; its key is remembered.
    fn is_new(&mut self, item: &Item) -> bool {
        let key: Option<InsertKey> = match item {
            Item::Rejected => None,
            Item::Unmatched { key } => *key,
            Item::Matched(matched) => matched.key,
        };
        let Some(key) = key else { return true };
        if self.dedup.knows(&key, self.now_ms) {
            return false;
        }
        self.dedup.stage(key);
        true
    }

    /// What has no room for the new ones.
    fn full(&self, accept: &Accept, new: &[&Item]) -> Option<Full> {
        if !self.disk_has_room {
            return Some(Full::Disk);
        }
        let mut bytes = 0;
        for item in new {
            let Item::Matched(matched) = item else { continue };
            bytes += matched.event.json.len() * matched.lanes.len();
            for target in &matched.lanes {
                let Some(limit) = target.refuse_from else { continue };
                let pending = self.state.lane_by_key(&target.key).map_or(0, |lane| lane.counts.pending);
                if u64::try_from(pending).unwrap_or_default() >= limit {
                    return Some(Full::Lane(target.key.clone()));
                }
            }
        }
        if bytes == 0 {
            return None;
        }
        let with = |used: i64| u64::try_from(used).unwrap_or_default().saturating_add(bytes as u64);
        if with(self.state.used) > self.limits.max_bytes {
            return Some(Full::Spool);
        }
        let project = self.state.project(&accept.project).map_or(0, |project| project.used);
        (with(project) > self.limits.project_bytes()).then_some(Full::Project)
    }

    fn store(&mut self, matched: &Matched, created: &mut Vec<Created>) -> Result<(), StoreError> {
        let event = &matched.event;
        if self.building.is_full_for(event.json.len()) {
            self.write_chunk()?;
        }
        let lanes = matched
            .lanes
            .iter()
            .map(|target| self.state.lane_of(self.sql, &target.key))
            .collect::<Result<Vec<_>, _>>()?;
        let event_row = self.state.counters.next_event;
        self.building.push(event_row, event, &lanes)?;
        self.state.counters.next_event += 1;
        let bytes = event.json.len() as i64;
        for (target, lane) in matched.lanes.iter().zip(lanes) {
            let delivery = self.state.counters.next_delivery;
            self.state.counters.next_delivery += 1;
            self.state.change_lane(lane, |lane| lane.created(bytes));
            created.push(Created { delivery, event_row, lane, key: target.key.clone(), event: event.clone() });
        }
        Ok(())
    }

    fn open_of(&self, created: &[Created]) -> Vec<(i64, u64)> {
        let mut open = BTreeMap::new();
        for new in created {
            open.entry(new.lane).or_insert_with(|| {
                let pending = self.state.lane(new.lane).map_or(0, |lane| lane.counts.pending);
                u64::try_from(pending).unwrap_or_default()
            });
        }
        open.into_iter().collect()
    }
}
