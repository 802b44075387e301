//! `casegate demo`: a whole federation on loopback, with real mutual TLS, real
//! stores and a real key generation. It imports cases, publishes, exchanges,
//! asks, links, verifies, and prints what a person wants to see.

mod machine;
mod props;
mod report;
mod shared;
mod stage;
mod tamper;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::cli::failure::Exit;
use crate::cli::output::Output;
use crate::clock::{Clock, Stopwatch};
use crate::element::Rules;
use crate::ids::{Digest, MemberId};
use crate::sample::{Found, SEED, Sample, SampleSize, generate};
use crate::wire::v1;

use report::Findings;
use shared::Shared;
use stage::{Progressing, Stage};

/// Arguments of `casegate demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// A directory with one .csv or .jsonl file per bureau; else the sample.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How many custodians make a token.
    #[arg(long, default_value_t = 2)]
    threshold: u16,
    /// How many custodians there are.
    #[arg(long, default_value_t = 3)]
    custodians: u16,
    /// The region of phone numbers without a country code.
    #[arg(long, default_value = "CN", value_name = "XX")]
    phone_region: String,
    /// Where the nodes' directories go, and stay; else a temporary directory.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Goes on running at the end, for officers who attach.
    #[arg(long)]
    keep: bool,
    /// Flips a byte of one entry in transit; the demo must catch it (exit 2).
    #[arg(long)]
    tamper: bool,
    /// Writes what bureaus share: kind, value, bureaus, cases between tabs.
    #[arg(long, value_name = "FILE")]
    shared_out: Option<PathBuf>,
}

/// One bureau's file.
#[derive(Clone, Debug)]
pub(super) struct BureauFile {
    pub(super) id: MemberId,
    pub(super) format: &'static str,
    pub(super) bytes: bytes::Bytes,
}

/// Runs the demo.
///
/// # Errors
/// Whatever keeps it from coming to its end.
pub async fn run(args: &DemoArgs, clock: &Clock, output: &Output) -> anyhow::Result<Exit> {
    let watch = Stopwatch::start();
    let rules = Rules::new(&args.phone_region).map_err(|e| anyhow::anyhow!("{e}"))?;
    if args.threshold == 0 || args.threshold > args.custodians || args.custodians > 16 {
        bail!("--threshold is from 1 to --custodians, which is at most 16");
    }
    let sample = args
        .data
        .is_none()
        .then(|| generate(SEED, SampleSize::default()));
    let files = match (&args.data, &sample) {
        (Some(dir), _) => read_files(dir)?,
        (None, Some(sample)) => sample_files(sample)?,
        (None, None) => vec![],
    };
    let temporary = match &args.dir {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new()
                .prefix("casegate-demo-")
                .tempdir()?,
        ),
    };
    let dir = match (&args.dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(temporary)) => temporary.path().join("federation"),
        (None, None) => bail!("no directory for the nodes"),
    };
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let rows = files.iter().map(|f| count_lines(&f.bytes)).sum();
    check_machine(args, &dir, rows, files.len() as u64, output)?;

    let mut stage = Stage::launch(args, dir.clone(), clock.clone(), rules, files, output).await?;
    let caught = stage.play(rows, output).await?;
    let mut findings = finish(&mut stage, sample.as_ref(), args, output).await?;
    findings.numbers.peak_rss_bytes = machine::peak_rss_bytes();
    findings.numbers.disk_bytes = machine::disk_bytes(&dir);
    findings.numbers.wall_s = watch.seconds();
    findings.numbers.tampering.clone_from(&caught);
    findings.next = next_commands(args, &stage, &dir);
    let exit = output.show(&report::sheet(&findings, verdict(args, &findings))?)?;
    if args.keep {
        keep(&stage, output).await?;
    }
    stage.stop().await;
    Ok(exit)
}

fn verdict(args: &DemoArgs, findings: &Findings) -> Exit {
    let numbers = &findings.numbers;
    let wrong = numbers.planted != numbers.planted_found
        || numbers.planted_false.unwrap_or(0) > 0
        || (!args.tamper && numbers.signatures_bad > 0);
    if args.tamper || wrong {
        Exit::Refused
    } else {
        Exit::Done
    }
}

async fn finish(
    stage: &mut Stage,
    sample: Option<&Sample>,
    args: &DemoArgs,
    output: &Output,
) -> anyhow::Result<Findings> {
    let (shared, mut findings) = stage.finish(output).await?;
    findings.numbers.shared = shared.len() as u64;
    if let Some(file) = &args.shared_out {
        std::fs::write(file, shared::lines(&shared)).with_context(|| file.display().to_string())?;
    }
    if let (Some(sample), false) = (sample, args.tamper) {
        judge(sample, &shared, &mut findings);
    }
    Ok(findings)
}

