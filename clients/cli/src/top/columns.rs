//! The columns of both tables: titles, cells, what they are ordered by, and which of them fit.

use std::{cmp::Ordering, time::Duration};

use super::rows::{NodeRow, NodeState, SyncRow, SyncState};
use crate::{
    duration,
    output::{bytes, thousands},
};

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Width; the least width of one that takes what is left.
    pub(super) width: u16,
    /// Whether it takes of what is left.
    pub(super) grows: bool,
    /// Whether it holds numbers, which stand on the right.
    pub(super) is_number: bool,
    /// The higher, the earlier it goes where there is no room.
    pub(super) expendable: u8,
}

const fn number(title: &'static str, width: u16, expendable: u8) -> Column {
    Column { title, width, grows: false, is_number: true, expendable }
}

const fn word(title: &'static str, width: u16, expendable: u8) -> Column {
    Column { title, width, grows: false, is_number: false, expendable }
}

const fn growing(title: &'static str, width: u16, expendable: u8) -> Column {
    Column { title, width, grows: true, is_number: false, expendable }
}

/// The columns of syncs.
pub(super) const SYNCS: [Column; 10] = [
    growing("NAME", 16, 0),
    word("STATE", 15, 1),
    number("DELIVERED/S", 12, 3),
    number("RATE", 7, 4),
    number("FAILED", 8, 2),
    number("P50", 8, 7),
    number("P99", 8, 6),
    number("PENDING", 10, 2),
    number("OLDEST", 7, 5),
    growing("LATEST REASON", 14, 8),
];

/// The columns of nodes.
pub(super) const NODES: [Column; 9] = [
    growing("NAME", 16, 0),
    word("STATE", 10, 1),
    number("SINCE", 8, 7),
    number("REVISION", 9, 5),
    number("LAG", 14, 2),
    number("ACCEPTED/S", 11, 3),
    number("PENDING", 10, 2),
    number("SPOOL", 10, 4),
    number("IN FLIGHT", 10, 6),
];

/// A row of a table.
pub(super) trait Row {
    /// Its columns.
    const COLUMNS: &'static [Column];
    /// Its cells, one for each column.
    fn cells(&self) -> Vec<String>;
    /// What it is ordered by in that column.
    fn key(&self, column: usize) -> Key<'_>;
    /// Whether it has the text, in small letters, in its name, state or reason.
    fn has(&self, text: &str) -> bool;
    /// Whether something is wrong with it.
    fn is_alarming(&self) -> bool;
    /// Whether it is out of service.
    fn is_dim(&self) -> bool;
}

/// What a row is ordered by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Key<'a> {
    Text(&'a str),
    /// `None` comes last in both directions.
    Number(Option<f64>),
}

impl Row for SyncRow {
    const COLUMNS: &'static [Column] = &SYNCS;

    fn cells(&self) -> Vec<String> {
        let state = match (self.state, self.failing_for_seconds) {
            (SyncState::Failing, Some(seconds)) => format!("failing {}", span(Some(seconds))),
            (SyncState::Failing, None) => "failing".to_owned(),
            (SyncState::Disabled, _) => "disabled".to_owned(),
            (SyncState::Enabled, _) => "enabled".to_owned(),
        };
        vec![
            self.name.clone(),
            state,
            rate(self.delivered_per_second),
            percent(self.delivery_rate),
            count(self.failed_count),
            latency(self.latency_p50_seconds),
            latency(self.latency_p99_seconds),
            count(self.pending_count),
            span(self.oldest_wait_seconds),
            if self.reason.is_empty() { "-".to_owned() } else { self.reason.clone() },
        ]
    }

    fn key(&self, column: usize) -> Key<'_> {
        match column {
            1 => Key::Number(Some(match self.state {
                // Those that fail for long before those that fail for a moment.
                SyncState::Failing => 1e15 + self.failing_for_seconds.unwrap_or(0.0),
                SyncState::Disabled => 1.0,
                SyncState::Enabled => 0.0,
            })),
            2 => Key::Number(self.delivered_per_second),
            3 => Key::Number(self.delivery_rate),
            4 => Key::Number(float(self.failed_count)),
            5 => Key::Number(self.latency_p50_seconds),
            6 => Key::Number(self.latency_p99_seconds),
            7 => Key::Number(float(self.pending_count)),
            8 => Key::Number(self.oldest_wait_seconds),
            9 => Key::Text(&self.reason),
            _ => Key::Text(&self.name),
        }
    }

    fn has(&self, text: &str) -> bool {
        let state = match self.state {
            SyncState::Failing => "failing",
            SyncState::Disabled => "disabled",
            SyncState::Enabled => "enabled",
        };
        [self.name.as_str(), state, self.reason.as_str()].iter().any(|part| part.to_lowercase().contains(text))
    }

    fn is_alarming(&self) -> bool {
        self.state == SyncState::Failing
    }

    fn is_dim(&self) -> bool {
        self.state == SyncState::Disabled
    }
}

