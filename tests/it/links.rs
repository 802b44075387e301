//! Link analysis against a naive reference, and what hubs, caps and filters do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use casegate::ids::{CaseRef, MemberId};
use casegate::links::{
    Analysis, CaseKey, Facts, Filter, Options, Posting, Report, TokenGroup, groups_csv, pairs_csv,
    tokens_csv,
};
use proptest::prelude::*;

const KINDS: [&str; 3] = ["phone", "wallet", "domain"];

fn member(n: u8) -> MemberId {
    MemberId::new(&format!("m{n}")).expect("a name")
}

fn key(m: u8, case: u16) -> CaseKey {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&case.to_be_bytes());
    CaseKey {
        member: member(m),
        case: CaseRef(bytes),
    }
}

fn token(kind: &'static str, cases: &[(u8, u16)]) -> TokenGroup {
    let postings = cases
        .iter()
        .map(|(m, case)| Posting {
            case: key(*m, *case),
            day: None,
            role: 1,
        })
        .collect();
    TokenGroup { kind, postings }
}

fn analyse(tokens: &[TokenGroup], total: u64, options: Options) -> Report {
    let mut analysis = Analysis::new(options);
    for token in tokens {
        analysis.push(token);
    }
    analysis.finish(total)
}

#[test]
fn cases_of_one_member_make_no_pair_unless_asked_for() {
    let tokens = [token("phone", &[(1, 1), (1, 2)])];
    let report = analyse(&tokens, 10, Options::default());
    assert!(report.pairs.is_empty() && report.groups.is_empty() && report.tokens.is_empty());
    assert_eq!(report.totals.tokens, 1);
    assert_eq!(report.totals.shared_tokens, 0);
    let own = Options {
        cross_member_only: false,
        ..Options::default()
    };
    assert_eq!(analyse(&tokens, 10, own).pairs.len(), 1);
}

#[test]
fn a_token_twice_in_one_case_is_one_appearance() {
    let tokens = [token("phone", &[(1, 1), (1, 1), (2, 7), (2, 7)])];
    let report = analyse(&tokens, 100, Options::default());
    assert_eq!(report.pairs.len(), 1);
    assert_eq!(report.pairs[0].shared, 1);
    assert_eq!(report.tokens[0].case_count, 2);
}

#[test]
fn a_hub_joins_nothing_and_is_listed_last_without_its_cases() {
    let crowd: Vec<(u8, u16)> = (0..9).map(|n| (1 + u8::from(n % 2 == 0), n)).collect();
    let tokens = [token("domain", &crowd), token("phone", &[(1, 1), (2, 2)])];
    let options = Options {
        hub_cases: 8,
        ..Options::default()
    };
    let report = analyse(&tokens, 100, options);
    assert_eq!(report.hubs, 1);
    assert_eq!(report.pairs.len(), 1, "only the phone pairs cases");
    assert_eq!(report.groups.len(), 1);
    assert_eq!(report.groups[0].cases, [key(1, 1), key(2, 2)]);
    let hub = report.tokens.last().expect("tokens");
    assert!(hub.hub && hub.cases.is_empty() && hub.rarity == 0.0);
    assert_eq!((hub.ordinal, hub.case_count), (0, 9));
}

#[test]
fn a_rarer_token_scores_higher() {
    let scores: Vec<f64> = (2..8)
        .map(|cases| {
            let crowd: Vec<(u8, u16)> = (0..cases).map(|n| ((n % 2) as u8, n)).collect();
            analyse(&[token("phone", &crowd)], 1000, Options::default()).pairs[0].score
        })
        .collect();
    assert!(scores.windows(2).all(|w| w[0] > w[1]), "{scores:?}");
}

#[test]
fn more_shared_tokens_and_more_cases_overall_score_higher() {
    let one = [token("phone", &[(1, 1), (2, 2)])];
    let two = [one[0].clone(), token("wallet", &[(1, 1), (2, 2)])];
    let score =
        |tokens: &[TokenGroup], total| analyse(tokens, total, Options::default()).pairs[0].score;
    assert!(score(&two, 100) > score(&one, 100));
    assert!(score(&one, 1000) > score(&one, 100));
    assert!(
        score(&one, 0) >= 0.0,
        "a total that is too small cannot make a score negative"
    );
}

