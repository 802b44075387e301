//! Statements, entries and bodies: everything but the one encoding is refused.

mod sides;

use bytes::Bytes;
use casegate::ids::{CaseRef, Digest, FederationId, KeyId, LogIndex, MemberId, Origin, Token};
use casegate::keys::SigningKey;
use casegate::record::{
    AccessBody, AmendBody, Audience, BODY_BYTES_MAX, Body, BodyType, CaseNoticeBody,
    ENTRY_BYTES_MAX, ElementBody, ElementKind, ElementRole, Entry, RecordError, RetractBody,
    RetractReason, Statement, commitment, purpose_commitment, withheld_bytes,
};
use casegate::wire::v1;
use proptest::prelude::*;
use prost::Message;

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).expect("a key")
}

pub(crate) fn origin(text: &str) -> Origin {
    text.parse().expect("an origin")
}

fn member(name: &str) -> MemberId {
    MemberId::new(name).expect("a member")
}

pub(crate) fn element() -> ElementBody {
    ElementBody {
        nonce: [1; 16],
        federation: FederationId::new("anhui.example").expect("a federation"),
        member: member("hefei"),
        case_ref: CaseRef([2; 16]),
        kind: ElementKind::Phone,
        token: Token([3; 16]),
        token_key_id: KeyId([4; 4]),
        commitment: Digest([5; 32]),
        role: ElementRole::Suspect,
        observed_on: -3,
        audience: Audience::Federation,
        handling: "amber".to_owned(),
        expires_at: 1_900_000_000,
        canonical_rules: 1,
    }
}

/// A statement about `element()`.
pub(crate) fn statement(key: &SigningKey) -> Statement {
    Statement {
        origin: origin("anhui.example/hefei/records/1"),
        body_type: BodyType::Element,
        body_sha256: Digest::of(&Body::Element(element()).encode()),
        issued_at: 1_800_000_000,
        expires_at: 1_900_000_000,
        key_id: key.id(),
    }
}

fn newer<T: std::fmt::Debug>(result: Result<T, RecordError>, why: &str) {
    let error = result.expect_err(why);
    assert!(error.is_newer(), "{why}: {error}");
}

fn refused<T>(result: Result<T, RecordError>, why: &str) {
    let error = result.err();
    let error = error.unwrap_or_else(|| panic!("{why} was accepted"));
    assert!(!error.is_newer(), "{why} passes for newer: {error}");
}

#[test]
fn an_entry_reads_back_as_it_was_signed() {
    let key = key(1);
    let entry = Entry::sign(&statement(&key), &key);
    assert!(entry.bytes.len() < 220, "{} bytes", entry.bytes.len());
    let read = Entry::parse(entry.bytes.clone()).expect("an entry");
    assert_eq!(read, entry);
    assert_eq!(read.verify(key.public_key()), Ok(()));
    let same = v1::Entry::decode(entry.bytes.clone()).expect("protobuf");
    assert_eq!(same.encode_to_vec(), entry.bytes);
    assert_eq!(same.statement, entry.statement_bytes());
}

#[test]
fn the_longest_names_fit_in_an_entry() {
    let key = key(1);
    let name = "a".repeat(63);
    let mut long = statement(&key);
    long.origin = origin(&format!("{name}/{name}/records/{}", u32::MAX));
    (long.issued_at, long.expires_at) = (i64::MAX, i64::MAX);
    let entry = Entry::sign(&long, &key);
    assert!(entry.bytes.len() <= ENTRY_BYTES_MAX);
    assert!(Entry::parse(entry.bytes).is_ok());
}

#[test]
fn no_bit_of_an_entry_can_change() {
    let key = key(1);
    let entry = Entry::sign(&statement(&key), &key);
    for bit in 0..entry.bytes.len() * 8 {
        let mut bytes = entry.bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let verdict = Entry::parse(bytes.into()).and_then(|read| read.verify(key.public_key()));
        refused(verdict, &format!("bit {bit}"));
    }
    for end in 0..entry.bytes.len() {
        refused(Entry::parse(entry.bytes.slice(..end)), "a truncated entry");
    }
}

