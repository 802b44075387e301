//! The audit port of a running node: who gets in and who does not, its files as
//! any HTTPS client sees them, who sees which bodies, and that exports leave a
//! line in the access log.

mod lies;

use std::path::Path;
use std::sync::Arc;

use casegate::audit::export::{BundleOut, ExportError, Exported, Selection, export};
use casegate::audit::files::Files;
use casegate::audit::layout::{
    BundlePath, Folder, LogFile, ReceiptPart, TileIndex, split_bodies, split_entries,
};
use casegate::checkpoint::Checkpoint;
use casegate::ids::{LogName, OfficerName};
use casegate::merkle::{self, leaf_hash};
use casegate::pki::{Authority, LEAF_DAYS, Validity, identity};
use casegate::policy::Identity;
use casegate::roster::MemberRole;
use casegate::rpc::audit::client::{Dial, PortFiles};
use casegate::tls::Material;
use casegate::wire::v1::{AccessScope, AddOfficerRequest, BodyAnswer, SuspendOfficerRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{Cluster, NOW, id, records};
use crate::tamper::federation;

const HEFEI: &str = "case_no,category,kind,value,role,audience\n\
    HF-1,loan-fraud,domain,one.example,suspect,federation\n\
    HF-1,loan-fraud,domain,two.example,suspect,members:wuhu\n\
    HF-1,loan-fraud,domain,three.example,suspect,members:audit-office\n\
    HF-1,loan-fraud,domain,four.example,suspect,nobody\n";

/// The files of `member`'s node, at `address`, for the holder of this certificate.
pub(crate) fn files_at(
    cluster: &Cluster,
    material: Material,
    member: &str,
    address: &str,
) -> Arc<PortFiles> {
    let dial = Dial {
        material,
        ..cluster.federation.dial(&id(member)).expect("a dial")
    };
    let runtime = tokio::runtime::Handle::current();
    let (_, never) = tokio::sync::watch::channel(false);
    let files = PortFiles::new(runtime, &dial, (&federation(), &id(member)), address, never);
    Arc::new(files.expect("a client"))
}

/// A client of the audit port of `member`'s node with this certificate.
pub(crate) fn client(cluster: &Cluster, material: Material, member: &str) -> Arc<PortFiles> {
    let address = cluster.federation.audit_address(&id(member));
    let address = address.expect("an address").to_string();
    files_at(cluster, material, member, &address)
}

/// Reads files on a thread that may block.
pub(crate) async fn read<T: Send + 'static>(
    files: &Arc<PortFiles>,
    work: impl FnOnce(&PortFiles) -> T + Send + 'static,
) -> T {
    let files = Arc::clone(files);
    let done = tokio::task::spawn_blocking(move || work(&files)).await;
    done.expect("it ends without a panic")
}

/// The names of the logs that a node shows.
pub(crate) async fn logs(files: &Arc<PortFiles>, member: &str) -> Result<Vec<String>, ExportError> {
    let listed = read(files, |files| files.list(Folder::Logs)).await?;
    let name = |path: BundlePath| {
        let path = path.to_string();
        let log = path.strip_suffix("/checkpoint").expect("a checkpoint");
        format!("{}/{member}/{log}", federation())
    };
    Ok(listed.into_iter().map(name).collect())
}

/// Exports all of `member`'s logs.
pub(crate) async fn exported(
    cluster: &Cluster,
    files: &Arc<PortFiles>,
    member: &str,
    out: &Path,
) -> Result<Exported, ExportError> {
    let what = Selection {
        federation: federation(),
        member: id(member),
        from: None,
        to: None,
        now: cluster.clock.now(),
    };
    let out = BundleOut::of(out);
    read(files, move |files| export(files, &what, out, &mut |_| true)).await
}

fn officer_of(cluster: &Cluster, member: &str) -> Material {
    cluster.federation.officer(&id(member)).expect("an officer")
}

pub(crate) fn auditor(cluster: &Cluster) -> Arc<PortFiles> {
    client(cluster, officer_of(cluster, "audit-office"), "hefei")
}

fn name(role: MemberRole, member: &str, officer: Option<&str>) -> Identity {
    identity(&federation(), role, &id(member), officer).expect("a name")
}

