//! Calls that were turned away before they were looked at. Each is counted in
//! the access log, but a stranger who knocks all day writes one line a minute,
//! not one a knock: the first denial of a kind is a line of its own, those that
//! follow within a minute are one line with their count. What belongs to a
//! question of another member is a line of its own, so that both ends tally.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{AccessLine, OfficerProof};
use crate::clock::UnixSeconds;

/// Seconds for which denials of one kind share a line.
const WINDOW_S: i64 = 60;
/// Kinds that are told apart at once; callers beyond share a line.
const KINDS_MAX: usize = 1_024;
/// Lines that may wait to be written; denials beyond are counted.
const READY_MAX: usize = 4_096;
/// Who stands in the line of callers beyond that.
const OTHERS: &str = "others";

type Kind = (String, &'static str, String);

/// Denials that are not in the log yet.
#[derive(Debug, Default)]
pub(super) struct Denials(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    ready: Vec<AccessLine>,
    windows: HashMap<Kind, Window>,
}

#[derive(Debug)]
struct Window {
    ends_at: UnixSeconds,
    more: Option<AccessLine>,
}

impl Denials {
    /// Counts a denial, or makes a line of it if it is to be one `alone`; says
    /// whether a line is ready to be written.
    pub(super) fn note(&self, mut line: AccessLine, now: UnixSeconds, alone: bool) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if alone && waiting.ready.len() < READY_MAX {
            line.count = 1;
            waiting.ready.push(line);
            return true;
        }
        let kind = |line: &AccessLine| (line.caller.clone(), line.method, line.outcome.clone());
        let full = waiting.windows.len() >= KINDS_MAX;
        if full && !waiting.windows.contains_key(&kind(&line)) {
            line.caller = OTHERS.to_owned();
            line.officer = OfficerProof::default();
        }
        line.count = 1;
        match waiting.windows.get_mut(&kind(&line)) {
            Some(window) if now < window.ends_at => {
                let more = window.more.get_or_insert(AccessLine { count: 0, ..line });
                more.count = more.count.saturating_add(1);
                return false;
            }
            Some(window) => {
                let earlier = window.more.take().map_or(0, |more| more.count);
                line.count = line.count.saturating_add(earlier);
                window.ends_at = now.saturating_add(WINDOW_S);
            }
            None => {
                let window = Window {
                    ends_at: now.saturating_add(WINDOW_S),
                    more: None,
                };
                waiting.windows.insert(kind(&line), window);
            }
        }
        waiting.ready.push(line);
        true
    }

    /// Takes what is ready, and what was counted in windows that have ended;
    /// all that was counted, if `all`.
    pub(super) fn take(&self, now: UnixSeconds, all: bool) -> Vec<AccessLine> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = std::mem::take(&mut waiting.ready);
        waiting.windows.retain(|_, window| {
            let ended = all || window.ends_at <= now;
            if ended {
                lines.extend(window.more.take());
            }
            !ended
        });
        lines
    }

    /// Takes lines back that could not be written.
    pub(super) fn give_back(&self, lines: Vec<AccessLine>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.ready.len() < READY_MAX {
            waiting.ready.extend(lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::AccessScope;

    fn denial(caller: &str) -> AccessLine {
        let mut line = AccessLine::new(AccessScope::Local, "Desk.Query", caller);
        line.outcome = "policy.not_listed".into();
        line
    }

    fn counts(lines: &[AccessLine]) -> Vec<(&str, u32)> {
        let counts = lines.iter().map(|line| (line.caller.as_str(), line.count));
        counts.collect()
    }

    #[test]
    fn the_first_denial_is_a_line_and_the_rest_of_the_minute_is_one_more() {
        let denials = Denials::default();
        assert!(denials.note(denial("li"), 1_000, false));
        assert_eq!(counts(&denials.take(1_000, false)), [("li", 1)]);
        for _ in 0..500 {
            assert!(!denials.note(denial("li"), 1_030, false));
        }
        assert!(denials.note(denial("wang"), 1_030, false), "another caller");
        assert_eq!(counts(&denials.take(1_059, false)), [("wang", 1)]);
        assert_eq!(counts(&denials.take(1_060, false)), [("li", 500)]);
        assert!(denials.note(denial("li"), 1_061, false), "a new minute");
        assert_eq!(counts(&denials.take(1_061, false)), [("li", 1)]);
    }

    #[test]
    fn what_was_counted_is_not_lost_with_the_next_line_or_at_the_end() {
        let denials = Denials::default();
        denials.note(denial("li"), 1_000, false);
        denials.note(denial("li"), 1_001, false);
        denials.note(denial("li"), 1_060, false);
        assert_eq!(counts(&denials.take(1_060, false)), [("li", 1), ("li", 2)]);
        denials.note(denial("li"), 1_061, false);
        assert_eq!(counts(&denials.take(1_061, true)), [("li", 1)]);
    }

    #[test]
    fn what_is_to_stand_alone_is_a_line_each_time() {
        let denials = Denials::default();
        for _ in 0..3 {
            assert!(denials.note(denial("wuhu"), 1_000, true));
        }
        assert_eq!(counts(&denials.take(1_000, false)), [("wuhu", 1); 3]);
    }

    #[test]
    fn a_crowd_of_callers_shares_a_line() {
        let denials = Denials::default();
        for n in 0..KINDS_MAX + 300 {
            denials.note(denial(&format!("officer-{n}")), 1_000, false);
        }
        let lines = denials.take(1_000, true);
        assert!(lines.len() <= KINDS_MAX + 2, "{}", lines.len());
        let told: u32 = lines.iter().map(|line| line.count).sum();
        assert_eq!(usize::try_from(told), Ok(KINDS_MAX + 300));
        assert!(lines.iter().any(|line| line.caller == OTHERS));
    }
}
