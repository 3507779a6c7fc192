//! What `custom_http` is to the suite, and that a described LinTong sends what the built-in one does.

use super::*;
use crate::Registry;
use crate::conformance::{Golden, Partial, Subject, TokenCase};
use crate::testing::{HttpReply, HttpServer, call, open};
use serde_json::{Value, json};
use std::time::Duration;

/// A supplier with everything: token, signature over the body, batches with a result for each.
fn everything() -> Value {
    json!({
        "url": "/", "most": 3, "number": "digits",
        "token": {"url": "/token", "body": {"id": "{{ user }}", "key": "{{ secret }}"}, "format": "form",
            "token": "/access_token", "expires_in": "/expires_in"},
        "derive": [{"name": "digest", "hash": "sha256", "text": "{{ user }}{{ at_s }}"}],
        "derive_after": [{"name": "sign", "hash": "hmac_sha1", "key": "{{ secret }}", "text": "{{ body }}",
            "encoding": "base64"}],
        "headers": {"Authorization": "Bearer {{ token }}", "X-Sign": "{{ sign }}"},
        "query": {"digest": "{{ digest }}"},
        "body": {"messages": "{{ items }}", "batch": "{{ delivery }}"},
        "item": {"to": "{{ to }}", "text": "{{ text }}", "extra": "{{ content.text }}"},
        "answer": {"list": "/results", "recipient": "/to", "code": "/code", "success": ["0", "ok"], "words": "/why",
            "id": "/id", "otherwise": "later",
            "classes": {"1": "account", "2": "content", "3": "recipient", "4": "unknown", "5": "token"}},
    })
}

fn settings(url: &str) -> Value {
    json!({"user": "shop", "secret": "described-secret-1b", "endpoint": url, "timeout_ms": 3_000,
        "definition": everything()})
}

fn results(results: &[(&str, Value)]) -> HttpReply {
    let each = |(to, code): &(&str, Value)| json!({"to": to, "code": code, "why": "no", "id": format!("i{to}")});
    HttpReply::json(200, &json!({"results": results.iter().map(each).collect::<Vec<_>>()}))
}

fn refused(code: i64, why: &str) -> HttpReply {
    HttpReply::json(200, &json!({"code": code, "why": why}))
}

pub(in crate::providers) fn subject() -> Option<Subject> {
    Some(Subject {
        provider: INFO.name,
        settings,
        to: |_| "+8613800138000".to_owned(),
        content: || json!({"text": "hi"}),
        taken: || results(&[("8613800138000", json!(0))]),
        blame: "Account",
        complains: |words| refused(2, words),
        answers: || {
            let classes = [
                (1, "never code_1 Account"),
                (2, "never code_2 Content"),
                (3, "never code_3 Recipient"),
                (4, "unknown code_4"),
                (9, "later code_9"),
            ];
            let one = |(code, expected): (i64, &str)| {
                let alone = (refused(code, "no"), expected.to_owned());
                [alone, (results(&[("8613800138000", json!(code))]), expected.to_owned())]
            };
            let odd = [
                (refused(0, ""), "unknown answer".to_owned()),
                (HttpReply::json(200, &json!([])), "unknown answer".to_owned()),
                (HttpReply::json(500, &json!({"message": "down"})), "later http_500".to_owned()),
            ];
            classes.into_iter().flat_map(one).chain(odd).collect()
        },
        partial: || {
            vec![Partial {
                to: vec!["+8613800138000", "+8613800138001", "+8613800138002"],
                reply: results(&[("8613800138001", json!("3")), ("8613800138000", json!("ok"))]),
                expected: vec!["delivered i8613800138000", "never code_3 Recipient", "unknown answer"],
            }]
        },
        token: Some(|| TokenCase {
            fetched: HttpReply::json(200, &json!({"access_token": "described-token-6e", "expires_in": 7_200})),
            token: "described-token-6e",
            expires_in: Duration::from_secs(7_200),
            expired: vec![refused(5, "spent"), results(&[("8613800138000", json!(5))]), HttpReply::status(401)],
        }),
        golden: || {
            vec![Golden {
                name: "everything",
                page: "Tidings: README of channels, described suppliers",
                to: &["+8613800138000", "+12125552368"],
                content: json!({"text": "hi"}),
                masked: &[],
            }]
        },
        ..Subject::HTTP
    })
}

/// LinTong as a document.
fn lintong() -> Value {
    json!({
        "url": "/", "most": 100, "number": "national",
        "derive": [
            {"name": "inner", "hash": "md5", "text": "{{ secret }}"},
            {"name": "sign", "hash": "md5", "text": "{{ user }}{{ at_ms }}{{ inner }}"}],
        "headers": {"Content-Type": "application/json;charset=utf-8"},
        "body": {"userName": "{{ user }}", "timestamp": "{{ at_ms }}", "messageList": "{{ items }}",
            "sign": "{{ sign }}"},
        "item": {"phone": "{{ to }}", "content": "{{ text }}"},
        "answer": {"list": "/data", "recipient": "/phone", "code": "/code", "success": ["0"], "words": "/message",
            "id": "/msgId"},
    })
}

