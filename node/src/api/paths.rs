//! Routes: weighted and ordered accounts of a channel; written in versions, read, taken out of use.

use std::collections::BTreeSet;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_contract::{FieldError, MessageType, RecipientKind, Time};
use tidings_machine::control::{self, Action, Refusal, RouteAccount, RouteSpec, RouteVersion, Routes};
use tidings_machine::partition::{CodeRule, Wishes};
use utoipa::{IntoParams, ToSchema};

use super::accounts::serves;
use super::asked::Asked;
use super::refused;
use super::templates::check_name;
use crate::app::{App, Shared};
use crate::auth::{Admin, Viewer};
use crate::delivering::check_wishes;
use crate::problem::{Code, Problem};
use crate::strict::Json;

/// Largest weight of an account.
const MOST_WEIGHT: u32 = 1_000_000;
/// Longest code of a rule, in bytes, and most stars in it: each may be looked at for each place.
const CODE_BYTES: usize = 100;
const CODE_STARS: usize = 4;
/// Longest description, in bytes.
const DESCRIPTION_BYTES: usize = 1_000;

/// A route as it is written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// The channel.
    channel: String,
    /// What its messages are for; all by default.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    message_types: Vec<MessageType>,
    /// The accounts: `account`, `weight` (1), `tier` (0: used first).
    #[schema(value_type = Vec<Object>)]
    accounts: Vec<RouteAccount>,
    /// What to do about error codes: `code` (`*` stands for anything), `action` (`retry`, `switch`, `switch_channel`,
    /// `stop`, `alert`).
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    rules: Vec<CodeRule>,
    /// How its messages are delivered: `retry`, `breaker`, `timeout_ms`, `attempts_per_account`, `expires_after_ms`,
    /// `suppress_bounces`.
    #[serde(default)]
    #[schema(value_type = Object)]
    delivery: Wishes,
    /// Another route of the channel, whose accounts are used when none of these can be.
    fallback: Option<String>,
    /// What it is for, for people.
    #[serde(default)]
    description: String,
}

/// A version of a route.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteShape {
    name: String,
    version: u32,
    channel: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    message_types: Vec<MessageType>,
    #[schema(value_type = Vec<Object>)]
    accounts: Vec<RouteAccount>,
    #[schema(value_type = Vec<Object>)]
    rules: Vec<CodeRule>,
    #[schema(value_type = Object)]
    delivery: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<String>,
    description: String,
    #[schema(value_type = String)]
    created_at: Time,
    created_by: String,
}

/// Routes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Listed {
    routes: Vec<RouteShape>,
}

/// Which version of a route.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// The newest by default.
    version: Option<u32>,
}

fn shape(name: &str, version: &RouteVersion) -> RouteShape {
    let RouteVersion { version, spec, created_at, created_by } = version;
    RouteShape {
        name: name.to_owned(),
        version: *version,
        channel: spec.channel.clone(),
        message_types: spec.message_types.clone(),
        accounts: spec.accounts.clone(),
        rules: spec.rules.clone(),
        delivery: said(&spec.wishes),
        fallback: spec.fallback.clone(),
        description: spec.description.clone(),
        created_at: *created_at,
        created_by: created_by.clone(),
    }
}

/// What a layer says, without what it leaves out.
pub(super) fn said(wishes: &Wishes) -> serde_json::Value {
    let mut value = serde_json::to_value(wishes).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        for field in fields.values_mut() {
            if let Some(inner) = field.as_object_mut() {
                inner.retain(|_, value| !value.is_null());
            }
        }
        fields.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|inner| !inner.is_empty()));
    }
    value
}

fn unknown(name: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no route {name:?}"))
}

