//! Turns signed bytes into a checked [`Roster`]: the form of every field, the
//! strength of every key, no identity twice, and enough of its own roots.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use rustls::pki_types::CertificateDer;

use super::{
    CUSTODIAN_POINTS_PER_DAY, CustodianShare, ENUMERABLE_POINTS_PER_DAY, Frozen, GRANTS_MAX, Grant,
    KEYS_PER_USE_MAX, KeyUse, MEMBERS_MAX, Member, MemberKey, MemberRole, OPEN_POINTS_PER_DAY,
    Policy, ROOTS_MAX, ROSTER_BYTES_MAX, Roster, RosterError, TOKEN_KEYS_MAX, TokenClass, TokenKey,
    TokenKeyState, signed_bytes,
};
use crate::ids::{Digest, FederationId, KeyId, MemberId};
use crate::keys::PublicKey;
use crate::wire::v1;

/// Says whether a token key's public shares fit its public key
/// (`Σ λ_i·Y_i = Y` for every threshold set); the OPRF part has the rule.
pub type ShareCheck = fn(&TokenKey) -> bool;

/// The most bytes of a name, region or contact.
const TEXT_BYTES_MAX: usize = 256;
/// The most custodians of a token key.
const CUSTODIANS_MAX: usize = 255;

/// A decoded signed roster whose fields are not yet checked.
#[derive(Clone, Debug)]
pub struct RawRoster {
    /// The roster's message.
    pub roster: v1::Roster,
    /// SHA-256 of the roster's bytes.
    pub digest: Digest,
    bytes: Bytes,
    signatures: Vec<v1::RosterSignature>,
    signed: Bytes,
}

impl RawRoster {
    /// Decodes a `SignedRoster` message.
    ///
    /// # Errors
    /// [`RosterError::Malformed`] when it is too big or does not decode.
    pub fn parse(signed: &[u8]) -> Result<Self, RosterError> {
        if signed.len() > ROSTER_BYTES_MAX {
            return Err(RosterError::Malformed {
                what: "more than 1 MiB",
            });
        }
        let signed = Bytes::copy_from_slice(signed);
        let outer =
            v1::SignedRoster::decode(signed.clone()).map_err(|_| RosterError::Malformed {
                what: "not a SignedRoster message",
            })?;
        let roster =
            v1::Roster::decode(outer.roster.clone()).map_err(|_| RosterError::Malformed {
                what: "not a Roster message",
            })?;
        if outer.signatures.len() > 2 * ROOTS_MAX {
            return Err(RosterError::Malformed {
                what: "more than 32 signatures",
            });
        }
        Ok(Self {
            roster,
            digest: Digest::of(&outer.roster),
            bytes: outer.roster,
            signatures: outer.signatures,
            signed,
        })
    }

    /// Checks that `want` different keys of `roots`, those of version `of`, have signed.
    ///
    /// # Errors
    /// [`RosterError::BadSignature`] when a signature in a root's name does not
    /// hold, [`RosterError::TooFewSignatures`] when too few hold.
    pub fn signed_by(&self, roots: &[PublicKey], want: usize, of: u64) -> Result<(), RosterError> {
        let version = self.roster.version;
        let message = signed_bytes(&self.bytes);
        let mut signers = BTreeSet::new();
        for signature in &self.signatures {
            let Some(root) = roots
                .iter()
                .find(|root| root.id().0[..] == signature.key_id[..])
            else {
                continue;
            };
            root.verify(&message, &signature.signature)
                .map_err(|_| RosterError::BadSignature {
                    version,
                    key: root.id(),
                })?;
            signers.insert(root.id());
        }
        if signers.len() < want {
            return Err(RosterError::TooFewSignatures {
                version,
                of,
                got: signers.len(),
                want,
            });
        }
        Ok(())
    }
}

