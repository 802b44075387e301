//! The way of an element from the durable queue into the records log:
//! tokenize what is new, sign, append, take off the queue; one batch at a
//! time, each batch all or nothing. Publishing never fails for want of
//! custodians: elements wait, and are published when custodians return.

mod batch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use crate::access::{AccessError, AccessLine, AccessLog, Asked, commit_purpose};
use crate::blame::Blamed;
use crate::cases::{CaseError, Cases};
use crate::custodian::SEGMENT_TEXT_BYTES_MAX;
use crate::element::TokenClass;
use crate::ids::LogName;
use crate::ledger::{Ledger, LedgerError};
use crate::roster::{Roster, TokenKey};
use crate::store::Batch;
use crate::tokens::{CustodianTransport, SegmentInput, TokenKeyInfo, Tokenizer, TokensError};
use crate::wire::v1::{self, AccessScope};

pub use batch::same_attributes;
use batch::{Plan, Wanted};

/// Elements that one batch takes off the queue.
const BATCH_ELEMENTS_MAX: usize = 2_048;
/// Purposes that one line of the access log opens.
const PURPOSES_PER_LINE: usize = 256;
/// The shortest and longest wait before custodians are asked again.
const RETRY_S: (u64, u64) = (1, 30);

/// Why a batch was not published; its elements stay in the queue.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Too few custodians answered.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The case table failed.
    #[error(transparent)]
    Cases(#[from] CaseError),
    /// The question is not in the access log, and was not asked.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The roster requires what this software does not speak.
    #[error("the roster requires what this casegate does not speak: {}", .0.join(", "))]
    Features(Vec<String>),
    /// The roster names no current token key of that class.
    #[error("the roster names no current token key for {0:?} kinds")]
    NoTokenKey(TokenClass),
}

/// Counts since the node started.
#[derive(Debug, Default)]
pub struct PublishCounts {
    /// Element records that were signed and appended.
    pub records: AtomicU64,
    /// Case notices that were appended.
    pub notices: AtomicU64,
    /// Amendments that were appended.
    pub amendments: AtomicU64,
    /// Values that custodians evaluated.
    pub evaluated: AtomicU64,
    /// Values whose token was known already.
    pub known: AtomicU64,
    /// Queued rows that were published already.
    pub unchanged: AtomicU64,
}

/// What the publisher is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PublishState {
    /// The queue is empty.
    #[default]
    Idle,
    /// Elements are being published.
    Working,
    /// Elements wait; the reason is in words.
    Waiting(String),
}

/// Publishes what is queued. One runs in a node.
#[derive(Debug)]
pub struct Publisher<T> {
    ledger: Ledger,
    cases: Cases,
    access: AccessLog,
    roster: Arc<ArcSwap<Roster>>,
    tokenizer: Tokenizer<T>,
    wake: Notify,
    state: watch::Sender<PublishState>,
    /// Counts since the start.
    pub counts: PublishCounts,
}

