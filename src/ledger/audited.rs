//! Own logs as an auditor takes them: tiles and entry bundles as they stand in
//! the store, and the bodies that he may see.

use bytes::Bytes;

use super::log::Log;
use super::segment::BodyState;
use super::tiles;
use super::{BodyReader, Ledger, LedgerError};
use crate::ids::{LogIndex, LogName, TreeSize};
use crate::record::{Entry, Readers};
use crate::roster::Member;
use crate::store::StoreError;
use crate::wire::v1::BodyAnswer;

/// Bytes of one hash in a tile.
const HASH_BYTES: usize = 32;

/// Who looks at the node's own bodies.
#[derive(Clone, Copy, Debug)]
pub enum Seer<'a> {
    /// An officer of the node's own member: all of them.
    Own,
    /// An auditor: every body of an access log; of a records log what took back,
    /// ended or confirmed something, and what has him in its audience.
    Auditor(BodyReader<'a>),
}

impl<'a> Seer<'a> {
    /// The member whose eyes these are, where it is not the own one.
    #[must_use]
    pub fn member(&self) -> Option<&'a Member> {
        match self {
            Self::Own => None,
            Self::Auditor(reader) => Some(reader.member),
        }
    }
}

/// What somebody who looks is told of one body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedBody {
    /// What is known of it; never `Unspecified`.
    pub answer: BodyAnswer,
    /// Its bytes; none unless the answer is `Held`.
    pub bytes: Bytes,
}

impl Ledger {
    /// The first `width` hashes of a tile, as they stand in the store; `None`
    /// where the log has fewer. Tile level 0 has leaf hashes.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn tile_bytes(
        &self,
        log: &Log,
        level: u8,
        tile: u64,
        width: u16,
    ) -> Result<Option<Bytes>, LedgerError> {
        let held = tiles::tile_bytes(&self.0.store, log.number, level, tile)?;
        let length = usize::from(width) * HASH_BYTES;
        Ok(held
            .filter(|bytes| bytes.len() >= length)
            .map(|bytes| bytes.slice(..length)))
    }

    /// What `seer` is told of the bodies [start, end), one answer an index, as
    /// far as the log goes. Of a replica, receipts and the like are all he gets.
    ///
    /// # Errors
    /// [`LedgerError::Store`] or [`LedgerError::Shred`].
    pub fn audited_bodies(
        &self,
        log: &Log,
        start: LogIndex,
        end: TreeSize,
        seer: Seer<'_>,
    ) -> Result<Vec<AuditedBody>, LedgerError> {
        let end = end.0.min(log.size().0);
        let states = self.body_states(log.number, start, end)?;
        let entries = self.entries(log.number, start, end)?;
        let mut out = Vec::with_capacity(states.len());
        for ((at, state), entry) in (start.0..).zip(states).zip(entries) {
            let (answer, bytes) = match state {
                BodyState::Held(bytes) => {
                    let answer = self.audited(log, LogIndex(at), entry, &bytes, seer)?;
                    (answer, bytes)
                }
                BodyState::NotForMe => (BodyAnswer::NotForYou, Bytes::new()),
                BodyState::Absent => (BodyAnswer::Absent, Bytes::new()),
                BodyState::Erased => (BodyAnswer::Erased, Bytes::new()),
                BodyState::Lost => (BodyAnswer::Lost, Bytes::new()),
            };
            let bytes = match answer {
                BodyAnswer::Held => bytes,
                _ => Bytes::new(),
            };
            out.push(AuditedBody { answer, bytes });
        }
        Ok(out)
    }

    fn audited(
        &self,
        log: &Log,
        index: LogIndex,
        entry: Bytes,
        body: &Bytes,
        seer: Seer<'_>,
    ) -> Result<BodyAnswer, LedgerError> {
        let parsed = Entry::parse(entry.clone()).map_err(|_| StoreError::Damaged("entry"))?;
        if self.ending(log, index, &parsed)?.is_some() {
            return Ok(BodyAnswer::Erased);
        }
        let readers = parsed.statement.body_type.rules().readers;
        let open = matches!(readers, Readers::Everybody | Readers::Auditors);
        let own = log.origin.member == self.0.own;
        match seer {
            _ if open || log.origin.log == LogName::Access => Ok(BodyAnswer::Held),
            Seer::Own if own => Ok(BodyAnswer::Held),
            Seer::Auditor(reader) if own => {
                match self.may_have(log, index, entry, body, reader)? {
                    // Its audience cannot be read, so that he is in none.
                    BodyAnswer::Absent => Ok(BodyAnswer::NotForYou),
                    answer => Ok(answer),
                }
            }
            // Of a replica only what proves an erasure is handed on.
            Seer::Own | Seer::Auditor(_) => Ok(BodyAnswer::NotForYou),
        }
    }
}
