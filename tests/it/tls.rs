//! Real handshakes over loopback sockets: who gets in, who does not, and what
//! each end is told.

mod chains;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use casegate::blame::Blamed;
use casegate::clock::{Clock, DAY_S};
use casegate::ids::{FederationId, MemberId};
use casegate::pki::dev::{DevMember, dev_member};
use casegate::pki::{Validity, identity};
use casegate::policy::Identity;
use casegate::roster::{Draft, MemberRole, Roster, RosterChain, TokenKey};
use casegate::tls::connect::ConnectError;
use casegate::tls::refusal::Refusal;
use casegate::tls::{
    Accepting, ListenerKind, Material, RefusedHandshake, RosterHandle, TlsRefusal, TlsServer,
    connector, refusal_in,
};
use futures_util::StreamExt;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const NOW: i64 = 1_800_000_000;

fn federation() -> FederationId {
    FederationId::new("anhui.example").expect("a name")
}

fn id(name: &str) -> MemberId {
    MemberId::new(name).expect("a name")
}

fn no_shares(_: &TokenKey) -> bool {
    false
}

fn bureau(name: &str) -> DevMember {
    dev_member(
        &federation(),
        &id(name),
        MemberRole::Bureau,
        NOW,
        &["li.wei"],
    )
    .expect("a member")
}

fn roster_of(members: &[&DevMember]) -> Arc<Roster> {
    let root = casegate::keys::SigningKey::generate();
    let mut draft = Draft::first(
        &federation(),
        &[root.public_key().clone()],
        1,
        NOW,
        365 * DAY_S,
    );
    for (port, member) in (1_000..).zip(members) {
        draft = draft.member(member.draft(&format!("127.0.0.1:{port}")));
    }
    let signed = draft.sign(&[&root]);
    let chain = RosterChain::start(draft.digest(), &signed, no_shares).expect("a roster");
    Arc::clone(chain.newest())
}

fn handle(roster: &Arc<Roster>) -> RosterHandle {
    Arc::new(ArcSwap::new(Arc::clone(roster)))
}

/// A listener of hefei that writes one byte to whomever it accepts, as an
/// HTTP/2 server would, and notes the refusals.
struct Listener {
    address: SocketAddr,
    refused: Arc<Mutex<Vec<RefusedHandshake>>>,
    heard: tokio::sync::mpsc::Receiver<()>,
    peers: tokio::sync::mpsc::Receiver<casegate::tls::Peer>,
    server: Arc<TlsServer>,
}

async fn listen(material: Material, roster: RosterHandle, kind: ListenerKind) -> Listener {
    let refused = Arc::new(Mutex::new(Vec::new()));
    let (tell, heard) = tokio::sync::mpsc::channel(8);
    let notes = Arc::clone(&refused);
    let server = TlsServer::new(material, roster, Clock::manual(NOW), kind, move |refusal| {
        notes
            .lock()
            .expect("no holder panicked")
            .push(refusal.clone());
        tell.try_send(()).expect("room for a note");
    });
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let Accepting {
        address,
        mut incoming,
        ..
    } = server.listen(socket).expect("a listener");
    let (sender, peers) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        while let Some(Ok(mut conn)) = incoming.next().await {
            conn.write_all(b"s").await.expect("the peer listens");
            conn.flush().await.expect("the peer listens");
            sender
                .send(conn.peer().clone())
                .await
                .expect("the test listens");
        }
    });
    Listener {
        address,
        refused,
        heard,
        peers,
        server,
    }
}

impl Listener {
    async fn refusal(&mut self) -> Option<TlsRefusal> {
        self.heard.recv().await.expect("a refusal");
        self.refused
            .lock()
            .expect("no holder panicked")
            .pop()
            .expect("a refusal")
            .why
    }
}

async fn dial(
    material: Material,
    roster: &Arc<Roster>,
    clock: Clock,
    expected: &str,
    address: SocketAddr,
) -> Result<casegate::tls::PeerStream, TlsRefusal> {
    let dialler = connector(material, handle(roster), clock, id(expected));
    match dialler.connect("127.0.0.1", address.port()).await {
        Ok(stream) => Ok(stream),
        Err(ConnectError::Refused(refusal)) => Err(refusal),
        Err(other) => panic!("not a refusal: {other}"),
    }
}

/// What the node of `of`, named `name`, connects with when its certificate has
/// these dates.
fn dated(of: &DevMember, name: &str, dates: Validity) -> Material {
    let issued = of.ca.issue(&node_id(name), dates).expect("issued");
    issued.material().expect("fits")
}