fn code(error: &ExportError) -> String {
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
        let logs = logs(&client(&cluster, caller, "hefei"), "hefei").await;
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
        let refused = logs(&client(&cluster, caller, "hefei"), "hefei").await;
        let refused = refused.expect_err("it is refused");
        assert!(
            code(&refused).starts_with("tls."),
            "{want}: {refused} {}",
            code(&refused)
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
    let refusal = |e: ExportError| code(&e);

    let unknown = logs(&audit, "hefei").await.map_err(refusal);
    assert_eq!(unknown.err().as_deref(), Some("policy.not_listed"));
    let desk = cluster.desk("hefei");
    let rights = |rights: &[&str]| AddOfficerRequest {
        name: "wang".into(),
        rights: rights.iter().map(ToString::to_string).collect(),
    };
    desk.add_officer(rights(&["query"])).await.expect("added");
    let without = logs(&audit, "hefei").await.map_err(refusal);
    assert_eq!(without.err().as_deref(), Some("policy.missing_right"));
    desk.add_officer(rights(&["export"])).await.expect("added");
    logs(&audit, "hefei").await.expect("the logs");
    let suspend = SuspendOfficerRequest {
        name: OfficerName::new("wang").expect("a name").to_string(),
        restore: false,
    };
    desk.suspend_officer(suspend).await.expect("suspended");
    let out = logs(&audit, "hefei").await.map_err(refusal);
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
        format!("{base}/bodies/001"),
        format!("{base}/dsse/000.jsonl"),
        "/anhui.example/hefei/bundle.json".into(),
        "/anhui.example/hefei/receipts/wuhu-1-0.body".into(),
        "/anhui.example/province/records/1/bodies/000".into(),
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
        assert_eq!(told, ("Audit.ReadEntries", log, count), "{verb}");
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

/// What a file of bodies says of all that it has.
async fn answers(files: &Arc<PortFiles>, log: LogName) -> Vec<BodyAnswer> {
    let path = BundlePath::Log {
        log,
        generation: 1,
        file: LogFile::Bodies(TileIndex(0)),
    };
    let file = read(files, move |files| files.get(&path)).await;
    let items = split_bodies(file.expect("an answer").expect("a file"));
    items
        .map(|item| {
            let item = item.expect("an item");
            assert_eq!(item.answer == BodyAnswer::Held, !item.body.is_empty());
            item.answer
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn indices_name_what_is_there_and_a_page_begins_where_it_is_told_to() {
    let cluster = Cluster::audited(&["hefei"]).await;
    cluster.import("hefei", HEFEI).await;
    let office = cluster.federation.made(&id("audit-office")).expect("made");
    let issued = &office.officers[0];
    let pem = Some((&*issued.cert_pem, &**issued.key_pem));
    for (path, want) in [
        ("index", "records/1/checkpoint\naccess/1/checkpoint\nend\n"),
        ("index/access/1/checkpoint", "access/1/checkpoint\nend\n"),
        ("receipts/index", "end\n"),
        ("erasures/index", "end\n"),
        ("evidence/index", "end\n"),
        ("records/2/checkpoints/index", "end\n"),
    ] {
        let answer = fetch(
            &cluster,
            pem,
            "GET",
            &format!("/anhui.example/hefei/{path}"),
        )
        .await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{path}: {text}");
        assert_eq!(text, want, "{path}");
    }
    let roster = fetch(&cluster, pem, "GET", "/anhui.example/hefei/roster/index").await;
    let roster = String::from_utf8(roster.body).expect("text");
    assert!(
        roster.starts_with("000001\n") && roster.ends_with("end\n"),
        "{roster}"
    );
    for bad in [
        "index/receipts/index",
        "roster/index/records",
        "bodies/index",
    ] {
        let answer = fetch(&cluster, pem, "GET", &format!("/anhui.example/hefei/{bad}")).await;
        assert_eq!(answer.status, 404, "{bad}");
    }
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_sees_what_is_for_him_and_the_whole_access_log() {
    let cluster = Cluster::audited(&["hefei", "wuhu"]).await;
    cluster.import("hefei", HEFEI).await;
    let own = client(&cluster, officer_of(&cluster, "hefei"), "hefei");
    let audit = auditor(&cluster);
    let count = |answers: &[BodyAnswer], which| answers.iter().filter(|a| **a == which).count();

    let seen = answers(&own, LogName::Records).await;
    assert_eq!(count(&seen, BodyAnswer::Held), seen.len());
    let seen = answers(&audit, LogName::Records).await;
    // Of four elements, those for wuhu and for nobody are not for him; the
    // notice of their case is.
    assert_eq!(count(&seen, BodyAnswer::NotForYou), 2, "{seen:?}");
    let access = answers(&audit, LogName::Access).await;
    assert_eq!(count(&access, BodyAnswer::Held), access.len());

    let newest = cluster.parts("hefei").access.newest(2).expect("lines");
    let (_, line) = newest.last().expect("a line");
    assert_eq!(line.scope, AccessScope::Export as i32);
    assert_eq!(line.caller, "audit-office/officer");
    assert_eq!(line.method, "Audit.ReadBodies");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditors_bundle_is_whole_and_another_members_stays_closed() {
    let cluster = Cluster::audited(&["hefei", "wuhu"]).await;
    cluster.import("hefei", HEFEI).await;
    cluster.converge().await;
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("bundle");
    let audit = auditor(&cluster);
    let exported = exported(&cluster, &audit, "hefei", &out).await;
    let exported = exported.expect("a bundle");
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

    // What another member's node has of hefei's log is no file of that node.
    let wuhu = client(&cluster, officer_of(&cluster, "audit-office"), "wuhu");
    let receipt = |part| BundlePath::Receipt {
        member: id("hefei"),
        generation: 1,
        index: casegate::ids::LogIndex(0),
        part,
    };
    for path in ReceiptPart::ALL.map(receipt) {
        let name = path.to_string();
        let got = read(&wuhu, move |files| files.get(&path)).await;
        assert!(matches!(got, Ok(None)), "{name}");
    }
    cluster.federation.stop().await;
}
