//! Chunks under keys that a newer software made: held back, and nobody is
//! blamed; and entries with more than one signature.

use bytes::Bytes;
use casegate::blame::{Blame, Blamed};
use casegate::ids::{Digest, KeyId, TreeSize};
use casegate::keys::{Algorithm, ListedKey, SigningKey};
use casegate::record::{BodyType, PAYLOAD_TYPE, Statement, pae};
use casegate::roster::{KeyUse, Member, MemberKey};
use casegate::wire::v1;
use prost::Message;

use super::{HELD, Tampering, origin};
use crate::cluster::NOW;

/// A key of an algorithm that is not known here.
fn newer_key() -> ListedKey {
    let nine = Algorithm::of_signatures(9).expect("a number");
    ListedKey::read(nine, &[7; 1_952]).expect("a key")
}

fn listed(usage: KeyUse, key: ListedKey, from_size: u64) -> MemberKey {
    MemberKey {
        usage,
        id: key.id(),
        key,
        valid_from: NOW,
        valid_to: None,
        revoked_at_size: None,
        from_size,
    }
}

/// A key's id, and what signs with it.
type Signer<'a> = (KeyId, &'a dyn Fn(&[u8]) -> Vec<u8>);

/// An entry of hefei under the key of this id, with these signatures.
fn entry(body: &[u8], key_id: KeyId, signatures: &[Signer<'_>]) -> Bytes {
    let statement = Statement {
        origin: origin("hefei"),
        body_type: BodyType::Element,
        body_sha256: Digest::of(body),
        issued_at: NOW,
        expires_at: 0,
        key_id,
    }
    .encode();
    let signed = pae(PAYLOAD_TYPE, &statement);
    let signature = |(id, sign): &Signer<'_>| v1::Signature {
        key_id: id.0.to_vec().into(),
        signature: sign(&signed).into(),
    };
    let entry = v1::Entry {
        statement,
        signatures: signatures.iter().map(signature).collect(),
    };
    entry.encode_to_vec().into()
}

#[test]
fn a_log_whose_key_has_an_unknown_algorithm_is_held_back_and_nobody_is_blamed() {
    let t = Tampering::new();
    let newer = newer_key();
    let mut author = t.ledgers.member("hefei");
    author
        .keys
        .push(listed(KeyUse::Records, newer.clone(), HELD));
    let made = entry(b"body", newer.id(), &[(newer.id(), &|_| vec![1; 3_309])]);
    let chunk = t.signed_chunk(vec![made]);
    let refused = t.reader.accept_chunk(&t.log, &author, chunk.clone());
    let refused = refused.expect_err("it cannot be checked");
    assert_eq!(refused.code(), "ledger.newer_key");
    let said = refused.to_string();
    assert!(
        said.ends_with("needs a newer casegate: key algorithm 9"),
        "{said}"
    );
    t.refused("a newer key", chunk, &author, Blame::Incompatible);

    // The same beside a good entry: nothing of the chunk is kept.
    let key = t.ledgers.keys("hefei").records;
    let old = t.entry(origin("hefei"), &Bytes::from_static(b"other"), &key);
    let made = entry(b"body", newer.id(), &[(newer.id(), &|_| vec![1; 3_309])]);
    let mut author = t.ledgers.member("hefei");
    author.keys.push(listed(KeyUse::Records, newer, HELD + 1));
    let chunk = t.signed_chunk(vec![old, made]);
    t.refused("the second entry", chunk, &author, Blame::Incompatible);
    t.accept_good();
}