/// What the dialling end and the accepting end are told when `client` calls hefei.
async fn told(
    kind: ListenerKind,
    hefei: &DevMember,
    roster: &Arc<Roster>,
    client: Material,
) -> (TlsRefusal, Refusal) {
    let node = hefei.node_material().expect("material");
    let mut listener = listen(node, handle(roster), kind).await;
    let clock = Clock::manual(NOW);
    let theirs = dial(client, roster, clock, "hefei", listener.address).await;
    let theirs = theirs.expect_err("a refusal");
    match listener.refusal().await {
        Some(TlsRefusal::Here(ours)) => (theirs, ours),
        other => panic!("the server says {other:?}"),
    }
}

fn node_id(name: &str) -> Identity {
    identity(&federation(), MemberRole::Bureau, &id(name), None).expect("an identity")
}

#[tokio::test]
async fn a_node_of_a_member_gets_in_and_is_known_by_name() {
    let (hefei, wuhu) = (bureau("hefei"), bureau("wuhu"));
    let roster = roster_of(&[&hefei, &wuhu]);
    let node = hefei.node_material().expect("material");
    let mut listener = listen(node, handle(&roster), ListenerKind::Peer).await;
    let material = wuhu.node_material().expect("material");
    let stream = dial(
        material,
        &roster,
        Clock::manual(NOW),
        "hefei",
        listener.address,
    )
    .await;
    let mut stream = stream.expect("a connection");
    assert_eq!(
        stream.read_u8().await.expect("the first byte is kept"),
        b's'
    );
    let peer = listener.peers.recv().await.expect("a peer");
    assert_eq!(peer.identity, node_id("wuhu"));
    assert!(peer.recheck(&roster, NOW).is_ok());
    assert!(matches!(
        peer.recheck(&roster_of(&[&hefei]), NOW),
        Err(Refusal::NotInRoster { member, .. }) if member == id("wuhu")
    ));
    let later = NOW + 500 * DAY_S;
    assert!(matches!(
        peer.recheck(&roster, later),
        Err(Refusal::Expired { .. })
    ));
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let (hefei, wuhu) = (bureau("hefei"), bureau("wuhu"));
    let roster = roster_of(&[&hefei, &wuhu]);
    let old = Validity {
        from: NOW - 10 * DAY_S,
        to: NOW - 1,
    };
    let client = dated(&wuhu, "wuhu", old);
    let (theirs, ours) = told(ListenerKind::Peer, &hefei, &roster, client).await;
    assert_eq!(theirs, TlsRefusal::OutOfDates);
    assert_eq!(
        ours,
        Refusal::Expired {
            identity: node_id("wuhu"),
            not_after: NOW - 1
        }
    );
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_refused() {
    let (hefei, wuhu) = (bureau("hefei"), bureau("wuhu"));
    let roster = roster_of(&[&hefei, &wuhu]);
    let coming = Validity {
        from: NOW + 60,
        to: NOW + DAY_S,
    };
    let client = dated(&wuhu, "wuhu", coming);
    let (theirs, ours) = told(ListenerKind::Peer, &hefei, &roster, client).await;
    assert_eq!(theirs, TlsRefusal::OutOfDates);
    assert_eq!(
        ours,
        Refusal::NotYetValid {
            identity: node_id("wuhu"),
            not_before: NOW + 60
        }
    );
}

#[tokio::test]
async fn a_member_that_is_not_in_the_roster_is_refused() {
    let (hefei, wuhu) = (bureau("hefei"), bureau("wuhu"));
    let roster = roster_of(&[&hefei]);
    let client = wuhu.node_material().expect("material");
    let (theirs, ours) = told(ListenerKind::Peer, &hefei, &roster, client).await;
    assert_eq!(theirs, TlsRefusal::NotInRoster);
    assert_eq!(
        ours,
        Refusal::NotInRoster {
            member: id("wuhu"),
            roster_version: 1
        }
    );
}

#[tokio::test]
async fn an_unknown_ca_is_refused() {
    let (hefei, wuhu, impostor) = (bureau("hefei"), bureau("wuhu"), bureau("wuhu"));
    let roster = roster_of(&[&hefei, &wuhu]);
    let client = impostor.node_material().expect("material");
    let (theirs, ours) = told(ListenerKind::Peer, &hefei, &roster, client).await;
    assert_eq!(theirs, TlsRefusal::UnknownCa);
    assert_eq!(ours, Refusal::UnknownCa { member: id("wuhu") });
}

#[tokio::test]
async fn another_members_ca_cannot_name_this_member() {
    let (hefei, wuhu, anqing) = (bureau("hefei"), bureau("wuhu"), bureau("anqing"));
    let roster = roster_of(&[&hefei, &wuhu, &anqing]);
    let forged = anqing
        .ca
        .issue_any_name(&node_id("wuhu"), Validity::days(NOW, 10));
    let client = forged.expect("issued").material().expect("fits");
    let (theirs, ours) = told(ListenerKind::Peer, &hefei, &roster, client).await;
    assert_eq!(theirs, TlsRefusal::UnknownCa);
    let (member, issuer) = (id("wuhu"), id("anqing"));
    assert_eq!(ours, Refusal::OtherMembersCa { member, issuer });
}

#[tokio::test]
async fn another_role_than_the_rosters_is_refused() {
    let (hefei, wuhu) = (bureau("hefei"), bureau("wuhu"));
    let roster = roster_of(&[&hefei, &wuhu]);
    let name = identity(&federation(), MemberRole::Department, &id("wuhu"), None).expect("a name");
    let client = wuhu
        .ca
        .issue(&name, Validity::days(NOW, 10))
        .expect("issued");
    let client = client.material().expect("fits");
    let (theirs, ours) = told(ListenerKind::Peer, &hefei, &roster, client).await;
    assert_eq!(theirs, TlsRefusal::NotInRoster);
    assert_eq!(ours.code(), "tls.wrong_role");
}

#[tokio::test]
async fn an_officer_is_refused_on_the_peer_port() {
    let hefei = bureau("hefei");
    let roster = roster_of(&[&hefei]);
    let client = hefei.officer_material("li.wei").expect("an officer");
    let (theirs, ours) = told(ListenerKind::Peer, &hefei, &roster, client).await;
    assert_eq!(
        (theirs, ours.code()),
        (TlsRefusal::NotForListener, "tls.not_for_listener")
    );
}

#[tokio::test]
async fn a_node_is_refused_on_the_desk_port() {
    let hefei = bureau("hefei");
    let roster = roster_of(&[&hefei]);
    let client = hefei.node_material().expect("material");
    let (theirs, ours) = told(ListenerKind::Desk(id("hefei")), &hefei, &roster, client).await;
    assert_eq!(
        (theirs, ours.code()),
        (TlsRefusal::NotForListener, "tls.not_for_listener")
    );
}

#[tokio::test]
async fn an_officer_of_another_member_is_refused_on_the_desk_port() {
    let (hefei, wuhu) = (bureau("hefei"), bureau("wuhu"));
    let roster = roster_of(&[&hefei, &wuhu]);
    let client = wuhu.officer_material("li.wei").expect("an officer");
    let (theirs, ours) = told(ListenerKind::Desk(id("hefei")), &hefei, &roster, client).await;
    assert_eq!(
        (theirs, ours.code()),
        (TlsRefusal::NotForListener, "tls.not_for_listener")
    );
}

#[tokio::test]
async fn an_officer_gets_in_on_the_own_desk() {
    let hefei = bureau("hefei");
    let roster = roster_of(&[&hefei]);
    let node = hefei.node_material().expect("material");
    let mut listener = listen(node, handle(&roster), ListenerKind::Desk(id("hefei"))).await;
    let client = hefei.officer_material("li.wei").expect("an officer");
    dial(
        client,
        &roster,
        Clock::manual(NOW),
        "hefei",
        listener.address,
    )
    .await
    .expect("in");
    let peer = listener.peers.recv().await.expect("a peer");
    assert_eq!(peer.identity.officer().map(|o| o.as_str()), Some("li.wei"));
}

#[tokio::test]
async fn a_node_that_is_not_the_one_dialled_is_refused() {
    let (hefei, wuhu, anqing) = (bureau("hefei"), bureau("wuhu"), bureau("anqing"));
    let roster = roster_of(&[&hefei, &wuhu, &anqing]);
    let node = hefei.node_material().expect("material");
    let mut listener = listen(node, handle(&roster), ListenerKind::Peer).await;
    let client = wuhu.node_material().expect("material");
    let here = dial(
        client,
        &roster,
        Clock::manual(NOW),
        "anqing",
        listener.address,
    )
    .await;
    let want = Refusal::NotExpected {
        want: id("anqing"),
        got: node_id("hefei"),
    };
    assert_eq!(here.expect_err("a refusal"), TlsRefusal::Here(want));
    assert_eq!(listener.refusal().await, Some(TlsRefusal::BadName));
}

#[tokio::test]
async fn an_officer_cannot_pose_as_the_node() {
    let (hefei, wuhu) = (bureau("hefei"), bureau("wuhu"));
    let roster = roster_of(&[&hefei, &wuhu]);
    let officer = hefei.officer_material("li.wei").expect("an officer");
    let listener = listen(officer, handle(&roster), ListenerKind::Peer).await;
    let client = wuhu.node_material().expect("material");
    let here = dial(
        client,
        &roster,
        Clock::manual(NOW),
        "hefei",
        listener.address,
    )
    .await;
    assert_eq!(here.expect_err("a refusal").code(), "tls.wrong_purpose");
}

#[tokio::test]
async fn the_callers_own_clock_judges_the_node() {
    let (hefei, wuhu) = (bureau("hefei"), bureau("wuhu"));
    let roster = roster_of(&[&hefei, &wuhu]);
    let node = hefei.node_material().expect("material");
    let mut listener = listen(node, handle(&roster), ListenerKind::Peer).await;
    let client = wuhu.node_material().expect("material");
    let late = Clock::manual(NOW + 500 * DAY_S);
    let here = dial(client, &roster, late, "hefei", listener.address).await;
    assert_eq!(here.expect_err("a refusal").code(), "tls.expired");
    assert_eq!(listener.refusal().await, Some(TlsRefusal::OutOfDates));
}

#[tokio::test]
async fn a_renewed_certificate_counts_for_the_next_handshake() {
    let (hefei, wuhu) = (bureau("hefei"), bureau("wuhu"));
    let roster = roster_of(&[&hefei, &wuhu]);
    let old = Validity {
        from: NOW - 10 * DAY_S,
        to: NOW - 1,
    };
    let old = dated(&hefei, "hefei", old);
    let listener = listen(old, handle(&roster), ListenerKind::Peer).await;
    let client = || wuhu.node_material().expect("material");
    let clock = || Clock::manual(NOW);
    let before = dial(client(), &roster, clock(), "hefei", listener.address).await;
    assert_eq!(before.expect_err("a refusal").code(), "tls.expired");
    listener
        .server
        .replace_material(hefei.node_material().expect("material"));
    dial(client(), &roster, clock(), "hefei", listener.address)
        .await
        .expect("in");
}

/// Takes any server; for clients that play the stranger.
#[derive(Debug)]
struct TakesAll;

impl ServerCertVerifier for TakesAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

#[tokio::test]
async fn no_certificate_is_refused() {
    let hefei = bureau("hefei");
    let roster = roster_of(&[&hefei]);
    let node = hefei.node_material().expect("material");
    let mut listener = listen(node, handle(&roster), ListenerKind::Peer).await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakesAll))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = tokio::net::TcpStream::connect(listener.address)
        .await
        .expect("a socket");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let connecting = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket);
    let error = match connecting.await {
        Ok(mut stream) => stream.read_u8().await.expect_err("no first byte"),
        Err(error) => error,
    };
    assert_eq!(refusal_in(&error), Some(TlsRefusal::CertificateRequired));
    assert_eq!(listener.refusal().await, Some(TlsRefusal::NoCertificate));
}

