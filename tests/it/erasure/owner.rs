//! An owner whose node comes back from a backup that it made before it
//! retracted: what it erased then is erased again before anybody gets it.

use std::path::Path;

use casegate::ids::{LogIndex, LogName};
use casegate::ledger::{BodyState, Standing};
use casegate::replicate::PeerTransport;
use casegate::wire::v1::BodyAnswer;

use super::scanner::{Needles, scan};
use super::{HEAD, all_confirmed, held, secrets};
use crate::backup::Backup;
use crate::cluster::{Cluster, id, records, wait_for};

/// hefei publishes a record, makes a backup, and retracts the record.
async fn retracted_since(cluster: &mut Cluster) -> (Backup, Needles) {
    let rows = format!("{HEAD}HF-1,loan-fraud,phone,13911112222,suspect,,\n");
    cluster.import("hefei", &rows).await;
    cluster.converge().await;
    let mut needles = Needles::default();
    let (record, commitment) = held(&cluster.parts("hefei").ledger, 0);
    secrets(&mut needles, "retracted", &record, &commitment);
    needles.add("token", &record.token);
    let backup = Backup::of(cluster, "hefei").await;
    assert_eq!(cluster.retract("hefei", "HF-1").await.retracted, 1);
    wait_for("all have confirmed", || all_confirmed(cluster, "hefei", 1)).await;
    cluster.converge().await;
    (backup, needles)
}

/// Asks hefei for the body as wuhu's node does, from its start until it answers.
async fn nobody_gets_it(cluster: &Cluster) {
    let peers = &cluster.parts("wuhu").peers;
    let (hefei, log) = (id("hefei"), records("hefei"));
    for _ in 0..10_000 {
        let asked = async {
            let mut answers = peers.bodies(&hefei, &log, vec![(0, 1)]).await?;
            answers.recv().await.expect("an answer")
        };
        match asked.await {
            Ok(chunk) => {
                assert_eq!(chunk.answers.to_vec(), [BodyAnswer::Erased as u8]);
                return;
            }
            // Or the connection is still that of before.
            Err(e) => assert!(["ledger.held_back", ""].contains(&&*e.code), "{e}"),
        }
        tokio::task::yield_now().await;
    }
    panic!("hefei gives no answer");
}

/// The node has nothing of it any more, whoever looks.
async fn is_gone(cluster: Cluster, backup: &Backup, needles: &Needles) {
    let ledger = cluster.parts("hefei").ledger.clone();
    assert_eq!(cluster.states("hefei", "hefei")[0], BodyState::Erased);
    assert_eq!(ledger.held(LogIndex(0)).expect("readable"), None);
    let forgotten = tokio::task::spawn_blocking(move || ledger.forget_postings());
    forgotten.await.expect("it ends").expect("forgotten");
    cluster.federation.stop().await;
    let found = |dir: &Path| scan(dir, needles);
    assert_eq!(found(&backup.dir), Default::default());
    assert!(!found(&backup.copy).is_empty(), "the backup has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_restored_from_before_its_retraction_erases_again_before_it_serves() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let (backup, needles) = retracted_since(&mut cluster).await;
    backup.restore(&mut cluster).await;
    nobody_gets_it(&cluster).await;
    wait_for("the log is open again", || {
        cluster.parts("hefei").ledger.standing() == Standing::Open
    })
    .await;
    // Its own word about the erasure was given to auditors only: it gives it again.
    wait_for("it is told again, with whoever confirmed", || {
        all_confirmed(&cluster, "hefei", 1)
    })
    .await;
    cluster.converge().await;
    is_gone(cluster, &backup, &needles).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_generation_brings_a_restored_owner_nothing_back() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let (backup, needles) = retracted_since(&mut cluster).await;
    let own = cluster.parts("hefei").ledger.clone();
    let head = own.own_log(LogName::Records).head();
    drop(own);
    crate::generations::end(&mut cluster, "hefei", head.size().0, head.root()).await;
    // It comes back alone: nobody tells it what it retracted.
    let others = ["wuhu", "province", "court", "procuracy", "regulator"];
    cluster.stop("hefei").await;
    for other in others {
        cluster.stop(other).await;
    }
    backup.put_back();
    cluster.restart("wuhu").await;
    cluster.restart("hefei").await;
    nobody_gets_it(&cluster).await;
    wait_for("the ended log is whole again", || {
        let log = cluster.parts("hefei").ledger.log(&records("hefei"));
        log.is_ok_and(|log| log.head().bodies_upto == head.size().0)
    })
    .await;
    for other in &others[1..] {
        cluster.restart(other).await;
    }
    is_gone(cluster, &backup, &needles).await;
}
