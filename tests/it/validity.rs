//! The one rule by which a key speaks for an entry: every branch with the case
//! beside it that must come out differently, and a naive reference.

use std::sync::Arc;

use casegate::ids::{FederationId, KeyId, LogIndex, LogName, MemberId, Origin};
use casegate::keys::SigningKey;
use casegate::pki::dev::dev_member;
use casegate::roster::validity::{KeyTimeline, Signer, Validity, Why, judge};
use casegate::roster::{Draft, KeyUse, MemberKey, MemberRole, Roster, RosterChain};
use proptest::prelude::*;

const NOW: i64 = 1_800_000_000;

fn hefei() -> MemberId {
    MemberId::new("hefei").expect("a name")
}

fn federation() -> FederationId {
    FederationId::new("anhui.example").expect("a name")
}

fn signing(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).expect("a seed")
}

fn key(seed: u8) -> KeyId {
    signing(seed).id()
}

fn origin(log: LogName, generation: u32) -> Origin {
    Origin {
        federation: federation(),
        member: hefei(),
        log,
        generation,
    }
}

/// One records key in one version, in the fewest words.
#[derive(Clone, Copy, Debug)]
struct K {
    seed: u8,
    from_size: u64,
    valid_from: i64,
    valid_to: Option<i64>,
    revoked: Option<u64>,
}

fn k(seed: u8) -> K {
    K {
        seed,
        from_size: 0,
        valid_from: 0,
        valid_to: None,
        revoked: None,
    }
}

impl K {
    fn from(self, from_size: u64) -> Self {
        Self { from_size, ..self }
    }

    fn dates(self, valid_from: i64, valid_to: i64) -> Self {
        let valid_to = Some(valid_to);
        Self {
            valid_from,
            valid_to,
            ..self
        }
    }

    fn revoked(self, size: u64) -> Self {
        Self {
            revoked: Some(size),
            ..self
        }
    }
}

/// One version: when it was issued, the generation of the log, the keys.
#[derive(Clone, Debug)]
struct V {
    at: i64,
    generation: u32,
    keys: Vec<K>,
}

fn v(at: i64, generation: u32, keys: &[K]) -> V {
    V {
        at,
        generation,
        keys: keys.to_vec(),
    }
}

fn base() -> Arc<Roster> {
    static BASE: std::sync::OnceLock<Arc<Roster>> = std::sync::OnceLock::new();
    let base = BASE.get_or_init(|| {
        let root = signing(200);
        let member = dev_member(&federation(), &hefei(), MemberRole::Bureau, NOW, &[]);
        let draft = Draft::first(
            &federation(),
            &[root.public_key().clone()],
            1,
            NOW,
            86_400 * 90,
        )
        .member(member.expect("a member").draft("127.0.0.1:1001"));
        let chain = RosterChain::start(draft.digest(), &draft.sign(&[&root]), |_| true);
        Arc::clone(chain.expect("a chain").newest())
    });
    Arc::clone(base)
}

fn history(versions: &[V]) -> Vec<Arc<Roster>> {
    (1..)
        .zip(versions)
        .map(|(version, v)| {
            let mut roster = Roster::clone(&base());
            roster.version = version;
            roster.issued_at = v.at;
            let member = roster.members.get_mut(&hefei()).expect("a member");
            member.records_generation = v.generation;
            member.keys = v.keys.iter().map(member_key).collect();
            Arc::new(roster)
        })
        .collect()
}

fn member_key(k: &K) -> MemberKey {
    let public = signing(k.seed).public_key().clone();
    MemberKey {
        usage: KeyUse::Records,
        id: public.id(),
        key: public.into(),
        valid_from: k.valid_from,
        valid_to: k.valid_to,
        revoked_at_size: k.revoked,
        from_size: k.from_size,
    }
}

/// One entry: log, generation, key, index, first witnessed at.
type Asked = (LogName, u32, u8, u64, Option<i64>);

const R: LogName = LogName::Records;
const A: LogName = LogName::Access;

fn bad(why: Why) -> Validity {
    Validity::KeyInvalid(why)
}

fn ask(versions: &[V], (log, generation, seed, index, at): Asked) -> Validity {
    judge(
        &history(versions),
        &origin(log, generation),
        key(seed),
        LogIndex(index),
        at,
    )
}

