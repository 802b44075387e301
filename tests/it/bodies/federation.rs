//! A member from the future in a running federation: it publishes what no node of
//! today reads, and all else goes on.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use casegate::ids::MemberId;
use casegate::ledger::{BodyState, LogKeys};
use casegate::pki::files::load_seed;
use casegate::replicate::notice_of;
use casegate::tls::Peer;
use casegate::wire::v1::{self, exchange_server};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::writer::{Future, element_bytes, with_more};
use crate::cluster::{Cluster, id, records, wait_for};
use crate::views::row;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves hefei's log as a later version of its node would.
#[derive(Clone)]
struct Ahead {
    log: Arc<Mutex<Future>>,
    grown: watch::Sender<()>,
    /// How often each member began to watch.
    watches: Arc<Mutex<BTreeMap<MemberId, u32>>>,
}

impl Ahead {
    fn put(&self, body_type: i32, body: Vec<u8>) {
        self.log.lock().expect("lock").put(body_type, body, 0);
        self.grown.send_replace(());
    }

    fn size(&self) -> u64 {
        self.log.lock().expect("lock").size()
    }

    fn notice(&self) -> v1::CheckpointNotice {
        notice_of(
            &records("hefei"),
            self.log.lock().expect("lock").checkpoint(),
        )
    }

    /// Who calls; anqing is answered nothing, so that it has to ask the others.
    fn caller<T>(request: &Request<T>) -> Result<MemberId, Status> {
        let peer = request.extensions().get::<Peer>().expect("a peer");
        let caller = peer.identity.member.clone();
        if caller == id("anqing") {
            return Err(Status::unavailable("not for this one"));
        }
        Ok(caller)
    }
}

fn answers<T: Send + 'static>(items: Vec<T>) -> Response<Answers<T>> {
    Response::new(Box::pin(stream::iter(items.into_iter().map(Ok))))
}

fn of_hefei(origin: &str) -> Result<(), Status> {
    let known = origin == records("hefei").to_string();
    known
        .then_some(())
        .ok_or_else(|| Status::not_found("no log"))
}

#[tonic::async_trait]
impl exchange_server::Exchange for Ahead {
    type WatchStream = Answers<v1::CheckpointNotice>;
    type PullStream = Answers<v1::Chunk>;
    type GetBodiesStream = Answers<v1::BodyChunk>;

