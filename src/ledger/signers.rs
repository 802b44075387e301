//! Which key signs what, by every version of the roster: the key that is due
//! for the own logs, and the key with which an entry of a replica is verified.

use std::sync::{Arc, PoisonError};

use arc_swap::ArcSwap;

use super::log::Log;
use super::{Ledger, LedgerError, LogKeys};
use crate::checkpoint::{cosign, witness_name};
use crate::clock::UnixSeconds;
use crate::ids::{KeyId, LogIndex, LogName, Origin};
use crate::keys::{ListedKey, PublicKey, SigningKey};
use crate::roster::validity::{KeyTimeline, Signer, Validity};
use crate::roster::{Member, Roster};

/// Every version of the roster, version 1 first, as more of them come.
pub type RosterHistory = Arc<ArcSwap<Vec<Arc<Roster>>>>;

/// The keys with which one append signs.
pub(super) struct Signers<'a> {
    keys: &'a LogKeys,
    timeline: Option<Arc<KeyTimeline>>,
    now: UnixSeconds,
}

impl<'a> Signers<'a> {
    /// The key that is due at `index` of the own records log.
    pub(super) fn at(&self, index: LogIndex) -> Result<&'a SigningKey, LedgerError> {
        let Some(timeline) = &self.timeline else {
            return Ok(&self.keys.records);
        };
        let due = timeline.due(index, self.now);
        due.and_then(|key| self.own(key))
            .ok_or_else(|| LedgerError::NoKey {
                index,
                due: due.map(ListedKey::id),
            })
    }

    fn own(&self, key: &ListedKey) -> Option<&'a SigningKey> {
        self.held().find(|own| key.is(own.public_key()))
    }

    fn held(&self) -> impl Iterator<Item = &'a SigningKey> {
        std::iter::once(&self.keys.records).chain(&self.keys.records_next)
    }
}

impl Ledger {
    /// Has the ledger look keys up in all versions of the roster. Before, it
    /// signs with the key that it was given and judges a chunk by what is said
    /// of its author there. Only the first call counts.
    pub fn follow_rosters(&self, history: RosterHistory) {
        if self.0.rosters.set(history).is_err() {
            tracing::debug!("the ledger follows the rosters already");
        }
    }

    /// What the rosters say of the keys of a log's author; `None` where the
    /// ledger knows no roster.
    #[must_use]
    pub fn timeline(&self, origin: &Origin) -> Option<Arc<KeyTimeline>> {
        let history = self.0.rosters.get()?.load_full();
        let known = self.0.timelines.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        match known.get(origin) {
            Some((versions, timeline)) if *versions == history.len() => Some(Arc::clone(timeline)),
            _ => {
                let timeline = Arc::new(KeyTimeline::of(&history, origin));
                known.insert(origin.clone(), (history.len(), Arc::clone(&timeline)));
                Some(timeline)
            }
        }
    }

    /// The same for an author of whom a caller knows at least what is said now.
    pub(super) fn timeline_of(&self, log: &Log, author: &Member) -> Arc<KeyTimeline> {
        self.timeline(&log.origin)
            .unwrap_or_else(|| Arc::new(KeyTimeline::of_member(author, &log.origin)))
    }

    /// The keys for an append to an own log; the roster is looked at once.
    pub(super) fn signers(&self) -> Signers<'_> {
        let origin = &self.own_log(LogName::Records).origin;
        Signers {
            keys: &self.0.keys,
            timeline: self.timeline(origin),
            now: self.0.clock.now(),
        }
    }

    /// The records key that speaks for this node now, other than in an entry of
    /// its records log: the one that is due there, else any that the roster
    /// still lets speak. Where none may, the old one: what is logged then is
    /// judged key-invalid, and not lost.
    pub(super) fn speaking_key(&self) -> &SigningKey {
        let signers = self.signers();
        let size = self.own_log(LogName::Records).size();
        if let Ok(due) = signers.at(LogIndex(size.0)) {
            return due;
        }
        let access = self.timeline(&self.own_log(LogName::Access).origin);
        let may_speak = |key: &&SigningKey| {
            let now = Some(signers.now);
            access
                .as_ref()
                .is_none_or(|t| t.judge(key.id(), LogIndex(0), now) == Validity::Valid)
        };
        signers
            .held()
            .find(may_speak)
            .unwrap_or(&self.0.keys.records)
    }

    /// The key that signs the own checkpoints, unless the roster revokes it.
    pub(crate) fn checkpoint_key(&self) -> Result<&SigningKey, LedgerError> {
        let key = &self.0.keys.checkpoint;
        let newest = self.0.rosters.get().and_then(|h| h.load().last().cloned());
        let revoked = newest
            .as_ref()
            .and_then(|roster| roster.member(&self.0.own))
            .is_some_and(|own| !own.checkpoint_keys().any(|k| k == key.public_key()));
        if revoked {
            return Err(LedgerError::NoCheckpointKey(key.id()));
        }
        Ok(key)
    }

    /// Cosigns a note's text with the witness key, now; returns the line.
    pub(crate) fn cosign(&self, text: &str) -> String {
        let name = witness_name(
            &self.own_log(LogName::Records).origin.federation,
            &self.0.own,
        );
        cosign(text, &name, &self.0.keys.witness, self.0.clock.now())
    }

    /// Whether the own records log can be signed on now; the sentence of the
    /// error says what to do.
    ///
    /// # Errors
    /// [`LedgerError::NoKey`] or [`LedgerError::NoCheckpointKey`].
    pub fn check_signing(&self) -> Result<(), LedgerError> {
        let size = self.own_log(LogName::Records).size();
        self.signers().at(LogIndex(size.0))?;
        self.checkpoint_key().map(drop)
    }
}

/// The key that a signer stands for, or why the log is refused or held back.
pub(super) fn key_of<'a>(
    signer: Signer<'a>,
    log: &Log,
    index: LogIndex,
    key: KeyId,
) -> Result<&'a PublicKey, LedgerError> {
    match signer {
        Signer::Key(key) => Ok(key),
        Signer::Refused(why) => Err(LedgerError::KeyRefused {
            origin: log.origin.clone(),
            index,
            key,
            why,
        }),
        Signer::Newer(algorithm) => Err(LedgerError::NewerKey {
            origin: log.origin.clone(),
            algorithm,
        }),
        Signer::Unknown => Err(LedgerError::UnknownKey {
            origin: log.origin.clone(),
            index,
        }),
    }
}
