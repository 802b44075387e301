//! The audit port in the access log: every method called well, badly and without
//! the right. What exports leaves a line, whatever becomes of it; a denial always does.

use casegate::rpc::audit::client::AuditClient;
use tonic::Streaming;

use super::*;
use crate::audit_port::{client, fetch};

const ACCESS: &str = "anhui.example/hefei/access/1";
const ROWS: &str = "case_no,category,kind,value,role\nHF-1,loan-fraud,domain,one.example,suspect\n";

fn audit_methods() -> impl Iterator<Item = Method> {
    let all = Method::ALL.iter().copied();
    all.filter(|method| method.as_str().starts_with("Audit."))
}

/// What is written down: bodies, and entries of the access log.
fn exports(method: Method) -> bool {
    matches!(
        method,
        Method::AuditBodies | Method::GetEntryBundles | Method::ReadStaticLog
    )
}

fn ended<T>(answer: Result<tonic::Response<T>, Status>) -> String {
    answer.map_or_else(|status| code_of(&status), |_| "ok".to_owned())
}

async fn read<T>(answer: Result<tonic::Response<Streaming<T>>, Status>) -> String {
    let read = async {
        let mut items = answer?.into_inner();
        while items.message().await?.is_some() {}
        Ok::<_, Status>(())
    };
    read.await
        .map_or_else(|status| code_of(&status), |()| "ok".to_owned())
}

/// Calls a method, well formed or not; says how it ended, or `None` where a
/// request of it cannot be malformed.
async fn call(
    cluster: &Cluster,
    audit: &AuditClient,
    method: Method,
    well: bool,
) -> Option<String> {
    let log = cluster.parts("hefei").ledger.own_log(LogName::Records);
    let (size, origin) = (log.size().0, log.origin.to_string());
    let named = if well {
        origin.clone()
    } else {
        "nothing".into()
    };
    let mut calls = audit.calls();
    Some(match method {
        Method::ListLogs if well => ended(calls.list_logs(v1::ListLogsRequest {}).await),
        Method::GetRosters if well => {
            ended(calls.get_rosters(v1::GetRosterRequest { after: 0 }).await)
        }
        Method::GetEvidence if well => {
            read(calls.get_evidence(v1::GetEvidenceRequest {}).await).await
        }
        Method::GetCheckpoints => {
            let from_size = 0;
            let origin = named;
            read(
                calls
                    .get_checkpoints(v1::GetCheckpointsRequest { origin, from_size })
                    .await,
            )
            .await
        }
        Method::GetErasures => {
            let origin = named;
            read(calls.get_erasures(v1::GetErasuresRequest { origin }).await).await
        }
        Method::GetTiles => {
            let request = v1::GetTilesRequest {
                origin,
                level: if well { 0 } else { 999 },
                first: 0,
                count: 1,
                size,
            };
            read(calls.get_tiles(request).await).await
        }
        Method::GetEntryBundles => {
            let request = v1::GetEntryBundlesRequest {
                origin: ACCESS.into(),
                first: 0,
                count: 1,
                size: if well { 2 } else { 1_000_000 },
            };
            read(calls.get_entry_bundles(request).await).await
        }
        Method::GetInclusionProof => {
            let index = if well { 0 } else { size };
            let request = v1::InclusionProofRequest {
                origin,
                index,
                size,
            };
            ended(calls.get_inclusion_proof(request).await)
        }
        Method::GetConsistencyProof => {
            let request = v1::ConsistencyProofRequest {
                origin,
                old_size: if well { 1 } else { size + 1 },
                size,
            };
            ended(calls.get_consistency_proof(request).await)
        }
        Method::AuditBodies => {
            let ranges = if well {
                vec![v1::IndexRange { start: 0, end: 2 }]
            } else {
                vec![]
            };
            let origin = ACCESS.into();
            read(
                calls
                    .get_bodies(v1::GetBodiesRequest { origin, ranges })
                    .await,
            )
            .await
        }
        Method::ReadStaticLog if well => over_https(cluster).await,
        _ => return None,
    })
}

/// Fetches the first two entries of the access log as hefei's officer.
async fn over_https(cluster: &Cluster) -> String {
    let hefei = cluster.federation.made(&id("hefei")).expect("made");
    let issued = &hefei.officers[0];
    let pem = Some((&*issued.cert_pem, &**issued.key_pem));
    let path = format!("/{ACCESS}/tile/entries/000.p/2");
    let answer = fetch(cluster, pem, "GET", &path).await;
    let code = answer
        .head
        .lines()
        .find_map(|line| line.strip_prefix("casegate-code: "));
    match (answer.status, code) {
        (200, _) => "ok".to_owned(),
        (_, code) => code.unwrap_or_default().to_owned(),
    }
}

/// What a malformed call is refused with.
fn malformed(method: Method) -> Option<&'static str> {
    Some(match method {
        Method::GetCheckpoints | Method::GetErasures => "audit.origin",
        Method::GetTiles => "audit.level",
        Method::GetEntryBundles => "audit.size",
        Method::GetInclusionProof | Method::GetConsistencyProof => "audit.beyond",
        Method::AuditBodies => "audit.ranges",
        _ => return None,
    })
}

