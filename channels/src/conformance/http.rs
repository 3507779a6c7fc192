//! The suite for providers that speak HTTP: every way a call can end has the class the contract demands.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_contract::{Call, Channel};

use super::brief;
use crate::Registry;
use crate::testing::{HttpReply, HttpServer, call, open};

/// A provider under test. A new HTTP provider adds itself here.
struct Subject {
    provider: &'static str,
    settings: fn(&str) -> Value,
    content: fn() -> Value,
    /// The answer with which the supplier takes a message.
    taken: fn() -> HttpReply,
    /// What an answer that is not the supplier's language comes to.
    gibberish: &'static str,
}

const SUBJECTS: &[Subject] = &[
    Subject {
        provider: "webhook",
        settings: |_| json!({"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLw", "allow_private": true, "timeout_ms": 1_000}),
        content: || json!({"type": "test", "text": "hi"}),
        taken: || HttpReply::status(200),
        // A receiver may say what it likes: its yes is the status.
        gibberish: "delivered",
    },
    Subject {
        provider: "dingtalk_robot",
        settings: |url| json!({"access_token": "t", "secret": "SECx", "url": url, "timeout_ms": 1_000}),
        content: || json!({"type": "text", "text": "hi"}),
        taken: || HttpReply::json(200, &json!({"errcode": 0, "errmsg": "ok"})),
        gibberish: "unknown answer",
    },
];

impl Subject {
    fn account(&self, url: &str) -> Arc<dyn Channel> {
        open(&Registry::new(), self.provider, (self.settings)(url)).expect("the settings are right")
    }

    fn call(&self, url: &str) -> Call {
        call(&[url], (self.content)())
    }

    async fn once(&self, reply: HttpReply) -> (String, usize) {
        let server = HttpServer::start(reply).await.expect("a free port");
        let url = server.url("/in");
        let outcomes = self.account(&url).send(&self.call(&url)).await;
        assert_eq!(outcomes.len(), 1, "one outcome per target");
        (brief(&outcomes[0]), server.count())
    }
}

#[tokio::test]
async fn every_end_of_a_call_has_its_class() {
    let cases = [
        (HttpReply::status(429), "later http_429"),
        (HttpReply::status(429).with("Retry-After", "7"), "later http_429 after 7000"),
        (HttpReply::status(429).with("Retry-After", "86400"), "later http_429 after 3600000"),
        (HttpReply::text(503, "closed").with("Retry-After", "soon"), "later http_503"),
        (HttpReply::status(500), "later http_500"),
        (HttpReply::status(404), "never http_404 Recipient"),
        (HttpReply::status(401), "never http_401 Account"),
        (HttpReply::status(302).with("Location", "http://127.0.0.1:1/"), "never http_302 Recipient"),
        (HttpReply::Hang, "unknown timeout"),
        (HttpReply::ResetUnread, "unknown broken"),
        (HttpReply::Reset, "unknown broken"),
        (HttpReply::Truncate, "unknown truncated"),
        (HttpReply::Garbage, "unknown broken"),
    ];
    for subject in SUBJECTS {
        assert_eq!(subject.once((subject.taken)()).await, ("delivered".to_owned(), 1), "{}", subject.provider);
        let (seen, _) = subject.once(HttpReply::text(200, "<html>")).await;
        assert_eq!(seen, subject.gibberish, "{}", subject.provider);
        for (reply, expected) in &cases {
            let (seen, requests) = subject.once(reply.clone()).await;
            assert_eq!(seen, *expected, "{} {reply:?}", subject.provider);
            assert!(requests <= 1, "{} {reply:?}: nobody repeats behind the caller's back", subject.provider);
        }
    }
}

#[tokio::test]
async fn what_never_connected_was_certainly_not_sent() {
    for subject in SUBJECTS {
        // A port that was just given back has no listener.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let url = format!("http://127.0.0.1:{port}/in");
        assert_eq!(brief(&subject.account(&url).send(&subject.call(&url)).await[0]), "later connect");
    }
    let subject = &SUBJECTS[0];
    let url = "http://no-such-host.invalid/in";
    assert_eq!(brief(&subject.account(url).send(&subject.call(url)).await[0]), "later dns");
    let server = HttpServer::start(HttpReply::status(200)).await.expect("a free port");
    let url = server.url("/in").replace("http:", "https:");
    assert_eq!(brief(&subject.account(&url).send(&subject.call(&url)).await[0]), "later tls");
}

#[tokio::test]
async fn an_answer_without_end_is_read_to_the_limit_only() {
    let huge = "x".repeat(crate::http::PROVIDER_BODY_LIMIT * 4);
    for subject in SUBJECTS {
        let (seen, _) = subject.once(HttpReply::text(200, &huge)).await;
        assert_eq!(seen, subject.gibberish, "{}", subject.provider);
        let (seen, _) = subject.once(HttpReply::text(503, &huge)).await;
        assert_eq!(seen, "later http_503", "{}", subject.provider);
    }
}

#[tokio::test]
async fn two_calls_at_once_do_not_wait_for_each_other() {
    for subject in SUBJECTS {
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
        let (first, second) = tokio::join!(first, second);
        assert_eq!((brief(&first[0]), brief(&second[0])), ("unknown timeout".into(), "delivered".into()));
    }
}

#[tokio::test]
async fn a_dropped_call_does_no_harm_to_the_next() {
    for subject in SUBJECTS {
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
