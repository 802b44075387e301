//! What a command answers: one value, built once, that is drawn as a table, as
//! JSON and as a page. A column is declared once, with the key that programs
//! read and the heading that people see; each cell is a typed value that knows
//! both of its forms. Pure: the language and the width are parameters.

pub mod draw;
mod json;
pub mod page;
mod tell;
pub mod width;

use crate::cli::failure::Exit;
use crate::wire::v1::KindCount;

/// Rows of a list that people are shown, unless they ask for all; JSON has all.
pub const ROWS_MAX: usize = 50;

/// One value: what a program reads, and how a person sees it.
#[derive(Clone, Debug, Default)]
pub enum Cell {
    /// Nothing: programs find no such key.
    #[default]
    Absent,
    /// Nothing: programs find `null`.
    Null,
    /// A text as it is.
    Text(String),
    /// A sentence of the node, which people read in their own language where
    /// the catalogue knows it.
    Said(String),
    /// A count or an index.
    Number(u64),
    /// A fraction, of which people see so many decimals.
    Fraction(f64, usize),
    /// Yes or no.
    Flag(bool),
    /// A second; 0 is `null`. RFC 3339 in UTC for programs, China's time for people.
    Time(i64),
    /// A second, which programs read as a number.
    Second(i64),
    /// A day since 1970; 0 is `null`.
    Day(i32),
    /// Year * 100 + month; what is no month is `null`.
    Month(u32),
    /// Seconds since something happened; never is `null`.
    Age(Option<i64>),
    /// Bytes in hexadecimal.
    Hex(Vec<u8>),
    /// A case ref: people see as many digits as tell the refs of an answer apart.
    Case(Vec<u8>),
    /// A word of a closed set: the catalogue's family, and the word of programs.
    Word(&'static str, String),
    /// Who may receive something, as it is written in files.
    Audience(String),
    /// Several values.
    List(Vec<Self>),
    /// Counts by a word of that family.
    Counts(&'static str, Vec<KindCount>),
    /// Values under keys; people see the cells that have a heading.
    Record(Record),
    /// A list within a cell, for programs only.
    Rows(Vec<Record>),
    /// Values side by side, for people only.
    Beside(Vec<Self>),
    /// A sentence of the catalogue, for people only.
    Phrase(&'static str, Vec<(&'static str, Self)>),
    /// What is JSON already, for programs only.
    Data(serde_json::Value),
}

impl Cell {
    /// A text, or nothing at all where there is none.
    #[must_use]
    pub fn some(text: &str) -> Self {
        if text.is_empty() {
            Self::Absent
        } else {
            Self::Text(text.to_owned())
        }
    }

    /// A number that may be missing.
    #[must_use]
    pub fn maybe(number: Option<u64>) -> Self {
        number.map_or(Self::Null, Self::Number)
    }

    /// A word of a closed set.
    #[must_use]
    pub fn word(family: &'static str, word: impl Into<String>) -> Self {
        Self::Word(family, word.into())
    }

    /// Several words of a closed set.
    #[must_use]
    pub fn words<S: AsRef<str>>(family: &'static str, words: &[S]) -> Self {
        let each = words.iter().map(|word| Self::word(family, word.as_ref()));
        Self::List(each.collect())
    }

    /// Several texts.
    #[must_use]
    pub fn texts<S: AsRef<str>>(texts: &[S]) -> Self {
        Self::List(texts.iter().map(|text| text.as_ref().into()).collect())
    }

    /// One value as an object.
    #[must_use]
    pub fn record<T>(value: &T, columns: &[Column<T>]) -> Self {
        Self::Record(Record::of(value, columns))
    }