#[test]
fn a_component_over_the_cap_is_cut_at_its_weakest_link() {
    // Two triples held by two tokens a tie, joined by one token.
    let mut tokens = vec![token("phone", &[(1, 3), (2, 4)])];
    for base in [1, 4] {
        let triple = [(1, base), (2, base + 1), (3, base + 2)];
        tokens.push(token("wallet", &triple));
        tokens.push(token("domain", &triple));
    }
    tokens[0] = token("phone", &[(3, 3), (1, 4)]);
    let whole = analyse(&tokens, 100, Options::default());
    assert_eq!(whole.groups.len(), 1);
    assert!(!whole.groups[0].capped);
    let options = Options {
        group_cases_max: 3,
        ..Options::default()
    };
    let cut = analyse(&tokens, 100, options);
    let sizes: Vec<usize> = cut.groups.iter().map(|g| g.cases.len()).collect();
    assert_eq!(sizes, [3, 3]);
    assert!(cut.groups.iter().all(|g| g.capped && g.shared == 2));
    assert_eq!(cut.totals.cut_cases, 0);
}

#[test]
fn cases_that_the_cap_leaves_alone_are_counted() {
    // A star: one case tied to each of five others by a token of its own.
    let tokens: Vec<TokenGroup> = (1..=5).map(|n| token("phone", &[(1, 0), (2, n)])).collect();
    let options = Options {
        group_cases_max: 4,
        ..Options::default()
    };
    let report = analyse(&tokens, 100, options);
    assert_eq!(report.groups.len(), 1);
    assert_eq!(report.groups[0].cases.len(), 4);
    assert_eq!(report.totals.cut_cases, 2);
    assert_eq!(report.pairs.len(), 5, "pairs are not cut");
}

#[test]
fn the_lead_is_the_case_that_the_others_hang_on() {
    let tokens: Vec<TokenGroup> = (1..=4).map(|n| token("phone", &[(3, 9), (1, n)])).collect();
    let report = analyse(&tokens, 50, Options::default());
    let lead = &report.groups[0].lead;
    assert_eq!(lead.case, key(3, 9));
    assert_eq!((lead.linked_cases, lead.shared), (4, 4));
}

#[test]
fn lists_are_bounded_and_keep_the_best() {
    let mut tokens = vec![
        token("phone", &[(1, 1), (2, 1)]),
        token("wallet", &[(1, 1), (2, 1)]),
    ];
    tokens.extend((2..300).map(|n| token("phone", &[(1, n), (2, n)])));
    let options = Options {
        pairs_max: 5,
        groups_max: 4,
        tokens_max: 3,
        ..Options::default()
    };
    let report = analyse(&tokens, 1000, options);
    assert_eq!(
        (report.pairs.len(), report.groups.len(), report.tokens.len()),
        (5, 4, 3)
    );
    assert_eq!((report.totals.pairs, report.totals.groups), (299, 299));
    assert_eq!(report.pairs[0].shared, 2);
    let few = Options {
        postings_max: 10,
        ..Options::default()
    };
    let report = analyse(&tokens, 1000, few);
    assert_eq!(report.totals.skipped_tokens, 295);
    assert_eq!(report.totals.shared_tokens, 300);
}

#[test]
fn days_span_both_cases_and_survive_unknown_ones() {
    let mut group = token("phone", &[(1, 1), (2, 2), (2, 2)]);
    group.postings[0].day = Some(20_000);
    group.postings[2].day = Some(19_990);
    let report = analyse(&[group], 10, Options::default());
    let pair = &report.pairs[0];
    assert_eq!(
        (pair.first_day, pair.last_day),
        (Some(19_990), Some(20_000))
    );
    let mut out = Vec::new();
    pairs_csv(&report, |k| format!("={}", k.member), &mut out).expect("memory takes it");
    let text = String::from_utf8(out).expect("text");
    assert_eq!(
        text,
        "member_a,case_a,member_b,case_b,shared,kinds,score,first_seen,last_seen\n\
         m1,'=m1,m2,'=m2,1,phone:1,1.609,2024-09-24,2024-10-04\n"
    );
}

#[test]
fn groups_and_tokens_export_one_line_a_case_and_a_token() {
    let report = analyse(&[token("phone", &[(1, 1), (2, 2)])], 10, Options::default());
    let mut out = Vec::new();
    groups_csv(&report, |k| k.member.to_string(), &mut out).expect("memory takes it");
    let groups = String::from_utf8(out).expect("text");
    assert_eq!(
        groups,
        "group,member,case,lead,group_cases,shared,kinds,score,first_seen,last_seen,capped\n\
         1,m1,m1,yes,2,1,phone:1,1.609,,,no\n1,m2,m2,no,2,1,phone:1,1.609,,,no\n"
    );
    let mut out = Vec::new();
    tokens_csv(&report, &mut out).expect("memory takes it");
    assert_eq!(
        String::from_utf8(out).expect("text"),
        "token,kind,members,cases,rarity,hub\n0,phone,m1 m2,2,1.609,no\n"
    );
}