/// Checks every field of a roster and the signatures of its own roots.
///
/// # Errors
/// [`RosterError`] naming the field and the rule.
pub fn read(raw: RawRoster, shares: ShareCheck) -> Result<Roster, RosterError> {
    let wire = &raw.roster;
    let at = At {
        version: wire.version,
    };
    if wire.version == 0 {
        return Err(at.field("version", "starts at 1"));
    }
    let federation = FederationId::new(&wire.federation)
        .map_err(|_| at.field("federation", "is not a federation's name"))?;
    let (roots, root_threshold) = read_roots(at, wire)?;
    raw.signed_by(&roots, root_threshold, wire.version)?;
    if wire.expires_at <= wire.issued_at {
        return Err(at.field("expires_at", "is not after issued_at"));
    }
    let members = read_members(at, wire)?;
    let token_keys = read_token_keys(at, wire, &members, shares)?;
    let policy = read_policy(at, wire.policy.as_ref(), &members)?;
    check_quorum(at, &members, policy.witness_quorum)?;
    Ok(Roster {
        version: wire.version,
        federation,
        previous: read_previous(at, wire)?,
        roots,
        root_threshold,
        members,
        token_keys,
        policy,
        issued_at: wire.issued_at,
        expires_at: wire.expires_at,
        digest: raw.digest,
        signed: raw.signed,
    })
}

/// A member that has witnesses must be able to have a quorum of them.
fn check_quorum(
    at: At,
    members: &BTreeMap<MemberId, Member>,
    quorum: u32,
) -> Result<(), RosterError> {
    let quorum = usize::try_from(quorum).unwrap_or(usize::MAX);
    let short = |member: &&Member| (1..quorum).contains(&member.witnesses.len());
    match members.values().find(short) {
        Some(member) => Err(at.field(
            format!("members[{}].witnesses", member.id),
            "are fewer than policy.witness_quorum",
        )),
        None => Ok(()),
    }
}

/// The version in whose name errors speak.
#[derive(Clone, Copy)]
struct At {
    version: u64,
}

impl At {
    fn field(self, field: impl Into<String>, why: &'static str) -> RosterError {
        RosterError::Field {
            version: self.version,
            field: field.into(),
            why,
        }
    }

    fn key(self, field: &str, bytes: &[u8]) -> Result<PublicKey, RosterError> {
        PublicKey::from_slice(bytes).map_err(|source| RosterError::Key {
            version: self.version,
            field: field.into(),
            source,
        })
    }

    fn text(self, field: &str, text: &str) -> Result<String, RosterError> {
        if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(self.field(field, "has more than 256 bytes, or control characters"));
        }
        Ok(text.to_owned())
    }

    fn member(self, field: &str, id: &str) -> Result<MemberId, RosterError> {
        MemberId::new(id).map_err(|_| self.field(field, "is not a member's name"))
    }
}

fn read_previous(at: At, wire: &v1::Roster) -> Result<Option<Digest>, RosterError> {
    match (wire.version, wire.previous_sha256.as_ref()) {
        (1, []) => Ok(None),
        (1, _) => Err(at.field("previous_sha256", "is set in version 1")),
        (_, bytes) => Digest::from_slice(bytes)
            .map(Some)
            .map_err(|_| at.field("previous_sha256", "does not have 32 bytes")),
    }
}

fn read_roots(at: At, wire: &v1::Roster) -> Result<(Vec<PublicKey>, usize), RosterError> {
    if wire.root_keys.is_empty() || wire.root_keys.len() > ROOTS_MAX {
        return Err(at.field("root_keys", "are not 1 to 16 keys"));
    }
    let mut seen = BTreeSet::new();
    let mut roots = Vec::new();
    for bytes in &wire.root_keys {
        let key = at.key("root_keys", bytes)?;
        if !seen.insert(key.id()) {
            return Err(at.field("root_keys", "name one key twice"));
        }
        roots.push(key);
    }
    let threshold = usize::try_from(wire.root_threshold).unwrap_or(usize::MAX);
    if threshold == 0 || threshold > roots.len() {
        return Err(at.field("root_threshold", "is not between 1 and the number of roots"));
    }
    Ok((roots, threshold))
}

