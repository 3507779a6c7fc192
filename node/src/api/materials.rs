//! Materials: files that contents refer to by the hash of their bytes.

use std::time::Duration;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use tidings_contract::Time;
use tidings_machine::control::{self, Action, Material, Refusal};
use tidings_machine::partition::Command;
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use super::refused;
use crate::app::{App, Shared};
use crate::auth::{Admin, Viewer};
use crate::materials::id_of;
use crate::problem::{Code, Problem};

/// Longest time a material may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(120);
/// Longest name, in characters.
const NAME_LIMIT: usize = 128;

/// What a material is to be called.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Named {
    /// The file's name.
    name: String,
}

/// A material.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MaterialShape {
    /// The SHA-256 of its bytes in hex.
    id: String,
    name: String,
    media_type: String,
    bytes: u64,
    #[schema(value_type = String)]
    created_at: Time,
    created_by: String,
}

/// The materials.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Materials {
    materials: Vec<MaterialShape>,
}

fn shape(id: &str, material: &Material) -> MaterialShape {
    MaterialShape {
        id: id.to_owned(),
        name: material.name.clone(),
        media_type: material.media_type.clone(),
        bytes: material.bytes,
        created_at: material.created_at,
        created_by: material.created_by.clone(),
    }
}

fn unknown(id: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no material {id:?}"))
}

/// Keeps a file: its bytes are the body, its media type the `Content-Type`. The same bytes are the same material.
#[utoipa::path(post, path = "/v1/materials", tag = "content", params(Named),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = MaterialShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn post_material(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Asked(named): Asked<Named>,
    request: Request,
) -> Result<(StatusCode, Answer<MaterialShape>), Problem> {
    let name = named.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > NAME_LIMIT || name.chars().any(|c| c.is_control() || "/\\".contains(c))
    {
        return Err(Problem::field("name", "must be 1 to 128 characters, none of them a slash or a control character"));
    }
    let media_type = media_type(request.headers())?;
    let _room = app
        .shelf
        .coming_in
        .try_acquire()
        .map_err(|_| Problem::new(Code::Full, "as many materials as may are coming in at this node already"))?;
    let bytes = read(&app, request).await?;
    if bytes.is_empty() {
        return Err(Problem::field("body", "is empty; send the bytes of the file"));
    }
    let id = id_of(&bytes);
    let chunks = app.keep_bytes(&id, &bytes).await?;
    let length = bytes.len() as u64;
    let material = Material { name, media_type, bytes: length, chunks, created_at: Time(0), created_by: String::new() };
    let action = Action::PutMaterial { id: id.clone(), material: Box::new(material) };
    match app.ledger.change(&caller.key_id, action).await? {
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => known(&app, &id).await.map(|shape| (StatusCode::CREATED, Answer(shape))),
    }
}

/// The media type, in lower case and without parameters.
fn media_type(headers: &HeaderMap) -> Result<String, Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let plain = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    let fits = plain.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub) && kind != "multipart");
    if fits && plain.len() <= 128 {
        return Ok(plain);
    }
    let detail = format!("Content-Type must be the file's media type, like image/png; it is {given:?}");
    Err(Problem::new(Code::UnsupportedMediaType, detail))
}

async fn read(app: &App, request: Request) -> Result<Bytes, Problem> {
    let limit = app.limits().max_material_bytes;
    let body = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(ARRIVAL, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(Problem::new(Code::BodyTooLarge, format!("the material is larger than {limit} bytes")))
        }
        Ok(Err(error)) => Err(Problem::field("body", format!("broke off: {error}"))),
        Err(_) => Err(Problem::new(Code::SlowBody, format!("the body took longer than {} s", ARRIVAL.as_secs()))),
    }
}

async fn known(app: &App, id: &str) -> Result<MaterialShape, Problem> {
    let found = app.known_material(id).await?;
    found.map(|material| shape(id, &material)).ok_or_else(|| unknown(id))
}

/// The materials.
#[utoipa::path(get, path = "/v1/materials", tag = "content",
    responses((status = 200, body = Materials), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_materials(State(app): State<Shared>, _: Viewer) -> Answer<Materials> {
    let materials = app.ledger.control(|c| c.materials.iter().map(|(id, material)| shape(id, material)).collect());
    Answer(Materials { materials })
}

/// One material, without its bytes.
#[utoipa::path(get, path = "/v1/materials/{id}", tag = "content", params(("id" = String, Path)),
    responses((status = 200, body = MaterialShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_material(
    State(app): State<Shared>,
    _: Viewer,
    Path(id): Path<String>,
) -> Result<Answer<MaterialShape>, Problem> {
    known(&app, &id).await.map(Answer)
}

/// The bytes of a material.
#[utoipa::path(get, path = "/v1/materials/{id}/content", tag = "content", params(("id" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_material_content(
    State(app): State<Shared>,
    _: Viewer,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let material = app.material(&id).await?.ok_or_else(|| unknown(&id))?;
    let mut response = Body::from(material.bytes.to_vec()).into_response();
    let headers = response.headers_mut();
    let media_type = HeaderValue::from_str(&material.media_type);
    headers.insert(header::CONTENT_TYPE, media_type.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    // A browser saves it: what somebody put here never runs as a page of ours.
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// Removes a material. Refused while a template in use names it.
#[utoipa::path(delete, path = "/v1/materials/{id}", tag = "content", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn delete_material(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    match app.ledger.change(&caller.key_id, Action::DeleteMaterial { id: id.clone() }).await? {
        control::Answer::Refused(Refusal::NotFound) => return Err(unknown(&id)),
        control::Answer::Refused(refusal) => return Err(refused(refusal)),
        _ => {}
    }
    app.shelf.forget(&id);
    // Nobody finds the bytes any more; if their home cannot be asked now, they only take room.
    let drop_bytes = vec![Command::DropMaterial { material: id.clone() }];
    if let Err(why) = app.ledger.propose(app.material_home(&id), drop_bytes).await {
        tracing::warn!(id, ?why, "the bytes of a removed material stay for now");
    }
    Ok(StatusCode::NO_CONTENT)
}
