//! Which roster follows which (PROTOCOL.md section 3): version 1 is pinned by its
//! SHA-256, version v + 1 names the SHA-256 of v and is signed by enough roots
//! of both. Nothing older than what was ever seen is taken back.

use std::sync::Arc;

use prost::Message;

use super::read::{RawRoster, ShareCheck, read};
use super::{Roster, RosterError, succession};
use crate::clock::UnixSeconds;
use crate::ids::Digest;
use crate::wire::v1;

/// How far a roster's issue may lie ahead of the clock, in seconds.
pub const CLOCK_SLACK_S: i64 = 300;

/// What came of offering a roster to the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is the new newest version.
    New(Arc<Roster>),
    /// The chain held it already.
    Known,
}

/// Every roster from version 1 to the newest, each checked against the last.
#[derive(Clone, Debug)]
pub struct RosterChain {
    pin: Digest,
    shares: ShareCheck,
    rosters: Vec<Arc<Roster>>,
}

impl RosterChain {
    /// Starts a chain from roster 1, which must have the digest `pin`.
    ///
    /// # Errors
    /// [`RosterError`] when it is not the pinned one or breaks a rule.
    pub fn start(pin: Digest, first: &[u8], shares: ShareCheck) -> Result<Self, RosterError> {
        let raw = RawRoster::parse(first)?;
        if raw.digest != pin {
            return Err(RosterError::NotPinned {
                got: raw.digest,
                want: pin,
            });
        }
        let roster = read(raw, shares)?;
        if roster.version != 1 {
            return Err(RosterError::BrokenChain {
                version: roster.version,
                held: 0,
            });
        }
        Ok(Self {
            pin,
            shares,
            rosters: vec![Arc::new(roster)],
        })
    }

    /// Reads a chain file (see [`RosterChain::to_bytes`]).
    ///
    /// `highest_seen` is the newest version that this node ever held, from a
    /// place that outlives the file; 0 when there was none.
    ///
    /// # Errors
    /// [`RosterError`], also when the file ends before `highest_seen`.
    pub fn from_bytes(
        pin: Digest,
        file: &[u8],
        highest_seen: u64,
        shares: ShareCheck,
    ) -> Result<Self, RosterError> {
        let list = v1::GetRosterResponse::decode(file).map_err(|_| RosterError::Malformed {
            what: "not a roster file",
        })?;
        let signed: Vec<Vec<u8>> = list.rosters.iter().map(Message::encode_to_vec).collect();
        let Some((first, rest)) = signed.split_first() else {
            return Err(RosterError::Malformed {
                what: "the roster file is empty",
            });
        };
        let mut chain = Self::start(pin, first, shares)?;
        for next in rest {
            chain.extend(next)?;
        }
        let newest = chain.newest().version;
        if newest < highest_seen {
            return Err(RosterError::OlderThanSeen {
                newest,
                seen: highest_seen,
            });
        }
        Ok(chain)
    }

