//! `casegate store`: looks after a stopped node's store. A store in use is
//! refused; `verify` and `reindex` read everything, and take their time.

use std::path::Path;
use std::sync::Arc;

use clap::Subcommand;

use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::Output;
use crate::cli::sheet::{Cell, Column, Say, Section, Sheet};
use crate::clock::{Clock, Stopwatch};
use crate::config::Config;
use crate::lang::Lang;
use crate::ledger::{Ledger, LedgerError, Log, OpaqueCount};
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
/// [`CommandError`] when it cannot be looked into.
pub fn run(
    args: &StoreArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> Result<Sheet, CommandError> {
    let config = Config::load(config)?;
    let lang = output.lang();
    let opening = output.progress(&lang.text("message.store.opening", &[]), None);
    let opened = setup::open_ledger(&config, clock);
    drop(opening);
    let (ledger, rosters) = opened.map_err(|error| refused(&config, &error, lang))?;
    match args.command {
        StoreCommand::Info => info(&config, &ledger, &rosters),
        StoreCommand::Verify => verify(&ledger, &rosters, output),
        StoreCommand::Reindex => reindex(&ledger, output),
    }
}

/// Why a store cannot be opened.
pub(super) fn refused(config: &Config, error: &OpenError, lang: Lang) -> CommandError {
    if is_in_use(error) {
        let path = config.dir.display().to_string();
        return CommandError::Ended {
            exit: Exit::Refused,
            code: "store.in_use",
            sentence: lang.text("doctor.disk.locked", &[("path", &path)]),
        };
    }
    let exit = match error {
        OpenError::Setup(_) | OpenError::Rosters(_) | OpenError::NotInRoster(_) => Exit::Config,
        OpenError::NoStore(_) => Exit::Refused,
        OpenError::Ledger(_) => Exit::Internal,
    };
    CommandError::ended(exit, error)
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

/// One log of a store.
struct Kept {
    origin: String,
    size: u64,
    root: String,
    bodies_upto: u64,
    indexed: u64,
}

type KeptColumn = Column<Kept>;

const KEPT: &[KeptColumn] = &[
    KeptColumn::of("origin", "label.column.log", |l| (&l.origin).into()),
    KeptColumn::of("size", "label.column.entries", |l| l.size.into()).sum(),
    KeptColumn::of("root", "label.column.root", |l| (&l.root).into()).wide(),
    KeptColumn::of("bodies_upto", "label.column.bodies", |l| {
        l.bodies_upto.into()
    }),
    KeptColumn::of("indexed", "label.column.indexed", |l| l.indexed.into()),
];

fn info(config: &Config, ledger: &Ledger, rosters: &Rosters) -> Result<Sheet, CommandError> {
    let (store, roster) = (ledger.store().disk_bytes(), rosters.newest());
    let failed = |error| CommandError::ended(Exit::Internal, &LedgerError::from(error));
    let index = ledger.postings().disk_bytes().map_err(failed)?;
    let kept = |log: &Arc<Log>| {
        let head = log.head();
        Kept {
            origin: log.origin.to_string(),
            size: head.size().0,
            root: head.root().to_string(),
            bodies_upto: head.bodies_upto,
            indexed: ledger.postings().position(log.number).unwrap_or(0),
        }
    };
    let logs: Vec<Kept> = ledger.logs().iter().map(kept).collect();
    let mut sheet = Sheet::new("store.info");
    let dir = config.dir.display().to_string();
    sheet.head(Say::new("page.store", [("dir", (&dir).into())]));
    sheet.data("dir", &dir);
    sheet.data("format", crate::store::FORMAT_VERSION);
    sheet.data("store_bytes", store);
    sheet.data("index_bytes", index);
    sheet.data("roster_version", roster.version);
    sheet.say(
        "message.store.info",
        [
            ("dir", dir.into()),
            ("format", crate::store::FORMAT_VERSION.into()),
            ("store", (store >> 10).into()),
            ("index", (index >> 10).into()),
            ("version", roster.version.into()),
        ],
    );
    sheet.section(Section::of(&logs, KEPT).keyed("logs"));
    Ok(sheet)
}

/// What came of one log.
struct Verified {
    origin: String,
    size: u64,
    lost: u64,
    unread: OpaqueCount,
    trouble: Option<String>,
}

type VerifiedColumn = Column<Verified>;

const VERIFIED: &[VerifiedColumn] = &[
    VerifiedColumn::of("origin", "label.column.log", |v| (&v.origin).into()),
    VerifiedColumn::of("size", "label.column.entries", |v| v.size.into()).sum(),
    VerifiedColumn::data("lost_bodies", |v| v.lost.into()),
    VerifiedColumn::data("newer_bodies", |v| v.unread.newer.into()),
    VerifiedColumn::data("refused_bodies", |v| v.unread.refused.into()),
    VerifiedColumn::data("verified", |v| v.trouble.is_none().into()),
    VerifiedColumn::data("trouble", |v| {
        v.trouble.as_ref().map_or(Cell::Null, Into::into)
    }),
    VerifiedColumn::seen("label.column.level", |v| match &v.trouble {
        Some(trouble) => Cell::Said(trouble.clone()),
        None => Cell::word("label.level", "ok"),
    })
    .flow(),
];

fn verify(ledger: &Ledger, rosters: &Rosters, output: &Output) -> Result<Sheet, CommandError> {
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
            unread: ledger
                .opaque_count(log)
                .map_err(|error| CommandError::ended(Exit::Internal, &error))?,
            trouble,
        });
    }
    drop(progress);
    let bad = done.iter().filter(|v| v.trouble.is_some()).count();
    let exit = if bad == 0 { Exit::Done } else { Exit::Refused };
    let mut sheet = Sheet::new("store.verify").ends(exit);
    sheet.data("verified", bad == 0);
    sheet.data("bad", bad);
    sheet.section(Section::of(&done, VERIFIED).keyed("logs"));
    for v in done.iter().filter(|v| v.lost > 0) {
        let words = [("log", Cell::from(&v.origin)), ("count", v.lost.into())];
        sheet.say("message.store.lost", words);
    }
    for v in &done {
        unread(&mut sheet, v);
    }
    Ok(sheet)
}

/// What is held of a log and cannot be read here.
fn unread(sheet: &mut Sheet, verified: &Verified) {
    let (log, unread) = (&verified.origin, &verified.unread);
    if unread.newer > 0 {
        let words = [("log", Cell::from(log)), ("count", unread.newer.into())];
        sheet.say("message.store.newer", words);
    }
    if let Some(first) = &unread.first {
        let words = [
            ("log", Cell::from(log)),
            ("count", unread.refused.into()),
            ("index", first.index.to_string().into()),
            ("why", Cell::Said(first.sentence.to_string())),
        ];
        sheet.say("message.store.refused", words);
    }
}

fn reindex(ledger: &Ledger, output: &Output) -> Result<Sheet, CommandError> {
    let entries: u64 = ledger.logs().iter().map(|log| log.size().0).sum();
    let label = output.lang().text(
        "message.store.reindexing",
        &[("count", &entries.to_string())],
    );
    let progress = output.progress(&label, None);
    let watch = Stopwatch::start();
    let done = ledger.reindex();
    drop(progress);
    done.map_err(|error| CommandError::ended(Exit::Internal, &error))?;
    let seconds = Cell::Fraction(watch.seconds(), 1);
    let mut sheet = Sheet::new("store.reindex");
    sheet.data("entries", entries);
    sheet.data("seconds", seconds.clone());
    let words = [("count", entries.into()), ("seconds", seconds)];
    sheet.say("message.store.reindexed", words);
    Ok(sheet)
}
