//! What a node does about its own log when somebody shows more of it, or
//! another history: it goes on only from what it can prove to be its own.

use casegate::ids::LogName;
use casegate::ledger::{Ledger, LedgerError};
use casegate::parts::Parts;
use casegate::seal::SealKey;
use casegate::store::Batch;

use super::*;
use crate::generations::end;
use crate::views::{append, history_of};

/// Why the ledger refuses to append to its records log.
async fn refused(ledger: &Ledger) -> Standing {
    let ledger = ledger.clone();
    let appending = move || ledger.append(LogName::Records, vec![], Batch::new());
    let appended = tokio::task::spawn_blocking(appending).await;
    match appended.expect("it ends").expect_err("the log is closed") {
        LedgerError::Closed(standing) => standing,
        other => panic!("{other}"),
    }
}

/// Whether a node follows another one's log, and so has its answers.
fn asked(parts: &Parts, member: &str) -> bool {
    let states = parts.replicator.states();
    states.get(&id(member)).is_some_and(|state| state.watching)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_which_somebody_saw_more_waits_for_who_has_it() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.converge().await;
    let backup = Backup::of(&mut cluster, "hefei").await;
    cluster.stop("province").await;
    cluster.import("hefei", &row("HF-2", "13900139000")).await;
    let head = cluster
        .parts("hefei")
        .ledger
        .own_log(LogName::Records)
        .head();
    wait_for("wuhu has it", || {
        cluster.bodies_upto("wuhu", "hefei") == head.size().0
    })
    .await;
    // A custodian holds no log, and saw how far this one went.
    let court = cluster.parts("court").ledger.clone();
    wait_for("court has seen it", || {
        let seen = court.last_seen(&records("hefei")).expect("readable");
        seen.is_some_and(|seen| seen.checkpoint.size == head.size())
    })
    .await;
    // Who has the rest of it is not there when it comes back.
    cluster.stop("wuhu").await;
    cluster.stop("hefei").await;
    cluster.restart("province").await;
    backup.put_back();
    cluster.restart("hefei").await;
    let parts = Arc::clone(cluster.parts("hefei"));
    let peers = Arc::clone(&parts.replicator);
    peers.gossip(&id("court")).await.expect("an answer");
    wait_for("it has asked the others", || asked(&parts, "province")).await;
    assert_eq!(refused(&parts.ledger).await, Standing::Fenced);
    drop((parts, peers));
    // What it was shown is kept.
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    let parts = Arc::clone(cluster.parts("hefei"));
    wait_for("it has asked the others", || asked(&parts, "province")).await;
    assert_eq!(refused(&parts.ledger).await, Standing::Fenced);
    let own = Arc::clone(parts.ledger.own_log(LogName::Records));
    assert!(own.size() < head.size());

    cluster.restart("wuhu").await;
    wait_for("the log is whole and open again", || {
        let open = parts.ledger.standing() == Standing::Open;
        assert!(!open || own.size() == head.size(), "open too early");
        open
    })
    .await;
    assert_eq!(own.head().root(), head.root());
    let evidence = parts.ledger.evidence().count().expect("a count");
    assert_eq!(evidence, 0, "it signed nothing twice");
    drop((parts, own));
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_log_went_another_way_stays_closed_when_it_starts() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let hefei = id("hefei");
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.converge().await;
    cluster.stop("hefei").await;
    let kept = tempfile::tempdir().expect("a directory");
    copy_dir(
        &cluster.federation.member_dir(&hefei).join("store"),
        kept.path(),
    );
    cluster.restart("hefei").await;
    cluster.import("hefei", &row("HF-2", "13900139000")).await;
    cluster.converge().await;
    // Shorter than what the others hold, and longer.
    for entries in [1, 5] {
        let dir = tempfile::tempdir().expect("a directory");
        copy_dir(kept.path(), dir.path());
        go_another_way(&cluster, dir.path(), entries);
        let copy = cluster.federation.start_copy(&hefei, dir.path()).await;
        let copy = copy.expect("the copy starts");
        let ledger = copy.parts().ledger.clone();
        wait_for("it is settled", || {
            !matches!(ledger.standing(), Standing::Fenced | Standing::Recovering)
        })
        .await;
        assert_eq!(refused(&ledger).await, Standing::Conflict, "{entries}");
        let own = ledger.own_log(LogName::Records).size().0;
        assert_eq!(own, 2 + u64::from(entries), "nothing was added");
        assert_eq!(ledger.evidence().count().expect("a count"), 1, "{entries}");
        drop(ledger);
        copy.stop().await;

        // It holds the evidence: it needs nobody's word when it starts again.
        if entries == 5 {
            alone_with_evidence(&mut cluster, dir.path()).await;
        }
    }
    cluster.federation.stop().await;
}

/// Appends to a copy of hefei's log, of which nobody hears.
fn go_another_way(cluster: &Cluster, dir: &std::path::Path, entries: u32) {
    let home = cluster.federation.member_dir(&id("hefei"));
    let seal = std::fs::read_to_string(home.join("seal.key")).expect("a key");
    let seal = hex::decode(seal.trim()).expect("hexadecimal digits");
    let seal = SealKey::new(seal.try_into().expect("32 bytes"));
    append(
        &history_of(cluster, "hefei", dir, seal),
        "hefei",
        0..entries,
    );
}

/// Starts the copy once more, where only custodians answer, who hold no log.
async fn alone_with_evidence(cluster: &mut Cluster, dir: &std::path::Path) {
    for member in ["hefei", "wuhu", "province"] {
        cluster.stop(member).await;
    }
    let copy = cluster.federation.start_copy(&id("hefei"), dir).await;
    let copy = copy.expect("the copy starts");
    let ledger = copy.parts().ledger.clone();
    wait_for("it is settled", || ledger.standing() != Standing::Fenced).await;
    assert_eq!(refused(&ledger).await, Standing::Conflict);
    drop(ledger);
    copy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_the_roots_ended_while_nobody_answered_does_not_open_again() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.converge().await;
    let others = ["wuhu", "province", "court", "procuracy", "regulator"];
    for member in others.iter().chain(&["hefei"]) {
        cluster.stop(member).await;
    }
    cluster.restart("hefei").await;
    let parts = Arc::clone(cluster.parts("hefei"));
    assert_eq!(parts.ledger.standing(), Standing::Fenced);
    let head = parts.ledger.own_log(LogName::Records).head();
    end(&mut cluster, "hefei", head.size().0, head.root()).await;
    wait_for("hefei says so", || {
        parts.ledger.standing() == Standing::Superseded
    })
    .await;
    cluster.restart("wuhu").await;
    cluster.restart("province").await;
    for member in ["wuhu", "province"] {
        wait_for("hefei reaches the others", || asked(&parts, member)).await;
    }
    assert_eq!(refused(&parts.ledger).await, Standing::Superseded);
    drop(parts);
    cluster.federation.stop().await;
}
