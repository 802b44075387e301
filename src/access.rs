//! The access log: every query, evaluation, denial, export and administrative
//! change is one signed entry of the node's own access log, with its outcome,
//! before its answer leaves. It holds purposes and counts, never values or
//! tokens.
//!
//! A change that is one batch of the store is durable together with its line.
//! What takes longer is noted, durably, before it begins, and becomes a line
//! when it ends, or when a node that broke off starts again.

mod asked;
mod denials;
pub mod officer;
mod replays;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prost::Message;
use tokio::sync::Notify;

pub use asked::{Asked, GIVEN_UP};
use denials::Denials;
use officer::{OfficerSignatureError, SKEW_S_MAX};
use replays::Replays;

use crate::blame::{Blame, Blamed};
use crate::clock::UnixSeconds;
use crate::ids::{CaseRef, Digest, LogIndex, LogName, QueryId, random};
use crate::ledger::{Ledger, LedgerError, Log, NewEntry, Standing};
use crate::record::{self, ACCESS_BODY_BYTES_MAX, Body, Entry, RecordError};
use crate::store::{Batch, StoreError, Table};
use crate::wire::v1::{
    AccessBody, AccessScope, AskedMember, OfficerRequest, OpenedPurpose, Purpose, SeenPurpose,
};

/// The outcome of a call that a node had begun when it ended without a word.
pub const BROKEN_OFF: &str = "access.broken_off";
/// Bytes of a body that are kept free for what a call adds while it runs.
const RESERVE_BYTES: usize = 64 * 1024;
/// Entries that are looked at together when the newest lines are read back.
const PAGE: u64 = 512;

/// Why a line was not written; what was asked is refused then.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The request does not fit into a line that readers take.
    #[error("the request does not fit into a line of the access log: {0}")]
    Line(RecordError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Blamed for AccessError {
    fn blame(&self) -> Blame {
        match self {
            Self::Line(_) => Blame::Misbehaved,
            Self::Ledger(e) => e.blame(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Line(_) => "access.line",
            Self::Ledger(e) => e.code(),
        }
    }
}

impl From<StoreError> for AccessError {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error.into())
    }
}

/// What an officer signed to ask for something.
#[derive(Clone, Debug, Default)]
pub struct OfficerProof {
    /// The bytes that the officer's key signed.
    pub request: Bytes,
    /// The signature.
    pub signature: Bytes,
    /// The officer's certificate, DER.
    pub certificate: Bytes,
    /// The certificates between it and its CA, DER.
    pub chain: Vec<Bytes>,
    /// When the request was taken.
    pub taken_at: UnixSeconds,
}

/// One line for the access log.
#[derive(Clone, Debug)]
pub struct AccessLine {
    /// Which kind of access.
    pub scope: AccessScope,
    /// Ties both ends' lines together.
    pub query_id: QueryId,
    /// The method, such as `desk.query`.
    pub method: &'static str,
    /// Who called: an officer's or a member's name.
    pub caller: String,
    /// The purposes, opened, at the asker's home.
    pub purposes: Vec<OpenedPurpose>,
    /// The purposes as the asked end saw them.
    pub seen: Vec<SeenPurpose>,
    /// How it ended: `ok`, or a stable error code.
    pub outcome: String,
    /// How many answers or points it concerned.
    pub count: u32,
    /// The members that were asked, with their outcomes.
    pub asked: Vec<AskedMember>,
    /// The officer's own signature over the request.
    pub officer: OfficerProof,
    /// Of an export: the name of the log that was read.
    pub log: String,
}

impl AccessLine {
    /// Starts a line with nothing but its kind, method and caller.
    #[must_use]
    pub fn new(scope: AccessScope, method: &'static str, caller: impl Into<String>) -> Self {
        Self {
            scope,
            query_id: QueryId(random()),
            method,
            caller: caller.into(),
            purposes: vec![],
            seen: vec![],
            outcome: "ok".into(),
            count: 0,
            asked: vec![],
            officer: OfficerProof::default(),
            log: String::new(),
        }
    }

    fn into_body(self) -> AccessBody {
        AccessBody {
            nonce: random::<16>().to_vec().into(),
            scope: self.scope as i32,
            query_id: self.query_id.as_bytes().to_vec().into(),
            method: self.method.into(),
            caller: self.caller,
            purposes: self.purposes,
            seen: self.seen,
            outcome: self.outcome,
            count: self.count,
            asked: self.asked,
            officer_request: self.officer.request,
            officer_signature: self.officer.signature,
            officer_certificate: self.officer.certificate,
            log: self.log,
            taken_at: self.officer.taken_at,
            officer_chain: self.officer.chain,
        }
    }
}

/// A purpose under a fresh salt: what stays at home, and what travels.
#[derive(Clone, Debug)]
pub struct CommittedPurpose {
    /// For the home access log.
    pub opened: OpenedPurpose,
    /// HMAC-SHA256(salt, purpose), which travels.
    pub commitment: Digest,
}

