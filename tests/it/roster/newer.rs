//! A roster from a newer software: it is taken, what is unknown has no effect
//! and is listed, and what cannot be checked here is nobody's fault.

use super::*;
use casegate::blame::Blame;
use casegate::keys::ListedKey;
use casegate::roster::{Newer, What};

/// A key of an algorithm that is not known here.
fn newer_key(usage: v1::KeyUse) -> v1::MemberKey {
    let public = vec![7; 1_952];
    let nine = Algorithm::of_signatures(9).expect("a number");
    v1::MemberKey {
        r#use: usage.into(),
        key_id: nine.id_of(&public).0.to_vec().into(),
        public_key: public.into(),
        valid_from: NOW,
        algorithm: 9,
        ..v1::MemberKey::default()
    }
}

fn newer_root() -> v1::RootKey {
    v1::RootKey {
        algorithm: 9,
        public_key: vec![8; 1_952].into(),
    }
}

/// What is not known of a roster 1 with a change; the roster is taken.
fn taken(change: impl FnOnce(&mut v1::Roster)) -> (RosterChain, Vec<(String, What)>) {
    let roots = Roots::new();
    let mut draft = first(&roots);
    change(&mut draft.wire);
    let chain = start(&draft, &roots).expect("it is taken");
    let listed = chain.newest().newer.iter();
    let listed = listed.map(|Newer { place, what }| (place.clone(), *what));
    let listed = listed.collect();
    (chain, listed)
}

#[test]
fn a_roster_of_today_has_nothing_newer() {
    assert_eq!(taken(|_| ()).1, []);
}

#[test]
fn an_unknown_role_has_no_rights_and_is_listed() {
    let (chain, listed) = taken(|r| r.members[1].role = 9);
    assert_eq!(listed, [("members[wuhu].role".into(), What::Role(9))]);
    let roster = chain.newest();
    let wuhu = roster.member(&id("wuhu")).expect("wuhu");
    assert_eq!(wuhu.role, MemberRole::Unknown(9));
    assert_eq!(MemberRole::from_word(wuhu.role.as_str()), None);
    assert_eq!(roster.other_nodes(&id("hefei")).count(), 0);
    let uri = "spiffe://anhui.example/unknown/wuhu/node";
    assert!(casegate::policy::Identity::from_uri(uri).is_err());
}

#[test]
fn a_key_of_unknown_use_is_kept_and_not_used() {
    let (chain, listed) = taken(|r| {
        let mut key = newer_key(v1::KeyUse::Records);
        key.r#use = 9;
        r.members[0].keys.push(key);
    });
    let whats: Vec<_> = listed.iter().map(|(_, what)| *what).collect();
    assert_eq!(whats, [What::Use(9), What::Algorithm(9)]);
    let hefei = chain.newest().member(&id("hefei")).expect("hefei");
    assert_eq!(hefei.keys.last().map(|k| k.usage), Some(KeyUse::Unknown(9)));
    for usage in [KeyUse::Records, KeyUse::Checkpoint, KeyUse::Witness] {
        assert_eq!(chain.newest().keys(&id("hefei"), usage).count(), 1);
    }
}

#[test]
fn keys_of_unknown_algorithms_are_kept_and_cannot_be_used() {
    let (chain, listed) = taken(|r| {
        for usage in [v1::KeyUse::Records, v1::KeyUse::Checkpoint] {
            let mut key = newer_key(usage);
            key.public_key = vec![usage as u8; 897].into();
            let nine = Algorithm::of_signatures(9).expect("a number");
            key.key_id = nine.id_of(&key.public_key).0.to_vec().into();
            r.members[0].keys.push(key);
        }
        r.members[1].keys.push(newer_key(v1::KeyUse::Witness));
    });
    let whats: Vec<_> = listed.iter().map(|(_, what)| *what).collect();
    assert_eq!(whats, [What::Algorithm(9); 3]);
    let roster = chain.newest();
    let hefei = roster.member(&id("hefei")).expect("hefei");
    assert_eq!(hefei.checkpoint_keys().count(), 1);
    let nine = Algorithm::of_signatures(9);
    assert_eq!(hefei.newer_checkpoint_key(), nine);
    assert_eq!(roster.witness_keys(&id("wuhu")).count(), 1);
    let key = hefei.keys.last().expect("the key");
    assert_eq!(key.key.usable(), None);
    assert_eq!(Some(Algorithm::of(key.id)), nine);
    // It is never taken out either, and its use never changes.
    let roots = Roots::new();
    let mut chain = chain;
    let mut draft = next(&chain);
    draft.wire.members[0].keys.pop();
    let dropped = chain.extend(&draft.sign(&roots.two()));
    assert_eq!(
        dropped.expect_err("dropped").code(),
        "roster.key_dropped",
        "an unknown key is a key"
    );
}