#[test]
fn another_key_is_refused_before_its_signature_is_looked_at() {
    let (signer, other) = (key(1), key(2));
    let entry = Entry::sign(&statement(&signer), &signer);
    let wrong = RecordError::OtherKey {
        entry: signer.id(),
        key: other.id(),
    };
    assert_eq!(entry.verify(other.public_key()), Err(wrong));
}

#[test]
fn a_signature_without_the_payload_type_is_refused() {
    let key = key(1);
    let bytes = statement(&key).encode();
    let bare = envelope(&bytes, &key.id().0, &key.sign(&bytes));
    let entry = Entry::parse(bare.into()).expect("well-formed");
    assert_eq!(
        entry.verify(key.public_key()),
        Err(RecordError::BadSignature)
    );
}

fn envelope(statement: &[u8], key_id: &[u8], signature: &[u8]) -> Vec<u8> {
    v1::Entry {
        statement: Bytes::copy_from_slice(statement),
        signature: Some(v1::Signature {
            key_id: Bytes::copy_from_slice(key_id),
            signature: Bytes::copy_from_slice(signature),
        }),
    }
    .encode_to_vec()
}

#[test]
fn an_entry_has_one_layout_only() {
    let key = key(1);
    let entry = Entry::sign(&statement(&key), &key);
    let good = entry.bytes.to_vec();
    let inner = entry.statement_bytes();
    let at = good.len() - 76;
    let (first, second) = good.split_at(at);
    let long_varint = {
        // The statement's length in one byte more than it needs.
        let header = if inner.len() < 128 { 2 } else { 3 };
        let length = u8::try_from(inner.len() & 0x7f).expect("seven bits");
        let high = u8::try_from(inner.len() >> 7).expect("one bit");
        [&[0x0a, length | 0x80, high | 0x80, 0][..], &good[header..]].concat()
    };
    let two_byte_varint = {
        let length = u8::try_from(inner.len()).expect("fewer than 128 bytes");
        assert!(length < 0x80);
        [&[0x0a, length | 0x80, 0][..], &good[2..]].concat()
    };
    let id = key.id().0;
    let cases = [
        ("a reordered entry", [second, first].concat()),
        ("a trailing field", [&good[..], &[0x18, 1]].concat()),
        ("a doubled statement", [first, first, second].concat()),
        ("a doubled signature", [first, second, second].concat()),
        ("a missing signature", first.to_vec()),
        ("a missing statement", second.to_vec()),
        ("a varint of three bytes", long_varint),
        ("a varint of a byte too many", two_byte_varint),
        (
            "a short signature",
            envelope(inner, &id, &entry.signature()[..63]),
        ),
        (
            "a long key id",
            envelope(inner, &[id.as_slice(), &[0]].concat(), entry.signature()),
        ),
        (
            "another key id",
            envelope(inner, &[9; 4], entry.signature()),
        ),
        ("no statement", envelope(&[], &id, entry.signature())),
        ("no bytes", Vec::new()),
    ];
    for (why, bytes) in cases {
        assert_ne!(bytes, good, "{why}");
        refused(Entry::parse(bytes.into()), why);
    }
    let big = Entry::parse(vec![0x0a; ENTRY_BYTES_MAX + 1].into());
    assert!(matches!(big, Err(RecordError::TooBig { .. })));
}

