//! Policies: written in versions, read, taken out of force.

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_contract::{FieldError, MessageType, Time, stable_hash};
use tidings_machine::control::{self, Action, PolicySpec, PolicyVersion, Refusal, Selector};
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use super::refused;
use super::templates::check_name;
use crate::app::{App, Shared};
use crate::auth::{Admin, Viewer};
use crate::policies::{KINDS, WORDS, kind, pack_words, unpack_words};
use crate::problem::{Code, Problem};
use crate::strict::Json;

/// Most bytes of a spec, as JSON: it must fit one entry of control's log.
const SPEC_BYTES: usize = 180_000;
/// Longest description, in bytes.
const DESCRIPTION_BYTES: usize = 1_000;
/// Most entries of each list of a selector.
const SELECTOR_ENTRIES: usize = 200;

/// Which messages a policy is for; of several lists all must select, an empty one selects all.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SelectorShape {
    /// Channels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channels: Vec<String>,
    /// `auth_code`, `notice`, `marketing`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    message_types: Vec<MessageType>,
    /// Names of templates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    templates: Vec<String>,
    /// Tags of the message; one of them is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

/// A policy as it is written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// The kind of rule: `discard`, `allow`, `quiet_hours`, `dedup`, `frequency` …
    kind: String,
    /// Which messages it is for; all of them by default.
    #[serde(default)]
    selector: SelectorShape,
    /// The rule; its fields depend on the kind.
    #[schema(value_type = Object)]
    spec: Map<String, Value>,
    /// What it is for, for people.
    #[serde(default)]
    description: String,
}

/// A version of a policy.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicyShape {
    name: String,
    version: u32,
    kind: String,
    selector: SelectorShape,
    #[schema(value_type = Object)]
    spec: Value,
    description: String,
    #[schema(value_type = String)]
    created_at: Time,
    created_by: String,
}

/// Policies.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Policies {
    policies: Vec<PolicyShape>,
}

/// Whether the caller knows what the policy does.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Sure {
    /// Puts a policy that would stop everything.
    #[serde(default)]
    confirm: bool,
}

/// Which version.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// The newest by default.
    pub(super) version: Option<u32>,
}

fn shape(name: &str, version: &PolicyVersion) -> PolicyShape {
    let PolicyVersion { version, spec, created_at, created_by } = version;
    let Selector { channels, message_types, templates, tags } = spec.selector.clone();
    PolicyShape {
        name: name.to_owned(),
        version: *version,
        kind: spec.kind.clone(),
        selector: SelectorShape { channels, message_types, templates, tags },
        spec: serde_json::from_str(&spec.spec).unwrap_or_default(),
        description: spec.description.clone(),
        created_at: *created_at,
        created_by: created_by.clone(),
    }
}

fn unknown(name: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no policy {name:?}"))
}

/// Checks the selector's lists. Templates may be written later, so their names are not looked up.
fn check_selector(app: &App, selector: &SelectorShape, errors: &mut Vec<FieldError>) {
    let mut wrong = |field: String, detail: &str| errors.push(FieldError::new(field, detail));
    for (n, name) in selector.channels.iter().enumerate() {
        if app.registry.channel(name).is_none() {
            wrong(format!("selector.channels[{n}]"), "there is no such channel");
        }
    }
    for (n, name) in selector.templates.iter().enumerate() {
        if check_name(name).is_err() {
            wrong(format!("selector.templates[{n}]"), "cannot be the name of a template");
        }
    }
    for (n, tag) in selector.tags.iter().enumerate() {
        if !crate::intake::is_tag(tag) {
            wrong(format!("selector.tags[{n}]"), "must be 1 to 64 visible characters");
        }
    }
    let lengths = [
        ("channels", selector.channels.len()),
        ("message_types", selector.message_types.len()),
        ("templates", selector.templates.len()),
        ("tags", selector.tags.len()),
    ];
    for (field, _) in lengths.into_iter().filter(|(_, length)| *length > SELECTOR_ENTRIES) {
        wrong(format!("selector.{field}"), "holds more than 200 entries");
    }
}

/// Checks everything about a policy; gives what would be kept, and the parts of its words.
fn check(app: &App, written: Written, sure: bool) -> Result<(PolicySpec, Vec<String>), Problem> {
    let Written { kind: name, selector, spec, description } = written;
    let Some(kind) = kind(&name) else {
        let known: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        return Err(Problem::field("kind", format!("is unknown; there are: {}", known.join(", "))));
    };
    let mut errors = Vec::new();
    check_selector(app, &selector, &mut errors);
    let spec = Value::Object(spec);
    // Words are kept beside the spec, and have bounds of their own.
    let text = if name == WORDS { String::new() } else { spec.to_string() };
    if text.len() > SPEC_BYTES {
        errors.push(FieldError::new("spec", format!("is longer than {SPEC_BYTES} bytes; use several policies")));
    }
    if description.len() > DESCRIPTION_BYTES {
        errors.push(FieldError::new("description", "is longer than 1,000 bytes"));
    }
    let rule = match (kind.read)(&spec) {
        Ok(rule) if errors.is_empty() => rule,
        Ok(_) => return Err(Problem::fields(Code::InvalidRequest, errors)),
        Err(more) => {
            errors.extend(more);
            return Err(Problem::fields(Code::InvalidRequest, errors));
        }
    };
    let SelectorShape { channels, message_types, templates, tags } = selector;
    let selector = Selector { channels, message_types, templates, tags };
    if let Some(error) = rule.misfit(&selector) {
        return Err(Problem::fields(Code::InvalidRequest, vec![error]));
    }
    if let Some(why) = rule.stops_everything(&selector).filter(|_| !sure) {
        return Err(Problem::new(Code::NeedsConfirmation, why));
    }
    if name != WORDS {
        return Ok((PolicySpec { kind: name, selector, spec: text, description, parts: Vec::new() }, Vec::new()));
    }
    let (kept, lists) = pack_words(&spec).ok_or_else(|| Problem::field("spec.words", "is required"))?;
    let parts = lists.iter().map(|words| stable_hash(words.as_bytes())).collect();
    Ok((PolicySpec { kind: name, selector, spec: kept.to_string(), description, parts }, lists))
}