fn read_members(at: At, wire: &v1::Roster) -> Result<BTreeMap<MemberId, Member>, RosterError> {
    if wire.members.is_empty() || wire.members.len() > MEMBERS_MAX {
        return Err(at.field("members", "are not 1 to 1,000 members"));
    }
    let mut members = BTreeMap::new();
    let mut endpoints = BTreeSet::new();
    let mut authorities = BTreeSet::new();
    let mut keys: BTreeSet<Vec<u8>> = wire.root_keys.iter().map(|k| k.to_vec()).collect();
    for wire_member in &wire.members {
        let member = read_member(at, wire_member)?;
        let field = format!("members[{}]", member.id);
        for (name, endpoint) in [
            ("peer_endpoint", &member.peer_endpoint),
            ("audit_endpoint", &member.audit_endpoint),
        ] {
            if !endpoint.is_empty() && !endpoints.insert(endpoint.clone()) {
                return Err(at.field(format!("{field}.{name}"), "stands here already"));
            }
        }
        if !authorities.insert(member.ca.clone()) {
            return Err(at.field(field + ".ca_certificate", "is another member's too"));
        }
        for key in &wire_member.keys {
            if !keys.insert(key.public_key.to_vec()) {
                return Err(at.field(field + ".keys", "name a key that stands here already"));
            }
        }
        if members.insert(member.id.clone(), member).is_some() {
            return Err(at.field(field, "is listed twice"));
        }
    }
    for member in members.values() {
        let strange =
            |w: &MemberId| *w == member.id || !members.get(w).is_some_and(Member::has_node);
        if member.witnesses.iter().any(strange) {
            let field = format!("members[{}].witnesses", member.id);
            return Err(at.field(
                field,
                "name the member itself, a stranger, or one without a node",
            ));
        }
    }
    Ok(members)
}

fn read_member(at: At, wire: &v1::RosterMember) -> Result<Member, RosterError> {
    let id = at.member("members.id", &wire.id)?;
    let field = |name: &str| format!("members[{id}].{name}");
    let role = match v1::MemberRole::try_from(wire.role) {
        Ok(v1::MemberRole::Bureau) => MemberRole::Bureau,
        Ok(v1::MemberRole::Department) => MemberRole::Department,
        Ok(v1::MemberRole::Auditor) => MemberRole::Auditor,
        Ok(v1::MemberRole::Unspecified) | Err(_) => {
            return Err(at.field(field("role"), "is none that is known"));
        }
    };
    let ca = CertificateDer::from(wire.ca_certificate.to_vec());
    if webpki::anchor_from_trusted_cert(&ca).is_err() {
        return Err(at.field(field("ca_certificate"), "is no DER certificate"));
    }
    // An auditor needs no node of its own; everybody else has one.
    let without_node = role == MemberRole::Auditor && wire.peer_endpoint.is_empty();
    if !without_node && !endpoint_ok(&wire.peer_endpoint) {
        return Err(at.field(field("peer_endpoint"), "is not host:port"));
    }
    if !wire.audit_endpoint.is_empty() && (without_node || !endpoint_ok(&wire.audit_endpoint)) {
        return Err(at.field(field("audit_endpoint"), "is not host:port of a node"));
    }
    if wire.records_generation == 0 || wire.access_generation == 0 {
        return Err(at.field(field("generation"), "starts at 1"));
    }
    let mut witnesses = Vec::new();
    for name in &wire.witnesses {
        let witness = at.member(&field("witnesses"), name)?;
        if witnesses.contains(&witness) {
            return Err(at.field(field("witnesses"), "name one member twice"));
        }
        witnesses.push(witness);
    }
    Ok(Member {
        role,
        name: at.text(&field("name"), &wire.name)?,
        region: at.text(&field("region"), &wire.region)?,
        ca: wire.ca_certificate.to_vec(),
        peer_endpoint: wire.peer_endpoint.clone(),
        audit_endpoint: wire.audit_endpoint.clone(),
        keys: read_keys(at, &id, &wire.keys)?,
        records_generation: wire.records_generation,
        access_generation: wire.access_generation,
        witnesses,
        desk_contact: at.text(&field("desk_contact"), &wire.desk_contact)?,
        frozen: read_frozen(at, &id, wire)?,
        id,
    })
}

