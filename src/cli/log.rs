//! `casegate log`: the newest entries of the node's own logs, in words or as
//! DSSE envelopes that other tools verify, and whether all logs verify.

pub mod erasures;

use crate::cli::desk::Desk;
use crate::cli::failure::{CommandError, Exit};
use crate::cli::sheet::{Cell, Column, Say, Section, Sheet};
use crate::element::Kind;
use crate::wire::v1;

/// Shows the newest entries of the records log, or of the access log.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// Shows the access log: who asked what, and why.
    #[arg(long)]
    pub access: bool,
    /// How many entries to show.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub newest: u32,
    /// Checks every signature and the root of every log again.
    #[arg(long)]
    pub verify: bool,
    /// Shows what was erased of the records log, and who has confirmed it.
    #[arg(long, conflicts_with_all = ["access", "verify", "dsse"])]
    pub erasures: bool,
    /// Prints each entry as a DSSE envelope, one JSON object a line.
    #[arg(long)]
    pub dsse: bool,
}

type Entries = Column<v1::LogLine>;

const ENTRIES: &[Entries] = &[
    Entries::of("index", "label.column.index", |e| e.index.into()),
    Entries::data("type", |e| (&e.r#type).into()),
    Entries::seen("label.column.what", |e| {
        Cell::word("label.body", word_of(&e.r#type))
    }),
    Entries::of("leaf", "label.column.leaf", |e| Cell::Hex(e.leaf.to_vec())).wide(),
    Entries::of("issued_at", "label.column.time", |e| {
        Cell::Time(e.issued_at)
    }),
    Entries::data("text", |e| (&e.text).into()),
    Entries::seen("label.column.text", brief).flow(),
    Entries::seen("label.column.caller", |e| part(e, 1).into()),
    Entries::seen("label.column.call", |e| {
        Cell::word("label.method", part(e, 0))
    })
    .flow(),
    Entries::seen("label.column.outcome", outcome).flow(),
    Entries::seen("label.column.answers", |e| {
        part(e, 3).parse().map_or(Cell::Absent, Cell::Number)
    }),
    Entries::seen("label.column.log_read", |e| Cell::some(part(e, 4))).spare(1),
];

/// The key under which programs find an entry's envelope, where it was asked for.
const ENVELOPE: Column<v1::LogLine> = Column::data("dsse", |e| {
    Cell::Data(serde_json::from_str(&e.dsse_json).unwrap_or_default())
});

type Logs = Column<v1::LogSummary>;

const LOGS: &[Logs] = &[
    Logs::of("origin", "label.column.log", |l| (&l.origin).into()),
    Logs::of("size", "label.column.size", |l| l.size.into()),
    Logs::of("root", "label.column.root", |l| Cell::Hex(l.root.to_vec())).wide(),
    Logs::data("checkpoint", |l| {
        String::from_utf8_lossy(&l.checkpoint).into_owned().into()
    }),
];

type Verdicts = Column<v1::LogSummary>;

/// Columns of a log that was verified.
const VERDICTS: &[Verdicts] = &[
    Verdicts::of("verified", "label.column.verified", |l| l.verified.into()),
    Verdicts::of("trouble", "label.column.trouble", |l| {
        Cell::Said(l.trouble.clone())
    })
    .flow(),
];

/// Columns of a log of which it is not known.
const UNJUDGED: &[Column<v1::LogSummary>] = &[Column::data("trouble", |l| (&l.trouble).into())];

/// The word of a body type: its name on the wire without the enum's own.
fn word_of(name: &str) -> String {
    let word = name.strip_prefix("BODY_TYPE_").unwrap_or(name);
    word.to_ascii_lowercase()
}

/// What stands in an entry: words of the catalogue in place of codes.
fn brief(line: &v1::LogLine) -> Cell {
    let said = || Cell::Said(line.text.clone());
    let case = |text: &str| hex::decode(text).ok().map(Cell::Case);
    match word_of(&line.r#type).as_str() {
        "element" => {
            let (kind, case_ref) = line.text.split_once(' ').unwrap_or_default();
            let kind = v1::ElementKind::from_str_name(kind)
                .and_then(|kind| Kind::from_wire(kind.into()))
                .map(|kind| Cell::word("label.kind", kind.as_str()));
            match (kind, case(case_ref)) {
                (Some(kind), Some(case)) => Cell::Beside(vec![kind, case]),
                _ => said(),
            }
        }
        "case_notice" => match line.text.rsplit_once(' ') {
            Some((category, case_ref)) => {
                case(case_ref).map_or_else(said, |case| Cell::Beside(vec![category.into(), case]))
            }
            None => said(),
        },
        "access" if is_access(line) => Cell::Beside(vec![
            part(line, 1).into(),
            Cell::word("label.method", part(line, 0)),
            outcome(line),
        ]),
        _ => said(),
    }
}

/// The parts of a line of the access log: method, caller, outcome, count, the log
/// that was read.
fn part(line: &v1::LogLine, at: usize) -> &str {
    line.text.split(' ').nth(at).unwrap_or_default()
}

fn is_access(line: &v1::LogLine) -> bool {
    word_of(&line.r#type) == "access" && part(line, 3).parse::<u64>().is_ok()
}

/// How a call ended.
fn outcome(line: &v1::LogLine) -> Cell {
    match part(line, 2) {
        "ok" => Cell::word("label.word", "done"),
        code => Cell::word("label.outcome", code),
    }
}

/// What stands in an access log alone.
const OF_CALLS: [&str; 5] = [
    "label.column.caller",
    "label.column.call",
    "label.column.outcome",
    "label.column.answers",
    "label.column.log_read",
];
/// What says no more of calls than these do.
const OF_RECORDS: [&str; 2] = ["label.column.what", "label.column.text"];

/// The newest entries and all logs, as an answer to a request with these options.
#[must_use]
pub fn sheet(answer: &v1::ShowLogResponse, verify: bool, dsse: bool) -> Sheet {
    let wrong = verify && answer.logs.iter().any(|log| !log.verified);
    let exit = if wrong { Exit::Refused } else { Exit::Done };
    let mut sheet = Sheet::new("log").ends(exit);
    sheet.head(Say::new("page.log", []));
    if dsse {
        let columns = [ENTRIES, &[ENVELOPE]].concat();
        sheet.data("entries", Cell::rows(&answer.lines, &columns));
        for line in &answer.lines {
            sheet.line(line.dsse_json.clone());
        }
    } else {
        let calls = answer.lines.iter().all(is_access);
        let unwanted = if calls { &OF_RECORDS[..] } else { &OF_CALLS };
        let entries = Section::of(&answer.lines, ENTRIES).without(unwanted);
        sheet.section(entries.keyed("entries"));
    }
    let judged = if verify { VERDICTS } else { UNJUDGED };
    let columns = [LOGS, judged].concat();
    if dsse {
        sheet.data("logs", Cell::rows(&answer.logs, &columns));
        return sheet;
    }
    let logs = Section::of(&answer.logs, &columns).keyed("logs");
    sheet.section(logs.titled("label.title.logs"));
    for log in answer.logs.iter().filter(|log| verify && !log.verified) {
        let words = [
            ("log", Cell::from(&log.origin)),
            ("trouble", Cell::Said(log.trouble.clone())),
        ];
        sheet.say("message.log.wrong", words);
    }
    if verify && !wrong {
        let count = answer.logs.len().into();
        sheet.say("message.log.verified", [("count", count)]);
    }
    sheet
}

/// Shows the log.
///
/// # Errors
/// [`CommandError`].
pub async fn run(args: &LogArgs, desk: &Desk) -> Result<Sheet, CommandError> {
    let request = v1::ShowLogRequest {
        access: args.access,
        newest: args.newest,
        verify: args.verify,
        erasures: args.erasures,
    };
    let answer = desk.client.show_log(request).await?;
    Ok(if args.erasures {
        erasures::sheet(&answer.erasures)
    } else {
        sheet(&answer, args.verify, args.dsse)
    })
}
