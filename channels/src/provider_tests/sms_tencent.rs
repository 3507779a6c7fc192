//! What `sms/tencent` is to the suite, and its receipts.

use super::*;
use crate::Registry;
use crate::conformance::{Golden, Partial, Subject};
use crate::testing::{HttpReply, HttpServer, open};
use tidings_contract::ReceiptMark;

fn settings(url: &str) -> Value {
    json!({"secret_id": "AKID-example", "secret_key": "tencent-key-52c1", "sdk_app_id": "1400006666",
        "sign_name": "Example", "templates": {"otp": {"id": "449739", "params": ["code", "minutes"]}},
        "template_id": "1110", "callback_key": "callback-key-9d02", "endpoint": url, "timeout_ms": 3_000})
}

fn set(statuses: &[(&str, &str, &str)]) -> HttpReply {
    let status = |(number, serial, code): &(&str, &str, &str)| {
        json!({"SerialNo": serial, "PhoneNumber": number, "Fee": 1, "SessionContext": "", "Code": code,
            "Message": "send success", "IsoCode": "CN"})
    };
    let set: Vec<_> = statuses.iter().map(status).collect();
    HttpReply::json(200, &json!({"Response": {"SendStatusSet": set, "RequestId": "a0aabda6"}}))
}

fn fault(code: &str, message: &str) -> HttpReply {
    let error = json!({"Code": code, "Message": message});
    HttpReply::json(200, &json!({"Response": {"Error": error, "RequestId": "ed93f3cb"}}))
}

fn taken() -> HttpReply {
    set(&[("+8613800138000", "5000:1045710669157053657849499619", "Ok")])
}

/// Every documented code, as it comes for one number and as it comes for the whole request.
fn answers() -> Vec<(HttpReply, String)> {
    let codes = CODES.iter().flat_map(|(code, verdict)| {
        let expected = verdict.brief(code);
        [(set(&[("+8613800138000", "", code)]), expected.clone()), (fault(code, "no"), expected)]
    });
    let new = [
        (fault("LimitExceeded.SomethingNew", "no"), "later LimitExceeded.SomethingNew".to_owned()),
        (fault("AuthFailure.TokenFailure", "no"), "never AuthFailure.TokenFailure Account".to_owned()),
        (fault("RequestLimitExceeded.IPLimitExceeded", "no"), "later RequestLimitExceeded.IPLimitExceeded".to_owned()),
        (fault("Whatever", "no"), "later Whatever".to_owned()),
        (HttpReply::json(200, &json!({"Response": {"RequestId": "x"}})), "unknown answer".to_owned()),
    ];
    codes.chain(new).collect()
}

fn partial() -> Vec<Partial> {
    let to = vec!["+8613800138000", "+8613800138001", "+8613800138002", "+8613800138003"];
    vec![
        Partial {
            to: to.clone(),
            // In another order, and one is missing.
            reply: set(&[
                ("+8613800138002", "", "LimitExceeded.PhoneNumberDailyLimit"),
                ("+8613800138000", "7:1", "Ok"),
                ("+8613800138001", "", "FailedOperation.PhoneNumberInBlacklist"),
            ]),
            expected: vec![
                "delivered 7:1",
                "never FailedOperation.PhoneNumberInBlacklist Recipient",
                "later LimitExceeded.PhoneNumberDailyLimit after 3600000",
                "unknown answer",
            ],
        },
        Partial {
            to,
            reply: fault("AuthFailure.SignatureFailure", "no"),
            expected: vec!["never AuthFailure.SignatureFailure Account"; 4],
        },
    ]
}

