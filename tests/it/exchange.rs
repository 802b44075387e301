//! Bureaus publish, exchange and meet over real mutual TLS.

mod limits;

use std::sync::atomic::Ordering::Relaxed;

use casegate::ids::{LogIndex, LogName};
use casegate::ledger::BodyState;
use casegate::record::Audience;
use casegate::store::{Batch, Table};

use crate::cluster::link::{Fault, Link};
use crate::cluster::{Cluster, id, records, wait_for};
use crate::tamper::{append, element, postings};

const HEFEI: &str = "case_no,category,kind,value,role\n\
    HF-1,investment-fraud,phone,13800138000,suspect\n\
    HF-1,investment-fraud,wallet,0x52908400098527886e0f7030069857d2e4169ee7,suspect\n\
    HF-2,loan-fraud,domain,loan.example,instrument\n";
const WUHU: &str = "case_no,category,kind,value,role\n\
    WH-7,investment-fraud,phone,+86 138-0013-8000,suspect\n\
    WH-8,loan-fraud,domain,other.example,instrument\n";

#[tokio::test(flavor = "multi_thread")]
async fn two_bureaus_find_the_phone_that_they_share() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let report = cluster.import("hefei", HEFEI).await;
    assert_eq!(
        (report.rows, report.elements, report.refused),
        (3, 3, 0),
        "{report:?}"
    );
    cluster.import("wuhu", WUHU).await;
    cluster.converge().await;

    let answer = cluster.query("hefei", "HF-1").await;
    assert_eq!(answer.matches.len(), 1, "{answer:?}");
    let found = &answer.matches[0];
    assert_eq!(
        (found.member.as_str(), found.kind.as_str()),
        ("wuhu", "phone")
    );
    assert_eq!(found.category, "investment-fraud");
    assert!(cluster.query("hefei", "HF-2").await.matches.is_empty());

    for member in ["hefei", "wuhu"] {
        let parts = cluster.federation.nodes[&id(member)].parts();
        wait_for("a hit on both sides", || {
            parts.ledger.hits().is_ok_and(|h| h.len() == 1)
        })
        .await;
    }
    cluster.federation.stop().await;
}

const HEADER: &str = "case_no,category,kind,value,role,observed_on,audience\n";

fn csv(rows: &[&str]) -> String {
    format!("{HEADER}{}\n", rows.join("\n"))
}

/// The members in whose cases the query of `member`'s case finds the same.
async fn found(cluster: &Cluster, member: &str, case_no: &str) -> Vec<String> {
    let answer = cluster.query(member, case_no).await;
    let mut members: Vec<_> = answer.matches.into_iter().map(|m| m.member).collect();
    members.sort();
    members
}

fn count(states: &[BodyState], which: &BodyState) -> usize {
    states.iter().filter(|state| *state == which).count()
}

