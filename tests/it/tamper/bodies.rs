//! What a dishonest peer may answer when it is asked for bodies.

use std::collections::BTreeSet;

use super::*;

/// wuhu holds all of hefei's entries, and the bodies of the first eight. Of the
/// rest, two are for anqing only, and one for nobody.
struct Answers {
    ledgers: Ledgers,
    owner: Ledger,
    reader: Ledger,
    log: Arc<Log>,
    good: BodyChunk,
}

fn only(name: &str) -> Audience {
    Audience::Members(BTreeSet::from([id(name)]))
}

impl Answers {
    fn new() -> Self {
        let ledgers = Ledgers::new();
        let owner = ledgers.open("hefei");
        let reader = ledgers.open("wuhu");
        let all = |n| element("hefei", n, Audience::Federation);
        append(&owner, (0..8).map(all).collect());
        carry(&ledgers, &owner, &reader, "hefei");
        append(&owner, (8..14).map(all).collect());
        let withheld = [only("anqing"), only("anqing"), Audience::Nobody];
        append(
            &owner,
            withheld
                .into_iter()
                .map(|a| element("hefei", 14, a))
                .collect(),
        );
        append(&owner, (17..20).map(all).collect());
        let author = ledgers.member("hefei");
        let theirs = owner.log(&origin("hefei")).expect("the log");
        let log = reader.log(&origin("hefei")).expect("the replica");
        let chunk = owner
            .chunk(&theirs, LogIndex(8), 100)
            .expect("a chunk")
            .expect("more");
        reader
            .accept_chunk(&log, &author, chunk)
            .expect("a good chunk");
        let wuhu = ledgers.member("wuhu");
        let good = owner.serve_bodies(&theirs, LogIndex(8), 20, ledgers.reader(&wuhu));
        let good = good.expect("an answer");
        assert_eq!(good.answers.len(), 12);
        assert_eq!(good.bodies.len(), 9, "three are withheld");
        Self {
            ledgers,
            owner,
            reader,
            log,
            good,
        }
    }

    fn refused(&self, what: &str, chunk: BodyChunk) {
        self.refused_as(what, chunk, Blame::Misbehaved);
    }

    fn refused_as(&self, what: &str, chunk: BodyChunk, blame: Blame) {
        let before = holdings(&self.reader, &self.log);
        let author = self.ledgers.member("hefei");
        let error = self
            .reader
            .accept_bodies(&self.log, &author, chunk)
            .expect_err(what);
        assert_eq!(error.blame(), blame, "{what}: {error}");
        assert_eq!(
            holdings(&self.reader, &self.log),
            before,
            "{what}: something was kept"
        );
    }

    fn tampered(&self, what: &str, change: impl FnOnce(&mut BodyChunk)) {
        let mut chunk = self.good.clone();
        change(&mut chunk);
        assert_ne!(chunk, self.good, "{what}: the change changes something");
        self.refused(what, chunk);
    }

    fn accept_good(&self) {
        let author = self.ledgers.member("hefei");
        let accepted = self
            .reader
            .accept_bodies(&self.log, &author, self.good.clone());
        let accepted = accepted.expect("the unchanged answer");
        assert_eq!((accepted.held, accepted.not_for_me), (9, 3));
    }
}

fn answer(chunk: &mut BodyChunk, at: usize, answer: BodyAnswer) {
    let mut answers = chunk.answers.to_vec();
    answers[at] = u8::try_from(answer as i32).expect("small");
    chunk.answers = answers.into();
}

