//! `casegate sample`: writes the sample's files, and what is planted in them.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use crate::cli::output::Output;
use crate::sample::{self, SampleSize};

/// The file that tells what is planted.
const TRUTH_FILE: &str = "planted.tsv";

/// Writes synthetic cases of three cities with planted links.
#[derive(Clone, Debug, clap::Args)]
pub struct SampleArgs {
    /// The directory to write into; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Another seed makes other cases with as many links.
    #[arg(long, value_name = "N", default_value_t = sample::SEED)]
    pub seed: u64,
    /// Cases of each bureau, 40 to 5000.
    #[arg(long, value_name = "N", default_value_t = 80)]
    pub cases: usize,
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct SampleWritten {
    seed: u64,
    files: Vec<String>,
    planted_file: String,
    cases: usize,
    rows: usize,
    elements: usize,
    refused: usize,
    duplicates: usize,
    planted: usize,
    groups: usize,
    hubs: usize,
}

/// Writes one CSV file a bureau and `planted.tsv`, and says so.
///
/// # Errors
/// When a file cannot be written.
pub fn run(args: &SampleArgs, output: &Output) -> anyhow::Result<()> {
    let sample = sample::generate(
        args.seed,
        SampleSize {
            cases_per_bureau: args.cases,
        },
    );
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the directory {}", args.out.display()))?;
    let write = |name: &str, text: &str| -> anyhow::Result<String> {
        let path = args.out.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.display().to_string())
    };
    let mut files = Vec::new();
    for bureau in &sample.bureaus {
        files.push(write(&format!("{}.csv", bureau.id), &bureau.csv)?);
    }
    let written = SampleWritten {
        seed: args.seed,
        files,
        planted_file: write(TRUTH_FILE, &sample.planted_tsv())?,
        cases: sample.cases,
        rows: sample.rows,
        elements: sample.elements(),
        refused: sample.refused.len(),
        duplicates: sample.duplicates,
        planted: sample.truth.len(),
        groups: sample.groups.len(),
        hubs: 1,
    };
    output.emit("sample", &written, |screen| {
        let number = |n: usize| n.to_string();
        screen.text(
            "message.sample.written",
            &[
                ("files", &number(written.files.len())),
                ("cases", &number(written.cases)),
                ("rows", &number(written.rows)),
                ("planted", &number(written.planted)),
                ("path", &written.planted_file),
            ],
        );
    })?;
    Ok(())
}