#[test]
fn a_checkpoint_under_an_unknown_algorithm_is_held_back_and_nobody_is_blamed() {
    let t = Tampering::new();
    let both = {
        let mut author = t.ledgers.member("hefei");
        author.keys.push(listed(KeyUse::Checkpoint, newer_key(), 0));
        author
    };
    let only = {
        let mut author = both.clone();
        let is_old =
            |key: &MemberKey| key.usage == KeyUse::Checkpoint && key.key.usable().is_some();
        author.keys.retain(|key| !is_old(key));
        author
    };
    t.refused("only newer", t.good.clone(), &only, Blame::Incompatible);
    let mut forged = t.good.clone();
    let note = String::from_utf8(forged.checkpoint.to_vec()).expect("text");
    forged.checkpoint = note
        .replacen("hefei/records/1\n6", "hefei/records/1\n7", 1)
        .into();
    if forged.checkpoint != t.good.checkpoint {
        t.refused(
            "a known key's that is bad",
            forged,
            &both,
            Blame::Misbehaved,
        );
    }
    let taken = t.reader.accept_chunk(&t.log, &both, t.good.clone());
    assert_eq!(taken.expect("a known key signed").size, TreeSize(HELD + 6));
}

#[test]
fn further_signatures_have_to_hold_where_their_key_is_the_author_s() {
    let t = Tampering::new();
    let (first, second) = (t.ledgers.keys("hefei").records, SigningKey::generate());
    let with_second = |t: &Tampering| -> Member {
        let mut author = t.ledgers.member("hefei");
        let key = second.public_key().clone().into();
        author.keys.push(listed(KeyUse::Records, key, HELD + 1_000));
        author
    };
    let author = with_second(&t);
    let one: &dyn Fn(&[u8]) -> Vec<u8> = &|bytes| first.sign(bytes).to_vec();
    let two: &dyn Fn(&[u8]) -> Vec<u8> = &|bytes| second.sign(bytes).to_vec();
    let bad: &dyn Fn(&[u8]) -> Vec<u8> = &|_| second.sign(b"something else").to_vec();
    let unchecked: &dyn Fn(&[u8]) -> Vec<u8> = &|_| vec![1; 3_309];
    let (a, b, c) = (first.id(), second.id(), newer_key().id());

    let lying = entry(b"lying", a, &[(a, one), (b, bad)]);
    let chunk = t.signed_chunk(vec![lying.clone()]);
    t.refused("a bad second one", chunk, &author, Blame::Misbehaved);
    let under_second = entry(b"other", b, &[(a, one), (b, two)]);
    let chunk = t.signed_chunk(vec![under_second]);
    t.refused("the wrong one first", chunk, &author, Blame::Misbehaved);

    let taken = |entries: Vec<Bytes>, author: &Member| {
        let count = entries.len() as u64;
        let chunk = t.signed_chunk(entries);
        let accepted = t.reader.accept_chunk(&t.log, author, chunk);
        assert_eq!(accepted.expect("taken").entries, count);
    };
    taken(
        vec![
            entry(b"two", a, &[(a, one), (b, two)]),
            entry(b"unknown algorithm", a, &[(a, one), (c, unchecked)]),
            entry(b"all", a, &[(a, one), (c, unchecked), (b, two)]),
        ],
        &author,
    );
    // A key that is not the author's says nothing.
    taken(vec![lying], &t.ledgers.member("hefei"));
}

#[test]
fn a_chunk_of_large_entries_is_sent_in_parts_that_fit_a_message() {
    let t = Tampering::new();
    let key = t.ledgers.keys("hefei").records;
    let one: &dyn Fn(&[u8]) -> Vec<u8> = &|bytes| key.sign(bytes).to_vec();
    let large: &dyn Fn(&[u8]) -> Vec<u8> = &|_| vec![1; 16_000];
    let (a, c) = (key.id(), newer_key().id());
    let entries: Vec<Bytes> = (0..300_u32)
        .map(|n| entry(&n.to_be_bytes(), a, &[(a, one), (c, large)]))
        .collect();
    let author = t.ledgers.member("hefei");
    let chunk = t.signed_chunk(entries);
    let accepted = t.reader.accept_chunk(&t.log, &author, chunk);
    assert_eq!(accepted.expect("taken").entries, 300);

    let (mut at, mut parts) = (HELD, 0);
    let start = |at| casegate::ids::LogIndex(at);
    while let Some(part) = t.reader.chunk(&t.log, start(at), 2_000).expect("a chunk") {
        assert!(part.encoded_len() < 5 << 20);
        at += part.entries.len() as u64;
        parts += 1;
    }
    assert_eq!((at, parts), (HELD + 300, 2));
}
