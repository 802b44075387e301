//! The offline verifier: a clean bundle, then for every finding and every
//! verdict one planted fault, found although SHA256SUMS was made anew.

mod archive;
mod commands;
mod exported;
mod fixture;
mod matching;
mod proofs;
mod rosterlog;
mod vectors;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use casegate::audit::layout::{TileIndex, TilePath, put_body, put_entry};
use casegate::audit::verify::{
    Code, Options, Policy, PolicyWitness, Report, Step, Verdict, VerifyError, verify,
};
use casegate::ids::{Digest, LogIndex, LogName, TreeSize};
use casegate::keys::SigningKey;
use casegate::record::{Body, RetractBody, RetractReason};
use casegate::wire::v1::{self, BodyAnswer};
use prost::Message;

use fixture::{
    BEGAN, ERASURE, Files, Log, NOW, RETRACTION, SIZE, WITNESSED, World, cosign_line, element, sum,
    world, write,
};

const NEWEST: &str = "records/1/checkpoint";
const LAST_WITNESSED: &str = "records/1/checkpoints/295";

fn options<'a>() -> Options<'a> {
    Options {
        jobs: 2,
        now: NOW,
        progress: &|_| (),
        records: None,
        bodies: None,
        only: None,
    }
}

fn look(dir: &Path, policy: &Policy) -> Report {
    verify(dir, policy, options()).expect("it can be looked at")
}

fn report(files: &Files, policy: &Policy) -> Report {
    let dir = write(files);
    look(dir.path(), policy)
}

/// Plants a fault, makes the sums anew, and verifies.
fn planted(fault: impl FnOnce(&mut Files)) -> Report {
    let mut files = world().files.clone();
    fault(&mut files);
    sum(&mut files);
    report(&files, &world().policy())
}

fn codes(report: &Report) -> Vec<&'static str> {
    report
        .findings
        .iter()
        .map(|count| count.code.as_str())
        .collect()
}

fn verdicts(report: &Report) -> Vec<(Verdict, u64)> {
    report
        .verdicts
        .iter()
        .map(|count| (count.verdict, count.records))
        .collect()
}

/// The verdicts of the clean bundle, with `changed` records moved from valid.
fn clean_but(changed: &[(Verdict, u64)]) -> Vec<(Verdict, u64)> {
    let mut counts = vec![
        (Verdict::Valid, WITNESSED - 3 + 4),
        (Verdict::Provisional, SIZE - WITNESSED),
        (Verdict::Erased, 3),
    ];
    for (verdict, records) in changed {
        counts[0].1 -= records;
        match counts.iter_mut().find(|(known, _)| known == verdict) {
            Some((_, count)) => *count += records,
            None => counts.push((*verdict, *records)),
        }
    }
    counts.sort();
    counts
}

/// Checks findings and verdicts of a planted fault.
fn finds(fault: impl FnOnce(&mut Files), found: &[&str], changed: &[(Verdict, u64)]) -> Report {
    let report = planted(fault);
    assert_eq!(codes(&report), found, "{:#?}", report.found);
    assert_eq!(
        verdicts(&report),
        clean_but(changed),
        "{:#?}",
        report.records
    );
    assert!(!report.ok);
    report
}

fn edit(files: &mut Files, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    change(files.get_mut(path).unwrap_or_else(|| panic!("no {path}")));
}

fn flip(files: &mut Files, path: &str, at: usize) {
    edit(files, path, |bytes| bytes[at] ^= 1);
}

/// An index of a log as one of a list.
fn at(index: u64) -> usize {
    usize::try_from(index).expect("a short log")
}

/// Where the bytes of a record stand in its bundle.
fn offset(log: &Log, index: u64) -> usize {
    let first = index / 256 * 256;
    let before = log.entries.iter().take(at(index)).skip(at(first));
    before.map(|entry| entry.len() + 2).sum::<usize>() + 2
}

/// The log with another body at an index, in its bundle's files.
fn put_bodies(files: &mut Files, log: &Log, index: u64) {
    let mut out = vec![];
    let first = index / 256 * 256;
    let bodies = log.bodies.iter().skip(at(first)).take(256);
    for (answer, body) in bodies {
        put_body(&mut out, *answer, body).expect("a body");
    }
    files.insert(log.bodies_of(index), out);
}

