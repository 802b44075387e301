//! Rules of a roster's fields, each by its own sentence, and of what follows.

use super::*;

type Change = fn(&mut v1::Roster);

/// The sentence by which a roster 1 is refused; everything in it is signed.
fn refused(change: Change) -> Option<&'static str> {
    let roots = Roots::new();
    let mut draft = first(&roots);
    change(&mut draft.wire);
    match start(&draft, &roots) {
        Ok(_) => None,
        Err(RosterError::Field { why, .. } | RosterError::Malformed { what: why }) => Some(why),
        Err(other) => panic!("{other}"),
    }
}

fn key_of(seed: u8, usage: KeyUse) -> v1::MemberKey {
    let key = SigningKey::from_seed(&[seed; 32]).expect("a seed");
    casegate::roster::draft::wire_key(usage, key.public_key(), NOW)
}

#[test]
fn fields_of_roots_and_members_are_refused_each_by_its_own_sentence() {
    let cases: &[(&str, Change)] = &[
        ("are not 1 to 16 keys", |r| r.root_keys.clear()),
        ("are not 1 to 16 keys", |r| {
            let more = (60..76).map(|n| key_of(n, KeyUse::Records).public_key);
            let root = |public_key| v1::RootKey {
                algorithm: 1,
                public_key,
            };
            r.root_keys.extend(more.map(root));
        }),
        ("starts at 1", |r| r.members[0].access_generation = 0),
        ("starts at 1", |r| {
            r.version = 0;
            r.previous_sha256 = vec![7; 32].into();
        }),
        ("does not have 32 bytes", |r| {
            r.version = 2;
            r.previous_sha256 = vec![7; 31].into();
        }),
        ("is not host:port of a node", |r| {
            r.members[0].audit_endpoint = "host".into();
        }),
        // An auditor may be without a node, and has nothing to audit then.
        ("is not host:port of a node", |r| {
            r.members[0].role = v1::MemberRole::Auditor.into();
            r.members[0].peer_endpoint.clear();
            r.members[0].audit_endpoint = "127.0.0.1:1003".into();
        }),
        ("stands here already", |r| {
            r.members[0].audit_endpoint = r.members[1].peer_endpoint.clone();
        }),
        ("name one member twice", |r| {
            r.members[0].witnesses = vec!["wuhu".into(), "wuhu".into()];
        }),
        ("have one id twice", |r| {
            let again = r.members[0].keys[0].clone();
            r.members[0].keys.push(again);
        }),
        ("are more than 16 of one use", |r| {
            let more = (60..76).map(|n| key_of(n, KeyUse::Checkpoint));
            r.members[0].keys.extend(more);
        }),
        ("have a first index, but do not sign records", |r| {
            let first_index = |k: &mut v1::MemberKey| k.from_size = 1;
            r.members[0].keys.iter_mut().for_each(first_index);
        }),
        ("is not a past generation, each once, in order", |r| {
            r.members[0].records_generation = 3;
            let of = |generation| v1::FrozenGeneration {
                generation,
                size: 1,
                root: vec![0; 32].into(),
            };
            r.members[0].frozen = vec![of(2), of(1)];
        }),
        ("has a root that does not have 32 bytes", |r| {
            r.members[0].records_generation = 2;
            r.members[0].frozen = vec![v1::FrozenGeneration {
                generation: 1,
                size: 1,
                root: vec![0; 31].into(),
            }];
        }),
    ];
    for (number, (why, change)) in cases.iter().enumerate() {
        assert_eq!(refused(*change), Some(*why), "case {number}");
    }
    assert_eq!(refused(|_| ()), None);
}

