//! The gate judges each call anew: an open connection gives nobody a right that
//! the newest roster has taken from him, and each refusal is a line.

use std::time::Duration;

use casegate::access::Asked;
use casegate::peers::client::PeerChannel;
use casegate::pki::dev::dev_member;
use casegate::roster::MemberRole;
use casegate::rpc::keygen;
use casegate::wire::v1::custodian_client::CustodianClient;

use super::*;

type Client = CustodianClient<PeerChannel>;

/// Asks for an evaluation under the id of `question`; how it is refused.
async fn ask(client: &mut Client, question: u8) -> String {
    let request = v1::EvaluateRequest {
        request_id: vec![question; 16].into(),
        ..Default::default()
    };
    let refused = client.evaluate(request).await;
    code_of(&refused.expect_err("an empty question"))
}

/// The lines of court's access log under the id of `question`.
async fn under(cluster: &Cluster, question: u8) -> Vec<AccessBody> {
    let access = cluster.parts("court").access.clone();
    let flush = move || access.write_denials(false);
    let flushed = tokio::task::spawn_blocking(flush).await.expect("written");
    flushed.expect("written");
    let mut lines = lines(cluster, "court").await;
    lines.retain(|line| line.query_id[..] == [question; 16]);
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_his_ca_or_his_place_is_out_on_an_open_connection_and_each_question_is_a_line() {
    let mut cluster = Cluster::new(&["hefei"]).await;
    let peers = &cluster.parts("hefei").peers;
    let mut client = peers.custodian(&id("court")).expect("a client");
    let before = ask(&mut client, 1).await;
    assert!(before.starts_with("custodian."), "{before}");

    let name = cluster.federation.name().clone();
    let other = dev_member(&name, &id("hefei"), MemberRole::Bureau, NOW, &[]).expect("a CA");
    let mut draft = cluster.federation.next_roster();
    let hefei = draft.wire.members.iter_mut().find(|m| m.id == "hefei");
    hefei.expect("hefei").ca_certificate = other.ca.cert_der().to_vec().into();
    cluster.federation.install(&draft).await.expect("installed");
    assert_eq!(ask(&mut client, 2).await, "admit.no_identity");

    let mut draft = cluster.federation.next_roster();
    draft.wire.members.retain(|m| m.id != "hefei");
    cluster.federation.install(&draft).await.expect("installed");
    assert_eq!(ask(&mut client, 3).await, "admit.not_in_roster");

    for (question, outcome) in [(2, "admit.no_identity"), (3, "admit.not_in_roster")] {
        let lines = under(&cluster, question).await;
        let found: Vec<_> = lines
            .iter()
            .map(|line| (line.scope(), &*line.method, &*line.caller, &*line.outcome))
            .collect();
        let want = (
            AccessScope::Evaluate,
            "Custodian.Evaluate",
            "hefei",
            outcome,
        );
        assert_eq!(found, [want]);
    }
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custodian_that_agreed_to_another_plan_ends_a_key_generation_at_once() {
    let cluster = Cluster::new(&["hefei"]).await;
    let agreed = plan(&["court", "procuracy"]);
    let court = &cluster.parts("court").custodian;
    court.keygen_join(&agreed).expect("court joined");
    let other = KeygenPlan {
        token_class: TokenClass::Enumerable.into(),
        ..agreed.clone()
    };
    let procuracy = cluster.parts("procuracy");
    let (own, asked) = (id("procuracy"), Asked::default());
    let running = keygen::run(&procuracy.custodian, &procuracy.peers, &own, &other, &asked);
    // Who is only behind would be waited for half a minute.
    let ended = tokio::time::timeout(Duration::from_secs(15), running).await;
    let refused = ended.expect("at once").expect_err("another plan");
    assert!(matches!(&refused, keygen::KeygenError::Peer(e) if e.code == "dkg.foreign"));
    let again = procuracy.custodian.keygen_join(&agreed);
    assert!(again.is_ok(), "the other plan was given up");
    cluster.federation.stop().await;
}
