//! A node whose audit port answers falsely, over real mutual TLS: an export takes
//! none of it, says what was wrong, and leaves nothing behind.

use std::path::Path;
use std::pin::Pin;

use bytes::Bytes;
use casegate::audit::export::{BundleOut, ExportError, Exported, Selection, export};
use casegate::audit::layout::read_hashes;
use casegate::audit::source::Source;
use casegate::ids::{Digest, LogIndex};
use casegate::rpc::audit::client::AuditClient;
use casegate::rpc::audit::source::RemoteSource;
use casegate::tls::{ListenerKind, TlsServer, accept};
use casegate::wire::v1::{self, BodyAnswer, audit_server};
use futures_util::{Stream, TryStreamExt};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::{HEFEI, auditor, officer_of};
use crate::cluster::{Cluster, NOW, id, records, wait_for};
use crate::tamper::federation;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
/// Makes another answer of the node's.
type Change<T> = Option<fn(&mut Vec<T>)>;

/// What is done to each answer of the node's.
#[derive(Clone, Copy, Default)]
struct Lies {
    logs: Change<v1::AuditLog>,
    notes: Change<v1::AuditCheckpoint>,
    tiles: Change<v1::Tile>,
    entries: Change<v1::Tile>,
    bodies: Change<v1::BodyChunk>,
    erasures: Change<v1::Erasure>,
    evidence: Change<v1::EvidencePair>,
}

/// Stands where hefei's node stands, with its certificate.
struct Liar {
    real: AuditClient,
    lies: Lies,
}

/// All of a stream, changed.
async fn changed<T: Send + 'static>(
    answer: Result<Response<Streaming<T>>, Status>,
    change: Change<T>,
) -> Result<Response<Answers<T>>, Status> {
    let mut items: Vec<T> = answer?.into_inner().try_collect().await?;
    if let Some(change) = change {
        change(&mut items);
    }
    let items = futures_util::stream::iter(items.into_iter().map(Ok));
    Ok(Response::new(Box::pin(items)))
}

#[tonic::async_trait]
impl audit_server::Audit for Liar {
    type GetCheckpointsStream = Answers<v1::AuditCheckpoint>;
    type GetTilesStream = Answers<v1::Tile>;
    type GetEntryBundlesStream = Answers<v1::Tile>;
    type GetBodiesStream = Answers<v1::BodyChunk>;
    type GetErasuresStream = Answers<v1::Erasure>;
    type GetEvidenceStream = Answers<v1::EvidencePair>;

    async fn list_logs(
        &self,
        request: Request<v1::ListLogsRequest>,
    ) -> Result<Response<v1::ListLogsResponse>, Status> {
        let mut answer = self.real.calls().list_logs(request.into_inner()).await?;
        if let Some(change) = self.lies.logs {
            change(&mut answer.get_mut().logs);
        }
        Ok(answer)
    }

    async fn get_rosters(
        &self,
        request: Request<v1::GetRosterRequest>,
    ) -> Result<Response<v1::GetRosterResponse>, Status> {
        self.real.calls().get_rosters(request.into_inner()).await
    }

    async fn get_checkpoints(
        &self,
        request: Request<v1::GetCheckpointsRequest>,
    ) -> Result<Response<Self::GetCheckpointsStream>, Status> {
        let mut calls = self.real.calls();
        let answer = calls.get_checkpoints(request.into_inner()).await;
        changed(answer, self.lies.notes).await
    }

    async fn get_tiles(
        &self,
        request: Request<v1::GetTilesRequest>,
    ) -> Result<Response<Self::GetTilesStream>, Status> {
        let answer = self.real.calls().get_tiles(request.into_inner()).await;
        changed(answer, self.lies.tiles).await
    }

    async fn get_entry_bundles(
        &self,
        request: Request<v1::GetEntryBundlesRequest>,
    ) -> Result<Response<Self::GetEntryBundlesStream>, Status> {
        let mut calls = self.real.calls();
        let answer = calls.get_entry_bundles(request.into_inner()).await;
        changed(answer, self.lies.entries).await
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::InclusionProofRequest>,
    ) -> Result<Response<v1::Proof>, Status> {
        let mut calls = self.real.calls();
        calls.get_inclusion_proof(request.into_inner()).await
    }

    async fn get_consistency_proof(
        &self,
        request: Request<v1::ConsistencyProofRequest>,
    ) -> Result<Response<v1::Proof>, Status> {
        let mut calls = self.real.calls();
        calls.get_consistency_proof(request.into_inner()).await
    }

    async fn get_bodies(
        &self,
        request: Request<v1::GetBodiesRequest>,
    ) -> Result<Response<Self::GetBodiesStream>, Status> {
        let answer = self.real.calls().get_bodies(request.into_inner()).await;
        changed(answer, self.lies.bodies).await
    }

