//! Following other members' logs: one task a member watches its owner, pulls
//! what is new, falls back to jittered polling, and to relays when the owner
//! is out of reach. It owns the state that is shown for each member.

mod alarms;
mod bodies;
mod generations;
mod standing;
mod views;
mod witnessed;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::blame::{Blame, Blamed};
use crate::clock::UnixSeconds;
use crate::ids::{LogIndex, LogName, MemberId, Origin, TreeSize, random};
use crate::ledger::{Ledger, LedgerError, Log};
use crate::roster::{Member, Roster};
use crate::wire::v1;

pub use alarms::{Alarm, Alarms};
pub use bodies::{BODIES_ASKED_MAX, RANGES_MAX};
pub use views::{Looked, SHOWN_MAX, Shown};

/// Seconds between polls while nothing is watched, before jitter.
const POLL_S: u64 = 20;
/// The shortest and longest pause after a failure, in milliseconds.
const RETRY_MS: (u64, u64) = (200, 15_000);
/// Chunks that may wait between the wire and the verifier.
const CHUNKS_AHEAD: usize = 2;
/// Pulls that a node runs at once.
const PULLS_MAX: usize = 3;

/// Why a peer could not be asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{member}: {sentence}")]
pub struct PeerError {
    /// Who was asked.
    pub member: MemberId,
    /// What happened, in words.
    pub sentence: String,
    /// Its class.
    pub blame: Blame,
    /// Its stable code.
    pub code: String,
}

/// How other members' nodes are asked. Implemented by the gRPC client.
pub trait PeerTransport: Send + Sync + 'static {
    /// Streams the new checkpoints of a member's own records log.
    fn watch(
        &self,
        member: &MemberId,
    ) -> impl Future<
        Output = Result<mpsc::Receiver<Result<v1::CheckpointNotice, PeerError>>, PeerError>,
    > + Send;
    /// Streams the chunks of a log from an index.
    fn pull(
        &self,
        member: &MemberId,
        origin: &Origin,
        start: LogIndex,
    ) -> impl Future<Output = Result<mpsc::Receiver<Result<v1::Chunk, PeerError>>, PeerError>> + Send;
    /// The newest checkpoint of a log that a member holds.
    fn checkpoint(
        &self,
        member: &MemberId,
        origin: &Origin,
    ) -> impl Future<Output = Result<v1::CheckpointNotice, PeerError>> + Send;
    /// The newest checkpoint of every records log that a member holds, and what
    /// its node speaks.
    fn checkpoints(
        &self,
        member: &MemberId,
    ) -> impl Future<Output = Result<v1::ListCheckpointsResponse, PeerError>> + Send;
    /// The proof that a log's first `old` entries are the start of its first
    /// `size`, as a member tells it.
    fn consistency(
        &self,
        member: &MemberId,
        origin: &Origin,
        old: TreeSize,
        size: TreeSize,
    ) -> impl Future<Output = Result<v1::GetConsistencyResponse, PeerError>> + Send;
    /// Streams the bodies of a log.
    fn bodies(
        &self,
        member: &MemberId,
        origin: &Origin,
        ranges: Vec<(u64, u64)>,
    ) -> impl Future<Output = Result<mpsc::Receiver<Result<v1::BodyChunk, PeerError>>, PeerError>> + Send;
}

/// Why a pull stopped.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The source could not be asked, or broke off.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// What it sent was refused, or could not be kept.
    #[error("from {from}: {source}")]
    Refused {
        /// Who sent it.
        from: MemberId,
        /// Why it was refused.
        source: LedgerError,
    },
}

impl PullError {
    fn is_misbehaviour(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.blame() == Blame::Misbehaved)
    }
}

/// What is shown about the replica of one member's log.
#[derive(Clone, Debug, Default)]
pub struct ReplicaState {
    /// Whether the owner is being watched right now.
    pub watching: bool,
    /// When the replica was last known to be complete, in Unix seconds.
    pub fresh_at: Option<UnixSeconds>,
    /// The last failure, in words.
    pub trouble: Option<String>,
    /// What was signed or sent wrong, and when that began and ended.
    pub alarms: Alarms,
}

/// Counts since the node started.
#[derive(Debug, Default)]
pub struct ReplicateCounts {
    /// Foreign entries whose signatures were verified on receipt.
    pub verified: AtomicU64,
    /// Chunks that were refused for a wrong signature, order or root.
    pub refused: AtomicU64,
    /// Bodies that were received and checked.
    pub bodies: AtomicU64,
}

