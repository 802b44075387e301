//! The rosters that a node has: the chain from the pinned first version to the
//! newest, durable in the store, and the handle through which everybody sees
//! the newest. It never goes back, also after a restart.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use prost::Message;

use crate::blame::{Blame, Blamed};
use crate::clock::Clock;
use crate::ids::Digest;
use crate::oprf;
use crate::roster::{Accepted, Roster, RosterChain, RosterError, TokenKey};
use crate::store::{Batch, Store, StoreError, Table};
use crate::wire::v1;

/// Why a roster was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RostersError {
    /// The roster or its chain is refused.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// No roster is there to start with.
    #[error("there is no roster in the store yet: the config must name a roster file")]
    None,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Blamed for RostersError {
    fn blame(&self) -> Blame {
        match self {
            Self::Roster(e) => e.blame(),
            Self::None => Blame::NotFound,
            Self::Store(e) => e.blame(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Roster(e) => e.code(),
            Self::None => "roster.none",
            Self::Store(e) => e.code(),
        }
    }
}

/// The newest roster of a stopped node: that of the store in `dir`, or of
/// `file`. The store is opened for this alone, since the generations of the own
/// logs, with which the ledger opens it, stand in the roster. Blocks.
///
/// # Errors
/// [`RostersError`].
pub fn newest_in(
    dir: &Path,
    cache_bytes: u64,
    clock: &Clock,
    pin: Digest,
    file: &[v1::SignedRoster],
) -> Result<Arc<Roster>, RostersError> {
    let stored = dir.join("store");
    if !stored.exists() {
        // A new node is told what it lacks before anything is written.
        if let Some(chain) = chained(pin, file.iter().map(Message::encode_to_vec))? {
            spoken(chain.newest())?;
        }
    }
    let store = Store::open(&stored, cache_bytes)?;
    Ok(Rosters::open(store, clock.clone(), pin, file)?.newest())
}

/// The rosters of a node. Clones share them.
#[derive(Clone, Debug)]
pub struct Rosters {
    store: Store,
    clock: Clock,
    chain: Arc<Mutex<RosterChain>>,
    newest: Arc<ArcSwap<Roster>>,
    history: Arc<ArcSwap<Vec<Arc<Roster>>>>,
}

impl Rosters {
    /// Opens the chain: what the store holds, then what `file` adds. The first
    /// version must have the SHA-256 `pin`.
    ///
    /// # Errors
    /// [`RostersError`]; an expired newest version is no error, since the node
    /// must come up to fetch a newer one. One that requires what this software
    /// does not speak is one, and nothing is written.
    pub fn open(
        store: Store,
        clock: Clock,
        pin: Digest,
        file: &[v1::SignedRoster],
    ) -> Result<Self, RostersError> {
        let stored = store.scan(Table::Rosters, b"")?;
        let held = stored.into_iter().map(|(_, bytes)| bytes.to_vec());
        let chain = chained(pin, held.chain(file.iter().map(Message::encode_to_vec)))?;
        let chain = chain.ok_or(RostersError::None)?;
        spoken(chain.newest())?;
        let newest = Arc::new(ArcSwap::from(Arc::clone(chain.newest())));
        let history = Arc::new(ArcSwap::from_pointee(chain.history().to_vec()));
        let rosters = Self {
            history,
            store,
            clock,
            chain: Arc::new(Mutex::new(chain)),
            newest,
        };
        rosters.keep()?;
        Ok(rosters)
    }

    /// The newest roster, as it changes.
    #[must_use]
    pub fn handle(&self) -> Arc<ArcSwap<Roster>> {
        Arc::clone(&self.newest)
    }

    /// The newest roster.
    #[must_use]
    pub fn newest(&self) -> Arc<Roster> {
        self.newest.load_full()
    }

    /// Every version, version 1 first, as more of them come.
    #[must_use]
    pub fn history_handle(&self) -> Arc<ArcSwap<Vec<Arc<Roster>>>> {
        Arc::clone(&self.history)
    }

    /// Every version, version 1 first, as it stands now.
    #[must_use]
    pub fn history(&self) -> Arc<Vec<Arc<Roster>>> {
        self.history.load_full()
    }

    /// Takes rosters that follow, oldest first; durable when it returns. Says
    /// whether the newest one changed.
    ///
    /// # Errors
    /// [`RostersError::Roster`] for the first one that is refused; those before
    /// it are kept.
    pub fn extend(&self, rosters: &[v1::SignedRoster]) -> Result<bool, RostersError> {
        let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = false;
        let mut refused = None;
        for signed in rosters {
            match chain.extend(&signed.encode_to_vec()) {
                Ok(Accepted::New(_)) => changed = true,
                Ok(Accepted::Known) => {}
                Err(e) => {
                    refused = Some(e);
                    break;
                }
            }
        }
        let newest = Arc::clone(chain.newest());
        let history = chain.history().to_vec();
        drop(chain);
        if changed {
            self.keep()?;
            tracing::info!(
                roster.version = newest.version,
                "a newer roster counts from now on"
            );
            self.history.store(Arc::new(history));
            self.newest.store(newest);
        }
        refused.map_or(Ok(changed), |e| Err(e.into()))
    }

    /// Says whether the newest roster has run out.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.newest.load().expires_at <= self.clock.now()
    }

    fn keep(&self) -> Result<(), RostersError> {
        let all = {
            let chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
            chain.after(0)
        };
        let mut batch = Batch::new();
        for (version, signed) in (1_u64..).zip(all) {
            let key = version.to_be_bytes();
            if self.store.read(Table::Rosters, &key)?.is_none() {
                batch.put(Table::Rosters, &key, signed.encode_to_vec());
            }
        }
        Ok(self.store.commit(batch)?)
    }
}

/// Checks rosters as a chain from the pin on; `None` when there are none.
fn chained(
    pin: Digest,
    rosters: impl Iterator<Item = Vec<u8>>,
) -> Result<Option<RosterChain>, RosterError> {
    let mut chain: Option<RosterChain> = None;
    for signed in rosters {
        match &mut chain {
            None => chain = Some(RosterChain::start(pin, &signed, shares_fit)?),
            Some(chain) => drop(chain.extend(&signed)?),
        }
    }
    Ok(chain)
}

/// Refuses a roster that requires what this software does not speak.
fn spoken(newest: &Roster) -> Result<(), RosterError> {
    let words = newest.lacking();
    if words.is_empty() {
        return Ok(());
    }
    Err(RosterError::Features {
        version: newest.version,
        words,
    })
}

/// Checks that the public shares of a token key make up its public key for
/// every set of custodians that may answer (PROTOCOL.md section 9).
#[must_use]
pub fn shares_fit(key: &TokenKey) -> bool {
    let shares: Vec<_> = key
        .shares
        .iter()
        .map(|s| (s.index, s.public_share))
        .collect();
    oprf::KeySet::new(key.threshold, key.epoch, &key.public_key, &shares).is_ok()
}
