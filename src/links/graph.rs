//! The shared tokens and the cases that hold them, and what a token weighs.

use super::{CaseKey, Held, Hub, Seen, TokenLink, count, index};
use crate::ids::MemberId;

/// Weights are summed in units of this many to one.
const SCORE_UNIT: f64 = 1e9;

/// The shared tokens and their cases, complete and renumbered.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) cases: Vec<CaseKey>,
    pub(super) kinds: Vec<&'static str>,
    pub(super) held: Vec<Held>,
    pub(super) seen: Vec<Seen>,
    pub(super) total: f64,
}

impl Graph {
    pub(super) fn seen_of(&self, token: &Held) -> &[Seen] {
        &self.seen[token.start..token.end]
    }

    /// The token's weight in billionths, so that sums do not depend on their order.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a logarithm of a ratio from 1 to 2^32, times 10^9, fits"
    )]
    pub(super) fn weight(&self, token: &Held) -> u64 {
        let ratio = self.total / f64::from(count(token.end - token.start));
        (ratio.ln().max(0.0) * SCORE_UNIT).round() as u64
    }

    pub(super) fn member(&self, case: u32) -> &MemberId {
        &self.cases[index(case)].member
    }

    pub(super) fn key(&self, case: u32) -> CaseKey {
        self.cases[index(case)].clone()
    }

    pub(super) fn kind_counts(&self, counts: &[(usize, u32)]) -> Vec<(&'static str, u32)> {
        let mut named: Vec<_> = counts
            .iter()
            .map(|(kind, n)| (self.kinds[*kind], *n))
            .collect();
        named.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        named
    }

    pub(super) fn token_links(&self, hubs: Vec<Hub>, max: usize) -> Vec<TokenLink> {
        let mut order: Vec<(usize, usize, &Held)> = self
            .held
            .iter()
            .map(|token| (self.members_of(token).len(), token.end - token.start, token))
            .collect();
        order.sort_unstable_by(|a, b| {
            b.0.cmp(&a.0)
                .then(b.1.cmp(&a.1))
                .then(a.2.ordinal.cmp(&b.2.ordinal))
        });
        let mut links: Vec<TokenLink> = order
            .into_iter()
            .take(max)
            .map(|(_, cases, token)| TokenLink {
                ordinal: token.ordinal,
                kind: self.kinds[token.kind],
                members: self.members_of(token),
                case_count: count(cases),
                cases: self
                    .seen_of(token)
                    .iter()
                    .map(|s| self.key(s.case))
                    .collect(),
                rarity: score(self.weight(token)),
                hub: false,
            })
            .collect();
        let room = max - links.len();
        links.extend(hubs.into_iter().take(room).map(|hub| TokenLink {
            ordinal: hub.ordinal,
            kind: hub.kind,
            members: hub.members,
            case_count: hub.cases,
            cases: Vec::new(),
            rarity: 0.0,
            hub: true,
        }));
        links
    }

    fn members_of(&self, token: &Held) -> Vec<MemberId> {
        let mut members: Vec<MemberId> = self
            .seen_of(token)
            .iter()
            .map(|s| self.member(s.case).clone())
            .collect();
        members.sort_unstable();
        members.dedup();
        members
    }
}

/// A sum of weights as the report shows it.
pub(super) fn score(weight: u64) -> f64 {
    weight as f64 / SCORE_UNIT
}