async fn set_rights(cluster: &Cluster, rights: &[&str]) {
    let officers = cluster.parts("hefei").officers.clone();
    let rights: Vec<_> = rights.iter().map(ToString::to_string).collect();
    let set = move || officers.set(&OfficerName::new(OFFICER).expect("a name"), &rights);
    let set = tokio::task::spawn_blocking(set).await.expect("set");
    set.expect("set");
}

/// The lines of a method that came after the first `before`.
async fn more(cluster: &Cluster, method: Method, before: usize) -> Vec<AccessBody> {
    let access = cluster.parts("hefei").access.clone();
    let flush = move || access.write_denials(false);
    let flushed = tokio::task::spawn_blocking(flush).await.expect("written");
    flushed.expect("written");
    of(cluster, "hefei", method.as_str())
        .await
        .split_off(before)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_a_denied_and_a_malformed_call_of_every_method_of_the_audit_port_is_told_truly() {
    let cluster = Cluster::audited(&["hefei"]).await;
    cluster.import("hefei", ROWS).await;
    let own = cluster
        .federation
        .officer(&id("hefei"))
        .expect("an officer");
    let audit = client(&cluster, own, "hefei");
    let boss = v1::AddOfficerRequest {
        name: "boss".into(),
        rights: vec!["admin".into()],
    };
    let added = cluster.desk("hefei").add_officer(boss).await;
    added.expect("another admin");
    for method in audit_methods() {
        let mut before = of(&cluster, "hefei", method.as_str()).await.len();
        set_rights(&cluster, &["export"]).await;
        let good = call(&cluster, &audit, method, true).await;
        assert_eq!(good.as_deref(), Some("ok"), "{method}");
        let bad = call(&cluster, &audit, method, false).await;
        assert_eq!(bad.as_deref(), malformed(method), "{method}");
        let lines = more(&cluster, method, before).await;
        let told: Vec<_> = lines
            .iter()
            .map(|line| (line.outcome.as_str(), line.count, line.log.as_str()))
            .collect();
        let mut wanted = vec![];
        if exports(method) {
            wanted.push(("ok", 2, ACCESS));
            wanted.extend(malformed(method).map(|code| (code, 0, ACCESS)));
        }
        assert_eq!(told, wanted, "{method}");
        for line in &lines {
            let export = AccessScope::Export as i32;
            assert_eq!(
                (line.scope, line.caller.as_str()),
                (export, OFFICER),
                "{method}"
            );
        }
        before += lines.len();
        set_rights(&cluster, &["query"]).await;
        let denied = call(&cluster, &audit, method, true).await;
        assert_eq!(denied.as_deref(), Some("policy.missing_right"), "{method}");
        let lines = more(&cluster, method, before).await;
        let [line] = &lines[..] else {
            panic!("{method} leaves one line: {lines:?}");
        };
        assert_eq!(
            (line.outcome.as_str(), line.count),
            ("policy.missing_right", 1)
        );
        assert!(
            line.caller.ends_with(&format!("/hefei/officer/{OFFICER}")),
            "{line:?}"
        );
    }
    // A log that no origin names is none that could be read: the line says so.
    set_rights(&cluster, &["export"]).await;
    let origin = "no\u{7}thing".to_owned();
    let request = v1::GetBodiesRequest {
        origin,
        ranges: vec![],
    };
    let refused = read(audit.calls().get_bodies(request).await).await;
    assert_eq!(refused, "audit.origin");
    let lines = of(&cluster, "hefei", "Audit.GetBodies").await;
    let line = lines.last().expect("a line");
    assert_eq!(
        (line.outcome.as_str(), line.log.as_str()),
        ("audit.origin", "")
    );

    // Every line is an entry that the node signed.
    let ledger = &cluster.parts("hefei").ledger;
    let roster = cluster.parts("hefei").rosters.newest();
    let member = roster.member(&id("hefei")).expect("hefei");
    let keys = member.keys.iter().map(|key| &key.key).collect::<Vec<_>>();
    let log = ledger.own_log(LogName::Access);
    for at in 0..log.size().0 {
        let entry = ledger
            .entry(log.number, LogIndex(at))
            .expect("readable")
            .expect("an entry");
        assert!(
            keys.iter()
                .any(|key| key.usable().is_some_and(|key| entry.verify(key).is_ok())),
            "line {at}"
        );
    }
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_are_for_whoever_may_use_the_port() {
    let cluster = Cluster::audited(&["hefei"]).await;
    let office = cluster.federation.made(&id("audit-office")).expect("made");
    let address = cluster
        .federation
        .audit_address(&id("hefei"))
        .expect("an address");
    let channel = |material| {
        let roster = Arc::new(ArcSwap::from(cluster.parts("hefei").rosters.newest()));
        let connector = connector(material, roster, cluster.clock.clone(), id("hefei"));
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        endpoint.connect_with_connector_lazy(connector)
    };
    for caller in [
        cluster
            .federation
            .officer(&id("audit-office"))
            .expect("an officer"),
        office.node_material().expect("a certificate"),
        cluster
            .federation
            .officer(&id("hefei"))
            .expect("an officer"),
    ] {
        let answered = bare(channel(caller), path_of(Method::Health)).await;
        answered.expect("health is answered");
    }
    let before = of(&cluster, "hefei", "Health").await.len();
    assert_eq!(before, 0, "and nobody was denied");
    cluster.federation.stop().await;
}
