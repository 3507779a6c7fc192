//! `push/fcm`: pushes notices to apps by Firebase Cloud Messaging (HTTP v1).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidings_contract::{
    Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Reason, Secret, Settings, Target, Time, Token,
};
use url::form_urlencoded;

use crate::SandboxInbox;
use crate::catalog::push::FIELDS;
use crate::http::{Answer, HeaderMap, HeaderValue, Method, Url, each, header};
use crate::json_api::Class::{Account as Ours, Content, Gone, Later, Recipient, Token as Spent, Unknown};
use crate::json_api::{
    Api, ApiSettings, Codes, DEADLINE, ENDPOINT, TIMEOUT, bearer, is_safe, needed_secret, no_token, optional, read,
    read_coded, refused,
};
use crate::keypairs::{RsaKey, jwt};
use crate::message::{fields, overlay};
use crate::reading::Reading;

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// How long an assertion may be used; an hour is the most.
const ASSERTION_S: u64 = 3_600;

static INFO: ProviderInfo = ProviderInfo {
    name: "push/fcm",
    channel: "push",
    doc: "Pushes notices to apps by Firebase Cloud Messaging. Recipients are registration tokens. Vendor's limit: 600,000 \
          notices a minute for each project.",
    source: "Firebase: FCM HTTP v1 API, projects.messages; ErrorCode; Google Identity: Using OAuth 2.0 for server to server \
             applications",
    settings: &[
        needed_secret("service_account", "The service account's key file (JSON), as the Firebase console gives it."),
        optional("token_endpoint", "Where access tokens are given; default is the token_uri of the key file."),
        ENDPOINT,
        TIMEOUT,
    ],
    example: EXAMPLE,
    max_recipients: 1,
    deadline: DEADLINE,
};

/// With the published key of RFC 7515 A.2, since an account is opened with a real key only.
const EXAMPLE: &str = "{\"service_account\": \"{\\\"project_id\\\": \\\"shop-1\\\", \\\"client_email\\\": \\\"push@shop-1.iam.gserviceaccount.com\\\", \
    \\\"token_uri\\\": \\\"https://oauth2.googleapis.com/token\\\", \\\"private_key\\\": \\\"\
    MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCh+BYK4uPJtGXOjS1lYmM2K5J9vinh8CR3/BYlzJChNuOL2TSX\
    xbbqY913EeZ8dCn5VrD7io8ImtxLaYk8wTM/U+3QGbh3hCUv7JFP5IV3aVlL6kKA0ywPVb9ilE8TA5a8bpvfbr3SvaNnjuygxmj3\
    AbONv/s4yDQs4v5tJ/reSlpIdJed1LnPmt7Ex1sFhSwsD174pcF1A5L5ROjtZMEQxrZHYJqkeDrrnGya11UxMFBji4NmXG9veoKj\
    lnAqH2QbgtPr8jkiGUkftoaHLFcW9Qr4NY2ai50Xw0Byj3+H2JoY2PyrZ62EWQwuz3WTOTY8BwNNb2BvniHgVFbK5emhAgMBAAEC\
    ggEAEq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7/GQ5sLKMgvfTeXZx9SE+7YwVol2NXOoAJe\
    46sui395IW/GO+pWJ1O0BkTGoVEn2bKVRUCgu+GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M/V51gfpRLI9JYanr\
    C4D4qAdGcopV/0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl/x/jTj3ccPDVZFD9pIuhLhBOneuf\
    uBiB4cS98l2SR/RQyGWSeWjnczT0QU91p1DhOVRuOopznQKBgQDgHMQQ60imZV1URk0KpLttoLhyt3SmqdEf/kgHePDdtzEafpAu\
    +cS191R2JiuoF2yzWXnwFDcqGigp5BNr0AHQfD8/Lk8l1Mk09jxxCfui5nYooNyac8YFjm3vItzVCVDnEd3BbVWG8qf6deqElMGA\
    g+C2V0L4oNXnP7LZcPAZRwKBgQC5A8R+CZW2MvRTLLHzwZkUXV866cff7tx6kqa0finGG0KgeqlaZPxgCZnFp7AeAcCMtiynVlJ7\
    vMVgePsLq6XtON4tB5kP9jAPrq3rbAOal78eUH5OcED6eNuCV8ixEu1eWcPNCS/l1OW1EnXUEoEHKl54Xrrz2uNwkgMTP1FZ1wKB\
    gAcCn1dwJKufzBWQxWQp1vsM5fggqPN1qGb5y0MAk3g7/Ls5bkUp5u9SN0Ai3Ya6hNnvWJMb7sXQX6U/zyO2M/hTip7tUeh7CXgw\
    o59dkpN75gJLVds29+DAncu3KXU4f2Fa+7bLNrur53k8KwPOq2bbuTG69QtV7Jr5MR0AHWKNAoGBAIf/evpitUf+4JYbLpvNXWcY\
    052Mpz22aR84mY3nh3F2LF2mjMJDpTg7FmuyPcVw6EcGyoAe9fa65iNqCq+jdw6PVNGo2hxfjSiZ8IIzHdsPXI89//pMjZcQK9r+\
    CCoRjaZjOYiIDktVWZzmevJuv6WywUqd57LE3Zar3dLSIkx1AoGAIYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd+DlcxyVuuM9s\
    QLdgjVk2oy26F0EmpScGLq2MowX7fhd/QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp/gh6A56\
    03k2+ZQwVK0JKSHuLFkuQ3U=\\\"}\"}";