#[test]
fn a_body_that_is_not_the_signed_one_is_not_kept_and_holds_up_no_other() {
    let t = Answers::new();
    let author = t.ledgers.member("hefei");
    let mut chunk = t.good.clone();
    chunk.bodies.swap(0, 1);
    chunk.bodies[4] = Bytes::new();
    chunk.bodies[5] = vec![0; 1_000_000].into();
    let accepted = t.reader.accept_bodies(&t.log, &author, chunk);
    let accepted = accepted.expect("the others are kept");
    assert_eq!((accepted.held, accepted.absent), (5, 4));
    let wrong = accepted.wrong.expect("the source is to blame");
    assert_eq!(wrong.blame(), Blame::Misbehaved);
    assert!(wrong.to_string().contains("entry 8"), "{wrong}");
    let open = t.reader.absent(&t.log, 10).expect("absent");
    assert_eq!(open, [(8, 10), (12, 14)]);

    let before = holdings(&t.reader, &t.log);
    let good = t.owner_answer(12, 13);
    for at in 0..good.bodies[0].len() {
        let bit = u8::try_from(at % 8).expect("below 8");
        let mut late = good.clone();
        late.bodies[0] = flipped(&late.bodies[0], at, bit);
        let accepted = t.reader.accept_bodies(&t.log, &author, late);
        let accepted = accepted.expect("an answer");
        assert!(accepted.wrong.is_some() && accepted.held == 0, "byte {at}");
        assert_eq!(holdings(&t.reader, &t.log), before, "byte {at}");
    }
    for (start, end) in [(8, 10), (12, 14)] {
        let late = t.owner_answer(start, end);
        let accepted = t.reader.accept_bodies(&t.log, &author, late);
        let accepted = accepted.expect("the owner has them");
        assert!(accepted.wrong.is_none() && accepted.held == 2);
    }
    assert!(t.reader.absent(&t.log, 10).expect("absent").is_empty());
}

#[test]
fn an_answer_with_bodies_missing_or_too_many_is_refused_as_a_whole() {
    let t = Answers::new();
    t.tampered("a body is missing", |c| drop(c.bodies.remove(3)));
    t.tampered("the last body is missing", |c| drop(c.bodies.pop()));
    t.tampered("a body too many", |c| c.bodies.push(c.bodies[0].clone()));
    t.accept_good();
}

#[test]
fn a_body_is_withheld_only_with_the_owners_signature_for_this_reader() {
    let t = Answers::new();
    t.tampered("without a signature", |c| c.withheld = None);
    t.tampered("with an empty signature", |c| {
        c.withheld.as_mut().expect("withheld").signature = None;
    });
    t.tampered("with a flipped bit", |c| {
        let withheld = c.withheld.as_mut().expect("withheld");
        let signature = withheld.signature.as_mut().expect("signed");
        signature.signature = flipped(&signature.signature, 40, 3);
    });
    t.tampered("for more than was signed", |c| {
        let withheld = c.withheld.as_mut().expect("withheld");
        withheld.ranges = vec![IndexRange { start: 8, end: 20 }];
    });
    t.tampered("under another roster version", |c| {
        c.withheld.as_mut().expect("withheld").roster_version += 1;
    });
    t.tampered("of a body outside the signed ranges", |c| {
        answer(c, 0, BodyAnswer::NotForYou);
        c.bodies.remove(0);
    });
    let ranges = [(14, 17)];
    let theirs = t.ledgers.keys("wuhu").records;
    let forged = |receiver: &str, key: &SigningKey| {
        let bytes = withheld_bytes(&origin("hefei"), &id(receiver), 1, &ranges);
        casegate::wire::v1::Signature {
            key_id: key.id().as_bytes().to_vec().into(),
            signature: key.sign(&bytes).to_vec().into(),
        }
    };
    let by_relay = forged("wuhu", &theirs);
    // A key that no roster here names: the owner's may be new, nobody is blamed.
    let mut chunk = t.good.clone();
    chunk.withheld.as_mut().expect("withheld").signature = Some(by_relay);
    t.refused_as("signed by somebody else", chunk, Blame::Stale);
    let for_other = forged("anqing", &t.ledgers.keys("hefei").records);
    t.tampered("signed for another reader", |c| {
        c.withheld.as_mut().expect("withheld").signature = Some(for_other);
    });
    t.accept_good();
}

