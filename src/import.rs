//! Taking case files in: every checked row becomes a sealed element in the
//! durable queue, its case a row of the case table; a refused row is handed
//! back with its reason and never stops the others. The same file twice
//! publishes nothing twice, so an interrupted import is resumed by repeating it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;

use prost::Message;

use crate::blame::{Blame, Blamed};
use crate::cases::{CaseError, Cases};
use crate::element::Rules;
use crate::intake::{
    Field, Format, IntakeError, Options, Parsed, Parser, Reject, Row, dates, row_of,
};
use crate::ledger::{Ledger, LedgerError, OwnPlace};
use crate::postings::Pointer;
use crate::record::Audience;
use crate::store::Batch;
use crate::wire::v1::{CaseRow, CaseState, HeldElement, ImportReport, KindCount, Purpose, Refusal};

/// Rows that become durable together.
const BATCH_ROWS: usize = 1_024;
/// Rows between two notices of progress.
const PROGRESS_ROWS: u64 = 1_000;

/// Why a file was not taken in. Rows before the failure may be queued already.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file as a whole cannot be read.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The case table failed.
    #[error(transparent)]
    Cases(#[from] CaseError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The caller stopped listening.
    #[error("the import was broken off; importing the file again resumes it")]
    BrokenOff,
}

impl Blamed for ImportError {
    fn blame(&self) -> Blame {
        match self {
            Self::Intake(e) => e.blame(),
            Self::Cases(e) => e.blame(),
            Self::Ledger(e) => e.blame(),
            Self::BrokenOff => Blame::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Intake(e) => e.code(),
            Self::Cases(e) => e.code(),
            Self::Ledger(e) => e.code(),
            Self::BrokenOff => "import.broken_off",
        }
    }
}

/// How a file is taken in.
#[derive(Clone, Debug)]
pub struct ImportRun {
    /// CSV or JSON Lines; of rows without a file, nothing.
    pub format: Format,
    /// Count only; nothing is changed.
    pub preview: bool,
    /// Keep refused rows sealed at home.
    pub as_note: bool,
    /// Why and by whom; the case number is each row's own.
    pub purpose: Purpose,
}

/// What an import tells while it runs.
#[derive(Clone, Debug)]
pub enum ImportNews {
    /// A row was refused.
    Refused(Refusal),
    /// So many rows were read.
    Rows(u64),
}

/// Takes files in. Clones share the node's ledger.
#[derive(Clone, Debug)]
pub struct Importer {
    ledger: Ledger,
    cases: Cases,
    rules: Rules,
    utc_offset_s: i32,
}

impl Importer {
    /// Makes the importer of a node; dates in files are `utc_offset_s` ahead of UTC.
    #[must_use]
    pub fn new(ledger: Ledger, cases: Cases, rules: Rules, utc_offset_s: i32) -> Self {
        Self {
            ledger,
            cases,
            rules,
            utc_offset_s,
        }
    }

    /// Reads a file to its end. Every good row is durable in the queue when
    /// this returns. `tell` is told of refusals and progress; when it returns
    /// false the import breaks off. Blocks.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn run(
        &self,
        bytes: impl Read,
        run: &ImportRun,
        tell: &mut dyn FnMut(ImportNews) -> bool,
    ) -> Result<ImportReport, ImportError> {
        let mut parser = Parser::new(bytes, run.format, self.options())?;
        let mut load = Load::new(self, run);
        let names = parser.columns().iter();
        let mut names = names.map(|name| Field::parse(name));
        let case_at = names.position(|field| field == Some(Field::CaseNo));
        let read = load.read(&mut parser, case_at, tell);
        // Of a file that is cut, the rows that came whole are kept too.
        let mut report = load.finish()?;
        read?;
        report.encoding = parser.encoding().as_str().to_owned();
        report.headers = parser.columns().to_vec();
        Ok(report)
    }

    /// Takes rows in that came without a file, counted from line 1; otherwise as
    /// [`Importer::run`]. Returns the refusals with the report. Blocks.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn run_rows(
        &self,
        rows: impl IntoIterator<Item = Vec<(Field, String)>>,
        run: &ImportRun,
    ) -> Result<(ImportReport, Vec<Refusal>), ImportError> {
        let options = self.options();
        let mut refusals = vec![];
        let mut load = Load::new(self, run);
        let parsed = (1..)
            .zip(rows)
            .map(|(line, row)| row_of(line, row, &options));
        let case_at = Field::ALL.iter().position(|field| *field == Field::CaseNo);
        let read = load.read(parsed.map(Ok), case_at, &mut |news| {
            if let ImportNews::Refused(refusal) = news {
                refusals.push(refusal);
            }
            true
        });
        let report = load.finish()?;
        read?;
        Ok((report, refusals))
    }

    fn options(&self) -> Options {
        Options {
            rules: self.rules,
            utc_offset_s: self.utc_offset_s,
            now: self.ledger.clock().now(),
            encoding: None,
        }
    }
}

