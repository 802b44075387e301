//! Why a roster was refused, and who has to act.

use crate::blame::{Blame, Blamed};
use crate::ids::{Digest, KeyId, MemberId};
use crate::keys::{Algorithm, KeyError};

/// Why a roster was refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RosterError {
    /// The bytes are no signed roster, or are too many.
    #[error("the bytes are no signed roster: {what}")]
    Malformed {
        /// What is wrong with them.
        what: &'static str,
    },
    /// A field breaks a rule.
    #[error("roster {version}: {field}: {why}")]
    Field {
        /// The roster's version.
        version: u64,
        /// The field, such as `members[hefei].peer_endpoint`.
        field: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A key that may not be used.
    #[error("roster {version}: {field}: {source}")]
    Key {
        /// The roster's version.
        version: u64,
        /// The field.
        field: String,
        /// What is wrong with the key.
        source: KeyError,
    },
    /// A signature of a known root does not hold.
    #[error("roster {version}: the signature of root key {key} does not hold")]
    BadSignature {
        /// The roster's version.
        version: u64,
        /// The root key.
        key: KeyId,
    },
    /// Too few roots have signed.
    #[error("roster {version}: {got} of {want} needed roots of roster {of} have signed")]
    TooFewSignatures {
        /// The roster's version.
        version: u64,
        /// The version whose roots were counted.
        of: u64,
        /// How many have signed.
        got: usize,
        /// How many must.
        want: usize,
    },
    /// Roots have signed whose keys cannot be checked here.
    #[error(
        "roster {version}: only {got} of {want} needed roots of roster {of} can be checked here, \
         since others signed with a newer algorithm ({algorithm}): upgrade casegate"
    )]
    Incompatible {
        /// The roster's version.
        version: u64,
        /// The version whose roots were counted.
        of: u64,
        /// How many signatures hold.
        got: usize,
        /// How many must.
        want: usize,
        /// An algorithm that is not known here.
        algorithm: Algorithm,
    },
    /// It requires what this software does not speak.
    #[error(
        "roster {version} requires what this casegate does not speak: {}; install a newer \
         casegate, which goes on where this one stopped",
        .words.join(", ")
    )]
    Features {
        /// The roster's version.
        version: u64,
        /// The words.
        words: Vec<String>,
    },
    /// Roster 1 is not the one that the config pins.
    #[error("roster 1 has SHA-256 {got}, but the pin is {want}")]
    NotPinned {
        /// What it has.
        got: Digest,
        /// What the config says.
        want: Digest,
    },
    /// It does not follow the newest roster that is held.
    #[error("roster {version} does not follow roster {held}")]
    BrokenChain {
        /// The roster's version.
        version: u64,
        /// The newest version that is held.
        held: u64,
    },
    /// Versions are missing in between; fetch those first.
    #[error("roster {version} comes too early: {held} is the newest held")]
    Gap {
        /// The roster's version.
        version: u64,
        /// The newest version that is held.
        held: u64,
    },
    /// The chain ends before a version that was already seen.
    #[error("the newest roster at hand is {newest}, but {seen} was already seen")]
    OlderThanSeen {
        /// The newest version at hand.
        newest: u64,
        /// The highest version ever seen.
        seen: u64,
    },
    /// Two rosters of one version: evidence against the roots.
    #[error("two different rosters {version} were signed: {held} and {other}")]
    Fork {
        /// The version.
        version: u64,
        /// The digest of the one that is held.
        held: Digest,
        /// The digest of the other.
        other: Digest,
    },
    /// A key of an earlier version is missing: it may retire, not vanish.
    #[error("roster {version}: {member} lacks its key {key} of an earlier version")]
    KeyDropped {
        /// The roster's version.
        version: u64,
        /// The member.
        member: MemberId,
        /// The key.
        key: KeyId,
    },
    /// A revocation was moved or taken back.
    #[error("roster {version}: the revocation of {member}'s key {key} was changed")]
    Revocation {
        /// The roster's version.
        version: u64,
        /// The member.
        member: MemberId,
        /// The key.
        key: KeyId,
    },
    /// Something of a key changed that never changes.
    #[error("roster {version}: {member}'s key {key} was changed: {what}")]
    KeyChanged {
        /// The roster's version.
        version: u64,
        /// The member.
        member: MemberId,
        /// The key.
        key: KeyId,
        /// The rule that it breaks.
        what: &'static str,
    },
    /// The newest roster has run out.
    #[error("roster {version} expired {seconds_ago} seconds ago")]
    Expired {
        /// The version.
        version: u64,
        /// How long ago.
        seconds_ago: i64,
    },
    /// The newest roster lies in the future: a wrong clock here or there.
    #[error("roster {version} is issued {seconds_ahead} seconds from now: check the clock")]
    NotYetIssued {
        /// The version.
        version: u64,
        /// How far ahead.
        seconds_ahead: i64,
    },
}

impl Blamed for RosterError {
    fn blame(&self) -> Blame {
        match self {
            Self::Malformed { .. }
            | Self::Field { .. }
            | Self::Key { .. }
            | Self::BadSignature { .. }
            | Self::TooFewSignatures { .. }
            | Self::NotPinned { .. }
            | Self::BrokenChain { .. }
            | Self::KeyDropped { .. }
            | Self::Revocation { .. }
            | Self::KeyChanged { .. }
            | Self::Fork { .. } => Blame::Misbehaved,
            Self::Incompatible { .. } | Self::Features { .. } => Blame::Incompatible,
            Self::Gap { .. }
            | Self::OlderThanSeen { .. }
            | Self::Expired { .. }
            | Self::NotYetIssued { .. } => Blame::Stale,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "roster.malformed",
            Self::Field { .. } => "roster.field",
            Self::Key { .. } => "roster.weak_key",
            Self::BadSignature { .. } => "roster.bad_signature",
            Self::TooFewSignatures { .. } => "roster.too_few_signatures",
            Self::Incompatible { .. } => "roster.incompatible",
            Self::Features { .. } => "roster.features",
            Self::NotPinned { .. } => "roster.not_pinned",
            Self::BrokenChain { .. } => "roster.broken_chain",
            Self::Gap { .. } => "roster.gap",
            Self::OlderThanSeen { .. } => "roster.older_than_seen",
            Self::Fork { .. } => "roster.fork",
            Self::KeyDropped { .. } => "roster.key_dropped",
            Self::Revocation { .. } => "roster.revocation_changed",
            Self::KeyChanged { .. } => "roster.key_changed",
            Self::Expired { .. } => "roster.expired",
            Self::NotYetIssued { .. } => "roster.not_yet_issued",
        }
    }
}