impl<T: CustodianTransport + 'static> Publisher<T> {
    /// Makes a publisher that is not running yet.
    #[must_use]
    pub fn new(
        ledger: Ledger,
        cases: Cases,
        access: AccessLog,
        roster: Arc<ArcSwap<Roster>>,
        tokenizer: Tokenizer<T>,
    ) -> Self {
        let (state, _) = watch::channel(PublishState::Idle);
        Self {
            ledger,
            cases,
            access,
            roster,
            tokenizer,
            wake: Notify::new(),
            state,
            counts: PublishCounts::default(),
        }
    }

    /// Says that something was queued.
    pub fn wake(&self) {
        self.state.send_replace(PublishState::Working);
        self.wake.notify_one();
    }

    /// What the publisher is doing, as it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<PublishState> {
        self.state.subscribe()
    }

    /// Publishes the queue, and whatever comes into it, until `stop`.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut wait_s = RETRY_S.0;
        loop {
            let pause = match Arc::clone(&self).publish_batch().await {
                Ok(0) => {
                    self.state.send_replace(PublishState::Idle);
                    None
                }
                Ok(_) => {
                    wait_s = RETRY_S.0;
                    self.state.send_replace(PublishState::Working);
                    if *stop.borrow() {
                        return;
                    }
                    continue;
                }
                Err(e) => {
                    tracing::warn!(error = %e, "publishing waits");
                    self.state
                        .send_replace(PublishState::Waiting(e.to_string()));
                    let pause = Duration::from_secs(wait_s);
                    wait_s = (wait_s * 2).min(RETRY_S.1);
                    Some(pause)
                }
            };
            let woken = async {
                match pause {
                    Some(pause) => {
                        // New elements are reason enough to ask again at once.
                        drop(tokio::time::timeout(pause, self.wake.notified()).await);
                    }
                    None => self.wake.notified().await,
                }
            };
            tokio::select! {
                () = woken => {}
                changed = stop.changed() => if changed.is_err() || *stop.borrow() { return },
            }
        }
    }

    /// Publishes one batch off the queue; returns how many queued elements it
    /// took, 0 when the queue was empty.
    ///
    /// # Errors
    /// [`PublishError`]; the queue is as it was.
    pub async fn publish_batch(self: Arc<Self>) -> Result<usize, PublishError> {
        // One roster for the whole batch: tokens are signed under the key that
        // made them.
        let roster = self.roster.load_full();
        let lacking = roster.lacking();
        if !lacking.is_empty() {
            return Err(PublishError::Features(lacking));
        }
        let (this, planned_by) = (Arc::clone(&self), Arc::clone(&roster));
        let plan = blocking(move || this.plan(&planned_by)).await?;
        let inputs = plan.as_ref().map(Plan::inputs).unwrap_or_default();
        self.tokenizer.keep_only(&inputs).await?;
        let Some(mut plan) = plan else {
            return Ok(0);
        };
        for class in [TokenClass::Enumerable, TokenClass::Open] {
            let wanted = plan.take_wanted(class);
            if !wanted.is_empty() {
                let evaluated = self.tokenize(&roster, class, &wanted).await?;
                plan.learn(class, &wanted, evaluated);
            }
        }
        let taken = plan.taken();
        let this = Arc::clone(&self);
        blocking(move || this.append(plan)).await?;
        Ok(taken)
    }

    fn plan(&self, roster: &Roster) -> Result<Option<Plan>, PublishError> {
        let queued = self.ledger.queued(BATCH_ELEMENTS_MAX)?;
        if queued.ticket.is_empty() {
            return Ok(None);
        }
        Ok(Some(Plan::new(queued, &self.ledger, roster)?))
    }

    async fn tokenize(
        &self,
        roster: &Roster,
        class: TokenClass,
        wanted: &[Wanted],
    ) -> Result<Vec<crate::oprf::Evaluation>, PublishError> {
        let key = roster
            .token_key(class)
            .ok_or(PublishError::NoTokenKey(class))?;
        let key = key_info(key);
        let mut line = AccessLine::new(
            AccessScope::Evaluate,
            "custodian.evaluate",
            self.ledger.own().as_str(),
        );
        let mut purposes = vec![];
        let mut segments: Vec<SegmentInput> = vec![];
        for run in wanted.chunk_by(|a, b| a.case_ref == b.case_ref) {
            let Some(first) = run.first() else { continue };
            let count = u32::try_from(run.len()).unwrap_or(u32::MAX);
            let case = first.case_ref;
            let purpose = commit_purpose(&first.purpose, &case, count);
            purposes.push(purpose.opened);
            segments.push(SegmentInput {
                case_ref: case,
                offence_class: segment_text(&first.purpose.offence),
                urgency: segment_text(&first.purpose.urgency),
                purpose_commitment: purpose.commitment,
                inputs: run.iter().map(|w| w.input.clone()).collect(),
            });
        }
        line.count = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
        let query_id = line.query_id;
        // Several lines of one question where one body would be too large.
        let lines: Vec<_> = purposes
            .chunks(PURPOSES_PER_LINE)
            .map(|some| AccessLine {
                purposes: some.to_vec(),
                ..line.clone()
            })
            .collect();
        let access = self.access.clone();
        let begun = blocking(move || {
            let begin = |line| Ok((access.begin(&line)?, line));
            lines.into_iter().map(begin).collect::<Result<Vec<_>, _>>()
        })
        .await?;
        let asked = Asked::default();
        let evaluated = self
            .tokenizer
            .evaluate(&key, query_id, segments, &asked)
            .await;
        let outcome = evaluated.as_ref().map_or_else(Blamed::code, |_| "ok");
        let (access, mut members) = (self.access.clone(), asked.members());
        blocking(move || {
            for (begun, mut line) in begun {
                // The first line says whom the question went to, for all of them.
                line.asked = std::mem::take(&mut members);
                outcome.clone_into(&mut line.outcome);
                access.end(&begun, line)?;
            }
            Ok(())
        })
        .await?;
        let evaluated = evaluated?;
        self.counts
            .evaluated
            .fetch_add(evaluated.len() as u64, Ordering::Relaxed);
        Ok(evaluated)
    }

    fn append(&self, plan: Plan) -> Result<(), PublishError> {
        let mut with = Batch::new();
        // Rows are read, changed and written here: nobody closes one meanwhile.
        let _changing = self.cases.change();
        let ready = plan.entries(&self.ledger, &self.cases, &mut with)?;
        let _taking = self.ledger.taking();
        if !self.ledger.is_queued(&ready.ticket)? {
            // Some of it was retracted meanwhile: the rest is planned again.
            return Ok(());
        }
        let dequeued = self.ledger.dequeue(&ready.ticket, &mut with);
        if !ready.notes.is_empty() {
            self.ledger.keep_notes(&ready.notes, Batch::new())?;
        }
        if ready.entries.is_empty() {
            self.ledger
                .store()
                .commit(with)
                .map_err(LedgerError::from)?;
        } else {
            self.ledger.append(LogName::Records, ready.entries, with)?;
        }
        self.ledger.shred_queued(dequeued)?;
        let add = |counter: &AtomicU64, n: u64| counter.fetch_add(n, Ordering::Relaxed);
        add(&self.counts.records, ready.records);
        add(&self.counts.notices, ready.notices);
        add(&self.counts.amendments, ready.amendments);
        add(&self.counts.known, ready.known);
        add(&self.counts.unchanged, ready.unchanged);
        Ok(())
    }
}

