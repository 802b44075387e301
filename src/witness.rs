//! A witness of other members' logs (C2SP tlog-witness): cosigns a checkpoint
//! when it extends the last one that this node cosigned of that log, and never
//! two that do not. It sees checkpoints only, of both logs of each member that
//! the newest roster assigns to this node.
//!
//! One lock a log. What was cosigned is in the store, synced, before the
//! signature leaves, so that a restart forgets nothing that a caller may hold.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;

use crate::blame::{Blame, Blamed};
use crate::checkpoint::{
    Checkpoint, CheckpointError, CheckpointText, SignedNote, cosign, witness_name,
};
use crate::clock::UnixSeconds;
use crate::ids::{Digest, MemberId, Origin, TreeSize};
use crate::keys::PublicKey;
use crate::ledger::Ledger;
use crate::merkle::{MerkleError, empty_root, verify_consistency};
use crate::roster::Roster;
use crate::store::{Batch, StoreError, Table};
use crate::wire::v1::{AddCheckpointRequest, AddCheckpointResponse, EvidencePair};

/// The largest note that a witness reads, in bytes: a log's own has some 200.
pub const OFFERED_BYTES_MAX: usize = 4 * 1024;
/// The most hashes of a consistency proof: two a level of the largest tree.
pub const PROOF_HASHES_MAX: usize = 128;

/// As `old_size`: nothing is to be cosigned, the caller asks what was seen.
pub const ASK_SEEN: u64 = u64::MAX;

/// Why a checkpoint was not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The request is over a limit.
    #[error("the request has {got} {what}, over the limit of {max}")]
    TooBig {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        got: usize,
        /// How much there may be.
        max: usize,
    },
    /// A hash does not have 32 bytes, or the note names no log.
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    /// The note cannot be read, or its log did not sign it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log is another member's than the caller's.
    #[error("{caller} offered a checkpoint of {origin}, which is not its own log")]
    NotOwnLog {
        /// Who called.
        caller: MemberId,
        /// The log.
        origin: String,
    },
    /// The roster does not make this node a witness of the caller.
    #[error("the newest roster here does not make this node a witness of {0}")]
    NotAssigned(MemberId),
    /// The roster names another generation of the log.
    #[error("the newest roster here names another generation than that of {0}")]
    OtherGeneration(Origin),
    /// The log is proven to contradict itself.
    #[error(
        "{0} contradicts itself: nothing of it is cosigned until the roots begin a new generation"
    )]
    Forked(Origin),
    /// It is smaller than what was cosigned last, and the caller knows it.
    #[error("a checkpoint of {got} entries, after one of {seen} was cosigned")]
    Smaller {
        /// The size cosigned last.
        seen: TreeSize,
        /// The size offered.
        got: TreeSize,
    },
    /// It contradicts the checkpoint that was cosigned last: evidence is kept.
    #[error("the checkpoint of {0} contradicts the one that was cosigned last")]
    Conflict(Origin),
    /// The proof does not lead from what was cosigned last.
    #[error("the consistency proof does not hold: {0}")]
    Proof(MerkleError),
    /// The store failed; nothing was cosigned.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Blamed for WitnessError {
    fn blame(&self) -> Blame {
        match self {
            Self::TooBig { .. }
            | Self::Malformed(_)
            | Self::Forked(_)
            | Self::Smaller { .. }
            | Self::Conflict(_)
            | Self::Proof(_) => Blame::Misbehaved,
            Self::Checkpoint(e) => e.blame(),
            Self::NotOwnLog { .. } | Self::NotAssigned(_) => Blame::Denied,
            Self::OtherGeneration(_) => Blame::Stale,
            Self::Store(e) => e.blame(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooBig { .. } => "witness.too_big",
            Self::Malformed(_) => "witness.malformed",
            Self::Checkpoint(e) => e.code(),
            Self::NotOwnLog { .. } => "witness.not_own_log",
            Self::NotAssigned(_) => "witness.not_assigned",
            Self::OtherGeneration(_) => "witness.other_generation",
            Self::Forked(_) => "witness.forked",
            Self::Smaller { .. } => "witness.smaller",
            Self::Conflict(_) => "witness.conflict",
            Self::Proof(_) => "witness.proof",
            Self::Store(e) => e.code(),
        }
    }
}

/// Counts since the node started.
#[derive(Debug, Default)]
pub struct WitnessCounts {
    /// Checkpoints that were cosigned.
    pub cosigned: AtomicU64,
    /// Checkpoints that were refused.
    pub refused: AtomicU64,
}

