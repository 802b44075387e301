//! Calls with bytes of the test's own on real connections to all three ports.

use bytes::{Buf, BufMut, Bytes};
use casegate::rpc::shown::CHECKPOINT_HEADER;
use casegate::rpc::status::code_of;
use casegate::tls::{Material, connector};
use casegate::wire::v1;
use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::cluster::{Cluster, id, records};
use crate::views::row;

/// Takes bytes as they are, in both directions.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

fn channel(cluster: &Cluster, material: Material, address: std::net::SocketAddr) -> Channel {
    let roster = cluster.parts("hefei").rosters.handle();
    let connector = connector(material, roster, cluster.clock.clone(), id("hefei"));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect_with_connector_lazy(connector)
}

/// Connections to the three ports of hefei's node, of those who may.
fn ports(cluster: &Cluster) -> [(&'static str, Channel); 3] {
    let federation = &cluster.federation;
    let wuhu = federation.made(&id("wuhu")).expect("made");
    let node = wuhu.node_material().expect("a certificate");
    let officer = || federation.officer(&id("hefei")).expect("an officer");
    let (peer, desk) = federation.addresses(&id("hefei")).expect("addresses");
    let audit = federation.audit_address(&id("hefei")).expect("an address");
    [
        ("peer", channel(cluster, node, peer)),
        ("desk", channel(cluster, officer(), desk)),
        ("audit", channel(cluster, officer(), audit)),
    ]
}

async fn call(channel: &Channel, path: &str, request: Request<Bytes>) -> Result<Bytes, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.expect("it is there");
    let path: PathAndQuery = path.parse().expect("a path");
    let answer = grpc.unary(request, path, Raw).await?;
    Ok(answer.into_inner())
}

