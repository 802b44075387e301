//! Cases and their elements as JSON and people see them.

use serde::Serialize;

use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::{Screen, Table};
use crate::cli::show;
use crate::wire::v1;

/// One case, or one operation.
#[derive(Clone, Debug, Serialize)]
pub struct CaseView {
    case: String,
    case_ref: String,
    category: String,
    title: String,
    contact: String,
    opened_on: Option<String>,
    state: String,
    operation: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regions: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kinds: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    elements: u64,
    #[serde(skip)]
    ends_on: Option<String>,
}

impl CaseView {
    /// Takes a summary that an answer must have.
    ///
    /// # Errors
    /// [`CommandError::Answer`] when there is none.
    pub fn of(summary: Option<&v1::CaseSummary>) -> Result<Self, CommandError> {
        let case = summary.ok_or(CommandError::Answer("case"))?;
        Ok(Self {
            case: case.case_no.clone(),
            case_ref: hex::encode(&case.case_ref),
            category: case.category.clone(),
            title: case.title.clone(),
            contact: case.contact.clone(),
            opened_on: show::day(case.opened_on),
            state: case.state.clone(),
            operation: case.operation,
            regions: case.regions.clone(),
            kinds: case.kinds.clone(),
            ends_at: show::instant(case.ends_at),
            ends_on: show::day_of(case.ends_at.saturating_sub(1)).filter(|_| case.ends_at != 0),
            elements: case.elements,
        })
    }

    /// Says what became of the case: it was recorded, or closed.
    pub fn say(&self, screen: &mut Screen, closed: bool) {
        let words = [("case", self.case.as_str())];
        if closed {
            screen.text("message.case.closed", &words);
        } else {
            screen.text("message.case.added", &words);
        }
        screen.text("message.case.ref", &[("case_ref", &self.case_ref)]);
    }
}

/// The case table.
#[derive(Clone, Debug, Serialize)]
pub struct CasesView {
    cases: Vec<CaseView>,
    total: u64,
}

impl CasesView {
    /// Takes the node's answer.
    ///
    /// # Errors
    /// Never, today: a summary that is listed is there.
    pub fn of(answer: &v1::ListCasesResponse) -> Result<Self, CommandError> {
        let cases = answer.cases.iter().map(|case| CaseView::of(Some(case)));
        Ok(Self {
            cases: cases.collect::<Result<_, _>>()?,
            total: answer.total,
        })
    }

    /// Shows it to people: operations with their bounds, cases with their facts.
    pub fn show(&self, screen: &mut Screen) {
        if self.cases.is_empty() {
            screen.text("message.case.none", &[]);
            return;
        }
        if self.cases.iter().all(|case| case.operation) {
            screen.table(&self.operations(screen));
        } else {
            screen.table(&self.plain(screen));
        }
        let (shown, total) = (self.cases.len().to_string(), self.total.to_string());
        screen.text("message.shown", &[("shown", &shown), ("total", &total)]);
    }

    fn plain(&self, screen: &Screen) -> Table {
        let lang = screen.lang();
        let mut table = Table::new()
            .column("label.column.case")
            .column("label.column.category")
            .column("label.column.title")
            .column("label.column.contact")
            .column("label.column.opened_on")
            .column("label.column.status")
            .number("label.column.elements");
        for case in &self.cases {
            table.row([
                case.case.clone(),
                case.category.clone(),
                case.title.clone(),
                case.contact.clone(),
                case.opened_on.clone().unwrap_or_default(),
                show::word(lang, &case.state),
                case.elements.to_string(),
            ]);
        }
        table
    }

    fn operations(&self, screen: &Screen) -> Table {
        let lang = screen.lang();
        let mut table = Table::new()
            .column("label.column.operation")
            .column("label.column.title")
            .column("label.column.regions")
            .column("label.column.kind")
            .column("label.column.ends_on")
            .column("label.column.status");
        for case in &self.cases {
            let kinds: Vec<String> = case
                .kinds
                .iter()
                .map(|kind| show::kind(lang, kind))
                .collect();
            table.row([
                case.case.clone(),
                case.title.clone(),
                case.regions.join(", "),
                kinds.join(", "),
                case.ends_on.clone().unwrap_or_default(),
                show::word(lang, &case.state),
            ]);
        }
        table
    }

