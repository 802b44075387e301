//! Custodians and the member's side over an in-process transport: who is
//! refused, what is charged, and how outages, lies and restarts end.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use casegate::access::Asked;
use casegate::blame::{Blame, Blamed};
use casegate::clock::{Clock, DAY_S};
use casegate::custodian::{Custodian, CustodianError, Handled, PointsGrant, Rules, ServedKey};
use casegate::ids::{CaseRef, Digest, KeyId, MemberId, QueryId};
use casegate::oprf::{Evaluation, OprfError, padding};
use casegate::shred::ShredKeys;
use casegate::store::{Store, Table};
use casegate::tokens::{
    CustodianTransport, SegmentInput, TokenKeyInfo, Tokenizer, TokensError, TransportError,
};
use casegate::wire::v1::{
    EvaluateRequest, EvaluateResponse, KeygenPlan, Segment, TokenClass, TokenKey,
};

const NAMES: [&str; 3] = ["court", "procuracy", "university"];
const SEAL: [u8; 32] = [3; 32];
const NOON: i64 = 20_000 * DAY_S + DAY_S / 2;

fn member(name: &str) -> MemberId {
    MemberId::new(name).expect("a name")
}

/// Opens a store that may just have been closed: sled's own threads can hold
/// its lock for a moment after the last handle is gone.
fn open(dir: &Path) -> Store {
    for _ in 0..100_000 {
        if let Ok(store) = Store::open(dir, 1 << 20) {
            return store;
        }
        std::thread::yield_now();
    }
    Store::open(dir, 1 << 20).expect("a store")
}

struct Seat {
    dir: tempfile::TempDir,
    name: MemberId,
    custodian: Option<Custodian>,
}

impl Seat {
    fn new(name: &str, clock: &Clock) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut seat = Self {
            dir,
            name: member(name),
            custodian: None,
        };
        seat.restart(clock);
        seat
    }

    fn restart(&mut self, clock: &Clock) {
        self.custodian = None;
        let store = open(self.dir.path());
        let opened = Custodian::open(store, clock.clone(), &SEAL, self.name.clone());
        self.custodian = Some(opened.expect("a custodian"));
    }

    fn custodian(&self) -> &Custodian {
        self.custodian.as_ref().expect("it is open")
    }
}

struct World {
    clock: Clock,
    seats: Vec<Seat>,
    key: TokenKey,
    rules: Rules,
}

/// Three custodians that generated a 2-of-3 key among themselves.
fn world(points_per_day: u64) -> World {
    let clock = Clock::manual(NOON);
    let seats: Vec<_> = NAMES.iter().map(|name| Seat::new(name, &clock)).collect();
    let key = generate(&seats, [9; 16]).pop().expect("a key");
    let rules = rules(&key, points_per_day);
    World {
        clock,
        seats,
        key,
        rules,
    }
}

fn plan(name: [u8; 16]) -> KeygenPlan {
    KeygenPlan {
        ceremony: name.to_vec().into(),
        token_class: TokenClass::Enumerable.into(),
        threshold: 2,
        custodians: NAMES.map(str::to_owned).into(),
    }
}

fn generate(seats: &[Seat], name: [u8; 16]) -> Vec<TokenKey> {
    let plan = plan(name);
    let pairs = |f: &mut dyn FnMut(&Seat, &Seat)| {
        for from in seats {
            for to in seats.iter().filter(|to| to.name != from.name) {
                f(from, to);
            }
        }
    };
    for seat in seats {
        seat.custodian().keygen_join(&plan).expect("joined");
    }
    pairs(&mut |from, to| {
        let package = from
            .custodian()
            .keygen_join(&plan)
            .expect("the same package again");
        to.custodian()
            .keygen_round1(&from.name, &plan, &package)
            .expect("taken");
    });
    pairs(&mut |from, to| {
        let echo = from.custodian().keygen_own_echo(&name).expect("complete");
        let echo: Vec<_> = echo
            .iter()
            .map(|digest| digest.as_bytes().to_vec())
            .collect();
        to.custodian()
            .keygen_echo(&from.name, &name, &echo)
            .expect("the same");
    });
    for from in seats {
        for (to, package) in from.custodian().keygen_own_round2(&name).expect("round 2") {
            let seat = seats.iter().find(|seat| seat.name == to).expect("a seat");
            seat.custodian()
                .keygen_round2(&from.name, &name, &package)
                .expect("taken");
        }
    }
    seats
        .iter()
        .map(|seat| seat.custodian().keygen_finish(&name).expect("a key"))
        .collect()
}

