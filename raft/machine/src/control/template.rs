//! Templates: versioned content with placeholders, and how to deliver it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{MessageType, Time};

use crate::partition::{CallbackSpec, OnUnknown, RetryPolicy, Wishes};

/// What an operator writes; checked at the edge before it is proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateSpec {
    /// The channel.
    pub channel: String,
    /// The account to send with. `None` where the recipient is the account (robots).
    pub account: Option<String>,
    /// What its messages are for.
    pub message_type: MessageType,
    /// The content: a JSON object as text, with placeholders in any string.
    pub content: String,
    /// When to try again.
    pub retry: RetryPolicy,
    /// What to do when nobody can tell whether an attempt was taken.
    pub on_unknown: OnUnknown,
    /// Whether a recipient gets the same content only once per window.
    pub dedup: Option<Dedup>,
    /// How long a message is worth sending after it was accepted or was due, in milliseconds.
    pub expires_after_ms: Option<u64>,
    /// What it is for, for people.
    pub description: String,
    /// Rules of its own beside those of the policies, so that they can only be stricter: a JSON object as text, from the
    /// kind of a policy to its spec. Empty is none.
    #[serde(default)]
    pub rules: String,
    /// Which sensitive words are looked for, where that is not as the policies say.
    #[serde(default)]
    pub words: WordsChoice,
    /// The route to send by, instead of an account.
    #[serde(default)]
    pub route: Option<String>,
    /// The template whose channel is used when this one's is given up.
    #[serde(default)]
    pub fallback: Option<String>,
    /// Whether another account or channel may be tried after an attempt that may have been taken.
    #[serde(default)]
    pub failover_on_unknown: bool,
    /// What the template itself says about delivering. `None` in templates of older programs, whose `retry` holds as it is.
    #[serde(default)]
    pub wishes: Option<Wishes>,
    /// Who is told what becomes of its deliveries.
    #[serde(default)]
    pub callback: Option<CallbackSpec>,
    /// How its filled texts are finished.
    #[serde(default)]
    pub rendering: Rendering,
}

/// How the filled texts of a template are finished before they go out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendering {
    /// What becomes of a text that is longer than the supplier takes.
    pub too_long: TooLong,
    /// Parameters that every link in the texts gets, by name; the values may hold placeholders.
    pub track: BTreeMap<String, String>,
}

/// What becomes of a text that is longer than the supplier takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLong {
    /// The delivery fails.
    #[default]
    Refuse,
    /// It is cut, with a mark at its end.
    Cut,
    /// It goes out as several messages, where the supplier can do that.
    Split,
}

/// What a template wants of the policies of the kind `words`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WordsChoice {
    /// The policies whose words are looked for, whatever they select; empty for those that select the message.
    pub policies: Vec<String>,
    /// What becomes of words; `None` for what each policy says.
    pub mode: Option<WordsMode>,
}

/// What becomes of words that are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WordsMode {
    /// They become asterisks.
    Mask,
    /// The message is not sent.
    Reject,
    /// Nobody looks for any.
    Off,
}

/// A recipient gets the same content once per window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dedup {
    /// Length of the window in milliseconds; at least 1,000, at most 30 days.
    pub window_ms: u64,
}

/// One version of a template. Never changed, so a message can be pinned to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateVersion {
    /// Counted from 1.
    pub version: u32,
    /// What was written.
    pub spec: TemplateSpec,
    /// When.
    pub created_at: Time,
    /// By which API key.
    pub created_by: String,
}

/// A template: its versions under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// The newest version.
    pub latest: u32,
    /// The versions kept: the newest ones, at most [`Template::VERSIONS_KEPT`].
    pub versions: BTreeMap<u32, Arc<TemplateVersion>>,
    /// A deleted template takes no new messages; those accepted before are still delivered.
    pub deleted: bool,
}

impl Template {
    /// How many versions are kept. Messages wait at most 30 days, so an older version is only of historical interest.
    pub const VERSIONS_KEPT: usize = 100;

    /// The newest version, unless the template was deleted.
    pub fn current(&self) -> Option<&Arc<TemplateVersion>> {
        if self.deleted { None } else { self.versions.get(&self.latest) }
    }
}
