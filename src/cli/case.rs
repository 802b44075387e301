//! `casegate case`: the node's own case table, with the operations of a
//! department, and the retraction of what was published.

use crate::cli::desk::Desk;
use crate::cli::failure::CommandError;
use crate::cli::publish::{self, ElementArg, parse_element};
use crate::cli::sheet::Sheet;
use crate::cli::show;
use crate::element::Kind;
use crate::wire::v1;

pub mod view;

/// What to do with the case table.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum CaseCommand {
    /// Lists cases, the newest first.
    List {
        /// The most cases to list.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Shows a case with its elements.
    Show {
        /// The case's number.
        #[arg(value_name = "NO")]
        case_no: String,
    },
    /// Records a case.
    Add(AddArgs),
    /// Closes a case: it can no longer be asked for.
    Close {
        /// The case's number.
        #[arg(value_name = "NO")]
        case_no: String,
    },
    /// Takes back what was published of a case, here and at all members.
    Retract(RetractArgs),
    /// Operations over regions.
    #[command(subcommand)]
    Operation(OperationCommand),
}

/// What to do with operations.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum OperationCommand {
    /// Records an operation, for which `casegate links` can be asked.
    Add(OperationArgs),
    /// Lists operations.
    List {
        /// The most operations to list.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
}

/// A case to record.
#[derive(Clone, Debug, clap::Args)]
pub struct AddArgs {
    /// The case's number.
    #[arg(value_name = "NO")]
    pub case_no: String,
    /// Its category, which other members see.
    #[arg(long, value_name = "WORD")]
    pub category: String,
    /// Its title, which nobody else sees.
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// The desk to speak to, which other members see.
    #[arg(long, value_name = "TEXT")]
    pub contact: Option<String>,
    /// The day on which it was opened.
    #[arg(long, value_name = "DATE", value_parser = show::parse_day)]
    pub opened_on: Option<i32>,
}

/// An operation to record.
#[derive(Clone, Debug, clap::Args)]
pub struct OperationArgs {
    /// The operation's number.
    #[arg(value_name = "NO")]
    pub case_no: String,
    /// A region that it covers; may be given many times.
    #[arg(long = "region", value_name = "NAME", required = true)]
    pub regions: Vec<String>,
    /// A kind of element that it may compare; may be given many times.
    #[arg(long = "kind", value_name = "KIND", required = true, value_parser = show::parse_kind)]
    pub kinds: Vec<Kind>,
    /// The last day on which it may be used.
    #[arg(long, value_name = "DATE", value_parser = show::parse_day)]
    pub ends_on: i32,
    /// Its category.
    #[arg(long, value_name = "WORD")]
    pub category: Option<String>,
    /// Its title.
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// The desk to speak to.
    #[arg(long, value_name = "TEXT")]
    pub contact: Option<String>,
}

/// What to retract, and why.
#[derive(Clone, Debug, clap::Args)]
pub struct RetractArgs {
    /// The case's number.
    #[arg(value_name = "NO")]
    pub case_no: String,
    /// Only this element; without it, every element of the case.
    #[arg(long, value_name = "KIND:VALUE", value_parser = parse_element)]
    pub element: Option<ElementArg>,
    /// What the element needs besides.
    #[arg(long, value_name = "TEXT", requires = "element")]
    pub qualifier: Option<String>,
    /// Changes nothing: says how many records would go.
    #[arg(long)]
    pub dry_run: bool,
    /// Why it is taken back.
    #[arg(long, value_enum)]
    pub why: Why,
}

/// Why records are retracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Why {
    /// They were wrong.
    Mistake,
    /// Their retention has ended.
    Retention,
    /// A court or authority ordered it.
    Order,
    /// The case is closed.
    CaseClosed,
}

impl Why {
    fn to_wire(self) -> v1::RetractReason {
        match self {
            Self::Mistake => v1::RetractReason::Mistake,
            Self::Retention => v1::RetractReason::Retention,
            Self::Order => v1::RetractReason::Order,
            Self::CaseClosed => v1::RetractReason::CaseClosed,
        }
    }
}

