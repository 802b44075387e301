//! The integration tests: one binary, one module a subject.
#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a test that cannot go on says why and ends"
)]

mod access;
mod access_generations;
mod audience;
mod audit_cli;
mod audit_export;
mod audit_layout;
mod audit_port;
mod audit_verify;
mod backup;
mod bodies;
mod cases;
mod checkpoint;
mod cluster;
mod config;
mod confusion;
mod custodian;
mod element;
mod erasure;
mod exchange;
mod generations;
mod intake;
mod keys;
mod lang;
mod links;
mod merkle;
mod node;
mod normalization;
mod officers;
mod operation;
mod oprf;
mod pki;
mod processes;
mod query;
mod ready;
mod receipts;
mod record;
mod restore;
mod retract;
mod roster;
mod roster_log;
mod sample;
mod signatures;
mod store;
mod tamper;
mod tidy;
mod timeouts;
mod tls;
mod torsion;
mod validity;
mod values;
mod versions;
mod views;
mod witness;
