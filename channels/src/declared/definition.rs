//! The document that describes a supplier, read and checked as a whole.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::answer::{Answers, NO_POINTER, is_pointer};
use super::template::{Shape, Text};
use super::wrong::Wrong;
use crate::http::{HeaderName, Url};
use crate::reading::safe_url;

/// Most recipients that a definition may ask for in one request.
pub(crate) const MOST: usize = 200;
/// Longest definition, in bytes of JSON.
const LONGEST: usize = 64 * 1_024;
/// What stands in for an endpoint while a document is checked without an account; nothing is ever sent there.
const NO_ENDPOINT: &str = "https://endpoint.invalid";
/// What may stand in placeholders everywhere.
const NAMES: [&str; 6] = ["user", "secret", "at_ms", "at_s", "delivery", "token"];

/// A definition as it is typed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    url: Option<String>,
    #[serde(default)]
    method: Method,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    query: BTreeMap<String, String>,
    #[serde(default)]
    derive: Vec<TypedStep>,
    #[serde(default)]
    derive_after: Vec<TypedStep>,
    #[serde(default)]
    format: Format,
    body: Value,
    item: Option<Value>,
    most: Option<usize>,
    #[serde(default)]
    number: Number,
    #[serde(default)]
    answer: Answers,
    token: Option<TypedToken>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedStep {
    name: String,
    #[serde(default)]
    hash: Hash,
    key: Option<String>,
    text: String,
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedToken {
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    format: Format,
    body: Value,
    token: String,
    expires_in: Option<String>,
    lasts_s: Option<u64>,
}

/// How a request is sent.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) enum Method {
    #[default]
    #[serde(rename = "POST")]
    Post,
    #[serde(rename = "PUT")]
    Put,
}

/// How a body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    #[default]
    Json,
    Form,
}

/// How a phone number is written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Number {
    /// As Tidings has it: E.164.
    #[default]
    AsIs,
    /// Without its country where that is China; E.164 otherwise.
    National,
    /// Without the plus.
    Digits,
}

/// What is made of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hash {
    #[default]
    None,
    Md5,
    Sha256,
    HmacSha1,
    HmacSha256,
}

/// How the bytes of it are written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Encoding {
    #[default]
    Hex,
    Base64,
}

/// One value that is computed and then has a name.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) hash: Hash,
    pub(crate) key: Option<Text>,
    pub(crate) text: Text,
    pub(crate) encoding: Encoding,
}

/// How an access token is fetched.
#[derive(Debug)]
pub(crate) struct TokenCall {
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, Text)>,
    pub(crate) format: Format,
    pub(crate) body: Shape,
    /// Where the token stands in the answer.
    pub(crate) token: String,
    /// Where it says for how many seconds it is good.
    pub(crate) expires_in: Option<String>,
    /// For how many seconds it is good where the answer does not say.
    pub(crate) lasts_s: u64,
}

/// A definition that was checked.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) url: Url,
    /// Whether it, or the token's, stands under the account's endpoint.
    under_endpoint: bool,
    pub(crate) method: Method,
    pub(crate) headers: Vec<(HeaderName, Text)>,
    pub(crate) query: Vec<(String, Text)>,
    pub(crate) derive: Vec<Step>,
    pub(crate) derive_after: Vec<Step>,
    pub(crate) format: Format,
    pub(crate) body: Shape,
    /// What stands for one recipient in `items`; without it every recipient has a request of its own.
    pub(crate) item: Option<Shape>,
    pub(crate) most: usize,
    pub(crate) number: Number,
    pub(crate) answer: Answers,
    pub(crate) token: Option<TokenCall>,
}