/// One file on its way in.
struct Load<'a> {
    importer: &'a Importer,
    run: &'a ImportRun,
    report: ImportReport,
    rows_seen: HashSet<[u8; 16]>,
    elements_seen: HashSet<[u8; 16]>,
    cases: HashMap<String, CaseRow>,
    kinds: BTreeMap<&'static str, u64>,
    refusals: BTreeMap<String, u64>,
    warnings: BTreeMap<&'static str, u64>,
    queue: Vec<HeldElement>,
    /// Cases that this file brings and that are not in the table yet.
    fresh: Vec<CaseRow>,
}

impl<'a> Load<'a> {
    fn new(importer: &'a Importer, run: &'a ImportRun) -> Self {
        Self {
            importer,
            run,
            report: ImportReport::default(),
            rows_seen: HashSet::new(),
            elements_seen: HashSet::new(),
            cases: HashMap::new(),
            kinds: BTreeMap::new(),
            refusals: BTreeMap::new(),
            warnings: BTreeMap::new(),
            queue: vec![],
            fresh: vec![],
        }
    }

    fn read(
        &mut self,
        file: impl Iterator<Item = Result<Parsed, IntakeError>>,
        case_at: Option<usize>,
        tell: &mut dyn FnMut(ImportNews) -> bool,
    ) -> Result<(), ImportError> {
        let mut rows = 0;
        for parsed in file {
            rows += 1;
            let refused = match parsed? {
                Parsed::Row(row) => self.take(row)?,
                Parsed::Reject(reject) => Some(self.refuse(reject, case_at)),
            };
            let told = match refused {
                Some(refusal) => tell(ImportNews::Refused(refusal)),
                None => rows % PROGRESS_ROWS != 0 || tell(ImportNews::Rows(rows)),
            };
            if !told {
                return Err(ImportError::BrokenOff);
            }
        }
        Ok(())
    }

    fn take(&mut self, row: Row) -> Result<Option<Refusal>, ImportError> {
        self.report.rows += 1;
        let Some(case) = self.case_of(&row)? else {
            return Ok(Some(self.count_refusal(Refusal {
                line: row.line,
                column: "case_no".into(),
                code: "case.closed".into(),
                sentence: "the case is closed: reopen it or leave the row out".into(),
                record: vec![],
            })));
        };
        *self.kinds.entry(row.kind.as_str()).or_default() += 1;
        for warning in &row.canonical.warnings {
            *self.warnings.entry(warning.code()).or_default() += 1;
        }
        let held = self.held(&row, &case);
        self.count_element(&held);
        let mac = self.importer.ledger.row_mac(&held);
        if !self.rows_seen.insert(mac) {
            return Ok(None);
        }
        if !row.canonical.linkable {
            self.report.not_linkable += 1;
        }
        match self.known(mac, &held)? {
            Known::New => self.report.fresh += 1,
            Known::Amended => self.report.amendments += 1,
            Known::Unchanged => {
                self.report.unchanged += 1;
                return Ok(None);
            }
        }
        self.push(held)?;
        Ok(None)
    }

    fn count_element(&mut self, held: &HeldElement) {
        let kind = held.kind.to_be_bytes();
        let element = self.importer.ledger.seal().lookup(
            "element",
            &[held.case_no.as_bytes(), &kind, held.canonical.as_bytes()],
        );
        if self.elements_seen.insert(element) {
            self.report.elements += 1;
        } else {
            self.report.duplicates += 1;
        }
    }

    fn known(&self, mac: [u8; 16], held: &HeldElement) -> Result<Known, ImportError> {
        let ledger = &self.importer.ledger;
        let pointer = ledger
            .postings()
            .pointer(Pointer::Row, &mac)
            .map_err(LedgerError::from)?;
        let Some(place) = pointer.and_then(|bytes| OwnPlace::decode(&bytes)) else {
            return Ok(Known::New);
        };
        if held.note {
            return Ok(Known::Unchanged);
        }
        let Some(element) = ledger.element(place.log, place.index)? else {
            return Ok(Known::New);
        };
        Ok(if crate::publish::same_attributes(&element.body, held) {
            Known::Unchanged
        } else {
            Known::Amended
        })
    }