#[test]
fn each_branch_of_the_rule_has_its_case_and_the_one_beside_it() {
    use Validity::{Provisional, Unknown, Valid};
    let revoked = [v(10, 1, &[k(1)]), v(20, 1, &[k(1).revoked(5)])];
    let rotated = [v(10, 1, &[k(1)]), v(20, 1, &[k(1), k(2).from(8)])];
    let dated = [v(10, 1, &[k(1).dates(15, 30)])];
    let later = [v(10, 1, &[k(1)]), v(20, 1, &[k(1), k(2)])];
    let moved = [
        v(10, 1, &[k(1)]),
        v(20, 1, &[k(1), k(2).from(8)]),
        v(30, 1, &[k(1), k(2).from(12)]),
    ];
    let reborn = [
        v(10, 1, &[k(1), k(2).from(8)]),
        v(20, 2, &[k(1), k(2).from(8)]),
        v(30, 2, &[k(1), k(2).from(8).revoked(3)]),
    ];
    /// What is shown, the rosters, a question and the one beside it, with their answers.
    type Case<'a> = (&'a str, &'a [V], Asked, Validity, Asked, Validity);
    #[rustfmt::skip]
    let table: &[Case<'_>] = &[
        ("a revoked key counts below its size",
            &revoked, (R, 1, 1, 4, Some(15)), Valid, (R, 1, 1, 5, Some(15)), bad(Why::Revoked)),
        ("a revocation does not wait for a witness",
            &revoked, (R, 1, 1, 4, None), Provisional, (R, 1, 1, 5, None), bad(Why::Revoked)),
        ("without a witness an entry is provisional",
            &later, (R, 1, 1, 0, None), Provisional, (R, 1, 1, 0, Some(10)), Valid),
        ("the roster in force must name the key",
            &later, (R, 1, 2, 0, Some(20)), Valid, (R, 1, 2, 0, Some(19)), bad(Why::NotNamed)),
        ("before the first roster the first one counts",
            &later, (R, 1, 1, 0, Some(3)), Valid, (R, 1, 2, 0, Some(3)), bad(Why::NotNamed)),
        ("the key's dates begin with their first second",
            &dated, (R, 1, 1, 0, Some(15)), Valid, (R, 1, 1, 0, Some(14)), bad(Why::NotYetValid)),
        ("and end before their last",
            &dated, (R, 1, 1, 0, Some(29)), Valid, (R, 1, 1, 0, Some(30)), bad(Why::Expired)),
        ("a retiring key signs up to its successor's first index",
            &rotated, (R, 1, 1, 7, Some(20)), Valid, (R, 1, 1, 8, Some(20)), bad(Why::AfterItsRange)),
        ("a successor signs from its first index on",
            &rotated, (R, 1, 2, 8, Some(20)), Valid, (R, 1, 2, 7, Some(20)), bad(Why::BeforeItsRange)),
        ("a successor that came later takes nothing back",
            &rotated, (R, 1, 1, 9, Some(19)), Valid, (R, 1, 1, 9, Some(20)), bad(Why::AfterItsRange)),
        ("a first index that moved up counts from that version on",
            &moved, (R, 1, 1, 9, Some(30)), Valid, (R, 1, 1, 9, Some(29)), bad(Why::AfterItsRange)),
        ("sizes speak of the generation that stated them: a start of the old one is past",
            &reborn, (R, 2, 2, 0, Some(20)), Valid, (R, 1, 2, 0, Some(20)), bad(Why::BeforeItsRange)),
        ("the key before it does not come back with a new generation",
            &reborn, (R, 1, 1, 0, Some(20)), Valid, (R, 2, 1, 0, Some(20)), bad(Why::AfterItsRange)),
        ("a revocation in the new generation leaves the old one alone",
            &reborn, (R, 1, 2, 9, Some(20)), Valid, (R, 2, 2, 3, Some(20)), bad(Why::Revoked)),
        ("a key that no roster ever named is unknown, not invalid",
            &later, (R, 1, 9, 0, Some(20)), Unknown, (R, 1, 1, 0, Some(20)), Valid),
        ("ranges do not speak of the access log",
            &rotated, (A, 1, 1, 99, Some(20)), Valid, (R, 1, 1, 99, Some(20)), bad(Why::AfterItsRange)),
        ("in the access log a revoked key counts for what was witnessed before",
            &revoked, (A, 1, 1, 99, Some(19)), Valid, (A, 1, 1, 0, Some(20)), bad(Why::Revoked)),
        ("what nobody witnessed before the revocation does not count",
            &later, (A, 1, 1, 0, None), Provisional, (A, 1, 3, 0, None), Unknown),
        ("dates speak of the access log too",
            &dated, (A, 1, 1, 0, Some(29)), Valid, (A, 1, 1, 0, Some(30)), bad(Why::Expired)),
    ];
    for (desc, versions, asked, want, beside, other) in table {
        assert_eq!(ask(versions, *asked), *want, "{desc}");
        assert_eq!(ask(versions, *beside), *other, "beside it: {desc}");
    }
    let unwitnessed = (A, 1, 1, 0, None);
    assert_eq!(ask(&revoked, unwitnessed), bad(Why::Revoked));
}

