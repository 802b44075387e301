//! How times, days, case refs and kinds are written, in tables, JSON and CSV,
//! and the rows that several commands share. Pure: the language is a parameter.

use time::format_description::well_known::Rfc3339;

use crate::cli::sheet::{Cell, Column, Section, Sheet};
use crate::clock::DAY_S;
use crate::element::Kind;
use crate::lang::Lang;
use crate::wire::v1::ReplicaAge;

/// The Julian day of 1970-01-01.
const EPOCH_JULIAN: i32 = 2_440_588;

/// Seconds by which dates of the federation, China's, run ahead of UTC.
const DATE_OFFSET_S: i64 = 8 * 3600;

/// Writes a time as RFC 3339 in UTC; `None` for 0, which means "not given".
#[must_use]
pub fn instant(at: i64) -> Option<String> {
    let time = time::OffsetDateTime::from_unix_timestamp(at)
        .ok()
        .filter(|_| at != 0)?;
    time.format(&Rfc3339).ok()
}

/// Writes a day, counted from 1970-01-01; `None` for 0, which means "not given".
#[must_use]
pub fn day(days: i32) -> Option<String> {
    let julian = days.checked_add(EPOCH_JULIAN).filter(|_| days != 0)?;
    Some(time::Date::from_julian_day(julian).ok()?.to_string())
}

/// Writes year * 100 + month as `2026-11`; `None` for what is no month.
#[must_use]
pub fn month(number: u32) -> Option<String> {
    let (year, month) = (number / 100, number % 100);
    ((1..=12).contains(&month) && (1..=9999).contains(&year))
        .then(|| format!("{year:04}-{month:02}"))
}

/// Reads a date such as `2026-11-22` as days since 1970-01-01.
///
/// # Errors
/// A sentence for clap.
pub fn parse_day(text: &str) -> Result<i32, String> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let date = time::Date::parse(text, format).ok().filter(|_| plain);
    let date = date.ok_or("a date is written YYYY-MM-DD, such as 2026-11-22")?;
    Ok(date.to_julian_day() - EPOCH_JULIAN)
}

/// The second at which a day ends in China.
#[must_use]
pub fn end_of_day(days: i32) -> i64 {
    (i64::from(days) + 1) * DAY_S - DATE_OFFSET_S
}

/// The day in China on which a second falls; 0 for 0, which means "not given".
#[must_use]
pub fn day_of(at: i64) -> i32 {
    let days = at.saturating_add(DATE_OFFSET_S).div_euclid(DAY_S);
    i32::try_from(days)
        .ok()
        .filter(|_| at != 0)
        .unwrap_or_default()
}

/// Writes a second for people, in China's time; `None` for 0.
#[must_use]
pub fn clock_time(at: i64) -> Option<String> {
    let there = time::OffsetDateTime::from_unix_timestamp(at.checked_add(DATE_OFFSET_S)?)
        .ok()
        .filter(|_| at != 0)?;
    let form = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]+08");
    there.format(form).ok()
}

/// How long ago something was, in the largest unit that fits.
#[must_use]
pub fn age(lang: Lang, seconds: i64) -> String {
    let write = |n: i64| n.to_string();
    match seconds {
        i64::MIN..=-1 => lang.text("label.age.never", &[]),
        0..=119 => lang.text("label.age.seconds", &[("n", &write(seconds))]),
        120..=7_199 => lang.text("label.age.minutes", &[("n", &write(seconds / 60))]),
        7_200..=172_799 => lang.text("label.age.hours", &[("n", &write(seconds / 3600))]),
        _ => lang.text("label.age.days", &[("n", &write(seconds / DAY_S))]),
    }
}

/// The word for a word of a closed set, whose family is in the catalogue; the
/// family's sentence for others where it has one, else the word as it came.
#[must_use]
pub fn word_of(lang: Lang, family: &str, word: &str) -> String {
    if word.is_empty() {
        String::new()
    } else if lang.knows(family, word) || lang.knows(family, "generic") {
        lang.coded(family, word, &[])
    } else {
        word.to_owned()
    }
}

/// Who may receive something, in words; the names stay as they are.
#[must_use]
pub fn audience(lang: Lang, text: &str) -> String {
    match text.split_once(':') {
        Some((scope, names)) if lang.knows("label.audience", scope) => {
            let names = names.replace(';', " ");
            lang.coded("label.audience", scope, &[("names", &names)])
        }
        _ => word_of(lang, "label.audience", text),
    }
}

