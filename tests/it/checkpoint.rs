//! Signed notes, checkpoints and cosignatures: form, keys, logs of others.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use casegate::checkpoint::{
    Checkpoint, CheckpointError, CheckpointText, NOTE_BYTES_MAX, SignedNote, cosign, note_key_id,
    open_cosignature, signature_line,
};
use casegate::ids::{Digest, TreeSize};
use casegate::keys::PublicKey;
use casegate::merkle::{Frontier, MerkleError, append_tiles, empty_root};
use proptest::prelude::*;

use crate::record::{key, origin};
use crate::signatures::vectors;

const LOG: &str = "anhui.example/hefei/records/1";

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: origin(LOG),
        size: TreeSize(5),
        root: Digest([7; 32]),
    }
}

fn open(note: &str) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::open(note.as_bytes(), &origin(LOG), &[key(1).public_key()])
}

/// Signs any text in the name of the log.
fn note(text: &str) -> String {
    let key = key(1);
    let id = note_key_id(LOG, key.public_key());
    format!(
        "{text}\n{}",
        signature_line(LOG, id, &key.sign(text.as_bytes()))
    )
}

#[test]
fn a_checkpoint_opens_with_the_key_that_signed_it() {
    let signed = checkpoint().sign(&key(1));
    assert_eq!(signed, note(&checkpoint().body()));
    assert_eq!(open(&signed), Ok(checkpoint()));
}

#[test]
fn a_checkpoint_by_no_known_key_is_not_signed() {
    let signed = checkpoint().sign(&key(2));
    assert_eq!(open(&signed), Err(CheckpointError::NotSigned));
    let none: &[&PublicKey] = &[];
    let opened = Checkpoint::open(signed.as_bytes(), &origin(LOG), none);
    assert_eq!(opened, Err(CheckpointError::NotSigned));
}

#[test]
fn unknown_signatures_are_ignored_and_a_bad_known_one_is_not() {
    let good = checkpoint().sign(&key(1));
    let foreign = signature_line("someone.example", [1; 4], b"whatever");
    assert_eq!(open(&format!("{good}{foreign}")), Ok(checkpoint()));
    let id = note_key_id(LOG, key(1).public_key());
    let forged = signature_line(LOG, id, &key(2).sign(checkpoint().body().as_bytes()));
    for note in [
        format!("{good}{forged}"),
        format!("{}\n{forged}", checkpoint().body()),
    ] {
        assert!(matches!(
            open(&note),
            Err(CheckpointError::BadSignature { .. })
        ));
    }
    let two = Checkpoint::open(
        good.as_bytes(),
        &origin(LOG),
        &[key(2).public_key(), key(1).public_key()],
    );
    assert_eq!(two, Ok(checkpoint()));
}

#[test]
fn a_checkpoint_of_another_log_is_refused() {
    for other in [
        "anhui.example/hefei/records/2",
        "anhui.example/hefei/access/1",
    ] {
        let signed = Checkpoint {
            origin: origin(other),
            ..checkpoint()
        }
        .sign(&key(1));
        assert!(matches!(
            open(&signed),
            Err(CheckpointError::OtherLog { .. })
        ));
    }
}

#[test]
fn a_signed_text_that_is_no_checkpoint_is_refused() {
    let root = STANDARD.encode([7; 32]);
    assert!(open(&note(&format!("{LOG}\n5\n{root}\n"))).is_ok());
    for text in [
        format!("{LOG}\n05\n{root}\n"),
        format!("{LOG}\n+5\n{root}\n"),
        format!("{LOG}\n-5\n{root}\n"),
        format!("{LOG}\n5 \n{root}\n"),
        format!("{LOG}\n18446744073709551616\n{root}\n"),
        format!("{LOG}\n\n{root}\n"),
        format!("{LOG}\n5\n{}\n", root.trim_end_matches('=')),
        format!("{LOG}\n5\n{}\n", STANDARD.encode([7; 31])),
        format!("{LOG}\n5\n{root}"),
        format!("{LOG}\n5\n"),
        format!("{LOG}\n5\n{root}\nextension\n"),
        format!("\n{LOG}\n5\n{root}\n"),
        "\n".to_owned(),
    ] {
        assert!(open(&note(&text)).is_err(), "{text:?}");
    }
}