impl Row for NodeRow {
    const COLUMNS: &'static [Column] = &NODES;

    fn cells(&self) -> Vec<String> {
        let lag = match self.behind_seconds {
            Some(seconds) => format!("{}, {}", self.lag, span(Some(seconds))),
            None => self.lag.to_string(),
        };
        vec![
            self.name.clone(),
            self.state_word().to_owned(),
            span(self.for_seconds),
            self.revision.to_string(),
            lag,
            rate(self.accepted_per_second),
            count(Some(self.pending_count)),
            bytes(u64::try_from(self.spool_bytes).unwrap_or(0)),
            count(Some(self.in_flight_count)),
        ]
    }

    fn key(&self, column: usize) -> Key<'_> {
        match column {
            1 => Key::Number(Some(f64::from(2 - self.state as u8))),
            2 => Key::Number(self.for_seconds),
            3 => Key::Number(float(Some(self.revision))),
            4 => Key::Number(Some(self.behind_seconds.unwrap_or(0.0).max(self.lag as f64))),
            5 => Key::Number(self.accepted_per_second),
            6 => Key::Number(float(Some(self.pending_count))),
            7 => Key::Number(float(Some(self.spool_bytes))),
            8 => Key::Number(float(Some(self.in_flight_count))),
            _ => Key::Text(&self.name),
        }
    }

    fn has(&self, text: &str) -> bool {
        self.name.to_lowercase().contains(text) || self.state_word().contains(text)
    }

    fn is_alarming(&self) -> bool {
        self.state == NodeState::Gone
    }

    fn is_dim(&self) -> bool {
        self.state == NodeState::Draining
    }
}

impl NodeRow {
    fn state_word(&self) -> &'static str {
        match self.state {
            NodeState::Gone => "gone",
            NodeState::Draining => "draining",
            NodeState::Connected => "connected",
        }
    }
}

/// The numbers of those rows that have the text, in the order of a column; `descending`: the largest first.
pub(super) fn ordered<R: Row>(rows: &[R], filter: &str, column: usize, descending: bool) -> Vec<usize> {
    let filter = filter.to_lowercase();
    let mut shown: Vec<(usize, &R)> = rows.iter().enumerate().filter(|(_, row)| row.has(&filter)).collect();
    shown.sort_by(|(_, a), (_, b)| {
        let order = match (a.key(column), b.key(column)) {
            (Key::Number(Some(a)), Key::Number(Some(b))) => directed(a.total_cmp(&b), descending),
            (Key::Number(a), Key::Number(b)) => b.is_some().cmp(&a.is_some()),
            (Key::Text(a), Key::Text(b)) => directed(a.cmp(b), descending),
            (Key::Text(_), Key::Number(_)) | (Key::Number(_), Key::Text(_)) => Ordering::Equal,
        };
        // Always the same order, so that rows don't dance.
        order.then_with(|| match (a.key(0), b.key(0)) {
            (Key::Text(a), Key::Text(b)) => a.cmp(b),
            _ => Ordering::Equal,
        })
    });
    shown.into_iter().map(|(index, _)| index).collect()
}

/// The numbers of those columns that fit into `width`, with a space between them.
pub(super) fn fitting(columns: &[Column], width: u16) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let expendable = |index: &usize| columns.get(*index).map_or(0, |column| column.expendable);
    loop {
        let needed: u16 = kept.iter().filter_map(|index| columns.get(*index)).map(|column| column.width + 1).sum();
        if needed <= width.saturating_add(1) || kept.len() <= 1 {
            return kept;
        }
        // Of those that are as expendable as one another the one on the right.
        let Some(least) = (0..kept.len()).max_by_key(|place| kept.get(*place).map_or(0, expendable)) else {
            return kept;
        };
        kept.remove(least);
    }
}