#[test]
fn a_statement_with_any_bad_field_is_refused() {
    let good = v1::Statement::decode(statement(&key(1)).encode()).expect("protobuf");
    assert!(Statement::decode(&good.encode_to_vec()).is_ok());
    type Change = fn(&mut v1::Statement);
    let cases: [(&str, Change); 19] = [
        ("version 0", |s| s.version = 0),
        ("version 2", |s| s.version = 2),
        ("version 300", |s| s.version = 300),
        ("no federation", |s| s.federation.clear()),
        ("upper case", |s| s.federation = "Anhui".to_owned()),
        ("log 0", |s| s.log = 0),
        ("log 3", |s| s.log = 3),
        ("the access log", |s| s.log = v1::LogKind::Access.into()),
        ("generation 0", |s| s.generation = 0),
        ("no author", |s| s.author.clear()),
        ("a path as author", |s| {
            s.author = "hefei/records".to_owned()
        }),
        ("body type 0", |s| s.body_type = 0),
        ("a negative body type", |s| s.body_type = -7),
        ("an access body", |s| {
            s.body_type = BodyType::Access.number()
        }),
        ("a short digest", |s| {
            s.body_sha256 = Bytes::from_static(&[0; 31])
        }),
        ("no digest", |s| s.body_sha256 = Bytes::new()),
        ("a time before 1970", |s| s.issued_at = -1),
        ("an end before 1970", |s| s.expires_at = i64::MIN),
        ("a long key id", |s| s.key_id = Bytes::from_static(&[0; 5])),
    ];
    for (why, change) in cases {
        let mut bad = good.clone();
        change(&mut bad);
        let error = Statement::decode(&bad.encode_to_vec()).expect_err(why);
        let newer = bad.version > 1;
        assert_eq!(error.is_newer(), newer, "{why}: {error}");
    }
    let bytes = good.encode_to_vec();
    let later = [&[0x08, 2][..], &bytes[2..], &[0x58, 1]].concat();
    let error = Statement::decode(&later).expect_err("version 2");
    assert!(error.is_newer(), "whatever else is in it: {error}");
    refused(
        Statement::decode(&[&bytes[..], &[0x58, 1]].concat()),
        "an unknown field",
    );
    refused(
        Statement::decode(&[&bytes[2..], &bytes[..2]].concat()),
        "reordered fields",
    );
    refused(
        Statement::decode(&[&bytes[..], &[0x48, 0]].concat()),
        "a default written out",
    );
    refused(
        Statement::decode(&[&[0x08, 0x81, 0], &bytes[2..]].concat()),
        "a long varint",
    );
}

#[test]
fn a_statement_counts_only_in_its_own_log() {
    let key = key(1);
    let entry = Entry::sign(&statement(&key), &key);
    assert_eq!(
        entry.check_place(&origin("anhui.example/hefei/records/1")),
        Ok(())
    );
    for other in [
        "henan.example/hefei/records/1",
        "anhui.example/wuhu/records/1",
        "anhui.example/hefei/access/1",
        "anhui.example/hefei/records/2",
    ] {
        assert!(matches!(
            entry.check_place(&origin(other)),
            Err(RecordError::Misplaced { .. })
        ));
    }
}

#[test]
fn a_body_opens_only_under_the_statement_that_names_it() {
    let key = key(1);
    let body = Body::Element(element()).encode();
    let entry = Entry::sign(&statement(&key), &key);
    assert_eq!(entry.open_body(&body), Ok(Body::Element(element())));
    let mut tampered = body.to_vec();
    tampered[5] ^= 1;
    assert!(matches!(
        entry.open_body(&tampered),
        Err(RecordError::OtherBody { .. })
    ));

    let about = |body: &Body, change: fn(&mut Statement)| {
        let mut statement = statement(&key);
        statement.body_sha256 = Digest::of(&body.encode());
        change(&mut statement);
        Entry::sign(&statement, &key).open_body(&body.encode())
    };
    let element_body = Body::Element(element());
    assert!(about(&element_body, |_| {}).is_ok());
    refused(
        about(&element_body, |s| s.body_type = BodyType::CaseNotice),
        "another type",
    );
    refused(about(&element_body, |s| s.expires_at += 1), "another end");
    let foreign = Body::Element(ElementBody {
        member: member("wuhu"),
        ..element()
    });
    refused(about(&foreign, |_| {}), "another member's element");
}

fn bodies() -> Vec<Body> {
    let members = Audience::Members([member("wuhu"), member("chuzhou")].into());
    vec![
        Body::Element(element()),
        Body::CaseNotice(CaseNoticeBody {
            nonce: [1; 16],
            case_ref: CaseRef([2; 16]),
            category: "刷单返利".to_owned(),
            month: 202_611,
            desk: "desk@hefei.example".to_owned(),
            expires_at: 0,
            audience: Audience::Regions(["华东".to_owned(), "south".to_owned()].into()),
        }),
        Body::Amend(AmendBody {
            nonce: [1; 16],
            target_index: LogIndex(7),
            target_leaf: Digest([3; 32]),
            observed_on: 20_000,
            audience: members,
            handling: String::new(),
            expires_at: 5,
        }),
        Body::Retract(retract(&[(0, 1), (2, 9)])),
        Body::Access(AccessBody {
            nonce: Bytes::from_static(&[1; 16]),
            scope: v1::AccessScope::Local.into(),
            method: "query".to_owned(),
            ..AccessBody::default()
        }),
    ]
}

