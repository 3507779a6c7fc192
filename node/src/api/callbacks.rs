//! Callbacks to callers: where to tell what becomes of deliveries, per template or per API key. Secrets are sealed at once
//! and read with stars.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_channels::check_recipient;
use tidings_contract::{FieldError, RecipientKind, Secret, Settings};
use tidings_machine::control::{self, Action, Refusal, Sealed};
use tidings_machine::partition::{CALLBACK_TEMPLATE, CallbackSpec, Happening};
use utoipa::ToSchema;

use super::refused;
use crate::app::{App, Shared};
use crate::auth::Admin;
use crate::problem::{Code, Problem};
use crate::strict::Json;

/// What stands for a secret in an answer; given back, it means the secret that is stored.
const MASK: &str = "***";
/// Under which name the secret is sealed, and the provider knows it.
const SECRET: &str = "secret";

/// A callback as it is written.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallbackWritten {
    /// Where to: an `http` or `https` URL.
    url: String,
    /// What they are signed with: `whsec_` and 24 to 64 bytes in base64; `***` keeps the secret that is stored.
    #[schema(value_type = String)]
    secret: Secret,
    /// About what; everything by default: `delivered`, `failed`, `unknown`, `suppressed`, `cancelled`, `recalled`,
    /// `expired`, `received`, `bounced`, `read`, `clicked`.
    #[schema(value_type = Option<Vec<String>>)]
    events: Option<Vec<Happening>>,
    /// Whether hosts outside the public internet may be called; false by default.
    #[serde(default)]
    allow_private: bool,
}

impl std::fmt::Debug for CallbackWritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallbackWritten").field("events", &self.events).finish_non_exhaustive()
    }
}

/// A callback as it is read.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallbackShape {
    url: String,
    /// Always `***`.
    secret: &'static str,
    events: Vec<&'static str>,
    allow_private: bool,
}

impl From<&CallbackSpec> for CallbackShape {
    fn from(spec: &CallbackSpec) -> Self {
        let wanted = Happening::ALL.into_iter().filter(|one| spec.events & one.bit() != 0);
        Self {
            url: spec.url.clone(),
            secret: MASK,
            events: wanted.map(Happening::name).collect(),
            allow_private: spec.allow_private,
        }
    }
}

/// The callback to keep: what was typed, with the stored secret where stars were. `below` stands before the names of fields.
///
/// # Errors
/// `invalid_request` naming the fields.
pub(crate) fn read(
    app: &App,
    written: &CallbackWritten,
    stored: Option<&CallbackSpec>,
    below: &str,
) -> Result<CallbackSpec, Problem> {
    let field = |name: &str| format!("{below}{name}");
    let url = check_recipient(RecipientKind::Url, &written.url).map_err(|why| Problem::field(field("url"), why))?;
    let events = written.events.as_deref().unwrap_or(&Happening::ALL);
    if events.is_empty() {
        return Err(Problem::field(field("events"), "is empty; leave the callback out to be told nothing"));
    }
    let events = events.iter().fold(0, |bits, one| bits | one.bit());
    let sealed = sealed(app, written, &url, stored, below)?;
    Ok(CallbackSpec { url, sealed, events, allow_private: written.allow_private })
}

/// The sealed secret. The same secret keeps its sealed form, so that writing the same again changes nothing.
fn sealed(
    app: &App,
    written: &CallbackWritten,
    url: &str,
    stored: Option<&CallbackSpec>,
    below: &str,
) -> Result<Sealed, Problem> {
    let field = |name: &str| format!("{below}{name}");
    let known = stored.and_then(|stored| {
        let open = app.sealer.unseal(CALLBACK_TEMPLATE, &stored.sealed).ok()?;
        Some((open.get(SECRET)?.clone(), stored.sealed.clone()))
    });
    match known {
        // What is signed for one place may be shown at another, so the signer goes nowhere new.
        Some(_) if written.secret.expose() == MASK && stored.is_some_and(|stored| stored.url != url) => {
            let detail = format!("is needed again: {below}url changed, which decides where it is used");
            return Err(Problem::fields(Code::SecretsNeeded, vec![FieldError::new(field("secret"), detail)]));
        }
        Some((_, sealed)) if written.secret.expose() == MASK => return Ok(sealed),
        Some((secret, sealed)) if secret.expose() == written.secret.expose() => return Ok(sealed),
        None if written.secret.expose() == MASK => {
            return Err(Problem::field(field("secret"), "is *** but no secret is stored"));
        }
        _ => {}
    }
    let secrets = BTreeMap::from([(SECRET.to_owned(), written.secret.clone())]);
    let plain = BTreeMap::from([("allow_private".to_owned(), written.allow_private.into())]);
    let provider =
        app.registry.get("webhook").ok_or_else(|| Problem::new(Code::Internal, "there is no webhook provider"))?;
    // The provider that will sign says whether it can.
    let opened = provider.open(CALLBACK_TEMPLATE, &Settings { plain, secret: secrets.clone() });
    if let Err(errors) = opened {
        let named = |error: FieldError| FieldError::new(error.field.replace("settings.", below), error.detail);
        return Err(Problem::fields(Code::InvalidRequest, errors.into_iter().map(named).collect()));
    }
    app.sealer.seal(CALLBACK_TEMPLATE, &secrets).map_err(|error| Problem::new(Code::Internal, error.to_string()))
}

fn no_key(id: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no key {id:?} in use"))
}

/// Has the deliveries that a key submits told of. A template's own callback goes first.
#[utoipa::path(put, path = "/v1/keys/{id}/callback", tag = "people", params(("id" = String, Path)),
    request_body = CallbackWritten,
    responses((status = 200, body = CallbackShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn put_callback(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(id): Path<String>,
    Json(written): Json<CallbackWritten>,
) -> Result<Answer<CallbackShape>, Problem> {
    // Stars stand for what is stored, which another node may have changed a moment ago.
    app.fresh_control().await?;
    let stored = app.ledger.control(|c| c.callbacks.get(&id).cloned());
    let spec = read(&app, &written, stored.as_deref(), "")?;
    let shape = CallbackShape::from(&spec);
    change(&app, &caller.key_id, &id, Some(Box::new(spec))).await?;
    Ok(Answer(shape))
}

/// The callback of a key, its secret masked.
#[utoipa::path(get, path = "/v1/keys/{id}/callback", tag = "people", params(("id" = String, Path)),
    responses((status = 200, body = CallbackShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_callback(
    State(app): State<Shared>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Answer<CallbackShape>, Problem> {
    let stored = app.ledger.control(|c| c.callbacks.get(&id).cloned());
    let stored = stored.ok_or_else(|| Problem::new(Code::NotFound, format!("the key {id:?} has no callback")))?;
    Ok(Answer(CallbackShape::from(&*stored)))
}

/// Nobody is told any more of what becomes of the deliveries that a key submits.
#[utoipa::path(delete, path = "/v1/keys/{id}/callback", tag = "people", params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn delete_callback(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    change(&app, &caller.key_id, &id, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn change(app: &App, by: &str, key: &str, callback: Option<Box<CallbackSpec>>) -> Result<(), Problem> {
    let action = Action::PutCallback { key: key.to_owned(), callback };
    match app.ledger.change(by, action).await? {
        control::Answer::Refused(Refusal::NotFound) => Err(no_key(key)),
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => Ok(()),
    }
}