#[test]
fn a_text_with_an_empty_line_is_no_checkpoint_of_anybody() {
    let root = STANDARD.encode([7; 32]);
    let more = format!("{LOG}\n5\n{root}\nmore\n");
    let read = CheckpointText::parse(&more).expect("a checkpoint");
    assert_eq!(read.extensions, ["more"]);
    for text in [
        format!("\n5\n{root}\n"),
        format!("{LOG}\n5\n{root}\n\n"),
        format!("{LOG}\n5\n{root}\n\nmore\n"),
    ] {
        let refused = CheckpointText::parse(&text);
        let what = "an empty line";
        assert_eq!(refused, Err(CheckpointError::Malformed { what }));
    }
}

#[test]
fn a_line_of_a_stranger_that_is_not_well_formed_spoils_the_note_too() {
    let good = checkpoint().sign(&key(1));
    let with = |name: &str| open(&format!("{good}\u{2014} {name} AQIDBAU=\n"));
    assert_eq!(with("name"), Ok(checkpoint()));
    for name in ["", "a+b", "a\u{a0}b", "a\u{1b}[2J", "a\u{7f}"] {
        let refused = with(name);
        let malformed = matches!(refused, Err(CheckpointError::MalformedNote { .. }));
        assert!(malformed, "{name:?}: {refused:?}");
    }
    let control = note(&format!("{LOG}\u{8}\n5\n"));
    let refused = SignedNote::parse(control.as_bytes());
    let what = "a control character";
    assert_eq!(refused, Err(CheckpointError::MalformedNote { what }));
}

#[test]
fn what_is_no_signed_note_is_refused() {
    let good = checkpoint().sign(&key(1));
    let body = checkpoint().body();
    let line = good
        .strip_prefix(&format!("{body}\n"))
        .expect("the signature")
        .to_owned();
    let with = |line: &str| format!("{body}\n{line}");
    for bad in [
        String::new(),
        body.clone(),
        format!("{body}\n"),
        format!("{body}{line}"),
        good.trim_end().to_owned(),
        good.replace('\n', "\r\n"),
        with(&line.replace('\u{2014}', "-")),
        with(&line.replace(' ', "  ")),
        with(&line.replace(LOG, "")),
        with(&line.replace(LOG, "a+b")),
        with(&line.replace('=', "")),
        format!("{good}\u{2014} name AQID\n"),
        format!("{good}\u{2014} name AQIDBA==\n"),
        format!("{good}\u{2014} name\n"),
        format!("{good}\u{2014} AQIDBAU=\n"),
        with(&line.repeat(65)),
        format!("{good}trailing"),
        good.replace("hefei", "hef\0ei"),
    ] {
        assert!(open(&bad).is_err(), "{bad:?}");
    }
    let big = [good.as_bytes(), &vec![b'\n'; NOTE_BYTES_MAX]].concat();
    assert!(matches!(
        SignedNote::parse(&big),
        Err(CheckpointError::TooBig { .. })
    ));
    assert!(SignedNote::parse(b"\xff\n\n\xff\n").is_err());
}

#[test]
fn no_byte_of_a_checkpoint_can_change() {
    let good = checkpoint().sign(&key(1)).into_bytes();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        let opened = Checkpoint::open(&bytes, &origin(LOG), &[key(1).public_key()]);
        assert!(opened.is_err(), "byte {at}");
    }
}

#[test]
fn a_cosignature_holds_for_its_text_and_key_only() {
    let signed = checkpoint().sign(&key(1));
    let body = checkpoint().body();
    let early = cosign(&body, "wuhu", &key(3), 1_700_000_000);
    let late = cosign(&body, "wuhu", &key(3), 1_800_000_000);
    let text = format!("{signed}{late}{early}");
    let note = SignedNote::parse(text.as_bytes()).expect("a note");
    let time = |name, seed: u8| {
        open_cosignature(&note, name, key(seed).public_key()).map(|found| found.map(|c| c.time))
    };
    assert_eq!(time("wuhu", 3), Ok(Some(1_800_000_000)));
    assert_eq!(time("wuhu", 4), Ok(None));
    assert_eq!(time("chuzhou", 3), Ok(None));
    assert_eq!(open(&text), Ok(checkpoint()));

    let other = Checkpoint {
        size: TreeSize(6),
        ..checkpoint()
    }
    .sign(&key(1));
    let moved = format!("{other}{late}");
    let note = SignedNote::parse(moved.as_bytes()).expect("a note");
    assert!(open_cosignature(&note, "wuhu", key(3).public_key()).is_err());
}

