//! Accepting chunks of other members' logs: every signature, every leaf and
//! the root are checked before anything of a chunk is stored.

use std::collections::HashSet;
use std::sync::PoisonError;

use bytes::Bytes;

use super::error::note_refused;
use super::log::{Head, Log};
use super::seen::SeenBodies;
use super::signers::key_of;
use super::{Ledger, LedgerError, segment, size_to_index, tiles};
use crate::checkpoint::Checkpoint;
use crate::ids::{Digest, LogIndex, TreeSize};
use crate::keys::PublicKey;
use crate::merkle;
use crate::record::Entry;
use crate::roster::Member;
use crate::roster::validity::KeyTimeline;
use crate::store::{Batch, StoreError, Table};
use crate::wire::v1;

/// Entries that a chunk may carry.
pub(crate) const CHUNK_ENTRIES_MAX: u64 = 4_096;

/// What a chunk added.
#[derive(Clone, Copy, Debug)]
pub struct ChunkAccepted {
    /// Entries whose signatures were verified and which are now stored.
    pub entries: u64,
    /// The replica's size now.
    pub size: TreeSize,
    /// The size of the checkpoint that proves it.
    pub checkpoint_size: TreeSize,
}

impl Ledger {
    /// Verifies a chunk of `log` whose author is `author`, and stores it when
    /// all of it holds. Blocks; CPU-heavy.
    ///
    /// # Errors
    /// [`LedgerError::Record`], [`LedgerError::Root`], [`LedgerError::Checkpoint`]
    /// or [`LedgerError::Malformed`] when the sender or author misbehaved;
    /// [`LedgerError::UnknownKey`] when the roster here is too old. Nothing of
    /// the chunk is kept then.
    pub fn accept_chunk(
        &self,
        log: &Log,
        author: &Member,
        mut chunk: v1::Chunk,
    ) -> Result<ChunkAccepted, LedgerError> {
        let writing = log.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.unforked(log, author)?;
        let malformed = |what| LedgerError::Malformed {
            origin: log.origin.clone(),
            what,
        };
        let before = log.head();
        if chunk.start != before.size().0 {
            return Err(malformed("it does not start where the replica ends"));
        }
        if chunk.entries.is_empty() || chunk.entries.len() as u64 > CHUNK_ENTRIES_MAX {
            return Err(malformed("it carries no entries, or too many"));
        }
        let left = author
            .frozen_at(&log.origin)
            .map(|frozen| frozen.size.saturating_sub(chunk.start));
        if let Some(left) = left {
            chunk
                .entries
                .truncate(usize::try_from(left).unwrap_or(usize::MAX));
            if left <= chunk.entries.len() as u64 {
                // The roster says how the log ends, whatever was signed then.
                chunk.checkpoint = Bytes::new();
                chunk.consistency = vec![];
            }
            if chunk.entries.is_empty() {
                return Err(malformed("it goes on where the log has ended"));
            }
        }
        let Verified { leaves, bodies } = {
            let timeline = self.timeline_of(log, author);
            verify_entries(log, &timeline, chunk.start, &chunk.entries)?
        };
        let mut head = before.clone();
        for leaf in &leaves {
            head.frontier.append(*leaf);
        }
        let proven = self.prove_chunk(log, author, &head, &chunk)?;
        let fresh = self.unrepeated(log, before.size(), &bodies)?;
        if proven == head.size() {
            head.checkpoint = chunk.checkpoint;
            head.checkpoint_size = proven;
        }

        let mut batch = Batch::new();
        let updates = merkle::append_tiles(
            before.size(),
            |level, tile| -> Result<_, LedgerError> {
                Ok(tiles::read_tile(&self.0.store, log.number, level, tile)?)
            },
            &leaves,
        )?;
        tiles::put_tiles(&mut batch, log.number, &updates);
        let first = size_to_index(before.size());
        segment::put_entries(&mut batch, log.number, first, &chunk.entries);
        batch.put(Table::LogHead, &log.number.to_be_bytes(), head.encode());
        self.0.store.commit(batch)?;
        let accepted = ChunkAccepted {
            entries: leaves.len() as u64,
            size: head.size(),
            checkpoint_size: proven,
        };
        log.advance(head);
        if let Some(seen) = &mut *log.seen.lock().unwrap_or_else(PoisonError::into_inner) {
            seen.add(&fresh);
        }
        drop(writing);
        Ok(accepted)
    }

