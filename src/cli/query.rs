//! `casegate query`: which cases of other members share evidence with a case
//! of one's own.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cli::desk::{Desk, PurposeArgs};
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::{Output, Screen, Table};
use crate::cli::publish::{self, ElementArg, kinds_help, parse_element};
use crate::cli::show::{self, Replica};
use crate::wire::v1;

/// Asks which cases of other members share evidence with a case.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = kinds_help())]
pub struct QueryArgs {
    /// The case's number.
    #[arg(long = "case", value_name = "NO")]
    pub case_no: String,
    /// Asks for this element only; may be given many times.
    #[arg(long = "element", value_name = "KIND:VALUE", value_parser = parse_element)]
    pub elements: Vec<ElementArg>,
    /// What an element needs besides; once for each element, in their order.
    #[arg(long = "qualifier", value_name = "TEXT", requires = "elements")]
    pub qualifiers: Vec<String>,
    /// Records and publishes elements that the case does not have yet.
    #[arg(long, requires = "elements")]
    pub add: bool,
    /// Why.
    #[command(flatten)]
    pub purpose: PurposeArgs,
}

/// One case elsewhere that shares one element.
#[derive(Clone, Debug, Serialize)]
pub struct MatchView {
    kind: String,
    value: String,
    member: String,
    case_ref: String,
    category: String,
    role: String,
    month: Option<String>,
    contact: String,
    cases_with_token: u32,
    rarity: f64,
    status: String,
    /// The leaf hash of the other member's entry.
    leaf: String,
}

/// An answer as JSON and people see it.
#[derive(Clone, Debug, Serialize)]
pub struct QueryView {
    case: String,
    query_id: String,
    elements_asked: u64,
    matches: Vec<MatchView>,
    /// Matches over the limit of one answer.
    left_out: u64,
    replicas: Vec<Replica>,
    /// Members whose part of the answer is missing or may be old.
    silent: Vec<String>,
}

impl QueryView {
    /// Takes the node's answer for a case.
    #[must_use]
    pub fn of(case: &str, answer: &v1::QueryResponse) -> Self {
        let row = |m: &v1::QueryMatch| MatchView {
            kind: m.kind.clone(),
            value: m.value.clone(),
            member: m.member.clone(),
            case_ref: hex::encode(&m.case_ref),
            category: m.category.clone(),
            role: m.role.clone(),
            month: show::month(m.month),
            contact: m.contact.clone(),
            cases_with_token: m.cases_with_token,
            rarity: m.rarity,
            status: m.status.clone(),
            leaf: hex::encode(&m.leaf),
        };
        let replicas = Replica::all(&answer.replicas);
        Self {
            case: case.to_owned(),
            query_id: hex::encode(&answer.query_id),
            elements_asked: answer.elements_asked,
            matches: answer.matches.iter().map(row).collect(),
            left_out: answer.left_out,
            silent: Replica::silent(&replicas),
            replicas,
        }
    }

    /// Shows it to people.
    pub fn show(&self, screen: &mut Screen) {
        let lang = screen.lang();
        if self.matches.is_empty() {
            screen.text("message.query.none", &[("case", &self.case)]);
        } else {
            let members: BTreeSet<_> = self.matches.iter().map(|m| &m.member).collect();
            let cases: BTreeSet<_> = self
                .matches
                .iter()
                .map(|m| (&m.member, &m.case_ref))
                .collect();
            let (members, cases) = (members.len().to_string(), cases.len().to_string());
            screen.text(
                "message.query.found",
                &[
                    ("case", &self.case),
                    ("members", &members),
                    ("cases", &cases),
                ],
            );
            let mut table = Table::new()
                .column("label.column.kind")
                .column("label.column.value")
                .column("label.column.member")
                .column("label.column.case_ref")
                .column("label.column.category")
                .column("label.column.role")
                .column("label.column.month")
                .column("label.column.contact")
                .column("label.column.status")
                .number("label.column.rarity");
            for m in &self.matches {
                table.row([
                    show::kind(lang, &m.kind),
                    m.value.clone(),
                    m.member.clone(),
                    m.case_ref.clone(),
                    m.category.clone(),
                    show::role(lang, &m.role),
                    m.month.clone().unwrap_or_default(),
                    m.contact.clone(),
                    show::word(lang, &m.status),
                    format!("{:.2}", m.rarity),
                ]);
            }
            screen.table(&table);
        }
        if self.left_out > 0 {
            screen.text(
                "message.query.left_out",
                &[("count", &self.left_out.to_string())],
            );
        }
        show::replicas(screen, &self.replicas);
    }

    /// Says whether anything was found.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.matches.is_empty() {
            Exit::Nothing
        } else {
            Exit::Done
        }
    }
}

/// Asks.
///
/// # Errors
/// [`CommandError`].
pub async fn run(args: &QueryArgs, desk: &Desk, output: &Output) -> Result<Exit, CommandError> {
    let request = v1::QueryRequest {
        case_no: args.case_no.clone(),
        elements: publish::specs(&args.elements, &args.qualifiers, None)?,
        add: args.add,
        purpose: Some(args.purpose.to_wire()),
    };
    let view = QueryView::of(&args.case_no, &desk.client.query(request).await?);
    output.emit("query", &view, |screen| view.show(screen))?;
    Ok(view.exit())
}