/// Keeps replicas of the other members' logs. One runs in a node.
#[derive(Debug)]
pub struct Replicator<P> {
    ledger: Ledger,
    roster: Arc<ArcSwap<Roster>>,
    peers: P,
    states: RwLock<BTreeMap<MemberId, ReplicaState>>,
    changed: watch::Sender<u64>,
    /// Grows when bodies are to be asked for again.
    reopened: watch::Sender<u64>,
    pulls: Semaphore,
    shown: tokio::sync::Mutex<mpsc::Receiver<Shown>>,
    /// Counts since the start.
    pub counts: ReplicateCounts,
}

impl<P: PeerTransport> Replicator<P> {
    /// Makes a replicator that follows nobody yet; `shown` is what `peers` hands
    /// on of the checkpoints that come with answers.
    #[must_use]
    pub fn new(
        ledger: Ledger,
        roster: Arc<ArcSwap<Roster>>,
        peers: P,
        shown: mpsc::Receiver<Shown>,
    ) -> Self {
        let (changed, _) = watch::channel(0);
        Self {
            ledger,
            roster,
            peers,
            states: RwLock::default(),
            changed,
            reopened: watch::channel(0).0,
            pulls: Semaphore::new(PULLS_MAX),
            shown: tokio::sync::Mutex::new(shown),
            counts: ReplicateCounts::default(),
        }
    }

    /// How the peers are asked.
    pub fn peers(&self) -> &P {
        &self.peers
    }

