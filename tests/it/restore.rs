//! A node that starts asks the others how far they saw its log: alone it does
//! not append, and a restored backup is brought up before it goes on.

use std::path::Path;

use casegate::ids::LogName;
use casegate::ledger::Standing;

use crate::cluster::{Cluster, id, wait_for};

const HEAD: &str = "case_no,category,kind,value,role\n";

fn row(case: &str, phone: &str) -> String {
    format!("{HEAD}{case},loan-fraud,phone,{phone},suspect\n")
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_recovers_its_log_before_it_appends() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let hefei = id("hefei");
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.converge().await;

    cluster.federation.stop_node(&hefei).await;
    let store = cluster.federation.member_dir(&hefei).join("store");
    let backup = store.with_extension("backup");
    copy_dir(&store, &backup);
    cluster
        .federation
        .restart_node(&hefei)
        .await
        .expect("it starts");
    cluster.import("hefei", &row("HF-2", "13900139000")).await;
    cluster.converge().await;
    let before = cluster.federation.nodes[&hefei]
        .parts()
        .ledger
        .own_log(LogName::Records)
        .head();

    cluster.federation.stop_node(&hefei).await;
    std::fs::remove_dir_all(&store).expect("removed");
    std::fs::rename(&backup, &store).expect("restored");
    cluster
        .federation
        .restart_node(&hefei)
        .await
        .expect("it starts");
    let parts = std::sync::Arc::clone(cluster.federation.nodes[&hefei].parts());
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

    cluster.import("hefei", &row("HF-3", "13700137000")).await;
    cluster.converge().await;
    let wuhu = cluster.federation.nodes[&id("wuhu")].parts();
    let states = wuhu.replicator.states();
    assert!(
        states.get(&hefei).is_some_and(|s| s.alarm.is_none()),
        "no conflict was signed"
    );
    assert!(parts.ledger.own_log(LogName::Records).size() > before.size());
    drop(parts);
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
    let parts = std::sync::Arc::clone(cluster.federation.nodes[&hefei].parts());
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
