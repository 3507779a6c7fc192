//! An account's settings: what a provider declares, what an operator gives, and how the two are matched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Secret;

/// One setting that a provider declares.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Setting {
    /// The key in the account's `settings`.
    pub name: &'static str,
    /// Whether an account without it is refused.
    pub required: bool,
    /// Whether it is sealed on disk and masked on reading.
    pub secret: bool,
    /// What it is, in one sentence, with its unit and default.
    pub doc: &'static str,
}

/// What is wrong with one field that somebody typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Where: `settings.port`, `content.text`, `to[3]`.
    pub field: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl FieldError {
    /// An error at `field`.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}

/// How many sends an account allows in any window of this length, whichever node sends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountLimit {
    /// Sends in a window; at least 1.
    pub permits: u32,
    /// Length of the window in milliseconds; at least 1,000.
    pub window_ms: u64,
}

impl AccountLimit {
    /// Most windows that one limit may have.
    pub const MOST_WINDOWS: usize = 8;
    /// Shortest window, in milliseconds.
    pub const SHORTEST_MS: u64 = 1_000;
    /// Longest window, in milliseconds: 31 days.
    pub const LONGEST_MS: u64 = 31 * 86_400_000;

    /// What is wrong with the windows of one limit, with the place in the list; nothing if they can be kept.
    pub fn wrong(windows: &[Self]) -> Option<(usize, &'static str)> {
        let span = Self::SHORTEST_MS..=Self::LONGEST_MS;
        let wrong = |(at, window): (usize, &Self)| match window {
            _ if at >= Self::MOST_WINDOWS => Some((at, "is one window too many; there may be 8")),
            _ if window.permits == 0 => Some((at, "permits must be at least 1")),
            _ if !span.contains(&window.window_ms) => Some((at, "window_ms must be between 1,000 and 31 days")),
            _ if windows[..at].iter().any(|other| other.window_ms == window.window_ms) => {
                Some((at, "window_ms stands in the list already"))
            }
            _ => None,
        };
        windows.iter().enumerate().find_map(wrong)
    }
}

/// What takes a permit of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitUnit {
    /// Each recipient of a provider call.
    #[default]
    Recipient,
    /// Each provider call, however many recipients it carries.
    Request,
}

/// The settings of one account with the secrets open; lives in memory only.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Settings that may be shown.
    pub plain: BTreeMap<String, Value>,
    /// Settings that may not.
    pub secret: BTreeMap<String, Secret>,
}

impl Settings {
    /// A text setting, if it is there and is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.plain.get(name).and_then(Value::as_str)
    }

    /// A whole number, if it is there and is one.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.plain.get(name).and_then(Value::as_u64)
    }

    /// A yes or no, if it is there and is one.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.plain.get(name).and_then(Value::as_bool)
    }

    /// A secret, if it is there.
    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.secret.get(name)
    }

    /// Sorts what an operator typed into plain and secret settings.
    ///
    /// # Errors
    /// One per setting that is unknown, missing, or a secret that is not a text.
    pub fn sort(declared: &[Setting], given: BTreeMap<String, Value>) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut settings = Self::default();
        for setting in declared.iter().filter(|s| s.required && !given.contains_key(s.name)) {
            errors.push(FieldError::new(format!("settings.{}", setting.name), format!("is required: {}", setting.doc)));
        }
        for (name, value) in given {
            let field = format!("settings.{name}");
            match (declared.iter().find(|s| s.name == name), value) {
                (None, _) => {
                    let known: Vec<_> = declared.iter().map(|s| s.name).collect();
                    errors.push(FieldError::new(
                        field,
                        format!("is not a setting of this provider; it has: {}", known.join(", ")),
                    ));
                }
                (Some(s), Value::String(text)) if s.secret => {
                    settings.secret.insert(name, Secret::new(text));
                }
                (Some(s), _) if s.secret => errors.push(FieldError::new(field, "is a secret and must be a text")),
                (Some(_), value) => {
                    settings.plain.insert(name, value);
                }
            }
        }
        if errors.is_empty() { Ok(settings) } else { Err(errors) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: &[Setting] = &[
        Setting { name: "host", required: true, secret: false, doc: "The server." },
        Setting { name: "password", required: false, secret: true, doc: "The password." },
    ];

    fn sort(given: &Value) -> Result<Settings, Vec<FieldError>> {
        let given = given.as_object().cloned().unwrap_or_default().into_iter().collect();
        Settings::sort(DECLARED, given)
    }

    #[test]
    fn settings_are_sorted_into_plain_and_secret() {
        let settings = sort(&serde_json::json!({"host": "mail", "password": "hunter2"})).expect("both are declared");
        assert_eq!(settings.text("host"), Some("mail"));
        assert_eq!(settings.secret("password").map(Secret::expose), Some("hunter2"));
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn every_wrong_setting_is_named() {
        let errors = sort(&serde_json::json!({"hots": "mail", "password": 7})).expect_err("three are wrong");
        let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["settings.host", "settings.hots", "settings.password"]);
    }
}
