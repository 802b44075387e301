//! `casegate import`: sends a file of cases to the node in parts, keeps the
//! refused rows in a file in which they can be mended, and shows the report.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use crate::cli::desk::{Desk, PurposeArgs};
use crate::cli::failure::{CommandError, Exit};
use crate::cli::output::{Output, Progress, Screen, Table};
use crate::cli::rejects::Rejects;
use crate::cli::show::{self, Count};
use crate::lang::Lang;
use crate::rpc::desk_client::{FilePart, ImportEvents};
use crate::wire::v1;
use crate::wire::v1::import_event::Event;

/// Bytes of the file in one message.
const PART_BYTES: usize = 256 * 1024;
/// Parts that are read ahead of the network.
const PARTS_AHEAD: usize = 4;

/// Imports a file of cases and publishes what is new in it.
#[derive(Clone, Debug, clap::Args)]
pub struct ImportArgs {
    /// A CSV file (UTF-8 or GB18030), or JSON Lines if its name ends so.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Changes nothing: says what an import would do.
    #[arg(long)]
    pub preview: bool,
    /// Keeps refused rows as sealed notes, which are never compared.
    #[arg(long)]
    pub as_note: bool,
    /// Does not wait until everything is published.
    #[arg(long)]
    pub no_wait: bool,
    /// Where refused rows go, instead of FILE.rejects.csv.
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// Why.
    #[command(flatten)]
    pub purpose: PurposeArgs,
}

/// What an import did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct ReportView {
    /// How the file's text is encoded.
    pub encoding: String,
    /// Rows of the file.
    pub rows: u64,
    /// Distinct elements.
    pub elements: u64,
    /// Rows that repeat another.
    pub duplicates: u64,
    /// Rows that were refused.
    pub refused: u64,
    /// Rows that are new here.
    pub fresh: u64,
    /// Rows that were published before.
    pub unchanged: u64,
    /// Rows with changed attributes.
    pub amendments: u64,
    /// Rows that are kept sealed without a token.
    pub not_linkable: u64,
    /// Refused rows that are kept as notes.
    pub notes: u64,
    /// Distinct cases.
    pub cases: u64,
    /// Cases that were not in the table.
    pub new_cases: u64,
    /// Elements by kind.
    pub kinds: Vec<Count>,
    /// Refused rows by code.
    pub refusals: Vec<Count>,
    /// What is odd about accepted rows, by code.
    pub warnings: Vec<Count>,
    /// Members whose nodes publishing waits for.
    pub behind: Vec<String>,
}

impl ReportView {
    /// Takes the node's report.
    #[must_use]
    pub fn of(report: &v1::ImportReport) -> Self {
        Self {
            encoding: report.encoding.clone(),
            rows: report.rows,
            elements: report.elements,
            duplicates: report.duplicates,
            refused: report.refused,
            fresh: report.fresh,
            unchanged: report.unchanged,
            amendments: report.amendments,
            not_linkable: report.not_linkable,
            notes: report.notes,
            cases: report.cases,
            new_cases: report.new_cases,
            kinds: Count::all(&report.kinds),
            refusals: Count::all(&report.refusals),
            warnings: Count::all(&report.warnings),
            behind: report.behind.clone(),
        }
    }

    /// Tells people whose nodes publishing waits for.
    pub fn show_behind(&self, screen: &mut Screen) {
        if !self.behind.is_empty() {
            let members = self.behind.join(", ");
            screen.text("message.publish.behind", &[("members", &members)]);
        }
    }
}

/// An import as JSON and people see it.
#[derive(Clone, Debug, Serialize)]
pub struct ImportView {
    file: String,
    preview: bool,
    published: u64,
    /// Where refused rows are, if there are any.
    rejects: Option<String>,
    #[serde(flatten)]
    report: ReportView,
}

impl ImportView {
    /// Takes the report of an import of `file`.
    #[must_use]
    pub fn of(
        file: &str,
        preview: bool,
        published: u64,
        rejects: Option<&Path>,
        report: &v1::ImportReport,
    ) -> Self {
        Self {
            file: file.to_owned(),
            preview,
            published,
            rejects: rejects.map(|path| path.display().to_string()),
            report: ReportView::of(report),
        }
    }

    /// Shows it to people.
    pub fn show(&self, screen: &mut Screen) {
        let report = &self.report;
        let number = |n: u64| n.to_string();
        screen.text(
            "message.import.done",
            &[
                ("file", &self.file),
                ("rows", &number(report.rows)),
                ("elements", &number(report.elements)),
                ("refused", &number(report.refused)),
                ("duplicates", &number(report.duplicates)),
            ],
        );
        screen.text("message.import.encoding", &[("encoding", &report.encoding)]);
        screen.text(
            "message.import.changes",
            &[
                ("fresh", &number(report.fresh)),
                ("amendments", &number(report.amendments)),
                ("unchanged", &number(report.unchanged)),
                ("cases", &number(report.new_cases)),
            ],
        );
        counts(screen, &report.kinds, "label.title.kinds", show::kind);
        counts(
            screen,
            &report.refusals,
            "label.title.refused",
            |lang, code| lang.coded("refusal", code, &[]),
        );
        counts(
            screen,
            &report.warnings,
            "label.title.warnings",
            |lang, code| lang.coded("warning", code, &[]),
        );
        self.show_next(screen);
    }

