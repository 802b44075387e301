//! A retraction at the desk: what a dry run tells and leaves alone, what waits
//! for a token, and what is not there to be ended.

use casegate::access::AccessLog;
use casegate::ids::LogName;
use casegate::record::BodyType;
use casegate::wire::v1::{
    AddCaseRequest, CaseRow, ElementSpec, LogLine, PublishRequest, RetractReason, RetractRequest,
    RetractResponse, ShowLogRequest,
};

use crate::cluster::{Cluster, purpose, wait_for};

const ROWS: &str = "case_no,category,kind,value,role\n\
    HF-1,loan-fraud,phone,13800138000,suspect\n\
    HF-1,loan-fraud,domain,one.example,suspect\n";

fn domain(value: &str) -> ElementSpec {
    ElementSpec {
        kind: "domain".into(),
        value: value.into(),
        ..Default::default()
    }
}

fn retraction(case_no: &str, element: Option<&str>, dry_run: bool) -> RetractRequest {
    RetractRequest {
        case_no: case_no.into(),
        element: element.map(domain),
        reason: RetractReason::Mistake.into(),
        dry_run,
    }
}

/// Asks for a retraction; says what it ended and what waited, or the code.
async fn retract(cluster: &Cluster, request: RetractRequest) -> Result<(u64, u64), String> {
    let answer = cluster.desk("hefei").retract(request).await;
    let ended = |done: RetractResponse| (done.retracted, done.waiting);
    answer.map(ended).map_err(|e| e.shown_code().to_owned())
}

/// Entries of the own log, and whether something waits for its token.
fn state(cluster: &Cluster) -> (u64, bool) {
    let ledger = &cluster.parts("hefei").ledger;
    let size = ledger.own_log(LogName::Records).size().0;
    (size, !ledger.is_queue_empty())
}

/// The outcome and count of the newest line about a retraction.
async fn line(access: AccessLog) -> (String, u32) {
    let read = tokio::task::spawn_blocking(move || access.newest(100));
    let mut lines = read.await.expect("read").expect("read");
    lines.retain(|(_, line)| line.method == "Desk.Retract");
    let (_, line) = lines.pop().expect("a line");
    (line.outcome, line.count)
}

/// Checks that each log and the erasures are shown where they are asked for.
async fn shown(cluster: &Cluster) {
    let ask = |change: fn(&mut ShowLogRequest)| {
        let mut request = ShowLogRequest {
            newest: 100,
            ..Default::default()
        };
        change(&mut request);
        let desk = cluster.desk("hefei");
        async move { desk.show_log(request).await.expect("an answer") }
    };
    let records = ask(|_| {}).await;
    let retracts = |line: &LogLine| line.r#type == BodyType::Retract.rules().word;
    assert_eq!(
        records.lines.iter().filter(|line| retracts(line)).count(),
        1
    );
    assert!(records.logs.iter().all(|log| !log.verified));
    let access = ask(|request| (request.access, request.verify) = (true, true)).await;
    let type_of_access = BodyType::Access.rules().word;
    assert!(
        access
            .lines
            .iter()
            .all(|line| line.r#type == type_of_access)
    );
    assert!(!access.lines.is_empty() && access.logs.iter().all(|log| log.verified));
    let ledger = &cluster.parts("hefei").ledger;
    wait_for("the erasure is signed", || {
        ledger.erasures().is_ok_and(|erased| !erased.is_empty())
    })
    .await;
    let erased = ledger.erasures().expect("a report").len();
    for (newest, wanted) in [(100, erased), (0, 0)] {
        let request = ShowLogRequest {
            erasures: true,
            newest,
            ..Default::default()
        };
        let answer = cluster.desk("hefei").show_log(request).await;
        let answer = answer.expect("an answer");
        assert_eq!((answer.erasures.len(), answer.lines.len()), (wanted, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_would_end_and_ends_nothing() {
    let mut cluster = Cluster::new(&["hefei"]).await;
    cluster.import("hefei", ROWS).await;
    let row = CaseRow {
        case_no: "HF-2".into(),
        category: "loan-fraud".into(),
        ..Default::default()
    };
    let add = AddCaseRequest { row: Some(row) };
    cluster.desk("hefei").add_case(add).await.expect("added");
    // A third element waits, for too few custodians answer.
    for custodian in ["court", "procuracy"] {
        cluster.stop(custodian).await;
    }
    let publish = PublishRequest {
        case_no: "HF-1".into(),
        category: "loan-fraud".into(),
        elements: vec![domain("waiting.example")],
        purpose: Some(purpose()),
        ..Default::default()
    };
    let published = cluster.desk("hefei").publish(publish).await;
    assert!(published.expect("taken in").queued);
    let before = state(&cluster);
    assert!(before.1, "it waits");

    let not_there = "query.not_in_case";
    let rows: [(_, _, Result<(u64, u64), &str>); 6] = [
        ("HF-1", None, Ok((2, 1))),
        ("HF-1", Some("one.example"), Ok((1, 0))),
        ("HF-1", Some("waiting.example"), Ok((0, 1))),
        ("HF-1", Some("other.example"), Err(not_there)),
        ("HF-2", None, Ok((0, 0))),
        ("HF-3", None, Err("case.unknown")),
    ];
    for (case_no, element, wanted) in rows {
        let asked = retraction(case_no, element, true);
        let told = retract(&cluster, asked).await;
        assert_eq!(told, wanted.map_err(str::to_owned), "{case_no} {element:?}");
        assert_eq!(state(&cluster), before, "{case_no} {element:?}");
        let (outcome, count) = match wanted {
            Ok((ended, waiting)) => ("ok", ended + waiting),
            Err(code) => (code, 0),
        };
        let (said, counted) = line(cluster.parts("hefei").access.clone()).await;
        assert_eq!((&*said, u64::from(counted)), (outcome, count), "{case_no}");
    }
    // What has nothing to end writes no retraction either.
    let empty = retract(&cluster, retraction("HF-2", None, false)).await;
    assert_eq!((empty, state(&cluster)), (Ok((0, 0)), before));

    let waiting = retraction("HF-1", Some("waiting.example"), false);
    assert_eq!(retract(&cluster, waiting).await, Ok((0, 1)));
    assert_eq!(state(&cluster), (before.0, false), "it waits no more");
    let rest = retract(&cluster, retraction("HF-1", None, false)).await;
    assert_eq!(rest, Ok((2, 0)));
    assert!(state(&cluster).0 > before.0);
    shown(&cluster).await;
    cluster.federation.stop().await;
}
