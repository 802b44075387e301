//! `casegate store`: looks after a stopped node's store. A store in use is
//! refused; `verify` and `reindex` read everything, and take their time.

use std::path::Path;

use clap::Subcommand;
use serde_json::json;

use crate::blame::Blamed;
use crate::cli::failure::Exit;
use crate::cli::output::{Output, Screen, Table};
use crate::clock::{Clock, Stopwatch};
use crate::config::Config;
use crate::ledger::{Ledger, LedgerError, OpaqueCount};
use crate::rosters::{Rosters, RostersError};
use crate::setup::{self, OpenError};
use crate::store::StoreError;

/// Looks after the store of a stopped node.
#[derive(Clone, Debug, clap::Args)]
pub struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum StoreCommand {
    /// Says what the store holds and how large it is.
    Info,
    /// Computes every log's root from its entries and checks it against the owner's signature.
    Verify,
    /// Makes the derived index anew from the logs.
    Reindex,
}

/// Runs `casegate store`. Exit codes: 0; 2 when a log does not verify or the
/// store is in use; 4 when it cannot be read; 64 for a bad config.
///
/// # Errors
/// Only what standard output answers.
pub fn run(
    args: &StoreArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Exit> {
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(error) => {
            output.fail(error.code(), &error.to_string())?;
            return Ok(Exit::Config);
        }
    };
    let opening = output.progress(&output.lang().text("message.store.opening", &[]), None);
    let opened = setup::open_ledger(&config, clock);
    drop(opening);
    let (ledger, rosters) = match opened {
        Ok(opened) => opened,
        Err(error) => return refuse(&config, &error, output),
    };
    match args.command {
        StoreCommand::Info => info(&config, &ledger, &rosters, output),
        StoreCommand::Verify => verify(&ledger, &rosters, output),
        StoreCommand::Reindex => reindex(&ledger, output),
    }
}

pub(super) fn refuse(config: &Config, error: &OpenError, output: &Output) -> anyhow::Result<Exit> {
    if is_in_use(error) {
        let path = config.dir.display().to_string();
        let sentence = output.lang().text("doctor.disk.locked", &[("path", &path)]);
        output.fail("store.in_use", &sentence)?;
        return Ok(Exit::Refused);
    }
    output.fail(error.code(), &error.to_string())?;
    Ok(match error {
        OpenError::Setup(_) | OpenError::Rosters(_) | OpenError::NotInRoster(_) => Exit::Config,
        OpenError::NoStore(_) => Exit::Refused,
        OpenError::Ledger(_) => Exit::Internal,
    })
}

fn is_in_use(error: &OpenError) -> bool {
    let store = match error {
        OpenError::Ledger(error) => match &**error {
            LedgerError::Store(store) => store,
            _ => return false,
        },
        // The rosters are read first.
        OpenError::Rosters(RostersError::Store(store)) => store,
        _ => return false,
    };
    matches!(store, StoreError::Open { reason, .. } if reason.contains("lock"))
}

fn info(
    config: &Config,
    ledger: &Ledger,
    rosters: &Rosters,
    output: &Output,
) -> anyhow::Result<Exit> {
    let (store, roster) = (ledger.store().disk_bytes(), rosters.newest());
    let index = ledger.postings().disk_bytes()?;
    let logs = ledger.logs();
    let lines: Vec<_> = logs
        .iter()
        .map(|log| {
            let head = log.head();
            json!({
                "origin": log.origin.to_string(), "size": head.size().0,
                "root": head.root().to_string(), "bodies_upto": head.bodies_upto,
                "indexed": ledger.postings().position(log.number).unwrap_or(0),
            })
        })
        .collect();
    let value = json!({
        "dir": config.dir, "format": crate::store::FORMAT_VERSION, "store_bytes": store,
        "index_bytes": index, "roster_version": roster.version, "logs": lines,
    });
    output.emit("store.info", &value, |screen| {
        screen.text(
            "message.store.info",
            &[
                ("dir", &config.dir.display().to_string()),
                ("format", &crate::store::FORMAT_VERSION.to_string()),
                ("store", &(store >> 10).to_string()),
                ("index", &(index >> 10).to_string()),
                ("version", &roster.version.to_string()),
            ],
        );
        let mut table = Table::new()
            .column("label.column.log")
            .number("label.column.entries");
        for log in &logs {
            table.row([log.origin.to_string(), log.size().to_string()]);
        }
        screen.table(&table);
    })?;
    Ok(Exit::Done)
}

