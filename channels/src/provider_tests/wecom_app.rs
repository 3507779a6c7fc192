//! What is sent to WeCom applications, and what comes of their answers.

use std::time::Duration;

use super::*;
use crate::conformance::{Golden, Partial, Subject, TokenCase, UploadCase, every};
use crate::golden::{Trial, brief, coded};
use crate::testing::{HttpReply, HttpServer, open};

pub(in crate::providers) fn subject() -> Option<Subject> {
    Some(Subject {
        provider: INFO.name,
        settings: |url| json!({"corp_id": "ww1", "corp_secret": "s3cret-44a", "agent_id": 1_000_002, "endpoint": url, "timeout_ms": 3_000}),
        content: || json!({"type": "text", "text": "hi"}),
        taken: fine,
        blame: "Account",
        complains: |words| HttpReply::json(200, &json!({"errcode": 81_013, "errmsg": words})),
        answers: || {
            every(&WECOM, 999_999, |code| HttpReply::json(200, &json!({"errcode": code, "errmsg": "the words"})))
        },
        partial: || {
            let said =
                json!({"errcode": 0, "errmsg": "ok", "invaliduser": "bob|x", "unlicenseduser": "cid", "msgid": "m1"});
            vec![Partial {
                to: vec!["Ann", "Bob", "cid"],
                reply: HttpReply::json(200, &said),
                expected: vec!["delivered m1", "never invaliduser Recipient", "never unlicenseduser Account"],
            }]
        },
        token: Some(|| TokenCase {
            fetched: HttpReply::json(
                200,
                &json!({"errcode": 0, "errmsg": "ok", "access_token": "accesstoken000001", "expires_in": 7_200}),
            ),
            token: "accesstoken000001",
            expires_in: Duration::from_secs(7_200),
            expired: vec![
                HttpReply::json(200, &json!({"errcode": 42_001, "errmsg": "expired"})),
                HttpReply::json(200, &json!({"errcode": 40_014, "errmsg": "invalid"})),
            ],
        }),
        golden: || {
            let card = json!({"card_type": "text_notice", "main_title": {"title": "T"}});
            let article =
                json!({"title": "T", "description": "d", "url": "u", "picurl": "p", "appid": "wx1", "pagepath": "pp"});
            let page = json!({"title": "T", "thumb_media_id": "m", "author": "a", "content_source_url": "u",
                "content": "c", "digest": "d"});
            Golden::each(
                "WeCom developer centre: Sending application messages (document 90236)",
                &["ann", "bob"],
                [
                    ("text", json!({"type": "text", "text": "hi"})),
                    ("text_safe", json!({"type": "text", "text": "hi", "safe": true, "id_trans": true})),
                    ("image", json!({"type": "image", "media_id": "m"})),
                    ("voice", json!({"type": "voice", "media_id": "m"})),
                    ("video", json!({"type": "video", "media_id": "m", "title": "T", "description": "d"})),
                    ("file", json!({"type": "file", "media_id": "m"})),
                    (
                        "textcard",
                        json!({"type": "textcard", "title": "T", "description": "d", "url": "u", "btntxt": "b"}),
                    ),
                    ("news", json!({"type": "news", "articles": [article]})),
                    ("mpnews", json!({"type": "mpnews", "articles": [page]})),
                    ("markdown", json!({"type": "markdown", "text": "**hi**"})),
                    (
                        "miniprogram_notice",
                        json!({"type": "miniprogram_notice", "appid": "wx1", "page": "p", "title": "T",
                            "description": "d", "emphasis_first_item": "true",
                            "content_item": [{"key": "k", "value": "v"}]}),
                    ),
                    ("template_card", json!({"type": "template_card", "card": card})),
                ],
            )
        },
        uploads,
        ..Subject::HTTP
    })
}

/// The files of every kind that it takes.
fn uploads() -> Vec<UploadCase> {
    let page = "WeCom developer centre: Uploading temporary media (document 90253)";
    let case = |name, kind, file| UploadCase::wecom(name, page, kind, file);
    vec![
        case("upload_image", "image", ("a.png", "image/png")),
        case("upload_voice", "voice", ("a.amr", "audio/amr")),
        case("upload_video", "video", ("a.mp4", "video/mp4")),
        case("upload_file", "file", ("terms.pdf", "application/pdf")),
    ]
}

