//! Who speaks what: what nodes say of themselves, who is behind, what is not
//! written before everybody reads it, and what a call of another version hears.

mod codes;
mod raw;

use std::sync::Arc;

use arc_swap::ArcSwap;
use casegate::blame::{Blame, Blamed};
use casegate::features::BASE;
use casegate::features::SPOKEN;
use casegate::ids::{LogIndex, LogName};
use casegate::ledger::{Ledger, LedgerError};
use casegate::record::{Audience, RetractReason};
use casegate::spoken::{PROTOCOLS, VERSION};
use casegate::store::Batch;
use casegate::wire::v1::exchange_client::ExchangeClient;
use casegate::wire::v1::{
    self, GetCheckpointRequest, ListCheckpointsRequest, PublishRequest, Software, WatchRequest,
};

use crate::cluster::{Cluster, id, purpose, records, wait_for};
use crate::tamper::{Ledgers, element};
use crate::views::{fronted, row, status};

fn software(version: &str, features: &[&str]) -> Software {
    Software {
        version: version.into(),
        protocols: vec!["casegate.v1".into()],
        features: features.iter().map(|word| (*word).to_owned()).collect(),
    }
}

fn behind(error: &LedgerError) -> Vec<String> {
    let LedgerError::MembersBehind { word, members } = error else {
        panic!("{error}");
    };
    assert_eq!((*word, error.blame()), (BASE, Blame::Unavailable));
    assert_eq!(error.code(), "ledger.members_behind");
    members.iter().map(ToString::to_string).collect()
}

/// hefei's ledger, which knows the rosters.
fn hefei(ledgers: &Ledgers) -> Ledger {
    let hefei = ledgers.open("hefei");
    let history = ledgers.dev.chain.history().to_vec();
    hefei.follow_rosters(Arc::new(ArcSwap::from_pointee(history)));
    hefei
}

#[test]
fn nothing_is_appended_that_a_member_says_it_does_not_read_but_ends_are() {
    let ledgers = Ledgers::new();
    let hefei = hefei(&ledgers);
    let publish = |ledger: &Ledger, n| {
        let entry = element("hefei", n, Audience::Federation);
        ledger.append(LogName::Records, vec![entry], Batch::new())
    };
    publish(&hefei, 1).expect("nobody has said anything yet");
    let says = |ledger: &Ledger, member: &str, words: &[&str]| {
        let said = ledger.spoken().hear(&id(member), &software("0.0.9", words));
        said.expect("kept");
    };
    says(&hefei, "wuhu", &[BASE]);
    says(&hefei, "anqing", SPOKEN);
    publish(&hefei, 2).expect("both read it");
    assert!(hefei.members_behind().is_empty());

    ledgers.clock.advance(10);
    says(&hefei, "wuhu", &["tea"]);
    // One's own list, and a stranger's, hold up nothing.
    says(&hefei, "hefei", &[]);
    says(&hefei, "nobody", &[]);
    let size = hefei.own_log(LogName::Records).size();
    let refused = publish(&hefei, 3).expect_err("wuhu is behind");
    assert_eq!(behind(&refused), ["wuhu"]);
    let sentence = refused.to_string();
    assert!(
        sentence.starts_with("not yet: wuhu runs an older casegate"),
        "{sentence}"
    );
    says(&hefei, "anqing", &[]);
    ledgers.clock.advance(10);
    says(&hefei, "anqing", &["milk"]);
    let refused = publish(&hefei, 3).expect_err("both are behind");
    assert_eq!(behind(&refused), ["anqing", "wuhu"]);
    let sentence = refused.to_string();
    assert!(
        sentence.contains("anqing and wuhu run an older casegate"),
        "{sentence}"
    );
    assert_eq!(
        hefei.own_log(LogName::Records).size(),
        size,
        "nothing of it stands"
    );

    let ended = hefei.retract([0].into_iter(), RetractReason::Mistake, Batch::new());
    assert_eq!(ended.expect("ends wait for nobody"), LogIndex(size.0));
    let history = ledgers.dev.chain.history();
    assert_eq!(hefei.write_receipts(history).expect("signed"), 1);

    // A restart knows what was said.
    drop(hefei);
    let hefei = self::hefei(&ledgers);
    let refused = publish(&hefei, 3).expect_err("still behind");
    assert_eq!(behind(&refused), ["anqing", "wuhu"]);
    for member in ["anqing", "wuhu"] {
        says(&hefei, member, SPOKEN);
    }
    publish(&hefei, 3).expect("both were upgraded");
}

