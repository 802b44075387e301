//! What of a body's bytes this version knows. New fields get higher numbers, so
//! in a canonical encoding they stand last in their message; new words of a
//! closed set get higher numbers too. A walk over the wire's bytes, by a table
//! of the fields known here, takes both out: what is left must be a body that
//! holds, and then the whole is newer; otherwise it is broken.

use std::fmt::Write;
use std::sync::LazyLock;

use crate::ids::Digest;
use crate::record::{BodyType, RecordError};
use crate::wire::v1;

/// A field of a signed message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) form: Form,
}

/// How a field is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// A varint whose values are judged elsewhere.
    Number,
    /// Bytes or a text, judged elsewhere.
    Bytes,
    /// A word of a closed set. An unknown one is read as the number 1.
    Word(fn(i32) -> bool),
    /// As a word; what it is decides about all fields after it in its message.
    Leading(fn(i32) -> bool),
    /// A message.
    Message(&'static [Known]),
}

/// The fields of a message, from number 1 on, without gaps.
type Fields = &'static [Known];

const fn number(name: &'static str) -> Known {
    Known {
        name,
        form: Form::Number,
    }
}

const fn bytes(name: &'static str) -> Known {
    Known {
        name,
        form: Form::Bytes,
    }
}

const fn word(name: &'static str, is_known: fn(i32) -> bool) -> Known {
    Known {
        name,
        form: Form::Word(is_known),
    }
}

const fn message(name: &'static str, fields: Fields) -> Known {
    Known {
        name,
        form: Form::Message(fields),
    }
}

fn is<E: TryFrom<i32>>(number: i32) -> bool {
    E::try_from(number).is_ok()
}

const AUDIENCE: Fields = &[
    Known {
        name: "scope",
        form: Form::Leading(is::<v1::AudienceScope>),
    },
    bytes("names"),
];
const RANGE: Fields = &[number("start"), number("end")];
const ELEMENT: Fields = &[
    bytes("nonce"),
    bytes("federation"),
    bytes("member"),
    bytes("case_ref"),
    word("kind", is::<v1::ElementKind>),
    bytes("token"),
    bytes("token_key_id"),
    bytes("commitment"),
    word("role", is::<v1::ElementRole>),
    number("observed_on"),
    message("audience", AUDIENCE),
    bytes("handling"),
    number("expires_at"),
    number("canonical_rules"),
];
const CASE_NOTICE: Fields = &[
    bytes("nonce"),
    bytes("case_ref"),
    bytes("category"),
    number("month"),
    bytes("desk"),
    number("expires_at"),
    message("audience", AUDIENCE),
];
const AMEND: Fields = &[
    bytes("nonce"),
    number("target_index"),
    bytes("target_leaf"),
    number("observed_on"),
    message("audience", AUDIENCE),
    bytes("handling"),
    number("expires_at"),
];
const RETRACT: Fields = &[
    bytes("nonce"),
    message("targets", RANGE),
    word("reason", is::<v1::RetractReason>),
];
const RECEIPT_ITEM: Fields = &[
    message("range", RANGE),
    word("state", is::<v1::ReceiptState>),
    number("retracted_by"),
    number("at"),
];
const RECEIPT: Fields = &[
    bytes("nonce"),
    bytes("origin"),
    message("items", RECEIPT_ITEM),
];
const ERASED_RANGE: Fields = &[
    message("range", RANGE),
    number("retracted_by"),
    word("reason", is::<v1::RetractReason>),
    number("decided_at"),
    number("erased_at"),
    bytes("owed"),
];
const ERASURE: Fields = &[bytes("nonce"), message("items", ERASED_RANGE)];
const OPENED: Fields = &[
    bytes("purpose"),
    bytes("salt"),
    bytes("case_ref"),
    number("count"),
];
const SEEN: Fields = &[
    bytes("case_ref"),
    bytes("offence_class"),
    bytes("urgency"),
    bytes("commitment"),
    number("count"),
];
const ASKED: Fields = &[bytes("member"), bytes("outcome"), number("count")];
const ACCESS: Fields = &[
    bytes("nonce"),
    word("scope", is::<v1::AccessScope>),
    bytes("query_id"),
    bytes("method"),
    bytes("caller"),
    message("purposes", OPENED),
    message("seen", SEEN),
    bytes("outcome"),
    number("count"),
    message("asked", ASKED),
    bytes("officer_request"),
    bytes("officer_signature"),
    bytes("officer_certificate"),
    bytes("log"),
];

/// The fields of the bodies of a type; of one that is not known, none.
pub(super) fn fields_of(body_type: BodyType) -> Fields {
    match body_type {
        BodyType::Element => ELEMENT,
        BodyType::CaseNotice => CASE_NOTICE,
        BodyType::Amend => AMEND,
        BodyType::Retract => RETRACT,
        BodyType::Receipt => RECEIPT,
        BodyType::Erasure => ERASURE,
        BodyType::Access => ACCESS,
        BodyType::Newer(_) => &[],
    }
}

