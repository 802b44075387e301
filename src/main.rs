//! The casegate binary.

fn main() {}