#[test]
fn a_replica_takes_what_the_newest_word_on_the_key_allows() {
    let public = |seed: u8| signing(seed).public_key().clone();
    let signer = |versions: &[V], seed: u8, index: u64| {
        let timeline = KeyTimeline::of(&history(versions), &origin(R, 1));
        match timeline.signer(key(seed), LogIndex(index)) {
            Signer::Key(found) if *found == public(seed) => Ok(()),
            Signer::Key(_) => Err("another key"),
            Signer::Refused(why) => Err(why.code()),
            Signer::Newer(_) => Err("newer"),
            Signer::Unknown => Err("unknown"),
        }
    };
    let revoked = [v(10, 1, &[k(1)]), v(20, 1, &[k(1).revoked(5)])];
    assert_eq!(signer(&revoked, 1, 4), Ok(()));
    assert_eq!(signer(&revoked, 1, 5), Err("revoked"));
    assert_eq!(signer(&revoked, 2, 5), Err("unknown"));
    let rotated = [v(10, 1, &[k(1)]), v(20, 1, &[k(1), k(2).from(8)])];
    assert_eq!(signer(&rotated, 1, 7), Ok(()));
    assert_eq!(signer(&rotated, 1, 8), Err("after_its_range"));
    assert_eq!(signer(&rotated, 2, 8), Ok(()));
    assert_eq!(signer(&rotated, 2, 7), Err("before_its_range"));
    let goes_on = [v(10, 1, &[k(1).revoked(5), k(2).from(8)])];
    assert_eq!(signer(&goes_on, 1, 7), Ok(()), "the log goes on behind it");
    assert_eq!(ask(&goes_on, (R, 1, 1, 7, Some(10))), bad(Why::Revoked));
    assert_eq!(signer(&goes_on, 1, 8), Err("revoked"));
    let left = [v(10, 1, &[k(1)]), v(20, 1, &[])];
    assert_eq!(signer(&left, 1, 3), Ok(()), "a late joiner reads what was");
}

#[test]
fn the_key_that_is_due_follows_the_sizes() {
    let due = |versions: &[V], index: u64| {
        KeyTimeline::of(&history(versions), &origin(R, 1))
            .due(LogIndex(index), 50)
            .map(casegate::keys::ListedKey::id)
    };
    let rotated = [v(10, 1, &[k(1), k(2).from(8)])];
    assert_eq!(due(&rotated, 7), Some(key(1)));
    assert_eq!(due(&rotated, 8), Some(key(2)));
    let stopped = [v(10, 1, &[k(1).revoked(5)])];
    assert_eq!(due(&stopped, 4), Some(key(1)));
    assert_eq!(due(&stopped, 5), None);
    let waiting = [v(10, 1, &[k(1).revoked(5), k(2).from(8)])];
    assert_eq!(due(&waiting, 6), None, "nobody signs in between");
    let two = [v(10, 1, &[k(1), k(2)])];
    assert!(due(&two, 3).is_some());
    let ended = [v(10, 1, &[k(1).dates(0, 50)])];
    assert_eq!(due(&ended, 3), None, "its dates ended");
    let running = [v(10, 1, &[k(1).dates(0, 51)])];
    assert_eq!(due(&running, 3), Some(key(1)));
}