    /// Says whether there is any.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.cases.is_empty() {
            Exit::Nothing
        } else {
            Exit::Done
        }
    }
}

/// One element of a case of one's own.
#[derive(Clone, Debug, Serialize)]
pub struct ElementView {
    kind: String,
    value: String,
    role: String,
    index: u64,
    audience: String,
    shared_with: u64,
}

/// A case with its elements.
#[derive(Clone, Debug, Serialize)]
pub struct ShownCaseView {
    #[serde(flatten)]
    summary: CaseView,
    held: Vec<ElementView>,
}

impl ShownCaseView {
    /// Takes the node's answer.
    ///
    /// # Errors
    /// [`CommandError::Answer`] when it has no case.
    pub fn of(answer: &v1::ShowCaseResponse) -> Result<Self, CommandError> {
        let element = |e: &v1::CaseElement| ElementView {
            kind: e.kind.clone(),
            value: e.value.clone(),
            role: e.role.clone(),
            index: e.index,
            audience: e.audience.clone(),
            shared_with: e.shared_with,
        };
        Ok(Self {
            summary: CaseView::of(answer.summary.as_ref())?,
            held: answer.elements.iter().map(element).collect(),
        })
    }

    /// Shows it to people.
    pub fn show(&self, screen: &mut Screen) {
        let lang = screen.lang();
        let of_one = CasesView {
            cases: vec![self.summary.clone()],
            total: 1,
        };
        let facts = if self.summary.operation {
            of_one.operations(screen)
        } else {
            of_one.plain(screen)
        };
        screen.table(&facts);
        screen.text("message.case.ref", &[("case_ref", &self.summary.case_ref)]);
        if self.held.is_empty() {
            return;
        }
        screen.title("label.title.elements");
        let mut table = Table::new()
            .column("label.column.kind")
            .column("label.column.value")
            .column("label.column.role")
            .column("label.column.audience")
            .number("label.column.index")
            .number("label.column.shared_with");
        for element in &self.held {
            table.row([
                show::kind(lang, &element.kind),
                element.value.clone(),
                show::role(lang, &element.role),
                element.audience.clone(),
                element.index.to_string(),
                element.shared_with.to_string(),
            ]);
        }
        screen.table(&table);
    }
}

/// What was retracted.
#[derive(Clone, Debug, Serialize)]
pub struct RetractView {
    case: String,
    dry_run: bool,
    retracted: u64,
    /// Elements that had no record yet.
    waiting: u64,
    /// The retraction's own entry; absent when nothing was retracted.
    index: Option<u64>,
}

impl RetractView {
    /// Takes the node's answer.
    #[must_use]
    pub fn of(case: &str, dry_run: bool, answer: &v1::RetractResponse) -> Self {
        Self {
            case: case.to_owned(),
            dry_run,
            retracted: answer.retracted,
            waiting: answer.waiting,
            index: (answer.retracted > 0 && !dry_run).then_some(answer.index),
        }
    }

    /// Shows it to people.
    pub fn show(&self, screen: &mut Screen) {
        let count = self.retracted.to_string();
        let words = [("case", self.case.as_str()), ("count", &count)];
        match (self.retracted, self.dry_run) {
            (0, _) if self.waiting > 0 => {}
            (0, _) => screen.text("message.retract.none", &words[..1]),
            (_, true) => screen.text("message.retract.dry_run", &words),
            (_, false) => screen.text("message.retract.done", &words),
        }
        let waiting = self.waiting.to_string();
        let words = [("case", self.case.as_str()), ("count", &waiting)];
        match (self.waiting, self.dry_run) {
            (0, _) => {}
            (_, true) => screen.text("message.retract.would_drop", &words),
            (_, false) => screen.text("message.retract.dropped", &words),
        }
    }

    /// Says whether there was anything to retract.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.retracted == 0 && self.waiting == 0 {
            Exit::Nothing
        } else {
            Exit::Done
        }
    }
}