impl Definition {
    /// Reads and checks a document. URLs that begin with a slash stand under `endpoint`; without one they are only checked.
    ///
    /// # Errors
    /// Where something is wrong, and what.
    pub(crate) fn read(document: &Value, endpoint: Option<&str>) -> Result<Self, Wrong> {
        if document.to_string().len() > LONGEST {
            return Err(Wrong::at("", format!("is longer than {LONGEST} bytes")));
        }
        let typed = Typed::read(document)?;
        let mut known: Vec<&str> = NAMES.to_vec();
        // What differs from one recipient to the next stands where there is one only.
        let single: &[&str] = &["to", "text", "content"];
        let (alone, lone) = if typed.item.is_some() { (&["items"][..], &[][..]) } else { (single, single) };
        let derive = steps("derive", &typed.derive, &mut known, lone)?;
        let with = |more: &[&'static str]| -> Vec<&str> { known.iter().chain(more).copied().collect() };
        let body = Shape::parse(&typed.body, &with(alone)).map_err(|wrong| wrong.within("body"))?;
        let item = typed.item.as_ref().map(|item| Shape::parse(item, &with(single)));
        let item = item.transpose().map_err(|wrong| wrong.within("item"))?;
        match (&item, typed.most) {
            (None, Some(_)) => return Err(Wrong::at("most", "goes together with item")),
            (Some(_), _) if !body.holds("items") => return Err(Wrong::at("body", "must hold {{ items }}")),
            (_, Some(most)) if !(1..=MOST).contains(&most) => {
                return Err(Wrong::at("most", format!("must be 1 to {MOST}")));
            }
            _ => {}
        }
        let mut after: Vec<&str> = with(lone);
        after.push("body");
        let derive_after = steps("derive_after", &typed.derive_after, &mut after, &[])?;
        let token = typed.token.as_ref().map(|token| token_call(token, endpoint)).transpose()?;
        typed.answer.check(item.is_some())?;
        let definition = Self {
            url: address("url", typed.url(), endpoint)?,
            under_endpoint: typed.is_under_endpoint(),
            method: typed.method,
            headers: header_texts("headers", &typed.headers, &after)?,
            query: texts("query", &typed.query, &after)?,
            derive,
            derive_after,
            format: typed.format,
            body,
            most: if item.is_some() { typed.most.unwrap_or(MOST) } else { 1 },
            item,
            number: typed.number,
            answer: typed.answer,
            token,
        };
        if definition.token.is_none() && definition.holds("token") {
            return Err(Wrong::at("token", "is required: {{ token }} stands in the document"));
        }
        Ok(definition)
    }

    /// The settings that an account must have for it.
    pub(crate) fn asks_for(&self) -> Vec<&'static str> {
        let asked = [("user", self.holds("user")), ("secret", self.holds("secret")), ("endpoint", self.under_endpoint)];
        asked.into_iter().filter(|(_, asked)| *asked).map(|(name, _)| name).collect()
    }

    /// Whether the placeholder `name` stands anywhere in it.
    fn holds(&self, name: &str) -> bool {
        let steps = self.derive.iter().chain(&self.derive_after);
        let derived = steps.flat_map(|step| step.key.iter().chain([&step.text]));
        let token = self.token.iter().flat_map(|token| &token.headers);
        let headers = self.headers.iter().chain(token).map(|(_, text)| text);
        let mut texts = derived.chain(headers).chain(self.query.iter().map(|(_, text)| text));
        let shapes = self.item.iter().chain(self.token.as_ref().map(|token| &token.body)).chain([&self.body]);
        texts.any(|text| text.holds(name)) || shapes.into_iter().any(|shape| shape.holds(name))
    }
}

impl Typed {
    fn read(document: &Value) -> Result<Self, Wrong> {
        serde_path_to_error::deserialize(document).map_err(|error| {
            let path = error.path().to_string();
            let detail = error.into_inner().to_string();
            // serde names an unknown field in its words, but may stand before it.
            let unknown = detail.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
            let name = unknown.filter(|name| path.rsplit('.').next() != Some(name)).unwrap_or_default().to_owned();
            let wrong = Wrong::at(name, detail);
            if path == "." { wrong } else { wrong.within(&path) }
        })
    }

    fn url(&self) -> &str {
        self.url.as_deref().unwrap_or("/")
    }

