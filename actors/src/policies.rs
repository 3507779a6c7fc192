//! The kinds of policies that the motion follows, as they are written: limits and lanes.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidings_contract::{AccountLimit, FieldError, LimitUnit};

use crate::limited::Limited;

/// What has a budget of its own under a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitOf {
    /// Each account that selected messages go out with.
    Account,
    /// Each recipient on each channel.
    Recipient,
    /// Each template.
    Template,
    /// Each API key.
    Key,
    /// All selected messages together.
    All,
}

/// A policy of the kind `limits`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitRule {
    /// What has a budget.
    pub of: LimitOf,
    /// Windows that hold all at once; at least one.
    pub windows: Vec<AccountLimit>,
    /// What takes a permit.
    #[serde(default)]
    pub unit: LimitUnit,
}

/// A policy of the kind `lanes`: the size of the pools it selects. What is left out is as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneRule {
    /// Most calls of a pool under way at a time on each node.
    pub pool_size: Option<usize>,
    /// Most deliveries of a pool and a partition in motion at a time.
    pub max_outstanding: Option<usize>,
}

impl LimitRule {
    /// A rule that could be put as it is.
    pub const EXAMPLE: &str = r#"{"of": "recipient", "windows": [{"permits": 1, "window_ms": 60000}, {"permits": 10, "window_ms": 86400000}]}"#;

    /// What it says, for the dry run.
    pub fn told(&self) -> String {
        let windows: Vec<String> =
            self.windows.iter().map(|window| format!("{} within {} ms", window.permits, window.window_ms)).collect();
        let of = match self.of {
            LimitOf::Account => "each account",
            LimitOf::Recipient => "each recipient",
            LimitOf::Template => "each template",
            LimitOf::Key => "each API key",
            LimitOf::All => "all together",
        };
        format!("{of}: {}; what is more waits", windows.join(", "))
    }

    /// Reads a rule; the paths of the errors begin with `spec`.
    ///
    /// # Errors
    /// One per field that is wrong.
    pub fn read(spec: &Value) -> Result<Self, Vec<FieldError>> {
        let rule: Self = read(spec)?;
        let wrong = |field: String, detail: &str| Err(vec![FieldError::new(field, detail)]);
        if rule.windows.is_empty() {
            return wrong("spec.windows".to_owned(), "there must be at least one");
        }
        match AccountLimit::wrong(&rule.windows) {
            Some((at, detail)) => {
                // The detail names the field where it is one of a window's.
                let field = ["permits", "window_ms"].into_iter().find(|name| detail.starts_with(name));
                wrong(format!("spec.windows[{at}]{}", field.map(|name| format!(".{name}")).unwrap_or_default()), detail)
            }
            None => Ok(rule),
        }
    }
}

impl LaneRule {
    /// A rule that could be put as it is.
    pub const EXAMPLE: &str = r#"{"pool_size": 128, "max_outstanding": 2048}"#;

    /// Reads a rule; the paths of the errors begin with `spec`.
    ///
    /// # Errors
    /// One per field that is wrong.
    pub fn read(spec: &Value) -> Result<Self, Vec<FieldError>> {
        let rule: Self = read(spec)?;
        let bounds = [("pool_size", rule.pool_size, 4_096), ("max_outstanding", rule.max_outstanding, 1_000_000)];
        let wrong = bounds.into_iter().filter(|(_, value, most)| value.is_some_and(|n| n == 0 || n > *most));
        let wrong = wrong
            .map(|(name, _, most)| FieldError::new(format!("spec.{name}"), format!("must be between 1 and {most}")));
        let mut wrong: Vec<FieldError> = wrong.collect();
        if rule.pool_size.is_none() && rule.max_outstanding.is_none() {
            wrong.push(FieldError::new("spec", "says nothing; give pool_size, max_outstanding or both"));
        }
        if wrong.is_empty() { Ok(rule) } else { Err(wrong) }
    }
}

