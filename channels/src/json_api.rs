//! What suppliers with JSON over HTTP have in common: opening an account, posting, and reading the verdict.

use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidings_contract::{Blame, FieldError, Outcome, Reason, Secret, Setting, Time, Token};

use crate::http::{
    Answer, Client, ClientOptions, Failure, HeaderMap, HeaderName, HeaderValue, Method, PROVIDER_BODY_LIMIT,
    USER_AGENT, Url, header,
};
use crate::reading::Reading;
use crate::status::{outcome_of_api, without, words};

/// The setting by which tests and gateways put another server in the supplier's place.
pub(crate) const ENDPOINT: Setting = Setting {
    name: "endpoint",
    required: false,
    secret: false,
    doc: "Where the interface is, without a query; default is the supplier's. Must be https unless it is on this machine.",
};
/// How long one call may take.
pub(crate) const TIMEOUT: Setting = Setting {
    name: "timeout_ms",
    required: false,
    secret: false,
    doc: "How long one call may take, in milliseconds, 100 to 20,000; default 10,000.",
};
/// Longest time one call of a provider here may take before its end counts as unknown: `timeout_ms` at its longest and
/// a little more.
pub(crate) const DEADLINE: Duration = Duration::from_secs(25);

/// Longest time an upload may take: files are large, and a slow line to the supplier is no reason to begin again.
const UPLOAD: Duration = Duration::from_secs(60);

/// Most of an answer's body that is read, in bytes: a thousand recipients have a line each.
const BODY_LIMIT: usize = 4 * PROVIDER_BODY_LIMIT;

/// A setting that must be there.
pub(crate) const fn needed(name: &'static str, doc: &'static str) -> Setting {
    Setting { name, required: true, secret: false, doc }
}

/// A secret that must be there.
pub(crate) const fn needed_secret(name: &'static str, doc: &'static str) -> Setting {
    Setting { name, required: true, secret: true, doc }
}

/// A setting that may be there.
pub(crate) const fn optional(name: &'static str, doc: &'static str) -> Setting {
    Setting { name, required: false, secret: false, doc }
}

/// A secret that may be there.
pub(crate) const fn optional_secret(name: &'static str, doc: &'static str) -> Setting {
    Setting { name, required: false, secret: true, doc }
}

/// A supplier's interface, as one account sees it. `Debug` shows its address only.
pub(crate) struct Api {
    client: Client,
    endpoint: Url,
    timeout: Duration,
    secrets: Vec<Secret>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("endpoint", &self.endpoint.as_str()).finish_non_exhaustive()
    }
}

/// The settings that every account here has, read and not yet opened.
#[derive(Debug)]
pub(crate) struct ApiSettings {
    endpoint: Url,
    timeout: Duration,
}

impl ApiSettings {
    /// Reads [`ENDPOINT`] and [`TIMEOUT`].
    pub(crate) fn read(reading: &mut Reading<'_>, default: &str) -> Option<Self> {
        Self::read_at(reading, ENDPOINT.name, default)
    }

    /// The same with another name for the setting of the address.
    pub(crate) fn read_at(reading: &mut Reading<'_>, name: &str, default: &str) -> Option<Self> {
        let timeout = reading.timeout(10_000, 20_000);
        let endpoint = Url::parse(reading.text(name).unwrap_or(default)).ok().filter(is_safe);
        let endpoint = reading.known(name, "must be an https URL without a query", endpoint)?;
        Some(Self { endpoint, timeout })
    }

