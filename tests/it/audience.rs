//! Audiences over the versions of the roster: what was withheld from a member is
//! asked for again when a newer roster moves it, and who may owe a receipt for
//! what it never got signs one.

use std::sync::Arc;

use arc_swap::ArcSwap;
use casegate::ids::{CaseRef, LogIndex};
use casegate::ledger::{BodyState, Ledger, RosterHistory};
use casegate::record::{Audience, Body};
use casegate::roster::Draft;
use casegate::wire::v1::{ReceiptState, RosterMember};

use crate::cluster::{Cluster, NOW, id, wait_for};
use crate::tamper::{Ledgers, amendment, append, carry, element, notice, origin, retraction};

const HEAD: &str = "case_no,category,kind,value,role,audience\n";

fn region(name: &str) -> Audience {
    Audience::Regions([name.to_owned()].into())
}

fn line<'a>(draft: &'a mut Draft, member: &str) -> &'a mut RosterMember {
    let mut members = draft.wire.members.iter_mut();
    members.find(|m| m.id == member).expect("the member")
}

fn count(states: &[BodyState], which: &BodyState) -> usize {
    states.iter().filter(|state| *state == which).count()
}

fn held(cluster: &Cluster) -> usize {
    let states = cluster.states("wuhu", "hefei");
    let held = |state: &&BodyState| matches!(state, BodyState::Held(_));
    states.iter().filter(held).count()
}

fn withheld(cluster: &Cluster) -> usize {
    count(&cluster.states("wuhu", "hefei"), &BodyState::NotForMe)
}

async fn move_wuhu(cluster: &mut Cluster, region: &str) {
    cluster.clock.advance(10);
    let mut draft = cluster.federation.next_roster();
    line(&mut draft, "wuhu").region = region.into();
    cluster.federation.install(&draft).await.expect("installed");
}

fn case(prefix: &str, n: u8, audience: &str) -> String {
    format!("{HEAD}{prefix}-{n},loan-fraud,domain,loan{n}.example,suspect,{audience}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roster_that_moves_a_member_brings_it_what_was_withheld_and_the_next_ends_that() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    for n in 1..=3 {
        cluster.import("wuhu", &case("WH", n, "nobody")).await;
    }
    cluster
        .import("hefei", &case("HF", 1, "region:coast"))
        .await;
    cluster.converge().await;
    assert_eq!((held(&cluster), withheld(&cluster)), (0, 2));
    assert!(cluster.query("wuhu", "WH-1").await.matches.is_empty());

    move_wuhu(&mut cluster, "coast").await;
    wait_for("what was withheld comes", || held(&cluster) == 2).await;
    let hits = |cluster: &Cluster| cluster.parts("wuhu").ledger.hits().expect("hits").len();
    wait_for("a hit", || hits(&cluster) == 1).await;
    let found = cluster.query("wuhu", "WH-1").await.matches;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].category, "loan-fraud", "the notice came too");
    cluster
        .import("hefei", &case("HF", 2, "region:coast"))
        .await;
    wait_for("what is new comes at once", || held(&cluster) == 4).await;

    move_wuhu(&mut cluster, "anhui").await;
    cluster
        .import("hefei", &case("HF", 3, "region:coast"))
        .await;
    cluster.converge().await;
    assert_eq!((held(&cluster), withheld(&cluster)), (4, 2));
    assert!(cluster.query("wuhu", "WH-3").await.matches.is_empty());
    assert_eq!(cluster.query("wuhu", "WH-2").await.matches.len(), 1);

    // Who slept over the version that moved it gets the rest when it wakes.
    cluster.stop("wuhu").await;
    move_wuhu(&mut cluster, "coast").await;
    cluster.restart("wuhu").await;
    wait_for("the rest comes", || held(&cluster) == 6).await;
    wait_for("all hits", || hits(&cluster) == 3).await;
    let province = cluster.states("province", "hefei");
    assert_eq!(
        count(&province, &BodyState::NotForMe),
        6,
        "it was not moved"
    );
    cluster.federation.stop().await;
}

/// hefei and wuhu, who follow the rosters; wuhu is in the region `anhui`.
struct Moving {
    ledgers: Ledgers,
    owner: Ledger,
    reader: Ledger,
    history: RosterHistory,
}

