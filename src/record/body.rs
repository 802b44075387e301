//! The facts themselves: the bytes that a statement names by their digest.
//! Bodies can be erased; statements stay.

mod access;
mod ended;

use bytes::Bytes;
use prost::Message;

use crate::clock::UnixSeconds;
use crate::ids::{CaseRef, Digest, FederationId, KeyId, LogIndex, MemberId, Token};
use crate::record::{
    ACCESS_BODY_BYTES_MAX, Audience, BodyType, ElementKind, ElementRole, RecordError,
    RetractReason, codec, newer,
};
use crate::wire::v1;

pub use crate::wire::v1::{AccessBody, ErasureBody, ReceiptBody};
pub use ended::ENDED_ITEMS_MAX;

/// Random bytes with which every body begins.
pub const NONCE_BYTES: usize = 16;

const CATEGORY_BYTES_MAX: usize = 256;
const DESK_BYTES_MAX: usize = 512;
const HANDLING_BYTES_MAX: usize = 128;

/// One piece of evidence in a case, under its pseudonym.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementBody {
    /// Fresh random bytes.
    pub nonce: [u8; NONCE_BYTES],
    /// The federation whose keys made the token.
    pub federation: FederationId,
    /// The owner.
    pub member: MemberId,
    /// The case that the element is in.
    pub case_ref: CaseRef,
    /// What kind of value it is.
    pub kind: ElementKind,
    /// The pseudonym of kind and canonical value.
    pub token: Token,
    /// The token key that made it.
    pub token_key_id: KeyId,
    /// Binds value, token, case and owner; see [`crate::record::commitment`].
    pub commitment: Digest,
    /// Whose it is in the case.
    pub role: ElementRole,
    /// The day it was observed, in days since 1970; 0 for not given.
    pub observed_on: i32,
    /// Who may receive this body.
    pub audience: Audience,
    /// The handling code; may be empty.
    pub handling: String,
    /// When the body ends; 0 for no end.
    pub expires_at: UnixSeconds,
    /// The version of the rules that made the value canonical.
    pub canonical_rules: u32,
}

/// What others may know of a case beside its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseNoticeBody {
    /// Fresh random bytes.
    pub nonce: [u8; NONCE_BYTES],
    /// The case.
    pub case_ref: CaseRef,
    /// The category of the offence.
    pub category: String,
    /// The month of the case as year · 100 + month; 0 for not given.
    pub month: u32,
    /// Whom to contact.
    pub desk: String,
    /// When the body ends; 0 for no end.
    pub expires_at: UnixSeconds,
    /// Who may receive this body.
    pub audience: Audience,
}

/// New attributes of an element that stands earlier in the same log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmendBody {
    /// Fresh random bytes.
    pub nonce: [u8; NONCE_BYTES],
    /// Where the amended entry stands.
    pub target_index: LogIndex,
    /// The leaf hash of the amended entry.
    pub target_leaf: Digest,
    /// The day it was observed, in days since 1970; 0 for not given.
    pub observed_on: i32,
    /// Who may receive the element from now on.
    pub audience: Audience,
    /// The handling code; may be empty.
    pub handling: String,
    /// When the element and this body end; 0 for no end.
    pub expires_at: UnixSeconds,
}

/// Ends earlier bodies of the same log: every holder removes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetractBody {
    /// Fresh random bytes.
    pub nonce: [u8; NONCE_BYTES],
    /// The indices (start, end exclusive): sorted, apart, at least one.
    pub targets: Vec<(LogIndex, LogIndex)>,
    /// Why.
    pub reason: RetractReason,
}

/// A body of any type.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// One piece of evidence.
    Element(ElementBody),
    /// One case.
    CaseNotice(CaseNoticeBody),
    /// A change of an element's attributes.
    Amend(AmendBody),
    /// An end of earlier bodies.
    Retract(RetractBody),
    /// What this member did with bodies of another that ended.
    Receipt(ReceiptBody),
    /// What the owner erased, and who owes a receipt for it.
    Erasure(ErasureBody),
    /// One line of the access log.
    Access(AccessBody),
}

