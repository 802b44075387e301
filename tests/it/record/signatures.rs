//! Entries with more than one signature: what is taken, what is refused, and
//! that there is one way to write them.

use casegate::ids::KeyId;
use casegate::keys::{Algorithm, PublicKey, SigningKey};
use casegate::record::{
    ENTRY_BYTES_MAX, ENTRY_ED25519_BYTES_MAX, ENTRY_FURTHER_BYTES, Entry, PAYLOAD_TYPE,
    RecordError, Statement, pae,
};
use casegate::wire::v1;
use proptest::prelude::*;
use prost::Message;

use super::{key, statement};

type Signed = (KeyId, Vec<u8>);

fn by(key: &SigningKey, statement: &Statement) -> Signed {
    let bytes = pae(PAYLOAD_TYPE, &statement.encode());
    (key.id(), key.sign(&bytes).to_vec())
}

/// A signature of an algorithm that is not known here.
fn newer(n: u8, length: usize) -> Signed {
    let nine = Algorithm::of_signatures(9).expect("a number");
    (nine.id_of(&[n]), vec![n; length])
}

fn envelope(statement: &[u8], signatures: &[Signed]) -> Vec<u8> {
    let signature = |(id, bytes): &Signed| v1::Signature {
        key_id: id.0.to_vec().into(),
        signature: bytes.clone().into(),
    };
    v1::Entry {
        statement: statement.to_vec().into(),
        signatures: signatures.iter().map(signature).collect(),
    }
    .encode_to_vec()
}

fn parsed(signatures: &[Signed]) -> Result<Entry, RecordError> {
    let bytes = statement(&key(1)).encode();
    Entry::parse(envelope(&bytes, signatures).into())
}

/// Both judgements, by an author whose keys are those of the seeds.
fn holds(entry: &Entry, seeds: &[u8]) -> Result<(), RecordError> {
    let keys: Vec<PublicKey> = seeds.iter().map(|n| key(*n).public_key().clone()).collect();
    let find = |id| keys.iter().find(|key| key.id() == id);
    entry.verify(find(entry.statement.key_id).expect("the first key"))?;
    entry.verify_further(find)
}

#[test]
fn a_second_signature_has_to_hold_if_its_key_is_known() {
    let said = statement(&key(1));
    let good = [by(&key(1), &said), by(&key(2), &said)];
    let entry = parsed(&good).expect("two signatures");
    assert_eq!(holds(&entry, &[1, 2]), Ok(()));
    assert_eq!(entry.signatures().count(), 2);

    let mut bad = good.clone();
    bad[1].1[7] ^= 1;
    let entry = parsed(&bad).expect("its form is right");
    assert_eq!(holds(&entry, &[1, 2]), Err(RecordError::BadSignature));
    // To whom the key is no key of the author's, it says nothing.
    assert_eq!(holds(&entry, &[1]), Ok(()));

    let mut first = good.clone();
    first[0].1[7] ^= 1;
    let entry = parsed(&first).expect("its form is right");
    assert_eq!(holds(&entry, &[1, 2]), Err(RecordError::BadSignature));
}

#[test]
fn a_signature_of_an_unknown_algorithm_is_passed_over_where_it_does_not_decide() {
    let said = statement(&key(1));
    let entry = parsed(&[by(&key(1), &said), newer(7, 3_309)]).expect("it is taken");
    assert_eq!(holds(&entry, &[1]), Ok(()));
    let line: serde_json::Value = serde_json::from_str(&entry.dsse_json()).expect("JSON");
    let written = line["signatures"].as_array().expect("signatures");
    assert_eq!(written.len(), 2);
    assert_eq!(written[1]["keyid"], newer(7, 1).0.to_string());

    // The first one is by the key that the statement names, whatever its algorithm.
    let swapped = parsed(&[newer(7, 3_309), by(&key(1), &said)]);
    assert_eq!(
        swapped,
        Err(RecordError::Field {
            what: "entry key id"
        })
    );
    let mut newest = said.clone();
    newest.key_id = newer(7, 1).0;
    let bytes = envelope(&newest.encode(), &[newer(7, 3_309)]);
    let entry = Entry::parse(bytes.into()).expect("its form can be checked");
    assert_eq!(
        entry.verify(key(1).public_key()),
        Err(RecordError::OtherKey {
            entry: newer(7, 1).0,
            key: key(1).id()
        })
    );
}