fn held(states: &[BodyState]) -> usize {
    states
        .iter()
        .filter(|state| matches!(state, BodyState::Held(_)))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_reaches_its_audience_and_nobody_else_also_through_a_relay() {
    let mut cluster = Cluster::new(&["hefei", "wuhu", "anqing"]).await;
    let same = |prefix: &str| {
        let row = |n: u8| format!("{prefix}-{n},loan-fraud,domain,loan{n}.example,suspect,,");
        let rows: Vec<_> = (1..=4).map(row).collect();
        csv(&rows.iter().map(String::as_str).collect::<Vec<_>>())
    };
    cluster.import("wuhu", &same("WH")).await;
    cluster.import("anqing", &same("AQ")).await;
    cluster.converge().await;
    cluster.stop("anqing").await;
    cluster
        .import(
            "hefei",
            &csv(&[
                "HF-1,loan-fraud,domain,loan1.example,suspect,,members:wuhu",
                "HF-2,loan-fraud,domain,loan2.example,suspect,,nobody",
                "HF-3,loan-fraud,domain,loan3.example,suspect,,federation",
                "HF-4,loan-fraud,domain,loan4.example,suspect,,region:anhui",
            ]),
        )
        .await;
    cluster.converge().await;
    // Of four elements and four notices, the two of nobody are withheld.
    let states = cluster.states("wuhu", "hefei");
    assert_eq!(
        (held(&states), count(&states, &BodyState::NotForMe)),
        (6, 2),
        "{states:?}"
    );
    let states = cluster.states("province", "hefei");
    assert_eq!(
        (held(&states), count(&states, &BodyState::NotForMe)),
        (4, 4)
    );
    assert_eq!(found(&cluster, "wuhu", "WH-1").await, ["anqing", "hefei"]);
    assert_eq!(found(&cluster, "wuhu", "WH-2").await, ["anqing"]);

    cluster.stop("hefei").await;
    cluster.restart("anqing").await;
    wait_for("a relay has carried the log", || {
        cluster.bodies_upto("anqing", "hefei") == 8
    })
    .await;
    let states = cluster.states("anqing", "hefei");
    assert_eq!(
        (held(&states), count(&states, &BodyState::Absent)),
        (4, 4),
        "a relay neither hands out what is for others nor speaks for the owner"
    );
    assert_eq!(found(&cluster, "anqing", "AQ-3").await, ["hefei", "wuhu"]);
    assert_eq!(found(&cluster, "anqing", "AQ-1").await, ["wuhu"]);

    cluster.restart("hefei").await;
    wait_for("the owner has said what it withholds", || {
        count(&cluster.states("anqing", "hefei"), &BodyState::NotForMe) == 4
    })
    .await;
    assert_eq!(found(&cluster, "anqing", "AQ-1").await, ["wuhu"]);
    for reader in ["wuhu", "anqing", "province"] {
        let parts = cluster.parts(reader);
        assert!(
            parts
                .replicator
                .states()
                .values()
                .all(|s| s.alarms.standing().is_none()),
            "{reader}"
        );
    }
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retraction_takes_body_posting_and_hit_away_and_a_late_peer_never_gets_the_body() {
    let mut cluster = Cluster::new(&["hefei", "wuhu", "anqing"]).await;
    cluster.stop("anqing").await;
    cluster.import("hefei", HEFEI).await;
    cluster.import("wuhu", WUHU).await;
    cluster.converge().await;
    for member in ["hefei", "wuhu"] {
        let parts = cluster.parts(member);
        wait_for("a hit", || parts.ledger.hits().is_ok_and(|h| h.len() == 1)).await;
    }
    assert_eq!(cluster.retract("hefei", "HF-1").await.retracted, 2);
    cluster.converge().await;
    let erased = |cluster: &Cluster, reader: &str| {
        count(&cluster.states(reader, "hefei"), &BodyState::Erased)
    };
    for member in ["hefei", "wuhu", "province"] {
        wait_for("the bodies are erased", || erased(&cluster, member) == 2).await;
    }
    for member in ["hefei", "wuhu"] {
        assert!(
            cluster
                .parts(member)
                .ledger
                .hits()
                .expect("hits")
                .is_empty(),
            "{member}"
        );
    }
    assert!(found(&cluster, "wuhu", "WH-7").await.is_empty());

    cluster.restart("anqing").await;
    cluster.converge().await;
    assert_eq!(
        erased(&cluster, "anqing"),
        2,
        "the late peer holds the entries alone"
    );

    cluster.stop("wuhu").await;
    cluster.restart("wuhu").await;
    cluster.converge().await;
    assert_eq!(
        erased(&cluster, "wuhu"),
        2,
        "and nothing comes back after a restart"
    );
    assert!(found(&cluster, "wuhu", "WH-7").await.is_empty());
    let report = cluster.import("hefei", HEFEI).await;
    assert_eq!(
        (report.fresh, report.unchanged),
        (2, 1),
        "it may be published anew"
    );
    cluster.converge().await;
    assert_eq!(found(&cluster, "wuhu", "WH-7").await, ["hefei"]);
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_amends_and_the_same_row_does_nothing() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let first = csv(&[
        "HF-1,loan-fraud,domain,loan.example,suspect,2026-01-02,",
        "HF-1,loan-fraud,domain,bank.example,suspect,2026-01-02,",
    ]);
    let report = cluster.import("hefei", &first).await;
    assert_eq!(
        (report.fresh, report.amendments, report.unchanged),
        (2, 0, 0)
    );
    let size = |cluster: &Cluster| {
        cluster
            .parts("hefei")
            .ledger
            .own_log(LogName::Records)
            .size()
            .0
    };
    assert_eq!(size(&cluster), 3, "two elements and their case's notice");

    let report = cluster.import("hefei", &first).await;
    assert_eq!(
        (report.fresh, report.amendments, report.unchanged),
        (0, 0, 2)
    );
    assert_eq!(size(&cluster), 3, "nothing is published twice");

    let changed = csv(&["HF-1,loan-fraud,domain,LOAN.example.,suspect,2026-03-04,"]);
    let report = cluster.import("hefei", &changed).await;
    assert_eq!(
        (report.fresh, report.amendments, report.unchanged),
        (0, 1, 0)
    );
    assert_eq!(size(&cluster), 4, "one amendment");
    let report = cluster.import("hefei", &changed).await;
    assert_eq!(
        (report.fresh, report.amendments, report.unchanged),
        (0, 0, 1)
    );
    cluster.converge().await;

    let ledger = &cluster.parts("wuhu").ledger;
    let log = ledger.log(&records("hefei")).expect("the replica");
    let element = ledger
        .element(log.number, LogIndex(0))
        .expect("readable")
        .expect("held");
    assert_eq!(element.body.observed_on, 20_516, "2026-03-04");
    let days: Vec<_> = postings(ledger).iter().map(|(_, of)| of.len()).collect();
    assert_eq!(days, [1, 1], "an amendment is no second record");
    assert!(
        postings(ledger)
            .iter()
            .flat_map(|g| &g.1)
            .any(|p| p.index.0 == 0 && p.day == 20_516)
    );
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_sends_a_changed_entry_is_refused_named_and_routed_around() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.stop("wuhu").await;
    cluster.import("hefei", HEFEI).await;
    cluster.converge().await;
    let store = cluster.parts("hefei").ledger.store().clone();
    let changed = tokio::task::spawn_blocking(move || {
        let (key, run) = store.scan(Table::Entries, &[0; 4]).expect("runs").remove(0);
        let mut run = run.to_vec();
        *run.last_mut().expect("entries") ^= 1;
        let mut batch = Batch::new();
        batch.put(Table::Entries, &key, run);
        store.commit(batch).expect("changed");
    });
    changed.await.expect("changed");

    cluster.stop("province").await;
    cluster.restart("wuhu").await;
    let alarm = |cluster: &Cluster| {
        let states = cluster.parts("wuhu").replicator.states();
        states
            .get(&id("hefei"))
            .and_then(|state| state.alarms.standing().map(|a| a.sentence.clone()))
    };
    wait_for("an alarm about hefei", || alarm(&cluster).is_some()).await;
    assert!(
        alarm(&cluster).is_some_and(|text| text.contains("hefei")),
        "it names the log"
    );
    let parts = cluster.parts("wuhu");
    assert!(parts.replicator.counts.refused.load(Relaxed) >= 1);
    assert_eq!(
        parts
            .ledger
            .log(&records("hefei"))
            .expect("the log")
            .size()
            .0,
        0
    );
    assert!(
        postings(&parts.ledger).is_empty(),
        "nothing of it is indexed"
    );

    cluster.restart("province").await;
    wait_for("the department relays the true log", || {
        cluster.bodies_upto("wuhu", "hefei") == 5
    })
    .await;
    let parts = cluster.parts("wuhu");
    let log = parts.ledger.log(&records("hefei")).expect("the log");
    let roster = parts.rosters.newest();
    let author = roster.member(&id("hefei")).expect("a member");
    parts
        .ledger
        .verify_log(&log, author)
        .expect("every signature and root holds");
    cluster.federation.stop().await;
}

/// Records that are pulled while the link is cut; fewer in a build without
/// optimization, where each signature costs ten times as much.
const MANY: u32 = if cfg!(debug_assertions) {
    20_000
} else {
    100_000
};
const MANY_LEN: usize = MANY as usize;

async fn publish_many(cluster: &Cluster, member: &'static str) {
    let ledger = cluster.parts(member).ledger.clone();
    let publish = move || {
        for start in (0..MANY).step_by(2_000) {
            let some = start..start + 2_000;
            append(
                &ledger,
                some.map(|n| element(member, n, Audience::Federation))
                    .collect(),
            );
        }
    };
    tokio::task::spawn_blocking(publish)
        .await
        .expect("published");
}

fn assert_same_log(cluster: &Cluster, reader: &str, owner: &str) {
    let own = cluster.parts(owner).ledger.own_log(LogName::Records).head();
    let ledger = &cluster.parts(reader).ledger;
    let log = ledger.log(&records(owner)).expect("the replica");
    assert_eq!(
        (log.head().size(), log.head().root()),
        (own.size(), own.root())
    );
    let roster = cluster.parts(reader).rosters.newest();
    let author = roster.member(&id(owner)).expect("a member");
    assert_eq!(
        ledger.verify_log(&log, author).expect("it verifies").size,
        own.size()
    );
    assert_eq!(held(&cluster.states(reader, owner)), MANY_LEN);
    assert_eq!(postings(ledger).len(), MANY_LEN);
    let counts = &cluster.parts(reader).replicator.counts;
    assert_eq!(
        counts.refused.load(Relaxed),
        0,
        "a cut link is nobody's fault"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_converge_although_both_nodes_are_restarted_in_the_middle() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    publish_many(&cluster, "hefei").await;
    let size = |cluster: &Cluster| {
        let log = cluster.parts("wuhu").ledger.log(&records("hefei"));
        log.map_or(0, |log| log.size().0)
    };
    wait_for("some entries are here", || size(&cluster) > 0).await;
    cluster.stop("wuhu").await;
    cluster.restart("wuhu").await;
    wait_for("some bodies are here", || {
        cluster.bodies_upto("wuhu", "hefei") > 0
    })
    .await;
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    cluster.converge().await;
    assert_same_log(&cluster, "wuhu", "hefei");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_converge_over_a_link_that_is_cut_twice_and_flips_a_byte() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let (target, _) = cluster
        .federation
        .addresses(&id("hefei"))
        .expect("an address");
    let faults = [
        Fault::Cut(800_000),
        Fault::Flip(2_000_000),
        Fault::Cut(5_000_000),
    ];
    let link = Link::start(target, &faults).await;
    let mut draft = cluster.federation.next_roster();
    let hefei = draft
        .wire
        .members
        .iter_mut()
        .find(|m| m.id == "hefei")
        .expect("hefei");
    hefei.peer_endpoint = link.address.to_string();
    cluster
        .federation
        .install(&draft)
        .await
        .expect("the next roster");
    for member in ["wuhu", "province"] {
        cluster.stop(member).await;
    }
    publish_many(&cluster, "hefei").await;
    for member in ["wuhu", "province"] {
        cluster.restart(member).await;
    }
    cluster.converge().await;
    assert_same_log(&cluster, "wuhu", "hefei");
    assert_eq!(link.faults_done(), 3, "every fault was met");
    cluster.federation.stop().await;
}
