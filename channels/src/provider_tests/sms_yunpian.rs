//! What `sms/yunpian` is to the suite, and its receipts.

use super::*;
use crate::Registry;
use crate::conformance::{Golden, Partial, Subject};
use crate::testing::{HttpReply, HttpServer, open};
use serde_json::{Value, json};
use tidings_contract::ReceiptMark;

fn settings(url: &str) -> Value {
    json!({"apikey": "9b11127a9701975c734b8aee81ee3526", "sign_name": "云片网", "templates": {"otp": {"id": "5"}},
        "callback_key": "callback-key-5e61", "endpoint": url, "timeout_ms": 3_000})
}

fn status(number: &str, code: i64, sid: u64) -> Value {
    json!({"code": code, "msg": "发送成功", "count": 1, "fee": 0.05, "unit": "RMB", "mobile": number, "sid": sid})
}

fn refused(code: i64, detail: &str) -> HttpReply {
    HttpReply::json(400, &json!({"http_status_code": 400, "code": code, "msg": "no", "detail": detail}))
}

fn answers() -> Vec<(HttpReply, String)> {
    let known = CODES.iter().map(|(code, verdict)| (refused(*code, "no"), verdict.brief(&format!("code_{code}"))));
    let new = [
        (refused(99, "no"), "later code_99".to_owned()),
        // A refusal with a status of success is still one.
        (HttpReply::json(200, &status("13800138000", 33, 0)), "later code_33".to_owned()),
        (HttpReply::json(200, &json!({"total_count": 0, "data": []})), "unknown answer".to_owned()),
    ];
    known.chain(new).collect()
}

fn partial() -> Vec<Partial> {
    let to = vec!["+8613800138000", "+8613800138001", "+8613800138002"];
    let data = [status("13800138001", 22, 0), status("13800138000", 0, 3_310_228_982)];
    vec![
        Partial {
            to: to.clone(),
            reply: HttpReply::json(200, &json!({"total_count": 1, "total_fee": "0.05", "unit": "RMB", "data": data})),
            expected: vec!["delivered 3310228982", "later code_22 after 3600000", "unknown answer"],
        },
        Partial { to: to.clone(), reply: refused(-1, "no"), expected: vec!["never code_-1 Account"; 3] },
        Partial { to, reply: HttpReply::json(200, &status("13800138000", 0, 1)), expected: vec!["unknown answer"; 3] },
    ]
}

fn golden() -> Vec<Golden> {
    let template = json!({"template_id": "otp", "params": {"code": "1&2", "app": "A B"}});
    let both: &[&str] = &["+8613800138000", "+8613800138001"];
    let cases: [(&str, &str, &[&str], Value); 5] = [
        ("text", "Yunpian SMS API v2: single_send", &["+8613800138000"], json!({"text": "你的验证码是 1234"})),
        ("text_abroad", "Yunpian SMS API v2: intl_single_send", &["+12125552368"], json!({"text": "【Own】hi"})),
        ("text_to_many", "Yunpian SMS API v2: batch_send", both, json!({"text": "hi"})),
        ("template", "Yunpian SMS API v2: tpl_single_send", &["+8613800138000"], template.clone()),
        ("template_to_many", "Yunpian SMS API v2: tpl_batch_send", both, template),
    ];
    let golden = |(name, page, to, content)| Golden { name, page, to, content, masked: &[] };
    cases.map(golden).into_iter().collect()
}

pub(in crate::providers) fn subject() -> Option<Subject> {
    Some(Subject {
        provider: INFO.name,
        settings,
        to: |_| "+8613800138000".to_owned(),
        content: || json!({"text": "hi"}),
        taken: || HttpReply::json(200, &status("13800138000", 0, 3_310_228_982)),
        blame: "Account",
        complains: |words| refused(2, words),
        answers,
        partial,
        golden,
        ..Subject::HTTP
    })
}

const REPORTS: &str = r#"[{"error_detail": "接收成功", "sid": 9527, "uid": null,
    "user_receive_time": "2014-03-17 22:55:21", "error_msg": "", "mobile": "15205201314", "report_status": "SUCCESS"},
    {"error_detail": "错误号码", "sid": 9528, "uid": null, "user_receive_time": null, "error_msg": "YP:54",
    "mobile": "+12125552368", "report_status": "FAIL"}]"#;

