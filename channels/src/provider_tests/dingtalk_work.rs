//! What is sent to DingTalk work notices, and what comes of their answers.

use std::time::Duration;

use super::*;
use crate::conformance::{Golden, MATERIAL, Partial, Subject, TokenCase, UploadCase, every};
use crate::golden::{Trial, coded};
use crate::testing::{HttpReply, HttpServer};

pub(in crate::providers) fn subject() -> Option<Subject> {
    Some(Subject {
        provider: INFO.name,
        settings: |url| json!({"app_key": "ding1", "app_secret": "s3cret-44b", "agent_id": 836_390_886, "endpoint": url, "timeout_ms": 3_000}),
        content: || json!({"type": "text", "text": "hi"}),
        taken: fine,
        blame: "Account",
        complains: |words| HttpReply::json(200, &json!({"errcode": 33_012, "errmsg": words})),
        answers: || {
            every(&DINGTALK, 999_999, |code| HttpReply::json(200, &json!({"errcode": code, "errmsg": "the words"})))
        },
        partial: || {
            vec![Partial {
                to: vec!["ann", "bob"],
                reply: fine(),
                expected: vec!["delivered 256271667526", "delivered 256271667526"],
            }]
        },
        token: Some(|| TokenCase {
            fetched: HttpReply::json(
                200,
                &json!({"errcode": 0, "errmsg": "ok", "access_token": "96fc7a7axxx", "expires_in": 7_200}),
            ),
            token: "96fc7a7axxx",
            expires_in: Duration::from_secs(7_200),
            expired: vec![
                HttpReply::json(200, &json!({"errcode": 42_001, "errmsg": "expired"})),
                HttpReply::json(200, &json!({"errcode": 40_014, "errmsg": "invalid"})),
            ],
        }),
        golden: || {
            let head = json!({"bgcolor": "FFBBBBBB", "text": "h"});
            let body = json!({"title": "T", "form": [{"key": "k", "value": "v"}], "rich": {"num": "15.6", "unit": "yuan"},
                "content": "c", "image": "@lAD", "file_count": "3", "author": "Li"});
            let buttons = json!([{"title": "Yes", "action_url": "y"}, {"title": "No", "action_url": "n"}]);
            Golden::each(
                "DingTalk open platform: Sending work notices; Message types of work notices",
                &["ann", "bob"],
                [
                    ("text", json!({"type": "text", "text": "hi"})),
                    ("image", json!({"type": "image", "media_id": "@m"})),
                    ("voice", json!({"type": "voice", "media_id": "@m", "duration": 10})),
                    ("file", json!({"type": "file", "media_id": "@m"})),
                    (
                        "link",
                        json!({"type": "link", "title": "T", "text": "x", "message_url": "u", "pic_url": "@lALO"}),
                    ),
                    ("markdown", json!({"type": "markdown", "title": "T", "text": "# x"})),
                    (
                        "action_card",
                        json!({"type": "action_card", "title": "T", "text": "x", "single_title": "Go", "single_url": "u"}),
                    ),
                    (
                        "action_card_buttons",
                        json!({"type": "action_card", "title": "T", "text": "x", "btn_orientation": 0, "btns": buttons}),
                    ),
                    (
                        "oa",
                        json!({"type": "oa", "message_url": "u", "pc_message_url": "p", "head": head, "body": body,
                            "status_bar": {"status_value": "done", "status_bg": "0xFFF65E5E"}}),
                    ),
                ],
            )
        },
        uploads,
        ..Subject::HTTP
    })
}