fn rules(key: &TokenKey, points_per_day: u64) -> Rules {
    Rules {
        keys: vec![ServedKey {
            key_id: KeyId::from_slice(&key.key_id).expect("a key id"),
            class: TokenClass::Enumerable,
            epoch: key.epoch,
        }],
        enumerable_points_per_day: points_per_day,
        open_points_per_day: 1_000_000,
        custodian_points_per_day: 1_000_000,
        grants: vec![],
    }
}

fn info(key: &TokenKey) -> TokenKeyInfo {
    TokenKeyInfo {
        key_id: KeyId::from_slice(&key.key_id).expect("a key id"),
        class: TokenClass::Enumerable,
        threshold: 2,
        epoch: key.epoch,
        public_key: key.public_key[..].try_into().expect("32 bytes"),
        shares: key
            .shares
            .iter()
            .map(|share| {
                let index = share.index.try_into().expect("small");
                (
                    member(&share.member),
                    index,
                    share.public_share[..].try_into().expect("32 bytes"),
                )
            })
            .collect(),
    }
}

impl World {
    fn request(&self, points: usize) -> EvaluateRequest {
        EvaluateRequest {
            request_id: vec![1; 16].into(),
            recipient: NAMES[0].into(),
            key_id: self.key.key_id.clone(),
            epoch: 1,
            expires_at: self.clock.now() + 60,
            segments: vec![Segment {
                case_ref: vec![2; 16].into(),
                offence_class: "fraud".into(),
                urgency: "normal".into(),
                purpose_commitment: vec![3; 32].into(),
                count: 1,
            }],
            points: padding(points).into(),
        }
    }

    fn ask(&self, request: &EvaluateRequest) -> Handled {
        self.seats[0]
            .custodian()
            .evaluate(&member("hefei"), &self.rules, request)
    }

    fn refusal(&self, request: &EvaluateRequest) -> CustodianError {
        let handled = self.ask(request);
        let refusal = handled.reply.expect_err("refused");
        assert_eq!(handled.seen.outcome, refusal.code());
        assert_eq!(handled.seen.charged, 0);
        refusal
    }

    fn spent(&self) -> u64 {
        let custodian = self.seats[0].custodian();
        custodian
            .budget(&member("hefei"), &self.rules)
            .expect("a budget")
            .lines[0]
            .spent
    }
}

#[test]
fn requests_that_are_misaddressed_expired_or_of_another_key_are_refused() {
    let world = world(1000);
    let good = world.request(1);
    let with = |change: &dyn Fn(&mut EvaluateRequest)| {
        let mut request = good.clone();
        change(&mut request);
        world.refusal(&request)
    };
    assert!(matches!(
        with(&|r| r.recipient = "procuracy".into()),
        CustodianError::NotForMe
    ));
    assert!(matches!(
        with(&|r| r.expires_at = NOON),
        CustodianError::Expired { .. }
    ));
    assert!(matches!(
        with(&|r| r.expires_at = NOON + 90_000),
        CustodianError::Expired { .. }
    ));
    assert!(matches!(
        with(&|r| r.key_id = vec![0; 4].into()),
        CustodianError::UnknownKey
    ));
    assert!(matches!(
        with(&|r| r.key_id = vec![0; 5].into()),
        CustodianError::UnknownKey
    ));
    let stale = with(&|r| r.epoch = 2);
    assert!(matches!(stale, CustodianError::Epoch { got: 2, want: 1 }));
    assert_eq!(stale.blame(), Blame::Stale);
    assert_eq!(world.spent(), 0);
    assert_eq!(world.ask(&good).seen.outcome, "ok");
}

#[test]
fn a_key_that_the_roster_does_not_list_is_not_served() {
    let mut world = world(1000);
    world.rules.keys.clear();
    assert!(matches!(
        world.refusal(&world.request(1)),
        CustodianError::UnknownKey
    ));
}