#[test]
fn a_clean_bundle_has_nothing_wrong_and_each_record_its_verdict() {
    let report = report(&world().files, &world().policy());
    assert_eq!(codes(&report), [""; 0], "{:#?}", report.found);
    assert_eq!(verdicts(&report), clean_but(&[]));
    assert!(report.ok);
    let [records, access] = &report.logs[..] else {
        panic!("two logs")
    };
    assert_eq!(
        (records.size, records.witnessed, records.proven),
        (SIZE, WITNESSED, SIZE)
    );
    assert_eq!(records.witnessed_at, Some(BEGAN + 2_001));
    assert_eq!(
        (records.start, records.end, records.checkpoints),
        (0, SIZE, 3)
    );
    assert_eq!((access.size, access.witnessed, access.end), (4, 4, 4));
    let erased: Vec<_> = report
        .records
        .iter()
        .map(|line| (line.index, line.by, line.at, line.reason))
        .collect();
    let (mistake, retention) = (Some("mistake"), Some("retention"));
    assert_eq!(
        erased,
        [
            (3, Some(RETRACTION), Some(BEGAN + 3_000), mistake),
            (4, Some(RETRACTION), Some(BEGAN + 3_000), mistake),
            (5, None, Some(BEGAN + 880), retention),
        ]
    );
}

#[test]
fn the_erasure_report_names_who_confirmed_and_who_did_not() {
    let report = report(&world().files, &world().policy());
    let erasures = &report.logs[0].erasures;
    assert_eq!(
        (erasures.ranges, erasures.owed, erasures.confirmed),
        (2, 3, 2)
    );
    assert_eq!((erasures.late, erasures.still_held), (0, 0));
    let first = &erasures.listed[0];
    assert_eq!(
        (first.start, first.end, first.retracted_by),
        (3, 5, Some(RETRACTION))
    );
    let told: Vec<_> = first
        .owed
        .iter()
        .map(|o| (o.member.as_str(), o.state))
        .collect();
    assert_eq!(told, [("anqing", "pending"), ("wuhu", "erased")]);
    assert_eq!(first.owed[1].at, Some(BEGAN + 3_020));
}

#[test]
fn provisional_records_are_wrong_where_witnesses_are_required() {
    let policy = Policy {
        require_witnessed: true,
        ..world().policy()
    };
    let report = report(&world().files, &policy);
    assert_eq!((codes(&report).len(), report.ok), (0, false));
}