fn endpoint_ok(endpoint: &str) -> bool {
    let Some((host, port)) = endpoint.rsplit_once(':') else {
        return false;
    };
    let host_ok = !host.is_empty()
        && host.len() <= 253
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    host_ok && port.parse::<u16>().is_ok_and(|number| number != 0)
}

fn read_keys(at: At, id: &MemberId, wire: &[v1::MemberKey]) -> Result<Vec<MemberKey>, RosterError> {
    let field = format!("members[{id}].keys");
    let mut keys: Vec<MemberKey> = Vec::new();
    for key in wire {
        let usage = match v1::KeyUse::try_from(key.r#use) {
            Ok(v1::KeyUse::Records) => KeyUse::Records,
            Ok(v1::KeyUse::Checkpoint) => KeyUse::Checkpoint,
            Ok(v1::KeyUse::Witness) => KeyUse::Witness,
            Ok(v1::KeyUse::Unspecified) | Err(_) => {
                return Err(at.field(field, "have a use that is not known"));
            }
        };
        let public = at.key(&field, &key.public_key)?;
        if key.key_id[..] != public.id().0[..] {
            return Err(at.field(field, "have an id that is not the key's"));
        }
        if key.valid_to != 0 && key.valid_to <= key.valid_from {
            return Err(at.field(field, "end before they begin"));
        }
        if keys.iter().any(|k| k.usage == usage && k.id == public.id()) {
            return Err(at.field(field, "have one id twice"));
        }
        if key.from_size != 0 && usage != KeyUse::Records {
            return Err(at.field(field, "have a first index, but do not sign records"));
        }
        keys.push(MemberKey {
            usage,
            id: public.id(),
            key: public,
            valid_from: key.valid_from,
            valid_to: (key.valid_to != 0).then_some(key.valid_to),
            revoked_at_size: key.revoked_at_size,
            from_size: key.from_size,
        });
        if keys.iter().filter(|k| k.usage == usage).count() > KEYS_PER_USE_MAX {
            return Err(at.field(field, "are more than 16 of one use"));
        }
    }
    Ok(keys)
}

fn read_frozen(at: At, id: &MemberId, wire: &v1::RosterMember) -> Result<Vec<Frozen>, RosterError> {
    let field = || format!("members[{id}].frozen");
    let mut frozen: Vec<Frozen> = Vec::new();
    for one in &wire.frozen {
        let after = frozen.last().map_or(0, |last| last.generation);
        if one.generation <= after || one.generation >= wire.records_generation {
            return Err(at.field(field(), "is not a past generation, each once, in order"));
        }
        let root = Digest::from_slice(&one.root)
            .map_err(|_| at.field(field(), "has a root that does not have 32 bytes"))?;
        frozen.push(Frozen {
            generation: one.generation,
            size: one.size,
            root,
        });
    }
    Ok(frozen)
}

fn class_of(at: At, field: &str, wire: i32) -> Result<TokenClass, RosterError> {
    match v1::TokenClass::try_from(wire) {
        Ok(v1::TokenClass::Enumerable) => Ok(TokenClass::Enumerable),
        Ok(v1::TokenClass::Open) => Ok(TokenClass::Open),
        Ok(v1::TokenClass::Unspecified) | Err(_) => {
            Err(at.field(field, "has a token class that is not known"))
        }
    }
}