/// Keeps a spreadsheet from running a text as a formula.
#[must_use]
pub fn no_formula(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

/// Reads the word of a kind, such as `bank-card` or one of its Chinese names,
/// for clap.
///
/// # Errors
/// A sentence for clap.
pub fn parse_kind(word: &str) -> Result<Kind, String> {
    let spelled = |kind: &Kind| kind.as_str() == word || !word.is_ascii();
    Kind::parse(word).filter(spelled).ok_or_else(|| {
        "this is not a kind of element: use phone, bank-card, url or another".to_owned()
    })
}

const REPLICAS: &[Column<ReplicaAge>] = &[
    Column::of("member", "label.column.member", |r| (&r.member).into()),
    Column::of("age_s", "label.column.age", |r| {
        Cell::Age((r.age_s >= 0).then_some(r.age_s))
    }),
    Column::data("trouble", |r| Cell::some(&r.trouble)),
];

/// Shows the age of each replica, and which members are silent: an answer is
/// partial in the open. People see a table only where somebody is behind.
pub fn replicas(sheet: &mut Sheet, ages: &[ReplicaAge]) {
    let silent = |r: &&ReplicaAge| r.age_s < 0 || !r.trouble.is_empty();
    let names: Vec<&str> = ages
        .iter()
        .filter(silent)
        .map(|r| r.member.as_str())
        .collect();
    let oldest = ages.iter().map(|r| r.age_s).max().unwrap_or_default();
    sheet.data("replicas", Cell::rows(ages, REPLICAS));
    sheet.data("silent", Cell::texts(&names));
    if ages.is_empty() {
        return;
    }
    if names.is_empty() {
        let words = [
            ("count", ages.len().into()),
            ("age", Cell::Age(Some(oldest))),
        ];
        sheet.say("message.query.complete", words);
        return;
    }
    sheet.section(Section::of(ages, REPLICAS).titled("label.title.replicas"));
    for replica in ages.iter().filter(silent) {
        let reason = if replica.trouble.is_empty() {
            Cell::Phrase("message.query.never", vec![])
        } else {
            Cell::Said(replica.trouble.clone())
        };
        let words = [("member", (&replica.member).into()), ("reason", reason)];
        sheet.say("message.query.partial", words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_date_month_or_kind_is_refused() {
        for bad in [
            "",
            "2026-02-30",
            "2026-2-3",
            "22.11.2026",
            "2026-11-22x",
            "+2026-11-22",
        ] {
            assert!(parse_day(bad).is_err(), "{bad}");
        }
        for bad in [0, 202_600, 202_613, 12, u32::MAX] {
            assert_eq!(month(bad), None, "{bad}");
        }
        for bad in ["", "unspecified", "Phone", "bank_card", "phone ", "fax"] {
            assert!(parse_kind(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_kind("bank-card"), Ok(Kind::BankCard));
        assert_eq!(
            (day(0), day(i32::MAX), instant(0), instant(i64::MAX)),
            (None, None, None, None)
        );
    }

    #[test]
    fn days_are_chinas_and_times_are_utc() {
        let days = parse_day("2026-11-22").expect("a date");
        assert_eq!(day(days).as_deref(), Some("2026-11-22"));
        let end = end_of_day(days);
        assert_eq!(instant(end).as_deref(), Some("2026-11-22T16:00:00Z"));
        assert_eq!((day_of(end - 1), day_of(end)), (days, days + 1));
        assert_eq!(clock_time(end).as_deref(), Some("2026-11-23 00:00+08"));
        assert_eq!((clock_time(0), clock_time(i64::MAX)), (None, None));
        assert_eq!(month(202_611).as_deref(), Some("2026-11"));
    }

    #[test]
    fn an_age_is_said_in_the_unit_that_fits() {
        let ages = [-1, 0, 119, 120, 7_199, 7_200, 172_800];
        let said: Vec<String> = ages.iter().map(|s| age(Lang::En, *s)).collect();
        assert_eq!(
            said,
            ["never", "0 s", "119 s", "2 min", "119 min", "2 h", "2 d"]
        );
    }
}