/// Writes a new version of a policy; it is in force at once. The same content as the newest version changes nothing.
#[utoipa::path(put, path = "/v1/policies/{name}", tag = "content", params(("name" = String, Path), Sure),
    request_body = Written,
    responses((status = 200, body = PolicyShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn put_policy(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(name): Path<String>,
    Asked(sure): Asked<Sure>,
    Json(written): Json<Written>,
) -> Result<Answer<PolicyShape>, Problem> {
    check_name(&name)?;
    let (spec, lists) = check(&app, written, sure.confirm)?;
    for words in lists {
        if let control::Answer::Refused(refusal) = app.ledger.change(&caller.key_id, Action::PutWords { words }).await?
        {
            return Err(refused(refusal));
        }
    }
    let action = Action::PutPolicy { name: name.clone(), spec: Box::new(spec) };
    match app.ledger.change(&caller.key_id, action).await? {
        control::Answer::Version(version) => one(&app, &name, Some(version)).map(Answer),
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => Err(Problem::new(Code::Internal, "control gave no version")),
    }
}

fn one(app: &App, name: &str, version: Option<u32>) -> Result<PolicyShape, Problem> {
    let found = app.ledger.control(|c| {
        let policy = c.policies.named.get(name)?;
        let version = match version {
            Some(version) => policy.versions.get(&version),
            None => policy.current(),
        };
        let words = version.filter(|version| version.spec.kind == WORDS).and_then(|v| c.words_of(name, v.version));
        Some((version.cloned()?, words))
    });
    let (version, words) = found.ok_or_else(|| unknown(name))?;
    let mut shape = shape(name, &version);
    if let Some(words) = words {
        shape.spec = unpack_words(&shape.spec, words.words());
    }
    Ok(shape)
}

/// The policies in force, each in its newest version; of word lists only how many words they hold.
#[utoipa::path(get, path = "/v1/policies", tag = "content",
    responses((status = 200, body = Policies), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_policies(State(app): State<Shared>, _: Viewer) -> Answer<Policies> {
    let policies = app.ledger.control(|c| c.policies.in_force().map(|(name, version)| shape(name, version)).collect());
    Answer(Policies { policies })
}

/// A kind of policy.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KindShape {
    name: &'static str,
    /// What it does.
    doc: &'static str,
    /// Whether a template may carry such a rule of its own.
    in_templates: bool,
    /// A spec that could be put as it is.
    #[schema(value_type = Object)]
    example: Value,
}

/// The kinds of policies there are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Kinds {
    kinds: Vec<KindShape>,
}

/// The kinds of policies there are, each with an example.
#[utoipa::path(get, path = "/v1/policy-kinds", tag = "content",
    responses((status = 200, body = Kinds), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_policy_kinds(_: Viewer) -> Answer<Kinds> {
    let kinds = KINDS.iter().map(|kind| KindShape {
        name: kind.name,
        doc: kind.doc,
        in_templates: kind.in_templates,
        example: serde_json::from_str(kind.example).unwrap_or_default(),
    });
    Answer(Kinds { kinds: kinds.collect() })
}

/// One policy.
#[utoipa::path(get, path = "/v1/policies/{name}", tag = "content", params(("name" = String, Path), Which),
    responses((status = 200, body = PolicyShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_policy(
    State(app): State<Shared>,
    _: Viewer,
    Path(name): Path<String>,
    Asked(which): Asked<Which>,
) -> Result<Answer<PolicyShape>, Problem> {
    one(&app, &name, which.version).map(Answer)
}

/// The versions of a policy that are kept, newest first; also of one that was deleted, because events name them.
#[utoipa::path(get, path = "/v1/policies/{name}/versions", tag = "content", params(("name" = String, Path)),
    responses((status = 200, body = Policies), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_policy_versions(
    State(app): State<Shared>,
    _: Viewer,
    Path(name): Path<String>,
) -> Result<Answer<Policies>, Problem> {
    let policies = app.ledger.control(|c| {
        let policy = c.policies.named.get(&name)?;
        Some(policy.versions.values().rev().map(|version| shape(&name, version)).collect())
    });
    policies.map(|policies| Answer(Policies { policies })).ok_or_else(|| unknown(&name))
}

/// Takes a policy out of force. What was accepted under it stays under it.
#[utoipa::path(delete, path = "/v1/policies/{name}", tag = "content", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn delete_policy(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    match app.ledger.change(&caller.key_id, Action::DeletePolicy { name: name.clone() }).await? {
        control::Answer::Refused(Refusal::NotFound) => Err(unknown(&name)),
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
