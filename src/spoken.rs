//! What the members' nodes say that they run and speak: the last word of each,
//! kept in the store, so that a restart knows it, and who is behind or ahead of
//! this node. Nobody signs it: it comes over the member's own connection, decides
//! what this node writes yet (`ledger`), and is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use prost::Message;

use crate::clock::{Clock, UnixSeconds};
use crate::features::{BASE, SPOKEN, WORDS_MAX, is_word};
use crate::ids::MemberId;
use crate::roster::{MemberRole, Roster};
use crate::store::{Batch, Store, StoreError, Table};
use crate::wire::v1;

/// The version of this software.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The protocol versions that are spoken here.
pub const PROTOCOLS: &[&str] = &["casegate.v1"];

/// Bytes of a version that are taken.
const VERSION_BYTES_MAX: usize = 64;
/// Protocol versions that are taken.
const PROTOCOLS_MAX: usize = 8;
/// Seconds after which the same word is written again, with its newer time.
const AGAIN_S: u64 = 3_600;
/// Seconds between two writes of one member's words, so that one that changes
/// them all the time does not keep the disk busy.
const PAUSE_S: u64 = 10;

/// What a node said that it runs and speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The version of its software; empty when it gave none that fits.
    pub version: String,
    /// The protocol versions that it speaks.
    pub protocols: BTreeSet<String>,
    /// The words for what it speaks.
    pub features: BTreeSet<String>,
    /// When it said so last.
    pub said_at: UnixSeconds,
}

impl Said {
    /// Takes what fits of what a node says, and counts what does not.
    #[must_use]
    pub fn of(said: &v1::Software, now: UnixSeconds) -> (Self, u64) {
        let words = |all: &[String], max: usize| -> BTreeSet<String> {
            let fit = all.iter().filter(|word| is_word(word));
            fit.take(max).cloned().collect()
        };
        let fits = said.version.len() <= VERSION_BYTES_MAX
            && said.version.bytes().all(|b| (b' '..=b'~').contains(&b));
        let taken = Self {
            version: if fits {
                said.version.clone()
            } else {
                String::new()
            },
            protocols: words(&said.protocols, PROTOCOLS_MAX),
            features: words(&said.features, WORDS_MAX),
            said_at: now,
        };
        let given = said.protocols.len() + said.features.len();
        let kept = taken.protocols.len() + taken.features.len();
        (taken, (given - kept) as u64 + u64::from(!fits))
    }

    /// The words that this node speaks and that one does not.
    #[must_use]
    pub fn lacks(&self) -> Vec<String> {
        let lacking = |word: &&&str| !self.features.contains(**word);
        SPOKEN
            .iter()
            .filter(lacking)
            .map(|word| (*word).to_owned())
            .collect()
    }

    /// The words that that node speaks and this one does not.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        let unknown = |word: &&String| !SPOKEN.contains(&word.as_str());
        self.features.iter().filter(unknown).cloned().collect()
    }

    fn says_what(&self, other: &Self) -> bool {
        (&self.version, &self.protocols, &self.features)
            == (&other.version, &other.protocols, &other.features)
    }

    fn encode(&self) -> Vec<u8> {
        v1::SpokenRow {
            version: self.version.clone(),
            protocols: self.protocols.iter().cloned().collect(),
            features: self.features.iter().cloned().collect(),
            said_at: self.said_at,
        }
        .encode_to_vec()
    }

    fn decode(row: &[u8]) -> Result<Self, prost::DecodeError> {
        let row = v1::SpokenRow::decode(row)?;
        Ok(Self {
            version: row.version,
            protocols: row.protocols.into_iter().collect(),
            features: row.features.into_iter().collect(),
            said_at: row.said_at,
        })
    }
}

/// What this node says of itself.
#[must_use]
pub fn own() -> v1::Software {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    v1::Software {
        version: VERSION.to_owned(),
        protocols: owned(PROTOCOLS),
        features: owned(SPOKEN),
    }
}