#[test]
fn every_record_is_handed_on_once_and_progress_adds_up() {
    let dir = write(&world().files);
    let mut seen = BTreeSet::new();
    let (all, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut sink = |line: &casegate::audit::verify::RecordLine| {
        assert!(seen.insert((line.log.clone(), line.index)));
        Ok(())
    };
    let bodies = AtomicU64::new(0);
    let options = Options {
        records: Some(&mut sink),
        bodies: Some(&|_, _, _, _| {
            bodies.fetch_add(1, Ordering::Relaxed);
        }),
        progress: &|step| match step {
            Step::Records(n) => all.store(n, Ordering::Relaxed),
            Step::Done(n) => {
                done.fetch_add(n, Ordering::Relaxed);
            }
        },
        ..options()
    };
    verify(dir.path(), &world().policy(), options).expect("it can be looked at");
    assert_eq!(seen.len() as u64, SIZE + 4);
    assert_eq!((all.into_inner(), done.into_inner()), (SIZE + 4, SIZE + 4));
    assert_eq!(bodies.into_inner(), SIZE + 4 - 4);
}

#[test]
fn damage_in_transport_shows_in_the_sums() {
    let mut files = world().files.clone();
    flip(&mut files, "bundle.json", 3);
    let text = String::from_utf8(files["bundle.json"].clone()).expect("text");
    files.insert(
        "bundle.json".into(),
        text.replace("gederation", "federation").into_bytes(),
    );
    flip(&mut files, "records/1/dsse/000.jsonl", 0);
    files.remove("proofs/1-256.proof");
    files.insert("stray".into(), vec![]);
    let report = report(&files, &world().policy());
    let counts: Vec<_> = report.findings.iter().map(|f| (f.code, f.files)).collect();
    let (mismatch, missing) = (Code::SumsMismatch, Code::SumsMissing);
    assert_eq!(
        counts,
        [(mismatch, 2), (missing, 2), (Code::EntryForged, 1)]
    );
    let mut none = world().files.clone();
    none.remove("SHA256SUMS");
    let report = self::report(&none, &world().policy());
    assert_eq!(codes(&report), ["sums.missing"]);
}

#[test]
fn a_roster_that_is_not_the_pinned_one_leaves_nothing_to_trust() {
    let policy = Policy {
        roster_pin: Digest([7; 32]),
        ..world().policy()
    };
    let report = report(&world().files, &policy);
    assert_eq!(codes(&report), ["roster.chain"]);
    assert_eq!(
        (report.verdicts.len(), report.roster.versions, report.ok),
        (0, 0, false)
    );
    let missing = planted(|files| drop(files.remove("roster/000001")));
    assert_eq!(codes(&missing), ["roster.chain"]);
    let gap = planted(|files| {
        let first = files["roster/000001"].clone();
        files.insert("roster/000003".into(), first);
    });
    assert_eq!(codes(&gap), ["roster.chain"]);
}

#[test]
fn a_roster_that_the_roots_did_not_sign_does_not_count() {
    let next = world().next_roster(|_| ());
    let good = planted(|files| drop(files.insert("roster/000002".into(), next.clone())));
    assert_eq!((codes(&good).len(), good.roster.newest), (0, 2));
    let mut signed = v1::SignedRoster::decode(&next[..]).expect("a roster");
    let mut signature = signed.signatures[0].signature.to_vec();
    signature[0] ^= 1;
    signed.signatures[0].signature = signature.into();
    finds(
        |files| drop(files.insert("roster/000002".into(), signed.encode_to_vec())),
        &["roster.signature"],
        &[],
    );
    signed.signatures.clear();
    finds(
        |files| drop(files.insert("roster/000002".into(), signed.encode_to_vec())),
        &["roster.signature"],
        &[],
    );
}

#[test]
fn a_newest_checkpoint_that_does_not_hold_leaves_the_witnessed_ones() {
    let gone = [(Verdict::NotLogged, SIZE - WITNESSED)];
    let without_newest = |fault: &dyn Fn(&mut Files), code: &str| {
        let report = planted(|files| fault(files));
        assert_eq!(
            codes(&report),
            [code, "proof.consistency"],
            "{:#?}",
            report.found
        );
        let mut want = clean_but(&[]);
        want.retain(|(verdict, _)| *verdict != Verdict::Provisional);
        want.extend(gone);
        want.sort();
        assert_eq!(verdicts(&report), want);
    };
    let key = &world().member("hefei").checkpoint_key;
    without_newest(
        &|files| edit(files, NEWEST, |note| note.truncate(20)),
        "checkpoint.malformed",
    );
    without_newest(&|files| drop(files.remove(NEWEST)), "checkpoint.malformed");
    let stranger = SigningKey::from_seed(&[66; 32]).expect("a seed");
    let records = &world().records;
    let forged = records.note(SIZE, &stranger);
    without_newest(
        &|files| drop(files.insert(NEWEST.into(), forged.clone())),
        "checkpoint.signature",
    );
    let at = records.note(SIZE, key).len() - 10;
    // Another letter of base64: one flipped bit may leave its alphabet.
    let other_letter = |note: &mut Vec<u8>| note[at] = if note[at] == b'A' { b'B' } else { b'A' };
    without_newest(
        &|files| edit(files, NEWEST, other_letter),
        "checkpoint.signature",
    );
    let mut other = records.clone();
    other.origin.generation = 2;
    let moved = other.note(SIZE, key);
    without_newest(
        &|files| drop(files.insert(NEWEST.into(), moved.clone())),
        "checkpoint.origin",
    );
}

#[test]
fn a_signed_root_that_is_not_the_trees_is_found() {
    let (records, key) = (&world().records, &world().member("hefei").checkpoint_key);
    let other = records.note_of(280, Digest([6; 32]), key);
    let cosigned = world().cosigned(&other, &records.origin.member, BEGAN + 1_000);
    let path = "records/1/checkpoints/280";
    finds(
        |files| drop(files.insert(path.into(), cosigned)),
        &["checkpoint.root", "proof.consistency"],
        &[],
    );
    let newest = records.note_of(SIZE, Digest([6; 32]), key);
    let report = planted(|files| drop(files.insert(NEWEST.into(), newest)));
    assert_eq!(codes(&report), ["checkpoint.root", "proof.consistency"]);
    assert_eq!(report.logs[0].proven, WITNESSED);
    assert_eq!(report.count(Verdict::NotLogged), SIZE - WITNESSED);
}

#[test]
fn a_newest_checkpoint_that_is_smaller_is_found() {
    let note = world()
        .records
        .note(290, &world().member("hefei").checkpoint_key);
    let report = planted(|files| drop(files.insert(NEWEST.into(), note)));
    let found = codes(&report);
    assert_eq!(
        found,
        ["checkpoint.smaller", "proof.consistency"],
        "{:#?}",
        report.found
    );
    assert_eq!(report.count(Verdict::NotLogged), SIZE - WITNESSED);
}

#[test]
fn cosignatures_by_strangers_and_false_ones_are_found() {
    let stranger = SigningKey::from_seed(&[66; 32]).expect("a seed");
    let of = |witness: &'static str, key: &SigningKey| {
        let note = &world().files[NEWEST];
        cosign_line(note, witness, key, BEGAN)
    };
    let unknown = of("shenji", &world().member("shenji").witness_key);
    let impostor = of("wuhu", &stranger);
    for line in [unknown, impostor] {
        finds(
            |files| edit(files, NEWEST, |note| note.extend(line.bytes())),
            &["cosignature.unknown"],
            &[],
        );
    }
    // The line of another note: the key is a witness's, the text is not.
    let report = planted(|files| {
        let other = cosign_line(
            &files["records/1/checkpoints/280"],
            "wuhu",
            &world().member("wuhu").witness_key,
            BEGAN,
        );
        let note = world()
            .records
            .note(WITNESSED, &world().member("hefei").checkpoint_key);
        files.insert(LAST_WITNESSED.into(), [note, other.into_bytes()].concat());
    });
    assert_eq!(codes(&report), ["cosignature.invalid"]);
    assert_eq!(report.count(Verdict::Provisional), SIZE - 280);
}

