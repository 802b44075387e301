//! Whom one question went to, with how each of them answered. Whoever asks
//! notes each request before it leaves, so that one that was given up, or whose
//! answer never came, stands in the access log too.

use std::sync::{Mutex, PoisonError};

use crate::ids::MemberId;
use crate::wire::v1::AskedMember;

/// The outcome of a request whose answer was not waited for.
pub const GIVEN_UP: &str = "given_up";

/// The requests of one question, in the order in which they were sent.
#[derive(Debug, Default)]
pub struct Asked(Mutex<Vec<AskedMember>>);

impl Asked {
    /// Notes a request about `count` things before it is sent; returns its place.
    pub fn sending(&self, member: &MemberId, count: u32) -> usize {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(AskedMember {
            member: member.to_string(),
            outcome: GIVEN_UP.to_owned(),
            count,
        });
        asked.len() - 1
    }

    /// Notes how the request at `place` ended: `ok`, or a stable code.
    pub fn ended(&self, place: usize, outcome: &str) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = asked.get_mut(place) {
            outcome.clone_into(&mut asked.outcome);
        }
    }

    /// All of them, for a line of the access log.
    #[must_use]
    pub fn members(&self) -> Vec<AskedMember> {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}
