//! The hashes of the suite ristretto255-SHA512 in VOPRF mode (RFC 9497
//! sections 3.1 and 4.1, RFC 9380 section 5.3.1).

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest, Sha512};

const HASH_TO_GROUP: &[u8] = b"HashToGroup-OPRFV1-\x01-ristretto255-SHA512";
const HASH_TO_SCALAR: &[u8] = b"HashToScalar-OPRFV1-\x01-ristretto255-SHA512";
const SEED: &[u8] = b"Seed-OPRFV1-\x01-ristretto255-SHA512";

/// SHA-512's block, which `expand_message_xmd` puts before the message.
const Z_PAD: [u8; 128] = [0; 128];

/// A hash whose parts can carry the two-byte lengths of the RFC's transcripts.
struct Transcript(Sha512);

impl Transcript {
    fn new() -> Self {
        Self(Sha512::new())
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    /// Adds I2OSP(len, 2) ‖ bytes. Callers pass inputs that were checked
    /// against `INPUT_BYTES_MAX`, or fixed lengths.
    fn sized(self, bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).expect("lengths were checked to fit two bytes");
        self.raw(&length.to_be_bytes()).raw(bytes)
    }

    fn end(self) -> [u8; 64] {
        self.0.finalize().into()
    }
}

/// `expand_message_xmd` with SHA-512 to 64 bytes: one output block.
fn expand(parts: &[&[u8]], dst: &[u8]) -> [u8; 64] {
    let dst_length = [u8::try_from(dst.len()).expect("the tags are shorter than 256 bytes")];
    let mut first = Transcript::new().raw(&Z_PAD);
    for part in parts {
        first = first.raw(part);
    }
    let b0 = first.raw(&[0, 64, 0]).raw(dst).raw(&dst_length).end();
    Transcript::new()
        .raw(&b0)
        .raw(&[1])
        .raw(dst)
        .raw(&dst_length)
        .end()
}

/// Hashes an input to the group; nobody knows its discrete logarithm.
pub(super) fn hash_to_group(input: &[u8]) -> RistrettoPoint {
    RistrettoPoint::from_uniform_bytes(&expand(&[input], HASH_TO_GROUP))
}

fn hash_to_scalar(parts: &[&[u8]]) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&expand(parts, HASH_TO_SCALAR))
}

/// The last step of the OPRF (RFC 9497 section 3.3.1): binds input and N.
pub(super) fn finalize(input: &[u8], n: &[u8; 32]) -> [u8; 64] {
    Transcript::new()
        .sized(input)
        .sized(n)
        .raw(b"Finalize")
        .end()
}

/// The seed of a batch's composites (RFC 9497 section 2.2.1).
pub(super) fn composite_seed(public_share: &[u8; 32]) -> [u8; 64] {
    Transcript::new().sized(public_share).sized(SEED).end()
}

/// The weight of the pair (C, D) at `position` of a batch.
pub(super) fn composite_weight(
    seed: &[u8; 64],
    position: u16,
    c: &[u8; 32],
    d: &[u8; 32],
) -> Scalar {
    let position = position.to_be_bytes();
    hash_to_scalar(&[
        &[0, 64],
        seed,
        &position,
        &[0, 32],
        c,
        &[0, 32],
        d,
        b"Composite",
    ])
}

/// The challenge over the public share and the four points of the proof.
pub(super) fn challenge(public_share: &[u8; 32], points: [&[u8; 32]; 4]) -> Scalar {
    let [m, z, t2, t3] = points;
    let length: &[u8] = &[0, 32];
    hash_to_scalar(&[
        length,
        public_share,
        length,
        m,
        length,
        z,
        length,
        t2,
        length,
        t3,
        b"Challenge",
    ])
}

/// A proof nonce that stays secret if either the randomness is good or the
/// transcript is new: a copied virtual machine repeats its randomness.
pub(super) fn hedged_nonce(share: &Scalar, fresh: &[u8; 32], m: &[u8; 32], z: &[u8; 32]) -> Scalar {
    let wide = Transcript::new()
        .raw(b"casegate/proof-nonce/v1")
        .raw(share.as_bytes())
        .raw(fresh)
        .raw(m)
        .raw(z)
        .end();
    Scalar::from_bytes_mod_order_wide(&wide)
}
