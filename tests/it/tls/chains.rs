//! Certificates of another federation, and chains that are longer than is looked at.

use super::*;

#[tokio::test]
async fn a_certificate_of_another_federation_is_refused_whoever_signed_it() {
    let (hefei, wuhu) = (bureau("hefei"), bureau("wuhu"));
    let roster = roster_of(&[&hefei, &wuhu]);
    let other = FederationId::new("jiangsu.example").expect("a name");
    let name = identity(&other, MemberRole::Bureau, &id("wuhu"), None).expect("a name");
    let issued = wuhu.ca.issue_any_name(&name, Validity::days(NOW, 10));
    let client = issued.expect("issued").material().expect("fits");
    let (theirs, ours) = told(ListenerKind::Peer, &hefei, &roster, client).await;
    assert_eq!(theirs, TlsRefusal::NotInRoster);
    assert_eq!(ours, Refusal::OtherFederation { identity: name });
}

#[tokio::test]
async fn a_chain_of_more_than_four_certificates_is_refused() {
    let (hefei, wuhu) = (bureau("hefei"), bureau("wuhu"));
    let roster = roster_of(&[&hefei, &wuhu]);
    let issued = wuhu.ca.issue(&node_id("wuhu"), Validity::days(NOW, 10));
    let issued = issued.expect("issued");
    let chain = |more: usize| {
        let pem = issued.cert_pem.clone() + &wuhu.ca.cert_pem().repeat(more);
        Material::from_pem(&pem, &issued.key_pem).expect("fits")
    };
    let node = hefei.node_material().expect("material");
    let mut listener = listen(node, handle(&roster), ListenerKind::Peer).await;
    let clock = Clock::manual(NOW);
    let stream = dial(chain(3), &roster, clock, "hefei", listener.address).await;
    drop(stream.expect("in"));
    let peer = listener.peers.recv().await.expect("a peer");
    assert_eq!(peer.identity, node_id("wuhu"));
    let (_, ours) = told(ListenerKind::Peer, &hefei, &roster, chain(4)).await;
    let identity = node_id("wuhu");
    assert_eq!(ours, Refusal::BadChain { identity });
}