async fn refused(channel: &Channel, path: &str, bytes: &'static [u8]) -> Status {
    let request = Request::new(Bytes::from_static(bytes));
    call(channel, path, request).await.expect_err(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_spoken_here_is_refused_with_what_is_on_all_ports() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    for (port, channel) in ports(&cluster) {
        for path in [
            "/casegate.v2.Exchange/Watch",
            "/casegate.v2.Desk/Query",
            "/casegate.v1.Exchange/Disclose",
            "/casegate.v1.Desk/Narrate",
            "/casegate.v1.Audit/GetTea",
            "/casegate.v1.Custodian/Evaluate2",
            "/tea.Pot/Brew",
            "/nothing",
        ] {
            let refused = refused(&channel, path, b"").await;
            assert_eq!(
                refused.code(),
                Code::Unimplemented,
                "{port} {path}: {refused:?}"
            );
            assert_eq!(code_of(&refused), "version.unknown", "{port} {path}");
            let words = concat!(
                "this node speaks casegate.v1 (casegate ",
                env!("CARGO_PKG_VERSION"),
                "): "
            );
            let said = refused.message();
            assert!(said.starts_with(words), "{port} {path}: {said}");
        }
    }
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_are_the_callers_fault() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let [(_, peer), (_, desk), (_, audit)] = ports(&cluster);
    let calls = [
        (&peer, "/casegate.v1.Exchange/GetRoster"),
        (&peer, "/casegate.v1.Exchange/Watch"),
        (&peer, "/casegate.v1.Exchange/GetCheckpoint"),
        (&peer, "/casegate.v1.Exchange/Pull"),
        (&peer, "/casegate.v1.Exchange/GetBodies"),
        (&peer, "/casegate.v1.Exchange/AddCheckpoint"),
        (&peer, "/casegate.v1.Exchange/GetConsistency"),
        (&peer, "/casegate.v1.Exchange/ListCheckpoints"),
        (&peer, "/casegate.v1.Custodian/Evaluate"),
        (&peer, "/casegate.v1.Custodian/KeygenRound1"),
        (&desk, "/casegate.v1.Desk/GetStatus"),
        (&desk, "/casegate.v1.Desk/Query"),
        (&audit, "/casegate.v1.Audit/ListLogs"),
        (&audit, "/casegate.v1.Audit/GetBodies"),
    ];
    for (channel, path) in calls {
        // A length that is not there, a tag that is cut, a field 0.
        for bytes in [&b"\x0a\x05ab"[..], b"\xff", b"\x00\x00"] {
            let refused = refused(channel, path, bytes).await;
            assert_eq!(refused.code(), Code::InvalidArgument, "{path}: {refused:?}");
            assert_eq!(code_of(&refused), "rpc.malformed", "{path}");
        }
    }
    let path = "/casegate.v1.Exchange/GetRoster";
    let refused = refused(&peer, path, b"\xff").await;
    assert!(
        refused.metadata().get_bin(CHECKPOINT_HEADER).is_some(),
        "errors carry it too"
    );
    let mut packed = Request::new(Bytes::new());
    packed
        .metadata_mut()
        .insert("grpc-encoding", "gzip".parse().expect("ASCII"));
    let packed = call(&peer, path, packed).await.expect_err("packed");
    let said = (packed.code(), code_of(&packed));
    assert_eq!(said, (Code::Unimplemented, "rpc.compressed".to_owned()));
    let large = Request::new(Bytes::from(vec![0; 9 << 20]));
    let large = call(&peer, path, large).await.expect_err("too large");
    let said = (large.code(), code_of(&large));
    assert_eq!(said, (Code::InvalidArgument, "rpc.too_large".to_owned()));
    cluster.federation.stop().await;
}

/// A field 99 with a number, one with bytes, and one with a message in it.
const UNKNOWN: &[u8] = b"\x98\x06\x07\xa2\x06\x03tea\xaa\x06\x02\x08\x01";

/// `message` with fields of a later version behind its own.
fn newer(message: &impl Message) -> Bytes {
    Bytes::from([message.encode_to_vec().as_slice(), UNKNOWN].concat())
}

fn with_unknown_metadata(bytes: Bytes) -> Request<Bytes> {
    let mut request = Request::new(bytes);
    let metadata = request.metadata_mut();
    metadata.insert("casegate-tomorrow", "yes".parse().expect("ASCII"));
    let bytes = tonic::metadata::MetadataValue::from_bytes(b"\xff\x00");
    metadata.insert_bin("casegate-tomorrow-bin", bytes);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_and_metadata_of_a_call_are_passed_over() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    let [(_, peer), (_, desk), (_, audit)] = ports(&cluster);
    let of = v1::GetCheckpointRequest {
        origin: records("hefei").to_string(),
    };
    let calls = [
        (&peer, "/casegate.v1.Exchange/GetCheckpoint", newer(&of)),
        (
            &peer,
            "/casegate.v1.Exchange/GetRoster",
            newer(&v1::GetRosterRequest { after: 0 }),
        ),
        (
            &peer,
            "/casegate.v1.Custodian/GetBudget",
            newer(&v1::GetBudgetRequest {}),
        ),
        (
            &desk,
            "/casegate.v1.Desk/GetStatus",
            newer(&v1::GetStatusRequest {}),
        ),
        (
            &audit,
            "/casegate.v1.Audit/ListLogs",
            newer(&v1::ListLogsRequest {}),
        ),
    ];
    for (channel, path, bytes) in calls {
        let request = with_unknown_metadata(bytes);
        let answer = call(channel, path, request).await;
        assert!(answer.is_ok(), "{path}: {answer:?}");
        if path.ends_with("GetCheckpoint") {
            let notice = v1::CheckpointNotice::decode(answer.expect("just seen"));
            assert_eq!(
                notice.expect("a notice").origin,
                records("hefei").to_string()
            );
        }
    }
    // As a client meets a newer node's answer.
    let said = v1::ListCheckpointsResponse {
        software: Some(casegate::spoken::own()),
        ..Default::default()
    };
    let read = v1::ListCheckpointsResponse::decode(newer(&said)).expect("read");
    assert_eq!(read, said);
    cluster.federation.stop().await;
}
