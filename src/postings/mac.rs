//! What stands in the index for tokens, values and rows: MACs under the node's
//! index key, so that the index holds none of them.

use std::fmt;

use ring::hmac;

use super::Mac;
use crate::ids::Token;

/// The node's index key, and the MACs that stand in the index for what is looked up.
#[derive(Clone)]
pub struct IndexKey(hmac::Key);

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexKey(..)")
    }
}

impl IndexKey {
    /// Takes the key's bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The MAC of a token under one token key.
    #[must_use]
    pub fn token(&self, token_key_id: &[u8], token: &Token) -> Mac {
        self.mac(b"token", &[token_key_id, token.as_bytes()])
    }

    /// The MAC of a value of a kind, for `Pointer::Value`.
    #[must_use]
    pub fn value(&self, kind: u8, canonical: &str) -> Mac {
        self.mac(b"value", &[&[kind], canonical.as_bytes()])
    }

    /// The MAC of a row's identity, its fields in a fixed order, for `Pointer::Row`.
    #[must_use]
    pub fn row(&self, fields: &[&[u8]]) -> Mac {
        self.mac(b"row", fields)
    }

    /// Every field is preceded by its length (u32-BE), so that no two lists of fields are equal.
    fn mac(&self, label: &[u8], fields: &[&[u8]]) -> Mac {
        let mut context = hmac::Context::with_key(&self.0);
        for field in std::iter::once(&label).chain(fields) {
            let length = u32::try_from(field.len()).expect("a field is below 4 GiB");
            context.update(&length.to_be_bytes());
            context.update(field);
        }
        let mut out = [0; 16];
        out.copy_from_slice(&context.sign().as_ref()[..16]);
        out
    }
}
