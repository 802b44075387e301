//! The generated protobuf types and gRPC stubs of `proto/casegate/v1`, and the table
//! of its methods.
//! The only file with generated code; lints are off for it alone.

/// `casegate.v1`, as generated.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unused_qualifications,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("casegate.v1");
}

/// The encoded file descriptor set, for gRPC reflection.
pub const FILE_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/casegate.fds"));

// The table of methods, as macros: each hands its rows to another macro.
include!(concat!(env!("OUT_DIR"), "/calls.rs"));