fn retract(targets: &[(u64, u64)]) -> RetractBody {
    RetractBody {
        nonce: [1; 16],
        targets: targets
            .iter()
            .map(|&(a, b)| (LogIndex(a), LogIndex(b)))
            .collect(),
        reason: RetractReason::Mistake,
    }
}

#[test]
fn every_body_reads_back_and_only_as_its_own_type() {
    for body in bodies() {
        let bytes = body.encode();
        assert_eq!(Body::decode(body.body_type(), &bytes), Ok(body.clone()));
        for end in 0..bytes.len() {
            // Optional fields may end a body early; that is another body, with
            // another digest.
            let cut = Body::decode(body.body_type(), &bytes[..end]);
            assert_ne!(cut, Ok(body.clone()), "cut at {end}");
        }
        let more = [&bytes[..], &[0xf8, 0x07, 1]].concat();
        newer(Body::decode(body.body_type(), &more), "an unknown field");
        let unknown = BodyType::from_number(40).expect("a type");
        newer(Body::decode(unknown, &bytes), "an unknown type");
        refused(
            Body::decode(body.body_type(), &[&bytes[..], &bytes[..]].concat()),
            "twice",
        );
    }
}

#[test]
fn an_element_with_any_bad_field_is_refused() {
    let good = v1::ElementBody::decode(Body::Element(element()).encode()).expect("protobuf");
    type Change = fn(&mut v1::ElementBody);
    let cases: [(&str, Change); 19] = [
        ("a short nonce", |b| b.nonce = Bytes::from_static(&[1; 15])),
        ("no nonce", |b| b.nonce = Bytes::new()),
        ("no federation", |b| b.federation.clear()),
        ("no member", |b| b.member.clear()),
        ("a long case ref", |b| {
            b.case_ref = Bytes::from_static(&[1; 17])
        }),
        ("kind 0", |b| b.kind = 0),
        ("a negative kind", |b| b.kind = -24),
        ("a short token", |b| b.token = Bytes::from_static(&[1; 15])),
        ("no key id", |b| b.token_key_id = Bytes::new()),
        ("a short commitment", |b| {
            b.commitment = Bytes::from_static(&[1; 16])
        }),
        ("role 0", |b| b.role = 0),
        ("a negative role", |b| b.role = -5),
        ("no audience", |b| b.audience = None),
        ("a negative end", |b| b.expires_at = -1),
        ("no rules", |b| b.canonical_rules = 0),
        ("a long handling", |b| b.handling = "x".repeat(129)),
        ("a terminal escape", |b| b.handling = "\u{1b}[2J".to_owned()),
        ("a newline", |b| b.handling = "a\nb".to_owned()),
        ("a huge handling", |b| {
            b.handling = "x".repeat(BODY_BYTES_MAX)
        }),
    ];
    assert!(Body::decode(BodyType::Element, &good.encode_to_vec()).is_ok());
    for (why, change) in cases {
        let mut bad = good.clone();
        change(&mut bad);
        refused(Body::decode(BodyType::Element, &bad.encode_to_vec()), why);
        // What is newer beside it excuses nothing.
        bad.kind = if bad.kind == good.kind { 99 } else { bad.kind };
        refused(Body::decode(BodyType::Element, &bad.encode_to_vec()), why);
    }
    type Newer = fn(&mut v1::ElementBody);
    let cases: [(&str, Newer); 4] = [
        ("kind 24", |b| b.kind = 24),
        ("role 5", |b| b.role = 5),
        ("scope 9", |b| b.audience.as_mut().expect("one").scope = 9),
        ("both", |b| (b.kind, b.role) = (99, 9)),
    ];
    for (why, change) in cases {
        let mut later = good.clone();
        change(&mut later);
        newer(Body::decode(BodyType::Element, &later.encode_to_vec()), why);
    }
}

