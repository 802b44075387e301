//! Why the ledger refused or failed, and who has to act.

use super::{Standing, segment};
use crate::blame::{Blame, Blamed};
use crate::checkpoint::CheckpointError;
use crate::ids::{KeyId, LogIndex, MemberId, Origin};
use crate::merkle::MerkleError;
use crate::postings::PostingsError;
use crate::record::RecordError;
use crate::roster::validity::Why;
use crate::shred::ShredError;
use crate::store::StoreError;

/// Why the ledger refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The erasable keys failed.
    #[error(transparent)]
    Shred(#[from] ShredError),
    /// The derived index failed; `casegate store reindex` rebuilds it.
    #[error(transparent)]
    Postings(#[from] PostingsError),
    /// An entry or body of a peer breaks a rule.
    #[error("entry {index} of {origin} is refused: {source}")]
    Record {
        /// The log.
        origin: Origin,
        /// The entry.
        index: LogIndex,
        /// The broken rule.
        source: RecordError,
    },
    /// A body that this node was about to sign breaks a rule: nothing is appended.
    #[error("a body that was to be signed here breaks a rule: {source}")]
    OwnBody {
        /// The broken rule.
        source: RecordError,
    },
    /// A checkpoint of a peer breaks a rule.
    #[error("a checkpoint of {origin} is refused: {source}")]
    Checkpoint {
        /// The log.
        origin: Origin,
        /// The broken rule.
        source: CheckpointError,
    },
    /// A chunk does not lead from the root known here to its checkpoint.
    #[error("entries of {origin} do not lead to the signed root: {source}")]
    Root {
        /// The log.
        origin: Origin,
        /// The failed proof.
        source: MerkleError,
    },
    /// A chunk or body answer is out of order, too long or incomplete.
    #[error("an answer about {origin} is malformed: {what}")]
    Malformed {
        /// The log.
        origin: Origin,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An entry is signed with a key that the roster here does not name.
    #[error("entry {index} of {origin} is signed with a key that this roster does not name")]
    UnknownKey {
        /// The log.
        origin: Origin,
        /// The entry.
        index: LogIndex,
    },
    /// An entry is signed with a key that may not sign there.
    #[error("entry {index} of {origin} is refused: its key {key} may not sign it: {why}")]
    KeyRefused {
        /// The log.
        origin: Origin,
        /// The entry.
        index: LogIndex,
        /// The key.
        key: KeyId,
        /// Why not.
        why: Why,
    },
    /// None of this node's keys may sign the next entry of its records log.
    #[error(
        "entry {index} of the own records log cannot be signed: {}",
        no_key(*.due, *index)
    )]
    NoKey {
        /// The entry.
        index: LogIndex,
        /// The key that the roster wants there, if it names one.
        due: Option<KeyId>,
    },
    /// The roster revokes the key that signs the own checkpoints.
    #[error(
        "the roster revokes the checkpoint key {0}: have the roots list another one, name its \
         seed file as keys.checkpoint and restart the node"
    )]
    NoCheckpointKey(KeyId),
    /// Some members' nodes do not read yet what would be written.
    #[error(
        "not yet: {} an older casegate that does not read {word}; have them upgrade, and try again",
        named(members)
    )]
    MembersBehind {
        /// The word for what they would have to read.
        word: &'static str,
        /// Who is behind.
        members: Vec<MemberId>,
    },
    /// The Merkle tiles here do not fit the log; a reindex rebuilds them.
    #[error("the Merkle tiles here are damaged: {0}")]
    Tiles(#[from] MerkleError),
    /// No such log here.
    #[error("no log {0} is held here")]
    NoLog(Origin),
    /// The own records log may not be appended to now.
    #[error("the own records log is closed: {}", .0.sentence())]
    Closed(Standing),
    /// The own access log may not be appended to now.
    #[error(
        "the own access log is closed, and nothing is done without its line there: {}",
        .0.access_sentence()
    )]
    AccessClosed(Standing),
    /// The owner signed two histories of it: nothing new of it is taken.
    #[error(
        "{0} contradicts itself, as two signed checkpoints prove: nothing new of it is taken until the roots begin a new generation"
    )]
    Forked(Origin),
    /// Its bodies are not given out before this node has caught up.
    #[error("bodies of {0} are not given out before this node knows what has ended meanwhile")]
    HeldBack(Origin),
    /// An end of a log came that only a newer roster can name.
    #[error("{0} has ended, says who was asked; a newer roster is needed to check where")]
    NewerRoster(Origin),
    /// An earlier failure stopped the ledger.
    #[error("the ledger stopped after a failed write; restart the node")]
    Stopped,
}

