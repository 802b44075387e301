//! From a row's texts to a checked [`Row`], or the reason why not.

use std::collections::BTreeSet;
use std::fmt;

use crate::element::{Canonical, Kind, Role, canonicalize};
use crate::ids::MemberId;
use crate::intake::dates::{self, Day};
use crate::intake::headers::Field;
use crate::intake::{Options, Reason};
use crate::record::Audience;

/// One element of one case, checked. Debug shows no value and no case number.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// The line that the row begins on, from 1.
    pub line: u64,
    /// The case's own number.
    pub case_no: String,
    /// What kind of fraud it is.
    pub category: String,
    /// The element's kind.
    pub kind: Kind,
    /// The value as it was written.
    pub raw: String,
    /// Its one spelling.
    pub canonical: Canonical,
    /// What refines the value.
    pub qualifier: Option<String>,
    /// The part that the value's holder plays.
    pub role: Role,
    /// When the case was opened.
    pub opened_on: Option<Day>,
    /// When the element was seen.
    pub observed_on: Option<Day>,
    /// A title of the case, which stays at home.
    pub title: Option<String>,
    /// Whom other members may contact.
    pub contact: Option<String>,
    /// Who may receive it.
    pub audience: Option<Audience>,
    /// A handling code.
    pub handling: Option<String>,
    /// The last day it is kept.
    pub expires_on: Option<Day>,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("line", &self.line)
            .field("kind", &self.kind)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl Row {
    /// What makes two rows the same: case number, kind, canonical value and role, in this order.
    #[must_use]
    pub fn identity(&self) -> [&[u8]; 4] {
        [
            self.case_no.as_bytes(),
            self.kind.as_str().as_bytes(),
            self.canonical.value.as_bytes(),
            self.role.as_str().as_bytes(),
        ]
    }
}

/// The texts of one row by field; absent and empty are the same.
#[derive(Default)]
pub(super) struct Texts {
    by_field: [Option<String>; Field::ALL.len()],
}

impl Texts {
    /// Puts a text in; `false` where the field has one already.
    pub(super) fn put(&mut self, field: Field, text: String) -> bool {
        let place = &mut self.by_field[field as usize];
        let free = place.is_none();
        *place = Some(text);
        free
    }

    pub(super) fn text(&self, field: Field) -> Option<&str> {
        self.by_field[field as usize].as_deref()
    }

    fn trimmed(&self, field: Field) -> Option<&str> {
        self.text(field)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    }

    fn owned(&self, field: Field) -> Option<String> {
        self.trimmed(field).map(str::to_owned)
    }

    fn required(&self, field: Field) -> Result<&str, (Field, Reason)> {
        self.trimmed(field)
            .ok_or((field, Reason::Missing { field }))
    }
}

/// Checks one row; the error names the field that is to blame.
pub(super) fn check(line: u64, texts: &Texts, options: &Options) -> Result<Row, (Field, Reason)> {
    for field in Field::ALL.iter().copied() {
        check_text(field, texts.text(field).unwrap_or_default()).map_err(|it| (field, it))?;
    }
    let case_no = texts.required(Field::CaseNo)?.to_owned();
    let category = texts.required(Field::Category)?.to_owned();
    let kind = kind(texts.required(Field::Kind)?).ok_or((Field::Kind, Reason::UnknownKind))?;
    texts.required(Field::Value)?;
    let raw = texts.text(Field::Value).unwrap_or_default().to_owned();
    let role = role(texts.required(Field::Role)?).ok_or((Field::Role, Reason::UnknownRole))?;
    let qualifier = texts.owned(Field::Qualifier);
    let canonical = canonicalize(kind, &raw, qualifier.as_deref(), &options.rules)
        .map_err(|refusal| (Field::Value, Reason::Value(refusal)))?;
    let today = dates::today(options.now, options.utc_offset_s);
    let past = |field| match day(texts, field)? {
        Some(day) if day > today.saturating_add(1) => Err((field, Reason::Future)),
        other => Ok(other),
    };
    let (opened_on, observed_on) = (past(Field::OpenedOn)?, past(Field::ObservedOn)?);
    let expires_on = match day(texts, Field::ExpiresOn)? {
        Some(day) if day < today => Err((Field::ExpiresOn, Reason::Expired)),
        other => Ok(other),
    }?;
    let audience = texts
        .trimmed(Field::Audience)
        .map(|text| audience(text).ok_or((Field::Audience, Reason::Audience)))
        .transpose()?;
    Ok(Row {
        line,
        case_no,
        category,
        kind,
        raw,
        canonical,
        qualifier,
        role,
        opened_on,
        observed_on,
        title: texts.owned(Field::Title),
        contact: texts.owned(Field::Contact),
        audience,
        handling: texts.owned(Field::Handling),
        expires_on,
    })
}

fn check_text(field: Field, text: &str) -> Result<(), Reason> {
    if text.len() > field.bytes_max() {
        return Err(Reason::FieldTooLarge { field });
    }
    // What could not be decoded in an earlier import stands as U+FFFD in its rejects file.
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Reason::Encoding);
    }
    let wraps = matches!(field, Field::Title | Field::Contact | Field::Value);
    let odd = |c: char| c.is_control() && !(wraps && matches!(c, '\n' | '\r' | '\t'));
    if text.trim().chars().any(odd) {
        Err(Reason::Control)
    } else {
        Ok(())
    }
}

fn kind(text: &str) -> Option<Kind> {
    Kind::parse(text).or_else(|| Kind::parse(&text.to_ascii_lowercase().replace([' ', '_'], "-")))
}

fn role(text: &str) -> Option<Role> {
    Role::parse(text).or_else(|| Role::parse(&text.to_ascii_lowercase()))
}

fn day(texts: &Texts, field: Field) -> Result<Option<Day>, (Field, Reason)> {
    texts
        .trimmed(field)
        .map(|text| dates::parse(text).ok_or((field, Reason::Date)))
        .transpose()
}

/// Reads `federation`, `region:NAME;NAME`, `members:a;b` or `nobody`.
#[must_use]
pub fn audience(text: &str) -> Option<Audience> {
    let names = |list: &str| -> BTreeSet<String> {
        list.split([';', '；'])
            .map(|name| name.trim().to_owned())
            .collect()
    };
    let audience = match text.trim().split_once([':', '：']) {
        None => match text.trim().to_ascii_lowercase().as_str() {
            "federation" => Audience::Federation,
            "nobody" => Audience::Nobody,
            _ => return None,
        },
        Some((scope, list)) => match scope.trim().to_ascii_lowercase().as_str() {
            "region" => Audience::Regions(names(list)),
            "members" => Audience::Members(
                names(list)
                    .iter()
                    .map(|name| MemberId::new(name))
                    .collect::<Result<_, _>>()
                    .ok()?,
            ),
            _ => return None,
        },
    };
    audience.check().is_ok().then_some(audience)
}
