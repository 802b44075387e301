//! What a dishonest peer may send, handed straight to a ledger: each of it is
//! refused whole, with nothing stored and nothing indexed. No network.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use casegate::blame::{Blame, Blamed};
use casegate::checkpoint::Checkpoint;
use casegate::clock::Clock;
use casegate::ids::{
    CaseRef, Digest, FederationId, KeyId, LogIndex, LogName, Origin, Token, TreeSize, random,
};
use casegate::keys::SigningKey;
use casegate::ledger::{
    BodyReader, BodyState, Ledger, LedgerError, LedgerOptions, Log, LogKeys, NewEntry,
};
use casegate::merkle::Frontier;
use casegate::pki::dev::{DevFederation, dev_federation, dev_member};
use casegate::postings::{Posting, PostingsOptions};
use casegate::record::{
    AmendBody, Audience, Body, BodyType, CaseNoticeBody, ElementBody, ElementRole, Entry,
    RetractBody, RetractReason, Statement, withheld_bytes,
};
use casegate::roster::{KeyUse, Member, MemberRole};
use casegate::seal::SealKey;
use casegate::store::Batch;
use casegate::wire::v1::{BodyAnswer, BodyChunk, Chunk, ElementKind, HeldElement, IndexRange};
use prost::Message;

use crate::cluster::{NOW, id};

/// The members' ledgers of a small federation, each in a directory of its own.
pub(crate) struct Ledgers {
    pub(crate) dev: DevFederation,
    pub(crate) clock: Clock,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn federation() -> FederationId {
    FederationId::new("anhui.example").expect("a name")
}

impl Ledgers {
    /// Makes the roster of hefei, wuhu and anqing; no ledger is open yet.
    pub(crate) fn new() -> Self {
        Self::of(&["hefei", "wuhu", "anqing"].map(|name| (name, &[][..])))
    }

