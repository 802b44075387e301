//! The roster chain: what is refused, one test a rule, and how it goes on.

use casegate::blame::Blamed;
use casegate::clock::DAY_S;
use casegate::ids::{Digest, FederationId, LogName, MemberId};
use casegate::keys::SigningKey;
use casegate::pki::dev::{DevMember, dev_member};
use casegate::roster::draft::sign;
use casegate::roster::{
    Accepted, Draft, KeyUse, MemberRole, RosterChain, RosterError, TokenClass, TokenKey,
};
use casegate::wire::v1;
use prost::Message;

const NOW: i64 = 1_800_000_000;
const YEAR_S: i64 = 365 * DAY_S;

fn id(name: &str) -> MemberId {
    MemberId::new(name).expect("a name")
}

fn federation() -> FederationId {
    FederationId::new("anhui.example").expect("a name")
}

fn shares_fit(_: &TokenKey) -> bool {
    true
}

fn shares_do_not_fit(_: &TokenKey) -> bool {
    false
}

struct Roots([SigningKey; 3]);

impl Roots {
    fn new() -> Self {
        Self([1, 2, 3].map(|n| SigningKey::from_seed(&[n; 32]).expect("a seed")))
    }

    fn two(&self) -> [&SigningKey; 2] {
        [&self.0[0], &self.0[2]]
    }
}

fn member(name: &str) -> DevMember {
    dev_member(&federation(), &id(name), MemberRole::Bureau, NOW, &[]).expect("a member")
}

fn first(roots: &Roots) -> Draft {
    let keys = roots.0.each_ref().map(|key| key.public_key().clone());
    Draft::first(&federation(), &keys, 2, NOW, YEAR_S)
        .member(member("hefei").draft("127.0.0.1:1001"))
        .member(member("wuhu").draft("127.0.0.1:1002"))
}

fn start(draft: &Draft, roots: &Roots) -> Result<RosterChain, RosterError> {
    RosterChain::start(draft.digest(), &draft.sign(&roots.two()), shares_fit)
}

fn chain(roots: &Roots) -> RosterChain {
    start(&first(roots), roots).expect("a chain")
}

fn next(chain: &RosterChain) -> Draft {
    Draft::after(chain.newest(), NOW + 10, YEAR_S)
}

#[test]
fn a_roster_1_that_is_not_pinned_is_refused() {
    let roots = Roots::new();
    let signed = first(&roots).sign(&roots.two());
    let refused = RosterChain::start(Digest([7; 32]), &signed, shares_fit);
    assert!(matches!(refused, Err(RosterError::NotPinned { .. })));
}

#[test]
fn bytes_that_are_no_roster_are_refused() {
    for bytes in [&[][..], &[0xff; 40], &vec![0; (1 << 20) + 1]] {
        let digest = Digest::of(b"");
        assert!(RosterChain::start(digest, bytes, shares_fit).is_err());
    }
    let roots = Roots::new();
    let file = chain(&roots).to_bytes();
    let pin = first(&roots).digest();
    for cut in [0, 1, file.len() / 2, file.len() - 1] {
        assert!(
            RosterChain::from_bytes(pin, &file[..cut], 0, shares_fit).is_err(),
            "{cut}"
        );
    }
}

#[test]
fn too_few_signatures_are_refused_and_one_root_twice_counts_once() {
    let roots = Roots::new();
    let draft = first(&roots);
    let one = draft.sign(&[&roots.0[0]]);
    let refused = RosterChain::start(draft.digest(), &one, shares_fit);
    assert!(matches!(
        refused,
        Err(RosterError::TooFewSignatures {
            got: 1,
            want: 2,
            ..
        })
    ));
    let mut twice = v1::SignedRoster::decode(&one[..]).expect("a roster");
    twice.signatures.push(twice.signatures[0].clone());
    let refused = RosterChain::start(draft.digest(), &twice.encode_to_vec(), shares_fit);
    assert!(matches!(
        refused,
        Err(RosterError::TooFewSignatures {
            got: 1,
            want: 2,
            ..
        })
    ));
}

#[test]
fn a_signature_that_does_not_hold_is_refused() {
    let roots = Roots::new();
    let draft = first(&roots);
    let mut signed = v1::SignedRoster::decode(&draft.sign(&roots.two())[..]).expect("a roster");
    let mut signature = signed.signatures[0].signature.to_vec();
    signature[5] ^= 1;
    signed.signatures[0].signature = signature.into();
    let refused = RosterChain::start(draft.digest(), &signed.encode_to_vec(), shares_fit);
    assert!(
        matches!(refused, Err(RosterError::BadSignature { key, .. }) if key == roots.0[0].id())
    );
}

