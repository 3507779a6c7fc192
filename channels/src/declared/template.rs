//! Placeholders in a definition: `{{ name }}` in texts, and JSON that holds such texts.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::wrong::Wrong;

/// What placeholders stand for: named values, and the rendered content under `content.`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values<'a> {
    named: BTreeMap<&'a str, Value>,
    content: Option<&'a Value>,
}

impl<'a> Values<'a> {
    pub(crate) fn set(&mut self, name: &'a str, value: impl Into<Value>) {
        self.named.insert(name, value.into());
    }

    /// The same with the content and recipient of one message.
    pub(crate) fn with(&self, to: String, text: Option<String>, content: &'a Value) -> Self {
        let mut values = self.clone();
        values.set("to", to);
        values.content = Some(content);
        if let Some(text) = text {
            values.set("text", text);
        }
        values
    }

    fn get(&self, name: &str) -> Result<Value, String> {
        let found = match name.strip_prefix("content.") {
            Some(path) => {
                let start = self.content;
                start.and_then(|content| path.split('.').try_fold(content, |value, step| value.get(step))).cloned()
            }
            None => self.named.get(name).cloned(),
        };
        found.filter(|value| !value.is_null()).ok_or_else(|| format!("{name} is missing"))
    }
}

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Plain(String),
    Name(String),
}

impl Text {
    /// Reads a text; `known` are the names that may stand in it. `content` stands for `content.` and any field.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str, known: &[&str]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else { return Err("a {{ has no }}".to_owned()) };
            let name = name.trim();
            let first = name.split('.').next().filter(|first| *first == "content").unwrap_or(name);
            if !known.contains(&first) || name == "content" {
                return Err(format!("{name} is not known here; there are {}", known.join(", ")));
            }
            if !before.is_empty() {
                parts.push(Part::Plain(before.to_owned()));
            }
            parts.push(Part::Name(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Plain(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The text with every placeholder filled.
    ///
    /// # Errors
    /// Which is missing.
    pub(crate) fn fill(&self, values: &Values<'_>) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Plain(plain) => text.push_str(plain),
                Part::Name(name) => match values.get(name)? {
                    Value::String(value) => text.push_str(&value),
                    other => text.push_str(&other.to_string()),
                },
            }
        }
        Ok(text)
    }

    /// Whether the placeholder `name` stands in it.
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Name(known) if known == name))
    }
}

/// JSON with placeholders. A text that is one placeholder and nothing else becomes its value as it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    Fixed(Value),
    Text(Text),
    List(Vec<Shape>),
    Object(BTreeMap<String, Shape>),
}

impl Shape {
    /// Reads JSON; see [`Text::parse`].
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(crate) fn parse(value: &Value, known: &[&str]) -> Result<Self, Wrong> {
        Ok(match value {
            Value::String(text) => Self::Text(Text::parse(text, known).map_err(|detail| Wrong::at("", detail))?),
            Value::Array(items) => {
                let read = |(at, item): (usize, &Value)| {
                    Self::parse(item, known).map_err(|wrong| wrong.within(&format!("[{at}]")))
                };
                Self::List(items.iter().enumerate().map(read).collect::<Result<_, _>>()?)
            }
            Value::Object(items) => {
                let read = |(name, item): (&String, &Value)| {
                    let shape = Self::parse(item, known).map_err(|wrong| wrong.within(name))?;
                    Ok::<_, Wrong>((name.clone(), shape))
                };
                Self::Object(items.iter().map(read).collect::<Result<_, _>>()?)
            }
            other => Self::Fixed(other.clone()),
        })
    }

    /// The JSON with every placeholder filled.
    ///
    /// # Errors
    /// Which is missing.
    pub(crate) fn fill(&self, values: &Values<'_>) -> Result<Value, String> {
        Ok(match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(text) => match text.0.as_slice() {
                [Part::Name(name)] => values.get(name)?,
                _ => Value::from(text.fill(values)?),
            },
            Self::List(items) => items.iter().map(|item| item.fill(values)).collect::<Result<Vec<_>, _>>()?.into(),
            Self::Object(items) => {
                let filled = items.iter().map(|(name, item)| Ok((name.clone(), item.fill(values)?)));
                Value::Object(filled.collect::<Result<Map<_, _>, String>>()?)
            }
        })
    }

    /// Whether the placeholder `name` stands anywhere in it.
    pub(crate) fn holds(&self, name: &str) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Text(text) => text.holds(name),
            Self::List(items) => items.iter().any(|item| item.holds(name)),
            Self::Object(items) => items.values().any(|item| item.holds(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lone_placeholder_keeps_its_kind_and_others_become_text() {
        let content = json!({"a": {"b": 7}});
        let mut values = Values::default();
        values.set("at_ms", 5);
        let values = values.with("+1".to_owned(), None, &content);
        let shape = json!({"n": "{{ at_ms }}", "t": "at {{at_ms}}!", "l": ["{{ content.a }}", true], "to": "{{to}}"});
        let shape = Shape::parse(&shape, &["at_ms", "to", "content"]).expect("it is right");
        let expected = json!({"n": 5, "t": "at 5!", "l": [{"b": 7}, true], "to": "+1"});
        assert_eq!(shape.fill(&values), Ok(expected));
        assert!(shape.holds("to") && !shape.holds("items"));
    }

    #[test]
    fn what_is_not_known_or_not_there_is_named() {
        assert_eq!(Text::parse("{{ a", &[]), Err("a {{ has no }}".to_owned()));
        let shape = json!({"x": ["", {"y": "{{ secrt }}"}]});
        let wrong = Shape::parse(&shape, &["secret"]).expect_err("it is misspelt");
        assert_eq!((wrong.path.as_str(), &wrong.detail[..12]), ("x[1].y", "secrt is not"));
        let text = Text::parse("{{ content.x.y }}", &["content"]).expect("it is right");
        assert_eq!(text.fill(&Values::default()), Err("content.x.y is missing".to_owned()));
    }
}
