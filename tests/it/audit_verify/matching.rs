//! `audit match`: two members' access logs that agree, and one planted
//! difference of each kind.

use std::path::PathBuf;

use casegate::audit::matching::{MatchReport, compare};
use casegate::ids::LogName;
use casegate::record::{AccessBody, Body, purpose_commitment};
use casegate::wire::v1::{AccessScope, AskedMember, OpenedPurpose, Purpose, SeenPurpose};
use prost::Message;

use super::fixture::{BEGAN, Log, NOW, access_line, sum, world, write};

const SALT: [u8; 32] = [5; 32];
const QUERY: u8 = 9;

fn purpose(offence: &str) -> Vec<u8> {
    let purpose = Purpose {
        case_no: "A-1".into(),
        offence: offence.into(),
        officer: "li.wei".into(),
        reason: "found on the suspect's phone".into(),
        urgency: "high".into(),
    };
    purpose.encode_to_vec()
}

fn question(number: u8) -> AccessBody {
    AccessBody {
        scope: AccessScope::Evaluate.into(),
        query_id: vec![QUERY; 16].into(),
        method: "custodian.evaluate".into(),
        caller: "hefei".into(),
        ..access_line(number)
    }
}

/// What both ends wrote.
struct Ends {
    /// hefei's lines, with their times after the beginning.
    asker: Vec<(i64, AccessBody)>,
    /// anqing's.
    asked: Vec<(i64, AccessBody)>,
}

fn ends() -> Ends {
    let of = |member: &str| AskedMember {
        member: member.into(),
        outcome: "ok".into(),
        count: 64,
    };
    let opened = |offence: &str, count| OpenedPurpose {
        purpose: purpose(offence).into(),
        salt: SALT.to_vec().into(),
        case_ref: vec![3; 16].into(),
        count,
    };
    let seen = |offence: &str, count| SeenPurpose {
        case_ref: vec![3; 16].into(),
        offence_class: offence.into(),
        urgency: "high".into(),
        commitment: purpose_commitment(&SALT, &purpose(offence))
            .0
            .to_vec()
            .into(),
        count,
    };
    let asker = AccessBody {
        purposes: vec![opened("fraud", 3), opened("theft", 2)],
        asked: vec![of("anqing"), of("wuhu")],
        count: 5,
        ..question(2)
    };
    let asked = AccessBody {
        seen: vec![seen("fraud", 3), seen("theft", 2)],
        count: 64,
        ..question(3)
    };
    Ends {
        asker: vec![(0, access_line(1)), (1_000, asker), (5_000, access_line(4))],
        asked: vec![(0, access_line(1)), (1_001, asked), (5_000, access_line(4))],
    }
}

/// A bundle of a member's access log with these lines.
fn bundle(member: &str, lines: &[(i64, AccessBody)]) -> tempfile::TempDir {
    let mut log = Log::new(member, LogName::Access);
    for (at, body) in lines {
        let key = &world().member(member).records_key;
        log.add(key, Body::Access(body.clone()), BEGAN + at);
    }
    let mut files = world().base();
    let told = format!("{{\"format\":1,\"member\":\"{member}\"}}");
    files.insert("bundle.json".into(), told.into_bytes());
    world().write(&log, &[], &mut files);
    sum(&mut files);
    write(&files)
}

fn matched(change: impl FnOnce(&mut Ends)) -> MatchReport {
    let mut ends = ends();
    change(&mut ends);
    let dirs = [bundle("hefei", &ends.asker), bundle("anqing", &ends.asked)];
    let paths: Vec<PathBuf> = dirs.iter().map(|dir| dir.path().to_path_buf()).collect();
    compare(&paths, &world().policy(), 1, NOW, &|_| ()).expect("they can be compared")
}

fn kinds(counts: &[casegate::audit::matching::MatchCount]) -> Vec<(&'static str, u64)> {
    counts
        .iter()
        .map(|count| (count.what, count.count))
        .collect()
}