#[tokio::test]
async fn a_described_lintong_sends_and_understands_what_the_built_in_one_does() {
    let status = |phone: &str, code: i64| json!({"code": code, "message": "m", "msgId": phone, "phone": phone});
    let replies = [
        json!({"code": 0, "message": "ok", "data": [status("13800138000", 0), status("+12125552368", 4)]}),
        json!({"code": 7, "message": "no money", "data": null}),
        json!({"code": 0, "message": "ok"}),
        json!("what?"),
    ];
    for reply in replies {
        let server = HttpServer::start(HttpReply::json(200, &reply)).await.expect("a free port");
        let url = server.url("/send");
        let built_in = json!({"user_name": "shop", "password": "pa55", "endpoint": url});
        let described = json!({"user": "shop", "secret": "pa55", "endpoint": url, "definition": lintong()});
        let mut call = call(&["+8613800138000", "+12125552368"], json!({"text": "hi", "url": "https://a.example"}));
        call.targets[1].content = Arc::new(json!({"text": "错 \"quoted\""}));
        let mut seen = Vec::new();
        for (provider, settings) in [("sms/lintong", built_in), ("custom_http", described)] {
            let account = open(&Registry::new(), provider, settings).expect("the settings are right");
            seen.push(account.send(&call).await);
        }
        assert_eq!(seen[0], seen[1], "{reply}");
        let requests = server.requests();
        assert_eq!(requests[0], requests[1], "the same line, headers and body");
    }
}

#[tokio::test]
async fn without_items_every_recipient_has_a_request_and_the_status_can_decide() {
    let server = HttpServer::start(HttpReply::json(202, &json!({"id": 7}))).await.expect("a free port");
    let definition = json!({"url": "/", "format": "form", "method": "PUT", "body": {"to": "{{ to }}", "n": "{{ at_s }}"},
        "derive": [{"name": "basic", "text": "{{ user }}:{{ secret }}", "encoding": "base64"}],
        "headers": {"Authorization": "Basic {{ basic }}"}, "answer": {"id": "/id"}});
    let settings =
        json!({"user": "Aladdin", "secret": "open sesame", "endpoint": server.url(""), "definition": definition});
    let account = open(&Registry::new(), INFO.name, settings).expect("the settings are right");
    let outcomes = account.send(&call(&["a", "b"], json!({}))).await;
    let delivered = tidings_contract::Outcome::Delivered { provider_id: Some("7".to_owned()) };
    assert_eq!(outcomes, [delivered.clone(), delivered]);
    let requests = server.requests();
    let mut bodies: Vec<_> = requests.iter().map(|r| String::from_utf8_lossy(&r.body).into_owned()).collect();
    bodies.sort();
    assert_eq!(bodies, ["n=1795456800&to=a", "n=1795456800&to=b"]);
    // The example of RFC 7617 §2.
    assert_eq!(requests[0].header("authorization"), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    assert_eq!(requests[0].method, "PUT");
}

#[test]
fn a_wrong_document_says_where() {
    let good = json!({"url": "https://a.example", "body": {}});
    let cases = [
        (json!("x"), "invalid type"),
        (json!({"body": {}, "boddy": 1}), "unknown field `boddy`"),
        (json!({"body": {}}), "url: stands under the account's endpoint"),
        (json!({"url": "http://a.example", "body": {}}), "url: must be an https URL"),
        (json!({"url": "https://a.example", "body": {"x": "{{ secrt }}"}}), "body: x: secrt is not known"),
        (json!({"url": "https://a.example", "body": {"x": "{{ to "}}), "body: x: a {{ has no }}"),
        (json!({"url": "https://a.example", "body": {}, "most": 3}), "most: goes together with item"),
        (json!({"url": "https://a.example", "body": {}, "item": {}}), "body: must hold {{ items }}"),
        (json!({"url": "https://a.example", "body": "{{ items }}", "item": {}, "most": 900}), "most: must be 1 to 200"),
        (json!({"url": "https://a.example", "body": {}, "headers": {"a b": ""}}), "headers.a b: is not a header"),
        (
            json!({"url": "https://a.example", "body": {}, "answer": {"code": "code", "success": ["0"]}}),
            "answer: places",
        ),
        (json!({"url": "https://a.example", "body": {}, "answer": {"code": "/code"}}), "answer.success: is required"),
        (
            json!({"url": "https://a.example", "body": {}, "answer": {"list": "/a", "code": "/c", "success": ["0"]}}),
            "answer.list",
        ),
        (json!({"url": "https://a.example", "body": {}, "derive": [{"name": "user", "text": ""}]}), "derive[0]: name"),
        (
            json!({"url": "https://a.example", "body": {}, "derive": [{"name": "s", "hash": "hmac_sha1", "text": ""}]}),
            "derive[0]: key goes together",
        ),
    ];
    let wrong = |definition: Value| open(&Registry::new(), INFO.name, json!({"definition": definition}));
    assert!(wrong(good).is_ok());
    for (definition, expected) in cases {
        let errors = wrong(definition).expect_err("it is wrong");
        assert_eq!(errors[0].field, "settings.definition");
        assert!(errors[0].detail.contains(expected), "{} does not say {expected}", errors[0].detail);
    }
}