#[test]
fn an_audience_names_whom_it_must_sorted_and_once() {
    let with = |scope: i32, names: &[&str]| {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Audience::from_wire(Some(v1::Audience { scope, names }))
    };
    assert_eq!(with(1, &[]), Ok(Audience::Federation));
    assert!(with(2, &["east", "华东"]).is_ok());
    assert!(with(3, &["hefei", "wuhu"]).is_ok());
    assert_eq!(with(4, &[]), Ok(Audience::Nobody));
    for (scope, names) in [
        (0, &[][..]),
        (5, &[]),
        (1, &["hefei"]),
        (4, &["hefei"]),
        (2, &[]),
        (3, &[]),
        (2, &[""]),
        (2, &["west", "east"]),
        (3, &["wuhu", "hefei"]),
        (3, &["hefei", "hefei"]),
        (3, &["Hefei"]),
        (2, &["a\u{7}"]),
    ] {
        refused(with(scope, names), &format!("{scope} {names:?}"));
    }
    refused(
        Body::Element(ElementBody {
            audience: Audience::Members([].into()),
            ..element()
        })
        .check(),
        "nobody by name",
    );
}

#[test]
fn a_retraction_has_one_spelling_of_its_targets() {
    let decode = |targets: &[(u64, u64)]| {
        Body::decode(BodyType::Retract, &Body::Retract(retract(targets)).encode())
    };
    assert!(decode(&[(0, 1), (2, 3)]).is_ok());
    for bad in [
        &[][..],
        &[(1, 1)],
        &[(2, 1)],
        &[(0, 2), (1, 3)],
        &[(0, 1), (1, 2)],
        &[(4, 5), (0, 1)],
        &[(0, 1), (0, 1)],
    ] {
        refused(decode(bad), &format!("{bad:?}"));
    }
    let why_not = RetractBody {
        reason: RetractReason::Unspecified,
        ..retract(&[(0, 1)])
    };
    refused(
        Body::decode(BodyType::Retract, &Body::Retract(why_not).encode()),
        "no reason",
    );
}

#[test]
fn a_case_notice_has_a_real_month_and_short_texts() {
    let with = |month: u32, category: &str| {
        let body = Body::CaseNotice(CaseNoticeBody {
            nonce: [1; 16],
            case_ref: CaseRef([2; 16]),
            category: category.to_owned(),
            month,
            desk: String::new(),
            expires_at: 0,
            audience: Audience::Federation,
        });
        Body::decode(BodyType::CaseNotice, &body.encode())
    };
    assert!(with(0, "").is_ok());
    assert!(with(202_612, "romance scam").is_ok());
    for month in [1, 13, 202_600, 202_613, 189_912, 1_000_001] {
        refused(with(month, ""), &format!("month {month}"));
    }
    refused(with(0, &"x".repeat(257)), "a long category");
}

#[test]
fn an_access_body_may_be_large_and_its_ids_have_their_sizes() {
    let good = AccessBody {
        nonce: Bytes::from_static(&[1; 16]),
        scope: v1::AccessScope::Evaluate.into(),
        officer_request: vec![7; 2 * BODY_BYTES_MAX].into(),
        ..AccessBody::default()
    };
    let decode = |body: &AccessBody| Body::decode(BodyType::Access, &body.encode_to_vec());
    assert!(decode(&good).is_ok());
    type Change = fn(&mut AccessBody);
    let cases: [(&str, Change); 8] = [
        ("a log's name with a line break", |b| b.log = "a\nb".into()),
        ("a long log's name", |b| b.log = "a".repeat(513)),
        ("a short nonce", |b| b.nonce = Bytes::from_static(&[1; 8])),
        ("scope 0", |b| b.scope = 0),
        ("a negative scope", |b| b.scope = -9),
        ("a short query id", |b| {
            b.query_id = Bytes::from_static(&[1; 4])
        }),
        ("a short salt", |b| {
            b.purposes = vec![v1::OpenedPurpose::default()]
        }),
        ("too many bytes", |b| {
            b.officer_request = vec![7; 1 << 20].into()
        }),
    ];
    for (why, change) in cases {
        let mut bad = good.clone();
        change(&mut bad);
        refused(decode(&bad), why);
    }
}

