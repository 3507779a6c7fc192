//! Templates: written in versions and read.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_channels::{check_content, text_rules};
use tidings_contract::{ChannelInfo, FieldError, MessageType, RecipientKind, Time};
use tidings_machine::control::{
    self, Action, Dedup, Refusal, Rendering, TemplateSpec, TemplateVersion, TooLong, WordsChoice,
};
use tidings_machine::partition::{BreakerWishes, OnUnknown, RetryPolicy, RetryWishes, Wishes, WordRule};
use utoipa::{IntoParams, ToSchema};

use super::accounts::serves;
use super::asked::Asked;
use super::callbacks::{CallbackShape, CallbackWritten, read};
use super::paths::said;
use super::refused;
use super::unchanged::or_current;
use crate::app::{App, Shared};
use crate::auth::{Admin, Viewer};
use crate::delivering::check_wishes;
use crate::intake::{check_own, check_syntax, unknown_template};
use crate::policies::Rule;
use crate::problem::{Code, Problem};
use crate::strict::Json;

/// Longest window, time to live or retry span of a template.
const LONGEST_MS: u64 = 30 * 86_400_000;
/// Most tracking parameters, and longest value of one, in bytes.
const TRACK_PARAMETERS: usize = 10;
const TRACK_BYTES: usize = 256;
/// Longest description, in bytes.
const DESCRIPTION_BYTES: usize = 1_000;

/// A template as it is written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// The channel.
    channel: String,
    /// The account to send with; left out where the recipient is the account (robots).
    account: Option<String>,
    /// The route to send by, instead of an account.
    route: Option<String>,
    /// Another way when this one is given up: `template` names the template that is sent then.
    fallback: Option<FallbackShape>,
    /// Whether another account or channel may be tried after an attempt that may have been taken; no by default.
    #[serde(default)]
    failover_on_unknown: bool,
    /// When breakers open; each field has a default.
    #[serde(default)]
    #[schema(value_type = Object)]
    breaker: BreakerWishes,
    /// Longest time of one call, in milliseconds.
    timeout_ms: Option<u64>,
    /// After so many attempts that did not come through an account is given up, if there is anything else.
    attempts_per_account: Option<u16>,
    /// Whether an address that the supplier calls nobody's goes on the suppression list; by default that of a mail does.
    suppress_bounces: Option<bool>,
    /// `auth_code`, `notice`, `marketing`; `notice` by default.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    message_type: MessageType,
    /// The content, with placeholders in any string.
    #[schema(value_type = Object)]
    content: Map<String, Value>,
    /// When to try again; each field has a default.
    #[serde(default)]
    retry: RetryShape,
    /// `retry` or `stop`; `retry` by default.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    on_unknown: OnUnknown,
    /// A recipient gets the same content only once per window.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    dedup: Option<Dedup>,
    /// How long a message is worth sending after it was due, in milliseconds.
    expires_after_ms: Option<u64>,
    /// What it is for, for people.
    #[serde(default)]
    description: String,
    /// What becomes of a text that is longer than the supplier takes: `refuse` (default), `cut`, `split`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    too_long: TooLong,
    /// Parameters that every link in the texts gets, by name; the values may hold placeholders.
    #[serde(default)]
    track: BTreeMap<String, String>,
    /// Rules of its own, by kind (`quiet_hours`, `dedup`, `frequency`, `allow`), each with a policy's spec. They hold beside
    /// the policies, so they can only be stricter.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    rules: Map<String, Value>,
    /// Which sensitive words are looked for: `policies` names policies of the kind `words`, those that select the message by
    /// default; `mode` is `mask`, `reject` or `off`, what each policy says by default.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    words: WordsChoice,
    /// Who is told what becomes of its deliveries.
    callback: Option<CallbackWritten>,
}

/// Another way.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FallbackShape {
    /// The template.
    template: String,
}

/// When to try again.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryShape {
    /// Most attempts, the first included.
    max_attempts: Option<u16>,
    /// Wait before the second attempt, in milliseconds; each later wait is twice the one before.
    first_ms: Option<u64>,
    /// Longest wait, in milliseconds.
    longest_ms: Option<u64>,
    /// No attempt later than so many milliseconds after the first was due.
    give_up_after_ms: Option<u64>,
}

impl RetryShape {
    fn wishes(self) -> RetryWishes {
        let Self { max_attempts, first_ms, longest_ms, give_up_after_ms } = self;
        RetryWishes { max_attempts, first_ms, longest_ms, give_up_after_ms }
    }
}

