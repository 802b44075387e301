//! The log of rosters: what its checkpoints say, who cosigns them, and what two
//! rosters of one version leave behind.

mod gathering;

use std::sync::Arc;

use casegate::blame::{Blame, Blamed};
use casegate::checkpoint::{CheckpointError, cosigned_by};
use casegate::ids::{Digest, TreeSize};
use casegate::keys::SigningKey;
use casegate::merkle::leaf_hash;
use casegate::roster::Roster;
use casegate::roster::log::{RosterCheckpoint, is_of_rosters, origin};
use casegate::rosterlog::RosterLogTransport;
use casegate::wire::v1::{self, AddCheckpointRequest};
use prost::Message;

use crate::cluster::{Cluster, id, wait_for};

fn history(cluster: &Cluster, member: &str) -> Arc<Vec<Arc<Roster>>> {
    cluster.parts(member).rosters.history()
}

/// The key that signs a member's checkpoints, from its file.
fn checkpoint_key(cluster: &Cluster, member: &str) -> SigningKey {
    let file = cluster.federation.member_dir(&id(member));
    casegate::pki::files::load_seed(&file.join("checkpoint.seed")).expect("a seed")
}

/// A checkpoint of `member`'s with another root, which it signs.
fn forged(cluster: &Cluster, member: &str, size: u64) -> AddCheckpointRequest {
    let other = RosterCheckpoint {
        federation: cluster.federation.name().clone(),
        size: TreeSize(size),
        root: Digest([9; 32]),
    };
    let note = other.sign(&checkpoint_key(cluster, member));
    AddCheckpointRequest {
        checkpoint: note.into_bytes().into(),
        ..Default::default()
    }
}

async fn quorum(cluster: &mut Cluster, quorum: u32) {
    cluster.clock.advance(10);
    let mut draft = cluster.federation.next_roster();
    draft.wire.policy.get_or_insert_default().witness_quorum = quorum;
    let names: Vec<String> = draft.wire.members.iter().map(|m| m.id.clone()).collect();
    for member in &mut draft.wire.members {
        member.witnesses = names.iter().filter(|n| **n != member.id).cloned().collect();
    }
    cluster.federation.install(&draft).await.expect("installed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_is_cosigned_and_the_note_is_served() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    quorum(&mut cluster, 4).await;
    let version = history(&cluster, "hefei").len() as u64;
    for member in ["hefei", "wuhu", "court"] {
        let log = &cluster.parts(member).roster_log;
        wait_for("the roster is witnessed", || log.witnessed().0 == version).await;
    }
    let peers = &cluster.parts("wuhu").peers;
    let served = peers
        .rosters(&id("hefei"), version)
        .await
        .expect("an answer");
    assert!(served.rosters.is_empty());
    let roster = cluster.parts("hefei").rosters.newest();
    assert!(is_of_rosters(&served.checkpoint, &roster.federation));
    let keys = roster
        .member(&id("hefei"))
        .expect("hefei")
        .checkpoint_keys();
    let opened = RosterCheckpoint::open(&served.checkpoint, &roster.federation, keys);
    let opened = opened.expect("hefei signed it");
    assert_eq!(opened.size.0, version);
    let by = cosigned_by(
        &served.checkpoint,
        &roster.federation,
        &roster.roster_witnesses(),
    );
    let by = by.expect("the lines hold");
    assert!(by.len() >= 4);
    assert!(
        by.contains_key(&id("hefei")),
        "who serves it cosigned it too"
    );
    let root = RosterCheckpoint::of(&history(&cluster, "wuhu"), version);
    assert_eq!(root.expect("wuhu has all").root, opened.root);

    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    let log = &cluster.parts("hefei").roster_log;
    assert_eq!(log.witnessed().0, version, "a restart forgets nothing");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rosters_of_one_version_leave_evidence_and_no_cosignature() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let newest = history(&cluster, "wuhu").len() as u64;
    let peers = &cluster.parts("hefei").peers;
    let evidence = || cluster.parts("wuhu").ledger.evidence().all().expect("read");
    let refused = peers
        .offer_rosters(&id("wuhu"), forged(&cluster, "hefei", newest))
        .await;
    let refused = refused.expect_err("another root");
    assert_eq!(
        (refused.blame, &*refused.code),
        (Blame::Misbehaved, "roster_log.conflict")
    );
    let kept = evidence();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].origin, origin(cluster.federation.name()));
    assert!(!kept[0].first.is_empty() && kept[0].first != kept[0].second);

    // Versions that are not here yet are no contradiction.
    let early = peers
        .offer_rosters(&id("wuhu"), forged(&cluster, "hefei", newest + 1))
        .await;
    let early = early.expect("an answer");
    assert!(early.cosignatures.is_empty());
    assert_eq!(early.seen_size, newest);
    // A note in another member's name is not its word.
    let mut other = forged(&cluster, "court", newest);
    let refused = peers.offer_rosters(&id("wuhu"), other.clone()).await;
    assert_eq!(
        refused.expect_err("not hefei's").code,
        "checkpoint.not_signed"
    );
    other.checkpoint = other.checkpoint.slice(..other.checkpoint.len() - 9);
    let refused = peers.offer_rosters(&id("wuhu"), other).await;
    assert!(
        refused
            .expect_err("no note")
            .code
            .starts_with("checkpoint.")
    );
    assert_eq!(evidence().len(), 1);
    // The comparison of what a peer serves with its rosters finds it as well.
    let log = &cluster.parts("court").roster_log;
    let note = forged(&cluster, "hefei", newest).checkpoint;
    let found = log.compare(&id("hefei"), &note).expect_err("another root");
    assert_eq!(found.code(), "roster_log.conflict");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_the_roster_log_says_origin_size_and_root_and_nothing_else() {
    let cluster = Cluster::new(&["hefei"]).await;
    let history = history(&cluster, "hefei");
    let federation = cluster.federation.name().clone();
    let first = RosterCheckpoint::of(&history, 1).expect("roster 1");
    let signed = v1::SignedRoster::decode(history[0].signed.clone()).expect("a roster");
    assert_eq!(
        first.root,
        leaf_hash(&signed.roster),
        "a leaf is the roster's bytes"
    );
    assert!(first.body().starts_with("anhui.example/roster\n1\n"));
    assert!(RosterCheckpoint::of(&history, history.len() as u64 + 1).is_none());
    let key = SigningKey::generate();
    let note = first.sign(&key);
    let open = |note: &str, key: &SigningKey| {
        RosterCheckpoint::open(note.as_bytes(), &federation, [key.public_key()].into_iter())
    };
    assert_eq!(open(&note, &key), Ok(first));
    let other = SigningKey::generate();
    assert_eq!(open(&note, &other), Err(CheckpointError::NotSigned));
    for (from, to) in [
        ("roster\n1", "roster\n2"),
        ("anhui.example/roster\n", "anhui.example/x\n"),
    ] {
        assert!(open(&note.replacen(from, to, 1), &key).is_err(), "{from}");
    }
    cluster.federation.stop().await;
}
