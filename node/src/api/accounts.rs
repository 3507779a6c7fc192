//! Accounts: written with their secrets in clear, sealed at once, and read with stars.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_actors::Accounts as _;
use tidings_channels::moved;
use tidings_contract::{AccountLimit, FieldError, LimitUnit, Settings, Time};
use tidings_machine::control::{self, Account, Action, Control, Refusal, Standing};
use tidings_machine::partition::Wishes;
use utoipa::ToSchema;

use super::paths::said;
use super::refused;
use super::templates::check_name;
use crate::app::{App, Shared};
use crate::auth::{Admin, Viewer};
use crate::delivering::check_wishes;
use crate::problem::{Code, Problem};
use crate::providers::{self, Named, named, names};
use crate::strict::Json;

/// What stands for a secret in an answer; given back, it means the secret that is stored.
const MASK: &str = "***";

/// An account as it is written.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// The provider.
    provider: String,
    /// Its settings, secrets in clear; `***` keeps the secret that is stored.
    #[serde(default)]
    #[schema(value_type = Object)]
    settings: BTreeMap<String, Value>,
    /// How many sends it allows in any window, over the whole cluster: one window, or a list of windows that hold at once.
    #[schema(value_type = Option<Object>)]
    limit: Option<Value>,
    /// What takes a permit of the limit: each `recipient` (if left out) or each `request`, that is one provider call.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    limit_unit: LimitUnit,
    /// How it is called, where that differs from what holds for all: `timeout_ms`, `breaker`, `retry` …
    #[serde(default)]
    #[schema(value_type = Object)]
    delivery: Wishes,
}

/// The windows of a limit as they are read: one as it always was, several as a list.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Windows {
    /// One.
    One(AccountLimit),
    /// Several that hold at once.
    Many(Vec<AccountLimit>),
}

impl Windows {
    fn shape(windows: Vec<AccountLimit>) -> Option<Self> {
        match windows.as_slice() {
            [] => None,
            [window] => Some(Self::One(*window)),
            _ => Some(Self::Many(windows)),
        }
    }
}

/// An account as it is read.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountShape {
    name: String,
    provider: String,
    /// Its settings; secrets are `***`.
    #[schema(value_type = Object)]
    settings: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    limit: Option<Windows>,
    #[serde(skip_serializing_if = "by_recipient")]
    #[schema(value_type = String)]
    limit_unit: LimitUnit,
    /// Grows with every change.
    revision: u64,
    #[schema(value_type = String)]
    updated_at: Time,
    /// How it is called, where that differs from what holds for all.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Option<Object>)]
    delivery: Value,
    /// How it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<HealthShape>,
}

/// How the breaker of an account stands, in the whole cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthShape {
    /// `closed`, `open`, `half_open`.
    breaker: &'static str,
    /// Until when nothing is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    until: Option<Time>,
    /// When it opened or closed last.
    #[schema(value_type = String)]
    since: Time,
    /// How often it opened without having been closed for long.
    trips: u32,
    /// Why it opened last.
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
}

/// The accounts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accounts {
    accounts: Vec<AccountShape>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
fn by_recipient(unit: &LimitUnit) -> bool {
    *unit == LimitUnit::Recipient
}

fn health(control: &Control, name: &str, now: Time) -> Option<HealthShape> {
    let breaker = control.breakers.accounts.get(name)?;
    let (standing, until) = match breaker.standing(now) {
        Standing::Closed => ("closed", None),
        Standing::Open(until) => ("open", Some(until)),
        Standing::HalfOpen(_) => ("half_open", None),
    };
    let (since, trips, why) = (breaker.since, breaker.trips, breaker.why.clone());
    Some(HealthShape { breaker: standing, until, since, trips, why })
}

