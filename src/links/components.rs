//! Groups of cases: the connected components of the shared tokens. A component
//! over the cap is split by joining its strongest pairs first, never beyond the
//! cap, so that its weakest links are the ones that are cut.

use std::collections::BTreeSet;

use super::graph::{Graph, score};
use super::pairs::{Edge, TokensOfCases};
use super::{CaseGroup, Days, Lead, Options, bump, count, index};

const NO_GROUP: u32 = u32::MAX;

/// Which component each case belongs to.
#[derive(Debug)]
pub(super) struct Components {
    root: Vec<u32>,
    size: Vec<u32>,
    cases_max: u32,
}

impl Components {
    /// Joins the cases of every token, hubs being absent from the graph.
    pub(super) fn of(graph: &Graph, cases_max: usize) -> Self {
        let mut sets = Sets::new(graph.cases.len());
        for token in &graph.held {
            let seen = graph.seen_of(token);
            for pair in seen.windows(2) {
                sets.join(pair[0].case, pair[1].case, u32::MAX);
            }
        }
        let root: Vec<u32> = (0..count(graph.cases.len()))
            .map(|case| sets.root(case))
            .collect();
        Self {
            root,
            size: sets.size,
            cases_max: u32::try_from(cases_max).unwrap_or(u32::MAX).max(2),
        }
    }

    /// Says whether a case's component is over the cap.
    pub(super) fn oversized(&self, case: u32) -> bool {
        self.size[index(self.root[index(case)])] > self.cases_max
    }
}

/// Lists all groups, best first, and how many cases the cap left without one.
/// `edges` are the pairs of oversized components, best first.
pub(super) fn groups(
    graph: &Graph,
    options: &Options,
    components: Components,
    edges: &[Edge],
) -> (Vec<CaseGroup>, u64) {
    let oversized: Vec<bool> = (0..count(graph.cases.len()))
        .map(|case| components.oversized(case))
        .collect();
    let mut split = Sets::new(graph.cases.len());
    for edge in edges {
        split.join(edge.a, edge.b, components.cases_max);
    }
    let label = |case: u32| {
        if oversized[index(case)] {
            split.settled_root(case)
        } else {
            components.root[index(case)]
        }
    };
    let (group_of, drafts) = drafts(graph, &label, &oversized);
    let cut = group_of.iter().filter(|group| **group == NO_GROUP).count();
    let mut groups = measured(graph, options, &group_of, drafts);
    groups.sort_unstable_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| a.cases.cmp(&b.cases))
    });
    (groups, cut as u64)
}

/// A group while its tokens are being counted.
struct Draft {
    cases: Vec<u32>,
    capped: bool,
    shared: u32,
    kinds: Vec<(usize, u32)>,
    score: u64,
    days: Days,
}

/// Numbers the sets of at least two cases in key order.
fn drafts(
    graph: &Graph,
    label: &impl Fn(u32) -> u32,
    oversized: &[bool],
) -> (Vec<u32>, Vec<Draft>) {
    let mut by_root: Vec<Vec<u32>> = vec![Vec::new(); graph.cases.len()];
    for case in 0..count(graph.cases.len()) {
        by_root[index(label(case))].push(case);
    }
    let mut group_of = vec![NO_GROUP; graph.cases.len()];
    let mut drafts = Vec::new();
    for cases in by_root.into_iter().filter(|cases| cases.len() > 1) {
        for case in &cases {
            group_of[index(*case)] = count(drafts.len());
        }
        let capped = oversized[index(cases[0])];
        drafts.push(Draft {
            cases,
            capped,
            shared: 0,
            kinds: Vec::new(),
            score: 0,
            days: Days::NONE,
        });
    }
    (group_of, drafts)
}

