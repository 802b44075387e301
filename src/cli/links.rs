//! `casegate links`: which cases of an operation's regions belong together,
//! and why. It never shows a value or a token.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::cli::desk::{Desk, PurposeArgs};
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::Output;
use crate::cli::sheet::{Cell, Column, Say, Section, Sheet};
use crate::cli::show;
use crate::element::Kind;
use crate::wire::v1;

pub mod csv;

/// What the rows are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// Pairs and groups of cases.
    Case,
    /// Shared tokens.
    Token,
}

impl By {
    fn as_str(self) -> &'static str {
        match self {
            Self::Case => "case",
            Self::Token => "token",
        }
    }
}

/// Finds which cases of an operation's regions belong together.
#[derive(Clone, Debug, clap::Args)]
pub struct LinksArgs {
    /// The operation's number in the case table.
    #[arg(long, value_name = "NO")]
    pub operation: String,
    /// Lists pairs and groups of cases, or shared tokens.
    #[arg(long, value_enum, default_value_t = By::Case)]
    pub by: By,
    /// Only cases of this region; may be given many times, as the next three.
    #[arg(long = "region", value_name = "NAME")]
    pub regions: Vec<String>,
    /// Only elements of this kind.
    #[arg(long = "kind", value_name = "KIND", value_parser = show::parse_kind)]
    pub kinds: Vec<Kind>,
    /// Only cases of this category.
    #[arg(long = "category", value_name = "WORD")]
    pub categories: Vec<String>,
    /// Only cases of this member.
    #[arg(long = "member", value_name = "NAME")]
    pub members: Vec<String>,
    /// Only elements seen on or after this day.
    #[arg(long, value_name = "DATE", value_parser = show::parse_day)]
    pub from: Option<i32>,
    /// Only elements seen on or before this day.
    #[arg(long, value_name = "DATE", value_parser = show::parse_day)]
    pub to: Option<i32>,
    /// Rows of each list.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub top: u32,
    /// Writes the pairs, or the tokens, into a CSV file too.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Why.
    #[command(flatten)]
    pub purpose: PurposeArgs,
}

/// A case in a pair or group.
const CASE: &[Column<v1::LinkedCase>] = &[
    Column::of("member", "label.column.member", |c| (&c.member).into()),
    Column::of("case_ref", "label.column.case_ref", |c| {
        Cell::Case(c.case_ref.to_vec())
    }),
    Column::data("category", |c| (&c.category).into()),
    Column::data("contact", |c| (&c.contact).into()),
];

fn case(case: Option<&v1::LinkedCase>) -> Cell {
    Cell::record(&case.cloned().unwrap_or_default(), CASE)
}

fn contact(case: Option<&v1::LinkedCase>) -> Cell {
    case.map_or(Cell::Absent, |case| (&case.contact).into())
}

type Pairs = Column<v1::LinkedPair>;

/// Two cases with what they share.
const PAIRS: &[Pairs] = &[
    Pairs::of("a", "label.column.case_a", |p| case(p.a.as_ref())),
    Pairs::of("b", "label.column.case_b", |p| case(p.b.as_ref())),
    Pairs::of("shared", "label.column.shared", |p| p.shared.into()),
    Pairs::of("kinds", "label.column.kinds", |p| {
        Cell::Counts("label.kind", p.kinds.clone())
    })
    .flow(),
    Pairs::of("score", "label.column.score", |p| {
        Cell::Fraction(p.score, 2)
    }),
    Pairs::seen("label.column.contacts", |p| {
        Cell::List(vec![contact(p.a.as_ref()), contact(p.b.as_ref())])
    })
    .flow()
    .spare(1),
    Pairs::of("first_seen", "label.column.first_seen", |p| {
        Cell::Day(p.first_day)
    })
    .spare(4),
    Pairs::of("last_seen", "label.column.last_seen", |p| {
        Cell::Day(p.last_day)
    })
    .spare(3),
];

/// A group with its number in the report.
struct Group {
    number: u64,
    of: v1::LinkedGroup,
}

type Groups = Column<Group>;

/// Cases that belong together.
const GROUPS: &[Groups] = &[
    Groups::seen("label.column.group", |g| g.number.into()),
    Groups::of("cases", "label.column.refs", |g| {
        let each = g.of.cases.iter().map(|c| Cell::record(c, CASE));
        Cell::List(each.collect())
    })
    .flow()
    .wide(),
    Groups::of("case_count", "label.column.cases", |g| {
        g.of.case_count.into()
    }),
    Groups::of("members", "label.column.members", |g| {
        Cell::texts(&g.of.members)
    })
    .flow(),
    Groups::of("lead", "label.column.lead", |g| case(g.of.lead.as_ref())),
    Groups::data("lead_reason", |g| (&g.of.lead_reason).into()),
    Groups::of("shared", "label.column.shared", |g| g.of.shared.into()),
    Groups::of("kinds", "label.column.kinds", |g| {
        Cell::Counts("label.kind", g.of.kinds.clone())
    })
    .flow(),
    Groups::of("score", "label.column.score", |g| {
        Cell::Fraction(g.of.score, 2)
    }),
    Groups::data("capped", |g| g.of.capped.into()),
    Groups::seen("label.column.why", |g| {
        let mut why = vec![Cell::Said(g.of.lead_reason.clone())];
        if g.of.capped {
            why.push(Cell::Phrase("message.links.capped", vec![]));
        }
        Cell::List(why)
    })
    .flow()
    .spare(1),
];

