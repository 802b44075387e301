//! No line, no answer: what a node does while its access log is closed, and
//! what the log itself keeps for later, over ledgers without a network.

use casegate::access::OfficerProof;
use casegate::access::officer::{NONCE_BYTES, signed_bytes};
use casegate::blame::Blamed;
use casegate::ledger::Standing;
use casegate::wire::v1::custodian_client::CustodianClient;
use futures_util::FutureExt;

use super::*;
use crate::audit_port::client;
use crate::tamper::Ledgers;

fn denial(caller: &str) -> AccessLine {
    AccessLine {
        outcome: "policy.not_listed".into(),
        ..AccessLine::new(AccessScope::Local, "Desk.Query", caller)
    }
}

/// The callers and counts of the lines of a log.
fn told(access: &AccessLog) -> Vec<(String, u32)> {
    let lines = access.newest(1_000).expect("it reads");
    let told = lines.into_iter().map(|(_, line)| (line.caller, line.count));
    told.collect()
}

#[test]
fn a_call_that_broke_off_is_a_line_as_soon_as_an_open_log_is_opened() {
    let ledgers = Ledgers::new();
    let access = AccessLog::open(ledgers.open("hefei")).expect("it opens");
    let line = AccessLine::new(AccessScope::Local, "Desk.Publish", OFFICER);
    drop(access.begin(&line).expect("begun"));
    drop(access);
    for _ in 0..2 {
        let access = AccessLog::open(ledgers.open("hefei")).expect("it opens again");
        let lines = access.newest(10).expect("it reads");
        let [(_, found)] = &lines[..] else {
            panic!("one line, once: {lines:?}");
        };
        assert_eq!((&*found.outcome, &*found.method), (BROKEN_OFF, line.method));
        assert_eq!(found.query_id, line.query_id.as_bytes()[..]);
    }
}

#[test]
fn denials_wait_until_the_log_is_open_and_none_is_lost() {
    let ledgers = Ledgers::new();
    let ledger = ledgers.open("hefei");
    let access = AccessLog::open(ledger.clone()).expect("it opens");
    ledger.set_access_standing(Standing::Fenced);
    access
        .write_denials(true)
        .expect("there is nothing to write");
    access.deny(denial("li"), false);
    access.deny(denial("wuhu"), true);
    for all in [false, true] {
        let refused = access.write_denials(all).expect_err("the log is closed");
        assert_eq!(refused.code(), "ledger.access_closed");
    }
    assert_eq!(told(&access), []);
    ledger.set_access_standing(Standing::Open);
    access.write_denials(false).expect("written");
    access.write_denials(false).expect("once");
    let wanted = [("li", 1), ("wuhu", 1)].map(|(caller, n)| (caller.to_owned(), n));
    assert_eq!(told(&access), wanted);
}

#[test]
fn who_writes_denials_is_told_of_each_that_is_a_line_and_not_of_those_that_are_counted() {
    let ledgers = Ledgers::new();
    let access = AccessLog::open(ledgers.open("hefei")).expect("it opens");
    let woken = || access.denied().now_or_never().is_some();
    assert!(!woken(), "nothing was denied");
    for (alone, wakes) in [(false, true), (false, false), (true, true), (true, true)] {
        access.deny(denial("li"), alone);
        assert_eq!(woken(), wakes, "alone: {alone}");
    }
}

#[test]
fn a_request_that_still_counts_is_remembered_beside_lines_that_are_older() {
    let ledgers = Ledgers::new();
    let request = |nonce: u8, signed_at| v1::OfficerRequest {
        nonce: vec![nonce; NONCE_BYTES].into(),
        signed_at,
        ..Default::default()
    };
    let write = |request: &v1::OfficerRequest| {
        let access = AccessLog::open(ledgers.open("hefei")).expect("it opens");
        access.take(request).expect("it is new");
        let officer = OfficerProof {
            request: signed_bytes(&request.encode_to_vec()).into(),
            ..OfficerProof::default()
        };
        let line = AccessLine::new(AccessScope::Local, "Desk.ListCases", OFFICER);
        access
            .write(AccessLine { officer, ..line })
            .expect("a line");
    };
    // Written ten minutes ago and signed five ahead of it: it still counts.
    write(&request(1, NOW - 300));
    ledgers.clock.advance(1);
    let ahead = request(2, NOW + 301);
    write(&ahead);
    ledgers.clock.advance(600);
    let newest = request(3, NOW + 601);
    write(&newest);
    let access = AccessLog::open(ledgers.open("hefei")).expect("it opens");
    for taken in [&ahead, &newest] {
        let refused = access.take(taken).expect_err("it was taken before");
        assert_eq!(refused, OfficerSignatureError::Replayed);
    }
    access.take(&request(4, NOW + 601)).expect("a new one");
}