    /// Makes the roster of some bureaus, each with its witnesses.
    pub(crate) fn of(members: &[(&str, &[&str])]) -> Self {
        let made = members.iter().map(|(name, witnesses)| {
            let member = dev_member(&federation(), &id(name), MemberRole::Bureau, NOW, &[]);
            let mut member = member.expect("a member");
            member.witnesses = witnesses.iter().map(|name| id(name)).collect();
            (member, format!("{name}.example:7440"))
        });
        let dev = dev_federation(&federation(), made.collect(), NOW).expect("a federation");
        let dir = tempfile::tempdir().expect("a directory");
        Self {
            dev,
            clock: Clock::manual(NOW),
            dir,
        }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// A member's signing keys: for statements, checkpoints, cosignatures.
    pub(crate) fn keys(&self, name: &str) -> LogKeys {
        let member = self
            .dev
            .members
            .iter()
            .find(|m| m.id == id(name))
            .expect("a member");
        let copy = |key: &SigningKey| SigningKey::from_seed(&key.seed()).expect("a seed");
        LogKeys {
            records: copy(&member.records_key),
            records_next: None,
            checkpoint: copy(&member.checkpoint_key),
            witness: copy(&member.witness_key),
        }
    }

    /// Opens a member's ledger, or opens it again.
    pub(crate) fn open(&self, name: &str) -> Ledger {
        self.open_in(name, &self.path(name))
            .expect("the ledger opens")
    }

    #[allow(clippy::result_large_err, reason = "the ledger's own error")]
    pub(crate) fn open_in(&self, name: &str, dir: &Path) -> Result<Ledger, LedgerError> {
        let options = LedgerOptions {
            federation: federation(),
            own: id(name),
            keys: self.keys(name),
            seal: Arc::new(SealKey::new([7; 32])),
            clock: self.clock.clone(),
            records_generation: 1,
            access_generation: 1,
            cache_bytes: 1 << 20,
            index: PostingsOptions::default(),
        };
        Ledger::open(dir, options)
    }

    /// The member as the roster names it.
    pub(crate) fn member(&self, name: &str) -> Member {
        self.dev
            .chain
            .newest()
            .member(&id(name))
            .expect("a member")
            .clone()
    }

    pub(crate) fn reader<'a>(&'a self, member: &'a Member) -> BodyReader<'a> {
        BodyReader {
            member,
            roster: self.dev.chain.newest(),
        }
    }
}

/// The name of a member's records log.
pub(crate) fn origin(name: &str) -> Origin {
    Origin {
        federation: federation(),
        member: id(name),
        log: LogName::Records,
        generation: 1,
    }
}

/// An element of `owner` with the token and case that `n` stands for.
pub(crate) fn element(owner: &str, n: u32, audience: Audience) -> NewEntry {
    let mut token = [0; 16];
    token[..4].copy_from_slice(&n.to_be_bytes());
    let case_ref = CaseRef(token);
    let held = HeldElement {
        kind: ElementKind::Phone as i32,
        canonical: format!("+86138{n:08}"),
        case_no: format!("C-{n}"),
        case_ref: case_ref.as_bytes().to_vec().into(),
        role: ElementRole::Suspect as i32,
        ..Default::default()
    };
    let body = ElementBody {
        nonce: random(),
        federation: federation(),
        member: id(owner),
        case_ref,
        kind: ElementKind::Phone,
        token: Token(token),
        token_key_id: KeyId([1; 8]),
        commitment: Digest(random()),
        role: ElementRole::Suspect,
        observed_on: 20_000,
        audience,
        handling: String::new(),
        expires_at: 0,
        canonical_rules: 1,
    };
    NewEntry {
        body: Body::Element(body),
        expires_at: 0,
        private: Some(held.encode_to_vec()),
    }
}

/// A retraction of the entries [start, end).
pub(crate) fn retraction(start: u64, end: u64) -> NewEntry {
    let body = RetractBody {
        nonce: random(),
        targets: vec![(LogIndex(start), LogIndex(end))],
        reason: RetractReason::Mistake,
    };
    NewEntry {
        body: Body::Retract(body),
        expires_at: 0,
        private: None,
    }
}

/// An amendment of the entry at `target` of an own log.
pub(crate) fn amendment(ledger: &Ledger, target: u64, day: i32, audience: Audience) -> NewEntry {
    let entry = ledger
        .entry(0, LogIndex(target))
        .expect("readable")
        .expect("an entry");
    let body = AmendBody {
        nonce: random(),
        target_index: LogIndex(target),
        target_leaf: entry.leaf_hash(),
        observed_on: day,
        audience,
        handling: String::new(),
        expires_at: 0,
    };
    NewEntry {
        body: Body::Amend(body),
        expires_at: 0,
        private: None,
    }
}

/// A notice of the case that `n` stands for.
pub(crate) fn notice(n: u32) -> NewEntry {
    let mut case_ref = [0; 16];
    case_ref[..4].copy_from_slice(&n.to_be_bytes());
    let body = CaseNoticeBody {
        nonce: random(),
        case_ref: CaseRef(case_ref),
        category: "fraud".into(),
        month: 202_611,
        desk: "desk".into(),
        expires_at: 0,
        audience: Audience::Federation,
    };
    NewEntry {
        body: Body::CaseNotice(body),
        expires_at: 0,
        private: None,
    }
}

pub(crate) fn append(ledger: &Ledger, entries: Vec<NewEntry>) -> LogIndex {
    ledger
        .append(LogName::Records, entries, Batch::new())
        .expect("appended")
}

/// Everything that the index answers with, in its order.
pub(crate) fn postings(ledger: &Ledger) -> Vec<([u8; 16], Vec<Posting>)> {
    ledger
        .postings()
        .scan()
        .map(|group| group.expect("a group"))
        .collect()
}

/// Carries the rest of a log from one ledger to another, as an honest peer would.
pub(crate) fn carry(ledgers: &Ledgers, from: &Ledger, to: &Ledger, owner: &str) {
    let author = ledgers.member(owner);
    let theirs = from.log(&origin(owner)).expect("the log");
    let ours = to.replica(&origin(owner)).expect("a replica");
    while let Some(chunk) = from
        .chunk(&theirs, LogIndex(ours.size().0), 100)
        .expect("a chunk")
    {
        to.accept_chunk(&ours, &author, chunk)
            .expect("a good chunk");
    }
    let reader = ledgers.member(to.own().as_str());
    let (start, end) = (ours.head().bodies_upto, ours.size().0);
    for at in to
        .retractions(&ours, LogIndex(start), end)
        .expect("retractions")
    {
        let answer = from.serve_bodies(&theirs, at, at.0 + 1, ledgers.reader(&reader));
        to.apply_early(&ours, &answer.expect("an answer"))
            .expect("applied");
    }
    let mut ranges = vec![];
    if start < end {
        ranges.push((start, end));
    }
    ranges.extend(to.absent(&ours, 1_000).expect("absent"));
    for (mut start, end) in ranges {
        while start < end {
            let answer = from.serve_bodies(&theirs, LogIndex(start), end, ledgers.reader(&reader));
            let answer = answer.expect("an answer");
            start += answer.answers.len() as u64;
            to.accept_bodies(&ours, &author, answer)
                .expect("good bodies");
        }
    }
}

/// What a ledger holds of a replica; two that are equal hold the same.
#[derive(Debug, PartialEq)]
struct Holdings {
    size: TreeSize,
    root: Digest,
    checkpoint: Bytes,
    bodies_upto: u64,
    entries: Vec<Bytes>,
    states: Vec<BodyState>,
    absent: Vec<(u64, u64)>,
    postings: Vec<([u8; 16], Vec<Posting>)>,
    position: u64,
}

fn holdings(ledger: &Ledger, log: &Log) -> Holdings {
    let head = log.head();
    let start = LogIndex(0);
    Holdings {
        size: head.size(),
        root: head.root(),
        entries: ledger
            .entries(log.number, start, u64::MAX)
            .expect("entries"),
        states: ledger
            .body_states(log.number, start, head.size().0)
            .expect("states"),
        absent: ledger.absent(log, 1_000).expect("absent"),
        postings: postings(ledger),
        position: ledger.postings().position(log.number).expect("a position"),
        bodies_upto: head.bodies_upto,
        checkpoint: head.checkpoint,
    }
}

/// hefei has published twenty records; wuhu holds the first eight, with bodies.
struct Tampering {
    ledgers: Ledgers,
    owner: Ledger,
    reader: Ledger,
    log: Arc<Log>,
    good: Chunk,
}

const HELD: u64 = 8;

impl Tampering {
    fn new() -> Self {
        let ledgers = Ledgers::new();
        let owner = ledgers.open("hefei");
        let reader = ledgers.open("wuhu");
        let some = |range: std::ops::Range<u32>| {
            range
                .map(|n| element("hefei", n, Audience::Federation))
                .collect()
        };
        append(&owner, some(0..8));
        carry(&ledgers, &owner, &reader, "hefei");
        append(&owner, some(8..20));
        let log = reader.log(&origin("hefei")).expect("the replica");
        let theirs = owner.log(&origin("hefei")).expect("the log");
        let good = owner
            .chunk(&theirs, LogIndex(HELD), 6)
            .expect("a chunk")
            .expect("more");
        assert_eq!(
            good.entries.len(),
            6,
            "the chunk stops short of the checkpoint"
        );
        assert!(!good.consistency.is_empty(), "so it needs a proof");
        Self {
            ledgers,
            owner,
            reader,
            log,
            good,
        }
    }