    fn show_next(&self, screen: &mut Screen) {
        let report = &self.report;
        if report.not_linkable > 0 {
            let count = report.not_linkable.to_string();
            screen.text("message.import.not_linkable", &[("count", &count)]);
        }
        if report.notes > 0 {
            screen.text(
                "message.import.notes",
                &[("count", &report.notes.to_string())],
            );
        }
        if let Some(path) = &self.rejects {
            screen.text("message.import.rejects", &[("path", path)]);
        }
        let taken = report.fresh + report.amendments;
        if self.preview {
            screen.text("message.import.preview", &[]);
        } else if taken == 0 {
            screen.text("message.publish.nothing", &[]);
        } else {
            let queued = taken
                .saturating_sub(self.published)
                .saturating_sub(report.not_linkable);
            screen.text(
                "message.publish.done",
                &[
                    ("count", &self.published.to_string()),
                    ("queued", &queued.to_string()),
                ],
            );
            screen.text("message.import.next", &[]);
            report.show_behind(screen);
        }
    }
}

fn counts(
    screen: &mut Screen,
    counts: &[Count],
    title: &'static str,
    word: impl Fn(Lang, &str) -> String,
) {
    if counts.is_empty() {
        return;
    }
    let lang = screen.lang();
    screen.title(title);
    let mut table = Table::new()
        .number("label.column.count")
        .column("label.column.what");
    for count in counts {
        table.row([count.count.to_string(), word(lang, &count.name)]);
    }
    screen.table(&table);
}

/// Why a row was refused: the catalogue's sentence, or the node's own.
#[must_use]
pub fn reason(lang: Lang, refusal: &v1::Refusal) -> String {
    if lang.knows("refusal", &refusal.code) || refusal.sentence.is_empty() {
        let column = match refusal.column.as_str() {
            "" => "-",
            column => column,
        };
        lang.coded("refusal", &refusal.code, &[("column", column)])
    } else {
        refusal.sentence.clone()
    }
}

/// Imports the file.
///
/// # Errors
/// [`CommandError`].
pub async fn run(args: &ImportArgs, desk: &Desk, output: &Output) -> Result<Exit, CommandError> {
    let unreadable = |source| CommandError::Unreadable {
        path: args.file.clone(),
        source,
    };
    let file = tokio::fs::File::open(&args.file)
        .await
        .map_err(unreadable)?;
    let size = file.metadata().await.map_err(unreadable)?.len();
    let name = args
        .file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let options = v1::ImportOptions {
        format: format_of(&args.file).to_owned(),
        preview: args.preview,
        as_note: args.as_note,
        wait: !args.no_wait,
        purpose: Some(args.purpose.to_wire()),
        file_name: name.clone(),
    };
    let label = output
        .lang()
        .text("message.import.reading", &[("file", &name)]);
    let progress = output.progress(&label, Some(size));
    let (parts, sent) = mpsc::channel(PARTS_AHEAD);
    let work = async {
        let events = desk.client.import(options, sent).await?;
        listen(events, rejects_of(args), output).await
    };
    let (report, published, rejects) = tokio::select! {
        result = work => result?,
        error = read(file, parts, progress) => return Err(unreadable(error)),
    };
    let view = ImportView::of(&name, args.preview, published, rejects.as_deref(), &report);
    output.emit("import", &view, |screen| view.show(screen))?;
    Ok(Exit::Done)
}

/// Sends the file's parts, and then waits for ever; returns only when the file
/// cannot be read.
async fn read(
    mut file: tokio::fs::File,
    parts: mpsc::Sender<FilePart>,
    progress: Progress,
) -> std::io::Error {
    loop {
        let mut bytes = Vec::with_capacity(PART_BYTES);
        let whole = PART_BYTES.try_into().unwrap_or(u64::MAX);
        // To the node, a file is whole when its end was said, and never is when
        // it cannot be read so far.
        let part = match (&mut file).take(whole).read_to_end(&mut bytes).await {
            Ok(0) => FilePart::End,
            Ok(_) => FilePart::Bytes(Bytes::from(bytes)),
            Err(error) => return error,
        };
        if let FilePart::Bytes(bytes) = &part {
            progress.advance(bytes.len().try_into().unwrap_or(u64::MAX));
        }
        let last = part == FilePart::End;
        // When the node hangs up, its answer says why.
        if parts.send(part).await.is_err() || last {
            break;
        }
    }
    drop((parts, progress));
    std::future::pending().await
}

