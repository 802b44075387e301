//! Witnesses: what counts as witnessed, what a witness refuses, and that
//! nothing waits for one.

mod gathering;
mod nodes;
mod refusals;

use casegate::checkpoint::{
    Checkpoint, CheckpointError, Cosignature, SignedNote, Witnessed, cosign, cosignature_of,
    cosigned_by, open_cosignature, witness_name, witnessed,
};
use casegate::ids::{Digest, MemberId, TreeSize};
use casegate::keys::{PublicKey, SigningKey};

use crate::cluster::{NOW, id};
use crate::record::{key, origin};
use crate::tamper::federation;

const LOG: &str = "anhui.example/hefei/records/1";

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: origin(LOG),
        size: TreeSize(5),
        root: Digest([7; 32]),
    }
}

/// A signed note with a cosignature of each (name, key, time).
fn cosigned(lines: &[(&str, &SigningKey, i64)]) -> String {
    let mut note = checkpoint().sign(&key(1));
    for (name, key, time) in lines {
        let name = witness_name(&federation(), &id(name));
        note.push_str(&cosign(&checkpoint().body(), &name, key, *time));
    }
    note
}

/// Judges a note with the witnesses court, procuracy and regulator.
fn judge(note: &str, quorum: u32) -> Result<Option<Witnessed>, CheckpointError> {
    let keys: Vec<SigningKey> = (2..5).map(key).collect();
    let names = ["court", "procuracy", "regulator"].map(id);
    let witnesses: Vec<(MemberId, &PublicKey)> = names
        .into_iter()
        .zip(keys.iter().map(SigningKey::public_key))
        .collect();
    witnessed(
        note.as_bytes(),
        &origin(LOG),
        &[key(1).public_key()],
        &witnesses,
        quorum,
    )
}

#[test]
fn a_checkpoint_is_witnessed_by_as_many_members_as_must_at_the_time_of_the_last_of_them() {
    let (court, procuracy, regulator) = (key(2), key(3), key(4));
    let two = cosigned(&[("court", &court, NOW + 9), ("procuracy", &procuracy, NOW)]);
    let found = judge(&two, 2).expect("a note").expect("witnessed");
    assert_eq!((found.size, found.time), (TreeSize(5), NOW + 9));
    assert_eq!(judge(&two, 1).unwrap().map(|w| w.time), Some(NOW));
    assert_eq!(judge(&two, 3), Ok(None), "two are not three");
    let three = cosigned(&[
        ("court", &court, NOW + 9),
        ("procuracy", &procuracy, NOW),
        ("regulator", &regulator, NOW + 1),
    ]);
    assert_eq!(judge(&three, 2).unwrap().map(|w| w.time), Some(NOW + 1));
}

#[test]
fn a_quorum_of_none_witnesses_nothing() {
    assert_eq!(judge(&cosigned(&[("court", &key(2), NOW)]), 0), Ok(None));
    assert_eq!(judge(&checkpoint().sign(&key(1)), 1), Ok(None));
}

#[test]
fn strangers_and_one_member_twice_do_not_make_a_quorum() {
    let (court, stranger) = (key(2), key(9));
    for note in [
        cosigned(&[("court", &court, NOW), ("stranger", &stranger, NOW)]),
        // The key of one witness under the name of another, and the reverse.
        cosigned(&[("court", &court, NOW), ("procuracy", &court, NOW)]),
        cosigned(&[("court", &court, NOW), ("regulator", &stranger, NOW)]),
        cosigned(&[("court", &court, NOW), ("court", &court, NOW + 1)]),
    ] {
        assert_eq!(judge(&note, 2), Ok(None), "{note}");
    }
    let keys = [key(2), key(3)];
    let twice = [
        (id("court"), keys[0].public_key()),
        (id("court"), keys[1].public_key()),
    ];
    let note = cosigned(&[("court", &keys[0], NOW + 5), ("court", &keys[1], NOW)]);
    let found = cosigned_by(note.as_bytes(), &federation(), &twice).expect("a note");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(id("court"), NOW)]);
}

#[test]
fn a_wrong_signature_in_the_name_of_a_witness_spoils_the_note() {
    let other = Checkpoint {
        size: TreeSize(6),
        ..checkpoint()
    };
    let name = witness_name(&federation(), &id("court"));
    let mut note = cosigned(&[("procuracy", &key(3), NOW), ("regulator", &key(4), NOW)]);
    note.push_str(&cosign(&other.body(), &name, &key(2), NOW));
    assert!(matches!(
        judge(&note, 2),
        Err(CheckpointError::BadSignature { .. })
    ));
}

#[test]
fn cosignatures_do_not_stand_in_for_the_log_s_own_signature() {
    let (court, procuracy) = (key(2), key(3));
    let unsigned = cosigned(&[("court", &court, NOW), ("procuracy", &procuracy, NOW)])
        .replace(&format!("\u{2014} {LOG} "), "\u{2014} somebody ");
    assert_eq!(judge(&unsigned, 2), Err(CheckpointError::NotSigned));
}

#[test]
fn of_several_cosignatures_by_one_key_the_newest_counts() {
    let (court, name) = (key(2), witness_name(&federation(), &id("court")));
    for times in [[NOW, NOW + 5], [NOW + 5, NOW]] {
        let note = cosigned(&times.map(|time| ("court", &court, time)));
        let parsed = SignedNote::parse(note.as_bytes()).expect("a note");
        let found = open_cosignature(&parsed, &name, court.public_key());
        assert_eq!(found, Ok(Some(Cosignature { time: NOW + 5 })), "{times:?}");
    }
}

#[test]
fn an_answer_that_makes_the_note_say_more_is_no_cosignature_of_it() {
    let (court, name) = (key(2), witness_name(&federation(), &id("court")));
    let (note, keys) = (checkpoint().sign(&key(1)), [court.public_key()]);
    let judge = |lines: &str| cosignature_of(note.as_bytes(), lines.as_bytes(), &name, &keys);
    let good = cosign(&checkpoint().body(), &name, &court, NOW);
    assert_eq!(judge(&good).as_ref(), Ok(&good));
    // It cosigned a longer text, which begins with the note.
    let longer = format!("{note}more\n");
    let lines = format!("more\n\n{}", cosign(&longer, &name, &court, NOW));
    assert!(judge(&lines).is_err());
    assert_eq!(judge(""), Err(CheckpointError::NotSigned));
}