/// hefei's word, signed as it should be, that it withholds these from wuhu.
fn withheld(t: &Answers, version: u64, ranges: &[(u64, u64)]) -> casegate::wire::v1::Withheld {
    let key = t.ledgers.keys("hefei").records;
    let bytes = withheld_bytes(&origin("hefei"), &id("wuhu"), version, ranges);
    let wire = |&(start, end): &(u64, u64)| IndexRange { start, end };
    casegate::wire::v1::Withheld {
        roster_version: version,
        ranges: ranges.iter().map(wire).collect(),
        signature: Some(casegate::wire::v1::Signature {
            key_id: key.id().as_bytes().to_vec().into(),
            signature: key.sign(&bytes).to_vec().into(),
        }),
    }
}

#[test]
fn a_withholding_is_of_the_bodies_that_are_answered_so_and_of_no_others() {
    let t = Answers::new();
    for ranges in [
        &[(14, 18)][..],
        &[(13, 17)],
        &[(14, 16)],
        &[(0, u64::MAX)],
        &[(14, 17), (17, 18)],
        &[(14, 17), (30, 40)],
        &[(14, 17), (14, 17)],
        &[(15, 17), (14, 15)],
        &[(14, 17), (19, 19)],
        &[(14, 17), (19, 5)],
        &[],
    ] {
        let signed = withheld(&t, 1, ranges);
        t.tampered(&format!("{ranges:?}"), |c| c.withheld = Some(signed));
    }
    let mut chunk = t.good.clone();
    chunk.withheld = Some(withheld(&t, 1, &[(14, 15), (15, 17)]));
    let author = t.ledgers.member("hefei");
    let accepted = t.reader.accept_bodies(&t.log, &author, chunk);
    assert_eq!(accepted.expect("in pieces").not_for_me, 3);
}

#[test]
fn what_is_withheld_under_a_roster_to_come_is_asked_for_again() {
    let t = Answers::new();
    let history = t.ledgers.dev.chain.history().to_vec();
    t.reader
        .follow_rosters(Arc::new(arc_swap::ArcSwap::from_pointee(history)));
    let mut chunk = t.good.clone();
    chunk.withheld = Some(withheld(&t, 2, &[(14, 17)]));
    let author = t.ledgers.member("hefei");
    let accepted = t.reader.accept_bodies(&t.log, &author, chunk);
    let accepted = accepted.expect("nobody is blamed");
    assert_eq!(
        (accepted.held, accepted.not_for_me, accepted.absent),
        (9, 0, 3)
    );
    let absent = || t.reader.absent(&t.log, 10).expect("absent");
    assert_eq!(absent(), [(14, 17)]);
    // The same under the roster that is here.
    let wuhu = t.ledgers.member("wuhu");
    let theirs = t.owner.log(&origin("hefei")).expect("the log");
    let late = t
        .owner
        .serve_bodies(&theirs, LogIndex(14), 17, t.ledgers.reader(&wuhu));
    let late = t
        .reader
        .accept_bodies(&t.log, &author, late.expect("an answer"));
    assert_eq!(late.expect("settled").not_for_me, 3);
    assert!(absent().is_empty());
}

#[test]
fn answers_that_do_not_fit_the_question_are_refused() {
    let t = Answers::new();
    t.tampered("an unknown answer", |c| {
        c.answers = flipped(&c.answers, 0, 6);
    });
    t.tampered("an empty answer", |c| {
        answer(c, 11, BodyAnswer::Unspecified);
        c.bodies.pop();
    });
    t.tampered("answers beyond the log's end", |c| {
        c.answers = [&c.answers[..], &[3]].concat().into();
    });
    t.tampered("a start beyond the log's end", |c| c.start = u64::MAX);
    t.tampered("bodies before it are left out", |c| {
        c.start = 9;
        c.answers = c.answers.slice(1..);
        c.bodies.remove(0);
    });
    t.tampered("too many answers", |c| c.answers = vec![3; 2_049].into());
    t.accept_good();
    t.refused("the same answer again", t.good.clone());
}

