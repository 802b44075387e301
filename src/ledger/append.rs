//! Appending to the own logs.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;

use super::log::{Head, Log};
use super::segment::{self, BodyState};
use super::signers::Signers;
use super::tiles::{self, Edges};
use super::{Ledger, LedgerError, Standing, size_to_index};
use crate::checkpoint::Checkpoint;
use crate::ids::{Digest, LogIndex, LogName};
use crate::keys::SigningKey;
use crate::merkle;
use crate::record::{Body, Entry, RecordError, Statement};
use crate::store::{Batch, Store, StoreError, Table, Ticket};

/// One fact to be signed and appended.
#[derive(Debug)]
pub struct NewEntry {
    /// The fact.
    pub body: Body,
    /// When its body ends, in Unix seconds; 0 for never.
    pub expires_at: i64,
    /// What stays at home beside it, sealed and erasable.
    pub private: Option<Vec<u8>>,
}

/// An own log with the plan of appends that are not durable yet.
#[derive(Debug)]
pub(super) struct OwnLog {
    pub(super) log: Arc<Log>,
    planned: Mutex<Planned>,
    landed: Mutex<u64>,
    landing: Condvar,
}

#[derive(Debug)]
struct Planned {
    head: Head,
    edges: Edges,
}

impl OwnLog {
    pub(super) fn open(_store: &Store, log: Arc<Log>) -> Result<Self, StoreError> {
        let planned = Mutex::new(Planned {
            head: log.head(),
            edges: Edges::default(),
        });
        let landed = Mutex::new(log.size().0);
        Ok(Self {
            log,
            planned,
            landed,
            landing: Condvar::new(),
        })
    }

    /// Says whether every append that was planned has landed.
    pub(super) fn is_settled(&self) -> bool {
        let planned = self.next().0;
        *self.landed.lock().unwrap_or_else(PoisonError::into_inner) >= planned
    }

    /// Waits until everything below `first` has landed. Durable batches land in
    /// their order, so that the index position never passes one that is missing.
    fn turn(&self, first: LogIndex, end: u64) -> Turn<'_> {
        let mut landed = self.landed.lock().unwrap_or_else(PoisonError::into_inner);
        while *landed < first.0 {
            landed = self
                .landing
                .wait(landed)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Turn { own: self, end }
    }
}

/// An append's turn to land; its end lets the next one land, however it ended.
struct Turn<'a> {
    own: &'a OwnLog,
    end: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut landed = self
            .own
            .landed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *landed = self.end.max(*landed);
        drop(landed);
        self.own.landing.notify_all();
    }
}

impl OwnLog {
    /// Where the next append will come to stand, unless another one is faster.
    fn next(&self) -> LogIndex {
        let planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        size_to_index(planned.head.size())
    }

    /// Plans from the log's durable head again.
    pub(super) fn reload(&self) {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.log.head();
        *self.landed.lock().unwrap_or_else(PoisonError::into_inner) = head.size().0;
        *planned = Planned {
            head,
            edges: Edges::default(),
        };
    }
}

/// Signs the checkpoint of a log that is still empty, so that others can see
/// that it is, or whose checkpoint is by another key than the one in use now:
/// that says the same as before, and nobody need know the old key to read it.
pub(super) fn sign_head(store: &Store, log: &Log, key: &SigningKey) -> Result<(), StoreError> {
    let mut head = log.head();
    let signed = Checkpoint::open(&head.checkpoint, &log.origin, &[key.public_key()]);
    if signed.is_ok() || head.checkpoint_size != head.size() {
        return Ok(());
    }
    let newest = Checkpoint {
        origin: log.origin.clone(),
        size: head.size(),
        root: head.root(),
    };
    head.checkpoint = newest.sign(key).into_bytes().into();
    let mut batch = Batch::new();
    batch.put(Table::LogHead, &log.number.to_be_bytes(), head.encode());
    store.commit(batch)?;
    log.advance(head);
    Ok(())
}

#[derive(Default)]
struct Signed {
    statements: Vec<Statement>,
    entries: Vec<Bytes>,
    leaves: Vec<Digest>,
    decoded: Vec<Body>,
    bodies: Vec<BodyState>,
    private: Vec<BodyState>,
}