    async fn get_erasures(
        &self,
        request: Request<v1::GetErasuresRequest>,
    ) -> Result<Response<Self::GetErasuresStream>, Status> {
        let answer = self.real.calls().get_erasures(request.into_inner()).await;
        changed(answer, self.lies.erasures).await
    }

    async fn get_evidence(
        &self,
        request: Request<v1::GetEvidenceRequest>,
    ) -> Result<Response<Self::GetEvidenceStream>, Status> {
        let answer = self.real.calls().get_evidence(request.into_inner()).await;
        changed(answer, self.lies.evidence).await
    }
}

/// Exports hefei's logs, as the auditor, from a node that lies.
async fn exported(cluster: &Cluster, lies: Lies, out: &Path) -> Result<Exported, ExportError> {
    let hefei = cluster.federation.made(&id("hefei")).expect("made");
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let roster = cluster.parts("hefei").rosters.handle();
    let kind = ListenerKind::Audit(id("hefei"));
    let material = hefei.node_material().expect("a certificate");
    let tls = TlsServer::new(
        material,
        roster,
        cluster.clock.clone(),
        kind,
        accept::log_refused,
    );
    let accepting = tls.listen(socket).expect("it listens");
    let address = accepting.address.to_string();
    let real = auditor(cluster);
    let server = audit_server::AuditServer::new(Liar { real, lies });
    let router = Server::builder().add_service(server);
    let serving = tokio::spawn(router.serve_with_incoming(accepting.incoming));

    let dial = cluster.federation.dial(&id("audit-office"));
    let dial = dial.expect("a dial");
    let client = AuditClient::new(&dial, id("hefei"), &address).expect("a client");
    let (runtime, out) = (tokio::runtime::Handle::current(), BundleOut::of(out));
    let done = tokio::task::spawn_blocking(move || {
        let (_keep, stop) = tokio::sync::watch::channel(false);
        let mut source = RemoteSource::new(runtime, dial, client, &id("hefei"), stop);
        let what = Selection {
            federation: federation(),
            member: id("hefei"),
            from: None,
            to: None,
            now: NOW,
        };
        export(&mut source, &what, out, &mut |_| true)
    });
    let done = done.await.expect("it ends without a panic");
    serving.abort();
    done
}

/// One entry more than there are, in the last bundle.
fn longer(bundles: &mut [v1::Tile]) {
    if let Some(bundle) = bundles.last_mut() {
        let data = [&bundle.data[..], &[0, 1, 9]].concat();
        bundle.data = data.into();
    }
}

fn pair(hash: &'static [u8]) -> v1::EvidencePair {
    v1::EvidencePair {
        origin: records("hefei").to_string(),
        first: Bytes::from_static(b"one"),
        second: Bytes::from_static(b"two"),
        consistency: vec![Bytes::from_static(hash); 2],
        ..v1::EvidencePair::default()
    }
}

