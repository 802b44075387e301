//! The roster log's checkpoint in a bundle, judged by the rules for the others.

use casegate::ids::TreeSize;
use casegate::roster::log::RosterCheckpoint;
use casegate::roster::{Accepted, Roster};

use super::fixture::{cosign_line, id};
use super::*;

const PATH: &str = "roster/checkpoint";

/// hefei's note of the newest of `history`, cosigned by hefei, anqing and wuhu.
fn note_of(history: &[std::sync::Arc<Roster>]) -> Vec<u8> {
    let signed = RosterCheckpoint::of(history, history.len() as u64).expect("rosters");
    cosigned(&signed)
}

fn cosigned(signed: &RosterCheckpoint) -> Vec<u8> {
    let hefei = world().member("hefei");
    let mut note = signed.sign(&hefei.checkpoint_key).into_bytes();
    for (at, name) in (0..).zip(["anqing", "hefei", "wuhu"]) {
        let key = &world().member(name).witness_key;
        let line = cosign_line(&note, name, key, BEGAN + 100 + at);
        note.extend(line.bytes());
    }
    note
}

fn good() -> RosterCheckpoint {
    RosterCheckpoint::of(world().chain.history(), 1).expect("a roster")
}

/// The clean bundle with such a note.
fn with(note: Vec<u8>) -> Report {
    planted(|files| drop(files.insert(PATH.into(), note)))
}

fn finds_in(note: Vec<u8>, found: &[&str]) -> Report {
    let report = with(note);
    assert_eq!(codes(&report), found, "{:#?}", report.found);
    assert_eq!(verdicts(&report), clean_but(&[]));
    assert!(report.found.iter().all(|finding| finding.path == PATH));
    report
}

#[test]
fn a_cosigned_checkpoint_of_the_rosters_says_up_to_which_version_they_are_witnessed() {
    let report = finds_in(cosigned(&good()), &[]);
    assert!(report.ok);
    // Two of three make the quorum: the second of them gives the time.
    let witnessed = (report.roster.witnessed, report.roster.witnessed_at);
    assert_eq!(witnessed, (1, Some(BEGAN + 101)));
    let report = planted(|_| ());
    assert_eq!(
        (report.roster.witnessed, report.ok),
        (0, true),
        "without one"
    );
}

#[test]
fn a_note_of_the_rosters_that_is_not_signed_by_a_member_is_found() {
    let note = cosigned(&good());
    finds_in(note[..note.len() - 1].to_vec(), &["checkpoint.malformed"]);
    let other = world().files["records/1/checkpoint"].clone();
    finds_in(other, &["checkpoint.origin"]);
    let records_key = &world().member("hefei").records_key;
    let signed = good().sign(records_key).into_bytes();
    finds_in(signed, &["checkpoint.signature"]);
    let size = String::from_utf8_lossy(&note).replacen("\n1\n", "\n2\n", 1);
    finds_in(size.into_bytes(), &["checkpoint.signature"]);
    let extended = String::from_utf8_lossy(&note).replacen("\n\n", "\nmore\n\n", 1);
    finds_in(extended.into_bytes(), &["checkpoint.signature"]);
    // A cosignature is no signature of the log's.
    let text = String::from_utf8_lossy(&note).into_owned();
    let mut lines = text
        .lines()
        .filter(|line| !line.starts_with("\u{2014} anhui.example/roster "));
    let unsigned = lines
        .by_ref()
        .fold(String::new(), |all, line| all + line + "\n");
    finds_in(unsigned.into_bytes(), &["checkpoint.signature"]);
}

#[test]
fn a_note_of_other_rosters_than_those_of_the_bundle_is_found() {
    for (size, root) in [(1, Digest([7; 32])), (2, good().root), (0, good().root)] {
        let other = RosterCheckpoint {
            size: TreeSize(size),
            root,
            ..good()
        };
        let report = finds_in(cosigned(&other), &["checkpoint.root"]);
        assert_eq!(report.roster.witnessed, 0);
    }
}

#[test]
fn cosignatures_of_the_rosters_by_strangers_and_false_ones_are_found() {
    let mut note = good()
        .sign(&world().member("hefei").checkpoint_key)
        .into_bytes();
    let plain = note.clone();
    note.extend(cosign_line(&plain, "stranger", &SigningKey::generate(), BEGAN).bytes());
    let report = finds_in(note, &["cosignature.unknown"]);
    assert_eq!(report.roster.witnessed, 0);

    let mut note = cosigned(&good());
    let key = &world().member("wuhu").witness_key;
    let of_another_log = &world().files[LAST_WITNESSED];
    note.extend(cosign_line(of_another_log, "wuhu", key, BEGAN).bytes());
    let report = finds_in(note, &["cosignature.invalid"]);
    assert_eq!(report.roster.witnessed, 0, "one false line spoils the note");
}

/// The bundle with a second roster that revokes a key, and a note of `size`.
fn revoking(member: &str, usage: v1::KeyUse, size: u64) -> Report {
    let signed = world().next_roster(|draft| {
        let mut members = draft.wire.members.iter_mut();
        let found = members
            .find(|m| m.id == id(member).as_str())
            .expect("a member");
        for key in found.keys.iter_mut().filter(|key| key.r#use() == usage) {
            key.revoked_at_size = Some(0);
        }
    });
    let mut chain = world().chain.clone();
    assert!(matches!(chain.extend(&signed), Ok(Accepted::New(_))));
    let upto = usize::try_from(size).expect("small");
    let note = note_of(&chain.history()[..upto]);
    planted(|files| {
        files.insert("roster/000002".into(), signed);
        files.insert(PATH.into(), note);
    })
}

#[test]
fn a_revoked_checkpoint_key_signs_no_later_roster_and_a_revoked_witness_none() {
    let of = |report: &Report| {
        let found = report.found.iter().filter(|finding| finding.path == PATH);
        found
            .map(|finding| finding.code.as_str())
            .collect::<Vec<_>>()
    };
    let checkpoint = v1::KeyUse::Checkpoint;
    let report = revoking("hefei", checkpoint, 2);
    assert_eq!(of(&report), ["checkpoint.signature"]);
    let report = revoking("hefei", checkpoint, 1);
    assert_eq!((of(&report), report.roster.witnessed), (vec![], 1));
    let report = revoking("wuhu", v1::KeyUse::Witness, 1);
    assert_eq!(
        (of(&report), report.roster.witnessed),
        (vec![], 1),
        "two are left"
    );
    let report = revoking("anqing", v1::KeyUse::Witness, 2);
    assert_eq!((of(&report), report.roster.witnessed), (vec![], 2));
}