type Heard = (v1::ImportReport, u64, Option<PathBuf>);

/// Takes the node's events until its report is there.
async fn listen(
    mut events: ImportEvents,
    mut rejects: Option<Rejects>,
    output: &Output,
) -> Result<Heard, CommandError> {
    let lang = output.lang();
    let (mut report, mut published) = (None, 0);
    let mut progress = None;
    while let Some(event) = events.next().await? {
        match event {
            Event::Refusal(refusal) => {
                if let Some(rejects) = &mut rejects {
                    rejects.add(&refusal, &reason(lang, &refusal))?;
                }
            }
            Event::Rows(_) => {}
            Event::Published(count) => {
                published = count;
                let start = || output.progress(&lang.text("message.import.publishing", &[]), None);
                progress.get_or_insert_with(start).at(count);
            }
            Event::Report(last) => report = Some(last),
        }
    }
    let report = report.ok_or(CommandError::Answer("report"))?;
    let written = match rejects {
        Some(rejects) => rejects.finish(&report.headers)?,
        None => None,
    };
    Ok((report, published, written))
}

fn format_of(file: &Path) -> &'static str {
    let ends = file
        .extension()
        .map(|end| end.to_string_lossy().to_ascii_lowercase());
    match ends.as_deref() {
        Some("jsonl" | "ndjson" | "json") => "jsonl",
        _ => "csv",
    }
}

/// The rejects file: a preview, and an import that keeps notes, write one only
/// when it is asked for.
fn rejects_of(args: &ImportArgs) -> Option<Rejects> {
    match &args.rejects {
        Some(path) => Some(Rejects::at(path)),
        None if args.preview || args.as_note => None,
        None => Some(Rejects::beside(&args.file)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::desk_client::tests::{Import, client_at, material, serve, stub_for};
    use crate::tls::Material;

    fn args(file: &Path) -> ImportArgs {
        ImportArgs {
            file: file.to_owned(),
            preview: false,
            as_note: false,
            no_wait: false,
            rejects: None,
            purpose: PurposeArgs {
                offence: "fraud".into(),
                reason: "new cases".into(),
                urgency: "routine".into(),
            },
        }
    }

    fn quiet() -> Output {
        Output::to(
            true,
            Lang::En,
            Box::new(std::io::sink()),
            Box::new(std::io::sink()),
        )
    }

    /// Runs an import as a process does: its connection ends with its runtime.
    fn import(args: &ImportArgs, address: &str, own: &Material) -> Result<Exit, CommandError> {
        let client = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        client.expect("a runtime").block_on(async {
            let client = client_at(address, own.clone());
            let desk = Desk {
                client,
                officer: "li.wei".into(),
                roster_expires_at: 1,
            };
            run(args, &desk, &quiet()).await
        })
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_to_its_end_is_never_taken_for_whole() {
        // A directory can be opened; reading it fails.
        let dir = tempfile::tempdir().expect("a directory");
        let file = tokio::fs::File::open(dir.path()).await.expect("it opens");
        let (parts, mut sent) = mpsc::channel(PARTS_AHEAD);
        let _error = read(file, parts, quiet().progress("", None)).await;
        tokio::task::yield_now().await;
        assert_eq!(
            sent.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected),
            "no end was said"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let node = tokio::runtime::Runtime::new().expect("a runtime");
        let own = material();
        let address = node.block_on(serve(stub_for(&own, vec![]).0));
        for bad in [dir.path().to_owned(), dir.path().join("none.csv")] {
            let error = import(&args(&bad), &address, &own).expect_err("it cannot be read");
            assert!(matches!(&error, CommandError::Unreadable { path, .. } if *path == bad));
        }
    }

    #[test]
    fn a_large_file_arrives_whole_and_its_refused_rows_are_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("cases.csv");
        let bytes = PART_BYTES * 3 + 17;
        std::fs::write(&file, vec![b'x'; bytes]).expect("written");
        let refusal = v1::Refusal {
            line: 2,
            code: "phone.impossible".into(),
            record: vec!["A-1".into()],
            ..Default::default()
        };
        let node = tokio::runtime::Runtime::new().expect("a runtime");
        let own = material();
        let (stub, mut seen) = stub_for(&own, vec![refusal]);
        let address = node.block_on(serve(stub));
        let exit = import(&args(&file), &address, &own).expect("imported");
        assert_eq!(exit, Exit::Done);
        assert_eq!(seen.blocking_recv(), Some(Import::Whole { bytes }));
        let rejects = std::fs::read_to_string(dir.path().join("cases.csv.rejects.csv"));
        assert!(rejects.expect("a file").ends_with(",A-1\n"));
        let preview = ImportArgs {
            preview: true,
            ..args(&file)
        };
        import(&preview, &address, &own).expect("looked at");
        assert_eq!(
            dir.path().read_dir().expect("readable").count(),
            2,
            "a preview writes nothing"
        );
    }
}
