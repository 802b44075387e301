//! Which key speaks for which entry, over all versions of the roster: the one
//! rule by which records count (PROTOCOL.md section 3), and the plainer one
//! by which replicas take entries. Pure: whoever asks brings the whole
//! history and the time at which the entry was first witnessed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{KeyUse, Member, Roster};
use crate::clock::UnixSeconds;
use crate::ids::{KeyId, LogIndex, LogName, Origin};
use crate::keys::{Algorithm, ListedKey, PublicKey};

/// What the rosters say of an entry's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// The key spoke for the entry when it was first witnessed.
    Valid,
    /// No witnessed checkpoint holds the entry yet.
    Provisional,
    /// The key did not speak for the entry.
    KeyInvalid(Why),
    /// No version ever named the key: the rosters here are too old, and nobody
    /// is to blame.
    Unknown,
}

/// Why a key does not speak for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// It is revoked there.
    Revoked,
    /// The roster in force at that time did not name it for records.
    NotNamed,
    /// Its dates begin later.
    NotYetValid,
    /// Its dates ended before.
    Expired,
    /// It signs from a later index on.
    BeforeItsRange,
    /// Its successor signs from here on.
    AfterItsRange,
}

impl Why {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Revoked,
        Self::NotNamed,
        Self::NotYetValid,
        Self::Expired,
        Self::BeforeItsRange,
        Self::AfterItsRange,
    ];

    /// A stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::NotNamed => "not_named",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::BeforeItsRange => "before_its_range",
            Self::AfterItsRange => "after_its_range",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Revoked => "the key is revoked there",
            Self::NotNamed => "the roster of that time does not name the key",
            Self::NotYetValid => "the key's dates begin later",
            Self::Expired => "the key's dates ended before",
            Self::BeforeItsRange => "the key signs from a later entry on",
            Self::AfterItsRange => "the key's successor signs from an earlier entry on",
        })
    }
}

/// Judges the entry at `index` of log `origin`, signed with `key`.
///
/// `history` is every version of the roster, version 1 first; `witnessed_at`
/// the time of the first witnessed checkpoint that holds the entry. Who judges
/// many entries of one log makes one [`KeyTimeline`] for them.
#[must_use]
pub fn judge(
    history: &[Arc<Roster>],
    origin: &Origin,
    key: KeyId,
    index: LogIndex,
    witnessed_at: Option<UnixSeconds>,
) -> Validity {
    KeyTimeline::of(history, origin).judge(key, index, witnessed_at)
}

/// Whether a replica takes an entry (PROTOCOL.md section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer<'a> {
    /// The entry is to be verified with this key.
    Key(&'a PublicKey),
    /// The key's algorithm is not known here: its entries wait for a newer software.
    Newer(Algorithm),
    /// The key may not sign there: its author broke a rule.
    Refused(Why),
    /// No version ever named the key: the rosters here are too old.
    Unknown,
}

/// A place in a member's records over all generations: generation, index.
type Place = (u32, u64);

/// What every version of the roster says about the keys of one log's author.
#[derive(Clone, Debug)]
pub struct KeyTimeline {
    log: LogName,
    generation: u32,
    versions: Vec<Version>,
}

#[derive(Clone, Debug)]
struct Version {
    issued_at: UnixSeconds,
    spans: Vec<Span>,
}

/// One records key as one version states it.
#[derive(Clone, Debug)]
struct Span {
    key: ListedKey,
    valid_from: UnixSeconds,
    valid_to: Option<UnixSeconds>,
    start: Place,
    end: Option<Place>,
    revoked: Option<Place>,
}

impl KeyTimeline {
    /// Reads the rosters, version 1 first, for one log.
    #[must_use]
    pub fn of(history: &[Arc<Roster>], origin: &Origin) -> Self {
        let mut stated = Stated::default();
        let versions = history
            .iter()
            .map(|roster| Version {
                issued_at: roster.issued_at,
                spans: roster
                    .member(&origin.member)
                    .map_or_else(Vec::new, |member| stated.spans(member)),
            })
            .collect();
        Self {
            log: origin.log,
            generation: origin.generation,
            versions,
        }
    }