/// The files of every kind that it takes.
fn uploads() -> Vec<UploadCase> {
    let case = |name, kind, file, content| UploadCase {
        name,
        page: "DingTalk open platform: Uploading media",
        kind,
        file,
        content,
        taken: HttpReply::json(
            200,
            &json!({"errcode": 0, "errmsg": "ok", "media_id": "@lADOADmaWMzazQKA",
            "created_at": 1_605_863_153_573_u64, "type": kind}),
        ),
        id: "@lADOADmaWMzazQKA",
        // The page says: as long as the organisation is there.
        good_for: Uploaded::LONG,
        too_large: HttpReply::json(200, &json!({"errcode": 40_006, "errmsg": "invalid file size"})),
        gone: HttpReply::json(200, &json!({"errcode": 40_007, "errmsg": "invalid media_id"})),
    };
    let file = format!("material:{MATERIAL}");
    let (png, amr, pdf) = (("a.png", "image/png"), ("a.amr", "audio/amr"), ("terms.pdf", "application/pdf"));
    let voice = json!({"type": "voice", "media_id": file, "duration": 10});
    vec![
        case("upload_image", "image", png, json!({"type": "image", "media_id": file})),
        case("upload_voice", "voice", amr, voice),
        case("upload_file", "file", pdf, json!({"type": "file", "media_id": file})),
    ]
}

fn fine() -> HttpReply {
    HttpReply::json(200, &json!({"errcode": 0, "task_id": 256_271_667_526_u64, "request_id": "4jzllmte0wau"}))
}

fn trial() -> Trial {
    Trial {
        provider: INFO.name,
        settings: json!({"app_key": "ding1", "app_secret": "s3cret", "agent_id": 836_390_886}),
        path: "",
        token: Some("t0ken"),
        secrets: &["t0ken", "s3cret"],
    }
}

// DingTalk: Sending work notices; Message types of work notices, one case for each.
#[tokio::test]
async fn every_type_is_the_vendors_message() {
    let msg = |kind: &str, part: Value| json!({"agent_id": 836_390_886, "userid_list": "ann", "msg": {"msgtype": kind, kind: part}});
    let (head, body) = (
        json!({"bgcolor": "FFBBBBBB", "text": "h"}),
        json!({"title": "T",
        "form": [{"key": "k", "value": "v"}], "rich": {"num": "15.6", "unit": "yuan"}, "content": "c",
        "image": "@lAD", "file_count": "3", "author": "Li"}),
    );
    let status = json!({"status_value": "done", "status_bg": "0xFFF65E5E"});
    let buttons = json!([{"title": "Yes", "action_url": "y"}, {"title": "No", "action_url": "n"}]);
    let cases = [
        (json!({"type": "text", "text": "hi"}), msg("text", json!({"content": "hi"}))),
        (json!({"type": "image", "media_id": "@m"}), msg("image", json!({"media_id": "@m"}))),
        (
            json!({"type": "voice", "media_id": "@m", "duration": 10}),
            msg("voice", json!({"media_id": "@m", "duration": "10"})),
        ),
        (json!({"type": "file", "media_id": "@m"}), msg("file", json!({"media_id": "@m"}))),
        (
            json!({"type": "link", "title": "T", "text": "x", "message_url": "u", "pic_url": "@lALO"}),
            msg("link", json!({"title": "T", "text": "x", "messageUrl": "u", "picUrl": "@lALO"})),
        ),
        (
            json!({"type": "markdown", "title": "T", "text": "# x"}),
            msg("markdown", json!({"title": "T", "text": "# x"})),
        ),
        (
            json!({"type": "action_card", "title": "T", "text": "x", "single_title": "Go", "single_url": "u"}),
            msg("action_card", json!({"title": "T", "markdown": "x", "single_title": "Go", "single_url": "u"})),
        ),
        (
            json!({"type": "action_card", "title": "T", "text": "x", "btn_orientation": 0, "btns": buttons}),
            msg(
                "action_card",
                json!({"title": "T", "markdown": "x", "btn_orientation": "0", "btn_json_list": buttons}),
            ),
        ),
        (
            json!({"type": "oa", "message_url": "u", "pc_message_url": "p", "head": head, "body": body,
                "status_bar": status}),
            msg(
                "oa",
                json!({"message_url": "u", "pc_message_url": "p", "head": head, "body": body, "status_bar": status}),
            ),
        ),
    ];
    let headers = json!({"content-type": "application/json; charset=utf-8"});
    trial().goldens("ann", &fine(), &format!("POST {SEND}?access_token=***"), &headers, cases).await;
}