#[test]
fn a_source_cannot_take_back_what_is_held() {
    let t = Answers::new();
    t.accept_good();
    for word in [BodyAnswer::Absent, BodyAnswer::Erased, BodyAnswer::Lost] {
        let mut chunk = BodyChunk {
            start: 2,
            answers: vec![0].into(),
            ..Default::default()
        };
        answer(&mut chunk, 0, word);
        t.refused(&format!("{word:?} for a body that is held"), chunk);
    }
    let mut chunk = t.owner_answer(6, 10);
    chunk.start = 6;
    t.refused("bodies that are held, sent again", chunk);
}

impl Answers {
    fn owner_answer(&self, start: u64, end: u64) -> BodyChunk {
        let theirs = self.owner.log(&origin("hefei")).expect("the log");
        let wuhu = self.ledgers.member("wuhu");
        let answer =
            self.owner
                .serve_bodies(&theirs, LogIndex(start), end, self.ledgers.reader(&wuhu));
        answer.expect("an answer")
    }
}

#[test]
fn an_end_that_nobody_signed_is_not_believed() {
    let t = Answers::new();
    let author = t.ledgers.member("hefei");
    let mut chunk = t.good.clone();
    answer(&mut chunk, 0, BodyAnswer::Erased);
    answer(&mut chunk, 1, BodyAnswer::Lost);
    chunk.bodies.drain(..2);
    let accepted = t
        .reader
        .accept_bodies(&t.log, &author, chunk)
        .expect("a good answer");
    assert_eq!(
        (accepted.erased, accepted.absent),
        (0, 2),
        "both are asked for again"
    );
    assert_eq!(t.reader.absent(&t.log, 10).expect("absent"), [(8, 10)]);

    let late = t.owner_answer(8, 10);
    let accepted = t
        .reader
        .accept_bodies(&t.log, &author, late)
        .expect("the owner has them");
    assert_eq!(accepted.held, 2);
    assert!(t.reader.absent(&t.log, 10).expect("absent").is_empty());
}

#[test]
fn a_body_of_another_member_than_its_log_is_kept_and_not_used() {
    let t = Answers::new();
    let author = t.ledgers.member("hefei");
    let key = t.ledgers.keys("hefei").records;
    let Body::Element(theirs) = element("wuhu", 40, Audience::Federation).body else {
        panic!("an element");
    };
    let mut ended = theirs.clone();
    ended.member = id("hefei");
    ended.expires_at = NOW + 1;
    let mut abroad = theirs.clone();
    abroad.member = id("hefei");
    abroad.federation = FederationId::new("jiangsu.example").expect("a name");
    t.accept_good();
    for (what, body) in [
        ("another member's element", theirs),
        ("an element with another end than its statement", ended),
        ("another federation's element", abroad),
    ] {
        // The author signs it and logs it: the entry is good, its body is not.
        let bytes = Body::Element(body).encode();
        let statement = Statement {
            origin: origin("hefei"),
            body_type: BodyType::Element,
            body_sha256: Digest::of(&bytes),
            issued_at: NOW,
            expires_at: 0,
            key_id: key.id(),
        };
        let entry = Entry::sign(&statement, &key);
        let mut frontier = t.log.head().frontier;
        frontier.append(entry.leaf_hash());
        let checkpoint = Checkpoint {
            origin: origin("hefei"),
            size: frontier.size(),
            root: frontier.root(),
        };
        let signed = checkpoint.sign(&t.ledgers.keys("hefei").checkpoint);
        let start = t.log.size().0;
        let chunk = Chunk {
            start,
            entries: vec![entry.bytes],
            checkpoint: signed.into_bytes().into(),
            consistency: vec![],
        };
        t.reader
            .accept_chunk(&t.log, &author, chunk)
            .expect("the entry is in order");
        let held = BodyChunk {
            start,
            answers: vec![1].into(),
            bodies: vec![bytes],
            ..Default::default()
        };
        let before = postings(&t.reader);
        let accepted = t.reader.accept_bodies(&t.log, &author, held);
        assert_eq!(accepted.expect("an answer").refused, 1, "{what}");
        assert_eq!(postings(&t.reader), before, "{what}: it is not indexed");
        let kept = t.reader.opaque(t.log.number, LogIndex(start));
        let kept = kept.expect("readable").expect("it is known");
        assert!(kept.refused, "{what}: {kept:?}");
    }
}