    async fn get_roster(
        &self,
        _: Request<v1::GetRosterRequest>,
    ) -> Result<Response<v1::GetRosterResponse>, Status> {
        Err(Status::unavailable("no roster"))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Self::caller(&request)?;
        *self
            .watches
            .lock()
            .expect("lock")
            .entry(caller)
            .or_default() += 1;
        let mut grown = self.grown.subscribe();
        grown.mark_changed();
        let notices = stream::unfold((self.clone(), grown), |(ahead, mut grown)| async move {
            grown.changed().await.ok()?;
            Some((Ok(ahead.notice()), (ahead, grown)))
        });
        Ok(Response::new(notices.boxed()))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::CheckpointNotice>, Status> {
        of_hefei(&request.get_ref().origin)?;
        Ok(Response::new(self.notice()))
    }

    async fn pull(
        &self,
        request: Request<v1::PullRequest>,
    ) -> Result<Response<Self::PullStream>, Status> {
        Self::caller(&request)?;
        of_hefei(&request.get_ref().origin)?;
        let (start, log) = (request.get_ref().start, self.log.lock().expect("lock"));
        let chunk = (start < log.size()).then(|| log.chunk(start));
        Ok(answers(chunk.into_iter().collect()))
    }

    async fn get_bodies(
        &self,
        request: Request<v1::GetBodiesRequest>,
    ) -> Result<Response<Self::GetBodiesStream>, Status> {
        Self::caller(&request)?;
        of_hefei(&request.get_ref().origin)?;
        let log = self.log.lock().expect("lock");
        let ranges = request.get_ref().ranges.iter();
        let chunks = ranges.map(|range| log.answer(range.start, range.end));
        Ok(answers(chunks.collect()))
    }

    async fn add_checkpoint(
        &self,
        _: Request<v1::AddCheckpointRequest>,
    ) -> Result<Response<v1::AddCheckpointResponse>, Status> {
        Err(Status::unavailable("no witness"))
    }

    async fn list_checkpoints(
        &self,
        _: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsResponse>, Status> {
        Ok(Response::new(v1::ListCheckpointsResponse {
            checkpoints: vec![self.notice()],
            software: None,
        }))
    }

    async fn get_consistency(
        &self,
        _: Request<v1::GetConsistencyRequest>,
    ) -> Result<Response<v1::GetConsistencyResponse>, Status> {
        Err(Status::unavailable("no proof"))
    }
}

/// hefei from the future, wuhu, anqing and province as they are today.
async fn federation() -> (Cluster, Ahead) {
    let mut cluster = Cluster::behind(&["hefei", "wuhu", "anqing"], "hefei").await;
    let home = cluster.federation.member_dir(&id("hefei"));
    let seed = |name: &str| load_seed(&home.join(name)).expect("a seed");
    let keys = LogKeys {
        records_next: None,
        records: seed("records.seed"),
        checkpoint: seed("checkpoint.seed"),
        witness: seed("witness.seed"),
    };
    let ahead = Ahead {
        log: Arc::new(Mutex::new(Future::new(records("hefei"), keys))),
        grown: watch::Sender::new(()),
        watches: Arc::default(),
    };
    let server = exchange_server::ExchangeServer::new(ahead.clone());
    let stands = cluster.federation.stand_before(&id("hefei"), server);
    stands.expect("it stands");
    (cluster, ahead)
}

/// How far a member is with the entries and with the bodies of hefei's log.
fn upto(cluster: &Cluster, reader: &str) -> (u64, u64) {
    let log = cluster.parts(reader).ledger.log(&records("hefei"));
    log.map_or((0, 0), |log| (log.size().0, log.head().bodies_upto))
}

fn newer(cluster: &Cluster, reader: &str) -> u64 {
    let ledger = &cluster.parts(reader).ledger;
    let log = ledger.log(&records("hefei")).expect("the log");
    let count = ledger.opaque_count(&log).expect("counted");
    assert_eq!(count.refused, 0, "{reader}: {:?}", count.first);
    count.newer
}

async fn all_have(cluster: &Cluster, size: u64) {
    wait_for("all have the log of the future", || {
        ["wuhu", "province", "anqing"]
            .iter()
            .all(|reader| upto(cluster, reader) == (size, size))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_from_the_future_disturbs_nobody_of_today() {
    let (cluster, ahead) = federation().await;
    let good = element_bytes("hefei", 1, |_| {});
    ahead.put(1, good);
    all_have(&cluster, 1).await;
    let watched = ahead.watches.lock().expect("lock").clone();
    ahead.put(40, b"a letter from the future".to_vec());
    ahead.put(1, element_bytes("hefei", 2, |body| body.kind = 99));
    ahead.put(1, element_bytes("hefei", 3, |body| body.role = 9));
    ahead.put(1, with_more(&element_bytes("hefei", 4, |_| {})));
    ahead.put(1, element_bytes("hefei", 5, |_| {}));
    all_have(&cluster, ahead.size()).await;

    // Who watches has every body, and never had to begin anew.
    assert_eq!(*ahead.watches.lock().expect("lock"), watched);
    for reader in ["wuhu", "province"] {
        let states = cluster.states(reader, "hefei");
        assert!(states.iter().all(|s| matches!(s, BodyState::Held(_))));
        assert_eq!(newer(&cluster, reader), 4, "{reader}");
    }
    // By relays anqing has the entries, and the bodies that can be read.
    let states = cluster.states("anqing", "hefei");
    let held = states.iter().map(|s| matches!(s, BodyState::Held(_)));
    assert_eq!(
        held.collect::<Vec<_>>(),
        [true, false, false, false, false, true]
    );

    // Those of today find each other as ever, and nobody is blamed.
    let phone = "13800138000";
    cluster.import("wuhu", &row("WH-1", phone)).await;
    cluster.import("anqing", &row("AQ-1", phone)).await;
    wait_for("the hit", || {
        let hits = cluster.parts("wuhu").ledger.hits();
        !hits.expect("hits").is_empty()
    })
    .await;
    for reader in ["wuhu", "province", "anqing"] {
        for (member, state) in cluster.parts(reader).replicator.states() {
            let alarm = state.alarms.standing();
            assert!(alarm.is_none(), "{reader} about {member}: {alarm:?}");
        }
    }
    assert_eq!(*ahead.watches.lock().expect("lock"), watched);
}
