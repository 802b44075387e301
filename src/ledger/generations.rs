//! Generations of logs. Where the roots end a generation of a member's records
//! log at a size and root, its log ends there: here, what stands above is
//! dropped, and a replica of another history is thrown away. Of an own log that
//! ends, the elements above go back into the queue, for the next generation.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::log::{Head, Log, OWN_RECORDS, OwnPlace};
use super::segment;
use super::tiles::{self, TileReader};
use super::{FIRST_NUMBER, Ledger, LedgerError, witnessed};
use crate::checkpoint::{Checkpoint, CheckpointText};
use crate::ids::{LogIndex, LogName, Origin, TreeSize};
use crate::merkle::{Frontier, TileNodes};
use crate::postings::{Posting, PostingsBatch};
use crate::record::{Body, ReceiptBody};
use crate::roster::{Frozen, Roster};
use crate::store::{Batch, Store, StoreError, Table};
use crate::wire::v1::{HeldElement, HitRows};
use prost::Message;

/// Bodies that are looked at in one go.
const BLOCK: u64 = 1_024;

/// The number of the own log `origin`, given durably when it is new. A node's
/// first own log has the number `first`; a later generation gets a fresh one.
pub(super) fn own_number(store: &Store, origin: &Origin, first: u32) -> Result<u32, StoreError> {
    let damaged = || StoreError::Damaged("log number");
    let read = |value: &[u8]| {
        value
            .try_into()
            .map(u32::from_be_bytes)
            .map_err(|_| damaged())
    };
    if let Some(number) = store.read(Table::LogNumber, origin.to_string().as_bytes())? {
        return read(&number);
    }
    let mut numbers = vec![];
    for (_, number) in store.scan(Table::LogNumber, b"")? {
        numbers.push(read(&number)?);
    }
    let mut batch = Batch::new();
    let before = match store.read(Table::LogHead, &first.to_be_bytes())? {
        Some(head) if !numbers.contains(&first) => Some(origin_of(&Head::decode(&head)?)?),
        Some(_) | None => None,
    };
    let taken = numbers.contains(&first) || before.as_ref().is_some_and(|b| b != origin);
    if let Some(before) = before {
        let key = before.to_string();
        batch.put(Table::LogNumber, key.as_bytes(), first.to_be_bytes());
    }
    let next = numbers.into_iter().map(|n| n.saturating_add(1)).max();
    let number = if taken {
        next.unwrap_or(0).max(FIRST_NUMBER)
    } else {
        first
    };
    let key = origin.to_string();
    batch.put(Table::LogNumber, key.as_bytes(), number.to_be_bytes());
    store.commit(batch)?;
    Ok(number)
}

/// Whose log a head is that was written before own logs had a row.
fn origin_of(head: &Head) -> Result<Origin, StoreError> {
    let damaged = || StoreError::Damaged("log head");
    let text = std::str::from_utf8(&head.checkpoint).map_err(|_| damaged())?;
    let text = text.split_once("\n\n").map(|(body, _)| format!("{body}\n"));
    let text = text.ok_or_else(damaged)?;
    let parsed = CheckpointText::parse(&text).map_err(|_| damaged())?;
    parsed.origin.parse().map_err(|_| damaged())
}

/// What is taken out of a log that is cut.
#[derive(Default)]
struct Above {
    postings: PostingsBatch,
    elements: Vec<HeldElement>,
    receipts: Vec<ReceiptBody>,
}

impl Ledger {
    /// Says whether a log is a records log of this node's member, of whatever
    /// generation.
    #[must_use]
    pub fn is_own(&self, log: &Log) -> bool {
        log.origin.log == LogName::Records && log.origin.member == self.0.own
    }

    /// As [`Ledger::is_own`], by the log's number.
    #[must_use]
    pub fn is_own_number(&self, number: u32) -> bool {
        self.log_by_number(number)
            .is_some_and(|log| self.is_own(&log))
    }

    /// The number of the own records log that is appended to.
    #[must_use]
    pub fn own_number(&self) -> u32 {
        self.0.records.log.number
    }

