//! Generations of logs on running nodes: the roots end a log that contradicts
//! itself or was lost in part, and its owner goes on in the next one.

use std::sync::Arc;

use casegate::ids::{Digest, LogIndex, LogName, Origin, TreeSize};
use casegate::ledger::Standing;
use casegate::wire::v1;

use crate::cluster::{Cluster, id, records, wait_for};
use crate::views::{append, equivocate, row, status};

fn generation(member: &str, generation: u32) -> Origin {
    Origin {
        generation,
        ..records(member)
    }
}

/// The roots end the first generation of a member's log and begin the second.
pub(crate) async fn end(cluster: &mut Cluster, member: &str, size: u64, root: Digest) {
    let mut draft = cluster.federation.next_roster();
    let found = draft.wire.members.iter_mut().find(|m| m.id == member);
    let found = found.expect("a member");
    found.records_generation = 2;
    found.frozen.push(v1::FrozenGeneration {
        generation: 1,
        size,
        root: root.0.to_vec().into(),
    });
    cluster.federation.install(&draft).await.expect("installed");
}

/// The size and root of a log as a node holds it; none when it is incomplete.
fn held(cluster: &Cluster, reader: &str, origin: &Origin) -> Option<(u64, Digest)> {
    let log = cluster.parts(reader).ledger.log(origin).ok()?;
    let head = log.head();
    (head.bodies_upto == head.size().0).then(|| (head.size().0, head.root()))
}

fn hefei_size(cluster: &Cluster) -> TreeSize {
    let ledger = &cluster.parts("hefei").ledger;
    ledger.own_log(LogName::Records).size()
}

