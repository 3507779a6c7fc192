//! What is sent to Apple, and what comes of their answers.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use super::*;
use crate::conformance::{Golden, Subject, every};
use crate::golden::{AT, Trial, brief};
use crate::golden_keys::{EC_PKCS8, EC_PUBLIC};
use crate::testing::{HttpReply, HttpServer, open};

const DEVICE: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";

pub(in crate::providers) fn subject() -> Option<Subject> {
    Some(Subject {
        provider: INFO.name,
        settings: |url| {
            json!({"private_key": EC_PKCS8, "key_id": "ABC123DEFG", "team_id": "DEF123GHIJ", "topic": "com.example.app",
                "endpoint": url, "timeout_ms": 3_000})
        },
        to: |_| DEVICE.to_owned(),
        content: || json!({"title": "T", "body": "B"}),
        taken: fine,
        blame: "Account",
        complains: |words| HttpReply::json(400, &json!({"reason": "BadTopic", "more": words})),
        answers: || every(&CODES, "NewReason", |code| HttpReply::json(400, &json!({"reason": code}))),
        golden: || {
            vec![Golden {
                name: "notice",
                page: "Apple: Sending notification requests to APNs",
                to: &[DEVICE],
                content: json!({"title": "T", "body": "B", "ttl_s": 60}),
                masked: &["authorization: Bearer "],
            }]
        },
        ..Subject::HTTP
    })
}

fn fine() -> HttpReply {
    HttpReply::status(200).with("apns-id", "eabeae54-14a8-11e5-b60b-1697f925ec7b")
}

fn trial() -> Trial {
    let settings = json!({"private_key": EC_PKCS8, "key_id": "ABC123DEFG", "team_id": "DEF123GHIJ",
        "topic": "com.example.app"});
    Trial { provider: INFO.name, settings, path: "", token: None, secrets: &[] }
}

// Apple: Sending notification requests to APNs (headers); Generating a remote notification (payload).
#[tokio::test]
async fn a_notice_is_what_the_vendor_describes() {
    let id = uuid(&crate::testing::call(&[DEVICE], json!({})).targets[0]);
    let kind = "application/json; charset=utf-8";
    let cases = [
        (
            json!({"title": "T", "body": "B"}),
            json!({"apns-priority": "10"}),
            json!({"aps": {"alert": {"title": "T", "body": "B"}}}),
        ),
        (
            json!({"title": "T", "body": "B", "subtitle": "S", "badge": 9, "sound": "bingbong.aiff",
                "category": "c", "collapse": "k", "ttl_s": 60, "urgent": false, "url": "u", "image": "i",
                "data": {"id": 7}, "vendor": {"aps": {"interruption-level": "passive"}}}),
            json!({"apns-priority": "5", "apns-expiration": "1700000060", "apns-collapse-id": "k"}),
            json!({"aps": {"alert": {"title": "T", "subtitle": "S", "body": "B"}, "badge": 9,
                    "sound": "bingbong.aiff", "category": "c", "thread-id": "k", "mutable-content": 1,
                    "interruption-level": "passive"},
                "id": 7, "url": "u", "image": "i"}),
        ),
    ];
    for (content, rest, body) in cases {
        let (outcomes, requests) = trial().send(&[DEVICE], &content, [fine()]).await;
        assert_eq!(brief(&outcomes[0]), "delivered eabeae54-14a8-11e5-b60b-1697f925ec7b");
        let mut headers = json!({"apns-id": id, "apns-topic": "com.example.app", "apns-push-type": "alert",
            "content-type": kind});
        overlay(&mut headers, &rest);
        let mut request = requests[0].clone();
        let token = request["headers"]["authorization"].take();
        headers["authorization"] = Value::Null;
        assert!(token.as_str().is_some_and(|token| token.starts_with("Bearer ey")));
        assert_eq!(request, json!({"request": format!("POST /3/device/{DEVICE}"), "headers": headers, "body": body}));
    }
}

#[tokio::test]
async fn a_token_is_signed_once_for_each_half_hour() {
    let server = HttpServer::start(fine()).await.expect("a free port");
    let account = trial().account(&server);
    let mut call = crate::testing::call(&[DEVICE], json!({"title": "T", "body": "B"}));
    for at in [AT.0, AT.0 + 1_000, AT.0 + TOKEN_S * 1_000] {
        call.at = Time(at);
        account.send(&call).await;
    }
    let tokens: Vec<_> =
        server.requests().iter().map(|request| request.header("authorization").unwrap_or("").to_owned()).collect();
    assert!(tokens[0] == tokens[1] && tokens[1] != tokens[2]);
    let (message, signature) = tokens[0].trim_start_matches("Bearer ").rsplit_once('.').expect("three parts");
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, STANDARD.decode(EC_PUBLIC).expect("base64"));
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    assert!(public.verify(message.as_bytes(), &signature).is_ok());
    let parts: Vec<Value> = message
        .split('.')
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON"))
        .collect();
    assert_eq!(parts[0], json!({"alg": "ES256", "kid": "ABC123DEFG"}));
    assert_eq!(parts[1], json!({"iss": "DEF123GHIJ", "iat": 1_699_999_200}));
}