#[test]
fn fields_of_token_keys_and_grants_are_refused_each_by_its_own_sentence() {
    let cases: &[(&str, Change)] = &[
        ("are more than 32", |r| {
            r.token_keys = vec![token_key(&["hefei"], 1); 33];
        }),
        ("have one id twice", |r| {
            let mut retired = token_key(&["hefei"], 1);
            retired.state = v1::TokenKeyState::Retired.into();
            r.token_keys = vec![token_key(&["hefei"], 1), retired];
        }),
        ("have an id that is not the key's", |r| {
            let mut key = token_key(&["hefei"], 1);
            key.key_id = vec![0; 8].into();
            r.token_keys.push(key);
        }),
        ("have more than 255 custodians", |r| {
            r.token_keys.push(token_key(&["hefei"; 256], 1));
        }),
        ("have a point without 32 bytes", |r| {
            let mut key = token_key(&["hefei"], 1);
            key.shares[0].public_share = vec![3; 31].into();
            r.token_keys.push(key);
        }),
        ("have no state", |r| {
            let mut key = token_key(&["hefei"], 1);
            key.state = 0;
            r.token_keys.push(key);
        }),
        ("have no token class", |r| {
            let mut key = token_key(&["hefei"], 1);
            key.token_class = 0;
            r.token_keys.push(key);
        }),
        ("have a threshold that is not between 1 and n", |r| {
            r.token_keys.push(token_key(&["hefei"], 0));
        }),
        ("are more than 4,000", |r| {
            let policy = r.policy.insert(grant("hefei", 1, 2));
            policy.grants = vec![policy.grants[0].clone(); 4_001];
        }),
    ];
    for (number, (why, change)) in cases.iter().enumerate() {
        assert_eq!(refused(*change), Some(*why), "case {number}");
    }
}

#[test]
fn more_signatures_than_two_sets_of_roots_have_are_not_looked_at() {
    let roots = Roots::new();
    let draft = first(&roots);
    let mut signed = v1::SignedRoster::decode(&draft.sign(&roots.two())[..]).expect("a roster");
    let stranger = v1::RosterSignature::default();
    signed.signatures.resize(32, stranger.clone());
    let start = |signed: &v1::SignedRoster| {
        RosterChain::start(draft.digest(), &signed.encode_to_vec(), shares_fit)
    };
    assert!(start(&signed).is_ok());
    signed.signatures.push(stranger);
    let refused = start(&signed).expect_err("33 signatures");
    let what = "more than 32 signatures";
    assert_eq!(refused, RosterError::Malformed { what });
}

#[test]
fn a_roster_of_more_than_a_mebibyte_is_not_looked_at() {
    let roots = Roots::new();
    let draft = first(&roots);
    let signed = draft.sign(&roots.two());
    // Field 15, which no reader knows and every reader passes over.
    let padded = |count: usize| {
        let mut bytes = signed.clone();
        bytes.push(15 << 3 | 2);
        prost::encode_length_delimiter(count, &mut bytes).expect("room");
        bytes.resize(bytes.len() + count, 0);
        bytes
    };
    let start = |bytes: &[u8]| RosterChain::start(draft.digest(), bytes, shares_fit);
    assert!(start(&padded(100_000)).is_ok());
    let refused = start(&padded(1 << 20)).expect_err("too big");
    let what = "more than 1 MiB";
    assert_eq!(refused, RosterError::Malformed { what });
}

#[test]
fn a_member_without_witnesses_has_nothing_witnessed_whatever_the_quorum() {
    let roots = Roots::new();
    let mut draft = first(&roots);
    draft.wire.policy.get_or_insert_default().witness_quorum = 1;
    draft.wire.members[0].witnesses = vec!["wuhu".into()];
    let held = start(&draft, &roots).expect("a chain");
    let of = |name: &str| held.newest().witnesses(&id(name));
    assert_eq!((of("hefei").quorum, of("hefei").is_off()), (1, false));
    assert_eq!((of("wuhu").quorum, of("wuhu").is_off()), (0, true));
}

#[test]
fn a_chain_starts_with_version_1_alone() {
    let roots = Roots::new();
    let mut draft = first(&roots);
    draft.wire.version = 2;
    draft.wire.previous_sha256 = vec![7; 32].into();
    let refused = start(&draft, &roots).expect_err("version 2");
    let (version, held) = (2, 0);
    assert_eq!(refused, RosterError::BrokenChain { version, held });
}

#[test]
fn the_next_version_keeps_the_federations_name_and_is_not_issued_before_the_last() {
    let roots = Roots::new();
    let mut held = chain(&roots);
    let before = held.to_bytes();
    let cases: [(&str, Change); 2] = [
        ("a federation keeps its name", |r| {
            r.federation = "jiangsu.example".into();
        }),
        ("is before the previous version's", |r| {
            r.issued_at = NOW - 1
        }),
    ];
    for (want, change) in cases {
        let mut draft = next(&held);
        change(&mut draft.wire);
        match held.extend(&draft.sign(&roots.two())) {
            Err(RosterError::Field { why, .. }) => assert_eq!(why, want),
            other => panic!("{want}: {other:?}"),
        }
        assert_eq!(held.to_bytes(), before, "{want}");
    }
}
