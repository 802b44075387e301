//! What an analysis hands back: pairs, groups, tokens, counts.

use super::CaseKey;
use crate::ids::MemberId;

/// Two cases that share tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct CasePair {
    /// The smaller key of the two.
    pub a: CaseKey,
    /// The other case.
    pub b: CaseKey,
    /// How many tokens both hold, hubs not counted.
    pub shared: u32,
    /// The same by kind, most frequent first.
    pub kinds: Vec<(&'static str, u32)>,
    /// The sum of the shared tokens' weights.
    pub score: f64,
    /// The first day on which either case saw one of them.
    pub first_day: Option<i32>,
    /// The last such day.
    pub last_day: Option<i32>,
}

/// The case that is proposed to lead a group, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Lead {
    /// The case whose shared tokens tie it strongest to the rest of the group.
    pub case: CaseKey,
    /// How many cases of the group it shares a token with.
    pub linked_cases: u32,
    /// How many of the group's shared tokens it holds.
    pub shared: u32,
    /// The weight of its ties: each token's weight times the cases it leads to.
    pub score: f64,
}

/// Cases that hang together by tokens which are not hubs.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseGroup {
    /// The cases, in key order.
    pub cases: Vec<CaseKey>,
    /// Their members, in name order.
    pub members: Vec<MemberId>,
    /// The proposed lead.
    pub lead: Lead,
    /// How many tokens at least two of the cases share.
    pub shared: u32,
    /// The same by kind, most frequent first.
    pub kinds: Vec<(&'static str, u32)>,
    /// The sum of those tokens' weights.
    pub score: f64,
    /// The first day on which a shared token was seen.
    pub first_day: Option<i32>,
    /// The last such day.
    pub last_day: Option<i32>,
    /// Whether it was cut out of a larger component, see [`group_cases_max`](super::Options::group_cases_max).
    pub capped: bool,
}

/// One token that ties cases together.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLink {
    /// Its position in the stream of tokens, from 0; says nothing about its value.
    pub ordinal: u64,
    /// Its kind.
    pub kind: &'static str,
    /// The members that hold it, in name order.
    pub members: Vec<MemberId>,
    /// How many cases hold it.
    pub case_count: u32,
    /// Those cases in key order; empty for a hub.
    pub cases: Vec<CaseKey>,
    /// `ln(N / c)`, or 0 for a hub.
    pub rarity: f64,
    /// Whether it stands in too many cases to mean anything.
    pub hub: bool,
}

/// Counts over everything that was pushed, whatever the lists hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tokens pushed.
    pub tokens: u64,
    /// Tokens that stand in at least two cases, of two members if only those count.
    pub shared_tokens: u64,
    /// Cases that share a token with another one, by tokens that are not hubs.
    pub linked_cases: u64,
    /// Pairs of cases that share a token.
    pub pairs: u64,
    /// Groups of cases.
    pub groups: u64,
    /// Cases of components over the cap that were left without a group.
    pub cut_cases: u64,
    /// Shared tokens beyond [`postings_max`](super::Options::postings_max), counted but in no pair or group.
    pub skipped_tokens: u64,
}

/// What an analysis found.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Pairs, best score first; ties in key order.
    pub pairs: Vec<CasePair>,
    /// Groups, best score first; ties in key order.
    pub groups: Vec<CaseGroup>,
    /// Tokens: no hubs first, then by members, cases and stream order.
    pub tokens: Vec<TokenLink>,
    /// Tokens that are hubs.
    pub hubs: u32,
    /// Counts over all of it.
    pub totals: Totals,
}
