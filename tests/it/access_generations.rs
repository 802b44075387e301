//! A raised generation of the access log: it goes on under the new one, the
//! lines of the old one stay readable and exportable, and nothing that was
//! asked before is taken again.

use std::collections::BTreeMap;
use std::path::Path;

use casegate::audit::matching::{MatchReport, compare};
use casegate::audit::verify::{Options, Policy, Report, verify};
use casegate::ids::{LogIndex, LogName, Origin, TreeSize};
use casegate::ledger::{Ledger, Standing};
use casegate::record::Body;
use casegate::rpc::desk_client::OfficerSignature;
use casegate::rpc::status::code_of;
use casegate::wire::v1;

use crate::access::{raw_desk, with};
use crate::audit_port::{auditor, client, exported, logs};
use crate::cluster::{Cluster, NOW, id, records, wait_for};
use crate::tamper::federation;
use crate::views::row;

fn access(member: &str, generation: u32) -> Origin {
    Origin {
        log: LogName::Access,
        generation,
        ..records(member)
    }
}

/// The roots raise the generation of hefei's access log.
async fn raise(cluster: &mut Cluster) {
    cluster.clock.advance(10);
    let mut draft = cluster.federation.next_roster();
    let found = draft.wire.members.iter_mut().find(|m| m.id == "hefei");
    found.expect("a member").access_generation = 2;
    cluster.federation.install(&draft).await.expect("installed");
}

fn size(cluster: &Cluster, generation: u32) -> u64 {
    let ledger = &cluster.parts("hefei").ledger;
    let log = ledger.log(&access("hefei", generation));
    log.map_or(0, |log| log.size().0)
}

/// The methods of all lines of one generation.
fn methods(ledger: &Ledger, generation: u32) -> Vec<String> {
    let log = ledger.log(&access("hefei", generation)).expect("the log");
    let bodies = ledger.decoded_bodies(log.number, LogIndex(0), log.size().0);
    let method = |(_, body)| match body {
        Body::Access(line) => line.method,
        other => panic!("no line: {other:?}"),
    };
    bodies.expect("readable").into_iter().map(method).collect()
}

async fn bundle(cluster: &Cluster, member: &str, out: &Path) {
    let officer = cluster.federation.officer(&id("audit-office"));
    let files = client(cluster, officer.expect("an officer"), member);
    exported(cluster, &files, member, out)
        .await
        .expect("a bundle");
}

fn policy(cluster: &Cluster) -> Policy {
    let text = format!(
        "federation = \"anhui.example\"\nroster_pin = \"{}\"\n",
        cluster.federation.pin()
    );
    Policy::parse(&text).expect("a policy")
}

fn look(cluster: &Cluster, bundle: &Path) -> Report {
    let options = Options {
        jobs: 2,
        now: cluster.clock.now(),
        progress: &|_| {},
        records: None,
        bodies: None,
        only: None,
    };
    verify(bundle, &policy(cluster), options).expect("it can be looked at")
}

fn matched(cluster: &Cluster, bundles: &[&Path]) -> MatchReport {
    let bundles: Vec<_> = bundles.iter().map(|path| path.to_path_buf()).collect();
    compare(&bundles, &policy(cluster), 2, cluster.clock.now(), &|_| {}).expect("compared")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_goes_on_in_a_new_generation_and_auditors_see_both() {
    let mut cluster = Cluster::audited(&["hefei", "wuhu"]).await;
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.query("hefei", "HF-1").await;
    raise(&mut cluster).await;

    // Until a restart nothing is done that would need a line, and it is said.
    let standing = || cluster.parts("hefei").ledger.access_standing();
    wait_for("the old one is closed", || {
        standing() == Standing::Superseded
    })
    .await;
    let desk = cluster.desk("hefei");
    let refused = desk.list_cases(v1::ListCasesRequest::default()).await;
    let refused = refused.expect_err("there would be no line of it");
    assert_eq!(refused.shown_code(), "ledger.access_closed");
    let said = || casegate::admin::unready(cluster.parts("hefei")).join(" ");
    assert!(said().contains("access log"), "{}", said());
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;

    let old = size(&cluster, 1);
    cluster.import("hefei", &row("HF-2", "13900139000")).await;
    cluster.query("hefei", "HF-2").await;
    assert_eq!(size(&cluster, 1), old, "nothing is added to the old one");
    let ledger = &cluster.parts("hefei").ledger;
    assert!(methods(ledger, 1).contains(&"Desk.Query".to_owned()));
    assert!(methods(ledger, 2).contains(&"Desk.Query".to_owned()));
    let shown = cluster.parts("hefei").access.newest(100).expect("lines");
    assert_eq!(shown.first().map(|(at, _)| *at), Some(LogIndex(0)));

    // The new one is witnessed like the old one was.
    let log = ledger.log(&access("hefei", 2)).expect("the log");
    wait_for("the new generation is witnessed", || {
        log.witnessed_size() > TreeSize(0)
    })
    .await;

    // The auditor reads both, as lists, as a bundle, and against a custodian's.
    let audit = auditor(&cluster);
    let named = logs(&audit, "hefei").await.expect("the logs");
    let wanted = [access("hefei", 1), access("hefei", 2), records("hefei")];
    let mut wanted = wanted.map(|origin| origin.to_string()).to_vec();
    wanted.sort();
    let mut sorted = named.clone();
    sorted.sort();
    assert_eq!(sorted, wanted);
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("hefei");
    bundle(&cluster, "hefei", &out).await;
    let report = look(&cluster, &out);
    assert!(report.found.is_empty(), "{:#?}", report.found);
    let ends: BTreeMap<_, _> = report
        .logs
        .iter()
        .map(|log| (&*log.origin, log.end))
        .collect();
    assert_eq!(ends[&*access("hefei", 1).to_string()], old);
    assert!(ends[&*access("hefei", 2).to_string()] > 0);

    let mut bundles = vec![out];
    for custodian in ["court", "procuracy", "regulator"] {
        let out = dir.path().join(custodian);
        bundle(&cluster, custodian, &out).await;
        bundles.push(out);
    }
    let paths: Vec<&Path> = bundles.iter().map(|path| &**path).collect();
    let report = matched(&cluster, &paths);
    assert!(report.differences.is_empty(), "{:#?}", report.differing);
    assert!(
        report.matched >= 4,
        "evaluations of both generations: {report:?}"
    );
    cluster.federation.stop().await;
}

// What stood in an ended generation was once not looked at when a node started:
// a signed request of the last minutes could be asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_the_old_generation_is_not_taken_again_in_the_new_one() {
    let mut cluster = Cluster::new(&["hefei"]).await;
    let own = cluster
        .federation
        .officer(&id("hefei"))
        .expect("an officer");
    let request = v1::ListCasesRequest::default();
    let made = OfficerSignature::make(&own, NOW, &request).expect("signed");
    let mut desk = raw_desk(&cluster, "hefei");
    let answer = desk.list_cases(with(&made, request)).await;
    answer.expect("the first time");
    raise(&mut cluster).await;
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    let mut desk = raw_desk(&cluster, "hefei");
    let answer = desk.list_cases(with(&made, request)).await;
    let refused = answer.expect_err("refused");
    assert_eq!(code_of(&refused), "officer.replayed");
    assert!(
        size(&cluster, 2) > 0,
        "the refusal is a line of the new one"
    );
    cluster.federation.stop().await;
}