/// Checks everything about a route but what it falls back to.
fn check(app: &App, written: &Written) -> Result<(), Problem> {
    let Some(channel) = app.registry.channel(&written.channel) else {
        let known: Vec<_> = app.registry.channels().iter().map(|channel| channel.name).collect();
        return Err(Problem::field("channel", format!("is unknown; there are: {}", known.join(", "))));
    };
    let mut errors = check_wishes(&written.delivery, "delivery.");
    let mut wrong = |field: String, detail: String| errors.push(FieldError::new(field, detail));
    if channel.recipient == RecipientKind::Account {
        wrong("channel".to_owned(), "has no routes: the recipient is the account".to_owned());
    }
    if !(1..=Routes::MOST_ACCOUNTS).contains(&written.accounts.len()) {
        wrong("accounts".to_owned(), format!("must hold 1 to {} accounts", Routes::MOST_ACCOUNTS));
    } else if written.accounts.iter().all(|one| one.weight == 0) {
        wrong("accounts".to_owned(), "have no weight: nothing could be sent".to_owned());
    }
    let mut seen = BTreeSet::new();
    for (n, one) in written.accounts.iter().enumerate() {
        if !serves(app, &one.account, &written.channel) {
            let detail = format!("there is no account {:?} that serves {}", one.account, written.channel);
            wrong(format!("accounts[{n}].account"), detail);
        }
        if !seen.insert(one.account.as_str()) {
            wrong(format!("accounts[{n}].account"), "stands in the list before".to_owned());
        }
        if one.weight > MOST_WEIGHT {
            wrong(format!("accounts[{n}].weight"), format!("must be at most {MOST_WEIGHT}"));
        }
    }
    if written.rules.len() > Routes::MOST_RULES {
        wrong("rules".to_owned(), format!("must hold at most {} rules", Routes::MOST_RULES));
    }
    for (n, rule) in written.rules.iter().enumerate() {
        if !(1..=CODE_BYTES).contains(&rule.code.len()) || rule.code.matches('*').count() > CODE_STARS {
            wrong(
                format!("rules[{n}].code"),
                format!("must be 1 to {CODE_BYTES} bytes with at most {CODE_STARS} stars"),
            );
        }
    }
    if written.description.len() > DESCRIPTION_BYTES {
        wrong("description".to_owned(), "is longer than 1,000 bytes".to_owned());
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::fields(Code::InvalidRequest, errors)) }
}

/// Writes a new version of a route. The same content as the newest version changes nothing.
#[utoipa::path(put, path = "/v1/routes/{name}", tag = "content", params(("name" = String, Path)), request_body = Written,
    responses((status = 200, body = RouteShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn put_route(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(name): Path<String>,
    Json(written): Json<Written>,
) -> Result<Answer<RouteShape>, Problem> {
    check_name(&name)?;
    // Accounts may have been written on another node a moment ago.
    app.fresh_control().await?;
    check(&app, &written)?;
    let Written { channel, message_types, accounts, rules, delivery: wishes, fallback, description } = written;
    let spec = RouteSpec { channel, message_types, accounts, rules, wishes, fallback, description };
    match app.ledger.change(&caller.key_id, Action::PutRoute { name: name.clone(), spec: Box::new(spec) }).await? {
        control::Answer::Version(version) => one(&app, &name, Some(version)).map(Answer),
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => Err(Problem::new(Code::Internal, "control gave no version")),
    }
}

fn one(app: &App, name: &str, version: Option<u32>) -> Result<RouteShape, Problem> {
    let found = app.ledger.control(|c| match version {
        Some(version) => c.routes.named.get(name)?.versions.get(&version).map(|one| shape(name, one)),
        None => c.routes.current(name).map(|one| shape(name, one)),
    });
    found.ok_or_else(|| unknown(name))
}

/// The routes in use, each in its newest version.
#[utoipa::path(get, path = "/v1/routes", tag = "content",
    responses((status = 200, body = Listed), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_routes(State(app): State<Shared>, _: Viewer) -> Answer<Listed> {
    Answer(Listed { routes: app.ledger.control(|c| c.routes.in_use().map(|(name, one)| shape(name, one)).collect()) })
}

/// One route.
#[utoipa::path(get, path = "/v1/routes/{name}", tag = "content", params(("name" = String, Path), Which),
    responses((status = 200, body = RouteShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_route(
    State(app): State<Shared>,
    _: Viewer,
    Path(name): Path<String>,
    Asked(which): Asked<Which>,
) -> Result<Answer<RouteShape>, Problem> {
    one(&app, &name, which.version).map(Answer)
}

/// Takes a route out of use. Refused while a template in use or another route names it.
#[utoipa::path(delete, path = "/v1/routes/{name}", tag = "content", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn delete_route(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    match app.ledger.change(&caller.key_id, Action::DeleteRoute { name: name.clone() }).await? {
        control::Answer::Refused(Refusal::NotFound) => Err(unknown(&name)),
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
