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
use crate::json_api::Class::{Account as Ours, Content, Later, Recipient, Token as Spent, Unknown};
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
        (Recipient, &["UNREGISTERED", "NOT_FOUND"]),
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
pub(super) mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::conformance::{Golden, Subject, TokenCase};
    use crate::golden::{AT, Trial};
    use crate::golden_keys::{RSA_PKCS8, RSA_PUBLIC};
    use crate::keypairs::RsaPublicKey;
    use crate::testing::{HttpReply, HttpServer, open};

    fn key_file() -> String {
        let key = format!("-----BEGIN PRIVATE KEY-----\n{RSA_PKCS8}\n-----END PRIVATE KEY-----\n");
        json!({"type": "service_account", "project_id": "shop-1", "private_key_id": "kid1", "private_key": key,
            "client_email": "push@shop-1.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token"})
        .to_string()
    }

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"service_account": key_file(), "endpoint": url, "token_endpoint": url, "timeout_ms": 3_000}),
            to: |_| "registration-1".to_owned(),
            content: || json!({"title": "T", "body": "B"}),
            taken: fine,
            blame: "Account",
            complains: |words| {
                HttpReply::json(400, &json!({"error": {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}}))
            },
            token: Some(|| TokenCase {
                fetched: HttpReply::json(
                    200,
                    &json!({"access_token": "ya29.t0ken", "expires_in": 3_599, "token_type": "Bearer"}),
                ),
                token: "ya29.t0ken",
                expires_in: Duration::from_secs(3_599),
                expired: vec![error(401, "UNAUTHENTICATED", None)],
            }),
            golden: || {
                vec![Golden {
                    name: "notice",
                    page: "Firebase: FCM HTTP v1 API, projects.messages.send",
                    to: &["registration-1"],
                    content: json!({"title": "T", "body": "B", "url": "https://a.example", "ttl_s": 60}),
                    masked: &[],
                }]
            },
            ..Subject::HTTP
        })
    }

    fn fine() -> HttpReply {
        HttpReply::json(200, &json!({"name": "projects/shop-1/messages/0:1500415314455276"}))
    }

    fn error(status: u16, name: &str, finer: Option<&str>) -> HttpReply {
        let details: Vec<_> = finer
            .map(|code| json!({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}))
            .into_iter()
            .collect();
        let error = json!({"code": status, "message": "m", "status": name, "details": details});
        HttpReply::json(status, &json!({ "error": error }))
    }

    fn trial() -> Trial {
        let settings = json!({"service_account": key_file()});
        Trial { provider: INFO.name, settings, path: "", token: Some("t0ken"), secrets: &["t0ken"] }
    }

    // Firebase: FCM HTTP v1 API, projects.messages (Message, AndroidConfig, ApnsConfig, WebpushConfig).
    #[tokio::test]
    async fn a_notice_is_what_the_vendor_describes() {
        let cases = [
            (
                json!({"title": "T", "body": "B"}),
                json!({"message": {"token": "r1", "notification": {"title": "T", "body": "B"},
                    "android": {"priority": "HIGH"}, "apns": {"headers": {"apns-priority": "10"}}}}),
            ),
            (
                json!({"title": "T", "body": "B", "subtitle": "S", "image": "https://a.example/i.png",
                    "url": "https://a.example", "data": {"id": 7, "kind": "x"}, "badge": 2, "sound": "s",
                    "category": "c", "collapse": "k", "ttl_s": 60, "urgent": false,
                    "vendor": {"fcm_options": {"analytics_label": "l"}}}),
                json!({"message": {"token": "r1",
                    "notification": {"title": "T", "body": "B", "image": "https://a.example/i.png"},
                    "data": {"id": "7", "kind": "x", "url": "https://a.example"},
                    "android": {"priority": "NORMAL", "ttl": "60s", "collapse_key": "k", "notification":
                        {"sound": "s", "channel_id": "c", "notification_count": 2, "tag": "k"}},
                    "apns": {"headers": {"apns-priority": "5", "apns-collapse-id": "k", "apns-expiration": "1700000060"},
                        "payload": {"aps": {"badge": 2, "sound": "s", "category": "c",
                            "alert": {"title": "T", "subtitle": "S", "body": "B"}}}},
                    "webpush": {"fcm_options": {"link": "https://a.example"}},
                    "fcm_options": {"analytics_label": "l"}}}),
            ),
        ];
        let headers = json!({"authorization": "Bearer ***", "content-type": "application/json; charset=utf-8"});
        trial().goldens("r1", &fine(), "POST /v1/projects/shop-1/messages:send", &headers, cases).await;
    }

    #[tokio::test]
    async fn every_documented_code_has_its_class() {
        let about_token = json!({"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT", "details": [
            {"@type": "type.googleapis.com/google.rpc.BadRequest",
             "fieldViolations": [{"field": "message.token", "description": "Invalid registration token"}]}]}});
        let cases = [
            (fine(), "delivered projects/shop-1/messages/0:1500415314455276"),
            (error(404, "NOT_FOUND", Some("UNREGISTERED")), "never fcm_UNREGISTERED Recipient"),
            (error(404, "NOT_FOUND", None), "never fcm_NOT_FOUND Recipient"),
            (error(400, "INVALID_ARGUMENT", Some("INVALID_ARGUMENT")), "never fcm_INVALID_ARGUMENT Content"),
            (HttpReply::json(400, &about_token), "never fcm_INVALID_ARGUMENT Recipient"),
            (error(403, "PERMISSION_DENIED", Some("SENDER_ID_MISMATCH")), "never fcm_SENDER_ID_MISMATCH Account"),
            (error(401, "UNAUTHENTICATED", Some("THIRD_PARTY_AUTH_ERROR")), "never fcm_THIRD_PARTY_AUTH_ERROR Account"),
            (error(401, "UNAUTHENTICATED", None), "later token_invalid"),
            (error(403, "PERMISSION_DENIED", None), "never fcm_PERMISSION_DENIED Account"),
            (
                error(429, "RESOURCE_EXHAUSTED", Some("QUOTA_EXCEEDED")).with("Retry-After", "60"),
                "later http_429 60000",
            ),
            (error(503, "UNAVAILABLE", Some("UNAVAILABLE")).with("Retry-After", "9"), "later http_503 9000"),
            (error(500, "INTERNAL", Some("INTERNAL")), "later http_500"),
            (error(400, "UNKNOWN", Some("UNSPECIFIED_ERROR")), "unknown fcm_UNSPECIFIED_ERROR"),
        ];
        trial().classes("r1", &json!({"title": "T", "body": "B"}), cases).await;
        let (outcomes, requests) =
            Trial { token: None, ..trial() }.send(&["r1"], &json!({"title": "T", "body": "B"}), []).await;
        assert_eq!((outcomes, requests), (vec![no_token()], vec![]));
    }

    #[tokio::test]
    async fn a_token_is_asked_for_with_a_signed_assertion() {
        let given = json!({"access_token": "ya29.x", "expires_in": 3_599, "token_type": "Bearer"});
        let server = HttpServer::start(HttpReply::json(200, &given)).await.expect("a free port");
        let mut trial = trial();
        trial.settings["token_endpoint"] = json!(server.url("/token"));
        let account = trial.account(&server);
        let token = account.fetch_token_at(AT).await.expect("it has tokens").expect("it was given");
        assert_eq!((token.secret.expose(), token.expires_in.as_secs()), ("ya29.x", 3_599));
        let request = &server.requests()[0];
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/token"));
        let form: Vec<_> = form_urlencoded::parse(&request.body).into_owned().collect();
        assert_eq!(form[0], ("grant_type".to_owned(), "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()));
        let (message, signature) = form[1].1.rsplit_once('.').expect("three parts");
        let public = RsaPublicKey::read(RSA_PUBLIC).expect("a key");
        assert!(public.verifies(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).expect("base64")));
        let parts: Vec<Value> = message
            .split('.')
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON"))
            .collect();
        assert_eq!(parts[0], json!({"alg": "RS256", "typ": "JWT", "kid": "kid1"}));
        assert_eq!(
            parts[1],
            json!({"iss": "push@shop-1.iam.gserviceaccount.com", "scope": SCOPE, "iat": 1_700_000_000,
                "aud": "https://oauth2.googleapis.com/token", "exp": 1_700_003_600})
        );
        server.set(HttpReply::json(400, &json!({"error": "invalid_grant", "error_description": "Invalid JWT"})));
        let refused = account.fetch_token_at(AT).await.expect("it has tokens").expect_err("it was refused");
        assert_eq!(refused, Reason::new("fcm_invalid_grant", "the supplier gave no access token"));
    }

    #[test]
    fn a_key_file_that_is_none_is_refused_and_not_repeated() {
        for bad in ["hunter2", "{}", &key_file().replace("MIIEv", "hunter2")] {
            let errors =
                open(&crate::Registry::new(), INFO.name, json!({"service_account": bad})).expect_err("it is wrong");
            assert_eq!(errors[0].field, "settings.service_account");
            assert!(!format!("{errors:?}").contains("hunter2"));
        }
    }
}
