//! What a chunk has to tell a sync's figures, apart from its reports: whoever counts one sync's reads neither those of the others
//! nor what was said of each attempt.

use std::collections::BTreeMap;

use prost::encoding::{decode_varint, encode_varint};
use sha2::{Digest as _, Sha256};

use super::{
    head::{Ended, Head},
    slot_start_ms,
};

/// What a sync is known by: the first 64 bits of SHA-256 over its uid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SyncKey([u8; 8]);

impl SyncKey {
    pub(crate) fn of(sync_uid: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(sync_uid).into();
        let mut key = [0; 8];
        key.copy_from_slice(digest.split_at(8).0);
        Self(key)
    }
}

/// One thing that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// An attempt was made.
    Attempt {
        /// When it began, milliseconds since the epoch.
        start_ms: i64,
        /// `AttemptOutcome`.
        outcome: i32,
    },
    /// A delivery has ended; which schedule that was is not kept.
    Ended(Ended),
}

/// The figures of a chunk under way, by sync.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    of_syncs: BTreeMap<SyncKey, Vec<u8>>,
    /// The newest sync that was asked for its key: it is often the next.
    last: Option<(bytes::Bytes, SyncKey)>,
}

const ATTEMPT: u64 = 0;
const ENDED: u64 = 1;

impl Figures {
    /// Adds those of a report, which is of this slot.
    pub(crate) fn push(&mut self, head: &Head, slot: i64) {
        let key = match &self.last {
            Some((uid, key)) if *uid == head.sync_uid => *key,
            _ => {
                let key = SyncKey::of(&head.sync_uid);
                self.last = Some((head.sync_uid.clone(), key));
                key
            }
        };
        let of_sync = self.of_syncs.entry(key).or_default();
        let start_ms = slot_start_ms(slot);
        let mut put = |number: i64| encode_varint(u64::try_from(number).unwrap_or_default(), of_sync);
        if let Some(attempt) = &head.attempt {
            [ATTEMPT.cast_signed(), attempt.start_ms - start_ms, attempt.outcome.into()].into_iter().for_each(&mut put);
        }
        if let Some(ended) = head.ended {
            let took_ms = ended.end_ms.saturating_sub(ended.accept_ms);
            [ENDED.cast_signed(), ended.end_ms - start_ms, ended.outcome.into(), ended.attempt_count.into(), took_ms]
                .into_iter()
                .for_each(&mut put);
        }
    }

    /// As they are stored.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoded = Vec::new();
        for (SyncKey(key), of_sync) in &self.of_syncs {
            encoded.extend_from_slice(key);
            encode_varint(of_sync.len() as u64, &mut encoded);
            encoded.extend_from_slice(of_sync);
        }
        encoded
    }
}

/// The figures of a sync among those that [`Figures::encode`] gave of a chunk of this slot; what cannot be read ends them.
pub(crate) fn figures_of(mut encoded: &[u8], sync: SyncKey, slot: i64) -> impl Iterator<Item = Figure> {
    let mut of_sync: &[u8] = &[];
    while let Some((key, rest)) = encoded.split_first_chunk() {
        encoded = rest;
        let length = decode_varint(&mut encoded).ok().and_then(|length| usize::try_from(length).ok());
        let Some((figures, rest)) = length.and_then(|length| encoded.split_at_checked(length)) else { break };
        if SyncKey(*key) == sync {
            of_sync = figures;
            break;
        }
        encoded = rest;
    }
    let start_ms = slot_start_ms(slot);
    std::iter::from_fn(move || {
        let mut number = || i64::try_from(decode_varint(&mut of_sync).ok()?).ok();
        let (kind, at_ms, outcome) = (number()?, start_ms.saturating_add(number()?), i32::try_from(number()?).ok()?);
        if kind == ATTEMPT.cast_signed() {
            return Some(Figure::Attempt { start_ms: at_ms, outcome });
        }
        let (attempt_count, took_ms) = (i32::try_from(number()?).ok()?, number()?);
        let accept_ms = at_ms.saturating_sub(took_ms);
        Some(Figure::Ended(Ended { end_ms: at_ms, schedule: 0, outcome, attempt_count, accept_ms }))
    })
}

#[cfg(test)]
mod tests {
    use super::{super::head::Attempted, *};

    fn head(sync: &str, start_ms: Option<i64>, ended: Option<Ended>) -> Head {
        let attempt = start_ms.map(|start_ms| Attempted {
            start_ms,
            instance: "i".into(),
            round: 1,
            attempt: 1,
            outcome: 3,
            longest_text: 0,
        });
        Head { delivery: "d".into(), sync_uid: sync.to_owned().into(), event_id: "e".into(), attempt, ended }
    }

    #[test]
    fn each_sync_finds_its_own() {
        let ended = Ended { end_ms: 601_000, schedule: 0, outcome: 1, attempt_count: 30, accept_ms: 5_000 };
        let mut figures = Figures::default();
        for sync in ["a", "b"] {
            figures.push(&head(sync, Some(600_000), None), 2);
            figures.push(&head(sync, Some(899_999), Some(ended)), 2);
        }
        figures.push(&head("a", None, Some(ended)), 2);
        let encoded = figures.encode();
        let told = |sync: &str| figures_of(&encoded, SyncKey::of(sync.as_bytes()), 2).collect::<Vec<_>>();
        let attempt = |start_ms| Figure::Attempt { start_ms, outcome: 3 };
        let both = [attempt(600_000), attempt(899_999), Figure::Ended(ended)];
        assert_eq!(told("b"), both);
        assert_eq!(told("a"), [&both[..], &[Figure::Ended(ended)]].concat());
        assert_eq!(told("c"), []);
        for sync in ["a", "b"] {
            let whole = told(sync);
            for length in 0..encoded.len() {
                let cut: Vec<_> = figures_of(&encoded[..length], SyncKey::of(sync.as_bytes()), 2).collect();
                assert!(cut.is_empty() || cut == whole, "of a sync whose figures are cut none is read: {length}");
            }
        }
    }
}