#[test]
fn a_filter_refuses_what_it_cannot_tell() {
    let m = member(1);
    let known = Facts {
        kind: "phone",
        member: &m,
        region: Some("anhui"),
        category: Some("loan"),
        day: Some(10),
    };
    let unknown = Facts {
        region: None,
        category: None,
        day: None,
        ..known
    };
    let all = Filter::default();
    assert!(all.keeps(&known) && all.keeps(&unknown));
    let set = |text: &str| BTreeSet::from([text.to_owned()]);
    // What it does with the known facts, and with the unknown ones.
    let check = |filter: Filter, keeps: (bool, bool)| {
        let kept = (filter.keeps(&known), filter.keeps(&unknown));
        assert_eq!(kept, keeps, "{filter:?}");
    };
    let mut by_kind = all.clone();
    by_kind.kinds = set("phone");
    check(by_kind.clone(), (true, true));
    by_kind.kinds = set("wallet");
    check(by_kind, (false, false));
    let mut by_member = all.clone();
    by_member.members = BTreeSet::from([member(2)]);
    check(by_member, (false, false));
    let mut by_place = all.clone();
    by_place.regions = set("anhui");
    by_place.categories = set("loan");
    check(by_place.clone(), (true, false));
    by_place.categories = set("romance");
    check(by_place, (false, false));
    for (from, to, keeps) in [(10, 10, true), (11, 20, false), (1, 9, false)] {
        let mut by_day = all.clone();
        (by_day.from_day, by_day.to_day) = (Some(from), Some(to));
        check(by_day, (keeps, false));
    }
}

#[test]
fn a_case_of_many_elements_stays_cheap() {
    let tokens: Vec<TokenGroup> = (0..60_000)
        .map(|n| token("wallet", &[(1, 0), (2, n % 500)]))
        .collect();
    let report = analyse(&tokens, 60_000, Options::default());
    assert_eq!(report.totals.pairs, 500);
    assert_eq!(report.pairs[0].shared, 120);
}

/// What the analysis must find, the slow way: every pair of cases compared.
fn naive(tokens: &[TokenGroup], options: &Options) -> BTreeMap<(CaseKey, CaseKey), Vec<usize>> {
    let mut shared = BTreeMap::new();
    for (at, token) in tokens.iter().enumerate() {
        let cases: BTreeSet<&CaseKey> = token.postings.iter().map(|p| &p.case).collect();
        if cases.len() > options.hub_cases {
            continue;
        }
        for a in &cases {
            for b in &cases {
                if a < b && (a.member != b.member || !options.cross_member_only) {
                    let tokens: &mut Vec<usize> =
                        shared.entry(((*a).clone(), (*b).clone())).or_default();
                    tokens.push(at);
                }
            }
        }
    }
    shared
}

fn naive_groups(pairs: impl Iterator<Item = (CaseKey, CaseKey)>) -> BTreeSet<BTreeSet<CaseKey>> {
    let mut groups: Vec<BTreeSet<CaseKey>> = Vec::new();
    for (a, b) in pairs {
        let (mut joined, rest): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|g| g.contains(&a) || g.contains(&b));
        joined.push(BTreeSet::from([a, b]));
        groups = rest;
        groups.push(joined.into_iter().flatten().collect());
    }
    groups.into_iter().collect()
}

fn tokens_strategy() -> impl Strategy<Value = Vec<TokenGroup>> {
    let posting = (0u8..4, 0u16..12, proptest::option::of(0i32..50), 1u8..4).prop_map(
        |(m, case, day, role)| Posting {
            case: key(m, case),
            day,
            role,
        },
    );
    let token =
        (0usize..3, proptest::collection::vec(posting, 0..7)).prop_map(|(kind, postings)| {
            TokenGroup {
                kind: KINDS[kind],
                postings,
            }
        });
    proptest::collection::vec(token, 0..40)
}

