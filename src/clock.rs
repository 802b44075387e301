//! Time as a parameter: everything that needs the time is given a [`Clock`].
//! The only file that reads the system's clocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01T00:00:00Z.
pub type UnixSeconds = i64;

/// Seconds of a day.
pub const DAY_S: i64 = 86_400;

/// The Julian day of 1970-01-01.
const EPOCH_JULIAN: i32 = 2_440_588;

/// The date of a day, counted from 1970-01-01; `None` beyond the calendar.
#[must_use]
pub fn date_of(day: i32) -> Option<time::Date> {
    time::Date::from_julian_day(day.checked_add(EPOCH_JULIAN)?).ok()
}

/// The day of a date, counted from 1970-01-01.
#[must_use]
pub fn day_of(date: time::Date) -> i32 {
    date.to_julian_day() - EPOCH_JULIAN
}

/// Writes a time as RFC 3339 in UTC; `None` for one that RFC 3339 cannot write.
#[must_use]
pub fn rfc3339(at: UnixSeconds) -> Option<String> {
    let time = time::OffsetDateTime::from_unix_timestamp(at).ok()?;
    time.format(&time::format_description::well_known::Rfc3339)
        .ok()
}

/// A source of wall time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that moves only when told to, for tests and rehearsals.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Makes a clock that stands at `now` until [`Clock::advance`].
    #[must_use]
    pub fn manual(now: UnixSeconds) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now)))
    }

    /// Returns the current time, in whole seconds.
    #[must_use]
    pub fn now(&self) -> UnixSeconds {
        match self {
            Self::System => system_now(),
            Self::Manual(now) => now.load(Ordering::SeqCst),
        }
    }

    /// Moves a manual clock; the system's clock is left alone.
    pub fn advance(&self, by_s: i64) {
        if let Self::Manual(now) = self {
            now.fetch_add(by_s, Ordering::SeqCst);
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
fn system_now() -> UnixSeconds {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A running stopwatch, for progress and metrics only; never for a decision.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts a stopwatch.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the monotonic clock"
    )]
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the seconds since the start.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_beyond_the_calendar_have_no_form() {
        for day in [i32::MAX, i32::MIN, 3_000_000] {
            assert_eq!(date_of(day), None, "{day}");
        }
        for at in [i64::MAX, i64::MIN, -62_167_219_201, 253_402_300_800] {
            assert_eq!(rfc3339(at), None, "{at}");
        }
    }

    #[test]
    fn a_day_is_its_dates_day() {
        for (day, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (20_779, "2026-11-22"),
        ] {
            let date = date_of(day).expect("a date");
            assert_eq!((date.to_string().as_str(), day_of(date)), (text, day));
        }
        assert_eq!(rfc3339(0).as_deref(), Some("1970-01-01T00:00:00Z"));
    }
}
