//! Latencies, counted in buckets that are the same everywhere, so that histograms of minutes, nodes and syncs can be added up.
//!
//! Log-linear, as HdrHistogram's: each power of two is cut into 64 buckets. A percentile is the middle of its bucket, at most 0.8 %
//! away from the value; below 128 ms it is the value.

use std::collections::BTreeMap;

/// Counts of milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Histogram(BTreeMap<u16, u64>);

/// Buckets in a power of two, as a power of two.
const SUB_BITS: u32 = 6;

/// The bucket of a value.
fn bucket(ms: u64) -> u16 {
    // The highest 7 bits, and how many there are below.
    let shift = (u64::BITS - ms.leading_zeros()).saturating_sub(SUB_BITS + 1);
    // At most 57 << 6 + 127.
    u16::try_from((u64::from(shift) << SUB_BITS) + (ms >> shift)).unwrap_or(u16::MAX)
}

/// The middle of a bucket.
fn middle(bucket: u16) -> u64 {
    let shift = u32::from(bucket >> SUB_BITS).saturating_sub(1);
    let low = (u64::from(bucket) - (u64::from(shift) << SUB_BITS)) << shift;
    low + (1 << shift) / 2
}

impl Histogram {
    /// Counts a value; what is negative counts as 0.
    pub(crate) fn record(&mut self, ms: i64) {
        *self.0.entry(bucket(u64::try_from(ms).unwrap_or(0))).or_default() += 1;
    }

    /// Adds what the other has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    /// The values at these percentiles (nearest rank), in milliseconds; 0 if there are none.
    pub(crate) fn percentiles<const N: usize>(&self, percents: [u64; N]) -> [u64; N] {
        let count: u64 = self.0.values().sum();
        percents.map(|percent| {
            let rank = count.saturating_mul(percent).div_ceil(100).max(1);
            let mut seen = 0;
            let found = self.0.iter().find(|(_, count)| {
                seen += **count;
                seen >= rank
            });
            found.map_or(0, |(bucket, _)| middle(*bucket))
        })
    }

    /// Its bytes: buckets in ascending order, each with its count, as LEB128 numbers.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 3);
        for (bucket, count) in &self.0 {
            prost::encoding::encode_varint(u64::from(*bucket), &mut bytes);
            prost::encoding::encode_varint(*count, &mut bytes);
        }
        bytes
    }

    /// What [`Histogram::encode`] gave.
    ///
    /// # Errors
    /// If it is something else.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let mut buckets = BTreeMap::new();
        while !bytes.is_empty() {
            let bucket = prost::encoding::decode_varint(&mut bytes)?;
            let count = prost::encoding::decode_varint(&mut bytes)?;
            // Those that are none of ours are those of the largest values.
            buckets.insert(u16::try_from(bucket).unwrap_or(u16::MAX), count);
        }
        Ok(Self(buckets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_within_two_percent_of_its_buckets_middle() {
        let values = (0..2_000).chain((1..50_000).map(|n| n * 997)).chain([u64::MAX >> 1]);
        for ms in values {
            let found = middle(bucket(ms));
            assert!(found.abs_diff(ms) as f64 <= ms as f64 * 0.01, "{ms} became {found}");
            assert!(ms >= 128 || found == ms, "{ms} became {found}");
        }
        assert!((0..100_000).map(bucket).is_sorted());
    }

    #[test]
    fn percentiles_are_those_of_all_values_however_they_were_merged() {
        let values: Vec<i64> = (0..10_000).map(|n| (n * n) % 100_003).collect();
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let mut merged = Histogram::default();
        for part in values.chunks(77) {
            let mut histogram = Histogram::default();
            part.iter().for_each(|ms| histogram.record(*ms));
            merged.merge(&Histogram::decode(&histogram.encode()).unwrap());
        }
        for percent in [1, 10, 50, 90, 95, 99, 100] {
            let exact = sorted[(sorted.len() * percent as usize).div_ceil(100) - 1] as f64;
            let [found] = merged.percentiles([percent]);
            assert!((found as f64 - exact).abs() <= exact * 0.02, "p{percent}: {found} instead of {exact}");
        }
    }

    #[test]
    fn without_values_every_percentile_is_0() {
        assert_eq!(Histogram::default().percentiles([50, 99]), [0, 0]);
        assert!(Histogram::decode(&[0x80]).is_err());
    }
}