#[test]
fn the_next_version_needs_roots_of_both() {
    let roots = Roots::new();
    let fresh = [9, 10].map(|n| SigningKey::from_seed(&[n; 32]).expect("a seed"));
    let mut held = chain(&roots);
    let mut draft = next(&held);
    draft.wire.root_keys = fresh
        .iter()
        .map(|k| k.public_key().as_bytes().to_vec().into())
        .collect();
    let by_new_only = draft.sign(&[&fresh[0], &fresh[1]]);
    let refused = held.extend(&by_new_only);
    assert!(matches!(
        refused,
        Err(RosterError::TooFewSignatures { of: 1, .. })
    ));
    let refused = held.extend(&draft.sign(&roots.two()));
    assert!(matches!(
        refused,
        Err(RosterError::TooFewSignatures { of: 2, got: 0, .. })
    ));
    assert_eq!(held.newest().version, 1);
    let all = [&roots.0[0], &roots.0[1], &fresh[0], &fresh[1]];
    assert!(matches!(
        held.extend(&draft.sign(&all)),
        Ok(Accepted::New(_))
    ));
    // The old roots have nothing more to say.
    let after = Draft::after(held.newest(), NOW + 20, YEAR_S);
    assert!(held.extend(&after.sign(&roots.two())).is_err());
    assert!(held.extend(&after.sign(&[&fresh[0], &fresh[1]])).is_ok());
}

#[test]
fn signatures_of_two_holders_can_be_gathered_one_by_one() {
    let roots = Roots::new();
    let draft = first(&roots);
    let one = v1::SignedRoster::decode(&draft.sign(&[&roots.0[0]])[..]).expect("a roster");
    let both = sign(one, &[&roots.0[1]]).encode_to_vec();
    assert!(RosterChain::start(draft.digest(), &both, shares_fit).is_ok());
}

#[test]
fn a_broken_chain_is_refused() {
    let roots = Roots::new();
    let mut held = chain(&roots);
    let mut draft = next(&held);
    draft.wire.previous_sha256 = vec![1; 32].into();
    let refused = held.extend(&draft.sign(&roots.two()));
    assert!(matches!(
        refused,
        Err(RosterError::BrokenChain {
            version: 2,
            held: 1
        })
    ));
    let mut draft = next(&held);
    draft.wire.version = 3;
    let refused = held.extend(&draft.sign(&roots.two()));
    assert!(matches!(
        refused,
        Err(RosterError::Gap {
            version: 3,
            held: 1
        })
    ));
}

#[test]
fn a_file_older_than_what_was_seen_is_refused() {
    let roots = Roots::new();
    let mut held = chain(&roots);
    let old = held.to_bytes();
    held.extend(&next(&held).sign(&roots.two()))
        .expect("roster 2");
    let refused = RosterChain::from_bytes(held.pin(), &old, 2, shares_fit);
    assert!(matches!(
        refused,
        Err(RosterError::OlderThanSeen { newest: 1, seen: 2 })
    ));
    let read = RosterChain::from_bytes(held.pin(), &held.to_bytes(), 2, shares_fit);
    assert_eq!(read.expect("a chain").newest(), held.newest());
}

#[test]
fn the_same_roster_again_is_known_and_another_of_its_version_is_evidence() {
    let roots = Roots::new();
    let mut held = chain(&roots);
    let two = next(&held);
    let mut other = two.clone();
    other.wire.expires_at += 1;
    held.extend(&two.sign(&roots.two())).expect("roster 2");
    assert_eq!(held.extend(&two.sign(&roots.two())), Ok(Accepted::Known));
    assert_eq!(held.extend(&first_signed(&held)), Ok(Accepted::Known));
    let fork = held.extend(&other.sign(&roots.two())).expect_err("a fork");
    assert!(matches!(fork, RosterError::Fork { version: 2, .. }));
    // Anybody can make up a roster: without the roots it is no evidence.
    let stranger = SigningKey::generate();
    let made_up = held
        .extend(&other.sign(&[&stranger]))
        .expect_err("no roster");
    assert!(matches!(made_up, RosterError::TooFewSignatures { .. }));
}

fn first_signed(chain: &RosterChain) -> Vec<u8> {
    chain.after(0)[0].encode_to_vec()
}

