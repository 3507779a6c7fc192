//! Strict JSON: reads a body exactly as declared, and says where it is wrong.

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::app::Shared;
use crate::bodies::Share;
use crate::inflow::arrive;
use crate::problem::{Code, Problem};

/// A JSON body, read strictly.
#[derive(Debug)]
pub(crate) struct Json<T>(pub T);

/// The bytes of a body that says it is JSON, within the limit.
#[derive(Debug)]
pub(crate) struct Raw(pub Bytes);

impl FromRequest<Shared> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Problem> {
        check_media_type(request.headers())?;
        arrive(app, request, app.limits().max_body_bytes, Share::Callers).await.map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Problem> {
        let Raw(body) = Raw::from_request(request, app).await?;
        app.heavy.run(body.len(), || decode(&body)).await.map(Self)
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    let subtype = essence.split_once('/').filter(|(kind, _)| kind.eq_ignore_ascii_case("application"));
    match subtype {
        Some((_, "json")) => Ok(()),
        Some((_, sub)) if sub.eq_ignore_ascii_case("json") || sub.ends_with("+json") => Ok(()),
        _ if given.is_empty() => Err(Problem::new(Code::UnsupportedMediaType, "there is no Content-Type")),
        _ => Err(Problem::new(Code::UnsupportedMediaType, format!("Content-Type is {essence}"))),
    }
}

/// Reads `T` from `body`.
///
/// # Errors
/// `bad_json` with line and column, `unknown_field`, or `invalid_request` naming the path.
pub(crate) fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    // serde would read a list as an object by position.
    if body.trim_ascii_start().first() == Some(&b'[') {
        let read: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(body);
        return Err(match read {
            Ok(_) => Problem::field("body", "must be an object, not a list"),
            Err(error) => Problem::new(Code::BadJson, error.to_string()),
        });
    }
    // The path costs time, so it is looked for only once something is known to be wrong.
    serde_json::from_slice(body).map_err(|error| explain::<T>(body, error))
}

fn explain<'a, T: Deserialize<'a>>(body: &'a [u8], error: serde_json::Error) -> Problem {
    if !error.is_data() {
        return Problem::new(Code::BadJson, error.to_string());
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let path = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(error) => error.path().to_string(),
        Ok(_) => String::new(),
    };
    let detail = error.to_string();
    if detail.starts_with("unknown field") {
        return Problem::new(Code::UnknownField, if path == "." { detail } else { format!("{path}: {detail}") });
    }
    Problem::field(if path.is_empty() || path == "." { "body".to_owned() } else { path }, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Thing {
        #[expect(dead_code, reason = "only its reading matters here")]
        list: Vec<u8>,
    }

    fn code_and_body(text: &str) -> (&'static str, String) {
        let problem = decode::<Thing>(text.as_bytes()).expect_err("all of them are wrong");
        (problem.code().name(), serde_json::to_string(&problem.body()).expect("a problem is serializable"))
    }

    #[test]
    fn what_is_wrong_with_a_body_is_said_with_its_place() {
        let cases = [
            ("{\n  \"list\": [1,]\n}", "bad_json", "line 2 column 14"),
            ("", "bad_json", "line 1 column 0"),
            ("{\"list\": [1]} x", "bad_json", "line 1 column 15"),
            ("{\"list\": [], \"lost\": 1}", "unknown_field", "`lost`"),
            ("{\"list\": [1, \"two\"]}", "invalid_request", "\"field\":\"list[1]\""),
            ("{}", "invalid_request", "missing field `list`"),
            ("[]", "invalid_request", "must be an object"),
        ];
        for (text, code, part) in cases {
            let (found, body) = code_and_body(text);
            assert_eq!(found, code, "{text}: {body}");
            assert!(body.contains(part), "{text}: {body}");
        }
    }
}