#[test]
fn requests_without_a_purpose_are_refused() {
    let world = world(1000);
    let good = world.request(2);
    let refused = |change: &dyn Fn(&mut EvaluateRequest)| {
        let mut request = good.clone();
        change(&mut request);
        let refusal = world.refusal(&request);
        assert!(
            matches!(refusal, CustodianError::Purpose { .. }),
            "{refusal}"
        );
    };
    refused(&|r| r.segments.clear());
    refused(&|r| r.request_id = vec![1; 15].into());
    refused(&|r| r.segments[0].case_ref = vec![2; 15].into());
    refused(&|r| r.segments[0].purpose_commitment = vec![].into());
    refused(&|r| r.segments[0].offence_class = String::new());
    refused(&|r| r.segments[0].urgency = "x".repeat(65));
    refused(&|r| r.segments[0].count = 0);
    refused(&|r| r.segments[0].count = 3);
    refused(&|r| r.segments.resize(5000, good.segments[0].clone()));
    refused(&|r| {
        r.segments[0].count = u32::MAX;
        r.segments.resize(3, r.segments[0].clone());
    });
    assert_eq!(world.spent(), 0);
}

#[test]
fn malformed_batches_are_refused_and_cost_nothing() {
    let world = world(1_000_000);
    let refused = |points: Vec<u8>| {
        let request = EvaluateRequest {
            points: points.into(),
            ..world.request(1)
        };
        match world.refusal(&request) {
            CustodianError::Batch(error) => error,
            other => panic!("{other}"),
        }
    };
    let good = padding(1);
    assert_eq!(
        refused([&good[..], &[0; 32]].concat()),
        OprfError::BadPoint { position: 1 }
    );
    assert_eq!(
        refused([&good[..], &[0xff; 32]].concat()),
        OprfError::BadPoint { position: 1 }
    );
    assert_eq!(
        refused([&good[..], &[1]].concat()),
        OprfError::PointLength { got: 33 }
    );
    assert!(matches!(
        refused(good.repeat(4097)),
        OprfError::BatchSize { got: 4097, .. }
    ));
    let mut none = world.request(1);
    none.points = vec![].into();
    assert!(
        matches!(world.refusal(&none), CustodianError::Purpose { .. }),
        "counts exceed points"
    );
    assert_eq!(world.spent(), 0);
}

#[test]
fn every_point_is_charged_and_a_spent_budget_refuses_until_the_next_day() {
    let world = world(100);
    let reply = world
        .ask(&world.request(64))
        .reply
        .expect("within the budget");
    assert_eq!(reply.budget_left, 36);
    match world.refusal(&world.request(37)) {
        CustodianError::Budget {
            asked: 37,
            left: 36,
            until,
            cap: false,
        } => {
            assert_eq!(until, 20_001 * DAY_S);
        }
        other => panic!("{other}"),
    }
    assert_eq!(world.spent(), 64, "a refused batch costs nothing");
    assert!(world.ask(&world.request(36)).reply.is_ok());
    assert_eq!(
        world.refusal(&world.request(1)).code(),
        "custodian.budget_spent"
    );
    world.clock.advance(DAY_S / 2);
    assert!(world.ask(&world.request(100)).reply.is_ok());
}

#[test]
fn budgets_are_kept_apart_by_member_and_capped_over_all() {
    let mut world = world(100);
    world.rules.custodian_points_per_day = 150;
    assert!(world.ask(&world.request(100)).reply.is_ok());
    let custodian = world.seats[0].custodian();
    let other = |n| {
        custodian
            .evaluate(&member("wuhu"), &world.rules, &world.request(n))
            .reply
    };
    match other(51) {
        Err(CustodianError::Budget {
            left: 50,
            cap: true,
            ..
        }) => {}
        unexpected => panic!("{unexpected:?}"),
    }
    assert!(other(50).is_ok());
}

#[test]
fn the_same_batch_is_charged_once_within_a_day_and_another_member_pays_for_a_copy() {
    let mut world = world(1000);
    let request = world.request(64);
    let first = world.ask(&request).reply.expect("evaluated");
    let again = world.ask(&request);
    assert_eq!((again.seen.charged, again.seen.outcome), (0, "replay"));
    assert_eq!(again.reply.expect("evaluated").points, first.points);
    let clock = world.clock.clone();
    world.seats[0].restart(&clock);
    assert_eq!(world.ask(&request).seen.charged, 0, "also after a restart");
    let copy = world.seats[0]
        .custodian()
        .evaluate(&member("wuhu"), &world.rules, &request);
    assert_eq!(copy.seen.charged, 64);
    assert_eq!(world.spent(), 64);
    world.clock.advance(DAY_S);
    let later = EvaluateRequest {
        expires_at: world.clock.now() + 60,
        ..request
    };
    assert_eq!(
        world.ask(&later).seen.charged,
        64,
        "a day later it is a new question"
    );
}

