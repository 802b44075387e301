//! Witnessed checkpoints of the logs that are followed: taken from whoever has
//! them, since their signatures say all.

use bytes::Bytes;

use super::{PeerTransport, PullError, Replicator};
use crate::ids::{LogName, MemberId};
use crate::ledger::LedgerError;

impl<P: PeerTransport> Replicator<P> {
    /// Keeps a witnessed checkpoint of `member`'s records log that `from` showed,
    /// once the replica has reached it.
    pub(super) async fn take_witnessed(
        &self,
        member: &MemberId,
        from: &MemberId,
        note: &Bytes,
    ) -> Result<(), PullError> {
        let roster = self.roster.load_full();
        let Some(origin) = roster.origin(member, LogName::Records) else {
            return Ok(());
        };
        if note.is_empty() {
            return Ok(());
        }
        let (ledger, note) = (self.ledger.clone(), note.clone());
        let kept = tokio::task::spawn_blocking(move || {
            let log = ledger.replica(&origin)?;
            // The note of the last notice is looked at again and again.
            if log.witnessed_note() == note {
                return Ok(false);
            }
            ledger.accept_witnessed(&log, &roster, &note)
        });
        let kept = kept.await.unwrap_or(Err(LedgerError::Stopped));
        match kept {
            Ok(true) => self.note(member, |_| {}),
            Ok(false) => {}
            Err(source) => {
                let from = from.clone();
                return Err(PullError::Refused { from, source });
            }
        }
        Ok(())
    }

    /// Asks a relay for the witnessed checkpoint of `member`'s records log.
    pub(super) async fn witnessed_from(
        &self,
        member: &MemberId,
        relay: &MemberId,
    ) -> Result<(), PullError> {
        let Some(origin) = self.roster.load().origin(member, LogName::Records) else {
            return Ok(());
        };
        let notice = self.peers.checkpoint(relay, &origin).await?;
        self.take_witnessed(member, relay, &notice.witnessed).await
    }
}