/// What was taken out of a body, first of all.
pub(super) struct Newer {
    /// The bytes without what is not known.
    pub(super) known: Vec<u8>,
    /// The first field or word that is not known.
    pub(super) first: RecordError,
}

/// Takes out of a body what this version does not know; `None` when there is
/// nothing, or the bytes are not an encoding that a later version could make.
pub(super) fn newer(body_type: BodyType, bytes: &[u8]) -> Option<Newer> {
    let mut first = None;
    let known = walk(fields_of(body_type), bytes, &mut first)?;
    first.map(|first| Newer { known, first })
}

/// The wire types that proto3 writes.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;
/// The largest field number.
const FIELD_MAX: u64 = (1 << 29) - 1;

fn walk(fields: Fields, mut rest: &[u8], first: &mut Option<RecordError>) -> Option<Vec<u8>> {
    let mut known = Vec::with_capacity(rest.len());
    let (mut last, mut led) = (1, false);
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let (field, wire) = (tag >> 3, tag & 7);
        if field < last || field > FIELD_MAX {
            return None;
        }
        last = field;
        let place = usize::try_from(field - 1).ok()?;
        let Some(Known { name, form }) = fields.get(place) else {
            skip(wire, &mut rest)?;
            first.get_or_insert(RecordError::Unknown {
                what: "field",
                got: i64::try_from(field).ok()?,
            });
            continue;
        };
        let mut part = vec![];
        put_varint(&mut part, tag);
        match (form, wire) {
            (Form::Number, VARINT) => put_varint(&mut part, varint(&mut rest)?),
            (Form::Word(is_known) | Form::Leading(is_known), VARINT) => {
                let got = i32::try_from(varint(&mut rest)?).ok()?;
                let read = if is_known(got) { got } else { 1 };
                put_varint(&mut part, u64::try_from(read).ok()?);
                if read != got {
                    let got = i64::from(got);
                    first.get_or_insert(RecordError::Unknown { what: name, got });
                    led |= matches!(form, Form::Leading(_));
                    known.append(&mut part);
                }
            }
            (Form::Bytes, LENGTH) => {
                let value = block(&mut rest)?;
                put_varint(&mut part, value.len() as u64);
                part.extend_from_slice(value);
            }
            (Form::Message(fields), LENGTH) => {
                let value = walk(fields, block(&mut rest)?, first)?;
                put_varint(&mut part, value.len() as u64);
                part.extend_from_slice(&value);
            }
            _ => return None,
        }
        if !led {
            known.append(&mut part);
        }
    }
    Some(known)
}

/// Passes over the value of a field that is not known.
fn skip(wire: u64, rest: &mut &[u8]) -> Option<()> {
    match wire {
        VARINT => varint(rest).map(|_| ()),
        LENGTH => block(rest).map(|_| ()),
        FIXED64 => rest.split_off(..8).map(|_| ()),
        FIXED32 => rest.split_off(..4).map(|_| ()),
        _ => None,
    }
}

fn block<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    rest.split_off(..length)
}

/// A varint in its shortest form.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for at in 0..10_u32 {
        let byte = *rest.split_off_first()?;
        let part = u64::from(byte & 0x7f);
        // The tenth byte has one bit of a number.
        if at == 9 && part > 1 {
            return None;
        }
        value |= part << (7 * at);
        if byte < 0x80 {
            let is_short = byte != 0 || at == 0;
            return is_short.then_some(value);
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// What this version reads, as one short word: it changes with the version of
/// the software, and whenever a type, field or word becomes known.
#[must_use]
pub fn reading_version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(version);
    &VERSION
}

fn version() -> String {
    let mut all = String::new();
    for body_type in BodyType::KNOWN {
        write!(all, "{}", body_type.number()).expect("a String takes all");
        describe(fields_of(body_type), &mut all);
    }
    let digest = Digest::of(all.as_bytes()).to_string();
    let short = digest.get(..8).unwrap_or_default();
    format!("{}+{short}", env!("CARGO_PKG_VERSION"))
}

fn describe(fields: Fields, out: &mut String) {
    /// Numbers up to here are asked of each closed set.
    const WORDS_MAX: i32 = 1_024;
    for field in fields {
        write!(out, " {}", field.name).expect("a String takes all");
        match field.form {
            Form::Number | Form::Bytes => {}
            Form::Word(is_known) | Form::Leading(is_known) => {
                let words = (0..WORDS_MAX).filter(|n| is_known(*n));
                write!(out, "{:?}", words.collect::<Vec<_>>()).expect("a String takes all");
            }
            Form::Message(fields) => {
                out.push('{');
                describe(fields, out);
                out.push('}');
            }
        }
    }
}

#[cfg(test)]
mod tests;
