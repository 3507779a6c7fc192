//! What is sent to GeTui, and what comes of their answers.

use super::*;
use crate::conformance::{Golden, Partial, Subject, TokenCase, every};
use crate::golden::{AT, Trial, brief};
use crate::testing::{HttpReply, HttpServer};

pub(in crate::providers) fn subject() -> Option<Subject> {
    Some(Subject {
        provider: INFO.name,
        settings: |url| {
            json!({"app_id": "app1", "app_key": "key1", "master_secret": "s3cret-99a", "endpoint": url,
                "timeout_ms": 3_000})
        },
        to: |_| "cid1".to_owned(),
        content: || json!({"title": "T", "body": "B"}),
        taken: fine,
        blame: "Account",
        complains: |words| HttpReply::json(400, &json!({"code": 20_001, "msg": words})),
        answers: || every(&CODES, 999_999, |code| HttpReply::json(200, &json!({"code": code, "msg": "the words"}))),
        partial: || {
            let said = json!({"code": 0, "msg": "", "data": {"t1": {"cid1": "successed_online"},
                "t2": {"cid2": "successed_ignore"}}});
            vec![Partial {
                to: vec!["cid1", "cid2", "cid3"],
                reply: HttpReply::json(200, &said),
                expected: vec!["delivered t1", "never successed_ignore Recipient", "unknown answer"],
            }]
        },
        token: Some(|| TokenCase {
            fetched: HttpReply::json(200, &given(AT.0 + 86_400_000)),
            token: "36f1fef9ce0f",
            expires_in: Duration::from_secs(86_400),
            expired: vec![HttpReply::json(401, &json!({"code": 10_001, "msg": "token is invalid"}))],
        }),
        golden: || {
            let golden = |name, to| Golden {
                name,
                page: "GeTui: RestAPI V2, Push API",
                to,
                content: json!({"title": "T", "body": "B", "url": "https://a.example", "ttl_s": 7_200}),
                masked: &[],
            };
            vec![golden("single", &["cid1"]), golden("batch", &["cid1", "cid2"])]
        },
        ..Subject::HTTP
    })
}

fn given(ends: u64) -> Value {
    json!({"code": 0, "msg": "success", "data": {"expire_time": ends.to_string(), "token": "36f1fef9ce0f"}})
}

fn fine() -> HttpReply {
    HttpReply::json(200, &json!({"code": 0, "msg": "success", "data": {"RASS_1": {"cid1": "successed_offline"}}}))
}

fn trial() -> Trial {
    Trial {
        provider: INFO.name,
        settings: json!({"app_id": "app1", "app_key": "key1", "master_secret": "s3cret"}),
        path: "",
        token: Some("t0ken"),
        secrets: &["t0ken", "s3cret"],
    }
}

// GeTui: RestAPI V2, Push API: "cid single push", push_message, push_channel and settings.
#[tokio::test]
async fn a_notice_to_one_is_what_the_vendor_describes() {
    let id = hex32(&crate::testing::call(&["cid1"], json!({})).targets[0]);
    let body = |mut rest: Value| {
        rest["request_id"] = json!(id);
        rest["audience"] = json!({"cid": ["cid1"]});
        rest
    };
    let notice = |rest: Value| {
        let mut notice = json!({"title": "T", "body": "B"});
        overlay(&mut notice, &rest);
        json!({"push_message": {"notification": notice}})
    };
    let mut full = notice(json!({"click_type": "url", "url": "https://a.example", "big_image": "i",
        "channel_id": "c", "notify_id": 1_603_074_050}));
    full["settings"] = json!({"ttl": 7_200_000, "strategy": {"default": 1}});
    let cases = [
        (json!({"title": "T", "body": "B"}), body(notice(json!({"click_type": "startapp"})))),
        (
            json!({"title": "T", "body": "B", "data": {"a": 1}}),
            body(notice(json!({"click_type": "payload", "payload": "{\"a\":1}"}))),
        ),
        (
            json!({"title": "T", "body": "B", "url": "https://a.example", "image": "i", "category": "c",
                "collapse": "order-7", "ttl_s": 7_200, "vendor": {"settings": {"strategy": {"default": 1}}}}),
            body(full),
        ),
    ];
    let headers = json!({"content-type": "application/json; charset=utf-8", "token": "***"});
    trial().goldens("cid1", &fine(), "POST /v2/app1/push/single/cid", &headers, cases).await;
    let mut offline = trial();
    offline.settings["offline_channels"] = json!(true);
    let content = json!({"title": "T", "body": "B", "subtitle": "S", "sound": "s", "badge": 3, "url": "u"});
    let mut expected = body(notice(json!({"click_type": "url", "url": "u"})));
    expected["push_channel"] = json!({
        "android": {"ups": {"notification": {"title": "T", "body": "B", "click_type": "url", "url": "u"}}},
        "ios": {"type": "notify", "auto_badge": "3", "aps": {"alert": {"title": "T", "body": "B", "subtitle": "S"},
            "content-available": 0, "sound": "s"}}});
    offline.goldens("cid1", &fine(), "POST /v2/app1/push/single/cid", &headers, [(content, expected)]).await;
}