fn as_expected(receipts: &[Receipt]) {
    assert_eq!((receipts[0].provider_id.as_str(), receipts[0].mark), ("9527", ReceiptMark::Received));
    assert_eq!(receipts[0].to.as_deref(), Some("+8615205201314"));
    assert_eq!(receipts[0].at, Time::parse("2014-03-17T22:55:21+08:00").ok());
    assert_eq!((receipts[1].to.as_deref(), receipts[1].mark), (Some("+12125552368"), ReceiptMark::Bounced));
    assert_eq!(receipts[1].reason, Some(Reason::new("YP:54", "错误号码")));
}

#[tokio::test]
async fn receipts_are_pulled() {
    let server = HttpServer::start(HttpReply::text(200, REPORTS)).await.expect("a free port");
    let account = open(&Registry::new(), INFO.name, settings(&server.url(""))).expect("the settings are right");
    as_expected(&account.pull_receipts_at(None, Time(0)).await.expect("it can").expect("it did"));
    assert_eq!(server.requests()[0].target, "/v2/sms/pull_status.json");
    server.set(refused(-2, "9b11127a9701975c734b8aee81ee3526 may not"));
    let reason = account.pull_receipts_at(None, Time(0)).await.expect("it can").expect_err("it may not");
    assert_eq!(reason, Reason::new("code_-2", "no *** may not"));
}

#[test]
fn pushed_receipts_are_read_however_often_they_are_encoded() {
    let account = open(&Registry::new(), INFO.name, settings("https://a.example")).expect("the settings are right");
    let path = [(":path".to_owned(), "/v1/callbacks/t?key=callback-key-5e61".to_owned())];
    for text in [REPORTS.to_owned(), encoded(REPORTS)] {
        let body = form_urlencoded::Serializer::new(String::new()).append_pair("sms_status", &text).finish();
        let receipts = account.read_callback(&path, body.as_bytes(), Time(0)).expect("it calls back");
        as_expected(&receipts.expect("it is believed"));
        assert!(account.read_callback(&[], body.as_bytes(), Time(0)).expect("it calls back").is_err());
    }
    assert!(account.read_callback(&path, b"sms=1", Time(0)).expect("it calls back").is_err());
    assert_eq!(account.callback_answer(), ("text/plain", "SUCCESS"));
}

// Yunpian: "Get templates" (tpl/get).
#[tokio::test]
async fn approved_templates_are_listed() {
    let row = |id: u64, standing: &str| json!({"tpl_id": id, "tpl_content": "#code#", "check_status": standing, "reason": null});
    let reply = HttpReply::json(200, &json!([row(1, "SUCCESS"), row(2, "CHECKING"), row(3, "FAIL")]));
    let server = HttpServer::start(reply).await.expect("a free port");
    let account = open(&Registry::new(), INFO.name, settings(&server.url(""))).expect("the settings are right");
    let listed = account.list_templates(Time(0), None).await.expect("it can").expect("it did");
    let seen: Vec<_> = listed.iter().map(|one| (one.id.as_str(), one.content.as_str())).collect();
    assert_eq!(seen, [("1", "#code#")]);
    assert_eq!(server.requests()[0].target, "/v2/tpl/get.json");
    server.set(HttpReply::json(200, &row(4, "SUCCESS")));
    let one = account.list_templates(Time(0), None).await.expect("it can").expect("it did");
    assert_eq!(one.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["4"], "a single one needs no list");
    server.set(refused(-2, "9b11127a9701975c734b8aee81ee3526 may not"));
    let reason = account.list_templates(Time(0), None).await.expect("it can").expect_err("it may not");
    assert_eq!(reason, Reason::new("code_-2", "no *** may not"));
}

#[tokio::test]
async fn what_the_vendor_charges_is_told_in_yuan() {
    let server = HttpServer::start(HttpReply::json(200, &status("13800138000", 0, 7))).await.expect("a free port");
    let account = open(&Registry::new(), INFO.name, settings(&server.url(""))).expect("the settings are right");
    let charged = account.send_charged(&crate::testing::call(&["+8613800138000"], json!({"text": "hi"}))).await;
    let yuan = Charge { segments: Some(1), micros: Some(50_000), currency: Some("CNY".to_owned()) };
    assert_eq!(charged[0].charge, Some(yuan));
    server.set(refused(8, "too often"));
    let refused = account.send_charged(&crate::testing::call(&["+8613800138000"], json!({"text": "hi"}))).await;
    assert_eq!(refused[0].charge, None);
}
