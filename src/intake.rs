//! Reading case files: CSV or JSON Lines, UTF-8 or GB18030, row by row, to checked rows and refused
//! ones. Pure parsing: it publishes nothing, and holds a row at a time.
//!
//! A file is refused whole only where no row of it could be read right: a column that is missing,
//! unknown or named twice. A bad row is refused with its reason and never stops the others.

mod csv;
pub mod dates;
pub mod encoding;
pub mod headers;
mod jsonl;
mod rejects;
mod row;

use std::fmt;
use std::io::{self, Read};

use crate::blame::{Blame, Blamed};
use crate::clock::UnixSeconds;
use crate::element::Rules;
use crate::intake::csv::{Raw, Source};
pub use crate::intake::encoding::Encoding;
pub use crate::intake::headers::Field;
use crate::intake::headers::is_ignored;
pub use crate::intake::rejects::{Reason, Reject};
use crate::intake::row::Texts;
pub use crate::intake::row::{Row, audience};

/// The longest row, in bytes of the file.
pub const ROW_BYTES_MAX: usize = 64 << 10;
/// The most columns of a file.
pub const COLUMNS_MAX: usize = 64;
/// The offset of Asia/Shanghai, in seconds.
pub const SHANGHAI_OFFSET_S: i32 = 8 * 3600;

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The file could not be read on.
    #[error("reading the case file: {0}")]
    Read(io::Error),
    /// There is nothing in it.
    #[error(
        "the file is empty: its first line must name the columns case_no,category,kind,value,role"
    )]
    Empty,
    /// UTF-16, which spreadsheets call "Unicode text".
    #[error("the file is UTF-16: save it as \"CSV UTF-8\" and import that")]
    Utf16,
    /// A header that is not text, too long or with an open quote.
    #[error(
        "the first line does not name columns: it must be like case_no,category,kind,value,role"
    )]
    Header,
    /// More columns than [`COLUMNS_MAX`].
    #[error("the file has {got} columns; {COLUMNS_MAX} are the most")]
    Columns {
        /// How many it has.
        got: usize,
    },
    /// Required columns that are not there.
    #[error("the first line lacks {}: add {}, separated by commas", names(missing), if missing.len() == 1 { "this column" } else { "these columns" })]
    MissingColumns {
        /// Those columns.
        missing: Vec<Field>,
    },
    /// A header that names no column. To ignore it silently would lose a misspelt audience.
    #[error(
        "column {column}, {header:?}, is not known: correct its name, or begin it with _ to have it ignored"
    )]
    UnknownColumn {
        /// Its place, from 1.
        column: usize,
        /// Its name, cut to 40 characters.
        header: String,
    },
    /// Two columns of one meaning.
    #[error("column {column} is {} again: keep one of them, or begin its name with _", field.name())]
    RepeatedColumn {
        /// The second one's place, from 1.
        column: usize,
        /// What both mean.
        field: Field,
    },
}

impl Blamed for IntakeError {
    fn blame(&self) -> Blame {
        match self {
            Self::Read(_) => Blame::Unavailable,
            Self::Utf16 => Blame::Incompatible,
            Self::Empty
            | Self::Header
            | Self::Columns { .. }
            | Self::MissingColumns { .. }
            | Self::UnknownColumn { .. }
            | Self::RepeatedColumn { .. } => Blame::Misbehaved,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "intake.read",
            Self::Empty => "intake.empty",
            Self::Utf16 => "intake.utf16",
            Self::Header => "intake.header",
            Self::Columns { .. } => "intake.columns",
            Self::MissingColumns { .. } => "intake.missing_columns",
            Self::UnknownColumn { .. } => "intake.unknown_column",
            Self::RepeatedColumn { .. } => "intake.repeated_column",
        }
    }
}

fn names(fields: &[Field]) -> String {
    fields
        .iter()
        .map(|field| field.name())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The shape of a case file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, with a header line.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// What the checks of rows need to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The rules of canonical values.
    pub rules: Rules,
    /// How far local dates are ahead of UTC, in seconds.
    pub utc_offset_s: i32,
    /// The time now, for dates in the future.
    pub now: UnixSeconds,
    /// The file's encoding; `None` finds it out.
    pub encoding: Option<Encoding>,
}