async fn matches(cluster: &Cluster, member: &str, case: &str) -> Vec<String> {
    let answer = cluster.query(member, case).await;
    let mut found: Vec<_> = answer
        .matches
        .iter()
        .map(|m| format!("{} {} {}", m.member, m.category, m.value))
        .collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_generation_ends_a_conflict_and_matches_are_found_again() {
    let (mut cluster, tricks, _dir) = equivocate(7).await;
    let wuhu = Arc::clone(&cluster.parts("wuhu").replicator);
    wuhu.gossip(&id("anqing")).await.expect("an answer");
    drop(wuhu);
    assert!(
        status(&cluster, "wuhu")
            .await
            .replicas
            .iter()
            .any(|r| r.forked)
    );

    // The roots keep the history that anqing holds.
    let (size, root) = held(&cluster, "anqing", &records("hefei")).expect("complete");
    tricks.fooled.lock().expect("lock").clear();
    end(&mut cluster, "hefei", size, root).await;
    let ended = [
        ("wuhu", "the false history is gone"),
        ("anqing", "the good one stays"),
    ];
    for (reader, what) in ended {
        wait_for(what, || {
            held(&cluster, reader, &records("hefei")) == Some((size, root))
        })
        .await;
    }

    // hefei's node says that it needs a restart, and appends nothing meanwhile.
    wait_for("hefei says so", || {
        cluster.parts("hefei").ledger.standing() == Standing::Superseded
    })
    .await;
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    cluster.import("hefei", &row("HF-2", "13900139000")).await;
    cluster.import("wuhu", &row("WH-2", "13900139000")).await;
    cluster.import("wuhu", &row("WH-1", "13800138000")).await;
    for reader in ["wuhu", "anqing"] {
        wait_for("the new generation arrives", || {
            held(&cluster, reader, &generation("hefei", 2)).is_some_and(|(size, _)| size >= 2)
        })
        .await;
        let status = status(&cluster, reader).await;
        assert!(
            status
                .replicas
                .iter()
                .all(|r| !r.forked && r.alarm.is_empty()),
            "{status:?}"
        );
    }
    assert_eq!(
        status(&cluster, "wuhu").await.conflicts,
        1,
        "evidence is kept for good"
    );

    // Both generations answer, at both ends.
    for (case, value) in [("WH-1", "13800138000"), ("WH-2", "13900139000")] {
        assert_eq!(
            matches(&cluster, "wuhu", case).await,
            [format!("hefei loan-fraud {value}")]
        );
    }
    for (case, value) in [("HF-1", "13800138000"), ("HF-2", "13900139000")] {
        wait_for("wuhu's records arrive", || {
            held(&cluster, "hefei", &records("wuhu")).is_some_and(|(size, _)| size == 4)
        })
        .await;
        assert_eq!(
            matches(&cluster, "hefei", case).await,
            [format!("wuhu loan-fraud {value}")]
        );
    }
    for member in ["wuhu", "hefei"] {
        let hits = cluster.parts(member).ledger.hits().expect("hits");
        assert_eq!(hits.len(), 2, "{member}: {hits:?}");
    }

    // The false history is refused as ever, as is anything after the end.
    let fork = tricks.fork.lock().expect("lock").clone().expect("a fork").0;
    append(&fork, "hefei", 50..52);
    let log = fork.own_log(LogName::Records);
    let chunk = fork
        .chunk(log, LogIndex(size), 10)
        .expect("readable")
        .expect("more");
    let ledger = cluster.parts("anqing").ledger.clone();
    let roster = cluster.parts("anqing").rosters.newest();
    let refused = tokio::task::spawn_blocking(move || {
        let replica = ledger.log(&records("hefei")).expect("the replica");
        let author = roster.member(&id("hefei")).expect("a member");
        ledger.accept_chunk(&replica, author, chunk)
    });
    assert!(refused.await.expect("it ends").is_err());
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stood_above_the_end_is_dropped_and_published_again() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("wuhu", &row("WH-1", "13800138000")).await;
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.import("wuhu", &row("WH-2", "13900139000")).await;
    cluster.import("hefei", &row("HF-2", "13900139000")).await;
    cluster.converge().await;
    let ledger = cluster.parts("hefei").ledger.clone();
    let log = Arc::clone(ledger.own_log(LogName::Records));
    assert_eq!(log.size(), TreeSize(4));
    let root = ledger.root_at(&log, TreeSize(2)).expect("a root");
    let evaluated = |cluster: &Cluster| {
        let counts = &cluster.parts("hefei").publisher.counts;
        counts.evaluated.load(std::sync::atomic::Ordering::Relaxed)
    };
    drop((ledger, log));
    end(&mut cluster, "hefei", 2, root).await;
    wait_for("wuhu dropped what stood above", || {
        held(&cluster, "wuhu", &records("hefei")) == Some((2, root))
    })
    .await;
    let wuhu = &cluster.parts("wuhu").ledger;
    let log = wuhu.log(&records("hefei")).expect("the log");
    assert_eq!(
        wuhu.entries(log.number, LogIndex(0), 9)
            .expect("entries")
            .len(),
        2
    );
    assert_eq!(wuhu.hits().expect("hits").len(), 1);
    assert!(matches(&cluster, "wuhu", "WH-2").await.is_empty());

    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    wait_for("what was dropped is published again", || {
        held(&cluster, "wuhu", &generation("hefei", 2)).is_some_and(|(size, _)| size >= 2)
    })
    .await;
    assert_eq!(evaluated(&cluster), 0, "its token was kept");
    let hefei = &cluster.parts("hefei").ledger;
    let old = hefei.log(&records("hefei")).expect("the ended log");
    assert_eq!((old.size(), old.head().root()), (TreeSize(2), root));
    for (case, value) in [("WH-1", "13800138000"), ("WH-2", "13900139000")] {
        assert_eq!(
            matches(&cluster, "wuhu", case).await,
            [format!("hefei loan-fraud {value}")]
        );
    }
    for (case, value) in [("HF-1", "13800138000"), ("HF-2", "13900139000")] {
        assert_eq!(
            matches(&cluster, "hefei", case).await,
            [format!("wuhu loan-fraud {value}")]
        );
    }
    for member in ["wuhu", "hefei"] {
        assert_eq!(
            cluster.parts(member).ledger.hits().expect("hits").len(),
            2,
            "{member}"
        );
    }
    // Importing the same rows again changes nothing.
    for (case, phone) in [("HF-1", "13800138000"), ("HF-2", "13900139000")] {
        let report = cluster.import("hefei", &row(case, phone)).await;
        assert_eq!((report.fresh, report.unchanged), (0, 1), "{case}");
    }
    // What stands in the ended log cannot be retracted any more, and says so.
    let (old, size) = (old.size(), hefei_size(&cluster));
    let request = v1::RetractRequest {
        case_no: "HF-1".into(),
        reason: v1::RetractReason::Mistake.into(),
        ..Default::default()
    };
    let refused = cluster.desk("hefei").retract(request).await;
    assert_eq!(refused.expect_err("refused").shown_code(), "query.ended");
    let ended = cluster.parts("hefei").ledger.log(&records("hefei"));
    assert_eq!(ended.expect("the ended log").size(), old);
    assert_eq!(hefei_size(&cluster), size, "nothing was written");
    // A node that lost everything gets both generations from the others.
    cluster.stop("hefei").await;
    cluster.stop("wuhu").await;
    let store = cluster.federation.member_dir(&id("wuhu")).join("store");
    std::fs::remove_dir_all(&store).expect("removed");
    cluster.restart("wuhu").await;
    wait_for("both generations come from a relay", || {
        held(&cluster, "wuhu", &records("hefei")) == Some((2, root))
            && held(&cluster, "wuhu", &generation("hefei", 2)).is_some_and(|(size, _)| size >= 2)
    })
    .await;
    cluster.federation.stop().await;
}

/// hefei goes on to show wuhu a history of so many entries in place of the one
/// that the roots kept; says how many answers wuhu refused until it had that.
async fn shown_after_the_end(entries: u32) -> u64 {
    let (mut cluster, tricks, _dir) = equivocate(entries).await;
    let at_anqing = || held(&cluster, "anqing", &records("hefei"));
    wait_for("anqing has all of it", || at_anqing().is_some()).await;
    let (size, root) = at_anqing().expect("complete");
    assert_eq!(size, 2);
    end(&mut cluster, "hefei", size, root).await;
    wait_for("wuhu has it from the others", || {
        held(&cluster, "wuhu", &records("hefei")) == Some((size, root))
    })
    .await;
    let counts = &cluster.parts("wuhu").replicator.counts;
    let refused = counts.refused.load(std::sync::atomic::Ordering::Relaxed);
    cluster.federation.stop().await;
    drop(tricks);
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_history_that_is_shorter_than_the_end_is_thrown_away_and_fetched_anew() {
    shown_after_the_end(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_history_that_is_longer_than_the_end_is_refused_for_good() {
    assert!(shown_after_the_end(7).await > 0, "and hefei is blamed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_above_the_end_is_given_again_in_the_next_generation() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("wuhu", &row("WH-1", "13800138000")).await;
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.converge().await;
    let log = Arc::clone(cluster.parts("hefei").ledger.own_log(LogName::Records));
    let (size, root) = (log.size().0, log.head().root());
    drop(log);
    cluster.retract("wuhu", "WH-1").await;
    let given = |cluster: &Cluster| -> Option<Origin> {
        let erasures = cluster.parts("wuhu").ledger.erasures().expect("a report");
        let mut said = erasures.first()?.confirmations.iter();
        let said = said.find(|c| c.member == id("hefei"))?;
        Some(said.receipt.as_ref()?.origin.clone())
    };
    wait_for("hefei has signed", || {
        given(&cluster) == Some(records("hefei"))
    })
    .await;
    end(&mut cluster, "hefei", size, root).await;
    wait_for("its receipt stood above the end", || {
        given(&cluster).is_none()
    })
    .await;
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    wait_for("it is given again", || {
        given(&cluster) == Some(generation("hefei", 2))
    })
    .await;
    cluster.federation.stop().await;
}
