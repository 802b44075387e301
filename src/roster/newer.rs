//! What stands in a roster and is not known here. The roster is taken, and what
//! is unknown has no effect: it is kept to be shown, and passed on as it is.

use std::fmt;

/// One thing in a roster that a newer software made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newer {
    /// Where it stands, such as `members[hefei].role`.
    pub place: String,
    /// What is not known.
    pub what: What,
}

/// What is not known, with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Fields, somewhere in the roster.
    Fields,
    /// The role of a member: it has no rights here.
    Role(i32),
    /// The use of a key: it is not used here.
    Use(i32),
    /// The algorithm of a key: nothing under it can be checked here.
    Algorithm(u8),
    /// The suite of a token key: it is not used here.
    Suite(u8),
    /// The class of a token key or grant: it is not used here.
    Class(i32),
    /// The state of a token key: it is not used here.
    State(i32),
}

impl What {
    /// A stable word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fields => "fields",
            Self::Role(_) => "role",
            Self::Use(_) => "use",
            Self::Algorithm(_) => "algorithm",
            Self::Suite(_) => "suite",
            Self::Class(_) => "class",
            Self::State(_) => "state",
        }
    }

    /// Its number; `None` for fields.
    #[must_use]
    pub fn number(self) -> Option<i64> {
        match self {
            Self::Fields => None,
            Self::Role(n) | Self::Use(n) | Self::Class(n) | Self::State(n) => Some(n.into()),
            Self::Algorithm(n) | Self::Suite(n) => Some(n.into()),
        }
    }
}

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what.word())?;
        match self.what.number() {
            Some(number) => write!(f, " {number}"),
            None => Ok(()),
        }
    }
}