    fn refused(&self, what: &str, chunk: Chunk, author: &Member, blame: Blame) {
        let before = holdings(&self.reader, &self.log);
        let outcome = self.reader.accept_chunk(&self.log, author, chunk);
        let error = outcome.expect_err(what);
        assert_eq!(error.blame(), blame, "{what}: {error}");
        assert_eq!(
            holdings(&self.reader, &self.log),
            before,
            "{what}: something was kept"
        );
    }

    /// Refused as the peer's fault; the unchanged chunk still goes through after it.
    fn tampered(&self, what: &str, change: impl FnOnce(&mut Chunk)) {
        let mut chunk = self.good.clone();
        change(&mut chunk);
        assert_ne!(chunk, self.good, "{what}: the change changes something");
        self.refused(
            what,
            chunk,
            &self.ledgers.member("hefei"),
            Blame::Misbehaved,
        );
    }

    fn accept_good(&self) {
        let author = self.ledgers.member("hefei");
        let accepted = self
            .reader
            .accept_chunk(&self.log, &author, self.good.clone());
        assert_eq!(
            accepted.expect("the unchanged chunk").size,
            TreeSize(HELD + 6)
        );
    }

    /// A chunk of hefei's own making: `entries` after those that wuhu holds,
    /// with a checkpoint that fits them.
    fn signed_chunk(&self, entries: Vec<Bytes>) -> Chunk {
        let mut frontier = self.log.head().frontier;
        frontier.extend(entries.iter().map(|e| casegate::merkle::leaf_hash(e)));
        Chunk {
            start: self.log.size().0,
            entries,
            checkpoint: self.checkpoint(&origin("hefei"), &frontier, "hefei"),
            consistency: vec![],
        }
    }

