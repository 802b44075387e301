//! How times, days, case refs and kinds are written, in tables, JSON and CSV,
//! and the rows that several commands share. Pure: the language is a parameter.

use serde::Serialize;

use crate::cli::output::{Screen, Table};
use crate::clock::{self, DAY_S};
use crate::element::Kind;
use crate::lang::Lang;
use crate::wire::v1::{ElementKind, KindCount, ReplicaAge};

/// Seconds by which dates of the federation, China's, run ahead of UTC.
const DATE_OFFSET_S: i64 = 8 * 3600;

/// Writes a time as RFC 3339 in UTC; `None` for 0, which means "not given".
#[must_use]
pub fn instant(at: i64) -> Option<String> {
    clock::rfc3339(at).filter(|_| at != 0)
}

/// Writes a day, counted from 1970-01-01; `None` for 0, which means "not given".
#[must_use]
pub fn day(days: i32) -> Option<String> {
    let date = clock::date_of(days).filter(|_| days != 0)?;
    Some(date.to_string())
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
    Ok(clock::day_of(date))
}

/// The second at which a day ends in China.
#[must_use]
pub fn end_of_day(days: i32) -> i64 {
    (i64::from(days) + 1) * DAY_S - DATE_OFFSET_S
}

/// The day in China on which a second falls.
#[must_use]
pub fn day_of(at: i64) -> Option<String> {
    day(i32::try_from((at + DATE_OFFSET_S).div_euclid(DAY_S)).ok()?).filter(|_| at != 0)
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

/// The word for a kind; a kind that is not known here stands as it came.
#[must_use]
pub fn kind(lang: Lang, word: &str) -> String {
    word_of(lang, "label.kind", word)
}

/// The word for a role; a role that is not known here stands as it came.
#[must_use]
pub fn role(lang: Lang, word: &str) -> String {
    word_of(lang, "label.role", word)
}

/// The word for a state; one that is not known here stands as it came.
#[must_use]
pub fn word(lang: Lang, word: &str) -> String {
    word_of(lang, "label.word", word)
}

fn word_of(lang: Lang, family: &str, word: &str) -> String {
    if lang.knows(family, word) {
        lang.text(&format!("{family}.{word}"), &[])
    } else {
        word.to_owned()
    }
}

/// The word for a truth.
#[must_use]
pub fn yes(lang: Lang, flag: bool) -> String {
    if flag {
        lang.text("label.word.yes", &[])
    } else {
        lang.text("label.word.no", &[])
    }
}

/// Writes kinds with their counts, for people.
#[must_use]
pub fn kind_counts(lang: Lang, counts: &[Count]) -> String {
    let parts = counts
        .iter()
        .map(|c| format!("{} {}", kind(lang, &c.name), c.count));
    parts.collect::<Vec<_>>().join(", ")
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

/// Reads the name of a kind, such as `bank-card`.
#[must_use]
pub fn parse_kind(word: &str) -> Option<ElementKind> {
    // The names of files are more lenient: Chinese, and capital letters.
    let kind = Kind::parse(word).filter(|kind| kind.as_str() == word)?;
    Some(kind.to_wire())
}

/// Something that was counted.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Count {
    /// A kind or a code.
    pub name: String,
    /// How many.
    pub count: u64,
}

impl Count {
    /// Takes counts as they came, in their order.
    #[must_use]
    pub fn all(counts: &[KindCount]) -> Vec<Self> {
        counts
            .iter()
            .map(|c| Self {
                name: c.kind.clone(),
                count: c.count,
            })
            .collect()
    }
}

/// How old what a member published is here.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Replica {
    member: String,
    /// Absent: never complete yet.
    age_s: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    trouble: String,
}

impl Replica {
    /// Takes the ages of an answer.
    #[must_use]
    pub fn all(ages: &[ReplicaAge]) -> Vec<Self> {
        let row = |age: &ReplicaAge| Self {
            member: age.member.clone(),
            age_s: (age.age_s >= 0).then_some(age.age_s),
            trouble: age.trouble.clone(),
        };
        ages.iter().map(row).collect()
    }

    /// The members whose replicas are in trouble or were never complete.
    #[must_use]
    pub fn silent(replicas: &[Self]) -> Vec<String> {
        let silent = replicas
            .iter()
            .filter(|r| r.age_s.is_none() || !r.trouble.is_empty());
        silent.map(|r| r.member.clone()).collect()
    }
}

/// Shows the age of each replica, and which members are silent: an answer is
/// partial in the open.
pub fn replicas(screen: &mut Screen, replicas: &[Replica]) {
    if replicas.is_empty() {
        return;
    }
    let lang = screen.lang();
    screen.title("label.title.replicas");
    let mut table = Table::new()
        .column("label.column.member")
        .column("label.column.age");
    for replica in replicas {
        table.row([
            replica.member.clone(),
            age(lang, replica.age_s.unwrap_or(-1)),
        ]);
    }
    screen.table(&table);
    for replica in replicas {
        let never = lang.text("message.query.never", &[]);
        let reason = match (&replica.trouble, replica.age_s) {
            (trouble, _) if !trouble.is_empty() => trouble,
            (_, None) => &never,
            _ => continue,
        };
        screen.text(
            "message.query.partial",
            &[("member", &replica.member), ("reason", reason)],
        );
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
            assert_eq!(parse_kind(bad), None, "{bad}");
        }
        assert_eq!(parse_kind("bank-card"), Some(ElementKind::BankCard));
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
        assert_eq!(day_of(end - 1).as_deref(), Some("2026-11-22"));
        assert_eq!(day_of(end).as_deref(), Some("2026-11-23"));
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
