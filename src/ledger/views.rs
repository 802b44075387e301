//! Split views: whether a checkpoint that somebody shows is on the history that
//! is held here, and what proves that it is not. For each records log one note
//! that was seen is remembered, durably, until a newer one is shown to extend it.

use bytes::Bytes;

use super::error::note_refused;
use super::log::{Head, Log};
use super::tiles::TileReader;
use super::{Ledger, LedgerError};
use crate::checkpoint::{Checkpoint, CheckpointText, SignedNote, contradicts};
use crate::ids::{Digest, LogName, Origin, TreeSize};
use crate::keys::PublicKey;
use crate::merkle::{self, TileNodes};
use crate::roster::Member;
use crate::store::{Batch, StoreError, Table};
use crate::wire::v1::{EvidencePair, GetConsistencyResponse};

/// A checkpoint with the signed note that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The note.
    pub bytes: Bytes,
    /// What it says.
    pub checkpoint: Checkpoint,
}

/// What a shown checkpoint is to those that are held here.
#[derive(Clone, Debug, PartialEq)]
pub enum View {
    /// It is on the history that is held, or there is nothing to hold it against.
    Fits,
    /// Only a proof can tell whether the second one extends the first.
    Open(Box<(Note, Note)>),
    /// It contradicts one that is held.
    Conflict(Box<EvidencePair>),
}

impl Ledger {
    /// Says whether a log's owner is proven to have signed two histories of it.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn is_forked(&self, origin: &Origin) -> Result<bool, LedgerError> {
        Ok(self.0.evidence.is_against(&origin.to_string())?)
    }

    /// Nothing new of a log that contradicts itself is taken, unless the roots
    /// have said where it ended.
    pub(super) fn unforked(&self, log: &Log, author: &Member) -> Result<(), LedgerError> {
        if author.frozen_at(&log.origin).is_none() && self.is_forked(&log.origin)? {
            return Err(LedgerError::Forked(log.origin.clone()));
        }
        Ok(())
    }

    /// Compares a signed note of a records log with what is held of that log,
    /// and with the note of it that was seen before.
    ///
    /// # Errors
    /// [`LedgerError::Checkpoint`] when it is no checkpoint of that log.
    pub fn view(
        &self,
        origin: &Origin,
        author: &Member,
        note: &Bytes,
    ) -> Result<View, LedgerError> {
        let log = self.log(origin).ok();
        let head = log.as_ref().map(|log| log.head());
        let held = head.as_ref().filter(|head| !head.checkpoint.is_empty());
        if held.is_some_and(|head| head.checkpoint == note) {
            return Ok(View::Fits);
        }
        let shown = open_note(origin, author, note)?;
        if let (Some(log), Some(head)) = (&log, held)
            && shown.checkpoint.size <= head.checkpoint_size
        {
            return self.beside_log(log, head, &shown);
        }
        let held = held
            .map(|head| read_note(origin, &head.checkpoint))
            .transpose()?;
        let seen = self.last_seen(origin)?;
        Ok(beside_notes(shown, [held, seen]))
    }

    /// The view of a note of at most the size that is held: the tiles tell.
    fn beside_log(&self, log: &Log, head: &Head, shown: &Note) -> Result<View, LedgerError> {
        let size = shown.checkpoint.size;
        let root = self.root_at(log, size)?;
        if root == shown.checkpoint.root {
            return Ok(View::Fits);
        }
        let mut consistency = vec![];
        if size != head.checkpoint_size {
            consistency.push(root);
            consistency.extend(self.consistency(log, size, head.checkpoint_size)?);
        }
        let pair = evidence_pair(&log.origin, &shown.bytes, &head.checkpoint, &consistency);
        Ok(View::Conflict(Box::new(pair)))
    }

    /// Refuses a note that contradicts a log here, and keeps the evidence.
    pub(super) fn same_history(
        &self,
        log: &Log,
        head: &Head,
        note: &Bytes,
        signed: &Checkpoint,
    ) -> Result<(), LedgerError> {
        if head.checkpoint.is_empty() {
            return Ok(());
        }
        let shown = Note {
            bytes: note.clone(),
            checkpoint: signed.clone(),
        };
        match self.beside_log(log, head, &shown)? {
            View::Fits | View::Open(_) => Ok(()),
            View::Conflict(mut pair) => {
                pair.source = log.origin.member.to_string();
                self.0.evidence.keep(*pair)?;
                Err(LedgerError::Forked(log.origin.clone()))
            }
        }
    }

    /// Judges somebody's proof that `pair.1` extends `pair.0`.
    ///
    /// # Errors
    /// [`LedgerError::Root`] or [`LedgerError::Malformed`] when the proof does
    /// not lead to the signed root: then whoever gave it misbehaved.
    pub fn settle_view(
        &self,
        origin: &Origin,
        pair: &(Note, Note),
        answer: &GetConsistencyResponse,
    ) -> Result<View, LedgerError> {
        let (first, second) = pair;
        let hashes = std::iter::once(&answer.old_root).chain(&answer.consistency);
        let shown = hashes
            .map(|hash| Digest::from_slice(hash))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| LedgerError::Malformed {
                origin: origin.clone(),
                what: "a proof hash has the wrong length",
            })?;
        let apart = contradicts(&first.checkpoint, &second.checkpoint, &shown);
        let apart = apart.map_err(|source| LedgerError::Root {
            origin: origin.clone(),
            source,
        })?;
        if !apart {
            return Ok(View::Fits);
        }
        let evidence = evidence_pair(origin, &first.bytes, &second.bytes, &shown);
        Ok(View::Conflict(Box::new(evidence)))
    }

    /// The root of a log's first `size` entries, from its tiles.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Tiles`].
    pub fn root_at(&self, log: &Log, size: TreeSize) -> Result<Digest, LedgerError> {
        let reader = TileReader::new(&self.0.store, log.number);
        let nodes = TileNodes(|level, tile| reader.tile(level, tile).map_err(LedgerError::from));
        merkle::root_at(&nodes, size)
    }

    /// The note of a log that was seen and is remembered.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn last_seen(&self, origin: &Origin) -> Result<Option<Note>, LedgerError> {
        let kept = self
            .0
            .store
            .read(Table::Seen, origin.to_string().as_bytes())?;
        kept.map(|bytes| read_note(origin, &bytes)).transpose()
    }

    /// Whether the own records log here is smaller than a note of it that was
    /// seen, which this member signed: what is appended would be signed twice.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn is_behind(&self) -> Result<bool, LedgerError> {
        let log = self.own_log(LogName::Records);
        let seen = self.last_seen(&log.origin)?;
        Ok(seen.is_some_and(|seen| seen.checkpoint.size > log.size()))
    }

    /// Every note that was seen and is remembered, by log.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn all_seen(&self) -> Result<Vec<(Origin, Bytes)>, LedgerError> {
        let kept = self.0.store.scan(Table::Seen, b"")?;
        let read = |(key, note): (Vec<u8>, Bytes)| {
            let origin = String::from_utf8(key)
                .ok()
                .and_then(|text| text.parse().ok());
            Ok((origin.ok_or(StoreError::Damaged("origin"))?, note))
        };
        kept.into_iter().map(read).collect()
    }

    /// Remembers a note of which the log here does not tell yet; durable when it
    /// returns. One that is remembered stays until a larger one is `proven` to
    /// extend it, or the log here has reached it.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn remember_seen(
        &self,
        origin: &Origin,
        note: &Bytes,
        proven: bool,
    ) -> Result<(), LedgerError> {
        let covered = self
            .log(origin)
            .map_or(TreeSize(0), |log| log.head().checkpoint_size);
        let size = read_note(origin, note)?.checkpoint.size;
        let before = self
            .last_seen(origin)?
            .map_or(TreeSize(0), |seen| seen.checkpoint.size);
        let waits = before > covered && !proven;
        if size <= covered || size <= before || waits {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.put(Table::Seen, origin.to_string().as_bytes(), note.to_vec());
        Ok(self.0.store.commit(batch)?)
    }
}

