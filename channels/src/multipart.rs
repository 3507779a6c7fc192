//! Builds a form with one file (RFC 7578), as suppliers want it for uploads.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tidings_contract::Material;

use crate::http::HeaderValue;

/// A form and the `Content-Type` that belongs to it.
///
/// The boundary comes from the file's hash, so the same file makes the same request; that a file holds its own hash
/// cannot be arranged.
pub(crate) fn form(texts: &[(&str, &str)], field: &str, file: &Material) -> (HeaderValue, Bytes) {
    let hash = Sha256::digest(&file.bytes);
    let boundary: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let mut body = Vec::with_capacity(file.bytes.len() + 512);
    for (name, text) in texts {
        let part = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let (name, media_type, length) = (quoted(&file.name), quoted(&file.media_type), file.bytes.len());
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"; \
         filelength={length}\r\nContent-Type: {media_type}\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(&file.bytes);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let kind = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"));
    let kind = kind.unwrap_or(HeaderValue::from_static("multipart/form-data"));
    (kind, Bytes::from(body))
}

/// What may stand in a part's head: quotes escaped the way browsers do, no line breaks.
fn quoted(text: &str) -> String {
    text.replace('"', "%22").replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_form_holds_the_texts_and_the_file_between_its_boundaries() {
        let bytes: Arc<[u8]> = Arc::from(&b"\x00\xffhello"[..]);
        let name = "a\"b\r\n.txt".to_owned();
        let (kind, body) =
            form(&[("type", "file")], "media", &Material { name, media_type: "text/plain".into(), bytes });
        let kind = kind.to_str().expect("a text").to_owned();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").expect("a form");
        let mut expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"type\"\r\n\r\nfile\r\n--{boundary}\r\n\
             Content-Disposition: form-data; name=\"media\"; filename=\"a%22b  .txt\"; filelength=7\r\n\
             Content-Type: text/plain\r\n\r\n"
        )
        .into_bytes();
        expected.extend_from_slice(b"\x00\xffhello");
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert_eq!(body, expected);
    }
}
