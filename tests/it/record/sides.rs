//! The bodies that say what was erased, and what an access body says of others:
//! one bad field each, by its name.

use super::*;
use casegate::record::SALT_BYTES;
use casegate::wire::v1::{ErasedRange, ErasureBody, IndexRange, ReceiptBody, ReceiptItem};

fn range(start: u64, end: u64) -> Option<IndexRange> {
    Some(IndexRange { start, end })
}

fn receipt(items: &[Option<IndexRange>]) -> ReceiptBody {
    let item = |range: &Option<IndexRange>| ReceiptItem {
        range: *range,
        state: v1::ReceiptState::Erased.into(),
        retracted_by: 1,
        at: 5,
    };
    ReceiptBody {
        nonce: Bytes::from_static(&[1; 16]),
        origin: "anhui.example/hefei/records/1".into(),
        items: items.iter().map(item).collect(),
    }
}

fn erasure(items: &[Option<IndexRange>]) -> ErasureBody {
    let item = |range: &Option<IndexRange>| ErasedRange {
        range: *range,
        retracted_by: 1,
        reason: RetractReason::Mistake.into(),
        decided_at: 4,
        erased_at: 5,
        owed: vec!["chuzhou".into(), "wuhu".into()],
    };
    ErasureBody {
        nonce: Bytes::from_static(&[1; 16]),
        items: items.iter().map(item).collect(),
    }
}

/// The field for which bytes are refused as a body of the type.
fn field(body_type: BodyType, bytes: &[u8]) -> Option<&'static str> {
    match Body::decode(body_type, bytes) {
        Ok(_) => None,
        Err(RecordError::Field { what } | RecordError::Unknown { what, .. }) => Some(what),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn what_was_erased_is_said_in_filled_ranges_sorted_and_apart() {
    let many: Vec<_> = (0..257).map(|n| range(2 * n, 2 * n + 1)).collect();
    let cases: &[(&str, &[Option<IndexRange>], bool)] = &[
        ("two apart", &[range(0, 1), range(2, 9)], true),
        ("side by side", &[range(0, 1), range(1, 9)], true),
        ("the most", &many[..256], true),
        ("too many", &many, false),
        ("none", &[], false),
        ("no range in the item", &[None], false),
        ("an empty range", &[range(3, 3)], false),
        ("a range that ends before it starts", &[range(3, 2)], false),
        ("one over the other", &[range(0, 3), range(2, 9)], false),
        ("out of order", &[range(4, 9), range(0, 1)], false),
    ];
    for (name, items, good) in cases {
        let want = (!good).then_some("range");
        let bytes = receipt(items).encode_to_vec();
        // A receipt without items says that replicas are kept from now on.
        let receipts = want.filter(|_| !items.is_empty());
        assert_eq!(field(BodyType::Receipt, &bytes), receipts, "{name}");
        let bytes = erasure(items).encode_to_vec();
        assert_eq!(field(BodyType::Erasure, &bytes), want, "{name}");
    }
}

#[test]
fn an_erasure_with_any_bad_field_is_refused_by_its_name() {
    type Change = fn(&mut ErasureBody);
    let cases: [(&str, Change); 8] = [
        ("nonce", |b| b.nonce = Bytes::from_static(&[1; 15])),
        ("reason", |b| b.items[0].reason = 0),
        ("reason", |b| b.items[0].reason = 99),
        ("decided_at", |b| b.items[0].decided_at = -1),
        ("erased_at", |b| b.items[0].erased_at = -1),
        ("owed", |b| b.items[0].owed.reverse()),
        ("owed", |b| b.items[0].owed = vec!["wuhu".into(); 2]),
        ("range", |b| b.items[0].range = None),
    ];
    let good = erasure(&[range(0, 1)]);
    assert_eq!(field(BodyType::Erasure, &good.encode_to_vec()), None);
    for (number, (want, change)) in cases.iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad);
        let found = field(BodyType::Erasure, &bad.encode_to_vec());
        assert_eq!(found, Some(*want), "case {number}");
    }
    let mut stranger = good;
    stranger.items[0].owed = vec!["Wu Hu".into()];
    let bytes = stranger.encode_to_vec();
    refused(Body::decode(BodyType::Erasure, &bytes), "no member's name");
}