    /// Writes the chain as a roster file: a `GetRosterResponse` from version 1 on.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let rosters = self.after(0);
        let checkpoint = bytes::Bytes::new();
        v1::GetRosterResponse {
            rosters,
            checkpoint,
        }
        .encode_to_vec()
    }

    /// Offers one signed roster to the chain; on an error the chain is as before.
    ///
    /// An expired version is accepted here, so that a node that slept can catch
    /// up; [`RosterChain::current`] is what refuses to act on it.
    ///
    /// # Errors
    /// [`RosterError`]; [`RosterError::Fork`] is evidence to keep and to show.
    pub fn extend(&mut self, signed: &[u8]) -> Result<Accepted, RosterError> {
        let raw = RawRoster::parse(signed)?;
        let (version, newest) = (raw.roster.version, Arc::clone(self.newest()));
        if let Some(held) = self.rosters.iter().find(|held| held.version == version) {
            return self.compare(held, raw);
        }
        if version != newest.version.saturating_add(1) {
            return Err(RosterError::Gap {
                version,
                held: newest.version,
            });
        }
        if raw.roster.previous_sha256[..] != newest.digest.0[..] {
            return Err(RosterError::BrokenChain {
                version,
                held: newest.version,
            });
        }
        raw.signed_by(&newest.roots, newest.root_threshold, newest.version)?;
        let roster = read(raw, self.shares)?;
        if roster.federation != newest.federation {
            return Err(RosterError::Field {
                version,
                field: "federation".into(),
                why: "a federation keeps its name",
            });
        }
        if roster.issued_at < newest.issued_at {
            return Err(RosterError::Field {
                version,
                field: "issued_at".into(),
                why: "is before the previous version's",
            });
        }
        keep_generations(&newest, &roster)?;
        succession::keep_keys(&self.rosters, &roster)?;
        let roster = Arc::new(roster);
        self.rosters.push(Arc::clone(&roster));
        Ok(Accepted::New(roster))
    }

    /// A second roster of a version counts as a fork only if the roots that
    /// could have signed it did; anybody can make up an unsigned one.
    fn compare(&self, held: &Roster, raw: RawRoster) -> Result<Accepted, RosterError> {
        if raw.digest == held.digest {
            return Ok(Accepted::Known);
        }
        let version = held.version;
        let before = self
            .rosters
            .iter()
            .find(|r| r.version.checked_add(1) == Some(version));
        let judge = before.map_or(held, |roster| roster);
        raw.signed_by(&judge.roots, judge.root_threshold, judge.version)?;
        Err(RosterError::Fork {
            version,
            held: held.digest,
            other: raw.digest,
        })
    }

    /// The newest version held, expired or not.
    ///
    /// # Panics
    /// Never: a chain starts with roster 1.
    #[must_use]
    pub fn newest(&self) -> &Arc<Roster> {
        self.rosters.last().expect("a chain starts with roster 1")
    }

    /// The newest version, if it may be acted on at `now`.
    ///
    /// # Errors
    /// [`RosterError::Expired`], [`RosterError::NotYetIssued`], or
    /// [`RosterError::Features`] when it requires what is not spoken here.
    pub fn current(&self, now: UnixSeconds) -> Result<&Arc<Roster>, RosterError> {
        let newest = self.newest();
        let version = newest.version;
        if newest.is_expired(now) {
            let seconds_ago = now.saturating_sub(newest.expires_at);
            return Err(RosterError::Expired {
                version,
                seconds_ago,
            });
        }
        let words = newest.lacking();
        if !words.is_empty() {
            return Err(RosterError::Features { version, words });
        }
        let seconds_ahead = newest.issued_at.saturating_sub(now);
        if seconds_ahead > CLOCK_SLACK_S {
            return Err(RosterError::NotYetIssued {
                version,
                seconds_ahead,
            });
        }
        Ok(newest)
    }

    /// The versions after `version`, oldest first, as they were received.
    #[must_use]
    pub fn after(&self, version: u64) -> Vec<v1::SignedRoster> {
        self.rosters
            .iter()
            .filter(|roster| roster.version > version)
            .map(|roster| {
                v1::SignedRoster::decode(roster.signed.clone())
                    .expect("a roster in the chain was decoded before")
            })
            .collect()
    }

    /// Every version that is held, version 1 first.
    #[must_use]
    pub fn history(&self) -> &[Arc<Roster>] {
        &self.rosters
    }

    /// One version, if it is held.
    #[must_use]
    pub fn version(&self, version: u64) -> Option<&Arc<Roster>> {
        self.rosters.iter().find(|roster| roster.version == version)
    }

    /// The digest of roster 1 that this chain hangs on.
    #[must_use]
    pub fn pin(&self) -> Digest {
        self.pin
    }
}

/// A log's generation never goes back: that would revive a frozen log.
fn keep_generations(old: &Roster, new: &Roster) -> Result<(), RosterError> {
    for member in new.members.values() {
        let Some(before) = old.member(&member.id) else {
            continue;
        };
        if member.records_generation < before.records_generation
            || member.access_generation < before.access_generation
        {
            return Err(RosterError::Field {
                version: new.version,
                field: format!("members[{}].generation", member.id),
                why: "a log's generation never goes back",
            });
        }
    }
    Ok(())
}
