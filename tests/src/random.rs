//! Chance that can be repeated: a test prints its seed, and the same seed chooses the same.

/// A seeded source (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Chooses the same for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `from` to `to`, both included.
    pub fn between(&mut self, from: usize, to: usize) -> usize {
        from + usize::try_from(self.number() % (to - from + 1) as u64).unwrap()
    }
}

/// The seed of a run: `SLUICE_SEED`, else always the same one.
#[must_use]
pub fn seed() -> u64 {
    std::env::var("SLUICE_SEED").map_or(20_261_124, |text| text.parse().expect("SLUICE_SEED must be a number"))
}

/// Whether the full counts were asked for (`tests/full.sh`).
#[must_use]
pub fn full() -> bool {
    std::env::var_os("SLUICE_FULL").is_some()
}