#[test]
fn an_amendment_with_any_bad_field_is_refused() {
    let good = bodies().into_iter().find(|b| matches!(b, Body::Amend(_)));
    let good = v1::AmendBody::decode(good.expect("an amendment").encode()).expect("protobuf");
    type Change = fn(&mut v1::AmendBody);
    let cases: [(&str, Change); 7] = [
        ("a short nonce", |b| b.nonce = Bytes::from_static(&[1; 15])),
        ("a short leaf", |b| b.target_leaf = vec![3; 31].into()),
        ("no audience", |b| b.audience = None),
        ("an audience of nobody named", |b| {
            b.audience = Some(v1::Audience::default());
        }),
        ("a long handling", |b| b.handling = "x".repeat(129)),
        ("a terminal escape", |b| b.handling = "\u{1b}[2J".into()),
        ("a negative end", |b| b.expires_at = -1),
    ];
    assert!(Body::decode(BodyType::Amend, &good.encode_to_vec()).is_ok());
    for (why, change) in cases {
        let mut bad = good.clone();
        change(&mut bad);
        refused(Body::decode(BodyType::Amend, &bad.encode_to_vec()), why);
    }
}

#[test]
fn a_receipt_with_any_bad_field_is_refused_by_its_name() {
    type Change = fn(&mut ReceiptBody);
    let cases: [(&str, Change); 4] = [
        ("nonce", |b| b.nonce = Bytes::from_static(&[1; 17])),
        ("state", |b| b.items[0].state = 0),
        ("state", |b| b.items[0].state = 9),
        ("at", |b| b.items[0].at = -1),
    ];
    let good = receipt(&[range(0, 1)]);
    assert_eq!(field(BodyType::Receipt, &good.encode_to_vec()), None);
    for (number, (want, change)) in cases.iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad);
        let found = field(BodyType::Receipt, &bad.encode_to_vec());
        assert_eq!(found, Some(*want), "case {number}");
    }
    let mut nowhere = good;
    nowhere.origin = "anhui.example/hefei".into();
    let bytes = nowhere.encode_to_vec();
    refused(Body::decode(BodyType::Receipt, &bytes), "no log's name");
}

#[test]
fn what_an_access_body_says_of_purposes_and_other_members_has_its_sizes() {
    let good = AccessBody {
        nonce: Bytes::from_static(&[1; 16]),
        scope: v1::AccessScope::Find.into(),
        purposes: vec![v1::OpenedPurpose {
            salt: vec![2; SALT_BYTES].into(),
            ..Default::default()
        }],
        seen: vec![v1::SeenPurpose {
            commitment: vec![3; 32].into(),
            ..Default::default()
        }],
        asked: vec![v1::AskedMember {
            member: "court".into(),
            outcome: "ok".into(),
            count: 1,
        }],
        ..AccessBody::default()
    };
    type Change = fn(&mut AccessBody);
    let cases: [(Option<&str>, Change); 12] = [
        (None, |_| {}),
        (None, |b| b.purposes[0].case_ref = vec![4; 16].into()),
        (Some("case_ref"), |b| {
            b.purposes[0].case_ref = vec![4; 15].into();
        }),
        (Some("salt"), |b| b.purposes[0].salt = vec![2; 1].into()),
        (None, |b| b.seen[0].case_ref = vec![4; 16].into()),
        (Some("case_ref"), |b| {
            b.seen[0].case_ref = vec![4; 17].into();
        }),
        (Some("purpose commitment"), |b| {
            b.seen[0].commitment = Bytes::new();
        }),
        (Some("offence_class"), |b| {
            b.seen[0].offence_class = "a\nb".into();
        }),
        (Some("urgency"), |b| b.seen[0].urgency = "a\nb".into()),
        (Some("asked member"), |b| b.asked[0].member = "a\nb".into()),
        (Some("asked outcome"), |b| {
            b.asked[0].outcome = "a\nb".into()
        }),
        (Some("method"), |b| b.method = "a\nb".into()),
    ];
    for (number, (want, change)) in cases.iter().enumerate() {
        let mut body = good.clone();
        change(&mut body);
        let found = field(BodyType::Access, &body.encode_to_vec());
        assert_eq!(found, *want, "case {number}");
    }
}
