//! Where the reports of an id are: short fingerprints of ids, in order, each with the chunk that has a report of it. A few
//! point to chunks that have none, since fingerprints of different ids may be the same: who finds one looks there.
//!
//! Fingerprints lie in runs. Each commit makes a run; many small ones are merged into a large one, so that whoever looks for
//! an id looks into few (a log-structured merge tree of three levels).

/// A fingerprint of something that reports are looked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark(u32);

/// What it is of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MarkKind {
    /// Id of an event.
    Event = 1,
    /// Id of a delivery.
    Delivery = 2,
    /// Uid of a sync.
    Sync = 3,
    /// Id of a project.
    Project = 4,
}

impl Mark {
    /// The fingerprint of an id.
    pub(crate) fn of(kind: MarkKind, id: &[u8]) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(&[kind as u8]), id))
    }

    /// As it is stored.
    pub(crate) fn number(self) -> i64 {
        i64::from(self.0)
    }
}

/// Entries in one page: some 4 KiB.
const PAGE_ENTRIES: usize = 500;

const ENTRY_BYTES: usize = 8;

/// A run: pages of fingerprints in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first chunk that it points to: pages count from it.
    pub(crate) base: i64,
    /// Its pages, and the first fingerprint in each.
    pub(crate) pages: Vec<(Mark, Vec<u8>)>,
}

impl Run {
    /// A run of these fingerprints and the chunks that they point to, in any order.
    pub(crate) fn of(mut entries: Vec<(Mark, i64)>) -> Self {
        entries.sort_unstable();
        entries.dedup();
        let base = entries.iter().map(|(_, chunk)| *chunk).min().unwrap_or_default();
        let page = |entries: &[(Mark, i64)]| {
            let mut body = Vec::with_capacity(entries.len() * ENTRY_BYTES);
            for (mark, chunk) in entries {
                body.extend_from_slice(&mark.0.to_le_bytes());
                // Chunks of a slot are numbered close to each other: that of five minutes never has 2^32.
                body.extend_from_slice(&u32::try_from(chunk - base).unwrap_or(u32::MAX).to_le_bytes());
            }
            body
        };
        let first = |entries: &[(Mark, i64)]| entries.first().map_or(Mark(0), |(mark, _)| *mark);
        let pages = entries.chunks(PAGE_ENTRIES).map(|entries| (first(entries), page(entries))).collect();
        Self { base, pages }
    }
}

/// The entries of a page of a run with that base, in order.
pub(crate) fn entries(base: i64, page: &[u8]) -> impl Iterator<Item = (Mark, i64)> {
    page.chunks_exact(ENTRY_BYTES).filter_map(move |entry| {
        let (mark, chunk) = entry.split_first_chunk()?;
        let chunk = u32::from_le_bytes(chunk.try_into().ok()?);
        Some((Mark(u32::from_le_bytes(*mark)), base + i64::from(chunk)))
    })
}

/// The chunks that a page of a run with that base names for a fingerprint.
pub(crate) fn find(base: i64, page: &[u8], mark: Mark) -> impl Iterator<Item = i64> {
    let of = |at: usize| {
        let bytes = page.get(at * ENTRY_BYTES..)?.first_chunk()?;
        Some(Mark(u32::from_le_bytes(*bytes)))
    };
    let (mut low, mut high) = (0, page.len() / ENTRY_BYTES);
    while low < high {
        let middle = low.midpoint(high);
        if of(middle).is_some_and(|found| found < mark) { low = middle + 1 } else { high = middle }
    }
    let rest = page.get(low * ENTRY_BYTES..).unwrap_or_default();
    entries(base, rest).take_while(move |(found, _)| *found == mark).map(|(_, chunk)| chunk)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kinds_do_not_share_fingerprints() {
        let kinds = [MarkKind::Event, MarkKind::Delivery, MarkKind::Sync, MarkKind::Project];
        let marks: std::collections::HashSet<_> = kinds.iter().map(|kind| Mark::of(*kind, b"a")).collect();
        assert_eq!(marks.len(), 4);
    }

    proptest! {
        #[test]
        fn every_entry_is_found_and_nothing_else(
            entries in prop::collection::vec((0_u32..300, 1_000_i64..1_040), 0..3_000),
        ) {
            let run = Run::of(entries.iter().map(|(mark, chunk)| (Mark(*mark), *chunk)).collect());
            for (first, page) in &run.pages {
                prop_assert!(page.len() <= PAGE_ENTRIES * ENTRY_BYTES);
                prop_assert_eq!(super::entries(run.base, page).next().unwrap().0, *first);
            }
            for mark in 0..300 {
                let mut expected: Vec<_> =
                    entries.iter().filter(|(of, _)| *of == mark).map(|(_, chunk)| *chunk).collect();
                expected.sort_unstable();
                expected.dedup();
                let found: Vec<_> = run.pages.iter().flat_map(|(_, page)| find(run.base, page, Mark(mark))).collect();
                prop_assert_eq!(found, expected);
            }
            let merged = Run::of(run.pages.iter().flat_map(|(_, page)| super::entries(run.base, page)).collect());
            prop_assert_eq!(merged, run);
        }
    }
}
