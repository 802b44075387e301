//! The log of rosters: its leaves are the versions' bytes, without their
//! signatures, and its origin is `FEDERATION/roster`. Every member has the same
//! one; its checkpoints show whether that is so (PROTOCOL.md section 3). Pure.

use std::sync::Arc;

use prost::Message;

use super::{Member, Roster};
use crate::checkpoint::{CheckpointError, SizedRoot};
use crate::ids::{Digest, FederationId, MemberId, TreeSize};
use crate::keys::{PublicKey, SigningKey};
use crate::merkle::{Frontier, leaf_hash};
use crate::wire::v1;

/// The root of a federation's roster log at a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterCheckpoint {
    /// The federation.
    pub federation: FederationId,
    /// How many versions.
    pub size: TreeSize,
    /// The root over them.
    pub root: Digest,
}

/// Names a federation's roster log; also the key name in its notes.
#[must_use]
pub fn origin(federation: &FederationId) -> String {
    format!("{federation}/roster")
}

/// Says whether a note is of the federation's roster log, by its first line.
#[must_use]
pub fn is_of_rosters(note: &[u8], federation: &FederationId) -> bool {
    note.starts_with(format!("{}\n", origin(federation)).as_bytes())
}

impl RosterCheckpoint {
    /// Computes the root over versions 1 to `size`; `None` when there are fewer.
    ///
    /// # Panics
    /// Never: a checked roster decodes.
    #[must_use]
    pub fn of(history: &[Arc<Roster>], size: u64) -> Option<Self> {
        let federation = history.first()?.federation.clone();
        let versions = history.get(..usize::try_from(size).ok()?)?;
        let mut frontier = Frontier::new();
        for roster in versions {
            let signed = v1::SignedRoster::decode(roster.signed.clone())
                .expect("a checked roster was decoded before");
            frontier.append(leaf_hash(&signed.roster));
        }
        Some(Self {
            federation,
            size: frontier.size(),
            root: frontier.root(),
        })
    }

    /// The root at its size.
    fn sized(&self) -> SizedRoot {
        SizedRoot {
            size: self.size,
            root: self.root,
        }
    }

    /// Returns the text that is signed: origin, size, base64 root, a line each.
    #[must_use]
    pub fn body(&self) -> String {
        self.sized().text(&origin(&self.federation))
    }

    /// Signs the checkpoint and returns the whole signed note.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        self.sized().sign(&origin(&self.federation), key)
    }

    /// Reads a note as a checkpoint of the federation's roster log that one of
    /// `keys` signed.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is anything else.
    pub fn open<'a>(
        note: &[u8],
        federation: &FederationId,
        keys: impl Iterator<Item = &'a PublicKey>,
    ) -> Result<Self, CheckpointError> {
        let SizedRoot { size, root } = SizedRoot::open(note, &origin(federation), keys)?;
        Ok(Self {
            federation: federation.clone(),
            size,
            root,
        })
    }
}

impl Roster {
    /// The members' witness keys that count for the roster log: every member
    /// that has one is its witness. Revoked ones are left out.
    #[must_use]
    pub fn roster_witnesses(&self) -> Vec<(MemberId, &PublicKey)> {
        let of = |member: &'_ Member| member.id.clone();
        let members = self.members.values();
        members
            .flat_map(|m| m.witness_keys().map(move |key| (of(m), key)))
            .collect()
    }
}
