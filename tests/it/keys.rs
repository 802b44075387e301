//! Keys of running nodes: rotated in the middle of publishing, revoked while in
//! use, run out. What they signed stays checkable, and what they may not sign
//! counts nowhere.

use casegate::ids::{KeyId, LogIndex, LogName};
use casegate::keys::PublicKey;
use casegate::ledger::RecordStanding;
use casegate::record::Entry;
use casegate::roster::draft::wire_key;
use casegate::roster::validity::Why;
use casegate::roster::{Draft, KeyUse};
use casegate::wire::v1;

use crate::cluster::{Cluster, id, purpose, records, wait_for};

const MEMBERS: [&str; 3] = ["hefei", "wuhu", "late"];

/// Cases of a member with one domain each: `PREFIX-n`, `NAMEn.example`.
fn cases(prefix: &str, name: &str, count: usize) -> String {
    let mut csv = String::from("case_no,category,kind,value,role\n");
    for n in 0..count {
        csv.push_str(&format!(
            "{prefix}-{n},loan-fraud,domain,{name}{n}.example,suspect\n"
        ));
    }
    csv
}

fn own_size(cluster: &Cluster, member: &str) -> u64 {
    cluster
        .parts(member)
        .ledger
        .own_log(LogName::Records)
        .size()
        .0
}

/// The keys that signed a member's records log, as `reader` holds it.
fn signers(cluster: &Cluster, reader: &str, owner: &str) -> Vec<KeyId> {
    let ledger = &cluster.parts(reader).ledger;
    let log = ledger.log(&records(owner)).expect("the log");
    let entries = ledger.entries(log.number, LogIndex(0), log.size().0);
    let key = |bytes| Entry::parse(bytes).expect("an entry").statement.key_id;
    entries.expect("entries").into_iter().map(key).collect()
}

fn key_invalid(cluster: &Cluster, reader: &str, owner: &str) -> u64 {
    let ledger = &cluster.parts(reader).ledger;
    let log = ledger.log(&records(owner)).expect("the log");
    ledger.key_invalid(&log).expect("counted")
}

fn hits(cluster: &Cluster, member: &str) -> usize {
    cluster.parts(member).ledger.hits().expect("hits").len()
}

async fn add_operation(cluster: &Cluster, member: &str) {
    let row = v1::CaseRow {
        case_no: "OP-1".into(),
        category: "loan-fraud".into(),
        operation: true,
        ..Default::default()
    };
    let add = v1::AddCaseRequest { row: Some(row) };
    cluster.desk(member).add_case(add).await.expect("added");
}

/// Pairs of cases that a member links.
async fn pairs(cluster: &Cluster, member: &str) -> usize {
    let request = v1::LinksRequest {
        operation: "OP-1".into(),
        purpose: Some(purpose()),
        ..Default::default()
    };
    let answer = cluster.desk(member).links(request).await;
    answer.expect("an answer").pairs.len()
}

fn lines<'a>(draft: &'a mut Draft, member: &str) -> &'a mut v1::RosterMember {
    let mut members = draft.wire.members.iter_mut();
    members.find(|m| m.id == member).expect("the member")
}

/// Makes hefei's next records key and restarts its node with it.
async fn hold_next_key(cluster: &mut Cluster) -> PublicKey {
    let key = cluster.federation.make_next_key(&id("hefei"));
    cluster.stop("hefei").await;
    cluster.restart("hefei").await;
    key.expect("a key")
}

async fn list_from(cluster: &mut Cluster, key: &PublicKey, from_size: u64) {
    cluster.clock.advance(10);
    let mut draft = cluster.federation.next_roster();
    let key = v1::MemberKey {
        from_size,
        ..wire_key(KeyUse::Records, key, draft.wire.issued_at)
    };
    lines(&mut draft, "hefei").keys.push(key);
    cluster.federation.install(&draft).await.expect("installed");
}