fn golden() -> Vec<Golden> {
    let page = "Tencent Cloud SMS API 2021-01-11: SendSms";
    let masked: &[&str] = &["Signature="];
    vec![
        Golden {
            name: "template",
            page,
            to: &["+8613800138000", "+8613800138001"],
            content: json!({"template_id": "otp", "params": {"minutes": "5", "code": "1234"}}),
            masked,
        },
        Golden { name: "text", page, to: &["+8613800138000"], content: json!({"text": "你好"}), masked },
        Golden {
            name: "abroad_and_at_home",
            page,
            to: &["+8613800138000", "+12125552368"],
            content: json!({"template_id": "449740", "params": ["1234"], "sign_name": "Other"}),
            masked,
        },
    ]
}

pub(in crate::providers) fn subject() -> Option<Subject> {
    Some(Subject {
        provider: INFO.name,
        settings,
        to: |_| "+8613800138000".to_owned(),
        content: || json!({"template_id": "otp", "params": {"code": "1234", "minutes": 5}}),
        taken,
        blame: "Account",
        complains: |words| fault("InvalidParameterValue", words),
        answers,
        partial,
        golden,
        ..Subject::HTTP
    })
}

#[tokio::test]
async fn receipts_are_pulled_and_named_as_they_were_sent() {
    let report = |status: &str, time: u64| {
        json!({"UserReceiveTime": time, "CountryCode": "86", "SubscriberNumber": "13800138000",
            "PhoneNumber": "+8613800138000", "SerialNo": "7:1", "ReportStatus": status, "Description": "MI:0013",
            "SessionContext": ""})
    };
    let reply = json!({"Response": {"PullSmsSendStatusSet": [report("SUCCESS", 1_570_526_317), report("FAIL", 0)],
        "RequestId": "x"}});
    let server = HttpServer::start(HttpReply::json(200, &reply)).await.expect("a free port");
    let account = open(&Registry::new(), INFO.name, settings(&server.url(""))).expect("the settings are right");
    let pulled = account.pull_receipts_at(None, Time(1_570_526_400_000)).await.expect("it can").expect("it did");
    let seen: Vec<_> = pulled.iter().map(|r| (r.provider_id.as_str(), r.to.as_deref(), r.mark, r.at)).collect();
    let to = Some("+8613800138000");
    assert_eq!(
        seen,
        [("7:1", to, ReceiptMark::Received, Some(Time(1_570_526_317_000))), ("7:1", to, ReceiptMark::Bounced, None),]
    );
    assert_eq!(pulled[1].reason, Some(Reason::new("FAIL", "MI:0013")));
    let request = &server.requests()[0];
    assert_eq!(request.header("x-tc-action"), Some("PullSmsSendStatus"));
    assert_eq!(request.header("x-tc-timestamp"), Some("1570526400"));
    assert_eq!(request.json(), json!({"Limit": 100, "SmsSdkAppId": "1400006666"}));

    for (reply, code) in [
        (fault("FailedOperation.OtherError", "the key is tencent-key-52c1"), "FailedOperation.OtherError"),
        (HttpReply::text(200, "<html>"), "http_200"),
        (HttpReply::Reset, "connection"),
    ] {
        server.set(reply);
        let reason = account.pull_receipts_at(None, Time(0)).await.expect("it can").expect_err("it did not");
        assert_eq!(reason.code, code);
        assert!(!reason.words.contains("52c1"), "{reason}");
    }
}

#[test]
fn the_vendors_example_of_a_callback_is_read() {
    let account = open(&Registry::new(), INFO.name, settings("https://a.example")).expect("the settings are right");
    let body = br#"[{"user_receive_time": "2015-10-17 08:03:04", "nationcode": "86", "mobile": "13800138000",
        "report_status": "SUCCESS", "errmsg": "DELIVRD", "description": "x", "sid": "7:1"},
        {"user_receive_time": "", "nationcode": "1", "mobile": "2125552368", "report_status": "FAIL",
        "errmsg": "UNDELIV", "description": "not in service", "sid": "7:2"}]"#;
    let path = [(":path".to_owned(), "/v1/callbacks/t?key=callback-key-9d02".to_owned())];
    let receipts = account.read_callback(&path, body, Time(0)).expect("it calls back").expect("it is believed");
    assert_eq!((receipts[0].to.as_deref(), receipts[0].mark), (Some("+8613800138000"), ReceiptMark::Received));
    assert_eq!(receipts[0].at, Time::parse("2015-10-17T08:03:04+08:00").ok());
    assert_eq!((receipts[1].to.as_deref(), receipts[1].at), (Some("+12125552368"), None));
    assert_eq!(receipts[1].reason, Some(Reason::new("UNDELIV", "not in service")));
    for (path, body) in [("/v1/callbacks/t?key=wrong", &body[..]), ("/v1/callbacks/t?key=callback-key-9d02", b"{}")] {
        let path = [(":path".to_owned(), path.to_owned())];
        assert!(account.read_callback(&path, body, Time(0)).expect("it calls back").is_err());
    }
}