    /// The token's postings in this node's own logs, of all generations.
    ///
    /// # Errors
    /// [`LedgerError::Postings`].
    pub fn own_postings(&self, mac: &[u8; 16]) -> Result<Vec<Posting>, LedgerError> {
        let mut numbers: Vec<u32> = self
            .logs()
            .iter()
            .filter(|log| self.is_own(log))
            .map(|log| log.number)
            .collect();
        numbers.sort_unstable();
        let mut out = vec![];
        for number in numbers {
            out.extend(self.0.postings.postings_of(mac, number)?);
        }
        Ok(out)
    }

    /// Ends every log that `roster` says has ended. The own log that is being
    /// appended to goes on until a restart: see [`super::Standing::Superseded`].
    ///
    /// # Errors
    /// Any error of the store or the index.
    pub fn end_generations(&self, roster: &Roster) -> Result<(), LedgerError> {
        for member in roster.members.values() {
            for frozen in &member.frozen {
                let origin = Origin {
                    federation: roster.federation.clone(),
                    member: member.id.clone(),
                    log: LogName::Records,
                    generation: frozen.generation,
                };
                match self.log(&origin) {
                    Ok(log) if log.number != self.own_number() => self.end_log(&log, frozen)?,
                    Ok(_) | Err(_) => {}
                }
            }
        }
        Ok(())
    }

    fn end_log(&self, log: &Log, frozen: &Frozen) -> Result<(), LedgerError> {
        let (head, size) = (log.head(), TreeSize(frozen.size));
        if head.size() < size {
            return Ok(());
        }
        if self.root_at(log, size)? != frozen.root {
            tracing::error!(log.origin = %log.origin, "this log was not the one that the roots ended: it is fetched anew");
            return self.cut(log, TreeSize(0));
        }
        if head.size() > size || head.checkpoint_size != size {
            self.cut(log, size)?;
        }
        Ok(())
    }

    /// Throws a replica away, because it is not the log that the roots ended.
    ///
    /// # Errors
    /// Any error of the store or the index.
    pub fn discard(&self, log: &Log) -> Result<(), LedgerError> {
        self.cut(log, TreeSize(0))
    }

    /// Drops all that stands in a log from `size` on: entries, bodies, postings,
    /// hits. Doing it again after a crash ends it.
    fn cut(&self, log: &Log, size: TreeSize) -> Result<(), LedgerError> {
        let _writing = log.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (store, shred, number) = (&self.0.store, &self.0.shred, log.number);
        let Above {
            mut postings,
            elements,
            receipts,
        } = self.above(log, size)?;
        // Notices and amendments below may have been overtaken by those above:
        // all that stays is indexed again.
        postings.set_position(number, 0);
        let indexing = self.0.indexing.lock();
        let _indexing = indexing.unwrap_or_else(PoisonError::into_inner);
        self.0.erasures.fetch_add(1, Ordering::SeqCst);
        self.0.postings.apply_synced(postings)?;
        let mut batch = Batch::new();
        segment::cut_entries(store, &mut batch, number, size.0)?;
        let mut slots = vec![];
        for table in [Table::Bodies, Table::Private] {
            slots.extend(segment::cut_runs(
                store, shred, &mut batch, table, number, size.0,
            )?);
        }
        tiles::cut_tiles(store, &mut batch, number, size.0)?;
        self.cut_rows(number, size, &mut batch)?;
        self.cut_hits(number, size, &mut batch)?;
        for receipt in &receipts {
            self.sign_again_for(receipt, &mut batch)?;
        }
        let head = self.head_at(log, size)?;
        batch.put(Table::LogHead, &number.to_be_bytes(), head.encode());
        shred.sync()?;
        if elements.is_empty() {
            store.commit(batch)?;
        } else {
            tracing::warn!(log.origin = %log.origin, elements = elements.len(), "elements above the end of the log are published again");
            self.enqueue(&elements, batch)?;
        }
        log.advance(head);
        self.forget_memory(log)?;
        if !slots.is_empty() {
            shred.destroy(&slots)?;
        }
        drop((_indexing, _writing));
        self.catch_up_log(log)
    }