fn fine() -> HttpReply {
    HttpReply::json(200, &json!({"errcode": 0, "errmsg": "ok", "invaliduser": "", "msgid": "m1"}))
}

fn trial() -> Trial {
    Trial {
        provider: INFO.name,
        settings: json!({"corp_id": "ww1", "corp_secret": "s3cret", "agent_id": 1_000_002}),
        path: "",
        token: Some("t0ken"),
        secrets: &["t0ken", "s3cret"],
    }
}

// WeCom: Sending application messages (document 90236), one case for each of its message types.
#[tokio::test]
async fn every_type_is_the_vendors_message() {
    let card = json!({"card_type": "text_notice", "main_title": {"title": "T"}});
    let article =
        json!({"title": "T", "description": "d", "url": "u", "picurl": "p", "appid": "wx1", "pagepath": "pp"});
    let page = json!({"title": "T", "thumb_media_id": "m", "author": "a", "content_source_url": "u", "content": "c",
        "digest": "d"});
    let rows = json!([{"key": "k", "value": "v"}]);
    let part = |kind: &str, part: Value| json!({"touser": "ann", "msgtype": kind, "agentid": 1_000_002, kind: part});
    let with = |mut body: Value, name: &str| {
        body[name] = json!(1);
        body
    };
    let cases = [
        (json!({"type": "text", "text": "hi", "safe": true}), with(part("text", json!({"content": "hi"})), "safe")),
        (json!({"type": "image", "media_id": "m"}), part("image", json!({"media_id": "m"}))),
        (json!({"type": "voice", "media_id": "m"}), part("voice", json!({"media_id": "m"}))),
        (
            json!({"type": "video", "media_id": "m", "title": "T", "description": "d"}),
            part("video", json!({"media_id": "m", "title": "T", "description": "d"})),
        ),
        (json!({"type": "file", "media_id": "m"}), part("file", json!({"media_id": "m"}))),
        (
            json!({"type": "textcard", "title": "T", "description": "d", "url": "u", "btntxt": "b", "id_trans": 1}),
            with(
                part("textcard", json!({"title": "T", "description": "d", "url": "u", "btntxt": "b"})),
                "enable_id_trans",
            ),
        ),
        (json!({"type": "news", "articles": [article]}), part("news", json!({"articles": [article]}))),
        (json!({"type": "mpnews", "articles": [page]}), part("mpnews", json!({"articles": [page]}))),
        (json!({"type": "markdown", "text": "**hi**"}), part("markdown", json!({"content": "**hi**"}))),
        (
            json!({"type": "miniprogram_notice", "appid": "wx1", "page": "p", "title": "T", "description": "d",
                "emphasis_first_item": "true", "content_item": rows}),
            part(
                "miniprogram_notice",
                json!({"appid": "wx1", "page": "p", "title": "T", "description": "d", "emphasis_first_item": true,
                    "content_item": rows}),
            ),
        ),
        (json!({"type": "template_card", "card": card}), part("template_card", card.clone())),
    ];
    let headers = json!({"content-type": "application/json; charset=utf-8"});
    let request = "POST /cgi-bin/message/send?access_token=***";
    trial().goldens("ann", &fine(), request, &headers, cases).await;
}