/// An append that is on its way to the disk.
#[derive(Debug)]
struct Appending {
    first: LogIndex,
    bodies: Vec<Body>,
    head: Head,
    ticket: Ticket,
    name: LogName,
}

impl Ledger {
    /// Signs `entries`, appends them to the own log `name` together with the
    /// changes in `with`, and returns their first index once all of it is
    /// flushed, synced and indexed. Blocks the thread; all or nothing.
    ///
    /// # Errors
    /// [`LedgerError::MembersBehind`] while a member's node would not read it;
    /// [`LedgerError::OwnBody`] when a body breaks a rule;
    /// [`LedgerError::Store`] when the outcome of the write is unknown.
    pub fn append(
        &self,
        name: LogName,
        entries: Vec<NewEntry>,
        with: Batch,
    ) -> Result<LogIndex, LedgerError> {
        let appending = self.plan(name, entries, with)?;
        let Appending {
            first,
            bodies,
            head,
            ticket,
            name,
        } = appending;
        let written = ticket.wait();
        let _turn = self.writer(name).turn(first, head.size().0);
        written?;
        self.land(name, first, bodies, head)?;
        Ok(first)
    }

    fn writer(&self, name: LogName) -> &OwnLog {
        match name {
            LogName::Records => &self.0.records,
            LogName::Access => &self.0.access,
        }
    }

    fn check_open(&self, name: LogName) -> Result<(), LedgerError> {
        if !self.is_writable() {
            return Err(LedgerError::Stopped);
        }
        let standing = self.standing();
        if name == LogName::Records && standing != Standing::Open {
            return Err(LedgerError::Closed(standing));
        }
        let standing = self.access_standing();
        if name == LogName::Access && standing != Standing::Open {
            return Err(LedgerError::AccessClosed(standing));
        }
        Ok(())
    }

    fn plan(
        &self,
        name: LogName,
        entries: Vec<NewEntry>,
        mut with: Batch,
    ) -> Result<Appending, LedgerError> {
        self.check_open(name)?;
        if name == LogName::Records {
            self.check_readers(&entries)?;
        }
        let own = self.writer(name);
        let guess = own.next();
        let mut signed = self.sign(&own.log, guess, entries)?;
        let mut planned = own.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let first = size_to_index(planned.head.size());
        if first != guess {
            self.sign_again(&mut signed, &own.log, first)?;
        }
        let updates = merkle::append_tiles(
            planned.head.size(),
            |level, tile| -> Result<_, LedgerError> {
                Ok(planned
                    .edges
                    .read(&self.0.store, own.log.number, level, tile)?)
            },
            &signed.leaves,
        )?;
        let mut head = planned.head.clone();
        for leaf in &signed.leaves {
            head.frontier.append(*leaf);
        }
        let checkpoint = Checkpoint {
            origin: own.log.origin.clone(),
            size: head.size(),
            root: head.root(),
        };
        head.checkpoint = checkpoint.sign(self.checkpoint_key()?).into_bytes().into();
        head.checkpoint_size = head.size();
        head.bodies_upto = head.size().0;

        let (shred, number) = (&self.0.shred, own.log.number);
        segment::put_entries(&mut with, number, first, &signed.entries);
        segment::put_bodies(
            &mut with,
            shred,
            Table::Bodies,
            number,
            first,
            &signed.bodies,
        )?;
        if signed
            .private
            .iter()
            .any(|s| matches!(s, BodyState::Held(_)))
        {
            segment::put_bodies(
                &mut with,
                shred,
                Table::Private,
                number,
                first,
                &signed.private,
            )?;
        }
        tiles::put_tiles(&mut with, number, &updates);
        with.put(Table::LogHead, &number.to_be_bytes(), head.encode());
        shred.sync()?;
        let ticket = self.0.store.submit(with)?;
        planned.edges.apply(&updates);
        planned.head = head.clone();
        drop(planned);
        Ok(Appending {
            first,
            bodies: signed.decoded,
            head,
            ticket,
            name,
        })
    }

