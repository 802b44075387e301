//! The client side of the peer port, and what both sides of a call share: the
//! table that turns blame into a status, and the checkpoint that rides on
//! answers. Servers are above, in `rpc`.

pub mod client;
pub mod shown;
pub mod status;

/// Bytes that one message may have in either direction.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
