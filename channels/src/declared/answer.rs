//! What a described supplier's answers mean: where the codes stand, and the class of each.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tidings_contract::{Outcome, Time, Token};

use super::wrong::Wrong;
use crate::http::Answer;
use crate::sms::{Verdict, judged};
use crate::status::{outcome_of_api, words};

/// How answers are read. Places are JSON pointers (RFC 6901).
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Answers {
    /// Where the list of results stands, one for each recipient.
    list: Option<String>,
    /// Where in a result its recipient stands; without it results stand in the order of the request.
    recipient: Option<String>,
    /// Where the code stands: in a result, and in an answer without results. Without it the status decides.
    code: Option<String>,
    /// Codes that mean yes.
    success: Vec<String>,
    /// Where words and the supplier's id stand, beside the code.
    words: Option<String>,
    id: Option<String>,
    /// The class of codes that mean no, and of those that are not named.
    classes: BTreeMap<String, Class>,
    otherwise: Class,
}

/// What a code means.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Class {
    #[default]
    Later,
    Account,
    Content,
    Recipient,
    Unknown,
    /// The access token is no longer good.
    Token,
}

impl Answers {
    /// Whether the fields fit together.
    pub(crate) fn check(&self, batch: bool) -> Result<(), Wrong> {
        let wrong = |field: &str, detail: &str| Err(Wrong::at(format!("answer.{field}"), detail));
        let (list, code, words) = (("list", &self.list), ("code", &self.code), ("words", &self.words));
        for (field, pointer) in [list, ("recipient", &self.recipient), code, words, ("id", &self.id)] {
            if pointer.as_ref().is_some_and(|pointer| !is_pointer(pointer)) {
                return wrong(field, NO_POINTER);
            }
        }
        match (&self.code, self.success.is_empty()) {
            (Some(_), true) => wrong("success", "is required with code"),
            (None, false) => wrong("code", "is required with success"),
            (None, true) if self.list.is_some() => wrong("code", "is required with list"),
            _ if self.list.is_some() && !batch => wrong("list", "goes together with item"),
            _ => Ok(()),
        }
    }

    /// One outcome for each of `recipients`, as they were written in the request.
    pub(crate) fn judge(&self, answer: &Answer, recipients: &[String], at: Time) -> Vec<Outcome> {
        let whole = |outcome: Outcome| vec![outcome; recipients.len()];
        let by_status = || outcome_of_api(answer, at);
        let Ok(body) = answer.json::<Value>() else {
            let silent = answer.is_success() && self.code.is_some();
            return whole(if silent { Outcome::unknown("answer", words(answer)) } else { by_status() });
        };
        if self.code.is_none() {
            return whole(match by_status() {
                Outcome::Delivered { .. } => Outcome::Delivered { provider_id: self.id(&body) },
                other => other,
            });
        }
        let list = self.list.as_deref().and_then(|list| body.pointer(list)).and_then(Value::as_array);
        match (list, self.verdict(&body)) {
            (Some(results), _) if !results.is_empty() => self.each(results, recipients),
            (_, None) if answer.is_success() => whole(Outcome::unknown("answer", words(answer))),
            (_, None) => whole(by_status()),
            // Yes to all, where one verdict for each was to be there, is not understood.
            (_, Some(Outcome::Delivered { .. })) if self.list.is_some() => {
                whole(Outcome::unknown("answer", words(answer)))
            }
            (_, Some(outcome)) => whole(outcome),
        }
    }

    fn each(&self, results: &[Value], recipients: &[String]) -> Vec<Outcome> {
        let find = |(at, recipient): (usize, &String)| match &self.recipient {
            None => results.get(at),
            Some(place) => results.iter().find(|result| text_at(result, place).as_ref() == Some(recipient)),
        };
        let verdict = |result: &Value| self.verdict(result);
        let found = recipients.iter().enumerate().map(|entry| find(entry).and_then(verdict));
        found
            .map(|found| found.unwrap_or_else(|| Outcome::unknown("answer", "the answer does not name this recipient")))
            .collect()
    }

    /// The outcome of the code in `result`; `None` where there is none.
    fn verdict(&self, result: &Value) -> Option<Outcome> {
        let code = text_at(result, self.code.as_deref()?)?;
        if self.success.contains(&code) {
            return Some(Outcome::Delivered { provider_id: self.id(result) });
        }
        let words = self.words.as_deref().and_then(|place| text_at(result, place)).unwrap_or_default();
        let verdict = match self.classes.get(&code).copied().unwrap_or(self.otherwise) {
            Class::Later => Verdict::Later,
            Class::Account => Verdict::Account,
            Class::Content => Verdict::Content,
            Class::Recipient => Verdict::Recipient,
            Class::Unknown => Verdict::Unknown,
            Class::Token => return Some(Outcome::later(Token::INVALID, words)),
        };
        Some(judged(verdict, &format!("code_{code}"), &words))
    }

    fn id(&self, result: &Value) -> Option<String> {
        text_at(result, self.id.as_deref()?)
    }
}

/// What is said of a place that is none.
pub(crate) const NO_POINTER: &str = "is a place, a JSON pointer: it begins with a slash";

/// Whether it is a JSON pointer (RFC 6901).
pub(crate) fn is_pointer(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}

/// A text, number or yes or no at that place, as a text.
pub(crate) fn text_at(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
