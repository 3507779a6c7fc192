//! `dedup`: how often a recipient gets the same, and what counts as the same.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tidings_contract::FieldError;
use tidings_machine::partition::Window;

use super::frequency::MOST_IN_WINDOW;
use super::reading::{Wrong, read};
use super::{Kind, Rule};

pub(super) const KIND: Kind = Kind {
    name: "dedup",
    doc: "A recipient gets the same at most so many times in any window. The key says what counts as the same.",
    example: r#"{"window_ms": 300000, "most": 1, "key": ["content"]}"#,
    in_templates: true,
    read: |spec| Dedup::read(spec).map(|rule| Rule::Dedup(Arc::new(rule))),
};

/// Most parts of a key.
const MOST_PARTS: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    window_ms: u64,
    #[serde(default = "once")]
    most: u32,
    #[serde(default = "content")]
    key: Vec<String>,
}

fn once() -> u32 {
    1
}

fn content() -> Vec<String> {
    vec!["content".to_owned()]
}

/// What is compared, beside the recipient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KeyPart {
    /// The whole content, rendered.
    Content,
    /// One field of the content, rendered.
    ContentField(String),
    /// One variable.
    Variable(String),
    /// The caller's own id of the business case.
    BizId,
    /// The template's name.
    Template,
}

impl KeyPart {
    fn read(text: &str) -> Option<Self> {
        let named = |prefix: &str| text.strip_prefix(prefix).filter(|name| !name.is_empty()).map(str::to_owned);
        match text {
            "content" => Some(Self::Content),
            "biz_id" => Some(Self::BizId),
            "template" => Some(Self::Template),
            _ => named("content.").map(Self::ContentField).or_else(|| named("variables.").map(Self::Variable)),
        }
    }
}

/// How often somebody gets the same.
#[derive(Clone, Debug)]
pub(crate) struct Dedup {
    /// How often.
    pub window: Window,
    /// What counts as the same.
    pub key: Vec<KeyPart>,
}

impl Dedup {
    fn read(spec: &Value) -> Result<Self, Vec<FieldError>> {
        let Written { window_ms, most, key } = read(spec)?;
        let mut wrong = Wrong::default();
        wrong.window("spec.window_ms", window_ms);
        if !(1..=MOST_IN_WINDOW).contains(&most) {
            wrong.add("spec.most", format!("must be between 1 and {MOST_IN_WINDOW}"));
        }
        if !(1..=MOST_PARTS).contains(&key.len()) {
            wrong.add("spec.key", format!("must hold 1 to {MOST_PARTS} parts"));
        }
        let mut parts = Vec::new();
        for (n, text) in key.iter().enumerate() {
            match KeyPart::read(text) {
                None => wrong.add(
                    format!("spec.key[{n}]"),
                    "must be content, content.<field>, variables.<name>, biz_id or template",
                ),
                Some(part) if parts.contains(&part) => wrong.add(format!("spec.key[{n}]"), "stands in the key before"),
                Some(part) => parts.push(part),
            }
        }
        wrong.or(Self { window: Window { window_ms, most }, key: parts })
    }
}
