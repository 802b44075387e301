//! Gathering cosignatures on the roster log from members of every temper,
//! without a network.

use std::collections::BTreeMap;
use std::sync::Mutex;

use casegate::checkpoint::{SignedNote, cosign, witness_name};
use casegate::ids::MemberId;
use casegate::ledger::Ledger;
use casegate::replicate::PeerError;
use casegate::roster::Draft;
use casegate::rosterlog::RosterLog;
use casegate::rosters::Rosters;
use casegate::store::Table;
use casegate::wire::v1::AddCheckpointResponse;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::cluster::NOW;
use crate::record::key;
use crate::tamper::{Ledgers, federation};

/// How a member answers.
#[derive(Clone, Copy)]
enum Temper {
    Honest,
    /// It has not got so far.
    Behind,
    /// With another member's line.
    As(&'static str),
    /// With its cosignature of another text.
    OfMore,
    /// With its line, and as many of strangers as fill a note.
    Crowded,
}

/// The members' keys and tempers, and who was asked.
struct Peers {
    keys: BTreeMap<MemberId, SigningKey>,
    tempers: Mutex<BTreeMap<MemberId, Temper>>,
    asked: Mutex<Vec<MemberId>>,
}

impl Peers {
    fn line(&self, name: &MemberId, text: &str) -> String {
        let witness = witness_name(&federation(), name);
        cosign(text, &witness, &self.keys[name], NOW)
    }

    fn answer(&self, member: &MemberId, text: &str) -> String {
        match self.tempers.lock().expect("no holder panicked")[member] {
            Temper::Honest => self.line(member, text),
            Temper::Behind => String::new(),
            Temper::As(name) => self.line(&id(name), text),
            Temper::OfMore => self.line(member, &format!("{text}more\n")),
            Temper::Crowded => {
                let stranger = |n| cosign(text, &format!("stranger-{n}"), &key(n), NOW);
                self.line(member, text) + &(0..55).map(stranger).collect::<String>()
            }
        }
    }

    fn set(&self, name: &str, temper: Temper) {
        let mut tempers = self.tempers.lock().expect("no holder panicked");
        tempers.insert(id(name), temper);
    }

    fn asked(&self) -> Vec<MemberId> {
        self.asked.lock().expect("no holder panicked").clone()
    }

    fn times(&self, name: &str) -> usize {
        self.asked().iter().filter(|who| **who == id(name)).count()
    }
}

/// What the log has of them.
struct Net(Arc<Peers>);

impl RosterLogTransport for Net {
    async fn offer_rosters(
        &self,
        member: &MemberId,
        request: AddCheckpointRequest,
    ) -> Result<AddCheckpointResponse, PeerError> {
        let mut asked = self.0.asked.lock().expect("no holder panicked");
        asked.push(member.clone());
        let note = SignedNote::parse(&request.checkpoint).expect("a note");
        Ok(AddCheckpointResponse {
            cosignatures: self.0.answer(member, note.text()).into_bytes().into(),
            ..Default::default()
        })
    }
}

/// hefei's roster log at work on two rosters; `quorum` members must cosign.
struct Scene {
    ledgers: Ledgers,
    ledger: Ledger,
    rosters: Rosters,
    peers: Arc<Peers>,
}

const OTHERS: [&str; 4] = ["court", "procuracy", "regulator", "wuhu"];

impl Scene {
    fn new(quorum: u32, tempers: [Temper; 4]) -> Self {
        let all = ["court", "hefei", "procuracy", "regulator", "wuhu"];
        let ledgers = Ledgers::of(&all.map(|name| (name, &[][..])));
        let mut draft = Draft::after(ledgers.dev.chain.newest(), NOW, 1_000);
        draft.wire.policy.get_or_insert_default().witness_quorum = quorum;
        let second = draft.sign(&[&ledgers.dev.root]);
        let second = v1::SignedRoster::decode(&second[..]).expect("a roster");
        let file = [&ledgers.dev.chain.after(0)[..], &[second]].concat();
        let ledger = ledgers.open("hefei");
        let (store, clock) = (ledger.store().clone(), ledgers.clock.clone());
        let rosters = Rosters::open(store, clock, ledgers.dev.chain.pin(), &file);
        let rosters = rosters.expect("two rosters");
        ledger.follow_rosters(rosters.history_handle());
        let keys = all.map(|name| (id(name), ledgers.keys(name).witness));
        let peers = Arc::new(Peers {
            keys: keys.into(),
            tempers: Mutex::new(OTHERS.map(id).into_iter().zip(tempers).collect()),
            asked: Mutex::default(),
        });
        Self {
            ledgers,
            ledger,
            rosters,
            peers,
        }
    }

