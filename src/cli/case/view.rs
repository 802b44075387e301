//! Cases and their elements, as programs and people see them.

use crate::cli::failure::{CommandError, Exit};
use crate::cli::sheet::{Cell, Column, ROWS_MAX, Say, Section, Sheet};
use crate::cli::show;
use crate::wire::v1;

type Summary = Column<v1::CaseSummary>;

/// One case, or one operation; people see the columns of one or the other.
const SUMMARY: &[Summary] = &[
    Summary::data("case", |c| (&c.case_no).into()),
    Summary::seen("label.column.case", |c| (&c.case_no).into()),
    Summary::seen("label.column.operation", |c| (&c.case_no).into()),
    Summary::of("case_ref", "label.column.case_ref", |c| {
        Cell::Case(c.case_ref.to_vec())
    }),
    Summary::of("category", "label.column.category", |c| {
        (&c.category).into()
    })
    .spare(3),
    Summary::of("title", "label.column.title", |c| (&c.title).into()).flow(),
    Summary::of("contact", "label.column.contact", |c| (&c.contact).into())
        .flow()
        .spare(4),
    Summary::of("opened_on", "label.column.opened_on", |c| {
        Cell::Day(c.opened_on)
    })
    .spare(1),
    Summary::of("state", "label.column.status", |c| {
        Cell::word("label.word", &c.state)
    }),
    Summary::data("operation", |c| c.operation.into()),
    Summary::of("regions", "label.column.regions", |c| {
        some(Cell::texts(&c.regions))
    })
    .flow(),
    Summary::of("kinds", "label.column.kind", |c| {
        some(Cell::words("label.kind", &c.kinds))
    })
    .flow(),
    Summary::data("ends_at", |c| match c.ends_at {
        0 => Cell::Absent,
        at => Cell::Time(at),
    }),
    Summary::seen("label.column.ends_on", |c| match c.ends_at {
        0 => Cell::Absent,
        at => Cell::Day(show::day_of(at.saturating_sub(1))),
    }),
    Summary::of("elements", "label.column.elements", |c| c.elements.into()).sum(),
];

/// Headings that are of no use for plain cases.
const OF_OPERATIONS: [&str; 4] = [
    "label.column.operation",
    "label.column.regions",
    "label.column.kind",
    "label.column.ends_on",
];
/// Headings that are of no use for operations.
const OF_CASES: [&str; 5] = [
    "label.column.case",
    "label.column.category",
    "label.column.contact",
    "label.column.opened_on",
    "label.column.elements",
];

type Elements = Column<v1::CaseElement>;

const ELEMENTS: &[Elements] = &[
    Elements::of("kind", "label.column.kind", |e| {
        Cell::word("label.kind", &e.kind)
    }),
    Elements::of("value", "label.column.value", |e| (&e.value).into()).flow(),
    Elements::of("role", "label.column.role", |e| {
        Cell::word("label.role", &e.role)
    })
    .spare(1),
    Elements::of("index", "label.column.index", |e| e.index.into()).spare(3),
    Elements::of("audience", "label.column.audience", |e| {
        Cell::Audience(e.audience.clone())
    })
    .spare(2),
    Elements::of("shared_with", "label.column.shared_with", |e| {
        e.shared_with.into()
    }),
];

/// A list that is left out when it is empty.
fn some(cell: Cell) -> Cell {
    match cell {
        Cell::List(list) if list.is_empty() => Cell::Absent,
        other => other,
    }
}

/// The columns of operations where all are, else those of cases.
fn summaries(cases: &[v1::CaseSummary]) -> Section {
    let operations = cases.iter().all(|case| case.operation);
    let unwanted = if operations {
        &OF_CASES[..]
    } else {
        &OF_OPERATIONS
    };
    Section::of(cases, SUMMARY).without(unwanted)
}

fn summary(answer: Option<&v1::CaseSummary>) -> Result<&v1::CaseSummary, CommandError> {
    answer.ok_or(CommandError::Answer("case"))
}

/// One case, with the sentence that says what became of it.
///
/// # Errors
/// [`CommandError::Answer`] when there is none.
pub fn one(answer: Option<&v1::CaseSummary>, said: &'static str) -> Result<Sheet, CommandError> {
    let case = summary(answer)?;
    let mut sheet = Sheet::new("case");
    sheet.fields(case, SUMMARY);
    sheet.say(said, [("case", (&case.case_no).into())]);
    let case_ref = Cell::Hex(case.case_ref.to_vec());
    sheet.say("message.case.ref", [("case_ref", case_ref)]);
    Ok(sheet)
}

/// The case table.
#[must_use]
pub fn list(answer: &v1::ListCasesResponse) -> Sheet {
    let none = answer.cases.is_empty();
    let exit = if none { Exit::Nothing } else { Exit::Done };
    let mut sheet = Sheet::new("case").ends(exit);
    sheet.head(Say::new("page.cases", []));
    if none {
        sheet.say("message.case.none", []);
    }
    let cases = summaries(&answer.cases).keyed("cases");
    sheet.section(cases.total(answer.total, "label.shown.limit"));
    sheet.data("total", answer.total);
    sheet
}

/// A case with its elements.
///
/// # Errors
/// [`CommandError::Answer`] when the answer has no case.
pub fn shown(answer: &v1::ShowCaseResponse) -> Result<Sheet, CommandError> {
    let case = summary(answer.summary.as_ref())?;
    let mut sheet = Sheet::new("case");
    sheet.head(Say::new("page.case", [("case", (&case.case_no).into())]));
    sheet.fields(case, SUMMARY);
    sheet.section(summaries(std::slice::from_ref(case)));
    let case_ref = Cell::Hex(case.case_ref.to_vec());
    sheet.say("message.case.ref", [("case_ref", case_ref)]);
    let held = Section::of(&answer.elements, ELEMENTS).keyed("held");
    let held = held.titled("label.title.elements").at_most(ROWS_MAX);
    sheet.section(held.total(case.elements, "label.shown.some"));
    Ok(sheet)
}

/// What was retracted, or would be.
#[must_use]
pub fn retracted(case: &str, dry_run: bool, answer: &v1::RetractResponse) -> Sheet {
    let (retracted, waiting) = (answer.retracted, answer.waiting);
    let none = retracted == 0 && waiting == 0;
    let exit = if none { Exit::Nothing } else { Exit::Done };
    let mut sheet = Sheet::new("case").ends(exit);
    sheet.data("case", case);
    sheet.data("dry_run", dry_run);
    sheet.data("retracted", retracted);
    sheet.data("waiting", waiting);
    let index = (retracted > 0 && !dry_run).then_some(answer.index);
    sheet.data("index", Cell::maybe(index));
    let words = |count: u64| [("case", case.into()), ("count", count.into())];
    if none {
        sheet.say("message.retract.none", [("case", case.into())]);
    }
    match (retracted, dry_run) {
        (0, _) => {}
        (_, true) => {
            sheet.say("message.retract.dry_run", words(retracted));
        }
        (_, false) => {
            sheet.say("message.retract.done", words(retracted));
        }
    }
    match (waiting, dry_run) {
        (0, _) => {}
        (_, true) => {
            sheet.say("message.retract.would_drop", words(waiting));
        }
        (_, false) => {
            sheet.say("message.retract.dropped", words(waiting));
        }
    }
    sheet
}
