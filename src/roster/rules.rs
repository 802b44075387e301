//! What the roster decides about one member: which keys it names, who witnesses
//! its logs, and whether it is in an audience.

use crate::ids::{LogName, MemberId, Origin};
use crate::keys::{Algorithm, PublicKey};
use crate::record::Audience;

use super::{Frozen, KeyUse, Member, Roster};

impl Member {
    /// Says whether the member runs a node: an auditor need not.
    #[must_use]
    pub fn has_node(&self) -> bool {
        !self.peer_endpoint.is_empty()
    }

    /// Says whether the roster names a key for a use, revoked or not.
    #[must_use]
    pub fn names(&self, usage: KeyUse, key: &PublicKey) -> bool {
        self.keys
            .iter()
            .any(|known| known.usage == usage && known.key.is(key))
    }

    /// The keys that may cosign other members' checkpoints.
    pub fn witness_keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys
            .iter()
            .filter(|key| key.usage == KeyUse::Witness && key.revoked_at_size.is_none())
            .filter_map(|key| key.key.usable())
    }

    /// The keys that may sign the member's checkpoints.
    pub fn checkpoint_keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys
            .iter()
            .filter(|key| key.usage == KeyUse::Checkpoint && key.revoked_at_size.is_none())
            .filter_map(|key| key.key.usable())
    }

    /// The algorithm of a checkpoint key that is not revoked and cannot be used
    /// here, if there is one: a note that no other key signed may be under it.
    #[must_use]
    pub fn newer_checkpoint_key(&self) -> Option<Algorithm> {
        self.keys
            .iter()
            .filter(|key| key.usage == KeyUse::Checkpoint && key.revoked_at_size.is_none())
            .find(|key| key.key.usable().is_none())
            .map(|key| key.key.algorithm())
    }

    /// Says whether the roster names `public` as the member's witness key.
    #[must_use]
    pub fn has_witness_key(&self, public: &PublicKey) -> bool {
        self.keys.iter().any(|key| {
            key.usage == KeyUse::Witness && key.revoked_at_size.is_none() && key.key.is(public)
        })
    }

    /// How the roster says that a records log of the member ended; `None` for
    /// one that goes on, and for logs of others.
    #[must_use]
    pub fn frozen_at(&self, origin: &Origin) -> Option<&Frozen> {
        let own = origin.member == self.id && origin.log == LogName::Records;
        self.frozen
            .iter()
            .find(|frozen| own && frozen.generation == origin.generation)
    }

    /// Says whether the member may receive what has this audience.
    #[must_use]
    pub fn is_in(&self, audience: &Audience) -> bool {
        match audience {
            Audience::Federation => true,
            Audience::Regions(regions) => regions.contains(&self.region),
            Audience::Members(members) => members.contains(&self.id),
            Audience::Nobody => false,
        }
    }
}

/// Who witnesses one member's logs, and how many of them must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnesses<'a> {
    /// The witnesses' keys; a member with two keys stands here twice.
    pub keys: Vec<(MemberId, &'a PublicKey)>,
    /// How many members must cosign; 0 when witnessing is off.
    pub quorum: u32,
}

impl Witnesses<'_> {
    /// Says whether nothing of this member can be witnessed: the policy asks for
    /// no witnesses, or the member has none.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.quorum == 0
    }
}

impl Roster {
    /// The keys with which `member` cosigns; revoked ones are left out.
    pub fn witness_keys(&self, member: &MemberId) -> impl Iterator<Item = &PublicKey> {
        self.keys(member, KeyUse::Witness)
            .filter(|key| key.revoked_at_size.is_none())
            .filter_map(|key| key.key.usable())
    }

    /// Who witnesses the logs of `member`, by this roster. Revoked keys are left out.
    #[must_use]
    pub fn witnesses(&self, member: &MemberId) -> Witnesses<'_> {
        let named = self
            .member(member)
            .map_or(&[][..], |found| &found.witnesses);
        let keys = named.iter().flat_map(|witness| {
            self.witness_keys(witness)
                .map(move |key| (witness.clone(), key))
        });
        Witnesses {
            keys: keys.collect(),
            quorum: if named.is_empty() {
                0
            } else {
                self.policy.witness_quorum
            },
        }
    }
}
