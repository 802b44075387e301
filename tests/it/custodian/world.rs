//! Three custodians in this process, with a key that they made among themselves.

use std::path::Path;

use casegate::blame::Blamed;
use casegate::clock::{Clock, DAY_S};
use casegate::custodian::{Custodian, CustodianError, Handled, Rules, ServedKey};
use casegate::ids::{KeyId, MemberId};
use casegate::oprf::padding;
use casegate::store::Store;
use casegate::tokens::TokenKeyInfo;
use casegate::wire::v1::{EvaluateRequest, KeygenPlan, Segment, TokenClass, TokenKey};

pub(super) const NAMES: [&str; 3] = ["court", "procuracy", "university"];
pub(super) const SEAL: [u8; 32] = [3; 32];
pub(super) const NOON: i64 = 20_000 * DAY_S + DAY_S / 2;

pub(super) fn member(name: &str) -> MemberId {
    MemberId::new(name).expect("a name")
}

/// Opens a store that may just have been closed: sled's own threads can hold
/// its lock for a moment after the last handle is gone.
pub(super) fn open(dir: &Path) -> Store {
    for _ in 0..100_000 {
        if let Ok(store) = Store::open(dir, 1 << 20) {
            return store;
        }
        std::thread::yield_now();
    }
    Store::open(dir, 1 << 20).expect("a store")
}

pub(super) struct Seat {
    pub(super) dir: tempfile::TempDir,
    pub(super) name: MemberId,
    pub(super) custodian: Option<Custodian>,
}

impl Seat {
    pub(super) fn new(name: &str, clock: &Clock) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut seat = Self {
            dir,
            name: member(name),
            custodian: None,
        };
        seat.restart(clock);
        seat
    }

    pub(super) fn restart(&mut self, clock: &Clock) {
        self.custodian = None;
        let store = open(self.dir.path());
        let opened = Custodian::open(store, clock.clone(), &SEAL, self.name.clone());
        self.custodian = Some(opened.expect("a custodian"));
    }

    pub(super) fn custodian(&self) -> &Custodian {
        self.custodian.as_ref().expect("it is open")
    }
}

pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) seats: Vec<Seat>,
    pub(super) key: TokenKey,
    pub(super) rules: Rules,
}

/// Three custodians that generated a 2-of-3 key among themselves.
pub(super) fn world(points_per_day: u64) -> World {
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

pub(super) fn plan(name: [u8; 16]) -> KeygenPlan {
    KeygenPlan {
        ceremony: name.to_vec().into(),
        token_class: TokenClass::Enumerable.into(),
        threshold: 2,
        custodians: NAMES.map(str::to_owned).into(),
    }
}

pub(super) fn generate(seats: &[Seat], name: [u8; 16]) -> Vec<TokenKey> {
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

pub(super) fn rules(key: &TokenKey, points_per_day: u64) -> Rules {
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

pub(super) fn info(key: &TokenKey) -> TokenKeyInfo {
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
    pub(super) fn request(&self, points: usize) -> EvaluateRequest {
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

    pub(super) fn ask(&self, request: &EvaluateRequest) -> Handled {
        self.seats[0]
            .custodian()
            .evaluate(&member("hefei"), &self.rules, request)
    }

    pub(super) fn refusal(&self, request: &EvaluateRequest) -> CustodianError {
        let handled = self.ask(request);
        let refusal = handled.reply.expect_err("refused");
        assert_eq!(handled.seen.outcome, refusal.code());
        assert_eq!(handled.seen.charged, 0);
        refusal
    }

    pub(super) fn spent(&self) -> u64 {
        let custodian = self.seats[0].custodian();
        custodian
            .budget(&member("hefei"), &self.rules)
            .expect("a budget")
            .lines[0]
            .spent
    }
}
