//! The one door to a node: every command that asks something asks it here, over HTTP.

use std::time::Duration;

use serde_json::Value;
use tidings_channels::http::{
    Answer, Client, ClientOptions, Download, Failure as CallFailure, HeaderMap, HeaderValue, Method, Url,
};
use tidings_contract::Secret;

use super::failure::Failure;

/// Longest time of one call. A node answers, or says that it cannot, well before.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer: 500 deliveries with everything are far below.
const BODY_LIMIT: usize = 64 * 1_024 * 1_024;

/// The API of one node, with the key to use.
#[derive(Clone, Debug)]
pub(super) struct Api {
    http: Client,
    base: Url,
    key: Option<Secret>,
}

/// A good answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// The body as it came.
    pub(super) raw: Vec<u8>,
    /// The body read; null where it is empty.
    pub(super) value: Value,
    /// Whether the node says that it had answered the same request before.
    pub(super) replayed: bool,
}

/// One thing to ask for.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    method: Method,
    path: &'a [&'a str],
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    idempotency_key: Option<&'a str>,
}

impl<'a> Ask<'a> {
    fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self { method, path, query: Vec::new(), body: None, idempotency_key: None }
    }

    /// Reads `path`, given in segments that are escaped here.
    pub(super) fn get(path: &'a [&'a str]) -> Self {
        Self::new(Method::GET, path)
    }

    /// Writes `body` at `path`.
    pub(super) fn put(path: &'a [&'a str], body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::PUT, path) }
    }

    /// Asks `path` to do something with `body`.
    pub(super) fn post(path: &'a [&'a str], body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::POST, path) }
    }

    /// Removes what is at `path`.
    pub(super) fn delete(path: &'a [&'a str]) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Adds one query parameter, if there is a value for it.
    #[must_use]
    pub(super) fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// Makes the request repeatable under `key`.
    #[must_use]
    pub(super) fn idempotent(mut self, key: &'a str) -> Self {
        self.idempotency_key = Some(key);
        self
    }
}

impl Api {
    /// The API at `url`, asked with `key`.
    pub(super) fn new(url: &str, key: Option<Secret>) -> Result<Self, Failure> {
        let wrong = |words: String| Failure::Usage(format!("--url {url}: {words}"));
        let base: Url = url.parse().map_err(|error| wrong(format!("{error}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(wrong("must be like http://127.0.0.1:7400".to_owned()));
        }
        let options = ClientOptions { timeout: TIMEOUT, body_limit: BODY_LIMIT, public_only: false, gzip: true };
        let http = Client::new(options).map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(Self { http, base, key })
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Reply, Failure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(ask.path);
        }
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = ask.idempotency_key {
            let value = HeaderValue::from_str(key)
                .map_err(|_| Failure::Usage("--idempotency-key must be visible ASCII".to_owned()))?;
            headers.insert("idempotency-key", value);
        }
        let answer = self.http.json(ask.method, url, self.key.as_ref(), headers, ask.body.as_ref()).await;
        Self::read(&answer.map_err(|failure| self.unreachable(&failure))?)
    }

    fn read(answer: &Answer) -> Result<Reply, Failure> {
        if answer.cut {
            return Err(Failure::Failed("the answer is too long; ask for less with --limit".to_owned()));
        }
        if !answer.is_success() {
            return Err(Failure::Refused { status: answer.status, body: answer.body.to_vec() });
        }
        let value = if answer.body.is_empty() { Ok(Value::Null) } else { answer.json() };
        let value = value.map_err(|error| Failure::Failed(format!("the answer is not JSON: {error}")))?;
        let replayed = answer.header("idempotent-replayed") == Some("true");
        Ok(Reply { raw: answer.body.to_vec(), value, replayed })
    }

    /// Sends the bytes of a file, which has that media type.
    pub(super) async fn upload(
        &self,
        path: &[&str],
        name: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<Reply, Failure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url.query_pairs_mut().append_pair("name", name);
        let media_type = HeaderValue::from_str(media_type)
            .map_err(|_| Failure::Usage("--media-type must be like image/png".to_owned()))?;
        let sent = self.http.upload(url, self.key.as_ref(), media_type, bytes.into()).await;
        Self::read(&sent.map_err(|failure| self.unreachable(&failure))?)
    }

    /// Reads `path` bit by bit, however long it is.
    pub(super) async fn download(&self, path: &[&str]) -> Result<Download, Failure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let begun = self.http.download(url, self.key.as_ref()).await;
        let mut download = begun.map_err(|failure| self.unreachable(&failure))?;
        if download.status / 100 == 2 {
            return Ok(download);
        }
        let mut body = Vec::new();
        while let Some(chunk) = download.next().await.map_err(|failure| self.unreachable(&failure))? {
            body.extend_from_slice(&chunk);
        }
        Err(Failure::Refused { status: download.status, body })
    }

    /// Asks, and takes an answer of `not_found` for none.
    pub(super) async fn find(&self, ask: Ask<'_>) -> Result<Option<Reply>, Failure> {
        match self.ask(ask).await {
            Ok(reply) => Ok(Some(reply)),
            Err(Failure::Refused { status: 404, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn unreachable(&self, failure: &CallFailure) -> Failure {
        let base = self.base.as_str().trim_end_matches('/');
        Failure::Unreachable(match failure {
            CallFailure::NotSent { .. } | CallFailure::Forbidden { .. } => {
                format!(
                    "cannot reach {base}: {failure}\nWhat to do: start a node with `tidings dev`, or name one with --url."
                )
            }
            CallFailure::Broken { .. } => {
                format!("no answer from {base}: {failure}\nWhat was asked may have been done all the same.")
            }
        })
    }
}

/// Whether `url` names this machine, by name or by number.
pub(super) fn is_here(url: &str) -> bool {
    let Ok(url) = url.parse::<Url>() else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_here() {
        for here in ["http://127.0.0.1:7400", "http://localhost", "http://[::1]:7400/"] {
            assert!(is_here(here), "{here}");
        }
        for there in
            ["http://10.0.0.1:7400", "http://127.0.0.1.example.com", "http://localhost@example.com", "nonsense"]
        {
            assert!(!is_here(there), "{there}");
        }
    }

    #[test]
    fn an_url_that_is_no_api_is_wrong_usage() {
        for url in ["ftp://host", "host:7400", "mailto:x", ""] {
            assert!(matches!(Api::new(url, None), Err(Failure::Usage(_))), "{url}");
        }
    }
}