    fn is_under_endpoint(&self) -> bool {
        let token = self.token.as_ref().map(|token| token.url.as_str());
        [Some(self.url()), token].into_iter().flatten().any(|url| url.starts_with('/'))
    }
}

/// Reads steps; the name of each is known to the next ones.
fn steps<'a>(
    field: &str,
    typed: &'a [TypedStep],
    known: &mut Vec<&'a str>,
    more: &[&'a str],
) -> Result<Vec<Step>, Wrong> {
    let mut steps = Vec::new();
    for (at, step) in typed.iter().enumerate() {
        let wrong = |part: &str, detail: String| Wrong::at(format!("{field}[{at}].{part}"), detail);
        let here: Vec<&str> = known.iter().chain(more).copied().collect();
        let text = Text::parse(&step.text, &here).map_err(|detail| wrong("text", detail))?;
        let key = step.key.as_deref().map(|key| Text::parse(key, &here)).transpose();
        let key = key.map_err(|detail| wrong("key", detail))?;
        if matches!(step.hash, Hash::HmacSha1 | Hash::HmacSha256) != key.is_some() {
            return Err(wrong("key", "goes together with hmac_sha1 and hmac_sha256".to_owned()));
        }
        if step.name.is_empty() || known.contains(&step.name.as_str()) || step.name.contains(['.', '{', '}']) {
            return Err(wrong("name", "must be new and without dots".to_owned()));
        }
        known.push(&step.name);
        steps.push(Step { name: step.name.clone(), hash: step.hash, key, text, encoding: step.encoding });
    }
    Ok(steps)
}

fn token_call(typed: &TypedToken, endpoint: Option<&str>) -> Result<TokenCall, Wrong> {
    let known = ["user", "secret"];
    for (field, place) in [("token", Some(&typed.token)), ("expires_in", typed.expires_in.as_ref())] {
        if place.is_some_and(|place| !is_pointer(place)) {
            return Err(Wrong::at(format!("token.{field}"), NO_POINTER));
        }
    }
    Ok(TokenCall {
        url: address("token.url", &typed.url, endpoint)?,
        headers: header_texts("token.headers", &typed.headers, &known)?,
        format: typed.format,
        body: Shape::parse(&typed.body, &known).map_err(|wrong| wrong.within("token.body"))?,
        token: typed.token.clone(),
        expires_in: typed.expires_in.clone(),
        lasts_s: typed.lasts_s.unwrap_or(3_600),
    })
}

fn texts(field: &str, typed: &BTreeMap<String, String>, known: &[&str]) -> Result<Vec<(String, Text)>, Wrong> {
    let read = |(name, text): (&String, &String)| {
        let text = Text::parse(text, known).map_err(|detail| Wrong::at(format!("{field}.{name}"), detail))?;
        Ok((name.clone(), text))
    };
    typed.iter().map(read).collect()
}

fn header_texts(
    field: &str,
    typed: &BTreeMap<String, String>,
    known: &[&str],
) -> Result<Vec<(HeaderName, Text)>, Wrong> {
    let named = texts(field, typed, known)?.into_iter().map(|(name, text)| {
        let header = name.to_ascii_lowercase().parse();
        let header = header.map_err(|_| Wrong::at(format!("{field}.{name}"), "is not a header"))?;
        Ok((header, text))
    });
    named.collect()
}

/// A URL of the document's: whole, or under `endpoint`.
fn address(field: &str, text: &str, endpoint: Option<&str>) -> Result<Url, Wrong> {
    let base = endpoint.unwrap_or(NO_ENDPOINT).trim_end_matches('/');
    let whole = match text.strip_prefix('/') {
        Some("") => endpoint.unwrap_or(NO_ENDPOINT).to_owned(),
        Some(path) => format!("{base}/{path}"),
        None => text.to_owned(),
    };
    safe_url(&whole).ok_or_else(|| Wrong::at(field, "must be an https URL without a query"))
}
