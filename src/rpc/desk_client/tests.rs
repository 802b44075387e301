//! The client against a desk that checks signatures and answers little, on a
//! port of its own. TLS is tested elsewhere; here the channel is plain.

use std::collections::BTreeSet;
use std::pin::Pin;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use v1::desk_server::{Desk, DeskServer};

use super::*;
use prost::Message;

use crate::access::officer;
use crate::policy::Method;

const OFFICER: &str = "spiffe://anhui.example/bureau/hefei/officer/li.wei";

pub(crate) fn material() -> Material {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI(
        OFFICER.try_into().expect("an ASCII name"),
    )];
    let certificate = params.self_signed(&key).expect("a certificate");
    Material::from_pem(&certificate.pem(), &key.serialize_pem()).expect("they fit")
}

/// How an import ended, as the desk saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Import {
    Whole { bytes: usize },
    Broken,
}

#[derive(Clone)]
pub(crate) struct Stub {
    certificate: Vec<u8>,
    imports: mpsc::UnboundedSender<Import>,
    /// Refusals that an import is told of.
    refusals: Vec<v1::Refusal>,
}

impl Stub {
    /// What a node does with a signed request.
    fn check<R: Signed>(&self, call: &v1::SignedCall) -> Result<R, Status> {
        let opened = officer::open::<R>(&self.certificate, call);
        let opened = opened.map_err(|e| crate::peers::status::to_officer(&e))?;
        Ok(opened.request)
    }

    /// There is no case.
    fn answer<R: Signed>(&self, call: &v1::SignedCall) -> Result<(), Status> {
        let request = self.check::<R>(call)?.encode_to_vec();
        if R::METHOD != Method::ShowCase {
            return Ok(());
        }
        let asked = v1::ShowCaseRequest::decode(&request[..]).expect("a request");
        let unknown = crate::cases::CaseError::Unknown(asked.case_no);
        Err(crate::peers::status::to_officer(&unknown))
    }
}

/// Methods that answer nothing but whether the request was signed.
macro_rules! signed {
    ($(#[$doc:meta] $name:ident($request:ident) -> $response:ident;)*) => {
        /// A desk.
        #[tonic::async_trait]
        impl Desk for Stub {
            type ImportStream =
                Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::ImportEvent, Status>> + Send>>;

            async fn import(
                &self,
                request: Request<Streaming<v1::ImportPart>>,
            ) -> Result<Response<Self::ImportStream>, Status> {
                self.take(request).await
            }

            $(
                async fn $name(
                    &self,
                    request: Request<v1::SignedCall>,
                ) -> Result<Response<v1::$response>, Status> {
                    self.answer::<v1::$request>(request.get_ref())?;
                    Ok(Response::new(v1::$response::default()))
                }
            )*

            async fn get_status(
                &self,
                _request: Request<v1::GetStatusRequest>,
            ) -> Result<Response<v1::GetStatusResponse>, Status> {
                Ok(Response::new(v1::GetStatusResponse::default()))
            }
        }
    };
}

each_desk_call! { signed }

impl Stub {
    async fn take(
        &self,
        request: Request<Streaming<v1::ImportPart>>,
    ) -> Result<Response<<Self as Desk>::ImportStream>, Status> {
        let mut parts = request.into_inner();
        let first = parts.message().await?.and_then(|part| part.call);
        let call = first.ok_or_else(|| Status::invalid_argument("no call"))?;
        self.check::<v1::ImportOptions>(&call)?;
        let mut bytes = 0;
        let end = loop {
            match parts.message().await {
                Ok(Some(part)) if part.end.is_some_and(|end| end.bytes == bytes as u64) => {
                    break Import::Whole { bytes };
                }
                Ok(Some(part)) => bytes += part.bytes.len(),
                Ok(None) | Err(_) => break Import::Broken,
            }
        };
        let told = self.imports.send(end);
        told.map_err(|_| Status::internal("nobody looks at imports"))?;
        let report = v1::ImportReport {
            rows: bytes.try_into().unwrap_or(0),
            ..Default::default()
        };
        let refusals = self
            .refusals
            .iter()
            .cloned()
            .map(v1::import_event::Event::Refusal);
        let known = refusals
            .chain([v1::import_event::Event::Report(report)])
            .map(Some);
        let events: Vec<_> = std::iter::once(None)
            .chain(known)
            .map(|event| v1::ImportEvent { event })
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(
            events.into_iter().map(Ok),
        ))))
    }
}

/// Serves a stub on a port of its own and says where.
pub(crate) async fn serve(stub: Stub) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = tonic::transport::Server::builder()
        .add_service(DeskServer::new(stub))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    address
}

/// A client whose officer has `own`.
pub(crate) fn client_at(address: &str, own: Material) -> DeskClient {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    DeskClient::over(endpoint.connect_lazy(), own, Clock::manual(1), address)
}

async fn client_of(stub: Stub, own: Material) -> DeskClient {
    client_at(&serve(stub).await, own)
}

pub(crate) fn stub_for(
    own: &Material,
    refusals: Vec<v1::Refusal>,
) -> (Stub, mpsc::UnboundedReceiver<Import>) {
    let (imports, seen) = mpsc::unbounded_channel();
    (
        Stub {
            certificate: own.certificate().to_vec(),
            imports,
            refusals,
        },
        seen,
    )
}

fn code_of_error<T: std::fmt::Debug>(result: Result<T, DeskCallError>) -> String {
    result.expect_err("it is refused").shown_code().to_owned()
}

