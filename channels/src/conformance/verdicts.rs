//! The suite's part about what suppliers say: every documented code, every recipient of a batch, every spent token.

use tidings_contract::Token;

use super::{Subject, brief, brief_with_id};
use crate::Registry;
use crate::golden::AT;
use crate::providers::subjects;
use crate::testing::{HttpReply, HttpServer};

#[tokio::test]
async fn every_documented_answer_has_its_class() {
    for subject in subjects() {
        let server = HttpServer::start(HttpReply::Hang).await.expect("a free port");
        let url = server.url("/in");
        let (account, call) = (subject.account(&url), subject.call(&url));
        for (reply, expected) in (subject.answers)() {
            server.set(reply.clone());
            let outcomes = account.send(&call).await;
            assert_eq!(outcomes.len(), 1, "{} {reply:?}", subject.provider);
            assert_eq!(brief(&outcomes[0]), expected, "{} {reply:?}", subject.provider);
        }
    }
}

/// A call to many, answered like that; what came of each and how many requests it took.
async fn many(subject: &Subject, to: &[&str], reply: HttpReply) -> (Vec<String>, usize) {
    let server = HttpServer::start(reply).await.expect("a free port");
    let account = subject.account(&server.url("/in"));
    let outcomes = account.send(&subject.call_to(to, (subject.content)())).await;
    (outcomes.iter().map(brief_with_id).collect(), server.count())
}

#[tokio::test]
async fn every_recipient_of_a_batch_has_an_outcome_of_its_own() {
    let registry = Registry::new();
    for subject in subjects() {
        let cases = (subject.partial)();
        let most = registry.get(subject.provider).expect("it is registered").info().max_recipients;
        assert_eq!(most > 1, !cases.is_empty(), "{} carries {most}", subject.provider);
        for case in cases {
            let (seen, requests) = many(&subject, &case.to, case.reply.clone()).await;
            assert_eq!(seen, case.expected, "{} {:?}", subject.provider, case.reply);
            assert_eq!(requests, 1, "{}: recipients of one content share a request", subject.provider);
            for (reply, expected) in [
                (HttpReply::Reset, "unknown broken"),
                (HttpReply::Truncate, "unknown truncated"),
                (HttpReply::text(200, "<html>"), subject.gibberish),
                (HttpReply::status(503), "later http_503"),
            ] {
                let (seen, _) = many(&subject, &case.to, reply.clone()).await;
                assert_eq!(seen, vec![expected; case.to.len()], "{} {reply:?}", subject.provider);
            }
        }
    }
}

#[tokio::test]
async fn tokens_are_fetched_and_a_spent_one_is_said_to_be() {
    for subject in subjects() {
        let server = HttpServer::start(HttpReply::Hang).await.expect("a free port");
        let url = server.url("/in");
        let account = subject.account(&url);
        let Some(case) = subject.token.map(|case| case()) else {
            assert!(account.fetch_token_at(AT).await.is_none(), "{} wants a token", subject.provider);
            continue;
        };
        server.set(case.fetched.clone());
        let token = account.fetch_token_at(AT).await.expect("it wants a token").expect("the answer holds one");
        assert_eq!((token.secret.expose(), token.expires_in), (case.token, case.expires_in), "{}", subject.provider);
        for reply in [HttpReply::text(200, "<html>"), HttpReply::status(503), HttpReply::Reset, HttpReply::Truncate] {
            server.set(reply.clone());
            let fetched = account.fetch_token_at(AT).await.expect("it wants a token");
            assert!(fetched.is_err(), "{} {reply:?} gave a token", subject.provider);
        }
        let call = subject.call(&url);
        for reply in case.expired {
            server.set(reply.clone());
            let outcome = &account.send(&call).await[0];
            assert_eq!(brief(outcome), format!("later {}", Token::INVALID), "{} {reply:?}", subject.provider);
        }
    }
}
