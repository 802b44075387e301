//! A node whose access log went back does nothing that needs a line there: its
//! witnesses hold what it signed, and it must not sign that again otherwise.

use casegate::ids::{LogName, Origin};
use casegate::ledger::Standing;
use casegate::rpc::desk_client::DeskCallError;
use casegate::wire::v1::{GetStatusRequest, ListCasesRequest};

use super::{copy_dir, row};
use crate::cluster::{Cluster, id, import_options, wait_for};

fn standing(cluster: &Cluster, member: &str) -> Standing {
    cluster.parts(member).ledger.access_standing()
}

/// The name and size of a member's access log.
fn log_of(cluster: &Cluster, member: &str) -> (Origin, u64) {
    let ledger = &cluster.parts(member).ledger;
    let log = ledger.own_log(LogName::Access);
    (log.origin.clone(), log.size().0)
}

async fn witnessed(cluster: &Cluster, member: &str) {
    let log = cluster.parts(member).ledger.own_log(LogName::Access);
    wait_for("the access log is witnessed", || {
        log.size().0 > 0 && log.witnessed_size() == log.size()
    })
    .await;
}

async fn refused(cluster: &Cluster, member: &str) -> String {
    let desk = cluster.desk(member);
    let asked = desk.list_cases(ListCasesRequest::default()).await;
    match asked.expect_err("no line, no answer") {
        DeskCallError::Answered { code, sentence, .. } => {
            assert_eq!(code, "ledger.access_closed", "{sentence}");
            sentence
        }
        other => panic!("{other}"),
    }
}

async fn works(cluster: &Cluster, member: &str) {
    let desk = cluster.desk(member);
    let asked = desk.list_cases(ListCasesRequest::default()).await;
    asked.expect("an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_log_that_went_back_is_closed_until_its_next_generation() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.stop("hefei").await;
    let dir = cluster.federation.member_dir(&id("hefei"));
    let backup = dir.with_extension("backup");
    copy_dir(&dir, &backup);
    cluster.restart("hefei").await;
    works(&cluster, "hefei").await;
    witnessed(&cluster, "hefei").await;

    cluster.stop("hefei").await;
    std::fs::remove_dir_all(&dir).expect("removed");
    copy_dir(&backup, &dir);
    cluster.restart("hefei").await;
    let before = log_of(&cluster, "hefei");
    let sentence = refused(&cluster, "hefei").await;
    assert!(sentence.contains("new generation"), "{sentence}");
    assert_eq!(standing(&cluster, "hefei"), Standing::Conflict);
    let ready = casegate::admin::unready(cluster.parts("hefei"));
    assert!(
        ready.iter().any(|why| why.contains("access log")),
        "{ready:?}"
    );
    let another = row("HF-2", "13900139000");
    let imported = cluster.import_with("hefei", &another, import_options());
    imported.await.expect_err("an import needs a line, too");
    // A restart does not help, and nothing was signed twice.
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    refused(&cluster, "hefei").await;
    assert_eq!(log_of(&cluster, "hefei"), before);
    for witness in ["court", "procuracy", "regulator"] {
        let evidence = cluster.parts(witness).ledger.evidence();
        assert_eq!(evidence.count().expect("a count"), 0, "{witness}");
    }

    let mut draft = cluster.federation.next_roster();
    let mut members = draft.wire.members.iter_mut();
    let hefei = members.find(|m| m.id == "hefei").expect("a member");
    hefei.access_generation = 2;
    cluster.federation.install(&draft).await.expect("installed");
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    works(&cluster, "hefei").await;
    witnessed(&cluster, "hefei").await;
    assert_eq!(log_of(&cluster, "hefei").0.generation, 2);
    let old = cluster.parts("hefei").ledger.log(&before.0);
    assert_eq!(old.expect("it stays").size().0, before.1);
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_waits_for_one_witness_before_it_writes_into_its_access_log() {
    let mut cluster = Cluster::new(&["hefei"]).await;
    let witnesses = ["court", "procuracy", "regulator"];
    for member in witnesses.iter().chain(&["hefei"]) {
        cluster.stop(member).await;
    }
    cluster.restart("hefei").await;
    let before = log_of(&cluster, "hefei");
    let sentence = refused(&cluster, "hefei").await;
    assert!(sentence.contains("no witness has said"), "{sentence}");
    assert_eq!(log_of(&cluster, "hefei"), before);
    let desk = cluster.desk("hefei");
    let status = desk.get_status(GetStatusRequest {}).await;
    status.expect("the status needs no line");
    cluster.restart("regulator").await;
    wait_for("the log opens", || {
        standing(&cluster, "hefei") == Standing::Open
    })
    .await;
    works(&cluster, "hefei").await;
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_generation_of_the_access_log_needs_a_restart() {
    let mut cluster = Cluster::new(&["hefei"]).await;
    works(&cluster, "hefei").await;
    let mut draft = cluster.federation.next_roster();
    let mut members = draft.wire.members.iter_mut();
    let hefei = members.find(|m| m.id == "hefei").expect("a member");
    hefei.access_generation = 2;
    cluster.federation.install(&draft).await.expect("installed");
    wait_for("it says so", || {
        standing(&cluster, "hefei") == Standing::Superseded
    })
    .await;
    let sentence = refused(&cluster, "hefei").await;
    assert!(sentence.contains("restart"), "{sentence}");
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    works(&cluster, "hefei").await;
    cluster.federation.stop().await;
}
