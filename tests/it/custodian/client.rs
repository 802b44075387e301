//! The member's side over an in-process transport: outages, lies, retries.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use casegate::access::Asked;
use casegate::blame::{Blame, Blamed};
use casegate::ids::{CaseRef, Digest, MemberId, QueryId};
use casegate::oprf::{Evaluation, OprfError, padding};
use casegate::shred::ShredKeys;
use casegate::store::Table;
use casegate::tokens::{
    CustodianTransport, SegmentInput, TokenKeyInfo, Tokenizer, TokensError, TransportError,
};
use casegate::wire::v1::{EvaluateRequest, EvaluateResponse};

use super::world::*;

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
    // Any two of the three are asked first, so that one of many rounds meets the one that is down.
    for name in NAMES.into_iter().cycle().take(24) {
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
