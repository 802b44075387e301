//! Witnessed checkpoints: which of a log's checkpoints enough witnesses
//! cosigned, and since when. Own logs and replicas alike; a note is judged once,
//! by the roster of the day on which it came, and kept with what was found.

use std::sync::PoisonError;

use bytes::Bytes;

use super::log::Log;
use super::{Ledger, LedgerError};
use crate::checkpoint::{self, Checkpoint};
use crate::clock::{DAY_S, UnixSeconds};
use crate::ids::{LogIndex, TreeSize};
use crate::keys::PublicKey;
use crate::roster::Roster;
use crate::store::{Batch, Store, StoreError, Table};

/// Witnessed checkpoints of one log that are kept before older ones are thinned.
const NOTES_MAX: usize = 10_000;

/// The newest witnessed checkpoint of a log.
#[derive(Clone, Debug)]
pub(super) struct Newest {
    pub(super) size: TreeSize,
    pub(super) note: Bytes,
}

/// One kept note: its size, when it became witnessed, and by which roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    size: u64,
    time: UnixSeconds,
    roster: u64,
}

fn key_of(log: u32, size: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&log.to_be_bytes());
    key[4..].copy_from_slice(&size.to_be_bytes());
    key
}

fn decode(key: &[u8], value: &Bytes) -> Result<(Kept, Bytes), StoreError> {
    let damaged = || StoreError::Damaged("witnessed checkpoint");
    let number = |bytes: Option<&[u8]>| {
        bytes
            .and_then(|b| b.try_into().ok())
            .map(u64::from_be_bytes)
            .ok_or_else(damaged)
    };
    let kept = Kept {
        size: number(key.get(4..12))?,
        time: number(value.get(..8))?.cast_signed(),
        roster: number(value.get(8..16))?,
    };
    Ok((kept, value.slice(16..)))
}

fn encode(kept: &Kept, note: &Bytes) -> Vec<u8> {
    let mut value = kept.time.to_be_bytes().to_vec();
    value.extend_from_slice(&kept.roster.to_be_bytes());
    value.extend_from_slice(note);
    value
}

/// Reads the newest witnessed checkpoint of a log, which must be of this very
/// log: a log's number may once have been that of an earlier generation.
pub(super) fn newest(store: &Store, log: &Log) -> Result<Option<Newest>, StoreError> {
    let last = store.floor(Table::Witnessed, &key_of(log.number, u64::MAX), 4)?;
    let Some((key, value)) = last else {
        return Ok(None);
    };
    let (kept, note) = decode(&key, &value)?;
    Ok(is_of(log, &note).then_some(Newest {
        size: TreeSize(kept.size),
        note,
    }))
}

/// Says whether a kept note names this very log.
fn is_of(log: &Log, note: &Bytes) -> bool {
    note.starts_with(format!("{}\n", log.origin).as_bytes())
}

impl Ledger {
    /// Entries of a log, own or replicated, that a witnessed checkpoint holds.
    #[must_use]
    pub fn witnessed_size(&self, log: &Log) -> TreeSize {
        log.witnessed_size()
    }

