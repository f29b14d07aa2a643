//! Dead letters: chosen, listed, reopened, exported, removed.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, params_from_iter, types::Value};

use super::{
    commit::Commit,
    damage::Damage,
    rows::{self, DEAD_COLUMNS, DeadRow, DeliveryRow},
    state::project_of,
};
use crate::spool::{
    limits::millis,
    store::{DeadLetterPage, DeadLetterQuery, DeadLetterRow, Effect, LaneKey, Selection, StoreError},
};

/// Dead letters that are removed at once.
const PIECE: i64 = 500;

/// How far a reopening has come that goes on piece by piece.
pub(super) struct Resume {
    selection: Selection,
    ended_before_ms: i64,
    cursor: i64,
}

/// A selection as a condition in SQL.
struct Condition {
    /// The way to find them in their order without sorting.
    by: &'static str,
    text: String,
    values: Vec<Value>,
}

impl Condition {
    /// `lanes`: those of the selection's syncs.
    fn new(selection: &Selection, lanes: &[i64]) -> Self {
        let by = match lanes {
            _ if !selection.delivery_ids.is_empty() => "INDEXED BY dead_by_id",
            [_] => "INDEXED BY dead_by_lane",
            _ => "NOT INDEXED",
        };
        let mut condition = Self { by, text: String::new(), values: Vec::new() };
        condition.one_of("lane", lanes.iter().map(|lane| Value::from(*lane)));
        if !selection.reasons.is_empty() {
            condition.one_of("reason", selection.reasons.iter().map(|reason| Value::from(*reason as i32)));
        }
        if !selection.event_types.is_empty() {
            condition.one_of("event_type", selection.event_types.iter().map(|name| Value::from(name.clone())));
        }
        if !selection.delivery_ids.is_empty() {
            condition.one_of("webhook_id", selection.delivery_ids.iter().map(|id| Value::from(id.0.to_vec())));
        }
        if let Some(from_ms) = selection.ended_from_ms {
            condition.holds("end_ms >= ?", from_ms);
        }
        if let Some(before_ms) = selection.ended_before_ms {
            condition.holds("end_ms < ?", before_ms);
        }
        condition
    }

    fn holds(&mut self, text: &str, value: i64) {
        self.and();
        self.text.push_str(text);
        self.values.push(value.into());
    }

    fn one_of(&mut self, column: &str, values: impl Iterator<Item = Value>) {
        self.and();
        let before = self.values.len();
        self.values.extend(values);
        let marks = vec!["?"; self.values.len() - before].join(", ");
        self.text.push_str(&format!("{column} IN ({marks})"));
    }

    fn and(&mut self) {
        if !self.text.is_empty() {
            self.text.push_str(" AND ");
        }
    }
}

fn is_of(selection: &Selection, key: &LaneKey) -> bool {
    project_of(&key.name) == selection.project && selection.sync.as_deref().is_none_or(|sync| *sync == *key.name)
}

impl Commit<'_> {
    /// Reopens up to `limit` dead letters of `lanes`.
    pub(super) fn redeliver(
        &mut self,
        selection: &Selection,
        ended_before_ms: i64,
        lanes: &HashSet<i64>,
        limit: usize,
    ) -> Result<Effect, StoreError> {
        let resume = self
            .resume
            .take()
            .filter(|resume| resume.selection == *selection && resume.ended_before_ms == ended_before_ms);
        let mut cursor = resume.map_or(0, |resume| resume.cursor);
        let chosen = self.lanes(|id, key| lanes.contains(&id) && is_of(selection, key));
        let mut condition = Condition::new(selection, &chosen);
        condition.holds("end_ms < ?", ended_before_ms);
        condition.holds("delivery > ?", cursor);
        let found = list(self.sql, self.damage, &condition, limit)?;
        let mut counts: HashMap<i64, u64> = HashMap::new();
        for dead in &found {
            cursor = dead.delivery;
            DeadRow::delete(self.sql, dead.delivery)?;
            let Some(lane) = self.state.lane(dead.lane) else { continue };
            let due_ms = lane.time(self.now_ms);
            DeliveryRow {
                lane: dead.lane,
                delivery: dead.delivery,
                event: dead.event,
                bytes: dead.bytes,
                due_ms,
                state: dead.state.redelivered(),
            }
            .insert(self.sql)?;
            self.state.counters.unexported -= i64::from(!dead.exported);
            self.state.change_lane(dead.lane, |lane| lane.reopened(dead.bytes));
            *counts.entry(dead.lane).or_default() += 1;
        }
        let more = found.len() >= limit;
        if more {
            *self.resume = Some(Resume { selection: selection.clone(), ended_before_ms, cursor });
        }
        let mut lanes: Vec<(i64, u64)> = counts.into_iter().collect();
        lanes.sort_unstable();
        Ok(Effect::Redelivered { lanes, more, next_report: self.next_report() })
    }

    /// Marks dead letters as exported; counts those that are.
    pub(super) fn mark_exported(&mut self, selection: &Selection) -> Result<Effect, StoreError> {
        let chosen = self.lanes(|_, key| is_of(selection, key));
        let Condition { by, text, values } = Condition::new(selection, &chosen);
        let all: i64 = self.sql.query_row(
            &format!("SELECT COUNT(*) FROM dead_letters {by} WHERE {text}"),
            params_from_iter(&values),
            |row| row.get(0),
        )?;
        let new = self.sql.execute(
            &format!("UPDATE dead_letters {by} SET exported = 1 WHERE {text} AND exported = 0"),
            params_from_iter(&values),
        )?;
        self.state.counters.unexported -= new as i64;
        Ok(Effect::Marked(u64::try_from(all).unwrap_or_default()))
    }

    /// Removes a piece of what is too old or too much. Gives whether it did.
    pub(super) fn retain_dead_letters(&mut self) -> Result<bool, StoreError> {
        let old = self.now_ms.saturating_sub(millis(self.limits.dead_letter_age));
        let max = i64::try_from(self.limits.dead_letter_bytes()).unwrap_or(i64::MAX);
        let mut bytes = i64::try_from(self.state.dead_letter_bytes()).unwrap_or(i64::MAX);
        let text = format!("SELECT {DEAD_COLUMNS} FROM dead_letters ORDER BY end_ms, delivery LIMIT {PIECE}");
        let mut removed = Vec::new();
        {
            let mut statement = self.sql.prepare_cached(&text)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (dead, _) = DeadRow::read(row)?;
                if dead.end_ms >= old && bytes <= max {
                    break;
                }
                bytes -= dead.bytes;
                removed.push(dead);
            }
        }
        for dead in &removed {
            DeadRow::delete(self.sql, dead.delivery)?;
            rows::release_event(self.sql, dead.event)?;
            self.state.counters.unexported -= i64::from(!dead.exported);
            self.state.change_lane(dead.lane, |lane| lane.removed(dead.bytes));
        }
        if !removed.is_empty() {
            tracing::warn!(removed = removed.len(), "dead letters were removed by age or size");
        }
        Ok(!removed.is_empty())
    }

    fn lanes(&self, is_chosen: impl Fn(i64, &LaneKey) -> bool) -> Vec<i64> {
        let mut lanes: Vec<i64> =
            self.state.lanes().filter(|(id, lane)| is_chosen(*id, &lane.key)).map(|(id, _)| id).collect();
        lanes.sort_unstable();
        lanes
    }
}

