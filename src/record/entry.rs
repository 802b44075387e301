//! What a log holds: a statement with its signatures, as DSSE v1.
//!
//! The payload type is fixed and so not carried; `dsse_json` gives the envelope
//! that other tools read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message;

use crate::ids::{Digest, KeyId, Origin};
use crate::keys::{PublicKey, SigningKey};
use crate::merkle;
use crate::record::envelope::{ENTRY_BYTES_MAX, bytes_max, split};
use crate::record::{Body, RecordError, Statement, codec};
use crate::wire::v1;

/// The DSSE payload type of every statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.casegate.statement.v1+protobuf";

/// Builds the bytes that DSSE v1 signs:
/// `DSSEv1 SP len(type) SP type SP len(payload) SP payload`.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut out = Vec::with_capacity(payload_type.len() + payload.len() + 40);
    write!(
        out,
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .expect("writing to a Vec does not fail");
    out.extend_from_slice(payload);
    out
}

/// One signature over an entry's statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySignature {
    /// The key that it says made it.
    pub key_id: KeyId,
    /// Its bytes; 64 for Ed25519.
    pub bytes: Bytes,
}

/// An entry whose form is checked. Its signatures are not, until
/// [`Entry::verify`] and [`Entry::verify_further`], nor its place, until
/// [`Entry::check_place`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The entry's bytes, as they stand in the log.
    pub bytes: Bytes,
    /// The statement, decoded.
    pub statement: Statement,
    signed: Bytes,
    signature: EntrySignature,
    further: Vec<EntrySignature>,
}

impl Entry {
    /// Signs a statement.
    ///
    /// # Panics
    /// When the statement names another key: such an entry would be refused.
    #[must_use]
    pub fn sign(statement: &Statement, key: &SigningKey) -> Self {
        assert_eq!(
            statement.key_id,
            key.id(),
            "a statement names the key that signs it"
        );
        let signed = statement.encode();
        let signature = EntrySignature {
            key_id: key.id(),
            bytes: Bytes::copy_from_slice(&key.sign(&pae(PAYLOAD_TYPE, &signed))),
        };
        let bytes = v1::Entry {
            statement: signed.clone(),
            signatures: vec![v1::Signature {
                key_id: Bytes::copy_from_slice(signature.key_id.as_bytes()),
                signature: signature.bytes.clone(),
            }],
        }
        .encode_to_vec();
        Self {
            bytes: bytes.into(),
            statement: statement.clone(),
            signed,
            signature,
            further: vec![],
        }
    }

    /// Reads an entry: fields in order, nothing else, no more bytes than its
    /// signatures' algorithms allow, no key id twice, and the first signature
    /// by the key that the statement names.
    ///
    /// # Errors
    /// [`RecordError`] for anything else. The signatures are not looked at.
    pub fn parse(bytes: Bytes) -> Result<Self, RecordError> {
        const WHAT: &str = "entry";
        codec::within(WHAT, &bytes, ENTRY_BYTES_MAX)?;
        let malformed = || RecordError::NotCanonical { what: WHAT };
        let (signed, fields) = split(&bytes).ok_or_else(malformed)?;
        codec::within(WHAT, &bytes, bytes_max(&fields))?;
        let statement = Statement::decode(signed)?;
        let mut signatures = fields.into_iter().map(|field| EntrySignature {
            key_id: field.key_id,
            bytes: bytes.slice_ref(field.bytes),
        });
        let signature = signatures.next().ok_or_else(malformed)?;
        if signature.key_id != statement.key_id {
            return Err(RecordError::Field {
                what: "entry key id",
            });
        }
        Ok(Self {
            signed: bytes.slice_ref(signed),
            signature,
            further: signatures.collect(),
            statement,
            bytes,
        })
    }

