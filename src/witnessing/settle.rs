//! Before a node writes into its own access log it asks its witnesses what they
//! saw of it: one that comes back from a backup must not sign a second tree of
//! a size that they cosigned. Nobody answers: it waits, and so do those who need
//! a line there. One of them holds a note of this node's own that is not on the
//! log as it is here: it is closed, until the roots begin a new generation of it.
//!
//! A witness is believed nothing: only a note that this node signed counts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::round::ASK;
use super::{WitnessTransport, Witnessing};
use crate::ids::{LogName, MemberId};
use crate::ledger::{LedgerError, Standing};
use crate::wire::v1;
use crate::witness::ASK_SEEN;

/// How long the others are waited for once one has answered.
const GRACE: Duration = Duration::from_millis(500);
/// The shortest and longest pause before they are asked again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What one witness shows of the own access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// It saw nothing, or what is here extends it.
    Fits,
    /// This node signed more, or another history.
    Against,
    /// Nothing that helps.
    Nothing,
}

impl<T: WitnessTransport> Witnessing<T> {
    /// Asks until the own access log is open, or closed for good.
    pub async fn settle_access(self: Arc<Self>) {
        let mut pause = AGAIN.0;
        while self.ledger.access_standing() == Standing::Fenced {
            match self.ask_all().await {
                Shown::Fits => self.ledger.set_access_standing(Standing::Open),
                Shown::Against => self.close_access(),
                Shown::Nothing => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AGAIN.1);
                }
            }
        }
    }

    /// Looks at what the witnesses saw, after one claimed that it is not this.
    pub(super) async fn doubt_access(self: &Arc<Self>) {
        if self.ask_all().await == Shown::Against {
            self.close_access();
        }
    }

    fn close_access(&self) {
        tracing::error!(
            "witnesses saw more of the own access log than is here, or another history: it is \
             closed until the roots begin a new generation of it"
        );
        self.ledger.set_access_standing(Standing::Conflict);
    }

    async fn ask_all(self: &Arc<Self>) -> Shown {
        let roster = self.roster.load_full();
        let witnesses = roster.witnesses(self.ledger.own());
        if witnesses.is_off() || witnesses.keys.is_empty() {
            return Shown::Fits;
        }
        let mut asked = JoinSet::new();
        for (witness, _) in witnesses.keys {
            let this = Arc::clone(self);
            asked.spawn(async move {
                let shown = tokio::time::timeout(ASK, this.ask_one(&witness));
                shown.await.unwrap_or(Shown::Nothing)
            });
        }
        let mut all = Shown::Nothing;
        loop {
            let next = match all {
                Shown::Nothing => asked.join_next().await,
                // A slow one is not waited for long.
                Shown::Fits | Shown::Against => {
                    let next = tokio::time::timeout(GRACE, asked.join_next());
                    next.await.unwrap_or(None)
                }
            };
            match next {
                Some(Ok(Shown::Against)) => return Shown::Against,
                Some(Ok(Shown::Fits)) => all = Shown::Fits,
                Some(Ok(Shown::Nothing) | Err(_)) => {}
                None => return all,
            }
        }
    }

    async fn ask_one(self: &Arc<Self>, witness: &MemberId) -> Shown {
        let Ok(checkpoint) = self.ledger.empty_note(LogName::Access) else {
            return Shown::Nothing;
        };
        let request = v1::AddCheckpointRequest {
            old_size: ASK_SEEN,
            checkpoint,
            ..Default::default()
        };
        match self.peers.add_checkpoint(witness, request).await {
            Ok(answer) if answer.seen_size == 0 => Shown::Fits,
            Ok(answer) => self.look_at(answer.seen).await,
            Err(e) => {
                tracing::debug!(peer.member = %witness, error = %e, "a witness does not say what it saw of the access log");
                Shown::Nothing
            }
        }
    }

    /// Judges a note of the own access log by the log as it is here.
    async fn look_at(&self, note: Bytes) -> Shown {
        let (ledger, roster) = (self.ledger.clone(), self.roster.load_full());
        let looked = tokio::task::spawn_blocking(move || {
            let log = ledger.own_log(LogName::Access);
            let Some(own) = roster.member(ledger.own()) else {
                return Ok(Shown::Nothing);
            };
            let signed = ledger.open_checkpoint(log, own, &note)?;
            if signed.size > log.size() {
                return Ok(Shown::Against);
            }
            let same = ledger.root_at(log, signed.size)? == signed.root;
            Ok::<_, LedgerError>(if same { Shown::Fits } else { Shown::Against })
        });
        match looked.await {
            Ok(Ok(shown)) => shown,
            Ok(Err(e)) => {
                tracing::warn!(error = %e, "what a witness shows of the access log does not count");
                Shown::Nothing
            }
            Err(_) => Shown::Nothing,
        }
    }
}
