//! The auditor's side: what a log looks like as files, and the bundle that
//! carries everything needed to check it without a node.

pub mod claims;
pub mod error;
pub mod export;
pub mod files;
pub mod layout;
pub mod local;
pub mod matching;
mod tree;
pub mod verify;
mod writer;
