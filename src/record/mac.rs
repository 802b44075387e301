//! Commitments and the other byte strings that are hashed or signed. Each field
//! is written as a u32 big-endian length and its bytes, so that no two lists of
//! fields give the same bytes.

use ring::hmac;

use crate::ids::{CaseRef, Digest, FederationId, KeyId, MemberId, Origin, Token};

/// Bytes of a commitment's salt.
pub const SALT_BYTES: usize = 32;

/// Computes an element's commitment: HMAC-SHA256 under the record's own salt
/// over label, federation, member, case ref, kind, key id, token, value.
#[must_use]
#[allow(
    clippy::too_many_arguments,
    reason = "one argument for each committed field"
)]
pub fn commitment(
    salt: &[u8; SALT_BYTES],
    federation: &FederationId,
    member: &MemberId,
    case_ref: &CaseRef,
    kind_name: &str,
    key_id: KeyId,
    token: &Token,
    canonical: &str,
) -> Digest {
    mac(
        salt,
        &fields(&[
            b"casegate/commit/v1",
            federation.as_str().as_bytes(),
            member.as_str().as_bytes(),
            case_ref.as_bytes(),
            kind_name.as_bytes(),
            key_id.as_bytes(),
            token.as_bytes(),
            canonical.as_bytes(),
        ]),
    )
}

/// Computes what travels in place of a purpose: HMAC-SHA256 under a salt of its
/// own over the purpose's bytes.
#[must_use]
pub fn purpose_commitment(salt: &[u8; SALT_BYTES], purpose_bytes: &[u8]) -> Digest {
    mac(salt, &fields(&[purpose_bytes]))
}

/// Computes what stands in the access log in place of a value that an officer
/// typed: HMAC-SHA256 under a salt that is not kept.
#[must_use]
pub fn typed_commitment(salt: &[u8; SALT_BYTES], typed: &str) -> Digest {
    mac(salt, &fields(&[b"casegate/officer/v2", typed.as_bytes()]))
}

/// Builds the bytes that an owner signs when it withholds the bodies of
/// `ranges` (start, end exclusive) of `origin` from `receiver`.
#[must_use]
pub fn withheld_bytes(
    origin: &Origin,
    receiver: &MemberId,
    roster_version: u64,
    ranges: &[(u64, u64)],
) -> Vec<u8> {
    let mut indices = Vec::with_capacity(16 * ranges.len());
    for (start, end) in ranges {
        indices.extend_from_slice(&start.to_be_bytes());
        indices.extend_from_slice(&end.to_be_bytes());
    }
    fields(&[
        b"casegate/withheld/v1",
        origin.to_string().as_bytes(),
        receiver.as_str().as_bytes(),
        &roster_version.to_be_bytes(),
        &indices,
    ])
}

fn mac(salt: &[u8; SALT_BYTES], message: &[u8]) -> Digest {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), message);
    let mut out = [0; 32];
    out.copy_from_slice(tag.as_ref());
    Digest(out)
}

fn fields(fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(fields.iter().map(|field| field.len() + 4).sum());
    for field in fields {
        let length = u32::try_from(field.len()).expect("a signed field is below 4 GiB");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(field);
    }
    out
}
