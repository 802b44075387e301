//! What a later roster may say of earlier keys, and the roots' tool for it.

use super::*;
use casegate::roster::draft::wire_key;

fn spare(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).expect("a seed")
}

fn next_records(seed: u8, from_size: u64) -> v1::MemberKey {
    v1::MemberKey {
        from_size,
        ..wire_key(KeyUse::Records, spare(seed).public_key(), NOW + 10)
    }
}

/// The records key of the first member, in the roster's bytes.
fn records(draft: &mut Draft) -> &mut v1::MemberKey {
    let keys = &mut draft.wire.members[0].keys;
    let found = keys.iter_mut().find(|k| k.r#use() == v1::KeyUse::Records);
    found.expect("a records key")
}

/// Changes the next version; returns the code of its refusal.
fn offered(
    chain: &mut RosterChain,
    roots: &Roots,
    change: impl FnOnce(&mut Draft),
) -> Option<&'static str> {
    let mut draft = next(chain);
    change(&mut draft);
    let taken = chain.extend(&draft.sign(&roots.two()));
    taken.err().map(|e| e.code())
}

#[test]
fn a_key_of_an_earlier_version_is_never_taken_out() {
    let roots = Roots::new();
    let mut chain = chain(&roots);
    for usage in [
        v1::KeyUse::Records,
        v1::KeyUse::Checkpoint,
        v1::KeyUse::Witness,
    ] {
        let dropped = offered(&mut chain, &roots, |draft| {
            draft.wire.members[0].keys.retain(|k| k.r#use() != usage);
        });
        assert_eq!(dropped, Some("roster.key_dropped"), "{usage:?}");
    }
    let exchanged = offered(&mut chain, &roots, |draft| {
        *records(draft) = next_records(51, 0);
    });
    assert_eq!(exchanged, Some("roster.key_dropped"));
    let added = offered(&mut chain, &roots, |draft| {
        draft.wire.members[0].keys.push(next_records(51, 40));
    });
    assert_eq!(added, None);
}

#[test]
fn a_member_that_left_comes_back_with_all_its_keys() {
    let roots = Roots::new();
    let mut chain = chain(&roots);
    let before = next(&chain).wire.members.remove(0);
    let left = offered(&mut chain, &roots, |draft| {
        draft.wire.members.remove(0);
    });
    assert_eq!(left, None);
    let without = offered(&mut chain, &roots, |draft| {
        let mut again = before.clone();
        again.keys.retain(|k| k.r#use() != v1::KeyUse::Records);
        draft.wire.members.insert(0, again);
    });
    assert_eq!(without, Some("roster.key_dropped"));
    let with = offered(&mut chain, &roots, |draft| {
        draft.wire.members.insert(0, before.clone());
    });
    assert_eq!(with, None);
}

#[test]
fn a_revocation_is_set_once_and_stays() {
    let roots = Roots::new();
    let mut chain = chain(&roots);
    let set = |size| move |draft: &mut Draft| records(draft).revoked_at_size = size;
    assert_eq!(offered(&mut chain, &roots, set(Some(7))), None);
    for size in [None, Some(6), Some(8)] {
        let changed = offered(&mut chain, &roots, set(size));
        assert_eq!(changed, Some("roster.revocation_changed"), "{size:?}");
    }
    assert_eq!(offered(&mut chain, &roots, set(Some(7))), None);
}

#[test]
fn a_first_index_moves_up_only_and_is_for_records_keys() {
    let roots = Roots::new();
    let mut chain = chain(&roots);
    let add = |draft: &mut Draft| draft.wire.members[0].keys.push(next_records(51, 40));
    assert_eq!(offered(&mut chain, &roots, add), None);
    let moved = |size| {
        move |draft: &mut Draft| {
            let keys = &mut draft.wire.members[0].keys;
            keys.last_mut().expect("the new key").from_size = size;
        }
    };
    for back in [0, 39] {
        let refused = offered(&mut chain, &roots, moved(back));
        assert_eq!(refused, Some("roster.key_changed"), "{back}");
    }
    assert_eq!(offered(&mut chain, &roots, moved(41)), None);
    let other = offered(&mut chain, &roots, |draft| {
        let keys = &mut draft.wire.members[0].keys;
        let found = keys
            .iter_mut()
            .find(|k| k.r#use() == v1::KeyUse::Checkpoint);
        found.expect("a checkpoint key").from_size = 3;
    });
    assert_eq!(other, Some("roster.field"));
    let used = offered(&mut chain, &roots, |draft| {
        let key = records(draft);
        key.r#use = v1::KeyUse::Witness.into();
        key.from_size = 0;
    });
    assert_eq!(used, Some("roster.key_changed"));
}

#[test]
fn keys_are_added_rotated_and_revoked_through_the_roots_tool() {
    let tool = Tool::new();
    tool.next("", None);
    let hex = |key: &SigningKey| hex::encode(key.public_key().as_bytes());
    let (second, checkpoint) = (hex(&spare(51)), hex(&spare(52)));
    let rotate = format!(
        "[[member.key]]\nuse = \"records\"\nkey = \"{second}\"\nfrom_size = 40\n\
         [[member.key]]\nuse = \"checkpoint\"\nkey = \"{checkpoint}\"\n"
    );
    let rotated = tool.next(&rotate, None);
    let member = rotated.member(&id("hefei")).expect("a member");
    let from: Vec<_> = member.keys.iter().map(|k| (k.usage, k.from_size)).collect();
    assert_eq!(
        from,
        [
            (KeyUse::Records, 0),
            (KeyUse::Checkpoint, 0),
            (KeyUse::Witness, 0),
            (KeyUse::Records, 40),
            (KeyUse::Checkpoint, 0)
        ]
    );
    let first = rotated.keys(&id("hefei"), KeyUse::Records).next();
    let first = first.expect("the first key").id;
    let revoke = format!("[[member.revoke]]\nkey = \"{first}\"\nat_size = 30\n");
    let revoked = tool.next(&revoke, None);
    let key = revoked.key(&id("hefei"), KeyUse::Records, first);
    assert_eq!(key.expect("it stays").revoked_at_size, Some(30));
    assert_eq!(revoked.keys(&id("hefei"), KeyUse::Records).count(), 2);
    for (lines, says) in [
        (
            format!("[[member.revoke]]\nkey = \"{first}\"\nat_size = 31\n"),
            "stays as it is",
        ),
        (
            format!("[[member.revoke]]\nkey = \"{second}\"\n"),
            "at a size",
        ),
        (
            "[[member.revoke]]\nkey = \"00000000\"\nat_size = 1\n".into(),
            "no such key",
        ),
        (
            format!("[[member.key]]\nuse = \"seal\"\nkey = \"{second}\"\n"),
            "records, checkpoint",
        ),
        (
            format!(
                "[[member.key]]\nuse = \"witness\"\nkey = \"{}\"\nfrom_size = 1\n",
                hex(&spare(53))
            ),
            "records keys only",
        ),
    ] {
        tool.next(&lines, Some(says));
    }
    let of_checkpoint = format!("[[member.revoke]]\nkey = \"{checkpoint}\"\n");
    let last = tool.next(&of_checkpoint, None);
    let member = last.member(&id("hefei")).expect("a member");
    assert_eq!(member.checkpoint_keys().count(), 1);
}

#[test]
fn the_roots_end_a_generation_of_a_log_and_begin_the_next() {
    let tool = Tool::new();
    tool.next("", None);
    let ended = |generation: u32, size: u64| {
        let root = "ab".repeat(32);
        format!("[[member.ended]]\ngeneration = {generation}\nsize = {size}\nroot = \"{root}\"\n")
    };
    tool.next(&ended(2, 5), Some("the log is in generation 1"));
    tool.next(
        &ended(1, 5).replace("ab\"", "\""),
        Some("generation 1 ended"),
    );
    tool.next("access_generation = 0\n", Some("in generation 1 already"));
    let generations = |roster: &casegate::roster::Roster| {
        let hefei = roster.member(&id("hefei")).expect("a member");
        let frozen = hefei.frozen.iter().map(|f| (f.generation, f.size));
        let frozen: Vec<_> = frozen.collect();
        (hefei.records_generation, hefei.access_generation, frozen)
    };
    let one = tool.next(&format!("access_generation = 3\n{}", ended(1, 5)), None);
    assert_eq!(generations(&one), (2, 3, vec![(1, 5)]));
    // What was said stays said, again or not, and is not taken back.
    let two = tool.next(&(ended(1, 5) + &ended(2, 0)), None);
    assert_eq!(generations(&two), (3, 3, vec![(1, 5), (2, 0)]));
    assert_eq!(generations(&tool.next("", None)), generations(&two));
    tool.next(&ended(1, 6), Some("an end never changes"));
    tool.next("access_generation = 2\n", Some("in generation 3 already"));
}

/// The roots' tool on files of its own.
struct Tool {
    dir: tempfile::TempDir,
    head: String,
}

impl Tool {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = SigningKey::generate();
        let seed = dir.path().join("root.seed");
        casegate::pki::files::write_seed(&seed, &root).expect("written");
        let hefei = member("hefei");
        std::fs::write(dir.path().join("ca.pem"), hefei.ca.cert_pem()).expect("written");
        let hex = |key: &SigningKey| hex::encode(key.public_key().as_bytes());
        let head = format!(
            "federation = \"anhui.example\"\nroots = [\"{}\"]\nroot_threshold = 1\ndays = 90\n\
             [[member]]\nid = \"hefei\"\nrole = \"bureau\"\nname = \"H\"\nca = \"ca.pem\"\n\
             endpoint = \"hefei.example:7440\"\nrecords = \"{}\"\ncheckpoint = \"{}\"\n\
             witness = \"{}\"\n",
            hex(&root),
            hex(&hefei.records_key),
            hex(&hefei.checkpoint_key),
            hex(&hefei.witness_key),
        );
        Self { dir, head }
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn call(&self, line: &[&str]) -> Result<(), String> {
        use casegate::cli::roster::{RosterArgs, run};
        use clap::{Args, FromArgMatches};

        let command = RosterArgs::augment_args(clap::Command::new("roster"));
        let matches = command.get_matches_from(std::iter::once(&"roster").chain(line));
        let args = RosterArgs::from_arg_matches(&matches).expect("arguments");
        let done = run(&args, NOW, shares_fit);
        done.map(drop).map_err(|e| format!("{e:#}"))
    }

    /// Describes, signs and appends the next version, or is refused in words.
    fn next(&self, lines: &str, refusal: Option<&str>) -> std::sync::Arc<casegate::roster::Roster> {
        let (from, out, file) = (self.at("d.toml"), self.at("new.bin"), self.at("roster.bin"));
        std::fs::write(&from, format!("{}{lines}", self.head)).expect("written");
        let pin = std::fs::read_to_string(self.at("pin")).unwrap_or_default();
        let mut line = vec!["new", "--from", &from, "--out", &out];
        if !pin.is_empty() {
            line.extend(["--after", &file, "--pin", &pin]);
        }
        let made = self.call(&line);
        if let Some(says) = refusal {
            let said = made.expect_err(says);
            assert!(said.contains(says), "{said}");
            return self.newest(&pin);
        }
        made.expect("described");
        let raw = casegate::roster::read::RawRoster::parse(&std::fs::read(&out).expect("read"));
        let pin = if pin.is_empty() {
            let pin = raw.expect("a roster").digest.to_string();
            std::fs::write(self.at("pin"), &pin).expect("written");
            pin
        } else {
            pin
        };
        let key = self.at("root.seed");
        self.call(&["sign", "--roster", &out, "--key", &key])
            .expect("signed");
        self.call(&["verify", "--file", &file, "--pin", &pin, "--add", &out])
            .expect("appended");
        self.newest(&pin)
    }

    fn newest(&self, pin: &str) -> std::sync::Arc<casegate::roster::Roster> {
        let file = std::fs::read(self.at("roster.bin")).expect("read");
        let pin = Digest::from_slice(&hex::decode(pin).expect("hex")).expect("a digest");
        let chain = RosterChain::from_bytes(pin, &file, 0, shares_fit).expect("a chain");
        std::sync::Arc::clone(chain.newest())
    }
}