/// The last word of every member's node. Clones share it.
#[derive(Clone, Debug)]
pub struct Spoken(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: Clock,
    rows: RwLock<BTreeMap<MemberId, Said>>,
    /// What is on the disk of each member; held while a row is written.
    kept: Mutex<BTreeMap<MemberId, Said>>,
    ignored: AtomicU64,
}

impl Spoken {
    /// Reads what is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(store: Store, clock: Clock) -> Result<Self, StoreError> {
        let damaged = || StoreError::Damaged("word of what a member speaks");
        let mut rows = BTreeMap::new();
        for item in store.iter(Table::Spoken, b"") {
            let (key, row) = item?;
            let member = std::str::from_utf8(&key)
                .ok()
                .and_then(|name| MemberId::new(name).ok())
                .ok_or_else(damaged)?;
            rows.insert(member, Said::decode(&row).map_err(|_| damaged())?);
        }
        Ok(Self(Arc::new(Inner {
            store,
            clock,
            kept: Mutex::new(rows.clone()),
            rows: RwLock::new(rows),
            ignored: AtomicU64::new(0),
        })))
    }

    /// Keeps what `member`'s node says, one row a member; what does not fit is
    /// counted and left out. What it said before is on the disk when this
    /// returns, with a time that is at most an hour old; a change within ten
    /// seconds of another is written with the next word. Blocks.
    ///
    /// # Errors
    /// [`StoreError`]; until it is written the word counts all the same.
    pub fn hear(&self, member: &MemberId, said: &v1::Software) -> Result<(), StoreError> {
        let (said, ignored) = Said::of(said, self.0.clock.now());
        self.0.ignored.fetch_add(ignored, Ordering::Relaxed);
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        self.0
            .rows
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(member.clone(), said.clone());
        let due = kept.get(member).is_none_or(|last| {
            let pause_s = if last.says_what(&said) {
                AGAIN_S
            } else {
                PAUSE_S
            };
            said.said_at.abs_diff(last.said_at) >= pause_s
        });
        if due {
            let mut batch = Batch::new();
            batch.put(Table::Spoken, member.as_str().as_bytes(), said.encode());
            self.0.store.commit(batch)?;
            kept.insert(member.clone(), said);
        }
        Ok(())
    }

    /// What a member's node said last.
    #[must_use]
    pub fn of(&self, member: &MemberId) -> Option<Said> {
        let rows = self.0.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.get(member).cloned()
    }

    /// Words and versions that did not fit, since the start.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.0.ignored.load(Ordering::Relaxed)
    }

    /// The bureaus and departments, other than `own`, whose nodes do not read
    /// what stands under `word` as far as is known: their list lacks it, or there
    /// is none and it is not the word that every version speaks.
    #[must_use]
    pub fn behind(&self, roster: &Roster, own: &MemberId, word: &str) -> Vec<MemberId> {
        let rows = self.0.rows.read().unwrap_or_else(PoisonError::into_inner);
        let reads = |id: &MemberId| match rows.get(id) {
            Some(said) => said.features.contains(word),
            None => word == BASE,
        };
        let members = roster.members.values().filter(|member| {
            member.has_node()
                && member.id != *own
                && matches!(member.role, MemberRole::Bureau | MemberRole::Department)
        });
        let behind = members.filter(|member| !reads(&member.id));
        behind.map(|member| member.id.clone()).collect()
    }

    /// How many of the other nodes lack a word of this one's or never said, and
    /// how many speak a word that is not known here.
    #[must_use]
    pub fn count(&self, roster: &Roster, own: &MemberId) -> (u64, u64) {
        let (mut behind, mut ahead) = (0, 0);
        for id in roster.other_nodes(own) {
            let said = self.of(id);
            behind += u64::from(said.as_ref().is_none_or(|said| !said.lacks().is_empty()));
            ahead += u64::from(said.is_some_and(|said| !said.unknown().is_empty()));
        }
        (behind, ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = 1_795_305_600;

    fn software(version: &str, features: &[&str]) -> v1::Software {
        v1::Software {
            version: version.into(),
            protocols: vec!["casegate.v1".into()],
            features: features.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_and_left_out() {
        for version in ["\u{7f}", "0.1.0\n", "版本", &"1".repeat(65)] {
            let (said, ignored) = Said::of(&software(version, &["a"]), NOW);
            assert_eq!((said.version.as_str(), ignored), ("", 1), "{version:?}");
        }
        let long = "a".repeat(64);
        let words = ["", "Records", "a b", "词", "a\0", &long, "tea-2.1"];
        let (said, ignored) = Said::of(&software(&"1".repeat(64), &words), NOW);
        assert_eq!(said.version.len(), 64);
        assert_eq!(said.features, ["tea-2.1".to_owned()].into());
        assert_eq!(ignored, 6);
        let many: Vec<String> = (0..100).map(|n| format!("word-{n}")).collect();
        let all = v1::Software {
            version: String::new(),
            protocols: many.clone(),
            features: many,
        };
        let (said, ignored) = Said::of(&all, NOW);
        assert_eq!((said.protocols.len(), said.features.len()), (8, 64));
        assert_eq!(ignored, 92 + 36);
        assert!(Said::of(&own(), NOW).1 == 0 && SPOKEN.contains(&BASE));
    }

    #[test]
    fn who_lacks_a_word_is_behind_and_who_speaks_another_is_ahead() {
        let (said, _) = Said::of(&own(), NOW);
        assert!(said.lacks().is_empty() && said.unknown().is_empty());
        let (said, _) = Said::of(&software("9", &[BASE, "tea"]), NOW);
        assert_eq!(said.unknown(), ["tea"]);
        assert!(!said.lacks().contains(&BASE.to_owned()));
        assert_eq!(said.lacks().len(), SPOKEN.len() - 1);
    }

    #[test]
    fn a_restart_knows_the_last_word_and_a_row_is_written_only_when_it_is_due() {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Clock::manual(NOW);
        let wuhu = MemberId::new("wuhu").expect("a name");
        let open = || {
            let store = Store::open(dir.path(), 1 << 20).expect("it opens");
            Spoken::open(store, clock.clone()).expect("it reads")
        };
        let said = |spoken: &Spoken| spoken.of(&wuhu).map(|s| (s.version, s.said_at));
        let spoken = open();
        assert_eq!(said(&spoken), None);
        let hear = |spoken: &Spoken, version| {
            spoken
                .hear(&wuhu, &software(version, &[BASE]))
                .expect("kept");
        };
        hear(&spoken, "1");
        clock.advance(5);
        hear(&spoken, "2");
        assert_eq!(said(&spoken), Some(("2".into(), NOW + 5)));
        drop(spoken);
        let spoken = open();
        let first = Some(("1".into(), NOW));
        assert_eq!(said(&spoken), first, "too soon after the first");
        clock.advance(5);
        hear(&spoken, "2");
        clock.advance(3_599);
        hear(&spoken, "2");
        drop(spoken);
        let spoken = open();
        assert_eq!(said(&spoken), Some(("2".into(), NOW + 10)));
        clock.advance(1);
        hear(&spoken, "2");
        drop(spoken);
        assert_eq!(said(&open()), Some(("2".into(), NOW + 3_610)));
    }

    #[test]
    fn a_row_that_nobody_wrote_is_damage() {
        for (name, row) in [(&b"wuhu"[..], &b"\xff"[..]), (b"\xff", b""), (b"", b"")] {
            let dir = tempfile::tempdir().expect("a directory");
            let store = Store::open(dir.path(), 1 << 20).expect("it opens");
            let mut batch = Batch::new();
            batch.put(Table::Spoken, name, row);
            store.commit(batch).expect("durable");
            let refused = Spoken::open(store, Clock::manual(NOW));
            assert!(matches!(refused, Err(StoreError::Damaged(_))), "{name:?}");
        }
    }
}
