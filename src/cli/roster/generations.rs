//! What a roster description says of the generations of a member's logs: where
//! its records log ended, and which generation of its access log goes on. Ends
//! of earlier versions stay by themselves.

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::ids::Digest;
use crate::wire::v1::{FrozenGeneration, RosterMember};

/// The end of a generation of the records log; the next one begins.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndedLines {
    /// Which generation ended.
    generation: u32,
    /// How many entries it has.
    size: u64,
    /// The root over them, 64 hexadecimal digits.
    root: String,
}

/// Puts a description's ends, and the generation of the access log, into a
/// member's lines. What earlier versions say already may stand there again.
///
/// # Errors
/// A sentence that names the generation.
pub(super) fn apply(
    member: &mut RosterMember,
    ended: &[EndedLines],
    access: Option<u32>,
) -> anyhow::Result<()> {
    for lines in ended {
        end(member, lines).with_context(|| format!("generation {} ended", lines.generation))?;
    }
    if let Some(access) = access {
        ensure!(
            access >= member.access_generation,
            "access_generation {access}: the log is in generation {} already",
            member.access_generation
        );
        member.access_generation = access;
    }
    Ok(())
}

fn end(member: &mut RosterMember, lines: &EndedLines) -> anyhow::Result<()> {
    let root = hex::decode(&lines.root).context("a root is 64 hexadecimal digits")?;
    let frozen = FrozenGeneration {
        generation: lines.generation,
        size: lines.size,
        root: Digest::from_slice(&root)?.0.to_vec().into(),
    };
    let before = member.frozen.iter();
    if let Some(before) = before.clone().find(|f| f.generation == lines.generation) {
        ensure!(*before == frozen, "an end never changes");
        return Ok(());
    }
    ensure!(
        lines.generation == member.records_generation,
        "the log is in generation {}",
        member.records_generation
    );
    member.frozen.push(frozen);
    member.records_generation = lines.generation.saturating_add(1);
    Ok(())
}