    /// What is known about each member's replica.
    #[must_use]
    pub fn states(&self) -> BTreeMap<MemberId, ReplicaState> {
        self.states
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A number that grows whenever a replica or its state changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn note(&self, member: &MemberId, change: impl FnOnce(&mut ReplicaState)) {
        let mut states = self.states.write().unwrap_or_else(PoisonError::into_inner);
        change(states.entry(member.clone()).or_default());
        drop(states);
        self.changed.send_modify(|n| *n += 1);
    }

    /// Follows every other member of the roster until `stop`; members that a
    /// new roster adds are followed from then on.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut tasks = tokio::task::JoinSet::new();
        let mut followed = std::collections::HashSet::new();
        let mut version = 0;
        loop {
            let roster = self.roster.load_full();
            if std::mem::replace(&mut version, roster.version) != roster.version {
                self.reopen_after_move().await;
            }
            for id in roster.other_nodes(self.ledger.own()) {
                if followed.insert(id.clone()) {
                    tasks.spawn(Arc::clone(&self).follow(id.clone(), stop.clone()));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                changed = stop.changed() => if changed.is_err() || *stop.borrow() { break },
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn follow(self: Arc<Self>, member: MemberId, mut stop: watch::Receiver<bool>) {
        let mut pause_ms = RETRY_MS.0;
        loop {
            let followed = tokio::select! {
                followed = self.watch_once(&member) => followed,
                changed = stop.changed() => {
                    if changed.is_err() || *stop.borrow() { return }
                    continue;
                }
            };
            let progress = self.settle(&member, followed);
            if progress {
                pause_ms = RETRY_MS.0;
            }
            tokio::select! {
                () = self.pull_from_relays(&member) => {}
                _ = stop.changed() => {}
            }
            let pause = Duration::from_millis(jitter(pause_ms));
            pause_ms = (pause_ms * 2).min(RETRY_MS.1);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = stop.changed() => if changed.is_err() || *stop.borrow() { return },
            }
            if *stop.borrow() {
                return;
            }
        }
    }

    /// Records how a watch ended; true when it had got anywhere.
    fn settle(&self, member: &MemberId, followed: (bool, Option<PullError>)) -> bool {
        let (progress, error) = followed;
        if let Some(error) = error {
            let misbehaved = error.is_misbehaviour();
            if let PullError::Refused {
                source: LedgerError::Forked(origin),
                ..
            } = &error
            {
                self.stopped(origin);
                return progress;
            }
            if misbehaved {
                self.counts.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(peer.member = %member, error = %error, "refused what a peer sent");
            } else {
                tracing::debug!(peer.member = %member, error = %error, "a peer is out of reach");
            }
            let now = self.ledger.clock().now();
            let about = self.roster.load().origin(member, LogName::Records);
            self.note(member, |state| {
                state.watching = false;
                state.trouble = Some(error.to_string());
                if misbehaved && about.is_some() {
                    state.alarms.raise(about, error.to_string(), now);
                }
            });
        }
        progress
    }

    async fn watch_once(&self, member: &MemberId) -> (bool, Option<PullError>) {
        let mut progress = false;
        self.pull_ended(member).await;
        if let Err(e) = self.unforked(member) {
            return (progress, Some(e));
        }
        let mut notices = match self.peers.watch(member).await {
            Ok(notices) => notices,
            Err(e) => return (progress, Some(e.into())),
        };
        let mut witnessed = Bytes::new();
        let mut reopened = self.reopened.subscribe();
        let mut announced = false;
        loop {
            self.pull_ended(member).await;
            if let Err(e) = self.pull_member(member, member).await {
                return (progress, Some(e));
            }
            if let Err(e) = self.take_witnessed(member, member, &witnessed).await {
                return (progress, Some(e));
            }
            progress = true;
            self.look_at_refused(member).await;
            let origin = self.roster.load().origin(member, LogName::Records);
            // The log was followed to its end, and what was announced holds.
            if let Some(origin) = origin.filter(|_| announced) {
                self.absolve(member, &origin);
            }
            let now = self.ledger.clock().now();
            self.note(member, |state| {
                state.watching = true;
                state.fresh_at = Some(now);
                state.trouble = None;
            });
            let poll = Duration::from_secs(jitter(POLL_S));
            let next = tokio::select! {
                next = tokio::time::timeout(poll, notices.recv()) => next,
                _ = reopened.changed() => continue,
            };
            match next {
                Err(_) => {}
                Ok(Some(Ok(notice))) => {
                    let mut newest = notice;
                    while let Ok(Ok(newer)) = notices.try_recv() {
                        newest = newer;
                    }
                    witnessed = newest.witnessed.clone();
                    self.heard(member, newest.software.take()).await;
                    if let Err(e) = self.announced(member, newest).await {
                        return (progress, Some(e));
                    }
                    announced = true;
                }
                Ok(Some(Err(e))) => return (progress, Some(e.into())),
                Ok(None) => return (progress, None),
            }
        }
    }

    /// Keeps what a member's node says that it runs and speaks.
    async fn heard(&self, member: &MemberId, software: Option<v1::Software>) {
        let Some(software) = software else { return };
        let (spoken, of) = (self.ledger.spoken().clone(), member.clone());
        let kept = tokio::task::spawn_blocking(move || spoken.hear(&of, &software));
        if let Ok(Err(e)) = kept.await {
            tracing::warn!(peer.member = %member, error = %e, "what a peer speaks is not kept");
        }
    }

    /// A log whose owner is proven to have signed two histories is let be.
    fn unforked(&self, member: &MemberId) -> Result<(), PullError> {
        let Some(origin) = self.roster.load().origin(member, LogName::Records) else {
            return Ok(());
        };
        match self.ledger.is_forked(&origin) {
            Ok(true) => Err(PullError::Refused {
                from: member.clone(),
                source: LedgerError::Forked(origin),
            }),
            Ok(false) | Err(_) => Ok(()),
        }
    }

    /// Checks a checkpoint that the owner announced against what is held.
    async fn announced(
        &self,
        member: &MemberId,
        notice: v1::CheckpointNotice,
    ) -> Result<(), PullError> {
        let roster = self.roster.load_full();
        let (Some(author), Some(origin)) = (
            roster.member(member),
            roster.origin(member, LogName::Records),
        ) else {
            return Ok(());
        };
        let refused = |source| PullError::Refused {
            from: member.clone(),
            source,
        };
        if notice.origin != origin.to_string() {
            // One of us has an older roster, with another generation of the log.
            return Ok(());
        }
        let log = self.ledger.replica(&origin).map_err(refused)?;
        let author = Arc::new(author.clone());
        self.blocking(&log, &author, move |ledger, log, author| {
            ledger.accept_checkpoint(log, author, &notice.checkpoint)
        })
        .await
        .map_err(refused)?;
        Ok(())
    }

    async fn pull_from_relays(&self, member: &MemberId) {
        let roster = self.roster.load_full();
        for relay in roster.other_nodes(self.ledger.own()) {
            if relay == member {
                continue;
            }
            if self.unforked(member).is_err() {
                return;
            }
            let pulled = match self.pull_member(member, relay).await {
                Ok(new) => self.witnessed_from(member, relay).await.map(|()| new),
                Err(e) => Err(e),
            };
            match pulled {
                Ok(true) => {
                    self.look_at_refused(member).await;
                    self.note(member, |_| {});
                    return;
                }
                Ok(false) => {}
                Err(PullError::Refused { from, source })
                    if source.blame() == Blame::Misbehaved
                        && !matches!(source, LedgerError::Forked(_)) =>
                {
                    if let Some(about) = roster.origin(member, LogName::Records) {
                        self.blame(&from, &about, &source);
                    }
                }
                Err(e) => {
                    self.settle(member, (false, Some(e)));
                }
            }
        }
    }

    /// Pulls what `from` has of `member`'s records log: entries, then bodies.
    /// Says whether there was anything new.
    ///
    /// # Errors
    /// [`PullError`]; what was accepted before stays.
    pub async fn pull_member(&self, member: &MemberId, from: &MemberId) -> Result<bool, PullError> {
        self.unforked(member)?;
        let roster = self.roster.load_full();
        let (Some(author), Some(origin)) = (
            roster.member(member),
            roster.origin(member, LogName::Records),
        ) else {
            return Ok(false);
        };
        let author = Arc::new(author.clone());
        self.pull_log(&author, &origin, from).await
    }

    /// As [`Replicator::pull_member`], one log of whatever generation.
    async fn pull_log(
        &self,
        author: &Arc<Member>,
        origin: &Origin,
        from: &MemberId,
    ) -> Result<bool, PullError> {
        let Ok(_turn) = self.pulls.acquire().await else {
            return Ok(false);
        };
        let refused = |source| PullError::Refused {
            from: from.clone(),
            source,
        };
        let log = self.ledger.replica(origin).map_err(refused)?;
        let before = log.size();
        let mut chunks = self.peers.pull(from, origin, LogIndex(before.0)).await?;
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk?;
            let note = chunk.checkpoint.clone();
            let accepted = self
                .blocking(&log, author, move |ledger, log, author| {
                    ledger.accept_chunk(log, author, chunk)
                })
                .await;
            let accepted = match accepted {
                // Either the sender changed something, or the author signed
                // another history: a proof tells.
                Err(source @ LedgerError::Root { .. }) => {
                    let ended = author.frozen_at(origin).is_some();
                    if ended && self.restart_ended(&log, author, before).await {
                        return Ok(false);
                    }
                    let looked = self.look(from, origin, &note, true).await;
                    return Err(refused(match looked {
                        Looked::Conflict => LedgerError::Forked(origin.clone()),
                        Looked::Fits | Looked::Unproven | Looked::Refused => source,
                    }));
                }
                other => other.map_err(refused)?,
            };
            self.counts
                .verified
                .fetch_add(accepted.entries, Ordering::Relaxed);
            self.changed.send_modify(|n| *n += 1);
        }
        let fetched = self.fetch_bodies(&log, author, from).await?;
        // Of an owner more is judged than what is pulled: see `watch_once`.
        if *from != author.id {
            self.absolve(from, origin);
        }
        Ok(fetched || log.size() > before)
    }

    async fn blocking<R: Send + 'static>(
        &self,
        log: &Arc<Log>,
        author: &Arc<Member>,
        work: impl FnOnce(&Ledger, &Log, &Member) -> Result<R, LedgerError> + Send + 'static,
    ) -> Result<R, LedgerError> {
        let (ledger, log, author) = (self.ledger.clone(), Arc::clone(log), Arc::clone(author));
        let done = tokio::task::spawn_blocking(move || work(&ledger, &log, &author)).await;
        done.unwrap_or(Err(LedgerError::Stopped))
    }
}

/// A stream's buffer between the wire and the verifier.
#[must_use]
pub fn chunk_channel<T>() -> (mpsc::Sender<T>, mpsc::Receiver<T>) {
    mpsc::channel(CHUNKS_AHEAD)
}

/// Half to one and a half times `base`, so that nodes do not move in step.
fn jitter(base: u64) -> u64 {
    let [byte] = random::<1>();
    base / 2 + base * u64::from(byte) / 255
}

/// The checkpoint note of a notice.
#[must_use]
pub fn notice_of(origin: &Origin, checkpoint: Bytes) -> v1::CheckpointNotice {
    v1::CheckpointNotice {
        origin: origin.to_string(),
        checkpoint,
        ..Default::default()
    }
}
