//! What is known of each record: a few bytes, so that a million of them stay
//! small, and the one verdict that follows.

use serde::{Serialize, Serializer};

use crate::roster::validity::{Validity, Why};
use crate::wire::v1::BodyAnswer;

/// The verdict on one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// All of it holds.
    Valid,
    /// All of it holds, but no witnessed checkpoint holds it yet.
    Provisional,
    /// Its body was erased, and the log says by what and when.
    Erased,
    /// Its signature holds, but its leaf is not in the signed tree.
    NotLogged,
    /// Its key did not speak for the member there and then.
    KeyInvalid,
    /// Its entry or its body is not there, and nothing says why.
    Missing,
    /// Its signature, statement or body does not fit.
    Forged,
}

impl Verdict {
    /// Every verdict, in the order of reports.
    pub const ALL: [Self; 7] = [
        Self::Valid,
        Self::Provisional,
        Self::Erased,
        Self::NotLogged,
        Self::KeyInvalid,
        Self::Missing,
        Self::Forged,
    ];

    /// The word that stands in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Provisional => "provisional",
            Self::Erased => "erased",
            Self::NotLogged => "not_logged",
            Self::KeyInvalid => "key_invalid",
            Self::Missing => "missing",
            Self::Forged => "forged",
        }
    }

    /// Says whether the verdict is a fault; a provisional record is one only
    /// where the policy requires witnesses.
    #[must_use]
    pub fn is_fault(self, require_witnessed: bool) -> bool {
        match self {
            Self::Valid | Self::Erased => false,
            Self::Provisional => require_witnessed,
            Self::NotLogged | Self::KeyInvalid | Self::Missing | Self::Forged => true,
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryMark {
    /// It is not in the bundle.
    Missing,
    /// It is no entry of this log, or its signature does not hold.
    Forged,
    /// Its signature holds.
    Signed,
}

/// What became of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyMark {
    /// It is there and fits.
    Held,
    /// It is withheld from the auditor's member, as it may be.
    Withheld,
    /// The bundle says that it was erased.
    Erased,
    /// It is not there, or is withheld and may not be.
    Missing,
    /// It is there and does not fit.
    Forged,
}

/// What is known of one record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) entry: EntryMark,
    pub(crate) in_tree: bool,
    pub(crate) key: Validity,
    pub(crate) body: BodyMark,
    /// What the bundle says of the body, for reports.
    pub(crate) told: BodyAnswer,
    /// Whether the log says why the body is gone.
    pub(crate) explained: bool,
    /// Whether its type is not known here, or its body is of a later version.
    pub(crate) newer: bool,
}

impl Default for Mark {
    fn default() -> Self {
        Self::MISSING
    }
}

impl Mark {
    /// A record of which nothing was found.
    pub(crate) const MISSING: Self = Self {
        entry: EntryMark::Missing,
        in_tree: false,
        key: Validity::Provisional,
        body: BodyMark::Missing,
        told: BodyAnswer::Unspecified,
        explained: false,
        newer: false,
    };

    /// The verdict that follows: what is worst about it comes first.
    pub(crate) fn verdict(&self) -> Verdict {
        match self.entry {
            EntryMark::Missing => return Verdict::Missing,
            EntryMark::Forged => return Verdict::Forged,
            EntryMark::Signed => {}
        }
        if self.body == BodyMark::Forged {
            return Verdict::Forged;
        }
        if !self.in_tree {
            return Verdict::NotLogged;
        }
        if matches!(self.key, Validity::KeyInvalid(_) | Validity::Unknown) {
            return Verdict::KeyInvalid;
        }
        match self.body {
            BodyMark::Erased if self.explained => return Verdict::Erased,
            BodyMark::Erased | BodyMark::Missing => return Verdict::Missing,
            BodyMark::Held | BodyMark::Withheld | BodyMark::Forged => {}
        }
        match self.key {
            Validity::Provisional => Verdict::Provisional,
            Validity::Valid | Validity::KeyInvalid(_) | Validity::Unknown => Verdict::Valid,
        }
    }

    /// Says whether entry, place and key hold, whatever the body.
    pub(crate) fn entry_holds(&self) -> bool {
        let keyed = matches!(self.key, Validity::Valid | Validity::Provisional);
        self.entry == EntryMark::Signed && self.in_tree && keyed
    }

    /// A stable word for why the verdict is what it is; empty where there is
    /// nothing to say.
    pub(crate) fn why(&self) -> &'static str {
        match self.verdict() {
            Verdict::Valid | Verdict::Erased => "",
            Verdict::Provisional => "not_witnessed",
            Verdict::NotLogged => "leaf_not_in_tree",
            Verdict::KeyInvalid => match self.key {
                Validity::KeyInvalid(why) => Why::code(why),
                Validity::Valid | Validity::Provisional | Validity::Unknown => "unknown_key",
            },
            Verdict::Missing => self.missing(),
            Verdict::Forged if self.body == BodyMark::Forged => "body",
            Verdict::Forged => "entry",
        }
    }

    /// A stable word for why the body, or the entry, is missing.
    pub(crate) fn missing(&self) -> &'static str {
        match (self.entry, self.told) {
            (EntryMark::Missing, _) => "no_entry",
            (_, BodyAnswer::Erased) => "erasure_unexplained",
            (_, BodyAnswer::Lost) => "body_lost",
            (_, BodyAnswer::NotForYou) => "body_withheld",
            (_, BodyAnswer::Unspecified | BodyAnswer::Held | BodyAnswer::Absent) => "no_body",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Mark = Mark {
        entry: EntryMark::Signed,
        in_tree: true,
        key: Validity::Valid,
        body: BodyMark::Held,
        told: BodyAnswer::Held,
        explained: false,
        newer: false,
    };

    #[test]
    fn the_worst_about_a_record_is_its_verdict() {
        let erased = Mark {
            body: BodyMark::Erased,
            ..GOOD
        };
        let cases = [
            (GOOD, Verdict::Valid),
            (
                Mark {
                    key: Validity::Provisional,
                    ..GOOD
                },
                Verdict::Provisional,
            ),
            (
                Mark {
                    body: BodyMark::Withheld,
                    ..GOOD
                },
                Verdict::Valid,
            ),
            (erased, Verdict::Missing),
            (
                Mark {
                    explained: true,
                    ..erased
                },
                Verdict::Erased,
            ),
            (
                Mark {
                    explained: true,
                    in_tree: false,
                    ..erased
                },
                Verdict::NotLogged,
            ),
            (
                Mark {
                    key: Validity::KeyInvalid(Why::Revoked),
                    ..GOOD
                },
                Verdict::KeyInvalid,
            ),
            (
                Mark {
                    in_tree: false,
                    key: Validity::Unknown,
                    ..GOOD
                },
                Verdict::NotLogged,
            ),
            (
                Mark {
                    in_tree: false,
                    body: BodyMark::Forged,
                    ..GOOD
                },
                Verdict::Forged,
            ),
            (
                Mark {
                    entry: EntryMark::Forged,
                    ..GOOD
                },
                Verdict::Forged,
            ),
            (
                Mark {
                    key: Validity::Unknown,
                    ..GOOD
                },
                Verdict::KeyInvalid,
            ),
            (Mark::MISSING, Verdict::Missing),
        ];
        for (mark, verdict) in cases {
            assert_eq!(mark.verdict(), verdict, "{mark:?}");
        }
    }

    #[test]
    fn a_record_takes_a_few_bytes() {
        assert!(size_of::<Mark>() <= 12);
    }
}
