//! Logs and proofs of others, read with what reads bundles: a whole tlog-tiles
//! log, and a proof of a running log with the cosignatures of its witnesses.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use casegate::audit::layout::{TilePath, entry_bundles, hash_tiles, read_hashes, split_entries};
use casegate::checkpoint::{
    CheckpointText, SignedNote, cosignature_key_id, note_key_id, open_cosignature, signature_line,
};
use casegate::ids::{Digest, LogIndex, TreeSize};
use casegate::keys::PublicKey;
use casegate::merkle::{Frontier, leaf_hash, verify_inclusion};

use crate::signatures::vectors;

fn key(hex: &str) -> PublicKey {
    PublicKey::from_slice(&hex::decode(hex).expect("hex")).expect("a key")
}

/// Every size of the log, from its entry bundles to its signed root.
#[test]
fn a_whole_log_of_another_implementation_reads_as_ours_do() {
    let Some(dir) = vectors("tessera-log") else {
        return;
    };
    let vkey = std::fs::read_to_string(dir.join("log.vkey")).expect("a key");
    let mut parts = vkey.trim_end().splitn(3, '+');
    let (name, _) = (parts.next().expect("a name"), parts.next());
    let bytes = STANDARD
        .decode(parts.next().expect("a key"))
        .expect("base64");
    let key = PublicKey::from_slice(&bytes[1..]).expect("a key");
    let read = |path: &TilePath| std::fs::read(dir.join(path.to_string())).expect("a tile");
    let mut seen = 0;
    for size in 0..=15 {
        let note = std::fs::read(dir.join(format!("checkpoint.{size}"))).expect("a checkpoint");
        let note = SignedNote::parse(&note).expect("a note");
        assert_eq!(note.verify(name, &key), Ok(true), "size {size}");
        let text = CheckpointText::parse(note.text()).expect("a checkpoint");
        let mut frontier = Frontier::new();
        for (bundle, tile) in entry_bundles(TreeSize(size)).zip(hash_tiles(TreeSize(size))) {
            let entries = split_entries(Bytes::from(read(&bundle)));
            let leaves: Vec<Digest> = entries
                .map(|entry| leaf_hash(&entry.expect("an entry")))
                .collect();
            let hashes: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.0).collect();
            assert_eq!(read(&tile), hashes, "{tile}");
            seen += leaves.len();
            frontier.extend(leaves);
        }
        assert_eq!((frontier.size(), frontier.root()), (text.size, text.root));
    }
    assert_eq!(seen, (0..=15).sum::<usize>());
}

/// The log of `hello-sigsum.proof`, and the names and keys of its witnesses, as
/// the log's operators publish them; the proof names them by SHA-256.
const LOG: &str = "47e481606d8acba747a6b053d6c2d191605fb122175d410a1202a91430abce39";
const WITNESSES: [(&str, &str); 8] = [
    (
        "poc.sigsum.org/nisse",
        "1c25f8a44c635457e2e391d1efbca7d4c2951a0aef06225a881e46b98962ac6c",
    ),
    (
        "rgdd.se/poc-witness",
        "28c92a5a3a054d317c86fc2eeb6a7ab2054d6217100d0be67ded5b74323c5806",
    ),
    (
        "witness1.smartit.nu/witness1",
        "f4855a0f46e8a3e23bb40faf260ee57ab8a18249fa402f2ca2d28a60e1a3130e",
    ),
    (
        "witness.navigli.sunlight.geomys.org",
        "dcbf728e02d479f5a7e20dc09adf525833ed6e797526517aeb07fc6854849fc6",
    ),
    (
        "remora.n621.de",
        "ebcdeb78e7fdb2ef9227b2c1ef11e94600b55b4d6d9a57877e31ee89e59adc36",
    ),
    (
        "witness.stagemole.eu",
        "4a921b7caef58ae670cdc11ef4184f1c058f7b9259a9107a969f69fa54aa496f",
    ),
    (
        "tillitis.se/test-witness-1",
        "636582aec12f32c18a21733db9e3f718058ee7aaec6dbe4eb81781e0f4300c6e",
    ),
    (
        "transparency.dev/DEV:witness-little-garden",
        "2b6eb0ec483503544cde4e8fc1ce6d1921db21dffccc186865f808f7625443cc",
    ),
];

/// The lines of a sigsum proof that begin with a word, without it.
fn values<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let name = format!("{name}=");
    text.lines()
        .filter_map(|line| line.strip_prefix(&name))
        .collect()
}

