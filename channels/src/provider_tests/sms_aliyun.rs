//! What `sms/aliyun` is to the suite, and its receipts.

use super::*;
use crate::Registry;
use crate::conformance::{Golden, Partial, Subject};
use crate::testing::{HttpReply, HttpServer, call, open};
use serde_json::json;
use tidings_contract::ReceiptMark;

fn settings(url: &str) -> Value {
    json!({"access_key_id": "LTAI-example", "access_key_secret": "aliyun-key-77ab", "sign_name": "Example",
        "templates": {"otp": {"id": "SMS_15255"}}, "template_id": "SMS_1", "callback_key": "callback-key-31e7",
        "endpoint": url, "timeout_ms": 3_000})
}

fn reply(code: &str, message: &str) -> HttpReply {
    // What the gateway refuses comes with a status of its own, what the service refuses with 200.
    let status = if code == "OK" || code.starts_with("is") { 200 } else { 400 };
    let mut body = json!({"Code": code, "Message": message, "RequestId": "F655A8D5"});
    if code == "OK" {
        body["BizId"] = json!("900619746936498440^0");
    }
    HttpReply::json(status, &body)
}

fn answers() -> Vec<(HttpReply, String)> {
    let known = CODES.iter().map(|(code, verdict)| (reply(code, "no"), verdict.brief(code)));
    let new = [
        (reply("isv.SOMETHING_NEW", "no"), "later isv.SOMETHING_NEW".to_owned()),
        (HttpReply::json(503, &json!({"Code": "ServiceUnavailable"})), "later ServiceUnavailable".to_owned()),
        (HttpReply::json(200, &json!({"RequestId": "x"})), "unknown answer".to_owned()),
    ];
    known.chain(new).collect()
}

fn partial() -> Vec<Partial> {
    let to = vec!["+8613800138000", "+8613800138001"];
    vec![
        Partial { to: to.clone(), reply: reply("OK", "OK"), expected: vec!["delivered 900619746936498440^0"; 2] },
        Partial {
            to,
            reply: reply("isv.MOBILE_NUMBER_ILLEGAL", "no"),
            expected: vec!["never isv.MOBILE_NUMBER_ILLEGAL Recipient"; 2],
        },
    ]
}

fn golden() -> Vec<Golden> {
    let page = "Alibaba Cloud SMS API 2017-05-25: SendSms";
    let masked: &[&str] = &["Signature="];
    vec![
        Golden {
            name: "template",
            page,
            to: &["+8613800138000", "+8613800138001"],
            content: json!({"template_id": "otp", "params": {"code": "12 34"}}),
            masked,
        },
        Golden { name: "text", page, to: &["+8613800138000"], content: json!({"text": "你好"}), masked },
    ]
}

pub(in crate::providers) fn subject() -> Option<Subject> {
    Some(Subject {
        provider: INFO.name,
        settings,
        to: |_| "+8613800138000".to_owned(),
        content: || json!({"template_id": "otp", "params": {"code": "1234"}}),
        taken: || reply("OK", "OK"),
        blame: "Account",
        complains: |words| reply("InvalidParameter", words),
        answers,
        partial,
        golden,
        ..Subject::HTTP
    })
}