/// What custodians see of a text: its beginning, as long as they take. The
/// whole text is in the purpose, to which the segment commits.
#[must_use]
pub fn segment_text(text: &str) -> String {
    let mut room = SEGMENT_TEXT_BYTES_MAX;
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let taken = plain.map_while(|c| {
        room = room.checked_sub(c.len_utf8())?;
        Some(c)
    });
    taken.collect()
}

/// A token key of the roster as the tokenizer takes it.
fn key_info(key: &TokenKey) -> TokenKeyInfo {
    TokenKeyInfo {
        key_id: key.id,
        class: match key.class {
            TokenClass::Enumerable => v1::TokenClass::Enumerable,
            TokenClass::Open => v1::TokenClass::Open,
        },
        threshold: key.threshold,
        epoch: key.epoch,
        public_key: key.public_key,
        shares: key
            .shares
            .iter()
            .map(|share| (share.member.clone(), share.index, share.public_share))
            .collect(),
    }
}

async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, PublishError> + Send + 'static,
) -> Result<R, PublishError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(PublishError::Ledger(LedgerError::Stopped)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // An offence of 22 Chinese characters once made every custodian refuse the
    // batch, and with it the whole queue for good.
    #[test]
    fn a_long_offence_is_cut_to_what_custodians_take() {
        let cut = segment_text(&"诈".repeat(22));
        assert_eq!(cut, "诈".repeat(21));
        assert_eq!(segment_text(&"a".repeat(64)).len(), 64);
        assert_eq!(segment_text("fraud"), "fraud");
        assert_eq!(segment_text(""), "");
    }
}
