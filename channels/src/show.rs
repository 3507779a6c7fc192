//! Shows what would be sent instead of sending it: the very request that a provider makes, caught at the last moment.
//!
//! A preview runs the provider's own `send` with the door to the world closed: [`crate::http::Client`], the SMTP client and
//! the sandbox hand their request over here and report that it did not go out. So what is shown cannot differ from what
//! is sent.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use md5::{Digest, Md5};
use parking_lot::Mutex;
use serde::Serialize;
use sha2::Sha256;
use tidings_contract::{Call, Channel, Features, Outcome, Provider, Reason, Secret, Settings};

use crate::http::{Failure, HeaderMap, Method, Url};
use crate::signing::hex;
use crate::stand_ins::{Set, common};

/// What stands for a secret.
const MASK: &str = "***";
/// Most of a body that is shown, in bytes.
const BODY_LIMIT: usize = 256 * 1_024;
/// Names of query parameters that hold signatures.
const SIGNATURES: &[&str] = &["sign", "signature", "sig", "x-signature", "access_token", "token", "key"];
/// Names of headers that hold what lets one in, beside those that say so themselves.
const LETS_IN: &[&str] = &["authorization", "proxy-authorization", "cookie", "x-api-key"];
const SHOWN: &str = "shown";
/// Secrets that are shorter are looked for as they are only: their hashes and parts would be found everywhere.
const LONG_ENOUGH: usize = 6;

tokio::task_local! {
    static SHOW: Arc<Mutex<Vec<ShownRequest>>>;
}

/// A request as a provider would send it, secrets masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownRequest {
    /// `POST`, `GET` …; `SMTP` for a mail, `KEEP` for the sandbox.
    pub method: String,
    /// The address.
    pub url: String,
    /// The headers, in the order in which they are sent; for a mail, who it is from and to.
    pub headers: Vec<(String, String)>,
    /// The body as text; what is not UTF-8 is replaced, and at most 256 KiB are shown.
    pub body: String,
    /// How long the body is, in bytes.
    pub bytes: usize,
    /// A command that sends it. Secrets are masked in it too.
    pub curl: String,
}

/// What a provider would do with a call.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// The requests, in order. After the first one that a provider waits for there may be others that depend on its answer.
    pub requests: Vec<ShownRequest>,
    /// Why nothing would be sent, if the provider refuses by itself.
    pub refused: Option<Reason>,
}

/// Shows what an account would send, without its secrets: it is opened twice, with other secrets of the same form each time, and
/// what differs between the two was derived from them. So nothing that a provider or a document makes of a secret is shown.
/// An account that opens with its own secrets only shows the methods of its requests.
pub async fn preview_account(provider: &dyn Provider, account: &str, settings: &Settings, call: &Call) -> Preview {
    let secrets: Vec<_> = settings.secret.values().flat_map(forms).collect();
    let mut shown = Vec::new();
    for set in [Set::A, Set::B] {
        let opened = set.settings(provider, account, settings).and_then(|stand| provider.open(account, &stand).ok());
        let Some(channel) = opened else { return hidden() };
        shown.push(catch(channel.as_ref(), call).await);
    }
    let (Some((b, _)), Some((mut a, refused))) = (shown.pop(), shown.pop()) else { return hidden() };
    if a.len() != b.len() {
        return hidden();
    }
    for (a, b) in a.iter_mut().zip(&b) {
        a.unite(b);
        a.mask(&secrets);
    }
    let refused = refused.map(|reason| Reason { words: without(&reason.words, &secrets), ..reason });
    Preview { requests: a, refused }
}

/// What is shown where nothing may be.
fn hidden() -> Preview {
    Preview {
        requests: Vec::new(),
        refused: Some(Reason::new("hidden", "its secrets cannot be kept out of a preview")),
    }
}

/// Lets `channel` do all it does for `call` but the sending, and masks `secrets` in what it would send.
pub async fn preview<'a>(channel: &dyn Channel, call: &Call, secrets: impl IntoIterator<Item = &'a Secret>) -> Preview {
    let secrets: Vec<_> = secrets.into_iter().flat_map(forms).collect();
    let (mut requests, refused) = catch(channel, call).await;
    requests.iter_mut().for_each(|request| request.mask(&secrets));
    let refused = refused.map(|reason| Reason { words: without(&reason.words, &secrets), ..reason });
    Preview { requests, refused }
}

