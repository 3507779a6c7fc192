//! What is built in: providers and channels, with examples.

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use tidings_contract::{ChannelInfo, ProviderInfo};
use utoipa::ToSchema;

use crate::app::Shared;
use crate::auth::Viewer;

/// A provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProviderShape {
    name: &'static str,
    /// The channel it serves; `*` for all.
    channel: &'static str,
    doc: &'static str,
    /// The vendor's page that decides the protocol.
    source: &'static str,
    /// The settings of its accounts.
    #[schema(value_type = Vec<Object>)]
    settings: &'static [tidings_contract::Setting],
    /// A complete `settings` object.
    #[schema(value_type = Object)]
    example: Value,
    max_recipients: usize,
    deadline_ms: u64,
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

/// What is built in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BuiltIn {
    providers: Vec<ProviderShape>,
    channels: Vec<ChannelShape>,
}

/// Every provider and every channel.
#[utoipa::path(get, path = "/v1/providers", tag = "content",
    responses((status = 200, body = BuiltIn), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_providers(State(app): State<Shared>, _: Viewer) -> Answer<BuiltIn> {
    let provider = |info: &'static ProviderInfo| ProviderShape {
        name: info.name,
        channel: info.channel,
        doc: info.doc,
        source: info.source,
        settings: info.settings,
        example: serde_json::from_str(info.example).unwrap_or_default(),
        max_recipients: info.max_recipients,
        deadline_ms: info.deadline.as_millis() as u64,
    };
    let channel = |info: &'static ChannelInfo| ChannelShape {
        name: info.name,
        doc: info.doc,
        recipient: info.recipient,
        fields: info.fields,
        texts: tidings_channels::text_rules(info.name),
        open: info.open,
        example: serde_json::from_str(info.example).unwrap_or_default(),
    };
    Answer(BuiltIn {
        providers: app.registry.providers().map(|p| provider(p.info())).collect(),
        channels: app.registry.channels().iter().map(channel).collect(),
    })
}
