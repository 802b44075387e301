//! What one member's receipts say about what ended in another member's log.
//! A member may sign for the same end more than once: after a restore, or when
//! it begins or ceases to keep replicas. The first word about an index counts,
//! and none is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::UnixSeconds;
use crate::ids::LogIndex;
use crate::wire::v1::{ReceiptItem, ReceiptState};

/// Where a range ends that has no end: the member keeps no replica of the log.
pub const NO_END: u64 = u64::MAX;

/// Where a receipt stands: the generation of its member's records log, and the index.
pub type ReceiptPlace = (u32, LogIndex);

/// All receipts of one member about one log.
#[derive(Clone, Debug, Default)]
pub struct Receipts {
    /// Start → the first word about the indices from there; apart from each other.
    first: BTreeMap<u64, Said>,
    /// Start → everything that was said of a range from there.
    all: BTreeMap<u64, Vec<Said>>,
    longest: u64,
    declared: Vec<Declared>,
}

#[derive(Clone, Copy, Debug)]
struct Said {
    end: u64,
    held: bool,
    at: UnixSeconds,
    place: ReceiptPlace,
}

/// That the member keeps no replica, until it signs another receipt.
#[derive(Clone, Copy, Debug)]
struct Declared {
    said: Said,
    until: Option<(UnixSeconds, ReceiptPlace)>,
}

/// What receipts say about one range that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Whether they speak of all of it.
    pub whole: bool,
    /// Whether the member held any of the bodies.
    pub held: bool,
    /// When the member had erased them; the last of several first words.
    pub at: UnixSeconds,
    /// The receipt that counts; the last of several. None while nothing is said.
    pub place: Option<ReceiptPlace>,
    /// Every receipt that says something about the range.
    pub places: BTreeSet<ReceiptPlace>,
}

impl Receipts {
    /// Adds a receipt that was issued at `issued_at`; those of one member come in
    /// the order of their places. One without items says only that the member
    /// keeps replicas from then on.
    pub fn add(&mut self, place: ReceiptPlace, issued_at: UnixSeconds, items: &[ReceiptItem]) {
        let at = items.iter().map(|item| item.at).min();
        let at = at.unwrap_or(issued_at);
        for declared in &mut self.declared {
            declared.until.get_or_insert((at, place));
        }
        for item in items {
            let Some(range) = item.range else { continue };
            let said = Said {
                end: range.end,
                held: item.state() == ReceiptState::Erased,
                at: item.at,
                place,
            };
            if range.end == NO_END {
                self.declared.push(Declared { said, until: None });
            } else {
                self.longest = self.longest.max(range.end.saturating_sub(range.start));
                self.all.entry(range.start).or_default().push(said);
                self.put(range.start, said);
            }
        }
    }

    fn put(&mut self, start: u64, said: Said) {
        let mut at = start;
        while at < said.end {
            let before = self.first.range(..=at).next_back();
            if let Some((_, earlier)) = before
                && earlier.end > at
            {
                at = earlier.end;
                continue;
            }
            let next = self.first.range(at..said.end).next();
            let end = next.map_or(said.end, |(next, _)| *next);
            self.first.insert(at, Said { end, ..said });
            at = end;
        }
    }

    /// What is said about [start, end), whose end was decided at `decided_at`.
    #[must_use]
    pub fn answer(&self, (start, end): (u64, u64), decided_at: UnixSeconds) -> Answer {
        let mut answer = Answer {
            places: self.places((start, end)),
            ..Answer::default()
        };
        let counts = |declared: &&Declared| declared.until.is_none_or(|(at, _)| decided_at < at);
        let declared = self.declared.iter().find(counts);
        if let Some(declared) = declared {
            answer.places.insert(declared.said.place);
            answer.places.extend(declared.until.map(|(_, place)| place));
        }
        answer.whole = true;
        let mut at = start;
        while at < end {
            let found = self.first.range(..=at).next_back().map(|(_, said)| said);
            let next = self.first.range(at.saturating_add(1)..end).next();
            let gap_end = next.map_or(end, |(next, _)| *next);
            match (found.filter(|said| said.end > at), declared) {
                (Some(said), _) => {
                    answer.count(said);
                    at = said.end;
                }
                (None, Some(declared)) => {
                    answer.count(&declared.said);
                    at = gap_end;
                }
                (None, None) => {
                    answer.whole = false;
                    at = gap_end;
                }
            }
        }
        answer
    }

