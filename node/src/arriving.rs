//! A material on its way in, as a body of its own or in a form: hashed and cut into pieces while it arrives, held once.

use std::time::Duration;

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};
use tidings_machine::control::Material as Known;

use crate::app::App;
use crate::bodies::{Share, declared};
use crate::inflow::{Inflow, claims_of};
use crate::problem::{Code, Problem};

/// Room for what a form has beside the file, in bytes.
const FORM: usize = 64 * 1024;
/// Longest text in a form, in bytes.
const TEXT: usize = 1_024;

/// A material that arrived.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    /// The SHA-256 of its bytes in hex.
    pub id: String,
    /// Its bytes, each piece as long as a chunk may be but for the last.
    pub pieces: Vec<Vec<u8>>,
    pub bytes: usize,
    /// What the form calls it.
    pub name: Option<String>,
    pub media_type: String,
}

/// What has arrived so far.
#[derive(Default)]
struct Gathering {
    hash: Sha256,
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

impl Gathering {
    fn take(&mut self, mut bytes: &[u8], limit: usize) -> Result<(), Problem> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > limit {
            return Err(too_large(limit));
        }
        self.hash.update(bytes);
        while !bytes.is_empty() {
            if self.pieces.last().is_none_or(|piece| piece.len() == Known::CHUNK) {
                self.pieces.push(Vec::with_capacity(bytes.len().min(Known::CHUNK)));
            }
            let Some(piece) = self.pieces.last_mut() else { break };
            let (now, rest) = bytes.split_at(bytes.len().min(Known::CHUNK - piece.len()));
            piece.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    fn arrived(self, name: Option<String>, media_type: String) -> Result<Arrived, Problem> {
        if self.bytes == 0 {
            return Err(Problem::field("body", "is empty; send the bytes of the file"));
        }
        let id = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Arrived { id, pieces: self.pieces, bytes: self.bytes, name, media_type })
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::BodyTooLarge, format!("the material is larger than {limit} bytes"))
}

/// Takes a material in, which may take `within`.
///
/// # Errors
/// What is wrong with it: too large, too slow, empty, broken off, or of no media type; or `busy`.
pub(crate) async fn arrive(app: &App, request: Request, within: Duration) -> Result<Arrived, Problem> {
    let limit = app.limits().max_material_bytes;
    let given = of(request.headers());
    if given.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("multipart/form-data")) {
        // The reader of forms reads the body itself, so all that it may bring is claimed before.
        let most = limit.saturating_add(FORM);
        let bytes = declared(request.headers()).unwrap_or(most);
        if bytes > most {
            return Err(too_large(limit));
        }
        app.bodies.claim(Share::Callers, bytes, &claims_of(&request))?;
        let slow = |_| Problem::new(Code::SlowBody, format!("the body took longer than {} s", within.as_secs()));
        return tokio::time::timeout(within, in_form(request, limit)).await.map_err(slow)?;
    }
    let media_type = media_type(&given)?;
    let mut gathering = Gathering::default();
    let mut inflow = Inflow::begin(app, request, limit, within, Share::Callers)?;
    while let Some(bytes) = inflow.next().await? {
        gathering.take(&bytes, limit)?;
    }
    gathering.arrived(None, media_type)
}

async fn in_form(mut request: Request, limit: usize) -> Result<Arrived, Problem> {
    DefaultBodyLimit::max(limit.saturating_add(FORM)).apply(&mut request);
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|error| Problem::new(Code::UnsupportedMediaType, error.body_text()))?;
    let wrong = |error| broken(&error, limit);
    let (mut file, mut name, mut declared, mut of_part) = (None, None, None, (None, None));
    while let Some(mut field) = form.next_field().await.map_err(wrong)? {
        match field.name() {
            Some("file") if file.is_none() => {
                of_part = (field.file_name().map(str::to_owned), field.content_type().map(str::to_owned));
                let mut gathering = Gathering::default();
                while let Some(bytes) = field.chunk().await.map_err(wrong)? {
                    gathering.take(&bytes, limit)?;
                }
                file = Some(gathering);
            }
            Some("name") => name = Some(text(field, "name", limit).await?),
            Some("media_type") => declared = Some(text(field, "media_type", limit).await?),
            other => {
                let other = other.unwrap_or_default();
                let detail = format!("the form may have file, name and media_type, each once, and not {other:?}");
                return Err(Problem::new(Code::UnknownField, detail));
            }
        }
    }
    let file = file.ok_or_else(|| Problem::field("file", "is missing in the form"))?;
    let declared = declared.or(of_part.1).unwrap_or_else(|| "application/octet-stream".to_owned());
    file.arrived(name.or(of_part.0), media_type(&declared)?)
}

async fn text(mut field: Field<'_>, name: &str, limit: usize) -> Result<String, Problem> {
    let mut text = Vec::new();
    while let Some(bytes) = field.chunk().await.map_err(|error| broken(&error, limit))? {
        text.extend_from_slice(&bytes);
        if text.len() > TEXT {
            return Err(Problem::field(name, format!("must be at most {TEXT} bytes")));
        }
    }
    String::from_utf8(text).map_err(|_| Problem::field(name, "must be UTF-8"))
}

fn broken(error: &MultipartError, limit: usize) -> Problem {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(limit),
        _ => Problem::field("body", format!("is no form, or broke off: {}", error.body_text())),
    }
}

fn of(headers: &HeaderMap) -> String {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// The media type, in lower case and without parameters.
fn media_type(given: &str) -> Result<String, Problem> {
    let plain = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    let fits = plain.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub) && kind != "multipart");
    if fits && plain.len() <= 128 {
        return Ok(plain);
    }
    let detail = format!("Content-Type must be the file's media type, like image/png; it is {given:?}");
    Err(Problem::new(Code::UnsupportedMediaType, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_as_long_as_chunks_whatever_comes_at_once() {
        for step in [1_000, Known::CHUNK, Known::CHUNK + 1, 5 * Known::CHUNK] {
            let bytes: Vec<u8> = (0..2 * Known::CHUNK + 7).map(|n| (n % 251) as u8).collect();
            let mut gathering = Gathering::default();
            bytes.chunks(step).for_each(|some| gathering.take(some, bytes.len()).expect("it is small enough"));
            let arrived = gathering.arrived(None, String::new()).expect("it has bytes");
            let lengths: Vec<_> = arrived.pieces.iter().map(Vec::len).collect();
            assert_eq!(lengths, [Known::CHUNK, Known::CHUNK, 7], "{step}");
            assert_eq!(arrived.pieces.concat(), bytes);
            assert_eq!(arrived.id, crate::materials::id_of(&bytes));
        }
    }

    #[test]
    fn what_is_too_large_is_refused_before_all_of_it_came() {
        let mut gathering = Gathering::default();
        gathering.take(&[0; 900], 1_000).expect("it is small enough");
        assert_eq!(gathering.take(&[0; 101], 1_000).expect_err("too large").code(), Code::BodyTooLarge);
    }
}