// GeTui: RestAPI V2, Push API: "create message" and "cid list push". The vendor's field is `taskid`, in lower case.
#[tokio::test]
async fn many_with_one_content_go_as_a_list_with_a_result_for_each() {
    let cids: Vec<String> = (0..=MOST_BATCH).map(|n| format!("cid{n}")).collect();
    let to: Vec<&str> = cids.iter().map(String::as_str).collect();
    let created = HttpReply::json(200, &json!({"code": 0, "msg": "", "data": {"taskid": "RASL_1"}}));
    let statuses: Map<String, Value> =
        to.iter().skip(1).map(|cid| ((*cid).to_owned(), "successed_online".into())).collect();
    let pushed = HttpReply::json(200, &json!({"code": 0, "msg": "", "data": {"RASL_1": statuses}}));
    let content = json!({"title": "T", "body": "B"});
    let (outcomes, requests) = trial().send(&to, &content, [created.clone(), pushed]).await;
    assert_eq!(brief(&outcomes[0]), "unknown answer");
    assert!(outcomes[1..].iter().all(|outcome| brief(outcome) == "delivered RASL_1"));
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0]["request"], "POST /v2/app1/push/list/message");
    assert_eq!(requests[0]["body"]["push_message"]["notification"]["title"], "T");
    assert_eq!(requests[0]["body"]["audience"], Value::Null);
    assert_eq!(requests[1]["request"], "POST /v2/app1/push/list/cid");
    assert_eq!(requests[1]["body"], json!({"audience": {"cid": to}, "taskid": "RASL_1", "is_async": false}));
    // Making the message known sends nothing, so a break there is no riddle; a break at the second call is.
    for (replies, expected) in [
        (vec![HttpReply::Reset], "later broken"),
        (vec![HttpReply::json(400, &json!({"code": 20_001, "msg": "title is invalid"}))], "never code_20001 Content"),
        (vec![created, HttpReply::Reset], "unknown broken"),
    ] {
        let (outcomes, _) = trial().send(&to, &content, replies).await;
        assert!(outcomes.iter().all(|outcome| brief(outcome) == expected), "{expected}: {:?}", outcomes[0]);
    }
}

#[tokio::test]
async fn one_bad_client_id_costs_nobody_else_the_notice() {
    let server = HttpServer::start(fine()).await.expect("a free port");
    let bad = HttpReply::json(400, &json!({"code": 20_001, "msg": "target user is invalid"}));
    server.then([bad.clone()]);
    let mut call = crate::testing::call(&["cid1", "cid1"], json!({"title": "T", "body": "B"}));
    call.token = Some(Secret::new("t0ken"));
    let outcomes = trial().account(&server).send(&call).await;
    assert!(outcomes.iter().all(|outcome| brief(outcome) == "delivered RASS_1"), "{outcomes:?}");
    assert_eq!(server.count(), 3);
    let single = trial().send(&["cid1"], &json!({"title": "T", "body": "B"}), [bad]).await;
    assert_eq!((brief(&single.0[0]), single.1.len()), ("never code_20001_cid Recipient".to_owned(), 1));
}