    fn checkpoint(&self, origin: &Origin, frontier: &Frontier, signer: &str) -> Bytes {
        let key = self.ledgers.keys(signer).checkpoint;
        let checkpoint = Checkpoint {
            origin: origin.clone(),
            size: frontier.size(),
            root: frontier.root(),
        };
        checkpoint.sign(&key).into_bytes().into()
    }

    fn entry(&self, origin: Origin, body: &Bytes, key: &SigningKey) -> Bytes {
        let body_type = match origin.log {
            LogName::Records => BodyType::Element,
            LogName::Access => BodyType::Access,
        };
        let statement = Statement {
            origin,
            body_type,
            body_sha256: Digest::of(body),
            issued_at: NOW,
            expires_at: 0,
            key_id: key.id(),
        };
        Entry::sign(&statement, key).bytes
    }
}

fn flipped(bytes: &Bytes, at: usize, bit: u8) -> Bytes {
    let mut changed = bytes.to_vec();
    changed[at] ^= 1 << bit;
    changed.into()
}

#[test]
fn a_flipped_bit_anywhere_in_an_entry_is_refused() {
    let t = Tampering::new();
    let entry = t.good.entries[3].clone();
    for at in 0..entry.len() {
        let bit = u8::try_from(at % 8).expect("below 8");
        let bytes = flipped(&entry, at, bit);
        let what = format!("byte {at}");
        // What says that it is of another version is for a later reader to judge.
        if Entry::parse(bytes.clone()).is_err_and(|e| e.is_newer()) {
            assert_eq!(entry[at], 1, "it is the version");
            let mut chunk = t.good.clone();
            chunk.entries[3] = bytes;
            let author = t.ledgers.member("hefei");
            t.refused(&what, chunk, &author, Blame::Incompatible);
            continue;
        }
        t.tampered(&what, |c| c.entries[3] = bytes);
    }
    t.accept_good();
}

#[test]
fn entries_that_are_swapped_dropped_doubled_or_cut_are_refused() {
    let t = Tampering::new();
    t.tampered("two are swapped", |c| c.entries.swap(1, 4));
    t.tampered("one is dropped", |c| drop(c.entries.remove(2)));
    t.tampered("the last is dropped", |c| drop(c.entries.pop()));
    t.tampered("one comes twice", |c| {
        c.entries.insert(2, c.entries[2].clone())
    });
    t.tampered("one is cut", |c| c.entries[2] = c.entries[2].slice(..100));
    t.tampered("one is empty", |c| c.entries[2] = Bytes::new());
    t.tampered("one goes on", |c| {
        c.entries[2] = [&c.entries[2][..], &[0]].concat().into();
    });
    t.tampered("one is huge", |c| c.entries[2] = vec![0; 100_000].into());
    t.tampered("none is left", |c| c.entries.clear());
    t.tampered("there are too many", |c| {
        c.entries = std::iter::repeat_n(c.entries[0].clone(), 4_097).collect();
    });
    t.accept_good();
}

#[test]
fn a_chunk_that_does_not_start_where_the_replica_ends_is_refused() {
    let t = Tampering::new();
    for start in [0, HELD - 1, HELD + 1, HELD + 6, u64::MAX] {
        t.tampered(&format!("it starts at {start}"), |c| c.start = start);
    }
    t.accept_good();
    let author = t.ledgers.member("hefei");
    t.refused(
        "the same chunk again",
        t.good.clone(),
        &author,
        Blame::Misbehaved,
    );
}

#[test]
fn a_checkpoint_of_another_size_root_key_or_log_is_refused() {
    let t = Tampering::new();
    let theirs = t.owner.log(&origin("hefei")).expect("the log");
    let whole = theirs.head().frontier;
    let mut shorter = t.log.head().frontier;
    shorter.extend(
        t.good
            .entries
            .iter()
            .take(3)
            .map(|e| casegate::merkle::leaf_hash(e)),
    );
    let mut longer = whole.clone();
    longer.append(Digest([9; 32]));
    let mut other = Frontier::new();
    other.extend((0..whole.size().0).map(|n| Digest::of(&n.to_be_bytes())));
    let mut access = origin("hefei");
    access.log = LogName::Access;
    let mut next = origin("hefei");
    next.generation = 2;
    let own = origin("hefei");
    let forged = [
        (
            "smaller than the chunk",
            t.checkpoint(&own, &shorter, "hefei"),
        ),
        (
            "of what the replica holds",
            t.checkpoint(&own, &t.log.head().frontier, "hefei"),
        ),
        ("larger", t.checkpoint(&own, &longer, "hefei")),
        ("with another root", t.checkpoint(&own, &other, "hefei")),
        (
            "of an empty log",
            t.checkpoint(&own, &Frontier::new(), "hefei"),
        ),
        (
            "signed by another member",
            t.checkpoint(&own, &whole, "wuhu"),
        ),
        (
            "of another member",
            t.checkpoint(&origin("wuhu"), &whole, "hefei"),
        ),
        ("of the access log", t.checkpoint(&access, &whole, "hefei")),
        (
            "of another generation",
            t.checkpoint(&next, &whole, "hefei"),
        ),
        ("that is no note", Bytes::from_static(b"\xff\xfe nothing")),
    ];
    for (what, checkpoint) in forged {
        t.tampered(&format!("a checkpoint {what}"), |c| {
            c.checkpoint = checkpoint
        });
    }
    // Only where a log has ended there is none; a roster must say so.
    let mut none = t.good.clone();
    none.checkpoint = Bytes::new();
    let hefei = t.ledgers.member("hefei");
    t.refused("no checkpoint", none, &hefei, Blame::Stale);
    let records = t.ledgers.keys("hefei").records;
    let signed_wrong = Checkpoint {
        origin: own,
        size: whole.size(),
        root: whole.root(),
    };
    let signed_wrong = Bytes::from(signed_wrong.sign(&records).into_bytes());
    t.tampered("a checkpoint under the records key", |c| {
        c.checkpoint = signed_wrong
    });
    for at in (0..t.good.checkpoint.len()).step_by(7) {
        t.tampered(&format!("byte {at} of the checkpoint"), |c| {
            c.checkpoint = flipped(&c.checkpoint, at, 1);
        });
    }
    t.accept_good();
}

#[test]
fn an_announced_checkpoint_that_tells_another_history_is_refused() {
    let t = Tampering::new();
    t.accept_good();
    let author = t.ledgers.member("hefei");
    let entries = t.owner.entries(0, LogIndex(0), u64::MAX).expect("entries");
    let leaves: Vec<_> = entries
        .iter()
        .map(|e| casegate::merkle::leaf_hash(e))
        .collect();
    let at = |size: usize| {
        let mut frontier = Frontier::new();
        frontier.extend(leaves.iter().copied().take(size));
        frontier
    };
    for size in [5, 8, 14, 20] {
        let honest = t.checkpoint(&origin("hefei"), &at(size), "hefei");
        let taken = t
            .reader
            .accept_checkpoint(&t.log, &author, &honest)
            .expect("an honest one");
        assert_eq!(
            taken,
            TreeSize(size as u64),
            "old, held, or ahead of what is held"
        );
    }
    for size in [5, 8, 14] {
        let mut other = at(size - 1);
        other.append(Digest([7; 32]));
        let before = holdings(&t.reader, &t.log);
        let forked = t.checkpoint(&origin("hefei"), &other, "hefei");
        let error = t
            .reader
            .accept_checkpoint(&t.log, &author, &forked)
            .expect_err("a fork");
        assert_eq!(error.blame(), Blame::Misbehaved, "{size}: {error}");
        let forged = t.checkpoint(&origin("hefei"), &at(size), "wuhu");
        t.reader
            .accept_checkpoint(&t.log, &author, &forged)
            .expect_err("another's signature");
        assert_eq!(holdings(&t.reader, &t.log), before);
    }
}

#[test]
fn a_consistency_proof_that_is_wrong_short_or_long_is_refused() {
    let t = Tampering::new();
    for at in 0..t.good.consistency.len() {
        t.tampered(&format!("hash {at}"), |c| {
            c.consistency[at] = flipped(&c.consistency[at], 5, 0);
        });
        t.tampered(&format!("without hash {at}"), |c| {
            drop(c.consistency.remove(at))
        });
        t.tampered(&format!("hash {at} is cut"), |c| {
            c.consistency[at] = c.consistency[at].slice(..31);
        });
    }
    t.tampered("no proof", |c| c.consistency.clear());
    t.tampered("one hash more", |c| c.consistency.push(vec![0; 32].into()));
    t.tampered("a thousand more", |c| {
        c.consistency
            .extend(std::iter::repeat_n(Bytes::from(vec![0; 32]), 1_000));
    });
    t.accept_good();
}

#[test]
fn an_entry_of_another_log_author_or_generation_is_refused() {
    let t = Tampering::new();
    let key = t.ledgers.keys("hefei").records;
    let body = Bytes::from_static(b"some body");
    let mut access = origin("hefei");
    access.log = LogName::Access;
    let mut next = origin("hefei");
    next.generation = 2;
    let mut abroad = origin("hefei");
    abroad.federation = FederationId::new("jiangsu.example").expect("a name");
    let others = [
        ("author", origin("wuhu")),
        ("generation", next),
        ("federation", abroad),
        ("log", access),
    ];
    for (what, origin) in others {
        let chunk = t.signed_chunk(vec![t.entry(origin, &body, &key)]);
        let author = t.ledgers.member("hefei");
        t.refused(
            &format!("another {what}"),
            chunk,
            &author,
            Blame::Misbehaved,
        );
    }
    let theirs = t.ledgers.keys("wuhu").records;
    let chunk = t.signed_chunk(vec![t.entry(origin("hefei"), &body, &theirs)]);
    // To this roster it is a key that may come with the next one.
    t.refused(
        "another member's key",
        chunk,
        &t.ledgers.member("hefei"),
        Blame::Stale,
    );
    t.accept_good();
}

#[test]
fn entries_at_and_above_the_revocation_of_their_key_are_refused() {
    let t = Tampering::new();
    let mut author = t.ledgers.member("hefei");
    let revoke = |author: &mut Member, size| {
        for key in author
            .keys
            .iter_mut()
            .filter(|k| k.usage == KeyUse::Records)
        {
            key.revoked_at_size = Some(size);
        }
    };
    for size in [0, HELD, HELD + 5] {
        revoke(&mut author, size);
        t.refused(
            &format!("revoked at {size}"),
            t.good.clone(),
            &author,
            Blame::Misbehaved,
        );
    }
    revoke(&mut author, HELD + 6);
    let accepted = t.reader.accept_chunk(&t.log, &author, t.good.clone());
    assert_eq!(
        accepted
            .expect("entries below the revocation stay valid")
            .entries,
        6
    );
}

#[test]
fn a_log_whose_author_has_no_known_key_is_held_and_nobody_is_blamed() {
    let t = Tampering::new();
    let mut author = t.ledgers.member("hefei");
    author.keys.retain(|key| key.usage != KeyUse::Records);
    t.refused("no records key", t.good.clone(), &author, Blame::Stale);
    t.accept_good();
}

#[test]
fn a_body_that_is_signed_twice_in_a_log_is_refused() {
    let t = Tampering::new();
    let author = t.ledgers.member("hefei");
    let key = t.ledgers.keys("hefei").records;
    let Some(BodyState::Held(old)) = t
        .reader
        .body_states(t.log.number, LogIndex(3), 4)
        .expect("states")
        .pop()
    else {
        panic!("the reader holds the body at 3");
    };
    let again = t.entry(origin("hefei"), &old, &key);
    let chunk = t.signed_chunk(vec![again]);
    t.refused(
        "a body that stands earlier",
        chunk,
        &author,
        Blame::Misbehaved,
    );

    let fresh = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    let twice = [&fresh[0], &fresh[1], &fresh[0]].map(|b| t.entry(origin("hefei"), b, &key));
    let chunk = t.signed_chunk(twice.to_vec());
    t.refused("a body twice in a chunk", chunk, &author, Blame::Misbehaved);
    t.accept_good();

    let Tampering {
        ledgers,
        owner,
        reader,
        log,
        ..
    } = t;
    drop((reader, log));
    let reader = ledgers.open("wuhu");
    let log = reader.log(&origin("hefei")).expect("the replica");
    let t = Tampering {
        ledgers,
        owner,
        reader,
        log,
        good: Chunk::default(),
    };
    let again = t.entry(origin("hefei"), &old, &key);
    let chunk = t.signed_chunk(vec![again]);
    t.refused(
        "a body from before a restart",
        chunk,
        &author,
        Blame::Misbehaved,
    );
}

mod bodies;
mod damage;
mod newer;
