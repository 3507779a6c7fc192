//! Providers and channels: what is built in, with examples, and what operators declared.

use std::borrow::Cow;

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use tidings_contract::{ChannelInfo, Provider as _, ProviderInfo, Setting, Time};
use tidings_machine::control::ProviderVersion;
use utoipa::ToSchema;

use super::asked::{Asked, Slashed};
use super::policies::Which;
use crate::app::{App, Shared};
use crate::auth::Viewer;
use crate::problem::{Code, Problem};
use crate::providers::described;

/// A provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProviderShape {
    #[schema(value_type = String)]
    name: Cow<'static, str>,
    /// The channel it serves; `*` for all.
    #[schema(value_type = String)]
    channel: Cow<'static, str>,
    #[schema(value_type = String)]
    doc: Cow<'static, str>,
    /// The vendor's page that decides the protocol.
    source: &'static str,
    /// The settings of its accounts.
    #[schema(value_type = Vec<Object>)]
    settings: Vec<Setting>,
    /// A complete `settings` object.
    #[schema(value_type = Object)]
    example: Value,
    max_recipients: usize,
    deadline_ms: u64,
    /// What is told of declared ones only.
    #[serde(flatten)]
    declared: Option<DeclaredShape>,
}

/// A version of a declared provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeclaredShape {
    version: u32,
    /// The document; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    definition: Option<Value>,
    description: String,
    #[schema(value_type = String)]
    created_at: Time,
    created_by: String,
}

/// A channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChannelShape {
    name: &'static str,
    doc: &'static str,
    /// `phone`, `email`, `url`, `account`, `opaque`.
    #[schema(value_type = String)]
    recipient: tidings_contract::RecipientKind,
    /// The fields of a template's content.
    #[schema(value_type = Vec<Object>)]
    fields: &'static [tidings_contract::ContentField],
    /// The markup that is read in its texts, and how long these may be.
    #[schema(value_type = Vec<Object>)]
    texts: &'static [tidings_contract::TextRule],
    /// Whether content may hold further fields.
    open: bool,
    /// A complete content.
    #[schema(value_type = Object)]
    example: Value,
}

/// What there is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Providers {
    providers: Vec<ProviderShape>,
    channels: Vec<ChannelShape>,
}

fn built_in(info: &'static ProviderInfo) -> ProviderShape {
    ProviderShape {
        name: info.name.into(),
        channel: info.channel.into(),
        doc: info.doc.into(),
        source: info.source,
        settings: info.settings.to_vec(),
        example: serde_json::from_str(info.example).unwrap_or_default(),
        max_recipients: info.max_recipients,
        deadline_ms: info.deadline.as_millis() as u64,
        declared: None,
    }
}

/// `None` if a newer program wrote what this one cannot read.
fn declared(name: &str, version: &ProviderVersion, whole: bool) -> Option<ProviderShape> {
    let ProviderVersion { version: number, spec, created_at, created_by } = version;
    let described = described(version).ok()?;
    let doc = if spec.description.is_empty() { described.info().doc } else { &spec.description };
    Some(ProviderShape {
        name: name.to_owned().into(),
        channel: spec.channel.clone().into(),
        doc: doc.to_owned().into(),
        source: described.info().source,
        settings: described.settings(),
        example: described.example(),
        max_recipients: described.max_recipients(),
        deadline_ms: described.info().deadline.as_millis() as u64,
        declared: Some(DeclaredShape {
            version: *number,
            definition: whole.then(|| serde_json::from_str(&spec.definition).unwrap_or_default()),
            description: spec.description.clone(),
            created_at: *created_at,
            created_by: created_by.clone(),
        }),
    })
}

/// Every provider, built in and declared, and every channel.
#[utoipa::path(get, path = "/v1/providers", tag = "content",
    responses((status = 200, body = Providers), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_providers(State(app): State<Shared>, _: Viewer) -> Answer<Providers> {
    let versions: Vec<_> = app.ledger.control(|c| {
        let in_use = c.declared.in_use().map(|(name, version)| (name.clone(), version.clone()));
        in_use.collect()
    });
    let mut providers: Vec<_> = versions.iter().filter_map(|(name, version)| declared(name, version, false)).collect();
    let hidden = |name: &str| versions.iter().any(|(declared, _)| declared == name);
    let infos = app.registry.providers().map(|provider| provider.info());
    providers.extend(infos.filter(|info| !hidden(info.name)).map(built_in));
    providers.sort_by(|one, other| one.name.cmp(&other.name));
    let channel = |info: &'static ChannelInfo| ChannelShape {
        name: info.name,
        doc: info.doc,
        recipient: info.recipient,
        fields: info.fields,
        texts: tidings_channels::text_rules(info.name),
        open: info.open,
        example: serde_json::from_str(info.example).unwrap_or_default(),
    };
    Answer(Providers { providers, channels: app.registry.channels().iter().map(channel).collect() })
}

/// One provider. The slash in a name may be escaped or not.
#[utoipa::path(get, path = "/v1/providers/{name}", tag = "content", params(("name" = String, Path), Which),
    responses((status = 200, body = ProviderShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_provider(
    State(app): State<Shared>,
    _: Viewer,
    Slashed(name): Slashed,
    Asked(which): Asked<Which>,
) -> Result<Answer<ProviderShape>, Problem> {
    one(&app, &name, which.version).map(Answer)
}

/// One provider: the newest version of a declared one, or an older one.
pub(super) fn one(app: &App, name: &str, version: Option<u32>) -> Result<ProviderShape, Problem> {
    let found = app.ledger.control(|c| match version {
        Some(version) => c.declared.named.get(name)?.versions.get(&version).cloned(),
        None => c.declared.current(name).cloned(),
    });
    if let Some(found) = found {
        return declared(name, &found, true)
            .ok_or_else(|| Problem::new(Code::Internal, format!("a newer program declared {name:?}")));
    }
    let info = app.registry.get(name).filter(|_| version.is_none()).map(|provider| provider.info());
    info.map(built_in).ok_or_else(|| unknown_provider(name))
}

pub(super) fn unknown_provider(name: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no provider {name:?}"))
}