    /// The kept witnessed checkpoint of exactly that size, a signed note with its
    /// cosignatures.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn witnessed_note(&self, log: &Log, size: TreeSize) -> Result<Option<Bytes>, LedgerError> {
        let key = key_of(log.number, size.0);
        let Some(value) = self.0.store.read(Table::Witnessed, &key)? else {
            return Ok(None);
        };
        let (_, note) = decode(&key, &value)?;
        Ok(is_of(log, &note).then_some(note))
    }

    /// The sizes of the kept witnessed checkpoints of a log, ascending.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn witnessed_sizes(&self, log: &Log) -> Result<Vec<TreeSize>, LedgerError> {
        let items = self
            .0
            .store
            .iter(Table::Witnessed, &log.number.to_be_bytes());
        let mut sizes = vec![];
        for item in items {
            let (key, value) = item?;
            let (kept, note) = decode(&key, &value)?;
            sizes.extend(is_of(log, &note).then_some(TreeSize(kept.size)));
        }
        Ok(sizes)
    }

    /// The size of the first kept witnessed checkpoint that holds the entry at
    /// `index`, and when it became witnessed; `None` while the entry is provisional.
    ///
    /// # Errors
    /// [`LedgerError::Store`].
    pub fn first_witnessed(
        &self,
        log: &Log,
        index: LogIndex,
    ) -> Result<Option<(TreeSize, UnixSeconds)>, LedgerError> {
        let start = key_of(log.number, index.0.saturating_add(1));
        let Some(item) = self.0.store.iter_from(Table::Witnessed, &start, 4).next() else {
            return Ok(None);
        };
        let (key, value) = item?;
        let (kept, _) = decode(&key, &value)?;
        Ok(Some((TreeSize(kept.size), kept.time)))
    }

    /// Takes a note of `log` with its cosignatures: kept, durably, when enough of
    /// the witnesses that `roster` names signed it, it is larger than the newest
    /// one kept, and the log as it is held extends it. Says whether it was kept.
    /// Blocks.
    ///
    /// # Errors
    /// [`LedgerError::Checkpoint`] when a signature on it does not hold,
    /// [`LedgerError::Root`] when it is of another history of the same entries.
    pub fn accept_witnessed(
        &self,
        log: &Log,
        roster: &Roster,
        note: &Bytes,
    ) -> Result<bool, LedgerError> {
        let witnesses = roster.witnesses(&log.origin.member);
        let Some(author) = roster.member(&log.origin.member) else {
            return Ok(false);
        };
        if self.is_forked(&log.origin)? {
            return Ok(false);
        }
        let keys: Vec<&PublicKey> = author.checkpoint_keys().collect();
        let found =
            checkpoint::witnessed(note, &log.origin, &keys, &witnesses.keys, witnesses.quorum)
                .map_err(|source| LedgerError::Checkpoint {
                    origin: log.origin.clone(),
                    source,
                })?;
        let mut keeping = log.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = found.filter(|f| f.size > log.witnessed_size() && f.size <= log.size())
        else {
            return Ok(false);
        };
        let signed = Checkpoint {
            origin: log.origin.clone(),
            size: found.size,
            root: found.root,
        };
        self.extends(log, &signed)?;
        let kept = Kept {
            size: found.size.0,
            time: found.time,
            roster: roster.version,
        };
        let before = match *keeping {
            Some(count) => count,
            None => self.kept_notes(log)?.len(),
        };
        *keeping = Some(self.keep_witnessed(log, kept, note, before)?);
        Ok(true)
    }

    fn kept_notes(&self, log: &Log) -> Result<Vec<Kept>, LedgerError> {
        let prefix = log.number.to_be_bytes();
        let items = self.0.store.iter(Table::Witnessed, &prefix);
        items
            .map(|item| {
                let (key, value) = item?;
                Ok(decode(&key, &value)?.0)
            })
            .collect()
    }

    /// Keeps one more note beside `before` others; returns how many there are then.
    fn keep_witnessed(
        &self,
        log: &Log,
        kept: Kept,
        note: &Bytes,
        before: usize,
    ) -> Result<usize, LedgerError> {
        let mut batch = Batch::new();
        let key = key_of(log.number, kept.size);
        batch.put(Table::Witnessed, &key, encode(&kept, note));
        let gone = if before < NOTES_MAX {
            vec![]
        } else {
            thinned(&self.kept_notes(log)?)
        };
        for size in &gone {
            batch.delete(Table::Witnessed, &key_of(log.number, *size));
        }
        self.0.store.commit(batch)?;
        log.set_witnessed(Some(Newest {
            size: TreeSize(kept.size),
            note: note.clone(),
        }));
        if log.number == self.own_number() {
            self.0.witnessed.send_replace(note.clone());
        }
        Ok((before + 1).saturating_sub(gone.len()))
    }
}

/// Which of `kept`, by size, may go when there are too many: of the older half,
/// those whose successor became witnessed in the same minute, or hour, day
/// and so on, by the same roster; so that what an entry's first witnessed
/// checkpoint says of its time moves by less than that.
fn thinned(kept: &[Kept]) -> Vec<u64> {
    let older = kept.get(..=kept.len() / 2).unwrap_or(kept);
    let mut gone = vec![];
    for width in [60, 3_600, DAY_S, 30 * DAY_S, i64::MAX] {
        gone = older
            .windows(2)
            .filter(|pair| {
                pair[0].roster == pair[1].roster && pair[0].time / width == pair[1].time / width
            })
            .map(|pair| pair[0].size)
            .collect();
        if gone.len() >= kept.len() / 4 {
            break;
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(count: u64, apart_s: i64) -> Vec<Kept> {
        (0..count)
            .map(|n| Kept {
                size: n + 1,
                time: i64::try_from(n).expect("small") * apart_s,
                roster: 1 + u64::from(n >= 10),
            })
            .collect()
    }

    #[test]
    fn the_older_half_loses_what_was_witnessed_in_one_minute_and_keeps_the_last_of_each() {
        let gone = thinned(&kept(200, 1));
        assert!(
            gone.len() >= 50 && gone.iter().all(|size| *size <= 100),
            "{gone:?}"
        );
        // The last of each minute stays, and the last before the roster changed.
        for stays in [60, 10] {
            assert!(!gone.contains(&stays), "{stays}");
        }
    }

    #[test]
    fn notes_that_lie_far_apart_are_thinned_too() {
        let gone = thinned(&kept(200, 400 * DAY_S));
        assert!(gone.len() >= 50, "{}", gone.len());
        assert!(!gone.contains(&10));
    }
}
