//! gRPC at the edge: one file a service, who may call, what an error looks
//! like from outside, and the client. Peers see a stable code and a fixed
//! sentence; officers see what to do next.

pub mod admit;
pub mod audit;
pub mod client;
pub mod custodian;
pub mod desk;
pub mod desk_client;
pub mod exchange;
pub mod keygen;
pub mod refusals;
pub mod shown;
pub mod status;

/// Bytes that one message may have in either direction.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