fn shape(control: &Control, name: &str, account: &Account, now: Time) -> AccountShape {
    let mut settings: BTreeMap<String, Value> = serde_json::from_str(&account.settings).unwrap_or_default();
    settings.extend(account.secret_names.iter().map(|secret| (secret.clone(), MASK.into())));
    AccountShape {
        name: name.to_owned(),
        provider: account.provider.clone(),
        settings,
        limit: Windows::shape(account.windows()),
        limit_unit: account.limit_unit,
        revision: account.revision,
        updated_at: account.updated_at,
        delivery: if account.wishes == Wishes::default() { Value::Null } else { said(&account.wishes) },
        health: health(control, name, now),
    }
}

/// Whether there is an account of that name whose provider serves `channel`.
pub(crate) fn serves(app: &App, account: &str, channel: &str) -> bool {
    app.ledger.control(|c| {
        let found = c.accounts.get(account);
        found.is_some_and(|account| providers::serves(c, &app.registry, &account.provider, channel))
    })
}

fn unknown_account(name: &str) -> Problem {
    Problem::new(Code::UnknownAccount, format!("there is no account {name:?}"))
}

/// The settings to keep: what was typed, with stored secrets where stars were.
fn settings(app: &App, name: &str, written: Written) -> Result<Settings, Problem> {
    let wrong = |errors: Vec<FieldError>| Problem::fields(Code::InvalidRequest, errors);
    let Some(found) = named(&app.ledger, &app.registry, &written.provider) else {
        let known = app.ledger.control(|c| names(c, &app.registry));
        return Err(Problem::field("provider", format!("is unknown; there are: {}", known.join(", "))));
    };
    let Named { provider, settings: declared } = found.map_err(|error| wrong(vec![error]))?;
    let mut settings = Settings::sort(&declared, written.settings).map_err(wrong)?;
    if settings.secret.values().any(|secret| secret.expose() == MASK) {
        let stored = app.ledger.control(|c| c.accounts.get(name).cloned());
        let sealed = app.accounts();
        let stored = stored.filter(|account| account.provider == written.provider);
        let stored = stored.and_then(|account| sealed.settings(name, &account).ok());
        stay_home(stored.as_ref(), &settings)?;
        for (secret, value) in settings.secret.iter_mut().filter(|(_, value)| value.expose() == MASK) {
            let kept = stored.as_ref().and_then(|stored| stored.secret(secret)).cloned();
            *value =
                kept.ok_or_else(|| Problem::field(format!("settings.{secret}"), "is *** but no secret is stored"))?;
        }
    }
    provider.open(name, &settings).map_err(wrong)?;
    Ok(settings)
}

