//! API keys: made, listed, revoked. A key is shown once.

use axum::Json as Answer;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_contract::Time;
use tidings_machine::control::{self, Action, Role};
use utoipa::ToSchema;

use super::refused;
use crate::app::Shared;
use crate::auth::{Admin, origin};
use crate::bearer::mint;
use crate::founding::recover;
use crate::problem::Problem;
use crate::strict::Json;

/// Longest name of a key, in bytes.
const NAME_BYTES: usize = 100;

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Its name, for people.
    name: String,
    /// `viewer`, `sender`, `admin`.
    #[schema(value_type = String)]
    role: Role,
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
pub(crate) struct Made {
    id: String,
    name: String,
    #[schema(value_type = String)]
    role: Role,
    /// The key itself, shown this once.
    key: String,
}

/// A key as it is read.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyShape {
    id: String,
    name: String,
    #[schema(value_type = String)]
    role: Role,
    #[schema(value_type = String)]
    created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    revoked_at: Option<Time>,
}

/// The keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Keys {
    keys: Vec<KeyShape>,
}

/// Makes a key.
#[utoipa::path(post, path = "/v1/keys", tag = "people", request_body = Wanted,
    responses((status = 201, body = Made), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn post_key(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Json(wanted): Json<Wanted>,
) -> Result<(StatusCode, Answer<Made>), Problem> {
    let Wanted { name, role } = wanted;
    if name.trim().is_empty() || name.len() > NAME_BYTES {
        return Err(Problem::field("name", format!("must be 1 to {NAME_BYTES} bytes")));
    }
    let minted = mint();
    let action = Action::PutKey { id: minted.id.clone(), name: name.clone(), role, hash: minted.hash };
    match app.ledger.change(&caller.key_id, action).await? {
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => {
            let key = minted.key.expose().to_owned();
            Ok((StatusCode::CREATED, Answer(Made { id: minted.id, name, role, key })))
        }
    }
}

/// A new admin key where all of them were lost. The bearer is the cluster's secret; the audit log says so.
#[utoipa::path(post, path = "/v1/keys/recover", tag = "people",
    responses((status = 201, body = Made), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn recover_key(
    State(app): State<Shared>,
    request: Request,
) -> Result<(StatusCode, Answer<Made>), Problem> {
    app.knows_the_secret(request.headers(), origin(request.extensions()))?;
    let recovered = recover(&app).await?;
    let key = recovered.minted.key.expose().to_owned();
    Ok((StatusCode::CREATED, Answer(Made { id: recovered.minted.id, name: recovered.name, role: Role::Admin, key })))
}

/// The keys, the revoked ones included.
#[utoipa::path(get, path = "/v1/keys", tag = "people",
    responses((status = 200, body = Keys), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_keys(State(app): State<Shared>, _: Admin) -> Answer<Keys> {
    let keys = app.ledger.control(|c| {
        let shape = |(id, key): (&String, &control::ApiKey)| KeyShape {
            id: id.clone(),
            name: key.name.clone(),
            role: key.role,
            created_at: key.created_at,
            revoked_at: key.revoked_at,
        };
        c.keys.iter().map(shape).collect()
    });
    Answer(Keys { keys })
}

/// Revokes a key. Refused for the last admin key.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "people", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn delete_key(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    match app.ledger.change(&caller.key_id, Action::RevokeKey { id }).await? {
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