#[test]
fn only_the_policys_witnesses_count_where_it_names_some() {
    let witness = |name: &str| PolicyWitness {
        name: format!("anhui.example/{name}/witness"),
        key: world().member(name).witness_key.public_key().clone(),
    };
    let both = Policy {
        witnesses: vec![witness("wuhu"), witness("anqing")],
        ..world().policy()
    };
    assert!(report(&world().files, &both).ok);
    let one = Policy {
        witnesses: vec![witness("wuhu")],
        ..world().policy()
    };
    let found = report(&world().files, &one);
    assert_eq!(codes(&found), ["cosignature.unknown"]);
    assert_eq!(verdicts(&found), clean_but(&[]));
    let three = Policy {
        quorum: Some(3),
        ..world().policy()
    };
    let unwitnessed = report(&world().files, &three);
    assert_eq!(unwitnessed.count(Verdict::Valid), 0);
}

#[test]
fn damaged_hash_tiles_are_named_and_change_no_verdict() {
    for path in ["records/1/tile/0/000", "records/1/tile/0/001.p/44"] {
        for at in [0, 40, 44 * 32 - 1] {
            let report = finds(|files| flip(files, path, at), &["tile.root"], &[]);
            assert_eq!(report.found[0].path, path);
        }
        finds(
            |files| edit(files, path, |tile| tile.truncate(64)),
            &["tile.truncated"],
            &[],
        );
        finds(|files| drop(files.remove(path)), &["tile.truncated"], &[]);
    }
    let upper = "records/1/tile/1/000.p/1";
    let report = finds(|files| flip(files, upper, 5), &["tile.root"], &[]);
    assert_eq!(report.found[0].path, upper);
}

#[test]
fn a_changed_statement_or_signature_is_forged() {
    let records = &world().records;
    for index in [0, 100, 299] {
        let file = records.bundle_of(index);
        let length = records.entries[at(index)].len();
        // In the statement, and in the signature at the end.
        for at in [20, length - 1] {
            let from = if index == 299 {
                Verdict::Provisional
            } else {
                Verdict::Valid
            };
            let report = planted(|files| flip(files, &file, offset(records, index) + at));
            assert_eq!(codes(&report), ["entry.forged"], "{:#?}", report.found);
            assert_eq!(report.count(Verdict::Forged), 1);
            assert_eq!(report.count(from) + 1, report_clean(from));
            assert_eq!(report.found[0].index, Some(index));
        }
    }
}