/// Stored secrets go nowhere new: where a setting changed that decides where they go, they are given again.
fn stay_home(stored: Option<&Settings>, given: &Settings) -> Result<(), Problem> {
    let Some(stored) = stored else { return Ok(()) };
    let moved = moved(&stored.plain, &given.plain);
    if moved.is_empty() {
        return Ok(());
    }
    let moved: Vec<_> = moved.iter().map(|name| format!("settings.{name}")).collect();
    let kept = given.secret.iter().filter(|(name, value)| value.expose() == MASK && stored.secret(name).is_some());
    let wrong: Vec<_> = kept
        .map(|(name, _)| {
            let detail = format!("is needed again: {} changed, which decides where it goes", moved.join(", "));
            FieldError::new(format!("settings.{name}"), detail)
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(Problem::fields(Code::SecretsNeeded, wrong)) }
}

/// The windows that were typed: one object, or a list of them.
fn windows(limit: Option<Value>) -> Result<Vec<AccountLimit>, Problem> {
    let field = |at: Option<usize>| at.map_or_else(|| "limit".to_owned(), |at| format!("limit[{at}]"));
    let read = |at: Option<usize>, value: Value| {
        serde_json::from_value::<AccountLimit>(value).map_err(|error| Problem::field(field(at), error.to_string()))
    };
    let (windows, many) = match limit {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.is_empty() => {
            return Err(Problem::field("limit", "is empty; leave it out for no limit"));
        }
        Some(Value::Array(list)) => {
            let windows = list.into_iter().enumerate().map(|(at, value)| read(Some(at), value));
            (windows.collect::<Result<Vec<_>, _>>()?, true)
        }
        Some(one) => (vec![read(None, one)?], false),
    };
    match AccountLimit::wrong(&windows) {
        None => Ok(windows),
        Some((at, why)) => Err(Problem::field(field(many.then_some(at)), why)),
    }
}

/// Writes an account.
#[utoipa::path(put, path = "/v1/accounts/{name}", tag = "content", params(("name" = String, Path)), request_body = Written,
    responses((status = 200, body = AccountShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn put_account(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(name): Path<String>,
    Json(written): Json<Written>,
) -> Result<Answer<AccountShape>, Problem> {
    check_name(&name)?;
    // Stars stand for what is stored, which another node may have changed a moment ago.
    app.fresh_control().await?;
    let errors = check_wishes(&written.delivery, "delivery.");
    if !errors.is_empty() {
        return Err(Problem::fields(Code::InvalidRequest, errors));
    }
    let (provider, limit_unit, wishes) = (written.provider.clone(), written.limit_unit, written.delivery);
    let windows = windows(written.limit.clone())?;
    let settings = settings(&app, &name, written)?;
    let sealed = app.sealer.seal(&name, &settings.secret).map_err(|e| Problem::new(Code::Internal, e.to_string()))?;
    let action = Action::PutAccount {
        name: name.clone(),
        provider,
        settings: serde_json::to_string(&settings.plain).map_err(|e| Problem::new(Code::Internal, e.to_string()))?,
        secret_names: settings.secret.keys().cloned().collect(),
        sealed,
        limit: windows.first().copied(),
        further_limits: windows.into_iter().skip(1).collect(),
        limit_unit,
        wishes,
    };
    match app.ledger.change(&caller.key_id, action).await? {
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => one(&app, &name).map(Answer),
    }
}

fn one(app: &App, name: &str) -> Result<AccountShape, Problem> {
    let found = app.ledger.control(|c| c.accounts.get(name).map(|account| shape(c, name, account, app.now())));
    found.ok_or_else(|| unknown_account(name))
}

/// The accounts, secrets masked.
#[utoipa::path(get, path = "/v1/accounts", tag = "content",
    responses((status = 200, body = Accounts), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_accounts(State(app): State<Shared>, _: Viewer) -> Answer<Accounts> {
    let accounts =
        app.ledger.control(|c| c.accounts.iter().map(|(name, one)| shape(c, name, one, app.now())).collect());
    Answer(Accounts { accounts })
}

/// One account, secrets masked.
#[utoipa::path(get, path = "/v1/accounts/{name}", tag = "content", params(("name" = String, Path)),
    responses((status = 200, body = AccountShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_account(
    State(app): State<Shared>,
    _: Viewer,
    Path(name): Path<String>,
) -> Result<Answer<AccountShape>, Problem> {
    one(&app, &name).map(Answer)
}

/// What a check of an account found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckedShape {
    /// Whether it can be opened as it is stored: its secrets unsealed, its settings taken by the provider.
    opens: bool,
    /// Why it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// How its breaker stands; nothing if it never opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<HealthShape>,
}

/// Opens an account as a sender would, and says how it stands. Sends nothing.
#[utoipa::path(post, path = "/v1/accounts/{name}/check", tag = "content", params(("name" = String, Path)),
    responses((status = 200, body = CheckedShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn check_account(
    State(app): State<Shared>,
    _: Viewer,
    Path(name): Path<String>,
) -> Result<Answer<CheckedShape>, Problem> {
    let found = app.known(|c| c.accounts.get(&name).map(|one| (one.clone(), health(c, &name, app.now()))));
    let (account, health) = found.await?.ok_or_else(|| unknown_account(&name))?;
    let why = app.accounts().open(&name, &account).err().map(|reason| reason.to_string());
    Ok(Answer(CheckedShape { opens: why.is_none(), why, health }))
}

/// Removes an account. Refused while a template in use names it.
#[utoipa::path(delete, path = "/v1/accounts/{name}", tag = "content", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn delete_account(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    match app.ledger.change(&caller.key_id, Action::DeleteAccount { name: name.clone() }).await? {
        control::Answer::Refused(Refusal::NotFound) => Err(unknown_account(&name)),
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