#[test]
fn a_key_id_that_tells_another_algorithm_is_refused() {
    type Change = fn(&mut v1::MemberKey);
    let cases: [(&str, Change); 7] = [
        ("have an id that is not the key's", |k| {
            let mut id = k.key_id.to_vec();
            id[0] = 2;
            k.key_id = id.into();
        }),
        ("have an id that is not the key's", |k| k.algorithm = 2),
        ("have an id that is not the key's", |k| {
            k.key_id = k.key_id.slice(..4);
        }),
        ("have an algorithm that is not 1 to 64", |k| k.algorithm = 0),
        ("have an algorithm that is not 1 to 64", |k| {
            k.algorithm = 65;
        }),
        ("have an algorithm that is not 1 to 64", |k| {
            k.algorithm = 257;
        }),
        ("have a use not given", |k| k.r#use = 0),
    ];
    let roots = Roots::new();
    for (number, (want, change)) in cases.into_iter().enumerate() {
        let mut draft = first(&roots);
        change(&mut draft.wire.members[0].keys[0]);
        match start(&draft, &roots) {
            Err(RosterError::Field { why, .. }) => assert_eq!(why, want, "case {number}"),
            other => panic!("case {number}: {:?}", other.map(|_| ())),
        }
    }
    // Too long for a key, whatever its algorithm.
    let mut draft = first(&roots);
    let mut key = newer_key(v1::KeyUse::Records);
    key.public_key = vec![7; 8_193].into();
    draft.wire.members[0].keys.push(key);
    let refused = start(&draft, &roots).expect_err("too long");
    assert_eq!(refused.code(), "roster.weak_key");
}

#[test]
fn token_keys_and_grants_of_unknown_kinds_are_not_used() {
    type Change = fn(&mut v1::TokenKey);
    let cases: [(Change, What); 3] = [
        (|k| k.token_class = 9, What::Class(9)),
        (|k| k.state = 9, What::State(9)),
        (
            |k| {
                k.suite = 66;
                k.public_key = vec![4; 96].into();
                let suite = Algorithm::of_tokens(66).expect("a number");
                k.key_id = suite.id_of(&k.public_key).0.to_vec().into();
            },
            What::Suite(66),
        ),
    ];
    for (change, what) in cases {
        let (chain, listed) = taken(|r| {
            let mut key = token_key(&["hefei"], 1);
            change(&mut key);
            r.token_keys.push(key);
        });
        let whats: Vec<_> = listed.iter().map(|(_, what)| *what).collect();
        assert_eq!(whats, [what]);
        assert_eq!(chain.newest().token_keys, [], "{what:?}");
        assert!(chain.newest().custodians().is_empty(), "{what:?}");
    }
    let (chain, listed) = taken(|r| {
        let policy = r.policy.insert(grant("hefei", 1, 2));
        policy.grants[0].token_class = 9;
    });
    assert_eq!(listed, [("policy.grants[hefei]".into(), What::Class(9))]);
    assert_eq!(chain.newest().policy.grants, []);
}

#[test]
fn the_id_of_a_token_key_tells_its_suite() {
    type Change = fn(&mut v1::TokenKey);
    let cases: [(&str, Change); 4] = [
        ("have an id that is not the key's", |k| k.suite = 66),
        ("have an id that is not the key's", |k| {
            k.key_id = Algorithm::ED25519.id_of(&k.public_key).0.to_vec().into();
        }),
        ("have a suite that is not 65 to 127", |k| k.suite = 1),
        ("have a suite that is not 65 to 127", |k| k.suite = 0),
    ];
    let roots = Roots::new();
    for (number, (want, change)) in cases.into_iter().enumerate() {
        let mut draft = first(&roots);
        let mut key = token_key(&["hefei"], 1);
        change(&mut key);
        draft.wire.token_keys.push(key);
        match start(&draft, &roots) {
            Err(RosterError::Field { why, .. }) => assert_eq!(why, want, "case {number}"),
            other => panic!("case {number}: {:?}", other.map(|_| ())),
        }
    }
}

/// A roster with two roots that are known and one that is not, of which
/// `threshold` must sign; signed by `known` of the known ones and the unknown one.
fn with_newer_root(threshold: u32, known: usize) -> (Draft, Vec<u8>) {
    let roots = Roots::new();
    let mut draft = first(&roots);
    draft.wire.root_keys.pop();
    draft.wire.root_keys.push(newer_root());
    draft.wire.root_threshold = threshold;
    let signed = draft.sign(&roots.0.iter().take(known).collect::<Vec<_>>());
    let mut signed = v1::SignedRoster::decode(&signed[..]).expect("a roster");
    let root = newer_root();
    let nine = Algorithm::of_signatures(9).expect("a number");
    signed.signatures.push(v1::RosterSignature {
        key_id: nine.id_of(&root.public_key).0.to_vec().into(),
        signature: vec![1; 3_309].into(),
    });
    (draft, signed.encode_to_vec())
}

#[test]
fn a_signature_of_a_root_that_cannot_be_checked_is_passed_over() {
    let judge = |threshold, known| {
        let (draft, signed) = with_newer_root(threshold, known);
        RosterChain::start(draft.digest(), &signed, shares_fit)
    };
    let chain = judge(2, 2).expect("two that can be checked are enough");
    let roster = chain.newest();
    assert!(matches!(roster.roots.last(), Some(ListedKey::Newer { .. })));
    assert_eq!(roster.newer.len(), 1);
    for (threshold, known) in [(2, 1), (3, 2), (1, 0)] {
        let refused = judge(threshold, known).expect_err("too few can be checked");
        assert_eq!(
            refused.code(),
            "roster.incompatible",
            "{threshold}, {known}"
        );
        assert_eq!(refused.blame(), Blame::Incompatible);
        assert!(refused.to_string().contains("upgrade casegate"));
    }
    // With it there would not be enough either: nobody need upgrade for this.
    for (threshold, known) in [(3, 1), (2, 0)] {
        let refused = judge(threshold, known).expect_err("too few signed");
        assert_eq!(refused.code(), "roster.too_few_signatures");
    }
}

/// A field of bytes that no message has.
fn unknown_field() -> Vec<u8> {
    vec![0xfa, 0x3f, 1, 9] // number 1,023
}

/// Puts a message into a field of bytes.
fn nested(tag: u8, message: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    prost::encoding::encode_varint(message.len() as u64, &mut out);
    out.extend_from_slice(message);
    out
}

#[test]
fn unknown_fields_at_any_level_are_kept_as_they_were_signed() {
    let roots = Roots::new();
    let with = |field: u8, message: Vec<u8>| {
        let mut draft = first(&roots);
        let wire = &mut draft.wire;
        match field {
            4 => drop(wire.root_keys.pop()),
            6 => drop(wire.members.pop()),
            8 => wire.policy = None,
            _ => {}
        }
        [wire.encode_to_vec(), nested(field << 3 | 2, &message)].concat()
    };
    let wire = first(&roots).wire;
    let more = |message: Vec<u8>| [message, unknown_field()].concat();
    let mut key_of_wuhu = wire.members[1].clone();
    let key = more(key_of_wuhu.keys.pop().expect("a key").encode_to_vec());
    let key_of_wuhu = [key_of_wuhu.encode_to_vec(), nested(7 << 3 | 2, &key)].concat();
    let mut share_of_key = token_key(&["hefei"], 1);
    let share = more(share_of_key.shares.pop().expect("a share").encode_to_vec());
    let share_of_key = [share_of_key.encode_to_vec(), nested(5 << 3 | 2, &share)].concat();
    let levels = [
        ("roster", [wire.encode_to_vec(), unknown_field()].concat()),
        ("root", with(4, more(wire.root_keys[2].encode_to_vec()))),
        ("member", with(6, more(wire.members[1].encode_to_vec()))),
        ("key", with(6, key_of_wuhu)),
        (
            "token key",
            with(7, more(token_key(&["hefei"], 1).encode_to_vec())),
        ),
        ("share", with(7, share_of_key)),
        ("policy", with(8, more(vec![]))),
    ];
    for (level, bytes) in levels {
        let unsigned = v1::SignedRoster {
            roster: bytes.clone().into(),
            signatures: vec![],
        };
        let signed = sign(unsigned, &roots.two());
        let pin = Digest::of(&bytes);
        let mut chain = RosterChain::start(pin, &signed.encode_to_vec(), shares_fit)
            .unwrap_or_else(|e| panic!("{level}: {e}"));
        let roster = chain.newest();
        assert_eq!(roster.digest, pin, "{level}");
        let whats: Vec<_> = roster.newer.iter().map(|newer| newer.what).collect();
        assert_eq!(whats, [What::Fields], "{level}");
        assert_eq!(
            chain.after(0)[0].roster,
            bytes,
            "{level}: passed on as signed"
        );
        // And the chain goes on from there, by the digest of what was signed.
        let draft = next(&chain);
        chain.extend(&draft.sign(&roots.two())).expect("roster 2");
        let file = RosterChain::from_bytes(pin, &chain.to_bytes(), 2, shares_fit);
        assert_eq!(file.expect("the file").history().len(), 2, "{level}");
    }
}

#[test]
fn required_features_are_words_sorted_each_once() {
    let long = "a".repeat(64);
    let many: Vec<String> = (100..165).map(|n| format!("w{n}")).collect();
    let roots = Roots::new();
    let cases: Vec<Vec<&str>> = vec![
        vec![""],
        vec!["Records"],
        vec!["a_b"],
        vec![&long],
        vec!["b", "a"],
        vec!["a", "a"],
        many.iter().map(String::as_str).collect(),
    ];
    for words in cases {
        let mut draft = first(&roots);
        draft.wire.required_features = words.iter().map(ToString::to_string).collect();
        match start(&draft, &roots) {
            Err(RosterError::Field { field, .. }) => assert_eq!(field, "required_features"),
            other => panic!("{words:?}: {:?}", other.map(|_| ())),
        }
    }
    let spoken = casegate::features::SPOKEN.iter().map(ToString::to_string);
    let (chain, listed) = taken(|r| r.required_features = spoken.collect());
    assert_eq!(listed, []);
    assert!(chain.current(NOW).is_ok(), "all of it is spoken here");
}

#[test]
fn a_roster_that_requires_more_is_taken_and_not_acted_on() {
    let roots = Roots::new();
    let mut held = chain(&roots);
    let mut draft = next(&held);
    draft.wire.required_features = vec!["records-1".into(), "tea-9".into()];
    held.extend(&draft.sign(&roots.two())).expect("it is taken");
    let refused = held.current(NOW + 20).expect_err("not acted on");
    assert_eq!(refused.code(), "roster.features");
    assert_eq!(refused.blame(), Blame::Incompatible);
    let said = refused.to_string();
    assert!(
        said.contains("tea-9") && !said.contains("records-1"),
        "{said}"
    );
    assert!(said.contains("install a newer casegate"), "{said}");
    let draft = Draft::after(held.newest(), NOW + 20, YEAR_S);
    let mut draft = draft;
    draft.wire.required_features.clear();
    held.extend(&draft.sign(&roots.two()))
        .expect("the chain goes on");
    assert!(held.current(NOW + 30).is_ok());
}
