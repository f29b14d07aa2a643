//! How an interval is put together of hours, minutes and single reports.

use std::ops::Range;

use super::rollup::Resolution;

/// What an interval is put together of. The parts do not overlap, and are together the interval that is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cover {
    /// Whole hours, as rollups.
    pub(crate) hours: Range<i64>,
    /// Whole minutes, as rollups; at most two.
    pub(crate) minutes: Vec<Range<i64>>,
    /// What is left, of single reports.
    pub(crate) reports: Vec<Range<i64>>,
}

/// What there is to put an interval together of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// From when on minutes are kept.
    pub(crate) minutes_from_ms: i64,
    /// From when on every single report is kept.
    pub(crate) reports_from_ms: i64,
}

impl Cover {
    /// Of what the interval from `start_ms` up to but not at `end_ms` is put together, and which one is counted: it is wider than
    /// asked for where only rollups are left that reach beyond it.
    pub(crate) fn of(start_ms: i64, end_ms: i64, kept: Kept) -> (Self, Range<i64>) {
        let finest = |ms: i64| if ms >= kept.minutes_from_ms { Resolution::Minute } else { Resolution::Hour };
        let start_ms = match start_ms < kept.reports_from_ms {
            true => finest(start_ms).floor(start_ms),
            false => start_ms,
        };
        let end_ms = if end_ms < kept.reports_from_ms { finest(end_ms).ceil(end_ms) } else { end_ms };
        let mut cover = Self::default();
        let hours = Resolution::Hour.ceil(start_ms)..Resolution::Hour.floor(end_ms);
        if hours.is_empty() {
            cover.piece(start_ms..end_ms, kept);
        } else {
            cover.piece(start_ms..hours.start, kept);
            cover.piece(hours.end..end_ms, kept);
            cover.hours = hours;
        }
        (cover, start_ms..end_ms)
    }

    /// A piece without whole hours.
    fn piece(&mut self, piece: Range<i64>, kept: Kept) {
        let minutes = Resolution::Minute.ceil(piece.start)..Resolution::Minute.floor(piece.end);
        if minutes.is_empty() || minutes.start < kept.minutes_from_ms {
            self.reports.extend(Some(piece).filter(|piece| !piece.is_empty()));
            return;
        }
        let edges = [piece.start..minutes.start, minutes.end..piece.end];
        self.reports.extend(edges.into_iter().filter(|edge| !edge.is_empty()));
        self.minutes.push(minutes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const MINUTE: i64 = 60_000;
    const ALL: Kept = Kept { minutes_from_ms: i64::MIN, reports_from_ms: i64::MIN };

    fn parts(cover: &Cover) -> Vec<Range<i64>> {
        let mut parts = [vec![cover.hours.clone()], cover.minutes.clone(), cover.reports.clone()].concat();
        parts.retain(|part| !part.is_empty());
        parts.sort_by_key(|part| part.start);
        parts
    }

    #[test]
    fn an_interval_is_covered_without_gaps_or_overlaps() {
        for start in [0, 1, MINUTE, HOUR - 1, HOUR, HOUR + MINUTE + 7] {
            for length in [1, 999, MINUTE, 3 * MINUTE + 5, HOUR, HOUR + 1, 5 * HOUR + 3 * MINUTE + 2] {
                for kept in [ALL, Kept { minutes_from_ms: 2 * HOUR, ..ALL }, Kept { minutes_from_ms: i64::MAX, ..ALL }]
                {
                    let (cover, counted) = Cover::of(start, start + length, kept);
                    assert_eq!(counted, start..start + length);
                    let parts = parts(&cover);
                    assert_eq!((parts[0].start, parts.last().unwrap().end), (start, start + length), "{cover:?}");
                    assert!(parts.windows(2).all(|two| two[0].end == two[1].start), "{cover:?}");
                    assert!(cover.minutes.iter().all(|part| part.start >= kept.minutes_from_ms), "{cover:?}");
                    let left: i64 = cover.reports.iter().map(|part| part.end - part.start).sum();
                    assert!(left <= 2 * HOUR && (kept.minutes_from_ms != i64::MIN || left <= 2 * MINUTE), "{cover:?}");
                }
            }
        }
    }

    #[test]
    fn where_reports_are_gone_whole_rollups_are_counted() {
        let kept = Kept { minutes_from_ms: 10 * HOUR, reports_from_ms: 11 * HOUR };
        let (cover, counted) = Cover::of(HOUR + 5, 10 * HOUR + 30 * MINUTE + 5, kept);
        assert_eq!(counted, HOUR..10 * HOUR + 31 * MINUTE);
        assert_eq!(
            cover,
            Cover {
                hours: HOUR..10 * HOUR,
                minutes: std::iter::once(10 * HOUR..10 * HOUR + 31 * MINUTE).collect(),
                reports: vec![]
            }
        );
    }
}
