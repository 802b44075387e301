//! What was erased of the own records log, why, when, and who has confirmed it.

use serde::Serialize;

use crate::cli::failure::Exit;
use crate::cli::output::{Screen, Table};
use crate::cli::show;
use crate::wire::v1::{self, ConfirmationState, RetractReason};

/// What a member that owes a receipt has said.
#[derive(Clone, Debug, Serialize)]
struct ConfirmationView {
    member: String,
    /// `pending`, `erased` or `never_held`.
    state: &'static str,
    /// Where its receipt stands; absent while it is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt_log: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt_index: Option<u64>,
    at: Option<String>,
    late: bool,
}

/// A range of records.
#[derive(Clone, Debug, Serialize)]
struct ErasureView {
    start: u64,
    /// Exclusive.
    end: u64,
    retracted_by: Option<u64>,
    reason: &'static str,
    decided_at: Option<String>,
    erased_at: Option<String>,
    late: bool,
    /// Where the owner's own erasure stands.
    entry: u64,
    confirmations: Vec<ConfirmationView>,
}

/// All of it, as JSON and people see it.
#[derive(Clone, Debug, Serialize)]
pub struct ErasuresView {
    erasures: Vec<ErasureView>,
}

impl ErasuresView {
    /// Takes the node's answer.
    #[must_use]
    pub fn of(answer: &v1::ShowLogResponse) -> Self {
        Self {
            erasures: answer.erasures.iter().map(erasure).collect(),
        }
    }

    /// Shows it to people: one line a range, with the members that have not confirmed.
    pub fn show(&self, screen: &mut Screen) {
        if self.erasures.is_empty() {
            screen.text("message.erasures.none", &[]);
            return;
        }
        let lang = screen.lang();
        let mut table = Table::new()
            .column("label.column.records")
            .column("label.column.reason")
            .column("label.column.decided")
            .column("label.column.erased")
            .column("label.column.confirmed")
            .column("label.column.pending");
        for erasure in &self.erasures {
            let pending: Vec<String> = erasure
                .confirmations
                .iter()
                .filter(|c| c.receipt_index.is_none())
                .map(|c| marked(lang, &c.member, c.late))
                .collect();
            let owed = erasure.confirmations.len();
            let at = erasure.erased_at.clone().unwrap_or_default();
            table.row([
                format!("[{}, {})", erasure.start, erasure.end),
                show::word(lang, erasure.reason),
                erasure.decided_at.clone().unwrap_or_default(),
                marked(lang, &at, erasure.late),
                format!("{}/{owed}", owed - pending.len()),
                pending.join(" "),
            ]);
        }
        screen.table(&table);
    }

    /// A confirmation that is late is worth an exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let overdue = |c: &ConfirmationView| c.late && c.receipt_index.is_none();
        if self
            .erasures
            .iter()
            .any(|e| e.confirmations.iter().any(overdue))
        {
            Exit::Nothing
        } else {
            Exit::Done
        }
    }
}

fn marked(lang: crate::lang::Lang, text: &str, late: bool) -> String {
    if late {
        format!("{text} ({})", lang.text("label.word.late", &[]))
    } else {
        text.to_owned()
    }
}

fn erasure(erasure: &v1::Erasure) -> ErasureView {
    let range = erasure.range.unwrap_or_default();
    ErasureView {
        start: range.start,
        end: range.end,
        retracted_by: erasure.retracted_by,
        reason: match erasure.reason() {
            RetractReason::Unspecified => "unknown",
            RetractReason::Mistake => "mistake",
            RetractReason::Retention => "retention",
            RetractReason::Order => "order",
            RetractReason::CaseClosed => "case_closed",
        },
        decided_at: show::instant(erasure.decided_at),
        erased_at: show::instant(erasure.erased_at),
        late: erasure.late,
        entry: erasure.entry,
        confirmations: erasure.confirmations.iter().map(confirmation).collect(),
    }
}

fn confirmation(confirmation: &v1::Confirmation) -> ConfirmationView {
    let state = match confirmation.state() {
        ConfirmationState::Erased => "erased",
        ConfirmationState::NeverHeld => "never_held",
        ConfirmationState::Unspecified | ConfirmationState::Pending => "pending",
    };
    let given = state != "pending";
    ConfirmationView {
        member: confirmation.member.clone(),
        state,
        receipt_log: given.then(|| confirmation.receipt_origin.clone()),
        receipt_index: given.then_some(confirmation.receipt_index),
        at: show::instant(confirmation.at),
        late: confirmation.late,
    }
}
