//! One call as it came to the double: taking it apart, finding its mark, and handing out ids and tokens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use parking_lot::Mutex;
use serde_json::Value;
use sha2::Sha256;
use url::form_urlencoded;

use super::{Given, MARK, Role};

/// Digits after [`MARK`].
const DIGITS: usize = 4;

/// An answer, or why the vendor would refuse the call.
pub(super) type Taken = Result<Reply, String>;

/// What all calls share.
#[derive(Debug, Default)]
pub(super) struct Desk {
    last: AtomicU64,
    /// Tokens that were given, by account.
    pub(super) tokens: Mutex<BTreeMap<String, Vec<String>>>,
    /// Ids of files that were given, by account.
    pub(super) files: Mutex<BTreeMap<String, Vec<String>>>,
    /// How often each file was uploaded, by account, kind and name.
    pub(super) uploads: Mutex<BTreeMap<String, u64>>,
}

impl Desk {
    /// A number nobody had before.
    pub(super) fn next(&self) -> u64 {
        600_000_000 + self.last.fetch_add(1, Ordering::Relaxed)
    }
}

/// A call.
pub(super) struct Ask<'a> {
    pub(super) desk: &'a Desk,
    pub(super) account: &'a str,
    pub(super) role: &'a Role,
    pub(super) method: &'a str,
    /// What stands after the account's folder, with its slash.
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// What goes back, and what was taken by it.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
    pub(super) given: Vec<Given>,
}

impl Reply {
    /// A 200 with JSON.
    pub(super) fn json(body: &Value, given: Vec<Given>) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status: 200, headers, body: body.to_string(), given }
    }

    /// The same with another status.
    pub(super) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// A text.
    pub(super) fn text(status: u16, body: &str, given: Vec<Given>) -> Self {
        Self { status, body: body.to_owned(), given, ..Self::default() }
    }
}

/// Says `words` unless it holds.
pub(super) fn needs(holds: bool, words: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(words.to_owned()) }
}

/// A list of texts.
pub(super) fn texts(value: &Value) -> Result<Vec<String>, String> {
    let list = value.as_array().ok_or("a list is missing")?;
    list.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(|| format!("{one} is not a text"))).collect()
}

/// The text of a field.
pub(super) fn text(value: &Value, name: &str) -> Result<String, String> {
    value[name].as_str().map(str::to_owned).ok_or_else(|| format!("{name} is missing"))
}

/// The first mark in a text.
pub(super) fn mark_in(text: &str) -> Result<String, String> {
    let found = text.match_indices(MARK).map(|(at, _)| &text[at..]).find_map(|rest| {
        let mark = rest.get(..MARK.len() + DIGITS)?;
        mark[MARK.len()..].bytes().all(|byte| byte.is_ascii_digit()).then(|| mark.to_owned())
    });
    found.ok_or_else(|| "the message has no mark".to_owned())
}

/// HMAC-SHA256.
pub(super) fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    // A key may be as long as it likes.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

impl Ask<'_> {
    /// The body of a POST as JSON.
    pub(super) fn json(&self) -> Result<Value, String> {
        needs(self.method == "POST", "it is not a POST")?;
        needs(self.header("content-type")?.starts_with("application/json"), "it is not said to be JSON")?;
        serde_json::from_slice(self.body).map_err(|error| format!("the body is not JSON: {error}"))
    }

    /// The body of a POST as a form.
    pub(super) fn form(&self) -> Result<BTreeMap<String, String>, String> {
        needs(self.method == "POST", "it is not a POST")?;
        let kind = self.header("content-type")?;
        needs(kind.starts_with("application/x-www-form-urlencoded"), "it is not said to be a form")?;
        Ok(form_urlencoded::parse(self.body).into_owned().collect())
    }

    /// A parameter of the address.
    pub(super) fn param(&self, name: &str) -> Result<String, String> {
        let found = form_urlencoded::parse(self.query.as_bytes()).find(|(known, _)| known == name);
        found.map(|(_, value)| value.into_owned()).ok_or_else(|| format!("{name} is missing in the address"))
    }

    /// A header.
    pub(super) fn header(&self, name: &str) -> Result<&str, String> {
        let found = self.headers.get(name).and_then(|value| value.to_str().ok());
        found.ok_or_else(|| format!("the header {name} is missing"))
    }

    /// A text of the account's settings; empty where there is none.
    pub(super) fn setting(&self, name: &str) -> &str {
        self.role.settings[name].as_str().unwrap_or_default()
    }

    /// Whether the path is the one.
    pub(super) fn at(&self, path: &str) -> Result<(), String> {
        needs(self.path == path, &format!("there is no {}", self.path))
    }

    /// The mark of the whole call.
    pub(super) fn mark(&self) -> Result<String, String> {
        mark_in(&String::from_utf8_lossy(self.body)).or_else(|_| mark_in(self.query))
    }

    /// An id that begins so.
    pub(super) fn id(&self, before: &str) -> String {
        format!("{before}{}", self.desk.next())
    }

    /// What a recipient was given.
    pub(super) fn give(&self, to: &str, mark: &str, id: Option<String>) -> Given {
        Given { account: self.account.to_owned(), to: to.to_owned(), mark: mark.to_owned(), id }
    }

    /// The same for the recipients of a call that has one id.
    pub(super) fn give_all(&self, to: &[String], id: &str) -> Result<Vec<Given>, String> {
        let mark = self.mark()?;
        needs(!to.is_empty(), "there is no recipient")?;
        Ok(to.iter().map(|to| self.give(to, &mark, Some(id.to_owned()))).collect())
    }

    /// A call to an account that is its own recipient, by a vendor without ids.
    pub(super) fn give_robot(&self) -> Result<Vec<Given>, String> {
        Ok(vec![self.give("", &self.mark()?, None)])
    }

    /// A new access token.
    pub(super) fn new_token(&self) -> String {
        let token = self.id(&format!("{}-token-", self.account));
        self.desk.tokens.lock().entry(self.account.to_owned()).or_default().push(token.clone());
        token
    }

    /// Whether the access token is one that was given to this account.
    pub(super) fn knows(&self, token: &str) -> Result<(), String> {
        let tokens = self.desk.tokens.lock();
        let known = tokens.get(self.account).is_some_and(|given| given.iter().any(|given| given == token));
        needs(known, "the access token was never given")
    }

    /// The token in `Authorization: Bearer`.
    pub(super) fn bearer(&self) -> Result<&str, String> {
        self.header("authorization")?.strip_prefix("Bearer ").ok_or_else(|| "it is not a bearer token".to_owned())
    }
}
