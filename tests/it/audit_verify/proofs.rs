//! Rosters, receipts, pairs of notes, hash tiles and bodies that are well signed
//! and still not what the bundle says they are.

use casegate::ids::FederationId;
use casegate::roster::log::RosterCheckpoint;
use casegate::roster::{Accepted, Roster};

use super::*;

/// The codes and details of the findings about paths that begin with `prefix`.
fn found(report: &Report, prefix: &str) -> Vec<(&'static str, String)> {
    let of = report.found.iter().filter(|f| f.path.starts_with(prefix));
    of.map(|f| (f.code.as_str(), f.detail.clone())).collect()
}

#[test]
fn the_pinned_roster_of_a_federation_that_the_policy_does_not_name_is_found() {
    let policy = Policy {
        federation: FederationId::new("other.example").expect("a name"),
        ..world().policy()
    };
    let report = report(&world().files, &policy);
    let what = "it is of the federation anhui.example".to_owned();
    assert_eq!(
        found(&report, "roster/000001"),
        [("roster.chain", what)],
        "{:#?}",
        report.found
    );
    assert_eq!((report.ok, report.count(Verdict::Valid)), (false, 0));
}

#[test]
fn a_file_that_is_larger_than_any_of_its_sort_is_not_read() {
    let mut files = world().files.clone();
    // Blanks after the value change nothing in JSON, but for its length.
    for (length, fits) in [(1 << 20, true), ((1 << 20) + 1, false)] {
        edit(&mut files, "bundle.json", |text| text.resize(length, b' '));
        sum(&mut files);
        let dir = write(&files);
        match verify(dir.path(), &world().policy(), options()) {
            Ok(report) => assert!(fits && report.ok, "{length}: {:#?}", report.found),
            Err(VerifyError::NoFormat) => assert!(!fits, "{length}"),
            Err(other) => panic!("{length}: {other}"),
        }
    }
}

#[test]
fn a_receipt_under_another_number_than_its_own_confirms_nothing() {
    let report = finds(
        |files| {
            for part in ["entry", "body", "proof"] {
                let bytes = files.remove(&format!("receipts/wuhu-1-1.{part}"));
                let path = format!("receipts/wuhu-1-3.{part}");
                files.insert(path, bytes.expect("a part"));
            }
        },
        &["receipt.forged"],
        &[],
    );
    let what = "its proof is about entry 1".to_owned();
    assert_eq!(found(&report, "receipts/"), [("receipt.forged", what)]);
    assert_eq!(report.logs[0].erasures.confirmed, 0);
}

#[test]
fn a_receipt_that_its_member_logged_and_never_signed_confirms_nothing() {
    let wuhu = world().member("wuhu");
    let good = |files: &Files, part: &str| files[&format!("receipts/wuhu-1-1.{part}")].clone();
    let report = finds(
        |files| {
            let mut entry = v1::Entry::decode(&good(files, "entry")[..]).expect("an entry");
            let signature = entry.signature.as_mut().expect("a signature");
            let mut bytes = signature.signature.to_vec();
            bytes[0] ^= 1;
            signature.signature = bytes.into();
            let mut log = Log::new("wuhu", LogName::Records);
            let first = Body::Element(element("wuhu", 0));
            log.add(&wuhu.records_key, first, BEGAN);
            log.append(entry.encode_to_vec().into(), good(files, "body"));
            let note = log.note(2, &wuhu.checkpoint_key);
            let (entry, proof) = (log.entries[1].to_vec(), log.proof(1, note));
            files.insert("receipts/wuhu-1-1.entry".into(), entry);
            files.insert("receipts/wuhu-1-1.proof".into(), proof);
        },
        &["receipt.forged"],
        &[],
    );
    let what = "no key of the member signed it".to_owned();
    assert_eq!(found(&report, "receipts/"), [("receipt.forged", what)]);
    assert_eq!(report.logs[0].erasures.confirmed, 0);
}

#[test]
fn a_receipt_about_another_generation_in_the_bundle_counts_there_alone() {
    let key = &world().member("hefei").records_key;
    let mut later = Log::new("hefei", LogName::Records);
    later.origin.generation = 2;
    later.add(key, Body::Element(element("hefei", 7)), BEGAN + 500);
    let clean = planted(|_| ());
    let report = planted(|files| world().write(&later, &[1], files));
    assert_eq!(found(&report, "receipts/"), [], "{:#?}", report.found);
    let confirmed = |report: &Report| {
        let logs = report.logs.iter();
        let logs = logs.filter(|log| log.erasures.confirmed > 0);
        logs.map(|log| (log.origin.clone(), log.erasures.confirmed))
            .collect::<Vec<_>>()
    };
    assert_eq!(confirmed(&report), confirmed(&clean));
    assert_eq!(report.logs.len(), clean.logs.len() + 1);
    // Without the log that it is about, it is about nothing.
    let report = planted(|files| {
        files.retain(|path, _| !path.starts_with("records/1/"));
        world().write(&later, &[1], files);
    });
    let [(code, what)] = &found(&report, "receipts/")[..] else {
        panic!("one finding: {:#?}", report.found)
    };
    assert_eq!(*code, "receipt.forged");
    assert!(
        what.starts_with("it is about anhui.example/hefei"),
        "{what}"
    );
}

