//! Makes one member's signed and witnessed logs of any length and exports
//! them: `cargo run --release --example bundle -- RECORDS DIR`. The bundle goes
//! to `DIR/bundle`, its policy to `DIR/policy.toml`.
#![allow(clippy::print_stdout, reason = "a program for developers")]

use std::path::PathBuf;

use casegate::audit::export::BundleOut;
use casegate::clock::{Clock, Stopwatch};
use casegate::federation::shelf::{Shelf, ShelfSpec};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(records), Some(dir)) = (args.next(), args.next()) else {
        anyhow::bail!("usage: bundle RECORDS DIR");
    };
    let (records, dir): (u64, PathBuf) = (records.parse()?, dir.into());
    let watch = Stopwatch::start();
    let shelf = Shelf::fill(&ShelfSpec {
        dir: dir.join("node"),
        records,
        access: records / 100,
        now: Clock::System.now() - 86_400,
    })?;
    println!("logs of {records} records: {:.1} s", watch.seconds());
    let watch = Stopwatch::start();
    let exported = shelf.export(BundleOut::Dir(dir.join("bundle")))?;
    std::fs::write(dir.join("policy.toml"), shelf.policy())?;
    println!(
        "{} files, {} bytes: {:.1} s",
        exported.files,
        exported.bytes,
        watch.seconds()
    );
    Ok(())
}
