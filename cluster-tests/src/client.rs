//! A fast caller of the API: pooled connections, one bound on time, and exact about what certainly was not kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Failure, Proof, When};

/// Longest time of one call. Longer than the node's own deadline, so that the node answers first.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A caller with a key. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: legacy::Client<HttpConnector, Full<Bytes>>,
    key: Arc<str>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A call without an answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Lost {
    /// The connection could not be made: nothing was sent.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It was sent, and no answer came: it may have been kept.
    #[error("no answer: {0}")]
    Unknown(String),
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not, or has another shape.
    pub fn json<T: DeserializeOwned>(&self) -> Proof<T> {
        serde_json::from_slice(&self.body).when(format!(
            "reading the answer {} {:?}",
            self.status,
            String::from_utf8_lossy(&self.body)
        ))
    }

    /// The stable code of a problem, if the answer is one (RFC 9457).
    pub fn code(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        Some(body.get("code")?.as_str()?.to_owned())
    }

    /// The answer itself if its status is `status`.
    ///
    /// # Errors
    /// Otherwise, with the body.
    pub fn expect_status(self, status: u16) -> Proof<Self> {
        if self.status == status {
            return Ok(self);
        }
        let body = String::from_utf8_lossy(&self.body);
        Err(Failure::new(format!("{status} was expected, {} came: {body}", self.status)))
    }
}

impl Client {
    /// A caller who shows `key`.
    pub fn new(key: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(2)));
        let inner = legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1_024).build(connector);
        Self { inner, key: key.into() }
    }

    /// The same connections with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { inner: self.inner.clone(), key: key.into() }
    }

    /// Makes a call and reads the whole answer. `headers` are added as they are.
    ///
    /// # Errors
    /// When no answer came; see [`Lost`].
    pub async fn call(
        &self,
        method: Method,
        url: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<Answer, Lost> {
        let not_sent = |error: &dyn std::fmt::Display| Lost::NotSent(error.to_string());
        let mut request = Request::builder().method(method).uri(url);
        if !self.key.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.key));
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|error| not_sent(&error))?;
        let whole = async {
            let response = self.inner.request(request).await.map_err(|error| {
                if error.is_connect() { not_sent(&error) } else { Lost::Unknown(format!("{error:?}")) }
            })?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| Lost::Unknown(error.to_string()))?.to_bytes();
            Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
        };
        match tokio::time::timeout(TIMEOUT, whole).await {
            Ok(result) => result,
            Err(_) => Err(Lost::Unknown("no answer in time".to_owned())),
        }
    }

    /// `GET`, 200, JSON.
    ///
    /// # Errors
    /// When anything else comes.
    pub async fn get<T: DeserializeOwned>(&self, url: &str) -> Proof<T> {
        let answer = self.call(Method::GET, url, &[], Bytes::new()).await.when(format!("GET {url}"))?;
        answer.expect_status(200).when(format!("GET {url}"))?.json()
    }

    /// Sends JSON; any answer is an answer.
    ///
    /// # Errors
    /// When none came.
    pub async fn send(&self, method: Method, url: &str, body: &Value) -> Proof<Answer> {
        let bytes = Bytes::from(body.to_string());
        self.call(method.clone(), url, &[], bytes).await.when(format!("{method} {url}"))
    }
}
