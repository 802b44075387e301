//! What `/ready` says: each thing that keeps a node from its work, in words,
//! and nothing once it is mended.

use std::sync::Arc;
use std::time::Duration;

use casegate::admin::{serve, unready};
use casegate::ledger::Standing;
use casegate::parts::Parts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::cluster::{Cluster, NOW, wait_for};

/// Asks a node's admin listener, which ends with this call.
async fn ready(parts: &Arc<Parts>) -> String {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    let (running, stop) = tokio::sync::watch::channel(false);
    let serving = tokio::spawn(serve(Arc::clone(parts), socket, stop));
    let mut asking = TcpStream::connect(address).await.expect("connected");
    let request = b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    asking.write_all(request).await.expect("sent");
    let mut answer = String::new();
    asking.read_to_string(&mut answer).await.expect("an answer");
    // Whoever runs it is gone: it ends as if it had been told to.
    drop(running);
    let ended = tokio::time::timeout(Duration::from_secs(60), serving).await;
    ended.expect("it ends").expect("in peace");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_why_a_node_is_not_ready_is_said() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let parts = Arc::clone(cluster.parts("hefei"));
    wait_for("it is ready", || unready(&parts).is_empty()).await;
    let answer = ready(&parts).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let said = |at: i64, wanted: &[&str]| {
        cluster.clock.advance(at - cluster.clock.now());
        let why = unready(&parts);
        let begins = |(why, wanted): (&String, &&str)| why.starts_with(wanted);
        assert_eq!(why.len(), wanted.len(), "{why:?}");
        assert!(why.iter().zip(wanted).all(begins), "{why:?}");
    };
    let roster_ends = parts.rosters.newest().expires_at;
    let certificate_ends = parts.material.expires_at();
    assert!(NOW < roster_ends && roster_ends < certificate_ends);
    said(roster_ends - 1, &[]);
    said(roster_ends, &["roster: the newest roster has run out"]);
    let both = ["roster: the newest roster has run out", "certificate: "];
    said(certificate_ends, &both);
    said(NOW, &[]);

    let mut draft = cluster.federation.next_roster();
    draft.wire.members.retain(|member| member.id != "wuhu");
    cluster.federation.install(&draft).await.expect("installed");
    let wuhu = Arc::clone(cluster.parts("wuhu"));
    let why = unready(&wuhu);
    assert!(
        why.iter().any(|why| why.contains("does not list")),
        "{why:?}"
    );
    let answer = ready(&wuhu).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("does not list this member"), "{answer}");
    assert_eq!(unready(&parts), [""; 0], "hefei is still in it");
    parts.ledger.set_standing(Standing::Superseded);
    let why = unready(&parts);
    assert!(why[0].starts_with("own log: ") && why.len() == 1, "{why:?}");
    for other in [Standing::Open, Standing::Fenced, Standing::Conflict] {
        parts.ledger.set_standing(other);
        let kept = parts.ledger.standing();
        assert_eq!(kept, Standing::Superseded, "a log that has ended stays so");
    }
    drop((parts, wuhu));
    cluster.federation.stop().await;
}
