//! The command line: one file a command, and how they present their results.

pub mod output;
pub mod pki;
pub mod roster;
pub mod sample;
