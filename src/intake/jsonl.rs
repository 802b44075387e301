//! One line of a JSON Lines file: an object with the same names as the CSV columns.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::intake::Reason;
use crate::intake::headers::{Field, is_ignored};
use crate::intake::row::Texts;

/// The members of an object in their order, repeated ones too: a map would hide the first of them.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// What makes a line refused, and the field that is to blame where there is one.
pub(super) type Fault = (Option<Field>, Reason);

/// Reads a line's texts, and finds the first fault; other texts are there all the same.
pub(super) fn parse(line: &str) -> (Texts, Option<Fault>) {
    let mut texts = Texts::default();
    let Ok(Members(members)) = serde_json::from_str(line) else {
        return (texts, Some((None, Reason::Json)));
    };
    let mut refused = None;
    for (name, value) in members {
        if is_ignored(&name) {
            continue;
        }
        let Some(field) = Field::parse(&name) else {
            refused = refused.or(Some((None, Reason::UnknownField)));
            continue;
        };
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Number(number) if number.is_u64() || number.is_i64() => number.to_string(),
            Value::Number(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                refused = refused.or(Some((Some(field), Reason::NotText)));
                continue;
            }
        };
        if !texts.put(field, text) {
            refused = refused.or(Some((Some(field), Reason::RepeatedField)));
        }
    }
    (texts, refused)
}
