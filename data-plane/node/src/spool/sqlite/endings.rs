//! Endings that no round brings about: the sync is gone, its backlog is too long, its endpoint is down.

use std::collections::HashSet;

use rusqlite::{Params, params};
use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};

use super::{
    commit::Commit,
    rows::{DELIVERY_COLUMNS, DeliveryRow},
};
use crate::spool::store::{Effect, StoreError};

impl Commit<'_> {
    /// Ends up to `limit` open deliveries of a lane whose sync is gone.
    pub(super) fn end_lane(&mut self, lane: i64, limit: usize) -> Result<Effect, StoreError> {
        self.write_chunk()?;
        let in_chunks: Vec<i64> =
            self.state.chunks.open_of(lane, limit).into_iter().map(|held| held.delivery).collect();
        self.shelve(&in_chunks)?;
        let found = self.rows(
            &format!("SELECT {DELIVERY_COLUMNS} FROM deliveries WHERE lane = ? ORDER BY delivery LIMIT ?"),
            params![lane, limit as i64],
        )?;
        self.end_rows(lane, &found, EndingOutcome::Discarded, EndingReason::SyncDeleted)
    }

    /// Ends the oldest waiting deliveries of a lane until `keep` are open.
    pub(super) fn trim(
        &mut self,
        lane: i64,
        keep: u64,
        except: &HashSet<i64>,
        limit: usize,
    ) -> Result<Effect, StoreError> {
        let pending = self.state.lane(lane).map_or(0, |lane| u64::try_from(lane.counts.pending).unwrap_or_default());
        let over = usize::try_from(pending.saturating_sub(keep)).unwrap_or(usize::MAX).min(limit);
        let mut found = self.rows(
            &format!("SELECT {DELIVERY_COLUMNS} FROM deliveries WHERE lane = ? ORDER BY delivery LIMIT ?"),
            params![lane, over.saturating_add(except.len()) as i64],
        )?;
        found.retain(|row| !except.contains(&row.delivery));
        found.truncate(over);
        self.end_rows(lane, &found, EndingOutcome::Discarded, EndingReason::BacklogFull)
    }

    /// Ends waiting deliveries whose window was opened by then, and whose last due time a failed probe has followed.
    pub(super) fn expire_down(
        &mut self,
        lane: i64,
        opened_by_ms: i64,
        probe_ms: i64,
        except: &HashSet<i64>,
        limit: usize,
    ) -> Result<Effect, StoreError> {
        let mut found = self.rows(
            &format!(
                "SELECT {DELIVERY_COLUMNS} FROM deliveries INDEXED BY windows
                 WHERE lane = ? AND window_open_ms IS NOT NULL AND window_open_ms <= ? AND due_ms <= ? AND attempts > 0
                 ORDER BY window_open_ms, delivery LIMIT ?"
            ),
            params![lane, opened_by_ms, probe_ms, limit.saturating_add(except.len()) as i64],
        )?;
        found.retain(|row| !except.contains(&row.delivery));
        found.truncate(limit);
        self.end_rows(lane, &found, EndingOutcome::Expired, EndingReason::EndpointDown)
    }

    fn end_rows(
        &mut self,
        lane: i64,
        found: &[DeliveryRow],
        outcome: EndingOutcome,
        reason: EndingReason,
    ) -> Result<Effect, StoreError> {
        if let Some(key) = self.state.lane(lane).map(|lane| lane.key.clone()) {
            for row in found {
                self.end_row(&key, row, outcome, reason)?;
            }
        }
        Ok(Effect::LaneEnded { ended: found.len(), next_report: self.next_report() })
    }

    /// Rows as they are; a damaged one has its place and its lane, and ends like the others.
    fn rows(&self, text: &str, params: impl Params) -> Result<Vec<DeliveryRow>, StoreError> {
        let mut statement = self.sql.prepare_cached(text)?;
        let mut rows = statement.query(params)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (row, whole) = DeliveryRow::read(row)?;
            if !whole {
                self.damage.found("delivery", row.delivery);
            }
            found.push(row);
        }
        Ok(found)
    }
}
