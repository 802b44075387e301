//! The one table that turns an error's blame into a gRPC status, and the
//! details that ride along.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::blame::{Blame, Blamed};

/// The metadata key under which the stable error code travels.
pub const CODE_HEADER: &str = "casegate-code";

fn row(blame: Blame) -> (Code, &'static str) {
    match blame {
        Blame::Misbehaved => (Code::InvalidArgument, "what was sent breaks a rule"),
        Blame::Incompatible => (Code::Unimplemented, "this version is not spoken here"),
        Blame::Denied => (Code::PermissionDenied, "this is not allowed"),
        Blame::NotFound => (Code::NotFound, "there is no such thing here"),
        Blame::Stale => (Code::FailedPrecondition, "something newer is needed first"),
        Blame::Busy => (
            Code::ResourceExhausted,
            "a limit is reached; try again later",
        ),
        Blame::Unavailable => (Code::Unavailable, "this is out of reach for now"),
        Blame::Internal => (Code::Internal, "the node failed; its log says why"),
    }
}

/// The blame behind a status that came over the wire.
#[must_use]
pub fn blame_of(code: Code) -> Blame {
    match code {
        Code::InvalidArgument | Code::OutOfRange | Code::DataLoss => Blame::Misbehaved,
        Code::FailedPrecondition | Code::Aborted => Blame::Stale,
        Code::PermissionDenied | Code::Unauthenticated => Blame::Denied,
        Code::NotFound => Blame::NotFound,
        Code::ResourceExhausted => Blame::Busy,
        Code::Unimplemented => Blame::Incompatible,
        Code::Internal => Blame::Internal,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::AlreadyExists
        | Code::Unavailable => Blame::Unavailable,
    }
}

pub(super) fn with_code(mut status: Status, code: &'static str) -> Status {
    if let Ok(value) = MetadataValue::try_from(code) {
        status.metadata_mut().insert(CODE_HEADER, value);
    }
    status
}

fn log(error: &impl std::fmt::Display, blame: Blame, code: &'static str) {
    match blame {
        Blame::Internal => tracing::error!(error.code = code, error = %error, "a call failed"),
        Blame::Misbehaved | Blame::Denied => {
            tracing::warn!(error.code = code, "a call was refused");
        }
        Blame::Incompatible | Blame::NotFound | Blame::Stale | Blame::Busy | Blame::Unavailable => {
            tracing::debug!(error.code = code, "a call was refused")
        }
    }
}

/// The status that a peer sees: code and fixed sentence only.
pub fn to_peer<E: Blamed + std::fmt::Display>(error: &E) -> Status {
    let (code, sentence) = row(error.blame());
    log(error, error.blame(), error.code());
    with_code(Status::new(code, sentence), error.code())
}

/// The status that an officer of the own member sees: the whole sentence.
pub fn to_officer<E: Blamed + std::fmt::Display>(error: &E) -> Status {
    let (code, _) = row(error.blame());
    log(error, error.blame(), error.code());
    with_code(Status::new(code, error.to_string()), error.code())
}

/// The stable code of a status that came over the wire.
#[must_use]
pub fn code_of(status: &Status) -> String {
    status
        .metadata()
        .get(CODE_HEADER)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}
