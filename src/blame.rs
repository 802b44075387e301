//! Who is to blame for an error. Every error type says which of these it is,
//! and one table (rpc/status) turns them into status, metric and log level.

/// The class of a failure, by who has to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The other side broke a rule; what it sent is refused whole.
    Misbehaved,
    /// The other side speaks a version or format that is not known here.
    Incompatible,
    /// The caller may not do this.
    Denied,
    /// What was asked for is not here.
    NotFound,
    /// The caller must fetch something newer (roster, epoch, checkpoint) first.
    Stale,
    /// A limit is reached; the same call may go through later.
    Busy,
    /// Something that is needed is out of reach for now.
    Unavailable,
    /// A fault of this node.
    Internal,
}

/// Implemented by every error type of casegate.
pub trait Blamed {
    /// Says who has to act.
    fn blame(&self) -> Blame;
    /// A stable code, such as `record.bad_signature`; part of the interface.
    fn code(&self) -> &'static str;
}