/// What `channel` would send, as it is, and why it refuses if it would send nothing.
async fn catch(channel: &dyn Channel, call: &Call) -> (Vec<ShownRequest>, Option<Reason>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let call = &with_ids(channel, call);
    let outcomes = SHOW.scope(Arc::clone(&seen), channel.send(call)).await;
    let requests = std::mem::take(&mut *seen.lock());
    let reason = outcomes.iter().filter_map(Outcome::reason).find(|reason| reason.code != SHOWN);
    let refused = reason.filter(|_| requests.is_empty()).cloned();
    (requests, refused)
}

/// What an account can do beside sending, found out with the door closed.
pub fn features(channel: &dyn Channel) -> Features {
    SHOW.sync_scope(Arc::default(), || Features::of(channel))
}

/// The call with stars for the supplier's ids of materials: nothing is uploaded for a preview.
fn with_ids(channel: &dyn Channel, call: &Call) -> Call {
    let mut call = call.clone();
    for target in &mut call.targets {
        for place in channel.media(&target.content) {
            place.put(Arc::make_mut(&mut target.content), MASK);
        }
    }
    call
}

/// Whether this runs for a preview. Whatever talks to the world asks first.
pub(crate) fn is_on() -> bool {
    SHOW.try_with(|_| ()).is_ok()
}

/// Takes over an HTTP request if this is a preview; the failure is then what the provider hears.
pub(crate) fn http(method: &Method, url: &Url, headers: &HeaderMap, body: &Bytes) -> Option<Failure> {
    let headers = headers.iter().map(|(name, value)| {
        let text = String::from_utf8_lossy(value.as_bytes());
        let hidden = value.is_sensitive() || LETS_IN.contains(&name.as_str()) || name.as_str().contains("signature");
        (name.to_string(), if hidden { scheme(&text) } else { text.into_owned() })
    });
    let request = ShownRequest {
        method: method.to_string(),
        url: unsigned(url),
        headers: headers.collect(),
        body: text(body),
        bytes: body.len(),
        curl: String::new(),
    };
    keep(request).then(|| Failure::NotSent { code: SHOWN, words: "it is shown, not sent".to_owned() })
}

/// Takes over anything else if this is a preview.
pub(crate) fn other(method: &str, url: String, headers: Vec<(String, String)>, body: &[u8]) -> Option<Outcome> {
    let (method, bytes, body) = (method.to_owned(), body.len(), text(body));
    let request = ShownRequest { method, url, headers, body, bytes, curl: String::new() };
    keep(request).then(|| Outcome::later(SHOWN, "it is shown, not sent"))
}

fn keep(request: ShownRequest) -> bool {
    SHOW.try_with(|seen| seen.lock().push(request)).is_ok()
}

fn text(body: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&body[..body.len().min(BODY_LIMIT)]).into_owned();
    if body.len() > BODY_LIMIT {
        text.push('…');
    }
    text
}

/// The scheme of a credential, without the credential.
fn scheme(text: &str) -> String {
    text.split_once(' ').map_or_else(|| MASK.to_owned(), |(scheme, _)| format!("{scheme} {MASK}"))
}

/// The URL with the values of signatures masked.
fn unsigned(url: &Url) -> String {
    let Some(query) = url.query() else { return url.to_string() };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if SIGNATURES.iter().any(|known| name.eq_ignore_ascii_case(known)) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    format!("{bare}?{query}")
}

impl ShownRequest {
    /// Keeps what is the same in `other`.
    fn unite(&mut self, other: &Self) {
        self.url = common(&self.url, &other.url, MASK);
        self.body = common(&self.body, &other.body, MASK);
        for (name, value) in &mut self.headers {
            let twin = other.headers.iter().find(|(other, _)| other == name);
            *value = twin.map_or_else(|| MASK.to_owned(), |(_, twin)| common(value, twin, MASK));
        }
    }

    fn mask(&mut self, secrets: &[String]) {
        self.url = without(&self.url, secrets);
        self.body = without(&self.body, secrets);
        for (_, value) in &mut self.headers {
            *value = without(value, secrets);
        }
        self.curl = if self.method == "SMTP" { self.curl_mail() } else { self.curl_http() };
    }

