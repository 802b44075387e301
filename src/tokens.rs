//! The member's side of tokens: blind values, ask custodians, check their
//! proofs, combine. A custodian that is down, slow, over budget or lying is
//! routed around in the same call while a threshold of others remains.
//!
//! Every batch is sealed with its blinds in the store before it is sent, so
//! that after a crash or an outage the same points are sent again, for which
//! custodians charge once. CPU work runs off the async threads.

mod ask;
mod guess;
mod pending;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::access::Asked;
use crate::blame::{Blame, Blamed};
use crate::clock::{Clock, UnixSeconds};
use crate::ids::{CaseRef, Digest, KeyId, MemberId, QueryId};
use crate::oprf::{Evaluation, KeySet, OprfError};
use crate::shred::{ShredError, ShredKeys, SlotId};
use crate::store::{Batch, Store, StoreError, Table};
use crate::wire::v1::{EvaluateRequest, EvaluateResponse, Segment, TokenClass};

pub use guess::guess_years;
use pending::Pending;

/// Batches of one call that are under way at once.
const CONCURRENT_BATCHES: usize = 2;

/// Why a custodian gave no usable answer, as the transport saw it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TransportError {
    /// It could not be reached in time.
    #[error("unreachable: {reason}")]
    Unreachable {
        /// What went wrong, for the log.
        reason: String,
    },
    /// It answered with a refusal.
    #[error("refused: {code}")]
    Refused {
        /// The stable code of the refusal.
        code: String,
        /// Who has to act, as the custodian sees it.
        blame: Blame,
    },
}

/// Carries an evaluation request to a custodian and its answer back, and
/// bounds how long that takes.
pub trait CustodianTransport: Send + Sync {
    /// Asks `member`. Dropping the future gives the question up.
    fn evaluate(
        &self,
        member: &MemberId,
        request: EvaluateRequest,
    ) -> impl Future<Output = Result<EvaluateResponse, TransportError>> + Send;
}

impl<T: CustodianTransport> CustodianTransport for Arc<T> {
    fn evaluate(
        &self,
        member: &MemberId,
        request: EvaluateRequest,
    ) -> impl Future<Output = Result<EvaluateResponse, TransportError>> + Send {
        T::evaluate(self, member, request)
    }
}

/// A token key as the roster in force has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKeyInfo {
    /// Its id.
    pub key_id: KeyId,
    /// Which kinds it serves.
    pub class: TokenClass,
    /// How many custodians are needed.
    pub threshold: u16,
    /// The share epoch in force.
    pub epoch: u32,
    /// Y.
    pub public_key: [u8; 32],
    /// Custodian, index and Y_i.
    pub shares: Vec<(MemberId, u16, [u8; 32])>,
}

/// Values of one case, and why they are asked for.
#[derive(Clone)]
pub struct SegmentInput {
    /// The case.
    pub case_ref: CaseRef,
    /// The offence class, at most 64 bytes.
    pub offence_class: String,
    /// The urgency, at most 64 bytes.
    pub urgency: String,
    /// The salted commitment to the purpose.
    pub purpose_commitment: Digest,
    /// One OPRF input a value.
    pub inputs: Vec<Vec<u8>>,
}

impl std::fmt::Debug for SegmentInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentInput")
            .field("case_ref", &self.case_ref)
            .field("inputs", &self.inputs.len())
            .finish_non_exhaustive()
    }
}

/// One custodian that gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Which custodian.
    pub member: MemberId,
    /// `unreachable`, the code of its refusal, or that of its lie.
    pub code: String,
}

/// A custodian's answer that its proof or form convicts; the question and the
/// answer stand in the store's evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accusation {
    /// Which custodian.
    pub member: MemberId,
    /// What was wrong.
    pub error: OprfError,
    /// When.
    pub at: UnixSeconds,
}