#[tokio::test]
async fn contents_that_differ_share_one_batch() {
    let server = HttpServer::start(reply("OK", "OK")).await.expect("a free port");
    let account = open(&Registry::new(), INFO.name, settings(&server.url(""))).expect("the settings are right");
    let mut call = call(&["+8613800138000", "+8613800138001", "+8613800138002"], json!({}));
    for (target, content) in call.targets.iter_mut().zip([
        json!({"template_id": "otp", "params": {"code": "1"}}),
        json!({"template_id": "SMS_2"}),
        json!({"template_id": "otp", "params": {"code": "2"}, "sign_name": "Other"}),
    ]) {
        target.content = Arc::new(content);
    }
    let outcomes = account.send(&call).await;
    assert!(outcomes.iter().all(|outcome| outcome.class() == "delivered"), "{outcomes:?}");
    let requests = server.requests();
    let batch = requests.iter().find(|request| request.header("x-acs-action") == Some("SendBatchSms"));
    let query = batch.expect("two differ").target.split_once('?').expect("a query").1.to_owned();
    let params: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let expected = [
        ("PhoneNumberJson", r#"["13800138000","13800138002"]"#),
        ("SignNameJson", r#"["Example","Other"]"#),
        ("TemplateCode", "SMS_15255"),
        ("TemplateParamJson", r#"[{"code":"1"},{"code":"2"}]"#),
    ];
    assert_eq!(params, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let nonces: std::collections::BTreeSet<_> =
        requests.iter().map(|request| request.header("x-acs-signature-nonce").map(str::to_owned)).collect();
    assert_eq!((requests.len(), nonces.len()), (2, 2), "a nonce is used once");
}

#[test]
fn the_vendors_example_of_a_report_is_read() {
    let account = open(&Registry::new(), INFO.name, settings("https://a.example")).expect("the settings are right");
    let body = br#"[{"phone_number": "13800138000", "send_time": "2017-01-01 00:00:00",
        "report_time": "2017-01-01 00:00:01", "success": true, "err_code": "DELIVERED", "err_msg": "x",
        "sms_size": "1", "biz_id": "12345", "out_id": "67890"},
        {"phone_number": "85291234567", "success": false, "err_code": "MK:0011", "err_msg": "off", "biz_id": "1"}]"#;
    let path = [(":path".to_owned(), "/v1/callbacks/t?key=callback-key-31e7".to_owned())];
    let receipts = account.read_callback(&path, body, Time(0)).expect("it calls back").expect("it is believed");
    assert_eq!((receipts[0].provider_id.as_str(), receipts[0].mark), ("12345", ReceiptMark::Received));
    assert_eq!(receipts[0].at, Time::parse("2017-01-01T00:00:01+08:00").ok());
    assert_eq!((receipts[0].charge.clone(), receipts[1].charge.clone()), (Some(Charge::segments(1)), None));
    assert_eq!((receipts[1].to.as_deref(), receipts[1].mark), (Some("+85291234567"), ReceiptMark::Bounced));
    assert_eq!(receipts[1].reason, Some(Reason::new("MK:0011", "off")));
    assert!(account.read_callback(&[], body, Time(0)).expect("it calls back").is_err());
}

// Alibaba Cloud SMS API 2017-05-25: QuerySmsTemplateList.
#[tokio::test]
async fn approved_templates_are_listed_page_by_page() {
    let row = |n: usize, standing: &str| {
        json!({"TemplateCode": format!("SMS_{n}"), "TemplateName": "code", "TemplateContent": "${code}",
            "AuditStatus": standing, "OuterTemplateType": 0})
    };
    let page = |rows: Vec<Value>| {
        HttpReply::json(200, &json!({"Code": "OK", "Message": "OK", "RequestId": "x", "SmsTemplateList": rows}))
    };
    let server = HttpServer::start(HttpReply::status(500)).await.expect("a free port");
    let full = (0..LISTED).map(|n| row(n, "AUDIT_STATE_PASS")).collect();
    server.then([page(full), page(vec![row(90, "AUDIT_STATE_INIT"), row(91, "AUDIT_STATE_PASS")])]);
    let account = open(&Registry::new(), INFO.name, settings(&server.url(""))).expect("the settings are right");
    let listed = account.list_templates(Time(0), None).await.expect("it can").expect("it did");
    assert_eq!((listed.len(), server.count()), (LISTED + 1, 2));
    assert_eq!((listed[LISTED].id.as_str(), listed[LISTED].content.as_str()), ("SMS_91", "${code}"));
    let requests = server.requests();
    assert_eq!(requests[1].header("x-acs-action"), Some("QuerySmsTemplateList"));
    assert!(requests[1].target.contains("PageIndex=2") && requests[1].target.contains("PageSize=50"));
    server.set(reply("Forbidden.RAM", "no"));
    let reason = account.list_templates(Time(0), None).await.expect("it can").expect_err("it may not");
    assert_eq!(reason.code, "Forbidden.RAM");
}
