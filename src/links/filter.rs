//! What an officer narrows an analysis to. The caller asks for each posting
//! before it is pushed; an empty set of names means all of them.

use std::collections::BTreeSet;

use crate::ids::MemberId;

/// The wishes of one `links` call; a default filter keeps everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Kinds by name, such as `phone`.
    pub kinds: BTreeSet<String>,
    /// Members whose cases count.
    pub members: BTreeSet<MemberId>,
    /// Regions of those members.
    pub regions: BTreeSet<String>,
    /// Case categories.
    pub categories: BTreeSet<String>,
    /// The first day, in days since 1970-01-01.
    pub from_day: Option<i32>,
    /// The last day, inclusive.
    pub to_day: Option<i32>,
}

/// What is known of one posting.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The kind's name.
    pub kind: &'a str,
    /// The member whose record it is.
    pub member: &'a MemberId,
    /// The member's region, if the roster names one.
    pub region: Option<&'a str>,
    /// The case's category, if its notice is here.
    pub category: Option<&'a str>,
    /// When it was observed.
    pub day: Option<i32>,
}

impl Filter {
    /// Says whether a posting counts. What is unknown fails a wish about it.
    #[must_use]
    pub fn keeps(&self, facts: &Facts<'_>) -> bool {
        named(&self.kinds, Some(facts.kind))
            && (self.members.is_empty() || self.members.contains(facts.member))
            && named(&self.regions, facts.region)
            && named(&self.categories, facts.category)
            && self.keeps_day(facts.day)
    }

    fn keeps_day(&self, day: Option<i32>) -> bool {
        match day {
            None => self.from_day.is_none() && self.to_day.is_none(),
            Some(day) => {
                self.from_day.is_none_or(|from| from <= day)
                    && self.to_day.is_none_or(|to| day <= to)
            }
        }
    }
}

fn named(wanted: &BTreeSet<String>, name: Option<&str>) -> bool {
    wanted.is_empty() || name.is_some_and(|name| wanted.contains(name))
}