impl Body {
    /// Returns the body's type.
    #[must_use]
    pub fn body_type(&self) -> BodyType {
        match self {
            Self::Element(_) => BodyType::Element,
            Self::CaseNotice(_) => BodyType::CaseNotice,
            Self::Amend(_) => BodyType::Amend,
            Self::Retract(_) => BodyType::Retract,
            Self::Receipt(_) => BodyType::Receipt,
            Self::Erasure(_) => BodyType::Erasure,
            Self::Access(_) => BodyType::Access,
        }
    }

    /// Returns when the body ends; 0 for no end.
    #[must_use]
    pub fn expires_at(&self) -> UnixSeconds {
        match self {
            Self::Element(body) => body.expires_at,
            Self::CaseNotice(body) => body.expires_at,
            Self::Amend(body) => body.expires_at,
            Self::Retract(_) | Self::Receipt(_) | Self::Erasure(_) | Self::Access(_) => 0,
        }
    }

    /// Returns who may receive the body; `None` where its log decides:
    /// retractions and receipts go to all who read the log, erasures and access
    /// lines to auditors.
    #[must_use]
    pub fn audience(&self) -> Option<&Audience> {
        match self {
            Self::Element(body) => Some(&body.audience),
            Self::CaseNotice(body) => Some(&body.audience),
            Self::Amend(body) => Some(&body.audience),
            Self::Retract(_) | Self::Receipt(_) | Self::Erasure(_) | Self::Access(_) => None,
        }
    }

    /// Encodes the body. Encode once and keep the bytes: their digest is signed.
    ///
    /// A body that [`Body::check`] refuses is encoded all the same, and then
    /// refused by every reader.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Element(body) => body.to_wire().encode_to_vec(),
            Self::CaseNotice(body) => body.to_wire().encode_to_vec(),
            Self::Amend(body) => body.to_wire().encode_to_vec(),
            Self::Retract(body) => body.to_wire().encode_to_vec(),
            Self::Receipt(body) => body.encode_to_vec(),
            Self::Erasure(body) => body.encode_to_vec(),
            Self::Access(body) => body.encode_to_vec(),
        }
        .into()
    }

    /// Decodes a body, which must be in its canonical encoding.
    ///
    /// # Errors
    /// [`RecordError::Unknown`] for a body of a later version: of an unknown
    /// type, or one that holds but for a field, kind, role, reason or scope that
    /// is not known. Any other [`RecordError`] for a body over the limit of its
    /// type, a field with a value that it may not have, and any other encoding.
    pub fn decode(body_type: BodyType, bytes: &[u8]) -> Result<Self, RecordError> {
        match Self::known_part(body_type, bytes)? {
            (Some(body), None) => Ok(body),
            (_, Some(newer)) => Err(newer),
            (None, None) => Err(unknown_type(body_type)),
        }
    }

    /// Decodes what this version knows of a body, and says what it does not.
    pub(super) fn known_part(
        body_type: BodyType,
        bytes: &[u8],
    ) -> Result<(Option<Self>, Option<RecordError>), RecordError> {
        if !body_type.is_known() {
            codec::within("body", bytes, ACCESS_BODY_BYTES_MAX)?;
            return Ok((None, Some(unknown_type(body_type))));
        }
        codec::within("body", bytes, body_type.rules().bytes_max)?;
        let error = match Self::decode_known(body_type, bytes) {
            Ok(body) => return Ok((Some(body), None)),
            Err(error) => error,
        };
        let Some(newer) = newer::newer(body_type, bytes) else {
            // An unknown word that nobody could have written.
            return Err(match error {
                RecordError::Unknown { what, .. } => RecordError::Field { what },
                error => error,
            });
        };
        let body = Self::decode_known(body_type, &newer.known)?;
        Ok((Some(body), Some(newer.first)))
    }

    fn decode_known(body_type: BodyType, bytes: &[u8]) -> Result<Self, RecordError> {
        let body = match body_type {
            BodyType::Element => {
                Self::Element(ElementBody::from_wire(codec::decode("element", bytes)?)?)
            }
            BodyType::CaseNotice => Self::CaseNotice(CaseNoticeBody::from_wire(codec::decode(
                "case notice",
                bytes,
            )?)?),
            BodyType::Amend => Self::Amend(AmendBody::from_wire(codec::decode("amend", bytes)?)?),
            BodyType::Retract => {
                Self::Retract(RetractBody::from_wire(codec::decode("retract", bytes)?)?)
            }
            BodyType::Receipt => Self::Receipt(codec::decode("receipt", bytes)?),
            BodyType::Erasure => Self::Erasure(codec::decode("erasure", bytes)?),
            BodyType::Access => Self::Access(codec::decode("access", bytes)?),
            BodyType::Newer(_) => return Err(unknown_type(body_type)),
        };
        body.check()?;
        Ok(body)
    }

    /// Checks the values of the fields, as every reader will. For a writer: call
    /// it on what came from an officer, before it is signed.
    ///
    /// # Errors
    /// [`RecordError::Field`] for a value that its field may not have.
    pub fn check(&self) -> Result<(), RecordError> {
        match self {
            Self::Element(body) => body.check(),
            Self::CaseNotice(body) => body.check(),
            Self::Amend(body) => body.check(),
            Self::Retract(body) => body.check(),
            Self::Receipt(body) => ended::check_receipt(body),
            Self::Erasure(body) => ended::check_erasure(body),
            Self::Access(body) => access::check(body),
        }
    }
}

