//! What is sent to Feishu applications, and what comes of their answers.

use std::time::Duration;

use super::*;
use crate::conformance::{Golden, MATERIAL, Subject, TokenCase, UploadCase, every};
use crate::golden::{Trial, coded};
use crate::testing::{HttpReply, HttpServer};

pub(in crate::providers) fn subject() -> Option<Subject> {
    Some(Subject {
        provider: INFO.name,
        settings: |url| json!({"app_id": "cli_1", "app_secret": "s3cret-44c", "endpoint": url, "timeout_ms": 3_000}),
        content: || json!({"type": "text", "text": "hi"}),
        taken: fine,
        blame: "Account",
        complains: |words| HttpReply::json(400, &json!({"code": 230_002, "msg": words})),
        answers: || every(&FEISHU, 777, |code| HttpReply::json(400, &json!({"code": code, "msg": "the words"}))),
        token: Some(|| TokenCase {
            fetched: HttpReply::json(
                200,
                &json!({"code": 0, "msg": "ok", "tenant_access_token": "t-caecc734c2e3328a", "expire": 7_200}),
            ),
            token: "t-caecc734c2e3328a",
            expires_in: Duration::from_secs(7_200),
            expired: vec![
                HttpReply::json(400, &json!({"code": 99_991_663, "msg": "invalid"})),
                HttpReply::json(401, &json!({"code": 99_991_668, "msg": "invalid"})),
            ],
        }),
        golden: || {
            let line = json!([{"tag": "text", "text": "a"}, {"tag": "at", "user_id": "ou_1"}]);
            let card = json!({"schema": "2.0", "body": {"elements": []}});
            Golden::each(
                "Feishu open platform: Sending messages; Structure of the content of messages",
                &["ou_7"],
                [
                    ("text", json!({"type": "text", "text": "hi"})),
                    ("post", json!({"type": "post", "title": "T", "paragraphs": [line, line]})),
                    ("image", json!({"type": "image", "image_key": "k"})),
                    ("file", json!({"type": "file", "file_key": "k"})),
                    ("audio", json!({"type": "audio", "file_key": "k"})),
                    ("media", json!({"type": "media", "file_key": "k", "image_key": "i"})),
                    ("sticker", json!({"type": "sticker", "file_key": "k"})),
                    ("interactive", json!({"type": "interactive", "card": card})),
                    ("share_chat", json!({"type": "share_chat", "chat_id": "oc_1"})),
                    ("share_user", json!({"type": "share_user", "user_id": "ou_1"})),
                ],
            )
        },
        uploads: || {
            let too_large = json!({"code": 234_006, "msg": "The file size exceed the max value."});
            let unknown = |name: &str| json!({"code": 230_001, "msg": format!("Your request contains an invalid request parameter, ext=invalid {name}")});
            let case = |name, page, kind, file, key: &str, id| UploadCase {
                name,
                page,
                kind,
                file,
                content: json!({"type": kind, key: format!("material:{MATERIAL}")}),
                taken: HttpReply::json(200, &json!({"code": 0, "msg": "success", "data": {key: id}})),
                id,
                // The pages name no end.
                good_for: Uploaded::LONG,
                too_large: HttpReply::json(400, &too_large),
                gone: HttpReply::json(400, &unknown(key)),
            };
            let (image, file) = ("Feishu open platform: Uploading images", "Feishu open platform: Uploading files");
            vec![
                case("upload_image", image, "image", ("a.png", "image/png"), "image_key", "img_v2_041b28e3"),
                case("upload_file", file, "file", ("terms.PDF", "application/pdf"), "file_key", "file_456a92d6"),
            ]
        },
        ..Subject::HTTP
    })
}

fn fine() -> HttpReply {
    HttpReply::json(200, &json!({"code": 0, "msg": "success", "data": {"message_id": "om_dc13"}}))
}

fn trial() -> Trial {
    Trial {
        provider: INFO.name,
        settings: json!({"app_id": "cli_1", "app_secret": "s3cret"}),
        path: "",
        token: Some("t-0ken"),
        secrets: &["t-0ken", "s3cret"],
    }
}