#[tokio::test]
async fn people_share_a_request_and_departments_and_everyone_have_one_of_their_own() {
    let content = json!({"type": "text", "text": "hi"});
    for (to, name, value) in [
        (vec!["ann", "bob"], "userid_list", json!("ann,bob")),
        (vec!["dept:7"], "dept_id_list", json!("7")),
        (vec!["@all"], "to_all_user", json!(true)),
    ] {
        let (outcomes, requests) = trial().send(&to, &content, [fine()]).await;
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0]["body"][name], value);
        let taken = Outcome::Delivered { provider_id: Some("256271667526".to_owned()) };
        assert_eq!(outcomes, vec![taken; to.len()]);
    }
}

#[tokio::test]
async fn every_documented_code_has_its_class() {
    let cases = [
        (-1, "later errcode_-1"),
        (88, "later errcode_88"),
        (90_018, "later errcode_90018 60000"),
        (143_103, "later errcode_143103 60000"),
        (143_104, "later errcode_143104 60000"),
        (143_105, "later errcode_143105 3600000"),
        (143_106, "never errcode_143106 Content"),
        (1_430_002, "never errcode_1430002 Content"),
        (1_430_003, "later errcode_1430003"),
        (1_430_000, "never errcode_1430000 Recipient"),
        (1_430_004, "never errcode_1430004 Recipient"),
        (33_012, "never errcode_33012 Recipient"),
        (40_014, "later token_invalid"),
        (42_001, "later token_invalid"),
        (60_020, "never errcode_60020 Account"),
        (40_035, "never errcode_40035 Content"),
        (999_999, "later errcode_999999"),
    ];
    let content = json!({"type": "text", "text": "hi"});
    trial().classes("ann", &content, coded(200, "errcode", "errmsg", &cases)).await;
    // 88 is an envelope: what is in it counts.
    let around = |code: &str| json!({"errcode": 88, "errmsg": "ding talk error", "sub_code": code, "sub_msg": "m"});
    let cases = [
        (HttpReply::json(200, &around("60011")), "never errcode_60011 Account"),
        (HttpReply::json(200, &around("40014")), "later token_invalid"),
        (HttpReply::json(200, &around("90018")), "later errcode_90018 60000"),
        (HttpReply::json(200, &around("isv.new")), "later errcode_88"),
    ];
    trial().classes("ann", &content, cases).await;
    let (outcomes, requests) = Trial { token: None, ..trial() }.send(&["ann"], &content, []).await;
    assert_eq!((outcomes, requests), (vec![no_token()], vec![]));
}

#[tokio::test]
async fn what_became_of_a_notice_is_told_for_each_person_asked_about() {
    let said = json!({"errcode": 0, "send_result": {"invalid_user_id_list": ["zoe"],
        "forbidden_user_id_list": ["bob"], "failed_user_id_list": [], "read_user_id_list": ["ann"],
        "unread_user_id_list": ["cid", "stranger"], "invalid_dept_id_list": [],
        "forbidden_list": [{"code": "143105", "count": 500, "userid": "bob"}]}});
    let server = HttpServer::start(HttpReply::json(200, &said)).await.expect("a free port");
    let delivery = crate::testing::call(&["ann"], json!({})).targets[0].delivery;
    let sent = ["ann", "bob", "cid", "zoe"].map(|to| Sent { delivery, to: to.into(), provider_id: "42".into() });
    let token = Secret::new("t0ken");
    let receipts = trial().account(&server).ask_receipts(&sent, Some(&token)).await;
    let receipts = receipts.expect("it can be asked").expect("it answered");
    let mut told: Vec<_> = receipts
        .iter()
        .map(|r| (r.to.as_deref().unwrap_or(""), r.mark, r.reason.as_ref().map_or("", |reason| reason.code.as_str())))
        .collect();
    told.sort_by_key(|(to, ..)| (*to).to_owned());
    assert_eq!(
        told,
        [
            ("ann", ReceiptMark::Read, ""),
            ("bob", ReceiptMark::Bounced, "errcode_143105"),
            ("cid", ReceiptMark::Received, ""),
            ("zoe", ReceiptMark::Bounced, "invalid_user"),
        ]
    );
    let requests = trial().requests(&server);
    assert_eq!(requests.len(), 1, "one notice is asked about once");
    assert_eq!(requests[0]["request"], format!("POST {RESULT}?access_token=***"));
    assert_eq!(requests[0]["body"], json!({"agent_id": 836_390_886, "task_id": 42}));
}

