//! How the verdict on a bundle is shown: titles, sentences and tables, the same
//! on a terminal and on a page. Programs read the report's own fields.

use crate::audit::verify::{
    ErasureLine, Finding, LogReport, RecordLine, Report, Verdict, VerdictCount,
};
use crate::cli::failure::Exit;
use crate::cli::sheet::{Cell, Column, ROWS_MAX, Say, Section, Sheet};

/// A count of records with a verdict, and whether that is a fault here.
struct Counted {
    count: VerdictCount,
    wrong: bool,
}

type Verdicts = Column<Counted>;

const VERDICTS: &[Verdicts] = &[
    Verdicts::seen("audit.column.verdict", |c| {
        Cell::word("audit.verdict", c.count.verdict.as_str())
    }),
    Verdicts::seen("audit.column.records", |c| c.count.records.into()).sum(),
    Verdicts::seen("audit.column.mark", |c| mark(c.wrong, "wrong")),
];

type Logs = Column<LogReport>;

const LOGS: &[Logs] = &[
    Logs::seen("label.column.log", |l| (&l.origin).into()),
    Logs::seen("label.column.size", |l| l.size.into()),
    Logs::seen("audit.column.proven", |l| {
        (l.size > 0 && l.proven == l.size).into()
    }),
    Logs::seen("audit.column.witnessed", |l| l.witnessed.into()),
    Logs::seen("audit.column.witnessed_at", |l| {
        l.witnessed_at.map_or(Cell::Absent, Cell::Time)
    })
    .spare(2),
    Logs::seen("audit.column.looked_at", |l| {
        format!("{}-{}", l.start, l.end).into()
    })
    .spare(1),
];

type Findings = Column<Finding>;

const FINDINGS: &[Findings] = &[
    Findings::seen("audit.column.code", |f| f.code.to_string().into()),
    Findings::seen("label.column.finding", |f| {
        Cell::word("audit.finding", f.code.to_string())
    })
    .flow(),
    Findings::seen("audit.column.file", |f| (&f.path).into()).flow(),
    Findings::seen("label.column.index", |f| {
        f.index.map_or(Cell::Absent, Cell::Number)
    }),
    Findings::seen("audit.column.detail", |f| (&f.detail).into())
        .flow()
        .spare(1),
];

type Records = Column<RecordLine>;

const RECORDS: &[Records] = &[
    Records::seen("label.column.log", |r| (&r.log).into()),
    Records::seen("label.column.index", |r| r.index.into()),
    Records::seen("audit.column.verdict", |r| {
        Cell::word("audit.verdict", r.verdict.as_str())
    }),
    Records::seen("label.column.why", |r| match r.reason {
        Some(reason) => Cell::word("label.reason", reason),
        None => Cell::word("audit.why", r.why),
    })
    .flow(),
    Records::seen("audit.column.by", |r| {
        r.by.map_or(Cell::Absent, Cell::Number)
    })
    .spare(1),
    Records::seen("label.column.time", |r| {
        r.at.map_or(Cell::Absent, Cell::Time)
    })
    .spare(2),
];

/// A range that was erased, and of which log.
struct Erased {
    log: String,
    line: ErasureLine,
}

type Erasures = Column<Erased>;

const ERASURES: &[Erasures] = &[
    Erasures::seen("label.column.log", |e| (&e.log).into()),
    Erasures::seen("audit.column.range", |e| range(&e.line)),
    Erasures::seen("label.column.reason", |e| {
        Cell::word("label.reason", e.line.reason)
    }),
    Erasures::seen("audit.column.by", |e| {
        e.line.retracted_by.map_or(Cell::Absent, Cell::Number)
    })
    .spare(3),
    Erasures::seen("audit.column.decided", |e| Cell::Time(e.line.decided_at)).spare(2),
    Erasures::seen("audit.column.erased", |e| {
        e.line.erased_at.map_or(Cell::Absent, Cell::Time)
    })
    .spare(1),
    Erasures::seen("audit.column.receipts", |e| {
        let owed = e.line.owed.iter();
        let given = owed.filter(|owed| matches!(owed.state, "erased" | "never_held"));
        format!("{}/{}", given.count(), e.line.owed.len()).into()
    }),
    Erasures::seen("audit.column.mark", |e| mark(e.line.late, "late")),
];