fn read_token_keys(
    at: At,
    wire: &v1::Roster,
    members: &BTreeMap<MemberId, Member>,
    shares: ShareCheck,
) -> Result<Vec<TokenKey>, RosterError> {
    let field = "token_keys";
    if wire.token_keys.len() > TOKEN_KEYS_MAX {
        return Err(at.field(field, "are more than 32"));
    }
    let mut keys: Vec<TokenKey> = Vec::new();
    for one in &wire.token_keys {
        let key = read_token_key(at, one, members)?;
        if keys.iter().any(|other| other.id == key.id) {
            return Err(at.field(field, "have one id twice"));
        }
        let current = |k: &TokenKey| k.class == key.class && k.state == TokenKeyState::Current;
        if current(&key) && keys.iter().any(current) {
            return Err(at.field(field, "have two current keys of one class"));
        }
        if !shares(&key) {
            return Err(at.field(field, "have public shares that do not make the public key"));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn read_token_key(
    at: At,
    wire: &v1::TokenKey,
    members: &BTreeMap<MemberId, Member>,
) -> Result<TokenKey, RosterError> {
    let field = "token_keys";
    let point = |bytes: &[u8]| {
        <[u8; 32]>::try_from(bytes).map_err(|_| at.field(field, "have a point without 32 bytes"))
    };
    let state = match v1::TokenKeyState::try_from(wire.state) {
        Ok(v1::TokenKeyState::Next) => TokenKeyState::Next,
        Ok(v1::TokenKeyState::Dual) => TokenKeyState::Dual,
        Ok(v1::TokenKeyState::Current) => TokenKeyState::Current,
        Ok(v1::TokenKeyState::Retired) => TokenKeyState::Retired,
        Ok(v1::TokenKeyState::Unspecified) | Err(_) => {
            return Err(at.field(field, "have a state that is not known"));
        }
    };
    let public_key = point(&wire.public_key)?;
    let id = KeyId::of(&public_key);
    if wire.key_id[..] != id.0[..] {
        return Err(at.field(field, "have an id that is not the key's"));
    }
    if wire.shares.len() > CUSTODIANS_MAX {
        return Err(at.field(field, "have more than 255 custodians"));
    }
    let mut shares = Vec::new();
    let mut holders = BTreeSet::new();
    for (place, share) in (1_u16..).zip(&wire.shares) {
        let member = at.member(field, &share.member)?;
        if !members.contains_key(&member) || !holders.insert(member.clone()) {
            return Err(at.field(field, "have a custodian that is a stranger or stands twice"));
        }
        if share.index != u32::from(place) {
            return Err(at.field(field, "do not number their custodians 1 to n in order"));
        }
        shares.push(CustodianShare {
            member,
            index: place,
            public_share: point(&share.public_share)?,
        });
    }
    let threshold = u16::try_from(wire.threshold).unwrap_or(u16::MAX);
    if threshold == 0 || usize::from(threshold) > shares.len() {
        return Err(at.field(field, "have a threshold that is not between 1 and n"));
    }
    Ok(TokenKey {
        id,
        class: class_of(at, field, wire.token_class)?,
        threshold,
        public_key,
        shares,
        epoch: wire.epoch,
        state,
    })
}

fn read_policy(
    at: At,
    wire: Option<&v1::Policy>,
    members: &BTreeMap<MemberId, Member>,
) -> Result<Policy, RosterError> {
    let wire = wire.cloned().unwrap_or_default();
    let field = "policy.grants";
    if wire.grants.len() > GRANTS_MAX {
        return Err(at.field(field, "are more than 4,000"));
    }
    let mut grants = Vec::new();
    for grant in &wire.grants {
        let member = at.member(field, &grant.member)?;
        if !members.contains_key(&member) {
            return Err(at.field(field, "name a stranger"));
        }
        if grant.valid_to <= grant.valid_from {
            return Err(at.field(field, "end before they begin"));
        }
        grants.push(Grant {
            member,
            class: class_of(at, field, grant.token_class)?,
            points: grant.points,
            valid_from: grant.valid_from,
            valid_to: grant.valid_to,
        });
    }
    let or_default = |value: u64, default: u64| if value == 0 { default } else { value };
    Ok(Policy {
        enumerable_points_per_day: or_default(
            wire.enumerable_points_per_day,
            ENUMERABLE_POINTS_PER_DAY,
        ),
        open_points_per_day: or_default(wire.open_points_per_day, OPEN_POINTS_PER_DAY),
        custodian_points_per_day: or_default(
            wire.custodian_points_per_day,
            CUSTODIAN_POINTS_PER_DAY,
        ),
        witness_quorum: wire.witness_quorum,
        grants,
    })
}