fn read<T: DeserializeOwned>(spec: &Value) -> Result<T, Vec<FieldError>> {
    serde_path_to_error::deserialize(spec).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner().to_string();
        // A field that does not exist, or is missing, stands in the words of the error.
        let named =
            inner.split('`').nth(1).filter(|_| inner.starts_with("unknown field") || inner.starts_with("missing"));
        let own = |path: &str| if path == "." { "spec".to_owned() } else { format!("spec.{path}") };
        let field = match named {
            Some(name) if !path.ends_with(name) => format!("{}.{name}", own(&path)),
            _ => own(&path),
        };
        vec![FieldError::new(field, inner)]
    })
}

impl LimitRule {
    /// What the limit is called where its permits are counted: policies count for themselves.
    pub(crate) fn subject(&self, policy: &str, letter: &Limited<'_>) -> String {
        match self.of {
            LimitOf::Account => format!("account/{}#{policy}", letter.account),
            LimitOf::Recipient => format!("recipient/{}/{}#{policy}", letter.channel, letter.to),
            LimitOf::Template => format!("template/{}#{policy}", letter.template),
            LimitOf::Key => format!("key/{}#{policy}", letter.key),
            LimitOf::All => format!("all#{policy}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn the_examples_can_be_read() {
        assert_eq!(LimitRule::read(&json(LimitRule::EXAMPLE)).map(|rule| rule.windows.len()), Ok(2));
        assert_eq!(LaneRule::read(&json(LaneRule::EXAMPLE)).map(|rule| rule.pool_size), Ok(Some(128)));
    }

    #[test]
    fn a_rule_that_cannot_be_is_refused_with_the_path_of_the_field() {
        for (spec, field) in [
            (r#"{"of": "recipient", "windows": []}"#, "spec.windows"),
            (r#"{"of": "recipient"}"#, "spec.windows"),
            (r#"{"of": "planet", "windows": [{"permits": 1, "window_ms": 1000}]}"#, "spec.of"),
            (r#"{"of": "key", "windows": [{"permits": 0, "window_ms": 1000}]}"#, "spec.windows[0].permits"),
            (r#"{"of": "key", "windows": [{"permits": 1, "window_ms": 0}]}"#, "spec.windows[0].window_ms"),
            (r#"{"of": "key", "windows": [{"permits": 1, "window_ms": 2678400001}]}"#, "spec.windows[0].window_ms"),
            (r#"{"of": "key", "windows": [{"permits": "1", "window_ms": 1000}]}"#, "spec.windows[0].permits"),
            (r#"{"of": "key", "windows": [{"permits": 1, "window_ms": 1000, "burst": 2}]}"#, "spec.windows[0].burst"),
            (
                r#"{"of": "key", "windows": [{"permits": 1, "window_ms": 1000}, {"permits": 2, "window_ms": 1000}]}"#,
                "spec.windows[1].window_ms",
            ),
            (r#"{"of": "key", "windows": [{"permits": 1, "window_ms": 1000}], "unit": "mile"}"#, "spec.unit"),
            (r#"{"of": "key", "windows": [{"permits": 1, "window_ms": 1000}], "colour": 1}"#, "spec.colour"),
        ] {
            let errors = LimitRule::read(&json(spec)).expect_err(spec);
            assert_eq!(errors[0].field, field, "{spec}: {errors:?}");
        }
        for (spec, field) in [
            ("{}", "spec"),
            (r#"{"pool_size": 0}"#, "spec.pool_size"),
            (r#"{"pool_size": 5000}"#, "spec.pool_size"),
            (r#"{"max_outstanding": -1}"#, "spec.max_outstanding"),
            (r#"{"size": 1}"#, "spec.size"),
        ] {
            let errors = LaneRule::read(&json(spec)).expect_err(spec);
            assert_eq!(errors[0].field, field, "{spec}: {errors:?}");
        }
    }
}