#[test]
fn a_relay_serves_only_the_audience_and_never_what_has_ended() {
    let t = Answers::new();
    t.accept_good();
    let anqing = t.ledgers.member("anqing");
    let relayed = t
        .reader
        .serve_bodies(&t.log, LogIndex(8), 20, t.ledgers.reader(&anqing));
    let relayed = relayed.expect("an answer");
    assert!(
        relayed.withheld.is_none(),
        "a relay cannot say that the owner withholds"
    );
    let states: Vec<_> = relayed.answers.iter().copied().collect();
    assert_eq!(&states[6..9], [3, 3, 3], "not held here, so absent");

    append(&t.owner, vec![retraction(8, 10)]);
    carry(&t.ledgers, &t.owner, &t.reader, "hefei");
    let after = t
        .reader
        .serve_bodies(&t.log, LogIndex(8), 10, t.ledgers.reader(&anqing));
    let after = after.expect("an answer");
    assert_eq!(&after.answers[..], [4, 4]);
    assert!(after.bodies.is_empty());
}

#[test]
fn a_body_past_its_end_is_neither_served_nor_kept() {
    let ledgers = Ledgers::new();
    let (owner, reader) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    let mut short = element("hefei", 1, Audience::Federation);
    let Body::Element(body) = &mut short.body else {
        panic!("an element")
    };
    body.expires_at = NOW + 100;
    short.expires_at = NOW + 100;
    append(
        &owner,
        vec![short, element("hefei", 2, Audience::Federation)],
    );
    carry(&ledgers, &owner, &reader, "hefei");
    let log = reader.log(&origin("hefei")).expect("the replica");
    assert_eq!(postings(&reader).len(), 2);
    ledgers.clock.advance(100);
    let anqing = ledgers.member("anqing");
    let answer = reader.serve_bodies(&log, LogIndex(0), 2, ledgers.reader(&anqing));
    assert_eq!(
        &answer.expect("an answer").answers[..],
        [4, 1],
        "ended a second ago"
    );
    assert_eq!(reader.sweep_expired().expect("swept"), 1);
    assert_eq!(postings(&reader).len(), 1);
    assert_eq!(owner.sweep_expired().expect("swept"), 1);
    assert!(
        owner.held(LogIndex(0)).expect("readable").is_none(),
        "nor at home"
    );
}

#[test]
fn an_amendment_that_widens_the_audience_brings_the_body() {
    let t = Answers::new();
    t.accept_good();
    let before = postings(&t.reader).len();
    append(
        &t.owner,
        vec![amendment(&t.owner, 15, 20_222, Audience::Federation)],
    );
    carry(&t.ledgers, &t.owner, &t.reader, "hefei");
    assert_eq!(
        t.reader.absent(&t.log, 10).expect("absent"),
        [(15, 16)],
        "it is asked for again"
    );
    carry(&t.ledgers, &t.owner, &t.reader, "hefei");
    assert!(t.reader.absent(&t.log, 10).expect("absent").is_empty());
    let element = t
        .reader
        .element(t.log.number, LogIndex(15))
        .expect("readable")
        .expect("held");
    assert_eq!(
        (element.body.observed_on, element.body.audience),
        (20_222, Audience::Federation)
    );
    let after = postings(&t.reader);
    assert_eq!(after.len(), before + 1);
    assert!(
        after
            .iter()
            .flat_map(|g| &g.1)
            .any(|p| p.index.0 == 15 && p.day == 20_222)
    );
}

