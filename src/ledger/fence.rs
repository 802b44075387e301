//! Whether the own access log may be appended to. Its witnesses hold its newest
//! cosigned checkpoint: a node whose log went back, as after a backup was
//! restored, must not sign a second tree of a size that they saw.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{Ledger, LedgerError, Standing};
use crate::checkpoint::Checkpoint;
use crate::ids::{LogName, TreeSize};
use crate::merkle::empty_root;

/// How long a line waits for the first word of a witness after a start.
const WAIT: Duration = Duration::from_secs(4);

/// The standing of the own access log, to be waited for.
#[derive(Debug)]
pub(super) struct Fence {
    standing: Mutex<Standing>,
    settled: Condvar,
}

impl Fence {
    pub(super) fn open() -> Self {
        Self {
            standing: Mutex::new(Standing::Open),
            settled: Condvar::new(),
        }
    }
}

impl Standing {
    /// What it means for the own access log, in words.
    #[must_use]
    pub fn access_sentence(self) -> &'static str {
        match self {
            Self::Fenced | Self::Recovering => {
                "no witness has said yet how far it saw this log; it is asked again and again"
            }
            Self::Open => "it is open",
            Self::Superseded => {
                "the roster names a newer generation of it: restart the node to begin that one"
            }
            Self::Conflict => {
                "a witness saw more of it than is here, or another history: was a backup \
                 restored? The roots must begin a new generation of it"
            }
        }
    }
}

impl Ledger {
    /// Whether the own access log may be appended to.
    #[must_use]
    pub fn access_standing(&self) -> Standing {
        let standing = self.0.access_fence.standing.lock();
        *standing.unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens or closes the own access log. One that is closed for good stays so
    /// until the ledger is opened again.
    pub fn set_access_standing(&self, standing: Standing) {
        let fence = &self.0.access_fence;
        let held = fence.standing.lock();
        let mut held = held.unwrap_or_else(PoisonError::into_inner);
        let ended = match *held {
            Standing::Conflict => true,
            Standing::Superseded => standing != Standing::Conflict,
            Standing::Fenced | Standing::Recovering | Standing::Open => false,
        };
        if !ended {
            *held = standing;
        }
        drop(held);
        fence.settled.notify_all();
    }

    /// The signed checkpoint of an own log before its first entry: what is shown
    /// to witnesses that are asked what they saw of it.
    ///
    /// # Errors
    /// [`LedgerError::NoCheckpointKey`].
    pub fn empty_note(&self, name: LogName) -> Result<Bytes, LedgerError> {
        let empty = Checkpoint {
            origin: self.own_log(name).origin.clone(),
            size: TreeSize(0),
            root: empty_root(),
        };
        Ok(empty.sign(self.checkpoint_key()?).into_bytes().into())
    }

    /// As [`Ledger::access_standing`], after some seconds at most in which a
    /// witness may answer. Blocks.
    #[must_use]
    pub fn wait_access(&self) -> Standing {
        let fence = &self.0.access_fence;
        let standing = fence.standing.lock();
        let standing = standing.unwrap_or_else(PoisonError::into_inner);
        let fenced = |standing: &mut Standing| *standing == Standing::Fenced;
        let waited = fence.settled.wait_timeout_while(standing, WAIT, fenced);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
