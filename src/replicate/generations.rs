//! Following the roster through generations of logs: what has ended is ended
//! here too, and fetched up to its end where it is not complete.

use std::sync::Arc;

use super::{PeerTransport, PullError, Replicator};
use crate::blame::{Blame, Blamed};
use crate::ids::{LogName, MemberId, Origin, TreeSize};
use crate::ledger::{Log, Standing};
use crate::roster::{Frozen, Member};

impl<P: PeerTransport> Replicator<P> {
    /// Ends the logs that the newest roster has ended, and says so when the own
    /// log is among them: a restart begins the next generation.
    pub(super) async fn follow_generations(&self) {
        let roster = self.roster.load_full();
        let (ledger, newest) = (self.ledger.clone(), Arc::clone(&roster));
        let ended = tokio::task::spawn_blocking(move || ledger.end_generations(&newest)).await;
        if let Ok(Err(e)) = ended {
            tracing::error!(error = %e, "a log that the roster ended could not be ended here");
        }
        if self.is_superseded() {
            tracing::error!("the roster names a new generation of the own log: restart the node");
            self.ledger.set_standing(Standing::Superseded);
        }
        if self.has_newer(LogName::Access) {
            tracing::error!(
                "the roster names a new generation of the own access log: restart the node"
            );
            self.ledger.set_access_standing(Standing::Superseded);
        }
        for member in roster.members.values().filter(|m| !m.frozen.is_empty()) {
            let current = roster.origin(&member.id, LogName::Records);
            let forked = current.is_some_and(|o| self.ledger.is_forked(&o).unwrap_or(true));
            if !forked {
                let now = self.ledger.clock().now();
                self.note(&member.id, |state| state.alarms.end(None, now));
            }
        }
    }

    /// Says whether the roster names another generation of the own records log
    /// than the one that is open.
    pub(super) fn is_superseded(&self) -> bool {
        self.has_newer(LogName::Records)
    }

    fn has_newer(&self, name: LogName) -> bool {
        let current = self.roster.load().origin(self.ledger.own(), name);
        let open = &self.ledger.own_log(name).origin;
        current.is_some_and(|current| current.generation > open.generation)
    }

    /// Fetches what is missing of a member's logs that have ended, from the
    /// member or from whoever has it.
    pub(super) async fn pull_ended(&self, member: &MemberId) {
        let roster = self.roster.load_full();
        let Some(author) = roster.member(member) else {
            return;
        };
        for frozen in &author.frozen {
            let origin = Origin {
                federation: roster.federation.clone(),
                member: member.clone(),
                log: LogName::Records,
                generation: frozen.generation,
            };
            let Ok(log) = self.ledger.replica(&origin) else {
                continue;
            };
            let others = roster.members.keys().filter(|id| *id != member);
            for from in std::iter::once(member).chain(others) {
                // What its owner may have withheld is asked of the owner only.
                let open =
                    from == member && self.ledger.absent(&log, 1).is_ok_and(|a| !a.is_empty());
                if is_complete(&log, frozen) && !open {
                    break;
                }
                if from != self.ledger.own() {
                    self.pull_ended_from(&Arc::new(author.clone()), &origin, from)
                        .await;
                }
            }
        }
    }

    /// Fetches what is missing of the own logs that have ended: a restored
    /// backup may lack retractions in them. Says whether nothing is missing;
    /// until then their bodies are held back.
    pub(super) async fn complete_own_ended(&self) -> bool {
        let own = self.ledger.own().clone();
        self.pull_ended(&own).await;
        let roster = self.roster.load_full();
        let frozen = roster.member(&own).map_or(&[][..], |member| &member.frozen);
        let mut whole = true;
        for frozen in frozen {
            let origin = Origin {
                federation: roster.federation.clone(),
                member: own.clone(),
                log: LogName::Records,
                generation: frozen.generation,
            };
            let log = self.ledger.log(&origin);
            let complete = log.as_ref().is_ok_and(|log| is_complete(log, frozen));
            if let Ok(log) = log
                && !complete
            {
                log.set_stale(true);
            }
            whole &= complete;
        }
        whole
    }

    async fn pull_ended_from(&self, author: &Arc<Member>, origin: &Origin, from: &MemberId) {
        match self.pull_log(author, origin, from).await {
            Ok(_) => {}
            Err(PullError::Refused { from, source }) if source.blame() == Blame::Misbehaved => {
                self.blame(&from, origin, &source);
            }
            Err(e) => tracing::debug!(error = %e, "nothing of a log that has ended"),
        }
    }

    /// Throws away what was held of a log before this pull, since it does not
    /// lead to the end that the roster names; false when there was nothing.
    pub(super) async fn restart_ended(
        &self,
        log: &Arc<Log>,
        author: &Arc<Member>,
        held: TreeSize,
    ) -> bool {
        if held.0 == 0 {
            return false;
        }
        let discarded = self
            .blocking(log, author, |ledger, log, _| ledger.discard(log))
            .await;
        if let Err(e) = &discarded {
            tracing::error!(error = %e, "a log that is not the one that ended could not be dropped");
        }
        discarded.is_ok()
    }
}

fn is_complete(log: &Log, frozen: &Frozen) -> bool {
    let head = log.head();
    head.size().0 >= frozen.size && head.bodies_upto >= frozen.size
}
