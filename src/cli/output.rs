//! How commands present results: one JSON object or text for people on standard
//! output, progress and complaints on standard error. Besides main the only
//! place that writes to either. Text that came from files or peers is stripped
//! of control characters, so that it cannot drive the terminal.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::failure::{CommandError, Exit};
use crate::cli::sheet::draw::{View, inert};
use crate::cli::sheet::{self, Sheet};
use crate::lang::Lang;

type Sink = Mutex<Box<dyn Write + Send>>;

/// How wide people's text is at most, unless they ask for everything.
const COLUMNS_MAX: usize = 100;
/// How narrow it becomes at most.
const COLUMNS_MIN: usize = 40;

/// Where and how a command's results go.
pub struct Output {
    json: bool,
    lang: Lang,
    out: Sink,
    err: Sink,
    /// Whether progress is drawn, which is for terminals only.
    draws: bool,
    width: Option<usize>,
    wide: bool,
    page: Option<PathBuf>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("json", &self.json)
            .field("lang", &self.lang)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// Presents on the process's own standard output and error. `columns` is how
    /// wide it may be; otherwise as wide as the terminal.
    #[must_use]
    pub fn stdio(json: bool, lang: Lang, columns: Option<usize>) -> Self {
        let terminal = console::Term::stdout()
            .size_checked()
            .map(|(_, columns)| usize::from(columns));
        let width = columns.or(terminal).unwrap_or(COLUMNS_MAX);
        let (out, err) = (io::stdout(), io::stderr());
        Self {
            draws: !json && err.is_terminal(),
            width: Some(width.clamp(COLUMNS_MIN, COLUMNS_MAX)),
            ..Self::to(json, lang, Box::new(out), Box::new(err))
        }
    }

    /// Presents into `out` and `err`, as if neither were a terminal, and without
    /// a limit to its width.
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
            wide: false,
            page: None,
        }
    }

    /// Shows all columns and rows, however wide they are, if `wide` says so.
    #[must_use]
    pub fn wide(mut self, wide: bool) -> Self {
        self.wide = wide;
        self
    }

    /// Limits how wide people's text is.
    #[must_use]
    pub fn columns(mut self, columns: usize) -> Self {
        self.width = Some(columns);
        self
    }

    /// Writes what is presented into a file too, as one HTML page.
    #[must_use]
    pub fn page(mut self, file: Option<PathBuf>) -> Self {
        self.page = file;
        self
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

    /// Presents what a command answers, and returns how it ends.
    ///
    /// # Errors
    /// [`CommandError`] when the page cannot be written, or standard output fails;
    /// a closed pipe is no error.
    pub fn show(&self, sheet: &Sheet) -> Result<Exit, CommandError> {
        if let Some(path) = &self.page {
            let page = sheet::page::html(sheet, self.lang);
            std::fs::write(path, page).map_err(|source| CommandError::Unwritable {
                path: path.clone(),
                source,
            })?;
        }
        let text = if self.json {
            serde_json::to_string(sheet).map_err(io::Error::from)? + "\n"
        } else {
            let view = View {
                lang: self.lang,
                width: self.width,
                wide: self.wide,
            };
            sheet::draw::text(sheet, view)
        };
        write(&self.out, &text)?;
        Ok(sheet.exit())
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
            let mut error = Sheet::new("error");
            error.data("code", code).data("message", sentence);
            return write(&self.out, &(serde_json::to_string(&error)? + "\n"));
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

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cli::sheet::{Column, Section};

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

    fn loans() -> Section {
        const COUNTS: &[Column<(&str, u64)>] = &[
            Column::of("category", "label.column.category", |c| c.0.into()),
            Column::of("count", "label.column.count", |c| c.1.into()),
        ];
        Section::of(&[("冒充公检法", 7), ("loan", 12)], COUNTS).keyed("counts")
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let output = Output::to(true, Lang::En, Box::new(Closed), Box::new(Closed));
        let exit = output.show(&Sheet::new("status")).expect("not an error");
        assert_eq!(exit, Exit::Done);
    }

    #[test]
    fn a_page_that_cannot_be_written_is_named_and_nothing_is_shown() {
        let (output, out, _) = output(false, Lang::En);
        let output = output.page(Some("/no/such/dir/page.html".into()));
        let refused = output
            .show(&Sheet::new("status"))
            .expect_err("no directory");
        assert!(refused.to_string().contains("/no/such/dir/page.html"));
        assert_eq!(out.text(), "");
    }

    #[test]
    fn what_came_from_outside_cannot_drive_the_terminal() {
        const CASES: &[Column<&str>] = &[Column::of("case", "label.column.case", |c| (*c).into())];
        let (output, out, _) = output(false, Lang::En);
        let mut sheet = Sheet::new("x");
        sheet.line("a\u{1b}[2Jb\u{202e}c");
        sheet.say("message.case.added", [("case", "\u{1b}c".into())]);
        sheet.section(Section::of(&["\u{1b}]0;owned\u{7}"], CASES));
        output.show(&sheet).expect("memory takes it");
        assert!(!out.text().contains(['\u{1b}', '\u{7}', '\u{202e}']));
    }

    #[test]
    fn json_names_its_schema_and_keeps_the_screen_out() {
        let (output, out, err) = output(true, Lang::Zh);
        let mut sheet = Sheet::new("query");
        sheet
            .data("hits", 2_u64)
            .line("for people")
            .section(loans());
        output.show(&sheet).expect("memory takes it");
        output.note("in passing").expect("memory takes it");
        output
            .fail("case.unknown", "no such case")
            .expect("memory takes it");
        assert_eq!(
            out.text(),
            "{\"schema\":\"casegate.query/1\",\"hits\":2,\"counts\":[\
             {\"category\":\"冒充公检法\",\"count\":7},{\"category\":\"loan\",\"count\":12}]}\n\
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
        let mut sheet = Sheet::new("x");
        sheet.section(loans());
        output.show(&sheet).expect("memory takes it");
        assert_eq!(
            out.text(),
            "类别        数量\n----------  ----\n冒充公检法     7\nloan          12\n"
        );
    }
}
