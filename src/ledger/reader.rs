//! Who asks for bodies. What of a log may go to whom depends on it, wherever
//! bodies are given out: to other nodes, and to auditors.

use crate::roster::{Member, Roster};

/// Who asks for bodies, and under which roster.
#[derive(Clone, Copy, Debug)]
pub struct BodyReader<'a> {
    /// The member that asks.
    pub member: &'a Member,
    /// The newest roster here.
    pub roster: &'a Roster,
}
