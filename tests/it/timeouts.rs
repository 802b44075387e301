//! Calls of the desk that stall: each is ended within the configured limit, with
//! an error that says so, and what came before it is kept.

use casegate::config::Limits;
use casegate::federation::OFFICER;
use casegate::ids::{LogIndex, LogName};
use casegate::peers::status::code_of;
use casegate::record::Body;
use casegate::rpc::desk_client::{DeskCallError, FilePart};
use casegate::wire::v1::{self, AccessScope, import_event::Event};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::Request;

use crate::access::{of, raw_desk};
use crate::cluster::{Cluster, id, import_options, wait_for};

/// Rows of the file.
const ROWS: usize = 600;

/// hefei's node, which lets every step of a call take one second.
async fn hasty() -> Cluster {
    let mut cluster = Cluster::new(&["hefei"]).await;
    cluster.federation.set_limits(Limits {
        timeout_s: 1,
        ..Limits::default()
    });
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    cluster
}

/// A file of wide rows: 64 KiB of it are less than half.
fn rows() -> String {
    let wide = ["a", "b", "c"].map(|letter| letter.repeat(60)).join(".");
    let mut csv = String::from("case_no,category,kind,role,value\n");
    for n in 0..ROWS {
        csv.push_str(&format!(
            "C-1,fraud,domain,suspect,site{n}.{wide}.example\n"
        ));
    }
    csv
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stalls_is_ended_and_what_came_whole_is_kept() {
    let cluster = hasty().await;
    let whole = rows();
    let cut = whole.find("site500").expect("a row") + 9;
    let (sender, parts) = mpsc::channel(2);
    let bytes = bytes::Bytes::from(whole[..cut].to_owned());
    sender.send(FilePart::Bytes(bytes)).await.expect("room");
    let desk = cluster.desk("hefei");
    let mut events = desk
        .import(import_options(), parts)
        .await
        .expect("it starts");
    // The sender stays open, and says nothing more.
    let ended = loop {
        match events.next().await {
            Ok(Some(Event::Report(report))) => panic!("a report: {report:?}"),
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ends without a word"),
            Err(error) => break error,
        }
    };
    assert!(
        ended.to_string().contains("nothing came for 1 s"),
        "{ended}"
    );
    drop(sender);
    let lines = of(&cluster, "hefei", "Desk.Import").await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].outcome, ended.shown_code());
    assert_eq!(lines[0].caller, OFFICER);

    // The rows before the cut go out; the same file again adds the rest, once.
    let ledger = cluster.parts("hefei").ledger.clone();
    wait_for("what came is published", || ledger.is_queue_empty()).await;
    let report = cluster.import("hefei", &whole).await;
    let all = ROWS as u64;
    assert_eq!((report.rows, report.refused), (all, 0), "{report:?}");
    assert_eq!(report.fresh + report.unchanged, all, "{report:?}");
    let kept = report.unchanged;
    assert!(
        (100..500).contains(&kept),
        "all but the last 64 KiB: {report:?}"
    );
    let log = ledger.own_log(LogName::Records);
    let elements = ledger.decoded_bodies(log.number, LogIndex(0), log.size().0);
    let elements = elements.expect("readable").into_iter();
    let elements = elements.filter(|(_, body)| matches!(body, Body::Element(_)));
    assert_eq!(elements.count(), ROWS, "no row stands there twice");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_no_officer_signed_is_ended_and_leaves_a_line() {
    let cluster = hasty().await;
    let silent = tokio_stream::pending::<v1::ImportPart>();
    let answer = raw_desk(&cluster, "hefei")
        .import(Request::new(silent))
        .await;
    let refused = answer.expect_err("refused");
    assert_eq!(code_of(&refused), "officer.unsigned", "{refused:?}");
    let lines = of(&cluster, "hefei", "Desk.Import").await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].outcome, "officer.unsigned");
    assert_eq!(lines[0].scope, i32::from(AccessScope::Local));
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_a_silent_member_is_ended() {
    let mut cluster = hasty().await;
    let (peer, _) = cluster.federation.addresses(&id("court")).expect("two");
    cluster.stop("court").await;
    // It takes connections and never answers.
    let _silent = TcpListener::bind(peer).await.expect("the address is free");
    let desk = cluster.desk("hefei");
    let answer = desk.get_status(v1::GetStatusRequest {}).await;
    let error: DeskCallError = answer.expect_err("it takes too long");
    assert_eq!(error.shown_code(), "desk.too_slow", "{error}");
    cluster.federation.stop().await;
}