#[test]
fn an_expired_roster_is_not_current_but_can_be_caught_up_across() {
    let roots = Roots::new();
    let mut held = chain(&roots);
    let end = NOW + YEAR_S;
    assert!(held.current(end - 1).is_ok());
    let expired = held.current(end).expect_err("expired");
    assert_eq!(
        expired,
        RosterError::Expired {
            version: 1,
            seconds_ago: 0
        }
    );
    let late = Draft::after(held.newest(), end + DAY_S, YEAR_S);
    held.extend(&late.sign(&roots.two())).expect("catching up");
    assert_eq!(held.current(end + DAY_S).expect("current").version, 2);
    let early = held.current(NOW).expect_err("a clock that is late");
    assert_eq!(early.code(), "roster.not_yet_issued");
}

/// One broken rule each; everything is signed, so only the rule refuses it.
#[test]
fn every_broken_rule_is_refused_by_name() {
    type Change = fn(&mut v1::Roster);
    let cases: &[(&str, Change)] = &[
        ("federation", |r| r.federation = "Anhui Example".into()),
        ("expires_at", |r| r.expires_at = r.issued_at),
        ("previous_sha256", |r| {
            r.previous_sha256 = vec![0; 32].into()
        }),
        ("root_threshold", |r| r.root_threshold = 0),
        ("root_threshold", |r| r.root_threshold = 4),
        ("root_keys", |r| r.root_keys.push(r.root_keys[0].clone())),
        ("members", |r| r.members.clear()),
        ("members.id", |r| r.members[0].id = "He".into()),
        ("members[hefei]", |r| {
            let mut twin = r.members[0].clone();
            twin.keys.clear();
            twin.peer_endpoint = "x:1".into();
            twin.ca_certificate = member("other").ca.cert_der().to_vec().into();
            r.members.push(twin);
        }),
        ("members[wuhu].peer_endpoint", |r| {
            r.members[1].peer_endpoint = r.members[0].peer_endpoint.clone();
        }),
        ("members[wuhu].ca_certificate", |r| {
            r.members[1].ca_certificate = r.members[0].ca_certificate.clone();
        }),
        ("members[wuhu].keys", |r| {
            r.members[1].keys[0] = r.members[0].keys[0].clone()
        }),
        ("members[hefei].keys", |r| {
            let mut again = r.members[0].keys[0].clone();
            again.r#use = v1::KeyUse::Witness.into();
            r.members[0].keys.push(again);
        }),
        ("members[hefei].keys", |r| {
            r.members[0].keys[0].public_key = r.root_keys[0].clone()
        }),
        ("members[hefei].keys", |r| {
            r.members[0].keys[0].key_id = vec![0; 4].into()
        }),
        ("members[hefei].keys", |r| r.members[0].keys[0].valid_to = 1),
        ("members[hefei].keys", |r| r.members[0].keys[0].r#use = 9),
        ("members[hefei].role", |r| r.members[0].role = 0),
        ("members[hefei].ca_certificate", |r| {
            r.members[0].ca_certificate = vec![1, 2].into()
        }),
        ("members[hefei].peer_endpoint", |r| {
            r.members[0].peer_endpoint = "host".into()
        }),
        ("members[hefei].peer_endpoint", |r| {
            r.members[0].peer_endpoint = "host:0".into()
        }),
        ("members[hefei].peer_endpoint", |r| {
            r.members[0].peer_endpoint = "a/b:80".into()
        }),
        ("members[hefei].generation", |r| {
            r.members[0].records_generation = 0
        }),
        ("members[hefei].witnesses", |r| {
            r.members[0].witnesses = vec!["hefei".into()]
        }),
        ("members[hefei].witnesses", |r| {
            r.members[0].witnesses = vec!["nobody".into()]
        }),
        ("members[hefei].witnesses", |r| {
            r.members[0].witnesses = vec!["wuhu".into()];
            r.policy.get_or_insert_default().witness_quorum = 2;
        }),
        ("members[hefei].name", |r| r.members[0].name = "a\nb".into()),
        ("members[hefei].frozen", |r| {
            let root = vec![0; 32].into();
            r.members[0].frozen.push(v1::FrozenGeneration {
                generation: 1,
                size: 1,
                root,
            });
        }),
        ("policy.grants", |r| r.policy = Some(grant("nobody", 1, 2))),
        ("policy.grants", |r| r.policy = Some(grant("hefei", 2, 2))),
        ("token_keys", |r| {
            r.token_keys.push(token_key(&["hefei"], 2))
        }),
        ("token_keys", |r| {
            r.token_keys.push(token_key(&["hefei", "hefei"], 1))
        }),
        ("token_keys", |r| {
            r.token_keys.push(token_key(&["hefei", "nobody"], 1))
        }),
        ("token_keys", |r| {
            let mut key = token_key(&["hefei", "wuhu"], 2);
            key.shares[1].index = 1;
            r.token_keys.push(key);
        }),
        ("token_keys", |r| {
            let mut other = token_key(&["hefei"], 1);
            other.public_key = vec![5; 32].into();
            other.key_id = Digest::of(&[5; 32]).0[..4].to_vec().into();
            r.token_keys = vec![token_key(&["hefei"], 1), other];
        }),
    ];
    let roots = Roots::new();
    for (number, (want, change)) in cases.iter().enumerate() {
        let mut draft = first(&roots);
        change(&mut draft.wire);
        match start(&draft, &roots) {
            Err(RosterError::Field { field, .. }) => assert_eq!(field, *want, "case {number}"),
            other => panic!("case {number} ({want}): {:?}", other.map(|_| ())),
        }
    }
}

fn grant(name: &str, valid_from: i64, valid_to: i64) -> v1::Policy {
    let token_class = v1::TokenClass::Open.into();
    let grant = v1::Grant {
        member: name.into(),
        token_class,
        points: 1,
        valid_from,
        valid_to,
    };
    v1::Policy {
        grants: vec![grant],
        ..v1::Policy::default()
    }
}

fn token_key(holders: &[&str], threshold: u32) -> v1::TokenKey {
    let share = |(index, member): (u32, &&str)| v1::CustodianShare {
        member: (*member).into(),
        index,
        public_share: vec![3; 32].into(),
    };
    v1::TokenKey {
        key_id: Digest::of(&[4; 32]).0[..4].to_vec().into(),
        token_class: v1::TokenClass::Enumerable.into(),
        threshold,
        public_key: vec![4; 32].into(),
        shares: (1..).zip(holders).map(share).collect(),
        epoch: 1,
        state: v1::TokenKeyState::Current.into(),
    }
}

#[test]
fn weak_keys_are_refused_wherever_they_stand() {
    let roots = Roots::new();
    let mut identity = [0; 32];
    identity[0] = 1;
    let changes: [fn(&mut v1::Roster, Vec<u8>); 2] = [
        |r, weak| r.members[0].keys[0].public_key = weak.into(),
        |r, weak| r.root_keys[1] = weak.into(),
    ];
    for change in changes {
        for weak in [vec![0; 32], identity.to_vec(), vec![9; 31]] {
            let mut draft = first(&roots);
            change(&mut draft.wire, weak);
            let refused = start(&draft, &roots);
            assert!(
                matches!(refused, Err(RosterError::Key { .. })),
                "{:?}",
                refused.map(|_| ())
            );
        }
    }
}

#[test]
fn shares_that_do_not_make_the_key_are_refused() {
    let roots = Roots::new();
    let draft = first(&roots).token_key(token_key(&["hefei", "wuhu"], 2));
    let signed = draft.sign(&roots.two());
    assert!(RosterChain::start(draft.digest(), &signed, shares_do_not_fit).is_err());
    let held = RosterChain::start(draft.digest(), &signed, shares_fit).expect("a chain");
    let key = held
        .newest()
        .token_key(TokenClass::Enumerable)
        .expect("a current key");
    assert_eq!((key.threshold, key.shares.len()), (2, 2));
    assert!(held.newest().token_key(TokenClass::Open).is_none());
    let custodians: Vec<_> = held
        .newest()
        .custodians()
        .into_iter()
        .map(MemberId::as_str)
        .collect();
    assert_eq!(custodians, ["hefei", "wuhu"]);
}

#[test]
fn a_generation_never_goes_back() {
    let roots = Roots::new();
    let mut held = chain(&roots);
    let mut draft = next(&held);
    draft.wire.members[0].records_generation = 2;
    held.extend(&draft.sign(&roots.two())).expect("roster 2");
    let origin = held
        .newest()
        .origin(&id("hefei"), LogName::Records)
        .expect("an origin");
    assert_eq!(origin.to_string(), "anhui.example/hefei/records/2");
    let mut draft = Draft::after(held.newest(), NOW + 20, YEAR_S);
    draft.wire.members[0].records_generation = 1;
    let refused = held.extend(&draft.sign(&roots.two()));
    assert!(
        matches!(refused, Err(RosterError::Field { why, .. }) if why.contains("never goes back"))
    );
}

#[test]
fn budgets_are_the_policys_plus_the_grants_of_the_day() {
    let roots = Roots::new();
    let draft = first(&roots).grant(&id("hefei"), TokenClass::Enumerable, 500, DAY_S);
    let held = start(&draft, &roots).expect("a chain");
    let roster = held.newest();
    let day = NOW / DAY_S;
    let allowed = |name: &str, class, day| roster.allowed_points(&id(name), class, day);
    assert_eq!(allowed("hefei", TokenClass::Enumerable, day), 20_500);
    assert_eq!(allowed("hefei", TokenClass::Enumerable, day + 2), 20_000);
    assert_eq!(allowed("hefei", TokenClass::Enumerable, day - 1), 20_000);
    assert_eq!(allowed("hefei", TokenClass::Open, day), 1_000_000);
    assert_eq!(allowed("wuhu", TokenClass::Enumerable, day), 20_000);
    assert_eq!(allowed("nobody", TokenClass::Open, day), 0);
}

#[test]
fn keys_are_found_by_use_and_id() {
    let roots = Roots::new();
    let held = chain(&roots);
    let roster = held.newest();
    let key = roster
        .keys(&id("hefei"), KeyUse::Records)
        .next()
        .expect("a key");
    assert_eq!(roster.key(&id("hefei"), KeyUse::Records, key.id), Some(key));
    assert_eq!(roster.key(&id("hefei"), KeyUse::Witness, key.id), None);
    assert_eq!(roster.key(&id("wuhu"), KeyUse::Records, key.id), None);
    assert!(key.covers(NOW) && !key.covers(NOW - 1));
}

#[test]
fn the_roots_tool_describes_signs_and_checks() {
    use casegate::cli::roster::{RosterArgs, run};
    use clap::{Args, FromArgMatches};

    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let call = |line: &[&str]| {
        let command = RosterArgs::augment_args(clap::Command::new("roster"));
        let matches = command.get_matches_from(std::iter::once(&"roster").chain(line));
        let args = RosterArgs::from_arg_matches(&matches).expect("arguments");
        run(&args, NOW, shares_fit)
    };
    let root = SigningKey::generate();
    casegate::pki::files::write_seed(&dir.path().join("root.seed"), &root).expect("written");
    let hefei = member("hefei");
    std::fs::write(at("ca.pem"), hefei.ca.cert_pem()).expect("written");
    let hex = |key: &SigningKey| hex::encode(key.public_key().as_bytes());
    let description = format!(
        "federation = \"anhui.example\"\nroots = [\"{}\"]\nroot_threshold = 1\ndays = 90\n\
         [[member]]\nid = \"hefei\"\nrole = \"bureau\"\nname = \"合肥\"\nca = \"ca.pem\"\n\
         endpoint = \"hefei.example:7440\"\nrecords = \"{}\"\ncheckpoint = \"{}\"\nwitness = \"{}\"\n",
        hex(&root),
        hex(&hefei.records_key),
        hex(&hefei.checkpoint_key),
        hex(&hefei.witness_key),
    );
    std::fs::write(at("federation.toml"), description).expect("written");
    let (new, file) = (at("new.bin"), at("roster.bin"));
    call(&["new", "--from", &at("federation.toml"), "--out", &new]).expect("described");
    let pin = casegate::roster::read::RawRoster::parse(&std::fs::read(&new).expect("read"));
    let pin = pin.expect("a roster").digest.to_string();
    let add = ["verify", "--file", &file, "--pin", &pin, "--add", &new];
    assert!(call(&add).is_err(), "nobody has signed");
    call(&["sign", "--roster", &new, "--key", &at("root.seed")]).expect("signed");
    call(&add).expect("roster 1 holds");
    call(&[
        "new",
        "--from",
        &at("federation.toml"),
        "--after",
        &file,
        "--pin",
        &pin,
        "--out",
        &new,
    ])
    .expect("described");
    assert!(call(&add).is_err(), "nobody has signed roster 2");
    call(&["sign", "--roster", &new, "--key", &at("root.seed")]).expect("signed");
    call(&add).expect("roster 2 holds");
    call(&["verify", "--file", &file, "--pin", &pin]).expect("the file holds");
    call(&["show", "--file", &file, "--pin", &pin]).expect("shown");
    assert!(call(&["show", "--file", &file, "--pin", &"00".repeat(32)]).is_err());
}
mod keys;
mod rules;