    /// Reads one member alone, as if there were no other version.
    #[must_use]
    pub fn of_member(member: &Member, origin: &Origin) -> Self {
        Self {
            log: origin.log,
            generation: origin.generation,
            versions: vec![Version {
                issued_at: UnixSeconds::MIN,
                spans: Stated::default().spans(member),
            }],
        }
    }

    /// How many versions there are.
    #[must_use]
    pub fn versions(&self) -> usize {
        self.versions.len()
    }

    /// Judges one entry; see [`judge`].
    #[must_use]
    pub fn judge(
        &self,
        key: KeyId,
        index: LogIndex,
        witnessed_at: Option<UnixSeconds>,
    ) -> Validity {
        let Some(newest) = self.newest(key) else {
            return Validity::Unknown;
        };
        let place = (self.generation, index.0);
        let revoked = match self.log {
            LogName::Records => newest.is_revoked_at(place),
            // Sizes speak of the records log. Of what a revoked key signed in the
            // access log, only what was witnessed before the revocation counts.
            LogName::Access => newest.revoked.is_some() && witnessed_at.is_none(),
        };
        if revoked {
            return Validity::KeyInvalid(Why::Revoked);
        }
        let Some(time) = witnessed_at else {
            return Validity::Provisional;
        };
        let in_force = self.in_force(time).and_then(|version| version.span(key));
        let why = match (in_force, self.log) {
            (None, _) => Some(Why::NotNamed),
            (Some(span), LogName::Records) => span
                .outside_dates(time)
                .or_else(|| span.outside_range(place)),
            (Some(span), LogName::Access) if span.revoked.is_some() => Some(Why::Revoked),
            (Some(span), LogName::Access) => span.outside_dates(time),
        };
        why.map_or(Validity::Valid, Validity::KeyInvalid)
    }

    /// Says with which key the entry at `index` is to be verified when it
    /// comes from another node, by the newest word on each key.
    ///
    /// What a revoked key signed below the start of its successor is taken,
    /// since the log goes on behind it; it does not count (see [`judge`]).
    #[must_use]
    pub fn signer(&self, key: KeyId, index: LogIndex) -> Signer<'_> {
        let Some(span) = self.newest(key) else {
            return Signer::Unknown;
        };
        let Some(usable) = span.key.usable() else {
            return Signer::Newer(span.key.algorithm());
        };
        let place = (self.generation, index.0);
        if self.log == LogName::Records {
            if span.is_revoked_at(place) && span.end.is_none_or(|end| end <= place) {
                return Signer::Refused(Why::Revoked);
            }
            if let Some(why) = span.outside_range(place) {
                return Signer::Refused(why);
            }
        }
        Signer::Key(usable)
    }

    /// The key of this id, if any version names it as one of the author's and it
    /// can be used here: what is to hold of an entry's further signatures.
    #[must_use]
    pub fn named(&self, key: KeyId) -> Option<&PublicKey> {
        self.newest(key)?.key.usable()
    }

    /// The key with which the author is to sign what speaks for it now, other
    /// than an entry: the newest version must name it, unrevoked.
    #[must_use]
    pub fn speaker(&self, key: KeyId) -> Signer<'_> {
        match self.newest(key) {
            None => Signer::Unknown,
            Some(span) if span.revoked.is_some() => Signer::Refused(Why::Revoked),
            Some(span) => match span.key.usable() {
                Some(key) => Signer::Key(key),
                None => Signer::Newer(span.key.algorithm()),
            },
        }
    }

    /// The key that the newest version wants at `index` of the records log at
    /// the time `now`: not revoked there, within its dates and its range and, of
    /// several, the latest to start.
    #[must_use]
    pub fn due(&self, index: LogIndex, now: UnixSeconds) -> Option<&ListedKey> {
        let place = (self.generation, index.0);
        let spans = &self.versions.last()?.spans;
        spans
            .iter()
            .filter(|span| !span.is_revoked_at(place))
            .filter(|span| {
                span.outside_dates(now)
                    .or_else(|| span.outside_range(place))
                    .is_none()
            })
            .max_by_key(|span| span.start)
            .map(|span| &span.key)
    }

    /// Says whether entries [start, end) that were first witnessed at `time`
    /// count whichever key signed them, so that nobody need look at them.
    #[must_use]
    pub fn all_valid(&self, start: u64, end: u64, time: UnixSeconds) -> bool {
        let last = LogIndex(end.saturating_sub(1));
        let valid = |span: &Span| {
            // A key speaks for one stretch of indices, so its ends tell.
            [LogIndex(start), last]
                .into_iter()
                .all(|at| self.judge(span.key.id(), at, Some(time)) == Validity::Valid)
        };
        self.versions.iter().flat_map(|v| &v.spans).all(valid)
    }

    /// Says whether any key is revoked at or below `index`.
    #[must_use]
    pub fn revokes_at(&self, index: LogIndex) -> bool {
        let place = (self.generation, index.0);
        let spans = self.versions.iter().flat_map(|v| &v.spans);
        spans.into_iter().any(|span| span.is_revoked_at(place))
    }

    /// What the newest version that names the key says of it.
    fn newest(&self, key: KeyId) -> Option<&Span> {
        self.versions.iter().rev().find_map(|v| v.span(key))
    }

    /// The newest version that was issued at `time`; the first one before that.
    fn in_force(&self, time: UnixSeconds) -> Option<&Version> {
        let issued = self.versions.iter().rev().find(|v| v.issued_at <= time);
        issued.or_else(|| self.versions.first())
    }
}

