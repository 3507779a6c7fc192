//! An account at a described supplier: fills in requests, signs them, and reads the answers.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::{Digest, Md5};
use ring::hmac;
use serde_json::Value;
use sha2::Sha256;
use tidings_contract::{Blame, Call, Channel, Outcome, Reason, Secret, Target, Token};
use url::form_urlencoded;

use super::answer::text_at;
use super::definition::{Definition, Encoding, Format, Hash, Method, Number, Step, TokenCall};
use super::template::{Text, Values};
use crate::http::{Client, HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, USER_AGENT, Url, header};
use crate::signing::{hex, hmac_sha256};
use crate::sms::{self, Group, domestic};
use crate::status::{outcome_of_api, without};

/// An opened account.
pub(crate) struct Account {
    pub(crate) client: Client,
    pub(crate) definition: Definition,
    pub(crate) user: String,
    pub(crate) secret: Option<Secret>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("url", &self.definition.url.as_str()).finish_non_exhaustive()
    }
}

/// A request, and what must not be repeated from its answer.
struct Request {
    url: Url,
    headers: HeaderMap,
    body: Bytes,
    recipients: Vec<String>,
    sealed: Vec<Secret>,
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        if self.definition.token.is_some() && call.token.is_none() {
            let outcome = Outcome::later(Token::INVALID, "the call came without an access token");
            return vec![outcome; call.targets.len()];
        }
        let sorted = sms::groups(call, self.definition.most, |target| Ok(((), self.item(target, call)?)));
        sms::run(sorted, sms::WINDOW, |group| self.submit(group, call)).await
    }

    async fn fetch_token(&self) -> Option<Result<Token, Reason>> {
        let call = self.definition.token.as_ref()?;
        Some(self.token(call).await)
    }
}

impl Account {
    async fn submit(&self, group: Group<'_, (), Value>, call: &Call) -> Vec<Outcome> {
        let request = match self.request(&group, call) {
            Ok(request) => request,
            Err(detail) => return vec![unfit(detail); group.targets.len()],
        };
        let Request { url, headers, body, recipients, sealed } = request;
        let method = match self.definition.method {
            Method::Post => HttpMethod::POST,
            Method::Put => HttpMethod::PUT,
        };
        let outcomes = match self.client.call(method, url, headers, body).await {
            // With a token in hand, "who are you" means the token.
            Ok(answer) if answer.status == 401 && self.definition.token.is_some() => {
                let words = outcome_of_api(&answer, call.at).reason().map(|reason| reason.words.clone());
                vec![Outcome::later(Token::INVALID, words.unwrap_or_default()); recipients.len()]
            }
            Ok(answer) => self.definition.answer.judge(&answer, &recipients, call.at),
            Err(failure) => vec![failure.into(); recipients.len()],
        };
        outcomes.into_iter().map(|outcome| without(outcome, &sealed)).collect()
    }

    /// What stands for this recipient in the list; null where there is no list.
    fn item(&self, target: &Target, call: &Call) -> Result<Value, Outcome> {
        let Some(item) = &self.definition.item else { return Ok(Value::Null) };
        let to = number(self.definition.number, &target.to);
        let mut values = self.values(target, call);
        self.derive(&self.definition.derive, &mut values, &mut Vec::new()).map_err(unfit)?;
        item.fill(&values.with(to, text_of(&target.content), &target.content)).map_err(unfit)
    }

    fn request(&self, group: &Group<'_, (), Value>, call: &Call) -> Result<Request, String> {
        let definition = &self.definition;
        let first = group.targets.first().ok_or("nobody to send to")?;
        let mut values = self.values(first, call);
        let recipients: Vec<_> = group.targets.iter().map(|target| number(definition.number, &target.to)).collect();
        let mut sealed: Vec<Secret> = self.secret.iter().chain(&call.token).cloned().collect();
        if definition.item.is_none() {
            values = values.with(recipients[0].clone(), text_of(&first.content), &first.content);
        }
        self.derive(&definition.derive, &mut values, &mut sealed)?;
        values.set("items", group.values.clone());
        let body = write(definition.format, &definition.body.fill(&values)?)?;
        values.set("body", String::from_utf8_lossy(&body).into_owned());
        self.derive(&definition.derive_after, &mut values, &mut sealed)?;
        let mut url = definition.url.clone();
        if !definition.query.is_empty() {
            let mut query = url.query_pairs_mut();
            for (name, text) in &definition.query {
                query.append_pair(name, &text.fill(&values)?);
            }
        }
        let headers = headers(definition.format, &definition.headers, &values)?;
        Ok(Request { url, headers, body, recipients, sealed })
    }