#[test]
fn bodies_that_nobody_has_hold_up_no_others() {
    let t = Answers::new();
    let mut chunk = t.good.clone();
    for at in [0, 1, 3] {
        answer(&mut chunk, at, BodyAnswer::Absent);
    }
    chunk.bodies.remove(3);
    chunk.bodies.drain(..2);
    t.reader
        .accept_bodies(&t.log, &t.ledgers.member("hefei"), chunk)
        .expect("a good answer");
    let next = || t.reader.next_absent(&t.log, 2).expect("absent");
    assert_eq!(next(), [(8, 10)]);
    assert_eq!(next(), [(11, 12)], "not the first ones again");
    assert_eq!(next(), [(8, 10)], "these again only now");
    let late = t.owner_answer(11, 12);
    t.reader
        .accept_bodies(&t.log, &t.ledgers.member("hefei"), late)
        .expect("the owner has it");
    assert_eq!(next(), [(8, 10)], "what came is asked for no more");
    let late = t.owner_answer(8, 10);
    t.reader
        .accept_bodies(&t.log, &t.ledgers.member("hefei"), late)
        .expect("the owner has them");
    assert!(next().is_empty());
}

#[test]
fn a_late_body_that_was_stored_but_not_indexed_is_indexed_at_the_next_start() {
    let t = Answers::new();
    let author = t.ledgers.member("hefei");
    let mut chunk = t.good.clone();
    answer(&mut chunk, 0, BodyAnswer::Absent);
    chunk.bodies.remove(0);
    t.reader
        .accept_bodies(&t.log, &author, chunk)
        .expect("a good answer");
    let late = t.owner_answer(8, 9);
    t.reader
        .accept_bodies(&t.log, &author, late)
        .expect("the body comes late");
    let whole = postings(&t.reader);
    // As after a crash between the two: the body is stored, its posting is not.
    let element = t
        .reader
        .element(t.log.number, LogIndex(8))
        .expect("readable")
        .expect("held");
    let mut lost = casegate::postings::PostingsBatch::default();
    lost.delete(&casegate::postings::PostingKey {
        token_mac: t
            .reader
            .token_mac(element.body.token_key_id, &element.body.token),
        log: t.log.number,
        index: LogIndex(8),
    });
    t.reader.postings().apply(lost).expect("lost");
    let mut key = t.log.number.to_be_bytes().to_vec();
    key.extend_from_slice(&8_u64.to_be_bytes());
    let mut mark = Batch::new();
    mark.put(casegate::store::Table::Absent, &key, vec![]);
    t.reader.store().commit(mark).expect("marked");
    assert_eq!(postings(&t.reader).len(), whole.len() - 1);
    let Answers {
        ledgers,
        owner: _owner,
        reader,
        log,
        ..
    } = t;
    drop((reader, log));
    let reader = ledgers.open("wuhu");
    assert_eq!(postings(&reader), whole);
    let log = reader.log(&origin("hefei")).expect("the replica");
    assert!(reader.absent(&log, 10).expect("absent").is_empty());
}

#[test]
fn an_amended_end_ends_the_element_with_its_amendment() {
    let ledgers = Ledgers::new();
    let (owner, reader) = (ledgers.open("hefei"), ledgers.open("wuhu"));
    append(
        &owner,
        (0..2)
            .map(|n| element("hefei", n, Audience::Federation))
            .collect(),
    );
    for (target, ends) in [(0, 100), (1, 100), (1, 1_000)] {
        let mut amend = amendment(&owner, target, 20_001, Audience::Federation);
        let Body::Amend(body) = &mut amend.body else {
            unreachable!("it is an amendment");
        };
        body.expires_at = NOW + ends;
        amend.expires_at = NOW + ends;
        append(&owner, vec![amend]);
    }
    carry(&ledgers, &owner, &reader, "hefei");
    ledgers.clock.advance(100);
    for ledger in [&owner, &reader] {
        ledger.sweep_expired().expect("swept");
        let log = ledger.log(&origin("hefei")).expect("the log");
        let states = ledger
            .body_states(log.number, LogIndex(0), 5)
            .expect("states");
        let held: Vec<_> = states
            .iter()
            .map(|s| matches!(s, BodyState::Held(_)))
            .collect();
        assert_eq!(
            held,
            [false, true, false, false, true],
            "the later end of the second counts"
        );
    }
    ledgers.clock.advance(900);
    for ledger in [&owner, &reader] {
        ledger.sweep_expired().expect("swept");
        assert!(postings(ledger).is_empty());
    }
}
