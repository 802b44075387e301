//! A ledger as files: the own logs of its member, other members' receipts from
//! the replicas, rosters, evidence. A node's audit port answers from it, and an
//! export of a stopped node reads it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::claims::{ERASURES_PER_FILE, ErasureClaim, PairClaim, write_lines};
use super::error::ExportError;
use super::files::Files;
use super::layout::{
    BundlePath, EvidencePart, Folder, LogFile, ReceiptPart, TileIndex, TilePath, TlogProof,
    put_body, put_entry, write_hashes,
};
use crate::checkpoint::{CheckpointText, SignedNote};
use crate::evidence::Evidence;
use crate::ids::{Digest, LogIndex, LogName, MemberId, Origin, TreeSize};
use crate::ledger::{Ledger, LedgerError, Log, Seer};
use crate::merkle::TILE_WIDTH;
use crate::record::{BodyType, Entry};
use crate::store::{StoreError, Table};
use crate::wire::v1::{BodyAnswer, EvidencePair, SignedRoster};

/// Bodies that are read at once: as many as one sealed run holds.
const BODIES_AT_ONCE: u64 = 64;

/// The files of a ledger's own member, as somebody sees them.
#[derive(Debug)]
pub struct LedgerFiles<'a> {
    ledger: &'a Ledger,
    evidence: Evidence,
    seer: Seer<'a>,
}

/// The own logs of a ledger, of every generation that is held, by name.
fn own_logs(ledger: &Ledger) -> Vec<Arc<Log>> {
    let mut logs = ledger.logs();
    logs.retain(|log| log.origin.member == *ledger.own());
    logs
}

