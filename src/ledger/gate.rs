//! What may be written yet: a body type is appended to the records log once
//! every member's node says that it reads it, or the roster requires it
//! (PROTOCOL.md section 18); its word stands in the type's row. The access log is read at home, and not held up.

use super::append::NewEntry;
use super::{Ledger, LedgerError};
use crate::ids::MemberId;
use crate::record::BodyType;
use crate::roster::Roster;
use crate::spoken::Spoken;

/// Whether the roots require every node to speak `word`: a node that does not
/// refuses to serve, so that nobody waits for it.
fn is_required(_roster: &Roster, _word: &str) -> bool {
    false
}

impl Ledger {
    /// What the members' nodes say that they speak.
    #[must_use]
    pub fn spoken(&self) -> &Spoken {
        &self.0.spoken
    }

    /// Refuses entries for the records log that some member's node would not read.
    pub(super) fn check_readers(&self, entries: &[NewEntry]) -> Result<(), LedgerError> {
        self.check_types(entries.iter().map(|entry| entry.body.body_type()))
    }

    /// The members whose nodes what is published of cases waits for.
    #[must_use]
    pub fn members_behind(&self) -> Vec<MemberId> {
        match self.check_types(BodyType::KNOWN.into_iter()) {
            Err(LedgerError::MembersBehind { members, .. }) => members,
            Ok(()) | Err(_) => vec![],
        }
    }

    fn check_types(&self, types: impl Iterator<Item = BodyType>) -> Result<(), LedgerError> {
        let newest = self.0.rosters.get().and_then(|h| h.load().last().cloned());
        let Some(roster) = newest else {
            return Ok(());
        };
        let mut words: Vec<&str> = types.filter_map(|known| known.rules().feature).collect();
        words.sort_unstable();
        words.dedup();
        words.retain(|word| !is_required(&roster, word));
        for word in words {
            let members = self.0.spoken.behind(&roster, &self.0.own, word);
            if !members.is_empty() {
                return Err(LedgerError::MembersBehind { word, members });
            }
        }
        Ok(())
    }
}