/// Checks that a change makes exactly these differences.
fn differs(want: &[&'static str], change: impl FnOnce(&mut Ends)) {
    let report = matched(change);
    let got: Vec<_> = kinds(&report.differences)
        .into_iter()
        .map(|(what, _)| what)
        .collect();
    assert_eq!(got, want, "{:#?}", report.differing);
    assert!(!report.ok);
}

#[test]
fn two_ends_that_agree_match_and_a_third_is_named_as_not_given() {
    let report = matched(|_| ());
    assert!(report.ok, "{report:#?}");
    assert_eq!((report.matched, report.opened), (1, 2));
    assert_eq!(kinds(&report.unsettled), [("not_given", 1)]);
    assert_eq!(report.open[0].asked, "wuhu");
    assert_eq!((report.logs[0].lines, report.logs[1].lines), (1, 1));
}

#[test]
fn what_one_end_lacks_is_found() {
    differs(&["not_at_asked"], |ends| drop(ends.asked.remove(1)));
    differs(&["not_at_asker"], |ends| drop(ends.asker.remove(1)));
    differs(&["not_named"], |ends| drop(ends.asker[1].1.asked.remove(0)));
}

#[test]
fn a_purpose_that_is_not_the_one_that_was_seen_is_found() {
    differs(&["commitment"], |ends| {
        let opened = &mut ends.asker[1].1.purposes[0];
        opened.purpose = purpose("tax").into();
    });
    differs(&["commitment"], |ends| {
        ends.asker[1].1.purposes[0].salt = vec![6; 32].into();
    });
    differs(&["case_ref"], |ends| {
        ends.asker[1].1.purposes[0].case_ref = vec![4; 16].into();
    });
    differs(&["offence"], |ends| {
        ends.asked[1].1.seen[0].offence_class = "tax".into();
    });
    differs(&["urgency"], |ends| {
        ends.asked[1].1.seen[0].urgency = "low".into();
    });
    differs(&["count"], |ends| ends.asked[1].1.seen[0].count = 4);
}

#[test]
fn other_points_outcomes_and_replays_are_found() {
    differs(&["points"], |ends| ends.asked[1].1.count = 63);
    differs(&["outcome"], |ends| {
        ends.asker[1].1.asked[0].outcome = "custodian.budget_spent".into();
        ends.asked[1].1.outcome = "custodian.expired".into();
    });
    differs(&["outcome"], |ends| {
        ends.asked[1].1.outcome = "custodian.expired".into();
    });
    differs(&["count", "replayed"], |ends| {
        let again = AccessBody {
            nonce: vec![77; 16].into(),
            outcome: "replay".into(),
            ..ends.asked[1].1.clone()
        };
        ends.asked.insert(2, (1_100, again));
    });
}

#[test]
fn lines_that_the_other_end_cannot_have_are_no_fault() {
    // hefei asked after anqing's last exported line.
    let late = matched(|ends| {
        ends.asked.remove(1);
        ends.asker[1].0 = 4_900;
    });
    assert!(late.ok, "{:#?}", late.differing);
    assert!(kinds(&late.unsettled).contains(&("outside", 1)));
    for outcome in ["unreachable", "given_up", "admit.too_fast"] {
        let silent = matched(|ends| {
            ends.asked.remove(1);
            ends.asker[1].1.asked[0].outcome = outcome.into();
        });
        assert!(silent.ok, "{:#?}", silent.differing);
        assert!(kinds(&silent.unsettled).contains(&("unanswered", 1)));
    }
    // It was answered, and the answer did not arrive.
    let lost = matched(|ends| ends.asker[1].1.asked[0].outcome = "given_up".into());
    assert!(lost.ok, "{:#?}", lost.differing);
}

#[test]
fn a_false_answer_was_an_answer_to_the_one_who_gave_it() {
    let lied = matched(|ends| ends.asker[1].1.asked[0].outcome = "oprf.bad_proof".into());
    assert!(lied.ok, "{:#?}", lied.differing);
}

#[test]
fn several_requests_of_one_question_are_compared_one_by_one() {
    let two = |ends: &mut Ends| {
        let second = ends.asker[1].1.asked[0].clone();
        ends.asker[1].1.asked.push(second);
        let mut half = ends.asked[1].1.clone();
        half.nonce = vec![78; 16].into();
        half.seen = half.seen.split_off(1);
        ends.asked[1].1.seen.truncate(1);
        ends.asked.insert(2, (1_002, half));
    };
    let report = matched(two);
    assert!(report.ok, "{:#?}", report.differing);
    assert_eq!((report.matched, report.opened), (1, 2));
    differs(&["points"], |ends| {
        two(ends);
        ends.asked[2].1.count = 32;
    });
}

#[test]
fn a_log_that_does_not_verify_makes_the_comparison_fail() {
    let ends = ends();
    let (hefei, anqing) = (bundle("hefei", &ends.asker), bundle("anqing", &ends.asked));
    let path = anqing.path().join("access/1/tile/entries/000.p/3");
    let mut bytes = std::fs::read(&path).expect("a bundle");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let paths = [hefei.path().to_path_buf(), anqing.path().to_path_buf()];
    let report = compare(&paths, &world().policy(), 1, NOW, &|_| ()).expect("compared");
    assert!(!report.ok);
    assert!(!report.logs[1].verified && report.logs[0].verified);
}
