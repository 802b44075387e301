//! `casegate links`: which cases of an operation's regions belong together,
//! and why. It never shows a value or a token.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::desk::{Desk, PurposeArgs};
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::{Output, Screen, Table};
use crate::cli::show::{self, Count, Replica};
use crate::lang::Lang;
use crate::wire::v1;

pub mod sheet;

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
    #[arg(long = "kind", value_name = "KIND", value_parser = parse_kind_word)]
    pub kinds: Vec<String>,
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

/// Reads the word of a kind, and keeps it as it is.
///
/// # Errors
/// A sentence for clap.
pub fn parse_kind_word(text: &str) -> Result<String, String> {
    match show::parse_kind(text) {
        Some(_) => Ok(text.to_owned()),
        None => {
            Err("this is not a kind of element: use phone, bank-card, url or another".to_owned())
        }
    }
}

/// A case in a pair or group.
#[derive(Clone, Debug, Default, Serialize, PartialEq, Eq)]
pub struct CaseView {
    member: String,
    case_ref: String,
    category: String,
    contact: String,
}

impl CaseView {
    fn of(case: Option<&v1::LinkedCase>) -> Self {
        case.map_or_else(Self::default, |case| Self {
            member: case.member.clone(),
            case_ref: hex::encode(&case.case_ref),
            category: case.category.clone(),
            contact: case.contact.clone(),
        })
    }

    fn short(&self) -> String {
        let case: String = self.case_ref.chars().take(12).collect();
        format!("{} {case} {}", self.member, self.category)
            .trim_end()
            .to_owned()
    }
}

/// Two cases with what they share.
#[derive(Clone, Debug, Serialize)]
pub struct PairView {
    a: CaseView,
    b: CaseView,
    shared: u32,
    kinds: Vec<Count>,
    score: f64,
    first_seen: Option<String>,
    last_seen: Option<String>,
}

/// Cases that belong together.
#[derive(Clone, Debug, Serialize)]
pub struct GroupView {
    cases: Vec<CaseView>,
    /// All cases of the group, of which `cases` may be the first.
    case_count: u32,
    members: Vec<String>,
    lead: CaseView,
    lead_reason: String,
    shared: u32,
    kinds: Vec<Count>,
    score: f64,
    capped: bool,
}

/// A token that cases share, under a number of this report's own.
#[derive(Clone, Debug, Serialize)]
pub struct TokenView {
    token: u64,
    kind: String,
    members: Vec<String>,
    cases: u32,
    rarity: f64,
    hub: bool,
}

/// A report as JSON and people see it.
#[derive(Clone, Debug, Serialize)]
pub struct LinksView {
    operation: String,
    by: &'static str,
    query_id: String,
    cases: u64,
    shared_tokens: u64,
    hubs: u64,
    total_pairs: u64,
    total_groups: u64,
    pairs: Vec<PairView>,
    groups: Vec<GroupView>,
    tokens: Vec<TokenView>,
    /// Records looked at that are not witnessed yet.
    provisional: u64,
    replicas: Vec<Replica>,
    silent: Vec<String>,
}

impl LinksView {
    /// Takes the node's answer.
    #[must_use]
    pub fn of(operation: &str, by: By, answer: &v1::LinksResponse) -> Self {
        let pair = |p: &v1::LinkedPair| PairView {
            a: CaseView::of(p.a.as_ref()),
            b: CaseView::of(p.b.as_ref()),
            shared: p.shared,
            kinds: Count::all(&p.kinds),
            score: p.score,
            first_seen: show::day(p.first_day),
            last_seen: show::day(p.last_day),
        };
        let group = |g: &v1::LinkedGroup| GroupView {
            cases: g.cases.iter().map(|c| CaseView::of(Some(c))).collect(),
            case_count: g.case_count,
            members: g.members.clone(),
            lead: CaseView::of(g.lead.as_ref()),
            lead_reason: g.lead_reason.clone(),
            shared: g.shared,
            kinds: Count::all(&g.kinds),
            score: g.score,
            capped: g.capped,
        };
        let token = |t: &v1::LinkedToken| TokenView {
            token: t.ordinal,
            kind: t.kind.clone(),
            members: t.members.clone(),
            cases: t.cases,
            rarity: t.rarity,
            hub: t.hub,
        };
        let replicas = Replica::all(&answer.replicas);
        Self {
            operation: operation.to_owned(),
            by: by.as_str(),
            query_id: hex::encode(&answer.query_id),
            cases: answer.cases,
            shared_tokens: answer.shared_tokens,
            hubs: answer.hubs,
            total_pairs: answer.total_pairs,
            total_groups: answer.total_groups,
            pairs: answer.pairs.iter().map(pair).collect(),
            groups: answer.groups.iter().map(group).collect(),
            tokens: answer.tokens.iter().map(token).collect(),
            provisional: answer.provisional,
            silent: Replica::silent(&replicas),
            replicas,
        }
    }

