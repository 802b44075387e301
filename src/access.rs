//! The access log: every query, evaluation, denial and administrative change
//! is a signed entry of the node's own access log before its answer leaves.
//! It holds purposes and counts, never values or tokens.

use bytes::Bytes;
use prost::Message;

use crate::ids::{CaseRef, Digest, LogIndex, LogName, QueryId, random};
use crate::ledger::{Ledger, LedgerError, NewEntry};
use crate::record::{self, Body};
use crate::store::Batch;
use crate::wire::v1::{AccessBody, AccessScope, AskedMember, OpenedPurpose, Purpose, SeenPurpose};

/// What an officer signed to ask for something.
#[derive(Clone, Debug, Default)]
pub struct OfficerProof {
    /// The bytes that the officer's key signed.
    pub request: Bytes,
    /// The signature.
    pub signature: Bytes,
    /// The officer's certificate, DER.
    pub certificate: Bytes,
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
pub struct AccessLog(Ledger);

impl AccessLog {
    /// Writes to the access log of `ledger`.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self(ledger)
    }

    /// Appends a line; it is durable when this returns. Blocks.
    ///
    /// # Errors
    /// [`LedgerError`]; the caller must then refuse what was asked.
    pub fn write(&self, line: AccessLine) -> Result<LogIndex, LedgerError> {
        let body = Body::Access(AccessBody {
            nonce: random::<16>().to_vec().into(),
            scope: line.scope as i32,
            query_id: line.query_id.as_bytes().to_vec().into(),
            method: line.method.into(),
            caller: line.caller,
            purposes: line.purposes,
            seen: line.seen,
            outcome: line.outcome,
            count: line.count,
            asked: line.asked,
            officer_request: line.officer.request,
            officer_signature: line.officer.signature,
            officer_certificate: line.officer.certificate,
        });
        let entry = NewEntry {
            body,
            expires_at: 0,
            private: None,
        };
        self.0.append(LogName::Access, vec![entry], Batch::new())
    }

    /// The newest `max` lines with their indices, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn newest(&self, max: u64) -> Result<Vec<(LogIndex, AccessBody)>, LedgerError> {
        let log = self.0.own_log(LogName::Access);
        let size = log.size().0;
        let mut out = vec![];
        for at in size.saturating_sub(max)..size {
            // One line that cannot be read must not hide the others.
            if let Ok(Some(Body::Access(body))) = self.0.body(log.number, LogIndex(at)) {
                out.push((LogIndex(at), body));
            }
        }
        Ok(out)
    }
}
