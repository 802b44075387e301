//! A sheet as people see it on a terminal: sentences and tables no wider than
//! there is room, without rules between rows. Where there is no room for all
//! columns those go that matter least, and it is said which.

use super::tell::{Voice, listed};
use super::{Cell, Item, Place, Section, Sheet, width};
use crate::lang::Lang;

/// Columns between two columns.
const GAP: usize = 2;
/// Columns to which a text that wraps is narrowed before others are left out.
const FLOW_MIN: usize = 24;
/// Columns to which it is narrowed before anything is cut.
const FLOW_LEAST: usize = 12;
/// Columns to which what does not wrap is cut at most.
const WHOLE_MIN: usize = 8;

/// How a sheet is drawn.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The language.
    pub lang: Lang,
    /// Columns that there are; without them there is no limit.
    pub width: Option<usize>,
    /// Whether everything is shown, however wide it is.
    pub wide: bool,
}

/// Draws the sheet.
#[must_use]
pub fn text(sheet: &Sheet, view: View) -> String {
    let mut page = Drawn {
        view,
        voice: Voice::of(sheet, view.lang, view.wide),
        text: String::new(),
    };
    for item in &sheet.items {
        match item {
            Item::Data(..) | Item::All(..) => {}
            Item::Say(say) => page.sentence(&say.text(page.voice)),
            Item::Line(line) => page.line(line),
            Item::Title(key) => page.title(key),
            Item::Section(section) => page.section(section),
        }
    }
    page.text
}

/// Text as it grows.
struct Drawn {
    view: View,
    voice: Voice,
    text: String,
}

impl Drawn {
    fn line(&mut self, line: &str) {
        self.text.push_str(inert(line).trim_end());
        self.text.push('\n');
    }

    fn sentence(&mut self, text: &str) {
        match self.view.width {
            Some(columns) if !self.view.wide => {
                for line in width::wrap(text, columns, false) {
                    self.line(&line);
                }
            }
            _ => self.line(text),
        }
    }

    fn title(&mut self, key: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let text = self.view.lang.text(key, &[]);
        self.sentence(&text);
    }

    fn section(&mut self, section: &Section) {
        if section.rows.is_empty() {
            return;
        }
        if let Some(title) = section.title {
            self.title(title);
        }
        let most = if self.view.wide {
            usize::MAX
        } else {
            section.most
        };
        let table = Table::of(section, most, self.view, self.voice);
        for line in table.lines() {
            self.line(&line);
        }
        self.counts(section, most);
        if !table.left_out.is_empty() {
            let names = listed(self.view.lang, table.left_out.into_iter());
            let key = "label.narrow";
            let text = self.view.lang.text(key, &[("columns", &names)]);
            self.sentence(&text);
        } else if table.cut {
            let text = self.view.lang.text("label.cut", &[]);
            self.sentence(&text);
        }
        for say in &section.foot {
            self.sentence(&say.text(self.voice));
        }
    }

    /// Says how many there are, and the sums of the columns that have one.
    fn counts(&mut self, section: &Section, most: usize) {
        let lang = self.view.lang;
        let rows = section.rows.len();
        let shown = rows.min(most);
        let sums = listed(lang, sums(section).map(|sum| said(lang, sum)));
        if !sums.is_empty() {
            let text = lang.text("label.sum.all", &[("sums", &sums)]);
            self.sentence(&text);
        }
        let told = match section.total {
            _ if rows > most => Some((rows as u64, "label.shown.first")),
            Some((total, why)) if total > rows as u64 => Some((total, why)),
            Some((total, _)) if total > 1 => Some((total, "label.shown.all")),
            _ => None,
        };
        if let Some((total, key)) = told {
            let (shown, total) = (shown.to_string(), total.to_string());
            let words = [("shown", &*shown), ("total", &*total)];
            let text = lang.text(key, &words);
            self.sentence(&text);
        }
    }
}

/// A sum with its heading, unless that says no more than that it is a count.
pub(super) fn said(lang: Lang, (heading, sum): (&str, String)) -> String {
    if heading == "label.column.count" {
        return sum;
    }
    let heading = lang.text(heading, &[]);
    lang.text("label.sum.one", &[("what", &heading), ("sum", &sum)])
}

/// The sums of a list's columns that have one, where there is more than one row.
pub(super) fn sums(section: &Section) -> impl Iterator<Item = (&'static str, String)> {
    let columns = section.places.iter().enumerate();
    columns.filter_map(|(at, place)| {
        let heading = place.heading.filter(|_| place.look.sum)?;
        let numbers = section.rows.iter().filter_map(|row| match row.get(at) {
            Some(Cell::Number(number)) => Some(*number),
            _ => None,
        });
        let sum = numbers.fold(0_u64, u64::saturating_add);
        (section.rows.len() > 1).then(|| (heading, sum.to_string()))
    })
}

/// A table that fits.
struct Table {
    columns: Vec<Fitted>,
    /// Headings of columns that there was no room for.
    left_out: Vec<String>,
    /// Whether a text was cut.
    cut: bool,
}