impl ElementBody {
    fn to_wire(&self) -> v1::ElementBody {
        v1::ElementBody {
            nonce: copy(&self.nonce),
            federation: self.federation.to_string(),
            member: self.member.to_string(),
            case_ref: copy(self.case_ref.as_bytes()),
            kind: self.kind.into(),
            token: copy(self.token.as_bytes()),
            token_key_id: copy(self.token_key_id.as_bytes()),
            commitment: copy(self.commitment.as_bytes()),
            role: self.role.into(),
            observed_on: self.observed_on,
            audience: Some(self.audience.to_wire()),
            handling: self.handling.clone(),
            expires_at: self.expires_at,
            canonical_rules: self.canonical_rules,
        }
    }

    fn from_wire(wire: v1::ElementBody) -> Result<Self, RecordError> {
        Ok(Self {
            nonce: codec::array("nonce", &wire.nonce)?,
            federation: FederationId::new(&wire.federation)?,
            member: MemberId::new(&wire.member)?,
            case_ref: CaseRef::from_slice(&wire.case_ref)?,
            kind: known("kind", wire.kind)?,
            token: Token::from_slice(&wire.token)?,
            token_key_id: KeyId::from_slice(&wire.token_key_id)?,
            commitment: Digest::from_slice(&wire.commitment)?,
            role: known("role", wire.role)?,
            observed_on: wire.observed_on,
            audience: Audience::from_wire(wire.audience)?,
            handling: wire.handling,
            expires_at: wire.expires_at,
            canonical_rules: wire.canonical_rules,
        })
    }

    fn check(&self) -> Result<(), RecordError> {
        specified("kind", self.kind.into())?;
        specified("role", self.role.into())?;
        self.audience.check()?;
        codec::text("handling", &self.handling, HANDLING_BYTES_MAX)?;
        codec::time("expires_at", self.expires_at)?;
        if self.canonical_rules == 0 {
            return Err(RecordError::Field {
                what: "canonical_rules",
            });
        }
        Ok(())
    }
}

impl CaseNoticeBody {
    fn to_wire(&self) -> v1::CaseNoticeBody {
        v1::CaseNoticeBody {
            nonce: copy(&self.nonce),
            case_ref: copy(self.case_ref.as_bytes()),
            category: self.category.clone(),
            month: self.month,
            desk: self.desk.clone(),
            expires_at: self.expires_at,
            audience: Some(self.audience.to_wire()),
        }
    }

