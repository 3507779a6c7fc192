//! Query strings and path segments, read strictly.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::app::Shared;
use crate::problem::{Code, Problem};

/// The query string, read strictly.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &Shared) -> Result<Self, Problem> {
        Query::<T>::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|rejection| {
            let detail = rejection.body_text();
            let detail = detail.strip_prefix("Failed to deserialize query string: ").unwrap_or(&detail);
            let code = if detail.contains("unknown field") { Code::UnknownField } else { Code::InvalidRequest };
            Problem::new(code, format!("the query string: {detail}"))
        })
    }
}

/// A name in the path that may hold a slash, which may be escaped or not.
#[derive(Debug)]
pub(crate) struct Slashed(pub String);

impl FromRequestParts<Shared> for Slashed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let segments = Path::<Vec<String>>::from_request_parts(parts, app).await;
        segments
            .map(|Path(segments)| Self(segments.join("/")))
            .map_err(|rejection| Problem::new(Code::InvalidRequest, format!("the path: {}", rejection.body_text())))
    }
}

/// Reads an id out of a path: what is not one names nothing.
pub(crate) fn id<T: FromStr>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::new(Code::NotFound, format!("there is no {text:?}")))
}
