//! Taking a backup of the whole cluster from any node, as a stream.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use tidings_raft::BackupError;

use crate::app::Shared;
use crate::auth::{Admin, not_founded};
use crate::problem::{Code, Problem};

/// A backup of the whole cluster, as one file that `tidings restore` takes. Everything accepted before the request is in
/// it. It is whole only if the answer came to its end; the file says so itself, and `tidings backup` checks it.
#[utoipa::path(get, path = "/v1/backup", tag = "cluster",
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_backup(State(app): State<Shared>, Admin(caller): Admin) -> Result<Response, Problem> {
    // What was decided on another node a moment ago belongs to it.
    app.fresh_control().await?;
    let backup = app.ledger.backup().await.map_err(problem)?;
    tracing::info!(by = caller.key_id, cluster = backup.cluster, "a backup is taken");
    let name = format!("attachment; filename=\"{}.backup\"", backup.cluster);
    let name = HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("attachment"));
    let chunks = stream::unfold(backup, async |mut backup| {
        // An error breaks the answer off, so that nobody takes a part for the whole.
        backup.next().await.map(|chunk| (chunk, backup))
    });
    let mut response = Body::from_stream(chunks).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

fn problem(error: BackupError) -> Problem {
    match error {
        BackupError::NotFounded => not_founded(),
        BackupError::Busy => Problem::new(Code::Busy, error.to_string()),
        BackupError::Unreadable { .. } => Problem::new(Code::NoLeader, error.to_string()),
        BackupError::Stalled => Problem::new(Code::Timeout, error.to_string()),
    }
}
