//! Bureaus publish, exchange and meet over real mutual TLS.

use crate::cluster::{Cluster, id, wait_for};

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
    assert_eq!((report.rows, report.elements, report.refused), (3, 3, 0), "{report:?}");
    cluster.import("wuhu", WUHU).await;
    cluster.converge().await;

    let answer = cluster.query("hefei", "HF-1").await;
    assert_eq!(answer.matches.len(), 1, "{answer:?}");
    let found = &answer.matches[0];
    assert_eq!((found.member.as_str(), found.kind.as_str()), ("wuhu", "phone"));
    assert_eq!(found.category, "investment-fraud");
    assert!(cluster.query("hefei", "HF-2").await.matches.is_empty());

    for member in ["hefei", "wuhu"] {
        let parts = cluster.federation.nodes[&id(member)].parts();
        wait_for("a hit on both sides", || parts.ledger.hits().is_ok_and(|h| h.len() == 1)).await;
    }
    cluster.federation.stop().await;
}
