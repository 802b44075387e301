//! What is not read ends like all else: by a retraction, or at its date, and is
//! signed for.

use casegate::ids::LogIndex;
use casegate::ledger::{BodyState, Reading};
use casegate::store::Table;
use casegate::wire::v1::{ErasedRow, ReceiptState};
use prost::Message;

use super::Follower;
use super::writer::element_bytes;
use crate::cluster::NOW;
use crate::tamper::retraction;

impl Follower {
    /// (start, end, erased, 1 + retraction) of what is still to be signed for.
    fn owed(&self) -> Vec<(u64, u64, bool, u64)> {
        let rows = self.reader.store().scan(Table::Receipts, b"e");
        let rows = rows.expect("rows").into_iter();
        let rows = rows.map(|(_, row)| ErasedRow::decode(row).expect("a row"));
        rows.flat_map(|row| row.items)
            .map(|item| {
                let range = item.range.expect("a range");
                let erased = item.state() == ReceiptState::Erased;
                (range.start, range.end, erased, item.retracted_by)
            })
            .collect()
    }

    fn states(&self) -> Vec<BodyState> {
        let size = self.log.size().0;
        let states = self.reader.body_states(self.log.number, LogIndex(0), size);
        states.expect("states")
    }
}

#[test]
fn a_retraction_ends_bodies_that_are_not_read_and_a_receipt_covers_them() {
    let mut t = Follower::new();
    t.hefei.put(40, b"of the future".to_vec(), 0);
    t.hefei
        .put(1, element_bytes("hefei", 1, |b| b.kind = 99), 0);
    t.hefei.put(1, b"broken".to_vec(), 0);
    t.hefei
        .put(4, super::with_more(&retraction(0, 1).body.encode()), 0);
    t.hefei.put(5, b"no receipt".to_vec(), 0);
    t.follow();
    assert_eq!(t.reader.opaque_bodies(&t.log, 10).expect("rows").len(), 5);
    t.hefei.put(4, retraction(0, 5).body.encode().to_vec(), 0);
    t.follow();
    let states = t.states();
    assert!(
        states[..3].iter().all(|s| *s == BodyState::Erased),
        "{states:?}"
    );
    // A retraction and a receipt prove something: they stay, unread as they are.
    assert!(states[3..5].iter().all(|s| matches!(s, BodyState::Held(_))));
    assert_eq!(t.owed(), [(0, 3, true, 6)]);
    let rows = t.reader.opaque_bodies(&t.log, 10).expect("rows");
    let left: Vec<_> = rows.iter().map(|row| row.index.0).collect();
    assert_eq!(left, [3, 4]);
    let count = t.reader.opaque_count(&t.log).expect("counted");
    assert_eq!((count.newer, count.refused), (1, 1), "counted again");
    let answer = t.reader.serve_bodies(
        &t.log,
        LogIndex(0),
        3,
        t.ledgers.reader(&t.ledgers.member("hefei")),
    );
    assert_eq!(&answer.expect("an answer").answers[..], [4, 4, 4]);
}

#[test]
fn a_body_that_is_not_read_ends_at_the_date_of_its_statement() {
    let mut t = Follower::new();
    t.hefei.put(40, b"until then".to_vec(), NOW + 100);
    t.hefei.put(40, b"for ever".to_vec(), 0);
    t.follow();
    t.ledgers.clock.advance(100);
    assert_eq!(t.reader.sweep_expired().expect("swept"), 1);
    assert_eq!(t.states()[0], BodyState::Erased);
    assert!(matches!(t.reading(1), Reading::Opaque(_)));
    assert_eq!(t.owed(), [(0, 1, true, 0)]);
    assert_eq!(t.reader.opaque_count(&t.log).expect("counted").newer, 1);
}

#[test]
fn what_was_retracted_before_its_body_came_is_never_held() {
    let mut t = Follower::new();
    t.hefei.put(40, b"too late".to_vec(), 0);
    t.hefei.put(4, retraction(0, 1).body.encode().to_vec(), 0);
    t.pull();
    let early = t.hefei.answer(1, 2);
    t.reader.apply_early(&t.log, &early).expect("applied");
    let author = t.ledgers.member("hefei");
    let answer = t.hefei.answer(0, 2);
    let accepted = t.reader.accept_bodies(&t.log, &author, answer);
    assert_eq!(accepted.expect("an answer").erased, 1);
    assert_eq!(t.owed(), [(0, 1, false, 2)]);
    assert!(t.reader.opaque_bodies(&t.log, 10).expect("rows").is_empty());
}
