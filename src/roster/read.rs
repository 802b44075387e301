//! Turns signed bytes into a checked [`Roster`]: the form of every field, the
//! strength of every key, no identity twice, and enough of its own roots. What
//! is not known here is no error: it is listed, and has no effect.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use rustls::pki_types::CertificateDer;

use super::{
    Frozen, KEYS_PER_USE_MAX, KeyUse, MEMBERS_MAX, Member, MemberKey, MemberRole, Newer, ROOTS_MAX,
    ROSTER_BYTES_MAX, Roster, RosterError, TokenKey, What, signed_bytes,
};
use crate::features;
use crate::ids::{Digest, FederationId, MemberId};
use crate::keys::{Algorithm, ListedKey};
use crate::wire::v1;

mod tokens;

use tokens::{read_policy, read_token_keys};

/// Says whether a token key's public shares fit its public key
/// (`Σ λ_i·Y_i = Y` for every threshold set); the OPRF part has the rule.
pub type ShareCheck = fn(&TokenKey) -> bool;

/// The most bytes of a name, region or contact.
const TEXT_BYTES_MAX: usize = 256;

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
    /// hold, [`RosterError::TooFewSignatures`] when too few hold, or
    /// [`RosterError::Incompatible`] when there would be enough, if those under
    /// keys of unknown algorithms could be checked here.
    pub fn signed_by(&self, roots: &[ListedKey], want: usize, of: u64) -> Result<(), RosterError> {
        let version = self.roster.version;
        let message = signed_bytes(&self.bytes);
        let mut signers = BTreeSet::new();
        let mut unchecked = BTreeSet::new();
        for signature in &self.signatures {
            let Some(listed) = roots
                .iter()
                .find(|root| root.id().0[..] == signature.key_id[..])
            else {
                continue;
            };
            let Some(root) = listed.usable() else {
                unchecked.insert(listed.id());
                continue;
            };
            root.verify(&message, &signature.signature)
                .map_err(|_| RosterError::BadSignature {
                    version,
                    key: root.id(),
                })?;
            signers.insert(root.id());
        }
        let got = signers.len();
        if let Some(newer) = unchecked.first()
            && got < want
            && got + unchecked.len() >= want
        {
            return Err(RosterError::Incompatible {
                version,
                of,
                got,
                want,
                algorithm: Algorithm::of(*newer),
            });
        }
        if got < want {
            return Err(RosterError::TooFewSignatures {
                version,
                of,
                got,
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
    let newer = &mut Vec::new();
    if wire.encode_to_vec() != raw.bytes {
        newer.push(Newer {
            place: "roster".into(),
            what: What::Fields,
        });
    }
    let (roots, root_threshold) = read_roots(at, wire, newer)?;
    raw.signed_by(&roots, root_threshold, wire.version)?;
    if wire.expires_at <= wire.issued_at {
        return Err(at.field("expires_at", "is not after issued_at"));
    }
    let members = read_members(at, wire, newer)?;
    let token_keys = read_token_keys(at, wire, &members, shares, newer)?;
    let policy = read_policy(at, wire.policy.as_ref(), &members, newer)?;
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
        required_features: read_features(at, &wire.required_features)?,
        newer: std::mem::take(newer),
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

    /// Reads a key of an algorithm, and lists it where that is not known.
    fn key(
        self,
        field: &str,
        algorithm: u32,
        bytes: &[u8],
        newer: &mut Vec<Newer>,
    ) -> Result<ListedKey, RosterError> {
        let algorithm = Algorithm::of_signatures(algorithm)
            .ok_or_else(|| self.field(field, "have an algorithm that is not 1 to 64"))?;
        let key = ListedKey::read(algorithm, bytes).map_err(|source| RosterError::Key {
            version: self.version,
            field: field.into(),
            source,
        })?;
        if key.usable().is_none() {
            newer.push(Newer {
                place: format!("{field}[{}]", key.id()),
                what: What::Algorithm(algorithm.number()),
            });
        }
        Ok(key)
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

/// The words that a roster requires: sorted, each once.
fn read_features(at: At, words: &[String]) -> Result<Vec<String>, RosterError> {
    let field = "required_features";
    if words.len() > features::WORDS_MAX {
        return Err(at.field(field, "are more than 64"));
    }
    if !words.iter().all(|word| features::is_word(word)) {
        return Err(at.field(field, "are not words of 1 to 63 of a-z, 0-9, '-', '.'"));
    }
    if !words.is_sorted_by(|a, b| a < b) {
        return Err(at.field(field, "are not sorted, each once"));
    }
    Ok(words.to_vec())
}

fn read_roots(
    at: At,
    wire: &v1::Roster,
    newer: &mut Vec<Newer>,
) -> Result<(Vec<ListedKey>, usize), RosterError> {
    if wire.root_keys.is_empty() || wire.root_keys.len() > ROOTS_MAX {
        return Err(at.field("root_keys", "are not 1 to 16 keys"));
    }
    let mut seen = BTreeSet::new();
    let mut roots = Vec::new();
    for root in &wire.root_keys {
        let key = at.key("root_keys", root.algorithm, &root.public_key, newer)?;
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

fn read_members(
    at: At,
    wire: &v1::Roster,
    newer: &mut Vec<Newer>,
) -> Result<BTreeMap<MemberId, Member>, RosterError> {
    if wire.members.is_empty() || wire.members.len() > MEMBERS_MAX {
        return Err(at.field("members", "are not 1 to 1,000 members"));
    }
    let mut members = BTreeMap::new();
    let mut endpoints = BTreeSet::new();
    let mut authorities = BTreeSet::new();
    let roots = wire.root_keys.iter();
    let mut keys: BTreeSet<Vec<u8>> = roots.map(|k| k.public_key.to_vec()).collect();
    for wire_member in &wire.members {
        let member = read_member(at, wire_member, newer)?;
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

fn read_member(
    at: At,
    wire: &v1::RosterMember,
    newer: &mut Vec<Newer>,
) -> Result<Member, RosterError> {
    let id = at.member("members.id", &wire.id)?;
    let field = |name: &str| format!("members[{id}].{name}");
    let role = match v1::MemberRole::try_from(wire.role) {
        Ok(v1::MemberRole::Bureau) => MemberRole::Bureau,
        Ok(v1::MemberRole::Department) => MemberRole::Department,
        Ok(v1::MemberRole::Auditor) => MemberRole::Auditor,
        Ok(v1::MemberRole::Unspecified) => return Err(at.field(field("role"), "is not given")),
        Err(_) => {
            newer.push(Newer {
                place: field("role"),
                what: What::Role(wire.role),
            });
            MemberRole::Unknown(wire.role)
        }
    };
    let ca = CertificateDer::from(wire.ca_certificate.to_vec());
    if webpki::anchor_from_trusted_cert(&ca).is_err() {
        return Err(at.field(field("ca_certificate"), "is no DER certificate"));
    }
    // An auditor needs no node of its own; bureaus and departments have one.
    let may_lack = !matches!(role, MemberRole::Bureau | MemberRole::Department);
    let without_node = may_lack && wire.peer_endpoint.is_empty();
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
        keys: read_keys(at, &id, &wire.keys, newer)?,
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

fn read_keys(
    at: At,
    id: &MemberId,
    wire: &[v1::MemberKey],
    newer: &mut Vec<Newer>,
) -> Result<Vec<MemberKey>, RosterError> {
    let field = format!("members[{id}].keys");
    let mut keys: Vec<MemberKey> = Vec::new();
    for key in wire {
        let usage = match v1::KeyUse::try_from(key.r#use) {
            Ok(v1::KeyUse::Records) => KeyUse::Records,
            Ok(v1::KeyUse::Checkpoint) => KeyUse::Checkpoint,
            Ok(v1::KeyUse::Witness) => KeyUse::Witness,
            Ok(v1::KeyUse::Unspecified) => return Err(at.field(field, "have a use not given")),
            Err(_) => {
                newer.push(Newer {
                    place: format!("{field}[{}]", hex::encode(&key.key_id)),
                    what: What::Use(key.r#use),
                });
                KeyUse::Unknown(key.r#use)
            }
        };
        let public = at.key(&field, key.algorithm, &key.public_key, newer)?;
        if key.key_id[..] != public.id().0[..] {
            return Err(at.field(field, "have an id that is not the key's"));
        }
        if key.valid_to != 0 && key.valid_to <= key.valid_from {
            return Err(at.field(field, "end before they begin"));
        }
        if keys.iter().any(|k| k.usage == usage && k.id == public.id()) {
            return Err(at.field(field, "have one id twice"));
        }
        let has_no_range = matches!(usage, KeyUse::Checkpoint | KeyUse::Witness);
        if key.from_size != 0 && has_no_range {
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
