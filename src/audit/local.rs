//! The directory of a stopped node, as the source of a bundle: the own logs,
//! and other members' receipts from the replicas.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::export::ExportError;
use super::layout::{TilePath, TlogProof, put_entry, tiles_of_run};
use super::source::{Each, LogState, Receipt, Run, Source, SourceError};
use crate::blame::{Blame, Blamed};
use crate::checkpoint::{CheckpointText, SignedNote};
use crate::evidence::Evidence;
use crate::ids::{LogIndex, LogName, Origin, TreeSize};
use crate::ledger::{self, AuditedBody, BodyState, Ledger, LedgerError, Log, Seer};
use crate::store::{StoreError, Table};
use crate::wire::v1::{Erasure, EvidencePair, SignedRoster};

/// Bodies that are read at once: as many as one sealed run holds.
pub const BODIES_AT_ONCE: u64 = 64;

/// Reads a ledger directly, with the eyes of the own member.
#[derive(Debug)]
pub struct LocalSource {
    ledger: Ledger,
    evidence: Evidence,
}

impl LocalSource {
    /// Reads from `ledger`.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        let evidence = Evidence::new(ledger.store().clone(), ledger.clock().clone());
        Self { ledger, evidence }
    }

    fn log(&self, origin: &Origin) -> Result<Arc<Log>, ExportError> {
        Ok(self.ledger.log(origin)?)
    }
}

/// The own logs of a ledger, of every generation that is held, by name.
#[must_use]
pub fn own_logs(ledger: &Ledger) -> Vec<Arc<Log>> {
    let mut logs = ledger.logs();
    logs.retain(|log| log.origin.member == *ledger.own());
    logs
}

/// The newest checkpoint of a log: the one that was witnessed, with its
/// cosignatures, where that is of the same size.
///
/// # Errors
/// [`LedgerError::Store`].
pub fn newest_checkpoint(ledger: &Ledger, log: &Log) -> Result<LogState, LedgerError> {
    let head = log.head();
    let size = head.checkpoint_size;
    let witnessed = ledger.witnessed_notes(log, size)?.into_iter().next();
    let of_size = witnessed.filter(|note| size_of(note) == Some(size));
    Ok(LogState {
        origin: log.origin.clone(),
        checkpoint: of_size.unwrap_or(head.checkpoint),
        size,
    })
}

/// The size that a checkpoint's text says; nothing else of it is looked at.
#[must_use]
pub fn size_of(note: &[u8]) -> Option<TreeSize> {
    let note = SignedNote::parse(note).ok()?;
    Some(CheckpointText::parse(note.text()).ok()?.size)
}

/// The entry bundle of that path, as it stands in the log.
///
/// # Errors
/// [`LedgerError::Store`], also when the log has fewer entries.
pub fn bundle_bytes(ledger: &Ledger, log: &Log, path: TilePath) -> Result<Bytes, LedgerError> {
    let first = path.first();
    let end = first.saturating_add(u64::from(path.width));
    let entries = ledger.entries(log.number, LogIndex(first), end)?;
    if entries.len() != usize::from(path.width) {
        return Err(StoreError::Damaged("entry run").into());
    }
    let mut bundle = Vec::with_capacity(entries.iter().map(|e| e.len() + 2).sum());
    for entry in entries {
        put_entry(&mut bundle, &entry).map_err(|_| StoreError::Damaged("entry"))?;
    }
    Ok(bundle.into())
}

/// Every roster version of a store, from `after` on.
///
/// # Errors
/// [`StoreError`].
pub fn rosters_after(
    ledger: &Ledger,
    after: u64,
    max: usize,
) -> Result<Vec<SignedRoster>, StoreError> {
    let mut out = vec![];
    for item in ledger.store().iter(Table::Rosters, b"") {
        let (key, value) = item?;
        let version = key.try_into().map_or(0, u64::from_be_bytes);
        if version > after {
            let signed = SignedRoster::decode(value).map_err(|_| StoreError::Damaged("roster"))?;
            out.push(signed);
        }
        if out.len() == max {
            break;
        }
    }
    Ok(out)
}

/// The newest note of the roster log that the node keeps, with its cosignatures.
///
/// # Errors
/// [`StoreError`].
pub fn roster_note(ledger: &Ledger) -> Result<Option<Bytes>, StoreError> {
    let newest = ledger.store().scan(Table::RosterNotes, b"")?.pop();
    Ok(newest.map(|(_, note)| note).filter(|note| !note.is_empty()))
}

impl Source for LocalSource {
    fn rosters(&mut self) -> Result<Vec<SignedRoster>, ExportError> {
        Ok(rosters_after(&self.ledger, 0, usize::MAX).map_err(LedgerError::from)?)
    }

