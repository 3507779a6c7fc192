//! What `custom_http` is to the suite, and that a described LinTong sends what the built-in one does,
//! whether its account holds the document or its provider was declared.

use super::*;
use crate::conformance::{Golden, Partial, Subject, TokenCase};
use crate::testing::{HttpReply, HttpServer, call, open};
use crate::{Described, Registry};
use serde_json::{Value, json};
use std::collections::BTreeMap;
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
        let declared = Described::read(lintong()).expect("the document is right");
        let given = json!({"user": "shop", "secret": "pa55", "endpoint": url});
        let given = serde_json::from_value(given).expect("an object");
        let settings = tidings_contract::Settings::sort(&declared.settings(), given).expect("it asks for no more");
        seen.push(declared.open("main", &settings).expect("the settings are right").send(&call).await);
        assert_eq!((&seen[1], &seen[2]), (&seen[0], &seen[0]), "{reply}");
        let requests = server.requests();
        assert_eq!(requests.len(), 3);
        assert!(
            requests.iter().all(|request| *request == requests[0]),
            "the same line, headers and body: {requests:?}"
        );
    }
}

#[tokio::test]
async fn a_content_that_does_not_fit_costs_only_its_own_recipient() {
    let server = HttpServer::start(results(&[("8613800138001", json!(0))])).await.expect("a free port");
    let account = open(&Registry::new(), INFO.name, settings(&server.url(""))).expect("the settings are right");
    let mut call = call(&["+8613800138000", "+8613800138001"], json!({"text": "hi"}));
    call.targets[0].content = Arc::new(json!({"title": "no text"}));
    let classes = |outcomes: Vec<tidings_contract::Outcome>| outcomes.iter().map(|o| o.class()).collect::<Vec<_>>();
    // The token has not come yet: nothing goes out.
    assert_eq!(account.send(&call).await[1].reason().map(|reason| reason.code.as_str()), Some("token_invalid"));
    assert_eq!(server.count(), 0);
    call.token = Some(tidings_contract::Secret::new("described-token-6e"));
    assert_eq!(classes(account.send(&call).await), ["never", "delivered"]);
    assert_eq!(server.requests()[0].json()["messages"].as_array().map(Vec::len), Some(1));
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

/// Documents that are wrong, with the place and the words that say so.
fn wrong_documents() -> Vec<(Value, &'static str, &'static str)> {
    let with = |more: Value| {
        let mut document = json!({"url": "https://a.example", "body": {}});
        document.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        document
    };
    let list = json!({"list": "/a", "code": "/c", "success": ["0"]});
    vec![
        (json!("x"), "", "invalid type"),
        (json!({}), "", "missing field `body`"),
        (with(json!({"boddy": 1})), "boddy", "unknown field `boddy`"),
        (with(json!({"derive": [{"name": "a", "text": 7}]})), "derive[0].text", "invalid type"),
        (with(json!({"answer": {"classes": {"1": "nobody"}}})), "answer.classes.1", "unknown variant"),
        (with(json!({"url": "http://a.example"})), "url", "must be an https URL"),
        (with(json!({"url": "/a?b=c"})), "url", "must be an https URL"),
        (with(json!({"body": {"x": ["{{ secrt }}"]}})), "body.x[0]", "secrt is not known"),
        (with(json!({"body": {"x": "{{ to "}})), "body.x", "a {{ has no }}"),
        (with(json!({"body": "{{ token }}"})), "token", "is required"),
        (with(json!({"most": 3})), "most", "goes together with item"),
        (with(json!({"item": {}})), "body", "must hold {{ items }}"),
        (with(json!({"body": "{{ items }}", "item": {}, "most": 900})), "most", "must be 1 to 200"),
        (with(json!({"body": ["{{ items }}", "{{ content.x }}"], "item": {}})), "body[1]", "content.x is not known"),
        (with(json!({"headers": {"a b": ""}})), "headers.a b", "is not a header"),
        (with(json!({"query": {"q": "{{ x }}"}})), "query.q", "x is not known"),
        (with(json!({"answer": {"code": "code", "success": ["0"]}})), "answer.code", "begins with a slash"),
        (with(json!({"answer": {"code": "/code"}})), "answer.success", "is required"),
        (with(json!({"answer": list})), "answer.list", "goes together with item"),
        (with(json!({"derive": [{"name": "user", "text": ""}]})), "derive[0].name", "must be new"),
        (with(json!({"derive": [{"name": "s", "hash": "hmac_sha1", "text": ""}]})), "derive[0].key", "goes together"),
        (with(json!({"token": {"url": "/t", "body": {}, "token": "t"}})), "token.token", "begins with a slash"),
    ]
}

#[test]
fn a_wrong_document_says_where() {
    let open = |definition: Value| open(&Registry::new(), INFO.name, json!({"definition": definition}));
    assert!(open(json!({"url": "https://a.example", "body": {}})).is_ok());
    for (document, path, words) in wrong_documents() {
        let dot = if path.is_empty() { "" } else { "." };
        let errors = open(document.clone()).expect_err("it is wrong");
        assert_eq!(errors[0].field, format!("settings.definition{dot}{path}"), "{document}");
        assert!(errors[0].detail.contains(words), "{} does not say {words}", errors[0].detail);
        // What is declared is read by the same code.
        let error = Described::read(document).expect_err("it is wrong");
        assert_eq!((error.field, error.detail), (format!("definition{dot}{path}"), errors[0].detail.clone()));
    }
}

#[test]
fn an_account_has_what_its_document_asks_for() {
    let asks = json!({"body": ["{{ user }}"], "headers": {"x": "{{ secret }}"}});
    let fields = |settings: Value| {
        let errors = open(&Registry::new(), INFO.name, settings).expect_err("something is missing");
        errors.into_iter().map(|error| error.field).collect::<Vec<_>>()
    };
    let missing = ["settings.user", "settings.secret", "settings.endpoint"];
    assert_eq!(fields(json!({"definition": asks})), missing);
    let bad = json!({"definition": asks, "user": "u", "secret": "s", "endpoint": "http://a.example"});
    assert_eq!(fields(bad), ["settings.endpoint"]);

    let declared = Described::read(asks).expect("it is right");
    let required = |declared: &Described| {
        let settings = declared.settings().into_iter().filter(|setting| setting.required);
        settings.map(|setting| format!("settings.{}", setting.name)).collect::<Vec<_>>()
    };
    assert_eq!(required(&declared), missing);
    let example: BTreeMap<String, Value> = serde_json::from_value(declared.example()).expect("an object");
    let settings = tidings_contract::Settings::sort(&declared.settings(), example).expect("it has what is asked for");
    assert!(declared.open("example", &settings).is_ok());
    assert!(declared.open("example", &tidings_contract::Settings::default()).is_err_and(|errors| errors.len() == 3));
    let modest = Described::read(json!({"url": "https://a.example", "body": {}})).expect("it is right");
    assert_eq!((required(&modest), modest.max_recipients()), (Vec::new(), 1));
    assert_eq!(Described::read(lintong()).expect("it is right").max_recipients(), 100);
}
