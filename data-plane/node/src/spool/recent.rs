//! Reports that were committed a moment ago, in memory: who sends them on need not read them from the disk.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// Bytes of reports beyond which the oldest are forgotten here.
const MAX_BYTES: usize = 1 << 20;

/// The newest reports on disk, without a gap. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentReports(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Sequence of the first one.
    first: u64,
    reports: VecDeque<Bytes>,
    bytes: usize,
}

impl RecentReports {
    /// These are on disk, `next` being the sequence after them.
    pub(super) fn committed(&self, reports: &[Bytes], next: u64) {
        let mut inner = self.lock();
        let first = next.saturating_sub(reports.len() as u64);
        if inner.next() != first {
            *inner = Inner { first, ..Inner::default() };
        }
        for report in reports {
            inner.bytes += report.len();
            inner.reports.push_back(report.clone());
        }
        while inner.bytes > MAX_BYTES
            && let Some(oldest) = inner.reports.pop_front()
        {
            inner.bytes -= oldest.len();
            inner.first += 1;
        }
    }

    /// At most `limit` from this sequence on; none if they are not all here.
    pub(super) fn from(&self, sequence: u64, limit: usize) -> Vec<Bytes> {
        let mut inner = self.lock();
        let Some(skip) = sequence.checked_sub(inner.first).and_then(|skip| usize::try_from(skip).ok()) else {
            return Vec::new();
        };
        // What comes before is not asked for again, but after a break of the stream, and then the disk has it.
        for _ in 0..skip.min(inner.reports.len()) {
            if let Some(oldest) = inner.reports.pop_front() {
                inner.bytes -= oldest.len();
                inner.first += 1;
            }
        }
        if inner.first != sequence {
            return Vec::new();
        }
        inner.reports.iter().take(limit).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn next(&self) -> u64 {
        self.first + self.reports.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(texts: &[&'static str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
    }

    #[test]
    fn gives_what_follows_and_nothing_over_a_gap() {
        let recent = RecentReports::default();
        assert!(recent.from(1, 9).is_empty());
        recent.committed(&reports(&["a", "b"]), 7);
        recent.committed(&reports(&["c"]), 8);
        assert!(recent.from(4, 9).is_empty(), "the disk has it");
        assert_eq!(recent.from(5, 2), reports(&["a", "b"]));
        assert_eq!(recent.from(7, 9), reports(&["c"]));
        assert!(recent.from(5, 9).is_empty(), "they were sent");
        assert!(recent.from(8, 9).is_empty());
        recent.committed(&reports(&["e"]), 10);
        assert!(recent.from(8, 9).is_empty(), "one between them came otherwise");
        assert_eq!(recent.from(9, 9), reports(&["e"]));
    }

    #[test]
    fn forgets_the_oldest() {
        let recent = RecentReports::default();
        let long = Bytes::from(vec![0; MAX_BYTES / 2]);
        for next in 2..6 {
            recent.committed(std::slice::from_ref(&long), next);
        }
        assert!(recent.from(2, 9).is_empty());
        assert_eq!(recent.from(3, 9).len(), 2);
    }
}