/// A column with its texts.
struct Fitted {
    heading: String,
    texts: Vec<String>,
    number: bool,
    place: Place,
    width: usize,
}

impl Fitted {
    fn natural(&self) -> usize {
        let widest = self.texts.iter().map(|text| width::of(text)).max();
        widest.unwrap_or_default().max(width::of(&self.heading))
    }

    fn is_empty(&self) -> bool {
        self.texts.iter().all(String::is_empty)
    }

    /// How narrow it may become.
    fn floor(&self) -> usize {
        let least = if self.place.look.flow {
            FLOW_MIN
        } else {
            self.width
        };
        self.width.min(least.max(width::of(&self.heading)))
    }
}

impl Table {
    fn of(section: &Section, most: usize, view: View, voice: Voice) -> Self {
        let columns = section.places.iter().enumerate();
        let columns = columns.filter_map(|(at, place)| {
            let heading = place.heading?;
            if place.look.wide && !view.wide {
                return None;
            }
            let cells = section.rows.iter().take(most).map(|row| row.get(at));
            let texts = cells.map(|cell| cell.map_or_else(String::new, |c| flat(&c.text(voice))));
            let mut column = Fitted {
                heading: view.lang.text(heading, &[]),
                texts: texts.collect(),
                number: section.is_number(at),
                place: *place,
                width: 0,
            };
            column.width = column.natural();
            // What is empty in every row says nothing.
            (view.wide || !column.is_empty()).then_some(column)
        });
        let mut table = Self {
            columns: columns.collect(),
            left_out: vec![],
            cut: false,
        };
        if let Some(limit) = view.width.filter(|_| !view.wide) {
            table.fit(limit);
        }
        table
    }

    fn total(&self) -> usize {
        let gaps = GAP * self.columns.len().saturating_sub(1);
        self.columns.iter().map(|c| c.width).sum::<usize>() + gaps
    }

    fn fit(&mut self, limit: usize) {
        while self.total() > limit {
            let floors: usize = self.columns.iter().map(|c| c.width - c.floor()).sum();
            if self.total() - floors <= limit {
                self.narrow(limit);
                return;
            }
            let spare = self.columns.iter().enumerate();
            let spare = spare.filter(|(_, column)| column.place.look.spare > 0);
            let goes = spare.max_by_key(|(_, column)| column.place.look.spare);
            let Some(at) = goes.map(|(at, _)| at) else {
                self.cut_down(limit);
                return;
            };
            self.left_out.push(self.columns.remove(at).heading);
        }
    }

    /// Narrows the columns that wrap: the widest gives way first.
    fn narrow(&mut self, limit: usize) {
        while self.total() > limit {
            let widest = self.columns.iter_mut().filter(|c| c.width > c.floor());
            let Some(column) = widest.max_by_key(|column| column.width) else {
                return;
            };
            column.width -= 1;
        }
    }

    /// Nothing is left that could be left out: what wraps becomes narrower still,
    /// then texts are cut, the widest first.
    fn cut_down(&mut self, limit: usize) {
        for column in &mut self.columns {
            column.width = column.floor();
        }
        for (flows, least) in [(true, FLOW_LEAST), (false, WHOLE_MIN)] {
            while self.total() > limit {
                let may =
                    |c: &&mut Fitted| !c.number && c.width > least && (c.place.look.flow || !flows);
                let Some(column) = self.columns.iter_mut().filter(may).max_by_key(|c| c.width)
                else {
                    break;
                };
                column.width -= 1;
                self.cut |= !column.place.look.flow;
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        let join = |cells: Vec<String>| cells.join(&" ".repeat(GAP));
        let heads = self.columns.iter().map(|column| {
            let heading = width::shorten(&column.heading, column.width);
            width::pad(&heading, column.width, column.number)
        });
        let rule = self.columns.iter().map(|column| "-".repeat(column.width));
        let mut lines = vec![join(heads.collect()), join(rule.collect())];
        let rows = self.columns.first().map_or(0, |c| c.texts.len());
        for row in 0..rows {
            let cells: Vec<Vec<String>> = self.columns.iter().map(|c| c.cell(row)).collect();
            let height = cells.iter().map(Vec::len).max().unwrap_or_default();
            for line in 0..height {
                let parts = self.columns.iter().zip(&cells).map(|(column, cell)| {
                    let text = cell.get(line).map_or("", String::as_str);
                    width::pad(text, column.width, column.number)
                });
                lines.push(join(parts.collect()));
            }
        }
        lines
    }
}

impl Fitted {
    fn cell(&self, row: usize) -> Vec<String> {
        let text = self.texts.get(row).map_or("", String::as_str);
        if self.place.look.flow {
            width::wrap(text, self.width, true)
        } else {
            vec![width::shorten(text, self.width)]
        }
    }
}

/// A cell stands on one line, and drives no terminal.
fn flat(text: &str) -> String {
    inert(text).replace('\n', " ")
}

/// Replaces control and direction characters, which could rewrite what stands on a terminal.
#[must_use]
pub fn inert(text: &str) -> String {
    let unsafe_char = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if unsafe_char(c) { '\u{fffd}' } else { c })
        .collect()
}