/// Commits to a purpose for one case under a fresh 32-byte salt (PROTOCOL.md).
#[must_use]
pub fn commit_purpose(purpose: &Purpose, case: &CaseRef, count: u32) -> CommittedPurpose {
    let salt = random::<32>();
    let bytes = purpose.encode_to_vec();
    let commitment = record::purpose_commitment(&salt, &bytes);
    let opened = OpenedPurpose {
        purpose: bytes.into(),
        salt: salt.to_vec().into(),
        case_ref: case.as_bytes().to_vec().into(),
        count,
    };
    CommittedPurpose { opened, commitment }
}

/// Writes the node's access log. Clones share it.
#[derive(Clone, Debug)]
pub struct AccessLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    replays: Replays,
    denials: Denials,
    denied: Notify,
    writing_denials: Mutex<()>,
    /// The rows of calls that were under way when the node last ended.
    broken_off: Mutex<Vec<(Vec<u8>, Bytes)>>,
}

/// A call that is noted as under way; it ends with [`AccessLog::end`].
#[derive(Debug)]
#[must_use]
pub struct Begun([u8; 16]);

impl AccessLog {
    /// Opens the access log of `ledger`: writes the lines of calls that were
    /// under way when the node last ended, if it is open already, and remembers
    /// the officers' requests of the last minutes. Blocks.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn open(ledger: Ledger) -> Result<Self, AccessError> {
        let broken_off = ledger.store().scan(Table::Begun, b"")?;
        let log = Self(Arc::new(Inner {
            ledger,
            replays: Replays::default(),
            denials: Denials::default(),
            denied: Notify::new(),
            writing_denials: Mutex::default(),
            broken_off: Mutex::new(broken_off),
        }));
        if log.0.ledger.access_standing() == Standing::Open {
            log.recover()?;
        }
        log.remember()?;
        Ok(log)
    }

    /// Appends a line; it is durable when this returns. Blocks.
    ///
    /// # Errors
    /// [`AccessError`]; the caller must then refuse what was asked.
    pub fn write(&self, line: AccessLine) -> Result<LogIndex, AccessError> {
        self.write_with(line, Batch::new())
    }

    /// Appends a line together with the change that it is about: both are
    /// durable when this returns, or neither is. Blocks.
    ///
    /// # Errors
    /// [`AccessError`]; nothing was changed unless the outcome is unknown.
    pub fn write_with(&self, line: AccessLine, with: Batch) -> Result<LogIndex, AccessError> {
        self.opened()?;
        self.append(vec![line.into_body()], with)
    }

    /// Waits a little for the log to be open; nothing is begun without it. What
    /// broke off before comes first. Blocks.
    ///
    /// # Errors
    /// [`LedgerError::AccessClosed`], and what writing meets.
    pub fn opened(&self) -> Result<(), AccessError> {
        match self.0.ledger.wait_access() {
            Standing::Open => self.recover(),
            closed => Err(LedgerError::AccessClosed(closed).into()),
        }
    }

    /// Notes that what `line` says is about to be done; durable when this
    /// returns. Blocks.
    ///
    /// # Errors
    /// [`AccessError`]; it must not be done then.
    pub fn begin(&self, line: &AccessLine) -> Result<Begun, AccessError> {
        let body = line.clone().into_body();
        check(&body, ACCESS_BODY_BYTES_MAX - RESERVE_BYTES)?;
        self.opened()?;
        let key = random::<16>();
        let sealed = self.0.ledger.seal().seal(&key, &body.encode_to_vec());
        let mut batch = Batch::new();
        batch.put(Table::Begun, &key, sealed);
        self.0.ledger.store().commit(batch)?;
        Ok(Begun(key))
    }

    /// Appends the line of a call that has ended. Blocks.
    ///
    /// # Errors
    /// [`AccessError`]; the line is written when the node starts again.
    pub fn end(&self, begun: &Begun, line: AccessLine) -> Result<LogIndex, AccessError> {
        let mut batch = Batch::new();
        batch.delete(Table::Begun, &begun.0);
        self.write_with(line, batch)
    }

    /// Takes an officer's request whose signature holds, if it is of this time
    /// and was not taken before. Returns the time.
    ///
    /// # Errors
    /// [`OfficerSignatureError`].
    pub fn take(&self, request: &OfficerRequest) -> Result<UnixSeconds, OfficerSignatureError> {
        let now = self.0.ledger.clock().now();
        self.0.replays.take(request, now)?;
        Ok(now)
    }

    /// Counts a call that was turned away, or keeps a line of it `alone`; it is
    /// written by [`AccessLog::write_denials`]. Does not block.
    pub fn deny(&self, line: AccessLine, alone: bool) {
        let now = self.0.ledger.clock().now();
        if self.0.denials.note(line, now, alone) {
            self.0.denied.notify_one();
        }
    }

    /// Waits until a denial is to be written.
    pub async fn denied(&self) {
        self.0.denied.notified().await;
    }

    /// Writes the denials that are due, or `all` that were counted. Blocks, also
    /// for another caller of this that took some of them.
    ///
    /// # Errors
    /// [`AccessError`]; they are written the next time.
    pub fn write_denials(&self, all: bool) -> Result<(), AccessError> {
        let lock = &self.0.writing_denials;
        let _writing = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = self.0.denials.take(self.0.ledger.clock().now(), all);
        if lines.is_empty() {
            return Ok(());
        }
        let bodies = lines.iter().cloned().map(AccessLine::into_body).collect();
        self.append(bodies, Batch::new())
            .map(drop)
            .inspect_err(|_| self.0.denials.give_back(lines))
    }

    fn append(&self, bodies: Vec<AccessBody>, with: Batch) -> Result<LogIndex, AccessError> {
        let mut entries = Vec::with_capacity(bodies.len());
        for body in bodies {
            check(&body, ACCESS_BODY_BYTES_MAX)?;
            entries.push(NewEntry {
                body: Body::Access(body),
                expires_at: 0,
                private: None,
            });
        }
        Ok(self.0.ledger.append(LogName::Access, entries, with)?)
    }

    /// Writes the lines of calls that a node of before had begun, once the log
    /// is open. Doing it twice changes nothing. Blocks.
    ///
    /// # Errors
    /// [`AccessError`]; call it again.
    pub fn recover(&self) -> Result<(), AccessError> {
        let rows = self.0.broken_off.lock();
        let mut rows = rows.unwrap_or_else(PoisonError::into_inner);
        let (mut bodies, mut batch) = (vec![], Batch::new());
        for (key, sealed) in rows.iter() {
            let damaged = || StoreError::Damaged("line of a call under way");
            let plain = self.0.ledger.seal().open(key, sealed);
            let plain = plain.map_err(|_| damaged())?;
            let mut body = AccessBody::decode(&plain[..]).map_err(|_| damaged())?;
            BROKEN_OFF.clone_into(&mut body.outcome);
            bodies.push(body);
            batch.delete(Table::Begun, key);
        }
        if !bodies.is_empty() {
            self.append(bodies, batch)?;
            rows.clear();
        }
        Ok(())
    }

    /// Reads the officers' requests of the last minutes back, the newest first;
    /// also those in a generation of the log that has just ended.
    fn remember(&self) -> Result<(), AccessError> {
        let own = self.0.ledger.own();
        let mut logs = self.0.ledger.logs();
        logs.retain(|log| log.origin.log == LogName::Access && log.origin.member == *own);
        logs.iter().try_for_each(|log| self.remember_of(log))
    }

    fn remember_of(&self, log: &Log) -> Result<(), AccessError> {
        let ledger = &self.0.ledger;
        let now = ledger.clock().now();
        let mut end = log.size().0;
        let mut older = false;
        while end > 0 && !older {
            let start = end.saturating_sub(PAGE);
            for (at, bytes) in (start..).zip(ledger.entries(log.number, LogIndex(start), end)?) {
                // It may have been signed long before it came, and may be asked
                // again as long after.
                let written = Entry::parse(bytes).map_or(0, |entry| entry.statement.issued_at);
                if now.abs_diff(written) > 2 * SKEW_S_MAX.unsigned_abs() {
                    older = true;
                    continue;
                }
                if let Ok(Some(Body::Access(body))) = ledger.body(log.number, LogIndex(at)) {
                    // One that is refused for its age need not be remembered.
                    let request = officer::parse(&body.officer_request);
                    if let Some(Err(e)) = request.map(|r| self.0.replays.take(&r, now)) {
                        tracing::debug!(error = %e, "an old request is not remembered");
                    }
                }
            }
            end = start;
        }
        Ok(())
    }

    /// The newest `max` lines with their indices, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn newest(&self, max: u64) -> Result<Vec<(LogIndex, AccessBody)>, LedgerError> {
        let log = self.0.ledger.own_log(LogName::Access);
        let size = log.size().0;
        let mut out = vec![];
        for at in size.saturating_sub(max)..size {
            // One line that cannot be read must not hide the others.
            if let Ok(Some(Body::Access(body))) = self.0.ledger.body(log.number, LogIndex(at)) {
                out.push((LogIndex(at), body));
            }
        }
        Ok(out)
    }
}

/// Checks what every reader will: a line that nobody can read is none.
fn check(body: &AccessBody, max: usize) -> Result<(), AccessError> {
    let got = body.encoded_len();
    if got > max {
        let what = "body";
        return Err(AccessError::Line(RecordError::TooBig { what, got, max }));
    }
    Body::Access(body.clone())
        .check()
        .map_err(AccessError::Line)
}