    /// Checks that the root of `head`, with the chunk's entries, leads to a
    /// signed checkpoint, or to the end that the roster names; returns its size.
    fn prove_chunk(
        &self,
        log: &Log,
        author: &Member,
        head: &Head,
        chunk: &v1::Chunk,
    ) -> Result<TreeSize, LedgerError> {
        let malformed = |what| LedgerError::Malformed {
            origin: log.origin.clone(),
            what,
        };
        let (size, root) = match author.frozen_at(&log.origin) {
            Some(frozen) if chunk.checkpoint.is_empty() => (TreeSize(frozen.size), frozen.root),
            None if chunk.checkpoint.is_empty() => {
                return Err(LedgerError::NewerRoster(log.origin.clone()));
            }
            Some(_) | None => {
                let signed = self.open_checkpoint(log, author, &chunk.checkpoint)?;
                (signed.size, signed.root)
            }
        };
        if size < head.size() {
            return Err(malformed("its checkpoint is smaller than its entries"));
        }
        let proof = chunk
            .consistency
            .iter()
            .map(|h| Digest::from_slice(h))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| malformed("a proof hash has the wrong length"))?;
        let proven = merkle::verify_consistency(head.size(), &head.root(), size, &root, &proof);
        proven.map_err(|source| LedgerError::Root {
            origin: log.origin.clone(),
            source,
        })?;
        Ok(size)
    }

    /// Checks that no body hash of a chunk stands in the log already, or twice
    /// in the chunk; returns the fingerprints to be added once it is stored.
    fn unrepeated(
        &self,
        log: &Log,
        size: TreeSize,
        bodies: &[Digest],
    ) -> Result<Vec<u64>, LedgerError> {
        let mut seen = log.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = match &mut *seen {
            Some(seen) => seen,
            none => none.insert(self.seen_so_far(log, size)?),
        };
        let fresh = seen.fingerprints(bodies);
        if seen.may_repeat(&fresh) && self.repeats(log, size, bodies)? {
            return Err(LedgerError::Malformed {
                origin: log.origin.clone(),
                what: "it names a body that the log named before",
            });
        }
        Ok(fresh)
    }

    fn seen_so_far(&self, log: &Log, size: TreeSize) -> Result<SeenBodies, LedgerError> {
        let mut seen = SeenBodies::default();
        self.each_block_of_bodies(log, size, |bodies| {
            seen.add(&seen.fingerprints(bodies));
            true
        })?;
        Ok(seen)
    }

    /// The exact look, over the whole log: rare, since a fingerprint matched.
    fn repeats(&self, log: &Log, size: TreeSize, new: &[Digest]) -> Result<bool, LedgerError> {
        let wanted: HashSet<&Digest> = new.iter().collect();
        let mut repeats = wanted.len() != new.len();
        self.each_block_of_bodies(log, size, |bodies| {
            repeats |= bodies.iter().any(|body| wanted.contains(body));
            !repeats
        })?;
        Ok(repeats)
    }

    fn each_block_of_bodies(
        &self,
        log: &Log,
        size: TreeSize,
        mut look: impl FnMut(&[Digest]) -> bool,
    ) -> Result<(), LedgerError> {
        let mut at = 0;
        while at < size.0 {
            let end = size.0.min(at + CHUNK_ENTRIES_MAX);
            let bodies = self
                .entries(log.number, LogIndex(at), end)?
                .into_iter()
                .map(|bytes| Entry::parse(bytes).map(|e| e.statement.body_sha256))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| StoreError::Damaged("entry"))?;
            if !look(&bodies) {
                return Ok(());
            }
            at = end;
        }
        Ok(())
    }

    /// Opens a checkpoint of `log` under the checkpoint keys of its author.
    ///
    /// # Errors
    /// [`LedgerError::Checkpoint`]; [`LedgerError::NewerKey`] when none of the
    /// keys that can be used here signed it, and there are others.
    pub fn open_checkpoint(
        &self,
        log: &Log,
        author: &Member,
        note: &Bytes,
    ) -> Result<Checkpoint, LedgerError> {
        let keys: Vec<&PublicKey> = author.checkpoint_keys().collect();
        Checkpoint::open(note, &log.origin, &keys)
            .map_err(|source| note_refused(&log.origin, author, source))
    }
}

struct Verified {
    leaves: Vec<Digest>,
    bodies: Vec<Digest>,
}

fn verify_entries(
    log: &Log,
    timeline: &KeyTimeline,
    start: u64,
    entries: &[Bytes],
) -> Result<Verified, LedgerError> {
    let mut leaves = Vec::with_capacity(entries.len());
    let mut bodies = Vec::with_capacity(entries.len());
    for (at, bytes) in (start..).zip(entries) {
        let index = LogIndex(at);
        let refuse = |source| LedgerError::Record {
            origin: log.origin.clone(),
            index,
            source,
        };
        let entry = Entry::parse(bytes.clone()).map_err(refuse)?;
        entry.check_place(&log.origin).map_err(refuse)?;
        let key_id = entry.statement.key_id;
        let key = key_of(timeline.signer(key_id, index), log, index, key_id)?;
        entry.verify(key).map_err(refuse)?;
        entry
            .verify_further(|id| timeline.named(id))
            .map_err(refuse)?;
        leaves.push(entry.leaf_hash());
        bodies.push(entry.statement.body_sha256);
    }
    Ok(Verified { leaves, bodies })
}