#[test]
fn a_commitment_binds_every_field() {
    let commit = |salt: u8, fields: [&str; 4], case: u8, key_id: u8, token: u8| {
        commitment(
            &[salt; 32],
            &FederationId::new(fields[0]).expect("a federation"),
            &member(fields[1]),
            &CaseRef([case; 16]),
            fields[2],
            KeyId([key_id; 4]),
            &Token([token; 16]),
            fields[3],
        )
    };
    let fields = ["anhui.example", "hefei", "phone", "+8613800138000"];
    let base = commit(1, fields, 2, 3, 4);
    // Computed with printf and `openssl dgst -sha256 -mac HMAC`.
    assert_eq!(base.to_string(), COMMITMENT);
    let others = [
        commit(9, fields, 2, 3, 4),
        commit(
            1,
            ["henan.example", fields[1], fields[2], fields[3]],
            2,
            3,
            4,
        ),
        commit(1, [fields[0], "wuhu", fields[2], fields[3]], 2, 3, 4),
        commit(1, fields, 9, 3, 4),
        commit(1, [fields[0], fields[1], "qq", fields[3]], 2, 3, 4),
        commit(1, fields, 2, 9, 4),
        commit(1, fields, 2, 3, 9),
        commit(
            1,
            [fields[0], fields[1], fields[2], "+8613800138001"],
            2,
            3,
            4,
        ),
    ];
    assert!(others.iter().all(|other| *other != base));
}

const COMMITMENT: &str = "bc100d50c5d9ad615c6f1e5b3dc40da444d31abcdb0c477a97b22faf35cd6fc5";

#[test]
fn purpose_commitments_are_salted() {
    let base = purpose_commitment(&[1; 32], b"purpose");
    assert_eq!(base.to_string(), PURPOSE_COMMITMENT);
    assert_ne!(base, purpose_commitment(&[2; 32], b"purpose"));
    assert_ne!(base, purpose_commitment(&[1; 32], b"purposf"));
}

const PURPOSE_COMMITMENT: &str = "3c41de8427c6032fed8da63bc5fe34cb53de640254b3256fd7fd07eee19826fe";

#[test]
fn the_bytes_of_a_withholding_name_all_that_it_depends_on() {
    let log = origin("f/m/records/1");
    let bytes = withheld_bytes(&log, &member("wuhu"), 2, &[(3, 4)]);
    let want = [
        &[0, 0, 0, 20][..],
        b"casegate/withheld/v1",
        &[0, 0, 0, 13],
        b"f/m/records/1",
        &[0, 0, 0, 4],
        b"wuhu",
        &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2],
        &[0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4],
    ]
    .concat();
    assert_eq!(bytes, want);
}

proptest! {
    #[test]
    fn any_element_reads_back(
        nonce: [u8; 16], token: [u8; 16], kind in 1..=23i32, role in 1..=4i32,
        observed_on: i32, expires_at in 0..i64::MAX, canonical_rules in 1..u32::MAX,
        names in proptest::collection::btree_set("[a-z0-9][a-z0-9.-]{0,62}", 1..20),
    ) {
        let body = Body::Element(ElementBody {
            nonce,
            token: Token(token),
            kind: kind.try_into().expect("a kind"),
            role: role.try_into().expect("a role"),
            audience: Audience::Members(names.iter().map(|name| member(name)).collect()),
            observed_on, expires_at, canonical_rules,
            ..element()
        });
        prop_assert_eq!(Body::decode(BodyType::Element, &body.encode()), Ok(body));
    }

    #[test]
    fn what_is_read_is_what_would_be_written(
        kind in prop::sample::select(vec![1, 2, 3, 4, 16]),
        at in 0..10_000usize,
        byte: u8,
    ) {
        let body_type = BodyType::from_number(kind).expect("a type");
        for body in bodies() {
            let mut bytes = body.encode().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(read) = Body::decode(body_type, &bytes) {
                prop_assert_eq!(&read.encode()[..], &bytes[..]);
            }
            // What is newer is today's body with something more, or other words.
            let with_more = [&bytes[..], &[0xf8, 0xff, 0xff, 0xff, 0x0f, 1]].concat();
            let (plain, more) = (
                Body::decode(body_type, &bytes),
                Body::decode(body_type, &with_more),
            );
            let is_newer = |read: &Result<Body, RecordError>| {
                matches!(read, Err(RecordError::Unknown { .. }))
            };
            prop_assert!(!matches!(more, Ok(_)));
            prop_assert_eq!(plain.is_ok() || is_newer(&plain), is_newer(&more));
            if let Ok(read) = Entry::parse(bytes.into()) {
                prop_assert!(read.bytes.len() <= ENTRY_BYTES_MAX);
            }
        }
    }
}