    /// A list of values as objects, for programs.
    #[must_use]
    pub fn rows<'a, T: 'a>(values: impl IntoIterator<Item = &'a T>, columns: &[Column<T>]) -> Self {
        let each = values.into_iter().map(|value| Record::of(value, columns));
        Self::Rows(each.collect())
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl From<bool> for Cell {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// How a column gives way when there is not room for everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Shown only to whom asks for everything.
    wide: bool,
    /// Wraps between words.
    flow: bool,
    /// Left out where there is no room; the highest goes first, 0 never.
    spare: u8,
    /// Its sum stands under the list.
    sum: bool,
    /// Stands to the right, as numbers do by themselves.
    right: bool,
}

/// A column of a `T`: declared once for tables, JSON and pages.
#[derive(Debug)]
pub struct Column<T> {
    key: Option<&'static str>,
    heading: Option<&'static str>,
    cell: fn(&T) -> Cell,
    look: Look,
}

impl<T> Clone for Column<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Column<T> {}

impl<T> Column<T> {
    const fn made(
        key: Option<&'static str>,
        heading: Option<&'static str>,
        cell: fn(&T) -> Cell,
    ) -> Self {
        let look = Look {
            wide: false,
            flow: false,
            spare: 0,
            sum: false,
            right: false,
        };
        Self {
            key,
            heading,
            cell,
            look,
        }
    }

    /// For programs under `key`, for people under the catalogue's `heading`.
    #[must_use]
    pub const fn of(key: &'static str, heading: &'static str, cell: fn(&T) -> Cell) -> Self {
        Self::made(Some(key), Some(heading), cell)
    }

    /// For programs only.
    #[must_use]
    pub const fn data(key: &'static str, cell: fn(&T) -> Cell) -> Self {
        Self::made(Some(key), None, cell)
    }

    /// For people only.
    #[must_use]
    pub const fn seen(heading: &'static str, cell: fn(&T) -> Cell) -> Self {
        Self::made(None, Some(heading), cell)
    }

    /// Shown only to whom asks for everything.
    #[must_use]
    pub const fn wide(mut self) -> Self {
        self.look.wide = true;
        self
    }

    /// Wraps between words where there is no room.
    #[must_use]
    pub const fn flow(mut self) -> Self {
        self.look.flow = true;
        self
    }

    /// Left out where there is no room: the highest `order` first.
    #[must_use]
    pub const fn spare(mut self, order: u8) -> Self {
        self.look.spare = order;
        self
    }

    /// Stands to the right, as numbers do by themselves.
    #[must_use]
    pub const fn right(mut self) -> Self {
        self.look.right = true;
        self
    }

    /// Its sum stands under the list.
    #[must_use]
    pub const fn sum(mut self) -> Self {
        self.look.sum = true;
        self
    }
}

/// The place of a cell: key, heading and look of its column.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    key: Option<&'static str>,
    heading: Option<&'static str>,
    look: Look,
}

/// The cells of one value, each with its place.
#[derive(Clone, Debug, Default)]
pub struct Record(Vec<(Place, Cell)>);

impl Record {
    fn of<T>(value: &T, columns: &[Column<T>]) -> Self {
        let cell = |column: &Column<T>| {
            let place = Place {
                key: column.key,
                heading: column.heading,
                look: column.look,
            };
            (place, (column.cell)(value))
        };
        Self(columns.iter().map(cell).collect())
    }
}

/// A sentence of the catalogue with its values.
#[derive(Clone, Debug)]
pub struct Say {
    key: &'static str,
    values: Vec<(&'static str, Cell)>,
}

impl Say {
    /// The sentence of `key`.
    #[must_use]
    pub fn new(key: &'static str, values: impl Into<Vec<(&'static str, Cell)>>) -> Self {
        Self {
            key,
            values: values.into(),
        }
    }
}

/// A list: an array for programs, a table for people.
#[derive(Clone, Debug)]
pub struct Section {
    key: Option<&'static str>,
    title: Option<&'static str>,
    places: Vec<Place>,
    rows: Vec<Vec<Cell>>,
    /// Rows that people are shown.
    most: usize,
    foot: Vec<Say>,
    /// How many there are in all, and the sentence for why not all are shown.
    total: Option<(u64, &'static str)>,
}

impl Section {
    /// The rows of a list; its columns are declared once.
    #[must_use]
    pub fn of<'a, T: 'a>(values: impl IntoIterator<Item = &'a T>, columns: &[Column<T>]) -> Self {
        let place = |column: &Column<T>| Place {
            key: column.key,
            heading: column.heading,
            look: column.look,
        };
        let row = |value: &T| columns.iter().map(|column| (column.cell)(value)).collect();
        Self {
            key: None,
            title: None,
            places: columns.iter().map(place).collect(),
            rows: values.into_iter().map(row).collect(),
            most: usize::MAX,
            foot: vec![],
            total: None,
        }
    }

    /// The key under which programs find the rows; without it they do not.
    #[must_use]
    pub fn keyed(mut self, key: &'static str) -> Self {
        self.key = Some(key);
        self
    }

    /// The title above the table.
    #[must_use]
    pub fn titled(mut self, title: &'static str) -> Self {
        self.title = Some(title);
        self
    }

