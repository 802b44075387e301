//! What is refused before a service sees it: a service, method or version that
//! is not spoken here, bytes that are no message, a message that is too large or
//! packed. The gRPC library answers these itself, without a code: here they get
//! one, and the blame that is due. Every refusal of casegate's own has a code
//! already, and is left as it is.

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use tonic::service::Routes;
use tonic::{Code, Status};

use super::status::{CODE_HEADER, with_code};
use crate::spoken::{PROTOCOLS, VERSION};

/// The content type of gRPC, whatever follows.
const GRPC: &str = "application/grpc";

/// The answer to a call of something that is not spoken here.
fn unknown_version() -> Status {
    let sentence = format!(
        "this node speaks {} (casegate {VERSION}): what was called is no service or method of \
         that; upgrade whichever of the two nodes is older",
        PROTOCOLS.join(", ")
    );
    with_code(Status::unimplemented(sentence), "version.unknown")
}

/// Whether a request is one of gRPC, and not for a file.
pub fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(http::header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(GRPC.as_bytes()))
}

/// The answer to a gRPC request for which there is no service.
pub fn no_service() -> Response<Body> {
    unknown_version().into_http()
}

/// Puts the answers of `routes` into casegate's words.
pub fn worded(routes: Routes) -> Router {
    let router = routes.into_axum_router();
    router.layer(axum::middleware::map_response(in_words))
}

async fn in_words(mut answer: Response<Body>) -> Response<Body> {
    if answer.headers().contains_key(CODE_HEADER) {
        return answer;
    }
    let given = Status::from_header_map(answer.headers());
    if let Some(status) = given.and_then(|given| worded_status(&given))
        && let Err(error) = status.add_header(answer.headers_mut())
    {
        tracing::error!(%error, "a refusal could not be put into words");
    }
    answer
}

/// What a refusal of the library's is called here; none for an answer that is
/// no refusal, or one of the health or reflection service.
fn worded_status(given: &Status) -> Option<Status> {
    let malformed = |sentence, code| Some(with_code(Status::invalid_argument(sentence), code));
    match given.code() {
        // A method that a service does not have comes without words.
        Code::Unimplemented if given.message().is_empty() => Some(unknown_version()),
        Code::Unimplemented => Some(with_code(
            Status::unimplemented("messages are not compressed here"),
            "rpc.compressed",
        )),
        Code::Internal => malformed("what was sent is no message of this call", "rpc.malformed"),
        Code::OutOfRange => malformed("the message is too large", "rpc.too_large"),
        _ => None,
    }
}
