//! What a log holds: a statement with its one signature, as DSSE v1.
//!
//! The payload type is fixed and so not carried; `dsse_json` gives the envelope
//! that other tools read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message;

use crate::ids::{Digest, Origin};
use crate::keys::{PublicKey, SIGNATURE_BYTES, SigningKey};
use crate::merkle;
use crate::record::{Body, RecordError, Statement, codec};
use crate::wire::v1;

/// The DSSE payload type of every statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.casegate.statement.v1+protobuf";

/// The largest entry, in bytes.
pub const ENTRY_BYTES_MAX: usize = 512;

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

/// An entry whose form is checked. Its signature is not, until
/// [`Entry::verify`], nor its place, until [`Entry::check_place`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The entry's bytes, as they stand in the log.
    pub bytes: Bytes,
    /// The statement, decoded.
    pub statement: Statement,
    signed: Bytes,
    signature: [u8; SIGNATURE_BYTES],
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
        let signature = key.sign(&pae(PAYLOAD_TYPE, &signed));
        let bytes = v1::Entry {
            statement: signed.clone(),
            signature: Some(v1::Signature {
                key_id: Bytes::copy_from_slice(key.id().as_bytes()),
                signature: Bytes::copy_from_slice(&signature),
            }),
        }
        .encode_to_vec();
        Self {
            bytes: bytes.into(),
            statement: statement.clone(),
            signed,
            signature,
        }
    }

    /// Reads an entry: fields in order, nothing else, at most
    /// [`ENTRY_BYTES_MAX`] bytes, and one key id in envelope and statement.
    ///
    /// # Errors
    /// [`RecordError`] for anything else. The signature is not looked at.
    pub fn parse(bytes: Bytes) -> Result<Self, RecordError> {
        const WHAT: &str = "entry";
        codec::within(WHAT, &bytes, ENTRY_BYTES_MAX)?;
        let (signed, signature) = split(&bytes).ok_or(RecordError::NotCanonical { what: WHAT })?;
        let statement = Statement::decode(signed)?;
        if signature.key_id != statement.key_id.as_bytes() {
            return Err(RecordError::Field {
                what: "entry key id",
            });
        }
        Ok(Self {
            signed: bytes.slice_ref(signed),
            signature: *signature.bytes,
            statement,
            bytes,
        })
    }

    /// Checks the signature strictly.
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
        key.verify(&pae(PAYLOAD_TYPE, &self.signed), &self.signature)
            .map_err(|_| RecordError::BadSignature)
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

    /// Returns the 64 bytes of the signature.
    #[must_use]
    pub fn signature(&self) -> &[u8; SIGNATURE_BYTES] {
        &self.signature
    }

    /// Writes the entry as a standard DSSE JSON envelope; the key id is hex.
    #[must_use]
    pub fn dsse_json(&self) -> String {
        serde_json::json!({
            "payloadType": PAYLOAD_TYPE,
            "payload": STANDARD.encode(&self.signed),
            "signatures": [{
                "keyid": self.statement.key_id.to_string(),
                "sig": STANDARD.encode(self.signature),
            }],
        })
        .to_string()
    }
}

/// The signature field of an entry, borrowed.
struct SignatureField<'a> {
    key_id: &'a [u8],
    bytes: &'a [u8; SIGNATURE_BYTES],
}

/// Splits an entry by its fixed layout: tag 1, statement, tag 2, {tag 1, four
/// bytes, tag 2, 64 bytes}. Taken apart by hand because it runs for every entry
/// that is received, and so that there is no second way to write one.
fn split(bytes: &[u8]) -> Option<(&[u8], SignatureField<'_>)> {
    const SIGNATURE_FIELD: usize = 2 + 4 + 2 + SIGNATURE_BYTES;
    let rest = bytes.strip_prefix(&[0x0a])?;
    let (length, rest) = length(rest)?;
    let (statement, rest) = rest.split_at_checked(length)?;
    let rest = rest.strip_prefix(&[0x12, u8::try_from(SIGNATURE_FIELD).ok()?])?;
    let rest = rest.strip_prefix(&[0x0a, 4])?;
    let (key_id, rest) = rest.split_at_checked(4)?;
    let rest = rest.strip_prefix(&[0x12, u8::try_from(SIGNATURE_BYTES).ok()?])?;
    let bytes = rest.try_into().ok()?;
    Some((statement, SignatureField { key_id, bytes }))
}

/// A varint of one or two bytes, in its shortest form: enough for 512 bytes.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [low, rest @ ..] if *low < 0x80 => Some((usize::from(*low), rest)),
        [low, high @ 1..0x80, rest @ ..] => {
            Some((usize::from(low & 0x7f) | usize::from(*high) << 7, rest))
        }
        _ => None,
    }
}
