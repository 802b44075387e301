//! How a node begins: only as the member that its certificate, its keys and the
//! rosters say that it is, and with every roster that it ever had.

use std::path::Path;
use std::sync::Arc;

use casegate::blame::Blamed;
use casegate::clock::{Clock, DAY_S};
use casegate::config::Config;
use casegate::keys::SigningKey;
use casegate::node::{Listeners, Node, NodeError, NodeOptions};
use casegate::pki::dev::{DevFederation, DevMember, dev_federation, dev_member};
use casegate::pki::files::load_seed;
use casegate::roster::{Draft, MemberRole};
use casegate::rosters::{Rosters, RostersError};
use casegate::setup::{OpenError, SetupError, open_ledger, options_of, rosters};
use casegate::store::Store;
use casegate::wire::v1;
use prost::Message;

use crate::cluster::{Cluster, NOW, id, wait_for};
use crate::tamper::federation;

fn member(name: &str) -> DevMember {
    let made = dev_member(&federation(), &id(name), MemberRole::Bureau, NOW, &["li"]);
    made.expect("a member")
}

/// The directories of hefei and wuhu, and hefei's config.
struct Place {
    dir: tempfile::TempDir,
    made: DevFederation,
    config: Config,
    clock: Clock,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let members = [("hefei", 7440), ("wuhu", 7450)]
            .map(|(name, port)| (member(name), format!("127.0.0.1:{port}")));
        let made = dev_federation(&federation(), members.into(), NOW).expect("a federation");
        let listen = [7440, 7450].map(|port| [0, 1, 3].map(|n| format!("127.0.0.1:{}", port + n)));
        made.write(dir.path(), &listen).expect("written");
        let file = dir.path().join("hefei/node.toml");
        Self {
            config: Config::load(&file).expect("a config"),
            clock: Clock::manual(NOW),
            dir,
            made,
        }
    }

    fn options(&self) -> NodeOptions {
        options_of(&self.config, &self.clock).expect("options")
    }

    /// The next roster, signed by the root.
    fn next(&self) -> v1::SignedRoster {
        let draft = Draft::after(self.made.chain.newest(), NOW + 10, DAY_S);
        let signed = draft.sign(&[&self.made.root]);
        v1::SignedRoster::decode(&signed[..]).expect("a roster")
    }

    fn store(&self) -> Store {
        Store::open(&self.dir.path().join("rosters"), 1 << 20).expect("a store")
    }

    fn open(&self, file: &[v1::SignedRoster]) -> Result<Rosters, RostersError> {
        let pin = self.made.chain.pin();
        Rosters::open(self.store(), self.clock.clone(), pin, file)
    }
}

async fn start(options: NodeOptions) -> Result<Node, NodeError> {
    Node::start(options, Listeners::loopback().await.expect("ports")).await
}