    /// Checks the first signature strictly: the one that decides.
    ///
    /// # Errors
    /// [`RecordError::OtherKey`] when the entry names another key,
    /// [`RecordError::BadSignature`] when the signature does not hold.
    pub fn verify(&self, key: &PublicKey) -> Result<(), RecordError> {
        if self.statement.key_id != key.id() {
            return Err(RecordError::OtherKey {
                entry: self.statement.key_id,
                key: key.id(),
            });
        }
        key.verify(&pae(PAYLOAD_TYPE, &self.signed), &self.signature.bytes)
            .map_err(|_| RecordError::BadSignature)
    }

    /// Checks each further signature whose key `key_of` knows as one of the
    /// author's; the others are passed over. Nobody but the author could add
    /// them: the leaf hash covers them.
    ///
    /// # Errors
    /// [`RecordError::BadSignature`] when one does not hold.
    pub fn verify_further<'a>(
        &self,
        key_of: impl Fn(KeyId) -> Option<&'a PublicKey>,
    ) -> Result<(), RecordError> {
        for one in &self.further {
            if let Some(key) = key_of(one.key_id) {
                key.verify(&pae(PAYLOAD_TYPE, &self.signed), &one.bytes)
                    .map_err(|_| RecordError::BadSignature)?;
            }
        }
        Ok(())
    }

    /// Checks that author, log, generation and federation are those of the log
    /// that the entry stands in.
    ///
    /// # Errors
    /// [`RecordError::Misplaced`] when they are not.
    pub fn check_place(&self, log: &Origin) -> Result<(), RecordError> {
        if self.statement.origin == *log {
            return Ok(());
        }
        Err(RecordError::Misplaced {
            statement: self.statement.origin.to_string(),
            log: log.to_string(),
        })
    }

    /// Decodes the body that the statement names, and checks that both agree on
    /// digest, type, end, and (for an element) federation and member.
    ///
    /// # Errors
    /// [`RecordError::OtherBody`] when these are not the bytes that were signed;
    /// [`RecordError::Unknown`] when they are of a later version and all of them
    /// that is known here holds; another one when the author signed what breaks
    /// a rule.
    pub fn open_body(&self, body: &[u8]) -> Result<Body, RecordError> {
        let Statement {
            origin,
            body_type,
            body_sha256: want,
            expires_at,
            ..
        } = &self.statement;
        let got = Digest::of(body);
        if got != *want {
            return Err(RecordError::OtherBody { want: *want, got });
        }
        codec::within("body", body, body_type.bytes_max(origin.log))?;
        let (known, newer) = Body::known_part(*body_type, body)?;
        if let Some(body) = &known
            && body.expires_at() != *expires_at
        {
            return Err(RecordError::Field {
                what: "expires_at of statement and body",
            });
        }
        if let Some(Body::Element(element)) = &known
            && (element.federation != origin.federation || element.member != origin.member)
        {
            return Err(RecordError::Field {
                what: "owner of the element",
            });
        }
        match (known, newer) {
            (_, Some(newer)) => Err(newer),
            (Some(body), None) => Ok(body),
            (None, None) => Err(RecordError::Field { what: "body" }),
        }
    }

    /// Returns the entry's leaf hash in its log's tree.
    #[must_use]
    pub fn leaf_hash(&self) -> Digest {
        merkle::leaf_hash(&self.bytes)
    }

    /// Returns the bytes of the statement, as signed.
    #[must_use]
    pub fn statement_bytes(&self) -> &Bytes {
        &self.signed
    }

    /// Returns the signatures in their order, the one that decides first.
    pub fn signatures(&self) -> impl Iterator<Item = &EntrySignature> {
        std::iter::once(&self.signature).chain(&self.further)
    }

    /// Writes the entry as a standard DSSE JSON envelope; key ids are hex.
    #[must_use]
    pub fn dsse_json(&self) -> String {
        let signature = |one: &EntrySignature| {
            serde_json::json!({
                "keyid": one.key_id.to_string(),
                "sig": STANDARD.encode(&one.bytes),
            })
        };
        serde_json::json!({
            "payloadType": PAYLOAD_TYPE,
            "payload": STANDARD.encode(&self.signed),
            "signatures": self.signatures().map(signature).collect::<Vec<_>>(),
        })
        .to_string()
    }
}