/// hefei's note of the roster log at a size with a root, or the true one.
fn roster_note(history: &[std::sync::Arc<Roster>], size: u64, root: Option<Digest>) -> Vec<u8> {
    let of = RosterCheckpoint::of(history, size).expect("rosters");
    let signed = RosterCheckpoint {
        root: root.unwrap_or(of.root),
        ..of
    };
    let hefei = world().member("hefei");
    signed.sign(&hefei.checkpoint_key).into_bytes()
}

#[test]
fn notes_of_the_roster_log_that_contradict_each_other_or_the_rosters_are_found() {
    let second = world().next_roster(|_| ());
    let mut chain = world().chain.clone();
    assert!(matches!(chain.extend(&second), Ok(Accepted::New(_))));
    let note = |size, root: Option<u8>| {
        let root = root.map(|byte| Digest([byte; 32]));
        roster_note(chain.history(), size, root)
    };
    let nothing = "it proves nothing: the notes do not contradict each other";
    for (name, first, other, want) in [
        (
            "two roots",
            (1, None),
            (1, Some(6)),
            "two roots of 1 rosters",
        ),
        (
            "two false ones",
            (2, Some(5)),
            (2, Some(6)),
            "two roots of 2",
        ),
        (
            "a false one",
            (1, None),
            (2, Some(6)),
            "one of the notes is of",
        ),
        (
            "a false first",
            (1, Some(6)),
            (2, None),
            "one of the notes is of",
        ),
        ("grown", (1, None), (2, None), nothing),
        ("the same", (2, None), (2, None), nothing),
        ("both false", (1, Some(5)), (2, Some(6)), nothing),
    ] {
        let report = planted(|files| {
            files.insert("roster/000002".into(), second.clone());
            let (first, other) = (note(first.0, first.1), note(other.0, other.1));
            World::evidence(files, first, other, None);
        });
        let [(code, what)] = &found(&report, "evidence/1")[..] else {
            panic!("{name}: one finding: {:#?}", report.found)
        };
        assert_eq!(*code, "evidence.pair", "{name}");
        assert!(what.contains(want), "{name}: {what}");
    }
    // The bundle has no second roster by which the larger one could be judged.
    let report = planted(|files| World::evidence(files, note(1, None), note(2, Some(6)), None));
    let unknown = [("evidence.pair", nothing.to_owned())];
    assert_eq!(found(&report, "evidence/1"), unknown);
}

#[test]
fn a_body_that_its_owner_erased_and_that_is_still_there_is_counted() {
    let mut log = world().records.clone();
    let body = Body::Element(element("hefei", 3)).encode();
    log.bodies[3] = (BodyAnswer::Held, body.to_vec());
    let report = planted(|files| put_bodies(files, &log, 3));
    assert_eq!(codes(&report), [""; 0], "{:#?}", report.found);
    let erasures = &report.logs[0].erasures;
    assert_eq!((erasures.ranges, erasures.still_held), (2, 1));
}

#[test]
fn a_wider_tile_serves_where_the_one_of_the_width_is_not() {
    let (narrow, whole) = ("records/1/tile/0/001.p/44", "records/1/tile/0/001");
    let widen = |files: &mut Files, first: u8| {
        let mut tile = files.remove(narrow).expect("a tile");
        tile[0] ^= first;
        tile.resize(256 * 32, 9);
        files.insert(whole.into(), tile);
    };
    let report = planted(|files| widen(files, 0));
    assert_eq!(codes(&report), [""; 0], "{:#?}", report.found);
    assert!(report.ok);
    finds(|files| widen(files, 1), &["tile.root"], &[]);
    // One that is longer than its name says is none.
    for more in [1, 32] {
        let longer = |files: &mut Files| edit(files, narrow, |t| t.extend(vec![9; more]));
        finds(longer, &["tile.truncated"], &[]);
    }
}

#[test]
fn records_of_which_neither_entries_nor_hashes_are_there_are_in_no_tree() {
    let records = &world().records;
    let report = planted(|files| {
        files.remove("records/1/tile/0/000");
        edit(files, &records.bundle_of(0), |bytes| bytes.truncate(1));
    });
    let found = codes(&report);
    for code in ["checkpoint.root", "entry.truncated", "tile.truncated"] {
        assert!(found.contains(&code), "{code}: {:#?}", report.found);
    }
    assert_eq!(report.count(Verdict::Valid), 4, "the access log's");
    assert_eq!(report.logs[0].proven, 0);
    assert!(!report.ok);
}

#[test]
fn a_checkpoint_of_more_entries_than_anybody_could_list_is_found_in_time() {
    let (records, key) = (&world().records, &world().member("hefei").checkpoint_key);
    for size in [1 << 40, u64::MAX] {
        let note = records.note_of(size, Digest([6; 32]), key);
        let report = planted(|files| drop(files.insert(NEWEST.into(), note)));
        let found = codes(&report);
        assert!(found.contains(&"checkpoint.root"), "{size}: {found:?}");
        assert_eq!((report.logs[0].proven, report.ok), (0, false), "{size}");
    }
}
