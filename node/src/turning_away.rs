//! A node that stops turns callers away: new requests are answered at once, and connections end with their answers.

use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::Shared;
use crate::problem::{Code, Problem};

/// Paths that are answered to the end: whoever watches over the node should see how it goes.
pub(crate) const WATCHED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Answers `stopping` once the node stops. A request that came before goes on; its connection ends with its answer too.
pub(crate) async fn turn_away(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let version = request.version();
    let away = app.stopping.load(Ordering::SeqCst) && !WATCHED.contains(&request.uri().path());
    let mut response = match away {
        true => Problem::new(Code::Stopping, "the node is stopping").into_response(),
        false => next.run(request).await,
    };
    // HTTP/2 knows no such header; its connections are told to end when the listener closes.
    if version <= Version::HTTP_11 && app.stopping.load(Ordering::SeqCst) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