    fn from_wire(wire: v1::CaseNoticeBody) -> Result<Self, RecordError> {
        Ok(Self {
            nonce: codec::array("nonce", &wire.nonce)?,
            case_ref: CaseRef::from_slice(&wire.case_ref)?,
            category: wire.category,
            month: wire.month,
            desk: wire.desk,
            expires_at: wire.expires_at,
            audience: Audience::from_wire(wire.audience)?,
        })
    }

    fn check(&self) -> Result<(), RecordError> {
        codec::text("category", &self.category, CATEGORY_BYTES_MAX)?;
        codec::text("desk", &self.desk, DESK_BYTES_MAX)?;
        codec::time("expires_at", self.expires_at)?;
        let (year, month) = (self.month / 100, self.month % 100);
        let is_month = (1900..=9999).contains(&year) && (1..=12).contains(&month);
        if self.month != 0 && !is_month {
            return Err(RecordError::Field { what: "month" });
        }
        self.audience.check()
    }
}

impl AmendBody {
    fn to_wire(&self) -> v1::AmendBody {
        v1::AmendBody {
            nonce: copy(&self.nonce),
            target_index: self.target_index.0,
            target_leaf: copy(self.target_leaf.as_bytes()),
            observed_on: self.observed_on,
            audience: Some(self.audience.to_wire()),
            handling: self.handling.clone(),
            expires_at: self.expires_at,
        }
    }

    fn from_wire(wire: v1::AmendBody) -> Result<Self, RecordError> {
        Ok(Self {
            nonce: codec::array("nonce", &wire.nonce)?,
            target_index: LogIndex(wire.target_index),
            target_leaf: Digest::from_slice(&wire.target_leaf)?,
            observed_on: wire.observed_on,
            audience: Audience::from_wire(wire.audience)?,
            handling: wire.handling,
            expires_at: wire.expires_at,
        })
    }

    fn check(&self) -> Result<(), RecordError> {
        self.audience.check()?;
        codec::text("handling", &self.handling, HANDLING_BYTES_MAX)?;
        codec::time("expires_at", self.expires_at)?;
        Ok(())
    }
}

impl RetractBody {
    fn to_wire(&self) -> v1::RetractBody {
        let range = |&(start, end): &(LogIndex, LogIndex)| v1::IndexRange {
            start: start.0,
            end: end.0,
        };
        v1::RetractBody {
            nonce: copy(&self.nonce),
            targets: self.targets.iter().map(range).collect(),
            reason: self.reason.into(),
        }
    }

    fn from_wire(wire: v1::RetractBody) -> Result<Self, RecordError> {
        let range = |range: &v1::IndexRange| (LogIndex(range.start), LogIndex(range.end));
        Ok(Self {
            nonce: codec::array("nonce", &wire.nonce)?,
            targets: wire.targets.iter().map(range).collect(),
            reason: known("reason", wire.reason)?,
        })
    }

    /// Ranges that touch are one range: a set of indices has one spelling.
    fn check(&self) -> Result<(), RecordError> {
        specified("reason", self.reason.into())?;
        let filled = self.targets.iter().all(|(start, end)| start < end);
        let apart = self.targets.is_sorted_by(|left, right| left.1 < right.0);
        if self.targets.is_empty() || !filled || !apart {
            return Err(RecordError::Field { what: "targets" });
        }
        Ok(())
    }
}

fn unknown_type(body_type: BodyType) -> RecordError {
    RecordError::Unknown {
        what: "body type",
        got: body_type.number().into(),
    }
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// Reads an enum's number; 0 is left to [`specified`].
fn known<E: TryFrom<i32>>(what: &'static str, number: i32) -> Result<E, RecordError> {
    E::try_from(number).map_err(|_| RecordError::Unknown {
        what,
        got: number.into(),
    })
}

/// Refuses the 0 that proto3 gives to an enum that was not written.
fn specified(what: &'static str, number: i32) -> Result<(), RecordError> {
    if number == 0 {
        Err(RecordError::Field { what })
    } else {
        Ok(())
    }
}
