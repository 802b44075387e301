//! The roster: who the members are, which keys speak for them, who holds the
//! token keys and what may be spent.
//!
//! A [`Roster`] is one checked version and never changes; [`chain`] decides
//! which version follows which, [`read`] turns bytes into a checked roster,
//! [`draft`] makes and signs new ones. Pure: the time is a parameter.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::clock::UnixSeconds;
use crate::features;
use crate::ids::{Digest, FederationId, KeyId, LogName, MemberId, Origin};
use crate::keys::{self, ListedKey};

pub mod chain;
pub mod draft;
mod error;
pub mod log;
mod newer;
pub mod read;
mod rules;
mod succession;
pub mod validity;

pub use crate::element::TokenClass;
pub use chain::{Accepted, RosterChain};
pub use draft::{Draft, MemberDraft};
pub use error::RosterError;
pub use newer::{Newer, What};
pub use read::ShareCheck;
pub use rules::Witnesses;

/// The DSSE payload type under which roots sign a roster's bytes.
pub const PAYLOAD_TYPE: &str = "application/vnd.casegate.roster.v1+protobuf";
/// The most bytes that one signed roster may have.
pub const ROSTER_BYTES_MAX: usize = 1 << 20;
/// The most members that a roster may list.
pub const MEMBERS_MAX: usize = 1_000;
/// The most keys of one use that a member may list.
pub const KEYS_PER_USE_MAX: usize = 16;
/// The most root keys that a roster may list.
pub const ROOTS_MAX: usize = 16;
/// The most token keys that a roster may list.
pub const TOKEN_KEYS_MAX: usize = 32;
/// The most grants that a roster may list.
pub const GRANTS_MAX: usize = 4_000;
/// The daily budget of enumerable kinds where the policy names none (PROTOCOL.md section 3).
pub const ENUMERABLE_POINTS_PER_DAY: u64 = 20_000;
/// The daily budget of open kinds where the policy names none.
pub const OPEN_POINTS_PER_DAY: u64 = 1_000_000;
/// Points that one custodian gives out a day over all members, each class,
/// where the roster names none.
pub const CUSTODIAN_POINTS_PER_DAY: u64 = 5_000_000;

/// What kind of organization a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MemberRole {
    /// A city bureau: has cases and publishes their elements.
    Bureau,
    /// A department above bureaus: links cases of several members.
    Department,
    /// Checks logs and signatures; sees no bodies of its own accord.
    Auditor,
    /// A role that is not known here: it has no rights.
    Unknown(i32),
}

impl MemberRole {
    /// Every role that is known, in the order of the wire.
    pub const ALL: [Self; 3] = [Self::Bureau, Self::Department, Self::Auditor];

    /// The word that stands in certificates and config files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bureau => "bureau",
            Self::Department => "department",
            Self::Auditor => "auditor",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Reads the word of [`MemberRole::as_str`]; `None` for any other text.
    #[must_use]
    pub fn from_word(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl std::fmt::Display for MemberRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a member's key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyUse {
    /// Statements in the member's logs.
    Records,
    /// Checkpoints of the member's logs.
    Checkpoint,
    /// Cosignatures on other members' checkpoints.
    Witness,
    /// A use that is not known here: nothing.
    Unknown(i32),
}

/// Where a token key stands in its life (PROTOCOL.md section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TokenKeyState {
    /// Generated, not used yet.
    Next,
    /// Values are tokenized again under it beside the current key.
    Dual,
    /// The key for new tokens.
    Current,
    /// Kept so that old tokens can be read.
    Retired,
}

/// One public key of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberKey {
    /// What it may sign.
    pub usage: KeyUse,
    /// Its id.
    pub id: KeyId,
    /// The key; an Ed25519 key is canonical, of large order and torsion-free.
    pub key: ListedKey,
    /// The first second at which it counts.
    pub valid_from: UnixSeconds,
    /// The first second at which it no longer counts; `None` for no end.
    pub valid_to: Option<UnixSeconds>,
    /// Where it is revoked: entries below this index stay valid.
    pub revoked_at_size: Option<u64>,
    /// Records keys: the first index that it signs; 0 for any other key.
    pub from_size: u64,
}

