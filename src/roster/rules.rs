//! What the roster decides about one member's records: which keys speak for
//! which entries, and whether the member is in an audience.

use crate::ids::{KeyId, LogIndex};
use crate::keys::PublicKey;
use crate::record::Audience;

use super::{KeyUse, Member};

impl Member {
    /// The key that may have signed the entry at `index` of the member's logs:
    /// one that the roster names for records and that is not revoked there.
    #[must_use]
    pub fn records_key(&self, id: KeyId, index: LogIndex) -> Option<&PublicKey> {
        self.keys
            .iter()
            .find(|key| key.usage == KeyUse::Records && key.id == id)
            .filter(|key| key.revoked_at_size.is_none_or(|size| index.0 < size))
            .map(|key| &key.key)
    }

    /// The keys that may sign the member's checkpoints.
    pub fn checkpoint_keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys
            .iter()
            .filter(|key| key.usage == KeyUse::Checkpoint && key.revoked_at_size.is_none())
            .map(|key| &key.key)
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
