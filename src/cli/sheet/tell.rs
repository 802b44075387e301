//! A cell as a person reads it.

use super::{Cell, Item, Say, Sheet};
use crate::cli::show;
use crate::lang::Lang;

/// Digits of a case ref that people see at least.
const REF_DIGITS: usize = 8;

/// In which language, and how much, a person is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice {
    pub(super) lang: Lang,
    /// Digits of each case ref; all of them where everything is wanted.
    pub(super) digits: usize,
}

impl Voice {
    /// How a sheet is told: its case refs are as short as keeps them apart.
    pub(super) fn of(sheet: &Sheet, lang: Lang, wide: bool) -> Self {
        if wide {
            return Self {
                lang,
                digits: usize::MAX,
            };
        }
        let mut refs = vec![];
        for item in &sheet.items {
            match item {
                Item::Data(..) | Item::All(..) | Item::Line(_) | Item::Title(_) => {}
                Item::Say(say) => say.values.iter().for_each(|(_, cell)| cell.refs(&mut refs)),
                Item::Section(section) => {
                    let cells = section.rows.iter().flatten();
                    cells.for_each(|cell| cell.refs(&mut refs));
                }
            }
        }
        Self {
            lang,
            digits: digits_apart(refs),
        }
    }
}

/// How many digits keep refs apart: at least [`REF_DIGITS`].
fn digits_apart(mut refs: Vec<String>) -> usize {
    refs.sort_unstable();
    refs.dedup();
    let common = |pair: &[String]| match pair {
        [a, b] => a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count() + 1,
        _ => 0,
    };
    let most = refs.windows(2).map(common).max();
    most.unwrap_or_default().max(REF_DIGITS)
}

impl Cell {
    fn refs(&self, found: &mut Vec<String>) {
        match self {
            Self::Case(bytes) => found.push(hex::encode(bytes)),
            Self::List(cells) | Self::Beside(cells) => {
                cells.iter().for_each(|cell| cell.refs(found));
            }
            Self::Record(record) => record.0.iter().for_each(|(_, cell)| cell.refs(found)),
            Self::Phrase(_, values) => values.iter().for_each(|(_, cell)| cell.refs(found)),
            _ => {}
        }
    }

    /// The text of the cell.
    pub(super) fn text(&self, voice: Voice) -> String {
        let lang = voice.lang;
        match self {
            Self::Absent | Self::Null | Self::Rows(_) | Self::Data(_) => String::new(),
            Self::Text(text) => text.clone(),
            Self::Said(text) => lang.retold(text),
            Self::Number(number) => number.to_string(),
            Self::Fraction(number, digits) => format!("{number:.digits$}"),
            Self::Flag(flag) => {
                let word = if *flag { "yes" } else { "no" };
                show::word_of(lang, "label.word", word)
            }
            Self::Time(at) | Self::Second(at) => show::clock_time(*at).unwrap_or_default(),
            Self::Day(day) => show::day(*day).unwrap_or_default(),
            Self::Month(month) => show::month(*month).unwrap_or_default(),
            Self::Age(age) => show::age(lang, age.unwrap_or(-1)),
            Self::Hex(bytes) => hex::encode(bytes),
            Self::Case(bytes) => hex::encode(bytes).chars().take(voice.digits).collect(),
            Self::Word(family, word) => show::word_of(lang, family, word),
            Self::Audience(text) => show::audience(lang, text),
            Self::List(cells) => listed(lang, cells.iter().map(|cell| cell.text(voice))),
            Self::Counts(family, counts) => {
                let each = counts
                    .iter()
                    .map(|c| format!("{} {}", show::word_of(lang, family, &c.kind), c.count));
                listed(lang, each)
            }
            Self::Record(record) => {
                let seen = record.0.iter().filter(|(place, _)| place.heading.is_some());
                beside(seen.map(|(_, cell)| cell.text(voice)))
            }
            Self::Beside(cells) => beside(cells.iter().map(|cell| cell.text(voice))),
            Self::Phrase(key, values) => phrase(voice, key, values),
        }
    }
}

impl Say {
    /// The sentence.
    pub(super) fn text(&self, voice: Voice) -> String {
        phrase(voice, self.key, &self.values)
    }
}

fn phrase(voice: Voice, key: &str, values: &[(&'static str, Cell)]) -> String {
    let texts: Vec<(&str, String)> = values
        .iter()
        .map(|(name, cell)| (*name, cell.text(voice)))
        .collect();
    let values: Vec<(&str, &str)> = texts.iter().map(|(k, v)| (*k, v.as_str())).collect();
    voice.lang.text(key, &values)
}

fn beside(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
    texts.join(" ")
}

/// Joins the members of a list as the language does.
pub(super) fn listed(lang: Lang, texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
    let between = match lang {
        Lang::Zh => "、",
        Lang::En => ", ",
    };
    texts.join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_are_as_short_as_keeps_them_apart_and_never_shorter_than_eight() {
        let of = |refs: &[&str]| digits_apart(refs.iter().map(|r| (*r).to_owned()).collect());
        assert_eq!(of(&[]), 8);
        assert_eq!(of(&["0bf6462c20e3", "1bf6462c20e3"]), 8);
        assert_eq!(of(&["0bf6462c20e3", "0bf6462c20e3"]), 8, "one ref twice");
        assert_eq!(of(&["0bf6462c20e3", "0bf6462c20f3", "9000"]), 11);
    }
}