fn report_clean(verdict: Verdict) -> u64 {
    let clean = clean_but(&[]);
    clean
        .iter()
        .find(|(v, _)| *v == verdict)
        .map_or(0, |(_, n)| *n)
}

#[test]
fn an_entry_of_another_log_or_author_is_forged() {
    let key = &world().member("hefei").records_key;
    let mut later = Log::new("hefei", LogName::Records);
    later.origin.generation = 2;
    later.add(key, Body::Element(element("hefei", 7)), BEGAN + 500);
    let mut other = Log::new("wuhu", LogName::Records);
    other.add(key, Body::Element(element("wuhu", 7)), BEGAN + 500);
    for forged in [later, other] {
        finds(
            |files| replace(files, 7, &forged.entries[0]),
            &["entry.forged"],
            &[(Verdict::Forged, 1)],
        );
    }
}

#[test]
fn a_logged_record_of_a_key_that_no_roster_names_is_invalid() {
    let stranger = SigningKey::from_seed(&[66; 32]).expect("a seed");
    let mut log = Log::new("hefei", LogName::Records);
    log.add(&stranger, Body::Element(element("hefei", 1)), BEGAN + 10);
    let mut files = world().base();
    world().write(&log, &[1], &mut files);
    sum(&mut files);
    let report = report(&files, &world().policy());
    assert_eq!((codes(&report).len(), report.ok), (0, false));
    let line = &report.records[0];
    assert_eq!(
        (line.verdict, line.why),
        (Verdict::KeyInvalid, "unknown_key")
    );
}

/// Puts another entry in the place of one, with its DSSE form.
fn replace(files: &mut Files, index: u64, entry: &bytes::Bytes) {
    let mut log = world().records.clone();
    log.entries[at(index)] = entry.clone();
    put_log(files, &log, index);
}

fn put_log(files: &mut Files, log: &Log, index: u64) {
    let number = index / 256;
    let width = log.size().saturating_sub(number * 256).min(256);
    let path = TilePath {
        level: None,
        index: TileIndex(number),
        width: u16::try_from(width).expect("a width"),
    };
    let (entries, bodies, dsse) = log.bundle(&path);
    files.insert(log.bundle_of(index), entries);
    files.insert(log.bodies_of(index), bodies);
    files.insert(format!("records/1/dsse/{}.jsonl", TileIndex(number)), dsse);
}

#[test]
fn a_signed_record_that_is_not_in_the_tree_is_not_logged() {
    let mut extra = Log::new("hefei", LogName::Records);
    let key = &world().member("hefei").records_key;
    extra.add(key, Body::Element(element("hefei", 7_000)), BEGAN + 500);
    let mut log = world().records.clone();
    log.entries[7] = extra.entries[0].clone();
    log.bodies[7] = extra.bodies[0].clone();
    let gone = [(Verdict::NotLogged, 1)];
    finds(|files| put_log(files, &log, 7), &["entry.forged"], &gone);
    // Two entries that changed places.
    let mut swapped = world().records.clone();
    swapped.entries.swap(20, 21);
    swapped.bodies.swap(20, 21);
    let gone = [(Verdict::NotLogged, 2)];
    finds(
        |files| put_log(files, &swapped, 20),
        &["entry.forged"],
        &gone,
    );
}

#[test]
fn a_dsse_line_that_is_not_the_entrys_is_found() {
    let path = "access/1/dsse/000.jsonl";
    finds(|files| flip(files, path, 120), &["entry.forged"], &[]);
    finds(
        |files| edit(files, path, |lines| lines.extend(b"{}\n")),
        &["entry.forged"],
        &[],
    );
    // Another spelling of the same envelope is as good.
    let report = planted(|files| {
        edit(files, path, |lines| {
            let text = String::from_utf8(std::mem::take(lines)).expect("text");
            *lines = text.replace("\":", "\" : ").into_bytes();
        });
    });
    assert!(report.ok, "{:#?}", report.found);
}