    fn curl_http(&self) -> String {
        if self.method == "KEEP" {
            return String::new();
        }
        let mut words = vec![format!("curl -X {} {}", self.method, quoted(&self.url))];
        words.extend(self.headers.iter().map(|(name, value)| format!("-H {}", quoted(&format!("{name}: {value}")))));
        if !self.body.is_empty() {
            words.push(format!("--data-raw {}", quoted(&self.body)));
        }
        words.join(" \\\n  ")
    }

    fn curl_mail(&self) -> String {
        let mut words = vec![format!("curl --url {}", quoted(&self.url))];
        for (name, value) in &self.headers {
            words.push(match name.as_str() {
                "from" => format!("--mail-from {}", quoted(value)),
                "to" => format!("--mail-rcpt {}", quoted(value)),
                "login" => format!("--user {}", quoted(&format!("{value}:{MASK}"))),
                _ => "--ssl-reqd".to_owned(),
            });
        }
        words.push(format!("--upload-file - <<'MAIL'\n{}\nMAIL", self.body.replace("\r\n", "\n").trim_end()));
        words.join(" \\\n  ")
    }
}

/// One word for a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The forms in which a secret may stand in a request or an answer: as it is, in the other case, encoded, also as a part of a
/// longer text that is base64 as a whole, and hashed.
pub(crate) fn forms(secret: &Secret) -> Vec<String> {
    let plain = secret.expose();
    if plain.is_empty() {
        return Vec::new();
    }
    let encoded: String = url::form_urlencoded::byte_serialize(plain.as_bytes()).collect();
    let json = serde_json::Value::from(plain).to_string();
    let json = json.trim_matches('"').to_owned();
    let mut forms = vec![plain.to_owned(), encoded.replace('+', "%20"), encoded, json];
    if plain.len() >= LONG_ENOUGH {
        let sha1 = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, plain.as_bytes());
        let digests = [Md5::digest(plain).to_vec(), sha1.as_ref().to_vec(), Sha256::digest(plain).to_vec()];
        for bytes in digests.iter().map(Vec::as_slice).chain([plain.as_bytes()]) {
            let hex = hex(bytes);
            forms.extend([hex.to_ascii_uppercase(), hex, STANDARD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)]);
        }
        forms.extend([plain.to_uppercase(), plain.to_lowercase()]);
        forms.extend((0..3).flat_map(|before| inner(plain.as_bytes(), before)));
    } else {
        forms.push(STANDARD.encode(plain));
    }
    // What holds another form goes first.
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms.dedup();
    forms
}

/// What is the same of the base64 of any text in which so many bytes, modulo three, stand before these ones.
fn inner(bytes: &[u8], before: usize) -> [String; 2] {
    let padded = [&[0; 2][..before], bytes].concat();
    // The first letters mix with what stands before, the last ones with what follows.
    let (from, to) = (before * 4 / 3 + usize::from(before > 0), padded.len() / 3 * 4);
    let cut = |text: String| text.get(from..to).unwrap_or_default().to_owned();
    [cut(STANDARD.encode(&padded)), cut(URL_SAFE_NO_PAD.encode(&padded))]
}

