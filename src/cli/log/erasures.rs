//! What was erased of a records log, why, when, and who has confirmed it: of the
//! own log for officers, of another member's for auditors.

use crate::cli::failure::Exit;
use crate::cli::sheet::{Cell, Column, Say, Section, Sheet};
use crate::wire::v1::{self, ConfirmationState, RetractReason};

/// What a member that owes a receipt has said.
const CONFIRMATIONS: &[Column<v1::Confirmation>] = &[
    Column::data("member", |c| (&c.member).into()),
    Column::data("state", |c| state(c).into()),
    Column::data("receipt_log", |c| match given(c) {
        true => (&c.receipt_origin).into(),
        false => Cell::Absent,
    }),
    Column::data("receipt_index", |c| match given(c) {
        true => c.receipt_index.into(),
        false => Cell::Absent,
    }),
    Column::data("at", |c| Cell::Time(c.at)),
    Column::data("late", |c| c.late.into()),
];

type Erasures = Column<v1::Erasure>;

/// A range of records.
const ERASURES: &[Erasures] = &[
    Erasures::seen("label.column.records", range),
    Erasures::data("start", |e| e.range.unwrap_or_default().start.into()),
    Erasures::data("end", |e| e.range.unwrap_or_default().end.into()),
    Erasures::data("retracted_by", |e| Cell::maybe(e.retracted_by)),
    Erasures::of("reason", "label.column.reason", |e| {
        Cell::word("label.reason", reason(e))
    }),
    Erasures::of("decided_at", "label.column.decided", |e| {
        Cell::Time(e.decided_at)
    })
    .spare(1),
    Erasures::data("erased_at", |e| Cell::Time(e.erased_at)),
    Erasures::seen("label.column.erased", |e| {
        marked(Cell::Time(e.erased_at), e.late)
    }),
    Erasures::data("late", |e| e.late.into()),
    Erasures::data("entry", |e| e.entry.into()),
    Erasures::data("confirmations", |e| {
        Cell::rows(&e.confirmations, CONFIRMATIONS)
    }),
    Erasures::seen("label.column.confirmed", confirmed),
    Erasures::seen("label.column.pending", pending).flow(),
];

/// The word for what a member has said.
#[must_use]
pub fn state(confirmation: &v1::Confirmation) -> &'static str {
    match confirmation.state() {
        ConfirmationState::Erased => "erased",
        ConfirmationState::NeverHeld => "never_held",
        ConfirmationState::Unspecified | ConfirmationState::Pending => "pending",
    }
}

fn given(confirmation: &v1::Confirmation) -> bool {
    state(confirmation) != "pending"
}

/// The word for why records went; one spelling everywhere.
#[must_use]
pub fn reason(erasure: &v1::Erasure) -> &'static str {
    match erasure.reason() {
        RetractReason::Unspecified => "unspecified",
        RetractReason::Mistake => "mistake",
        RetractReason::Retention => "retention",
        RetractReason::Order => "order",
        RetractReason::CaseClosed => "case_closed",
    }
}

/// The first record and the last one.
#[must_use]
pub fn range(erasure: &v1::Erasure) -> Cell {
    let range = erasure.range.unwrap_or_default();
    let last = range.end.saturating_sub(1);
    if last <= range.start {
        range.start.to_string().into()
    } else {
        format!("{}-{last}", range.start).into()
    }
}

/// How many members have said so, of those that must.
#[must_use]
pub fn confirmed(erasure: &v1::Erasure) -> Cell {
    let all = &erasure.confirmations;
    let given = all.iter().filter(|c| given(c)).count();
    format!("{given}/{}", all.len()).into()
}

/// The members that have not said so.
#[must_use]
pub fn pending(erasure: &v1::Erasure) -> Cell {
    let open = erasure.confirmations.iter().filter(|c| !given(c));
    Cell::List(open.map(|c| marked((&c.member).into(), c.late)).collect())
}

fn marked(cell: Cell, late: bool) -> Cell {
    if late {
        Cell::Phrase("message.erasures.late", vec![("what", cell)])
    } else {
        cell
    }
}

/// What was erased, one line a range; a confirmation that is late is worth an
/// exit code.
#[must_use]
pub fn sheet(erasures: &[v1::Erasure]) -> Sheet {
    let overdue = |c: &v1::Confirmation| c.late && !given(c);
    let late = erasures.iter().flat_map(|e| &e.confirmations).any(overdue);
    let exit = if late { Exit::Nothing } else { Exit::Done };
    let mut sheet = Sheet::new("log.erasures").ends(exit);
    sheet.head(Say::new("page.erasures", []));
    if erasures.is_empty() {
        sheet.say("message.erasures.none", []);
    }
    sheet.section(Section::of(erasures, ERASURES).keyed("erasures"));
    sheet
}