proptest! {
    #[test]
    fn pairs_and_groups_equal_the_naive_reference(
        tokens in tokens_strategy(), cross in any::<bool>(), hub_cases in 2usize..7,
    ) {
        let options = Options { hub_cases, cross_member_only: cross, ..Options::default() };
        let want = naive(&tokens, &options);
        let report = analyse(&tokens, 200, options);
        let got: BTreeSet<_> = report.pairs.iter().map(|p| (p.a.clone(), p.b.clone())).collect();
        prop_assert_eq!(got, want.keys().cloned().collect::<BTreeSet<_>>());
        for pair in &report.pairs {
            let held = &want[&(pair.a.clone(), pair.b.clone())];
            let cases = |at: &usize| {
                tokens[*at].postings.iter().map(|p| &p.case).collect::<BTreeSet<_>>().len()
            };
            let score: f64 = held.iter().map(|at| (200.0 / cases(at) as f64).ln()).sum();
            prop_assert!((pair.score - score).abs() < 1e-6);
            prop_assert_eq!(pair.shared as usize, held.len());
            prop_assert_eq!(pair.kinds.iter().map(|k| k.1 as usize).sum::<usize>(), held.len());
            let days: Vec<i32> = held.iter().flat_map(|at| &tokens[*at].postings)
                .filter(|p| p.case == pair.a || p.case == pair.b).filter_map(|p| p.day).collect();
            prop_assert_eq!(pair.first_day, days.iter().min().copied());
            prop_assert_eq!(pair.last_day, days.iter().max().copied());
        }
        let groups: BTreeSet<BTreeSet<CaseKey>> =
            report.groups.iter().map(|g| g.cases.iter().cloned().collect()).collect();
        prop_assert_eq!(&groups, &naive_groups(want.keys().cloned()));
        for group in &report.groups {
            let inside: BTreeSet<usize> = want.iter()
                .filter(|((a, _), _)| group.cases.contains(a)).flat_map(|(_, t)| t.clone()).collect();
            prop_assert_eq!(group.shared as usize, inside.len());
        }
    }

    #[test]
    fn the_order_of_the_stream_changes_nothing_but_ordinals(
        tokens in tokens_strategy(), cap in 2usize..6,
    ) {
        let options = Options { group_cases_max: cap, ..Options::default() };
        let forward = analyse(&tokens, 200, options.clone());
        let again = analyse(&tokens, 200, options.clone());
        prop_assert_eq!(&forward, &again);
        let backward = analyse(&tokens.iter().rev().cloned().collect::<Vec<_>>(), 200, options);
        prop_assert_eq!(&forward.pairs, &backward.pairs);
        prop_assert_eq!(&forward.groups, &backward.groups);
        prop_assert_eq!(forward.totals, backward.totals);
        for group in &forward.groups {
            prop_assert!(group.cases.len() <= cap.max(2));
            prop_assert!(group.members.len() >= 2 && group.shared >= 1);
        }
    }
}

/// The linking data, where it lies beside the project or above it.
fn linking_data() -> Option<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|dir| dir.join("shared/data/linking"))
        .find(|dir| dir.is_dir())
}

/// The tokens of all reports in a directory, as postings of (bureau, case).
fn reported(dir: &Path) -> (Vec<TokenGroup>, u64) {
    let mut tokens: BTreeMap<(String, String), Vec<Posting>> = BTreeMap::new();
    let mut cases: BTreeMap<(String, String), CaseKey> = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("the data is readable") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "csv") {
            continue;
        }
        let bureau = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let member = MemberId::new(&bureau).expect("a bureau's name is a member's");
        let mut reader = csv::Reader::from_path(&path).expect("a CSV file");
        for row in reader.records() {
            let row = row.expect("a row");
            let mut number = [0; 16];
            number[..8].copy_from_slice(&(cases.len() as u64).to_be_bytes());
            let key = cases
                .entry((bureau.clone(), row[0].to_owned()))
                .or_insert_with(|| CaseKey {
                    member: member.clone(),
                    case: CaseRef(number),
                });
            let posting = Posting {
                case: key.clone(),
                day: None,
                role: 1,
            };
            tokens
                .entry((row[2].to_owned(), row[3].to_owned()))
                .or_default()
                .push(posting);
        }
    }
    let groups = tokens.into_values().map(|postings| TokenGroup {
        kind: "wallet",
        postings,
    });
    (groups.collect(), cases.len() as u64)
}

#[test]
fn real_reports_share_what_their_truth_file_says() {
    let Some(dir) = linking_data() else { return };
    let (tokens, total) = reported(&dir);
    let truth = fs::read_to_string(dir.join("truth-shared-across-bureaus.tsv")).expect("the truth");
    let report = analyse(&tokens, total, Options::default());
    assert_eq!(
        report.totals.shared_tokens + 1,
        truth.lines().count() as u64
    );
    assert_eq!(
        report.hubs, 0,
        "no value stands in more than 32 of these cases"
    );
    assert!(report.pairs.windows(2).all(|w| w[0].score >= w[1].score));
    assert!(
        report
            .groups
            .iter()
            .all(|g| g.cases.len() <= Options::default().group_cases_max)
    );
    let grouped: usize = report.groups.iter().map(|g| g.cases.len()).sum();
    assert!(
        report.totals.groups > 1000 && grouped > 2000,
        "{:?}",
        report.totals
    );
}
