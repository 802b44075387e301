//! Counts what each pair of cases shares, one case at a time, and keeps the
//! best: memory is bounded by the partners of one case and the lists' limits.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::graph::{Graph, score};
use super::{CasePair, Days, Options, bump, count, index};

/// How many pairs of oversized components are kept to split them by.
const EDGES_MAX: usize = 1_000_000;

/// A scored pair of case numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) a: u32,
    pub(super) b: u32,
    pub(super) score: u64,
}

/// The pairs of a graph.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) pairs: Vec<CasePair>,
    pub(super) count: u64,
    /// The pairs for which the caller asked, best first.
    pub(super) edges: Vec<Edge>,
}

#[derive(Clone, Debug)]
struct Tally {
    edge: Edge,
    shared: u32,
    kinds: Vec<(usize, u32)>,
    days: Days,
}

/// Counts all pairs; `wanted` says for which cases edges are also needed.
pub(super) fn scan(graph: &Graph, options: &Options, wanted: impl Fn(u32) -> bool) -> Found {
    let tokens = TokensOfCases::of(graph);
    let mut best = Best::new(options.pairs_max, |a: &Tally, b: &Tally| {
        rank(&a.edge, &b.edge)
    });
    let mut edges = Best::new(EDGES_MAX, rank);
    let mut pairs = 0;
    let mut partners: HashMap<u32, Tally> = HashMap::new();
    for a in 0..count(graph.cases.len()) {
        tally(graph, options, &tokens, a, &mut partners);
        for (_, tally) in partners.drain() {
            pairs += 1;
            if wanted(a) {
                edges.push(tally.edge);
            }
            best.push(tally);
        }
    }
    Found {
        pairs: best
            .into_sorted()
            .into_iter()
            .map(|t| named(graph, t))
            .collect(),
        count: pairs,
        edges: edges.into_sorted(),
    }
}

/// Collects the partners of `a` that come after it in key order.
fn tally(
    graph: &Graph,
    options: &Options,
    tokens: &TokensOfCases,
    a: u32,
    partners: &mut HashMap<u32, Tally>,
) {
    for number in tokens.of_case(a) {
        let token = &graph.held[index(*number)];
        let weight = graph.weight(token);
        let all = graph.seen_of(token);
        let own = all
            .iter()
            .find(|s| s.case == a)
            .map_or(Days::NONE, |s| s.days);
        for other in all {
            let same_member = graph.member(a) == graph.member(other.case);
            if other.case <= a || (options.cross_member_only && same_member) {
                continue;
            }
            let entry = partners.entry(other.case).or_insert_with(|| Tally {
                edge: Edge {
                    a,
                    b: other.case,
                    score: 0,
                },
                shared: 0,
                kinds: Vec::new(),
                days: Days::NONE,
            });
            entry.edge.score += weight;
            entry.shared += 1;
            entry.days = entry.days.join(own).join(other.days);
            bump(&mut entry.kinds, token.kind);
        }
    }
}

fn named(graph: &Graph, tally: Tally) -> CasePair {
    let (first_day, last_day) = tally.days.bounds();
    CasePair {
        a: graph.key(tally.edge.a),
        b: graph.key(tally.edge.b),
        shared: tally.shared,
        kinds: graph.kind_counts(&tally.kinds),
        score: score(tally.edge.score),
        first_day,
        last_day,
    }
}

fn rank(x: &Edge, y: &Edge) -> Ordering {
    y.score.cmp(&x.score).then((x.a, x.b).cmp(&(y.a, y.b)))
}

/// For each case, the numbers of its shared tokens, in stream order.
#[derive(Debug)]
pub(super) struct TokensOfCases {
    starts: Vec<usize>,
    tokens: Vec<u32>,
}

impl TokensOfCases {
    pub(super) fn of(graph: &Graph) -> Self {
        let mut starts = vec![0; graph.cases.len() + 1];
        for seen in &graph.seen {
            starts[index(seen.case) + 1] += 1;
        }
        for case in 1..starts.len() {
            starts[case] += starts[case - 1];
        }
        let mut next = starts.clone();
        let mut tokens = vec![0; graph.seen.len()];
        for (number, token) in graph.held.iter().enumerate() {
            for seen in graph.seen_of(token) {
                let slot = &mut next[index(seen.case)];
                tokens[*slot] = count(number);
                *slot += 1;
            }
        }
        Self { starts, tokens }
    }

    pub(super) fn of_case(&self, case: u32) -> &[u32] {
        let case = index(case);
        &self.tokens[self.starts[case]..self.starts[case + 1]]
    }
}

/// The first `max` items of a stream in the order of `cmp`, in at most twice the room.
struct Best<T, F> {
    max: usize,
    items: Vec<T>,
    cmp: F,
}

impl<T, F: Fn(&T, &T) -> Ordering> Best<T, F> {
    fn new(max: usize, cmp: F) -> Self {
        Self {
            max,
            items: Vec::new(),
            cmp,
        }
    }

    fn push(&mut self, item: T) {
        self.items.push(item);
        if self.items.len() >= self.max.saturating_mul(2).max(64) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.items.sort_unstable_by(&self.cmp);
        self.items.truncate(self.max);
    }

    fn into_sorted(mut self) -> Vec<T> {
        self.cut();
        self.items
    }
}
