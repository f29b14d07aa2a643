//! What nodes report, as it is kept: many reports in a chunk, and where to find those of an id. Pure: no store, no clock.

pub(crate) mod chunk;
pub(crate) mod figures;
pub(crate) mod head;
pub(crate) mod marks;

/// What became of what a report tells of: successes are forgotten before failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fate {
    /// A 2xx.
    Succeeded,
    /// Anything else.
    Failed,
}

impl Fate {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Succeeded, Self::Failed];

    /// As it is stored.
    pub(crate) fn number(self) -> i64 {
        match self {
            Self::Succeeded => 1,
            Self::Failed => 2,
        }
    }

    /// The one that is stored as `number`.
    pub(crate) fn of_number(number: i64) -> Self {
        if number == 1 { Self::Succeeded } else { Self::Failed }
    }
}

/// The slot of five minutes in which a moment lies, milliseconds since the epoch: a chunk holds reports of one slot.
pub(crate) fn slot(at_ms: i64) -> i64 {
    at_ms.div_euclid(SLOT_MS)
}

/// The first moment of a slot.
pub(crate) fn slot_start_ms(slot: i64) -> i64 {
    slot.saturating_mul(SLOT_MS)
}

const SLOT_MS: i64 = 300_000;