    /// The row's case, made when it is new; `None` when it is closed.
    fn case_of(&mut self, row: &Row) -> Result<Option<CaseRow>, ImportError> {
        if let Some(case) = self.cases.get(&row.case_no) {
            return Ok((case.state() != CaseState::Closed).then(|| case.clone()));
        }
        self.report.cases += 1;
        let case = match self.importer.cases.find(&row.case_no)? {
            Some(case) => case,
            None => {
                self.report.new_cases += 1;
                let fresh = CaseRow {
                    case_no: row.case_no.clone(),
                    category: row.category.clone(),
                    title: row.title.clone().unwrap_or_default(),
                    contact: row.contact.clone().unwrap_or_default(),
                    opened_on: row.opened_on.unwrap_or_default(),
                    ..Default::default()
                };
                if self.run.preview {
                    fresh
                } else {
                    let fresh = Cases::fresh(fresh)?;
                    self.fresh.push(fresh.clone());
                    fresh
                }
            }
        };
        self.cases.insert(row.case_no.clone(), case.clone());
        Ok((case.state() != CaseState::Closed).then_some(case))
    }

    fn held(&self, row: &Row, case: &CaseRow) -> HeldElement {
        let audience = row.audience.clone().unwrap_or(Audience::Federation);
        let offset = self.importer.utc_offset_s;
        HeldElement {
            kind: row.kind.to_wire() as i32,
            raw: row.raw.clone(),
            canonical: row.canonical.value.clone(),
            qualifier: row.qualifier.clone().unwrap_or_default(),
            case_ref: case.case_ref.clone(),
            case_no: row.case_no.clone(),
            role: row.role.to_wire() as i32,
            observed_on: row.observed_on.unwrap_or_default(),
            audience: Some(audience.to_wire()),
            handling: row.handling.clone().unwrap_or_default(),
            expires_at: row.expires_on.map_or(0, |day| dates::end_of(day, offset)),
            purpose: Some(Purpose {
                case_no: row.case_no.clone(),
                ..self.run.purpose.clone()
            }),
            note: !row.canonical.linkable,
            ..Default::default()
        }
    }

    /// Counts a refused row. One that is kept as a note goes with its case, if
    /// the column `case_at` names one.
    fn refuse(&mut self, reject: Reject, case_at: Option<usize>) -> Refusal {
        self.report.rows += 1;
        if self.run.as_note && !self.run.preview {
            let case_no = case_at.and_then(|at| reject.record.get(at));
            let note = HeldElement {
                case_no: case_no.map_or_else(String::new, |no| no.trim().to_owned()),
                raw: reject.record.join("\u{1f}"),
                note: true,
                purpose: Some(self.run.purpose.clone()),
                ..Default::default()
            };
            self.report.notes += 1;
            self.queue.push(note);
        }
        let column = reject
            .field
            .map_or_else(String::new, |f| f.name().to_owned());
        let refusal = Refusal {
            line: reject.line,
            column,
            code: reject.code().to_owned(),
            sentence: reject.sentence(),
            record: reject.record,
        };
        self.count_refusal(refusal)
    }

    fn count_refusal(&mut self, refusal: Refusal) -> Refusal {
        self.report.refused += 1;
        *self.refusals.entry(refusal.code.clone()).or_default() += 1;
        refusal
    }

    fn push(&mut self, held: HeldElement) -> Result<(), ImportError> {
        if self.run.preview {
            return Ok(());
        }
        debug_assert!(held.encoded_len() > 0, "a row has content");
        self.queue.push(held);
        if self.queue.len() >= BATCH_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ImportError> {
        let mut queue = std::mem::take(&mut self.queue);
        let fresh = std::mem::take(&mut self.fresh);
        let cases = &self.importer.cases;
        let mut batch = Batch::new();
        let _changing = cases.change();
        for row in fresh {
            // Another import, or an officer, may have added the case meanwhile:
            // then this file's rows are of that case.
            let Some(there) = cases.find(&row.case_no)? else {
                cases.stage(&row, &mut batch)?;
                continue;
            };
            for held in queue.iter_mut().filter(|h| h.case_ref == row.case_ref) {
                held.case_ref = there.case_ref.clone();
            }
            self.cases.insert(there.case_no.clone(), there);
        }
        Ok(self.importer.ledger.enqueue(&queue, batch)?)
    }

    fn finish(mut self) -> Result<ImportReport, ImportError> {
        if !self.run.preview {
            self.flush()?;
        }
        let count = |(kind, count): (String, u64)| KindCount { kind, count };
        let named = |map: BTreeMap<&'static str, u64>| {
            map.into_iter()
                .map(|(k, n)| count((k.to_owned(), n)))
                .collect()
        };
        self.report.kinds = named(self.kinds);
        self.report.warnings = named(self.warnings);
        self.report.refusals = self.refusals.into_iter().map(count).collect();
        Ok(self.report)
    }
}

enum Known {
    New,
    Unchanged,
    Amended,
}