type Tokens = Column<v1::LinkedToken>;

/// Tokens that cases share, under numbers of the report's own.
const TOKENS: &[Tokens] = &[
    Tokens::of("token", "label.column.token", |t| t.ordinal.into()),
    Tokens::of("kind", "label.column.kind", |t| {
        Cell::word("label.kind", &t.kind)
    }),
    Tokens::of("members", "label.column.members", |t| {
        Cell::texts(&t.members)
    })
    .flow(),
    Tokens::of("cases", "label.column.cases", |t| t.cases.into()),
    Tokens::of("rarity", "label.column.rarity", |t| {
        Cell::Fraction(t.rarity, 2)
    }),
    Tokens::of("hub", "label.column.hub", |t| t.hub.into()),
];

/// What belongs together within an operation.
#[must_use]
pub fn sheet(operation: &str, by: By, answer: &v1::LinksResponse) -> Sheet {
    let none = answer.pairs.is_empty() && answer.groups.is_empty() && answer.tokens.is_empty();
    let exit = if none { Exit::Nothing } else { Exit::Done };
    let mut sheet = Sheet::new("links").ends(exit);
    sheet.head(Say::new("page.links", [("operation", operation.into())]));
    sheet.data("operation", operation);
    sheet.data("by", by.as_str());
    sheet.data("query_id", Cell::Hex(answer.query_id.to_vec()));
    sheet.data("cases", answer.cases);
    sheet.data("shared_tokens", answer.shared_tokens);
    sheet.data("hubs", answer.hubs);
    sheet.data("total_pairs", answer.total_pairs);
    sheet.data("total_groups", answer.total_groups);
    if none {
        sheet.say("message.links.none", []);
    }
    let pairs = Section::of(&answer.pairs, PAIRS).keyed("pairs");
    let pairs = pairs
        .titled("label.title.pairs")
        .total(answer.total_pairs, "label.shown.top");
    sheet.section(pairs);
    let number = |(number, of): (u64, &v1::LinkedGroup)| Group {
        number,
        of: of.clone(),
    };
    let groups: Vec<Group> = (1..).zip(&answer.groups).map(number).collect();
    let groups = Section::of(&groups, GROUPS).keyed("groups");
    let groups = groups
        .titled("label.title.groups")
        .total(answer.total_groups, "label.shown.top");
    sheet.section(groups);
    let tokens = Section::of(&answer.tokens, TOKENS).keyed("tokens");
    let tokens = tokens
        .titled("label.title.tokens")
        .total(answer.shared_tokens, "label.shown.top");
    sheet.section(tokens);
    if answer.hubs > 0 {
        sheet.say("message.links.hubs", [("count", answer.hubs.into())]);
    }
    sheet.data("provisional", answer.provisional);
    if answer.provisional > 0 {
        let count = answer.provisional.into();
        sheet.say("message.links.provisional", [("count", count)]);
    }
    show::replicas(&mut sheet, &answer.replicas);
    sheet
}

/// Asks, and writes the CSV file if one is wanted.
///
/// # Errors
/// [`CommandError`].
pub async fn run(args: &LinksArgs, desk: &Desk, output: &Output) -> Result<Sheet, CommandError> {
    let request = v1::LinksRequest {
        operation: args.operation.clone(),
        by: args.by.as_str().to_owned(),
        purpose: Some(args.purpose.to_wire()),
        regions: args.regions.clone(),
        kinds: args.kinds.iter().map(ToString::to_string).collect(),
        categories: args.categories.clone(),
        members: args.members.clone(),
        from_day: args.from.unwrap_or_default(),
        to_day: args.to.unwrap_or_default(),
        top: args.top,
    };
    let answer = desk.client.links(request).await?;
    if let Some(path) = &args.csv {
        write_csv(&answer, args.by, path).map_err(|source| CommandError::Unwritable {
            path: path.clone(),
            source,
        })?;
        let path = path.display().to_string();
        output.note(&output.lang().text("message.links.csv", &[("path", &path)]))?;
    }
    Ok(sheet(&args.operation, args.by, &answer))
}

fn write_csv(answer: &v1::LinksResponse, by: By, path: &Path) -> std::io::Result<()> {
    let mut text = Vec::new();
    match by {
        By::Case => csv::pairs(answer, &mut text)?,
        By::Token => csv::tokens(answer, &mut text)?,
    }
    std::fs::File::create(path)?.write_all(&text)
}