#[test]
fn missing_entries_are_missing_and_cut_ones_truncated() {
    let records = &world().records;
    let file = records.bundle_of(299);
    let last = offset(records, 299) - 2;
    let report = planted(|files| edit(files, &file, |bytes| bytes.truncate(last)));
    assert_eq!(codes(&report), ["entry.missing"], "{:#?}", report.found);
    assert_eq!(
        (
            report.count(Verdict::Missing),
            report.count(Verdict::Provisional)
        ),
        (1, 4)
    );
    let report = planted(|files| edit(files, &file, |bytes| bytes.truncate(last + 30)));
    assert_eq!(codes(&report), ["entry.missing", "entry.truncated"]);
    assert_eq!(report.count(Verdict::Missing), 1);
    // One within a bundle: the others stand where the tree has them.
    let mut log = records.clone();
    log.entries.remove(298);
    let mut short = vec![];
    log.entries[256..]
        .iter()
        .for_each(|e| put_entry(&mut short, e).expect("an entry"));
    let report = planted(|files| drop(files.insert(file.clone(), short)));
    assert_eq!(codes(&report), ["entry.missing"]);
    assert_eq!(
        (
            report.count(Verdict::Missing),
            report.count(Verdict::NotLogged)
        ),
        (1, 0)
    );
    let surplus = records.entries[0].clone();
    let report = planted(|files| {
        edit(files, &file, |bytes| {
            put_entry(bytes, &surplus).expect("an entry")
        });
    });
    assert_eq!(codes(&report), ["entry.truncated"]);
    assert_eq!(verdicts(&report), clean_but(&[]));
}

#[test]
fn a_changed_body_is_forged() {
    let records = &world().records;
    for index in [0_u64, 200] {
        let mut log = records.clone();
        let body = &mut log.bodies[at(index)].1;
        let last = body.len() - 1;
        body[last] ^= 1;
        finds(
            |files| put_bodies(files, &log, index),
            &["body.forged"],
            &[(Verdict::Forged, 1)],
        );
    }
}

#[test]
fn a_body_that_is_gone_without_a_reason_is_missing() {
    let records = &world().records;
    for answer in [BodyAnswer::Absent, BodyAnswer::Erased, BodyAnswer::Lost] {
        let mut log = records.clone();
        log.bodies[30] = (answer, vec![]);
        let report = finds(
            |files| put_bodies(files, &log, 30),
            &["body.missing"],
            &[(Verdict::Missing, 1)],
        );
        assert_eq!(report.found[0].index, Some(30));
    }
    // Retractions and access lines are withheld from no auditor.
    let mut log = records.clone();
    log.bodies[at(RETRACTION)] = (BodyAnswer::NotForYou, vec![]);
    finds(
        |files| put_bodies(files, &log, RETRACTION),
        &["body.missing"],
        &[(Verdict::Missing, 1)],
    );
    let gone = planted(|files| drop(files.remove(&records.bodies_of(299))));
    assert_eq!(codes(&gone), ["body.missing"]);
    // With them went what explains that 3 and 4 are gone.
    assert_eq!(gone.count(Verdict::Missing), SIZE - 256 + 2);
}

#[test]
fn a_retraction_ends_earlier_records_only() {
    // The retraction withheld, and with it the owner's erasure: nothing says
    // why 3 and 4 are gone; 5 reached its own end.
    let mut log = world().records.clone();
    log.bodies[at(RETRACTION)] = (BodyAnswer::Lost, vec![]);
    log.bodies[at(ERASURE)] = (BodyAnswer::Lost, vec![]);
    let report = planted(|files| put_bodies(files, &log, RETRACTION));
    assert_eq!(
        (
            report.count(Verdict::Erased),
            report.count(Verdict::Missing)
        ),
        (1, 4)
    );
    let key = &world().member("hefei").records_key;
    let mut log = Log::new("hefei", LogName::Records);
    let retraction = RetractBody {
        nonce: [8; 16],
        targets: vec![(LogIndex(0), LogIndex(3))],
        reason: RetractReason::Order,
    };
    for number in 0..3 {
        let body = match number {
            1 => Body::Retract(retraction.clone()),
            _ => Body::Element(element("hefei", number)),
        };
        log.add(key, body, BEGAN + 10);
    }
    log.bodies[0] = (BodyAnswer::Erased, vec![]);
    log.bodies[2] = (BodyAnswer::Erased, vec![]);
    let mut files = world().base();
    world().write(&log, &[3], &mut files);
    sum(&mut files);
    let report = self::report(&files, &world().policy());
    assert_eq!(
        (
            report.count(Verdict::Erased),
            report.count(Verdict::Missing)
        ),
        (1, 1)
    );
}