/// Changes hefei's first records key in the next roster.
async fn change_first(cluster: &mut Cluster, change: impl FnOnce(&mut v1::MemberKey)) {
    cluster.clock.advance(10);
    let mut draft = cluster.federation.next_roster();
    let keys = &mut lines(&mut draft, "hefei").keys;
    let first = keys.iter_mut().find(|k| k.r#use() == v1::KeyUse::Records);
    change(first.expect("a records key"));
    cluster.federation.install(&draft).await.expect("installed");
}

async fn status(cluster: &Cluster, member: &str) -> v1::GetStatusResponse {
    let desk = cluster.desk(member);
    let answer = desk.get_status(v1::GetStatusRequest {}).await;
    answer.expect("a status")
}

/// Waits until hefei's publishing waits for the reason that says `why`: on a busy
/// machine it may wait a moment for another one first.
async fn waits_because(cluster: &Cluster, why: &str) {
    let publisher = &cluster.parts("hefei").publisher;
    wait_for(&format!("publishing waits: {why}"), || {
        use casegate::publish::PublishState;
        matches!(&*publisher.state().borrow(), PublishState::Waiting(said) if said.contains(why))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_rotated_in_the_middle_of_publishing_and_a_late_joiner_verifies_all() {
    let mut cluster = Cluster::new(&MEMBERS).await;
    cluster.stop("late").await;
    cluster.import("wuhu", &cases("WH", "shared", 3)).await;
    cluster.import("hefei", &cases("HF", "before", 2)).await;
    let old = signers(&cluster, "hefei", "hefei");
    let next = hold_next_key(&mut cluster).await;
    let change = own_size(&cluster, "hefei") + 7;
    list_from(&mut cluster, &next, change).await;
    cluster.import("hefei", &cases("HG", "shared", 12)).await;
    let signed = signers(&cluster, "hefei", "hefei");
    assert!(
        signed.len() as u64 > change + 3,
        "the batch goes past the change"
    );
    for (at, key) in (0_u64..).zip(&signed) {
        let due = if at < change { old[0] } else { next.id() };
        assert_eq!(*key, due, "entry {at}");
    }
    cluster.restart("late").await;
    cluster.converge().await;
    assert_eq!(signers(&cluster, "late", "hefei"), signed);
    assert_eq!(key_invalid(&cluster, "late", "hefei"), 0);
    assert_eq!(hits(&cluster, "wuhu"), 3);
    assert_eq!(cluster.query("wuhu", "WH-0").await.matches.len(), 1);
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_revoked_in_use_signs_nothing_more_and_its_void_entries_count_nowhere() {
    let mut cluster = Cluster::new(&MEMBERS).await;
    cluster.stop("late").await;
    cluster.import("wuhu", &cases("WH", "shared", 4)).await;
    cluster.import("hefei", &cases("HF", "shared", 1)).await;
    let good = own_size(&cluster, "hefei");
    cluster.import("hefei", &cases("HG", "shared", 2)).await;
    let size = own_size(&cluster, "hefei");
    wait_for("wuhu has all hits", || hits(&cluster, "wuhu") == 3).await;
    // What was judged before the revocation is judged again after it.
    let replica = cluster.parts("wuhu").ledger.log(&records("hefei"));
    let replica = replica.expect("the replica");
    wait_for("all of it is witnessed", || {
        replica.witnessed_size().0 == size
    })
    .await;
    assert_eq!(hits(&cluster, "wuhu"), 3);
    wait_for("the department has all of it", || {
        cluster.bodies_upto("province", "hefei") == size
    })
    .await;
    add_operation(&cluster, "province").await;
    assert_eq!(pairs(&cluster, "province").await, 3);

    change_first(&mut cluster, |key| key.revoked_at_size = Some(good)).await;
    assert_eq!(
        hits(&cluster, "wuhu"),
        1,
        "the hits of void entries are gone"
    );
    assert_eq!(hits(&cluster, "hefei"), 1);
    assert_eq!(pairs(&cluster, "province").await, 1, "nor do they link");
    assert_eq!(key_invalid(&cluster, "wuhu", "hefei"), size - good);
    let ledger = &cluster.parts("wuhu").ledger;
    let log = ledger.log(&records("hefei")).expect("the replica");
    let standing = |at| ledger.record_standing(&log, LogIndex(at)).expect("judged");
    assert_eq!(standing(good), RecordStanding::KeyInvalid(Why::Revoked));
    assert!(standing(good - 1).counts());
    let shared = cluster.query("wuhu", "WH-1").await;
    assert!(shared.matches.is_empty(), "{shared:?}");
    assert_eq!(cluster.query("wuhu", "WH-0").await.matches.len(), 1);

    cluster.import("hefei", &cases("HH", "after", 2)).await;
    waits_because(&cluster, "keys.records_next").await;
    assert_eq!(own_size(&cluster, "hefei"), size, "nothing is signed");
    let told = status(&cluster, "hefei").await;
    assert_eq!(told.records_key_invalid, size - good);
    assert!(told.waiting_for.contains("size"), "{told:?}");

    // Who was away refuses the void entries: no successor covers them.
    cluster.restart("late").await;
    let alarm = || {
        let states = cluster.parts("late").replicator.states();
        let alarm = states
            .get(&id("hefei"))
            .and_then(|s| s.alarms.standing().map(|a| a.sentence.clone()));
        alarm.is_some_and(|said| said.contains("may not sign"))
    };
    wait_for("the late joiner refuses them", alarm).await;

    let next = hold_next_key(&mut cluster).await;
    list_from(&mut cluster, &next, size).await;
    wait_for("the queue goes out", || own_size(&cluster, "hefei") > size).await;
    cluster.converge().await;
    let signed = signers(&cluster, "late", "hefei");
    let after = usize::try_from(size).expect("small");
    assert!(signed[after..].iter().all(|key| *key == next.id()));
    for reader in ["wuhu", "late", "hefei"] {
        assert_eq!(
            key_invalid(&cluster, reader, "hefei"),
            size - good,
            "{reader}"
        );
    }
    assert_eq!(hits(&cluster, "wuhu"), 1);
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_dates_ended_signs_nothing_until_they_are_moved() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", &cases("HF", "before", 1)).await;
    let size = own_size(&cluster, "hefei");
    let end = cluster.clock.now() + 100;
    change_first(&mut cluster, |key| key.valid_to = end).await;
    cluster.clock.advance(100);
    cluster.import("hefei", &cases("HG", "after", 1)).await;
    waits_because(&cluster, "revokes or ends").await;
    assert_eq!(own_size(&cluster, "hefei"), size);
    change_first(&mut cluster, |key| key.valid_to = 0).await;
    wait_for("the queue goes out", || own_size(&cluster, "hefei") > size).await;
    cluster.converge().await;
    assert_eq!(key_invalid(&cluster, "wuhu", "hefei"), 0);
    cluster.federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_key_that_is_revoked_signs_nothing_new() {
    let mut cluster = Cluster::new(&["hefei", "wuhu"]).await;
    cluster.import("hefei", &cases("HF", "before", 1)).await;
    cluster.converge().await;
    let size = own_size(&cluster, "hefei");
    let mut draft = cluster.federation.next_roster();
    let keys = &mut lines(&mut draft, "hefei").keys;
    let key = keys
        .iter_mut()
        .find(|k| k.r#use() == v1::KeyUse::Checkpoint);
    key.expect("a checkpoint key").revoked_at_size = Some(0);
    cluster.federation.install(&draft).await.expect("installed");
    let ledger = &cluster.parts("hefei").ledger;
    let refused = ledger.check_signing().expect_err("no key may sign");
    assert_eq!(
        casegate::blame::Blamed::code(&refused),
        "ledger.no_checkpoint_key"
    );
    assert_eq!(own_size(&cluster, "hefei"), size);
    cluster.federation.stop().await;
}
