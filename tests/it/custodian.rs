//! Custodians: who is refused, what is charged, and how restarts end.

mod client;
mod guess_bound;
mod world;

use casegate::blame::{Blame, Blamed};
use casegate::clock::{Clock, DAY_S};
use casegate::custodian::{Custodian, CustodianError, PointsGrant};
use casegate::ids::{Digest, QueryId};
use casegate::oprf::{OprfError, padding};
use casegate::store::Table;
use casegate::wire::v1::{EvaluateRequest, KeygenPlan, TokenClass};

use self::world::*;

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
        with(&|r| r.key_id = vec![0; 8].into()),
        CustodianError::UnknownKey
    ));
    assert!(matches!(
        with(&|r| r.key_id = vec![0; 9].into()),
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
    // As many points as segments: too many of both.
    refused(&|r| {
        r.segments.resize(4097, good.segments[0].clone());
        r.points = good.points[..32].repeat(4097).into();
    });
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

/// The days of the counters in court's store, and how many answers it remembers.
fn remembered(world: &mut World) -> (Vec<i64>, usize) {
    let seat = &mut world.seats[0];
    seat.custodian = None;
    let store = open(seat.dir.path());
    let read = |table| store.scan(table, b"").expect("read");
    let day = |key: &[u8]| i64::from_be_bytes(key[1..9].try_into().expect("a day"));
    let counters = read(Table::Budget).into_iter().filter(|c| c.0[0] != b'g');
    let days = counters.map(|(key, _)| day(&key)).collect();
    let answers = read(Table::Reply).len();
    drop(store);
    seat.restart(&world.clock.clone());
    (days, answers)
}

#[test]
fn counters_of_earlier_days_and_answers_that_ran_out_are_forgotten_and_no_others() {
    let mut world = world(100);
    let spend = |world: &World, points| world.ask(&world.request(points)).reply.is_ok();
    assert!(spend(&world, 60));
    assert_eq!(remembered(&mut world), (vec![20_000; 2], 1));
    // The next morning: yesterday's noon is less than a day ago.
    world.clock.advance(DAY_S / 2);
    assert!(spend(&world, 70));
    assert_eq!(remembered(&mut world), (vec![20_001; 2], 2));
    // Later that day: nothing that counts today is forgotten by a restart.
    world.clock.advance(DAY_S / 4);
    assert!(!spend(&world, 31));
    assert!(spend(&world, 30));
    assert_eq!(world.spent(), 100);
    world.clock.advance(DAY_S);
    assert!(spend(&world, 1));
    assert_eq!(remembered(&mut world), (vec![20_002; 2], 1));
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
