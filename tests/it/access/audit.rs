//! The audit port in the access log: every method called well, badly and without
//! the right. What exports leaves a line, whatever becomes of it; a denial always does.

use super::*;
use crate::audit_port::fetch;

const ACCESS: &str = "anhui.example/hefei/access/1";
const ROWS: &str = "case_no,category,kind,value,role\nHF-1,loan-fraud,domain,one.example,suspect\n";

fn audit_methods() -> impl Iterator<Item = Method> {
    let all = Method::ALL.iter().copied();
    all.filter(|method| method.as_str().starts_with("Audit."))
}

/// A file of each kind that is there, and one that is not; the former is missing
/// for what this federation does not have.
fn paths(method: Method) -> (Option<&'static str>, &'static str) {
    match method {
        Method::ReadIndex => (Some("index"), "index"),
        Method::ReadRoster => (Some("roster/000001"), "roster/999999"),
        Method::ReadCheckpoint => (Some("records/1/checkpoint"), "records/1/checkpoints/9999"),
        Method::ReadTile => (Some("records/1/tile/0/000.p/1"), "records/1/tile/0/999"),
        Method::ReadEntries => (
            Some("access/1/tile/entries/000.p/2"),
            "access/1/tile/entries/999",
        ),
        Method::ReadBodies => (Some("access/1/bodies/000"), "access/1/bodies/999"),
        Method::ReadReceipt => (None, "receipts/wuhu-1-0.body"),
        Method::ReadErasures => (None, "erasures/9.jsonl"),
        Method::ReadEvidence => (None, "evidence/9/first"),
        Method::ReadFile => (None, "bundle.json"),
        other => panic!("{other} is no file"),
    }
}

/// The log of the line that reading leaves; nothing else is written down.
fn exports(method: Method) -> Option<&'static str> {
    match method {
        Method::ReadEntries | Method::ReadBodies => Some(ACCESS),
        Method::ReadReceipt => Some("anhui.example/wuhu/records/1"),
        _ => None,
    }
}

/// Fetches a file as hefei's officer; says how it ended.
async fn over_https(cluster: &Cluster, path: &str) -> String {
    let hefei = cluster.federation.made(&id("hefei")).expect("made");
    let issued = &hefei.officers[0];
    let pem = Some((&*issued.cert_pem, &**issued.key_pem));
    let path = format!("/anhui.example/hefei/{path}");
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
async fn a_good_a_denied_and_a_vain_reading_of_every_kind_of_file_is_told_truly() {
    let cluster = Cluster::audited(&["hefei"]).await;
    cluster.import("hefei", ROWS).await;
    let boss = v1::AddOfficerRequest {
        name: "boss".into(),
        rights: vec!["admin".into()],
    };
    let added = cluster.desk("hefei").add_officer(boss).await;
    added.expect("another admin");
    for method in audit_methods() {
        let (there, missing) = paths(method);
        let mut before = of(&cluster, "hefei", method.as_str()).await.len();
        set_rights(&cluster, &["export"]).await;
        let entries = cluster
            .parts("hefei")
            .ledger
            .own_log(LogName::Access)
            .head()
            .checkpoint_size;
        if let Some(path) = there {
            assert_eq!(over_https(&cluster, path).await, "ok", "{method}");
        }
        // An index is always there.
        if method != Method::ReadIndex {
            let vain = over_https(&cluster, missing).await;
            assert_eq!(vain, "audit.no_file", "{method}");
        }
        let lines = more(&cluster, method, before).await;
        let told: Vec<_> = lines
            .iter()
            .map(|line| (line.outcome.as_str(), line.count, line.log.as_str()))
            .collect();
        let count = match method {
            Method::ReadBodies => u32::try_from(entries.0).expect("few"),
            _ => 2,
        };
        let mut wanted = vec![];
        if let Some(log) = exports(method) {
            wanted.extend(there.map(|_| ("ok", count, log)));
            wanted.push(("audit.no_file", 0, log));
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
        // Who may not come in is not told what there is.
        let denied = over_https(&cluster, missing).await;
        assert_eq!(denied, "policy.missing_right", "{method}");
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
            keys.iter().any(|key| entry.verify(key).is_ok()),
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