    fn roster_checkpoint(&mut self) -> Result<Option<Bytes>, ExportError> {
        Ok(roster_note(&self.ledger).map_err(LedgerError::from)?)
    }

    fn logs(&mut self) -> Result<Vec<LogState>, ExportError> {
        let mut states = vec![];
        for log in own_logs(&self.ledger) {
            states.push(newest_checkpoint(&self.ledger, &log)?);
        }
        Ok(states)
    }

    fn checkpoints(&mut self, log: &Origin, each: Each<'_, Bytes>) -> Result<(), ExportError> {
        let log = self.log(log)?;
        for note in self.ledger.witnessed_notes(&log, TreeSize(0))? {
            each(note)?;
        }
        Ok(())
    }

    fn tiles(
        &mut self,
        log: &Origin,
        level: u8,
        run: Run,
        each: Each<'_, (TilePath, Bytes)>,
    ) -> Result<(), ExportError> {
        let log = self.log(log)?;
        for path in tiles_of_run(Some(level), run.first, run.count, run.size) {
            let held = self
                .ledger
                .tile_bytes(&log, level, path.index.0, path.width)?;
            let bytes = held.ok_or(LedgerError::Store(StoreError::Damaged("tile")))?;
            each((path, bytes))?;
        }
        Ok(())
    }

    fn entries(
        &mut self,
        log: &Origin,
        run: Run,
        each: Each<'_, (TilePath, Bytes)>,
    ) -> Result<(), ExportError> {
        let log = self.log(log)?;
        for path in tiles_of_run(None, run.first, run.count, run.size) {
            each((path, bundle_bytes(&self.ledger, &log, path)?))?;
        }
        Ok(())
    }

    fn bodies(
        &mut self,
        log: &Origin,
        run: Run,
        each: Each<'_, AuditedBody>,
    ) -> Result<(), ExportError> {
        let log = self.log(log)?;
        let end = run.first.saturating_add(run.count).min(run.size.0);
        let mut at = run.first;
        while at < end {
            let to = end.min(at + BODIES_AT_ONCE);
            let bodies = self
                .ledger
                .audited_bodies(&log, LogIndex(at), TreeSize(to), Seer::Own)?;
            for body in bodies {
                each(body)?;
            }
            at = to;
        }
        Ok(())
    }

    fn erasures(&mut self, log: &Origin) -> Result<Vec<Erasure>, ExportError> {
        Ok(erasures_of(&self.ledger, log)?)
    }

    fn receipt(&mut self, log: &Origin, index: LogIndex) -> Result<Receipt, SourceError> {
        receipt_of(&self.ledger, log, index)
    }

    fn evidence(&mut self) -> Result<Vec<EvidencePair>, ExportError> {
        Ok(self.evidence.all().map_err(LedgerError::from)?)
    }
}

/// What was erased of the own records log, as it travels; nothing of any other.
///
/// # Errors
/// [`LedgerError::Store`] or [`LedgerError::Shred`].
pub fn erasures_of(ledger: &Ledger, log: &Origin) -> Result<Vec<Erasure>, LedgerError> {
    if ledger.own_log(LogName::Records).origin != *log {
        return Ok(vec![]);
    }
    let erasures = ledger.erasures()?;
    Ok(erasures.iter().map(ledger::Erasure::to_wire).collect())
}

/// A receipt from the log, or the replica, that is here.
///
/// # Errors
/// [`SourceError`], also when entry or body is not held.
pub fn receipt_of(ledger: &Ledger, log: &Origin, index: LogIndex) -> Result<Receipt, SourceError> {
    let failed = |e: LedgerError| SourceError::of(&e);
    let absent = || SourceError {
        code: "audit.no_receipt".into(),
        blame: Blame::NotFound,
        sentence: format!("entry {index} of {log} is not held here"),
    };
    let log = ledger.log(log).map_err(failed)?;
    let head = log.head();
    let (next, size) = (index.0.saturating_add(1), head.checkpoint_size);
    if next > size.0 {
        return Err(absent());
    }
    let entries = ledger.entries(log.number, index, next).map_err(failed)?;
    let states = ledger
        .body_states(log.number, index, next)
        .map_err(failed)?;
    let (Some(entry), Some(BodyState::Held(body))) = (entries.first(), states.first()) else {
        return Err(absent());
    };
    Ok(Receipt {
        entry: entry.clone(),
        body: body.clone(),
        proof: TlogProof {
            index,
            hashes: ledger.inclusion(&log, index, size).map_err(failed)?,
            checkpoint: head.checkpoint,
        },
    })
}

impl From<LedgerError> for ExportError {
    fn from(error: LedgerError) -> Self {
        let code = error.code();
        Self::Source(SourceError {
            code: code.to_owned(),
            blame: error.blame(),
            sentence: error.to_string(),
        })
    }
}
