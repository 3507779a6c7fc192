//! Looks through rendered content: every string of its JSON at any depth, but never the names of fields.

use serde_json::Value;

use super::Dictionary;

/// A word that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where: `content.card.title`, `content.rows[2]`.
    pub field: String,
    /// What stands there, as it was written.
    pub word: String,
}

/// The first word of `dictionary` in `content`. Links are looked through as well.
pub fn find(dictionary: &Dictionary, content: &Value) -> Option<Found> {
    find_in(dictionary, content, "content")
}

fn find_in(dictionary: &Dictionary, value: &Value, path: &str) -> Option<Found> {
    match value {
        Value::String(text) => {
            let at = dictionary.first(text)?;
            Some(Found { field: path.to_owned(), word: text.get(at).unwrap_or_default().to_owned() })
        }
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(n, item)| find_in(dictionary, item, &format!("{path}[{n}]")))
        }
        Value::Object(fields) => {
            fields.iter().find_map(|(name, field)| find_in(dictionary, field, &format!("{path}.{name}")))
        }
        _ => None,
    }
}

/// The fields of `content`, at most so many, in which words would be masked.
pub(crate) fn fields(dictionary: &Dictionary, content: &Value, most: usize) -> Vec<String> {
    let mut found = Vec::new();
    fields_in(dictionary, content, "content", most, &mut found);
    found
}

fn fields_in(dictionary: &Dictionary, value: &Value, path: &str, most: usize, found: &mut Vec<String>) {
    if found.len() >= most {
        return;
    }
    match value {
        Value::String(text) if !is_link(text) && dictionary.first(text).is_some() => found.push(path.to_owned()),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(n, item)| fields_in(dictionary, item, &format!("{path}[{n}]"), most, found));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, item)| fields_in(dictionary, item, &format!("{path}.{name}"), most, found));
        }
        _ => {}
    }
}

/// Puts a `*` in the place of every character of every word of `dictionary` in `content`; gives how many places that were.
/// A string that is a link as a whole stays: a masked link leads nowhere.
pub fn mask(dictionary: &Dictionary, content: &mut Value) -> u32 {
    match content {
        Value::String(text) if !is_link(text) => mask_text(dictionary, text),
        Value::Array(items) => items.iter_mut().fold(0, |sum, item| mask(dictionary, item).saturating_add(sum)),
        Value::Object(fields) => fields.values_mut().fold(0, |sum, field| mask(dictionary, field).saturating_add(sum)),
        _ => 0,
    }
}

fn mask_text(dictionary: &Dictionary, text: &mut String) -> u32 {
    let found = dictionary.all(text);
    if found.is_empty() {
        return 0;
    }
    let (mut masked, mut end) = (String::with_capacity(text.len()), 0);
    for at in &found {
        masked.push_str(text.get(end..at.start).unwrap_or_default());
        masked.extend(text.get(at.clone()).unwrap_or_default().chars().map(|_| '*'));
        end = at.end;
    }
    masked.push_str(text.get(end..).unwrap_or_default());
    *text = masked;
    u32::try_from(found.len()).unwrap_or(u32::MAX)
}

/// Whether the whole of a text is a link: a scheme, `://`, and no space.
fn is_link(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || ['+', '-', '.'].contains(&c));
    named && !rest.is_empty() && rest.is_ascii() && !rest.contains(|c: char| c.is_ascii_whitespace())
}
