//! The small signed fact about one body: who, in which log, what, until when.

use bytes::Bytes;
use prost::Message;

use crate::clock::UnixSeconds;
use crate::ids::{Digest, FederationId, KeyId, LogName, MemberId, Origin};
use crate::record::{BodyType, RecordError, codec};
use crate::wire::v1;

/// The version that every statement carries.
const VERSION: u32 = 1;

/// A statement, checked. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The log that the statement is for; its member is the author.
    pub origin: Origin,
    /// What kind of body it names.
    pub body_type: BodyType,
    /// SHA-256 of the body's bytes.
    pub body_sha256: Digest,
    /// When the author signed, by his own clock.
    pub issued_at: UnixSeconds,
    /// When the body ends, the same as in the body; 0 for no end.
    pub expires_at: UnixSeconds,
    /// The key that signs.
    pub key_id: KeyId,
}

impl Statement {
    /// Encodes the statement. These bytes are what is signed.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let Origin {
            federation,
            member,
            log,
            generation,
        } = &self.origin;
        v1::Statement {
            version: VERSION,
            federation: federation.as_str().to_owned(),
            log: log_kind(*log).into(),
            generation: *generation,
            author: member.as_str().to_owned(),
            body_type: self.body_type.number(),
            body_sha256: Bytes::copy_from_slice(self.body_sha256.as_bytes()),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            key_id: Bytes::copy_from_slice(self.key_id.as_bytes()),
        }
        .encode_to_vec()
        .into()
    }

    /// Decodes a statement, which must be in its canonical encoding.
    ///
    /// # Errors
    /// [`RecordError::Unknown`] for another version, whatever follows in it; for
    /// a field with a value that it may not have, one that version 1 has not,
    /// and any other encoding, another one. Any type of body is taken: see
    /// [`BodyType::from_number`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if let Some(got) = other_version(bytes) {
            return Err(RecordError::Unknown {
                what: "statement version",
                got,
            });
        }
        let wire: v1::Statement = codec::decode("statement", bytes)?;
        if wire.version != VERSION {
            return Err(RecordError::Field {
                what: "statement version",
            });
        }
        let log = log_name(wire.log)?;
        let body_type = BodyType::from_number(wire.body_type)?;
        if !body_type.stands_in(log) {
            return Err(RecordError::Field {
                what: "body type of this log",
            });
        }
        if wire.generation == 0 {
            return Err(RecordError::Field { what: "generation" });
        }
        Ok(Self {
            origin: Origin {
                federation: FederationId::new(&wire.federation)?,
                member: MemberId::new(&wire.author)?,
                log,
                generation: wire.generation,
            },
            body_type,
            body_sha256: Digest::from_slice(&wire.body_sha256)?,
            issued_at: codec::time("issued_at", wire.issued_at)?,
            expires_at: codec::time("expires_at", wire.expires_at)?,
            key_id: KeyId::from_slice(&wire.key_id)?,
        })
    }
}

fn log_kind(log: LogName) -> v1::LogKind {
    match log {
        LogName::Records => v1::LogKind::Records,
        LogName::Access => v1::LogKind::Access,
    }
}

fn log_name(kind: i32) -> Result<LogName, RecordError> {
    match v1::LogKind::try_from(kind) {
        Ok(v1::LogKind::Records) => Ok(LogName::Records),
        Ok(v1::LogKind::Access) => Ok(LogName::Access),
        Ok(v1::LogKind::Unspecified) | Err(_) => Err(RecordError::Field { what: "log" }),
    }
}

/// The version with which a statement begins, where it is a later one.
fn other_version(bytes: &[u8]) -> Option<i64> {
    /// The tag of field 1, a varint.
    const TAG: u8 = 0x08;
    let version = match bytes {
        [TAG, low, ..] if *low < 0x80 => u32::from(*low),
        [TAG, low, high @ 1..0x80, ..] => u32::from(low & 0x7f) | u32::from(*high) << 7,
        _ => return None,
    };
    (version > VERSION).then_some(version.into())
}