/// What came of one log.
struct Verified {
    origin: String,
    size: u64,
    lost: u64,
    unread: OpaqueCount,
    trouble: Option<String>,
}

fn verify(ledger: &Ledger, rosters: &Rosters, output: &Output) -> anyhow::Result<Exit> {
    let (roster, logs) = (rosters.newest(), ledger.logs());
    let total = logs.iter().map(|log| log.size().0).sum();
    let progress = output.progress("", Some(total));
    let mut done = vec![];
    for log in &logs {
        progress.say(&log.origin.to_string());
        let trouble = match roster.member(&log.origin.member) {
            // A replica of which nothing has come yet has nothing to check.
            Some(_) if log.size().0 == 0 && log.head().checkpoint.is_empty() => None,
            Some(owner) => ledger.verify_log(log, owner).err().map(|e| e.to_string()),
            None => Some(output.lang().text("message.store.no_owner", &[])),
        };
        progress.advance(log.size().0);
        done.push(Verified {
            origin: log.origin.to_string(),
            size: log.size().0,
            lost: ledger.lost(log).unwrap_or(0),
            unread: ledger.opaque_count(log)?,
            trouble,
        });
    }
    drop(progress);
    let bad = done.iter().filter(|v| v.trouble.is_some()).count();
    let lines: Vec<_> = done
        .iter()
        .map(|v| {
            json!({
                "origin": v.origin, "size": v.size, "lost_bodies": v.lost,
                "newer_bodies": v.unread.newer, "refused_bodies": v.unread.refused,
                "verified": v.trouble.is_none(), "trouble": v.trouble,
            })
        })
        .collect();
    let value = json!({ "verified": bad == 0, "bad": bad, "logs": lines });
    output.emit("store.verify", &value, |screen| {
        let lang = screen.lang();
        let mut table = Table::new()
            .column("label.column.log")
            .number("label.column.entries")
            .column("label.column.level");
        for v in &done {
            let fine = || lang.text("label.level.ok", &[]);
            table.row([
                v.origin.clone(),
                v.size.to_string(),
                v.trouble.clone().unwrap_or_else(fine),
            ]);
        }
        screen.table(&table);
        for v in &done {
            show_unread(v, screen);
        }
        for v in done.iter().filter(|v| v.lost > 0) {
            let count = v.lost.to_string();
            screen.text(
                "message.store.lost",
                &[("log", &v.origin), ("count", &count)],
            );
        }
    })?;
    Ok(if bad == 0 { Exit::Done } else { Exit::Refused })
}

fn show_unread(verified: &Verified, screen: &mut Screen) {
    let (log, unread) = (&verified.origin, &verified.unread);
    if unread.newer > 0 {
        let count = unread.newer.to_string();
        screen.text("message.store.newer", &[("log", log), ("count", &count)]);
    }
    if let Some(first) = &unread.first {
        let (count, index) = (unread.refused.to_string(), first.index.to_string());
        screen.text(
            "message.store.refused",
            &[
                ("log", log),
                ("count", &count),
                ("index", &index),
                ("why", &first.sentence),
            ],
        );
    }
}

fn reindex(ledger: &Ledger, output: &Output) -> anyhow::Result<Exit> {
    let entries: u64 = ledger.logs().iter().map(|log| log.size().0).sum();
    let label = output.lang().text(
        "message.store.reindexing",
        &[("count", &entries.to_string())],
    );
    let progress = output.progress(&label, None);
    let watch = Stopwatch::start();
    if let Err(error) = ledger.reindex() {
        drop(progress);
        output.fail(error.code(), &error.to_string())?;
        return Ok(Exit::Internal);
    }
    drop(progress);
    let seconds = watch.seconds();
    let value = json!({ "entries": entries, "seconds": seconds });
    output.emit("store.reindex", &value, |screen| {
        screen.text(
            "message.store.reindexed",
            &[
                ("count", &entries.to_string()),
                ("seconds", &format!("{seconds:.1}")),
            ],
        );
    })?;
    Ok(Exit::Done)
}