#[test]
fn for_a_word_that_not_every_version_speaks_silence_is_being_behind() {
    let ledgers = Ledgers::new();
    let hefei = hefei(&ledgers);
    let roster = ledgers.dev.chain.newest();
    let behind = |word: &str| {
        let members = hefei.spoken().behind(roster, &id("hefei"), word);
        members.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(behind(BASE).is_empty());
    assert_eq!(behind("tea"), ["anqing", "wuhu"]);
    assert_eq!(hefei.spoken().count(roster, &id("hefei")), (2, 0));
    let mut words = SPOKEN.to_vec();
    words.push("tea");
    let said = hefei.spoken().hear(&id("wuhu"), &software("9.0.0", &words));
    said.expect("kept");
    assert_eq!(behind("tea"), ["anqing"]);
    assert_eq!(hefei.spoken().count(roster, &id("hefei")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_what_it_speaks_where_it_tells_of_its_own_log() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.converge().await;
    let channel = cluster.federation.channel_behind(&id("hefei"));
    let mut hefei = ExchangeClient::new(channel.expect("a channel"));
    let own = Some(software(VERSION, SPOKEN));
    let of = |member: &str| GetCheckpointRequest {
        origin: records(member).to_string(),
    };
    let mut notices = hefei
        .watch(WatchRequest {})
        .await
        .expect("it watches")
        .into_inner();
    let notice = notices
        .message()
        .await
        .expect("a notice")
        .expect("a first one");
    assert_eq!(notice.software, own);
    let notice = hefei.get_checkpoint(of("hefei")).await.expect("its own");
    assert_eq!(notice.into_inner().software, own);
    let notice = hefei.get_checkpoint(of("wuhu")).await.expect("a replica");
    assert_eq!(
        notice.into_inner().software,
        None,
        "it does not speak for wuhu"
    );
    let listed = hefei.list_checkpoints(ListCheckpointsRequest {}).await;
    let listed = listed.expect("listed").into_inner();
    assert_eq!(listed.software, own);
    assert!(
        listed
            .checkpoints
            .iter()
            .all(|notice| notice.software.is_none())
    );

    // A follower has heard it, and so its officers.
    let spoken = cluster.parts("wuhu").ledger.spoken().clone();
    wait_for("what hefei speaks is known", || {
        spoken.of(&id("hefei")).is_some()
    })
    .await;
    let said = spoken.of(&id("hefei")).expect("said");
    assert_eq!((said.version.as_str(), said.lacks()), (VERSION, vec![]));
    assert!(said.protocols.iter().eq(PROTOCOLS));
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_behind_is_named_and_what_waits_for_it_goes_out_after_its_upgrade() {
    let (cluster, tricks) = fronted("wuhu").await;
    let says = |words: Option<&[&str]>| {
        let told = words.map(|words| software("0.0.9", words));
        *tricks.software.lock().expect("lock") = told;
    };
    let gossip = async || {
        let replicator = &cluster.parts("hefei").replicator;
        replicator.gossip(&id("wuhu")).await.expect("it answers");
    };
    says(Some(&["tea", "Not A Word"]));
    gossip().await;
    let replica = |status: &v1::GetStatusResponse| {
        let wuhu = status.replicas.iter().find(|r| r.member == "wuhu");
        wuhu.and_then(|r| r.spoken.clone()).expect("it said")
    };
    let found = status(&cluster, "hefei").await;
    assert_eq!(found.behind, ["wuhu"]);
    assert_eq!(found.features, SPOKEN);
    let spoken = replica(&found);
    assert_eq!(
        (spoken.version.as_str(), spoken.unknown),
        ("0.0.9", vec!["tea".to_owned()])
    );
    assert_eq!(spoken.lacks, SPOKEN);
    assert!(cluster.parts("hefei").ledger.spoken().ignored() >= 1);

    let element = v1::ElementSpec {
        kind: "phone".into(),
        value: "13800138000".into(),
        qualifier: String::new(),
        role: "suspect".into(),
    };
    let request = PublishRequest {
        case_no: "HF-1".into(),
        category: "loan-fraud".into(),
        elements: vec![element],
        audience: String::new(),
        purpose: Some(purpose()),
    };
    let published = cluster
        .desk("hefei")
        .publish(request)
        .await
        .expect("it waits");
    assert!(published.queued);
    assert_eq!(published.report.expect("a report").behind, ["wuhu"]);
    let size = || {
        cluster
            .parts("hefei")
            .ledger
            .own_log(LogName::Records)
            .size()
            .0
    };
    assert_eq!(size(), 0);
    let waiting = status(&cluster, "hefei").await.waiting_for;
    assert!(waiting.contains("wuhu runs an older casegate"), "{waiting}");

    says(None);
    cluster.clock.advance(10);
    gossip().await;
    assert!(status(&cluster, "hefei").await.behind.is_empty());
    wait_for("the queue goes out by itself", || size() > 0).await;
    cluster.federation.stop().await;
}
