//! `casegate kinds`: which kinds of elements and roles there are, what they are
//! called in files, and, as JSON, every table of the rule set.

use crate::cli::sheet::{Cell, Column, Section, Sheet};
use crate::element;

/// Lists the kinds of elements and the roles, and what they are called in files.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct KindsArgs {}

/// A kind or a role as people see it.
struct Word {
    name: &'static str,
    aliases: &'static [&'static str],
    qualifier: &'static str,
    class: &'static str,
}

type Words = Column<Word>;

const KINDS: &[Words] = &[
    Words::seen("label.column.kind", |w| w.name.into()),
    Words::seen("label.column.names", |w| Cell::texts(w.aliases)).flow(),
    Words::seen("label.column.qualifier", |w| {
        Cell::word("label.word", w.qualifier)
    }),
    Words::seen("label.column.token_class", |w| {
        Cell::word("label.class", w.class)
    }),
];

const ROLES: &[Words] = &[
    Words::seen("label.column.role", |w| w.name.into()),
    Words::seen("label.column.names", |w| Cell::texts(w.aliases)).flow(),
];

/// The tables of the rule set.
///
/// # Errors
/// When they cannot be written as JSON.
pub fn run(_args: KindsArgs) -> std::io::Result<Sheet> {
    let tables = element::tables();
    let mut sheet = Sheet::new("kinds");
    sheet.all(&tables)?;
    let kinds = tables.kinds.iter().map(|kind| Word {
        name: kind.name,
        aliases: kind.aliases,
        qualifier: kind.qualifier,
        class: kind.token_class,
    });
    let roles = tables.roles.iter().map(|role| Word {
        name: role.name,
        aliases: role.aliases,
        qualifier: "",
        class: "",
    });
    let (kinds, roles): (Vec<Word>, Vec<Word>) = (kinds.collect(), roles.collect());
    sheet.section(Section::of(&kinds, KINDS));
    sheet.line("");
    sheet.section(Section::of(&roles, ROLES));
    let version = tables.canonical_rules.into();
    sheet.say("message.kinds.rules", [("version", version)]);
    Ok(sheet)
}
