//! A delivery in one line.

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, MessageId, MessageType, Reason, Time};
use tidings_machine::partition::{Delivery, Sheet, State};
use utoipa::ToSchema;

/// A delivery in one line.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Summary {
    /// Its id.
    #[schema(value_type = String)]
    pub id: DeliveryId,
    /// The message it belongs to.
    #[schema(value_type = String)]
    pub message_id: MessageId,
    /// The recipient, normalised.
    pub to: String,
    /// The template's name.
    pub template: String,
    /// The template's version.
    pub version: u32,
    /// The channel.
    pub channel: String,
    /// What the message is for.
    #[schema(value_type = String)]
    pub message_type: MessageType,
    /// Where it stands.
    #[schema(value_type = String)]
    pub state: State,
    /// While it is pending: the next attempt is not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub due: Option<Time>,
    /// Attempts that came back.
    pub attempts: u16,
    /// Why it ended, where there is a why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::api::shapes::Why>)]
    pub reason: Option<Reason>,
    /// The provider's id of it, once it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// The caller's own id of the business case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub biz_id: Option<String>,
    /// The caller's tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The recipient's time zone, where the caller gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// When it was accepted.
    #[schema(value_type = String)]
    pub accepted_at: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ended_at: Option<Time>,
}

impl Summary {
    /// The summary of a delivery and its sheet.
    pub(crate) fn new(delivery: &Delivery, sheet: &Sheet) -> Self {
        Self {
            id: delivery.id,
            message_id: delivery.id.message(),
            to: delivery.to.clone(),
            template: sheet.template.clone(),
            version: sheet.version,
            channel: sheet.channel.clone(),
            message_type: sheet.message_type,
            state: delivery.state,
            due: (!delivery.state.is_final()).then_some(delivery.due),
            attempts: delivery.attempts,
            reason: delivery.reason.clone(),
            provider_id: delivery.provider_id.clone(),
            biz_id: sheet.biz_id.clone(),
            tags: sheet.tags.clone(),
            time_zone: delivery.time_zone.clone(),
            accepted_at: delivery.accepted_at(),
            ended_at: delivery.ended_at,
        }
    }
}
