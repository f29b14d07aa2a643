//! When the newest changes were made, so that it can be told since when a node has been behind. Pure: no store, no clock.

use std::collections::VecDeque;

use crate::changelog::{KEPT_REVISIONS, Position};

/// The changes that are remembered: those of this epoch since the start, the newest [`KEPT_REVISIONS`] of them.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    epoch: String,
    /// Revision, and when it was made; the newest last.
    changes: VecDeque<(i64, i64)>,
}

impl Recent {
    /// The catalog stands at `position` since `now_ms`.
    pub(crate) fn changed(&mut self, position: &Position, now_ms: i64) {
        if self.epoch != position.epoch {
            self.epoch.clone_from(&position.epoch);
            self.changes.clear();
        }
        self.changes.push_back((position.revision, now_ms));
        if self.changes.len() > usize::try_from(KEPT_REVISIONS).unwrap_or(usize::MAX) {
            self.changes.pop_front();
        }
    }

    /// When the oldest change was made that is not in `serves`, as far as is remembered; none if there is no such change.
    pub(crate) fn behind_since_ms(&self, serves: &Position) -> Option<i64> {
        let first = match serves.epoch == self.epoch {
            true => self.changes.partition_point(|(revision, _)| *revision <= serves.revision),
            // Another life of the store: nothing of it counts.
            false => 0,
        };
        self.changes.get(first).map(|(_, ms)| *ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: &str, revision: i64) -> Position {
        Position { epoch: epoch.into(), revision, hash: String::new() }
    }

    #[test]
    fn what_is_behind_is_so_since_the_first_change_that_it_lacks() {
        let mut recent = Recent::default();
        assert_eq!(recent.behind_since_ms(&at("", 0)), None);
        recent.changed(&at("e", 7), 100);
        recent.changed(&at("e", 8), 200);
        // Three at once.
        recent.changed(&at("e", 11), 300);
        let since = |revision| recent.behind_since_ms(&at("e", revision));
        assert_eq!(
            [since(3), since(7), since(8), since(9), since(11)],
            [Some(100), Some(200), Some(300), Some(300), None]
        );
        assert_eq!(recent.behind_since_ms(&at("", 0)), Some(100), "it holds nothing");
        assert_eq!(recent.behind_since_ms(&at("another life", 12)), Some(100));
        recent.changed(&at("f", 2), 400);
        assert_eq!(recent.behind_since_ms(&at("e", 11)), Some(400));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut recent = Recent::default();
        for revision in 1..=KEPT_REVISIONS + 5 {
            recent.changed(&at("e", revision), revision);
        }
        assert_eq!(recent.behind_since_ms(&at("e", 0)), Some(6));
    }
}