    /// Shows it to people.
    pub fn show(&self, screen: &mut Screen) {
        if self.exit() == Exit::Nothing {
            screen.text("message.links.none", &[]);
        }
        let lang = screen.lang();
        if !self.pairs.is_empty() {
            screen.title("label.title.pairs");
            screen.table(&self.pair_table(lang));
            shown(screen, self.pairs.len(), self.total_pairs);
        }
        if !self.groups.is_empty() {
            screen.title("label.title.groups");
            screen.table(&self.group_table(lang));
            shown(screen, self.groups.len(), self.total_groups);
        }
        if !self.tokens.is_empty() {
            screen.title("label.title.tokens");
            screen.table(&self.token_table(lang));
            shown(screen, self.tokens.len(), self.shared_tokens);
        }
        if self.hubs > 0 {
            screen.text("message.links.hubs", &[("count", &self.hubs.to_string())]);
        }
        if self.provisional > 0 {
            let count = self.provisional.to_string();
            screen.text("message.links.provisional", &[("count", &count)]);
        }
        show::replicas(screen, &self.replicas);
    }

    fn pair_table(&self, lang: Lang) -> Table {
        let mut table = Table::new()
            .column("label.column.case_a")
            .column("label.column.case_b")
            .number("label.column.shared")
            .column("label.column.kinds")
            .number("label.column.score")
            .column("label.column.first_seen")
            .column("label.column.last_seen");
        for pair in &self.pairs {
            table.row([
                pair.a.short(),
                pair.b.short(),
                pair.shared.to_string(),
                show::kind_counts(lang, &pair.kinds),
                format!("{:.2}", pair.score),
                pair.first_seen.clone().unwrap_or_default(),
                pair.last_seen.clone().unwrap_or_default(),
            ]);
        }
        table
    }

    fn group_table(&self, lang: Lang) -> Table {
        let mut table = Table::new()
            .number("label.column.group")
            .column("label.column.members")
            .number("label.column.cases")
            .number("label.column.shared")
            .column("label.column.kinds")
            .number("label.column.score")
            .column("label.column.lead")
            .column("label.column.why");
        for (number, group) in (1_u64..).zip(&self.groups) {
            let mut why = group.lead_reason.clone();
            if group.capped {
                why.push_str("; ");
                why.push_str(&lang.text("message.links.capped", &[]));
            }
            table.row([
                number.to_string(),
                group.members.join(", "),
                group.case_count.to_string(),
                group.shared.to_string(),
                show::kind_counts(lang, &group.kinds),
                format!("{:.2}", group.score),
                group.lead.short(),
                why,
            ]);
        }
        table
    }

    fn token_table(&self, lang: Lang) -> Table {
        let mut table = Table::new()
            .number("label.column.token")
            .column("label.column.kind")
            .column("label.column.members")
            .number("label.column.cases")
            .number("label.column.rarity")
            .column("label.column.hub");
        for token in &self.tokens {
            table.row([
                token.token.to_string(),
                show::kind(lang, &token.kind),
                token.members.join(", "),
                token.cases.to_string(),
                format!("{:.2}", token.rarity),
                show::yes(lang, token.hub),
            ]);
        }
        table
    }

    /// Says whether there is any link.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let none = self.pairs.is_empty() && self.groups.is_empty() && self.tokens.is_empty();
        if none { Exit::Nothing } else { Exit::Done }
    }
}

fn shown(screen: &mut Screen, shown: usize, total: u64) {
    screen.text(
        "message.shown",
        &[("shown", &shown.to_string()), ("total", &total.to_string())],
    );
}

/// Asks, and writes the CSV file if one is wanted.
///
/// # Errors
/// [`CommandError`].
pub async fn run(args: &LinksArgs, desk: &Desk, output: &Output) -> Result<Exit, CommandError> {
    let request = v1::LinksRequest {
        operation: args.operation.clone(),
        by: args.by.as_str().to_owned(),
        purpose: Some(args.purpose.to_wire()),
        regions: args.regions.clone(),
        kinds: args.kinds.clone(),
        categories: args.categories.clone(),
        members: args.members.clone(),
        from_day: args.from.unwrap_or_default(),
        to_day: args.to.unwrap_or_default(),
        top: args.top,
    };
    let answer = desk.client.links(request).await?;
    let view = LinksView::of(&args.operation, args.by, &answer);
    if let Some(path) = &args.csv {
        write_csv(&view, args.by, path).map_err(|source| CommandError::Unwritable {
            path: path.clone(),
            source,
        })?;
        let path = path.display().to_string();
        output.note(&output.lang().text("message.links.csv", &[("path", &path)]))?;
    }
    output.emit("links", &view, |screen| view.show(screen))?;
    Ok(view.exit())
}

fn write_csv(view: &LinksView, by: By, path: &Path) -> std::io::Result<()> {
    let mut text = Vec::new();
    match by {
        By::Case => sheet::pairs(view, &mut text)?,
        By::Token => sheet::tokens(view, &mut text)?,
    }
    std::fs::File::create(path)?.write_all(&text)
}
