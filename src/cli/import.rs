//! `casegate import`: sends a file of cases to the node in parts, keeps the
//! refused rows in a file in which they can be mended, and shows the report.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use crate::cli::desk::{Desk, PurposeArgs};
use crate::cli::failure::CommandError;
use crate::cli::output::{Output, Progress};
use crate::cli::rejects::Rejects;
use crate::cli::sheet::{Cell, Column, Say, Section, Sheet};
use crate::lang::Lang;
use crate::rpc::desk_client::{FilePart, ImportEvents};
use crate::wire::v1::import_event::Event;
use crate::wire::v1::{self, KindCount};

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
pub(super) const REPORT: &[Column<v1::ImportReport>] = &[
    Column::data("encoding", |r| (&r.encoding).into()),
    Column::data("rows", |r| r.rows.into()),
    Column::data("elements", |r| r.elements.into()),
    Column::data("duplicates", |r| r.duplicates.into()),
    Column::data("refused", |r| r.refused.into()),
    Column::data("fresh", |r| r.fresh.into()),
    Column::data("unchanged", |r| r.unchanged.into()),
    Column::data("amendments", |r| r.amendments.into()),
    Column::data("not_linkable", |r| r.not_linkable.into()),
    Column::data("notes", |r| r.notes.into()),
    Column::data("cases", |r| r.cases.into()),
    Column::data("new_cases", |r| r.new_cases.into()),
    Column::data("kinds", |r| Cell::rows(&r.kinds, KINDS)),
    Column::data("refusals", |r| Cell::rows(&r.refusals, REFUSALS)),
    Column::data("warnings", |r| Cell::rows(&r.warnings, WARNINGS)),
    Column::data("behind", |r| Cell::texts(&r.behind)),
];

const COUNT: Column<KindCount> =
    Column::<KindCount>::of("count", "label.column.count", |c| c.count.into()).sum();
const KINDS: &[Column<KindCount>] = &[
    Column::of("name", "label.column.kind", |c| {
        Cell::word("label.kind", &c.kind)
    }),
    COUNT,
];
type Refusals = Column<KindCount>;

const REFUSALS: &[Refusals] = &[
    Refusals::of("name", "label.column.reason", |c| {
        Cell::word("refusal", &c.kind)
    })
    .flow(),
    COUNT,
];
type Warnings = Column<KindCount>;

const WARNINGS: &[Warnings] = &[
    Warnings::of("name", "label.column.warning", |c| {
        Cell::word("warning", &c.kind)
    })
    .flow(),
    COUNT,
];

/// What came of an import.
#[derive(Clone, Copy, Debug)]
pub struct Imported<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Whether it was only looked at.
    pub preview: bool,
    /// Records that were published.
    pub published: u64,
    /// Where refused rows are, if there are any.
    pub rejects: Option<&'a Path>,
    /// The node's report.
    pub report: &'a v1::ImportReport,
}

/// An import, and what to do next.
#[must_use]
pub fn sheet(imported: &Imported<'_>) -> Sheet {
    let report = imported.report;
    let mut sheet = Sheet::new("import");
    let file = || ("file", Cell::from(imported.file));
    sheet.head(Say::new("page.import", [file()]));
    sheet.data("file", imported.file);
    sheet.data("preview", imported.preview);
    sheet.data("published", imported.published);
    let rejects = imported.rejects.map(|path| path.display().to_string());
    sheet.data("rejects", rejects.clone().map_or(Cell::Null, Cell::Text));
    sheet.fields(report, REPORT);
    sheet.say(
        "message.import.done",
        [
            file(),
            ("rows", report.rows.into()),
            ("elements", report.elements.into()),
            ("refused", report.refused.into()),
            ("duplicates", report.duplicates.into()),
        ],
    );
    let encoding = Cell::from(&report.encoding);
    sheet.say("message.import.encoding", [("encoding", encoding)]);
    sheet.say(
        "message.import.changes",
        [
            ("fresh", report.fresh.into()),
            ("amendments", report.amendments.into()),
            ("unchanged", report.unchanged.into()),
            ("cases", report.new_cases.into()),
        ],
    );
    let counted = |counts, columns, title| Section::of(counts, columns).titled(title);
    sheet.section(counted(&report.kinds, KINDS, "label.title.kinds"));
    sheet.section(counted(&report.refusals, REFUSALS, "label.title.refused"));
    sheet.section(counted(&report.warnings, WARNINGS, "label.title.warnings"));
    next(&mut sheet, imported, rejects);
    sheet
}

/// What is left to do.
fn next(sheet: &mut Sheet, imported: &Imported<'_>, rejects: Option<String>) {
    let report = imported.report;
    let rows = [&report.kinds, &report.refusals, &report.warnings];
    if rows.iter().any(|rows| !rows.is_empty()) {
        sheet.line("");
    }
    if report.not_linkable > 0 {
        let count = report.not_linkable.into();
        sheet.say("message.import.not_linkable", [("count", count)]);
    }
    if report.notes > 0 {
        sheet.say("message.import.notes", [("count", report.notes.into())]);
    }
    if let Some(path) = rejects {
        sheet.say("message.import.rejects", [("path", path.into())]);
    }
    let taken = report.fresh + report.amendments;
    if imported.preview {
        sheet.say("message.import.preview", []);
    } else if taken == 0 {
        sheet.say("message.publish.nothing", []);
    } else {
        let queued = taken
            .saturating_sub(imported.published)
            .saturating_sub(report.not_linkable);
        let words = [
            ("count", imported.published.into()),
            ("queued", queued.into()),
        ];
        sheet.say("message.publish.done", words);
        sheet.say("message.import.next", []);
        behind(sheet, report);
    }
}

/// Tells people whose nodes publishing waits for.
pub(super) fn behind(sheet: &mut Sheet, report: &v1::ImportReport) {
    if !report.behind.is_empty() {
        let members = Cell::texts(&report.behind);
        sheet.say("message.publish.behind", [("members", members)]);
    }
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
pub async fn run(args: &ImportArgs, desk: &Desk, output: &Output) -> Result<Sheet, CommandError> {
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
    Ok(sheet(&Imported {
        file: &name,
        preview: args.preview,
        published,
        rejects: rejects.as_deref(),
        report: &report,
    }))
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
    use crate::cli::failure::Exit;
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
    fn import(args: &ImportArgs, address: &str, own: &Material) -> Result<Sheet, CommandError> {
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
        let sheet = import(&args(&file), &address, &own).expect("imported");
        assert_eq!(sheet.exit(), Exit::Done);
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