/// The vendor's error codes, finer ones first: an `errorCode` of FCM, else the `status` of the API.
const CODES: Codes<&str> = Codes {
    prefix: "fcm",
    classes: &[
        (Gone, &["UNREGISTERED"]),
        (Recipient, &["NOT_FOUND"]),
        (Content, &["INVALID_ARGUMENT"]),
        // Another account may know the token.
        (
            Ours,
            &[
                "SENDER_ID_MISMATCH",
                "THIRD_PARTY_AUTH_ERROR",
                "PERMISSION_DENIED",
                "invalid_grant",
                "invalid_client",
                "invalid_scope",
                "unauthorized_client",
            ],
        ),
        (Spent, &["UNAUTHENTICATED"]),
        (Later, &["QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL"]),
        (Unknown, &["UNSPECIFIED_ERROR", "UNKNOWN", "DEADLINE_EXCEEDED", "ABORTED", "CANCELLED"]),
    ],
    other: Later,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Fcm)
}

#[derive(Debug)]
struct Fcm;

#[derive(Debug)]
struct Account {
    api: Api,
    file: KeyFile,
    key: RsaKey,
    token_endpoint: Url,
}

/// What is used of a service account's key file.
#[derive(Debug, Deserialize)]
struct KeyFile {
    project_id: String,
    client_email: String,
    private_key: Secret,
    #[serde(default)]
    private_key_id: String,
    token_uri: String,
}

impl Provider for Fcm {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let secret = reading.needed_secret("service_account").cloned();
        let file = secret.as_ref().and_then(|secret| serde_json::from_str::<KeyFile>(secret.expose()).ok());
        let file = file.filter(|file| !file.project_id.is_empty() && !file.project_id.contains(['/', '?', '#', '%']));
        let key = file.as_ref().and_then(|file| RsaKey::read(&file.private_key));
        let both = reading.known("service_account", "must be a service account's key file (JSON)", file.zip(key));
        let endpoint = reading.text("token_endpoint").map(str::to_owned);
        let endpoint = endpoint.or_else(|| both.as_ref().map(|(file, _)| file.token_uri.clone())).unwrap_or_default();
        let endpoint = Url::parse(&endpoint).ok().filter(is_safe);
        let endpoint = reading.known("token_endpoint", "must be an https URL without a query", endpoint);
        let api = ApiSettings::read(&mut reading, "https://fcm.googleapis.com");
        let (((file, key), token_endpoint), api) = reading.finish(both.zip(endpoint).zip(api))?;
        let api = api.open([&file.private_key].into_iter().chain(&secret))?;
        Ok(Arc::new(Account { api, file, key, token_endpoint }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        let Some(token) = &call.token else { return vec![no_token(); call.targets.len()] };
        each(call, |target| self.one(call.at, token, target)).await
    }

    async fn fetch_token_at(&self, at: Time) -> Option<Result<Token, Reason>> {
        let Some(assertion) = self.assertion(at) else {
            return Some(Err(Reason::new("signature", "the assertion could not be signed")));
        };
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("assertion", assertion.expose())
            .finish();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, form)]);
        let sent = self.api.call(Method::POST, self.token_endpoint.clone(), headers, Bytes::from(body)).await;
        Some(self.api.settle_token(sent, |answer| given(answer, at)))
    }
}

#[derive(Deserialize)]
struct Given {
    access_token: Secret,
    expires_in: u64,
}

/// Refusals of the token's giver (RFC 6749 §5.2).
#[derive(Deserialize)]
struct NotGiven {
    error: String,
    #[serde(default)]
    error_description: String,
}

fn given(answer: &Answer, at: Time) -> Result<Token, Outcome> {
    if let Ok(refusal) = answer.json::<NotGiven>()
        && !answer.is_success()
        && answer.status < 429
    {
        return Err(CODES.outcome(refusal.error.as_str(), &refusal.error_description));
    }
    let given: Given = read(answer, at)?;
    Ok(Token { secret: given.access_token, expires_in: Duration::from_secs(given.expires_in) })
}

#[derive(Deserialize)]
struct Taken {
    name: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: Error,
}

#[derive(Deserialize)]
struct Error {
    #[serde(default)]
    message: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    details: Vec<Value>,
}

