//! What a member signs: statements, their entries, and the bodies they name.
//!
//! Bytes are encoded once and kept; readers accept only the one encoding that
//! the writer makes, so that a hash names one meaning. PROTOCOL.md has the
//! tables. Nothing here reads a clock or asks who may see what.

mod audience;
mod body;
mod codec;
mod entry;
mod mac;
mod newer;
mod receipts;
mod rules;
mod statement;

use crate::blame::{Blame, Blamed};
use crate::ids::{Digest, IdError, KeyId};

pub use crate::wire::v1::{ElementKind, ElementRole, RetractReason};
pub use audience::Audience;
pub use body::{
    AccessBody, AmendBody, Body, CaseNoticeBody, ENDED_ITEMS_MAX, ElementBody, ErasureBody,
    NONCE_BYTES, ReceiptBody, RetractBody,
};
pub use entry::{ENTRY_BYTES_MAX, Entry, PAYLOAD_TYPE, pae};
pub use mac::{SALT_BYTES, commitment, purpose_commitment, typed_commitment, withheld_bytes};
pub use newer::reading_version;
pub use receipts::{Answer, NO_END, ReceiptPlace, Receipts};
pub use rules::{BodyRules, BodyType, NewerType, Readers};
pub use statement::Statement;

/// The largest body of a records log, in bytes.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// The largest body of an access log, in bytes.
pub const ACCESS_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Why a statement, entry or body is refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordError {
    /// More bytes than the message may have.
    #[error("{what} of {got} bytes is over the limit of {max}")]
    TooBig {
        /// Which message.
        what: &'static str,
        /// Its bytes.
        got: usize,
        /// The bytes that it may have.
        max: usize,
    },
    /// The bytes are not the message, or not in its one encoding.
    #[error("{what} is not in its canonical encoding")]
    NotCanonical {
        /// Which message.
        what: &'static str,
    },
    /// A version, type, field or word of a later version.
    #[error("{what} {got} is not known")]
    Unknown {
        /// Which field.
        what: &'static str,
        /// Its value.
        got: i64,
    },
    /// A field with a value that it may not have.
    #[error("{what} is not well-formed")]
    Field {
        /// Which field.
        what: &'static str,
    },
    /// A name or identifier with a value that it may not have.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The statement belongs in another log than the one it stands in.
    #[error("the statement is for {statement}, not for {log}")]
    Misplaced {
        /// The log that the statement names.
        statement: String,
        /// The log that it stands in.
        log: String,
    },
    /// The entry names another key than the one it is checked with.
    #[error("the entry is signed with key {entry}, not {key}")]
    OtherKey {
        /// The key id in the entry.
        entry: KeyId,
        /// The id of the key it was checked with.
        key: KeyId,
    },
    /// The signature does not hold.
    #[error("the entry's signature does not hold")]
    BadSignature,
    /// The body is not the one that the statement names.
    #[error("the body has SHA-256 {got}, the statement says {want}")]
    OtherBody {
        /// The digest in the statement.
        want: Digest,
        /// The digest of the body.
        got: Digest,
    },
}

impl RecordError {
    /// Says whether what was read is of a later version rather than wrong.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

impl Blamed for RecordError {
    fn blame(&self) -> Blame {
        match self {
            Self::Unknown { .. } => Blame::Incompatible,
            Self::TooBig { .. }
            | Self::NotCanonical { .. }
            | Self::Field { .. }
            | Self::Id(_)
            | Self::Misplaced { .. }
            | Self::OtherKey { .. }
            | Self::BadSignature
            | Self::OtherBody { .. } => Blame::Misbehaved,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooBig { .. } => "record.too_big",
            Self::NotCanonical { .. } => "record.not_canonical",
            Self::Unknown { .. } => "record.unknown",
            Self::Field { .. } => "record.field",
            Self::Id(_) => "record.id",
            Self::Misplaced { .. } => "record.misplaced",
            Self::OtherKey { .. } => "record.other_key",
            Self::BadSignature => "record.bad_signature",
            Self::OtherBody { .. } => "record.other_body",
        }
    }
}