#[test]
fn a_revoked_key_speaks_for_no_record_from_its_revocation_on() {
    let revoked = world().next_roster(|draft| {
        let hefei = draft
            .wire
            .members
            .iter_mut()
            .find(|m| m.id == "hefei")
            .expect("hefei");
        for key in &mut hefei.keys {
            if key.r#use() == v1::KeyUse::Records {
                key.revoked_at_size = Some(292);
            }
        }
    });
    let report = planted(|files| drop(files.insert("roster/000002".into(), revoked)));
    assert_eq!(codes(&report), [""; 0], "{:#?}", report.found);
    assert_eq!(report.count(Verdict::KeyInvalid), SIZE - 292);
    assert!(!report.ok);
    let line = report
        .records
        .iter()
        .find(|line| line.index == 292)
        .expect("listed");
    assert_eq!((line.verdict, line.why), (Verdict::KeyInvalid, "revoked"));
}

#[test]
fn proofs_that_prove_nothing_are_found() {
    let (a, b) = ("proofs/1-0.proof", "proofs/1-256.proof");
    let report = finds(
        |files| {
            let (first, second) = (files[a].clone(), files[b].clone());
            files.insert(a.into(), second);
            files.insert(b.into(), first);
        },
        &["proof.inclusion"],
        &[],
    );
    assert_eq!(report.findings[0].files, 2);
    finds(|files| flip(files, a, 40), &["proof.inclusion"], &[]);
    let stray = |files: &mut Files| {
        let proof = files[a].clone();
        files.insert("proofs/2-0.proof".into(), proof);
    };
    finds(stray, &["proof.inclusion"], &[]);
}

#[test]
fn checkpoints_that_do_not_extend_each_other_are_found() {
    let (a, b) = (
        "records/1/consistency/280-295",
        "records/1/consistency/295-300",
    );
    finds(
        |files| {
            let (first, second) = (files[a].clone(), files[b].clone());
            files.insert(a.into(), second);
            files.insert(b.into(), first);
        },
        &["proof.consistency"],
        &[],
    );
    finds(|files| flip(files, a, 0), &["proof.consistency"], &[]);
    // The roots are recomputed anyway: a proof more or less changes nothing.
    assert!(planted(|files| drop(files.remove(b))).ok);
}

#[test]
fn receipts_that_do_not_hold_confirm_nothing() {
    for (part, at) in [("entry", 30), ("body", 30), ("proof", 60)] {
        let path = format!("receipts/wuhu-1-1.{part}");
        let report = finds(|files| flip(files, &path, at), &["receipt.forged"], &[]);
        assert_eq!(report.logs[0].erasures.confirmed, 0, "{part}");
    }
    finds(
        |files| drop(files.remove("receipts/wuhu-1-1.entry")),
        &["receipt.forged"],
        &[],
    );
    let moved = |files: &mut Files| {
        for part in ["entry", "body", "proof"] {
            let bytes = files
                .remove(&format!("receipts/wuhu-1-1.{part}"))
                .expect("a part");
            files.insert(format!("receipts/anqing-1-1.{part}"), bytes);
        }
    };
    finds(moved, &["receipt.forged"], &[]);
}

#[test]
fn of_several_receipts_the_first_counts() {
    let one = planted(|_| {});
    let two = planted(|files| world().receipt_at(4, 5_000, files));
    assert!(two.ok && one.logs[0].erasures.confirmed > 0);
    let shown = |report: &Report| serde_json::to_value(&report.logs[0].erasures).expect("JSON");
    assert_eq!(shown(&two), shown(&one));
    let only = planted(|files| {
        world().receipt_at(4, 5_000, files);
        for part in ["entry", "body", "proof"] {
            drop(files.remove(&format!("receipts/wuhu-1-1.{part}")));
        }
    });
    let (late, first) = (only.logs[0].erasures.late, one.logs[0].erasures.late);
    assert!(
        late > first,
        "{late}: what came late shows when it stands alone"
    );
}

