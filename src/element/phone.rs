//! Phone numbers: E.164 where the length is possible (not: where the range is
//! assigned, because ranges change), and Chinese short and service numbers.

use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};

use super::text::is_dash;
use super::{Canonical, Refusal};

/// What the canonical value depends on besides the value itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The region of phone numbers without a country code.
    pub phone_region: Region,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            phone_region: Region::CN,
        }
    }
}

impl Rules {
    /// Rules with a default phone region of two letters, such as `CN`.
    ///
    /// # Errors
    /// [`Refusal::RegionUnknown`] for a region without phone numbers.
    pub fn new(phone_region: &str) -> Result<Self, Refusal> {
        let phone_region: Region = phone_region.parse().map_err(|_| Refusal::RegionUnknown)?;
        if PHONE_NUMBER_UTIL
            .get_country_code_for_region(phone_region)
            .unwrap_or(0)
            == 0
        {
            return Err(Refusal::RegionUnknown);
        }
        Ok(Self { phone_region })
    }
}

/// A phone number as `+CC...`, with `;ext=` where it has an extension, or a
/// Chinese short or service number as `cn:...`.
pub(super) fn phone(text: &str, rules: &Rules) -> Result<Canonical, Refusal> {
    let text = text.strip_prefix("tel:").unwrap_or(text);
    let (stated_cn, text) = match text.strip_prefix("cn:") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (number, extension) = split_extension(text)?;
    let compact = dialled(number)?;
    if let Some(service) = chinese_service(&compact, stated_cn || rules.phone_region == Region::CN)
    {
        return if extension.is_some() {
            Err(Refusal::PhoneCharacters)
        } else {
            Ok(Canonical::plain(format!("cn:{service}")))
        };
    }
    if stated_cn {
        return Err(Refusal::PhoneImpossible);
    }
    let e164 = e164(&compact, rules.phone_region)?;
    Ok(Canonical::plain(match extension {
        Some(extension) => format!("{e164};ext={extension}"),
        None => e164,
    }))
}

fn e164(compact: &str, region: Region) -> Result<String, Refusal> {
    let e164 = possible(compact, region)?;
    // Where a number begins like its own trunk prefix, reading it again would
    // strip that once more and end at somebody else's number.
    if possible(&e164, region)? != e164 {
        return Err(Refusal::PhoneImpossible);
    }
    // Length alone passes a number that means another line in every city, and a
    // mobile number with digits missing; no area code begins as mobile numbers do.
    if e164.starts_with("+86") && e164.len() < "+86123456789".len() {
        return Err(Refusal::PhoneNoArea);
    }
    let mobile = e164
        .strip_prefix("+861")
        .is_some_and(|rest| rest.starts_with(|c: char| matches!(c, '3'..='9')));
    if mobile && e164.len() != "+8613800138000".len() {
        return Err(Refusal::PhoneImpossible);
    }
    Ok(e164)
}

fn possible(text: &str, region: Region) -> Result<String, Refusal> {
    let number = PHONE_NUMBER_UTIL
        .parse(text, Some(region))
        .map_err(|_| Refusal::PhoneImpossible)?;
    match number.is_possible_with_reason() {
        Ok(NumberLengthType::IsPossible) => {
            Ok(number.format_as(PhoneNumberFormat::E164).into_owned())
        }
        Ok(NumberLengthType::IsPossibleLocalOnly) => Err(Refusal::PhoneNoArea),
        Err(_) => Err(Refusal::PhoneImpossible),
    }
}

/// What stands before an extension: the first that occurs counts, the longest there.
pub(super) const EXTENSION_MARKS: &[&str] = &[
    ";ext=",
    "分机号",
    "分机",
    "转",
    "轉",
    "extension",
    "ext.",
    "ext",
    "x",
    "#",
];

/// Splits an extension off: `转801`, `ext. 801`, `x801`, `;ext=801`, `#801`.
fn split_extension(text: &str) -> Result<(&str, Option<&str>), Refusal> {
    let lower = text.to_ascii_lowercase();
    let found = EXTENSION_MARKS
        .iter()
        .filter_map(|m| lower.find(m).map(|at| (at, m.len())))
        .min_by_key(|(at, len)| (*at, usize::MAX - *len));
    let Some((at, length)) = found else {
        return Ok((text, None));
    };
    let (number, rest) = (
        text.get(..at).unwrap_or_default(),
        text.get(at + length..).unwrap_or_default(),
    );
    let extension =
        rest.trim_matches(|c: char| c.is_whitespace() || c == ':' || c == '.' || c == '-');
    if (1..=11).contains(&extension.len()) && extension.bytes().all(|b| b.is_ascii_digit()) {
        Ok((number, Some(extension)))
    } else {
        Err(Refusal::PhoneCharacters)
    }
}

/// The digits, with a plus in front where there is one.
fn dialled(text: &str) -> Result<String, Refusal> {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '0'..='9' => out.push(c),
            '+' if out.is_empty() => out.push(c),
            _ if c.is_whitespace()
                || is_dash(c)
                || matches!(c, '(' | ')' | '.' | '/' | '[' | ']') => {}
            _ => return Err(Refusal::PhoneCharacters),
        }
    }
    Ok(out)
}

/// Chinese numbers that no subscriber has: 110, 95xxx, 96xxx, 100xx, 123xx,
/// 106..., 400 and 800, with or without the country code.
fn chinese_service(compact: &str, home: bool) -> Option<&str> {
    let national = ["+86", "0086"].iter().find_map(|p| compact.strip_prefix(p));
    let digits = match national {
        Some(digits) => digits,
        None if home => compact,
        None => return None,
    };
    let shape = SERVICE_NUMBERS.iter().any(|shape| {
        (shape.digits_min..=shape.digits_max).contains(&digits.len())
            && digits.starts_with(shape.prefix)
            && (shape.after_country_code || national.is_none())
    });
    (shape && digits.bytes().all(|b| b.is_ascii_digit())).then_some(digits)
}

/// A shape of Chinese numbers that no subscriber has.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct ServiceNumbers {
    prefix: &'static str,
    digits_min: usize,
    digits_max: usize,
    /// Whether it is one after +86 as well.
    after_country_code: bool,
}

const fn service(prefix: &'static str, digits_min: usize, digits_max: usize) -> ServiceNumbers {
    ServiceNumbers {
        prefix,
        digits_min,
        digits_max,
        after_country_code: true,
    }
}

/// The shapes of service numbers (the numbering plan of telecommunications networks).
pub(super) const SERVICE_NUMBERS: &[ServiceNumbers] = &[
    service("1", 3, 3),
    service("10", 5, 5),
    service("11", 5, 5),
    service("12", 5, 5),
    service("96", 5, 6),
    service("116", 6, 6),
    service("118", 6, 6),
    service("125", 6, 6),
    service("95", 5, 8),
    service("400", 10, 10),
    service("800", 10, 10),
    service("106", 8, 8),
    // After the country code, nine or ten digits from 106 are a line in Beijing.
    ServiceNumbers {
        after_country_code: false,
        ..service("106", 9, 10)
    },
    service("106", 11, 20),
];
