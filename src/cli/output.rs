//! How commands present results: one JSON object or text for people on standard
//! output, progress and complaints on standard error. Besides main the only
//! place that writes to either. Text that came from files or peers is stripped
//! of control characters, so that it cannot drive the terminal.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use comfy_table::{Cell, CellAlignment, ContentArrangement, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::lang::Lang;

type Sink = Mutex<Box<dyn Write + Send>>;

/// Where and how a command's results go.
pub struct Output {
    json: bool,
    lang: Lang,
    out: Sink,
    err: Sink,
    /// Whether progress is drawn, which is for terminals only.
    draws: bool,
    width: Option<u16>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("json", &self.json)
            .field("lang", &self.lang)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    schema: String,
    #[serde(flatten)]
    value: &'a T,
}

impl Output {
    /// Presents on the process's own standard output and error.
    #[must_use]
    pub fn stdio(json: bool, lang: Lang) -> Self {
        let width = io::stdout()
            .is_terminal()
            .then(|| comfy_table::Table::new().width())
            .flatten();
        Self {
            json,
            lang,
            out: Mutex::new(Box::new(io::stdout())),
            err: Mutex::new(Box::new(io::stderr())),
            draws: !json && io::stderr().is_terminal(),
            width,
        }
    }

    /// Presents into `out` and `err`, as if neither were a terminal.
    #[must_use]
    pub fn to(
        json: bool,
        lang: Lang,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
    ) -> Self {
        Self {
            json,
            lang,
            out: Mutex::new(out),
            err: Mutex::new(err),
            draws: false,
            width: None,
        }
    }

    /// Says whether results are JSON.
    #[must_use]
    pub fn json(&self) -> bool {
        self.json
    }

    /// The language of everything for people.
    #[must_use]
    pub fn lang(&self) -> Lang {
        self.lang
    }

    /// Presents a result: `value` under the schema `casegate.COMMAND/1`, which
    /// must serialize as a map, or what `human` puts on the screen.
    ///
    /// # Errors
    /// Whatever standard output answers; a closed pipe is no error.
    pub fn emit<T: Serialize>(
        &self,
        command: &str,
        value: &T,
        human: impl FnOnce(&mut Screen),
    ) -> io::Result<()> {
        let text = if self.json {
            let schema = format!("casegate.{command}/1");
            let mut text = serde_json::to_string(&Envelope { schema, value })?;
            text.push('\n');
            text
        } else {
            let mut screen = Screen {
                lang: self.lang,
                width: self.width,
                text: String::new(),
            };
            human(&mut screen);
            screen.text
        };
        write(&self.out, &text)
    }

    /// Writes a text of this program's own making as it is, such as the
    /// completions of a shell; in JSON mode too.
    ///
    /// # Errors
    /// Whatever standard output answers; a closed pipe is no error.
    pub fn verbatim(&self, text: &[u8]) -> io::Result<()> {
        write(&self.out, &String::from_utf8_lossy(text))
    }

    /// Says something in passing, on standard error; not in JSON mode.
    ///
    /// # Errors
    /// Whatever standard error answers.
    pub fn note(&self, text: &str) -> io::Result<()> {
        if self.json {
            Ok(())
        } else {
            write(&self.err, &format!("{}\n", inert(text)))
        }
    }

    /// Says why a command failed: a JSON object `casegate.error/1` on standard
    /// output, or a sentence on standard error.
    ///
    /// # Errors
    /// Whatever the stream answers.
    pub fn fail(&self, code: &str, sentence: &str) -> io::Result<()> {
        if self.json {
            let value = serde_json::json!({ "code": code, "message": sentence });
            return self.emit("error", &value, |_| ());
        }
        let text = self.lang.text("message.failed", &[("message", sentence)]);
        write(&self.err, &format!("{}\n", inert(&text)))
    }

