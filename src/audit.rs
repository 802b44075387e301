//! The auditor's side: what a log looks like as files, and the bundle that
//! carries everything needed to check it without a node.

pub mod export;
pub mod layout;
pub mod local;
pub mod matching;
pub mod source;
mod tree;
pub mod verify;
mod writer;
