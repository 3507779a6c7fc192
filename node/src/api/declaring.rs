//! Declaring providers: a supplier that a document describes, written in versions and taken away again.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use tidings_channels::{Described, goes_elsewhere};
use tidings_contract::FieldError;
use tidings_machine::control::{self, Action, Control, DeclaredProviders, ProviderSpec, Refusal};
use utoipa::ToSchema;

use super::asked::Slashed;
use super::providers::{ProviderShape, one, unknown_provider};
use super::refused;
use super::templates::check_name;
use crate::app::{App, Shared};
use crate::auth::Admin;
use crate::problem::{Code, Problem};
use crate::strict::Json;

/// Longest description, in bytes.
const DESCRIPTION_BYTES: usize = 1_000;
/// Most accounts that an answer names.
const NAMED: usize = 20;

/// A declared provider as it is written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// The channel it serves; if left out that of its name, or `*` for all.
    channel: Option<String>,
    /// The document: requests, signature, access token, meaning of answers.
    #[schema(value_type = Object)]
    definition: Map<String, Value>,
    /// What it is, for people.
    #[serde(default)]
    description: String,
}

/// The channel that a name stands for, after a check of the name: `declared/…`, or a channel and a name in it.
fn channel_of<'a>(app: &App, name: &'a str) -> Result<Option<&'a str>, Problem> {
    let wrong = |detail: &str| Problem::field("name", detail);
    let form = "must be declared/NAME or CHANNEL/NAME, with a channel that there is";
    let (before, own) = name.split_once('/').ok_or_else(|| wrong(form))?;
    check_name(own)?;
    let channel = (name.strip_prefix(DeclaredProviders::PREFIX).is_none()).then_some(before);
    if channel.is_some_and(|channel| app.registry.channel(channel).is_none()) {
        return Err(wrong(form));
    }
    let taken = app.registry.get(name).is_some();
    if taken && app.ledger.control(|c| c.declared.current(name).is_none()) {
        return Err(wrong("is the name of a provider that is built in"));
    }
    Ok(channel)
}

/// What accounts of the provider `name` would lack, if it were that one.
fn lacking(control: &Control, name: &str, described: &Described) -> Vec<FieldError> {
    let required: Vec<_> = described.settings().into_iter().filter(|setting| setting.required).collect();
    let users = control.accounts.iter().filter(|(_, account)| account.provider == name);
    let lacks = users.flat_map(|(user, account)| {
        let plain: Map<String, Value> = serde_json::from_str(&account.settings).unwrap_or_default();
        let has = |name: &str| plain.contains_key(name) || account.secret_names.iter().any(|secret| secret == name);
        let lacks: Vec<_> = required.iter().map(|setting| setting.name).filter(|name| !has(name)).collect();
        lacks.into_iter().map(move |setting| {
            FieldError::new(
                "definition",
                format!("asks for {setting}, which the account {user} has not; add it there first"),
            )
        })
    });
    lacks.take(NAMED).collect()
}

/// Stored secrets go nowhere new: a document that sends to another host is refused while accounts keep secrets for the one
/// before it.
fn stay_home(control: &Control, name: &str, definition: &Value) -> Result<(), Problem> {
    let Some(current) = control.declared.current(name) else { return Ok(()) };
    let before: Value = serde_json::from_str(&current.spec.definition).unwrap_or_default();
    if !goes_elsewhere(&before, definition) {
        return Ok(());
    }
    let keep =
        control.accounts.iter().filter(|(_, account)| account.provider == name && !account.secret_names.is_empty());
    let wrong = |(user, _): (&String, _)| {
        let how = "declare it under another name and write the account anew with its secrets";
        FieldError::new("definition", format!("sends the secrets of the account {user} to a new place; {how}"))
    };
    let wrong: Vec<_> = keep.map(wrong).take(NAMED).collect();
    if wrong.is_empty() { Ok(()) } else { Err(Problem::fields(Code::SecretsNeeded, wrong)) }
}

/// Declares a provider, or writes a new version of it: its accounts are opened with it at once, on every node.
#[utoipa::path(put, path = "/v1/providers/{name}", tag = "content", params(("name" = String, Path)),
    request_body = Written,
    responses((status = 200, body = ProviderShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn put_provider(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Slashed(name): Slashed,
    Json(written): Json<Written>,
) -> Result<Answer<ProviderShape>, Problem> {
    // Its accounts are looked at, which another node may have changed a moment ago.
    app.fresh_control().await?;
    let implied = channel_of(&app, &name)?;
    let channel = written.channel.unwrap_or_else(|| implied.unwrap_or("*").to_owned());
    let mut errors = Vec::new();
    match implied {
        Some(implied) if implied != channel => {
            errors.push(FieldError::new("channel", format!("must be {implied}, as the name says")));
        }
        None if channel != "*" && app.registry.channel(&channel).is_none() => {
            errors.push(FieldError::new("channel", "is unknown; * stands for all"));
        }
        _ => {}
    }
    if written.description.len() > DESCRIPTION_BYTES {
        errors.push(FieldError::new("description", "is longer than 1,000 bytes"));
    }
    let definition = Value::Object(written.definition);
    let text = definition.to_string();
    app.ledger.control(|c| stay_home(c, &name, &definition))?;
    match Described::read(definition) {
        Ok(described) => errors.extend(app.ledger.control(|c| lacking(c, &name, &described))),
        Err(error) => errors.push(error),
    }
    if !errors.is_empty() {
        return Err(Problem::fields(Code::InvalidRequest, errors));
    }
    let spec = Box::new(ProviderSpec { channel, definition: text, description: written.description });
    match app.ledger.change(&caller.key_id, Action::PutProvider { name: name.clone(), spec }).await? {
        control::Answer::Version(version) => one(&app, &name, Some(version)).map(Answer),
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => Err(Problem::new(Code::Internal, "control gave no version")),
    }
}

/// Removes a declared provider. Refused while an account names it.
#[utoipa::path(delete, path = "/v1/providers/{name}", tag = "content", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn delete_provider(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Slashed(name): Slashed,
) -> Result<StatusCode, Problem> {
    match app.ledger.change(&caller.key_id, Action::DeleteProvider { name: name.clone() }).await? {
        control::Answer::Refused(Refusal::NotFound) if app.registry.get(&name).is_some() => {
            Err(Problem::new(Code::Conflict, format!("the provider {name} is built in")))
        }
        control::Answer::Refused(Refusal::NotFound) => Err(unknown_provider(&name)),
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