/// Why values were not tokenized; nothing is lost, the same call may be made again.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// Fewer than `want` custodians gave a valid answer.
    #[error("{got} of {want} needed custodians answered ({})", names(.silent))]
    TooFew {
        /// Valid answers.
        got: usize,
        /// The threshold.
        want: usize,
        /// Who did not answer, and why.
        silent: Vec<Silent>,
    },
    /// The token key of the roster is not usable, or an input is too long.
    #[error(transparent)]
    Oprf(#[from] OprfError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The erasable keys failed.
    #[error(transparent)]
    Shred(#[from] ShredError),
    /// The process is stopping.
    #[error("the node is stopping")]
    Stopped,
}

fn names(silent: &[Silent]) -> String {
    silent
        .iter()
        .map(|s| format!("{}: {}", s.member, s.code))
        .collect::<Vec<_>>()
        .join(", ")
}

impl Blamed for TokensError {
    fn blame(&self) -> Blame {
        match self {
            Self::TooFew { .. } | Self::Stopped => Blame::Unavailable,
            Self::Oprf(e) => e.blame(),
            Self::Store(e) => e.blame(),
            Self::Shred(e) => e.blame(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooFew { .. } => "tokens.too_few",
            Self::Oprf(e) => e.code(),
            Self::Store(e) => e.code(),
            Self::Shred(e) => e.code(),
            Self::Stopped => "tokens.stopped",
        }
    }
}

/// Turns values into tokens with the help of custodians.
pub struct Tokenizer<T> {
    store: Store,
    clock: Clock,
    shred: Arc<ShredKeys>,
    transport: T,
    standing: Mutex<ask::Standing>,
}

impl<T> std::fmt::Debug for Tokenizer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl<T> Tokenizer<T> {
    /// Makes a tokenizer whose pending batches stand in `store` under keys of `shred`.
    #[must_use]
    pub fn new(store: Store, clock: Clock, shred: Arc<ShredKeys>, transport: T) -> Self {
        let standing = Mutex::new(ask::Standing::default());
        Self {
            store,
            clock,
            shred,
            transport,
            standing,
        }
    }

    /// Takes what custodians were convicted of since the last call.
    pub fn take_accusations(&self) -> Vec<Accusation> {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.take_accusations()
    }
}

impl<T: CustodianTransport> Tokenizer<T> {
    /// Evaluates every input of every segment; one [`Evaluation`] an input, in
    /// order. An input that occurs twice is evaluated once. Batches that an
    /// earlier, failed call left pending are taken up again, so this is to be
    /// called with the same inputs until it succeeds. Every request to a
    /// custodian is noted in `noted`. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`TokensError`].
    pub async fn evaluate(
        &self,
        key: &TokenKeyInfo,
        request_id: QueryId,
        segments: Vec<SegmentInput>,
        noted: &Asked,
    ) -> Result<Vec<Evaluation>, TokensError> {
        let shares: Vec<_> = key
            .shares
            .iter()
            .map(|(_, index, y)| (*index, *y))
            .collect();
        let keys = Arc::new(KeySet::new(
            key.threshold,
            key.epoch,
            &key.public_key,
            &shares,
        )?);
        let wanted = unique(&segments);
        let batches = self.batches(key, &wanted).await?;
        let mut asked = Vec::with_capacity(batches.len());
        for batch in &batches {
            let template = self.request(key, request_id, &segments, &wanted, batch);
            asked.push(self.ask(key, Arc::clone(&keys), Arc::clone(batch), template, noted));
        }
        let evaluated: Vec<Vec<Evaluation>> = stream::iter(asked)
            .buffered(CONCURRENT_BATCHES)
            .try_collect()
            .await?;
        let places = batches.iter().map(|batch| batch.at().to_vec()).collect();
        self.drop_batches(places).await?;
        let by_input: HashMap<&[u8], Evaluation> = batches
            .iter()
            .zip(evaluated)
            .flat_map(|(batch, results)| batch.inputs().iter().map(Vec::as_slice).zip(results))
            .collect();
        segments
            .iter()
            .flat_map(|segment| &segment.inputs)
            .map(|input| {
                by_input
                    .get(input.as_slice())
                    .cloned()
                    .ok_or(TokensError::Stopped)
            })
            .collect()
    }

    /// The batches that cover `wanted`: those that are still pending, and new
    /// ones for the rest, which are durable when this returns.
    async fn batches(
        &self,
        key: &TokenKeyInfo,
        wanted: &HashMap<Vec<u8>, usize>,
    ) -> Result<Vec<Arc<Pending>>, TokensError> {
        let mut batches = vec![];
        let mut covered: HashSet<Vec<u8>> = HashSet::new();
        let mut unwanted = vec![];
        for (at, found) in self.pending(key.key_id.as_bytes().to_vec()).await? {
            let fits = |input: &Vec<u8>| wanted.contains_key(input) && !covered.contains(input);
            match found {
                Some(found) if found.epoch() == key.epoch && found.inputs().iter().all(fits) => {
                    covered.extend(found.inputs().iter().cloned());
                    batches.push(Arc::new(found));
                }
                // Only budget is lost: the values that are wanted wait upstream.
                _ => unwanted.push(at),
            }
        }
        self.drop_batches(unwanted).await?;
        let mut rest: Vec<(usize, Vec<u8>)> = wanted
            .iter()
            .filter(|(input, _)| !covered.contains(*input))
            .map(|(input, position)| (*position, input.clone()))
            .collect();
        rest.sort_unstable();
        let rest: Vec<Vec<u8>> = rest.into_iter().map(|(_, input)| input).collect();
        let (key_id, epoch, now) = (key.key_id, key.epoch, self.clock.now());
        let (store, shred) = (self.store.clone(), Arc::clone(&self.shred));
        let made = run(move || -> Result<_, TokensError> {
            let made = pending::make(key_id, epoch, now, rest)?;
            let mut changes = Batch::new();
            for batch in &made {
                changes.put(Table::PendingBatch, batch.at(), batch.sealed(&shred)?);
            }
            shred.sync()?;
            store.commit(changes)?;
            Ok(made)
        });
        batches.extend(made.await??.into_iter().map(Arc::new));
        Ok(batches)
    }

    /// The stored batches whose keys begin with `prefix`, each with its key; one
    /// that cannot be opened any more is `None`.
    async fn pending(
        &self,
        prefix: Vec<u8>,
    ) -> Result<Vec<(Vec<u8>, Option<Pending>)>, TokensError> {
        let (store, shred) = (self.store.clone(), Arc::clone(&self.shred));
        run(move || {
            let stored = store.scan(Table::PendingBatch, &prefix)?.into_iter();
            let open = |(at, sealed): (Vec<u8>, Bytes)| {
                let found = Pending::open(&shred, &at, &sealed);
                (at, found)
            };
            Ok(stored.map(open).collect())
        })
        .await?
    }

    /// Drops pending batches with an input that is not wanted any more, and
    /// their keys: what was retracted does not wait for an answer.
    ///
    /// # Errors
    /// [`TokensError::Store`] or [`TokensError::Shred`].
    pub async fn keep_only(&self, wanted: &HashSet<Vec<u8>>) -> Result<(), TokensError> {
        let mut unwanted = vec![];
        for (at, found) in self.pending(vec![]).await? {
            if !found.is_some_and(|found| found.inputs().iter().all(|i| wanted.contains(i))) {
                unwanted.push(at);
            }
        }
        self.drop_batches(unwanted).await
    }

    /// Destroys the keys of batches, then removes the batches: one whose key is
    /// gone is dropped by whoever reads it next.
    async fn drop_batches(&self, places: Vec<Vec<u8>>) -> Result<(), TokensError> {
        if places.is_empty() {
            return Ok(());
        }
        let (store, shred) = (self.store.clone(), Arc::clone(&self.shred));
        run(move || {
            let mut batch = Batch::new();
            let mut slots: Vec<SlotId> = vec![];
            for at in &places {
                let sealed = store.read(Table::PendingBatch, at)?;
                let slot = sealed.and_then(|sealed| pending::slot_of(&sealed));
                slots.extend(slot.filter(|slot| slot.0 < shred.len()));
                batch.delete(Table::PendingBatch, at);
            }
            shred.destroy(&slots)?;
            Ok(store.commit(batch)?)
        })
        .await?
    }

    /// The request for one batch, but for its recipient and expiry.
    fn request(
        &self,
        key: &TokenKeyInfo,
        request_id: QueryId,
        segments: &[SegmentInput],
        wanted: &HashMap<Vec<u8>, usize>,
        batch: &Pending,
    ) -> EvaluateRequest {
        let mut counts = vec![0u32; segments.len()];
        for input in batch.inputs() {
            let segment = wanted
                .get(input)
                .and_then(|position| segment_of(segments, *position));
            if let Some(count) = segment.and_then(|segment| counts.get_mut(segment)) {
                *count = count.saturating_add(1);
            }
        }
        let counted = segments.iter().zip(counts).filter(|(_, count)| *count > 0);
        EvaluateRequest {
            request_id: request_id.as_bytes().to_vec().into(),
            recipient: String::new(),
            key_id: key.key_id.as_bytes().to_vec().into(),
            epoch: key.epoch,
            expires_at: self.clock.now().saturating_add(ask::REQUEST_LIFE_S),
            segments: counted
                .map(|(segment, count)| Segment {
                    case_ref: segment.case_ref.as_bytes().to_vec().into(),
                    offence_class: segment.offence_class.clone(),
                    urgency: segment.urgency.clone(),
                    purpose_commitment: segment.purpose_commitment.as_bytes().to_vec().into(),
                    count,
                })
                .collect(),
            points: batch.points().bytes().to_vec().into(),
        }
    }
}

/// Each different input with the position of its first occurrence.
fn unique(segments: &[SegmentInput]) -> HashMap<Vec<u8>, usize> {
    let mut first = HashMap::new();
    for (position, input) in segments.iter().flat_map(|s| &s.inputs).enumerate() {
        first.entry(input.clone()).or_insert(position);
    }
    first
}

/// The segment in which the input at `position` stands.
fn segment_of(segments: &[SegmentInput], position: usize) -> Option<usize> {
    let mut end = 0;
    segments.iter().position(|segment| {
        end += segment.inputs.len();
        position < end
    })
}

/// Runs CPU work off the async threads.
async fn run<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, TokensError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| TokensError::Stopped)
}
