//! `casegate audit verify`: the verdict on every record of a bundle.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::show;
use crate::audit::layout::BUNDLE_FORMAT;
use crate::audit::verify::{
    Options, POLICY_BYTES_MAX, Policy, RecordLine, Report, Step, VerifyError, verify,
};
use crate::blame::Blamed;
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::Output;
use crate::cli::sheet::Sheet;
use crate::clock::Clock;
use crate::lang::Lang;

/// Verifies a bundle offline, with keys from the policy only.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// The bundle: a directory or a tar archive.
    bundle: PathBuf,
    /// What to trust: federation and digest of roster 1.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// How many threads; as many as there are processors otherwise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Writes the verdict on every record, one JSON object a line.
    #[arg(long, value_name = "FILE.jsonl")]
    records: Option<PathBuf>,
}

/// Reads a policy file, or tells why not.
pub(super) fn read_policy(path: &Path) -> anyhow::Result<Policy> {
    let unreadable = |source| CommandError::Unreadable {
        path: path.to_path_buf(),
        source,
    };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    anyhow::ensure!(size <= POLICY_BYTES_MAX, "{}: too big", path.display());
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Policy::parse(&text).with_context(|| path.display().to_string())
}

/// How many threads to use.
pub(super) fn threads(jobs: Option<u16>) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    jobs.map_or_else(all, usize::from)
}

/// Why a bundle could not be looked at.
pub(super) fn refused(error: &VerifyError, lang: Lang) -> CommandError {
    let exit = match error {
        VerifyError::Write(_) | VerifyError::Unpack(_) => Exit::Internal,
        VerifyError::Newer { found, software } => {
            let words = [
                ("found", &*found.to_string()),
                ("known", &BUNDLE_FORMAT.to_string()),
                ("software", software),
            ];
            return CommandError::Ended {
                exit: Exit::Newer,
                code: error.code(),
                sentence: lang.coded("error", error.code(), &words),
            };
        }
        VerifyError::Unreadable { .. }
        | VerifyError::Archive(_)
        | VerifyError::NoMember
        | VerifyError::NoFormat => Exit::Refused,
    };
    CommandError::ended(exit, error)
}

pub(super) fn run(
    args: &VerifyArgs,
    clock: &Clock,
    output: &Output,
) -> Result<Sheet, CommandError> {
    let policy = read_policy(&args.policy)?;
    let report = looked_at(args, &policy, clock, output)?;
    Ok(show::sheet(
        &report.map_err(|error| refused(&error, output.lang()))?,
    )?)
}

fn looked_at(
    args: &VerifyArgs,
    policy: &Policy,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Result<Report, VerifyError>> {
    let mut lines = match &args.records {
        Some(path) => {
            let file = File::create(path).map_err(|source| CommandError::Unwritable {
                path: path.clone(),
                source,
            })?;
            Some(BufWriter::new(file))
        }
        None => None,
    };
    let mut sink = lines.as_mut().map(|file| {
        move |line: &RecordLine| {
            serde_json::to_writer(&mut *file, line)?;
            file.write_all(b"\n")
        }
    });
    let label = output.lang().text("audit.verify.progress", &[]);
    let bar = output.progress(&label, Some(0));
    let progress = |step| match step {
        Step::Records(all) => bar.total(all),
        Step::Done(some) => bar.advance(some),
    };
    let options = Options {
        jobs: threads(args.jobs),
        now: clock.now(),
        progress: &progress,
        records: sink.as_mut().map(|sink| {
            let sink: &mut dyn FnMut(&RecordLine) -> std::io::Result<()> = sink;
            sink
        }),
        bodies: None,
        only: None,
    };
    let report = verify(&args.bundle, policy, options);
    if let Some(file) = &mut lines {
        file.flush()?;
    }
    Ok(report)
}
