//! Refused rows: why and where.

use std::fmt;

use crate::blame::{Blame, Blamed};
use crate::element::Refusal;
use crate::intake::headers::Field;
use crate::intake::{ROW_BYTES_MAX, dates};

/// Why a row is refused. The sentences never repeat what the row says.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Reason {
    /// The value cannot be an identifier of its kind.
    #[error("{0}")]
    Value(Refusal),
    /// More or fewer fields than the header.
    #[error(
        "the row has {got} fields where the header has {want}: look for a comma or quote that is missing or too many"
    )]
    FieldCount {
        /// Fields of the row.
        got: usize,
        /// Columns of the header.
        want: usize,
    },
    /// A required field is empty.
    #[error("{} is empty: every row needs it", field.name())]
    Missing {
        /// The field.
        field: Field,
    },
    /// A field over its limit.
    #[error("{} is longer than {} bytes: shorten it", field.name(), field.bytes_max())]
    FieldTooLarge {
        /// The field.
        field: Field,
    },
    /// A row over its limit.
    #[error("the row is longer than {ROW_BYTES_MAX} bytes: look for a quote that is not closed")]
    RowTooLarge,
    /// A quote that is opened and not closed.
    #[error(
        "a quote is opened in this line and not closed: close it, or double quotes inside a field"
    )]
    UnclosedQuote,
    /// Bytes that are not text in the file's encoding.
    #[error("the text is not in the file's encoding: save the whole file as UTF-8")]
    Encoding,
    /// NUL or another control character.
    #[error("there is a control character: delete it and type the field again")]
    Control,
    /// A line that is no JSON object.
    #[error("the line is not one JSON object: write one object with text fields on a line")]
    Json,
    /// A JSON field that is neither text nor a whole number.
    #[error("a field is neither text nor a whole number: put it in quotes")]
    NotText,
    /// A JSON field that is not known.
    #[error("a field's name is not known: correct it, or begin it with _ to have it ignored")]
    UnknownField,
    /// A JSON field that stands twice.
    #[error("a field stands twice: keep one of them")]
    RepeatedField,
    /// A kind that is not known.
    #[error("the kind is not known: use a word such as phone, bank-card or wallet")]
    UnknownKind,
    /// A role that is not known.
    #[error("the role is not known: use suspect, victim, witness or instrument")]
    UnknownRole,
    /// No date, or one that does not exist.
    #[error("this is not a date of {} to {}: write it like 2026-11-22", dates::YEARS.start(), dates::YEARS.end())]
    Date,
    /// A day that has yet to come.
    #[error("this day is in the future: correct the date")]
    Future,
    /// A retention end that has passed.
    #[error("the retention end has passed: correct it or leave the row out")]
    Expired,
    /// An audience that cannot be read.
    #[error("the audience is not known: write federation, region:NAME;NAME, members:a;b or nobody")]
    Audience,
}

impl Reason {
    /// The stable code, such as `intake.field_count`, or the value's own.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Value(refusal) => refusal.code(),
            Self::FieldCount { .. } => "intake.field_count",
            Self::Missing { .. } => "intake.missing",
            Self::FieldTooLarge { .. } => "intake.field_too_large",
            Self::RowTooLarge => "intake.row_too_large",
            Self::UnclosedQuote => "intake.unclosed_quote",
            Self::Encoding => "intake.encoding",
            Self::Control => "intake.control",
            Self::Json => "intake.json",
            Self::NotText => "intake.not_text",
            Self::UnknownField => "intake.unknown_field",
            Self::RepeatedField => "intake.repeated_field",
            Self::UnknownKind => "intake.unknown_kind",
            Self::UnknownRole => "intake.unknown_role",
            Self::Date => "intake.date",
            Self::Future => "intake.future",
            Self::Expired => "intake.expired",
            Self::Audience => "intake.audience",
        }
    }
}

impl Blamed for Reason {
    fn blame(&self) -> Blame {
        Blame::Misbehaved
    }

    fn code(&self) -> &'static str {
        Self::code(self)
    }
}

/// A refused row. Debug shows where and why, never what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct Reject {
    /// The line that the row begins on, from 1.
    pub line: u64,
    /// The column in the row, from 1, where one is to blame.
    pub column: Option<usize>,
    /// The column's name.
    pub field: Option<Field>,
    /// Why.
    pub reason: Reason,
    /// What stood in that column.
    pub value: Option<String>,
    /// The row's fields in the order of [`crate::intake::Parser::columns`]; only the beginning of
    /// one over its limit, and U+FFFD for bytes that are no text.
    pub record: Vec<String>,
}

impl fmt::Debug for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reject")
            .field("line", &self.line)
            .field("column", &self.column)
            .field("field", &self.field)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl Reject {
    /// The reason's stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.reason.code()
    }

    /// The reason in words, without the value.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.reason.to_string()
    }
}
