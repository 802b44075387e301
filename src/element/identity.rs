//! People and organizations: resident ID (GB 11643), passport, name with birth
//! date, organization code (GB 32100, GB 11714).

use super::text::{Ranges, digits, folded, is_dash, is_date, is_in, ungrouped};
use super::{Canonical, Refusal, Warning};

/// The province codes of GB/T 2260 that resident IDs begin with.
pub(super) const PROVINCES: &[u8] = &[
    11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52,
    53, 54, 61, 62, 63, 64, 65, 71, 81, 82, 83,
];

/// A resident ID: 15 digits are upgraded to 18 characters, `x` is `X`.
pub(super) fn resident_id(text: &str) -> Result<Canonical, Refusal> {
    let given = ungrouped(text).to_ascii_uppercase();
    let (body, check) = match (given.len(), given.is_ascii()) {
        (15, true) => (format!("{}19{}", &given[..6], &given[6..]), None),
        (18, true) => (given[..17].to_owned(), given.chars().last()),
        _ => return Err(Refusal::ResidentShape),
    };
    let body_digits = digits(&body).ok_or(Refusal::ResidentShape)?;
    let number = |range: std::ops::Range<usize>| -> u32 {
        body_digits
            .iter()
            .skip(range.start)
            .take(range.len())
            .fold(0, |n, d| n * 10 + u32::from(*d))
    };
    let right = resident_check(&body_digits);
    if check.is_some_and(|c| c != right) {
        return Err(Refusal::ResidentCheck);
    }
    // Permanent residence cards of foreigners begin with 9 and the province after it.
    let province = if number(0..1) == 9 {
        number(1..3)
    } else {
        number(0..2)
    };
    if !u8::try_from(province).is_ok_and(|p| PROVINCES.contains(&p)) {
        return Err(Refusal::ResidentProvince);
    }
    if !is_date(number(6..10), number(10..12), number(12..14)) {
        return Err(Refusal::ResidentDate);
    }
    let mut canonical = Canonical::plain(format!("{body}{right}"));
    if number(0..1) != 9 && (number(2..4) == 0 || number(4..6) == 0) {
        canonical = canonical.warn(Warning::CountyUnknown);
    }
    if check.is_none() {
        canonical = canonical.warn(Warning::OldResidentId);
    }
    Ok(canonical)
}

/// The check character over 17 digits, ISO 7064 MOD 11-2.
fn resident_check(body: &[u8]) -> char {
    let rest = body.iter().fold(0_u32, |p, d| (p + u32::from(*d)) * 2 % 11);
    match (12 - rest) % 11 {
        10 => 'X',
        n => char::from_digit(n, 10).expect("a remainder under 10 is a digit"),
    }
}

/// A passport number: upper case, grouping dropped, with its country in front.
pub(super) fn passport(text: &str, country: Option<&str>) -> Result<Canonical, Refusal> {
    let (stated, number) = match text.split_once(':') {
        Some((country, number)) => (Some(country), number),
        None => (None, text),
    };
    let number = ungrouped(number).to_ascii_uppercase();
    let shaped = (5..=15).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_alphanumeric())
        && number.bytes().any(|b| b.is_ascii_digit());
    if !shaped {
        return Err(Refusal::PassportShape);
    }
    let Some(country) = country.or(stated) else {
        return Ok(Canonical::plain(number).warn(Warning::CountryMissing));
    };
    Ok(Canonical::plain(format!(
        "{}:{number}",
        country_code(country)?
    )))
}

/// Countries that go by several names; the first is the one that is kept.
pub(super) const COUNTRIES: &[&[&str]] = &[&["CN", "CHN", "中国", "中國"]];

/// The two-letter code; China's other names are folded into it.
fn country_code(text: &str) -> Result<String, Refusal> {
    let code = text.trim().to_ascii_uppercase();
    if let Some([kept, ..]) = COUNTRIES
        .iter()
        .find(|names| names.contains(&code.as_str()))
    {
        return Ok((*kept).to_owned());
    }
    if (2..=3).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase()) {
        Ok(code)
    } else {
        Err(Refusal::CountryShape)
    }
}

/// A name, linkable only as `name|YYYY-MM-DD`.
pub(super) fn person(text: &str, birth: Option<&str>) -> Result<Canonical, Refusal> {
    let (name, stated) = match text.split_once('|') {
        Some((name, birth)) => (name, Some(birth)),
        None => (text, None),
    };
    let name = person_name(name)?;
    let Some(birth) = birth.or(stated) else {
        let mut bare = Canonical::plain(name).warn(Warning::NotLinkable);
        bare.linkable = false;
        return Ok(bare);
    };
    Ok(Canonical::plain(format!("{name}|{}", birth_date(birth)?)))
}

