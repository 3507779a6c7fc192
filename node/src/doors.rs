//! What stands before every handler: a removed node answers nothing, figures and documents may need a key, and every answer
//! says what a browser and a cache may do with it.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tidings_machine::control::Role;

use crate::app::{App, Shared};
use crate::problem::{Code, Problem};

/// What the pages of the documents need: their own scripts, and the styles and images that they hold themselves.
const PAGES: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                     font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Anything else is data. A browser that shows it all the same, such as a material that is a page, runs nothing of it.
const DATA: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

/// Lets a request through to its handler, or answers it.
pub(crate) async fn guard(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let (kept, pages) = (path.starts_with("/v1/"), is_document(path));
    let mut response = match admit(&app, request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    say(response.headers_mut(), kept, pages);
    response
}

async fn admit(app: &App, request: Request) -> Result<Request, Problem> {
    let path = request.uri().path();
    if path.starts_with("/v1/")
        && let Some(why) = app.ledger.dismissed()
    {
        // What it holds is of the past. 503 and not 410: the same request succeeds at another node.
        return Err(Problem::new(Code::NodeRemoved, format!("{why}: what it holds counts no more")));
    }
    let limits = app.limits();
    if (path == "/metrics" && !limits.open_metrics) || (is_document(path) && !limits.open_docs) {
        let (parts, body) = request.into_parts();
        app.caller(&parts, Role::Viewer).await?;
        return Ok(Request::from_parts(parts, body));
    }
    Ok(request)
}

fn is_document(path: &str) -> bool {
    path == "/openapi.json" || path == "/docs" || path.starts_with("/docs/")
}

/// X-Content-Type-Options: WHATWG Fetch, "nosniff"; Content-Security-Policy: W3C CSP3; no-store: RFC 9111 §5.2.2.5.
fn say(headers: &mut HeaderMap, kept: bool, pages: bool) {
    let mut unless_said = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    unless_said(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    unless_said(header::REFERRER_POLICY, "no-referrer");
    unless_said(header::X_FRAME_OPTIONS, "DENY");
    unless_said(header::CONTENT_SECURITY_POLICY, if pages { PAGES } else { DATA });
    if kept {
        // Recipients, contents, and once in its life a key.
        unless_said(header::CACHE_CONTROL, "no-store");
    }
}
