//! `casegate sample`: writes the sample's files, and what is planted in them.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use crate::cli::sheet::{Cell, Sheet};
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

/// Writes one CSV file a bureau and `planted.tsv`, and says so.
///
/// # Errors
/// When a file cannot be written.
pub fn run(args: &SampleArgs) -> anyhow::Result<Sheet> {
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
    let planted_file = write(TRUTH_FILE, &sample.planted_tsv())?;
    let mut sheet = Sheet::new("sample");
    sheet.data("seed", args.seed);
    sheet.data("files", Cell::texts(&files));
    sheet.data("planted_file", &planted_file);
    sheet.data("cases", sample.cases);
    sheet.data("rows", sample.rows);
    sheet.data("elements", sample.elements());
    sheet.data("refused", sample.refused.len());
    sheet.data("duplicates", sample.duplicates);
    sheet.data("planted", sample.truth.len());
    sheet.data("groups", sample.groups.len());
    sheet.data("hubs", 1_u64);
    sheet.say(
        "message.sample.written",
        [
            ("files", files.len().into()),
            ("cases", sample.cases.into()),
            ("rows", sample.rows.into()),
            ("planted", sample.truth.len().into()),
            ("path", planted_file.into()),
        ],
    );
    Ok(sheet)
}