// DingTalk: Getting the result of work notices: send_result, whose invalid_dept_id_list holds numbers.
#[tokio::test]
async fn of_a_department_is_told_whether_anybody_got_the_notice() {
    let cases = [
        ("dept:7", json!({"invalid_dept_id_list": [7]}), Some((ReceiptMark::Bounced, "invalid_dept"))),
        ("dept:7", json!({"invalid_dept_id_list": ["7"]}), Some((ReceiptMark::Bounced, "invalid_dept"))),
        ("dept:7", json!({"unread_user_id_list": ["ann"]}), Some((ReceiptMark::Received, ""))),
        (
            "dept:7",
            json!({"unread_user_id_list": ["ann"], "read_user_id_list": ["bob"]}),
            Some((ReceiptMark::Read, "")),
        ),
        ("dept:7", json!({"failed_user_id_list": ["ann"]}), Some((ReceiptMark::Bounced, "nobody"))),
        ("dept:7", json!({"invalid_dept_id_list": [77]}), None),
        ("@all", json!({"read_user_id_list": ["bob"]}), Some((ReceiptMark::Read, ""))),
        ("@all", json!({}), None),
    ];
    for (to, result, expected) in cases {
        let said = json!({"errcode": 0, "send_result": result});
        let server = HttpServer::start(HttpReply::json(200, &said)).await.expect("a free port");
        let delivery = crate::testing::call(&["ann"], json!({})).targets[0].delivery;
        let sent = [Sent { delivery, to: to.into(), provider_id: "42".into() }];
        let receipts = trial().account(&server).ask_receipts(&sent, Some(&Secret::new("t0ken"))).await;
        let receipts = receipts.expect("it can be asked").expect("it answered");
        let told = receipts.first().map(|receipt| {
            assert_eq!((receipt.to.as_deref(), receipts.len()), (Some(to), 1), "{said}");
            (receipt.mark, receipt.reason.as_ref().map_or("", |reason| reason.code.as_str()))
        });
        assert_eq!(told, expected, "{to} {said}");
    }
}

#[tokio::test]
async fn tokens_are_fetched_and_notices_taken_back() {
    let given = json!({"errcode": 0, "errmsg": "ok", "access_token": "96fc7a7axxx", "expires_in": 7_200});
    let server = HttpServer::start(HttpReply::json(200, &given)).await.expect("a free port");
    let account = trial().account(&server);
    let token = account.fetch_token().await.expect("it has tokens").expect("it was given");
    assert_eq!((token.secret.expose(), token.expires_in.as_secs()), ("96fc7a7axxx", 7_200));
    server.set(HttpReply::json(200, &json!({"errcode": 0, "errmsg": "ok", "media_id": "@lADO", "type": "image"})));
    let delivery = crate::testing::call(&["ann"], json!({})).targets[0].delivery;
    let sent = Sent { delivery, to: "ann".to_owned(), provider_id: "42".to_owned() };
    let outcome = account.recall(&sent, Some(&Secret::new("t0ken"))).await;
    assert_eq!(outcome, Ok(Outcome::Delivered { provider_id: None }));
    let requests = trial().requests(&server);
    assert_eq!(requests[0]["request"], "GET /gettoken?appkey=ding1&appsecret=***");
    assert_eq!(requests[1]["request"], format!("POST {RECALL}?access_token=***"));
    assert_eq!(requests[1]["body"], json!({"agent_id": 836_390_886, "msg_task_id": 42}));
}
