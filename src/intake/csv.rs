//! Splitting a case file into records without ever holding more than one row limit of it. CSV as
//! in RFC 4180: quotes count only at the start of a field, and `""` inside them is one quote.

use std::io::{self, Read};

use crate::intake::ROW_BYTES_MAX;

const BLOCK_BYTES: usize = 16 << 10;
/// How much of a row that is too large is kept to show it.
const HEAD_BYTES: usize = 256;

/// What the source found next.
pub(super) enum Raw {
    /// One record without its line end.
    Record(Vec<u8>),
    /// The first line of a record whose quote is never closed; reading goes on behind that line.
    Unclosed(Vec<u8>),
    /// The head of a record over the limit; reading goes on behind its line.
    TooLarge(Vec<u8>),
}

/// Bytes of a file, with the line that comes next.
pub(super) struct Source<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
    line: u64,
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            start: 0,
            ended: false,
            line: 1,
        }
    }

    /// The bytes that come next: at least `want` of them, unless the file ends before.
    pub(super) fn window(&mut self, want: usize) -> io::Result<&[u8]> {
        while !self.ended && self.buffer.len() - self.start < want {
            if self.start > want {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let filled = self.buffer.len();
            self.buffer.resize(filled + BLOCK_BYTES, 0);
            let read = loop {
                match self.reader.read(&mut self.buffer[filled..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            self.buffer
                .truncate(filled + read.as_ref().copied().unwrap_or(0));
            self.ended = read? == 0;
        }
        Ok(&self.buffer[self.start..])
    }

    /// Passes over `count` bytes of the window.
    pub(super) fn skip(&mut self, count: usize) {
        let end = self.start.saturating_add(count).min(self.buffer.len());
        let passed = &self.buffer[self.start..end];
        self.line += passed
            .iter()
            .map(|byte| u64::from(*byte == b'\n'))
            .sum::<u64>();
        self.start = end;
    }

    /// The next record and the line it begins on; lines end at LF only where `quotes` is false.
    pub(super) fn next(&mut self, quotes: bool) -> io::Result<Option<(u64, Raw)>> {
        let line = self.line;
        let window = self.window(ROW_BYTES_MAX + 2)?;
        if window.is_empty() {
            return Ok(None);
        }
        let (end, open) = record_end(window, quotes);
        let first_line = window.iter().position(|byte| *byte == b'\n');
        let (raw, length) = match (end, first_line) {
            (Some(end), _) if end <= ROW_BYTES_MAX => (Raw::Record(line_of(window, end)), end + 1),
            (None, _) if !open && window.len() <= ROW_BYTES_MAX => {
                (Raw::Record(line_of(window, window.len())), window.len())
            }
            (None, Some(first)) if open => (Raw::Unclosed(line_of(window, first)), first + 1),
            (None, None) if window.len() <= ROW_BYTES_MAX => {
                (Raw::Unclosed(line_of(window, window.len())), window.len())
            }
            (Some(end), _) => (Raw::TooLarge(line_of(window, HEAD_BYTES)), end + 1),
            _ => {
                let head = line_of(window, HEAD_BYTES.min(window.len()));
                self.skip_line()?;
                return Ok(Some((line, Raw::TooLarge(head))));
            }
        };
        self.skip(length);
        Ok(Some((line, raw)))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let window = self.window(1)?;
            let (length, done) = match window.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (window.len(), window.is_empty()),
            };
            self.skip(length);
            if done {
                return Ok(());
            }
        }
    }
}

fn line_of(window: &[u8], end: usize) -> Vec<u8> {
    let line = &window[..end];
    line.strip_suffix(b"\r").unwrap_or(line).to_vec()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Bare,
    Quoted,
    QuoteInQuoted,
}

enum Step {
    Keep,
    Drop,
    NextField,
    End,
}

impl State {
    fn step(&mut self, byte: u8) -> Step {
        let (next, step) = match (*self, byte) {
            (Self::FieldStart, b'"') => (Self::Quoted, Step::Drop),
            (Self::Quoted, b'"') => (Self::QuoteInQuoted, Step::Drop),
            (Self::Quoted, _) | (Self::QuoteInQuoted, b'"') => (Self::Quoted, Step::Keep),
            (_, b',') => (Self::FieldStart, Step::NextField),
            (_, b'\n') => (Self::FieldStart, Step::End),
            _ => (Self::Bare, Step::Keep),
        };
        *self = next;
        step
    }
}

/// Where the record ends (its LF), and whether a quote is open at the window's end.
fn record_end(window: &[u8], quotes: bool) -> (Option<usize>, bool) {
    if !quotes {
        return (window.iter().position(|byte| *byte == b'\n'), false);
    }
    let mut state = State::FieldStart;
    let end = window
        .iter()
        .position(|byte| matches!(state.step(*byte), Step::End));
    (end, state == State::Quoted)
}

/// Splits one record into its fields' bytes.
pub(super) fn split(record: &[u8]) -> Vec<Vec<u8>> {
    let mut state = State::FieldStart;
    let mut fields = Vec::new();
    let mut field = Vec::new();
    for byte in record {
        match state.step(*byte) {
            Step::Keep => field.push(*byte),
            Step::Drop => {}
            Step::NextField | Step::End => fields.push(std::mem::take(&mut field)),
        }
    }
    fields.push(field);
    fields
}
