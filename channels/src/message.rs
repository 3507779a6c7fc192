//! Turns a content into the supplier's message by a table: which fields a type of message has and how the supplier names
//! them. The same table says at intake what is wrong with a template's content.

use serde_json::{Map, Number, Value};
use tidings_contract::{FieldError, material_in};

/// A type of message.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Its name in our content's `type`.
    pub(crate) name: &'static str,
    /// The supplier's name of it.
    pub(crate) vendors: &'static str,
    /// Its fields.
    pub(crate) fields: &'static [Field],
}

/// A field of a message or of a row in it.
#[derive(Debug)]
pub(crate) struct Field {
    /// Our name.
    pub(crate) ours: &'static str,
    /// The supplier's.
    pub(crate) vendors: &'static str,
    /// Whether a message without it cannot be sent.
    pub(crate) needed: bool,
    /// What it holds.
    pub(crate) form: Form,
}

/// What a field holds. A placeholder is a text, so numbers and flags may come as texts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// Any number.
    Decimal,
    /// A yes or no.
    Flag,
    /// A yes or no that the supplier wants as 1 or 0.
    Bit,
    /// A yes or no that the supplier wants as the text 1 or 0.
    BitText,
    /// A list of texts.
    Texts,
    /// An object or a list of the supplier's own making, passed on as it is; a text is read as JSON.
    Json,
    /// The same, with places for the supplier's ids of files: the names of fields at any depth, and what each is uploaded as.
    JsonWith(&'static [(&'static str, &'static str)]),
    /// The supplier's id of a file, which is uploaded as this kind of file if a material stands there.
    Media(&'static str),
    /// A list of rows with these fields.
    Rows(&'static [Field]),
}

/// A field that a message cannot do without.
pub(crate) const fn need(ours: &'static str, vendors: &'static str, form: Form) -> Field {
    Field { ours, vendors, needed: true, form }
}

/// A field that a message may have.
pub(crate) const fn may(ours: &'static str, vendors: &'static str, form: Form) -> Field {
    Field { ours, vendors, needed: false, form }
}

/// The content's type and the supplier's form of its fields.
///
/// # Errors
/// What is wrong with the content, in one sentence that names the field.
pub(crate) fn build(kinds: &'static [Kind], content: &Value) -> Result<(&'static Kind, Map<String, Value>), String> {
    let name = content.get("type").and_then(Value::as_str).filter(|name| !name.is_empty()).ok_or("type is missing")?;
    let kind = kinds.iter().find(|kind| kind.name == name).ok_or(format!("{name} is not a type of message"))?;
    Ok((kind, fields(kind.fields, content, "")?))
}

/// The supplier's form of these fields.
///
/// # Errors
/// What is wrong with the content, in one sentence that names the field.
pub(crate) fn fields(fields: &[Field], content: &Value, within: &str) -> Result<Map<String, Value>, String> {
    let mut part = Map::new();
    for field in fields {
        let name = format!("{within}{}", field.ours);
        match content.get(field.ours).filter(|value| !is_empty(value)) {
            Some(given) => {
                part.insert(field.vendors.to_owned(), value(field.form, given, &name)?);
            }
            None if field.needed => return Err(format!("{name} is missing")),
            None => {}
        }
    }
    Ok(part)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn value(form: Form, given: &Value, name: &str) -> Result<Value, String> {
    let text = given.as_str().map(str::trim);
    match form {
        Form::Text => given.as_str().map(Value::from).ok_or(format!("{name} must be a text")),
        Form::Media(_) => {
            let id = given.as_str().ok_or(format!("{name} must be a text"))?;
            // The host has put the supplier's ids in by now; what is left is no material that could be uploaded.
            material_in(id).map_or(Ok(id.into()), |_| Err(format!("{name} names no material that can be uploaded")))
        }
        Form::Number => {
            let number = given.as_i64().or_else(|| text?.parse().ok());
            number.map(|number| Number::from(number).into()).ok_or(format!("{name} must be a whole number"))
        }
        Form::Decimal => {
            let number = given.as_f64().or_else(|| text?.parse().ok()).and_then(Number::from_f64);
            number.map(Value::from).ok_or(format!("{name} must be a number"))
        }
        Form::Flag => flag(given).map(Value::from).ok_or(format!("{name} must be true or false")),
        Form::Bit => flag(given).map(|on| Value::from(u8::from(on))).ok_or(format!("{name} must be true or false")),
        Form::BitText => {
            flag(given).map(|on| Value::from(if on { "1" } else { "0" })).ok_or(format!("{name} must be true or false"))
        }
        Form::Texts => {
            let items = given.as_array().filter(|items| items.iter().all(Value::is_string));
            items.map(|items| Value::from(items.clone())).ok_or(format!("{name} must be a list of texts"))
        }
        Form::Json | Form::JsonWith(_) => match given {
            Value::Object(_) | Value::Array(_) => Ok(given.clone()),
            _ => {
                let read = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
                let read = read.filter(|read| read.is_object() || read.is_array());
                read.ok_or(format!("{name} must be an object or a list"))
            }
        },
        Form::Rows(of) => {
            let items = given.as_array().ok_or(format!("{name} must be a list"))?;
            let row = |item| fields(of, item, &format!("{name}: ")).map(Value::Object);
            items.iter().map(row).collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
    }
}

/// Feishu's post out of `title`, `content` and `locale`: `{zh_cn: {title, content: [[…]]}}`. A flat list of elements is one
/// paragraph.
///
/// # Errors
/// When there are no paragraphs.
pub(crate) fn post(mut part: Map<String, Value>) -> Result<Value, String> {
    let locale = part.remove("locale").and_then(|locale| locale.as_str().map(str::to_owned));
    let paragraphs = match part.get("content").and_then(Value::as_array) {
        Some(items) if items.iter().all(Value::is_array) => Value::from(items.clone()),
        Some(items) if items.iter().all(Value::is_object) => Value::from(vec![items.clone()]),
        _ => return Err("paragraphs must be a list of lists of {tag, …}".to_owned()),
    };
    part.insert("content".to_owned(), paragraphs);
    Ok(Value::Object(Map::from_iter([(locale.unwrap_or_else(|| "zh_cn".to_owned()), part.into())])))
}

/// Lays `over` upon `base`: objects are merged field by field, anything else is replaced.
pub(crate) fn overlay(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                overlay(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// Whether a value says yes or no.
pub(crate) fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(on) => Some(*on),
        Value::Number(number) => number.as_u64().filter(|number| *number < 2).map(|number| number == 1),
        Value::String(text) => match text.trim() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// What is said of a field that is not there and must be.
pub(crate) const MISSING: &str = "is required by this type";

/// What is wrong with a template's content. Texts with placeholders stand for whatever they will be.
pub(crate) fn check(kinds: &'static [Kind], content: &Map<String, Value>) -> Vec<FieldError> {
    let Some(name) = content.get("type").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
        return Vec::new();
    };
    let Some(kind) = kinds.iter().find(|kind| kind.name == name) else {
        let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
        return vec![FieldError::new("content.type", format!("must be one of: {}", names.join(", ")))];
    };
    check_fields(kind.fields, &Value::Object(content.clone()), "content.")
}

/// What is wrong with these fields of a template's content.
pub(crate) fn check_fields(fields: &[Field], content: &Value, within: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in fields {
        let name = format!("{within}{}", field.ours);
        match (content.get(field.ours).filter(|value| !is_empty(value)), field.form) {
            (None, _) if field.needed => errors.push(FieldError::new(name, MISSING)),
            (None, _) => {}
            (Some(Value::Array(items)), Form::Rows(of)) => {
                let of_row = |(at, item)| check_fields(of, item, &format!("{name}[{at}]."));
                errors.extend(items.iter().enumerate().flat_map(of_row));
            }
            (Some(Value::Array(items)), Form::Texts) => {
                let wrong = items.iter().enumerate().filter(|(_, item)| !item.is_string());
                errors.extend(wrong.map(|(at, _)| FieldError::new(format!("{name}[{at}]"), "must be a text")));
            }
            (
                Some(Value::String(text)),
                Form::Number | Form::Decimal | Form::Flag | Form::Bit | Form::BitText | Form::Json | Form::JsonWith(_),
            ) if text.contains('{') => {}
            (Some(Value::String(text)), Form::Media(_)) => {
                let named = material_in(text).filter(|_| !text.contains('{'));
                errors.extend(named.and_then(Result::err).map(|detail| FieldError::new(name, detail)));
            }
            (Some(given), form) => {
                errors.extend(
                    value(form, given, "it")
                        .err()
                        .map(|detail| FieldError::new(name, detail.strip_prefix("it ").unwrap_or(&detail))),
                );
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KINDS: &[Kind] = &[Kind {
        name: "card",
        vendors: "action_card",
        fields: &[
            need("title", "head", Form::Text),
            may("count", "n", Form::Number),
            may("loud", "loud", Form::Bit),
            may("who", "userids", Form::Texts),
            may("raw", "raw", Form::Json),
            may("rows", "items", Form::Rows(&[need("key", "k", Form::Text), may("on", "on", Form::Flag)])),
        ],
    }];

    #[test]
    fn a_content_becomes_the_suppliers_message() {
        let content = json!({"type": "card", "title": "T", "count": "7", "loud": true, "who": ["a"],
            "raw": "{\"x\": [1]}", "rows": [{"key": "a", "on": "false"}, {"key": "b"}], "count2": null});
        let (kind, part) = build(KINDS, &content).expect("it is right");
        let expected = json!({"head": "T", "n": 7, "loud": 1, "userids": ["a"], "raw": {"x": [1]},
            "items": [{"k": "a", "on": false}, {"k": "b"}]});
        assert_eq!((kind.vendors, Value::Object(part)), ("action_card", expected));
    }

    #[test]
    fn what_is_wrong_is_named_when_sending_and_at_intake() {
        let cases = [
            (json!({"type": "card"}), "title is missing", "content.title"),
            (json!({"type": "card", "title": ""}), "title is missing", "content.title"),
            (json!({"type": "card", "title": 7}), "title must be a text", "content.title"),
            (json!({"type": "card", "title": "T", "count": "x"}), "count must be a whole number", "content.count"),
            (json!({"type": "card", "title": "T", "loud": 2}), "loud must be true or false", "content.loud"),
            (json!({"type": "card", "title": "T", "who": [1]}), "who must be a list of texts", "content.who[0]"),
            (json!({"type": "card", "title": "T", "raw": "x"}), "raw must be an object or a list", "content.raw"),
            (json!({"type": "card", "title": "T", "rows": {}}), "rows must be a list", "content.rows"),
            (json!({"type": "card", "title": "T", "rows": [{}]}), "rows: key is missing", "content.rows[0].key"),
            (json!({"type": "letter"}), "letter is not a type of message", "content.type"),
        ];
        for (content, expected, field) in cases {
            assert_eq!(build(KINDS, &content).err().as_deref(), Some(expected), "{content}");
            let errors = check(KINDS, content.as_object().expect("an object"));
            assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), [field], "{content}");
        }
        assert_eq!(build(KINDS, &json!({})).err().as_deref(), Some("type is missing"));
        let open = json!({"type": "card", "title": "{{ t }}", "count": "{{ n }}", "raw": "{{ card }}"});
        assert_eq!(check(KINDS, open.as_object().expect("an object")), []);
    }
}