impl Moving {
    fn new() -> Self {
        let ledgers = Ledgers::new();
        let (owner, reader) = (ledgers.open("hefei"), ledgers.open("wuhu"));
        let history: RosterHistory =
            Arc::new(ArcSwap::from_pointee(ledgers.dev.chain.history().to_vec()));
        let mut moving = Self {
            ledgers,
            owner,
            reader,
            history,
        };
        moving.reader.follow_rosters(Arc::clone(&moving.history));
        moving.to("anhui");
        moving.learn();
        let moved = moving.reader.reopen_after_move();
        assert_eq!(moved.expect("looked"), 0, "nothing is held yet");
        moving
    }

    /// Issues a roster that puts wuhu into a region; nobody but the owner has it.
    fn to(&mut self, region: &str) {
        self.ledgers.clock.advance(100);
        let now = self.ledgers.clock.now();
        let mut draft = Draft::after(self.ledgers.dev.chain.newest(), now, 86_400);
        line(&mut draft, "wuhu").region = region.into();
        let signed = draft.sign(&[&self.ledgers.dev.root]);
        let chain = &mut self.ledgers.dev.chain;
        chain.extend(&signed).expect("a good roster");
        self.ledgers.clock.advance(100);
    }

    /// wuhu gets the newest rosters.
    fn learn(&self) {
        let history = self.ledgers.dev.chain.history().to_vec();
        self.history.store(Arc::new(history));
    }

    fn carry(&self) {
        carry(&self.ledgers, &self.owner, &self.reader, "hefei");
    }

    fn states(&self) -> Vec<BodyState> {
        let log = self.reader.log(&origin("hefei")).expect("the replica");
        let states = self
            .reader
            .body_states(log.number, LogIndex(0), log.size().0);
        states.expect("states")
    }

    fn is_held(&self, at: usize) -> bool {
        matches!(self.states()[at], BodyState::Held(_))
    }

    /// (start, end) of every range of hefei's log that wuhu says it never held.
    fn never_held(&self) -> Vec<(u64, u64)> {
        let history = self.history.load_full();
        self.reader.write_receipts(&history).expect("signed");
        let own = self.reader.own_log(casegate::ids::LogName::Records);
        let bodies = self
            .reader
            .decoded_bodies(own.number, LogIndex(0), own.size().0);
        let mut out = vec![];
        for (_, body) in bodies.expect("readable") {
            let Body::Receipt(receipt) = body else {
                continue;
            };
            for item in receipt.items {
                assert_eq!(item.state(), ReceiptState::NeverHeld);
                let range = item.range.expect("a range");
                out.push((range.start, range.end));
            }
        }
        out
    }
}

#[test]
fn only_a_move_opens_what_is_withheld_and_only_once() {
    let mut t = Moving::new();
    append(&t.owner, vec![element("hefei", 1, region("coast"))]);
    append(&t.owner, vec![element("hefei", 2, Audience::Nobody)]);
    t.carry();
    assert_eq!(t.reader.reopen_after_move().expect("looked"), 0);
    t.to("anhui");
    t.learn();
    assert_eq!(t.reader.reopen_after_move().expect("looked"), 0);
    t.to("coast");
    t.learn();
    assert_eq!(t.reader.reopen_after_move().expect("opened"), 2);
    assert_eq!(t.reader.reopen_after_move().expect("looked"), 0);
    t.carry();
    assert!(t.is_held(0));
    assert_eq!(
        t.states()[1],
        BodyState::NotForMe,
        "the owner said it again"
    );
    assert_eq!(t.reader.reopen_after_move().expect("looked"), 0);
    drop(t.reader);
    let reader = t.ledgers.open("wuhu");
    reader.follow_rosters(t.history);
    assert_eq!(reader.reopen_after_move().expect("looked"), 0, "nor again");
}

#[test]
fn an_owner_that_goes_by_an_older_roster_is_asked_again() {
    let mut t = Moving::new();
    append(&t.owner, vec![element("hefei", 1, region("coast"))]);
    // The owner's answer is from before the move that wuhu knows of already.
    let before = t.ledgers.member("wuhu");
    let log = t.owner.log(&origin("hefei")).expect("the log");
    let answer = t
        .owner
        .serve_bodies(&log, LogIndex(0), 1, t.ledgers.reader(&before));
    t.to("coast");
    t.learn();
    assert_eq!(t.reader.reopen_after_move().expect("looked"), 0);
    let author = t.ledgers.member("hefei");
    let chunk = t.owner.chunk(&log, LogIndex(0), 9).expect("a chunk");
    let replica = t.reader.replica(&origin("hefei")).expect("a replica");
    t.reader
        .accept_chunk(&replica, &author, chunk.expect("entries"))
        .expect("a good chunk");
    t.reader
        .accept_bodies(&replica, &author, answer.expect("an answer"))
        .expect("a good answer");
    assert_eq!(t.states(), [BodyState::Absent], "it is open still");
    t.carry();
    assert!(t.is_held(0));
}