/// Counts each group's tokens and weighs each case's ties within it.
fn measured(
    graph: &Graph,
    options: &Options,
    group_of: &[u32],
    mut drafts: Vec<Draft>,
) -> Vec<CaseGroup> {
    let mut ties = vec![Tie::default(); graph.cases.len()];
    let mut inside: Vec<(u32, usize)> = Vec::new();
    for token in &graph.held {
        let seen = graph.seen_of(token);
        inside.clear();
        inside.extend(
            seen.iter()
                .enumerate()
                .map(|(at, s)| (group_of[index(s.case)], at)),
        );
        inside.sort_unstable();
        for same in inside.chunk_by(|a, b| a.0 == b.0) {
            let Some(draft) = drafts.get_mut(index(same[0].0)) else {
                continue;
            };
            let partners = |at: usize| {
                let me = graph.member(seen[at].case);
                same.iter()
                    .filter(|(_, other)| *other != at)
                    .filter(|(_, other)| {
                        !options.cross_member_only || graph.member(seen[*other].case) != me
                    })
                    .count()
            };
            let weight = graph.weight(token);
            let mut any = false;
            for (_, at) in same {
                let reached = partners(*at);
                if reached > 0 {
                    any = true;
                    let tie = &mut ties[index(seen[*at].case)];
                    tie.shared += 1;
                    tie.score += weight * u64::from(count(reached));
                    draft.days = draft.days.join(seen[*at].days);
                }
            }
            if any {
                draft.shared += 1;
                draft.score += weight;
                bump(&mut draft.kinds, token.kind);
            }
        }
    }
    let tokens = TokensOfCases::of(graph);
    drafts
        .into_iter()
        .map(|draft| finished(graph, options, &tokens, group_of, &ties, draft))
        .collect()
}

#[derive(Clone, Copy, Debug, Default)]
struct Tie {
    shared: u32,
    score: u64,
}

fn finished(
    graph: &Graph,
    options: &Options,
    tokens: &TokensOfCases,
    group_of: &[u32],
    ties: &[Tie],
    draft: Draft,
) -> CaseGroup {
    let mut lead = draft.cases[0];
    for case in &draft.cases {
        if ties[index(*case)].score > ties[index(lead)].score {
            lead = *case;
        }
    }
    let linked: BTreeSet<u32> = tokens
        .of_case(lead)
        .iter()
        .flat_map(|token| graph.seen_of(&graph.held[index(*token)]))
        .map(|seen| seen.case)
        .filter(|case| *case != lead && group_of[index(*case)] == group_of[index(lead)])
        .filter(|case| !options.cross_member_only || graph.member(*case) != graph.member(lead))
        .collect();
    let mut members: Vec<_> = draft
        .cases
        .iter()
        .map(|case| graph.member(*case).clone())
        .collect();
    members.dedup();
    let (first_day, last_day) = draft.days.bounds();
    CaseGroup {
        cases: draft.cases.iter().map(|case| graph.key(*case)).collect(),
        members,
        lead: Lead {
            case: graph.key(lead),
            linked_cases: count(linked.len()),
            shared: ties[index(lead)].shared,
            score: score(ties[index(lead)].score),
        },
        shared: draft.shared,
        kinds: graph.kind_counts(&draft.kinds),
        score: score(draft.score),
        first_day,
        last_day,
        capped: draft.capped,
    }
}

/// Disjoint sets of case numbers.
#[derive(Debug)]
struct Sets {
    parent: Vec<u32>,
    size: Vec<u32>,
}

impl Sets {
    fn new(len: usize) -> Self {
        Self {
            parent: (0..count(len)).collect(),
            size: vec![1; len],
        }
    }

    fn root(&mut self, case: u32) -> u32 {
        let root = self.settled_root(case);
        let mut at = case;
        while at != root {
            at = std::mem::replace(&mut self.parent[index(at)], root);
        }
        root
    }

    fn settled_root(&self, case: u32) -> u32 {
        let mut at = case;
        while self.parent[index(at)] != at {
            at = self.parent[index(at)];
        }
        at
    }

    /// Joins two sets unless the result would hold more than `max`.
    fn join(&mut self, a: u32, b: u32, max: u32) {
        let (a, b) = (self.root(a), self.root(b));
        let joined = self.size[index(a)].saturating_add(self.size[index(b)]);
        if a == b || joined > max {
            return;
        }
        let (small, large) = if self.size[index(a)] < self.size[index(b)] {
            (a, b)
        } else {
            (b, a)
        };
        self.parent[index(small)] = large;
        self.size[index(large)] = joined;
    }
}