fn judge(sample: &Sample, shared: &Shared, findings: &mut Findings) {
    let bureaus: Vec<Vec<&str>> = shared
        .values()
        .map(|element| element.bureaus.iter().map(String::as_str).collect())
        .collect();
    let found = shared
        .keys()
        .zip(&bureaus)
        .map(|((kind, value), bureaus)| Found {
            kind,
            value,
            bureaus,
        });
    let judgement = sample.judge(found);
    findings.numbers.planted = Some(judgement.planted as u64);
    findings.numbers.planted_found = Some(judgement.planted_found as u64);
    findings.numbers.planted_false = Some(judgement.planted_false as u64);
    findings.hub_found = judgement.hub_found;
    findings.planted_hub = true;
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

fn sample_files(sample: &Sample) -> anyhow::Result<Vec<BureauFile>> {
    sample
        .bureaus
        .iter()
        .map(|bureau| {
            Ok(BureauFile {
                id: MemberId::new(bureau.id)?,
                format: "csv",
                bytes: bytes::Bytes::from(bureau.csv.clone()),
            })
        })
        .collect()
}

/// Reads one file a bureau; the file's name names the bureau.
fn read_files(dir: &Path) -> anyhow::Result<Vec<BureauFile>> {
    let mut files = BTreeMap::new();
    let entries = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let format = match path.extension().and_then(|e| e.to_str()) {
            Some("csv") => "csv",
            Some("jsonl") => "jsonl",
            _ => continue,
        };
        let name = path
            .file_stem()
            .map(|s| s.to_string_lossy().into_owned())
            .unwrap_or_default();
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let file = BureauFile {
            id: member_of(&name)?,
            format,
            bytes: bytes.into(),
        };
        if files.insert(file.id.clone(), file).is_some() {
            bail!("two files name the bureau {name:?}");
        }
    }
    if files.is_empty() {
        bail!(
            "{} has no .csv or .jsonl file: one per bureau is needed",
            dir.display()
        );
    }
    Ok(files.into_values().collect())
}

/// The member that a file name stands for: itself where it is a member's name,
/// else a name of its own.
fn member_of(name: &str) -> anyhow::Result<MemberId> {
    let lower = name.to_lowercase();
    if let Ok(id) = MemberId::new(&lower) {
        return Ok(id);
    }
    let digest = hex::encode(&Digest::of(name.as_bytes()).0[..4]);
    Ok(MemberId::new(&format!("bureau-{digest}"))?)
}

fn check_machine(
    args: &DemoArgs,
    dir: &Path,
    rows: u64,
    bureaus: u64,
    output: &Output,
) -> anyhow::Result<()> {
    let lang = output.lang();
    output.note(&lang.text("demo.step.check", &[]))?;
    let needs = machine::needs(rows, bureaus + 1, u64::from(args.custodians));
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    if let Some(free) = machine::free_disk(dir)
        && free < needs.disk_bytes
    {
        let (needed, free) = (mib(needs.disk_bytes), mib(free));
        let path = dir.display().to_string();
        let values = [("path", &*path), ("needed", &*needed), ("free", &*free)];
        bail!(lang.text("demo.disk.low", &values));
    }
    let limit = machine::allow_files(needs.open_files);
    if limit < needs.open_files {
        let (limit, needed) = (limit.to_string(), needs.open_files.to_string());
        bail!(lang.text("demo.files.low", &[("limit", &limit), ("needed", &needed)]));
    }
    Ok(())
}

fn next_commands(args: &DemoArgs, stage: &Stage, dir: &Path) -> Vec<String> {
    let mut next = vec![];
    if args.keep {
        let case = stage.asked_case().unwrap_or("CASE");
        let config = stage.officer_config(stage.first_bureau());
        let config = config.display();
        next.push(format!("casegate --config {config} status"));
        next.push(format!(
            "casegate --config {config} query --case {case:?} --offence fraud --reason 'shared evidence'"
        ));
        next.push(format!(
            "casegate --config {config} log --access --newest 5 --verify"
        ));
    } else {
        next.push("casegate demo --keep --dir ./demo".into());
        next.push("casegate demo --tamper".into());
        next.push("casegate sample --out ./cases && casegate demo --data ./cases".into());
    }
    if args.dir.is_some() {
        next.push(format!("ls {}", dir.display()));
    }
    next
}

/// Says how officers attach, and waits for Ctrl-C.
async fn keep(stage: &Stage, output: &Output) -> anyhow::Result<()> {
    output.note(&output.lang().text("demo.keep", &[]))?;
    for bureau in stage.members() {
        let config = stage.officer_config(&bureau);
        output.note(&format!(
            "  {bureau}: casegate --config {} status",
            config.display()
        ))?;
    }
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// The purpose under which the demo's officers ask.
pub(super) fn purpose() -> v1::DeskPurpose {
    v1::DeskPurpose {
        offence: "fraud".into(),
        reason: "demonstration".into(),
        urgency: "routine".into(),
    }
}

/// A progress bar under a text of the catalogue.
pub(super) fn progress(
    output: &Output,
    key: &str,
    values: &[(&str, &str)],
    total: Option<u64>,
) -> anyhow::Result<Progressing> {
    let label = output.lang().text(key, values);
    if total.is_none() {
        output.note(&label)?;
    }
    Ok(Progressing {
        bar: output.progress(&label, total),
        watch: Stopwatch::start(),
    })
}
