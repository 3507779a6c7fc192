//! The content of a text message: a text, or a supplier's template and what it is filled with.

use serde_json::{Map, Value};
use tidings_contract::{Blame, Outcome};

/// One parameter of a template: its name, if it has one, and its value.
pub(crate) type Param = (Option<String>, String);

/// A rendered content of the channel `sms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sms {
    /// The text, with the link after it.
    pub(crate) text: Option<String>,
    /// The supplier's id of a template, or a name that the account maps to one.
    pub(crate) template: Option<String>,
    /// What the template is filled with: in order where the content has a list, by name where it has an object.
    pub(crate) params: Vec<Param>,
    /// The signature before the text, without its brackets.
    pub(crate) sign_name: Option<String>,
}

impl Sms {
    /// Reads the content.
    ///
    /// # Errors
    /// A `Never` that says what is missing or of the wrong kind.
    pub(crate) fn read(content: &Value) -> Result<Self, Outcome> {
        Self::parse(content).map_err(|detail| Outcome::never(Blame::Content, "content", detail))
    }

    fn parse(content: &Value) -> Result<Self, String> {
        let field = |name: &str| -> Result<Option<String>, String> {
            match content.get(name) {
                None | Some(Value::Null) => Ok(None),
                Some(value) => {
                    let text = scalar(value).ok_or_else(|| format!("{name} must be a text"))?;
                    Ok(Some(text).filter(|text| !text.trim().is_empty()))
                }
            }
        };
        let (text, url) = (field("text")?, field("url")?);
        let text = match (text, url) {
            (Some(text), Some(url)) => Some(format!("{text} {url}")),
            (text, url) => text.or(url),
        };
        let template = field("template_id")?;
        if text.is_none() && template.is_none() {
            return Err("text or template_id is missing".to_owned());
        }
        Ok(Self { text, template, params: params(content.get("params"))?, sign_name: field("sign_name")? })
    }
}

fn params(value: Option<&Value>) -> Result<Vec<Param>, String> {
    let wrong = |name: &str| format!("params: {name} must be a text");
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            let texts = items.iter().enumerate();
            texts.map(|(at, item)| Ok((None, scalar(item).ok_or_else(|| wrong(&format!("[{at}]")))?))).collect()
        }
        Some(Value::Object(items)) => named(items).map_err(|name| wrong(&name)),
        Some(_) => Err("params must be an object or a list".to_owned()),
    }
}

fn named(items: &Map<String, Value>) -> Result<Vec<Param>, String> {
    items.iter().map(|(name, item)| Ok((Some(name.clone()), scalar(item).ok_or_else(|| name.clone())?))).collect()
}

/// A text, or a number or yes or no as a text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_link_stands_after_the_text_and_numbers_become_texts() {
        let sms = Sms::parse(&json!({"text": "hi", "url": "https://a.example", "params": {"code": 7}}));
        let sms = sms.expect("it is complete");
        assert_eq!(sms.text.as_deref(), Some("hi https://a.example"));
        assert_eq!(sms.params, [(Some("code".to_owned()), "7".to_owned())]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        for (content, expected) in [
            (json!({}), "text or template_id is missing"),
            (json!({"text": "  "}), "text or template_id is missing"),
            (json!({"text": ["a"]}), "text must be a text"),
            (json!({"template_id": "1", "params": "a"}), "params must be an object or a list"),
            (json!({"template_id": "1", "params": [{}]}), "params: [0] must be a text"),
            (json!({"template_id": "1", "params": {"a": []}}), "params: a must be a text"),
        ] {
            assert_eq!(Sms::parse(&content), Err(expected.to_owned()), "{content}");
        }
    }
}
