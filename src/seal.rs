//! Sealing at rest under the node's seal key: AES-256-GCM with a fresh random
//! nonce, and an HMAC for look-up keys. For small tables; long-lived values
//! that must be erasable go through `shred`.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

use crate::ids::random;

/// What was sealed cannot be opened with this key, or was changed.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a sealed value does not open: another seal key, or damage")]
pub struct SealError;

/// The node's seal key, and the look-up key that is derived from it.
pub struct SealKey {
    aead: LessSafeKey,
    lookup: hmac::Key,
    bytes: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(..)")
    }
}

impl SealKey {
    /// Takes the 32 bytes of the key.
    ///
    /// # Panics
    /// Never: 32 bytes are an AES-256 key.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &bytes).expect("32 bytes are an AES-256 key");
        let master = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let derived = hmac::sign(&master, b"casegate/lookup/v1");
        Self {
            aead: LessSafeKey::new(key),
            lookup: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
            bytes: Zeroizing::new(bytes),
        }
    }

    /// The key's bytes, for the parts that derive keys of their own.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Seals `plain`, bound to `context`: nonce ‖ ciphertext ‖ tag.
    ///
    /// # Panics
    /// When `plain` is longer than AES-GCM can take (64 GiB).
    #[must_use]
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce = random::<NONCE_LEN>();
        let mut out = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        out.extend_from_slice(&nonce);
        let mut sealed = plain.to_vec();
        self.aead
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut sealed,
            )
            .expect("a value is shorter than 64 GiB");
        out.append(&mut sealed);
        out
    }

    /// Opens what [`SealKey::seal`] made under the same context.
    ///
    /// # Errors
    /// [`SealError`] for another key, another context or changed bytes.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .aead
            .open_in_place(nonce, Aad::from(context), &mut body)
            .map_err(|_| SealError)?
            .len();
        body.truncate(length);
        Ok(body)
    }

    /// The 16-byte look-up key of `fields` in the name space `space`: an HMAC
    /// over length-prefixed fields, so that an index never holds the fields.
    #[must_use]
    pub fn lookup(&self, space: &str, fields: &[&[u8]]) -> [u8; 16] {
        let mut mac = hmac::Context::with_key(&self.lookup);
        for field in std::iter::once(&space.as_bytes()).chain(fields) {
            let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
            mac.update(&length.to_be_bytes());
            mac.update(field);
        }
        let mut out = [0; 16];
        out.copy_from_slice(&mac.sign().as_ref()[..16]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_context_and_bytes_open() {
        let key = SealKey::new([1; 32]);
        let mut sealed = key.seal(b"case", b"value");
        assert_eq!(*key.open(b"case", &sealed).unwrap(), b"value");
        assert!(key.open(b"other", &sealed).is_err());
        assert!(SealKey::new([2; 32]).open(b"case", &sealed).is_err());
        assert!(key.open(b"case", &sealed[..5]).is_err());
        sealed[14] ^= 1;
        assert!(key.open(b"case", &sealed).is_err());
    }

    #[test]
    fn look_up_keys_do_not_confuse_fields() {
        let key = SealKey::new([1; 32]);
        assert_ne!(
            key.lookup("a", &[b"bc", b"d"]),
            key.lookup("a", &[b"b", b"cd"])
        );
        assert_ne!(key.lookup("a", &[b"b"]), key.lookup("b", &[b"b"]));
    }
}
