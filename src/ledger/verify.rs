//! Looking again: the root of a log computed from its stored entries, beside
//! the one that its owner signed.

use std::sync::PoisonError;

use bytes::Bytes;

use super::log::Log;
use super::{Ledger, LedgerError};
use crate::checkpoint::Checkpoint;
use crate::ids::{LogIndex, TreeSize};
use crate::merkle::{self, Frontier};
use crate::roster::Member;
use crate::store::{Batch, Table};

/// Entries that are read in one go.
const BLOCK_ENTRIES: u64 = 4_096;

impl Ledger {
    /// Computes the root of a log from its stored entries alone and compares it
    /// with the checkpoint that is held, whose signature is checked.
    ///
    /// # Errors
    /// [`LedgerError::Root`] when they differ, [`LedgerError::Checkpoint`] when
    /// the checkpoint is not its owner's.
    pub fn verify_log(&self, log: &Log, owner: &Member) -> Result<Checkpoint, LedgerError> {
        let head = log.head();
        let signed = match owner.frozen_at(&log.origin) {
            Some(frozen) if head.checkpoint.is_empty() => Checkpoint {
                origin: log.origin.clone(),
                size: TreeSize(frozen.size),
                root: frozen.root,
            },
            Some(_) | None => self.open_checkpoint(log, owner, &head.checkpoint)?,
        };
        let mut frontier = Frontier::new();
        let mut at = 0;
        while at < signed.size.0 {
            let end = signed.size.0.min(at + BLOCK_ENTRIES);
            let entries = self.entries(log.number, LogIndex(at), end)?;
            let missing = entries.len() as u64 != end - at;
            if missing {
                return Err(LedgerError::Malformed {
                    origin: log.origin.clone(),
                    what: "entries are missing in the store",
                });
            }
            entries
                .iter()
                .for_each(|entry| frontier.append(merkle::leaf_hash(entry)));
            at = end;
        }
        self.same_root(log, &frontier, &signed)?;
        Ok(signed)
    }

    fn same_root(
        &self,
        log: &Log,
        frontier: &Frontier,
        signed: &Checkpoint,
    ) -> Result<(), LedgerError> {
        let (size, root) = (frontier.size(), frontier.root());
        merkle::verify_consistency(size, &root, signed.size, &signed.root, &[]).map_err(|source| {
            LedgerError::Root {
                origin: log.origin.clone(),
                source,
            }
        })
    }

    /// Checks that a log as it is held extends a signed checkpoint of it.
    ///
    /// # Errors
    /// [`LedgerError::Root`] when it does not: another history was signed.
    pub fn extends(&self, log: &Log, signed: &Checkpoint) -> Result<(), LedgerError> {
        let head = log.head();
        let proof = self.consistency(log, signed.size, head.size())?;
        merkle::verify_consistency(signed.size, &signed.root, head.size(), &head.root(), &proof)
            .map_err(|source| LedgerError::Root {
                origin: log.origin.clone(),
                source,
            })
    }

    /// Takes a checkpoint that the owner announced: one of at most the size that
    /// is held must fit the root that is held; one of that size is kept.
    ///
    /// # Errors
    /// [`LedgerError::Checkpoint`]; [`LedgerError::Forked`] when the owner signed
    /// another history of the same entries, with the evidence kept;
    /// [`LedgerError::Root`] when no signed checkpoint here shows that yet.
    pub fn accept_checkpoint(
        &self,
        log: &Log,
        owner: &Member,
        note: &Bytes,
    ) -> Result<TreeSize, LedgerError> {
        self.unforked(log, owner)?;
        let signed = self.open_checkpoint(log, owner, note)?;
        let writing = log.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut head = log.head();
        if signed.size <= head.checkpoint_size {
            self.same_history(log, &head, note, &signed)?;
        } else if signed.size <= head.size() {
            let proof = self.consistency(log, signed.size, head.size())?;
            let (size, root) = (head.size(), head.root());
            merkle::verify_consistency(signed.size, &signed.root, size, &root, &proof).map_err(
                |source| LedgerError::Root {
                    origin: log.origin.clone(),
                    source,
                },
            )?;
        }
        if signed.size == head.size() && head.checkpoint.is_empty() {
            self.same_root(log, &head.frontier, &signed)?;
            head.checkpoint = note.clone();
            let mut batch = Batch::new();
            batch.put(Table::LogHead, &log.number.to_be_bytes(), head.encode());
            self.0.store.commit(batch)?;
            log.advance(head);
        }
        drop(writing);
        Ok(signed.size)
    }
}
