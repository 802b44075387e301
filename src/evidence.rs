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
        kept.into_iter()
            .map(|(_, value)| {
                EvidencePair::decode(value).map_err(|_| StoreError::Damaged("evidence"))
            })
            .collect()
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