    fn log(&self) -> Log {
        let (rosters, peers) = (self.rosters.clone(), Net(Arc::clone(&self.peers)));
        Arc::new(RosterLog::open(self.ledger.clone(), rosters, peers).expect("a log"))
    }

    /// The members whose lines stand under a note, and how many lines there are.
    fn under(&self, note: &[u8]) -> (Vec<MemberId>, usize) {
        let witnesses = self.rosters.newest();
        let by = cosigned_by(note, &federation(), &witnesses.roster_witnesses());
        let lines = SignedNote::parse(note).expect("a note").signatures().len();
        (by.expect("the lines hold").into_keys().collect(), lines)
    }

    fn kept(&self) -> usize {
        let kept = self.ledger.store().scan(Table::RosterNotes, b"");
        kept.expect("read").len()
    }
}

type Log = Arc<RosterLog<Net>>;

fn run(log: &Log) -> (watch::Sender<bool>, JoinHandle<()>) {
    let (stop, stopped) = watch::channel(false);
    (stop, tokio::spawn(Arc::clone(log).run(stopped)))
}

async fn end((stop, task): (watch::Sender<bool>, JoinHandle<()>)) {
    stop.send_replace(true);
    task.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_member_s_own_line_on_the_note_counts_and_less_than_a_quorum_witnesses_nothing() {
    use Temper::{As, Behind, Honest, OfMore};
    let scene = Scene::new(3, [As("regulator"), Behind, OfMore, Honest]);
    let log = scene.log();
    let running = run(&log);
    wait_for("three rounds", || scene.peers.times("court") == 3).await;
    assert_eq!(
        scene.peers.times("wuhu"),
        1,
        "who cosigned is not asked again"
    );
    assert_eq!(scene.under(&log.note()), (vec![id("hefei"), id("wuhu")], 3));
    assert_eq!((log.witnessed().0, scene.kept()), (0, 0));

    // The first who is asked makes it three; then there is nobody left to ask.
    scene.peers.set("court", Honest);
    wait_for("a quorum", || log.witnessed().0 == 2).await;
    end(running).await;
    assert_eq!(scene.peers.asked().last(), Some(&id("court")));
    let three = ["court", "hefei", "wuhu"].map(id).to_vec();
    assert_eq!(scene.under(&log.note()), (three, 4));
    assert_eq!(scene.kept(), 1);
    let again = scene.log();
    assert_eq!(
        (again.witnessed(), again.note()),
        (log.witnessed(), log.note())
    );
    drop(scene.ledgers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_s_lines_of_strangers_take_no_room_from_the_others() {
    use Temper::{Crowded, Honest};
    let scene = Scene::new(4, [Crowded, Crowded, Honest, Honest]);
    let log = scene.log();
    let running = run(&log);
    wait_for("a quorum", || log.witnessed().0 == 2).await;
    end(running).await;
    let four = ["court", "hefei", "procuracy", "regulator"]
        .map(id)
        .to_vec();
    assert_eq!(scene.under(&log.note()), (four, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_told_to_stop_before_asks_nobody() {
    let scene = Scene::new(3, [Temper::Honest; 4]);
    let log = scene.log();
    let (_stop, stopped) = watch::channel(true);
    let ended = tokio::time::timeout(
        std::time::Duration::from_secs(60),
        Arc::clone(&log).run(stopped),
    );
    ended.await.expect("it ends");
    assert_eq!(scene.peers.asked(), []);
}