    /// Starts a progress line on standard error, hidden unless that is a
    /// terminal; `total` makes it a bar.
    #[must_use]
    pub fn progress(&self, label: &str, total: Option<u64>) -> Progress {
        let target = if self.draws {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = if total.is_some() {
            "{msg} {wide_bar} {human_pos}/{human_len} {per_sec}"
        } else {
            "{spinner} {msg} {human_pos}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(inert(label));
        Progress(bar)
    }
}

fn write(sink: &Sink, text: &str) -> io::Result<()> {
    let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
    match sink.write_all(text.as_bytes()).and_then(|()| sink.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A step in progress; the line goes away when it is dropped.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Counts `n` more.
    pub fn advance(&self, n: u64) {
        self.0.inc(n);
    }

    /// Sets how much there is to do.
    pub fn total(&self, n: u64) {
        self.0.set_length(n);
    }

    /// Sets how much is done.
    pub fn at(&self, n: u64) {
        self.0.set_position(n);
    }

    /// Says what is being done now.
    pub fn say(&self, text: &str) {
        self.0.set_message(inert(text));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Text for people, as it grows.
#[derive(Debug)]
pub struct Screen {
    lang: Lang,
    width: Option<u16>,
    text: String,
}

impl Screen {
    /// The language to speak.
    #[must_use]
    pub fn lang(&self) -> Lang {
        self.lang
    }

    /// Adds a line.
    pub fn line(&mut self, text: &str) {
        self.text.push_str(&inert(text));
        self.text.push('\n');
    }

    /// Adds the catalogue's text as a line.
    pub fn text(&mut self, key: &str, values: &[(&str, &str)]) {
        let text = self.lang.text(key, values);
        self.line(&text);
    }

    /// Adds a heading from the catalogue, after an empty line if anything stands above.
    pub fn title(&mut self, key: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let text = self.lang.text(key, &[]);
        self.line(&text);
    }

    /// Adds a table.
    pub fn table(&mut self, table: &Table) {
        let mut drawn = comfy_table::Table::new();
        drawn
            .load_style(presets::UTF8_HORIZONTAL_ONLY)
            .force_no_tty();
        if let Some(width) = self.width {
            drawn
                .set_width(width)
                .set_content_arrangement(ContentArrangement::Dynamic);
        }
        let header = table
            .columns
            .iter()
            .map(|column| self.lang.text(column.key, &[]));
        drawn.set_header(header.collect::<Vec<_>>());
        for row in &table.rows {
            drawn.add_row(row.iter().zip(&table.columns).map(|(text, column)| {
                let side = if column.number {
                    CellAlignment::Right
                } else {
                    CellAlignment::Left
                };
                Cell::new(text).set_alignment(side)
            }));
        }
        self.text.push_str(&drawn.trim_fmt());
        self.text.push('\n');
    }
}

#[derive(Clone, Copy, Debug)]
struct Column {
    key: &'static str,
    number: bool,
}

/// Rows under named columns; a row's surplus cells are not shown.
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Starts a table without columns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column of text, headed by the catalogue's `key`.
    #[must_use]
    pub fn column(mut self, key: &'static str) -> Self {
        self.columns.push(Column { key, number: false });
        self
    }

    /// Adds a column of numbers, which stand to the right.
    #[must_use]
    pub fn number(mut self, key: &'static str) -> Self {
        self.columns.push(Column { key, number: true });
        self
    }

    /// Adds a row.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows
            .push(cells.into_iter().map(|cell| inert(cell.as_ref())).collect());
    }

    /// Says whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Replaces control and direction characters, which could rewrite what stands on a terminal.
fn inert(text: &str) -> String {
    let unsafe_char = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if unsafe_char(c) { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    pub(crate) struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .expect("nobody panics while writing")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("text")
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn output(json: bool, lang: Lang) -> (Output, Paper, Paper) {
        let (out, err) = (Paper::default(), Paper::default());
        (
            Output::to(json, lang, Box::new(out.clone()), Box::new(err.clone())),
            out,
            err,
        )
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let output = Output::to(true, Lang::En, Box::new(Closed), Box::new(Closed));
        output
            .emit("status", &serde_json::json!({}), |_| ())
            .expect("not an error");
    }

    #[test]
    fn what_came_from_outside_cannot_drive_the_terminal() {
        let (output, out, _) = output(false, Lang::En);
        let shown = output.emit("x", &serde_json::json!({}), |screen| {
            screen.line("a\u{1b}[2Jb\u{202e}c");
            let mut table = Table::new().column("label.column.case");
            table.row(["\u{1b}]0;owned\u{7}"]);
            screen.table(&table);
        });
        shown.expect("memory takes it");
        assert!(!out.text().contains(['\u{1b}', '\u{7}', '\u{202e}']));
    }

    #[test]
    fn json_names_its_schema_and_keeps_the_screen_out() {
        let (output, out, err) = output(true, Lang::Zh);
        output
            .emit("query", &serde_json::json!({"hits": 2}), |s| {
                s.line("for people")
            })
            .expect("memory takes it");
        output.note("in passing").expect("memory takes it");
        output
            .fail("case.unknown", "no such case")
            .expect("memory takes it");
        assert_eq!(
            out.text(),
            "{\"schema\":\"casegate.query/1\",\"hits\":2}\n\
             {\"schema\":\"casegate.error/1\",\"code\":\"case.unknown\",\"message\":\"no such case\"}\n"
        );
        assert_eq!(err.text(), "");
    }

    #[test]
    fn a_failure_is_a_sentence_on_standard_error() {
        let (output, out, err) = output(false, Lang::En);
        output
            .fail("case.unknown", "no such case")
            .expect("memory takes it");
        assert_eq!(
            (out.text().as_str(), err.text().as_str()),
            ("", "casegate: no such case\n")
        );
    }

    #[test]
    fn a_table_is_as_wide_in_chinese_as_its_characters_are() {
        let (output, out, _) = output(false, Lang::Zh);
        let mut table = Table::new()
            .column("label.column.category")
            .number("label.column.count");
        table.row(["冒充公检法", "7"]);
        table.row(["loan", "12"]);
        output
            .emit("x", &serde_json::json!({}), |s| s.table(&table))
            .expect("memory takes it");
        let text = out.text();
        let line = |word: &str| {
            text.lines()
                .find(|l| l.contains(word))
                .expect("a row")
                .to_owned()
        };
        // Five wide characters take ten columns, six more than "loan".
        let before = |word: &str, number: &str| {
            let row = line(word);
            row[row.find(word).expect("there") + word.len()..row.find(number).expect("there")].len()
        };
        assert_eq!(
            before("loan", "12"),
            before("冒充公检法", "7") + 6 - 1,
            "{text}"
        );
    }
}
