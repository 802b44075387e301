//! Foldings that all kinds share: outer blanks, invisible characters, width,
//! and traditional to simplified Chinese, one character at a time.

use unicode_normalization::UnicodeNormalization;

use super::{Kind, Refusal, VALUE_BYTES_MAX};

/// Characters of a set, as ranges with both ends.
pub(super) type Ranges = &'static [(char, char)];

pub(super) fn is_in(set: Ranges, c: char) -> bool {
    set.iter()
        .any(|(first, last)| (*first..=*last).contains(&c))
}

/// Characters that show nothing and so must not tell two values apart.
pub(super) const INVISIBLE: Ranges = &[
    ('\u{ad}', '\u{ad}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{2069}'),
    ('\u{feff}', '\u{feff}'),
];

/// Characters that stand for ones that somebody hid.
pub(super) const MASKS: &[char] = &['*', '＊', '●', '■', '×', '※', '…'];

/// Kinds in whose values the characters of [`MASKS`] may mean themselves.
pub(super) const MASKS_ALLOWED: &[Kind] = &[Kind::Url, Kind::App, Kind::Email];

/// The dashes that stand for a hyphen.
pub(super) const DASHES: Ranges = &[
    ('-', '-'),
    ('\u{2010}', '\u{2015}'),
    ('\u{2212}', '\u{2212}'),
    ('\u{2500}', '\u{2500}'),
    ('\u{ff0d}', '\u{ff0d}'),
];

fn invisible(c: char) -> bool {
    is_in(INVISIBLE, c)
}

/// Removes outer blanks and invisible characters, and folds compatibility
/// forms (NFKC) for every kind but url, whose path may mean them.
pub(super) fn clean(kind: Kind, raw: &str) -> Result<String, Refusal> {
    if raw.len() > VALUE_BYTES_MAX {
        return Err(Refusal::TooLong);
    }
    let plain = raw.bytes().all(|b| b.is_ascii_graphic());
    let folded: String = if plain {
        raw.to_owned()
    } else {
        let visible = raw.chars().filter(|c| !invisible(*c));
        let folded: String = if kind == Kind::Url {
            visible.collect()
        } else {
            // A second pass: removing a character can bring two together that compose.
            visible
                .nfkc()
                .filter(|c| !invisible(*c))
                .collect::<String>()
                .nfkc()
                .collect()
        };
        folded.trim().to_owned()
    };
    if folded.is_empty() {
        return Err(Refusal::Empty);
    }
    if folded.len() > VALUE_BYTES_MAX {
        return Err(Refusal::TooLong);
    }
    if folded.chars().any(char::is_control) {
        return Err(Refusal::Control);
    }
    if !MASKS_ALLOWED.contains(&kind) && folded.contains(MASKS) {
        return Err(Refusal::Masked);
    }
    Ok(folded)
}

/// Removes blanks and the separators that people group digits with.
pub(super) fn ungrouped(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !is_dash(*c))
        .collect()
}

/// Whether `c` is one of [`DASHES`].
pub(super) fn is_dash(c: char) -> bool {
    is_in(DASHES, c)
}

/// Folds traditional characters to simplified ones, each by itself: a word
/// table would make a value depend on its neighbours.
pub(super) fn simplified(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    text.chars().map(simplified_char).collect()
}

/// Folds case; normalizes again, because lower case can compose anew.
pub(super) fn lower(text: &str) -> String {
    if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.to_lowercase().nfkc().collect()
    }
}

/// Folds traditional to simplified Chinese, and case.
pub(super) fn folded(text: &str) -> String {
    lower(&simplified(text))
}

/// Folds one traditional character to its simplified one.
pub(super) fn simplified_char(c: char) -> char {
    /// More steps than any chain of the table has; a test walks all of them.
    const STEPS_MAX: usize = 4;
    let mut now = c;
    for _ in 0..STEPS_MAX {
        let next = one_step(now);
        if next == now {
            break;
        }
        now = next;
    }
    now
}

fn one_step(c: char) -> char {
    let mut buffer = [0; 4];
    let text: &str = c.encode_utf8(&mut buffer);
    let mapped = character_converter::traditional_to_simplified(text);
    let mut chars = mapped.chars();
    match (chars.next(), chars.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// The digits of `text`, or `None` when anything else is in it.
pub(super) fn digits(text: &str) -> Option<Vec<u8>> {
    text.bytes()
        .map(|b| b.is_ascii_digit().then(|| b.wrapping_sub(b'0')))
        .collect()
}

/// Whether the digits end with their Luhn check digit (ISO/IEC 7812-1).
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| {
            let d = u32::from(*d);
            if i % 2 == 0 {
                d
            } else {
                d * 2 - if d > 4 { 9 } else { 0 }
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether year, month and day make a date of 1900 to 2099.
pub(super) fn is_date(year: u32, month: u32, day: u32) -> bool {
    let (Ok(year), Ok(month), Ok(day)) =
        (i32::try_from(year), u8::try_from(month), u8::try_from(day))
    else {
        return false;
    };
    (1900..2100).contains(&year)
        && time::Month::try_from(month)
            .is_ok_and(|m| time::Date::from_calendar_date(year, m, day).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simplifying_every_han_character_twice_changes_nothing() {
        for c in ('\u{3400}'..='\u{9fff}').chain('\u{20000}'..='\u{2fa1f}') {
            let once = simplified_char(c);
            assert_eq!(simplified_char(once), once, "{c} -> {once}");
        }
    }

    #[test]
    fn simplified_does_not_look_at_neighbours() {
        assert_eq!(
            simplified("乾隆"),
            format!("{}{}", simplified("乾"), simplified("隆"))
        );
        assert_eq!(simplified("張偉陳國強"), "张伟陈国强");
    }

    #[test]
    fn a_masked_value_is_refused() {
        assert_eq!(clean(Kind::Phone, "138****1234"), Err(Refusal::Masked));
        assert_eq!(clean(Kind::Phone, "  "), Err(Refusal::Empty));
        assert_eq!(clean(Kind::Person, "a\nb"), Err(Refusal::Control));
        assert_eq!(clean(Kind::Url, &"a".repeat(2049)), Err(Refusal::TooLong));
    }
}
