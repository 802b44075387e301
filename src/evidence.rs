//! Evidence: pairs of signed notes of one log that contradict each other. Who
//! finds one keeps it here; it is never removed, and it stops the log that it
//! is about until the roots begin a new generation (PROTOCOL.md section 7).

use prost::Message;

use crate::clock::Clock;
use crate::ids::Digest;
use crate::store::{Batch, Store, StoreError, Table};
use crate::wire::v1::EvidencePair;

/// Pairs that a node keeps; a member that makes more is proven false already.
const PAIRS_MAX: usize = 10_000;

/// The node's evidence. Clones share it.
#[derive(Clone, Debug)]
pub struct Evidence {
    store: Store,
    clock: Clock,
}

impl Evidence {
    /// Keeps evidence in `store`.
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Keeps a pair under the time of now; durable when it returns. Says
    /// whether it is new: the same two notes are kept once. Blocks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn keep(&self, mut pair: EvidencePair) -> Result<bool, StoreError> {
        let notes = Digest::of(&[&pair.first[..], &pair.second[..]].concat());
        let key = [pair.origin.as_bytes(), b"\n", &notes.0[..]].concat();
        if self.store.read(Table::Conflicts, &key)?.is_some() || self.all()?.len() >= PAIRS_MAX {
            return Ok(false);
        }
        pair.found_at = self.clock.now();
        let mut batch = Batch::new();
        batch.put(Table::Conflicts, &key, pair.encode_to_vec());
        self.store.commit(batch)?;
        tracing::error!(log.origin = %pair.origin, source = %pair.source, "a log contradicts itself: two signed notes are kept as evidence");
        Ok(true)
    }

    /// All pairs, by log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn all(&self) -> Result<Vec<EvidencePair>, StoreError> {
        let kept = self.store.scan(Table::Conflicts, b"")?;
        kept.into_iter().map(|(_, value)| decode(value)).collect()
    }

    /// All pairs, by log, each with its number: the first six bytes of the
    /// digest of its notes, so that none gets another's number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn numbered(&self) -> Result<Vec<(u64, EvidencePair)>, StoreError> {
        let kept = self.store.iter(Table::Conflicts, b"");
        kept.map(|item| item.and_then(|(key, value)| Ok((number_of(&key)?, decode(value)?))))
            .collect()
    }

    /// The pair of that number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn pair(&self, number: u64) -> Result<Option<EvidencePair>, StoreError> {
        for item in self.store.iter(Table::Conflicts, b"") {
            let (key, value) = item?;
            if number_of(&key)? == number {
                return decode(value).map(Some);
            }
        }
        Ok(None)
    }

    /// How many pairs are kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn count(&self) -> Result<u64, StoreError> {
        let kept = self.store.iter(Table::Conflicts, b"");
        kept.map(|pair| pair.map(|_| 1)).sum()
    }

    /// Says whether there is evidence against a log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn is_against(&self, origin: &str) -> Result<bool, StoreError> {
        let prefix = [origin.as_bytes(), b"\n"].concat();
        let first = self.store.iter(Table::Conflicts, &prefix).next();
        Ok(first.transpose()?.is_some())
    }
}

fn decode(value: bytes::Bytes) -> Result<EvidencePair, StoreError> {
    EvidencePair::decode(value).map_err(|_| StoreError::Damaged("evidence"))
}

/// The number of the pair under a key, which ends with the digest of its notes.
fn number_of(key: &[u8]) -> Result<u64, StoreError> {
    let digest = key.last_chunk::<32>();
    let digest = digest.ok_or(StoreError::Damaged("evidence"))?;
    let mut number = [0; 8];
    number[2..].copy_from_slice(&digest[..6]);
    // 0 is no number of a pair.
    Ok(u64::from_be_bytes(number).max(1))
}