/// What came of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time, and most are rows"
)]
pub enum Parsed {
    /// A row that may be published.
    Row(Row),
    /// A row that is refused.
    Reject(Reject),
}

/// Reads a file row by row; an iterator that ends after its first error.
pub struct Parser<R> {
    source: Source<R>,
    format: Format,
    options: Options,
    encoding: Option<Encoding>,
    places: Vec<Option<Field>>,
    columns: Vec<String>,
    ended: bool,
}

impl<R> fmt::Debug for Parser<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl<R: Read> Parser<R> {
    /// Begins to read `bytes`, and reads the header of a CSV file.
    ///
    /// # Errors
    /// Any [`IntakeError`].
    pub fn new(bytes: R, format: Format, options: Options) -> Result<Self, IntakeError> {
        let mut source = Source::new(bytes);
        let mut encoding = options.encoding;
        let start = source.window(3).map_err(IntakeError::Read)?;
        if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
            return Err(IntakeError::Utf16);
        }
        if start.starts_with(b"\xef\xbb\xbf") {
            encoding = Some(Encoding::Utf8);
            source.skip(3);
        }
        let mut parser = Self {
            source,
            format,
            options,
            encoding,
            places: Vec::new(),
            columns: Field::ALL
                .iter()
                .map(|field| field.name().to_owned())
                .collect(),
            ended: false,
        };
        if format == Format::Csv {
            parser.read_header()?;
        }
        Ok(parser)
    }

    /// The encoding, once a byte has shown it: a file of ASCII alone is UTF-8.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding.unwrap_or(Encoding::Utf8)
    }

    /// The columns of refused rows, as the file names them and without the ignored ones.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    fn read_header(&mut self) -> Result<(), IntakeError> {
        let header = match self.source.next(true).map_err(IntakeError::Read)? {
            None => return Err(IntakeError::Empty),
            Some((_, Raw::Record(header))) => header,
            Some((_, Raw::Unclosed(_) | Raw::TooLarge(_))) => return Err(IntakeError::Header),
        };
        let encoding = self.encoding_of(&header)?;
        let fields = csv::split(&header);
        if fields.len() > COLUMNS_MAX {
            return Err(IntakeError::Columns { got: fields.len() });
        }
        self.columns.clear();
        for (at, bytes) in fields.iter().enumerate() {
            let column = at + 1;
            let name = encoding.decode(bytes).ok_or(IntakeError::Header)?;
            if is_ignored(&name) {
                self.places.push(None);
                continue;
            }
            let field = Field::parse(&name).ok_or_else(|| IntakeError::UnknownColumn {
                column,
                header: name.chars().take(40).collect(),
            })?;
            if self.places.contains(&Some(field)) {
                return Err(IntakeError::RepeatedColumn { column, field });
            }
            self.places.push(Some(field));
            self.columns.push(name);
        }
        let lacks = |field: &Field| !self.places.contains(&Some(*field));
        let missing: Vec<_> = Field::REQUIRED.iter().copied().filter(lacks).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(IntakeError::MissingColumns { missing })
        }
    }

    /// The encoding by which to read `bytes`, which come before the source's window.
    fn encoding_of(&mut self, bytes: &[u8]) -> Result<Encoding, IntakeError> {
        if let Some(encoding) = self.encoding {
            return Ok(encoding);
        }
        if bytes.is_ascii() {
            return Ok(Encoding::Utf8);
        }
        let ahead = self
            .source
            .window(encoding::SNIFF_BYTES)
            .map_err(IntakeError::Read)?;
        let ahead = &ahead[..ahead.len().min(encoding::SNIFF_BYTES)];
        let encoding = Encoding::sniff(&[bytes, b"\n", ahead].concat());
        self.encoding = Some(encoding);
        Ok(encoding)
    }

    fn step(&mut self) -> Result<Option<Parsed>, IntakeError> {
        let quotes = self.format == Format::Csv;
        while let Some((line, raw)) = self.source.next(quotes).map_err(IntakeError::Read)? {
            let (bytes, failed) = match raw {
                Raw::Record(bytes) => (bytes, None),
                Raw::Unclosed(bytes) => (bytes, Some(Reason::UnclosedQuote)),
                Raw::TooLarge(bytes) => (bytes, Some(Reason::RowTooLarge)),
            };
            let blank = |byte: &u8| byte.is_ascii_whitespace() || (quotes && *byte == b',');
            if bytes.iter().all(blank) && failed.is_none() {
                continue;
            }
            let encoding = self.encoding_of(&bytes)?;
            let parsed = match self.format {
                Format::Csv => self.csv_row(line, &bytes, encoding, failed),
                Format::JsonLines => self.json_row(line, &bytes, encoding, failed),
            };
            return Ok(Some(parsed));
        }
        Ok(None)
    }

    fn csv_row(
        &self,
        line: u64,
        bytes: &[u8],
        encoding: Encoding,
        failed: Option<Reason>,
    ) -> Parsed {
        let fields = csv::split(bytes);
        let ignored = |at: &usize| matches!(self.places.get(*at), Some(None));
        let record = || -> Vec<String> {
            let kept = fields.iter().enumerate().filter(|(at, _)| !ignored(at));
            kept.map(|(_, field)| encoding.decode_lossy(field))
                .collect()
        };
        let reject = |at: Option<usize>, reason: Reason| {
            Parsed::Reject(Reject {
                line,
                column: at.map(|at| at + 1),
                field: at.and_then(|at| self.places.get(at).copied().flatten()),
                reason,
                value: at
                    .and_then(|at| fields.get(at))
                    .map(|it| encoding.decode_lossy(it)),
                record: record(),
            })
        };
        if let Some(reason) = failed {
            return reject(None, reason);
        }
        if fields.len() != self.places.len() {
            let (got, want) = (fields.len(), self.places.len());
            return reject(None, Reason::FieldCount { got, want });
        }
        let mut texts = Texts::default();
        for (at, (bytes, place)) in fields.iter().zip(&self.places).enumerate() {
            let Some(field) = *place else { continue };
            match encoding.decode(bytes) {
                Some(text) => texts.put(field, text),
                None => return reject(Some(at), Reason::Encoding),
            };
        }
        match row::check(line, &texts, &self.options) {
            Ok(row) => Parsed::Row(row),
            Err((field, reason)) => reject(
                self.places.iter().position(|place| *place == Some(field)),
                reason,
            ),
        }
    }

    fn json_row(
        &self,
        line: u64,
        bytes: &[u8],
        encoding: Encoding,
        failed: Option<Reason>,
    ) -> Parsed {
        let reject = |texts: &Texts, field: Option<Field>, reason: Reason| {
            Parsed::Reject(reject_of(line, texts, field, reason))
        };
        // A line that cannot be taken apart is kept whole where a person will look for it.
        let whole = |reason| {
            let mut texts = Texts::default();
            texts.put(Field::Value, encoding.decode_lossy(bytes));
            reject(&texts, None, reason)
        };
        if let Some(reason) = failed {
            return whole(reason);
        }
        let Some(text) = encoding.decode(bytes) else {
            return whole(Reason::Encoding);
        };
        match jsonl::parse(&text) {
            (_, Some((None, Reason::Json))) => whole(Reason::Json),
            (texts, Some((field, reason))) => reject(&texts, field, reason),
            (texts, None) => checked(line, &texts, &self.options),
        }
    }
}

/// Checks a row that came without a file, by the rules of one; the first text of
/// a field counts. A refused row has its fields in the order of [`Field::ALL`].
#[must_use]
pub fn row_of(
    line: u64,
    fields: impl IntoIterator<Item = (Field, String)>,
    options: &Options,
) -> Parsed {
    let mut texts = Texts::default();
    for (field, text) in fields {
        if texts.text(field).is_none() {
            texts.put(field, text);
        }
    }
    checked(line, &texts, options)
}

fn checked(line: u64, texts: &Texts, options: &Options) -> Parsed {
    match row::check(line, texts, options) {
        Ok(row) => Parsed::Row(row),
        Err((field, reason)) => Parsed::Reject(reject_of(line, texts, Some(field), reason)),
    }
}

fn reject_of(line: u64, texts: &Texts, field: Option<Field>, reason: Reason) -> Reject {
    let text = |field: Field| texts.text(field).map(str::to_owned);
    Reject {
        line,
        column: None,
        field,
        reason,
        value: field.and_then(text),
        record: Field::ALL
            .iter()
            .map(|it| text(*it).unwrap_or_default())
            .collect(),
    }
}

impl<R: Read> Iterator for Parser<R> {
    type Item = Result<Parsed, IntakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step();
        self.ended = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}