fn evaluate(nonce: u8) -> v1::EvaluateRequest {
    v1::EvaluateRequest {
        request_id: vec![nonce; 16].into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_evaluation_is_a_line_under_its_own_id_and_one_without_is_counted() {
    let cluster = Cluster::new(&["hefei"]).await;
    let channel = cluster.federation.channel_behind(&id("court"));
    let mut asking = CustodianClient::new(channel.expect("a channel"));
    let expires_at = cluster.parts("court").rosters.newest().expires_at;
    cluster.clock.advance(expires_at - NOW);
    let without = v1::EvaluateRequest::default;
    for request in [evaluate(1), evaluate(2), evaluate(3), without(), without()] {
        let refused = asking.evaluate(request).await.expect_err("denied");
        assert_eq!(code_of(&refused), "admit.roster_expired");
    }
    let access = cluster.parts("court").access.clone();
    let written = tokio::task::spawn_blocking(move || access.write_denials(true)).await;
    written.expect("it ends").expect("written");
    let mut lines = of(&cluster, "court", Method::Evaluate.as_str()).await;
    lines.retain(|line| line.outcome == "admit.roster_expired");
    let (alone, counted): (Vec<_>, Vec<_>) = lines.iter().partition(|line| {
        assert!(line.count > 0 && line.officer_request.is_empty());
        line.scope() == AccessScope::Evaluate
    });
    let ids: Vec<_> = alone.iter().map(|line| line.query_id.to_vec()).collect();
    assert_eq!(ids, [1, 2, 3].map(|nonce| vec![nonce; 16]));
    assert!(alone.iter().all(|line| line.caller == "court"));
    assert_eq!(counted.iter().map(|line| line.count).sum::<u32>(), 2);
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_or_answered_while_the_access_log_is_closed() {
    let cluster = Cluster::audited(&["hefei"]).await;
    let csv = "case_no,category,kind,value,role\nC-1,x,phone,13800138000,suspect\n";
    cluster.import("court", csv).await;
    let operation = v1::CaseRow {
        operation: true,
        ..case("OP-1")
    };
    let add = v1::AddCaseRequest {
        row: Some(operation),
    };
    let boss = v1::AddOfficerRequest {
        name: "boss".into(),
        rights: vec!["admin".into()],
    };
    let desk = cluster.desk("court");
    desk.add_case(add).await.expect("an operation");
    desk.add_officer(boss).await.expect("another admin");
    let parts = Arc::clone(cluster.parts("court"));
    let state = || {
        let logs = [LogName::Access, LogName::Records];
        let sizes = logs.map(|name| parts.ledger.own_log(name).size());
        let officer = OfficerName::new(OFFICER).expect("a name");
        let rights = parts.officers.rights(&officer);
        let cases = parts.cases.all().expect("cases");
        (sizes, cases, rights, parts.ledger.is_queue_empty())
    };
    let before = state();
    parts.ledger.set_access_standing(Standing::Superseded);
    let closed = "ledger.access_closed";
    for method in desk_methods() {
        if method == Method::GetStatus {
            continue;
        }
        for well in [true, false] {
            if let Some(ended) = call(&cluster, method, well).await {
                assert_eq!(ended, closed, "{method}, well formed: {well}");
            }
        }
    }
    assert_eq!(state(), before, "nothing was changed");

    // A question of another member, and an export.
    let channel = cluster.federation.channel_behind(&id("court"));
    let mut asking = CustodianClient::new(channel.expect("a channel"));
    let refused = asking.evaluate(evaluate(1)).await.expect_err("refused");
    assert_eq!(code_of(&refused), closed);
    let office = cluster.federation.officer(&id("audit-office"));
    let audit = client(&cluster, office.expect("an officer"), "court");
    let request = v1::GetEntryBundlesRequest {
        origin: parts.ledger.own_log(LogName::Access).origin.to_string(),
        first: 0,
        count: 1,
        size: 2,
    };
    let exported = async {
        let mut items = audit.calls().get_entry_bundles(request).await?.into_inner();
        items.message().await
    };
    assert_eq!(code_of(&exported.await.expect_err("refused")), closed);

    // Who has no right is told no more than the others.
    set_rights(&cluster, &["confirm"]).await;
    let ended = call(&cluster, Method::ListOfficers, true).await;
    assert_eq!(ended.as_deref(), Some(closed));
    assert_eq!(state().0, before.0, "there is no line");
    drop(parts);
    cluster.federation.stop().await;
}