/// A version of a template.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplateShape {
    name: String,
    version: u32,
    channel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<FallbackShape>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    failover_on_unknown: bool,
    /// What it says about breakers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    breaker: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts_per_account: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppress_bounces: Option<bool>,
    #[schema(value_type = String)]
    message_type: MessageType,
    #[schema(value_type = Object)]
    content: Value,
    #[schema(value_type = Object)]
    retry: RetryPolicy,
    #[schema(value_type = String)]
    on_unknown: OnUnknown,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    dedup: Option<Dedup>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_after_ms: Option<u64>,
    description: String,
    #[serde(skip_serializing_if = "is_default")]
    #[schema(value_type = Option<String>)]
    too_long: TooLong,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    track: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Option<Object>)]
    rules: Value,
    #[serde(skip_serializing_if = "is_default")]
    #[schema(value_type = Option<Object>)]
    words: WordsChoice,
    /// Who is told what becomes of its deliveries; the secret is `***`.
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<CallbackShape>,
    /// The variables it cannot do without.
    variables: Vec<String>,
    #[schema(value_type = String)]
    created_at: Time,
    created_by: String,
}

fn is_default<T: Default + PartialEq>(choice: &T) -> bool {
    *choice == T::default()
}

fn shape(app: &App, name: &str, version: u32) -> Result<TemplateShape, Problem> {
    let compiled = app.template_version(name, version)?;
    let TemplateVersion { version, spec, created_at, created_by } = compiled.version.as_ref();
    Ok(TemplateShape {
        name: name.to_owned(),
        version: *version,
        channel: spec.channel.clone(),
        account: spec.account.clone(),
        route: spec.route.clone(),
        fallback: spec.fallback.clone().map(|template| FallbackShape { template }),
        failover_on_unknown: spec.failover_on_unknown,
        breaker: said(&Wishes { breaker: spec.wishes.unwrap_or_default().breaker, ..Wishes::default() })
            .get("breaker")
            .cloned(),
        timeout_ms: spec.wishes.and_then(|wishes| wishes.timeout_ms),
        attempts_per_account: spec.wishes.and_then(|wishes| wishes.attempts_per_account),
        suppress_bounces: spec.wishes.and_then(|wishes| wishes.suppress_bounces),
        message_type: spec.message_type,
        content: serde_json::from_str(&spec.content).unwrap_or_default(),
        retry: spec.retry,
        on_unknown: spec.on_unknown,
        dedup: spec.dedup,
        expires_after_ms: spec.expires_after_ms,
        description: spec.description.clone(),
        too_long: spec.rendering.too_long,
        track: spec.rendering.track.clone(),
        rules: serde_json::from_str(&spec.rules).unwrap_or_default(),
        words: spec.words.clone(),
        callback: spec.callback.as_ref().map(CallbackShape::from),
        variables: compiled.variables.clone(),
        created_at: *created_at,
        created_by: created_by.clone(),
    })
}

/// Whether `name` may name a template or an account.
pub(super) fn check_name(name: &str) -> Result<(), Problem> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
        && name.as_bytes()[0].is_ascii_alphanumeric();
    if fits { Ok(()) } else { Err(Problem::field("name", "must be [a-z0-9][a-z0-9_.-]{0,63}")) }
}

/// Policies that are named must be in force now; one that is deleted later decides nothing.
fn check_words(app: &App, choice: &WordsChoice) -> Vec<FieldError> {
    let in_force = app.policies();
    let known = |name: &String| {
        in_force.all().any(|policy| {
            matches!(policy.rule, Rule::Words(_)) && policy.edition().is_some_and(|(policy, _)| policy == name)
        })
    };
    let unknown = choice.policies.iter().enumerate().filter(|(_, name)| !known(name));
    let mut errors: Vec<FieldError> = unknown
        .take(WordRule::MOST)
        .map(|(n, _)| FieldError::new(format!("words.policies[{n}]"), "is no policy of the kind words"))
        .collect();
    if choice.policies.len() > WordRule::MOST {
        errors.push(FieldError::new("words.policies", format!("holds more than {} policies", WordRule::MOST)));
    }
    errors
}