#[test]
fn neither_restart_nor_a_clock_set_back_refills_a_budget() {
    let mut world = world(64);
    world.clock.advance(DAY_S);
    assert!(world.ask(&world.request(64)).reply.is_ok());
    let clock = world.clock.clone();
    world.seats[0].restart(&clock);
    assert_eq!(
        world.refusal(&world.request(1)).code(),
        "custodian.budget_spent"
    );
    world.clock.advance(-DAY_S);
    assert_eq!(
        world.refusal(&world.request(1)).code(),
        "custodian.budget_spent"
    );
    world.seats[0].restart(&clock);
    assert_eq!(
        world.refusal(&world.request(1)).code(),
        "custodian.budget_spent"
    );
    world.clock.advance(DAY_S);
    assert_eq!(
        world.refusal(&world.request(1)).code(),
        "custodian.budget_spent"
    );
    world.clock.advance(DAY_S);
    assert!(world.ask(&world.request(64)).reply.is_ok());
}

#[test]
fn a_crash_between_debit_and_reply_costs_the_batch_once() {
    let mut world = world(64);
    let request = world.request(64);
    // The reply is lost with the process; only the debit is on the disk.
    drop(world.ask(&request));
    let clock = world.clock.clone();
    world.seats[0].restart(&clock);
    let again = world.ask(&request);
    assert!(again.reply.is_ok());
    assert_eq!((again.seen.charged, world.spent()), (0, 64));
}

#[test]
fn a_grant_adds_points_once_while_it_is_valid_and_only_for_its_member_and_class() {
    let mut world = world(64);
    let grant = |who: &str, class, id: u8| PointsGrant {
        id: Digest([id; 32]),
        member: member(who),
        class,
        points: 100,
        valid_from: NOON,
        valid_to: NOON + 2 * DAY_S,
    };
    world.rules.grants = vec![
        grant("wuhu", TokenClass::Enumerable, 1),
        grant("hefei", TokenClass::Open, 2),
        grant("hefei", TokenClass::Enumerable, 3),
        grant("hefei", TokenClass::Enumerable, 3),
    ];
    world.rules.custodian_points_per_day = 64;
    assert!(
        world.ask(&world.request(150)).reply.is_ok(),
        "64 of the day and 86 of the grant"
    );
    let clock = world.clock.clone();
    world.seats[0].restart(&clock);
    assert!(matches!(
        world.refusal(&world.request(15)),
        CustodianError::Budget { left: 14, .. }
    ));
    world.clock.advance(DAY_S);
    assert!(
        world.ask(&world.request(64 + 14)).reply.is_ok(),
        "the rest on the next day"
    );
    world.clock.advance(DAY_S);
    assert_eq!(
        world.refusal(&world.request(65)).code(),
        "custodian.budget_spent"
    );
}

#[test]
fn the_access_line_says_who_asked_why_and_how_much() {
    let world = world(1000);
    let seen = world.ask(&world.request(64)).seen;
    assert_eq!(seen.caller, member("hefei"));
    assert_eq!(seen.request_id, Some(QueryId([1; 16])));
    assert_eq!((seen.points, seen.charged, seen.outcome), (64, 64, "ok"));
    assert_eq!(seen.purposes.len(), 1);
    assert_eq!(seen.purposes[0].offence_class, "fraud");
}

#[test]
fn shares_are_sealed_at_rest_and_open_only_with_their_key() {
    let mut world = world(1000);
    let seat = &mut world.seats[0];
    seat.custodian = None;
    let store = open(seat.dir.path());
    assert_eq!(store.scan(Table::Share, b"").expect("read").len(), 1);
    let opened = Custodian::open(store, world.clock.clone(), &[4; 32], seat.name.clone());
    assert!(matches!(opened, Err(CustodianError::Share)));
    seat.restart(&world.clock.clone());
    assert!(world.ask(&world.request(1)).reply.is_ok());
}

