//! Reads a spec strictly, and says where it is wrong.

use serde::de::DeserializeOwned;
use serde_json::Value;
use tidings_contract::FieldError;

/// Shortest window of a rule, in milliseconds.
pub(super) const SHORTEST_WINDOW_MS: u64 = 1_000;
/// Longest window of a rule, in milliseconds: 31 days.
pub(super) const LONGEST_WINDOW_MS: u64 = 31 * 86_400_000;

/// Reads `T` out of a spec.
///
/// # Errors
/// One, whose field is the path from `spec` on.
pub(super) fn read<T: DeserializeOwned>(spec: &Value) -> Result<T, Vec<FieldError>> {
    if !spec.is_object() {
        return Err(vec![FieldError::new("spec", "must be an object")]);
    }
    serde_path_to_error::deserialize(spec).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "spec".to_owned() } else { format!("spec.{path}") };
        let detail = error.into_inner().to_string();
        // serde names an unknown field in its words, but stands before it.
        let unknown = detail.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
        let field = match unknown {
            Some(name) if !field.ends_with(name) => format!("{field}.{name}"),
            _ => field,
        };
        vec![FieldError::new(field, detail)]
    })
}

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(super) struct Wrong(Vec<FieldError>);

impl Wrong {
    pub(super) fn add(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.0.push(FieldError::new(field, detail));
    }

    /// Checks the length of a window.
    pub(super) fn window(&mut self, field: impl Into<String>, window_ms: u64) {
        if !(SHORTEST_WINDOW_MS..=LONGEST_WINDOW_MS).contains(&window_ms) {
            self.add(field, format!("must be between {SHORTEST_WINDOW_MS} and {LONGEST_WINDOW_MS} (31 days)"));
        }
    }

    /// `value`, if nothing is wrong.
    pub(super) fn or<T>(self, value: T) -> Result<T, Vec<FieldError>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}
