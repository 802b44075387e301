//! `casegate kinds`: which kinds of elements and roles there are, what they are
//! called in files, and, as JSON, every table of the rule set.

use crate::cli::output::{Output, Table};
use crate::element;

/// Lists the kinds of elements and the roles, and what they are called in files.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct KindsArgs {}

/// Prints the tables of the rule set.
///
/// # Errors
/// Only what standard output answers.
pub fn run(_args: KindsArgs, output: &Output) -> anyhow::Result<()> {
    let tables = element::tables();
    output.emit("kinds", &tables, |screen| {
        let lang = screen.lang();
        let mut kinds = Table::new()
            .column("label.column.kind")
            .column("label.column.names")
            .column("label.column.qualifier")
            .column("label.column.token_class");
        for kind in &tables.kinds {
            let qualifier = match kind.qualifier {
                "" => String::new(),
                word => lang.coded("label.word", word, &[]),
            };
            kinds.row([
                kind.name.to_owned(),
                kind.aliases.join(" "),
                qualifier,
                lang.text(class_word(kind.token_class), &[]),
            ]);
        }
        screen.table(&kinds);
        let mut roles = Table::new()
            .column("label.column.role")
            .column("label.column.names");
        for role in &tables.roles {
            roles.row([role.name.to_owned(), role.aliases.join(" ")]);
        }
        screen.table(&roles);
        let version = tables.canonical_rules.to_string();
        screen.text("message.kinds.rules", &[("version", &version)]);
    })?;
    Ok(())
}

/// "Open" is also what a case is: the class has a word of its own.
fn class_word(class: &str) -> &'static str {
    if class == "enumerable" {
        "label.word.enumerable"
    } else {
        "label.word.open_key"
    }
}