/// Checks everything about a template but its account.
fn check(app: &App, written: &Written, retry: RetryPolicy) -> Result<(), Problem> {
    let Some(channel) = app.registry.channel(&written.channel) else {
        let known: Vec<_> = app.registry.channels().iter().map(|channel| channel.name).collect();
        return Err(Problem::field("channel", format!("is unknown; there are: {}", known.join(", "))));
    };
    let content = Value::Object(written.content.clone());
    let rendering = Rendering { too_long: written.too_long, track: written.track.clone() };
    check_syntax(channel.name, &content, &rendering).map_err(|e| Problem::fields(Code::TemplateSyntax, e))?;
    let mut errors = check_content(channel, &content);
    errors.extend(check_rendering(channel, &rendering));
    errors.extend(check_own(&written.rules).err().into_iter().flatten());
    errors.extend(check_words(app, &written.words));
    let mut wrong = |field: &str, detail: &str| errors.push(FieldError::new(field, detail));
    match (channel.recipient, &written.account, &written.route) {
        (RecipientKind::Account, Some(_), _) => wrong("account", "must be left out: the recipient is the account"),
        (RecipientKind::Account, None, Some(_)) => wrong("route", "must be left out: the recipient is the account"),
        (RecipientKind::Account, None, None) | (_, Some(_), None) | (_, None, Some(_)) => {}
        (_, Some(_), Some(_)) => wrong("route", "cannot stand beside account: one of them"),
        (_, None, None) => wrong("account", "is required, or route"),
    }
    if written.failover_on_unknown && written.on_unknown == OnUnknown::Stop {
        wrong("failover_on_unknown", "contradicts on_unknown = stop");
    }
    if !(1..=100).contains(&retry.max_attempts) {
        wrong("retry.max_attempts", "must be between 1 and 100");
    }
    if !(10..=LONGEST_MS).contains(&retry.first_ms) || !(retry.first_ms..=LONGEST_MS).contains(&retry.longest_ms) {
        wrong("retry.longest_ms", "must be at least first_ms, which must be at least 10; both at most 30 days");
    }
    if retry.give_up_after_ms > LONGEST_MS {
        wrong("retry.give_up_after_ms", "must be at most 30 days");
    }
    if written.dedup.is_some_and(|dedup| !(1_000..=LONGEST_MS).contains(&dedup.window_ms)) {
        wrong("dedup.window_ms", "must be between 1,000 and 30 days");
    }
    if written.expires_after_ms.is_some_and(|ms| !(1_000..=LONGEST_MS).contains(&ms)) {
        wrong("expires_after_ms", "must be between 1,000 and 30 days");
    }
    if written.description.len() > DESCRIPTION_BYTES {
        wrong("description", "is longer than 1,000 bytes");
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::fields(Code::InvalidRequest, errors)) }
}

/// Whether the texts of the channel can be finished that way.
fn check_rendering(channel: &ChannelInfo, rendering: &Rendering) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let rules = text_rules(channel.name);
    let splits = rules.iter().any(|rule| rule.limit.is_some_and(|limit| limit.split));
    if rendering.too_long == TooLong::Split && !splits {
        errors.push(FieldError::new("too_long", format!("{} cannot send a text in parts", channel.name)));
    }
    if channel.open && !rendering.track.is_empty() {
        errors.push(FieldError::new(
            "track",
            format!("the content of {} is data; its links are left alone", channel.name),
        ));
    }
    if rendering.track.len() > TRACK_PARAMETERS {
        errors.push(FieldError::new("track", format!("has more than {TRACK_PARAMETERS} parameters")));
    }
    let fits = |name: &str| {
        (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    };
    for (name, value) in rendering.track.iter().filter(|(name, value)| !fits(name) || value.len() > TRACK_BYTES) {
        let detail = "the name must be [A-Za-z0-9_.-]{1,64}, the value at most 256 bytes long";
        errors.push(FieldError::new(format!("track.{name}"), format!("{detail}; this has {}", value.len())));
    }
    errors
}