fn is_there(dir: &Path) -> bool {
    dir.join("store").exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_only_as_the_member_of_its_certificate_and_keys() {
    let place = Place::new();
    let mut other = place.options();
    other.material = place.made.members[1].node_material().expect("material");
    let refused = start(other).await.expect_err("wuhu's certificate");
    assert_eq!(refused.code(), "node.other_member");
    assert!(!is_there(&place.config.dir), "nothing was opened");

    let mut stranger = place.options();
    stranger.member = id("anqing");
    stranger.material = member("anqing").node_material().expect("material");
    let refused = start(stranger).await.expect_err("not in the roster");
    assert!(matches!(refused, NodeError::NotInRoster(who) if who == id("anqing")));

    type Change = fn(&mut NodeOptions);
    let cases: [(&str, Change); 4] = [
        ("records", |o| o.keys.records = SigningKey::generate()),
        ("records", |o| {
            // Its own keys, but of another use.
            o.keys.records = SigningKey::from_seed(&o.keys.checkpoint.seed()).expect("a seed");
        }),
        ("checkpoint", |o| o.keys.checkpoint = SigningKey::generate()),
        ("witness", |o| o.keys.witness = SigningKey::generate()),
    ];
    for (usage, change) in cases {
        let mut options = place.options();
        change(&mut options);
        let refused = start(options).await.expect_err(usage);
        assert!(matches!(refused, NodeError::KeyNotInRoster(of) if of == usage));
        assert!(!place.config.dir.join("shred.keys").exists(), "{usage}");
    }
    let node = start(place.options()).await.expect("as itself");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_roster_file_may_be_missing_once_the_store_has_the_rosters() {
    let place = Place::new();
    let config = &place.config;
    let opened = open_ledger(config, &place.clock).map(drop);
    assert!(matches!(opened, Err(OpenError::NoStore(dir)) if dir == config.dir.join("store")));
    assert!(!is_there(&config.dir), "looking makes nothing");

    let options = place.options();
    std::fs::remove_file(&config.roster.file).expect("removed");
    let missing = rosters(config).expect_err("no file, and no store yet");
    assert!(matches!(missing, SetupError::RosterFile { .. }));

    start(options).await.expect("a node").stop().await;
    assert_eq!(rosters(config).expect("the store has them"), []);
    let (_ledger, held) = open_ledger(config, &place.clock).expect("it opens");
    assert_eq!(held.newest().digest, place.made.chain.newest().digest);

    std::fs::write(&config.roster.file, b"\xff").expect("written");
    let broken = rosters(config).expect_err("a file that is none");
    assert!(matches!(broken, SetupError::Roster { .. }));
}

#[test]
fn rosters_are_kept_as_they_are_taken_and_never_go_back() {
    let place = Place::new();
    let first = place.made.chain.after(0);
    assert!(matches!(place.open(&[]), Err(RostersError::None)));

    let rosters = place.open(&first).expect("roster 1");
    let next = place.next();
    let mut unsigned = next.clone();
    unsigned.signatures.clear();
    let refused = rosters.extend(&[unsigned]).expect_err("nobody signed it");
    assert_eq!(refused.code(), "roster.too_few_signatures");
    assert!(
        rosters
            .extend(std::slice::from_ref(&next))
            .expect("roster 2")
    );
    assert!(!rosters.extend(std::slice::from_ref(&next)).expect("known"));
    let two = rosters.newest();
    assert_eq!(two.version, 2);
    drop(rosters);

    for file in [&[][..], &first] {
        let again = place.open(file).expect("kept");
        assert_eq!(
            again.newest(),
            two,
            "from the store, whatever the file says"
        );
        assert_eq!(again.history().len(), 2);
    }
    let mut other = Draft::after(place.made.chain.newest(), NOW + 11, DAY_S);
    other.wire.expires_at += 1;
    let fork = other.sign(&[&place.made.root]);
    let fork = v1::SignedRoster::decode(&fork[..]).expect("a roster");
    let forked = place.open(&[first[0].clone(), fork]).map(drop);
    assert_eq!(forked.expect_err("another roster 2").code(), "roster.fork");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_slept_past_its_roster_s_end_fetches_the_next_from_a_peer() {
    let mut cluster = Cluster::new(&["hefei"]).await;
    cluster.stop("hefei").await;
    // The others took a roster that hefei's files do not have.
    let mut draft = cluster.federation.next_roster();
    draft.wire.expires_at += 60 * DAY_S;
    let root = cluster.federation.member_dir(&id("hefei"));
    let root = load_seed(&root.join("../root.seed")).expect("the root's key");
    let signed = draft.sign(&[&root]);
    let next = v1::SignedRoster::decode(&signed[..]).expect("a roster");
    for node in cluster.federation.nodes.values() {
        let (rosters, next) = (node.parts().rosters.clone(), next.clone());
        let take = move || rosters.extend(&[next]);
        let taken = tokio::task::spawn_blocking(take).await.expect("taken");
        assert!(taken.expect("taken"));
    }
    cluster.clock.advance(40 * DAY_S);
    cluster.restart("hefei").await;
    let rosters = cluster.parts("hefei").rosters.clone();
    wait_for("the next roster", || {
        rosters.newest().version == draft.wire.version
    })
    .await;
    assert!(!rosters.is_expired());
    cluster.federation.stop().await;
}

/// The roster after the newest, requiring a word that is not spoken here.
fn requiring(draft: Draft) -> Draft {
    let mut draft = draft;
    draft.wire.required_features = vec!["records-1".into(), "tea-9".into()];
    draft
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lacks_a_required_feature_does_not_start_and_writes_nothing() {
    let place = Place::new();
    let draft = requiring(Draft::after(place.made.chain.newest(), NOW + 10, DAY_S));
    let next = draft.sign(&[&place.made.root]);
    let next = v1::SignedRoster::decode(&next[..]).expect("a roster");
    let with_next = |place: &Place| {
        let mut options = place.options();
        options.rosters.push(next.clone());
        options
    };
    let refused = start(with_next(&place)).await.expect_err("a new node");
    assert_eq!(refused.code(), "roster.features");
    let said = refused.to_string();
    assert!(
        said.contains("tea-9") && said.contains("newer casegate"),
        "{said}"
    );
    assert!(!is_there(&place.config.dir), "nothing was opened");

    start(place.options()).await.expect("a node").stop().await;
    let files = || {
        let listed = std::fs::read_dir(&place.config.dir).expect("a directory");
        listed.count()
    };
    let before = files();
    let refused = start(with_next(&place)).await.expect_err("an old node");
    assert_eq!(refused.code(), "roster.features");
    assert_eq!(files(), before);
    // What it refused is not in its store: with the old file it starts as before.
    let node = start(place.options()).await.expect("a node");
    assert_eq!(node.parts().rosters.newest().version, 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_node_that_lacks_a_required_feature_stops_serving_and_the_others_go_on() {
    let cluster = Cluster::new(&["hefei", "wuhu"]).await;
    let rows = "case_no,category,kind,value,role\nHF-1,loan-fraud,domain,a.example,suspect\n";
    cluster.import("hefei", rows).await;
    cluster.converge().await;
    let root = cluster.federation.member_dir(&id("hefei"));
    let root = load_seed(&root.join("../root.seed")).expect("the root's key");
    let draft = requiring(cluster.federation.next_roster());
    let signed = draft.sign(&[&root]);
    let next = v1::SignedRoster::decode(&signed[..]).expect("a roster");
    let parts = Arc::clone(cluster.parts("hefei"));
    let before = parts.rosters.newest().version;
    let rosters = parts.rosters.clone();
    let taken = tokio::task::spawn_blocking(move || rosters.extend(&[next]));
    assert!(taken.await.expect("a task").expect("it is taken"));

    let desk = cluster.desk("hefei");
    let asked = desk.list_cases(v1::ListCasesRequest::default()).await;
    let refused = asked.expect_err("it serves nothing");
    assert!(refused.to_string().contains("tea-9"), "{refused}");
    let status = desk.get_status(v1::GetStatusRequest {}).await;
    assert_eq!(status.expect("a status").roster_version, before + 1);
    let why = casegate::admin::unready(&parts).join(" ");
    assert!(why.contains("tea-9") && why.contains("install"), "{why}");
    let peers = &cluster.parts("wuhu").peers;
    let fetched = peers.rosters(&id("hefei"), before).await.expect("rosters");
    assert_eq!(fetched.rosters.len(), 1, "the next node can learn of it");
    let queued = Arc::clone(&parts.publisher).publish_batch().await;
    let waits = queued.expect_err("publishing waits");
    assert!(waits.to_string().contains("tea-9"), "{waits}");

    // wuhu has not heard of it, and serves as before.
    let other = cluster.desk("wuhu");
    let cases = other.list_cases(v1::ListCasesRequest::default()).await;
    cases.expect("wuhu goes on");

    // Once no version requires it any more, all goes on.
    let mut draft = Draft::after(&parts.rosters.newest(), NOW + 20, DAY_S);
    draft.wire.required_features.clear();
    let signed = draft.sign(&[&root]);
    let after = v1::SignedRoster::decode(&signed[..]).expect("a roster");
    let rosters = parts.rosters.clone();
    let taken = tokio::task::spawn_blocking(move || rosters.extend(&[after]));
    assert!(taken.await.expect("a task").expect("it is taken"));
    let asked = desk.list_cases(v1::ListCasesRequest::default()).await;
    asked.expect("it serves again");
    drop(parts);
    cluster.federation.stop().await;
}
