//! The roster log of a node: its own checkpoint over the rosters that it has,
//! the other members' cosignatures on it, and the comparison with theirs. Two
//! members with different rosters of one version find it out here.
//!
//! A member cosigns only what stands in its own chain. The newest note with its
//! lines is in the store; nothing waits for a quorum.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::blame::{Blame, Blamed};
use crate::checkpoint::{CheckpointError, cosignature_of, cosigned_by, witness_name};
use crate::evidence::Evidence;
use crate::ids::{MemberId, TreeSize};
use crate::keys::PublicKey;
use crate::ledger::Ledger;
use crate::replicate::PeerError;
use crate::roster::Roster;
use crate::roster::log::{RosterCheckpoint, origin};
use crate::rosters::Rosters;
use crate::store::{Batch, StoreError, Table};
use crate::wire::v1::{AddCheckpointRequest, AddCheckpointResponse, EvidencePair};

/// The shortest and longest pause between rounds without a quorum.
const RETRY: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(15));
/// How often a new roster is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Members that may fill a note with their lines; a note has 64 at most.
const LINES_MAX: usize = 60;

/// Why a checkpoint of the roster log was not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum RosterLogError {
    /// The note cannot be read, or the caller did not sign it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The caller is no member.
    #[error("{0} is not in the roster")]
    Stranger(MemberId),
    /// Other rosters stand there: evidence is kept.
    #[error("{member} has another history of the rosters up to version {size}")]
    Conflict {
        /// Who has it.
        member: MemberId,
        /// Up to which version.
        size: TreeSize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Blamed for RosterLogError {
    fn blame(&self) -> Blame {
        match self {
            Self::Checkpoint(e) => e.blame(),
            Self::Stranger(_) => Blame::Denied,
            Self::Conflict { .. } => Blame::Misbehaved,
            Self::Store(e) => e.blame(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Checkpoint(e) => e.code(),
            Self::Stranger(_) => "roster_log.stranger",
            Self::Conflict { .. } => "roster_log.conflict",
            Self::Store(e) => e.code(),
        }
    }
}

/// How other members are asked. Implemented by the gRPC client.
pub trait RosterLogTransport: Send + Sync + 'static {
    /// Offers a checkpoint of the roster log to a member.
    fn offer_rosters(
        &self,
        member: &MemberId,
        request: AddCheckpointRequest,
    ) -> impl Future<Output = Result<AddCheckpointResponse, PeerError>> + Send;
}

/// The newest note, and who cosigned it.
#[derive(Clone, Debug, Default)]
struct Newest {
    size: TreeSize,
    note: Bytes,
    by: BTreeSet<MemberId>,
}

/// A node's roster log. One in a node.
#[derive(Debug)]
pub struct RosterLog<T> {
    ledger: Ledger,
    rosters: Rosters,
    evidence: Evidence,
    peers: T,
    newest: Mutex<Newest>,
    witnessed: watch::Sender<TreeSize>,
}

impl<T: RosterLogTransport> RosterLog<T> {
    /// Opens the log with what was gathered before. Blocks.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(ledger: Ledger, rosters: Rosters, peers: T) -> Result<Self, StoreError> {
        let evidence = Evidence::new(ledger.store().clone(), ledger.clock().clone());
        let kept = ledger.store().scan(Table::RosterNotes, b"")?;
        let log = Self {
            ledger,
            rosters,
            evidence,
            peers,
            newest: Mutex::default(),
            witnessed: watch::channel(TreeSize(0)).0,
        };
        for (key, _) in kept {
            let size = key.try_into().map_or(0, u64::from_be_bytes);
            log.witnessed.send_replace(TreeSize(size));
        }
        log.begin()?;
        Ok(log)
    }

    /// Up to which version enough members cosigned the rosters that are here.
    #[must_use]
    pub fn witnessed(&self) -> TreeSize {
        *self.witnessed.borrow()
    }

    /// Tells when more is witnessed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<TreeSize> {
        self.witnessed.subscribe()
    }

    /// The note of the newest version, with the cosignatures that are here; empty
    /// while the roster revokes the key that would sign it.
    #[must_use]
    pub fn note(&self) -> Bytes {
        self.lock().note.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs and cosigns the newest version, if that is not done yet.
    fn begin(&self) -> Result<(), StoreError> {
        let history = self.rosters.history();
        let Some(here) = RosterCheckpoint::of(&history, history.len() as u64) else {
            return Ok(());
        };
        if self.lock().size == here.size {
            return Ok(());
        }
        let kept = self.ledger.store();
        let note = match kept.read(Table::RosterNotes, &here.size.0.to_be_bytes())? {
            Some(note) => note,
            None => self.own_note(&here).map_or_else(Bytes::new, |mut note| {
                note.push_str(&self.ledger.cosign(&here.body()));
                note.into_bytes().into()
            }),
        };
        let by = self.cosigners(&note);
        *self.lock() = Newest {
            size: here.size,
            note,
            by,
        };
        self.settle()
    }

    fn own_note(&self, here: &RosterCheckpoint) -> Option<String> {
        self.ledger.checkpoint_key().ok().map(|key| here.sign(key))
    }

    fn cosigners(&self, note: &[u8]) -> BTreeSet<MemberId> {
        let roster = self.rosters.newest();
        cosigned_by(note, &roster.federation, &roster.roster_witnesses())
            .map(|by| by.into_keys().collect())
            .unwrap_or_default()
    }

    /// Keeps the newest note once enough members cosigned it.
    fn settle(&self) -> Result<(), StoreError> {
        let quorum = self.rosters.newest().policy.witness_quorum;
        let newest = self.lock().clone();
        let enough = quorum > 0 && newest.by.len() as u64 >= u64::from(quorum);
        if !enough || newest.size <= self.witnessed() {
            return Ok(());
        }
        let mut batch = Batch::new();
        let key = newest.size.0.to_be_bytes();
        batch.put(Table::RosterNotes, &key, newest.note.to_vec());
        self.ledger.store().commit(batch)?;
        self.witnessed.send_replace(newest.size);
        tracing::info!(roster.version = newest.size.0, "the roster is witnessed");
        Ok(())
    }

    /// Cosigns another member's checkpoint of the roster log, if the same
    /// versions stand here. The answer has no cosignature, but the own size, when
    /// the caller has more. Blocks.
    ///
    /// # Errors
    /// [`RosterLogError`]; nothing was cosigned then.
    pub fn add_checkpoint(
        &self,
        caller: &MemberId,
        request: &AddCheckpointRequest,
    ) -> Result<AddCheckpointResponse, RosterLogError> {
        let offered = self.compare(caller, &request.checkpoint)?;
        let Some(here) = offered else {
            return Ok(AddCheckpointResponse {
                cosignatures: Bytes::new(),
                seen_size: self.rosters.newest().version,
                seen: Bytes::new(),
            });
        };
        Ok(AddCheckpointResponse {
            cosignatures: self.ledger.cosign(&here.body()).into_bytes().into(),
            seen_size: 0,
            seen: Bytes::new(),
        })
    }

    /// Compares a member's checkpoint of the roster log with the rosters here;
    /// `None` when it speaks of versions that are not here yet. Blocks.
    ///
    /// # Errors
    /// [`RosterLogError::Conflict`] when others stand there: both notes are kept
    /// as evidence.
    pub fn compare(
        &self,
        member: &MemberId,
        note: &Bytes,
    ) -> Result<Option<RosterCheckpoint>, RosterLogError> {
        let roster = self.rosters.newest();
        let found = roster
            .member(member)
            .ok_or_else(|| RosterLogError::Stranger(member.clone()))?;
        let theirs = RosterCheckpoint::open(note, &roster.federation, found.checkpoint_keys())?;
        let history = self.rosters.history();
        let Some(here) = RosterCheckpoint::of(&history, theirs.size.0) else {
            return Ok(None);
        };
        if here == theirs {
            return Ok(Some(here));
        }
        self.evidence.keep(EvidencePair {
            origin: origin(&roster.federation),
            first: self.own_note(&here).unwrap_or_default().into_bytes().into(),
            second: note.clone(),
            found_at: 0,
            source: member.to_string(),
            consistency: vec![],
        })?;
        Err(RosterLogError::Conflict {
            member: member.clone(),
            size: theirs.size,
        })
    }

    /// Has each new version cosigned by the other members until `stop`.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut pause = RETRY.0;
        loop {
            let wait = if self.is_due() { pause } else { LOOK };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = stop.changed() => if changed.is_err() || *stop.borrow() { return },
            }
            if *stop.borrow() {
                return;
            }
            if !self.is_due() {
                pause = RETRY.0;
                continue;
            }
            tokio::select! {
                () = self.round() => pause = (pause * 2).min(RETRY.1),
                _ = stop.changed() => return,
            }
        }
    }

    fn is_due(&self) -> bool {
        let roster = self.rosters.newest();
        roster.policy.witness_quorum > 0 && self.witnessed().0 < roster.version
    }

    /// Asks every other member that has not cosigned yet.
    async fn round(&self) {
        if let Err(e) = self.begin() {
            tracing::error!(error = %e, "the roster log cannot be kept");
            return;
        }
        let roster = self.rosters.newest();
        let asked = self.lock().clone();
        let own = self.ledger.own();
        let others = roster.members.keys();
        for member in others.filter(|id| *id != own && !asked.by.contains(*id)) {
            if asked.note.is_empty() || !self.is_due() {
                return;
            }
            let request = AddCheckpointRequest {
                checkpoint: asked.note.clone(),
                ..Default::default()
            };
            match self.peers.offer_rosters(member, request).await {
                Ok(answer) => self.gather(&roster, member, asked.size, &answer.cosignatures),
                Err(e) if e.blame == Blame::Misbehaved => {
                    tracing::error!(error = %e, "a member refuses to cosign the rosters");
                }
                Err(e) => tracing::debug!(error = %e, "no cosignature on the roster log"),
            }
        }
    }

    /// Takes a member's own line, if it holds for the note that was asked about:
    /// other lines would take the room that other members' lines need.
    fn gather(&self, roster: &Roster, member: &MemberId, size: TreeSize, line: &Bytes) {
        let mut newest = self.lock();
        if line.is_empty() || newest.size != size || newest.by.len() >= LINES_MAX {
            return;
        }
        let keys: Vec<&PublicKey> = roster.witness_keys(member).collect();
        let name = witness_name(&roster.federation, member);
        match cosignature_of(&newest.note, line, &name, &keys) {
            Ok(own) => {
                newest.note = [&newest.note[..], own.as_bytes()].concat().into();
                newest.by.insert(member.clone());
            }
            Err(e) => {
                tracing::warn!(peer.member = %member, error = %e, "no cosignature on the roster log");
                return;
            }
        }
        drop(newest);
        if let Err(e) = self.settle() {
            tracing::error!(error = %e, "the roster log cannot be kept");
        }
    }
}
