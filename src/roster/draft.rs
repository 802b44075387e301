//! Makes a roster: fills the message, encodes it once, has roots sign it.
//! What comes out is only bytes; whoever uses it reads it back through the chain.

use bytes::Bytes;
use prost::Message;

use super::{KeyUse, MemberRole, PAYLOAD_TYPE, Roster, TokenClass, signed_bytes};
use crate::clock::UnixSeconds;
use crate::ids::{Digest, FederationId, MemberId};
use crate::keys::{Algorithm, PublicKey, SigningKey};
use crate::wire::v1;

/// One member as it will stand in a roster.
#[derive(Clone, Debug)]
pub struct MemberDraft {
    /// Its id.
    pub id: MemberId,
    /// What kind of organization it is.
    pub role: MemberRole,
    /// Its name for people.
    pub name: String,
    /// Its region.
    pub region: String,
    /// The DER certificate of its CA.
    pub ca: Vec<u8>,
    /// Where its node listens for peers, `host:port`; empty without a node.
    pub peer_endpoint: String,
    /// Where its node listens for auditors, `host:port`; may be empty.
    pub audit_endpoint: String,
    /// Its public keys.
    pub keys: Vec<(KeyUse, PublicKey)>,
    /// Whom to call.
    pub desk_contact: String,
    /// The members that witness it.
    pub witnesses: Vec<MemberId>,
}

impl MemberDraft {
    fn into_wire(self, now: UnixSeconds) -> v1::RosterMember {
        let keys = self
            .keys
            .iter()
            .map(|(usage, key)| wire_key(*usage, key, now))
            .collect();
        v1::RosterMember {
            id: self.id.to_string(),
            role: wire_role(self.role),
            name: self.name,
            region: self.region,
            ca_certificate: self.ca.into(),
            peer_endpoint: self.peer_endpoint,
            keys,
            records_generation: 1,
            access_generation: 1,
            witnesses: self.witnesses.iter().map(ToString::to_string).collect(),
            desk_contact: self.desk_contact,
            frozen: Vec::new(),
            audit_endpoint: self.audit_endpoint,
        }
    }
}

/// A roster in the making; its message is open to any change before it is signed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The message, as it will be encoded.
    pub wire: v1::Roster,
}

impl Draft {
    /// Begins roster 1 of a federation.
    #[must_use]
    pub fn first(
        federation: &FederationId,
        roots: &[PublicKey],
        root_threshold: u32,
        now: UnixSeconds,
        lifetime_s: i64,
    ) -> Self {
        let wire = v1::Roster {
            version: 1,
            federation: federation.to_string(),
            root_keys: roots.iter().map(root_key).collect(),
            root_threshold,
            policy: Some(v1::Policy::default()),
            issued_at: now,
            expires_at: now.saturating_add(lifetime_s),
            ..v1::Roster::default()
        };
        Self { wire }
    }

    /// Begins the version after `roster`, with all that stands in it.
    ///
    /// # Panics
    /// Never: a checked roster decodes.
    #[must_use]
    pub fn after(roster: &Roster, now: UnixSeconds, lifetime_s: i64) -> Self {
        let signed = v1::SignedRoster::decode(roster.signed.clone())
            .expect("a checked roster was decoded before");
        let mut wire =
            v1::Roster::decode(signed.roster).expect("a checked roster was decoded before");
        wire.version = roster.version.saturating_add(1);
        wire.previous_sha256 = Bytes::copy_from_slice(&roster.digest.0);
        wire.issued_at = now;
        wire.expires_at = now.saturating_add(lifetime_s);
        Self { wire }
    }

    /// Adds a member whose keys count from the roster's issue on.
    #[must_use]
    pub fn member(mut self, member: MemberDraft) -> Self {
        let now = self.wire.issued_at;
        self.wire.members.push(member.into_wire(now));
        self
    }

    /// Adds a token key, as the key generation made it.
    #[must_use]
    pub fn token_key(mut self, key: v1::TokenKey) -> Self {
        self.wire.token_keys.push(key);
        self
    }

    /// Adds a counted grant from the roster's issue for `lifetime_s` seconds.
    #[must_use]
    pub fn grant(
        mut self,
        member: &MemberId,
        class: TokenClass,
        points: u64,
        lifetime_s: i64,
    ) -> Self {
        let valid_from = self.wire.issued_at;
        self.wire
            .policy
            .get_or_insert_default()
            .grants
            .push(v1::Grant {
                member: member.to_string(),
                token_class: wire_class(class).into(),
                points,
                valid_from,
                valid_to: valid_from.saturating_add(lifetime_s),
            });
        self
    }

    /// Encodes the roster and signs it with every given root: a `SignedRoster`'s bytes.
    #[must_use]
    pub fn sign(&self, roots: &[&SigningKey]) -> Vec<u8> {
        let unsigned = v1::SignedRoster {
            roster: self.wire.encode_to_vec().into(),
            signatures: Vec::new(),
        };
        sign(unsigned, roots).encode_to_vec()
    }

    /// Returns the pin of the roster as it stands: SHA-256 of its bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.wire.encode_to_vec())
    }
}

/// Adds the signatures of `roots` to a roster, replacing their earlier ones.
///
/// The roster's bytes are signed as they stand, under [`PAYLOAD_TYPE`].
#[must_use]
pub fn sign(mut signed: v1::SignedRoster, roots: &[&SigningKey]) -> v1::SignedRoster {
    debug_assert!(!PAYLOAD_TYPE.contains(' '), "the payload type is one word");
    let message = signed_bytes(&signed.roster);
    for root in roots {
        let key_id = Bytes::copy_from_slice(&root.id().0);
        signed
            .signatures
            .retain(|signature| signature.key_id != key_id);
        let signature = Bytes::copy_from_slice(&root.sign(&message));
        signed
            .signatures
            .push(v1::RosterSignature { key_id, signature });
    }
    signed
}

/// Writes one key that counts from `now` on, without an end.
#[must_use]
pub fn wire_key(usage: KeyUse, key: &PublicKey, now: UnixSeconds) -> v1::MemberKey {
    let wire_use = match usage {
        KeyUse::Records => v1::KeyUse::Records.into(),
        KeyUse::Checkpoint => v1::KeyUse::Checkpoint.into(),
        KeyUse::Witness => v1::KeyUse::Witness.into(),
        KeyUse::Unknown(number) => number,
    };
    v1::MemberKey {
        r#use: wire_use,
        key_id: Bytes::copy_from_slice(&key.id().0),
        public_key: Bytes::copy_from_slice(key.as_bytes()),
        valid_from: now,
        valid_to: 0,
        revoked_at_size: None,
        from_size: 0,
        algorithm: Algorithm::ED25519.number().into(),
    }
}

/// Writes one root key.
#[must_use]
pub fn root_key(key: &PublicKey) -> v1::RootKey {
    v1::RootKey {
        algorithm: Algorithm::ED25519.number().into(),
        public_key: Bytes::copy_from_slice(key.as_bytes()),
    }
}

fn wire_role(role: MemberRole) -> i32 {
    match role {
        MemberRole::Bureau => v1::MemberRole::Bureau.into(),
        MemberRole::Department => v1::MemberRole::Department.into(),
        MemberRole::Auditor => v1::MemberRole::Auditor.into(),
        MemberRole::Unknown(number) => number,
    }
}

/// The wire's name of a token class.
#[must_use]
pub fn wire_class(class: TokenClass) -> v1::TokenClass {
    match class {
        TokenClass::Enumerable => v1::TokenClass::Enumerable,
        TokenClass::Open => v1::TokenClass::Open,
    }
}