#[tokio::test]
async fn another_officers_signature_is_refused_by_every_signed_method() {
    let own = material();
    let client = client_of(stub_for(&material(), vec![]).0, own).await;
    let wanted = "officer.bad_signature";
    assert_eq!(
        code_of_error(client.query(v1::QueryRequest::default()).await),
        wanted
    );
    assert_eq!(
        code_of_error(client.publish(v1::PublishRequest::default()).await),
        wanted
    );
    assert_eq!(
        code_of_error(client.retract(v1::RetractRequest::default()).await),
        wanted
    );
    assert_eq!(
        code_of_error(client.links(v1::LinksRequest::default()).await),
        wanted
    );
    assert_eq!(
        code_of_error(client.hits(v1::HitsRequest::default()).await),
        wanted
    );
    assert_eq!(
        code_of_error(client.add_case(v1::AddCaseRequest::default()).await),
        wanted
    );
    assert_eq!(
        code_of_error(client.keygen(v1::KeygenRequest::default()).await),
        wanted
    );
    let (sender, parts) = mpsc::channel(1);
    drop(sender);
    let refused = client.import(v1::ImportOptions::default(), parts).await;
    assert_eq!(code_of_error(refused), wanted);
    client
        .get_status(v1::GetStatusRequest {})
        .await
        .expect("it needs no signature");
}

#[tokio::test]
async fn a_node_that_decodes_a_request_can_verify_its_signature() {
    let own = material();
    let client = client_of(stub_for(&own, vec![]).0, own).await;
    let purpose = || {
        let offence = "fraud".to_owned();
        Some(v1::DeskPurpose {
            offence,
            reason: "理由".into(),
            urgency: "urgent".into(),
        })
    };
    let element = v1::ElementSpec {
        kind: "url".into(),
        value: "https://a.example/?a=1".into(),
        ..Default::default()
    };
    let request = v1::QueryRequest {
        case_no: "皖公刑-1".into(),
        elements: vec![element.clone(), v1::ElementSpec::default()],
        add: true,
        purpose: purpose(),
    };
    client.query(request).await.expect("it verifies");
    let request = v1::LinksRequest {
        operation: "OP-7".into(),
        purpose: purpose(),
        kinds: vec!["phone".into(), String::new()],
        from_day: -3,
        top: 7,
        ..Default::default()
    };
    client.links(request).await.expect("it verifies");
    let request = v1::RetractRequest {
        case_no: "A".into(),
        element: Some(element),
        reason: v1::RetractReason::Order.into(),
        dry_run: false,
    };
    client.retract(request).await.expect("it verifies");
    client
        .hits(v1::HitsRequest::default())
        .await
        .expect("an empty request verifies too");
}

#[tokio::test]
async fn an_import_is_whole_when_its_end_is_said() {
    let own = material();
    let (stub, mut seen) = stub_for(&own, vec![]);
    let client = client_of(stub, own).await;
    let (sender, parts) = mpsc::channel(3);
    for size in [3, 4] {
        let part = FilePart::Bytes(vec![1; size].into());
        sender.send(part).await.expect("there is room");
    }
    sender.send(FilePart::End).await.expect("there is room");
    let options = v1::ImportOptions {
        file_name: "a.csv".into(),
        wait: true,
        ..Default::default()
    };
    let mut events = client.import(options, parts).await.expect("it starts");
    let first = events
        .next()
        .await
        .expect("an event")
        .expect("one that is known");
    assert!(matches!(first, v1::import_event::Event::Report(report) if report.rows == 7));
    assert_eq!(events.next().await.expect("the end"), None);
    assert_eq!(seen.recv().await, Some(Import::Whole { bytes: 7 }));
}

#[tokio::test]
async fn the_nodes_refusals_and_its_absence_are_told_apart() {
    let own = material();
    let client = client_of(stub_for(&own, vec![]).0, own.clone()).await;
    let refused = client
        .show_case(v1::ShowCaseRequest {
            case_no: "A-1".into(),
        })
        .await;
    let refused = refused.expect_err("no such case");
    assert_eq!(
        (refused.shown_code(), refused.blame()),
        ("case.unknown", Blame::NotFound)
    );
    assert!(refused.to_string().contains("A-1"), "{refused}");

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let nobody = DeskClient::over(endpoint.connect_lazy(), own, Clock::manual(1), &address);
    let absent = nobody
        .get_status(v1::GetStatusRequest {})
        .await
        .expect_err("nobody is there");
    assert_eq!(
        (absent.code(), absent.blame()),
        ("node.unreachable", Blame::Unavailable)
    );
    assert!(absent.to_string().contains(&address), "{absent}");
}

#[test]
fn every_error_has_a_code_of_its_own() {
    let answered = |code: &str| DeskCallError::Answered {
        code: code.into(),
        sentence: "no".into(),
        blame: Blame::Internal,
    };
    let errors = [
        DeskCallError::Address {
            endpoint: "x".into(),
        },
        DeskCallError::Tls(TlsRefusal::Closed),
        DeskCallError::Unreachable {
            endpoint: "x".into(),
            detail: "y".into(),
        },
        answered(""),
        DeskCallError::Sign(OfficerSignatureError::Missing),
    ];
    let codes: BTreeSet<_> = errors.iter().map(DeskCallError::shown_code).collect();
    assert_eq!(codes.len(), errors.len());
    assert_eq!(answered("case.unknown").shown_code(), "case.unknown");
}

#[test]
fn what_is_no_host_and_port_is_refused() {
    for bad in [
        "",
        "host",
        ":7441",
        "host:",
        "host:x",
        "host:70000",
        "li@host:1",
        "host:1/x",
        "host:1?x",
        "a b:1",
    ] {
        assert_eq!(address(bad).expect_err(bad).code(), "node.address");
    }
    for good in ["127.0.0.1:7441", "[::1]:7441", "desk.hefei.example:7441"] {
        address(good).expect(good);
    }
}