#[tokio::test]
async fn every_documented_code_has_its_class() {
    let says = |status: u16, code: i64| HttpReply::json(status, &json!({"code": code, "msg": "m"}));
    let cases = [
        (fine(), "delivered RASS_1"),
        (says(401, 10_001), "later token_invalid"),
        (says(401, 10_002), "never code_10002 Account"),
        (says(401, 10_003), "later code_10003 60000"),
        (says(401, 10_005), "later code_10005 60000"),
        (says(400, 20_001), "never code_20001 Content"),
        (says(200, 1), "never code_1 Content"),
        (says(200, 2), "later code_2"),
        (says(200, 301), "never code_301 Account"),
        (says(403, 30_001), "never code_30001 Account"),
        (says(403, 30_008), "later code_30008 3600000"),
        (says(403, 30_009), "later code_30009 3600000"),
        (says(403, 30_015), "later code_30015 60000"),
        (says(403, 30_019), "later code_30019"),
        (says(404, 404), "never code_404 Account"),
        (HttpReply::json(200, &json!({"code": 0, "msg": ""})), "unknown answer"),
    ];
    trial().classes("cid1", &json!({"title": "T", "body": "B"}), cases).await;
    let (outcomes, requests) =
        Trial { token: None, ..trial() }.send(&["c"], &json!({"title": "T", "body": "B"}), []).await;
    assert_eq!((outcomes, requests), (vec![no_token()], vec![]));
}

#[tokio::test]
async fn a_token_is_asked_for_with_a_signature_over_the_time() {
    let server = HttpServer::start(HttpReply::json(200, &given(AT.0 + 1_000))).await.expect("a free port");
    let token = trial().account(&server).fetch_token_at(AT).await.expect("it has tokens").expect("it was given");
    assert_eq!((token.secret.expose(), token.expires_in), ("36f1fef9ce0f", Duration::from_secs(1)));
    let request = &trial().requests(&server)[0];
    assert_eq!(request["request"], "POST /v2/app1/auth");
    // printf 'key11700000000123s3cret' | sha256sum
    assert_eq!(
        request["body"],
        json!({"appkey": "key1", "timestamp": "1700000000123", "sign": "88e01e0d78f1e167654b30a4818667b8e0a65fae9276d45d886d250c4e58f503"})
    );
}

// GeTui: RestAPI V2, Push API: push_message.revoke.
#[tokio::test]
async fn a_notice_is_taken_back_from_its_one_recipient_by_a_push_that_revokes_it() {
    let call = crate::testing::call(&["cid1"], json!({}));
    let delivery = call.targets[0].delivery;
    let sent = Sent { delivery, to: "cid1".to_owned(), provider_id: "RASS_7".to_owned() };
    let taken =
        |status: &str| HttpReply::json(200, &json!({"code": 0, "msg": "", "data": {"RASS_8": {"cid1": status}}}));
    for (reply, expected) in [
        (taken("successed_online"), "delivered"),
        (taken("successed_offline"), "delivered"),
        (HttpReply::json(400, &json!({"code": 20_001, "msg": "old_task_id is invalid"})), "never code_20001 Content"),
        (HttpReply::json(401, &json!({"code": 10_001, "msg": "token"})), "later token_invalid"),
        (HttpReply::Reset, "unknown broken"),
    ] {
        let server = HttpServer::start(reply).await.expect("a free port");
        let outcome = trial().account(&server).recall(&sent, Some(&Secret::new("t0ken"))).await;
        assert_eq!(brief(&outcome.expect("it can be taken back")), expected);
        let requests = trial().requests(&server);
        assert_eq!(requests[0]["request"], "POST /v2/app1/push/single/cid");
        let body = &requests[0]["body"];
        assert_eq!(body["push_message"], json!({"revoke": {"old_task_id": "RASS_7", "force": false}}));
        assert_eq!(body["audience"], json!({"cid": ["cid1"]}));
        assert_ne!(body["request_id"], hex32(&call.targets[0]), "the vendor drops a request that it has seen");
        assert_eq!(body["request_id"].as_str().map(str::len), Some(32));
    }
}