/// What was cosigned last of one log.
#[derive(Clone, Debug)]
struct Seen {
    size: TreeSize,
    root: Digest,
    /// Empty before the first.
    note: Bytes,
}

/// A node's witness. One in a node.
#[derive(Debug)]
pub struct Witness {
    ledger: Ledger,
    roster: Arc<ArcSwap<Roster>>,
    turns: Mutex<HashMap<Origin, Arc<Mutex<()>>>>,
    newest_time: AtomicI64,
    /// Counts since the start.
    pub counts: WitnessCounts,
}

impl Witness {
    /// Opens the witness of a node with what it cosigned before. Its clock never
    /// goes back behind a time that it signed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(ledger: Ledger, roster: Arc<ArcSwap<Roster>>) -> Result<Self, StoreError> {
        let mut newest = 0;
        for (_, value) in ledger.store().scan(Table::Cosigned, b"")? {
            newest = decode(&value)?.0.max(newest);
        }
        Ok(Self {
            ledger,
            roster,
            turns: Mutex::default(),
            newest_time: AtomicI64::new(newest),
            counts: WitnessCounts::default(),
        })
    }

    /// Cosigns a checkpoint that `caller` offers of one of its own logs. The
    /// answer has no cosignature, but the size that was cosigned last, when that
    /// is another than the caller thinks. Blocks; durable before it returns.
    ///
    /// # Errors
    /// [`WitnessError`]; nothing was cosigned then.
    pub fn add_checkpoint(
        &self,
        caller: &MemberId,
        request: &AddCheckpointRequest,
    ) -> Result<AddCheckpointResponse, WitnessError> {
        let answer = self.consider(caller, request);
        match &answer {
            Ok(answer) if answer.cosignatures.is_empty() => {}
            Ok(_) => _ = self.counts.cosigned.fetch_add(1, Ordering::Relaxed),
            Err(_) => _ = self.counts.refused.fetch_add(1, Ordering::Relaxed),
        }
        answer
    }

    fn consider(
        &self,
        caller: &MemberId,
        request: &AddCheckpointRequest,
    ) -> Result<AddCheckpointResponse, WitnessError> {
        check_limits(request)?;
        let offered = self.open_offered(caller, &request.checkpoint)?;
        let proof = request
            .consistency
            .iter()
            .map(|hash| Digest::from_slice(hash))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| WitnessError::Malformed("a proof hash does not have 32 bytes"))?;
        let turn = self.turn_of(&offered.origin);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if request.old_size == ASK_SEEN {
            let seen = self.seen(&offered.origin)?;
            return Ok(AddCheckpointResponse {
                cosignatures: Bytes::new(),
                seen_size: seen.size.0,
                seen: seen.note,
            });
        }
        if self
            .ledger
            .evidence()
            .is_against(&offered.origin.to_string())?
        {
            return Err(WitnessError::Forked(offered.origin));
        }
        let seen = self.seen(&offered.origin)?;
        if seen.size.0 > 0 && offered.size == seen.size && offered.root != seen.root {
            return Err(self.conflict(&seen, &offered, request, vec![])?);
        }
        if request.old_size != seen.size.0 {
            return Ok(AddCheckpointResponse {
                cosignatures: Bytes::new(),
                seen_size: seen.size.0,
                seen: Bytes::new(),
            });
        }
        if offered.size < seen.size {
            return Err(WitnessError::Smaller {
                seen: seen.size,
                got: offered.size,
            });
        }
        let extends = |root: &Digest| {
            verify_consistency(seen.size, root, offered.size, &offered.root, &proof)
        };
        if let Err(wrong) = extends(&seen.root) {
            // Its proof may hold from another root at that size: then it signed both.
            return Err(match Digest::from_slice(&request.old_root) {
                Ok(other) if seen.size.0 > 0 && other != seen.root && extends(&other).is_ok() => {
                    let mut shown = vec![request.old_root.clone()];
                    shown.extend(request.consistency.iter().cloned());
                    self.conflict(&seen, &offered, request, shown)?
                }
                Ok(_) | Err(_) => WitnessError::Proof(wrong),
            });
        }
        self.sign(&offered, &request.checkpoint)
    }

    /// Reads the note as a checkpoint of one of the caller's logs, in the
    /// generation that the roster names, if this node is its witness.
    fn open_offered(&self, caller: &MemberId, note: &Bytes) -> Result<Checkpoint, WitnessError> {
        let text = SignedNote::parse(note)?.text();
        let claimed = CheckpointText::parse(text)?.origin;
        let roster = self.roster.load();
        let not_own = || WitnessError::NotOwnLog {
            caller: caller.clone(),
            origin: claimed.chars().take(200).collect(),
        };
        let origin: Origin = claimed.parse().map_err(|_| not_own())?;
        if origin.federation != roster.federation || origin.member != *caller {
            return Err(not_own());
        }
        let member = roster
            .member(caller)
            .filter(|member| member.witnesses.contains(self.ledger.own()))
            .ok_or_else(|| WitnessError::NotAssigned(caller.clone()))?;
        if roster.origin(caller, origin.log).as_ref() != Some(&origin) {
            return Err(WitnessError::OtherGeneration(origin));
        }
        let keys: Vec<&PublicKey> = member.checkpoint_keys().collect();
        Ok(Checkpoint::open(note, &origin, &keys)?)
    }

    fn turn_of(&self, origin: &Origin) -> Arc<Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(origin.clone()).or_default())
    }

    fn seen(&self, origin: &Origin) -> Result<Seen, StoreError> {
        let key = origin.to_string();
        let Some(value) = self.ledger.store().read(Table::Cosigned, key.as_bytes())? else {
            return Ok(Seen {
                size: TreeSize(0),
                root: empty_root(),
                note: Bytes::new(),
            });
        };
        let (_, note) = decode(&value)?;
        let (size, root) = read_note(&note).ok_or(StoreError::Damaged("cosigned checkpoint"))?;
        Ok(Seen { size, root, note })
    }

    /// Keeps what contradicts itself, and makes the refusal.
    fn conflict(
        &self,
        seen: &Seen,
        offered: &Checkpoint,
        request: &AddCheckpointRequest,
        consistency: Vec<Bytes>,
    ) -> Result<WitnessError, StoreError> {
        self.ledger.evidence().keep(EvidencePair {
            origin: offered.origin.to_string(),
            first: seen.note.clone(),
            second: request.checkpoint.clone(),
            found_at: 0,
            source: offered.origin.member.to_string(),
            consistency,
        })?;
        Ok(WitnessError::Conflict(offered.origin.clone()))
    }

    /// Writes down what is about to be cosigned, and only then signs it.
    fn sign(
        &self,
        offered: &Checkpoint,
        note: &Bytes,
    ) -> Result<AddCheckpointResponse, WitnessError> {
        let now = self.ledger.clock().now();
        let time = self.newest_time.fetch_max(now, Ordering::SeqCst).max(now);
        let mut value = time.to_be_bytes().to_vec();
        value.extend_from_slice(note);
        let mut batch = Batch::new();
        let key = offered.origin.to_string();
        batch.put(Table::Cosigned, key.as_bytes(), value);
        self.ledger.store().commit(batch)?;
        let name = witness_name(&offered.origin.federation, self.ledger.own());
        let line = cosign(&offered.body(), &name, self.ledger.witness_key(), time);
        Ok(AddCheckpointResponse {
            cosignatures: line.into_bytes().into(),
            seen_size: 0,
            seen: Bytes::new(),
        })
    }
}

fn check_limits(request: &AddCheckpointRequest) -> Result<(), WitnessError> {
    let limits = [
        ("bytes of note", request.checkpoint.len(), OFFERED_BYTES_MAX),
        ("hashes", request.consistency.len(), PROOF_HASHES_MAX),
        ("bytes of root", request.old_root.len(), 32),
    ];
    match limits.into_iter().find(|(_, got, max)| got > max) {
        Some((what, got, max)) => Err(WitnessError::TooBig { what, got, max }),
        None => Ok(()),
    }
}

/// Takes a kept value apart: when it was cosigned, and the note.
fn decode(value: &Bytes) -> Result<(UnixSeconds, Bytes), StoreError> {
    let time = value.get(..8).and_then(|b| b.try_into().ok());
    let time = time.map(i64::from_be_bytes);
    let time = time.ok_or(StoreError::Damaged("cosigned checkpoint"))?;
    Ok((time, value.slice(8..)))
}

fn read_note(note: &[u8]) -> Option<(TreeSize, Digest)> {
    let text = SignedNote::parse(note).ok()?.text();
    let read = CheckpointText::parse(text).ok()?;
    Some((read.size, read.root))
}
