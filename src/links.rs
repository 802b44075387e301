//! Which cases belong together, from the tokens that they share: case pairs,
//! groups of cases with a proposed lead, and the shared tokens themselves.
//! It sees kinds, days and opaque ordinals, never a value or a token.
//!
//! Tokens are streamed through [`Analysis::push`]; only those that tie two
//! cases are kept, as postings of 12 bytes. Pairs are then counted one case at
//! a time, so that memory grows with postings and not with pairs, and a case
//! of 58,600 elements costs no more than its shared tokens.
//!
//! Score: a token that stands in `c` of `N` cases weighs `ln(N / c)`; a pair's
//! score is the sum over the tokens that both cases hold. A token in more than
//! [`Options::hub_cases`] cases is a hub and weighs nothing.

mod components;
mod export;
mod filter;
mod graph;
mod pairs;
mod report;

use std::collections::HashMap;

use crate::ids::{CaseRef, MemberId};

pub use export::{groups_csv, pairs_csv, tokens_csv};
pub use filter::{Facts, Filter};
use graph::Graph;
pub use report::{CaseGroup, CasePair, Lead, Report, TokenLink, Totals};

/// A case as other members know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaseKey {
    /// The member whose case it is.
    pub member: MemberId,
    /// The case's reference.
    pub case: CaseRef,
}

impl std::fmt::Display for CaseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.member, self.case)
    }
}

/// One record that holds a token.
#[derive(Clone, Debug)]
pub struct Posting {
    /// The case of the record.
    pub case: CaseKey,
    /// When it was observed, in days since 1970-01-01.
    pub day: Option<i32>,
    /// The wire number of its role; two roles in one case are one appearance.
    pub role: u8,
}

/// Everything that is known of one token: its kind and all its postings.
#[derive(Clone, Debug)]
pub struct TokenGroup {
    /// The kind's name, such as `bank-card`.
    pub kind: &'static str,
    /// All postings of the token, in any order.
    pub postings: Vec<Posting>,
}

/// The bounds of an analysis.
#[derive(Clone, Debug)]
pub struct Options {
    /// A token in more cases than this is a hub: it joins no group and weighs nothing.
    pub hub_cases: usize,
    /// A group of more cases than this is split at its weakest links.
    pub group_cases_max: usize,
    /// How many pairs the report lists, best first.
    pub pairs_max: usize,
    /// How many groups the report lists, best first.
    pub groups_max: usize,
    /// How many tokens the report lists, widest first.
    pub tokens_max: usize,
    /// How many postings of shared tokens are kept; beyond it tokens are only counted.
    pub postings_max: usize,
    /// Whether only pairs of cases of two different members count.
    pub cross_member_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hub_cases: 32,
            group_cases_max: 200,
            pairs_max: 10_000,
            groups_max: 1_000,
            tokens_max: 10_000,
            postings_max: 20_000_000,
            cross_member_only: true,
        }
    }
}

/// A case's appearance under one token.
#[derive(Clone, Copy, Debug)]
struct Seen {
    case: u32,
    days: Days,
}

/// A span of days; empty while `first > last`.
#[derive(Clone, Copy, Debug)]
struct Days {
    first: i32,
    last: i32,
}

impl Days {
    const NONE: Self = Self {
        first: i32::MAX,
        last: i32::MIN,
    };

    fn of(day: Option<i32>) -> Self {
        day.map_or(Self::NONE, |day| Self {
            first: day,
            last: day,
        })
    }

    fn join(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }

    fn bounds(self) -> (Option<i32>, Option<i32>) {
        if self.first > self.last {
            (None, None)
        } else {
            (Some(self.first), Some(self.last))
        }
    }
}

/// A token that ties cases: its postings are `Analysis::seen[start..end]`.
#[derive(Clone, Copy, Debug)]
struct Held {
    ordinal: u64,
    kind: usize,
    start: usize,
    end: usize,
}

#[derive(Clone, Debug)]
struct Hub {
    ordinal: u64,
    kind: &'static str,
    members: Vec<MemberId>,
    cases: u32,
}

/// A running analysis: push every token once, then finish.
#[derive(Debug)]
pub struct Analysis {
    options: Options,
    cases: Vec<CaseKey>,
    numbers: HashMap<CaseKey, u32>,
    kinds: Vec<&'static str>,
    held: Vec<Held>,
    seen: Vec<Seen>,
    hubs: Vec<Hub>,
    hub_count: u32,
    totals: Totals,
}