    /// Shows people no more rows than this, unless they ask for all.
    #[must_use]
    pub fn at_most(mut self, rows: usize) -> Self {
        self.most = rows;
        self
    }

    /// A sentence under the table.
    #[must_use]
    pub fn foot(mut self, say: Say) -> Self {
        self.foot.push(say);
        self
    }

    /// How many there are in all, of which these rows are the first; `why` is the
    /// sentence that says so, and what shows the others.
    #[must_use]
    pub fn total(mut self, total: u64, why: &'static str) -> Self {
        self.total = Some((total, why));
        self
    }

    /// Leaves columns out for people, by their headings.
    #[must_use]
    pub fn without(mut self, headings: &[&str]) -> Self {
        for place in &mut self.places {
            place.heading = place.heading.filter(|heading| !headings.contains(heading));
        }
        self
    }

    /// Says whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Says whether a column stands to the right, as one of numbers only does.
    fn is_number(&self, column: usize) -> bool {
        if self
            .places
            .get(column)
            .is_some_and(|place| place.look.right)
        {
            return true;
        }
        let numbers = self.rows.iter().filter_map(|row| row.get(column));
        let mut numbers = numbers
            .filter(|cell| !matches!(cell, Cell::Absent | Cell::Null))
            .peekable();
        numbers.peek().is_some()
            && numbers.all(|cell| matches!(cell, Cell::Number(_) | Cell::Fraction(..)))
    }
}

/// One thing of an answer, in the order in which it is told.
#[derive(Clone, Debug)]
enum Item {
    /// A value for programs.
    Data(&'static str, Cell),
    /// A value for programs that is JSON already.
    All(String, serde_json::Value),
    /// A sentence for people.
    Say(Say),
    /// A line for people, as it is and never wrapped.
    Line(String),
    /// A heading for people.
    Title(&'static str),
    /// A list for both.
    Section(Section),
}

/// What a command answers.
#[derive(Clone, Debug)]
pub struct Sheet {
    command: &'static str,
    exit: Exit,
    /// What a page is headed with.
    title: Option<Say>,
    items: Vec<Item>,
}

impl Sheet {
    /// Starts the answer of a command; its schema is `casegate.COMMAND/1`.
    #[must_use]
    pub fn new(command: &'static str) -> Self {
        Self {
            command,
            exit: Exit::Done,
            title: None,
            items: vec![],
        }
    }

    /// How the command ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Sets how the command ends.
    #[must_use]
    pub fn ends(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Heads the page, and people's screen where `say` has something to say.
    pub fn head(&mut self, say: Say) -> &mut Self {
        self.title = Some(say);
        self
    }

    /// Adds a value for programs.
    pub fn data(&mut self, key: &'static str, cell: impl Into<Cell>) -> &mut Self {
        self.items.push(Item::Data(key, cell.into()));
        self
    }

    /// Adds the fields of one value, for programs.
    pub fn fields<T>(&mut self, value: &T, columns: &[Column<T>]) -> &mut Self {
        for (place, cell) in Record::of(value, columns).0 {
            if let Some(key) = place.key {
                self.items.push(Item::Data(key, cell));
            }
        }
        self
    }

    /// Adds all fields of what is JSON of its own making, for programs.
    ///
    /// # Errors
    /// When it cannot be written as an object.
    pub fn all<T: serde::Serialize>(&mut self, value: &T) -> std::io::Result<&mut Self> {
        let value = serde_json::to_value(value)?;
        let serde_json::Value::Object(fields) = value else {
            return Err(std::io::ErrorKind::InvalidData.into());
        };
        let items = fields.into_iter().map(|(key, value)| Item::All(key, value));
        self.items.extend(items);
        Ok(self)
    }

    /// Adds a sentence for people.
    pub fn say(
        &mut self,
        key: &'static str,
        values: impl Into<Vec<(&'static str, Cell)>>,
    ) -> &mut Self {
        self.items.push(Item::Say(Say::new(key, values)));
        self
    }

    /// Adds a line for people that is kept as it is.
    pub fn line(&mut self, text: impl Into<String>) -> &mut Self {
        self.items.push(Item::Line(text.into()));
        self
    }

    /// Adds a heading for people.
    pub fn title(&mut self, key: &'static str) -> &mut Self {
        self.items.push(Item::Title(key));
        self
    }

    /// Adds a list.
    pub fn section(&mut self, section: Section) -> &mut Self {
        self.items.push(Item::Section(section));
        self
    }
}