impl Version {
    fn span(&self, key: KeyId) -> Option<&Span> {
        self.spans.iter().find(|span| span.key.id() == key)
    }
}

impl Span {
    fn is_revoked_at(&self, place: Place) -> bool {
        self.revoked.is_some_and(|revoked| revoked <= place)
    }

    fn outside_dates(&self, time: UnixSeconds) -> Option<Why> {
        if time < self.valid_from {
            return Some(Why::NotYetValid);
        }
        let ended = self.valid_to.is_some_and(|end| end <= time);
        ended.then_some(Why::Expired)
    }

    fn outside_range(&self, place: Place) -> Option<Why> {
        if place < self.start {
            return Some(Why::BeforeItsRange);
        }
        let over = self.end.is_some_and(|end| end <= place);
        over.then_some(Why::AfterItsRange)
    }
}

/// In which generation each size was stated: it speaks of the log of that
/// generation. A version that repeats a size states nothing new.
#[derive(Default)]
struct Stated {
    starts: BTreeMap<KeyId, Place>,
    revoked: BTreeMap<KeyId, Place>,
}

impl Stated {
    fn spans(&mut self, member: &Member) -> Vec<Span> {
        let generation = member.records_generation;
        let keys = member.keys.iter().filter(|k| k.usage == KeyUse::Records);
        let mut spans: Vec<Span> = keys
            .map(|key| {
                let stated = self.starts.entry(key.id).or_insert((generation, 0));
                if stated.1 != key.from_size {
                    *stated = (generation, key.from_size);
                }
                let revoked = key
                    .revoked_at_size
                    .map(|size| *self.revoked.entry(key.id).or_insert((generation, size)));
                Span {
                    key: key.key.clone(),
                    valid_from: key.valid_from,
                    valid_to: key.valid_to,
                    start: *stated,
                    end: None,
                    revoked,
                }
            })
            .collect();
        let starts: Vec<Place> = spans.iter().map(|span| span.start).collect();
        for span in &mut spans {
            span.end = starts.iter().copied().filter(|s| *s > span.start).min();
        }
        spans
    }
}
