//! `casegate custodian`: what an officer asks of the own node about custodians.
//! `keygen` runs the node's part of a key generation, which every custodian
//! begins with the same words; `budget` says what was spent where.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use prost::Message;
use serde_json::json;

use crate::cli::desk::Desk;
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::{Output, Table};
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
    #[arg(long, value_name = "HEX", value_parser = parse_ceremony)]
    ceremony: [u8; 16],
    /// The values that the key is for.
    #[arg(long)]
    class: Class,
    /// How many custodians make a token.
    #[arg(long, value_name = "T")]
    threshold: u16,
    /// The custodians, in the same order everywhere.
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', value_parser = parse_member)]
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

fn parse_ceremony(text: &str) -> Result<[u8; 16], String> {
    let mut name = [0; 16];
    hex::decode_to_slice(text, &mut name)
        .map(|()| name)
        .map_err(|_| "a ceremony's name has 32 hexadecimal digits".to_owned())
}

fn parse_member(text: &str) -> Result<MemberId, String> {
    MemberId::new(text).map_err(|e| e.to_string())
}

/// Runs `casegate custodian`, but for `ceremony`, at the officer's desk.
///
/// # Errors
/// [`CommandError`] of the desk; a file that cannot be written.
pub async fn run(
    args: &CustodianArgs,
    desk: impl FnOnce() -> Result<Desk, CommandError>,
    output: &Output,
) -> anyhow::Result<Exit> {
    match &args.command {
        CustodianCommand::Ceremony => {
            let name = hex::encode(random::<16>());
            output.emit(
                "custodian.ceremony",
                &json!({ "ceremony": name }),
                |screen| {
                    screen.line(&name);
                },
            )?;
            Ok(Exit::Done)
        }
        CustodianCommand::Keygen(args) => keygen(args, &desk()?, output).await,
        CustodianCommand::Budget => budget(&desk()?, output).await,
    }
}

async fn keygen(args: &KeygenArgs, desk: &Desk, output: &Output) -> anyhow::Result<Exit> {
    if args.out.as_ref().is_some_and(|path| path.exists()) {
        return Err(CommandError::Usage("the file of --out is there already").into());
    }
    let plan = v1::KeygenPlan {
        ceremony: args.ceremony.to_vec().into(),
        token_class: args.class.to_wire().into(),
        threshold: u32::from(args.threshold),
        custodians: args.custodians.iter().map(ToString::to_string).collect(),
    };
    let waiting = output.progress(&output.lang().text("message.keygen.waiting", &[]), None);
    let answer = desk
        .client
        .keygen(v1::KeygenRequest { plan: Some(plan) })
        .await;
    drop(waiting);
    let answer = answer.map_err(CommandError::from)?;
    let key = answer.key.ok_or(CommandError::Answer("token key"))?;
    if let Some(path) = &args.out {
        crate::pki::files::write_public(path, &key.encode_to_vec())
            .with_context(|| "the key was generated, but not written".to_owned())?;
    }
    let shares: Vec<_> = key
        .shares
        .iter()
        .map(|share| {
            json!({
                "member": share.member, "index": share.index,
                "public_share": hex::encode(&share.public_share),
            })
        })
        .collect();
    let (id, public) = (hex::encode(&key.key_id), hex::encode(&key.public_key));
    let value = json!({
        "ceremony": hex::encode(args.ceremony), "key_id": id, "class": args.class.as_str(),
        "threshold": key.threshold, "epoch": key.epoch, "public_key": public,
        "shares": shares, "token_key": hex::encode(key.encode_to_vec()),
    });
    output.emit("custodian.keygen", &value, |screen| {
        let count = key.shares.len().to_string();
        screen.text(
            "message.keygen.done",
            &[
                ("key", &id),
                ("class", args.class.as_str()),
                ("threshold", &key.threshold.to_string()),
                ("count", &count),
            ],
        );
        screen.line(&public);
        screen.text("message.keygen.next", &[]);
    })?;
    Ok(Exit::Done)
}

async fn budget(desk: &Desk, output: &Output) -> anyhow::Result<Exit> {
    let status = desk.client.get_status(v1::GetStatusRequest {}).await;
    let budgets = status.map_err(CommandError::from)?.budgets;
    let lines: Vec<_> = budgets
        .iter()
        .map(|b| {
            json!({
                "custodian": b.custodian, "class": b.token_class, "day": b.day,
                "spent": b.spent, "allowed": b.allowed, "trouble": b.trouble,
            })
        })
        .collect();
    output.emit("custodian.budget", &json!({ "budgets": lines }), |screen| {
        let mut table = Table::new()
            .column("label.column.custodian")
            .column("label.column.key_class")
            .column("label.column.day")
            .number("label.column.spent")
            .number("label.column.budget")
            .column("label.column.trouble");
        for b in &budgets {
            table.row([
                b.custodian.clone(),
                b.token_class.clone(),
                b.day.clone(),
                b.spent.to_string(),
                b.allowed.to_string(),
                b.trouble.clone(),
            ]);
        }
        screen.table(&table);
    })?;
    Ok(Exit::Done)
}
