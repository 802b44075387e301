//! `casegate audit verify`: the verdict on every record of a bundle.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::node::{AuditPort, NodeArgs, member_of};
use super::{export, page, show};
use crate::audit::export::{BundleOut, Selection};
use crate::audit::layout::BUNDLE_FORMAT;
use crate::audit::verify::{
    Options, POLICY_BYTES_MAX, Policy, RecordLine, Report, Step, VerifyError, verify,
};
use crate::blame::Blamed;
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::Output;
use crate::clock::Clock;
use crate::ids::MemberId;

/// The bundle's name in the directory into which it is fetched.
const FETCHED: &str = "bundle";

/// Verifies a bundle offline, with keys from the policy only.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// The bundle: a directory or a tar archive.
    #[arg(required_unless_present = "online", conflicts_with = "online")]
    bundle: Option<PathBuf>,
    /// Verifies what the member's node shows now: a bundle that is not kept.
    #[arg(long, requires = "member")]
    online: bool,
    /// With --online: the member whose logs are verified.
    #[arg(long, value_name = "NAME", value_parser = member_of, requires = "online")]
    member: Option<MemberId>,
    /// With --online: where its node listens for auditors; otherwise as the roster says.
    #[arg(long, value_name = "HOST:PORT", requires = "online")]
    node: Option<String>,
    /// What to trust: federation and digest of roster 1.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// How many threads; as many as there are processors otherwise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Writes a report of one page, which needs nothing else to be shown.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
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

/// Tells why a bundle could not be looked at.
pub(super) fn refuse(error: &VerifyError, output: &Output) -> anyhow::Result<Exit> {
    let sentence = match error {
        VerifyError::Newer { found, software } => output.lang().coded(
            "error",
            error.code(),
            &[
                ("found", &found.to_string()),
                ("known", &BUNDLE_FORMAT.to_string()),
                ("software", software),
            ],
        ),
        other => other.to_string(),
    };
    output.fail(error.code(), &sentence)?;
    Ok(match error {
        VerifyError::Write(_) => Exit::Internal,
        VerifyError::Newer { .. } => Exit::Newer,
        VerifyError::Unreadable { .. }
        | VerifyError::Archive(_)
        | VerifyError::NoMember
        | VerifyError::NoFormat => Exit::Refused,
    })
}

/// Exports what a node shows into a directory that goes away with the answer:
/// so each file is read once, of one state, and all of it is checked.
fn fetched(
    args: &VerifyArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Option<tempfile::TempDir>> {
    let Some(member) = args.member.clone().filter(|_| args.online) else {
        return Ok(None);
    };
    let node = NodeArgs {
        member: member.clone(),
        node: args.node.clone(),
    };
    let port = AuditPort::open(&node, config, clock)?;
    let dir = tempfile::tempdir()?;
    let what = Selection {
        federation: port.federation.clone(),
        member,
        from: None,
        to: None,
        now: clock.now(),
    };
    let out = BundleOut::Dir(dir.path().join(FETCHED));
    export::write(out, &what, &port.files, output, &port.stopped)?;
    Ok(Some(dir))
}

pub(super) fn run(
    args: &VerifyArgs,
    config: &Path,
    clock: &Clock,
    output: &Output,
) -> anyhow::Result<Exit> {
    let policy = read_policy(&args.policy)?;
    let fetched = fetched(args, config, clock, output)?;
    let online = fetched.as_ref().map(|dir| dir.path().join(FETCHED));
    let Some(bundle) = online.or_else(|| args.bundle.clone()) else {
        return Err(CommandError::Usage("say which bundle, or --online --member NAME").into());
    };
    let report = match looked_at(args, &bundle, &policy, clock, output)? {
        Ok(report) => report,
        Err(error) => return refuse(&error, output),
    };
    if let Some(path) = &args.html {
        let html = page::html(&show::Sheet::of(&report), output.lang());
        std::fs::write(path, html).map_err(|source| CommandError::Unwritable {
            path: path.clone(),
            source,
        })?;
    }
    output.emit("audit.verify", &report, |screen| {
        show::Sheet::of(&report).draw(screen);
    })?;
    Ok(if report.ok { Exit::Done } else { Exit::Nothing })
}

fn looked_at(
    args: &VerifyArgs,
    bundle: &Path,
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
    let report = verify(bundle, policy, options);
    if let Some(file) = &mut lines {
        file.flush()?;
    }
    Ok(report)
}