/// Writes a new version of a template. The same content as the newest version changes nothing.
#[utoipa::path(put, path = "/v1/templates/{name}", tag = "content", params(("name" = String, Path)), request_body = Written,
    responses((status = 200, body = TemplateShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn put_template(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(name): Path<String>,
    Json(written): Json<Written>,
) -> Result<Answer<TemplateShape>, Problem> {
    check_name(&name)?;
    let wishes = Wishes {
        retry: written.retry.wishes(),
        breaker: written.breaker,
        timeout_ms: written.timeout_ms,
        attempts_per_account: written.attempts_per_account,
        expires_after_ms: None,
        suppress_bounces: written.suppress_bounces,
    };
    let errors = check_wishes(&Wishes { retry: RetryWishes::default(), ..wishes }, "");
    if !errors.is_empty() {
        return Err(Problem::fields(Code::InvalidRequest, errors));
    }
    let defaults = app.limits().delivery.retry.over(RetryPolicy::default());
    let retry = wishes.retry.over(defaults);
    check(&app, &written, retry)?;
    if let Some(account) = &written.account
        && !serves(&app, account, &written.channel)
    {
        app.fresh_control().await?;
        if !serves(&app, account, &written.channel) {
            let detail = format!("there is no account {account:?} that serves {}", written.channel);
            return Err(Problem::fields(Code::UnknownAccount, vec![FieldError::new("account", detail)]).in_body());
        }
    }
    let rules = check_own(&written.rules).map_err(|errors| Problem::fields(Code::InvalidRequest, errors))?;
    let stored = app.ledger.control(|c| c.templates.get(&name).and_then(|t| t.current().cloned()));
    let stored = stored.as_ref().map(|version| &version.spec);
    let callback = written.callback.as_ref();
    let callback = callback
        .map(|callback| read(&app, callback, stored.and_then(|spec| spec.callback.as_ref()), "callback."))
        .transpose()?;
    let spec = TemplateSpec {
        channel: written.channel,
        account: written.account,
        message_type: written.message_type,
        content: Value::Object(written.content).to_string(),
        retry,
        on_unknown: written.on_unknown,
        dedup: written.dedup,
        expires_after_ms: written.expires_after_ms,
        description: written.description,
        rendering: Rendering { too_long: written.too_long, track: written.track },
        rules,
        words: written.words,
        route: written.route,
        fallback: written.fallback.map(|fallback| fallback.template),
        failover_on_unknown: written.failover_on_unknown,
        wishes: Some(wishes),
        callback,
    };
    let spec = or_current(spec, stored, defaults);
    let action = Action::PutTemplate { name: name.clone(), spec: Box::new(spec) };
    match app.ledger.change(&caller.key_id, action).await? {
        control::Answer::Version(version) => shape(&app, &name, version).map(Answer),
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => Err(Problem::new(Code::Internal, "control gave no version")),
    }
}

/// The templates in use.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Templates {
    templates: Vec<TemplateShape>,
}

/// Versions of templates, made one after another with turns for others in between: each may have to be compiled.
async fn shapes<'a>(app: &App, wanted: impl Iterator<Item = (&'a str, u32)>) -> Result<Answer<Templates>, Problem> {
    let mut templates = Vec::new();
    for (name, version) in wanted {
        templates.push(shape(app, name, version)?);
        tokio::task::yield_now().await;
    }
    Ok(Answer(Templates { templates }))
}

/// The templates in use, each in its newest version.
#[utoipa::path(get, path = "/v1/templates", tag = "content",
    responses((status = 200, body = Templates), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_templates(State(app): State<Shared>, _: Viewer) -> Result<Answer<Templates>, Problem> {
    let current: Vec<(String, u32)> = app.ledger.control(|c| {
        let in_use = c.templates.iter().filter(|(_, template)| !template.deleted);
        in_use.map(|(name, template)| (name.clone(), template.latest)).collect()
    });
    shapes(&app, current.iter().map(|(name, version)| (name.as_str(), *version))).await
}

/// Which version of a template.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// The newest by default.
    version: Option<u32>,
}

/// One template.
#[utoipa::path(get, path = "/v1/templates/{name}", tag = "content", params(("name" = String, Path), Which),
    responses((status = 200, body = TemplateShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_template(
    State(app): State<Shared>,
    _: Viewer,
    Path(name): Path<String>,
    Asked(which): Asked<Which>,
) -> Result<Answer<TemplateShape>, Problem> {
    let version = match which.version {
        Some(version) => version,
        None => app.current_template(&name).await?.version.version,
    };
    shape(&app, &name, version).map(Answer)
}

/// The versions of a template that are kept, newest first.
#[utoipa::path(get, path = "/v1/templates/{name}/versions", tag = "content", params(("name" = String, Path)),
    responses((status = 200, body = Templates), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_versions(
    State(app): State<Shared>,
    _: Viewer,
    Path(name): Path<String>,
) -> Result<Answer<Templates>, Problem> {
    let versions: Option<Vec<u32>> = app
        .ledger
        .control(|c| c.templates.get(&name).map(|template| template.versions.keys().rev().copied().collect()));
    let versions = versions.ok_or_else(|| unknown_template(&name))?;
    shapes(&app, versions.into_iter().map(|version| (name.as_str(), version))).await
}

/// Takes a template out of use. What was accepted before is still delivered.
#[utoipa::path(delete, path = "/v1/templates/{name}", tag = "content", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn delete_template(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    match app.ledger.change(&caller.key_id, Action::DeleteTemplate { name: name.clone() }).await? {
        control::Answer::Refused(Refusal::NotFound) => Err(unknown_template(&name)),
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