    /// Opens the account. `secrets` are taken out of whatever the supplier says.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn open<'a>(self, secrets: impl IntoIterator<Item = &'a Secret>) -> Result<Api, Vec<FieldError>> {
        self.open_with(Client::new, secrets)
    }

    /// The same over HTTP/2, for suppliers that speak nothing else. An address in the clear is spoken to in HTTP/1.1.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn open_http2<'a>(self, secrets: impl IntoIterator<Item = &'a Secret>) -> Result<Api, Vec<FieldError>> {
        let client = if self.endpoint.scheme() == "https" { Client::new_http2 } else { Client::new };
        self.open_with(client, secrets)
    }

    /// Opens the account with that kind of client.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn open_with<'a>(
        self,
        client: fn(ClientOptions) -> Result<Client, Failure>,
        secrets: impl IntoIterator<Item = &'a Secret>,
    ) -> Result<Api, Vec<FieldError>> {
        let options = ClientOptions { body_limit: BODY_LIMIT, ..ClientOptions::provider(self.timeout, false) };
        let client = client(options).map_err(|failure| vec![FieldError::new("settings", failure.to_string())])?;
        let secrets = secrets.into_iter().cloned().collect();
        Ok(Api { client, endpoint: self.endpoint, timeout: self.timeout, secrets })
    }
}

/// Secrets travel with every call, so none may go in the clear, except to this machine.
pub(crate) fn is_safe(url: &Url) -> bool {
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    url.query().is_none() && (url.scheme() == "https" || (url.scheme() == "http" && local))
}

impl Api {
    /// How long one call may take.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The address of `path` below the endpoint, with `query` escaped.
    pub(crate) fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("{}{path}", self.endpoint.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn post(&self, url: Url, mut headers: HeaderMap, body: &Value) -> Result<Answer, Failure> {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        self.call(Method::POST, url, headers, Bytes::from(body.to_string())).await
    }

    /// Makes a call with any body.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn call(
        &self,
        method: Method,
        url: Url,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        headers.insert(header::USER_AGENT, USER_AGENT);
        self.client.call(method, url, headers, body).await
    }

    /// Uploads a file in a form.
    ///
    /// # Errors
    /// The outcome of a failure, without any of the account's secrets.
    pub(crate) async fn upload<T>(
        &self,
        url: Url,
        mut headers: HeaderMap,
        (content_type, body): (HeaderValue, Bytes),
        token: Option<&Secret>,
        read: impl FnOnce(&Answer) -> Result<T, Outcome>,
    ) -> Result<T, Outcome> {
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::USER_AGENT, USER_AGENT);
        let sent = self.client.call_within(UPLOAD.max(self.timeout), Method::POST, url, headers, body).await;
        self.settle_with(sent, token, read)
    }

    /// What a call came to: its answer as `judge` reads it, without any of the account's secrets.
    pub(crate) fn settle(
        &self,
        sent: Result<Answer, Failure>,
        token: Option<&Secret>,
        judge: impl FnOnce(&Answer) -> Outcome,
    ) -> Outcome {
        match sent {
            Ok(answer) => self.clean(judge(&answer), token),
            Err(failure) => failure.into(),
        }
    }

    /// What a call for something else than an outcome came to.
    ///
    /// # Errors
    /// Why there is no such thing, without any of the account's secrets.
    pub(crate) fn settle_as<T>(
        &self,
        sent: Result<Answer, Failure>,
        token: Option<&Secret>,
        read: impl FnOnce(&Answer) -> Result<T, Outcome>,
    ) -> Result<T, Reason> {
        let settled = self.settle_with(sent, token, read);
        let lacking = || Reason::new("answer", "the answer lacks what was asked for");
        settled.map_err(|failed| failed.reason().cloned().unwrap_or_else(lacking))
    }

    /// The same with the class of the failure.
    ///
    /// # Errors
    /// The outcome that is not a yes, without any of the account's secrets.
    pub(crate) fn settle_with<T>(
        &self,
        sent: Result<Answer, Failure>,
        token: Option<&Secret>,
        read: impl FnOnce(&Answer) -> Result<T, Outcome>,
    ) -> Result<T, Outcome> {
        match sent {
            Ok(answer) => read(&answer).map_err(|outcome| self.clean(outcome, token)),
            Err(failure) => Err(failure.into()),
        }
    }

    /// What a call for an access token came to. Of a refusal only the code is kept: its words could hold a token, which
    /// nobody here could know as one.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn settle_token<T>(
        &self,
        sent: Result<Answer, Failure>,
        read: impl FnOnce(&Answer) -> Result<T, Outcome>,
    ) -> Result<T, Reason> {
        let answered = sent.is_ok();
        self.settle_as(sent, None, read).map_err(|reason| match answered {
            true => Reason::new(reason.code, "the supplier gave no access token"),
            false => reason,
        })
    }

    /// The outcome without any of the account's secrets, should the supplier repeat them.
    pub(crate) fn clean(&self, outcome: Outcome, token: Option<&Secret>) -> Outcome {
        without(outcome, self.secrets.iter().chain(token))
    }
}