impl MemberKey {
    /// Says whether the key's dates cover `now`; revocation is not looked at.
    #[must_use]
    pub fn covers(&self, now: UnixSeconds) -> bool {
        self.valid_from <= now && self.valid_to.is_none_or(|end| now < end)
    }
}

/// How an earlier generation of a member's records log ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// The generation that ended.
    pub generation: u32,
    /// Its last good size.
    pub size: u64,
    /// The root at that size.
    pub root: Digest,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// What kind of organization it is.
    pub role: MemberRole,
    /// Its name for people.
    pub name: String,
    /// Its region, such as `340100`; may be empty.
    pub region: String,
    /// The DER certificate of the one CA that may name this member.
    pub ca: Vec<u8>,
    /// Where its node listens for peers, `host:port`; empty for an auditor
    /// without a node.
    pub peer_endpoint: String,
    /// Where its node listens for auditors, `host:port`; may be empty.
    pub audit_endpoint: String,
    /// Its keys.
    pub keys: Vec<MemberKey>,
    /// The generation of its records log, from 1.
    pub records_generation: u32,
    /// The generation of its access log, from 1.
    pub access_generation: u32,
    /// The members that witness its checkpoints.
    pub witnesses: Vec<MemberId>,
    /// Whom to call, as shown with hits; may be empty.
    pub desk_contact: String,
    /// How earlier generations of its records log ended.
    pub frozen: Vec<Frozen>,
}

/// One custodian's public share of a token key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustodianShare {
    /// The custodian.
    pub member: MemberId,
    /// Its index, from 1.
    pub index: u16,
    /// `Y_i`, a compressed Ristretto point; checked by the [`ShareCheck`].
    pub public_share: [u8; 32],
}

/// One shared token key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKey {
    /// Its id.
    pub id: KeyId,
    /// Which kinds it serves.
    pub class: TokenClass,
    /// How many custodians an evaluation needs.
    pub threshold: u16,
    /// `Y`, a compressed Ristretto point.
    pub public_key: [u8; 32],
    /// The custodians' public shares, by ascending index.
    pub shares: Vec<CustodianShare>,
    /// The share epoch.
    pub epoch: u32,
    /// Where the key stands.
    pub state: TokenKeyState,
}

/// A dated, counted addition to one member's daily budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who may spend it.
    pub member: MemberId,
    /// For which token keys.
    pub class: TokenClass,
    /// How many points, once at each custodian.
    pub points: u64,
    /// The first second at which it counts.
    pub valid_from: UnixSeconds,
    /// The first second at which it no longer counts.
    pub valid_to: UnixSeconds,
}

impl Grant {
    /// Names the grant for accounts that outlive a roster version.
    #[must_use]
    pub fn id(&self) -> Digest {
        let class = match self.class {
            TokenClass::Enumerable => 1_u8,
            TokenClass::Open => 2,
        };
        let mut bytes = vec![class];
        bytes.extend(self.points.to_be_bytes());
        bytes.extend(self.valid_from.to_be_bytes());
        bytes.extend(self.valid_to.to_be_bytes());
        bytes.extend(self.member.as_str().as_bytes());
        Digest::of(&bytes)
    }
}

/// What may be spent, and how many witnesses a checkpoint needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Points a member a day at each custodian, enumerable kinds.
    pub enumerable_points_per_day: u64,
    /// Points a member a day at each custodian, open kinds.
    pub open_points_per_day: u64,
    /// A custodian's cap over all members, each class; 0 for none.
    pub custodian_points_per_day: u64,
    /// Cosignatures that make a checkpoint witnessed.
    pub witness_quorum: u32,
    /// Additions for first loads.
    pub grants: Vec<Grant>,
}