#[test]
fn the_form_of_an_id_is_told_by_how_it_begins() {
    let cases = [
        ("ou_7d8a", "open_id"),
        ("on_94a1", "union_id"),
        ("oc_a0553", "chat_id"),
        ("ann@example.com", "email"),
        ("4gg57", "user_id"),
    ];
    for (to, expected) in cases {
        assert_eq!(id_type(to), expected, "{to}");
    }
}

#[tokio::test]
async fn every_documented_code_has_its_class() {
    let cases = [
        (230_001, "never code_230001 Content"),
        (230_002, "never code_230002 Recipient"),
        (230_006, "never code_230006 Account"),
        (230_013, "never code_230013 Recipient"),
        (230_020, "later code_230020 60000"),
        (230_022, "never code_230022 Content"),
        (230_025, "never code_230025 Content"),
        (230_027, "never code_230027 Account"),
        (230_029, "never code_230029 Recipient"),
        (230_053, "never code_230053 Recipient"),
        (230_099, "never code_230099 Content"),
        (99_991_663, "later token_invalid"),
        (99_991_661, "later token_invalid"),
        (99_991_672, "never code_99991672 Account"),
        (99_991_400, "later code_99991400"),
        (777, "later code_777"),
    ];
    let content = json!({"type": "text", "text": "hi"});
    trial().classes("ou_7", &content, coded(400, "code", "msg", &cases)).await;
    let id =
        json!({"code": 230_001, "msg": "Your request contains an invalid request parameter, ext=invalid receive_id."});
    let limited = HttpReply::json(429, &json!({"code": 99_991_400, "msg": "too many"}));
    let cases = [
        (HttpReply::json(400, &id), "never code_230001 Recipient"),
        (limited.clone().with("x-ogw-ratelimit-reset", "9"), "later http_429 9000"),
        (limited.with("Retry-After", "3"), "later http_429 3000"),
        (HttpReply::json(200, &json!({"code": 0, "msg": "success"})), "unknown answer"),
        (HttpReply::json(404, &json!({})), "never http_404 Account"),
        (fine(), "delivered om_dc13"),
    ];
    trial().classes("ou_7", &content, cases).await;
    let (outcomes, requests) = Trial { token: None, ..trial() }.send(&["ou_7"], &content, []).await;
    assert_eq!((outcomes, requests), (vec![no_token()], vec![]));
}

#[tokio::test]
async fn tokens_are_fetched_and_messages_taken_back() {
    let given = json!({"code": 0, "msg": "ok", "tenant_access_token": "t-caecc734c2e3328a62489fe0648c4b98779515d3",
        "expire": 7_200});
    let server = HttpServer::start(HttpReply::json(200, &given)).await.expect("a free port");
    let account = trial().account(&server);
    let token = account.fetch_token().await.expect("it has tokens").expect("it was given");
    assert_eq!(token.secret.expose(), "t-caecc734c2e3328a62489fe0648c4b98779515d3");
    assert_eq!(token.expires_in.as_secs(), 7_200);
    let delivery = crate::testing::call(&["ou_7"], json!({})).targets[0].delivery;
    let sent = Sent { delivery, to: "ou_7".to_owned(), provider_id: "om_dc13".to_owned() };
    let ours = Secret::new("t-0ken");
    server.set(HttpReply::json(200, &json!({"code": 0, "msg": "success", "data": {}})));
    assert_eq!(account.recall(&sent, Some(&ours)).await, Ok(Outcome::Delivered { provider_id: None }));
    let requests = trial().requests(&server);
    assert_eq!(requests[0]["request"], "POST /open-apis/auth/v3/tenant_access_token/internal");
    assert_eq!(requests[0]["body"], json!({"app_id": "cli_1", "app_secret": "***"}));
    assert_eq!(requests[1]["request"], format!("DELETE {MESSAGES}/om_dc13"));
    assert_eq!(requests[1]["headers"]["authorization"], "Bearer ***");
}