#[test]
fn every_custodian_ends_a_key_generation_with_the_same_public_side() {
    let clock = Clock::manual(NOON);
    let seats: Vec<_> = NAMES.iter().map(|name| Seat::new(name, &clock)).collect();
    let keys = generate(&seats, [1; 16]);
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_eq!(keys[0].shares.len(), 3);
    let ended = seats[0].custodian().keygen_finish(&[1; 16]);
    assert!(matches!(ended, Err(CustodianError::Keygen(_))), "once only");
}

#[test]
fn key_generation_needs_consent_and_one_plan() {
    let clock = Clock::manual(NOON);
    let seats: Vec<_> = NAMES.iter().map(|name| Seat::new(name, &clock)).collect();
    let first = plan([1; 16]);
    let package = seats[0].custodian().keygen_join(&first).expect("joined");
    let second = seats[1].custodian();
    let uninvited = second.keygen_round1(&seats[0].name, &first, &package);
    assert_eq!(uninvited.expect_err("not joined").code(), "dkg.ended");
    let other = KeygenPlan {
        threshold: 3,
        ..plan([1; 16])
    };
    second.keygen_join(&other).expect("joined");
    let mismatch = second.keygen_round1(&seats[0].name, &first, &package);
    assert_eq!(mismatch.expect_err("another plan").code(), "dkg.foreign");
    assert_eq!(
        second.keygen_join(&first).expect_err("another plan").code(),
        "dkg.foreign"
    );
    for i in 2..9 {
        second.keygen_join(&plan([i; 16])).expect("joined");
    }
    assert_eq!(
        second
            .keygen_join(&plan([99; 16]))
            .expect_err("many")
            .code(),
        "custodian.ceremonies"
    );
}

#[test]
fn messages_that_are_sent_again_after_a_lost_reply_are_taken_as_delivered() {
    let clock = Clock::manual(NOON);
    let seats: Vec<_> = NAMES.iter().map(|name| Seat::new(name, &clock)).collect();
    let (plan, name) = (plan([6; 16]), [6; 16]);
    let package = seats[1].custodian().keygen_join(&plan).expect("joined");
    seats[0].custodian().keygen_join(&plan).expect("joined");
    for _ in 0..2 {
        let taken = seats[0]
            .custodian()
            .keygen_round1(&seats[1].name, &plan, &package);
        taken.expect("the same bytes again are no offence");
    }
    seats[1].custodian().keygen_abandon(&name);
    let other = seats[1]
        .custodian()
        .keygen_join(&plan)
        .expect("joined anew");
    let second = seats[0]
        .custodian()
        .keygen_round1(&seats[1].name, &plan, &other);
    assert_eq!(
        second.expect_err("other bytes are").code(),
        "dkg.equivocation"
    );
    generate(&seats, [8; 16]);
    let late = seats[0]
        .custodian()
        .keygen_round2(&seats[1].name, &[8; 16], b"whatever it was");
    late.expect("a finished ceremony needs nothing more");
}

#[test]
fn callers_at_the_same_time_do_not_spend_a_budget_twice() {
    let world = world(256);
    let requests: Vec<_> = (0..8).map(|_| world.request(64)).collect();
    let same = world.request(64);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = requests
            .iter()
            .map(|r| scope.spawn(|| world.ask(r).reply.is_ok()))
            .collect();
        asked
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    assert_eq!(outcomes.iter().filter(|ok| **ok).count(), 4);
    world.clock.advance(DAY_S);
    let same = EvaluateRequest {
        expires_at: world.clock.now() + 60,
        ..same
    };
    let charged: u64 = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| world.ask(&same).seen.charged))
            .collect();
        asked
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .sum()
    });
    assert_eq!(charged, 64);
}

// ---- the member's side ----

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Down,
    /// Answers arrive, but the request was counted.
    LosesReply,
    Lies,
    WrongIndex,
    Hangs,
}

struct InProcess {
    world: Arc<World>,
    faults: Mutex<HashMap<MemberId, Fault>>,
    calls: Mutex<Vec<(MemberId, usize)>>,
}