/// The rule as PROTOCOL.md says it, word by word, without a timeline.
fn naive(versions: &[V], (_, generation, seed, index, at): Asked) -> Validity {
    let of = |v: &V| v.keys.iter().find(|k| k.seed == seed).copied();
    let Some(newest) = versions.iter().rev().find_map(of) else {
        return Validity::Unknown;
    };
    let place = (generation, index);
    if let Some(size) = newest.revoked {
        let said = versions
            .iter()
            .find(|v| of(v).is_some_and(|k| k.revoked.is_some()))
            .expect("revoked somewhere");
        if place >= (said.generation, size) {
            return bad(Why::Revoked);
        }
    }
    let Some(at) = at else {
        return Validity::Provisional;
    };
    let force = versions.iter().rposition(|v| v.at <= at).unwrap_or(0);
    let start = |k: K| {
        let same = |v: &&V| {
            v.keys
                .iter()
                .any(|o| o.seed == k.seed && o.from_size == k.from_size)
        };
        let said = versions[..=force].iter().find(same).expect("said");
        (said.generation, k.from_size)
    };
    let Some(named) = of(&versions[force]) else {
        return bad(Why::NotNamed);
    };
    if at < named.valid_from {
        return bad(Why::NotYetValid);
    }
    if named.valid_to.is_some_and(|end| at >= end) {
        return bad(Why::Expired);
    }
    if place < start(named) {
        return bad(Why::BeforeItsRange);
    }
    let next = |k: &K| start(*k) > start(named) && place >= start(*k);
    if versions[force].keys.iter().any(next) {
        return bad(Why::AfterItsRange);
    }
    Validity::Valid
}

/// Histories in which keys come, move their start up and are revoked once.
fn histories() -> impl Strategy<Value = Vec<V>> {
    let step = (
        0..9_i64,
        any::<bool>(),
        0..4_u8,
        0..12_u64,
        0..12_u64,
        0..20_i64,
    );
    proptest::collection::vec(step, 1..7).prop_map(|steps| {
        let mut now = v(0, 1, &[]);
        let mut all = vec![];
        for (later, new_generation, what, from, size, date) in steps {
            now.at += later;
            now.generation += u32::from(new_generation && what == 0);
            let seed = u8::try_from(now.keys.len()).expect("few") + 1;
            match (what, now.keys.last_mut()) {
                (0 | 1, _) | (_, None) => now.keys.push(k(seed).from(from)),
                (2, Some(last)) if last.revoked.is_none() => last.revoked = Some(size),
                (3, Some(last)) => last.valid_to = Some(date),
                (_, Some(last)) => last.from_size += from,
            }
            all.push(now.clone());
        }
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_rule_and_its_naive_reading_agree(
        versions in histories(),
        generation in 1..4_u32,
        seed in 1..8_u8,
        index in 0..24_u64,
        at in proptest::option::of(-1..60_i64),
    ) {
        let asked = (R, generation, seed, index, at);
        prop_assert_eq!(ask(&versions, asked), naive(&versions, asked));
    }
}

#[test]
fn every_reason_has_a_code_and_a_sentence_of_its_own() {
    let codes: std::collections::BTreeSet<_> = Why::ALL.iter().map(|w| w.code()).collect();
    let words: std::collections::BTreeSet<_> = Why::ALL.iter().map(ToString::to_string).collect();
    assert_eq!((codes.len(), words.len()), (Why::ALL.len(), Why::ALL.len()));
}

#[test]
fn a_key_that_is_revoked_at_any_size_speaks_for_its_member_no_more() {
    let versions = [
        V {
            at: NOW,
            generation: 1,
            keys: vec![k(1), k(2).from(50)],
        },
        V {
            at: NOW + 10,
            generation: 1,
            keys: vec![k(1).revoked(90), k(2).from(50)],
        },
    ];
    let speaker = |count: usize, seed| {
        let known = history(&versions[..count]);
        let timeline = KeyTimeline::of(&known, &origin(LogName::Records, 1));
        match timeline.speaker(key(seed)) {
            Signer::Key(found) => Ok(found.id() == key(seed)),
            Signer::Refused(why) => Err(Some(why)),
            Signer::Newer(_) | Signer::Unknown => Err(None),
        }
    };
    assert_eq!(
        (speaker(1, 1), speaker(2, 1)),
        (Ok(true), Err(Some(Why::Revoked)))
    );
    assert_eq!((speaker(2, 2), speaker(2, 3)), (Ok(true), Err(None)));
}
