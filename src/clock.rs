//! Time as a parameter: everything that needs the time is given a [`Clock`].
//! The only file that reads the system's clocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01T00:00:00Z.
pub type UnixSeconds = i64;

/// Seconds of a day.
pub const DAY_S: i64 = 86_400;

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