impl Account {
    /// The claim, signed with the service account's key, for which an access token is given.
    fn assertion(&self, at: Time) -> Option<Secret> {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.file.private_key_id});
        let seconds = at.0 / 1_000;
        let claims = json!({"iss": self.file.client_email, "scope": SCOPE, "aud": self.file.token_uri, "iat": seconds,
            "exp": seconds + ASSERTION_S});
        jwt(&header, &claims, |bytes| self.key.sign(bytes))
    }

    async fn one(&self, at: Time, token: &Secret, target: &Target) -> Outcome {
        let body = match message(target, at) {
            Ok(message) => json!({ "message": message }),
            Err(detail) => return refused(detail),
        };
        let url = self.api.url(&format!("/v1/projects/{}/messages:send", self.file.project_id), &[]);
        let sent = self.api.post(url, bearer(token), &body).await;
        self.api.settle(sent, Some(token), |answer| judge(answer, at))
    }
}

fn judge(answer: &Answer, at: Time) -> Outcome {
    if answer.is_success() {
        return match read::<Taken>(answer, at) {
            Ok(taken) => Outcome::Delivered { provider_id: Some(taken.name) },
            Err(outcome) => outcome,
        };
    }
    let error = match read_coded::<Refusal>(answer, at) {
        Ok(refusal) => refusal.error,
        Err(outcome) => return outcome,
    };
    let finer = error.details.iter().find_map(|detail| detail.get("errorCode")?.as_str());
    let code = finer.unwrap_or(&error.status);
    // The registration token is one of the arguments.
    let about_token = error.details.iter().flat_map(|detail| detail.get("fieldViolations")?.as_array()).flatten();
    let about_token =
        about_token.filter_map(|violation| violation.get("field")?.as_str()).any(|f| f == "message.token");
    if code == "INVALID_ARGUMENT" && (about_token || error.message.contains("registration token")) {
        return Recipient.outcome("fcm_INVALID_ARGUMENT".to_owned(), &error.message);
    }
    CODES.outcome(code, &error.message)
}

/// The vendor's message out of our content.
fn message(target: &Target, at: Time) -> Result<Value, String> {
    let given = fields(FIELDS, &target.content, "")?;
    let get = |name: &str| given.get(name).cloned();
    let pick = |names: &[(&str, &str)]| -> Map<String, Value> {
        names.iter().filter_map(|(ours, vendors)| Some(((*vendors).to_owned(), get(ours)?))).collect()
    };
    let urgent = get("urgent").and_then(|urgent| urgent.as_bool()).unwrap_or(true);
    let mut android = json!({"priority": if urgent { "HIGH" } else { "NORMAL" }});
    let shown =
        pick(&[("sound", "sound"), ("category", "channel_id"), ("badge", "notification_count"), ("collapse", "tag")]);
    if !shown.is_empty() {
        android["notification"] = shown.into();
    }
    let mut aps = pick(&[("badge", "badge"), ("sound", "sound"), ("category", "category")]);
    if let Some(subtitle) = get("subtitle") {
        aps.insert("alert".to_owned(), json!({"title": get("title"), "subtitle": subtitle, "body": get("body")}));
    }
    let mut headers = json!({"apns-priority": if urgent { "10" } else { "5" }});
    if let Some(collapse) = get("collapse") {
        android["collapse_key"] = collapse.clone();
        headers["apns-collapse-id"] = collapse;
    }
    if let Some(seconds) = get("ttl_s").and_then(|seconds| seconds.as_u64()) {
        android["ttl"] = format!("{seconds}s").into();
        headers["apns-expiration"] = (at.0 / 1_000).saturating_add(seconds).to_string().into();
    }
    let mut message = json!({"token": target.to, "android": android, "apns": {"headers": headers}});
    message["notification"] = pick(&[("title", "title"), ("body", "body"), ("image", "image")]).into();
    if !aps.is_empty() {
        message["apns"]["payload"] = json!({ "aps": aps });
    }
    let mut data = match get("data") {
        Some(Value::Object(data)) => texts(data),
        Some(_) => return Err("data must be an object".to_owned()),
        None => Map::new(),
    };
    if let Some(url) = get("url") {
        // Apps open what they like on a tap; the web opens https only.
        if url.as_str().is_some_and(|url| url.starts_with("https://")) {
            message["webpush"] = json!({"fcm_options": {"link": url}});
        }
        data.entry("url").or_insert(url);
    }
    if !data.is_empty() {
        message["data"] = data.into();
    }
    if let Some(vendor) = given.get("vendor") {
        overlay(&mut message, vendor);
    }
    Ok(message)
}

/// The same with texts only, which is all the vendor takes.
fn texts(data: Map<String, Value>) -> Map<String, Value> {
    let text = |value: Value| if value.is_string() { value } else { value.to_string().into() };
    data.into_iter().map(|(name, value)| (name, text(value))).collect()
}

#[cfg(test)]
#[path = "../provider_tests/push_fcm.rs"]
pub(super) mod tests;
