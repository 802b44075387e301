//! `casegate officer`: the node's own list of officers and their rights.

use crate::cli::desk::Desk;
use crate::cli::failure::CommandError;
use crate::cli::sheet::{Cell, Column, Say, Section, Sheet};
use crate::ids::OfficerName;
use crate::policy::Right;
use crate::wire::v1;

/// What to do with the list.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum OfficerCommand {
    /// Adds an officer, or gives one other rights.
    Add {
        /// The name in the officer's certificate.
        #[arg(value_name = "NAME")]
        name: OfficerName,
        /// A right: publish, query, confirm, disclose-request,
        /// disclose-approve, export or admin; may be given many times.
        #[arg(long = "right", value_name = "RIGHT", required = true, value_parser = parse_right)]
        rights: Vec<Right>,
    },
    /// Lists everybody.
    List,
    /// Suspends an officer, on open connections too.
    Suspend {
        /// The officer.
        #[arg(value_name = "NAME")]
        name: OfficerName,
    },
    /// Gives a suspended officer the same rights back.
    Restore {
        /// The officer.
        #[arg(value_name = "NAME")]
        name: OfficerName,
    },
}

fn parse_right(text: &str) -> Result<Right, String> {
    Right::from_word(text).ok_or_else(|| {
        let all: Vec<_> = Right::ALL.iter().map(|right| right.as_str()).collect();
        format!("rights are {}", all.join(", "))
    })
}

type Officers = Column<v1::OfficerRow>;

const OFFICERS: &[Officers] = &[
    Officers::of("name", "label.column.officer", |o| (&o.name).into()),
    Officers::of("rights", "label.column.rights", |o| {
        Cell::words("label.right", &o.rights)
    })
    .flow(),
    Officers::data("suspended", |o| o.suspended.into()),
    Officers::seen("label.column.status", |o| {
        let state = if o.suspended { "suspended" } else { "active" };
        Cell::word("label.word", state)
    }),
    Officers::of("changed_at", "label.column.changed_at", |o| {
        Cell::Time(o.changed_at)
    })
    .spare(1),
];

/// The list of officers.
#[must_use]
pub fn list(rows: &[v1::OfficerRow]) -> Sheet {
    let mut sheet = Sheet::new("officer");
    sheet.head(Say::new("page.officers", []));
    let officers = Section::of(rows, OFFICERS).keyed("officers");
    sheet.section(officers.total(rows.len() as u64, "label.shown.some"));
    sheet
}

/// The officer whom a command was about, and what became of him.
#[must_use]
pub fn changed(officer: &v1::OfficerRow, command: &OfficerCommand) -> Sheet {
    let mut sheet = Sheet::new("officer");
    let rows = std::slice::from_ref(officer);
    sheet.data("officers", Cell::rows(rows, OFFICERS));
    let name = ("officer", Cell::from(&officer.name));
    let rights = ("rights", Cell::words("label.right", &officer.rights));
    match command {
        OfficerCommand::Suspend { .. } => sheet.say("message.officer.suspended", [name]),
        OfficerCommand::Restore { .. } => sheet.say("message.officer.restored", [name, rights]),
        OfficerCommand::Add { .. } | OfficerCommand::List => {
            sheet.say("message.officer.added", [name, rights])
        }
    };
    sheet
}

/// Does it.
///
/// # Errors
/// [`CommandError`].
pub async fn run(command: &OfficerCommand, desk: &Desk) -> Result<Sheet, CommandError> {
    if let OfficerCommand::List = command {
        let request = v1::ListOfficersRequest {};
        return Ok(list(&desk.client.list_officers(request).await?.officers));
    }
    let officer = change(command, desk).await?;
    Ok(changed(
        &officer.ok_or(CommandError::Answer("officer"))?,
        command,
    ))
}

async fn change(
    command: &OfficerCommand,
    desk: &Desk,
) -> Result<Option<v1::OfficerRow>, CommandError> {
    let suspend = |name: &OfficerName, restore| v1::SuspendOfficerRequest {
        name: name.to_string(),
        restore,
    };
    let client = &desk.client;
    Ok(match command {
        OfficerCommand::Add { name, rights } => {
            let rights = rights.iter().map(ToString::to_string).collect();
            let request = v1::AddOfficerRequest {
                name: name.to_string(),
                rights,
            };
            client.add_officer(request).await?.officer
        }
        OfficerCommand::Suspend { name } => {
            client.suspend_officer(suspend(name, false)).await?.officer
        }
        OfficerCommand::Restore { name } => {
            client.suspend_officer(suspend(name, true)).await?.officer
        }
        OfficerCommand::List => None,
    })
}

impl OfficerCommand {
    /// The officer whom the command is about.
    #[must_use]
    pub fn name(&self) -> Option<&OfficerName> {
        match self {
            Self::Add { name, .. } | Self::Suspend { name } | Self::Restore { name } => Some(name),
            Self::List => None,
        }
    }
}
