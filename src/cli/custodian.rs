//! `casegate custodian`: what an officer asks of the own node about custodians.
//! `keygen` runs the node's part of a key generation, which every custodian
//! begins with the same words; `budget` says what was spent where.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use prost::Message;

use crate::cli::desk::Desk;
use crate::cli::failure::CommandError;
use crate::cli::output::Output;
use crate::cli::sheet::{Cell, Column, Say, Section, Sheet};
use crate::ids::{MemberId, random};
use crate::wire::v1;

/// Generates token keys and shows budgets.
#[derive(Clone, Debug, clap::Args)]
pub struct CustodianArgs {
    #[command(subcommand)]
    command: CustodianCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum CustodianCommand {
    /// Prints a name for a key generation, for all custodians to use.
    Ceremony,
    /// Runs this node's part of a key generation; all custodians run it at the same time.
    Keygen(KeygenArgs),
    /// Says what this member has spent today at each custodian.
    Budget,
}

#[derive(Clone, Debug, clap::Args)]
struct KeygenArgs {
    /// The name of the key generation: 32 hexadecimal digits, the same at every custodian.
    #[arg(long, value_name = "HEX")]
    ceremony: Ceremony,
    /// The values that the key is for.
    #[arg(long)]
    class: Class,
    /// How many custodians make a token.
    #[arg(long, value_name = "T")]
    threshold: u16,
    /// The custodians, in the same order everywhere.
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    custodians: Vec<MemberId>,
    /// Where to write the public side of the key, which `casegate roster new --token-key` takes.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A class of kinds, by how easily all their values are guessed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Class {
    /// Kinds whose values can be counted through, such as phones.
    Enumerable,
    /// All others.
    Open,
}

impl Class {
    fn to_wire(self) -> v1::TokenClass {
        match self {
            Self::Enumerable => v1::TokenClass::Enumerable,
            Self::Open => v1::TokenClass::Open,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Enumerable => "enumerable",
            Self::Open => "open",
        }
    }
}

/// A ceremony's name: 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Ceremony([u8; 16]);

impl std::str::FromStr for Ceremony {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut name = [0; 16];
        hex::decode_to_slice(text, &mut name)
            .map(|()| Self(name))
            .map_err(|_| "a ceremony's name has 32 hexadecimal digits")
    }
}

/// Runs `casegate custodian`, but for `ceremony`, at the officer's desk.
///
/// # Errors
/// [`CommandError`] of the desk; a file that cannot be written.
pub async fn run(
    args: &CustodianArgs,
    desk: impl FnOnce() -> Result<Desk, CommandError>,
    output: &Output,
) -> Result<Sheet, CommandError> {
    match &args.command {
        CustodianCommand::Ceremony => {
            let name = hex::encode(random::<16>());
            let mut sheet = Sheet::new("custodian.ceremony");
            sheet.data("ceremony", &name);
            sheet.line(name);
            Ok(sheet)
        }
        CustodianCommand::Keygen(args) => keygen(args, &desk()?, output).await,
        CustodianCommand::Budget => {
            let request = v1::GetStatusRequest {};
            let status = desk()?.client.get_status(request).await?;
            Ok(budget(&status.budgets))
        }
    }
}

const SHARES: &[Column<v1::CustodianShare>] = &[
    Column::data("member", |s| (&s.member).into()),
    Column::data("index", |s| s.index.into()),
    Column::data("public_share", |s| Cell::Hex(s.public_share.to_vec())),
];

async fn keygen(args: &KeygenArgs, desk: &Desk, output: &Output) -> Result<Sheet, CommandError> {
    if args.out.as_ref().is_some_and(|path| path.exists()) {
        return Err(CommandError::Usage("the file of --out is there already"));
    }
    let plan = v1::KeygenPlan {
        ceremony: args.ceremony.0.to_vec().into(),
        token_class: args.class.to_wire().into(),
        threshold: u32::from(args.threshold),
        custodians: args.custodians.iter().map(ToString::to_string).collect(),
    };
    let waiting = output.progress(&output.lang().text("message.keygen.waiting", &[]), None);
    let request = v1::KeygenRequest { plan: Some(plan) };
    let answer = desk.client.keygen(request).await;
    drop(waiting);
    let key = answer?.key.ok_or(CommandError::Answer("token key"))?;
    if let Some(path) = &args.out {
        crate::pki::files::write_public(path, &key.encode_to_vec())
            .with_context(|| "the key was generated, but not written".to_owned())?;
    }
    let mut sheet = Sheet::new("custodian.keygen");
    sheet.data("ceremony", Cell::Hex(args.ceremony.0.to_vec()));
    sheet.data("key_id", Cell::Hex(key.key_id.to_vec()));
    sheet.data("class", args.class.as_str());
    sheet.data("threshold", key.threshold);
    sheet.data("epoch", key.epoch);
    sheet.data("public_key", Cell::Hex(key.public_key.to_vec()));
    sheet.data("shares", Cell::rows(&key.shares, SHARES));
    sheet.data("token_key", Cell::Hex(key.encode_to_vec()));
    sheet.say(
        "message.keygen.done",
        [
            ("key", Cell::Hex(key.key_id.to_vec())),
            ("class", Cell::word("label.class", args.class.as_str())),
            ("threshold", key.threshold.into()),
            ("count", key.shares.len().into()),
        ],
    );
    sheet.line(hex::encode(&key.public_key));
    sheet.say("message.keygen.next", []);
    Ok(sheet)
}

type Budgets = Column<v1::BudgetStatus>;

const BUDGETS: &[Budgets] = &[
    Budgets::of("custodian", "label.column.custodian", |b| {
        (&b.custodian).into()
    }),
    Budgets::of("class", "label.column.key_class", |b| {
        Cell::word("label.class", &b.token_class)
    }),
    Budgets::of("day", "label.column.day", |b| (&b.day).into()),
    Budgets::of("spent", "label.column.spent", |b| b.spent.into()).sum(),
    Budgets::of("allowed", "label.column.budget", |b| b.allowed.into()).sum(),
    Budgets::of("trouble", "label.column.trouble", |b| {
        Cell::Said(b.trouble.clone())
    })
    .flow(),
];

/// What was spent today at each custodian.
#[must_use]
pub fn budget(budgets: &[v1::BudgetStatus]) -> Sheet {
    let mut sheet = Sheet::new("custodian.budget");
    sheet.head(Say::new("page.budgets", []));
    if budgets.is_empty() {
        sheet.say("message.budget.none", []);
    }
    sheet.section(Section::of(budgets, BUDGETS).keyed("budgets"));
    sheet
}
