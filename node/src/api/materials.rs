//! Materials: files that contents refer to by the hash of their bytes.

use std::sync::Arc;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_contract::Time;
use tidings_machine::control::{self, Action, Material, Refusal};
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use super::refused;
use crate::app::{App, Shared};
use crate::arriving::{Arrived, arrive};
use crate::auth::{Admin, Viewer};
use crate::problem::{Code, Problem};

/// So many times longer than another body may a material take to arrive.
const TIMES_SLOWER: u32 = 4;
/// Longest name, in characters.
const NAME_LIMIT: usize = 128;

/// What a material is to be called.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Named {
    /// The file's name. Without it a form says so.
    name: Option<String>,
}

/// A material in a form.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it is the form's description; the form is read field by field")]
pub(crate) struct MaterialForm {
    /// The bytes, with a file name and a media type of their own.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// What it is called, instead of the file's name.
    name: Option<String>,
    /// Its media type, instead of that of the part.
    media_type: Option<String>,
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

/// Keeps a file. Its bytes are the body and its media type the `Content-Type`, or both stand in a form (`file`, `name`,
/// `media_type`). The same bytes are the same material.
#[utoipa::path(post, path = "/v1/materials", tag = "content", params(Named),
    request_body(content((Vec<u8> = "application/octet-stream"), (MaterialForm = "multipart/form-data"))),
    responses((status = 201, body = MaterialShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn post_material(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Asked(named): Asked<Named>,
    request: Request,
) -> Result<(StatusCode, Answer<MaterialShape>), Problem> {
    let given = named.name.as_deref().map(name).transpose()?;
    let _room = app
        .shelf
        .coming_in
        .try_acquire()
        .map_err(|_| Problem::new(Code::Full, "as many materials as may are coming in at this node already"))?;
    let within = app.limits().body_within * TIMES_SLOWER;
    let Arrived { id, pieces, bytes, name: in_form, media_type } = arrive(&app, request, within).await?;
    let name = match given {
        Some(given) => given,
        None => name(&in_form.unwrap_or_default())?,
    };
    let (bytes, created_by) = (bytes as u64, String::new());
    let material = Material { name, media_type, bytes, chunks: 0, created_at: Time(0), created_by, kept_as: 0 };
    app.keep_material(&caller.key_id, &id, pieces, material).await?;
    known(&app, &id).await.map(|shape| (StatusCode::CREATED, Answer(shape)))
}

fn name(given: &str) -> Result<String, Problem> {
    let name = given.trim();
    let fits = |c: char| !c.is_control() && !"/\\".contains(c);
    if name.is_empty() || name.chars().count() > NAME_LIMIT || !name.chars().all(fits) {
        return Err(Problem::field("name", "must be 1 to 128 characters, none of them a slash or a control character"));
    }
    Ok(name.to_owned())
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
    let media_type = HeaderValue::from_str(&material.media_type);
    let mut response = Body::from(shared(material)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media_type.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    // A browser saves it: what somebody put here never runs as a page of ours.
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// The bytes of a material without copying them: however many read it, it is held once.
fn shared(material: Arc<tidings_contract::Material>) -> Bytes {
    struct Held(Arc<tidings_contract::Material>);

    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0.bytes
        }
    }

    Bytes::from_owner(Held(material))
}

/// Removes a material. Refused while a template in use names it.
#[utoipa::path(delete, path = "/v1/materials/{id}", tag = "content", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn delete_material(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let kept_as = app.known_material(&id).await?.ok_or_else(|| unknown(&id))?.kept_as;
    match app.ledger.change(&caller.key_id, Action::DeleteMaterial { id: id.clone() }).await? {
        control::Answer::Refused(Refusal::NotFound) => return Err(unknown(&id)),
        control::Answer::Refused(refusal) => return Err(refused(refusal)),
        _ => {}
    }
    app.shelf.forget(&id);
    app.drop_bytes(&id, kept_as).await;
    Ok(StatusCode::NO_CONTENT)
}
