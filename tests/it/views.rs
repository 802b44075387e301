//! Do all members see the same logs? Members that sign two histories, members
//! that lie about others' logs, and what is no lie, on running nodes.

pub(crate) mod front;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use casegate::blame::Blamed;
use casegate::checkpoint::{Checkpoint, contradicts};
use casegate::ids::{Digest, LogName};
use casegate::ledger::{Ledger, LedgerError, LedgerOptions, LogKeys, Standing};
use casegate::pki::files::load_seed;
use casegate::postings::PostingsOptions;
use casegate::record::Audience;
use casegate::replicate::{PullError, notice_of};
use casegate::seal::SealKey;
use casegate::store::Batch;
use casegate::wire::v1;

use crate::cluster::{Cluster, id, records, wait_for};
use crate::tamper::element;
use front::{Front, Tricks};

const HEAD: &str = "case_no,category,kind,value,role\n";

pub(crate) fn row(case: &str, phone: &str) -> String {
    format!("{HEAD}{case},loan-fraud,phone,{phone},suspect\n")
}

/// hefei, wuhu and anqing, with a front before one of them.
pub(crate) async fn fronted(member: &str) -> (Cluster, Tricks) {
    let mut cluster = Cluster::behind(&["hefei", "wuhu", "anqing"], member).await;
    let tricks = Tricks::default();
    let channel = cluster.federation.channel_behind(&id(member));
    let front = Front::new(channel.expect("a channel"), tricks.clone());
    let server = v1::exchange_server::ExchangeServer::new(front);
    cluster
        .federation
        .stand_before(&id(member), server)
        .expect("the front stands");
    (cluster, tricks)
}

/// Another history of a member's records log, signed with its own keys.
pub(crate) fn fork_of(cluster: &Cluster, member: &str, dir: &std::path::Path) -> Ledger {
    history_of(cluster, member, dir, SealKey::new([9; 32]))
}

/// Opens a member's ledger in `dir`, with its own keys.
pub(crate) fn history_of(
    cluster: &Cluster,
    member: &str,
    dir: &std::path::Path,
    seal: SealKey,
) -> Ledger {
    let home = cluster.federation.member_dir(&id(member));
    let seed = |name: &str| load_seed(&home.join(name)).expect("a seed");
    let options = LedgerOptions {
        federation: cluster.federation.name().clone(),
        own: id(member),
        keys: LogKeys {
            records_next: None,
            records: seed("records.seed"),
            checkpoint: seed("checkpoint.seed"),
            witness: seed("witness.seed"),
        },
        seal: Arc::new(seal),
        clock: cluster.clock.clone(),
        records_generation: 1,
        access_generation: 1,
        cache_bytes: 1 << 20,
        index: PostingsOptions::default(),
    };
    Ledger::open(dir, options).expect("a ledger")
}

pub(crate) fn append(ledger: &Ledger, owner: &str, numbers: std::ops::Range<u32>) {
    let entries = numbers.map(|n| element(owner, n, Audience::Federation));
    let entries = entries.collect();
    tokio::task::block_in_place(|| ledger.append(LogName::Records, entries, Batch::new()))
        .expect("appended");
}

pub(crate) async fn status(cluster: &Cluster, member: &str) -> v1::GetStatusResponse {
    let request = v1::GetStatusRequest {};
    cluster
        .desk(member)
        .get_status(request)
        .await
        .expect("a status")
}

fn size(cluster: &Cluster, reader: &str, owner: &str) -> u64 {
    let log = cluster.parts(reader).ledger.log(&records(owner));
    log.map_or(0, |log| log.size().0)
}

fn alarm(cluster: &Cluster, reader: &str, about: &str) -> Option<String> {
    let states = cluster.parts(reader).replicator.states();
    states
        .get(&id(about))
        .and_then(|state| state.alarms.standing().map(|a| a.sentence.clone()))
}

/// That the evidence on a member's disk proves itself, as anybody can check.
fn check_evidence(cluster: &Cluster, holder: &str, author: &str) {
    let parts = cluster.parts(holder);
    let all = parts.ledger.evidence().all().expect("evidence");
    assert_eq!(all.len(), 1, "{all:?}");
    let pair = &all[0];
    assert_eq!(pair.origin, records(author).to_string());
    let roster = parts.rosters.newest();
    let keys: Vec<_> = roster
        .member(&id(author))
        .expect("a member")
        .checkpoint_keys()
        .collect();
    let open = |note: &Bytes| Checkpoint::open(note, &records(author), &keys).expect("signed");
    let shown: Vec<Digest> = pair
        .consistency
        .iter()
        .map(|h| Digest::from_slice(h).expect("a hash"))
        .collect();
    let (first, second) = (open(&pair.first), open(&pair.second));
    assert_eq!(
        contradicts(&first, &second, &shown),
        Ok(true),
        "{first} {second}"
    );
}

