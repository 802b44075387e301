//! The threshold OPRF: RFC 9497 VOPRF (mode 0x01, ristretto255-SHA512) whose
//! key is Shamir-shared among custodians.
//!
//! Pure: bytes in, bytes out; only randomness comes from outside. [`mod@blind`] and
//! [`combine`] are the member's side, [`evaluator`] is one custodian's, and
//! [`dkg`] makes the shares. Scalars that are secret (shares, blinds and their
//! inverses) are used in constant time; variable time is for public values.

pub mod blind;
pub mod combine;
pub mod dkg;
pub mod evaluator;
mod proof;
mod suite;

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;

use crate::blame::{Blame, Blamed};

pub use blind::{Blinding, blind, blind_batch, padding};
pub use combine::{Answer, Evaluation, KeySet, Refusals, Verified, verify_and_combine};
pub use evaluator::{Evaluated, Evaluator};

/// Bytes of one encoded point.
pub const POINT_BYTES: usize = 32;

/// Bytes of one batch proof: c ‖ s.
pub const PROOF_BYTES: usize = 64;

/// Points of one batch at most (PROTOCOL.md section 9: 32 bytes a point each way).
pub const BATCH_POINTS_MAX: usize = 4096;

/// Bytes of one input at most: RFC 9497 writes its length in two bytes.
pub const INPUT_BYTES_MAX: usize = 65_535;

/// Custodians of one token key at most; keeps the Lagrange integers small.
pub const CUSTODIANS_MAX: u16 = 16;

/// Why a batch, a share or an answer was refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum OprfError {
    /// An input that is longer than the RFC's length field can say.
    #[error("an input has {got} bytes, at most {INPUT_BYTES_MAX} are possible")]
    InputTooLong {
        /// The input's length in bytes.
        got: usize,
    },
    /// Points that are not a whole number of 32 bytes.
    #[error("{got} bytes of points are not a multiple of {POINT_BYTES}")]
    PointLength {
        /// The length in bytes.
        got: usize,
    },
    /// A batch of no points, of too many, or of another count than was asked.
    #[error("a batch of {got} points where {low} to {high} may stand")]
    BatchSize {
        /// The points that were there.
        got: usize,
        /// The fewest that may be.
        low: usize,
        /// The most that may be.
        high: usize,
    },
    /// A point that is the identity or not canonically encoded.
    #[error("point {position} is the identity or not canonical")]
    BadPoint {
        /// Its position in the batch, from 0.
        position: usize,
    },
    /// A scalar that is zero or not canonically encoded.
    #[error("a {what} is zero or not canonical")]
    BadScalar {
        /// Which scalar it is.
        what: &'static str,
    },
    /// A proof that does not hold against the custodian's public share.
    #[error("the proof of custodian {index} does not hold")]
    BadProof {
        /// The custodian's index.
        index: u16,
    },
    /// An index that is zero, unknown to the key, or there twice.
    #[error("custodian index {index} is zero, unknown or there twice")]
    BadIndex {
        /// The index.
        index: u16,
    },
    /// An answer of another share epoch; mixing epochs gives wrong tokens silently.
    #[error("an answer of epoch {got} where epoch {want} was asked")]
    Epoch {
        /// The answer's epoch.
        got: u32,
        /// The key's epoch.
        want: u32,
    },
    /// Fewer valid answers than the threshold.
    #[error("{got} valid answers where {want} are needed")]
    TooFew {
        /// The valid answers.
        got: usize,
        /// The threshold.
        want: usize,
    },
    /// Public shares that do not belong to the public key, or an impossible threshold.
    #[error("the public shares do not make up the public key: {reason}")]
    BadKeySet {
        /// What does not fit.
        reason: &'static str,
    },
}

impl Blamed for OprfError {
    fn blame(&self) -> Blame {
        match self {
            Self::TooFew { .. } => Blame::Unavailable,
            Self::Epoch { .. } => Blame::Stale,
            Self::InputTooLong { .. }
            | Self::PointLength { .. }
            | Self::BatchSize { .. }
            | Self::BadPoint { .. }
            | Self::BadScalar { .. }
            | Self::BadProof { .. }
            | Self::BadIndex { .. }
            | Self::BadKeySet { .. } => Blame::Misbehaved,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::InputTooLong { .. } => "oprf.input_too_long",
            Self::PointLength { .. } => "oprf.point_length",
            Self::BatchSize { .. } => "oprf.batch_size",
            Self::BadPoint { .. } => "oprf.bad_point",
            Self::BadScalar { .. } => "oprf.bad_scalar",
            Self::BadProof { .. } => "oprf.bad_proof",
            Self::BadIndex { .. } => "oprf.bad_index",
            Self::Epoch { .. } => "oprf.epoch",
            Self::TooFew { .. } => "oprf.too_few",
            Self::BadKeySet { .. } => "oprf.bad_key_set",
        }
    }
}