#[test]
fn notes_that_contradict_each_other_are_found() {
    let (records, key) = (&world().records, &world().member("hefei").checkpoint_key);
    let good = records.note(280, key);
    let other = records.note_of(280, Digest([6; 32]), key);
    let same = finds(
        |files| World::evidence(files, good.clone(), other.clone(), None),
        &["evidence.pair"],
        &[],
    );
    assert!(
        same.found[0].detail.contains("two roots at 280"),
        "{:?}",
        same.found
    );
    let root = casegate::audit::layout::write_hashes(&[records.root(280)]);
    let proof = root + &records.consistency(TreeSize(280), TreeSize(SIZE));
    let larger = records.note(SIZE, key);
    let grown = finds(
        |files| World::evidence(files, other, larger.clone(), Some(proof.clone())),
        &["evidence.pair"],
        &[],
    );
    assert!(
        grown.found[0].detail.contains("is another"),
        "{:?}",
        grown.found
    );
    for (first, second) in [(good.clone(), good.clone()), (good, larger)] {
        let nothing = finds(
            |files| World::evidence(files, first, second, Some(proof.clone())),
            &["evidence.pair"],
            &[],
        );
        assert!(
            nothing.found[0].detail.contains("proves nothing"),
            "{:?}",
            nothing.found
        );
    }
}

#[test]
fn what_is_no_bundle_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let policy = world().policy();
    let refused = verify(dir.path(), &policy, options());
    assert!(matches!(refused, Err(VerifyError::NoFormat)));
    let nowhere = verify(&dir.path().join("nowhere"), &policy, options());
    assert!(matches!(nowhere, Err(VerifyError::Unreadable { .. })));
}

#[test]
fn a_bundle_of_another_format_is_not_looked_at_and_a_newer_one_is_no_forgery() {
    let with = |told: &str| {
        let mut files = world().files.clone();
        files.insert("bundle.json".into(), told.as_bytes().to_vec());
        files.remove("SHA256SUMS");
        let dir = write(&files);
        verify(dir.path(), &world().policy(), options())
    };
    for told in [
        "",
        "2",
        r#"{"member":"hefei"}"#,
        r#"{"member":"hefei","format":0}"#,
        r#"{"member":"hefei","format":-1}"#,
        r#"{"member":"hefei","format":"1"}"#,
        r#"{"member":"hefei","format":1.5}"#,
        r#"{"member":"hefei","format":true}"#,
        r#"{"member":"hefei","format":18446744073709551616}"#,
    ] {
        let refused = with(told);
        assert!(
            matches!(refused, Err(VerifyError::NoFormat)),
            "{told}: {refused:?}"
        );
    }
    let refused = with(r#"{"format":1}"#);
    assert!(matches!(refused, Err(VerifyError::NoMember)));
    let unnamed = "the casegate that wrote it";
    for (software, shown) in [
        (r#""casegate 2.0.0""#, "casegate 2.0.0"),
        (r#""\u001b[2J""#, unnamed),
        (r#""""#, unnamed),
        ("7", unnamed),
    ] {
        let told = format!(r#"{{"format":2,"software":{software}}}"#);
        let Err(VerifyError::Newer { found, software }) = with(&told) else {
            panic!("{told}");
        };
        assert_eq!((found, software.as_str()), (2, shown));
    }
}

#[test]
fn no_bundle_of_any_bytes_makes_it_panic() {
    for (path, bytes) in &world().files {
        for cut in [0, bytes.len() / 2] {
            let mut files = world().files.clone();
            files.insert(path.clone(), bytes[..cut].to_vec());
            let dir = write(&files);
            let report = verify(dir.path(), &world().policy(), options());
            assert!(
                report.is_err() || report.is_ok_and(|report| !report.ok),
                "{path} at {cut}"
            );
        }
    }
}

#[test]
fn a_revoked_witness_key_counts_nowhere() {
    let revoked = world().next_roster(|draft| {
        let mut members = draft.wire.members.iter_mut();
        let wuhu = members.find(|m| m.id == "wuhu").expect("wuhu");
        for key in &mut wuhu.keys {
            if key.r#use() == v1::KeyUse::Witness {
                key.revoked_at_size = Some(0);
            }
        }
    });
    let report = planted(|files| drop(files.insert("roster/000002".into(), revoked)));
    assert_eq!(codes(&report), [""; 0], "{:#?}", report.found);
    assert_eq!(
        (report.count(Verdict::Valid), report.logs[0].witnessed),
        (0, 0)
    );
}
