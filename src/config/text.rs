//! How the config's names, digests, roles and time zones are spelled.

use serde::{Deserialize, Serialize};

use crate::roster::MemberRole;

macro_rules! as_text {
    ($module:ident, $type:ty, $parse:expr) => {
        /// A value that stands as text.
        pub(super) mod $module {
            use serde::{Deserialize, Deserializer, Serializer, de};

            #[allow(unused_imports, reason = "shared by several value types")]
            use crate::ids::{Digest, FederationId, MemberId, OfficerName};

            pub(crate) fn serialize<S: Serializer>(
                value: &$type,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                serializer.collect_str(value)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<$type, D::Error> {
                let text = String::deserialize(deserializer)?;
                let parse: fn(&str) -> Result<$type, String> = $parse;
                parse(&text).map_err(de::Error::custom)
            }
        }
    };
}

as_text!(federation, FederationId, |text| FederationId::new(text)
    .map_err(|e| e.to_string()));
as_text!(member, MemberId, |text| MemberId::new(text)
    .map_err(|e| e.to_string()));
as_text!(digest, Digest, |text| {
    let mut out = [0; 32];
    hex::decode_to_slice(text, &mut out)
        .map(|()| Digest(out))
        .map_err(|_| "a SHA-256 digest has 64 hexadecimal digits".to_owned())
});

/// An officer's name, or none.
pub(super) mod officer {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::ids::OfficerName;

    #[allow(clippy::ref_option, reason = "the signature that serde calls")]
    pub(crate) fn serialize<S: Serializer>(
        value: &Option<OfficerName>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(name) => serializer.collect_str(name),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<OfficerName>, D::Error> {
        let text = String::deserialize(deserializer)?;
        OfficerName::new(&text).map(Some).map_err(de::Error::custom)
    }
}

/// A member's role, in the config's spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A city bureau.
    Bureau,
    /// A department above bureaus.
    Department,
    /// An auditor.
    Auditor,
}

impl From<Role> for MemberRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Bureau => Self::Bureau,
            Role::Department => Self::Department,
            Role::Auditor => Self::Auditor,
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A time zone without daylight saving: a known name, `UTC`, or an offset
/// such as `+08:00`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timezone {
    name: String,
    offset_s: i32,
}

/// Zones that have kept one offset since 1992.
const ZONES: [(&str, i32); 7] = [
    ("Asia/Shanghai", 8),
    ("Asia/Urumqi", 6),
    ("Asia/Hong_Kong", 8),
    ("Asia/Macau", 8),
    ("Asia/Taipei", 8),
    ("Asia/Singapore", 8),
    ("UTC", 0),
];

impl Timezone {
    /// Seconds to add to UTC.
    #[must_use]
    pub fn offset_s(&self) -> i32 {
        self.offset_s
    }

    /// The zone as it was written.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Default for Timezone {
    fn default() -> Self {
        Self {
            name: "Asia/Shanghai".into(),
            offset_s: 8 * 3_600,
        }
    }
}

impl TryFrom<String> for Timezone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = ZONES
            .iter()
            .find(|(zone, _)| *zone == name)
            .map(|(_, hours)| hours * 3_600);
        match known.or_else(|| offset(&name)) {
            Some(offset_s) => Ok(Self { name, offset_s }),
            None => Err(format!(
                "{name:?} is not a known time zone: use Asia/Shanghai, UTC or an offset such as +08:00"
            )),
        }
    }
}

impl From<Timezone> for String {
    fn from(zone: Timezone) -> Self {
        zone.name
    }
}

fn offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    if !two_digits(hours) || !two_digits(minutes) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}