    /// What is the account's.
    fn own(&self) -> Values<'_> {
        let mut values = Values::default();
        values.set("user", self.user.as_str());
        if let Some(secret) = &self.secret {
            values.set("secret", secret.expose());
        }
        values
    }

    /// What is the call's, too.
    fn values(&self, first: &Target, call: &Call) -> Values<'_> {
        let mut values = self.own();
        if let Some(token) = &call.token {
            values.set("token", token.expose());
        }
        values.set("at_ms", call.at.0);
        values.set("at_s", call.at.0 / 1_000);
        values.set("delivery", first.repeat_id());
        values
    }

    /// Computes the steps. What comes of them may let a secret be guessed, so it is kept out of words too.
    fn derive<'a>(&self, steps: &'a [Step], values: &mut Values<'a>, sealed: &mut Vec<Secret>) -> Result<(), String> {
        for step in steps {
            let key = step.key.as_ref().map(|key| key.fill(values)).transpose()?.unwrap_or_default();
            let bytes = hashed(step.hash, &key, &step.text.fill(values)?);
            let value = match step.encoding {
                Encoding::Hex if step.hash == Hash::None => String::from_utf8_lossy(&bytes).into_owned(),
                Encoding::Hex => hex(&bytes),
                Encoding::Base64 => STANDARD.encode(&bytes),
            };
            sealed.push(Secret::new(value.clone()));
            values.set(&step.name, value);
        }
        Ok(())
    }

    async fn token(&self, call: &TokenCall) -> Result<Token, Reason> {
        let wrong = |detail: String| Reason::new("token", detail);
        let values = self.own();
        let body = write(call.format, &call.body.fill(&values).map_err(wrong)?).map_err(wrong)?;
        let headers = headers(call.format, &call.headers, &values).map_err(wrong)?;
        let answer = self.client.call(HttpMethod::POST, call.url.clone(), headers, body).await;
        let answer = answer.map_err(|failure| Reason::new("token", failure.to_string()))?;
        let body: Value = answer.json().unwrap_or_default();
        let status = format!("http_{}", answer.status);
        let token = text_at(&body, &call.token).filter(|token| answer.is_success() && !token.is_empty());
        let token = token.ok_or_else(|| Reason::new(status, "the answer holds no token"))?;
        let lasts = call.expires_in.as_deref().and_then(|place| text_at(&body, place)?.parse().ok());
        let expires_in = Duration::from_secs(lasts.unwrap_or(call.lasts_s));
        Ok(Token { secret: Secret::new(token), expires_in })
    }
}

/// A content that does not hold what the document asks of it.
fn unfit(detail: String) -> Outcome {
    Outcome::never(Blame::Content, "content", detail)
}

fn number(form: Number, to: &str) -> String {
    match form {
        Number::AsIs => to.to_owned(),
        Number::National => domestic(to).unwrap_or(to).to_owned(),
        Number::Digits => to.trim_start_matches('+').to_owned(),
    }
}

/// The content's text with its link after it, as the channel `sms` has them.
fn text_of(content: &Value) -> Option<String> {
    sms::Sms::read(content).ok().and_then(|sms| sms.text)
}

fn hashed(hash: Hash, key: &str, text: &str) -> Vec<u8> {
    match hash {
        Hash::None => text.as_bytes().to_vec(),
        Hash::Md5 => Md5::digest(text).to_vec(),
        Hash::Sha256 => Sha256::digest(text).to_vec(),
        Hash::HmacSha256 => hmac_sha256(key.as_bytes(), text.as_bytes()),
        Hash::HmacSha1 => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
            hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
        }
    }
}

fn write(format: Format, body: &Value) -> Result<Bytes, String> {
    if format == Format::Json {
        return Ok(Bytes::from(body.to_string()));
    }
    let fields = body.as_object().ok_or("body: a form is an object")?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        match value {
            Value::String(text) => form.append_pair(name, text),
            other => form.append_pair(name, &other.to_string()),
        };
    }
    Ok(Bytes::from(form.finish()))
}

fn headers(format: Format, texts: &[(HeaderName, Text)], values: &Values<'_>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, USER_AGENT);
    let kind = match format {
        Format::Json => "application/json",
        Format::Form => "application/x-www-form-urlencoded",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, text) in texts {
        let value = HeaderValue::from_str(&text.fill(values)?);
        let mut value = value.map_err(|_| format!("{name} cannot stand in a header"))?;
        value.set_sensitive(true);
        headers.insert(name.clone(), value);
    }
    Ok(headers)
}
