//! gRPC at the edge: one file a service, who may call, and the officers' client.
//! Peers see a stable code and a fixed sentence; officers see what to do next.

pub mod admit;
pub mod audit;
pub mod custodian;
pub mod desk;
pub mod desk_client;
pub mod exchange;
pub mod keygen;
pub mod refusals;
