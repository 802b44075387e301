//! Do all members see the same logs? Every answer of another node carries its
//! newest own checkpoint, and now and then a random member is asked what it
//! holds of every log. What does not fit is settled by a proof: it is evidence
//! against the log's owner, or shows that the answerer lied.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::{PeerError, PeerTransport, Replicator, jitter};
use crate::blame::{Blame, Blamed};
use crate::ids::{LogName, MemberId, Origin, random};
use crate::ledger::{Ledger, LedgerError, Note, Standing, View};
use crate::roster::Member;
use crate::wire::v1::EvidencePair;

/// Seconds between two questions to a random member, before jitter.
const GOSSIP_S: u64 = 15;
/// Seconds from the start to the first one, before jitter.
const FIRST_S: u64 = 4;
/// Checkpoints of one answer that are looked at.
const NOTICES_MAX: usize = 4_096;
/// Proofs that one answer may make this node ask for.
const PROOFS_MAX: usize = 64;
/// Shown checkpoints that may wait to be looked at.
pub const SHOWN_MAX: usize = 256;

/// The newest own checkpoint of a member, as it came with an answer of its node.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Whose node answered.
    pub from: MemberId,
    /// The signed note.
    pub note: Bytes,
}

/// What came of looking at a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It fits what is held here.
    Fits,
    /// Nobody has shown yet whether it does.
    Unproven,
    /// Its owner signed two histories; the evidence is kept.
    Conflict,
    /// Whoever showed it broke a rule; the log's owner is not to blame.
    Refused,
}

impl<P: PeerTransport> Replicator<P> {
    /// Looks at what answers carry, and asks around, until `stop`.
    pub async fn keep_views(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut shown = self.shown.lock().await;
        let mut waiting = BTreeMap::<MemberId, Vec<Bytes>>::new();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pause = |base| Box::pin(tokio::time::sleep(Duration::from_secs(jitter(base))));
        let mut next = pause(FIRST_S);
        let mut version = 0;
        loop {
            let mut asks = false;
            tokio::select! {
                Some(Shown { from, note }) = shown.recv() => {
                    // The first and the last of a member and second: one whose
                    // notes come faster cannot choose which of them count.
                    let notes = waiting.entry(from).or_default();
                    notes.truncate(1);
                    notes.push(note);
                    continue;
                }
                () = &mut next => {
                    asks = true;
                    next = pause(GOSSIP_S);
                }
                _ = ticks.tick() => {}
                _ = stop.changed() => return,
            }
            let newest = self.roster.load().version;
            let newer = std::mem::replace(&mut version, newest) != newest;
            let round = async {
                if newer {
                    self.follow_generations().await;
                }
                for (from, notes) in std::mem::take(&mut waiting) {
                    for note in notes {
                        self.shown_by(&from, note).await;
                    }
                }
                if asks {
                    self.ask_around().await;
                }
            };
            tokio::select! {
                () = round => {}
                _ = stop.changed() => return,
            }
        }
    }

    /// Looks at a checkpoint that came with an answer of its owner's node.
    async fn shown_by(&self, from: &MemberId, note: Bytes) {
        let Some(current) = self.roster.load().origin(from, LogName::Records) else {
            return;
        };
        // Its node may know of another generation than this one.
        let line = note.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let named: Option<Origin> = std::str::from_utf8(line).ok().and_then(|l| l.parse().ok());
        let origin = Origin {
            generation: named.map_or(current.generation, |named| named.generation),
            ..current
        };
        // The log is followed: its next pull tells more cheaply than a proof.
        let ask = self.ledger.log(&origin).is_err();
        self.look(from, &origin, &note, ask).await;
    }

    /// One round: what was seen and is reached by now, then a random member.
    async fn ask_around(&self) {
        self.look_again().await;
        self.complete_own_ended().await;
        let roster = self.roster.load_full();
        let others: Vec<&MemberId> = roster.other_nodes(self.ledger.own()).collect();
        let at = u64::from_be_bytes(random()) % others.len().max(1) as u64;
        let Some(member) = usize::try_from(at).ok().and_then(|at| others.get(at)) else {
            return;
        };
        if let Err(e) = self.gossip(member).await {
            tracing::debug!(peer.member = %member, error = %e, "nothing to compare from a peer");
        }
        self.stand_again().await;
    }

