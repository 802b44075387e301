//! The audit port of a running node: who gets in and who does not, the static
//! log as any HTTPS client sees it, proofs by RPC, who sees which bodies, and
//! that exports leave a line in the access log.

mod lies;

use std::sync::Arc;

use casegate::audit::export::{BundleOut, Selection, export};
use casegate::audit::layout::split_entries;
use casegate::checkpoint::Checkpoint;
use casegate::ids::{Digest, LogIndex, LogName, OfficerName, TreeSize};
use casegate::merkle::{self, leaf_hash};
use casegate::pki::{Authority, LEAF_DAYS, Validity, identity};
use casegate::policy::Identity;
use casegate::roster::MemberRole;
use casegate::rpc::audit::client::{AuditClient, Dial};
use casegate::rpc::audit::source::RemoteSource;
use casegate::rpc::desk_client::DeskCallError;
use casegate::tls::Material;
use casegate::wire::v1::{
    AccessScope, AddOfficerRequest, BodyAnswer, ConsistencyProofRequest, GetBodiesRequest,
    GetTilesRequest, InclusionProofRequest, IndexRange, SuspendOfficerRequest,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{Cluster, NOW, id, records};
use crate::tamper::federation;

const HEFEI: &str = "case_no,category,kind,value,role,audience\n\
    HF-1,loan-fraud,domain,one.example,suspect,federation\n\
    HF-1,loan-fraud,domain,two.example,suspect,members:wuhu\n\
    HF-1,loan-fraud,domain,three.example,suspect,members:audit-office\n\
    HF-1,loan-fraud,domain,four.example,suspect,nobody\n";

/// A client of the audit port of `member`'s node with this certificate.
pub(crate) fn client(cluster: &Cluster, material: Material, member: &str) -> AuditClient {
    let dial = Dial {
        material,
        ..cluster.federation.dial(&id(member)).expect("a dial")
    };
    let address = cluster.federation.audit_address(&id(member));
    let address = address.expect("an address").to_string();
    AuditClient::new(&dial, id(member), &address).expect("a client")
}

fn officer_of(cluster: &Cluster, member: &str) -> Material {
    cluster.federation.officer(&id(member)).expect("an officer")
}

pub(crate) fn auditor(cluster: &Cluster) -> AuditClient {
    client(cluster, officer_of(cluster, "audit-office"), "hefei")
}

fn name(role: MemberRole, member: &str, officer: Option<&str>) -> Identity {
    identity(&federation(), role, &id(member), officer).expect("a name")
}

fn code(error: &DeskCallError) -> String {
    error.shown_code().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_auditors_and_own_officers_with_the_right_get_in() {
    let cluster = Cluster::audited(&["hefei", "wuhu"]).await;
    let office = cluster.federation.made(&id("audit-office")).expect("made");
    let node = office.node_material().expect("a certificate");
    for caller in [
        officer_of(&cluster, "audit-office"),
        node,
        officer_of(&cluster, "hefei"),
    ] {
        let logs = client(&cluster, caller, "hefei").list_logs().await;
        assert_eq!(logs.expect("the logs").len(), 2);
    }

    let wuhu = cluster.federation.made(&id("wuhu")).expect("made");
    let stranger = Authority::generate(&federation(), &id("audit-office"), NOW).expect("a CA");
    let posing = name(MemberRole::Auditor, "audit-office", Some("officer"));
    let posing = stranger.issue(&posing, Validity::days(NOW, LEAF_DAYS));
    for (caller, want) in [
        (
            wuhu.node_material().expect("a node"),
            "tls.not_for_listener",
        ),
        (officer_of(&cluster, "wuhu"), "tls.not_for_listener"),
        (
            posing.expect("issued").material().expect("fits"),
            "tls.unknown_ca",
        ),
    ] {
        let refused = client(&cluster, caller, "hefei").list_logs().await;
        let refused = refused.expect_err("it is refused");
        assert!(
            matches!(refused, DeskCallError::Tls(_)),
            "{want}: {refused}"
        );
    }
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_officer_needs_the_right_and_a_suspended_one_is_out_at_once() {
    let cluster = Cluster::audited(&["hefei"]).await;
    let hefei = cluster.federation.made(&id("hefei")).expect("made");
    let wang = name(MemberRole::Bureau, "hefei", Some("wang"));
    let wang = hefei.ca.issue(&wang, Validity::days(NOW, LEAF_DAYS));
    let wang = wang.expect("issued").material().expect("fits");
    let audit = client(&cluster, wang, "hefei");
    let refusal = |e: DeskCallError| code(&e);

    let unknown = audit.list_logs().await.map_err(refusal);
    assert_eq!(unknown.err().as_deref(), Some("policy.not_listed"));
    let desk = cluster.desk("hefei");
    let rights = |rights: &[&str]| AddOfficerRequest {
        name: "wang".into(),
        rights: rights.iter().map(ToString::to_string).collect(),
    };
    desk.add_officer(rights(&["query"])).await.expect("added");
    let without = audit.list_logs().await.map_err(refusal);
    assert_eq!(without.err().as_deref(), Some("policy.missing_right"));
    desk.add_officer(rights(&["export"])).await.expect("added");
    audit.list_logs().await.expect("the logs");
    let suspend = SuspendOfficerRequest {
        name: OfficerName::new("wang").expect("a name").to_string(),
        restore: false,
    };
    desk.suspend_officer(suspend).await.expect("suspended");
    let out = audit.list_logs().await.map_err(refusal);
    assert_eq!(out.err().as_deref(), Some("policy.not_listed"));
    cluster.federation.stop().await;
}

/// Takes any server for the one that is meant: these tests are about callers.
#[derive(Debug)]
struct AnyServer(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &rustls::pki_types::CertificateDer<'_>,
        _intermediates: &[rustls::pki_types::CertificateDer<'_>],
        _server_name: &rustls::pki_types::ServerName<'_>,
        _ocsp: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &rustls::pki_types::CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// An answer over plain HTTP/1.1: status, head, body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Sends one request over HTTP/1.1 inside TLS, as a simple tool would, with the
/// certificate and key in PEM, or with none.
pub(crate) async fn fetch(
    cluster: &Cluster,
    pem: Option<(&str, &str)>,
    verb: &str,
    path: &str,
) -> Answer {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
    let mut config = match pem {
        Some((cert, key)) => config
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(cert.as_bytes()).expect("PEM")],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM"),
            )
            .expect("they fit"),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let address = cluster.federation.audit_address(&id("hefei"));
    let socket = tokio::net::TcpStream::connect(address.expect("an address"));
    let socket = socket.await.expect("a socket");
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, socket).await.expect("a handshake");
    let request = format!("{verb} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut bytes = vec![];
    if stream.write_all(request.as_bytes()).await.is_ok() {
        // One that is refused may see the connection end without a goodbye.
        drop(stream.read_to_end(&mut bytes).await);
    }
    let at = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    let Some(at) = at else {
        return Answer {
            status: 0,
            head: String::new(),
            body: vec![],
        };
    };
    let head = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    Answer {
        status: status.expect("a status"),
        head,
        body: bytes[at + 4..].to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_https_client_can_fetch_the_static_log_and_verify_it() {
    let cluster = Cluster::audited(&["hefei"]).await;
    cluster.import("hefei", HEFEI).await;
    let office = cluster.federation.made(&id("audit-office")).expect("made");
    let issued = &office.officers[0];
    let pem = Some((&*issued.cert_pem, &**issued.key_pem));
    let base = "/anhui.example/hefei/records/1";
    let get = |path: String| fetch(&cluster, pem, "GET", Box::leak(path.into_boxed_str()));

    let note = get(format!("{base}/checkpoint")).await;
    assert_eq!(note.status, 200, "{}", note.head);
    assert!(note.head.contains("content-type: text/plain"));
    let ledger = &cluster.parts("hefei").ledger;
    let roster = cluster.parts("hefei").rosters.newest();
    let keys: Vec<_> = roster.members[&id("hefei")].checkpoint_keys().collect();
    let checkpoint = Checkpoint::open(&note.body, &records("hefei"), &keys).expect("signed");
    let size = checkpoint.size.0;
    assert_eq!(checkpoint.size, ledger.own_log(LogName::Records).size());

    let bundle = get(format!("{base}/tile/entries/000.p/{size}")).await;
    assert_eq!(bundle.status, 200);
    let mut frontier = merkle::Frontier::new();
    let mut leaves = vec![];
    for entry in split_entries(bundle.body.into()) {
        let leaf = leaf_hash(&entry.expect("an entry"));
        frontier.append(leaf);
        leaves.extend(leaf.0);
    }
    assert_eq!(frontier.root(), checkpoint.root);
    let tile = get(format!("{base}/tile/0/000.p/{size}")).await;
    assert_eq!(tile.body, leaves);
    let older = get(format!("{base}/tile/0/000.p/2")).await;
    assert_eq!(
        older.body,
        leaves[..64],
        "a smaller tree's tile is its start"
    );
    assert!(older.head.contains("application/octet-stream"));

    for missing in [
        format!("{base}/tile/0/000"),
        format!("{base}/tile/0/000.p/{}", size + 1),
        format!("{base}/tile/0/001.p/1"),
        format!("{base}/tile/1/000.p/1"),
        format!("{base}/bodies/000"),
        format!("{base}/tile/0/../0/000.p/1"),
        "/anhui.example/hefei/records/2/checkpoint".into(),
        "/anhui.example/province/records/1/checkpoint".into(),
        "/".into(),
    ] {
        let answer = get(missing.clone()).await;
        assert_eq!(answer.status, 404, "{missing}");
        assert!(!answer.body.is_empty(), "{missing} is refused in words");
    }
    let posted = fetch(&cluster, pem, "POST", &format!("{base}/checkpoint")).await;
    assert_eq!(posted.status, 405);
    let head = fetch(&cluster, pem, "HEAD", &format!("{base}/checkpoint")).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let stranger = fetch(&cluster, None, "GET", &format!("{base}/checkpoint")).await;
    assert_eq!(
        stranger.status, 0,
        "without a certificate there is no answer"
    );
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_tiles_are_for_ever_and_each_fetch_of_access_entries_is_a_line() {
    let cluster = Cluster::audited(&["hefei"]).await;
    let rows: String = (0..300)
        .map(|n| format!("HF-{n},loan-fraud,domain,d{n}.example,suspect,federation\n"))
        .collect();
    let csv = format!("case_no,category,kind,value,role,audience\n{rows}");
    cluster.import("hefei", &csv).await;
    let hefei = cluster.federation.made(&id("hefei")).expect("made");
    let issued = &hefei.officers[0];
    let pem = Some((&*issued.cert_pem, &**issued.key_pem));
    let base = "/anhui.example/hefei";
    let full = fetch(
        &cluster,
        pem,
        "GET",
        &format!("{base}/records/1/tile/0/000"),
    )
    .await;
    assert_eq!((full.status, full.body.len()), (200, 256 * 32));
    assert!(full.head.contains("immutable"), "{}", full.head);
    let note = fetch(
        &cluster,
        pem,
        "GET",
        &format!("{base}/records/1/checkpoint"),
    )
    .await;
    assert!(note.head.contains("no-cache"), "{}", note.head);

    let access = cluster
        .parts("hefei")
        .ledger
        .own_log(LogName::Access)
        .size();
    let path = |file: &str| format!("{base}/access/1/{file}");
    for (verb, file, count) in [
        ("GET", "tile/entries/000.p/1", 1),
        ("HEAD", "tile/entries/000.p/2", 0),
        ("GET", "tile/entries/000.p/2", 2),
    ] {
        assert_eq!(fetch(&cluster, pem, verb, &path(file)).await.status, 200);
        let newest = cluster.parts("hefei").access.newest(1).expect("lines");
        let (_, line) = newest.last().expect("a line");
        let told = (line.method.as_str(), line.log.as_str(), line.count);
        let log = "anhui.example/hefei/access/1";
        assert_eq!(told, ("Audit.ReadStaticLog", log, count), "{verb}");
    }
    for unlogged in ["checkpoint", "tile/0/000.p/1"] {
        assert_eq!(
            fetch(&cluster, pem, "GET", &path(unlogged)).await.status,
            200
        );
    }
    let after = cluster
        .parts("hefei")
        .ledger
        .own_log(LogName::Access)
        .size();
    assert_eq!(after.0, access.0 + 3, "one line for each file of entries");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_by_rpc_hold_and_sizes_beyond_the_log_are_refused() {
    let cluster = Cluster::audited(&["hefei"]).await;
    cluster.import("hefei", HEFEI).await;
    let audit = auditor(&cluster);
    let log = Arc::clone(cluster.parts("hefei").ledger.own_log(LogName::Records));
    let (size, root) = (log.size(), log.head().root());
    let origin = records("hefei").to_string();
    let digests = |hashes: &[bytes::Bytes]| -> Vec<Digest> {
        hashes
            .iter()
            .map(|h| Digest::from_slice(h).expect("a hash"))
            .collect()
    };
    let request = InclusionProofRequest {
        origin: origin.clone(),
        index: 1,
        size: size.0,
    };
    let proof = audit.calls().get_inclusion_proof(request.clone()).await;
    let proof = digests(&proof.expect("a proof").into_inner().hashes);
    let entry = cluster.parts("hefei").ledger.entry(0, LogIndex(1));
    let leaf = leaf_hash(&entry.expect("readable").expect("an entry").bytes);
    merkle::verify_inclusion(&leaf, LogIndex(1), size, &proof, &root).expect("it is in");
    let beyond = InclusionProofRequest {
        size: size.0 + 1,
        ..request
    };
    assert!(audit.calls().get_inclusion_proof(beyond).await.is_err());

    let mut start = merkle::Frontier::new();
    for at in 0..2 {
        let entry = cluster.parts("hefei").ledger.entry(0, LogIndex(at));
        start.append(entry.expect("readable").expect("an entry").leaf_hash());
    }
    let request = ConsistencyProofRequest {
        origin: origin.clone(),
        old_size: 2,
        size: size.0,
    };
    let proof = audit.calls().get_consistency_proof(request).await;
    let proof = digests(&proof.expect("a proof").into_inner().hashes);
    merkle::verify_consistency(TreeSize(2), &start.root(), size, &root, &proof).expect("it grew");
    let tiles = GetTilesRequest {
        origin,
        level: 0,
        first: 0,
        count: 1,
        size: size.0 + 1,
    };
    assert!(audit.calls().get_tiles(tiles).await.is_err());
    cluster.federation.stop().await;
}

/// What `audit` is told of all bodies of a log of `hefei`.
async fn answers(cluster: &Cluster, audit: &AuditClient, log: LogName) -> Vec<BodyAnswer> {
    let log = cluster.parts("hefei").ledger.own_log(log);
    let range = IndexRange {
        start: 0,
        end: log.size().0,
    };
    let request = GetBodiesRequest {
        origin: log.origin.to_string(),
        ranges: vec![range],
    };
    let answer = audit.calls().get_bodies(request).await.expect("bodies");
    let mut chunks = answer.into_inner();
    let mut out = vec![];
    while let Some(chunk) = chunks.message().await.expect("a chunk") {
        let held = chunk.answers.iter().filter(|a| **a == 1).count();
        assert_eq!(chunk.bodies.len(), held);
        let all = chunk.answers.iter().map(|a| i32::from(*a));
        out.extend(all.map(|a| BodyAnswer::try_from(a).expect("an answer")));
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_sees_what_is_for_him_and_the_whole_access_log() {
    let cluster = Cluster::audited(&["hefei", "wuhu"]).await;
    cluster.import("hefei", HEFEI).await;
    let own = client(&cluster, officer_of(&cluster, "hefei"), "hefei");
    let audit = auditor(&cluster);
    let count = |answers: &[BodyAnswer], which| answers.iter().filter(|a| **a == which).count();

    let seen = answers(&cluster, &own, LogName::Records).await;
    assert_eq!(count(&seen, BodyAnswer::Held), seen.len());
    let seen = answers(&cluster, &audit, LogName::Records).await;
    // Of four elements, those for wuhu and for nobody are not for him; the
    // notice of their case is.
    assert_eq!(count(&seen, BodyAnswer::NotForYou), 2, "{seen:?}");
    let access = answers(&cluster, &audit, LogName::Access).await;
    assert_eq!(count(&access, BodyAnswer::Held), access.len());

    let newest = cluster.parts("hefei").access.newest(2).expect("lines");
    let (_, line) = newest.last().expect("a line");
    assert_eq!(line.scope, AccessScope::Export as i32);
    assert_eq!(line.caller, "audit-office/officer");
    assert_eq!(line.method, "Audit.GetBodies");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditors_bundle_is_whole_and_another_members_stays_closed() {
    let cluster = Cluster::audited(&["hefei", "wuhu"]).await;
    cluster.import("hefei", HEFEI).await;
    cluster.converge().await;
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("bundle");
    let dial = cluster
        .federation
        .dial(&id("audit-office"))
        .expect("a dial");
    let audit = auditor(&cluster);
    let what = Selection {
        federation: federation(),
        member: id("hefei"),
        from: None,
        to: None,
        now: NOW,
    };
    let (runtime, to) = (tokio::runtime::Handle::current(), BundleOut::of(&out));
    let exported = tokio::task::spawn_blocking(move || {
        let (_keep, stop) = tokio::sync::watch::channel(false);
        let mut source = RemoteSource::new(runtime, dial, audit, &id("hefei"), stop);
        export(&mut source, &what, to, &mut |_| true)
    });
    let exported = exported.await.expect("it ends").expect("a bundle");
    let records = cluster
        .parts("hefei")
        .ledger
        .own_log(LogName::Records)
        .size();
    let found = exported
        .logs
        .iter()
        .find(|l| l.origin.log == LogName::Records);
    assert_eq!(found.map(|l| (l.size, l.end)), Some((records, records.0)));
    assert!(exported.silent.is_empty(), "{:?}", exported.silent);
    let read = |path: &str| std::fs::read(out.join(path)).expect(path);
    assert!(!read("SHA256SUMS").is_empty());

    // A replica's entries are no secret among members, its bodies are.
    let request = GetBodiesRequest {
        origin: crate::cluster::records("hefei").to_string(),
        ranges: vec![IndexRange {
            start: 0,
            end: records.0,
        }],
    };
    let wuhu = client(&cluster, officer_of(&cluster, "audit-office"), "wuhu");
    let answer = wuhu.calls().get_bodies(request).await.expect("an answer");
    let mut chunks = answer.into_inner();
    while let Some(chunk) = chunks.message().await.expect("a chunk") {
        assert!(chunk.bodies.is_empty());
    }
    cluster.federation.stop().await;
}