#[tokio::test]
async fn every_documented_reason_has_its_class() {
    let says = |status: u16, reason: &str| HttpReply::json(status, &json!({ "reason": reason }));
    let cases = [
        (says(400, "BadDeviceToken"), "never apns_BadDeviceToken Recipient"),
        (says(400, "DeviceTokenNotForTopic"), "never apns_DeviceTokenNotForTopic Recipient"),
        (says(410, "Unregistered"), "never apns_Unregistered Gone"),
        (says(410, "ExpiredToken"), "never apns_ExpiredToken Gone"),
        (says(413, "PayloadTooLarge"), "never apns_PayloadTooLarge Content"),
        (says(400, "BadCollapseId"), "never apns_BadCollapseId Content"),
        (says(400, "TopicDisallowed"), "never apns_TopicDisallowed Account"),
        (says(403, "InvalidProviderToken"), "never apns_InvalidProviderToken Account"),
        (says(403, "BadEnvironmentKeyInToken"), "never apns_BadEnvironmentKeyInToken Account"),
        (says(403, "ExpiredProviderToken"), "later apns_ExpiredProviderToken 60000"),
        (says(429, "TooManyProviderTokenUpdates"), "later apns_TooManyProviderTokenUpdates 1800000"),
        (says(429, "TooManyRequests"), "later apns_TooManyRequests"),
        (says(429, "TooManyRequests").with("Retry-After", "5"), "later http_429 5000"),
        (says(500, "InternalServerError"), "later apns_InternalServerError"),
        (says(503, "Shutdown"), "later apns_Shutdown"),
        (says(400, "NewReason"), "later apns_NewReason"),
        (HttpReply::status(200), "unknown answer"),
    ];
    trial().classes(DEVICE, &json!({"title": "T", "body": "B"}), cases).await;
    let (outcomes, requests) = trial().send(&["../x"], &json!({"title": "T", "body": "B"}), []).await;
    assert_eq!((brief(&outcomes[0]), requests), ("never apns_BadDeviceToken Recipient".to_owned(), vec![]));
}

#[tokio::test]
async fn apple_is_spoken_to_in_http_2() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it listens"));
    let (seen, mut versions) = tokio::sync::mpsc::unbounded_channel();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            seen.send(request.version()).expect("somebody looks");
            let answer = hyper::Response::builder().header("apns-id", "id-1");
            std::future::ready(answer.body(http_body_util::Empty::<bytes::Bytes>::new()))
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server.serve_connection(TokioIo::new(stream), service).await.ok();
    });
    // In the clear the account itself would speak HTTP/1.1: there is no certificate to agree over a version.
    let settings = Settings { plain: [("endpoint".to_owned(), json!(url))].into(), ..Settings::default() };
    let read = ApiSettings::read(&mut Reading::new(&settings), "").expect("an address");
    let account = Account {
        api: read.open_with(crate::http::Client::new_http2, []).expect("TLS is there"),
        key: EcKey::read(&Secret::new(EC_PKCS8)).expect("a key"),
        key_id: "k".to_owned(),
        team_id: "t".to_owned(),
        topic: HeaderValue::from_static("com.example.app"),
        token: Mutex::default(),
    };
    let call = crate::testing::call(&[DEVICE, DEVICE], json!({"title": "T", "body": "B"}));
    let outcomes = account.send(&call).await;
    assert!(outcomes.iter().all(|outcome| brief(outcome) == "delivered id-1"), "{outcomes:?}");
    for _ in 0..2 {
        assert_eq!(versions.recv().await, Some(hyper::Version::HTTP_2));
    }
    serving.abort();
}

#[test]
fn a_key_that_is_none_is_refused() {
    let mut settings = trial().settings;
    settings["private_key"] = json!("hunter2");
    let errors = open(&crate::Registry::new(), INFO.name, settings).expect_err("it is wrong");
    assert_eq!(errors[0].field, "settings.private_key");
    assert!(!format!("{errors:?}").contains("hunter2"));
}
