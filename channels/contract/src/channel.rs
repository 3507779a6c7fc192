//! What a channel is: the kind of way out, which fixes who can be a recipient and what content looks like.

use serde::{Deserialize, Serialize};

/// What a recipient of a channel looks like, and so how it is checked at intake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecipientKind {
    /// A phone number, kept in E.164.
    Phone,
    /// A mail address (RFC 5321 `Mailbox`, the address only).
    Email,
    /// An `http` or `https` URL.
    Url,
    /// The name of an account: a robot's recipient is the robot.
    Account,
    /// A user id of the supplier's, taken as it is.
    Opaque,
}

/// One field of a channel's content.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ContentField {
    /// The key in the template's `content` object.
    pub name: &'static str,
    /// Whether a template without it is refused.
    pub required: bool,
    /// What it is, in one sentence.
    pub doc: &'static str,
}

/// A channel: its name, who can be a recipient, and the shape of its content.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ChannelInfo {
    /// The name typed in templates: `sms`, `email`, `webhook`, `dingtalk_robot` …
    pub name: &'static str,
    /// What it is, in one sentence.
    pub doc: &'static str,
    /// Who can be a recipient.
    pub recipient: RecipientKind,
    /// The fields of the content. Unknown fields are refused unless `open` is set.
    pub fields: &'static [ContentField],
    /// Whether content may hold any further fields (a webhook's body may).
    pub open: bool,
    /// A complete content, as it would stand in a template.
    pub example: &'static str,
}

/// What a message is for. It fixes the default lane and which rules apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageType {
    /// A one-time password or another code somebody waits for.
    AuthCode,
    /// A notice about something that happened.
    #[default]
    Notice,
    /// A campaign.
    Marketing,
}

impl MessageType {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuthCode => "auth_code",
            Self::Notice => "notice",
            Self::Marketing => "marketing",
        }
    }
}

/// The order in which waiting deliveries are taken: a lower lane goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Before everything else; the default of `auth_code`.
    High,
    /// The default of `notice`.
    #[default]
    Normal,
    /// After everything else; the default of `marketing`.
    Low,
}

impl From<MessageType> for Lane {
    fn from(kind: MessageType) -> Self {
        match kind {
            MessageType::AuthCode => Self::High,
            MessageType::Notice => Self::Normal,
            MessageType::Marketing => Self::Low,
        }
    }
}
