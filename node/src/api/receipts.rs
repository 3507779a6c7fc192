//! Receipts: what suppliers call back with. No API key is asked for; the account's provider verifies the call.

use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tidings_actors::CallbackError;

use crate::app::{App, Shared};
use crate::bodies::Share;
use crate::inflow::arrive;
use crate::problem::{Code, Problem};

/// Largest callback, in bytes. Suppliers send a few hundred receipts at once.
const BODY_BYTES: usize = 1 << 20;
/// Most of a name that is repeated to whoever asked, in characters.
const SHOWN: usize = 100;

/// Takes a callback of the supplier of an account. Anybody may call; what is not the supplier's is refused.
#[utoipa::path(post, path = "/v1/receipts/{account}", tag = "process", params(("account" = String, Path)),
    security(()),
    responses((status = 200, description = "What the supplier wants to hear."),
        (status = "default", body = crate::problem::Body)))]
pub(crate) async fn post_receipts(
    State(app): State<Shared>,
    Path(account): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    // Nothing is read for an account that nobody calls back for.
    hears(&app, &account).await?;
    let headers = headers_of(&request);
    let limit = BODY_BYTES.min(app.limits().max_body_bytes);
    let body = arrive(&app, request, limit, Share::Strangers).await?;
    match app.motion.called_back(&account, &headers, &body).await {
        Ok((media_type, reply)) => Ok(([(header::CONTENT_TYPE, media_type)], reply).into_response()),
        Err(error) => Err(problem(&account, error)),
    }
}

/// Whether the account's supplier may call back. The account may have been written on another node a moment ago, and many a
/// supplier does not call again after a 404.
async fn hears(app: &App, account: &str) -> Result<(), Problem> {
    if let Err(CallbackError::NotHere) = app.motion.hears_callbacks(account) {
        app.known(|control| control.accounts.get(account).map(drop)).await?;
    }
    app.motion.hears_callbacks(account).map_err(|error| problem(account, error))
}

fn problem(account: &str, error: CallbackError) -> Problem {
    match error {
        CallbackError::NotHere => {
            let account: String = account.chars().take(SHOWN).collect();
            Problem::new(Code::NotFound, format!("no supplier calls back for {account:?}"))
        }
        // Only the code: a stranger should learn nothing from the words.
        CallbackError::Refused(reason) => Problem::new(Code::CallbackRefused, reason.code),
        CallbackError::Ledger(error) => Problem::new(Code::NoLeader, error.to_string()),
        error => Problem::new(Code::Internal, error.to_string()),
    }
}

/// The headers, in the order they came, after the method and the path with its query: some suppliers sign those.
fn headers_of(request: &Request) -> Vec<(String, String)> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let first =
        [(":method".to_owned(), request.method().to_string()), (":path".to_owned(), path.to_owned())].into_iter();
    let others = request.headers().iter().filter_map(|(name, value)| {
        // A header that is no text is nothing a supplier would sign.
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    first.chain(others).collect()
}