proptest! {
    #[test]
    fn any_checkpoint_opens_as_itself(size: u64, root: [u8; 32]) {
        let it = Checkpoint { size: TreeSize(size), root: Digest(root), ..checkpoint() };
        prop_assert_eq!(open(&it.sign(&key(1))), Ok(it));
    }

    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>, text in "[a\n\u{2014} +=]{0,40}") {
        let none: &[&PublicKey] = &[];
        prop_assert!(Checkpoint::open(&bytes, &origin(LOG), none).is_err());
        prop_assert!(Checkpoint::open(text.as_bytes(), &origin(LOG), none).is_err());
    }
}

/// Reads `name+keyid+base64(0x01 ‖ key)` (C2SP signed-note, verifier keys).
fn verifier_key(text: &str) -> (String, PublicKey) {
    let mut parts = text.trim_end().splitn(3, '+');
    let mut next = || parts.next().expect("three parts");
    let (name, id, key) = (next(), next(), STANDARD.decode(next()).expect("base64"));
    let key = PublicKey::from_slice(&key[1..]).expect("a key");
    assert_eq!(hex::encode(note_key_id(name, &key)), id);
    (name.to_owned(), key)
}

#[test]
fn the_example_of_the_signed_note_specification_verifies() {
    let Some(dir) = vectors("c2sp-examples") else {
        return;
    };
    let text = std::fs::read_to_string(dir.join("signed-note-example.vkey")).expect("a key");
    let (name, key) = verifier_key(&text);
    let bytes = std::fs::read(dir.join("signed-note-example.note")).expect("a note");
    let note = SignedNote::parse(&bytes).expect("a note");
    assert_eq!(note.verify(&name, &key), Ok(true));
    let mut changed = bytes.clone();
    changed[0] ^= 1;
    let note = SignedNote::parse(&changed).expect("a note");
    assert!(note.verify(&name, &key).is_err());

    // Its keys are not given: form only, with a cosignature of 4 + 8 + 64 bytes.
    let bytes = std::fs::read(dir.join("cosigned-checkpoint-example.note")).expect("a note");
    let note = SignedNote::parse(&bytes).expect("a note");
    let text = CheckpointText::parse(note.text()).expect("a checkpoint");
    assert_eq!(
        (text.origin, text.size),
        ("example.com/behind-the-sofa", TreeSize(20_852_163))
    );
    let lengths: Vec<usize> = note
        .signatures()
        .iter()
        .map(|s| s.signature.len())
        .collect();
    assert_eq!(lengths, [64, 72]);
}

/// Every checkpoint of a foreign log verifies, and its roots and tiles are what
/// its entries give here.
#[test]
fn a_log_of_another_implementation_verifies() {
    let Some(dir) = vectors("tessera-log") else {
        return;
    };
    let vkey = std::fs::read_to_string(dir.join("log.vkey")).expect("a key");
    let (name, key) = verifier_key(&vkey);
    let mut frontier = Frontier::new();
    for size in 0..=15u64 {
        let bytes = std::fs::read(dir.join(format!("checkpoint.{size}"))).expect("a checkpoint");
        let note = SignedNote::parse(&bytes).expect("a note");
        assert_eq!(note.verify(&name, &key), Ok(true), "size {size}");
        let text = CheckpointText::parse(note.text()).expect("a checkpoint");
        assert_eq!((text.origin, text.size), (name.as_str(), TreeSize(size)));
        if size == 0 {
            assert_eq!(text.root, empty_root());
            continue;
        }
        let tile = std::fs::read(dir.join(format!("tile/0/000.p/{size}"))).expect("a tile");
        let hashes: Vec<Digest> = tile
            .chunks(32)
            .map(|hash| Digest::from_slice(hash).expect("a digest"))
            .collect();
        let (leaf, held) = hashes.split_last().expect("a hash");
        frontier.append(*leaf);
        assert_eq!(frontier.root(), text.root, "size {size}");
        let read = |_, _| Ok::<_, MerkleError>(held.to_vec());
        let updates = append_tiles(TreeSize(size - 1), read, &[*leaf]).expect("tiles");
        assert_eq!(updates.len(), 1);
        assert_eq!(updates[0].hashes, hashes);
    }
}