    /// Signs before the planning lock is taken, as if the first entry came to
    /// stand at `first`.
    fn sign(
        &self,
        log: &Log,
        first: LogIndex,
        entries: Vec<NewEntry>,
    ) -> Result<Signed, LedgerError> {
        let mut signed = Signed::default();
        let issued_at = self.0.clock.now();
        let signers = self.signers();
        for (at, entry) in (first.0..).zip(entries) {
            let key = self.entry_key(log, &signers, LogIndex(at))?;
            let body = self.encode_own(log, &entry)?;
            let statement = Statement {
                origin: log.origin.clone(),
                body_type: entry.body.body_type(),
                body_sha256: Digest::of(&body),
                issued_at,
                expires_at: entry.expires_at,
                key_id: key.id(),
            };
            let bytes = Entry::sign(&statement, key).bytes;
            signed.statements.push(statement);
            signed.leaves.push(merkle::leaf_hash(&bytes));
            signed.entries.push(bytes);
            signed.bodies.push(BodyState::Held(body));
            signed.decoded.push(entry.body);
            signed.private.push(match entry.private {
                Some(plain) => BodyState::Held(plain.into()),
                None => BodyState::Absent,
            });
        }
        Ok(signed)
    }

    /// Encodes what is about to be signed, and reads it as every other member
    /// will: a body that they would refuse is never signed.
    fn encode_own(&self, log: &Log, entry: &NewEntry) -> Result<Bytes, LedgerError> {
        let NewEntry {
            body, expires_at, ..
        } = entry;
        let bytes = body.encode();
        let unfit = |source| LedgerError::OwnBody { source };
        let body_type = body.body_type();
        if !body_type.stands_in(log.origin.log) {
            return Err(unfit(RecordError::Field {
                what: "body type of this log",
            }));
        }
        let read = Body::decode(body_type, &bytes).map_err(unfit)?;
        if read.expires_at() != *expires_at {
            return Err(unfit(RecordError::Field {
                what: "expires_at of statement and body",
            }));
        }
        if let Body::Element(element) = &read
            && (element.federation != log.origin.federation || element.member != self.0.own)
        {
            return Err(unfit(RecordError::Field {
                what: "owner of the element",
            }));
        }
        Ok(bytes)
    }

    /// Signs those entries anew for which another key is due where they stand.
    fn sign_again(
        &self,
        signed: &mut Signed,
        log: &Log,
        first: LogIndex,
    ) -> Result<(), LedgerError> {
        let signers = self.signers();
        let places = signed.entries.iter_mut().zip(&mut signed.leaves);
        for ((at, statement), (bytes, leaf)) in (first.0..).zip(&mut signed.statements).zip(places)
        {
            let key = self.entry_key(log, &signers, LogIndex(at))?;
            if key.id() != statement.key_id {
                statement.key_id = key.id();
                *bytes = Entry::sign(statement, key).bytes;
                *leaf = merkle::leaf_hash(bytes);
            }
        }
        Ok(())
    }

    fn entry_key<'a>(
        &'a self,
        log: &Log,
        signers: &Signers<'a>,
        index: LogIndex,
    ) -> Result<&'a SigningKey, LedgerError> {
        match log.origin.log {
            LogName::Records => signers.at(index),
            LogName::Access => Ok(self.speaking_key()),
        }
    }

    /// Makes a durable append visible and indexes it.
    fn land(
        &self,
        name: LogName,
        first: LogIndex,
        bodies: Vec<Body>,
        head: Head,
    ) -> Result<(), LedgerError> {
        let log = self.own_log(name);
        let indexing = self.indexing(Some(first.0 + bodies.len() as u64));
        let landing = log.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = head.size() > log.size();
        let checkpoint = head.checkpoint.clone();
        if newer {
            log.advance(head);
        }
        drop(landing);
        if name == LogName::Records {
            let items: Vec<_> = (first.0..).map(LogIndex).zip(bodies).collect();
            self.index_bodies(log.as_ref(), items, indexing)?;
            if newer {
                self.0.published.send_replace(checkpoint);
            }
        } else if newer {
            self.0.accessed.send_replace(checkpoint);
        }
        Ok(())
    }
}