impl CaseCommand {
    /// The number of the case that the command is about.
    #[must_use]
    pub fn case_no(&self) -> Option<&str> {
        match self {
            Self::Show { case_no } | Self::Close { case_no } => Some(case_no),
            Self::Add(args) => Some(&args.case_no),
            Self::Retract(args) => Some(&args.case_no),
            Self::Operation(OperationCommand::Add(args)) => Some(&args.case_no),
            Self::List { .. } | Self::Operation(OperationCommand::List { .. }) => None,
        }
    }
}

/// Does it.
///
/// # Errors
/// [`CommandError`].
pub async fn run(command: &CaseCommand, desk: &Desk) -> Result<Sheet, CommandError> {
    match command {
        CaseCommand::List { limit } => list(*limit, false, desk).await,
        CaseCommand::Operation(OperationCommand::List { limit }) => list(*limit, true, desk).await,
        CaseCommand::Show { case_no } => {
            let request = v1::ShowCaseRequest {
                case_no: case_no.clone(),
            };
            view::shown(&desk.client.show_case(request).await?)
        }
        CaseCommand::Add(args) => add(case_row(args), desk).await,
        CaseCommand::Operation(OperationCommand::Add(args)) => add(operation_row(args), desk).await,
        CaseCommand::Close { case_no } => {
            let request = v1::CloseCaseRequest {
                case_no: case_no.clone(),
            };
            let answer = desk.client.close_case(request).await?;
            view::one(answer.summary.as_ref(), "message.case.closed")
        }
        CaseCommand::Retract(args) => retract(args, desk).await,
    }
}

async fn list(limit: u32, operations: bool, desk: &Desk) -> Result<Sheet, CommandError> {
    let request = v1::ListCasesRequest { limit, operations };
    Ok(view::list(&desk.client.list_cases(request).await?))
}

async fn add(row: v1::CaseRow, desk: &Desk) -> Result<Sheet, CommandError> {
    let request = v1::AddCaseRequest { row: Some(row) };
    let answer = desk.client.add_case(request).await?;
    view::one(answer.summary.as_ref(), "message.case.added")
}

async fn retract(args: &RetractArgs, desk: &Desk) -> Result<Sheet, CommandError> {
    let qualifiers: Vec<String> = args.qualifier.iter().cloned().collect();
    let elements: Vec<ElementArg> = args.element.iter().cloned().collect();
    let request = v1::RetractRequest {
        case_no: args.case_no.clone(),
        element: publish::specs(&elements, &qualifiers, None)?.pop(),
        reason: args.why.to_wire().into(),
        dry_run: args.dry_run,
    };
    let answer = desk.client.retract(request).await?;
    Ok(view::retracted(&args.case_no, args.dry_run, &answer))
}

/// The row of a case to record.
#[must_use]
pub fn case_row(args: &AddArgs) -> v1::CaseRow {
    v1::CaseRow {
        case_no: args.case_no.clone(),
        category: args.category.clone(),
        title: args.title.clone().unwrap_or_default(),
        contact: args.contact.clone().unwrap_or_default(),
        opened_on: args.opened_on.unwrap_or_default(),
        state: v1::CaseState::Open.into(),
        ..v1::CaseRow::default()
    }
}

/// The row of an operation to record; it ends when its last day does.
#[must_use]
pub fn operation_row(args: &OperationArgs) -> v1::CaseRow {
    v1::CaseRow {
        case_no: args.case_no.clone(),
        category: args.category.clone().unwrap_or_default(),
        title: args.title.clone().unwrap_or_default(),
        contact: args.contact.clone().unwrap_or_default(),
        state: v1::CaseState::Open.into(),
        operation: true,
        regions: args.regions.clone(),
        kinds: args
            .kinds
            .iter()
            .map(|kind| kind.to_wire().into())
            .collect(),
        ends_at: show::end_of_day(args.ends_on),
        ..v1::CaseRow::default()
    }
}
