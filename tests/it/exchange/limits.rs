//! What a peer may ask of a node and what it is refused, over its own connection.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use casegate::audit::local::rosters_after;
use casegate::ids::LogName;
use casegate::merkle;
use casegate::roster::Roster;
use casegate::rpc::status::code_of;
use casegate::tls::connector;
use casegate::wire::v1::exchange_client::ExchangeClient;
use casegate::wire::v1::{
    GetBodiesRequest, GetCheckpointRequest, GetConsistencyRequest, GetRosterRequest, IndexRange,
    PullRequest, WatchRequest,
};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::HEFEI;
use crate::cluster::{Cluster, id, records};

/// A connection of `caller`'s node to `member`'s.
fn peer(cluster: &Cluster, caller: &str, member: &str) -> ExchangeClient<Channel> {
    let made = cluster.federation.made(&id(caller)).expect("made");
    let (address, _) = cluster
        .federation
        .addresses(&id(member))
        .expect("an address");
    let roster: Arc<ArcSwap<Roster>> =
        Arc::new(ArcSwap::from(cluster.parts(member).rosters.newest()));
    let material = made.node_material().expect("a certificate");
    let connector = connector(material, roster, cluster.clock.clone(), id(member));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    ExchangeClient::new(endpoint.connect_with_connector_lazy(connector))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_gets_proofs_between_two_sizes_of_the_log_and_no_others() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", HEFEI).await;
    let log = Arc::clone(cluster.parts("hefei").ledger.own_log(LogName::Records));
    let size = log.size().0;
    let mut wuhu = peer(&cluster, "wuhu", "hefei");
    let of = |old_size, size| GetConsistencyRequest {
        origin: records("hefei").to_string(),
        old_size,
        size,
    };
    for (old, new, code) in [
        (0, size, Code::InvalidArgument),
        (0, 0, Code::InvalidArgument),
        (size, size - 1, Code::InvalidArgument),
        (u64::MAX, 1, Code::InvalidArgument),
        (1, size + 1, Code::NotFound),
        (size + 1, size + 1, Code::NotFound),
        (1, u64::MAX, Code::NotFound),
    ] {
        let refused = wuhu.get_consistency(of(old, new)).await;
        let refused = refused.expect_err("it is refused");
        assert_eq!(refused.code(), code, "{old} {new}: {refused:?}");
        let (word, sentence) = if code == Code::NotFound {
            ("exchange.beyond", "there is no such thing here")
        } else {
            ("exchange.sizes", "what was sent breaks a rule")
        };
        assert_eq!(
            (code_of(&refused).as_str(), refused.message()),
            (word, sentence)
        );
    }
    let proof = wuhu.get_consistency(of(2, size)).await.expect("a proof");
    let proof = proof.into_inner();
    let digest = |hash: &Bytes| casegate::ids::Digest::from_slice(hash).expect("a hash");
    let hashes: Vec<_> = proof.consistency.iter().map(digest).collect();
    let (old, head) = (digest(&proof.old_root), log.head());
    merkle::verify_consistency(
        casegate::ids::TreeSize(2),
        &old,
        head.size(),
        &head.root(),
        &hashes,
    )
    .expect("it grew");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_gets_each_body_once_and_a_request_that_names_one_twice_is_refused() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", HEFEI).await;
    let mut wuhu = peer(&cluster, "wuhu", "hefei");
    let of = |ranges: Vec<(u64, u64)>| GetBodiesRequest {
        origin: records("hefei").to_string(),
        ranges: ranges
            .into_iter()
            .map(|(start, end)| IndexRange { start, end })
            .collect(),
    };
    let ranges = |count| of((0..count).map(|at| (2 * at, 2 * at + 1)).collect());
    for (request, code) in [
        (ranges(8_193), "exchange.too_many_ranges"),
        (of(vec![(0, 3), (0, 3)]), "exchange.ranges"),
        (of(vec![(2, 3), (0, 1)]), "exchange.ranges"),
        (of(vec![(1, 1)]), "exchange.ranges"),
        (of(vec![(1, 0)]), "exchange.ranges"),
    ] {
        let refused = wuhu.get_bodies(request).await;
        let refused = refused.map(drop).expect_err("it is refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert_eq!(code_of(&refused), code);
        assert_eq!(refused.message(), "what was sent breaks a rule");
    }
    let answer = wuhu.get_bodies(ranges(8_192)).await.expect("bodies");
    let mut chunks = answer.into_inner();
    let mut answers = 0;
    while let Some(chunk) = chunks.message().await.expect("a chunk") {
        answers += chunk.answers.len();
    }
    assert_eq!(answers, 3, "of five, and nothing of what lies beyond");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_no_records_log_is_refused_with_a_code_by_every_call() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let mut wuhu = peer(&cluster, "wuhu", "hefei");
    let access = records("hefei").to_string().replace("records", "access");
    let stranger = records("nobody").to_string();
    let none = "there is no such thing here";
    for (origin, status, code, sentence) in [
        (
            "",
            Code::InvalidArgument,
            "exchange.origin",
            "what was sent breaks a rule",
        ),
        (
            "a/b",
            Code::InvalidArgument,
            "exchange.origin",
            "what was sent breaks a rule",
        ),
        (
            &access,
            Code::PermissionDenied,
            "exchange.access_log",
            "this is not allowed",
        ),
        (&stranger, Code::NotFound, "ledger.no_log", none),
    ] {
        let origin = origin.to_owned();
        let refused = [
            wuhu.get_checkpoint(GetCheckpointRequest {
                origin: origin.clone(),
            })
            .await
            .map(drop),
            wuhu.pull(PullRequest {
                origin: origin.clone(),
                start: 0,
            })
            .await
            .map(drop),
            wuhu.get_bodies(GetBodiesRequest {
                origin: origin.clone(),
                ranges: vec![],
            })
            .await
            .map(drop),
            wuhu.get_consistency(GetConsistencyRequest {
                origin,
                old_size: 1,
                size: 1,
            })
            .await
            .map(drop),
        ];
        for refused in refused {
            let refused = refused.expect_err("it is refused");
            let said = (refused.code(), code_of(&refused));
            assert_eq!(said, (status, code.to_owned()));
            assert_eq!(refused.message(), sentence, "{code}");
        }
    }
    let beyond = PullRequest {
        origin: records("hefei").to_string(),
        start: u64::MAX,
    };
    let mut chunks = wuhu.pull(beyond).await.expect("no fault").into_inner();
    assert!(chunks.message().await.expect("no fault").is_none());
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_member_any_more_hears_of_no_further_checkpoint() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let mut wuhu = peer(&cluster, "wuhu", "hefei");
    let notices = wuhu.watch(WatchRequest {}).await.expect("it watches");
    let mut notices = notices.into_inner();
    let first = notices.message().await.expect("a notice");
    assert!(first.is_some_and(|notice| notice.origin == records("hefei").to_string()));
    let mut draft = cluster.federation.next_roster();
    draft.wire.members.retain(|member| member.id != "wuhu");
    for member in &mut draft.wire.members {
        member.witnesses.retain(|witness| witness != "wuhu");
    }
    cluster.federation.install(&draft).await.expect("installed");
    // What may still be on its way was said before.
    cluster.import("hefei", HEFEI).await;
    let size = cluster
        .parts("hefei")
        .ledger
        .own_log(LogName::Records)
        .size();
    while let Ok(Some(notice)) = notices.message().await {
        let seen = casegate::audit::local::size_of(&notice.checkpoint);
        assert!(seen < Some(size), "{seen:?} of {size}");
    }
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rosters_come_from_the_one_after_that_is_named_and_no_more_than_fit() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    for _ in 0..2 {
        let draft = cluster.federation.next_roster();
        cluster.federation.install(&draft).await.expect("installed");
    }
    let newest = cluster.parts("hefei").rosters.newest().version;
    assert!(newest >= 3);
    let mut wuhu = peer(&cluster, "wuhu", "hefei");
    for after in [0, 1, newest - 1, newest, u64::MAX] {
        let request = GetRosterRequest { after };
        let got = wuhu.get_roster(request).await.expect("rosters");
        let want = newest.saturating_sub(after);
        assert_eq!(got.into_inner().rosters.len() as u64, want, "{after}");
    }
    let ledger = cluster.parts("hefei").ledger.clone();
    let all = rosters_after(&ledger, 0, usize::MAX).expect("rosters");
    let some = |after, max| rosters_after(&ledger, after, max).expect("rosters");
    assert_eq!(some(0, 2), all[..2]);
    assert_eq!(some(1, 1), all[1..2]);
    cluster.federation.stop().await;
}
