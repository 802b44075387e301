//! A node whose audit port answers falsely, over real mutual TLS: an export takes
//! none of it, says what was wrong, and leaves nothing behind.

use std::path::Path;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use casegate::audit::export::{ExportError, Exported};
use casegate::audit::files::Files;
use casegate::audit::layout::{
    BundlePath, Folder, PortPath, ReceiptPart, put_body, read_hashes, write_hashes, write_index,
};
use casegate::audit::local::LedgerFiles;
use casegate::ids::{Digest, LogIndex};
use casegate::ledger::{Ledger, Seer};
use casegate::tls::{ListenerKind, TlsServer, accept};
use casegate::wire::v1::BodyAnswer;
use http::StatusCode;
use tokio::net::TcpListener;
use tonic::transport::Server;

use super::{HEFEI, files_at, officer_of, read};
use crate::cluster::{Cluster, id, wait_for};

/// Makes another answer of the node's to what is asked for at a path.
type Lie = fn(&str, Option<Vec<u8>>) -> Option<Vec<u8>>;

/// What hefei's node says to hefei's own officers, or what is said in its place.
async fn answer(ledger: Ledger, lie: Lie, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let path = path
        .strip_prefix("/anhui.example/hefei/")
        .expect("hefei")
        .to_owned();
    let said = tokio::task::spawn_blocking(move || {
        let files = LedgerFiles::new(&ledger, Seer::Own);
        let truth = match path.parse::<PortPath>().expect("a path") {
            PortPath::File(file) => files.get(&file).expect("readable").map(Vec::from),
            PortPath::Index { folder, .. } => {
                let all = files.list(folder).expect("readable");
                Some(write_index(folder, &all).into_bytes())
            }
        };
        lie(&path, truth)
    });
    match said.await.expect("it ends") {
        Some(bytes) => bytes.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Exports hefei's logs, as the auditor, from a node that lies.
async fn exported(cluster: &Cluster, lie: Lie, out: &Path) -> Result<Exported, ExportError> {
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
    let ledger = cluster.parts("hefei").ledger.clone();
    let router = axum::Router::new().fallback(move |request| answer(ledger.clone(), lie, request));
    let routes = tonic::service::Routes::from(router);
    let server = Server::builder().add_routes(routes);
    let serving = tokio::spawn(server.serve_with_incoming(accepting.incoming));
    let files = files_at(
        cluster,
        officer_of(cluster, "audit-office"),
        "hefei",
        &address,
    );
    let done = super::exported(cluster, &files, "hefei", out).await;
    serving.abort();
    done
}

fn is_tile(path: &str) -> bool {
    path.starts_with("records/1/tile/0/")
}

fn is_bundle(path: &str) -> bool {
    path.starts_with("records/1/tile/entries/")
}

/// Says that the newest checkpoint is of more entries.
fn larger(note: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(note).expect("text");
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines[1] = "18446744073709551615";
    lines.join("\n").into_bytes()
}

/// Each lie, and what is said about it.
fn lies() -> Vec<(&'static str, Lie)> {
    const RECORDS: &str = "records/1/checkpoint";
    const BODIES: &str = "records/1/bodies/000";
    vec![
        ("no log of this member", |p, t| {
            if p == "index" {
                Some(b"end\n".into())
            } else {
                t
            }
        }),
        ("an index is missing", |p, t| t.filter(|_| p != "index")),
        ("a name that is none there", |p, t| {
            if p == "index" {
                Some(b"nothing\nend\n".into())
            } else {
                t
            }
        }),
        ("an index that breaks off", |p, t| {
            if p == "index" {
                Some(b"records/1/checkpoint\n".into())
            } else {
                t
            }
        }),
        ("an index of another length", |p, t| {
            if p == "index" {
                Some(b"next records/1/checkpoint\n".into())
            } else {
                t
            }
        }),
        ("out of order", |p, t| {
            let twice = b"records/1/checkpoint\nrecords/1/checkpoint\nend\n";
            if p == "index" { Some(twice.into()) } else { t }
        }),
        ("out of order", |p, t| {
            let again = b"records/1/checkpoint\nnext records/1/checkpoint\n";
            if p == "index" { Some(again.into()) } else { t }
        }),
        ("a roster is missing", |p, t| {
            t.filter(|_| p != "roster/000001")
        }),
        ("a checkpoint is missing", |p, t| t.filter(|_| p != RECORDS)),
        ("a checkpoint that is none", |p, t| {
            t.map(|t| if p == RECORDS { vec![] } else { t })
        }),
        ("a tile is missing", |p, t| {
            t.map(|t| if p == RECORDS { larger(t) } else { t })
        }),
        ("a checkpoint of another size", |p, t| match p {
            "records/1/checkpoints/index" => Some(b"1\nend\n".into()),
            "records/1/checkpoints/1" => Some(b"one".into()),
            _ => t,
        }),
        ("a tile is missing", |p, t| t.filter(|_| !is_tile(p))),
        ("another number of hashes", |p, t| {
            t.map(|t| if is_tile(p) { t[1..].to_vec() } else { t })
        }),
        ("another number of hashes", |p, t| {
            t.map(|t| {
                if is_tile(p) {
                    [&t[..], &[0; 32]].concat()
                } else {
                    t
                }
            })
        }),
        ("a file is too long", |p, t| {
            t.map(|t| {
                if is_tile(p) {
                    [&t[..], &[0; 8_192]].concat()
                } else {
                    t
                }
            })
        }),
        ("an entry bundle is missing", |p, t| {
            t.filter(|_| !is_bundle(p))
        }),
        ("another number of entries", |p, t| {
            t.map(|t| {
                if is_bundle(p) {
                    [&t[..], &[0, 1, 9]].concat()
                } else {
                    t
                }
            })
        }),
        ("another number of entries", |p, t| {
            t.map(|t| if is_bundle(p) { vec![] } else { t })
        }),
        ("ends within an entry", |p, t| {
            t.map(|t| {
                if is_bundle(p) {
                    t[..t.len() - 1].to_vec()
                } else {
                    t
                }
            })
        }),
        ("a file of bodies is missing", |p, t| {
            t.filter(|_| p != BODIES)
        }),
        ("fewer bodies", |p, t| {
            t.map(|t| if p == BODIES { vec![] } else { t })
        }),
        ("an unknown answer", |p, t| {
            t.map(|t| {
                if p == BODIES {
                    [&[99], &t[1..]].concat()
                } else {
                    t
                }
            })
        }),
        ("ends within a body", |p, t| {
            t.map(|t| {
                if p == BODIES {
                    t[..t.len() - 1].to_vec()
                } else {
                    t
                }
            })
        }),
        ("a file of evidence is missing", |p, t| {
            if p == "evidence/index" {
                Some(b"7/first\nend\n".into())
            } else {
                t
            }
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_from_a_node_that_answers_falsely_says_what_and_leaves_nothing() {
    let cluster = Cluster::audited(&["hefei"]).await;
    cluster.import("hefei", HEFEI).await;
    let mut taken = vec![];
    for (at, (want, lie)) in lies().into_iter().enumerate() {
        let dir = tempfile::tempdir().expect("a directory");
        let said = match exported(&cluster, lie, &dir.path().join("bundle")).await {
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

/// hefei says that a receipt stands where no log can have one, shows a pair of
/// notes, and more bodies than its log had when the export began.
fn more(path: &str, truth: Option<Vec<u8>>) -> Option<Vec<u8>> {
    let far = u64::MAX;
    Some(match path {
        "receipts/index" => {
            format!("province-1-{far}.entry\nprovince-1-{far}.body\nprovince-1-{far}.proof\nend\n")
                .into_bytes()
        }
        "evidence/index" => b"7/first\n7/second\n7/consistency\n7/about.json\nend\n".into(),
        "evidence/7/consistency" => write_hashes(&[Digest([7; 32]); 2]).into_bytes(),
        "evidence/7/first" => b"one".into(),
        "evidence/7/second" => b"two".into(),
        "evidence/7/about.json" => b"{}\n".into(),
        "records/1/bodies/000" => {
            let mut bodies = truth?;
            put_body(&mut bodies, BodyAnswer::Absent, &[]).expect("put");
            bodies
        }
        _ => return truth,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_comes_with_its_proof_and_receipts_that_are_not_there_name_the_member() {
    let cluster = Cluster::audited(&["hefei"]).await;
    cluster.import("hefei", HEFEI).await;
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("bundle");
    let done = exported(&cluster, more, &out).await.expect("a bundle");
    assert_eq!((done.evidence, done.receipts), (1, 0));
    let proof = std::fs::read_to_string(out.join("evidence/7/consistency"));
    let hashes = read_hashes(&proof.expect("the proof")).expect("hashes");
    assert_eq!(hashes, [Digest([7; 32]); 2]);
    let silent: Vec<_> = done
        .silent
        .iter()
        .map(|(member, _)| member.as_str())
        .collect();
    assert_eq!(silent, ["province"]);
    let bodies = std::fs::read(out.join("records/1/bodies/000")).expect("bodies");
    let items = casegate::audit::layout::split_bodies(bodies.into()).count();
    let size = done
        .logs
        .iter()
        .map(|log| (log.origin.log.as_str(), log.size.0));
    assert!(
        size.clone().any(|log| log == ("records", items as u64)),
        "{items}"
    );
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_the_others_come_from_the_node_that_needs_them_and_each_body_is_a_line() {
    let cluster = Cluster::audited(&["hefei", "wuhu"]).await;
    cluster.import("hefei", HEFEI).await;
    cluster.converge().await;
    assert!(cluster.retract("hefei", "HF-1").await.retracted >= 1);
    let ledger = cluster.parts("hefei").ledger.clone();
    let is_there = || {
        let erasures = ledger.erasures().ok()?;
        let all = erasures.iter().flat_map(|erasure| &erasure.confirmations);
        let of = all.filter(|c| c.member == id("wuhu"));
        of.filter_map(|c| c.receipt.clone()).next()
    };
    wait_for("wuhu has signed for it", || is_there().is_some()).await;
    let index = is_there().expect("a place").index;
    let audit = super::auditor(&cluster);
    let named = read(&audit, |files| files.list(Folder::Receipts)).await;
    let receipt = |index, part| BundlePath::Receipt {
        member: id("wuhu"),
        generation: 1,
        index,
        part,
    };
    let named = named.expect("a list");
    for part in ReceiptPart::ALL {
        let path = receipt(index, part);
        assert!(named.contains(&path), "{path}");
        let name = path.to_string();
        let got = read(&audit, move |files| files.get(&path)).await;
        let got = got.expect("an answer");
        assert!(got.is_some_and(|bytes| !bytes.is_empty()), "{name}");
    }
    let lines = cluster.parts("hefei").access.newest(9).expect("lines");
    let exports = lines
        .iter()
        .filter(|(_, line)| line.method == "Audit.ReadReceipt");
    let exports: Vec<_> = exports
        .map(|(_, line)| (line.log.as_str(), line.outcome.as_str(), line.count))
        .collect();
    assert_eq!(exports, [("anhui.example/wuhu/records/1", "ok", 1)]);
    // Of a replica nothing but receipts is given, and nothing where no log ends.
    let first = ledger
        .log(&crate::cluster::records("wuhu"))
        .expect("a replica");
    let others = (0..first.size().0).map(LogIndex).filter(|at| *at != index);
    for at in others.chain([LogIndex(u64::MAX)]) {
        let path = receipt(at, ReceiptPart::Body);
        let is_named = named.contains(&path);
        let got = read(&audit, move |files| files.get(&path)).await;
        assert_eq!(got.expect("an answer").is_some(), is_named, "{at}");
    }
    cluster.federation.stop().await;
}
