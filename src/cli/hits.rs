//! `casegate hits`: cases of other members that met a case of one's own.

use crate::cli::desk::{Desk, PurposeArgs};
use crate::cli::failure::{CommandError, Exit};
use crate::cli::sheet::{Cell, Column, Say, Section, Sheet};
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

type Hits = Column<v1::HitLine>;

const HITS: &[Hits] = &[
    Hits::of("case", "label.column.case", |h| (&h.case_no).into()),
    Hits::of("kind", "label.column.kind", |h| {
        Cell::word("label.kind", &h.kind)
    }),
    Hits::of("value", "label.column.value", |h| (&h.value).into()).flow(),
    Hits::of("member", "label.column.member", |h| (&h.member).into()),
    Hits::of("case_ref", "label.column.case_ref", |h| {
        Cell::Case(h.case_ref.to_vec())
    }),
    Hits::of("category", "label.column.category", |h| {
        (&h.category).into()
    })
    .spare(4),
    Hits::of("contact", "label.column.contact", |h| (&h.contact).into()).flow(),
    Hits::data("raised_at", |h| Cell::Time(h.raised_at)),
    Hits::seen("label.column.raised_on", |h| {
        Cell::Day(show::day_of(h.raised_at))
    })
    .spare(1),
    Hits::of("cases_with_token", "label.column.cases", |h| {
        h.cases_with_token.into()
    })
    .spare(2),
    Hits::of("status", "label.column.status", |h| {
        Cell::word("label.word", &h.status)
    })
    .spare(3),
];

/// The hits that a node answers with.
#[must_use]
pub fn sheet(answer: &v1::HitsResponse) -> Sheet {
    let none = answer.hits.is_empty();
    let exit = if none { Exit::Nothing } else { Exit::Done };
    let mut sheet = Sheet::new("hits").ends(exit);
    sheet.head(Say::new("page.hits", []));
    if none {
        sheet.say("message.hits.none", []);
    }
    let hits = Section::of(&answer.hits, HITS).keyed("hits");
    sheet.section(hits.total(answer.total, "label.shown.limit"));
    sheet.data("total", answer.total);
    sheet
}

/// Lists them.
///
/// # Errors
/// [`CommandError`].
pub async fn run(args: &HitsArgs, desk: &Desk) -> Result<Sheet, CommandError> {
    let request = v1::HitsRequest {
        case_no: args.case_no.clone().unwrap_or_default(),
        limit: args.limit,
        purpose: Some(args.purpose.to_wire()),
    };
    Ok(sheet(&desk.client.hits(request).await?))
}