/// Each lie, and what is said about it.
fn lies() -> Vec<(&'static str, Lies)> {
    let none = Lies::default();
    let logs = |change| Lies {
        logs: Some(change),
        ..none
    };
    let tiles = |change| Lies {
        tiles: Some(change),
        ..none
    };
    let entries = |change| Lies {
        entries: Some(change),
        ..none
    };
    let bodies = |change| Lies {
        bodies: Some(change),
        ..none
    };
    let unasked = "a tile that was not asked for";
    let bundle = "an entry bundle that was not asked for";
    let unfit = "an answer about bodies that does not fit";
    vec![
        (
            "a log with a name that is none",
            logs(|l| l[0].origin.clear()),
        ),
        ("the node has no log of this member", logs(Vec::clear)),
        ("a log of another size", logs(|l| l[0].size += 1)),
        ("a log of another size", logs(|l| l[0].size = u64::MAX)),
        ("a log of another size", logs(|l| l[1].checkpoint.clear())),
        (unasked, tiles(|t| t[0].index = 1)),
        (unasked, tiles(|t| t[0].width += 1)),
        (unasked, tiles(|t| t[0].data.truncate(31))),
        (unasked, tiles(|t| t.push(t[0].clone()))),
        ("a tile is missing", tiles(Vec::clear)),
        ("a tile without a width", tiles(|t| t[0].width = 0)),
        ("a tile without a width", tiles(|t| t[0].width = 257)),
        (bundle, entries(|e| e[0].index = 1)),
        (bundle, entries(|e| e[0].width += 1)),
        (bundle, entries(|e| e.push(e[0].clone()))),
        ("an entry bundle is missing", entries(Vec::clear)),
        ("another number of entries", entries(|e| longer(e))),
        ("another number of entries", entries(|e| e[0].data.clear())),
        (unfit, bodies(|b| b[0].start += 1)),
        (unfit, bodies(|b| b[0].answers = vec![99; 2].into())),
        (unfit, bodies(|b| b[0].bodies.clear())),
        (unfit, bodies(|b| b[0].bodies.push(Bytes::new()))),
        (unfit, bodies(|b| b.push(b[0].clone()))),
        ("fewer bodies", bodies(Vec::clear)),
        (
            "more bodies",
            bodies(|b| {
                let more = [&b[0].answers[..], &[BodyAnswer::Absent as u8]].concat();
                b[0].answers = more.into();
            }),
        ),
        (
            "evidence with a hash that is none",
            Lies {
                evidence: Some(|e| e.push(pair(&[7; 31]))),
                ..none
            },
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_from_a_node_that_answers_falsely_says_what_and_leaves_nothing() {
    let cluster = Cluster::audited(&["hefei"]).await;
    cluster.import("hefei", HEFEI).await;
    let mut taken = vec![];
    for (at, (want, lies)) in lies().into_iter().enumerate() {
        let dir = tempfile::tempdir().expect("a directory");
        let said = match exported(&cluster, lies, &dir.path().join("bundle")).await {
            Err(error @ (ExportError::Malformed { .. } | ExportError::Nothing { .. })) => {
                error.to_string()
            }
            other => format!("{other:?}"),
        };
        let mut left = std::fs::read_dir(dir.path()).expect("a directory");
        if !said.contains(want) || left.next().is_some() {
            taken.push((at, want, said));
        }
    }
    assert!(taken.is_empty(), "{taken:#?}");
    cluster.federation.stop().await;
}

/// hefei says that a receipt stands where no log can have one.
fn far_receipt(erasures: &mut Vec<v1::Erasure>) {
    erasures.push(v1::Erasure {
        confirmations: vec![v1::Confirmation {
            member: "province".into(),
            receipt_origin: records("province").to_string(),
            receipt_index: u64::MAX,
            ..v1::Confirmation::default()
        }],
        ..v1::Erasure::default()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_comes_with_its_proof_and_receipts_that_are_not_there_name_the_member() {
    let cluster = Cluster::audited(&["hefei"]).await;
    cluster.import("hefei", HEFEI).await;
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("bundle");
    let lies = Lies {
        erasures: Some(far_receipt),
        evidence: Some(|e| e.push(pair(&[7; 32]))),
        ..Lies::default()
    };
    let done = exported(&cluster, lies, &out).await.expect("a bundle");
    assert_eq!((done.evidence, done.receipts), (1, 0));
    let proof = std::fs::read_to_string(out.join("evidence/1/consistency"));
    let hashes = read_hashes(&proof.expect("the proof")).expect("hashes");
    assert_eq!(hashes, [Digest([7; 32]); 2]);
    let silent: Vec<_> = done
        .silent
        .iter()
        .map(|(member, _)| member.as_str())
        .collect();
    assert_eq!(silent, ["province"]);
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_officer_has_receipts_from_his_own_node_and_from_nowhere_else() {
    let cluster = Cluster::audited(&["hefei", "wuhu"]).await;
    cluster.import("hefei", HEFEI).await;
    cluster.converge().await;
    assert!(cluster.retract("hefei", "HF-1").await.retracted >= 1);
    let ledger = cluster.parts("hefei").ledger.clone();
    let place = || {
        let erasures = ledger.erasures().ok()?;
        let all = erasures.iter().flat_map(|erasure| &erasure.confirmations);
        let of = all.filter(|c| c.member == id("wuhu"));
        of.filter_map(|c| c.receipt.clone()).next()
    };
    wait_for("wuhu has signed for it", || place().is_some()).await;
    let index = place().expect("a place");
    let dial = casegate::rpc::audit::client::Dial {
        material: officer_of(&cluster, "hefei"),
        ..cluster.federation.dial(&id("hefei")).expect("a dial")
    };
    let audit = super::client(&cluster, officer_of(&cluster, "hefei"), "hefei");
    let runtime = tokio::runtime::Handle::current();
    let got = tokio::task::spawn_blocking(move || {
        let (_keep, stop) = tokio::sync::watch::channel(false);
        let mut source = RemoteSource::new(runtime, dial, audit, &id("hefei"), stop);
        let far = source.receipt(&records("wuhu"), LogIndex(u64::MAX));
        (source.receipt(&index.origin, index.index), far)
    });
    let (receipt, far) = got.await.expect("it ends");
    let receipt = receipt.expect("a receipt");
    assert!(!receipt.entry.is_empty() && !receipt.body.is_empty());
    assert!(far.is_err(), "{far:?}");
    cluster.federation.stop().await;
}
