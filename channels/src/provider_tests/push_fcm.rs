//! What is sent to Firebase, and what comes of their answers.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::conformance::{Golden, Subject, TokenCase, every};
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
        answers: || every(&CODES, "NEW_CODE", |code| error(400, "UNKNOWN", Some(*code))),
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
        (error(404, "NOT_FOUND", Some("UNREGISTERED")), "never fcm_UNREGISTERED Gone"),
        (error(404, "NOT_FOUND", None), "never fcm_NOT_FOUND Recipient"),
        (error(400, "INVALID_ARGUMENT", Some("INVALID_ARGUMENT")), "never fcm_INVALID_ARGUMENT Content"),
        (HttpReply::json(400, &about_token), "never fcm_INVALID_ARGUMENT Recipient"),
        (error(403, "PERMISSION_DENIED", Some("SENDER_ID_MISMATCH")), "never fcm_SENDER_ID_MISMATCH Account"),
        (error(401, "UNAUTHENTICATED", Some("THIRD_PARTY_AUTH_ERROR")), "never fcm_THIRD_PARTY_AUTH_ERROR Account"),
        (error(401, "UNAUTHENTICATED", None), "later token_invalid"),
        (error(403, "PERMISSION_DENIED", None), "never fcm_PERMISSION_DENIED Account"),
        (error(429, "RESOURCE_EXHAUSTED", Some("QUOTA_EXCEEDED")).with("Retry-After", "60"), "later http_429 60000"),
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
