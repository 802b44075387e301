//! `casegate query`: which cases of other members share evidence with a case
//! of one's own.

use std::collections::BTreeSet;

use crate::cli::desk::{Desk, PurposeArgs};
use crate::cli::failure::{CommandError, Exit};
use crate::cli::publish::{self, ElementArg, KINDS_HELP, parse_element};
use crate::cli::sheet::{Cell, Column, ROWS_MAX, Say, Section, Sheet};
use crate::cli::show;
use crate::wire::v1;

/// Asks which cases of other members share evidence with a case.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = KINDS_HELP)]
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

type Matches = Column<v1::QueryMatch>;

const MATCHES: &[Matches] = &[
    Matches::of("kind", "label.column.kind", |m| {
        Cell::word("label.kind", &m.kind)
    }),
    Matches::of("value", "label.column.value", |m| (&m.value).into()).flow(),
    Matches::of("member", "label.column.member", |m| (&m.member).into()),
    Matches::of("case_ref", "label.column.case_ref", |m| {
        Cell::Case(m.case_ref.to_vec())
    }),
    Matches::of("category", "label.column.category", |m| {
        (&m.category).into()
    })
    .spare(3),
    Matches::of("role", "label.column.role", |m| {
        Cell::word("label.role", &m.role)
    })
    .spare(2),
    Matches::of("month", "label.column.month", |m| Cell::Month(m.month)).spare(4),
    Matches::of("contact", "label.column.contact", |m| (&m.contact).into()).flow(),
    Matches::of("cases_with_token", "label.column.cases", |m| {
        m.cases_with_token.into()
    })
    .wide(),
    Matches::of("rarity", "label.column.rarity", |m| {
        Cell::Fraction(m.rarity, 2)
    })
    .wide(),
    Matches::of("status", "label.column.status", |m| {
        Cell::word("label.word", &m.status)
    })
    .spare(1),
    Matches::data("leaf", |m| Cell::Hex(m.leaf.to_vec())),
];

/// The answer to a query about a case.
#[must_use]
pub fn sheet(case: &str, answer: &v1::QueryResponse) -> Sheet {
    let exit = if answer.matches.is_empty() {
        Exit::Nothing
    } else {
        Exit::Done
    };
    let mut sheet = Sheet::new("query").ends(exit);
    sheet.head(Say::new("page.query", [("case", case.into())]));
    sheet.data("case", case);
    sheet.data("query_id", Cell::Hex(answer.query_id.to_vec()));
    sheet.data("elements_asked", answer.elements_asked);
    let asked = ("asked", answer.elements_asked.into());
    if answer.elements_asked == 0 {
        sheet.say("message.query.nothing_asked", [("case", case.into())]);
    } else if answer.matches.is_empty() {
        sheet.say("message.query.none", [("case", case.into()), asked]);
    } else {
        let all = answer.matches.iter();
        let members: BTreeSet<_> = all.clone().map(|m| &m.member).collect();
        let cases: BTreeSet<_> = all.map(|m| (&m.member, &m.case_ref)).collect();
        sheet.say(
            "message.query.found",
            [
                ("case", case.into()),
                ("members", members.len().into()),
                ("cases", cases.len().into()),
                asked,
            ],
        );
    }
    let matches = Section::of(&answer.matches, MATCHES).keyed("matches");
    sheet.section(matches.at_most(ROWS_MAX));
    sheet.data("left_out", answer.left_out);
    if answer.left_out > 0 {
        let count = answer.left_out.into();
        sheet.say("message.query.left_out", [("count", count)]);
    }
    show::replicas(&mut sheet, &answer.replicas);
    sheet
}

/// Asks.
///
/// # Errors
/// [`CommandError`].
pub async fn run(args: &QueryArgs, desk: &Desk) -> Result<Sheet, CommandError> {
    let request = v1::QueryRequest {
        case_no: args.case_no.clone(),
        elements: publish::specs(&args.elements, &args.qualifiers, None)?,
        add: args.add,
        purpose: Some(args.purpose.to_wire()),
    };
    Ok(sheet(&args.case_no, &desk.client.query(request).await?))
}