    /// Which postings and pointers go with what stands from `size` on, and
    /// which own elements are to be published again.
    fn above(&self, log: &Log, size: TreeSize) -> Result<Above, LedgerError> {
        let mut above = Above::default();
        let (mut at, end) = (size.0, log.size().0);
        while at < end {
            let to = end.min(at + BLOCK);
            for (index, body) in self.decoded_bodies(log.number, LogIndex(at), to)? {
                match &body {
                    Body::Element(_) => {
                        if self.is_own(log) {
                            let place = OwnPlace {
                                log: log.number,
                                index,
                            };
                            above.elements.extend(self.held_at(place)?);
                        }
                        self.unindex(log, index, &body, &mut above.postings)?;
                    }
                    Body::CaseNotice(notice) => {
                        self.unpoint_notice(log, index, notice, &mut above.postings)?;
                    }
                    Body::Amend(amend) => {
                        self.unpoint_amend(log, index, amend, &mut above.postings)?;
                    }
                    Body::Receipt(receipt) if self.is_own(log) => {
                        above.receipts.push(receipt.clone());
                    }
                    // The others leave nothing in the index.
                    _ => {}
                }
            }
            at = to;
        }
        Ok(above)
    }

    fn cut_rows(&self, log: u32, size: TreeSize, batch: &mut Batch) -> Result<(), LedgerError> {
        let place = |key: &[u8]| {
            let bytes = key.get(4..12).and_then(|b| b.try_into().ok());
            bytes.map_or(0, u64::from_be_bytes)
        };
        // What a dropped retraction ended stays ended, except in another history.
        for table in [
            Table::Absent,
            Table::Lost,
            Table::Opaque,
            Table::Witnessed,
            Table::Ended,
        ] {
            for (key, _) in self.0.store.scan(table, &log.to_be_bytes())? {
                let gone = match table {
                    Table::Witnessed => place(&key) > size.0,
                    Table::Ended => size.0 == 0,
                    _ => place(&key) >= size.0,
                };
                if gone {
                    batch.delete(table, &key);
                }
            }
        }
        Ok(())
    }

    fn cut_hits(&self, log: u32, size: TreeSize, batch: &mut Batch) -> Result<(), LedgerError> {
        for (key, value) in self.0.store.scan(Table::Hits, b"")? {
            let mut rows = HitRows::decode(value).map_err(|_| StoreError::Damaged("hit"))?;
            let before = rows.hits.len();
            rows.hits.retain(|hit| {
                (hit.log != log || hit.index < size.0)
                    && (hit.own_log != log || hit.own_index < size.0)
            });
            if rows.hits.len() != before {
                batch.put(Table::Hits, &key, rows.encode_to_vec());
            }
        }
        Ok(())
    }

    /// The head of a log as it is once it ends at `size`. The owner signs that
    /// end; others have the roster's word for it.
    fn head_at(&self, log: &Log, size: TreeSize) -> Result<Head, LedgerError> {
        let before = log.head();
        let reader = TileReader::new(&self.0.store, log.number);
        let nodes = TileNodes(|level, tile| reader.tile(level, tile).map_err(LedgerError::from));
        let mut head = Head::new();
        head.frontier = Frontier::of(&nodes, size)?;
        head.bodies_upto = before.bodies_upto.min(size.0);
        head.checkpoint_size = size;
        if self.is_own(log)
            && size.0 > 0
            && let Ok(key) = self.checkpoint_key()
        {
            let end = Checkpoint {
                origin: log.origin.clone(),
                size,
                root: head.root(),
            };
            head.checkpoint = end.sign(key).into_bytes().into();
        }
        Ok(head)
    }

    fn forget_memory(&self, log: &Log) -> Result<(), LedgerError> {
        let number = log.number;
        let lock = |e: PoisonError<_>| e.into_inner();
        *log.seen.lock().unwrap_or_else(lock) = None;
        log.set_witnessed(witnessed::newest(&self.0.store, log)?);
        let ended = &mut self.0.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.remove(&number);
        let expiring = &mut self
            .0
            .expiring
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        expiring.remove(&number);
        let proofs = &mut self.0.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        proofs.remove(&number);
        self.recount_opaque(number);
        Ok(())
    }
}

const _: () = assert!(FIRST_NUMBER > OWN_RECORDS);