/// When the dead letter that ended first ended.
pub(super) fn oldest_end_ms(sql: &Connection) -> Result<Option<i64>, StoreError> {
    Ok(sql.prepare_cached("SELECT MIN(end_ms) FROM dead_letters")?.query_row([], |row| row.get(0))?)
}

fn list(sql: &Connection, damage: &Damage, condition: &Condition, limit: usize) -> Result<Vec<DeadRow>, StoreError> {
    let text = format!(
        "SELECT {DEAD_COLUMNS} FROM dead_letters {} WHERE {} ORDER BY delivery LIMIT {}",
        condition.by,
        condition.text,
        i64::try_from(limit).unwrap_or(i64::MAX)
    );
    let mut statement = sql.prepare(&text)?;
    let mut rows = statement.query(params_from_iter(&condition.values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (dead, whole) = DeadRow::read(row)?;
        if !whole {
            damage.found("dead letter", dead.delivery);
        }
        found.push(dead);
    }
    Ok(found)
}

/// A page of dead letters.
pub(super) fn read(sql: &Connection, damage: &Damage, query: &DeadLetterQuery) -> Result<DeadLetterPage, StoreError> {
    let lanes = lane_keys(sql, &query.selection)?;
    let ids: Vec<i64> = lanes.keys().copied().collect();
    let mut condition = Condition::new(&query.selection, &ids);
    condition.holds("delivery > ?", query.cursor_exclusive);
    let limit = query.limit.max(1);
    let found = list(sql, damage, &condition, limit.saturating_add(1))?;
    let mut page = DeadLetterPage::default();
    let mut bytes = 0_usize;
    for dead in found {
        let full = page.letters.len() >= limit || (bytes >= query.max_bytes && !page.letters.is_empty());
        if full {
            page.next_cursor = page.letters.last().map(|letter: &DeadLetterRow| letter.delivery);
            break;
        }
        let json = if query.with_events {
            rows::read_event(sql, dead.event)?
                .inspect_err(|_| damage.found("event", dead.event))
                .ok()
                .map(|event| event.json)
        } else {
            None
        };
        bytes = bytes.saturating_add(json.as_ref().map_or(0, |json| json.len()));
        let Some(key) = lanes.get(&dead.lane).cloned() else { continue };
        page.letters.push(DeadLetterRow {
            delivery: dead.delivery,
            lane: dead.lane,
            key,
            event: dead.event_id,
            event_type: dead.event_type,
            accept_ms: dead.accept_ms,
            outcome: dead.outcome,
            reason: dead.reason,
            end_ms: dead.end_ms,
            schedule: dead.state.schedule,
            attempts: dead.state.attempts,
            event_bytes: dead.bytes.unsigned_abs(),
            json,
            exported: dead.exported,
        });
    }
    Ok(page)
}

/// How many there are, and the bytes of their events.
pub(super) fn count(sql: &Connection, selection: &Selection) -> Result<(u64, u64), StoreError> {
    let ids: Vec<i64> = lane_keys(sql, selection)?.into_keys().collect();
    let Condition { by, text, values } = Condition::new(selection, &ids);
    let (count, bytes): (i64, i64) = sql.query_row(
        &format!("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM dead_letters {by} WHERE {text}"),
        params_from_iter(&values),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok((count.unsigned_abs(), bytes.unsigned_abs()))
}

fn lane_keys(sql: &Connection, selection: &Selection) -> Result<HashMap<i64, LaneKey>, StoreError> {
    let mut statement = sql.prepare_cached("SELECT lane, uid, name FROM lanes")?;
    let mut rows = statement.query([])?;
    let mut lanes = HashMap::new();
    while let Some(row) = rows.next()? {
        let key = LaneKey { uid: row.get::<_, String>(1)?.into(), name: row.get::<_, String>(2)?.into() };
        if is_of(selection, &key) {
            lanes.insert(row.get(0)?, key);
        }
    }
    Ok(lanes)
}