#[test]
fn what_comes_late_does_not_take_the_place_of_what_is_newer() {
    let mut t = Moving::new();
    let with = |mut entry: casegate::ledger::NewEntry, desk: &str, who: Audience| {
        if let Body::CaseNotice(body) = &mut entry.body {
            body.desk = desk.into();
            body.audience = who;
        }
        entry
    };
    append(&t.owner, vec![with(notice(7), "old", region("coast"))]);
    append(&t.owner, vec![with(notice(7), "new", Audience::Federation)]);
    append(&t.owner, vec![element("hefei", 1, Audience::Federation)]);
    let old = amendment(&t.owner, 2, 20_001, region("coast"));
    append(&t.owner, vec![old]);
    let new = amendment(&t.owner, 2, 20_002, Audience::Federation);
    append(&t.owner, vec![new]);
    t.carry();
    t.to("coast");
    t.learn();
    assert_eq!(t.reader.reopen_after_move().expect("opened"), 2);
    t.carry();
    assert!((0..5).all(|at| t.is_held(at)), "{:?}", t.states());
    let mut case = [0; 16];
    case[..4].copy_from_slice(&7_u32.to_be_bytes());
    let shown = t.reader.notice(&id("hefei"), &CaseRef(case));
    assert_eq!(shown.expect("readable").expect("a notice").desk, "new");
    let log = t.reader.log(&origin("hefei")).expect("the replica");
    let element = t.reader.element(log.number, LogIndex(2)).expect("readable");
    assert_eq!(element.expect("held").body.observed_on, 20_002);
    let days: Vec<i32> = crate::tamper::postings(&t.reader)
        .iter()
        .flat_map(|group| group.1.iter().map(|posting| posting.day))
        .collect();
    assert_eq!(days, [20_002]);
}

#[test]
fn who_may_have_been_in_the_audience_signs_for_what_it_never_got() {
    let mut t = Moving::new();
    // 0, 1: issued while wuhu is in the region, asked for when it is not any more.
    append(&t.owner, vec![element("hefei", 1, region("anhui"))]);
    append(&t.owner, vec![element("hefei", 2, region("anhui"))]);
    t.to("coast");
    t.learn();
    // 2: issued after the move, for others.
    append(&t.owner, vec![element("hefei", 3, region("anhui"))]);
    t.carry();
    assert_eq!(count(&t.states(), &BodyState::NotForMe), 3);
    append(&t.owner, vec![retraction(0, 3)]);
    t.carry();
    assert_eq!(t.never_held(), [(0, 2)]);
    assert_eq!(t.never_held(), [(0, 2)], "once");
}

#[test]
fn a_move_that_is_heard_of_after_the_end_is_signed_for_too() {
    let mut t = Moving::new();
    append(&t.owner, vec![element("hefei", 1, region("coast"))]);
    let mut short = element("hefei", 2, region("coast"));
    if let Body::Element(body) = &mut short.body {
        body.expires_at = NOW + 900;
    }
    short.expires_at = NOW + 900;
    append(&t.owner, vec![short]);
    append(&t.owner, vec![element("hefei", 3, Audience::Nobody)]);
    t.carry();
    t.to("coast");
    append(&t.owner, vec![retraction(0, 1)]);
    t.ledgers.clock.advance(1_000);
    t.owner.sweep_expired().expect("swept");
    t.carry();
    t.reader.sweep_expired().expect("swept");
    assert!(
        t.never_held().is_empty(),
        "it does not know of the move yet"
    );
    t.learn();
    t.reader.reopen_after_move().expect("opened");
    t.carry();
    assert_eq!(t.never_held(), [(0, 1), (1, 2)], "each end has its cause");
    assert_eq!(t.states()[2], BodyState::NotForMe);
}
