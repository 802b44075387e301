//! Start and restore: before a node appends to its own records log it asks the
//! others for the highest checkpoint of that log that they saw. A restored
//! backup is behind it and is brought up first; a conflict is never papered
//! over (PROTOCOL.md section 8).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use super::bodies::ABSENT_MAX;
use super::{Looked, PeerTransport, PullError, Replicator};
use crate::blame::Blame;
use crate::checkpoint::Checkpoint;
use crate::ids::{LogName, MemberId};
use crate::ledger::{LedgerError, Standing};

/// How long the others have to answer, in seconds.
const ANSWER_S: u64 = 3;
/// The shortest and longest pause before they are asked again, in milliseconds.
const AGAIN_MS: (u64, u64) = (100, 5_000);
/// Members that are asked at once.
const ASKED_AT_ONCE: usize = 8;

/// Seconds before each time that missing own bodies are asked for.
const SEEK_S: [u64; 3] = [0, 5, 10];
/// Seconds between later times, while somebody does not answer.
const SEEK_AGAIN_S: u64 = 60;

/// What the others say about the own log.
#[derive(Debug, Default)]
struct Heard {
    answers: usize,
    highest: Option<(MemberId, Checkpoint, Bytes)>,
}

impl<P: PeerTransport> Replicator<P> {
    /// Asks the others until somebody answers, recovers what they have and this
    /// node lacks, and opens the own records log for appending; or leaves it
    /// closed for good when they hold another history.
    pub async fn take_standing(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut pause_ms = AGAIN_MS.0;
        loop {
            match self.try_standing().await {
                Ok(true) => return self.seek_bodies(stop).await,
                Ok(false) => {}
                Err(e) => tracing::warn!(error = %e, "the own log is not open yet"),
            }
            let pause = Duration::from_millis(pause_ms);
            pause_ms = (pause_ms * 2).min(AGAIN_MS.1);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = stop.changed() => if changed.is_err() || *stop.borrow() { return },
            }
        }
    }

    /// Looks for own bodies that a restored copy lacks. What nobody has, though
    /// everybody was asked several times, is lost, and listed as such.
    async fn seek_bodies(&self, mut stop: watch::Receiver<bool>) {
        let mut pauses = SEEK_S.into_iter();
        loop {
            let pause_s = pauses.next();
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(pause_s.unwrap_or(SEEK_AGAIN_S))) => {}
                changed = stop.changed() => if changed.is_err() || *stop.borrow() { return },
            }
            let last = pauses.len() == 0;
            match self.seek_once(last).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(e) => tracing::warn!(error = %e, "own bodies are still missing"),
            }
        }
    }

    /// Asks everybody once; true when nothing is missing any more, of the logs
    /// that have ended either, or, the last time, when all of it is lost.
    async fn seek_once(&self, last: bool) -> Result<bool, PullError> {
        let own = self.ledger.own().clone();
        let refused = |source| PullError::Refused {
            from: own.clone(),
            source,
        };
        let log = Arc::clone(self.ledger.own_log(LogName::Records));
        let missing = || async {
            let absent = self.blocking_own(|ledger, log| ledger.absent(log, ABSENT_MAX));
            absent.await.map_err(refused)
        };
        let roster = self.roster.load_full();
        let Some(author) = roster.member(&own).cloned().map(Arc::new) else {
            return Ok(true);
        };
        let ended = self.complete_own_ended().await;
        let mut all_answered = true;
        for from in roster.members.keys().filter(|id| **id != own) {
            let ranges = missing().await?;
            if ranges.is_empty() {
                return Ok(ended);
            }
            match self.fetch_ranges(&log, &author, from, ranges).await {
                Err(PullError::Peer(e)) => all_answered &= e.blame == Blame::NotFound,
                Ok(_) | Err(PullError::Refused { .. }) => {}
            }
        }
        let ranges = missing().await?;
        if ranges.is_empty() || !last || !all_answered {
            return Ok(ended && ranges.is_empty());
        }
        tracing::error!(log.origin = %log.origin, "bodies of own records are lost: nobody has them; casegate store verify counts them");
        self.blocking(&log, &author, move |ledger, log, _| {
            ledger.mark_lost(log, &ranges)
        })
        .await
        .map_err(refused)?;
        Ok(false)
    }

    /// One round; true when the question is settled.
    pub(super) async fn try_standing(&self) -> Result<bool, PullError> {
        let roster = self.roster.load_full();
        let own = self.ledger.own().clone();
        let others: Vec<MemberId> = roster.other_nodes(&own).cloned().collect();
        if self.is_superseded() {
            self.ledger.set_standing(Standing::Superseded);
            return Ok(true);
        }
        // What was retracted there must end here before anything is given out.
        self.complete_own_ended().await;
        let heard = self.hear(&others).await;
        if heard.answers == 0 && !others.is_empty() {
            return Ok(false);
        }
        let log = Arc::clone(self.ledger.own_log(LogName::Records));
        let forked = |source| PullError::Refused {
            from: own.clone(),
            source,
        };
        if self.ledger.is_forked(&log.origin).map_err(forked)? {
            self.ledger.set_standing(Standing::Conflict);
            return Ok(true);
        }
        let Some((from, highest, note)) = heard.highest else {
            return self.open_own().await.map_err(forked);
        };
        if self.look(&from, &log.origin, &note, true).await == Looked::Conflict {
            tracing::error!(peer.member = %from, "the own log conflicts with what others saw");
            self.ledger.set_standing(Standing::Conflict);
            return Ok(true);
        }
        if highest.size > log.size() {
            tracing::warn!(peer.member = %from, "others hold more of the own log: recovering");
            self.ledger.set_standing(Standing::Recovering);
            self.pull_member(&own, &from).await?;
            self.ledger.reload_own();
            return Ok(false);
        }
        let agrees = self
            .blocking_own(move |ledger, log| ledger.extends(log, &highest))
            .await;
        match agrees {
            Ok(()) => self.open_own().await.map_err(forked),
            Err(e @ LedgerError::Root { .. }) => {
                tracing::error!(peer.member = %from, error = %e, "the own log conflicts with what others saw");
                self.ledger.set_standing(Standing::Conflict);
                Ok(true)
            }
            Err(source) => Err(PullError::Refused { from, source }),
        }
    }

    /// Opens the own log, unless somebody saw more of it than anybody has who
    /// answers; says whether it is open.
    async fn open_own(&self) -> Result<bool, LedgerError> {
        let is_behind = || self.blocking_own(|ledger, _| ledger.is_behind());
        let mut behind = is_behind().await?;
        if !behind {
            self.ledger.set_standing(Standing::Open);
            // What was shown meanwhile closes only a log that is open.
            behind = is_behind().await?;
        }
        if behind {
            tracing::warn!("others saw more of the own log, and nobody who has it answers");
            self.ledger.set_standing(Standing::Fenced);
        }
        Ok(!behind)
    }

    async fn hear(&self, others: &[MemberId]) -> Heard {
        let log = self.ledger.own_log(LogName::Records);
        let roster = self.roster.load_full();
        let asked = stream::iter(others.to_vec()).map(|id| async move {
            let limit = Duration::from_secs(ANSWER_S);
            let answer = tokio::time::timeout(limit, self.peers.checkpoint(&id, &log.origin)).await;
            (id, answer)
        });
        let answers: Vec<_> = asked.buffer_unordered(ASKED_AT_ONCE).collect().await;
        let mut heard = Heard::default();
        for (id, answer) in answers {
            match answer {
                Ok(Ok(notice)) => {
                    heard.answers += 1;
                    let author = roster.member(self.ledger.own());
                    let signed = author.and_then(|author| {
                        self.ledger
                            .open_checkpoint(log, author, &notice.checkpoint)
                            .ok()
                    });
                    let higher = |c: &Checkpoint| {
                        heard
                            .highest
                            .as_ref()
                            .is_none_or(|(_, seen, _)| c.size > seen.size)
                    };
                    if let Some(signed) = signed.filter(higher) {
                        heard.highest = Some((id, signed, notice.checkpoint));
                    }
                }
                Ok(Err(e)) if e.blame == Blame::NotFound => heard.answers += 1,
                Ok(Err(_)) | Err(_) => {}
            }
        }
        heard
    }

    async fn blocking_own<R: Send + 'static>(
        &self,
        work: impl FnOnce(&crate::ledger::Ledger, &crate::ledger::Log) -> Result<R, LedgerError>
        + Send
        + 'static,
    ) -> Result<R, LedgerError> {
        self.offload(move |ledger| work(ledger, ledger.own_log(LogName::Records)))
            .await
    }
}