impl InProcess {
    fn new(world: World) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::new(world),
            faults: Mutex::default(),
            calls: Mutex::default(),
        })
    }

    fn fault(&self, name: &str, fault: Fault) {
        self.faults
            .lock()
            .expect("a lock")
            .insert(member(name), fault);
    }

    fn heal(&self) {
        self.faults.lock().expect("a lock").clear();
    }

    fn spent(&self, name: &str) -> u64 {
        let seat = self
            .world
            .seats
            .iter()
            .find(|seat| seat.name == member(name))
            .expect("a seat");
        let budget = seat.custodian().budget(&member("hefei"), &self.world.rules);
        budget.expect("a budget").lines[0].spent
    }
}

impl CustodianTransport for InProcess {
    async fn evaluate(
        &self,
        to: &MemberId,
        request: EvaluateRequest,
    ) -> Result<EvaluateResponse, TransportError> {
        self.calls
            .lock()
            .expect("a lock")
            .push((to.clone(), request.points.len() / 32));
        let fault = self.faults.lock().expect("a lock").get(to).copied();
        let unreachable = || TransportError::Unreachable {
            reason: "cut".into(),
        };
        match fault {
            Some(Fault::Down) => return Err(unreachable()),
            Some(Fault::Hangs) => std::future::pending::<()>().await,
            _ => {}
        }
        let (world, to) = (Arc::clone(&self.world), to.clone());
        let handled = tokio::task::spawn_blocking(move || {
            let seat = world
                .seats
                .iter()
                .find(|seat| seat.name == to)
                .expect("a seat");
            seat.custodian()
                .evaluate(&member("hefei"), &world.rules, &request)
        });
        let handled = handled.await.expect("no panic");
        let mut response = handled.reply.map_err(|refusal| TransportError::Refused {
            code: refusal.code().into(),
            blame: refusal.blame(),
        })?;
        match fault {
            Some(Fault::LosesReply) => return Err(unreachable()),
            Some(Fault::Lies) => {
                // Another point for the first value: a wrong token if it were believed.
                response.points = [&padding(1)[..], &response.points[32..]].concat().into();
            }
            Some(Fault::WrongIndex) => response.index += 1,
            _ => {}
        }
        Ok(response)
    }
}

struct Desk {
    dir: tempfile::TempDir,
    transport: Arc<InProcess>,
    tokenizer: Tokenizer<Arc<InProcess>>,
    key: TokenKeyInfo,
    runtime: tokio::runtime::Runtime,
    /// What was noted of every request so far.
    asked: Asked,
}

fn keys(dir: &Path) -> Arc<ShredKeys> {
    let keys = ShredKeys::open(&dir.join("shred.keys"), &SEAL);
    Arc::new(keys.expect("the keys open"))
}

fn desk(points_per_day: u64) -> Desk {
    let transport = InProcess::new(world(points_per_day));
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let clock = transport.world.clock.clone();
    let tokenizer = Tokenizer::new(store, clock, keys(dir.path()), Arc::clone(&transport));
    let key = info(&transport.world.key);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    Desk {
        dir,
        transport,
        tokenizer,
        key,
        runtime: runtime.expect("a runtime"),
        asked: Asked::default(),
    }
}

fn segment(case: u8, inputs: &[&str]) -> SegmentInput {
    SegmentInput {
        case_ref: CaseRef([case; 16]),
        offence_class: "fraud".into(),
        urgency: "normal".into(),
        purpose_commitment: Digest([case; 32]),
        inputs: inputs
            .iter()
            .map(|input| input.as_bytes().to_vec())
            .collect(),
    }
}

impl Desk {
    fn evaluate(&self, segments: Vec<SegmentInput>) -> Result<Vec<Evaluation>, TokensError> {
        self.runtime.block_on(self.tokenizer.evaluate(
            &self.key,
            QueryId([7; 16]),
            segments,
            &self.asked,
        ))
    }

    fn tokens(&self, inputs: &[&str]) -> Result<Vec<[u8; 16]>, TokensError> {
        let evaluated = self.evaluate(vec![segment(1, inputs)])?;
        Ok(evaluated.iter().map(|e| *e.token().as_bytes()).collect())
    }

    fn reopen(self) -> Self {
        let Self {
            dir,
            transport,
            tokenizer,
            key,
            runtime,
            asked,
        } = self;
        drop(tokenizer);
        let store = open(dir.path());
        let clock = transport.world.clock.clone();
        let tokenizer = Tokenizer::new(store, clock, keys(dir.path()), Arc::clone(&transport));
        Self {
            dir,
            transport,
            tokenizer,
            key,
            runtime,
            asked,
        }
    }

