//! Which algorithm a key is of, by its number, and a key as a roster lists it:
//! one that can be used here, or one of an algorithm that is not known here.

use std::fmt;
use std::sync::Arc;

use super::{KeyError, PublicKey};
use crate::ids::KeyId;

/// The most bytes of a public key whose algorithm is not known here.
pub const KEY_BYTES_MAX: usize = 8_192;

/// The algorithm of a signing key, or the suite of a token key. The numbers of
/// the two never overlap, so that no key id is one of both. A number that is
/// not known here is a value like any other: an id always tells its algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Algorithm(u8);

impl Algorithm {
    /// Ed25519 (RFC 8032), judged as [`PublicKey::verify`] does.
    pub const ED25519: Self = Self(1);
    /// ristretto255-SHA512 (RFC 9497), the one suite of token keys.
    pub const RISTRETTO255_SHA512: Self = Self(65);

    /// The signature algorithm of a number; `None` when it is not 1 to 64.
    #[must_use]
    pub fn of_signatures(number: u32) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (1..=64).contains(&number).then_some(Self(number))
    }

    /// The token suite of a number; `None` when it is not 65 to 127.
    #[must_use]
    pub fn of_tokens(number: u32) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (65..=127).contains(&number).then_some(Self(number))
    }

    /// What a key id says of its key.
    #[must_use]
    pub fn of(id: KeyId) -> Self {
        let [number, ..] = id.0;
        Self(number)
    }

    /// The number that stands in rosters and key ids.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// Says whether this software can use keys of it.
    #[must_use]
    pub fn is_known(self) -> bool {
        self == Self::ED25519 || self == Self::RISTRETTO255_SHA512
    }

    /// The id of a public key of this algorithm.
    #[must_use]
    pub fn id_of(self, public_key: &[u8]) -> KeyId {
        KeyId::of(self.0, public_key)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ED25519 => f.write_str("ed25519"),
            Self::RISTRETTO255_SHA512 => f.write_str("ristretto255-sha512"),
            Self(number) => write!(f, "{number}"),
        }
    }
}

impl fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Algorithm({self})")
    }
}

/// A public key as a roster lists it.
#[derive(Clone, PartialEq, Eq)]
pub enum ListedKey {
    /// One that can be used here.
    Usable(PublicKey),
    /// One of an algorithm that is not known here: nothing under it is checked.
    Newer {
        /// Its id, which tells the algorithm.
        id: KeyId,
        /// Its bytes.
        bytes: Arc<[u8]>,
    },
}

impl ListedKey {
    /// Reads the key of an algorithm.
    ///
    /// # Errors
    /// [`KeyError`] as [`PublicKey::from_slice`]; of an unknown algorithm a
    /// length that is not 1 to [`KEY_BYTES_MAX`].
    pub fn read(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        if algorithm == Algorithm::ED25519 {
            return PublicKey::from_slice(bytes).map(Self::Usable);
        }
        if !(1..=KEY_BYTES_MAX).contains(&bytes.len()) {
            return Err(KeyError::NewerLength { got: bytes.len() });
        }
        Ok(Self::Newer {
            id: algorithm.id_of(bytes),
            bytes: bytes.into(),
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        match self {
            Self::Usable(key) => key.id(),
            Self::Newer { id, .. } => *id,
        }
    }

    /// Its algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::of(self.id())
    }

    /// Its bytes, as the roster has them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Usable(key) => key.as_bytes(),
            Self::Newer { bytes, .. } => bytes,
        }
    }

    /// The key, if it can be used here.
    #[must_use]
    pub fn usable(&self) -> Option<&PublicKey> {
        match self {
            Self::Usable(key) => Some(key),
            Self::Newer { .. } => None,
        }
    }

    /// Says whether it is this key.
    #[must_use]
    pub fn is(&self, key: &PublicKey) -> bool {
        self.usable() == Some(key)
    }
}

impl From<PublicKey> for ListedKey {
    fn from(key: PublicKey) -> Self {
        Self::Usable(key)
    }
}

impl fmt::Debug for ListedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ListedKey({})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SigningKey;

    #[test]
    fn a_key_of_an_unknown_algorithm_is_kept_and_not_usable() {
        let nine = Algorithm::of_signatures(9).expect("a number of signatures");
        let key = ListedKey::read(nine, &[7; 1_952]).expect("a key");
        assert_eq!(key.usable(), None);
        assert_eq!((key.algorithm(), key.as_bytes().len()), (nine, 1_952));
        assert_eq!(key.id().0[0], 9);
        assert!(!nine.is_known());
        for length in [0, KEY_BYTES_MAX + 1] {
            assert_eq!(
                ListedKey::read(nine, &vec![7; length]),
                Err(KeyError::NewerLength { got: length })
            );
        }
    }

    #[test]
    fn numbers_of_signatures_and_of_tokens_do_not_overlap() {
        for number in [0, 65, 128, 256, 257, u32::MAX] {
            assert_eq!(Algorithm::of_signatures(number), None, "{number}");
        }
        for number in [0, 1, 64, 128, 256 + 65] {
            assert_eq!(Algorithm::of_tokens(number), None, "{number}");
        }
    }

    #[test]
    fn one_key_of_two_algorithms_has_two_ids() {
        let key = SigningKey::from_seed(&[9; 32]).expect("a seed");
        let bytes = key.public_key().as_bytes();
        let [a, b] = [1, 2].map(|n| Algorithm::of_signatures(n).expect("a number").id_of(bytes));
        assert_eq!(a, key.id());
        assert_ne!(a.0[1..], b.0[1..]);
        assert_eq!(Algorithm::of(a), Algorithm::ED25519);
    }
}