/// A batch of points, decoded once: every one canonical and none the identity.
#[derive(Clone)]
pub struct Points {
    bytes: Vec<u8>,
    points: Vec<RistrettoPoint>,
}

impl std::fmt::Debug for Points {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Points")
            .field("count", &self.points.len())
            .finish_non_exhaustive()
    }
}

impl Points {
    /// Decodes 1 to [`BATCH_POINTS_MAX`] points of 32 bytes each.
    ///
    /// # Errors
    /// [`OprfError::PointLength`], [`OprfError::BatchSize`], [`OprfError::BadPoint`].
    pub fn decode(bytes: &[u8]) -> Result<Self, OprfError> {
        let (chunks, rest) = bytes.as_chunks::<POINT_BYTES>();
        if !rest.is_empty() {
            return Err(OprfError::PointLength { got: bytes.len() });
        }
        if chunks.is_empty() || chunks.len() > BATCH_POINTS_MAX {
            return Err(OprfError::BatchSize {
                got: chunks.len(),
                low: 1,
                high: BATCH_POINTS_MAX,
            });
        }
        let points = chunks
            .iter()
            .enumerate()
            .map(|(position, chunk)| decode_point(chunk).ok_or(OprfError::BadPoint { position }))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            bytes: bytes.to_vec(),
            points,
        })
    }

    /// The number of points.
    #[must_use]
    pub fn count(&self) -> usize {
        self.points.len()
    }

    /// The points' encodings, in order.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Decodes one canonical point that is not the identity.
fn decode_point(bytes: &[u8; POINT_BYTES]) -> Option<RistrettoPoint> {
    CompressedRistretto(*bytes)
        .decompress()
        .filter(|point| !point.is_identity())
}

/// Decodes one canonical scalar that is not zero.
fn decode_scalar(bytes: &[u8; 32], what: &'static str) -> Result<Scalar, OprfError> {
    Option::<Scalar>::from(Scalar::from_canonical_bytes(*bytes))
        .filter(|scalar| *scalar != Scalar::ZERO)
        .ok_or(OprfError::BadScalar { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_and_non_canonical_points_are_refused() {
        let good = RistrettoPoint::mul_base(&Scalar::ONE).compress().to_bytes();
        let mut batch = good.to_vec();
        batch.extend_from_slice(&[0; 32]);
        assert_eq!(
            Points::decode(&batch).err(),
            Some(OprfError::BadPoint { position: 1 })
        );
        assert_eq!(
            Points::decode(&[0xff; 32]).err(),
            Some(OprfError::BadPoint { position: 0 })
        );
        // The field's prime itself: zero in a second spelling.
        let mut prime = [0xff; 32];
        prime[0] = 0xed;
        prime[31] = 0x7f;
        assert_eq!(
            Points::decode(&prime).err(),
            Some(OprfError::BadPoint { position: 0 })
        );
    }

    #[test]
    fn odd_lengths_and_batches_of_none_or_too_many_are_refused() {
        let good = RistrettoPoint::mul_base(&Scalar::ONE).compress().to_bytes();
        for odd in [31, 33] {
            let bytes: Vec<u8> = good.iter().copied().cycle().take(odd).collect();
            assert_eq!(
                Points::decode(&bytes).err(),
                Some(OprfError::PointLength { got: odd })
            );
        }
        assert!(matches!(
            Points::decode(&[]),
            Err(OprfError::BatchSize { got: 0, .. })
        ));
        assert_eq!(
            Points::decode(&good.repeat(BATCH_POINTS_MAX))
                .unwrap()
                .count(),
            4096
        );
        let over = good.repeat(BATCH_POINTS_MAX + 1);
        assert!(matches!(
            Points::decode(&over),
            Err(OprfError::BatchSize { got: 4097, .. })
        ));
    }
}