/// What one member said of a range that was erased.
struct Owed {
    range: Cell,
    member: String,
    state: &'static str,
    at: Option<i64>,
    late: bool,
}

const OWED: &[Column<Owed>] = &[
    Column::seen("audit.column.range", |o| o.range.clone()),
    Column::seen("label.column.member", |o| (&o.member).into()),
    Column::seen("audit.column.receipt", |o| {
        Cell::word("audit.receipt", o.state)
    }),
    Column::seen("label.column.time", |o| {
        o.at.map_or(Cell::Absent, Cell::Time)
    }),
    Column::seen("audit.column.mark", |o| mark(o.late, "late")),
];

fn mark(set: bool, word: &'static str) -> Cell {
    if set {
        Cell::word("audit.word", word)
    } else {
        Cell::Absent
    }
}

fn range(line: &ErasureLine) -> Cell {
    format!("{}-{}", line.start, line.end).into()
}

/// A verification.
///
/// # Errors
/// When the report cannot be written as JSON.
pub(super) fn sheet(report: &Report) -> std::io::Result<Sheet> {
    let (exit, headline) = if report.ok {
        (Exit::Done, "audit.verify.good")
    } else {
        (Exit::Nothing, "audit.verify.bad")
    };
    let mut sheet = Sheet::new("audit.verify").ends(exit);
    sheet.all(report)?;
    let subject = format!("{}/{}", report.federation, report.member);
    sheet.head(Say::new(
        "audit.verify.title",
        [("subject", (&subject).into())],
    ));
    let records = report
        .verdicts
        .iter()
        .map(|count| count.records)
        .sum::<u64>();
    let words = [("subject", subject.into()), ("records", records.into())];
    sheet.say(headline, words);
    if report.newer > 0 {
        sheet.say("audit.verify.newer", [("count", report.newer.into())]);
    }
    sheet.say(
        "audit.verify.facts",
        [
            ("versions", report.roster.versions.to_string().into()),
            ("witnessed", report.roster.witnessed.into()),
            ("pin", (&report.roster.pin).into()),
            ("time", Cell::Time(report.verified_at)),
        ],
    );
    lists(&mut sheet, report);
    Ok(sheet)
}

fn lists(sheet: &mut Sheet, report: &Report) {
    let counted = |count: &VerdictCount| Counted {
        wrong: count.verdict.is_fault(report.require_witnessed),
        count: *count,
    };
    let verdicts: Vec<Counted> = report.verdicts.iter().map(counted).collect();
    sheet.section(Section::of(&verdicts, VERDICTS).titled("audit.title.verdicts"));
    sheet.section(Section::of(&report.logs, LOGS).titled("audit.title.logs"));
    let findings = Section::of(&report.found, FINDINGS).titled("audit.title.findings");
    sheet.section(findings.at_most(ROWS_MAX));
    let mut lines: Vec<&RecordLine> = report.records.iter().collect();
    lines.sort_by_key(|line| line.verdict == Verdict::Erased);
    let records = Section::of(lines, RECORDS).titled("audit.title.records");
    sheet.section(records.at_most(ROWS_MAX));
    let erased = |log: &LogReport| {
        let origin = log.origin.clone();
        let lines = log.erasures.listed.iter().map(move |line| Erased {
            log: origin.clone(),
            line: line.clone(),
        });
        lines.collect::<Vec<_>>()
    };
    let erased: Vec<Erased> = report.logs.iter().flat_map(erased).collect();
    let erasures = Section::of(&erased, ERASURES).titled("audit.title.erasures");
    sheet.section(erasures.at_most(ROWS_MAX));
    let owed = erased.iter().flat_map(|erased| {
        erased.line.owed.iter().map(|owed| Owed {
            range: range(&erased.line),
            member: owed.member.to_string(),
            state: owed.state,
            at: owed.at,
            late: owed.late,
        })
    });
    let owed: Vec<Owed> = owed.collect();
    let receipts = Section::of(&owed, OWED).titled("audit.title.receipts");
    sheet.section(receipts.at_most(ROWS_MAX));
}