/// `name: <before><token>`; empty if the token cannot stand in a header, and the supplier then says so.
pub(crate) fn secret_header(name: HeaderName, before: &str, token: &Secret) -> HeaderMap {
    let Ok(mut value) = HeaderValue::from_str(&format!("{before}{}", token.expose())) else { return HeaderMap::new() };
    value.set_sensitive(true);
    HeaderMap::from_iter([(name, value)])
}

/// `Authorization: Bearer <token>`.
pub(crate) fn bearer(token: &Secret) -> HeaderMap {
    secret_header(header::AUTHORIZATION, "Bearer ", token)
}

/// The content cannot be sent; `detail` says why.
pub(crate) fn refused(detail: impl Into<String>) -> Outcome {
    Outcome::never(Blame::Content, "content", detail)
}

/// Reads a 2xx answer's JSON; any other answer, and one that is not understood, is the outcome already.
///
/// # Errors
/// The outcome by the HTTP status, or unknown.
pub(crate) fn read<T: DeserializeOwned>(answer: &Answer, at: Time) -> Result<T, Outcome> {
    if !answer.is_success() {
        return Err(outcome_of_api(answer, at));
    }
    answer.json().map_err(|_| Outcome::unknown("answer", words(answer)))
}

/// Reads the JSON of suppliers that give their own code beside a 4xx. A 429 or 5xx is judged by its status alone.
///
/// # Errors
/// The outcome by the HTTP status where there is no such JSON; unknown for a 2xx that is not understood.
pub(crate) fn read_coded<T: DeserializeOwned>(answer: &Answer, at: Time) -> Result<T, Outcome> {
    match answer.status {
        400..=428 => answer.json().map_err(|_| outcome_of_api(answer, at)),
        _ => read(answer, at),
    }
}

/// An account whose supplier wants a token was called without one: the host fetches one and comes again.
pub(crate) fn no_token() -> Outcome {
    Outcome::later(Token::INVALID, "no access token was given")
}

/// What a supplier's code means for the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Not taken now.
    Later,
    /// Not taken now, and not before so many milliseconds.
    After(u64),
    /// The access token is no longer good.
    Token,
    /// Never; the recipient's fault.
    Recipient,
    /// Never; there is no such recipient any more.
    Gone,
    /// Never; the content's fault.
    Content,
    /// Never; the account's fault.
    Account,
    /// Nobody can tell.
    Unknown,
}

impl Class {
    /// The outcome of this class.
    pub(crate) fn outcome(self, code: String, words: &str) -> Outcome {
        match self {
            Self::Later => Outcome::later(code, words),
            Self::After(ms) => Outcome::Later { reason: Reason::new(code, words), after_ms: Some(ms) },
            Self::Token => Outcome::later(Token::INVALID, format!("{code}: {words}")),
            Self::Recipient => Outcome::never(Blame::Recipient, code, words),
            Self::Gone => Outcome::never(Blame::Gone, code, words),
            Self::Content => Outcome::never(Blame::Content, code, words),
            Self::Account => Outcome::never(Blame::Account, code, words),
            Self::Unknown => Outcome::unknown(code, words),
        }
    }
}

