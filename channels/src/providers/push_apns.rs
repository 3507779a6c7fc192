//! `push/apns`: pushes notices to Apple's devices over HTTP/2, with tokens that the account signs itself.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidings_contract::{Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Secret, Settings, Target, Time};

use crate::SandboxInbox;
use crate::catalog::push::FIELDS;
use crate::http::{Answer, HeaderMap, HeaderName, HeaderValue, each};
use crate::json_api::Class::{Account as Ours, After, Content, Gone, Later, Recipient};
use crate::json_api::{
    Api, ApiSettings, Codes, DEADLINE, ENDPOINT, TIMEOUT, bearer, needed, needed_secret, optional, refused,
};
use crate::keypairs::{EcKey, jwt};
use crate::message::{fields, overlay};
use crate::reading::Reading;
use crate::stable_id::uuid;
use crate::status::outcome_of_api;

/// How long a token is used, in seconds. Apple refuses one that is older than an hour, and an account that makes a new
/// one more often than every twenty minutes.
const TOKEN_S: u64 = 1_800;

static INFO: ProviderInfo = ProviderInfo {
    name: "push/apns",
    channel: "push",
    doc: "Pushes notices to Apple's devices. Recipients are device tokens.",
    source: "Apple: Sending notification requests to APNs; Establishing a token-based connection to APNs; Handling \
             notification responses from APNs; Generating a remote notification",
    settings: &[
        needed_secret("private_key", "The key for APNs (AuthKey_….p8), its text."),
        needed("key_id", "The key's id, ten characters."),
        needed("team_id", "The team's id, ten characters."),
        needed("topic", "The app's bundle id."),
        optional("sandbox", "true for apps built for development: https://api.sandbox.push.apple.com (default false)."),
        ENDPOINT,
        TIMEOUT,
    ],
    example: EXAMPLE,
    max_recipients: 1,
    deadline: DEADLINE,
};

/// With the published key of RFC 7515 A.3, since an account is opened with a real key only.
const EXAMPLE: &str = "{\"private_key\": \"\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIffH1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/\
    zc4ncPbEXUGDy+5v20t7WAczNXvp7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt\", \
    \"key_id\": \"ABC123DEFG\", \"team_id\": \"DEF123GHIJ\", \"topic\": \"com.example.app\"}";

/// The reasons of the vendor's.
const CODES: Codes<&str> = Codes {
    prefix: "apns",
    classes: &[
        (Gone, &["ExpiredToken", "Unregistered"]),
        // A token of the other environment is called bad, too.
        (Recipient, &["BadDeviceToken", "DeviceTokenNotForTopic", "MissingDeviceToken"]),
        (
            Content,
            &[
                "BadCollapseId",
                "BadExpirationDate",
                "BadMessageId",
                "BadPriority",
                "DuplicateHeaders",
                "InvalidPushType",
                "PayloadEmpty",
                "PayloadTooLarge",
            ],
        ),
        (
            Ours,
            &[
                "BadCertificate",
                "BadCertificateEnvironment",
                // The one is the page's word, the other what Apple is seen to answer.
                "BadEnvironmentKeyIdInToken",
                "BadEnvironmentKeyInToken",
                "BadPath",
                "BadTopic",
                "Forbidden",
                "InvalidProviderToken",
                "MethodNotAllowed",
                "MissingProviderToken",
                "MissingTopic",
                "TopicDisallowed",
                "UnrelatedKeyIdInToken",
            ],
        ),
        // The next token is made within the half hour.
        (After(60_000), &["ExpiredProviderToken"]),
        (After(TOKEN_S * 1_000), &["TooManyProviderTokenUpdates"]),
        (Later, &["IdleTimeout", "InternalServerError", "ServiceUnavailable", "Shutdown", "TooManyRequests"]),
    ],
    other: Later,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Apns)
}

#[derive(Debug)]
struct Apns;

#[derive(Debug)]
struct Account {
    api: Api,
    key: EcKey,
    key_id: String,
    team_id: String,
    topic: HeaderValue,
    /// The token of the present half hour, with the second at which it began.
    token: Mutex<Option<(u64, Secret)>>,
}