fn directed(order: Ordering, descending: bool) -> Ordering {
    if descending { order.reverse() } else { order }
}

fn float(count: Option<i64>) -> Option<f64> {
    count.map(|count| count as f64)
}

/// By the second: `0`, `0.25`, `12.5`, `1,250`.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(rate) if rate < 1.0 => format!("{rate:.2}"),
        Some(rate) if rate < 100.0 => format!("{rate:.1}"),
        Some(rate) => thousands(rate.round() as u64),
    }
}

/// Never 100 where something failed.
pub(super) fn percent(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate < 1.0 => format!("{:.2}%", (rate * 10_000.0).floor() / 100.0),
        Some(_) => "100%".to_owned(),
    }
}

pub(super) fn count(count: Option<i64>) -> String {
    count.map_or_else(|| "-".to_owned(), |count| thousands(u64::try_from(count).unwrap_or(0)))
}

pub(super) fn latency(seconds: Option<f64>) -> String {
    let shown = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    shown.map_or_else(|| "-".to_owned(), |time| if time.as_secs() < 60 { duration::show(time) } else { span(seconds) })
}

/// A length of time in two units at most: `12s`, `5m12s`, `3h4m`, `2d7h`.
pub(super) fn span(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "-".to_owned() };
    let seconds = seconds as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rows: &[SyncRow], filter: &str, column: usize, descending: bool) -> Vec<String> {
        ordered(rows, filter, column, descending).into_iter().map(|index| rows[index].name.clone()).collect()
    }

    fn row(name: &str, p99: Option<f64>, reason: &str) -> SyncRow {
        SyncRow { name: name.into(), latency_p99_seconds: p99, reason: reason.into(), ..SyncRow::default() }
    }

    #[test]
    fn rows_are_ordered_and_filtered() {
        let mut rows =
            [row("b", Some(2.0), "HTTP 503"), row("a", None, ""), row("c", Some(9.0), "DNS"), row("d", None, "")];
        assert_eq!(names(&rows, "", 0, false), ["a", "b", "c", "d"]);
        assert_eq!(names(&rows, "", 6, true), ["c", "b", "a", "d"]);
        assert_eq!(names(&rows, "", 6, false), ["b", "c", "a", "d"], "what is not known comes last");
        assert_eq!(names(&rows, "http", 0, false), ["b"]);
        rows[3].state = SyncState::Failing;
        assert_eq!(names(&rows, "FAILING", 0, false), ["d"]);
        assert_eq!(names(&rows, "", 1, true)[0], "d");
    }

    #[test]
    fn columns_go_one_by_one_where_there_is_no_room() {
        assert_eq!(fitting(&SYNCS, 200).len(), SYNCS.len());
        let titles = |width| fitting(&SYNCS, width).into_iter().map(|index| SYNCS[index].title).collect::<Vec<_>>();
        assert_eq!(titles(80), ["NAME", "STATE", "DELIVERED/S", "RATE", "FAILED", "PENDING"]);
        assert_eq!(titles(20), ["NAME"]);
        assert_eq!(titles(0), ["NAME"]);
        for width in 0..200 {
            let needed: u16 = fitting(&SYNCS, width).iter().map(|index| SYNCS[*index].width + 1).sum();
            assert!(needed <= (width + 1).max(17), "{width}");
        }
    }

    #[test]
    fn cells_are_as_many_as_columns() {
        assert_eq!(SyncRow::default().cells().len(), SYNCS.len());
        assert_eq!(NodeRow::default().cells().len(), NODES.len());
    }

    #[test]
    fn numbers_are_shown_for_people() {
        assert_eq!(
            [None, Some(0.0), Some(0.25), Some(12.46), Some(1_250.4)].map(rate),
            ["-", "0", "0.25", "12.5", "1,250"]
        );
        assert_eq!([None, Some(1.0), Some(0.999_999), Some(0.5)].map(percent), ["-", "100%", "99.99%", "50.00%"]);
        let spans = [None, Some(12.9), Some(312.0), Some(11_040.0), Some(198_000.0), Some(-1.0)].map(span);
        assert_eq!(spans, ["-", "12s", "5m12s", "3h4m", "2d7h", "0s"]);
        assert_eq!([None, Some(0.0042), Some(75.0), Some(f64::NAN)].map(latency), ["-", "4.2 ms", "1m15s", "-"]);
    }
}
