//! The command line: one file a command, and how they present their results.
//! [`run`] parses nothing and prints nothing itself; what a command returns is
//! the process's exit code, and what it fails with becomes a sentence.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use crate::cli::case::CaseCommand;
use crate::cli::desk::Desk;
use crate::cli::failure::{CommandError, Exit, Failure};
use crate::cli::officer::OfficerCommand;
use crate::cli::output::Output;
use crate::clock::Clock;
use crate::lang::Lang;

pub mod audit;
pub mod case;
pub mod custodian;
pub mod demo;
pub mod desk;
pub mod doctor;
pub mod failure;
pub mod hits;
pub mod import;
pub mod init;
pub mod kinds;
pub mod links;
pub mod log;
pub mod logging;
pub mod officer;
pub mod output;
pub mod pki;
pub mod publish;
pub mod query;
pub mod rejects;
pub mod roster;
pub mod sample;
pub mod serve;
pub mod show;
pub mod status;
pub mod store;

/// A gateway that lets bureaus find common evidence without centralizing raw data.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "casegate",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// The config file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "casegate.toml"
    )]
    pub config: PathBuf,
    /// Prints one JSON object instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    /// The language, zh or en; otherwise that of LC_ALL or LANG.
    #[arg(long, global = true, value_name = "LANG", value_parser = parse_lang)]
    pub lang: Option<Lang>,
    /// The locale that counts before LANG.
    #[arg(long = "env-lc-all", env = "LC_ALL", hide = true, global = true)]
    pub lc_all: Option<OsString>,
    /// The locale.
    #[arg(long = "env-lang", env = "LANG", hide = true, global = true)]
    pub locale: Option<OsString>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Whatever asks the node's desk.
    #[command(flatten)]
    Desk(DeskCommand),
    /// Whatever runs or looks after a node.
    #[command(flatten)]
    Node(NodeCommand),
    /// Brings a whole federation up on loopback and shows what it finds.
    Demo(demo::DemoArgs),
    /// Makes certificates, and signs requests for them.
    #[command(flatten_help = true)]
    Pki(pki::PkiArgs),
    /// Makes, signs, checks and shows rosters.
    #[command(flatten_help = true)]
    Roster(roster::RosterArgs),
    /// Proves what stands in a member's logs, with and without a node.
    #[command(flatten_help = true)]
    Audit(audit::AuditArgs),
    /// Lists the kinds of elements and the roles, and what they are called in files.
    Kinds(kinds::KindsArgs),
    /// Writes synthetic cases of three cities with planted links.
    Sample(sample::SampleArgs),
    /// Prints the completions of a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints the manual page of casegate, or of one command.
    Man {
        /// The command, such as query or case.
        #[arg(value_name = "COMMAND")]
        command: Option<String>,
    },
}

/// What an operator does with a node; the config is the node's own.
#[derive(Clone, Debug, Subcommand)]
pub enum NodeCommand {
    /// Runs the node until it is told to stop.
    Serve(serve::ServeArgs),
    /// Makes a node's directory for enrolment: keys, signing request, config.
    Init(init::InitArgs),
    /// Generates token keys and shows what was spent at custodians; as an officer.
    Custodian(custodian::CustodianArgs),
    /// Looks after the store of a stopped node.
    Store(store::StoreArgs),
    /// Says in plain words what is wrong with the node.
    Doctor(doctor::DoctorArgs),
}

/// What an officer asks of the node of his own member.
#[derive(Clone, Debug, Subcommand)]
pub enum DeskCommand {
    /// Says what the node is doing, and how old its replicas are.
    Status,
    /// Imports a file of cases.
    Import(import::ImportArgs),
    /// Publishes elements of one case.
    Publish(publish::PublishArgs),
    /// Keeps the case table and operations.
    #[command(subcommand)]
    Case(CaseCommand),
    /// Asks which cases of other members share evidence with a case.
    Query(query::QueryArgs),
    /// Finds which cases of an operation's regions belong together.
    Links(links::LinksArgs),
    /// Lists hits.
    Hits(hits::HitsArgs),
    /// Keeps the list of officers.
    #[command(subcommand)]
    Officer(OfficerCommand),
    /// Shows the node's own logs.
    Log(log::LogArgs),
}

fn parse_lang(text: &str) -> Result<Lang, String> {
    text.parse::<Lang>().map_err(|e| e.to_string())
}

impl Cli {
    /// The language to speak.
    #[must_use]
    pub fn language(&self) -> Lang {
        let set = |value: &Option<OsString>| {
            value
                .as_ref()
                .and_then(|v| v.to_str())
                .filter(|v| !v.is_empty())
                .map(str::to_owned)
        };
        let locale = set(&self.lc_all).or_else(|| set(&self.locale));
        self.lang
            .unwrap_or_else(|| Lang::from_env_value(locale.as_deref()))
    }