#[tokio::test]
async fn what_is_not_tls_is_refused_and_holds_nobody_up() {
    let (hefei, wuhu) = (bureau("hefei"), bureau("wuhu"));
    let roster = roster_of(&[&hefei, &wuhu]);
    let node = hefei.node_material().expect("material");
    let mut listener = listen(node, handle(&roster), ListenerKind::Peer).await;
    let silent = tokio::net::TcpStream::connect(listener.address)
        .await
        .expect("a socket");
    let mut loud = tokio::net::TcpStream::connect(listener.address)
        .await
        .expect("a socket");
    loud.write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .expect("sent");
    assert_eq!(listener.refusal().await, Some(TlsRefusal::NotTls));
    let client = wuhu.node_material().expect("material");
    dial(
        client,
        &roster,
        Clock::manual(NOW),
        "hefei",
        listener.address,
    )
    .await
    .expect("in");
    drop(silent);
}

#[tokio::test]
async fn a_grpc_call_goes_through_and_a_refusal_is_read_out_of_tonics_error() {
    let (hefei, wuhu) = (bureau("hefei"), bureau("wuhu"));
    let roster = roster_of(&[&hefei, &wuhu]);
    let node = hefei.node_material().expect("material");
    let clock = Clock::manual(NOW);
    let server = TlsServer::new(node, handle(&roster), clock, ListenerKind::Peer, |_| {});
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let Accepting {
        address, incoming, ..
    } = server.listen(socket).expect("a listener");
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("", tonic_health::ServingStatus::Serving)
        .await;
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(health)
            .serve_with_incoming(incoming),
    );

    let check = async |material: Material| {
        let dialler = connector(material, handle(&roster), Clock::manual(NOW), id("hefei"));
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
        let channel = endpoint
            .expect("an address")
            .connect_with_connector_lazy(dialler);
        let mut client = tonic_health::pb::health_client::HealthClient::new(channel);
        client
            .check(tonic_health::pb::HealthCheckRequest::default())
            .await
    };
    let answer = check(wuhu.node_material().expect("material"))
        .await
        .expect("an answer");
    assert_eq!(answer.into_inner().status, 1);
    let officer = wuhu.officer_material("li.wei").expect("an officer");
    let status = check(officer).await.expect_err("a refusal");
    assert_eq!(refusal_in(&status), Some(TlsRefusal::NotForListener));
}
