//! `casegate officer`: the node's own list of officers and their rights.

use serde::Serialize;

use crate::cli::desk::Desk;
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::{Output, Screen, Table};
use crate::cli::show;
use crate::ids::OfficerName;
use crate::policy::Right;
use crate::wire::v1;

/// What to do with the list.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum OfficerCommand {
    /// Adds an officer, or gives one other rights.
    Add {
        /// The name in the officer's certificate.
        #[arg(value_name = "NAME", value_parser = parse_name)]
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
        #[arg(value_name = "NAME", value_parser = parse_name)]
        name: OfficerName,
    },
    /// Gives a suspended officer the same rights back.
    Restore {
        /// The officer.
        #[arg(value_name = "NAME", value_parser = parse_name)]
        name: OfficerName,
    },
}

fn parse_name(text: &str) -> Result<OfficerName, String> {
    OfficerName::new(text).map_err(|e| e.to_string())
}

fn parse_right(text: &str) -> Result<Right, String> {
    Right::from_word(text).ok_or_else(|| {
        let all: Vec<_> = Right::ALL.iter().map(|right| right.as_str()).collect();
        format!("rights are {}", all.join(", "))
    })
}

/// One officer.
#[derive(Clone, Debug, Serialize)]
pub struct OfficerView {
    name: String,
    rights: Vec<String>,
    suspended: bool,
    changed_at: Option<String>,
}

impl OfficerView {
    /// Takes a row of the node's list.
    #[must_use]
    pub fn of(row: &v1::OfficerRow) -> Self {
        Self {
            name: row.name.clone(),
            rights: row.rights.clone(),
            suspended: row.suspended,
            changed_at: show::instant(row.changed_at),
        }
    }
}

/// The officers that a command was about, as JSON and people see them.
#[derive(Clone, Debug, Serialize)]
pub struct OfficersView {
    officers: Vec<OfficerView>,
}

impl OfficersView {
    /// Takes rows of the node's list.
    #[must_use]
    pub fn of(rows: &[v1::OfficerRow]) -> Self {
        Self {
            officers: rows.iter().map(OfficerView::of).collect(),
        }
    }

    /// Shows the list to people.
    pub fn show(&self, screen: &mut Screen) {
        let lang = screen.lang();
        let mut table = Table::new()
            .column("label.column.officer")
            .column("label.column.rights")
            .column("label.column.status")
            .column("label.column.time");
        for officer in &self.officers {
            let state = if officer.suspended {
                "suspended"
            } else {
                "active"
            };
            table.row([
                officer.name.clone(),
                officer.rights.join(", "),
                show::word(lang, state),
                officer.changed_at.clone().unwrap_or_default(),
            ]);
        }
        screen.table(&table);
    }

    /// Says what became of one officer.
    pub fn say(&self, screen: &mut Screen, command: &OfficerCommand) {
        for officer in &self.officers {
            let name = ("officer", officer.name.as_str());
            let rights = officer.rights.join(", ");
            match command {
                OfficerCommand::Suspend { .. } => {
                    screen.text("message.officer.suspended", &[name]);
                }
                OfficerCommand::Restore { .. } => {
                    screen.text("message.officer.restored", &[name, ("rights", &rights)]);
                }
                OfficerCommand::Add { .. } | OfficerCommand::List => {
                    screen.text("message.officer.added", &[name, ("rights", &rights)]);
                }
            }
        }
    }
}

/// Does it.
///
/// # Errors
/// [`CommandError`].
pub async fn run(
    command: &OfficerCommand,
    desk: &Desk,
    output: &Output,
) -> Result<Exit, CommandError> {
    if let OfficerCommand::List = command {
        let answer = desk
            .client
            .list_officers(v1::ListOfficersRequest {})
            .await?;
        let view = OfficersView::of(&answer.officers);
        output.emit("officer", &view, |screen| view.show(screen))?;
        return Ok(Exit::Done);
    }
    let changed = change(command, desk)
        .await?
        .ok_or(CommandError::Answer("officer"))?;
    let view = OfficersView::of(&[changed]);
    output.emit("officer", &view, |screen| view.say(screen, command))?;
    Ok(Exit::Done)
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
