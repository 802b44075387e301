//! Having the own logs witnessed: watches the heads of the own records and access
//! logs, asks all witnesses at once for a cosignature of the newest checkpoint,
//! and keeps it with their lines once enough of them signed.
//!
//! No witness is waited for by anybody: a slow one is left behind, a dead or
//! lying one is shown, and publishing never waits for any of this.

mod round;
mod settle;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::ids::{LogName, MemberId, TreeSize};
use crate::ledger::Ledger;
use crate::replicate::PeerError;
use crate::roster::Roster;
use crate::wire::v1;

use round::{Asking, Outcome};

/// How long a new head waits for the next one, so that a burst is cosigned once.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// How often the roster is looked at for new witnesses while nothing is due.
const LOOK: Duration = Duration::from_secs(5);
/// The shortest and longest pause after a round without a quorum.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// How witnesses are asked. Implemented by the gRPC client.
pub trait WitnessTransport: Send + Sync + 'static {
    /// Offers a checkpoint of an own log to a witness.
    fn add_checkpoint(
        &self,
        witness: &MemberId,
        request: v1::AddCheckpointRequest,
    ) -> impl Future<Output = Result<v1::AddCheckpointResponse, PeerError>> + Send;
}

/// What is shown about one witness of the own logs.
#[derive(Clone, Debug, Default)]
pub struct WitnessState {
    /// How much of the own records log it cosigned.
    pub records: TreeSize,
    /// How much of the own access log it cosigned.
    pub access: TreeSize,
    /// Why it did not cosign when it was asked last, in words.
    pub trouble: BTreeMap<LogName, String>,
}

impl WitnessState {
    /// How much of an own log the witness cosigned.
    #[must_use]
    pub fn size(&self, log: LogName) -> TreeSize {
        match log {
            LogName::Records => self.records,
            LogName::Access => self.access,
        }
    }

    fn cosigned(&mut self, log: LogName, size: TreeSize) {
        match log {
            LogName::Records => self.records = size,
            LogName::Access => self.access = size,
        }
        self.trouble.remove(&log);
    }
}

/// Has the own logs witnessed. One runs in a node.
#[derive(Debug)]
pub struct Witnessing<T> {
    ledger: Ledger,
    roster: Arc<ArcSwap<Roster>>,
    peers: T,
    states: RwLock<BTreeMap<MemberId, WitnessState>>,
    /// A witness claims to have seen another access log than this.
    doubted: AtomicBool,
}

impl<T: WitnessTransport> Witnessing<T> {
    /// Makes a gatherer that has asked nobody yet.
    #[must_use]
    pub fn new(ledger: Ledger, roster: Arc<ArcSwap<Roster>>, peers: T) -> Self {
        Self {
            ledger,
            roster,
            peers,
            states: RwLock::default(),
            doubted: AtomicBool::new(false),
        }
    }

    /// What is known about each witness that the newest roster names.
    #[must_use]
    pub fn states(&self) -> BTreeMap<MemberId, WitnessState> {
        let roster = self.roster.load();
        let named = roster
            .member(self.ledger.own())
            .map_or(&[][..], |member| &member.witnesses);
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        let known = |id: &MemberId| states.get(id).cloned().unwrap_or_default();
        named.iter().map(|id| (id.clone(), known(id))).collect()
    }

    /// How many witnesses must cosign; 0 when witnessing is off.
    #[must_use]
    pub fn quorum(&self) -> u32 {
        self.roster.load().witnesses(self.ledger.own()).quorum
    }

    fn note(&self, witness: &MemberId, change: impl FnOnce(&mut WitnessState)) {
        let mut states = self.states.write().unwrap_or_else(PoisonError::into_inner);
        change(states.entry(witness.clone()).or_default());
    }

    /// Gathers cosignatures for both own logs until `stop`.
    pub async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let records = Arc::clone(&self).gather(LogName::Records, stop.clone());
        let access = self.gather(LogName::Access, stop);
        tokio::join!(records, access);
    }

    async fn gather(self: Arc<Self>, name: LogName, mut stop: watch::Receiver<bool>) {
        let mut heads = match name {
            LogName::Records => self.ledger.checkpoints(),
            LogName::Access => self.ledger.access_checkpoints(),
        };
        let mut asking = Asking::default();
        let mut pause = None;
        loop {
            let wait = match pause {
                Some(pause) => pause,
                None if self.is_due(name) => DEBOUNCE,
                None => LOOK,
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = heads.changed(), if wait == LOOK => if changed.is_err() { return },
                () = stopped(&mut stop) => return,
            }
            if wait == LOOK {
                continue;
            }
            if !self.is_due(name) {
                pause = None;
                continue;
            }
            let outcome = tokio::select! {
                outcome = self.round(name, &mut asking) => outcome,
                () = stopped(&mut stop) => return,
            };
            if self.doubted.swap(false, Ordering::SeqCst) {
                self.doubt_access().await;
            }
            pause = match outcome {
                Outcome::Witnessed => None,
                Outcome::Short => Some(pause.map_or(RETRY.0, |p: Duration| (p * 2).min(RETRY.1))),
            };
        }
    }

    /// Says whether the log has entries that are not witnessed and could be.
    fn is_due(&self, name: LogName) -> bool {
        let log = self.ledger.own_log(name);
        self.quorum() > 0 && log.head().checkpoint_size > log.witnessed_size()
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    while !*stop.borrow() {
        if stop.changed().await.is_err() {
            return;
        }
    }
}