    fn places(&self, (start, end): (u64, u64)) -> BTreeSet<ReceiptPlace> {
        let from = start.saturating_sub(self.longest);
        let near = self.all.range(from..end).flat_map(|(_, said)| said);
        near.filter(|said| said.end > start)
            .map(|said| said.place)
            .collect()
    }
}

impl Answer {
    fn count(&mut self, said: &Said) {
        self.held |= said.held;
        self.at = self.at.max(said.at);
        self.place = self.place.max(Some(said.place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::IndexRange;

    fn item(start: u64, end: u64, state: ReceiptState, at: UnixSeconds) -> ReceiptItem {
        ReceiptItem {
            range: Some(IndexRange { start, end }),
            state: state.into(),
            retracted_by: 0,
            at,
        }
    }

    fn place(index: u64) -> ReceiptPlace {
        (1, LogIndex(index))
    }

    const ERASED: ReceiptState = ReceiptState::Erased;
    const NEVER: ReceiptState = ReceiptState::NeverHeld;

    #[test]
    fn the_first_word_counts_and_later_ones_are_kept() {
        let mut receipts = Receipts::default();
        receipts.add(place(3), 0, &[item(0, 10, ERASED, 100)]);
        receipts.add(place(7), 0, &[item(0, 20, NEVER, 900)]);
        let answer = receipts.answer((0, 10), 90);
        assert!(answer.whole && answer.held);
        assert_eq!((answer.at, answer.place), (100, Some(place(3))));
        assert_eq!(answer.places, [place(3), place(7)].into());
        let answer = receipts.answer((5, 15), 90);
        assert_eq!((answer.at, answer.place), (900, Some(place(7))));
    }

    #[test]
    fn a_range_is_confirmed_only_as_a_whole_and_by_several_receipts() {
        let mut receipts = Receipts::default();
        assert_eq!(
            receipts.answer((10, 20), 0),
            Answer {
                whole: false,
                ..Answer::default()
            }
        );
        receipts.add(place(1), 0, &[item(20, 30, ERASED, 1)]);
        assert_eq!(receipts.answer((10, 20), 0).place, None);
        receipts.add(place(2), 0, &[item(0, 15, ERASED, 2)]);
        let partly = receipts.answer((10, 20), 0);
        assert!(!partly.whole && partly.place == Some(place(2)));
        receipts.add(
            place(3),
            0,
            &[item(16, 18, NEVER, 3), item(18, 40, NEVER, 4)],
        );
        assert!(!receipts.answer((10, 20), 0).whole, "15 is missing");
        receipts.add(place(4), 0, &[item(15, 16, NEVER, 5)]);
        let whole = receipts.answer((10, 20), 0);
        assert!(whole.whole && whole.held);
        assert_eq!((whole.at, whole.place), (5, Some(place(4))));
        assert_eq!(whole.places, [place(2), place(3), place(4)].into());
    }

    #[test]
    fn a_member_without_replicas_speaks_for_what_ended_before_it_began_to_keep_them() {
        let mut receipts = Receipts::default();
        receipts.add(place(0), 0, &[item(0, NO_END, NEVER, 10)]);
        assert!(receipts.answer((5, 9), 1_000).whole);
        receipts.add(place(4), 500, &[]);
        let before = receipts.answer((5, 9), 400);
        assert!(before.whole && !before.held);
        assert_eq!(before.places, [place(0), place(4)].into());
        assert!(!receipts.answer((5, 9), 600).whole, "it keeps them now");
        assert!(
            !receipts.answer((0, 1), 600).whole,
            "and said nothing of any index"
        );
        receipts.add(place(6), 611, &[item(5, 9, ERASED, 610)]);
        let after = receipts.answer((5, 9), 600);
        assert!(after.whole && after.held && after.at == 610);
    }
}
