//! Dates of case files: `2026-11-22`, `2026/11/22`, `2026年11月22日` and `20261122`, as days since
//! 1970-01-01 in the federation's own zone.

use time::{Date, Month};

use crate::clock::{self, DAY_S, UnixSeconds};

/// Days since 1970-01-01.
pub type Day = i32;

/// The years that a date may have; day 0 stands for "not given" on the wire.
pub const YEARS: std::ops::RangeInclusive<i32> = 1971..=2199;

/// Reads a date; `None` for one that does not exist or is written otherwise.
#[must_use]
pub fn parse(text: &str) -> Option<Day> {
    let text = text.trim();
    let (year, month, day) = if let Some(rest) = text.strip_suffix('日') {
        let (year, rest) = rest.split_once('年')?;
        let (month, day) = rest.split_once('月')?;
        (year, month, day)
    } else if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        (&text[..4], &text[4..6], &text[6..])
    } else {
        let separator = if text.contains('/') { '/' } else { '-' };
        let (year, rest) = text.split_once(separator)?;
        let (month, day) = rest.split_once(separator)?;
        (year, month, day)
    };
    let year = i32::from(number(year, 4)?);
    let month = Month::try_from(u8::try_from(number(month, 2)?).ok()?).ok()?;
    let date = Date::from_calendar_date(year, month, u8::try_from(number(day, 2)?).ok()?).ok()?;
    YEARS.contains(&year).then(|| clock::day_of(date))
}

fn number(text: &str, digits_max: usize) -> Option<u16> {
    let shaped = (1..=digits_max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if shaped { text.parse().ok() } else { None }
}

/// The day that it is at `now` where clocks are `utc_offset_s` ahead of UTC.
#[must_use]
pub fn today(now: UnixSeconds, utc_offset_s: i32) -> Day {
    let days = now
        .saturating_add(i64::from(utc_offset_s))
        .div_euclid(DAY_S);
    Day::try_from(days).unwrap_or(if days < 0 { Day::MIN } else { Day::MAX })
}

/// The first second after `day` where clocks are `utc_offset_s` ahead of UTC.
#[must_use]
pub fn end_of(day: Day, utc_offset_s: i32) -> UnixSeconds {
    (i64::from(day) + 1) * DAY_S - i64::from(utc_offset_s)
}