impl Provider for Apns {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let secret = reading.needed_secret("private_key").cloned();
        let key =
            reading.known("private_key", "must be an EC key (P-256, PKCS #8)", secret.as_ref().and_then(EcKey::read));
        let [key_id, team_id] = ["key_id", "team_id"].map(|name| reading.needed_text(name).to_owned());
        let topic = HeaderValue::from_str(reading.needed_text("topic")).ok();
        let topic = reading.known("topic", "must be a bundle id", topic);
        let sandbox = reading.flag("sandbox", false);
        let default = if sandbox { "https://api.sandbox.push.apple.com" } else { "https://api.push.apple.com" };
        let api = ApiSettings::read(&mut reading, default);
        let ((key, topic), api) = reading.finish(key.zip(topic).zip(api))?;
        let api = api.open_http2(&secret)?;
        Ok(Arc::new(Account { api, key, key_id, team_id, topic, token: Mutex::default() }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        each(call, |target| self.one(call.at, target)).await
    }
}

#[derive(Deserialize)]
struct Refusal {
    reason: String,
}

impl Account {
    /// The token of the half hour of `at`. All nodes sign the same claims, so none of them makes tokens too often.
    fn token(&self, at: Time) -> Option<Secret> {
        let seconds = at.0 / 1_000;
        let began = seconds - seconds % TOKEN_S;
        let mut kept = self.token.lock();
        if let Some((_, token)) = kept.as_ref().filter(|(of, _)| *of == began) {
            return Some(token.clone());
        }
        let header = json!({"alg": "ES256", "kid": self.key_id});
        let claims = json!({"iss": self.team_id, "iat": began});
        let token = jwt(&header, &claims, |bytes| self.key.sign(bytes))?;
        *kept = Some((began, token.clone()));
        Some(token)
    }

    async fn one(&self, at: Time, target: &Target) -> Outcome {
        if target.to.is_empty() || !target.to.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Recipient.outcome("apns_BadDeviceToken".to_owned(), "a device token has hexadecimal digits only");
        }
        let given = match fields(FIELDS, &target.content, "") {
            Ok(given) => given,
            Err(detail) => return refused(detail),
        };
        let Some(token) = self.token(at) else { return Outcome::later("signature", "the token could not be signed") };
        let mut headers = bearer(&token);
        headers.extend(self.headers(at, target, &given));
        let url = self.api.url(&format!("/3/device/{}", target.to), &[]);
        let sent = self.api.post(url, headers, &payload(&given)).await;
        self.api.settle(sent, Some(&token), |answer| judge(answer, at))
    }

    fn headers(&self, at: Time, target: &Target, given: &Map<String, Value>) -> HeaderMap {
        let urgent = given.get("urgent").and_then(Value::as_bool).unwrap_or(true);
        let ttl = given.get("ttl_s").and_then(Value::as_u64).unwrap_or_default();
        let until = if ttl == 0 { 0 } else { (at.0 / 1_000).saturating_add(ttl) };
        let mut headers = HeaderMap::from_iter([
            (HeaderName::from_static("apns-topic"), self.topic.clone()),
            (HeaderName::from_static("apns-push-type"), HeaderValue::from_static("alert")),
            (HeaderName::from_static("apns-priority"), HeaderValue::from_static(if urgent { "10" } else { "5" })),
        ]);
        let collapse = given.get("collapse").and_then(Value::as_str).map(str::to_owned);
        let texts = [
            ("apns-id", Some(uuid(target))),
            ("apns-expiration", given.contains_key("ttl_s").then(|| until.to_string())),
            ("apns-collapse-id", collapse),
        ];
        for (name, text) in texts {
            // A text that cannot stand in a header is left to Apple to miss.
            if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        headers
    }
}

/// The notice as the device gets it.
fn payload(given: &Map<String, Value>) -> Value {
    let pick = |names: &[(&str, &str)]| -> Map<String, Value> {
        let picked = names.iter().filter_map(|(ours, name)| Some(((*name).to_owned(), given.get(*ours)?.clone())));
        picked.collect()
    };
    let mut aps = pick(&[("badge", "badge"), ("sound", "sound"), ("category", "category"), ("collapse", "thread-id")]);
    aps.insert("alert".to_owned(), pick(&[("title", "title"), ("subtitle", "subtitle"), ("body", "body")]).into());
    if given.contains_key("image") {
        // The app's extension fetches the picture.
        aps.insert("mutable-content".to_owned(), 1.into());
    }
    let mut payload = given.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
    payload.extend(pick(&[("url", "url"), ("image", "image")]));
    payload.insert("aps".to_owned(), aps.into());
    let mut payload = Value::Object(payload);
    if let Some(vendor) = given.get("vendor") {
        overlay(&mut payload, vendor);
    }
    payload
}

fn judge(answer: &Answer, at: Time) -> Outcome {
    if answer.status == 200 {
        // A yes has no body; what stands in a header is the id.
        return match answer.header("apns-id") {
            Some(id) if answer.body.is_empty() => Outcome::Delivered { provider_id: Some(id.to_owned()) },
            _ => Outcome::unknown("answer", crate::status::words(answer)),
        };
    }
    match (outcome_of_api(answer, at), answer.json::<Refusal>()) {
        // The supplier's own wait is better than ours.
        (later @ Outcome::Later { after_ms: Some(_), .. }, _) => later,
        (_, Ok(refusal)) => CODES.outcome(refusal.reason.as_str(), ""),
        (Outcome::Delivered { .. }, Err(_)) => Outcome::unknown("answer", crate::status::words(answer)),
        (outcome, Err(_)) => outcome,
    }
}

#[cfg(test)]
#[path = "../provider_tests/push_apns.rs"]
pub(super) mod tests;
