//! A node that starts asks the others how far they saw its log: alone it does
//! not append, and a restored backup is brought up before it goes on.

mod access;
mod own;

use std::sync::Arc;

use casegate::ids::LogName;
use casegate::ledger::{BodyState, Standing};
use casegate::replicate::{PeerError, PeerTransport};

use crate::backup::{Backup, copy_dir, raise_access};
use crate::cluster::{Cluster, id, records, wait_for};

const HEAD: &str = "case_no,category,kind,value,role\n";

fn row(case: &str, phone: &str) -> String {
    format!("{HEAD}{case},loan-fraud,phone,{phone},suspect\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_recovers_its_log_before_it_appends() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let hefei = id("hefei");
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.converge().await;

    let backup = Backup::of(&mut cluster, "hefei").await;
    cluster.import("hefei", &row("HF-2", "13900139000")).await;
    cluster.converge().await;
    let before = cluster.federation.nodes[&hefei]
        .parts()
        .ledger
        .own_log(LogName::Records)
        .head();

    backup.restore(&mut cluster).await;
    let parts = Arc::clone(cluster.federation.nodes[&hefei].parts());
    wait_for("the log is open again", || {
        parts.ledger.standing() == Standing::Open
    })
    .await;
    let after = parts.ledger.own_log(LogName::Records).head();
    assert_eq!(
        after.size(),
        before.size(),
        "nothing that others saw is missing"
    );
    assert_eq!(after.root(), before.root());

    let size = after.size();
    drop(parts);
    // Its access log went back, too, and that cannot be fetched from anybody.
    raise_access(&mut cluster, "hefei").await;
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    cluster.import("hefei", &row("HF-3", "13700137000")).await;
    cluster.converge().await;
    let wuhu = cluster.federation.nodes[&id("wuhu")].parts();
    let states = wuhu.replicator.states();
    assert!(
        states
            .get(&hefei)
            .is_some_and(|s| s.alarms.standing().is_none()),
        "no conflict was signed"
    );
    let own = cluster.parts("hefei").ledger.own_log(LogName::Records);
    assert!(own.size() > size);
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_reaches_nobody_does_not_append() {
    let mut cluster = Cluster::new(&["hefei"]).await;
    let hefei = id("hefei");
    for other in ["hefei", "province", "court", "procuracy", "regulator"] {
        cluster.federation.stop_node(&id(other)).await;
    }
    cluster
        .federation
        .restart_node(&hefei)
        .await
        .expect("it starts");
    let parts = Arc::clone(cluster.federation.nodes[&hefei].parts());
    let refused = tokio::task::spawn_blocking({
        let ledger = parts.ledger.clone();
        move || ledger.append(LogName::Records, vec![], casegate::store::Batch::new())
    })
    .await
    .expect("it ends");
    assert!(refused.is_err(), "the log is closed while nobody answers");
    assert_eq!(parts.ledger.standing(), Standing::Fenced);

    cluster
        .federation
        .restart_node(&id("province"))
        .await
        .expect("it starts");
    wait_for("the log opens", || {
        parts.ledger.standing() == Standing::Open
    })
    .await;
    drop(parts);
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_held_back_until_a_node_knows_what_ended_while_it_was_away() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.converge().await;
    // wuhu comes back alone: nobody tells it what hefei retracted meanwhile.
    for member in ["hefei", "province", "wuhu"] {
        cluster.stop(member).await;
    }
    cluster.restart("wuhu").await;
    let peers = Arc::clone(&cluster.parts("court").peers);
    let ask = || async {
        let (wuhu, log) = (id("wuhu"), records("hefei"));
        let mut answers = peers.bodies(&wuhu, &log, vec![(0, 2)]).await?;
        let chunk = answers.recv().await.expect("an answer")?;
        Ok::<_, PeerError>(chunk.bodies.len())
    };
    let refused = ask().await.expect_err("held back");
    assert_eq!(refused.code, "ledger.held_back");
    assert_eq!(cluster.states("wuhu", "hefei").len(), 2, "they are there");

    cluster.restart("hefei").await;
    wait_for("wuhu has asked hefei", || {
        let log = cluster.parts("wuhu").ledger.log(&records("hefei"));
        log.is_ok_and(|log| !log.is_stale())
    })
    .await;
    assert_eq!(ask().await.expect("given out again"), 2);
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_nobody_has_any_more_are_lost_and_counted() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.converge().await;
    let backup = Backup::of(&mut cluster, "hefei").await;
    let secret = "case_no,category,kind,value,role,audience\nHF-2,loan-fraud,phone,13900139000,suspect,nobody\n";
    cluster.import("hefei", secret).await;
    cluster.import("hefei", &row("HF-3", "13700137000")).await;
    let size = node_size(&cluster, "hefei");
    wait_for("wuhu has all entries", || {
        let log = cluster.parts("wuhu").ledger.log(&records("hefei"));
        log.is_ok_and(|log| log.head().bodies_upto == size)
    })
    .await;
    backup.restore(&mut cluster).await;
    let lost = || {
        let ledger = &cluster.parts("hefei").ledger;
        ledger
            .lost(ledger.own_log(LogName::Records))
            .expect("a count")
    };
    wait_for("what only hefei had is lost", || lost() == 2).await;
    assert_eq!(node_size(&cluster, "hefei"), size, "all entries are back");
    let held = cluster.states("hefei", "hefei");
    let held = held
        .iter()
        .filter(|state| matches!(state, BodyState::Held(_)));
    assert_eq!(held.count(), 4, "and the bodies that wuhu had");
    assert_eq!(lost_at(&cluster, "wuhu").await, 0, "withheld, not missing");
    // Who asks for them now is told that they are lost.
    cluster.stop("wuhu").await;
    let store = cluster.federation.member_dir(&id("wuhu")).join("store");
    std::fs::remove_dir_all(&store).expect("removed");
    cluster.restart("wuhu").await;
    wait_for("wuhu has asked for all bodies", || {
        let log = cluster.parts("wuhu").ledger.log(&records("hefei"));
        log.is_ok_and(|log| log.head().bodies_upto == size)
    })
    .await;
    assert_eq!(lost_at(&cluster, "wuhu").await, 2);
    assert_eq!(lost_at(&cluster, "hefei").await, 2);
    cluster.federation.stop().await;
}

/// The lost bodies of hefei's log as a member's status shows them.
async fn lost_at(cluster: &Cluster, reader: &str) -> u64 {
    let status = crate::views::status(cluster, reader).await;
    let theirs = status.replicas.iter().find(|r| r.member == "hefei");
    theirs.map_or(status.records_lost, |replica| replica.lost)
}

fn node_size(cluster: &Cluster, member: &str) -> u64 {
    let ledger = &cluster.parts(member).ledger;
    ledger.own_log(LogName::Records).size().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_node_ends_in_evidence_and_not_in_two_histories() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let hefei = id("hefei");
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.converge().await;
    cluster.stop("hefei").await;
    let store = cluster.federation.member_dir(&hefei).join("store");
    let other = tempfile::tempdir().expect("a directory");
    copy_dir(&store, other.path());
    cluster.restart("hefei").await;
    // A second opening of the same directory is refused, in words.
    let twice = cluster.federation.start_copy(&hefei, &store).await;
    let twice = twice.expect_err("one directory, one node").to_string();
    assert!(twice.contains("lock"), "{twice}");

    let copy = cluster.federation.start_copy(&hefei, other.path()).await;
    let copy = copy.expect("the copy starts");
    let parts = Arc::clone(copy.parts());
    wait_for("the copy is open, too", || {
        parts.ledger.standing() == Standing::Open
    })
    .await;
    cluster.import("hefei", &row("HF-2", "13900139000")).await;
    cluster.converge().await;
    crate::views::append(&parts.ledger, "hefei", 0..3);
    parts
        .replicator
        .gossip(&id("wuhu"))
        .await
        .expect("an answer");
    assert_eq!(parts.ledger.standing(), Standing::Conflict);
    assert_eq!(parts.ledger.evidence().count().expect("a count"), 1);
    let wuhu = cluster
        .parts("wuhu")
        .ledger
        .log(&records("hefei"))
        .expect("the log");
    let real = cluster
        .parts("hefei")
        .ledger
        .own_log(LogName::Records)
        .head();
    assert_eq!(wuhu.head().root(), real.root(), "one history counts");
    drop(parts);
    copy.stop().await;
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_a_day_stops_nothing_and_revives_nothing() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.clock.advance(2 * 86_400);
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.import("wuhu", &row("WH-1", "13800138000")).await;
    cluster.converge().await;
    let ledger = cluster.parts("hefei").ledger.clone();
    let end = cluster.clock.now() + 100;
    tokio::task::spawn_blocking(move || {
        let mut short = crate::tamper::element("hefei", 7, casegate::record::Audience::Federation);
        short.expires_at = end;
        if let casegate::record::Body::Element(body) = &mut short.body {
            body.expires_at = end;
        }
        ledger.append(LogName::Records, vec![short], casegate::store::Batch::new())
    })
    .await
    .expect("it ends")
    .expect("appended");
    cluster.converge().await;
    let at = 2;
    cluster.clock.advance(200);
    for reader in ["hefei", "wuhu"] {
        wait_for("the body has ended", || {
            cluster.states(reader, "hefei")[at] == BodyState::Erased
        })
        .await;
    }

    cluster.clock.advance(-86_400);
    cluster.import("hefei", &row("HF-2", "13900139000")).await;
    cluster.import("wuhu", &row("WH-2", "13900139000")).await;
    wait_for("both hits are raised", || {
        ["hefei", "wuhu"].iter().all(|member| {
            let hits = cluster.parts(member).ledger.hits();
            hits.is_ok_and(|hits| hits.len() == 2)
        })
    })
    .await;
    for reader in ["hefei", "wuhu"] {
        assert_eq!(
            cluster.states(reader, "hefei")[at],
            BodyState::Erased,
            "{reader}"
        );
        let status = crate::views::status(&cluster, reader).await;
        assert!(
            status.replicas.iter().all(|r| r.alarm.is_empty()),
            "{status:?}"
        );
        let shown = serde_json::to_value(casegate::cli::status::StatusView::of(&status));
        let shown = shown.expect("JSON");
        for replica in shown["replicas"].as_array().expect("a list") {
            assert!(
                replica["age_s"].as_i64().is_none_or(|age| age >= 0),
                "{replica}"
            );
        }
    }
    let query = cluster.query("hefei", "HF-2").await;
    assert_eq!(query.matches.len(), 1, "{query:?}");
    cluster.federation.stop().await;
}