#[tokio::test]
async fn people_share_a_request_and_each_has_an_outcome_of_its_own() {
    let said = json!({"errcode": 0, "errmsg": "ok", "invaliduser": "bob|x", "unlicenseduser": "cid", "msgid": "m1"});
    let party = json!({"errcode": 0, "errmsg": "ok", "invalidparty": "7", "msgid": "m2"});
    let replies = [HttpReply::json(200, &said), HttpReply::json(200, &party), fine(), fine()];
    let to = ["Ann", "Bob", "party:7", "cid", "tag:3", "@all"];
    let server = HttpServer::start(HttpReply::status(500)).await.expect("a free port");
    server.then(replies);
    let mut call = crate::testing::call(&to, json!({"type": "text", "text": "hi"}));
    call.token = Some(Secret::new("t0ken"));
    // One at a time, so that the replies meet their requests.
    let account = trial().account(&server);
    let mut outcomes = vec![String::new(); to.len()];
    for places in [vec![0, 1, 3], vec![2], vec![4], vec![5]] {
        let mut part = call.clone();
        part.targets = places.iter().map(|place| call.targets[*place].clone()).collect();
        for (place, outcome) in places.iter().zip(account.send(&part).await) {
            outcomes[*place] = brief(&outcome);
        }
    }
    assert_eq!(
        outcomes,
        [
            "delivered m1",
            "never invaliduser Recipient",
            "never invaliduser Recipient",
            "never unlicenseduser Account",
            "delivered m1",
            "delivered m1"
        ]
    );
    let seen: Vec<Value> = server.requests().iter().map(|request| request.json()).collect();
    assert_eq!(seen[0]["touser"], "Ann|Bob|cid");
    assert_eq!((&seen[1]["toparty"], &seen[1]["touser"]), (&json!("7"), &Value::Null));
    assert_eq!((&seen[2]["totag"], &seen[3]["touser"]), (&json!("3"), &json!("@all")));
    // And all at once they make as many requests.
    account.send(&call).await;
    assert_eq!(server.count(), 8);
}

#[tokio::test]
async fn every_documented_code_has_its_class() {
    let cases = [
        (-1, "later errcode_-1"),
        (45_009, "later errcode_45009 60000"),
        (40_014, "later token_invalid"),
        (42_001, "later token_invalid"),
        (81_013, "never errcode_81013 Recipient"),
        (60_111, "never errcode_60111 Recipient"),
        (40_007, "never errcode_40007 Content"),
        (45_002, "never errcode_45002 Content"),
        (90_206, "never errcode_90206 Account"),
        (60_020, "never errcode_60020 Account"),
        (301_002, "never errcode_301002 Account"),
        (999_999, "later errcode_999999"),
    ];
    let content = json!({"type": "text", "text": "hi"});
    trial().classes("ann", &content, coded(200, "errcode", "errmsg", &cases)).await;
    let (outcomes, requests) = Trial { token: None, ..trial() }.send(&["ann", "bob"], &content, []).await;
    assert_eq!((outcomes, requests), (vec![no_token(); 2], vec![]));
}

#[tokio::test]
async fn tokens_are_fetched_and_messages_taken_back() {
    let given = json!({"errcode": 0, "errmsg": "ok", "access_token": "accesstoken000001", "expires_in": 7_200});
    let server = HttpServer::start(HttpReply::json(200, &given)).await.expect("a free port");
    let account = trial().account(&server);
    let token = account.fetch_token().await.expect("it has tokens").expect("it was given");
    assert_eq!((token.secret.expose(), token.expires_in.as_secs()), ("accesstoken000001", 7_200));
    server.set(HttpReply::json(200, &json!({"errcode": 40_001, "errmsg": "invalid credential s3cret"})));
    let refused = account.fetch_token().await.expect("it has tokens").expect_err("the secret is wrong");
    assert_eq!(refused, Reason::new("errcode_40001", "the supplier gave no access token"));

    server.set(fine());
    let delivery = crate::testing::call(&["ann"], json!({})).targets[0].delivery;
    let sent = Sent { delivery, to: "ann".to_owned(), provider_id: "m1".to_owned() };
    let outcome = account.recall(&sent, Some(&Secret::new("t0ken"))).await;
    assert_eq!(outcome, Ok(Outcome::Delivered { provider_id: None }));
    let requests = trial().requests(&server);
    assert_eq!(requests[0]["request"], "GET /cgi-bin/gettoken?corpid=ww1&corpsecret=***");
    assert_eq!(requests[2]["request"], "POST /cgi-bin/message/recall?access_token=***");
    assert_eq!(requests[2]["body"], json!({"msgid": "m1"}));
}

#[test]
fn an_application_has_a_number() {
    let settings = json!({"corp_id": "ww1", "corp_secret": "s", "agent_id": "x"});
    let errors = open(&crate::Registry::new(), INFO.name, settings).expect_err("it is wrong");
    assert_eq!(errors[0].field, "settings.agent_id");
}