fn person_name(text: &str) -> Result<String, Refusal> {
    let folded = folded(text);
    let han = folded.chars().any(is_han);
    let mut name = String::with_capacity(folded.len());
    for word in folded.split_whitespace() {
        // Han names are one word however they were spaced out.
        if !name.is_empty() && !han {
            name.push(' ');
        }
        name.extend(word.chars().map(|c| if is_middle_dot(c) { '·' } else { c }));
    }
    let fits = |c: char| c.is_alphabetic() || unicode_mark(c) || is_dash(c) || " ·.'’,".contains(c);
    let shaped = name.chars().all(fits) && name.chars().any(char::is_alphabetic);
    if shaped && name.chars().count() <= 80 {
        Ok(name)
    } else {
        Err(Refusal::PersonShape)
    }
}

/// Han characters: a name with one of them is one word.
pub(super) const HAN: Ranges = &[('\u{3400}', '\u{9fff}'), ('\u{20000}', '\u{323af}')];

/// The dots between the parts of a name; the first is the one that is kept.
pub(super) const MIDDLE_DOTS: &[char] = &['·', '•', '‧', '・', '∙', '⋅'];

fn is_han(c: char) -> bool {
    is_in(HAN, c)
}

fn is_middle_dot(c: char) -> bool {
    MIDDLE_DOTS.contains(&c)
}

fn unicode_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

/// Reads YYYY-MM-DD or YYYYMMDD.
fn birth_date(text: &str) -> Result<String, Refusal> {
    let plain = text.trim();
    let compact = match plain.len() {
        8 => plain.to_owned(),
        10 if plain.chars().filter(|c| *c == '-').count() == 2
            && plain.as_bytes().get(4) == Some(&b'-')
            && plain.as_bytes().get(7) == Some(&b'-') =>
        {
            plain.replace('-', "")
        }
        _ => return Err(Refusal::BirthDate),
    };
    let d = digits(&compact).ok_or(Refusal::BirthDate)?;
    let number = |from: usize, len: usize| {
        d.iter()
            .skip(from)
            .take(len)
            .fold(0, |n, d| n * 10 + u32::from(*d))
    };
    let (year, month, day) = (number(0, 4), number(4, 2), number(6, 2));
    if !is_date(year, month, day) {
        return Err(Refusal::BirthDate);
    }
    Ok(format!("{year:04}-{month:02}-{day:02}"))
}

/// An organization code: upper case, grouping dropped, check character.
pub(super) fn org_id(text: &str) -> Result<Canonical, Refusal> {
    let code = ungrouped(text).to_ascii_uppercase();
    match code.len() {
        18 => credit_code(&code),
        9 => old_org_code(&code),
        15 if digits(&code).is_some() => Ok(Canonical::plain(code).warn(Warning::OrgOldNumber)),
        _ => Err(Refusal::OrgShape),
    }
}

/// GB 32100: weights are powers of 3 modulo 31 over an alphabet of 31.
fn credit_code(code: &str) -> Result<Canonical, Refusal> {
    const ALPHABET: &str = "0123456789ABCDEFGHJKLMNPQRTUWXY";
    let values: Option<Vec<usize>> = code.chars().map(|c| ALPHABET.find(c)).collect();
    let values = values.ok_or(Refusal::OrgShape)?;
    let (check, body) = values.split_last().ok_or(Refusal::OrgShape)?;
    let (sum, _) = body.iter().fold((0, 1), |(sum, weight), v| {
        (sum + v * weight, weight * 3 % 31)
    });
    if (31 - sum % 31) % 31 != *check {
        return Err(Refusal::OrgCheck);
    }
    Ok(Canonical::plain(code.to_owned()))
}

/// GB 11714: eight characters and a check character modulo 11.
fn old_org_code(code: &str) -> Result<Canonical, Refusal> {
    const WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];
    let mut sum = 0;
    for (c, weight) in code.chars().zip(WEIGHTS) {
        sum += c.to_digit(36).ok_or(Refusal::OrgShape)? * weight;
    }
    let want = match 11 - sum % 11 {
        10 => 'X',
        11 => '0',
        n => char::from_digit(n, 10).expect("1 to 9 is a digit"),
    };
    if !code.ends_with(want) {
        return Err(Refusal::OrgCheck);
    }
    Ok(Canonical::plain(code.to_owned()))
}
