//! casegate: a gateway that lets bureaus find common evidence without
//! centralizing raw data. ARCHITECTURE.md has the map; modules import
//! downward only, in the order in which they stand here.

// EDGE
pub mod admin;
pub mod doctor;
pub mod federation;
pub mod node;
pub mod pki;
pub mod rpc;
pub mod setup;
pub mod tls;

// SERVICES
pub mod access;
pub mod audit;
pub mod cases;
pub mod custodian;
pub mod evidence;
pub mod find;
pub mod import;
pub mod intake;
pub mod ledger;
pub mod officers;
pub mod publish;
pub mod replicate;
pub mod rosterlog;
pub mod rosters;
pub mod spoken;
pub mod tokens;
pub mod witness;
pub mod witnessing;

// STORAGE
pub mod postings;
pub mod shred;
pub mod store;

// CORE
pub mod checkpoint;
pub mod element;
pub mod links;
pub mod merkle;
pub mod oprf;
pub mod policy;
pub mod record;
pub mod roster;
pub mod sample;
pub mod wire;

// LEAVES
pub mod blame;
pub mod clock;
pub mod config;
pub mod features;
pub mod ids;
pub mod keys;
pub mod lang;
pub mod metrics;
pub mod seal;

pub mod cli;
