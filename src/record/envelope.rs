//! An entry's bytes taken apart by hand: the statement and its signatures.
//! By hand because it runs for every entry that is received, and so that there
//! is no second way to write one.

use crate::ids::KeyId;
use crate::keys::{Algorithm, SIGNATURE_BYTES};

/// The largest entry, in bytes: with a signature of an unknown algorithm.
pub const ENTRY_BYTES_MAX: usize = 16 * 1024;
/// The largest entry with one Ed25519 signature, in bytes.
pub const ENTRY_ED25519_BYTES_MAX: usize = 512;
/// How many bytes each further Ed25519 signature may add: those that it takes.
pub const ENTRY_FURTHER_BYTES: usize = 2 + SIGNATURE_FIELD;
/// The most signatures of one entry.
pub const ENTRY_SIGNATURES_MAX: usize = 4;

/// Bytes of an Ed25519 `Signature` message: tag, length, id; tag, length, signature.
const SIGNATURE_FIELD: usize = 2 + KEY_ID_BYTES + 2 + SIGNATURE_BYTES;
const KEY_ID_BYTES: usize = 8;

/// One signature of an entry, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SignatureField<'a> {
    pub(super) key_id: KeyId,
    pub(super) bytes: &'a [u8],
}

/// Splits an entry by its layout: tag 1, statement, then for each signature
/// tag 2, {tag 1, 8 bytes, tag 2, signature}; an Ed25519 signature has 64
/// bytes, one of another algorithm at least one. `None` for anything else,
/// for no or too many signatures, and for a key id that stands twice.
pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], Vec<SignatureField<'_>>)> {
    let (statement, mut rest) = field(0x0a, bytes)?;
    let mut signatures: Vec<SignatureField<'_>> = Vec::with_capacity(1);
    while !rest.is_empty() {
        let (message, behind) = field(0x12, rest)?;
        let one = signature(message)?;
        let twice = signatures.iter().any(|other| other.key_id == one.key_id);
        if twice || signatures.len() >= ENTRY_SIGNATURES_MAX {
            return None;
        }
        signatures.push(one);
        rest = behind;
    }
    (!signatures.is_empty()).then_some((statement, signatures))
}

/// How many bytes an entry with these signatures may have.
pub(super) fn bytes_max(signatures: &[SignatureField<'_>]) -> usize {
    let is_ed25519 = |one: &SignatureField<'_>| Algorithm::of(one.key_id) == Algorithm::ED25519;
    if signatures.iter().all(is_ed25519) {
        let further = signatures.len().saturating_sub(1);
        ENTRY_ED25519_BYTES_MAX + further * ENTRY_FURTHER_BYTES
    } else {
        ENTRY_BYTES_MAX
    }
}

fn signature(message: &[u8]) -> Option<SignatureField<'_>> {
    let (key_id, rest) = field(0x0a, message)?;
    let (bytes, rest) = field(0x12, rest)?;
    let key_id = KeyId::from_slice(key_id).ok()?;
    let fits = match Algorithm::of(key_id) {
        Algorithm::ED25519 => bytes.len() == SIGNATURE_BYTES,
        _ => !bytes.is_empty(),
    };
    (rest.is_empty() && fits).then_some(SignatureField { key_id, bytes })
}

/// One field of bytes with its tag, and what stands behind it.
fn field(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = length(bytes.strip_prefix(&[tag])?)?;
    rest.split_at_checked(length)
}

/// A varint of one or two bytes, in its shortest form: enough below 16 KiB.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [low, rest @ ..] if *low < 0x80 => Some((usize::from(*low), rest)),
        [low, high @ 1..0x80, rest @ ..] => {
            Some((usize::from(low & 0x7f) | usize::from(*high) << 7, rest))
        }
        _ => None,
    }
}