    /// Takes the standing again when somebody showed more of the own log.
    async fn stand_again(&self) {
        if self.ledger.standing() != Standing::Fenced {
            return;
        }
        // The first look may fetch what is missing, the second one opens.
        for _ in 0..2 {
            match self.try_standing().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(e) => tracing::warn!(error = %e, "the own log is not open yet"),
            }
        }
        if self.ledger.standing() == Standing::Recovering {
            self.ledger.set_standing(Standing::Fenced);
        }
    }

    /// Compares what was seen earlier with the logs that have reached it since.
    async fn look_again(&self) {
        let ledger = self.ledger.clone();
        let seen = tokio::task::spawn_blocking(move || ledger.all_seen()).await;
        for (origin, note) in seen.ok().and_then(Result::ok).unwrap_or_default() {
            let member = origin.member.clone();
            self.look(&member, &origin, &note, false).await;
        }
    }

    /// Compares every log of which `member` tells with what is held here.
    ///
    /// # Errors
    /// [`PeerError`] when it does not answer.
    pub async fn gossip(&self, member: &MemberId) -> Result<(), PeerError> {
        let answer = self.peers.checkpoints(member).await?;
        self.heard(member, answer.software).await;
        let mut proofs = 0;
        for notice in answer.checkpoints.into_iter().take(NOTICES_MAX) {
            let Ok(origin) = notice.origin.parse::<Origin>() else {
                continue;
            };
            let looked = self
                .look(member, &origin, &notice.checkpoint, proofs < PROOFS_MAX)
                .await;
            proofs += usize::from(looked == Looked::Unproven);
        }
        Ok(())
    }

    /// Looks at a checkpoint of a records log that `from` showed. What cannot
    /// be told from what is here is asked for, if `ask`: of `from`, or else of
    /// the log's owner.
    pub async fn look(&self, from: &MemberId, origin: &Origin, note: &Bytes, ask: bool) -> Looked {
        let roster = self.roster.load_full();
        // A log of another generation is ended, or waits for a newer roster.
        let current = roster.origin(&origin.member, LogName::Records);
        let (Some(author), true) = (
            roster.member(&origin.member),
            current.as_ref() == Some(origin),
        ) else {
            return Looked::Unproven;
        };
        let author = Arc::new(author.clone());
        let looked = self.compare(from, origin, &author, note, ask).await;
        looked.unwrap_or_else(|e| {
            if e.blame() == Blame::Misbehaved {
                self.blame(from, origin, &e);
                return Looked::Refused;
            }
            tracing::debug!(error = %e, "a checkpoint cannot be compared");
            Looked::Unproven
        })
    }

    async fn compare(
        &self,
        from: &MemberId,
        origin: &Origin,
        author: &Arc<Member>,
        note: &Bytes,
        ask: bool,
    ) -> Result<Looked, LedgerError> {
        let (of, by, shown) = (origin.clone(), Arc::clone(author), note.clone());
        let view = self
            .with_ledger(move |ledger| {
                if ledger.is_forked(&of)? {
                    return Ok(None);
                }
                ledger.view(&of, &by, &shown).map(Some)
            })
            .await?;
        match view {
            None => Ok(Looked::Conflict),
            Some(View::Fits) => {
                self.remember(origin, note, true).await?;
                // An owner is judged by how its log is followed.
                if *from != origin.member {
                    self.absolve(from, origin);
                }
                Ok(Looked::Fits)
            }
            Some(View::Conflict(pair)) => self.convict(from, origin, *pair).await,
            Some(View::Open(_)) if !ask => {
                self.remember(origin, note, false).await?;
                Ok(Looked::Unproven)
            }
            Some(View::Open(pair)) => self.settle_open(from, origin, &pair).await,
        }
    }

    /// Asks for the proof that the larger of two notes extends the smaller.
    async fn settle_open(
        &self,
        from: &MemberId,
        origin: &Origin,
        pair: &(Note, Note),
    ) -> Result<Looked, LedgerError> {
        let (small, large) = (pair.0.checkpoint.size, pair.1.checkpoint.size);
        for source in [from, &origin.member] {
            if source == self.ledger.own() {
                continue;
            }
            let answer = self.peers.consistency(source, origin, small, large).await;
            let Ok(answer) = answer else { continue };
            match self.ledger.settle_view(origin, pair, &answer) {
                Ok(View::Conflict(evidence)) => {
                    return self.convict(from, origin, *evidence).await;
                }
                Ok(View::Fits | View::Open(_)) => {
                    self.remember(origin, &pair.1.bytes, true).await?;
                    return Ok(Looked::Fits);
                }
                Err(e) => self.blame(source, origin, &e),
            }
        }
        self.remember(origin, &pair.1.bytes, false).await?;
        Ok(Looked::Unproven)
    }

    async fn remember(
        &self,
        origin: &Origin,
        note: &Bytes,
        proven: bool,
    ) -> Result<(), LedgerError> {
        let (of, note) = (origin.clone(), note.clone());
        let is_own = origin.member == *self.ledger.own();
        let remembered = self.with_ledger(move |ledger| {
            ledger.remember_seen(&of, &note, proven)?;
            Ok(is_own && ledger.is_behind()?)
        });
        let behind = remembered.await?;
        // Whoever showed it need not have the log: it bears the own signature.
        if behind && self.ledger.standing() == Standing::Open {
            tracing::error!("others saw more of the own log than is here: it is closed");
            self.ledger.set_standing(Standing::Fenced);
        }
        Ok(())
    }

    /// Keeps the evidence against a log's owner, and stops taking of it.
    async fn convict(
        &self,
        from: &MemberId,
        origin: &Origin,
        mut pair: EvidencePair,
    ) -> Result<Looked, LedgerError> {
        pair.source = from.to_string();
        self.with_ledger(move |ledger| Ok(ledger.evidence().keep(pair)?))
            .await?;
        self.stopped(origin);
        Ok(Looked::Conflict)
    }

    /// Shows that a log is not followed any more.
    pub(super) fn stopped(&self, origin: &Origin) {
        if origin.member == *self.ledger.own() {
            self.ledger.set_standing(Standing::Conflict);
            return;
        }
        let sentence = LedgerError::Forked(origin.clone()).to_string();
        let now = self.ledger.clock().now();
        self.note(&origin.member, |state| {
            state.watching = false;
            state.alarms.raise(None, sentence, now);
        });
    }

    /// Raises an alarm about a member that showed or proved what does not hold
    /// of a log.
    pub(super) fn blame(&self, member: &MemberId, about: &Origin, error: &LedgerError) {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        tracing::error!(peer.member = %member, error = %error, "refused what a peer showed");
        let sentence = format!("from {member}: {error}");
        let now = self.ledger.clock().now();
        self.note(member, |state| {
            state.alarms.raise(Some(about.clone()), sentence, now);
        });
    }

    async fn with_ledger<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<R, LedgerError> + Send + 'static,
    ) -> Result<R, LedgerError> {
        let ledger = self.ledger.clone();
        let done = tokio::task::spawn_blocking(move || work(&ledger)).await;
        done.unwrap_or(Err(LedgerError::Stopped))
    }
}