/// The view of a note that is larger than the log that is held, beside the
/// newest notes of it that are here.
fn beside_notes(shown: Note, here: [Option<Note>; 2]) -> View {
    let largest = here
        .into_iter()
        .flatten()
        .filter(|note| note.checkpoint.size.0 > 0)
        .max_by_key(|note| note.checkpoint.size);
    let Some(known) = largest else {
        return View::Fits;
    };
    let (size, other) = (shown.checkpoint.size, known.checkpoint.size);
    if size.0 == 0 || size == other && known.checkpoint.root == shown.checkpoint.root {
        return View::Fits;
    }
    if size == other {
        let origin = &shown.checkpoint.origin;
        let pair = evidence_pair(origin, &known.bytes, &shown.bytes, &[]);
        return View::Conflict(Box::new(pair));
    }
    View::Open(Box::new(if size < other {
        (shown, known)
    } else {
        (known, shown)
    }))
}

fn open_note(origin: &Origin, author: &Member, note: &Bytes) -> Result<Note, LedgerError> {
    let keys: Vec<&PublicKey> = author.checkpoint_keys().collect();
    let opened = Checkpoint::open(note, origin, &keys);
    let checkpoint = opened.map_err(|source| note_refused(origin, author, source))?;
    Ok(Note {
        bytes: note.clone(),
        checkpoint,
    })
}

/// Reads a note that was opened before, when its key counted.
fn read_note(origin: &Origin, note: &Bytes) -> Result<Note, LedgerError> {
    let refuse = |source| LedgerError::Checkpoint {
        origin: origin.clone(),
        source,
    };
    let parsed = SignedNote::parse(note).map_err(refuse)?;
    let text = CheckpointText::parse(parsed.text()).map_err(refuse)?;
    Ok(Note {
        bytes: note.clone(),
        checkpoint: Checkpoint {
            origin: origin.clone(),
            size: text.size,
            root: text.root,
        },
    })
}

fn evidence_pair(
    origin: &Origin,
    first: &Bytes,
    second: &Bytes,
    consistency: &[Digest],
) -> EvidencePair {
    EvidencePair {
        origin: origin.to_string(),
        first: first.clone(),
        second: second.clone(),
        found_at: 0,
        source: String::new(),
        consistency: consistency.iter().map(|d| d.0.to_vec().into()).collect(),
    }
}
