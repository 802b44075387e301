//! A sheet as programs read it: one object, its keys in the order in which the
//! sheet was built.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::{Cell, Item, Place, Record, Section, Sheet};
use crate::cli::show;
use crate::wire::v1::KindCount;

impl Serialize for Sheet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schema", &format!("casegate.{}/1", self.command))?;
        for item in &self.items {
            match item {
                Item::Data(key, cell) if !cell.is_absent() => map.serialize_entry(key, cell)?,
                Item::All(key, value) => map.serialize_entry(key, value)?,
                Item::Section(section) => {
                    if let Some(key) = section.key {
                        map.serialize_entry(key, section)?;
                    }
                }
                Item::Data(..) | Item::Say(_) | Item::Line(_) | Item::Title(_) => {}
            }
        }
        map.end()
    }
}

impl Serialize for Section {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.rows.len()))?;
        for row in &self.rows {
            seq.serialize_element(&Object(self.places.iter().zip(row)))?;
        }
        seq.end()
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Object(self.0.iter().map(|(place, cell)| (place, cell))).serialize(serializer)
    }
}

/// Cells under their keys.
struct Object<I>(I);

impl<'a, I: Iterator<Item = (&'a Place, &'a Cell)> + Clone> Serialize for Object<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (place, cell) in self.0.clone() {
            if let Some(key) = place.key.filter(|_| !cell.is_absent()) {
                map.serialize_entry(key, cell)?;
            }
        }
        map.end()
    }
}

impl Cell {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent | Self::Beside(_) | Self::Phrase(..))
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent | Self::Null | Self::Beside(_) | Self::Phrase(..) => {
                serializer.serialize_none()
            }
            Self::Text(text) | Self::Said(text) | Self::Word(_, text) | Self::Audience(text) => {
                serializer.serialize_str(text)
            }
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Fraction(number, _) => serializer.serialize_f64(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Time(at) => show::instant(*at).serialize(serializer),
            Self::Second(at) => serializer.serialize_i64(*at),
            Self::Day(day) => show::day(*day).serialize(serializer),
            Self::Month(month) => show::month(*month).serialize(serializer),
            Self::Age(age) => age.serialize(serializer),
            Self::Hex(bytes) | Self::Case(bytes) => serializer.serialize_str(&hex::encode(bytes)),
            Self::List(cells) => cells.serialize(serializer),
            Self::Counts(_, counts) => {
                let mut seq = serializer.serialize_seq(Some(counts.len()))?;
                for KindCount { kind, count } in counts {
                    seq.serialize_element(&Counted {
                        name: kind,
                        count: *count,
                    })?;
                }
                seq.end()
            }
            Self::Record(record) => record.serialize(serializer),
            Self::Rows(rows) => rows.serialize(serializer),
            Self::Data(value) => value.serialize(serializer),
        }
    }
}

#[derive(Serialize)]
struct Counted<'a> {
    name: &'a str,
    count: u64,
}