    fn total_spent(&self) -> u64 {
        NAMES.iter().map(|name| self.transport.spent(name)).sum()
    }
}

#[test]
fn equal_values_get_equal_tokens_and_each_is_evaluated_once() {
    let desk = desk(100_000);
    let segments = vec![segment(1, &["a", "b"]), segment(2, &["b", "c"])];
    let got = desk.evaluate(segments).expect("tokens");
    let tokens: Vec<_> = got.iter().map(|e| e.token()).collect();
    assert_eq!(tokens.len(), 4);
    assert_eq!(tokens[1], tokens[2]);
    assert!(tokens[0] != tokens[1] && tokens[0] != tokens[3]);
    assert_eq!(got[1].n(), got[2].n());
    assert_eq!(desk.total_spent(), 128, "two custodians, 64 points each");
    let asked = desk.asked.members();
    assert!(asked.iter().all(|a| a.outcome == "ok" && a.count == 64));
    assert_eq!(asked.len(), 2, "each request is noted: {asked:?}");
    assert_eq!(
        desk.tokens(&["c", "a"]).expect("tokens"),
        [*tokens[3].as_bytes(), *tokens[0].as_bytes()]
    );
    assert!(desk.tokens(&[]).expect("nothing").is_empty());
}

#[test]
fn one_custodian_of_three_down_changes_nothing() {
    let desk = desk(100_000);
    let want = desk.tokens(&["a", "b"]).expect("tokens");
    for name in NAMES {
        desk.transport.heal();
        desk.transport.fault(name, Fault::Down);
        assert_eq!(
            desk.tokens(&["a", "b"]).expect("tokens"),
            want,
            "without {name}"
        );
    }
    let asked = desk.asked.members();
    let silent: Vec<_> = asked.iter().filter(|a| a.outcome != "ok").collect();
    assert!(silent.iter().all(|a| a.outcome == "unreachable"));
    assert!(
        !silent.is_empty(),
        "who gave no answer is noted too: {asked:?}"
    );
}

