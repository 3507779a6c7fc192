//! The suite for providers that speak HTTP: every way a call can end has the class the contract demands.

use std::net::TcpListener;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tidings_contract::{Call, Secret, Target};

use super::{Subject, brief};
use crate::http::{Client, ClientOptions, HeaderMap, HeaderValue, Method, Url};
use crate::providers::subjects;
use crate::stable_id::{hex32, uuid};
use crate::testing::{HttpReply, HttpRequest, HttpServer, SmtpScript, SmtpServer};

async fn once(subject: &Subject, reply: HttpReply) -> (String, usize) {
    let server = HttpServer::start(reply).await.expect("a free port");
    let url = server.url("/in");
    let outcomes = subject.account(&url).send(&subject.call(&url)).await;
    assert_eq!(outcomes.len(), 1, "one outcome per target");
    (brief(&outcomes[0]), server.count())
}

#[tokio::test]
async fn every_end_of_a_call_has_its_class() {
    let cases = [
        (HttpReply::status(429), "later http_429"),
        (HttpReply::status(429).with("Retry-After", "7"), "later http_429 after 7000"),
        (HttpReply::status(429).with("Retry-After", "86400"), "later http_429 after 3600000"),
        (HttpReply::text(503, "closed").with("Retry-After", "soon"), "later http_503"),
        (HttpReply::status(500), "later http_500"),
        (HttpReply::status(404), "never http_404 {blame}"),
        (HttpReply::status(401), "never http_401 Account"),
        (HttpReply::status(302).with("Location", "http://127.0.0.1:1/"), "never http_302 {blame}"),
        (HttpReply::Hang, "unknown timeout"),
        (HttpReply::ResetUnread, "unknown broken"),
        (HttpReply::Reset, "unknown broken"),
        (HttpReply::Truncate, "unknown truncated"),
        (HttpReply::Stall, "unknown timeout"),
        (HttpReply::Garbage, "unknown broken"),
    ];
    // Side by side, because each waits for its deadline once.
    let mut all = Vec::new();
    for subject in subjects() {
        all.push(ends(subject, &cases));
    }
    join_all(all).await;
}

async fn ends(subject: Subject, cases: &[(HttpReply, &str)]) {
    assert_eq!(once(&subject, (subject.taken)()).await, ("delivered".to_owned(), 1), "{}", subject.provider);
    let (seen, _) = once(&subject, HttpReply::text(200, "<html>")).await;
    assert_eq!(seen, subject.gibberish, "{}", subject.provider);
    for (reply, expected) in cases {
        let (seen, requests) = once(&subject, reply.clone()).await;
        // The head of a yes is a yes where nobody reads the rest.
        let begins = matches!(reply, HttpReply::Truncate | HttpReply::Stall);
        let expected = if begins && subject.gibberish == "delivered" { "delivered" } else { expected };
        // Who was shown a token may take "who are you" for the token's end.
        let spent = subject.token.is_some() && expected.contains("http_401") && seen == "later token_invalid";
        let expected = expected.replace("{blame}", subject.blame);
        assert!(spent || seen == expected, "{} {reply:?}: {seen} and not {expected}", subject.provider);
        assert!(requests <= 1, "{} {reply:?}: nobody repeats behind the caller's back", subject.provider);
    }
}

#[tokio::test]
async fn what_never_connected_was_certainly_not_sent() {
    for subject in subjects() {
        // A port that was just given back has no listener.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let url = format!("http://127.0.0.1:{port}/in");
        assert_eq!(brief(&subject.account(&url).send(&subject.call(&url)).await[0]), "later connect");
    }
    let subject = subjects().into_iter().find(|s| s.provider == "webhook").expect("its recipient is the URL");
    let url = "http://no-such-host.invalid/in";
    assert_eq!(brief(&subject.account(url).send(&subject.call(url)).await[0]), "later dns");
    // Any server with a certificate that nobody vouches for will do.
    let script = SmtpScript { implicit_tls: true, ..SmtpScript::default() };
    let server = SmtpServer::start(script).await.expect("a free port");
    let url = format!("https://localhost:{}/in", server.addr().port());
    let outcome = &subject.account(&url).send(&subject.call(&url)).await[0];
    assert_eq!(brief(outcome), "later tls", "{outcome:?}");
}