    /// Words of the command line that a failure's sentence may need.
    fn known(&self) -> Vec<(&'static str, String)> {
        let Command::Desk(command) = &self.command else {
            return vec![];
        };
        let case = match command {
            DeskCommand::Publish(args) => Some(args.case_no.as_str()),
            DeskCommand::Case(command) => command.case_no(),
            DeskCommand::Query(args) => Some(args.case_no.as_str()),
            DeskCommand::Links(args) => Some(args.operation.as_str()),
            DeskCommand::Hits(args) => args.case_no.as_deref(),
            DeskCommand::Status
            | DeskCommand::Import(_)
            | DeskCommand::Officer(_)
            | DeskCommand::Log(_) => None,
        };
        let mut known: Vec<_> = case
            .map(|case| ("case", case.to_owned()))
            .into_iter()
            .collect();
        if let DeskCommand::Officer(command) = command
            && let Some(name) = command.name()
        {
            known.push(("officer", name.to_string()));
        }
        known
    }
}

/// Does what the command line says and tells a failure through `output`.
#[must_use]
pub fn run(cli: &Cli, clock: &Clock, output: &Output) -> Exit {
    let failure = match dispatch(cli, clock, output) {
        Ok(exit) => return exit,
        Err(error) => Failure::of_any(&error, output.lang(), &cli.known()),
    };
    match output.fail(&failure.code, &failure.sentence) {
        Ok(()) => failure.exit,
        // Nobody can be told: the exit code is all that is left.
        Err(_) => Exit::Internal,
    }
}

fn dispatch(cli: &Cli, clock: &Clock, output: &Output) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Desk(command) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(at_desk(cli, command, clock, output))?)
        }
        Command::Node(command) => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            runtime.block_on(at_node(cli, command, clock, output))
        }
        Command::Demo(args) => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            runtime.block_on(demo::run(args, clock, output))
        }
        Command::Pki(args) => pki::run(args, clock.now(), output).map(|()| Exit::Done),
        Command::Roster(args) => {
            let done = roster::run(args, clock.now(), crate::rosters::shares_fit, output);
            done.map(|()| Exit::Done)
        }
        Command::Audit(args) => audit::run(args, &cli.config, clock, output),
        Command::Kinds(args) => kinds::run(*args, output).map(|()| Exit::Done),
        Command::Sample(args) => sample::run(args, output).map(|()| Exit::Done),
        Command::Completion { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "casegate", &mut text);
            output.verbatim(&text)?;
            Ok(Exit::Done)
        }
        Command::Man { command } => {
            output.verbatim(&man_page(command.as_deref())?)?;
            Ok(Exit::Done)
        }
    }
}

async fn at_node(
    cli: &Cli,
    command: &NodeCommand,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Exit> {
    match command {
        NodeCommand::Serve(args) => serve::run(args, &cli.config, clock, output).await,
        NodeCommand::Doctor(args) => doctor::run(args, &cli.config, clock, output).await,
        NodeCommand::Init(args) => init::run(args, output),
        NodeCommand::Custodian(args) => {
            custodian::run(args, || Desk::open(&cli.config, clock), output).await
        }
        NodeCommand::Store(args) => {
            // Blocks on the disk for long; nothing else runs on this runtime.
            tokio::task::block_in_place(|| store::run(args, &cli.config, clock, output))
        }
    }
}

async fn at_desk(
    cli: &Cli,
    command: &DeskCommand,
    clock: &Clock,
    output: &Output,
) -> Result<Exit, CommandError> {
    let desk = Desk::open(&cli.config, clock)?;
    if desk.roster_expires_at <= clock.now() {
        output.note(&output.lang().text("message.roster.expired", &[]))?;
    }
    match command {
        DeskCommand::Status => status::run(&desk, output).await,
        DeskCommand::Import(args) => import::run(args, &desk, output).await,
        DeskCommand::Publish(args) => publish::run(args, &desk, output).await,
        DeskCommand::Case(command) => case::run(command, &desk, output).await,
        DeskCommand::Query(args) => query::run(args, &desk, output).await,
        DeskCommand::Links(args) => links::run(args, &desk, output).await,
        DeskCommand::Hits(args) => hits::run(args, &desk, output).await,
        DeskCommand::Officer(command) => officer::run(command, &desk, output).await,
        DeskCommand::Log(args) => log::run(args, &desk, output).await,
    }
}

/// The manual page of casegate, or of one of its commands, as roff.
fn man_page(command: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let mut whole = Cli::command();
    whole.build();
    let page = match command {
        None => whole,
        Some(name) => {
            let found = whole.find_subcommand(name).cloned();
            let found = found.ok_or(CommandError::Usage(
                "no command of this name has a manual page",
            ))?;
            found.display_name(format!("casegate-{name}"))
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    Ok(text)
}