impl Analysis {
    /// Starts an analysis within `options`.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            cases: Vec::new(),
            numbers: HashMap::new(),
            kinds: Vec::new(),
            held: Vec::new(),
            seen: Vec::new(),
            hubs: Vec::new(),
            hub_count: 0,
            totals: Totals::default(),
        }
    }

    /// Takes all postings of one token; a token may be pushed once only.
    pub fn push(&mut self, group: &TokenGroup) {
        let ordinal = self.totals.tokens;
        self.totals.tokens += 1;
        if group.postings.len() < 2 {
            return;
        }
        let mut postings: Vec<&Posting> = group.postings.iter().collect();
        postings.sort_unstable_by(|a, b| a.case.cmp(&b.case));
        let mut distinct: Vec<(&CaseKey, Days)> = Vec::with_capacity(postings.len());
        for posting in postings {
            let days = Days::of(posting.day);
            match distinct.last_mut() {
                Some((case, seen)) if *case == &posting.case => *seen = seen.join(days),
                _ => distinct.push((&posting.case, days)),
            }
        }
        let one_member =
            distinct.first().map(|f| &f.0.member) == distinct.last().map(|l| &l.0.member);
        if distinct.len() < 2 || (self.options.cross_member_only && one_member) {
            return;
        }
        self.totals.shared_tokens += 1;
        if distinct.len() > self.options.hub_cases {
            self.keep_hub(ordinal, group.kind, &distinct);
        } else if self.seen.len() + distinct.len() > self.options.postings_max {
            self.totals.skipped_tokens += 1;
        } else {
            self.keep_token(ordinal, group.kind, &distinct);
        }
    }

    fn keep_hub(&mut self, ordinal: u64, kind: &'static str, distinct: &[(&CaseKey, Days)]) {
        self.hub_count = self.hub_count.saturating_add(1);
        if self.hubs.len() >= self.options.tokens_max {
            return;
        }
        let mut members: Vec<MemberId> = distinct.iter().map(|d| d.0.member.clone()).collect();
        members.dedup();
        self.hubs.push(Hub {
            ordinal,
            kind,
            members,
            cases: count(distinct.len()),
        });
    }

    fn keep_token(&mut self, ordinal: u64, kind: &'static str, distinct: &[(&CaseKey, Days)]) {
        let start = self.seen.len();
        for (key, days) in distinct {
            let case = match self.numbers.get(*key) {
                Some(number) => *number,
                None => {
                    let number = count(self.cases.len());
                    self.cases.push((*key).clone());
                    self.numbers.insert((*key).clone(), number);
                    number
                }
            };
            self.seen.push(Seen { case, days: *days });
        }
        let kind = self.kind_number(kind);
        self.held.push(Held {
            ordinal,
            kind,
            start,
            end: self.seen.len(),
        });
    }

    fn kind_number(&mut self, kind: &'static str) -> usize {
        self.kinds
            .iter()
            .position(|k| *k == kind)
            .unwrap_or_else(|| {
                self.kinds.push(kind);
                self.kinds.len() - 1
            })
    }

    /// Ends the stream and reports; `total_cases` is the number of cases that
    /// the tokens were drawn from, including those that share nothing.
    #[must_use]
    pub fn finish(mut self, total_cases: u64) -> Report {
        let total = f64::from(count(self.cases.len()))
            .max(as_f64(total_cases))
            .max(1.0);
        self.number_cases_in_key_order();
        let graph = Graph {
            cases: self.cases,
            kinds: self.kinds,
            held: self.held,
            seen: self.seen,
            total,
        };
        let mut totals = self.totals;
        totals.linked_cases = graph.cases.len() as u64;

        let components = components::Components::of(&graph, self.options.group_cases_max);
        let found = pairs::scan(&graph, &self.options, |a| components.oversized(a));
        totals.pairs = found.count;
        let (mut groups, cut) = components::groups(&graph, &self.options, components, &found.edges);
        totals.groups = groups.len() as u64;
        totals.cut_cases = cut;
        groups.truncate(self.options.groups_max);

        Report {
            pairs: found.pairs,
            groups,
            tokens: graph.token_links(self.hubs, self.options.tokens_max),
            hubs: self.hub_count,
            totals,
        }
    }

    /// Renumbers cases by key, so that nothing depends on the order of the stream.
    fn number_cases_in_key_order(&mut self) {
        let mut order: Vec<usize> = (0..self.cases.len()).collect();
        order.sort_unstable_by(|a, b| self.cases[*a].cmp(&self.cases[*b]));
        let mut renumbered = vec![0; order.len()];
        for (new, old) in order.iter().enumerate() {
            renumbered[*old] = count(new);
        }
        for seen in &mut self.seen {
            seen.case = renumbered[index(seen.case)];
        }
        self.numbers.clear();
        self.cases.sort_unstable();
    }
}

/// Adds one to a kind's count in a list that is at most as long as there are kinds.
fn bump(counts: &mut Vec<(usize, u32)>, kind: usize) {
    match counts.iter_mut().find(|(k, _)| *k == kind) {
        Some((_, n)) => *n += 1,
        None => counts.push((kind, 1)),
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("postings_max keeps every count far below 2^32")
}

fn index(n: u32) -> usize {
    usize::try_from(n).expect("a case number was an index")
}

fn as_f64(n: u64) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}