impl Blamed for LedgerError {
    fn blame(&self) -> Blame {
        match self {
            // What is merely newer is nobody's fault.
            Self::Record { source, .. } if source.is_newer() => Blame::Incompatible,
            Self::Record { .. }
            | Self::Checkpoint { .. }
            | Self::Root { .. }
            | Self::KeyRefused { .. }
            | Self::Forked(_)
            | Self::Malformed { .. } => Blame::Misbehaved,
            Self::UnknownKey { .. } | Self::NewerRoster(_) => Blame::Stale,
            Self::NoLog(_) => Blame::NotFound,
            Self::Closed(_)
            | Self::AccessClosed(_)
            | Self::HeldBack(_)
            | Self::MembersBehind { .. }
            | Self::NoKey { .. }
            | Self::NoCheckpointKey(_) => Blame::Unavailable,
            Self::Store(_)
            | Self::Shred(_)
            | Self::Postings(_)
            | Self::Tiles(_)
            | Self::OwnBody { .. }
            | Self::Stopped => Blame::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Record { source, .. } if source.is_newer() => "ledger.newer_entry",
            Self::Record { .. } => "ledger.bad_entry",
            Self::OwnBody { .. } => "ledger.own_body",
            Self::Checkpoint { .. } => "ledger.bad_checkpoint",
            Self::Root { .. } => "ledger.wrong_root",
            Self::Malformed { .. } => "ledger.malformed",
            Self::UnknownKey { .. } => "ledger.unknown_key",
            Self::KeyRefused { .. } => "ledger.key_refused",
            Self::NoKey { .. } => "ledger.no_key",
            Self::NoCheckpointKey(_) => "ledger.no_checkpoint_key",
            Self::Tiles(_) => "ledger.tiles",
            Self::NoLog(_) => "ledger.no_log",
            Self::MembersBehind { .. } => "ledger.members_behind",
            Self::Store(e) => e.code(),
            Self::Shred(_) => "ledger.shred",
            Self::Postings(_) => "ledger.postings",
            Self::Closed(_) => "ledger.closed",
            Self::AccessClosed(_) => "ledger.access_closed",
            Self::Forked(_) => "ledger.forked",
            Self::HeldBack(_) => "ledger.held_back",
            Self::NewerRoster(_) => "ledger.newer_roster",
            Self::Stopped => "ledger.stopped",
        }
    }
}

/// Members that a sentence names; of more it says how many.
const NAMED_MAX: usize = 10;

/// Members, with commas.
fn some_of(members: &[MemberId]) -> String {
    let named: Vec<&str> = members
        .iter()
        .take(NAMED_MAX)
        .map(MemberId::as_str)
        .collect();
    match members.len().saturating_sub(NAMED_MAX) {
        0 => named.join(", "),
        more => format!("{} (+{more})", named.join(", ")),
    }
}

/// Members as the subject of a sentence, with its verb.
fn named(members: &[MemberId]) -> String {
    match members {
        [one] => format!("{one} runs"),
        [one, other] => format!("{one} and {other} run"),
        many => format!("{} run", some_of(many)),
    }
}

/// What the keeper of a node does when none of its keys is due.
fn no_key(due: Option<KeyId>, index: LogIndex) -> String {
    match due {
        Some(key) => format!(
            "the roster wants key {key} from here on: name its seed file as keys.records_next \
             and restart the node"
        ),
        None => format!(
            "the roster revokes or ends the key in use and names no successor: make one with \
             casegate pki keys --next, have the roots list it from size {index} on, name its \
             seed file as keys.records_next and restart the node"
        ),
    }
}

impl From<segment::RunError> for LedgerError {
    fn from(e: segment::RunError) -> Self {
        match e {
            segment::RunError::Store(e) => e.into(),
            segment::RunError::Shred(e) => e.into(),
        }
    }
}