/// A supplier's documented codes and their classes.
#[derive(Debug)]
pub(crate) struct Codes<K: 'static> {
    /// Put before the code in a reason: `errcode` makes `errcode_40001`.
    pub(crate) prefix: &'static str,
    /// The codes of each class.
    pub(crate) classes: &'static [(Class, &'static [K])],
    /// The class of any other code.
    pub(crate) other: Class,
}

impl<K: fmt::Display> Codes<K> {
    /// The class of `code`.
    pub(crate) fn class<Q: PartialEq + ?Sized>(&self, code: &Q) -> Class
    where
        K: Borrow<Q>,
    {
        let found = self.classes.iter().find(|(_, codes)| codes.iter().any(|known| known.borrow() == code));
        found.map_or(self.other, |(class, _)| *class)
    }

    /// The outcome of `code`, which is not the one of success.
    pub(crate) fn outcome<Q: PartialEq + fmt::Display + ?Sized>(&self, code: &Q, words: &str) -> Outcome
    where
        K: Borrow<Q>,
    {
        self.class(code).outcome(format!("{}_{code}", self.prefix), words)
    }
}

/// The verdict that DingTalk, WeCom and WeChat put into every answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Verdict {
    /// 0 is yes.
    pub(crate) errcode: i64,
    /// In the supplier's words.
    #[serde(default)]
    pub(crate) errmsg: String,
    /// DingTalk's finer code, a number in a text, inside of its 88.
    #[serde(default)]
    sub_code: Option<String>,
}

impl Verdict {
    /// Reads an answer that says yes or why not.
    ///
    /// # Errors
    /// The outcome, if it is not a yes.
    pub(crate) fn accept<T: DeserializeOwned>(answer: &Answer, at: Time, codes: &Codes<i64>) -> Result<T, Outcome> {
        let verdict: Self = read(answer, at)?;
        if verdict.errcode != 0 {
            let finer = verdict.sub_code.and_then(|code| code.parse::<i64>().ok()).filter(|code| *code != 0);
            return Err(codes.outcome(&finer.unwrap_or(verdict.errcode), &verdict.errmsg));
        }
        read(answer, at)
    }
}

/// A token as DingTalk, WeCom and WeChat give it.
#[derive(Debug, Deserialize)]
pub(crate) struct GivenToken {
    access_token: Secret,
    expires_in: u64,
}

impl From<GivenToken> for Token {
    fn from(given: GivenToken) -> Self {
        Self { secret: given.access_token, expires_in: Duration::from_secs(given.expires_in) }
    }
}

/// The id of an uploaded file as DingTalk and WeCom give it.
#[derive(Debug, Deserialize)]
pub(crate) struct GivenMedia {
    pub(crate) media_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_the_class_of_its_row_or_that_of_all_others() {
        const CODES: Codes<&str> =
            Codes { prefix: "error", classes: &[(Class::Content, &["too_long", "no_text"])], other: Class::Later };
        assert_eq!(CODES.outcome("no_text", "x"), Outcome::never(Blame::Content, "error_no_text", "x"));
        assert_eq!(CODES.outcome("else", "x"), Outcome::later("error_else", "x"));
        let token = Class::Token.outcome("errcode_1".to_owned(), "expired");
        assert_eq!(token, Outcome::later(Token::INVALID, "errcode_1: expired"));
    }

    #[test]
    fn nothing_secret_travels_in_the_clear_except_to_this_machine() {
        let cases = [
            ("https://a.example", true),
            ("https://a.example/b", true),
            ("http://127.0.0.1:80/b", true),
            ("http://localhost/", true),
            ("http://[::1]:8080/", true),
            ("http://a.example/", false),
            ("ftp://a.example/", false),
            ("https://a.example/?b=c", false),
            ("http://localhost.a.example/", false),
        ];
        for (url, safe) in cases {
            assert_eq!(is_safe(&Url::parse(url).expect("a URL")), safe, "{url}");
        }
    }
}