// Tencent Cloud SMS 2021-01-11: DescribeSmsTemplateList.
#[tokio::test]
async fn approved_templates_are_listed_page_by_page_for_china_and_for_elsewhere() {
    let row = |id: usize, status: i64| {
        json!({"TemplateId": id, "International": 0, "StatusCode": status, "ReviewReply": "", "TemplateName": "code",
            "CreateTime": 1_617_379_200, "TemplateContent": "{1} is your code"})
    };
    let page = |rows: Vec<Value>| {
        HttpReply::json(200, &json!({"Response": {"DescribeTemplateStatusSet": rows, "RequestId": "x"}}))
    };
    let server = HttpServer::start(HttpReply::status(500)).await.expect("a free port");
    server.then([page((0..LISTED).map(|id| row(id, 0)).collect()), page(vec![row(900, 0), row(901, 1), row(902, -1)])]);
    server.then([page(vec![])]);
    let account = open(&Registry::new(), INFO.name, settings(&server.url(""))).expect("the settings are right");
    let listed = account.list_templates(Time(1_570_526_400_000), None).await.expect("it can").expect("it did");
    assert_eq!((listed.len(), server.count()), (LISTED + 1, 3));
    assert_eq!((listed[LISTED].id.as_str(), listed[LISTED].title.as_str()), ("900", "code"));
    assert_eq!(listed[LISTED].content, "{1} is your code");
    let asked: Vec<_> = server.requests().iter().map(|request| request.json()).collect();
    assert_eq!(asked[1], json!({"International": 0, "Limit": 100, "Offset": 100}));
    assert_eq!(asked[2], json!({"International": 1, "Limit": 100, "Offset": 0}));
    server.set(fault("UnauthorizedOperation.RequestPermissionDeny", "no"));
    let reason = account.list_templates(Time(0), None).await.expect("it can").expect_err("it may not");
    assert_eq!(reason.code, "UnauthorizedOperation.RequestPermissionDeny");
}

#[tokio::test]
async fn what_the_vendor_charges_is_told_for_each_number() {
    let status = |number: &str, code: &str, fee: u32| {
        json!({"SerialNo": "7:1", "PhoneNumber": number, "Fee": fee, "SessionContext": "", "Code": code,
            "Message": "m", "IsoCode": "CN"})
    };
    let statuses =
        [status("+8613800138000", "Ok", 2), status("+8613800138001", "FailedOperation.PhoneNumberInBlacklist", 0)];
    let reply = json!({"Response": {"SendStatusSet": statuses, "RequestId": "x"}});
    let server = HttpServer::start(HttpReply::json(200, &reply)).await.expect("a free port");
    let account = open(&Registry::new(), INFO.name, settings(&server.url(""))).expect("the settings are right");
    let call =
        crate::testing::call(&["+8613800138000", "+8613800138001"], json!({"template_id": "otp", "params": ["1"]}));
    let charged = account.send_charged(&call).await;
    assert_eq!(charged[0].outcome, Outcome::Delivered { provider_id: Some("7:1".to_owned()) });
    assert_eq!((charged[0].charge.clone(), charged[1].charge.clone()), (Some(Charge::segments(2)), None));
}