#[test]
fn an_entry_has_one_to_four_signatures_of_different_keys() {
    let said = statement(&key(1));
    let all: Vec<Signed> = (1..=5).map(|n| by(&key(n), &said)).collect();
    for count in 1..=4 {
        let entry = parsed(&all[..count]).expect("up to four");
        assert_eq!(holds(&entry, &[1, 2, 3, 4]), Ok(()));
    }
    let malformed = Err(RecordError::NotCanonical { what: "entry" });
    assert_eq!(parsed(&all), malformed, "five");
    assert_eq!(parsed(&[]), malformed, "none");
    let twice = [all[0].clone(), all[1].clone(), all[1].clone()];
    assert_eq!(parsed(&twice), malformed, "one key twice");
    let twice = [all[0].clone(), newer(7, 10), newer(7, 11)];
    assert_eq!(parsed(&twice), malformed, "one unknown key twice");
    assert_eq!(parsed(&[all[0].clone(), newer(7, 0)]), malformed, "empty");
    for length in [63, 65] {
        let (id, mut bytes) = all[1].clone();
        bytes.resize(length, 0);
        assert_eq!(
            parsed(&[all[0].clone(), (id, bytes)]),
            malformed,
            "{length}"
        );
    }
}

#[test]
fn how_large_an_entry_may_be_hangs_on_its_algorithms() {
    let said = statement(&key(1));
    let one = envelope(&said.encode(), &[by(&key(1), &said)]);
    let two = envelope(&said.encode(), &[by(&key(1), &said), by(&key(2), &said)]);
    assert_eq!(two.len() - one.len(), ENTRY_FURTHER_BYTES);

    // No statement is that long; the limit is looked at before the statement is.
    let long = |total: usize, signatures: &[Signed]| {
        let lengths = (0..=total).rev();
        let mut made = lengths.map(|length| envelope(&vec![9; length], signatures));
        made.find(|made| made.len() <= total).expect("an entry")
    };
    let ed = [by(&key(1), &said), by(&key(2), &said), by(&key(3), &said)];
    let mixed = [by(&key(1), &said), newer(7, 3_309)];
    for (signatures, max) in [
        (&ed[..1], ENTRY_ED25519_BYTES_MAX),
        (&ed[..], ENTRY_ED25519_BYTES_MAX + 2 * ENTRY_FURTHER_BYTES),
        (&mixed[..], ENTRY_BYTES_MAX),
    ] {
        let fits = Entry::parse(long(max, signatures).into());
        let statement = RecordError::NotCanonical { what: "statement" };
        assert_eq!(fits, Err(statement), "{max} bytes are not too many");
        let over = Entry::parse(long(max + 1, signatures).into());
        assert!(matches!(over, Err(RecordError::TooBig { got, .. }) if got == max + 1));
    }
    let fits = parsed(&[by(&key(1), &said), newer(7, ENTRY_BYTES_MAX - 400)]);
    assert!(fits.is_ok(), "{fits:?}");
}

fn some_signature() -> impl Strategy<Value = Signed> {
    let ed = (1..4_u8, prop::collection::vec(any::<u8>(), 63..66))
        .prop_map(|(n, bytes)| (key(n).id(), bytes));
    let other = (any::<[u8; 8]>(), prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(id, bytes)| (KeyId(id), bytes));
    prop_oneof![ed, other]
}

proptest! {
    #[test]
    fn what_is_written_is_read_by_the_rules_and_nothing_else(
        more in prop::collection::vec(some_signature(), 0..5),
    ) {
        let said = statement(&key(1));
        let mut signatures = vec![by(&key(1), &said)];
        signatures.extend(more);
        let ids: std::collections::HashSet<_> = signatures.iter().map(|s| s.0).collect();
        let forms = signatures.iter().all(|(id, bytes)| {
            match Algorithm::of(*id) {
                Algorithm::ED25519 => bytes.len() == 64,
                _ => !bytes.is_empty(),
            }
        });
        let fits = forms && ids.len() == signatures.len() && signatures.len() <= 4;
        let read = parsed(&signatures);
        prop_assert_eq!(read.is_ok(), fits);
        if let Ok(read) = read {
            let again: Vec<Signed> = read
                .signatures()
                .map(|s| (s.key_id, s.bytes.to_vec()))
                .collect();
            prop_assert_eq!(again, signatures);
        }
    }

    #[test]
    fn an_entry_that_is_read_is_in_its_one_encoding(
        at in 0..10_000_usize,
        byte: u8,
        cut in 0..3_usize,
    ) {
        let said = statement(&key(1));
        let mut bytes = envelope(
            &said.encode(),
            &[by(&key(1), &said), by(&key(2), &said), newer(7, 200)],
        );
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut);
        if Entry::parse(bytes.clone().into()).is_ok() {
            let same = v1::Entry::decode(&bytes[..]).expect("protobuf");
            prop_assert_eq!(same.encode_to_vec(), bytes);
        }
    }
}
