//! Before a look at what control keeps is answered with "not there", this node makes sure that it was not behind.
//!
//! Everything that operators keep is read from this node's copy of control, which may lack what another node was told a moment
//! ago. A list that was given, or a 404, is believed once the leader of control confirms that the copy had everything; where it
//! had not, the question is asked once more. Whoever cannot be confirmed is told so, with a 503.
//!
//! Only looks are asked again: they change nothing and have no body. Whatever changes something is decided by control's log,
//! or asks [`App::known`](crate::app::App::known).

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use tidings_contract::planted;

use crate::app::Shared;

/// Lists that are not of control: the partitions vouch for their own parts, and some tell of this node only.
const OF_OTHERS: [&str; 11] = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/backup",
    "/v1/cluster",
    "/v1/dead-letters",
    "/v1/dead-letters/list",
    "/v1/deliveries",
    "/v1/sandbox",
    "/v1/stats",
    "/v1/suppressions",
];

/// Answers a look, once more if the copy of control was behind.
pub(crate) async fn sure(State(app): State<Shared>, request: Request, next: Next) -> Response {
    if *request.method() != Method::GET {
        return next.run(request).await;
    }
    let lists = request.extensions().get::<MatchedPath>().is_some_and(|path| is_list(path.as_str()));
    let again = copy(&request);
    let before = app.ledger.control_state();
    let response = next.clone().run(request).await;
    let status = response.status();
    let may_deny =
        status == StatusCode::NOT_FOUND || lists && (status.is_success() || status == StatusCode::NOT_MODIFIED);
    if !may_deny || planted("control_not_asked") {
        return response;
    }
    match app.fresh_control_soon().await {
        Err(problem) => problem.into_response(),
        Ok(()) if app.ledger.control_state() == before => response,
        Ok(()) => next.run(again).await,
    }
}

/// Whether the route gives many things of control, and not the one that its path names.
fn is_list(route: &str) -> bool {
    !route.ends_with('}') && !OF_OTHERS.contains(&route)
}

fn copy(request: &Request) -> Request {
    let mut copy = Request::new(Body::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}