/// One checked version of the roster, with the bytes that were signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// Its version, from 1.
    pub version: u64,
    /// The federation that it speaks of.
    pub federation: FederationId,
    /// SHA-256 of the previous version's bytes; `None` in version 1.
    pub previous: Option<Digest>,
    /// The keys whose holders decide on rosters.
    pub roots: Vec<ListedKey>,
    /// How many of them must sign.
    pub root_threshold: usize,
    /// The members.
    pub members: BTreeMap<MemberId, Member>,
    /// The token keys that can be used here, in the roster's order.
    pub token_keys: Vec<TokenKey>,
    /// Budgets and quorum.
    pub policy: Policy,
    /// The words for what every node must speak, sorted.
    pub required_features: Vec<String>,
    /// What stands in it and is not known here.
    pub newer: Vec<Newer>,
    /// When it was issued.
    pub issued_at: UnixSeconds,
    /// The first second at which it is no longer current.
    pub expires_at: UnixSeconds,
    /// SHA-256 of the roster's own bytes, without signatures.
    pub digest: Digest,
    /// The `SignedRoster` message as it was received.
    pub signed: Bytes,
}

impl Roster {
    /// Looks a member up.
    #[must_use]
    pub fn member(&self, id: &MemberId) -> Option<&Member> {
        self.members.get(id)
    }

    /// The members other than `own` that have a node with which this one can
    /// speak, by name.
    pub fn other_nodes<'a>(&'a self, own: &'a MemberId) -> impl Iterator<Item = &'a MemberId> {
        let others = self.members.values().filter(move |m| m.id != *own);
        others
            .filter(|m| m.has_node() && !matches!(m.role, MemberRole::Unknown(_)))
            .map(|m| &m.id)
    }

    /// Looks a member's key up by use and id; `None` means unknown, not bad.
    #[must_use]
    pub fn key(&self, member: &MemberId, usage: KeyUse, id: KeyId) -> Option<&MemberKey> {
        let keys = &self.members.get(member)?.keys;
        keys.iter().find(|key| key.usage == usage && key.id == id)
    }

    /// Lists a member's keys of one use, in the roster's order.
    pub fn keys(&self, member: &MemberId, usage: KeyUse) -> impl Iterator<Item = &MemberKey> {
        let keys = self.members.get(member).map_or(&[][..], |m| &m.keys);
        keys.iter().filter(move |key| key.usage == usage)
    }

    /// Returns the CURRENT token key of a class; there is at most one.
    #[must_use]
    pub fn token_key(&self, class: TokenClass) -> Option<&TokenKey> {
        self.token_keys
            .iter()
            .find(|key| key.class == class && key.state == TokenKeyState::Current)
    }

    /// Looks a token key up by id, whatever its state.
    #[must_use]
    pub fn token_key_by_id(&self, id: KeyId) -> Option<&TokenKey> {
        self.token_keys.iter().find(|key| key.id == id)
    }

    /// Names a member's log in its present generation.
    #[must_use]
    pub fn origin(&self, member: &MemberId, log: LogName) -> Option<Origin> {
        let found = self.members.get(member)?;
        Some(Origin {
            federation: self.federation.clone(),
            member: member.clone(),
            log,
            generation: match log {
                LogName::Records => found.records_generation,
                LogName::Access => found.access_generation,
            },
        })
    }

    /// Lists the members that hold a share of a key that is not retired.
    #[must_use]
    pub fn custodians(&self) -> BTreeSet<&MemberId> {
        self.token_keys
            .iter()
            .filter(|key| key.state != TokenKeyState::Retired)
            .flat_map(|key| key.shares.iter().map(|share| &share.member))
            .collect()
    }

    /// Returns the points that every member may spend a day at each custodian.
    #[must_use]
    pub fn daily_points(&self, class: TokenClass) -> u64 {
        match class {
            TokenClass::Enumerable => self.policy.enumerable_points_per_day,
            TokenClass::Open => self.policy.open_points_per_day,
        }
    }

    /// What the roster requires of every node and this software does not speak;
    /// empty when it may be acted on.
    #[must_use]
    pub fn lacking(&self) -> Vec<String> {
        features::lacking(&self.required_features)
    }

    /// Says whether the roster has run out at `now`.
    #[must_use]
    pub fn is_expired(&self, now: UnixSeconds) -> bool {
        now >= self.expires_at
    }
}

/// Builds the bytes that a root signs: DSSE v1's pre-authentication encoding.
#[must_use]
pub fn signed_bytes(roster: &[u8]) -> Vec<u8> {
    keys::pae(PAYLOAD_TYPE, roster)
}
