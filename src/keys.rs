//! Ed25519 keys: signing with ring, strict verification with ed25519-dalek.
//!
//! There is one verdict on a signature in casegate, [`PublicKey::verify`]: a
//! single, cofactorless check that refuses a non-canonical S and small-order
//! points. Batch verification may accept what this refuses, so it is not used:
//! two nodes must never disagree about an entry.

use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use ring::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::blame::{Blame, Blamed};
use crate::ids::{KeyId, random};

mod algorithm;

pub use algorithm::{Algorithm, KEY_BYTES_MAX, ListedKey};

/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Builds the bytes that DSSE v1 signs:
/// `DSSEv1 SP len(type) SP type SP len(payload) SP payload`.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    out.extend_from_slice(payload);
    out
}

/// Why bytes are not a key that may be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// A public key has 32 bytes.
    #[error("an Ed25519 public key has 32 bytes, not {got}")]
    Length {
        /// The length that it had.
        got: usize,
    },
    /// A public key of an unknown algorithm has 1 to [`KEY_BYTES_MAX`] bytes.
    #[error("a public key has 1 to {KEY_BYTES_MAX} bytes, not {got}")]
    NewerLength {
        /// The length that it had.
        got: usize,
    },
    /// The bytes are no point of the curve.
    #[error("the public key is not a point of the curve")]
    NotAPoint,
    /// The bytes are a point, but not in the one spelling that points have.
    #[error("the public key is not canonically encoded")]
    NotCanonical,
    /// A key for which signatures can be made up without a secret.
    #[error("the public key has small order")]
    SmallOrder,
    /// A key with a small-order component, on which verifiers disagree.
    #[error("the public key is not in the prime-order group")]
    NotTorsionFree,
    /// The seed was refused by the signing library.
    #[error("the seed does not make a signing key")]
    Seed,
}

impl Blamed for KeyError {
    fn blame(&self) -> Blame {
        match self {
            Self::Seed => Blame::Internal,
            Self::Length { .. }
            | Self::NewerLength { .. }
            | Self::NotAPoint
            | Self::NotCanonical
            | Self::SmallOrder
            | Self::NotTorsionFree => Blame::Misbehaved,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } | Self::NewerLength { .. } => "keys.length",
            Self::NotAPoint => "keys.not_a_point",
            Self::NotCanonical => "keys.not_canonical",
            Self::SmallOrder => "keys.small_order",
            Self::NotTorsionFree => "keys.not_torsion_free",
            Self::Seed => "keys.seed",
        }
    }
}

/// A signature that does not hold for the message and the key.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the signature does not hold")]
pub struct BadSignature;

impl Blamed for BadSignature {
    fn blame(&self) -> Blame {
        Blame::Misbehaved
    }

    fn code(&self) -> &'static str {
        "keys.bad_signature"
    }
}

/// A private Ed25519 key. Its seed is wiped when it is dropped.
pub struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    pair: Box<Ed25519KeyPair>,
    public: PublicKey,
}

impl SigningKey {
    /// Makes a new key from the operating system's randomness.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    #[must_use]
    pub fn generate() -> Self {
        let seed = Zeroizing::new(random::<32>());
        Self::from_seed(&seed).expect("every 32-byte seed makes a key of the prime-order group")
    }

    /// Makes the key of a seed (RFC 8032 section 5.1.5).
    ///
    /// # Errors
    /// [`KeyError`] when the libraries refuse the seed or the key it makes.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Seed)?;
        let public = PublicKey::from_slice(pair.public_key().as_ref())?;
        Ok(Self {
            seed: Zeroizing::new(*seed),
            pair: Box::new(pair),
            public,
        })
    }

    /// Returns a copy of the seed, to be stored where only the owner reads.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        self.seed.clone()
    }

    /// Returns the public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Returns the id of the public half.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.public.id
    }

    /// Signs `message`. The same message always gets the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut out = [0; SIGNATURE_BYTES];
        out.copy_from_slice(self.pair.sign(message).as_ref());
        out
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id)
    }
}

/// A public Ed25519 key that every tool reads the same way.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    point: VerifyingKey,
    id: KeyId,
}

impl PublicKey {
    /// Reads a public key and checks that no two verifiers can disagree on it.
    ///
    /// # Errors
    /// [`KeyError`] for a wrong length, no point, a second spelling of a point,
    /// and points with a small-order component.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: &[u8; 32] = bytes
            .try_into()
            .map_err(|_| KeyError::Length { got: bytes.len() })?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        let point = key.to_edwards();
        if point.is_small_order() {
            return Err(KeyError::SmallOrder);
        }
        if point.compress().as_bytes() != bytes {
            return Err(KeyError::NotCanonical);
        }
        if !point.is_torsion_free() {
            return Err(KeyError::NotTorsionFree);
        }
        Ok(Self {
            point: key,
            id: Algorithm::ED25519.id_of(bytes),
        })
    }

    /// Returns the 32 bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.point.as_bytes()
    }

    /// Returns the key's id, which begins with its algorithm.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Checks a signature strictly (RFC 8032 section 5.1.7, cofactorless, with
    /// small-order R refused): what this accepts, every tool accepts.
    ///
    /// # Errors
    /// [`BadSignature`] when the signature does not hold, whatever the reason.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let signature = Signature::from_slice(signature).map_err(|_| BadSignature)?;
        self.point
            .verify_strict(message, &signature)
            .map_err(|_| BadSignature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_over_other_bytes_or_by_another_key_is_refused() {
        let key = SigningKey::generate();
        let other = SigningKey::generate();
        let signature = key.sign(b"message");
        assert_eq!(
            key.public_key().verify(b"messagf", &signature),
            Err(BadSignature)
        );
        assert_eq!(
            other.public_key().verify(b"message", &signature),
            Err(BadSignature)
        );
        assert_eq!(
            key.public_key().verify(b"message", &signature[..63]),
            Err(BadSignature)
        );
        assert_eq!(key.public_key().verify(b"message", &signature), Ok(()));
    }

    #[test]
    fn weak_or_malformed_public_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_slice(&identity), Err(KeyError::SmallOrder));
        assert_eq!(PublicKey::from_slice(&[0; 32]), Err(KeyError::SmallOrder));
        assert_eq!(
            PublicKey::from_slice(&[7; 31]),
            Err(KeyError::Length { got: 31 })
        );
        let mut second_spelling = [0xff; 32];
        second_spelling[31] = 0x7f;
        assert!(PublicKey::from_slice(&second_spelling).is_err());
    }

    #[test]
    fn debug_shows_the_id_only() {
        let key = SigningKey::from_seed(&[9; 32]).expect("a seed");
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.id()));
    }
}
