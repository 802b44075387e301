//! The command line: one file a command, and how they present their results.

pub mod output;
pub mod sample;