/// The newest checkpoint of a log: the one that was witnessed, with its
/// cosignatures, where that is of the same size.
fn newest_checkpoint(ledger: &Ledger, log: &Log) -> Result<Bytes, LedgerError> {
    let head = log.head();
    let witnessed = ledger.witnessed_note(log, head.checkpoint_size)?;
    Ok(witnessed.unwrap_or(head.checkpoint))
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
fn roster_note(ledger: &Ledger) -> Result<Option<Bytes>, StoreError> {
    let newest = ledger.store().scan(Table::RosterNotes, b"")?.pop();
    Ok(newest.map(|(_, note)| note).filter(|note| !note.is_empty()))
}

/// The entry bundle whose bodies are asked for: [first, end), as far as the
/// newest checkpoint goes; `None` where it has none of them.
fn bodies_in(log: &Log, bundle: TileIndex) -> Option<(u64, u64)> {
    let first = bundle.0.checked_mul(TILE_WIDTH)?;
    let end = first
        .saturating_add(TILE_WIDTH)
        .min(log.head().checkpoint_size.0);
    (first < end).then_some((first, end))
}

impl<'a> LedgerFiles<'a> {
    /// The files of `ledger` as `seer` sees them.
    #[must_use]
    pub fn new(ledger: &'a Ledger, seer: Seer<'a>) -> Self {
        let evidence = Evidence::new(ledger.store().clone(), ledger.clock().clone());
        Self {
            ledger,
            evidence,
            seer,
        }
    }

    /// How many entries a file has, or bodies of entries, that stands in the
    /// access log when it is read; `None` where it is not there. Looks at sizes only.
    #[must_use]
    pub fn entries_in(&self, path: &BundlePath) -> Option<u64> {
        match path {
            BundlePath::Log { file, .. } => {
                let log = self.own_log(path)?;
                match file {
                    LogFile::Tile(path) => {
                        let is_there = path.is_in(log.head().checkpoint_size);
                        is_there.then_some(u64::from(path.width))
                    }
                    LogFile::Bodies(bundle) => {
                        bodies_in(&log, *bundle).map(|(first, end)| end - first)
                    }
                    _ => None,
                }
            }
            BundlePath::Receipt { .. } => Some(1),
            _ => None,
        }
    }

    /// Reads a file piece by piece, so that a large one needs no large memory.
    /// Says whether it is there; `each` says whether to go on.
    ///
    /// # Errors
    /// As [`Files::get`].
    pub fn pieces(
        &self,
        path: &BundlePath,
        each: &mut dyn FnMut(Bytes) -> bool,
    ) -> Result<bool, ExportError> {
        if let BundlePath::Log {
            file: LogFile::Bodies(bundle),
            ..
        } = path
        {
            let log = self.own_log(path);
            let Some((log, (first, end))) =
                log.and_then(|log| bodies_in(&log, *bundle).map(|run| (log, run)))
            else {
                return Ok(false);
            };
            self.bodies(&log, first, end, each)?;
            return Ok(true);
        }
        let bytes = self.whole(path)?;
        Ok(bytes.map(each).is_some())
    }

    fn own_log(&self, path: &BundlePath) -> Option<Arc<Log>> {
        let BundlePath::Log {
            log, generation, ..
        } = path
        else {
            return None;
        };
        let own = self.ledger.own().clone();
        self.ledger.log(&self.origin(own, *log, *generation)).ok()
    }

    fn origin(&self, member: MemberId, log: LogName, generation: u32) -> Origin {
        let own = &self.ledger.own_log(log).origin;
        Origin {
            federation: own.federation.clone(),
            member,
            log,
            generation,
        }
    }

    fn bodies(
        &self,
        log: &Log,
        first: u64,
        end: u64,
        each: &mut dyn FnMut(Bytes) -> bool,
    ) -> Result<(), ExportError> {
        let mut at = first;
        while at < end {
            let to = end.min(at + BODIES_AT_ONCE);
            let ledger = self.ledger;
            let bodies = ledger.audited_bodies(log, LogIndex(at), TreeSize(to), self.seer)?;
            if bodies.len() as u64 != to - at {
                return Err(StoreError::Damaged("body run").into());
            }
            let mut piece = vec![];
            for body in bodies {
                put_body(&mut piece, body.answer, &body.bytes)?;
            }
            if !each(piece.into()) {
                return Ok(());
            }
            at = to;
        }
        Ok(())
    }

    /// A file that is small, or one tile.
    fn whole(&self, path: &BundlePath) -> Result<Option<Bytes>, ExportError> {
        let ledger = self.ledger;
        match path {
            BundlePath::Roster(version) => {
                let key = version.to_be_bytes();
                Ok(ledger.store().read(Table::Rosters, &key)?)
            }
            BundlePath::RosterCheckpoint => Ok(roster_note(ledger)?),
            BundlePath::Log { file, .. } => match self.own_log(path) {
                Some(log) => self.of_log(&log, file),
                None => Ok(None),
            },
            BundlePath::Receipt {
                member,
                generation,
                index,
                part,
            } => {
                let log = self.origin(member.clone(), LogName::Records, *generation);
                self.receipt(&log, *index, *part)
            }
            BundlePath::Evidence { number, part } => match self.evidence.pair(*number)? {
                Some(pair) => of_pair(&pair, *part),
                None => Ok(None),
            },
            BundlePath::Erasures(page) => self.erasures(*page),
            BundlePath::Description | BundlePath::Sums | BundlePath::Proof { .. } => Ok(None),
        }
    }

    fn of_log(&self, log: &Log, file: &LogFile) -> Result<Option<Bytes>, ExportError> {
        match file {
            LogFile::Checkpoint => Ok(Some(newest_checkpoint(self.ledger, log)?)),
            LogFile::Witnessed(size) => Ok(self.ledger.witnessed_note(log, *size)?),
            LogFile::Tile(path) if !path.is_in(log.head().checkpoint_size) => Ok(None),
            LogFile::Tile(path) => match path.level {
                None => Ok(Some(bundle_bytes(self.ledger, log, *path)?)),
                Some(level) => {
                    let (tile, width) = (path.index.0, path.width);
                    let held = self.ledger.tile_bytes(log, level, tile, width)?;
                    Ok(Some(held.ok_or(StoreError::Damaged("tile"))?))
                }
            },
            LogFile::Bodies(_) | LogFile::Dsse(_) | LogFile::Consistency { .. } => Ok(None),
        }
    }

    /// A receipt from the log, or the replica, that is here; of a replica
    /// nothing else is given.
    fn receipt(
        &self,
        origin: &Origin,
        index: LogIndex,
        part: ReceiptPart,
    ) -> Result<Option<Bytes>, ExportError> {
        let Ok(log) = self.ledger.log(origin) else {
            return Ok(None);
        };
        let head = log.head();
        let (next, size) = (index.0.saturating_add(1), head.checkpoint_size);
        if next > size.0 {
            return Ok(None);
        }
        let Some(entry) = self.ledger.entries(log.number, index, next)?.pop() else {
            return Ok(None);
        };
        let parsed = Entry::parse(entry.clone()).map_err(|_| StoreError::Damaged("entry"))?;
        let bodies = self
            .ledger
            .audited_bodies(&log, index, TreeSize(next), self.seer)?;
        let body = bodies.into_iter().next();
        let body = body.filter(|body| body.answer == BodyAnswer::Held);
        let Some(body) = body.filter(|_| parsed.statement.body_type == BodyType::Receipt) else {
            return Ok(None);
        };
        Ok(Some(match part {
            ReceiptPart::Entry => entry,
            ReceiptPart::Body => body.bytes,
            ReceiptPart::Proof => {
                let proof = TlogProof {
                    index,
                    hashes: self.ledger.inclusion(&log, index, size)?,
                    checkpoint: head.checkpoint,
                };
                proof.encode().into()
            }
        }))
    }

    /// Where the receipts stand that the own erasures name, in order.
    fn receipts(&self) -> Result<BTreeSet<(MemberId, u32, LogIndex)>, ExportError> {
        let erasures = self.ledger.erasures()?;
        let confirmations = erasures.iter().flat_map(|erasure| &erasure.confirmations);
        let given = confirmations.filter_map(|said| said.receipt.as_ref());
        let places = given.flat_map(|receipt| {
            let counted = (&receipt.origin, receipt.index);
            let all = receipt.all.iter().map(|(origin, index)| (origin, *index));
            std::iter::once(counted).chain(all)
        });
        Ok(places
            .map(|(origin, index)| (origin.member.clone(), origin.generation, index))
            .collect())
    }

    fn erasures(&self, page: u64) -> Result<Option<Bytes>, ExportError> {
        let erasures = self.ledger.erasures()?;
        let page = usize::try_from(page.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(of_page) = erasures.chunks(ERASURES_PER_FILE).nth(page) else {
            return Ok(None);
        };
        let lines = write_lines(of_page.iter().map(ErasureClaim::of))?;
        Ok(Some(lines.into()))
    }
}

/// A file of a pair of notes.
fn of_pair(pair: &EvidencePair, part: EvidencePart) -> Result<Option<Bytes>, ExportError> {
    Ok(match part {
        EvidencePart::First => Some(pair.first.clone()),
        EvidencePart::Second => Some(pair.second.clone()),
        EvidencePart::Consistency if pair.consistency.is_empty() => None,
        EvidencePart::Consistency => {
            let hashes = pair.consistency.iter().map(|hash| Digest::from_slice(hash));
            let hashes = hashes.collect::<Result<Vec<_>, _>>();
            let hashes = hashes.map_err(|_| StoreError::Damaged("evidence"))?;
            Some(write_hashes(&hashes).into())
        }
        EvidencePart::About => Some(write_lines([PairClaim::of(pair)])?.into()),
    })
}

impl Files for LedgerFiles<'_> {
    fn get(&self, path: &BundlePath) -> Result<Option<Bytes>, ExportError> {
        let mut pieces = vec![];
        let mut keep = |piece| {
            pieces.push(piece);
            true
        };
        let is_there = self.pieces(path, &mut keep)?;
        Ok(is_there.then(|| match <[Bytes; 1]>::try_from(pieces) {
            Ok([one]) => one,
            Err(pieces) => pieces.concat().into(),
        }))
    }

    fn list(&self, folder: Folder) -> Result<Vec<BundlePath>, ExportError> {
        let in_log = |log: &Log, file| BundlePath::Log {
            log: log.origin.log,
            generation: log.origin.generation,
            file,
        };
        let mut files: Vec<BundlePath> = match folder {
            Folder::Logs => {
                let logs = own_logs(self.ledger);
                logs.iter()
                    .map(|log| in_log(log, LogFile::Checkpoint))
                    .collect()
            }
            Folder::Roster => {
                let mut files = vec![];
                for item in self.ledger.store().iter(Table::Rosters, b"") {
                    let (key, _) = item?;
                    let version = key.try_into().map_err(|_| StoreError::Damaged("roster"))?;
                    files.push(BundlePath::Roster(u64::from_be_bytes(version)));
                }
                let note = roster_note(self.ledger)?;
                files.extend(note.map(|_| BundlePath::RosterCheckpoint));
                files
            }
            Folder::Checkpoints { log, generation } => {
                let own = self.ledger.own().clone();
                match self.ledger.log(&self.origin(own, log, generation)) {
                    Ok(log) => {
                        let sizes = self.ledger.witnessed_sizes(&log)?;
                        let notes = sizes.into_iter().map(LogFile::Witnessed);
                        notes.map(|note| in_log(&log, note)).collect()
                    }
                    Err(_) => vec![],
                }
            }
            Folder::Receipts => {
                let parts = |(member, generation, index): (MemberId, _, _)| {
                    ReceiptPart::ALL.map(|part| BundlePath::Receipt {
                        member: member.clone(),
                        generation,
                        index,
                        part,
                    })
                };
                self.receipts()?.into_iter().flat_map(parts).collect()
            }
            Folder::Evidence => {
                let mut files = vec![];
                for (number, pair) in self.evidence.numbered()? {
                    for part in EvidencePart::ALL {
                        let is_there = of_pair(&pair, part)?.is_some();
                        files.extend(is_there.then_some(BundlePath::Evidence { number, part }));
                    }
                }
                files
            }
            Folder::Erasures => {
                let count = self.ledger.erasures()?.len().div_ceil(ERASURES_PER_FILE);
                (1..=count as u64).map(BundlePath::Erasures).collect()
            }
        };
        files.sort();
        Ok(files)
    }
}
