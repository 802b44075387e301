//! Gathering cosignatures from witnesses of every temper, without a network.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use casegate::blame::{Blame, Blamed};
use casegate::checkpoint::{CheckpointText, SignedNote, cosign, witness_name};
use casegate::ids::{LogIndex, LogName, MemberId, TreeSize};
use casegate::keys::SigningKey;
use casegate::ledger::Ledger;
use casegate::record::Audience;
use casegate::replicate::PeerError;
use casegate::roster::Roster;
use casegate::wire::v1::{AddCheckpointRequest, AddCheckpointResponse, EvidencePair};
use casegate::witness::Witness;
use casegate::witnessing::{WitnessTransport, Witnessing};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::{NOW, id, wait_for};
use crate::record::key;
use crate::tamper::{Ledgers, append, carry, element, federation, origin};

/// How a witness answers.
enum Temper {
    Honest(Box<Witness>),
    /// Never answers.
    Silent,
    /// Its node is down.
    Dead,
    /// Signs with this key, under this name.
    Signs(SigningKey, &'static str),
    /// Cosigns what this makes of the text that it was offered.
    SignsAnother(SigningKey, fn(String) -> String),
    /// Answers with these bytes.
    Says(&'static str),
    /// Says that it saw another size, each time.
    Forgets,
}

struct Witnesses(BTreeMap<MemberId, Temper>);

impl WitnessTransport for Witnesses {
    async fn add_checkpoint(
        &self,
        witness: &MemberId,
        request: AddCheckpointRequest,
    ) -> Result<AddCheckpointResponse, PeerError> {
        let failed = |blame, code: &str| PeerError {
            member: witness.clone(),
            sentence: "its node does not answer".into(),
            blame,
            code: code.into(),
        };
        let line = |line: String| {
            Ok(AddCheckpointResponse {
                cosignatures: line.into_bytes().into(),
                seen_size: 0,
                seen: Bytes::new(),
            })
        };
        let text = || {
            let note = SignedNote::parse(&request.checkpoint).expect("a note");
            note.text().to_owned()
        };
        match &self.0[witness] {
            Temper::Honest(honest) => honest
                .add_checkpoint(&id("hefei"), &request)
                .map_err(|e| failed(e.blame(), e.code())),
            Temper::Silent => std::future::pending().await,
            Temper::Dead => Err(failed(Blame::Unavailable, "")),
            Temper::Signs(key, name) => {
                let name = witness_name(&federation(), &id(name));
                line(cosign(&text(), &name, key, NOW))
            }
            Temper::SignsAnother(key, other) => {
                let name = witness_name(&federation(), witness);
                line(cosign(&other(text()), &name, key, NOW))
            }
            Temper::Says(bytes) => line((*bytes).to_owned()),
            Temper::Forgets => Ok(AddCheckpointResponse {
                cosignatures: Bytes::new(),
                seen_size: request.old_size.saturating_add(1),
                seen: Bytes::new(),
            }),
        }
    }
}

/// hefei's ledger, and its gatherer at work with three witnesses, of which two must sign.
struct Scene {
    ledgers: Ledgers,
    ledger: Ledger,
    gatherer: Arc<Witnessing<Witnesses>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

const THREE: [&str; 3] = ["court", "procuracy", "regulator"];

fn federation_of_three() -> Ledgers {
    Ledgers::of(&[
        ("hefei", &THREE),
        ("wuhu", &THREE),
        ("court", &[]),
        ("procuracy", &[]),
        ("regulator", &[]),
    ])
}

fn roster(ledgers: &Ledgers) -> Arc<ArcSwap<Roster>> {
    Arc::new(ArcSwap::from(Arc::clone(ledgers.dev.chain.newest())))
}

fn honest(ledgers: &Ledgers, name: &str) -> Temper {
    let witness = Witness::open(ledgers.open(name), roster(ledgers));
    Temper::Honest(Box::new(witness.expect("a witness")))
}

impl Scene {
    fn start(ledgers: Ledgers, tempers: [Temper; 3]) -> Self {
        let ledger = ledgers.open("hefei");
        let witnesses = THREE.map(id).into_iter().zip(tempers).collect();
        let witnesses = Witnesses(witnesses);
        let gatherer = Arc::new(Witnessing::new(ledger.clone(), roster(&ledgers), witnesses));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(Arc::clone(&gatherer).run(stopped));
        Self {
            ledgers,
            ledger,
            gatherer,
            stop,
            task,
        }
    }

    fn witnessed(&self) -> u64 {
        let log = self.ledger.own_log(LogName::Records);
        self.ledger.witnessed_size(log).0
    }

    async fn becomes_witnessed(&self, size: u64) {
        wait_for("the log is witnessed", || self.witnessed() == size).await;
    }

    fn trouble(&self, witness: &str) -> String {
        let states = self.gatherer.states();
        let said = states[&id(witness)].trouble.get(&LogName::Records);
        said.cloned().unwrap_or_default()
    }

    fn publish(&self, from: u32, count: u32) {
        let records = (from..from + count).map(|n| element("hefei", n, Audience::Federation));
        tokio::task::block_in_place(|| append(&self.ledger, records.collect()));
    }

    /// Ends the gatherer; the directories stay.
    async fn end(self) -> Ledgers {
        self.stop.send_replace(true);
        self.task.await.expect("the gatherer ends");
        self.ledgers
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_makes_a_log_witnessed_and_a_replica_believes_only_the_note() {
    let ledgers = federation_of_three();
    let tempers = THREE.map(|name| honest(&ledgers, name));
    let scene = Scene::start(ledgers, tempers);
    scene.publish(0, 3);
    scene.becomes_witnessed(3).await;
    scene.publish(3, 4);
    scene.becomes_witnessed(7).await;

    let own = scene.ledger.own_log(LogName::Records);
    let sizes = scene.ledger.witnessed_sizes(own).expect("sizes");
    assert_eq!(sizes, [TreeSize(3), TreeSize(7)]);
    let note = |size| scene.ledger.witnessed_note(own, TreeSize(size));
    for size in [3, 7] {
        let note = note(size).expect("readable").expect("a note");
        let text = SignedNote::parse(&note).expect("a note").text().to_owned();
        let said = CheckpointText::parse(&text).expect("a checkpoint").size;
        assert_eq!(said, TreeSize(size));
    }
    assert!(note(4).expect("readable").is_none());
    let first = |index| {
        scene
            .ledger
            .first_witnessed(own, LogIndex(index))
            .expect("readable")
    };
    assert_eq!(first(2), Some((TreeSize(3), NOW)));
    assert_eq!(first(3), Some((TreeSize(7), NOW)));
    assert_eq!(first(7), None, "nothing holds entry 7 yet");

    let wuhu = scene.ledgers.open("wuhu");
    let replica = wuhu.replica(&origin("hefei")).expect("a replica");
    let newest = scene.ledgers.dev.chain.newest();
    let take = |note: &Bytes| wuhu.accept_witnessed(&replica, newest, note);
    assert!(
        !take(&notes[0]).expect("an answer"),
        "the replica is not that far"
    );
    carry(&scene.ledgers, &scene.ledger, &wuhu, "hefei");
    assert!(
        !take(&own.head().checkpoint).expect("an answer"),
        "nobody cosigned it"
    );
    let bad = String::from_utf8(notes[1].to_vec())
        .expect("text")
        .replacen("\n7\n", "\n6\n", 1);
    assert!(take(&bad.into()).is_err());
    assert_eq!(wuhu.witnessed_size(&replica), TreeSize(0));
    assert!(take(&notes[1]).expect("an answer"));
    assert!(
        !take(&notes[0]).expect("an answer"),
        "an older one adds nothing"
    );
    assert_eq!(wuhu.witnessed_size(&replica), TreeSize(7));

    // It is durable at both ends.
    drop((replica, wuhu));
    let wuhu = scene.ledgers.open("wuhu");
    let replica = wuhu.log(&origin("hefei")).expect("a replica");
    assert_eq!(wuhu.witnessed_size(&replica), TreeSize(7));
    assert_eq!(replica.witnessed_note(), notes[1]);

    // Nothing more counts of a log that contradicts itself.
    scene.publish(7, 2);
    scene.becomes_witnessed(9).await;
    carry(&scene.ledgers, &scene.ledger, &wuhu, "hefei");
    let pair = EvidencePair {
        origin: origin("hefei").to_string(),
        first: notes[0].clone(),
        second: notes[1].clone(),
        ..EvidencePair::default()
    };
    assert!(wuhu.evidence().keep(pair.clone()).expect("kept"));
    assert!(!wuhu.evidence().keep(pair).expect("an answer"), "once");
    let taken = wuhu.accept_witnessed(&replica, newest, &own.witnessed_note());
    assert!(!taken.expect("an answer"), "it is forked");
    assert_eq!(wuhu.witnessed_size(&replica), TreeSize(7));
    assert_eq!(wuhu.evidence().count().expect("a count"), 1);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_or_dead_witness_holds_nobody_up() {
    for temper in [Temper::Silent, Temper::Dead] {
        let ledgers = federation_of_three();
        let tempers = [
            honest(&ledgers, "court"),
            temper,
            honest(&ledgers, "regulator"),
        ];
        let scene = Scene::start(ledgers, tempers);
        for size in 1..4 {
            scene.publish(size, 1);
            scene.becomes_witnessed(size.into()).await;
        }
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_cosignature_does_not_count_and_the_witness_is_named() {
    const MEMBER: fn(String) -> String = |text| text.replace("hefei", "wuhu");
    const ACCESS: fn(String) -> String = |text| text.replace("/records/", "/access/");
    const ROSTER: fn(String) -> String = |text| text.replace("/hefei/records/1", "/roster");
    let strangers: [fn(&Ledgers) -> Temper; 8] = [
        |_| Temper::Signs(key(9), "regulator"),
        |ledgers| Temper::Signs(ledgers.keys("wuhu").witness, "wuhu"),
        |ledgers| Temper::Signs(ledgers.keys("court").witness, "court"),
        |ledgers| Temper::SignsAnother(ledgers.keys("regulator").witness, MEMBER),
        |ledgers| Temper::SignsAnother(ledgers.keys("regulator").witness, ACCESS),
        |ledgers| Temper::SignsAnother(ledgers.keys("regulator").witness, ROSTER),
        |_| Temper::Says("not a line\n\n"),
        |_| Temper::Forgets,
    ];
    for stranger in strangers {
        let ledgers = federation_of_three();
        let tempers = [honest(&ledgers, "court"), Temper::Dead, stranger(&ledgers)];
        let scene = Scene::start(ledgers, tempers);
        scene.publish(0, 2);
        wait_for("the witness is named", || {
            !scene.trouble("regulator").is_empty()
        })
        .await;
        wait_for("the good one signed", || {
            scene.gatherer.states()[&id("court")].records == TreeSize(2)
        })
        .await;
        assert_eq!(scene.witnessed(), 0, "one witness is not two");
        scene.publish(2, 1);
        let head = scene.ledger.own_log(LogName::Records).size();
        assert_eq!(head, TreeSize(3), "publishing goes on");
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_remembers_another_size_is_brought_along() {
    let ledgers = federation_of_three();
    let tempers = THREE.map(|name| honest(&ledgers, name));
    let scene = Scene::start(ledgers, tempers);
    scene.publish(0, 5);
    scene.becomes_witnessed(5).await;
    let ledgers = scene.end().await;
    // The gatherer starts anew, with one witness that has forgotten all.
    std::fs::remove_dir_all(ledgers.path("procuracy")).expect("removed");
    let tempers = [
        honest(&ledgers, "court"),
        honest(&ledgers, "procuracy"),
        Temper::Dead,
    ];
    let scene = Scene::start(ledgers, tempers);
    scene.publish(5, 4);
    scene.becomes_witnessed(9).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_entries_is_told_and_gets_no_cosignature() {
    let ledgers = federation_of_three();
    let tempers = THREE.map(|name| honest(&ledgers, name));
    let scene = Scene::start(ledgers, tempers);
    scene.publish(0, 5);
    scene.becomes_witnessed(5).await;
    let ledgers = scene.end().await;
    // What a backup from before the first entry would bring back.
    std::fs::remove_dir_all(ledgers.path("hefei")).expect("removed");
    let tempers = THREE.map(|name| honest(&ledgers, name));
    let scene = Scene::start(ledgers, tempers);
    scene.publish(100, 2);
    wait_for("it is told", || {
        scene.trouble("court").contains("was a backup restored?")
    })
    .await;
    assert_eq!(scene.witnessed(), 0);
    scene.end().await;
}