/// The text without any of these forms.
pub(crate) fn without(text: &str, forms: &[String]) -> String {
    forms.iter().filter(|form| !form.is_empty()).fold(text.to_owned(), |text, form| text.replace(form.as_str(), MASK))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Registry;
    use crate::testing::{HttpReply, HttpServer, SmtpScript, SmtpServer, call, open};

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new(*text)).collect()
    }

    #[tokio::test]
    async fn what_is_shown_is_what_is_sent_and_nothing_goes_out() {
        let server = HttpServer::start(HttpReply::json(200, &json!({"errcode": 0}))).await.expect("a free port");
        let settings = json!({"access_token": "t0ken", "secret": "SECabc", "url": server.url("/robot/send")});
        let account = open(&Registry::new(), "dingtalk_robot", settings).expect("the settings are right");
        let call = call(&["ops"], json!({"type": "text", "text": "it's t0ken"}));
        let shown = preview(account.as_ref(), &call, &secrets(&["t0ken", "SECabc"])).await;
        assert_eq!((server.connections(), shown.refused), (0, None));
        account.send(&call).await;
        let (sent, shown) = (&server.requests()[0], &shown.requests[0]);
        assert_eq!((sent.method.as_str(), sent.body.len()), (shown.method.as_str(), shown.bytes));
        assert_eq!(String::from_utf8_lossy(&sent.body).replace("t0ken", "***"), shown.body);
        let url = format!("{}?access_token=***&timestamp=1795456800000&sign=***", server.url("/robot/send"));
        assert_eq!(shown.url, url);
        for (name, value) in &shown.headers {
            assert_eq!(sent.header(name), Some(value.as_str()));
        }
        assert!(shown.curl.starts_with("curl -X POST 'http://127.0.0.1:"), "{}", shown.curl);
        assert!(shown.curl.contains(r#""content":"it'\''s ***""#), "{}", shown.curl);
    }

    #[tokio::test]
    async fn a_mail_is_shown_with_its_envelope_and_goes_nowhere() {
        let server = SmtpServer::start(SmtpScript::default()).await.expect("a free port");
        let settings = json!({"host": "localhost", "port": server.addr().port(), "from": "Shop <no-reply@shop.example>",
            "tls": "none", "username": "shop", "password": "pa55"});
        let account = open(&Registry::new(), "email/smtp", settings).expect("the settings are right");
        let content = json!({"subject": "Hi", "text": "Hello", "attachments": [{"url": "http://127.0.0.1:1/a.pdf"}]});
        let shown = preview(account.as_ref(), &call(&["ann@example.com"], content), &secrets(&["pa55"])).await;
        let request = &shown.requests[0];
        assert_eq!((shown.requests.len(), request.method.as_str(), server.connections()), (1, "SMTP", 0));
        assert_eq!(request.url, format!("smtp://localhost:{}", server.addr().port()));
        assert!(request.body.contains("Subject: Hi\r\n") && request.body.contains("a.pdf"), "{}", request.body);
        for word in ["--mail-from 'no-reply@shop.example'", "--mail-rcpt 'ann@example.com'", "--user 'shop:***'"] {
            assert!(request.curl.contains(word), "{word} in {}", request.curl);
        }
    }

    #[tokio::test]
    async fn what_lets_one_in_is_masked_in_every_form() {
        let whsec = format!("whsec_{}", STANDARD.encode([7; 24]));
        let account = open(&Registry::new(), "webhook", json!({"secret": whsec})).expect("the settings are right");
        let shown = preview(account.as_ref(), &call(&["https://a.example/?sig=1&b=2"], json!({"a": 1})), []).await;
        let header =
            |name: &str| shown.requests[0].headers.iter().find(|(known, _)| known == name).map(|(_, v)| v.as_str());
        assert_eq!(
            (header("webhook-signature"), shown.requests[0].url.as_str()),
            (Some("***"), "https://a.example/?sig=***&b=2")
        );
        assert!(header("webhook-id").is_some_and(|id| id != "***"));
        let forms = forms(&Secret::new("a b\"c"));
        for form in ["a b\"c", "a+b%22c", "a%20b%22c", "a b\\\"c", "YSBiImM="] {
            assert!(forms.iter().any(|known| known == form), "{form} in {forms:?}");
        }
    }

    #[tokio::test]
    async fn what_a_provider_refuses_by_itself_is_said() {
        let account = open(&Registry::new(), "dingtalk_robot", json!({"access_token": "t"})).expect("right");
        let shown = preview(account.as_ref(), &call(&["ops"], json!({"type": "voice"})), []).await;
        assert_eq!(shown.refused, Some(Reason::new("content", "voice is not a type of message")));
        assert!(shown.requests.is_empty());
    }

    #[tokio::test]
    async fn the_sandbox_shows_its_content_and_keeps_nothing() {
        let registry = Registry::new();
        let account = open(&registry, "sandbox", json!({"delay_ms": 60_000})).expect("right");
        let shown = preview(account.as_ref(), &call(&["ann"], json!({"text": "hi"})), []).await;
        assert_eq!((shown.requests[0].method.as_str(), shown.requests[0].body.as_str()), ("KEEP", r#"{"text":"hi"}"#));
        assert_eq!(registry.inbox().count(), 0);
    }
}