#[test]
fn two_custodians_down_is_told_by_name_and_nothing_is_charged_twice() {
    let desk = desk(100_000);
    desk.transport.fault("court", Fault::LosesReply);
    desk.transport.fault("university", Fault::Down);
    let values: Vec<String> = (0..65).map(|i| format!("v{i}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let error = desk.tokens(&values[..64]).expect_err("one is not enough");
    assert_eq!(error.blame(), Blame::Unavailable);
    let TokensError::TooFew {
        got: 1,
        want: 2,
        mut silent,
    } = error
    else {
        panic!("{error}")
    };
    silent.sort_by(|a, b| a.member.cmp(&b.member));
    let said: Vec<_> = silent
        .iter()
        .map(|s| (s.member.as_str(), s.code.as_str()))
        .collect();
    assert_eq!(
        said,
        [("court", "unreachable"), ("university", "unreachable")]
    );
    let before = desk.total_spent();
    assert_eq!(before, 128, "court debited before its reply was lost");

    let desk = desk.reopen();
    desk.transport.heal();
    desk.transport.fault("university", Fault::Down);
    let got = desk.tokens(&values).expect("tokens");
    assert_eq!(got.len(), 65);
    assert_eq!(
        desk.total_spent(),
        before + 128,
        "only the one new value was charged"
    );
}

#[test]
fn a_finished_call_leaves_nothing_pending() {
    let desk = desk(100_000);
    desk.tokens(&["a"]).expect("tokens");
    let Desk { dir, tokenizer, .. } = desk;
    drop(tokenizer);
    let store = open(dir.path());
    assert!(
        store
            .scan(Table::PendingBatch, b"")
            .expect("read")
            .is_empty()
    );
}

#[test]
fn a_lying_custodian_is_named_and_another_is_asked_in_the_same_call() {
    let desk = desk(100_000);
    let want = desk.tokens(&["a", "b"]).expect("tokens");
    for (name, fault) in [("court", Fault::Lies), ("procuracy", Fault::WrongIndex)] {
        desk.transport.heal();
        desk.transport.fault(name, fault);
        let mut accused = vec![];
        // Who is asked first is drawn by lot; the liar's turn comes.
        for _ in 0..64 {
            desk.transport.world.clock.advance(61);
            assert_eq!(desk.tokens(&["a", "b"]).expect("tokens"), want);
            accused = desk.tokenizer.take_accusations();
            if !accused.is_empty() {
                break;
            }
        }
        assert_eq!(accused.len(), 1);
        assert_eq!(accused[0].member, member(name));
    }
    let Desk { dir, tokenizer, .. } = desk;
    drop(tokenizer);
    let store = open(dir.path());
    assert_eq!(
        store
            .scan(Table::Evidence, b"custodian/")
            .expect("read")
            .len(),
        2
    );
}

#[test]
fn a_spent_budget_is_told_with_its_code() {
    let desk = desk(64);
    desk.tokens(&["a"]).expect("tokens");
    desk.transport.fault("court", Fault::Down);
    desk.transport.fault("procuracy", Fault::Down);
    let mut codes = vec![];
    for value in ["b", "c"] {
        if let Err(TokensError::TooFew { silent, .. }) = desk.tokens(&[value]) {
            codes.extend(silent.into_iter().map(|s| s.code));
        }
    }
    assert!(
        codes.contains(&"custodian.budget_spent".to_owned()),
        "{codes:?}"
    );
}

#[test]
fn a_custodian_that_never_answers_is_overtaken() {
    let desk = desk(100_000);
    desk.transport.fault("court", Fault::Hangs);
    assert_eq!(desk.tokens(&["a"]).expect("tokens").len(), 1);
}

#[test]
fn custodians_see_padded_batches_only() {
    let desk = desk(100_000);
    let values: Vec<String> = (0..70).map(|i| format!("v{i}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    desk.tokens(&values).expect("tokens");
    let calls = desk.transport.calls.lock().expect("a lock");
    assert_eq!(calls.len(), 4, "two batches at two custodians");
    assert!(calls.iter().all(|(_, points)| *points == 64));
}

#[test]
fn a_key_whose_shares_do_not_fit_is_not_used() {
    let mut desk = desk(100_000);
    desk.key.shares.swap(0, 1);
    let (first, second) = (desk.key.shares[0].1, desk.key.shares[1].1);
    desk.key.shares[0].1 = second;
    desk.key.shares[1].1 = first;
    let error = desk.tokens(&["a"]).expect_err("refused");
    assert!(
        matches!(error, TokensError::Oprf(OprfError::BadKeySet { .. })),
        "{error}"
    );
}

mod guess_bound {
    use proptest::prelude::*;

    use super::*;

    /// What an adaptive member may try to get more evaluations than its budget.
    #[derive(Clone, Debug)]
    enum Op {
        Ask { custodian: usize, points: usize },
        Restart { custodian: usize },
        SetBack { hours: i64 },
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (0..3usize, 1..6usize).prop_map(|(custodian, points)| Op::Ask { custodian, points }),
            1 => (0..3usize).prop_map(|custodian| Op::Restart { custodian }),
            1 => (1..72i64).prop_map(|hours| Op::SetBack { hours }),
        ]
    }

    const QUOTA: u64 = 9;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever subset is asked in whatever order, a day gives at most
        /// n·q / t whole evaluations: each needs answers of `t` custodians.
        #[test]
        fn no_order_of_asking_restarts_or_clock_changes_beats_the_bound(
            ops in proptest::collection::vec(op(), 1..40)
        ) {
            let mut world = world(QUOTA);
            let clock = world.clock.clone();
            let mut answered = [0u64; 3];
            for op in ops {
                match op {
                    Op::Ask { custodian, points } => {
                        let mut request = world.request(points);
                        request.recipient = NAMES[custodian].into();
                        let seat = world.seats[custodian].custodian();
                        let handled = seat.evaluate(&member("hefei"), &world.rules, &request);
                        if let Ok(response) = handled.reply {
                            answered[custodian] += (response.points.len() / 32) as u64;
                        }
                    }
                    Op::Restart { custodian } => world.seats[custodian].restart(&clock),
                    Op::SetBack { hours } => clock.advance(-3600 * hours),
                }
            }
            prop_assert!(answered.iter().all(|points| *points <= QUOTA), "{answered:?}");
            prop_assert!(answered.iter().sum::<u64>() / 2 <= 3 * QUOTA / 2);
        }
    }
}