/// hefei shows wuhu one history and everybody else another.
pub(crate) async fn equivocate(fork_entries: u32) -> (Cluster, Tricks, tempfile::TempDir) {
    let (cluster, tricks) = fronted("hefei").await;
    let dir = tempfile::tempdir().expect("a directory");
    let fork = fork_of(&cluster, "hefei", dir.path());
    append(&fork, "hefei", 0..fork_entries);
    let roster = cluster.parts("hefei").rosters.newest();
    *tricks.fork.lock().expect("lock") = Some((fork, roster));
    tricks.fooled.lock().expect("lock").insert(id("wuhu"));
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    wait_for("both histories are held", || {
        size(&cluster, "anqing", "hefei") == 2
            && size(&cluster, "wuhu", "hefei") == u64::from(fork_entries)
    })
    .await;
    (cluster, tricks, dir)
}

async fn found_by_gossip(fork_entries: u32) {
    let (mut cluster, tricks, _dir) = equivocate(fork_entries).await;
    for (asker, asked) in [("wuhu", "anqing"), ("anqing", "wuhu")] {
        let replicator = Arc::clone(&cluster.parts(asker).replicator);
        replicator.gossip(&id(asked)).await.expect("an answer");
        check_evidence(&cluster, asker, "hefei");
        assert!(alarm(&cluster, asker, "hefei").is_some_and(|a| a.contains("contradicts itself")));
        assert!(
            alarm(&cluster, asker, asked).is_none(),
            "the messenger is not blamed"
        );
        let status = status(&cluster, asker).await;
        assert_eq!(status.conflicts, 1);
        let forked = status.replicas.iter().filter(|r| r.forked);
        assert_eq!(
            forked.map(|r| r.member.as_str()).collect::<Vec<_>>(),
            ["hefei"]
        );
    }

    // Nothing new of that log is taken, before and after a restart.
    let sizes = [
        size(&cluster, "wuhu", "hefei"),
        size(&cluster, "anqing", "hefei"),
    ];
    let fork = tricks.fork.lock().expect("lock").clone().expect("a fork").0;
    append(&fork, "hefei", 100..110);
    cluster.import("hefei", &row("HF-2", "13900139000")).await;
    for restarted in [false, true] {
        if restarted {
            cluster.stop("wuhu").await;
            cluster.restart("wuhu").await;
            let status = status(&cluster, "wuhu").await;
            assert!(status.conflicts == 1 && status.replicas.iter().any(|r| r.forked));
        }
        for reader in ["wuhu", "anqing"] {
            let replicator = Arc::clone(&cluster.parts(reader).replicator);
            for from in ["hefei", "province"] {
                let pulled = replicator.pull_member(&id("hefei"), &id(from)).await;
                let Err(PullError::Refused { source, .. }) = pulled else {
                    panic!("{reader} took of {from}: {pulled:?}");
                };
                assert_eq!(source.code(), "ledger.forked");
            }
        }
        let now = [
            size(&cluster, "wuhu", "hefei"),
            size(&cluster, "anqing", "hefei"),
        ];
        assert_eq!(now, sizes);
    }
    // Others' logs are followed as before.
    cluster.import("anqing", &row("AQ-1", "13700137000")).await;
    wait_for("anqing's records arrive", || {
        size(&cluster, "wuhu", "anqing") == 2
    })
    .await;
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_checkpoints_of_one_size_are_found_by_gossip_and_end_the_log() {
    found_by_gossip(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_histories_of_different_sizes_are_found_by_a_proof() {
    found_by_gossip(7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_rides_on_an_answer_gives_its_signer_away() {
    let (cluster, tricks, _dir) = equivocate(2).await;
    let fork = tricks.fork.lock().expect("lock").clone().expect("a fork").0;
    let note = fork.own_log(LogName::Records).head().checkpoint;
    *tricks.header.lock().expect("lock") = Some(note);
    // anqing asks for something else, and looks at what comes with the answer.
    let peers = Arc::clone(&cluster.parts("anqing").peers);
    peers.rosters(&id("hefei"), 0).await.expect("rosters");
    wait_for("anqing has evidence", || {
        let parts = cluster.parts("anqing");
        parts.ledger.is_forked(&records("hefei")).is_ok_and(|f| f)
    })
    .await;
    check_evidence(&cluster, "anqing", "hefei");
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_relay_is_blamed_itself_and_an_old_checkpoint_blames_nobody() {
    let (cluster, tricks) = fronted("wuhu").await;
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.converge().await;
    // The court holds no replicas: it knows only what it saw.
    let court = Arc::clone(&cluster.parts("court").replicator);
    court.gossip(&id("anqing")).await.expect("an answer");
    let seen = |n: u64| {
        let seen = cluster.parts("court").ledger.last_seen(&records("hefei"));
        seen.expect("readable")
            .is_some_and(|note| note.checkpoint.size.0 == n)
    };
    assert!(seen(2), "it remembers what it saw");
    let anqing = &cluster.parts("anqing").ledger;
    let old = anqing
        .log(&records("hefei"))
        .expect("the log")
        .head()
        .checkpoint;
    cluster.import("hefei", &row("HF-2", "13900139000")).await;
    cluster.converge().await;

    tricks.lies.store(true, SeqCst);
    court.gossip(&id("wuhu")).await.expect("an answer");
    assert!(alarm(&cluster, "court", "wuhu").is_some_and(|a| a.contains("from wuhu")));
    assert!(
        alarm(&cluster, "court", "hefei").is_none(),
        "the author is not blamed"
    );
    assert!(seen(4), "the owner proves it instead");
    assert_eq!(
        cluster
            .parts("court")
            .ledger
            .evidence()
            .count()
            .expect("a count"),
        0
    );

    tricks.lies.store(false, SeqCst);
    let replay = vec![notice_of(&records("hefei"), old)];
    *tricks.listed.lock().expect("lock") = Some(replay);
    for asker in ["court", "anqing", "province"] {
        let replicator = Arc::clone(&cluster.parts(asker).replicator);
        replicator.gossip(&id("wuhu")).await.expect("an answer");
        assert!(alarm(&cluster, asker, "hefei").is_none(), "{asker}");
        assert_eq!(
            cluster
                .parts(asker)
                .ledger
                .evidence()
                .count()
                .expect("a count"),
            0
        );
    }
    assert!(
        alarm(&cluster, "anqing", "wuhu").is_none(),
        "old is not false"
    );
    assert!(seen(4), "what is seen never shrinks");

    // A note that its owner did not sign accuses whoever shows it.
    let forged = cluster
        .parts("wuhu")
        .ledger
        .own_log(LogName::Records)
        .head();
    let forged = notice_of(&records("hefei"), forged.checkpoint);
    *tricks.listed.lock().expect("lock") = Some(vec![forged]);
    let anqing = Arc::clone(&cluster.parts("anqing").replicator);
    anqing.gossip(&id("wuhu")).await.expect("an answer");
    assert!(alarm(&cluster, "anqing", "wuhu").is_some());
    assert!(alarm(&cluster, "anqing", "hefei").is_none());
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_sees_two_histories_of_its_own_log_appends_no_more() {
    let (cluster, tricks) = fronted("wuhu").await;
    let dir = tempfile::tempdir().expect("a directory");
    let fork = fork_of(&cluster, "hefei", dir.path());
    cluster.import("hefei", &row("HF-1", "13800138000")).await;
    cluster.converge().await;
    // A copy of hefei, somewhere, signs on its own; wuhu shows what it saw of it.
    append(&fork, "hefei", 0..2);
    let log = fork.own_log(LogName::Records);
    let notice = notice_of(&log.origin, log.head().checkpoint);
    *tricks.listed.lock().expect("lock") = Some(vec![notice]);
    let parts = Arc::clone(cluster.parts("hefei"));
    parts
        .replicator
        .gossip(&id("wuhu"))
        .await
        .expect("an answer");
    assert_eq!(parts.ledger.standing(), Standing::Conflict);
    check_evidence(&cluster, "hefei", "hefei");
    let refused = tokio::task::spawn_blocking({
        let ledger = parts.ledger.clone();
        move || ledger.append(LogName::Records, vec![], Batch::new())
    });
    let refused = refused.await.expect("it ends");
    assert!(matches!(
        refused,
        Err(LedgerError::Closed(Standing::Conflict))
    ));
    drop(parts);
    cluster.federation.stop().await;
}

#[test]
fn a_note_that_was_seen_stays_until_a_larger_one_is_proven_to_extend_it() {
    use crate::tamper::{Ledgers, origin};
    use casegate::ids::TreeSize;
    use casegate::ledger::View;
    let ledgers = Ledgers::new();
    let (reader, author) = (ledgers.open("wuhu"), ledgers.member("hefei"));
    let signing = ledgers.keys("hefei").checkpoint;
    let note = |size, root| {
        let signed = Checkpoint {
            origin: origin("hefei"),
            size: TreeSize(size),
            root: Digest([root; 32]),
        };
        Bytes::from(signed.sign(&signing))
    };
    let remember = |size, root, proven| {
        let kept = reader.remember_seen(&origin("hefei"), &note(size, root), proven);
        kept.expect("the store takes it");
        let seen = reader.last_seen(&origin("hefei")).expect("readable");
        seen.expect("one is remembered").checkpoint.size.0
    };
    assert_eq!(remember(5, 1, false), 5);
    assert_eq!(
        remember(9, 2, false),
        5,
        "nobody has shown that it extends it"
    );
    assert_eq!(remember(9, 2, true), 9);
    assert_eq!(remember(7, 3, true), 9, "it never goes back");
    let view = |size, root| {
        let looked = reader.view(&origin("hefei"), &author, &note(size, root));
        looked.expect("a checkpoint of the log")
    };
    assert_eq!(view(9, 2), View::Fits);
    assert!(
        matches!(view(9, 4), View::Conflict(_)),
        "two roots of one size"
    );
    assert!(matches!(view(12, 5), View::Open(_)));
    assert!(matches!(view(3, 6), View::Open(_)));
}