#[test]
fn a_proof_of_a_running_log_holds_with_all_its_cosignatures() {
    let Some(path) = vectors("sigsum-crate/hello-sigsum.proof") else {
        return;
    };
    let text = std::fs::read_to_string(&path).expect("a proof");
    let bytes = |hex: &str| hex::decode(hex).expect("hex");
    let log = key(LOG);
    let log_hash = Digest::of(log.as_bytes()).to_string();
    assert_eq!(values(&text, "log"), [log_hash.as_str()]);
    let (size, root) = (
        values(&text, "size")[0],
        bytes(values(&text, "root_hash")[0]),
    );

    // The tree head is a checkpoint, signed by the log.
    let origin = format!("sigsum.org/v1/tree/{log_hash}");
    let head = format!("{origin}\n{size}\n{}\n", STANDARD.encode(&root));
    let signature = bytes(values(&text, "signature")[0]);
    let line = signature_line(&origin, note_key_id(&origin, &log), &signature);
    let mut note = format!("{head}\n{line}");

    // Each cosignature becomes a line of its note.
    for cosignature in values(&text, "cosignature") {
        let mut parts = cosignature.split(' ');
        let mut next = || parts.next().expect("three parts");
        let (hash, time, signature) = (next(), next(), bytes(next()));
        let of = |(_, hex): &&(&str, &str)| Digest::of(key(hex).as_bytes()).to_string() == hash;
        let (name, hex) = WITNESSES.iter().find(of).expect("a known witness");
        let time: u64 = time.parse().expect("a time");
        let signed = [&time.to_be_bytes()[..], &signature].concat();
        note += &signature_line(name, cosignature_key_id(name, &key(hex)), &signed);
    }
    let parsed = SignedNote::parse(note.as_bytes()).expect("a note");
    assert_eq!(parsed.verify(&origin, &log), Ok(true));
    for (name, hex) in WITNESSES {
        let found = open_cosignature(&parsed, name, &key(hex)).expect("it holds");
        assert_eq!(found.map(|c| c.time), Some(1_770_193_051), "{name}");
    }
    let other = note.replace(&format!("\n{size}\n"), "\n381383\n");
    let other = SignedNote::parse(other.as_bytes()).expect("a note");
    assert!(other.verify(&origin, &log).is_err());
    for (name, hex) in WITNESSES {
        assert!(open_cosignature(&other, name, &key(hex)).is_err(), "{name}");
    }

    // The leaf: signed by the submitter, and in the tree.
    let message = std::fs::read(path.with_extension("msg")).expect("a message");
    let submitter = std::fs::read_to_string(path.with_extension("pubkey.hex")).expect("a key");
    let submitter = key(submitter.trim());
    let checksum = Digest::of(&Digest::of(&message).0);
    let (key_hash, signature) = values(&text, "leaf")[0].split_once(' ').expect("two words");
    assert_eq!(Digest::of(submitter.as_bytes()).to_string(), key_hash);
    let signed = [&b"sigsum.org/v1/tree-leaf\0"[..], &checksum.0].concat();
    assert_eq!(submitter.verify(&signed, &bytes(signature)), Ok(()));
    let leaf = [&checksum.0[..], &bytes(signature), &bytes(key_hash)].concat();
    let proof: Vec<Digest> = values(&text, "node_hash")
        .iter()
        .map(|hash| Digest::from_slice(&bytes(hash)).expect("a digest"))
        .collect();
    let index = LogIndex(values(&text, "leaf_index")[0].parse().expect("a number"));
    let size = TreeSize(size.parse().expect("a number"));
    let root = Digest::from_slice(&root).expect("a digest");
    assert_eq!(
        verify_inclusion(&leaf_hash(&leaf), index, size, &proof, &root),
        Ok(())
    );
}

/// The body of `add-checkpoint` in the witness specification: an old size, a
/// consistency proof, an empty line, a checkpoint. Its keys are not given.
#[test]
fn the_example_of_the_witness_specification_has_the_form_that_is_read() {
    let Some(path) = vectors("c2sp-examples/add-checkpoint-request-example.txt") else {
        return;
    };
    let text = std::fs::read_to_string(path).expect("a file");
    let (head, note) = text.split_once("\n\n").expect("an empty line");
    let (old, hashes) = head.split_once('\n').expect("a first line");
    assert_eq!(old, "old 20852014");
    assert_eq!(
        read_hashes(&format!("{hashes}\n")).expect("hashes").len(),
        4
    );
    let note = SignedNote::parse(note.as_bytes()).expect("a note");
    let text = CheckpointText::parse(note.text()).expect("a checkpoint");
    assert_eq!(text.size, TreeSize(20_852_163));
    assert_eq!(note.signatures().len(), 2);
}
