//! The suite's part about files: what is uploaded is the request in its file, every end of an upload has its class, and an
//! id that the supplier does not know is told from everything else.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidings_contract::{Material, Outcome, Secret, Token, Unsupported, Uploaded};

use super::subject::{MATERIAL, UploadCase};
use super::{Subject, brief};
use crate::providers::subjects;
use crate::testing::{HttpReply, HttpServer};

/// The file of a case.
pub(super) fn material(case: &UploadCase) -> Material {
    let (name, media_type) = (case.file.0.to_owned(), case.file.1.to_owned());
    Material { name, media_type, bytes: Arc::from(&b"the bytes of the file"[..]) }
}

fn token(subject: &Subject) -> Option<Secret> {
    subject.token.map(|case| Secret::new(case().token))
}

async fn upload(subject: &Subject, case: &UploadCase, reply: HttpReply) -> Result<Uploaded, Outcome> {
    let server = HttpServer::start(reply).await.expect("a free port");
    let account = subject.account(&server.url("/in"));
    account.upload(&material(case), case.kind, token(subject).as_ref()).await.expect("it takes files")
}

#[tokio::test]
async fn whoever_takes_files_says_where_and_gives_their_ids() {
    for subject in subjects() {
        let cases = (subject.uploads)();
        let account = subject.account("http://127.0.0.1:1/in");
        let file =
            Material { name: "a.png".to_owned(), media_type: "image/png".to_owned(), bytes: Arc::from(&b"a"[..]) };
        let able = account.upload(&file, "image", None).await != Err(Unsupported("upload"));
        assert_eq!(able, !cases.is_empty(), "{}: name its uploads in its subject", subject.provider);
        for case in cases {
            let places = account.media(&case.content);
            assert_eq!(places.len(), 1, "{} {}: {places:?}", subject.provider, case.name);
            assert_eq!((places[0].material.as_str(), places[0].kind), (MATERIAL, case.kind), "{}", case.name);
            let given = upload(&subject, &case, case.taken.clone()).await;
            let expected = Uploaded { id: case.id.to_owned(), good_for: case.good_for };
            assert_eq!(given, Ok(expected), "{} {}", subject.provider, case.name);

            let server = HttpServer::start((subject.taken)()).await.expect("a free port");
            let account = subject.account(&server.url("/in"));
            let mut content = case.content.clone();
            places[0].put(&mut content, case.id);
            let own = (subject.to)("ops");
            let outcome = &account.send(&subject.call_to(&[&own], content)).await[0];
            assert_eq!(brief(outcome), "delivered", "{} {}: {outcome:?}", subject.provider, case.name);
            let body = String::from_utf8_lossy(&server.requests()[0].body).into_owned();
            assert!(body.contains(case.id) && !body.contains(MATERIAL), "{} {}: {body}", subject.provider, case.name);
            // Without its id it cannot go out.
            let outcome = &account.send(&subject.call_to(&[&own], case.content)).await[0];
            assert_eq!((brief(outcome).as_str(), server.count()), ("never content Content", 1), "{}", case.name);
        }
    }
}

#[tokio::test]
async fn every_end_of_an_upload_has_its_class() {
    let cases = [
        (HttpReply::status(429).with("Retry-After", "7"), "later http_429 after 7000"),
        (HttpReply::status(503), "later http_503"),
        (HttpReply::ResetUnread, "unknown broken"),
        (HttpReply::Reset, "unknown broken"),
        (HttpReply::Truncate, "unknown truncated"),
        (HttpReply::text(200, "<html>"), "unknown answer"),
        (HttpReply::json(200, &json!({"errcode": 0, "code": 0, "data": {}})), "unknown answer"),
    ];
    for subject in subjects() {
        let Some(case) = (subject.uploads)().into_iter().next() else { continue };
        for (reply, expected) in &cases {
            let refused = upload(&subject, &case, reply.clone()).await.expect_err("no id came");
            assert_eq!(brief(&refused), *expected, "{} {reply:?}", subject.provider);
        }
        let refused = upload(&subject, &case, case.too_large.clone()).await.expect_err("it is too large");
        assert!(brief(&refused).starts_with("never ") && brief(&refused).ends_with(" Content"), "{refused:?}");
        for reply in subject.token.map(|case| case().expired).unwrap_or_default() {
            let refused = upload(&subject, &case, reply.clone()).await.expect_err("the token is spent");
            assert_eq!(brief(&refused), format!("later {}", Token::INVALID), "{} {reply:?}", subject.provider);
        }
        let account = subject.account("http://127.0.0.1:1/in");
        let refused = account.upload(&material(&case), case.kind, token(&subject).as_ref()).await;
        assert_eq!(refused.map(|given| given.map_err(|outcome| brief(&outcome))), Ok(Err("later connect".to_owned())));
        if subject.token.is_some() {
            let refused = account.upload(&material(&case), case.kind, None).await.expect("it takes files");
            assert_eq!(refused.map_err(|outcome| brief(&outcome)), Err(format!("later {}", Token::INVALID)));
        }
    }
}

#[tokio::test]
async fn an_id_the_supplier_does_not_know_is_told_from_other_refusals() {
    for subject in subjects() {
        for case in (subject.uploads)() {
            let server = HttpServer::start(case.gone.clone()).await.expect("a free port");
            let account = subject.account(&server.url("/in"));
            let mut content = case.content.clone();
            account.media(&content)[0].put(&mut content, case.id);
            let call = subject.call_to(&[&(subject.to)("ops")], content);
            for (reply, gone) in
                [(case.gone.clone(), true), ((subject.complains)("no"), false), (HttpReply::status(503), false)]
            {
                server.set(reply);
                let outcome = &account.send(&call).await[0];
                let reason = outcome.reason().expect("it was refused");
                assert_eq!(account.media_gone(reason), gone, "{} {}: {outcome:?}", subject.provider, case.name);
            }
        }
    }
}

#[tokio::test]
async fn no_secret_stands_in_the_words_about_an_upload() {
    for subject in subjects() {
        let Some(case) = (subject.uploads)().into_iter().next() else { continue };
        let mut secrets = super::golden::secrets(&subject, "http://127.0.0.1:1/in");
        secrets.extend(token(&subject));
        let words: Vec<_> = secrets.iter().map(Secret::expose).collect();
        let refused = upload(&subject, &case, (subject.complains)(&words.join(" "))).await.expect_err("it was refused");
        for word in words {
            assert!(!format!("{refused:?}").contains(word), "{}: {refused:?}", subject.provider);
        }
    }
}

#[tokio::test]
async fn an_upload_has_more_time_than_a_message() {
    let subject = subjects().into_iter().find(|subject| subject.provider == "wecom_robot").expect("it takes files");
    let case = (subject.uploads)().remove(0);
    // Its messages have three seconds.
    let reply = HttpReply::After(Duration::from_millis(3_300), Box::new(case.taken.clone()));
    assert!(upload(&subject, &case, reply).await.is_ok());
}
