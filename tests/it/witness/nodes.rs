//! Witnesses on running nodes: the three custodians, of whom two must cosign.

use casegate::clock::Stopwatch;
use casegate::ids::{LogIndex, LogName, Origin};
use casegate::replicate::PeerTransport;
use casegate::wire::v1;

use crate::cluster::{Cluster, id, purpose, records, wait_for};

const HEFEI: &str = "case_no,category,kind,value,role\n\
    HF-1,investment-fraud,phone,13800138000,suspect\n";
const WUHU: &str = "case_no,category,kind,value,role\n\
    WH-7,investment-fraud,phone,13800138000,suspect\n";
/// A further case with a value that has its token already.
const MORE: &str = "case_no,category,kind,value,role\n\
    WH-8,loan-fraud,phone,13800138000,suspect\n";

impl Cluster {
    fn is_witnessed(&self, member: &str, name: LogName) -> bool {
        let log = self.parts(member).ledger.own_log(name);
        log.size().0 > 0 && log.witnessed_size() == log.size()
    }

    /// How much of `owner`'s records log `reader` knows to be witnessed.
    fn witnessed_of(&self, reader: &str, owner: &str) -> u64 {
        let ledger = &self.parts(reader).ledger;
        let log = ledger.log(&records(owner));
        log.map_or(0, |log| log.witnessed_size().0)
    }

    async fn status_of(&self, member: &str, case_no: &str) -> Vec<String> {
        let answer = self.query(member, case_no).await;
        answer.matches.into_iter().map(|m| m.status).collect()
    }

    async fn hit_status(&self, member: &str) -> Vec<String> {
        let request = v1::HitsRequest {
            purpose: Some(purpose()),
            ..Default::default()
        };
        let answer = self.desk(member).hits(request).await.expect("hits");
        answer.hits.into_iter().map(|hit| hit.status).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_witnessed_and_its_readers_are_told() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", HEFEI).await;
    let watch = Stopwatch::start();
    cluster.import("wuhu", WUHU).await;
    wait_for("the records are witnessed", || {
        cluster.is_witnessed("wuhu", LogName::Records)
    })
    .await;
    eprintln!("witnessed {:.2} s after the import began", watch.seconds());
    let size = cluster
        .parts("wuhu")
        .ledger
        .own_log(LogName::Records)
        .size()
        .0;
    cluster.converge().await;
    wait_for("hefei knows it", || {
        cluster.witnessed_of("hefei", "wuhu") == size
    })
    .await;
    assert_eq!(cluster.status_of("hefei", "HF-1").await, ["witnessed"]);
    assert_eq!(cluster.hit_status("hefei").await, ["witnessed"]);
    // A custodian that happened not to be asked has an empty access log.
    for member in ["hefei", "wuhu"] {
        wait_for("the access log is witnessed", || {
            cluster.is_witnessed(member, LogName::Access)
        })
        .await;
    }
    let status = cluster
        .desk("hefei")
        .get_status(v1::GetStatusRequest {})
        .await;
    let status = status.expect("a status");
    assert_eq!((status.witness_quorum, status.witnesses.len()), (2, 3));
    assert_eq!(status.records_witnessed, status.records_size);
    let replica = status.replicas.iter().find(|r| r.member == "wuhu");
    assert_eq!(replica.map(|r| r.witnessed), Some(size));
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_sees_checkpoints_of_access_logs_and_no_entries() {
    let cluster = Cluster::new(&["hefei"]).await;
    cluster.import("hefei", HEFEI).await;
    cluster.query("hefei", "HF-1").await;
    wait_for("the access log is witnessed", || {
        cluster.is_witnessed("hefei", LogName::Access)
    })
    .await;
    let access = Origin {
        log: LogName::Access,
        ..records("hefei")
    };
    let peers = &cluster.parts("court").peers;
    let hefei = id("hefei");
    let mut pulled = peers.pull(&hefei, &access, LogIndex(0)).await;
    if let Ok(chunks) = &mut pulled {
        pulled = match chunks.recv().await {
            Some(Err(e)) => Err(e),
            other => panic!("the witness got {other:?}"),
        };
    }
    let refused = pulled.err().map(|e| e.blame);
    assert_eq!(refused, Some(casegate::blame::Blame::Denied));
    assert!(peers.checkpoint(&hefei, &access).await.is_err());
    let held = cluster.parts("court").ledger.log(&access);
    assert!(held.is_err(), "the witness holds no replica of it");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_publishing_goes_on_and_the_records_are_provisional_until_it_is_back() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", HEFEI).await;
    cluster.stop("court").await;
    cluster.import("wuhu", WUHU).await;
    wait_for("two of three are enough", || {
        cluster.is_witnessed("wuhu", LogName::Records)
    })
    .await;
    let before = cluster
        .parts("wuhu")
        .ledger
        .own_log(LogName::Records)
        .size()
        .0;
    wait_for("hefei knows it", || {
        cluster.witnessed_of("hefei", "wuhu") == before
    })
    .await;

    cluster.stop("procuracy").await;
    cluster.import("wuhu", MORE).await;
    let after = cluster
        .parts("wuhu")
        .ledger
        .own_log(LogName::Records)
        .size()
        .0;
    assert!(after > before, "it is published all the same");
    wait_for("hefei has it", || {
        cluster.bodies_upto("hefei", "wuhu") == after
    })
    .await;
    let mut status = cluster.status_of("hefei", "HF-1").await;
    status.sort();
    assert_eq!(status, ["provisional", "witnessed"]);
    wait_for("it is shown who is missing", || {
        let states = cluster.parts("wuhu").witnessing.states();
        let troubled = |name| !states[&id(name)].trouble.is_empty();
        troubled("court") && troubled("procuracy") && !troubled("regulator")
    })
    .await;

    cluster.restart("procuracy").await;
    wait_for("hefei knows that all is witnessed", || {
        cluster.witnessed_of("hefei", "wuhu") == after
    })
    .await;
    assert_eq!(cluster.status_of("hefei", "HF-1").await, ["witnessed"; 2]);
    cluster.federation.stop().await;
}