#[tokio::test]
async fn a_caller_of_an_api_gets_status_headers_and_body() {
    let server = HttpServer::start(HttpReply::json(409, &json!({"code": "taken"})).with("X-Request-Id", "7"))
        .await
        .expect("a free port");
    let options =
        ClientOptions { timeout: Duration::from_secs(5), body_limit: 1_000_000, public_only: false, gzip: true };
    let client = Client::new(options).expect("TLS is there");
    let url = Url::parse(&server.url("/v1/keys?limit=2")).expect("a URL");
    let mut headers = HeaderMap::new();
    headers.insert("idempotency-key", HeaderValue::from_static("k"));
    let token = Secret::new("tk_1");
    let answer = client.json(Method::POST, url, Some(&token), headers, Some(&json!({"name": "n"}))).await;
    let answer = answer.expect("the server answered");
    assert_eq!((answer.status, answer.is_success(), answer.header("x-request-id")), (409, false, Some("7")));
    assert_eq!(answer.json::<Value>().expect("JSON"), json!({"code": "taken"}));
    let request = &server.requests()[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/keys?limit=2"));
    assert_eq!(request.header("authorization"), Some("Bearer tk_1"));
    assert_eq!(request.header("idempotency-key"), Some("k"));
    assert_eq!(request.json(), json!({"name": "n"}));
}

#[tokio::test]
async fn an_answer_without_end_is_read_to_the_limit_only() {
    for subject in subjects() {
        let (seen, _) = once(&subject, HttpReply::Flood(200)).await;
        assert_eq!(seen, subject.gibberish, "{}", subject.provider);
        let (seen, _) = once(&subject, HttpReply::Flood(503)).await;
        assert_eq!(seen, "later http_503", "{}", subject.provider);
    }
}

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection() {
    for subject in subjects() {
        let server = HttpServer::start((subject.taken)()).await.expect("a free port");
        let url = server.url("/in");
        let (account, call) = (subject.account(&url), subject.call(&url));
        for _ in 0..20 {
            assert_eq!(brief(&account.send(&call).await[0]), "delivered");
        }
        assert_eq!((server.count(), server.connections()), (20, 1), "{}", subject.provider);
    }
}

#[tokio::test]
async fn a_repeat_carries_the_same_id_and_the_next_part_of_a_text_another() {
    let mut with_ids = Vec::new();
    for subject in subjects() {
        let server = HttpServer::start((subject.taken)()).await.expect("a free port");
        let url = server.url("/in");
        let (account, call) = (subject.account(&url), subject.call(&url));
        let target = &call.targets[0];
        let ids = [hex32(target), uuid(target), target.repeat_id()];
        for (attempt, part) in [(1, 0), (2, 0), (1, 1)] {
            let again = Target { attempt, part, ..target.clone() };
            account.send(&Call { targets: vec![again], ..call.clone() }).await;
        }
        let carries = |request: &HttpRequest, id: &String| {
            let body = String::from_utf8_lossy(&request.body);
            // What else names the delivery may have something behind it.
            let whole = |text: &str| text == id || text.contains(&format!("\"{id}\""));
            whole(&body) || request.headers.iter().any(|(_, value)| whole(value))
        };
        let requests = server.requests();
        for id in ids.iter().filter(|id| carries(&requests[0], id)) {
            with_ids.push(subject.provider);
            let carried: Vec<_> = requests.iter().map(|request| carries(request, id)).collect();
            assert_eq!(carried, [true, true, false], "{} {id}", subject.provider);
        }
    }
    let expected = ["custom_http", "feishu_app", "push/apns", "push/getui", "webhook", "wechat_official"];
    assert_eq!(with_ids, expected, "who drops repeats by an id");
}

#[tokio::test]
async fn two_calls_at_once_do_not_wait_for_each_other() {
    for subject in subjects() {
        let server = HttpServer::start((subject.taken)()).await.expect("a free port");
        let url = server.url("/in");
        let account = subject.account(&url);
        server.then([HttpReply::Hang]);
        let call = subject.call(&url);
        let first = account.send(&call);
        let second = async {
            while server.count() == 0 {
                tokio::task::yield_now().await;
            }
            account.send(&call).await
        };
        let second = tokio::select! {
            first = first => panic!("the server does not answer it: {first:?}"),
            second = second => second,
        };
        assert_eq!(brief(&second[0]), "delivered", "{}", subject.provider);
    }
}

#[tokio::test]
async fn a_dropped_call_does_no_harm_to_the_next() {
    for subject in subjects() {
        let server = HttpServer::start((subject.taken)()).await.expect("a free port");
        let url = server.url("/in");
        let account = subject.account(&url);
        let call = subject.call(&url);
        assert_eq!(brief(&account.send(&call).await[0]), "delivered");
        server.then([HttpReply::After(Duration::from_secs(60), Box::new((subject.taken)()))]);
        {
            let mut dropped = account.send(&call);
            while server.count() < 2 {
                let step = tokio::time::timeout(Duration::ZERO, &mut dropped).await;
                assert!(step.is_err(), "the answer is a minute away");
            }
        }
        assert_eq!(brief(&account.send(&call).await[0]), "delivered");
        assert_eq!(server.count(), 3);
    }
}
