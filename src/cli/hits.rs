//! `casegate hits`: cases of other members that met a case of one's own.

use serde::Serialize;

use crate::cli::desk::{Desk, PurposeArgs};
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::{Output, Screen, Table};
use crate::cli::show;
use crate::wire::v1;

/// Lists hits, the newest first.
#[derive(Clone, Debug, clap::Args)]
pub struct HitsArgs {
    /// Those of one case only.
    #[arg(long = "case", value_name = "NO")]
    pub case_no: Option<String>,
    /// The most hits to list.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u32,
    /// Why.
    #[command(flatten)]
    pub purpose: PurposeArgs,
}

/// One hit.
#[derive(Clone, Debug, Serialize)]
pub struct HitView {
    case: String,
    kind: String,
    value: String,
    member: String,
    case_ref: String,
    category: String,
    contact: String,
    raised_at: Option<String>,
    cases_with_token: u32,
    /// Whether the other member's record is witnessed.
    status: String,
}

/// The list as JSON and people see it.
#[derive(Clone, Debug, Serialize)]
pub struct HitsView {
    hits: Vec<HitView>,
    total: u64,
}

impl HitsView {
    /// Takes the node's answer.
    #[must_use]
    pub fn of(answer: &v1::HitsResponse) -> Self {
        let row = |hit: &v1::HitLine| HitView {
            case: hit.case_no.clone(),
            kind: hit.kind.clone(),
            value: hit.value.clone(),
            member: hit.member.clone(),
            case_ref: hex::encode(&hit.case_ref),
            category: hit.category.clone(),
            contact: hit.contact.clone(),
            raised_at: show::instant(hit.raised_at),
            cases_with_token: hit.cases_with_token,
            status: hit.status.clone(),
        };
        Self {
            hits: answer.hits.iter().map(row).collect(),
            total: answer.total,
        }
    }

    /// Shows it to people.
    pub fn show(&self, screen: &mut Screen) {
        if self.hits.is_empty() {
            screen.text("message.hits.none", &[]);
            return;
        }
        let lang = screen.lang();
        let mut table = Table::new()
            .column("label.column.case")
            .column("label.column.kind")
            .column("label.column.value")
            .column("label.column.member")
            .column("label.column.case_ref")
            .column("label.column.category")
            .column("label.column.contact")
            .column("label.column.time")
            .column("label.column.status")
            .number("label.column.cases");
        for hit in &self.hits {
            table.row([
                hit.case.clone(),
                show::kind(lang, &hit.kind),
                hit.value.clone(),
                hit.member.clone(),
                hit.case_ref.clone(),
                hit.category.clone(),
                hit.contact.clone(),
                hit.raised_at.clone().unwrap_or_default(),
                show::word(lang, &hit.status),
                hit.cases_with_token.to_string(),
            ]);
        }
        screen.table(&table);
        let (shown, total) = (self.hits.len().to_string(), self.total.to_string());
        screen.text("message.shown", &[("shown", &shown), ("total", &total)]);
    }

    /// Says whether there is any.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.hits.is_empty() {
            Exit::Nothing
        } else {
            Exit::Done
        }
    }
}

/// Lists them.
///
/// # Errors
/// [`CommandError`].
pub async fn run(args: &HitsArgs, desk: &Desk, output: &Output) -> Result<Exit, CommandError> {
    let request = v1::HitsRequest {
        case_no: args.case_no.clone().unwrap_or_default(),
        limit: args.limit,
        purpose: Some(args.purpose.to_wire()),
    };
    let view = HitsView::of(&desk.client.hits(request).await?);
    output.emit("hits", &view, |screen| view.show(screen))?;
    Ok(view.exit())
}
