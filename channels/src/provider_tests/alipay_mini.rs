//! What is sent to Alipay, and what comes of their answers.

use super::*;
use crate::conformance::{Golden, Subject, every};
use crate::golden::{AT, Trial, brief};
use crate::golden_keys::{RSA_PKCS8, RSA_PUBLIC};
use crate::testing::{HttpReply, HttpServer, open};

pub(in crate::providers) fn subject() -> Option<Subject> {
    Some(Subject {
        provider: INFO.name,
        settings: |url| {
            json!({"app_id": "1", "private_key": RSA_PKCS8, "alipay_public_key": RSA_PUBLIC, "endpoint": url,
                "timeout_ms": 3_000})
        },
        to: |_| "2088102122458832".to_owned(),
        content: || json!({"template_id": "MDI4", "page": "page/index", "data": {"keyword1": "12:00"}}),
        taken: fine,
        blame: "Account",
        complains: |words| {
            HttpReply::json(
                200,
                &json!({"error_response": {"code": "40002", "msg": words, "sub_code": "isv.invalid-app-id"}}),
            )
        },
        answers: || {
            every(&CODES, "NEW_ERROR", |code| {
                signed(SEND, &json!({"code": "40004", "msg": "m", "sub_code": code}).to_string())
            })
        },
        golden: || {
            vec![Golden {
                name: "template",
                page: "Alipay open platform: alipay.open.app.mini.templatemessage.send",
                to: &["2088102122458832"],
                content: json!({"template_id": "MDI4", "page": "page/index", "data": {"keyword1": "12:00"}}),
                masked: &["sign="],
            }]
        },
        ..Subject::HTTP
    })
}

/// An answer to `method`, signed with the key whose public half the accounts here know as Alipay's.
fn signed(method: &str, node: &str) -> HttpReply {
    let key = RsaKey::read(&Secret::new(RSA_PKCS8)).expect("a key");
    let sign = STANDARD.encode(key.sign(node.as_bytes()).expect("a signature"));
    HttpReply::text(200, &format!("{{\"{}_response\":{node},\"sign\":\"{sign}\"}}", method.replace('.', "_")))
}

fn fine() -> HttpReply {
    signed(SEND, r#"{"code":"10000","msg":"Success"}"#)
}

fn trial() -> Trial {
    Trial {
        provider: INFO.name,
        settings: json!({"app_id": "2014072300007148", "private_key": RSA_PKCS8, "alipay_public_key": RSA_PUBLIC}),
        path: "",
        token: None,
        secrets: &[],
    }
}

fn message() -> Value {
    json!({"template_id": "MDI4", "page": "page/index?a=b", "data": {"keyword1": "12:00"}})
}

// Alipay: alipay.open.app.mini.templatemessage.send; Signing requests by yourself.
#[tokio::test]
async fn a_request_is_signed_over_all_its_parameters() {
    for (to, name) in
        [("2088102122458832", "to_user_id"), ("074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5", "to_open_id")]
    {
        let (outcomes, requests) = trial().send(&[to], &message(), [fine()]).await;
        assert_eq!(outcomes, [Outcome::Delivered { provider_id: None }]);
        let content = json!({"data": "{\"keyword1\":{\"value\":\"12:00\"}}", name: to, "page": "page/index?a=b",
            "user_template_id": "MDI4"});
        let request = requests[0]["request"].as_str().expect("a request");
        let (method, target) = request.split_once("/gateway.do?").expect("the gateway");
        assert_eq!(method, "POST ");
        let mut query: BTreeMap<_, _> = form_urlencoded::parse(target.as_bytes()).into_owned().collect();
        let sign = query.remove("sign").expect("it is signed");
        let expected = [
            ("app_id", "2014072300007148"),
            ("charset", "utf-8"),
            ("format", "json"),
            ("method", SEND),
            ("sign_type", "RSA2"),
            ("timestamp", "2023-11-15 06:13:20"),
            ("version", "1.0"),
        ];
        assert_eq!(query, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let body = requests[0]["body"].as_str().expect("a form");
        let form: Vec<_> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        assert_eq!(form, [("biz_content".to_owned(), content.to_string())]);
        let public = RsaPublicKey::read(RSA_PUBLIC).expect("a key");
        let text = to_sign(&expected, &content.to_string());
        assert!(public.verifies(text.as_bytes(), &STANDARD.decode(sign).expect("base64")), "{text}");
    }
}

// The signature is that of `openssl dgst -sha256 -sign` with the key of RFC 7515 A.2 over the text below.
#[test]
fn the_text_to_sign_is_sorted_and_signs_as_openssl_does() {
    let query = [("version", "1.0"), ("app_id", "2014072300007148"), ("empty", ""), ("method", SEND)];
    let text = to_sign(&query, r#"{"page":"p"}"#);
    assert_eq!(text, format!("app_id=2014072300007148&biz_content={{\"page\":\"p\"}}&method={SEND}&version=1.0"));
    let key = RsaKey::read(&Secret::new(RSA_PKCS8)).expect("a key");
    assert_eq!(STANDARD.encode(key.sign(text.as_bytes()).expect("a signature")), OPENSSL);
}

const OPENSSL: &str = "\
    Qf3fQATnfnXcwt/OoGD47j9rt6EfxVUkSVGiDI523QXG6MCDjfI3Vb6kO7U3NgzTdkHYrbZ3PdTVBm6tqd4CW/XpT9UmQdekPsIk\
    34utteAvkdfMzMjCb1E7l7vT01mzziAxB8ZduILP5X69J9A5BUCLPeutiqlHH/0Sg0v5pBawKPcw6lqJTLakhjtU5bEw+JxqS7As\
    uCa6bp9Q9e+VSXgJ0egYXyvlYFQDZpL/SrzaEfE+fjQChzOJZDXBb0OFST5gUcOK5uBuzlGKycHDVooK0u1pd2nlFGIEQAg3rRxu\
    uqApOyoYr4iEp5sQwijK6O8Xw3JPWDXeMpEQbbIJgg==";

#[test]
fn the_gateways_time_is_that_of_beijing() {
    assert_eq!(beijing(AT), "2023-11-15 06:13:20");
}

#[tokio::test]
async fn every_documented_code_has_its_class_and_a_yes_counts_only_when_alipay_signed_it() {
    let says = |code: &str, sub: &str| signed(SEND, &json!({"code": code, "msg": "m", "sub_code": sub}).to_string());
    let unsigned = |name: &str, node: Value| HttpReply::json(200, &json!({name: node}));
    let yes = json!({"code": "10000", "msg": "Success"});
    let response = "alipay_open_app_mini_templatemessage_send_response";
    let forged = json!({response: yes, "sign": STANDARD.encode([1; 256])});
    let cases = [
        (fine(), "delivered"),
        // Spaces are part of what was signed.
        (signed(SEND, "{ \"code\" : \"10000\" , \"msg\":\"Success\" }"), "delivered"),
        (unsigned(response, yes), "unknown signature"),
        (HttpReply::json(200, &forged), "unknown signature"),
        (unsigned("another_response", json!({"code": "10000"})), "unknown answer"),
        (says("20000", "isp.unknow-error"), "unknown alipay_isp.unknow-error"),
        (says("20001", "aop.invalid-auth-token"), "never alipay_aop.invalid-auth-token Account"),
        (says("40002", "isv.invalid-signature"), "never alipay_isv.invalid-signature Account"),
        (says("40002", "isv.something-new"), "never alipay_40002 Content"),
        (says("40005", "isv.app-call-limited"), "later alipay_isv.app-call-limited 60000"),
        (says("40006", "isv.insufficient-isv-permissions"), "never alipay_isv.insufficient-isv-permissions Account"),
        (says("40004", "USER_TEMPLATE_ILLEGAL"), "never alipay_USER_TEMPLATE_ILLEGAL Content"),
        (says("40004", "TRADE_NO_NOT_MATCH_USERID"), "never alipay_TRADE_NO_NOT_MATCH_USERID Recipient"),
        (says("40004", "FORM_ID_OVER_TIME"), "never alipay_FORM_ID_OVER_TIME Content"),
        (says("40004", "USER_TEMPLATE_LACK_KEYWORD"), "never alipay_USER_TEMPLATE_LACK_KEYWORD Content"),
        (says("40004", "USER_KEYWORD_LENGTH_ERROR"), "never alipay_USER_KEYWORD_LENGTH_ERROR Content"),
        (says("20001", "aop.app-auth-token-time-out"), "never alipay_aop.app-auth-token-time-out Account"),
        (says("40004", "SYSTEM_ERROR"), "later alipay_SYSTEM_ERROR"),
        (says("40004", "NEW_ERROR"), "later alipay_NEW_ERROR"),
        (
            unsigned("error_response", json!({"code": "40002", "msg": "m", "sub_code": "isv.invalid-app-id"})),
            "never alipay_isv.invalid-app-id Account",
        ),
    ];
    trial().classes("2088102122458832", &message(), cases).await;
    let (outcomes, requests) = trial().send(&["2088102122458832"], &json!({"template_id": "t", "page": "p"}), []).await;
    assert_eq!((brief(&outcomes[0]), requests), ("never content Content".to_owned(), vec![]));
}

#[tokio::test]
async fn all_pages_of_templates_are_listed() {
    let row = |n: usize| {
        json!({"user_template_id": format!("id{n}"), "template_name": "Order", "keyword_list": [
            {"keyword_name": "time", "keyword_sample": "12:00"}, {"keyword_name": "place", "keyword_sample": "home"}]})
    };
    let page = |rows: Vec<Value>| {
        signed(LIST, &json!({"code": "10000", "msg": "Success", "user_template_list": rows}).to_string())
    };
    let server = HttpServer::start(HttpReply::status(500)).await.expect("a free port");
    // The gateway has two ways to write a list.
    let wrapped = json!({"code": "10000", "msg": "Success", "user_template_list": {"user_template_info": [row(99)]}});
    server.then([page((0..PAGE).map(row).collect()), signed(LIST, &wrapped.to_string())]);
    let listed = trial().account(&server).list_templates(AT, None).await.expect("it lists").expect("it answered");
    assert_eq!((listed.len(), server.count()), (PAGE + 1, 2));
    assert_eq!(listed[PAGE].id, "id99");
    assert_eq!(listed[0].content, "time:{{keyword1.DATA}}\nplace:{{keyword2.DATA}}");
    assert_eq!(listed[0].example, "time:12:00\nplace:home");
}

#[test]
fn keys_that_are_none_are_refused_and_not_repeated() {
    let settings = json!({"app_id": "1", "private_key": "hunter2", "alipay_public_key": "x"});
    let errors = open(&crate::Registry::new(), INFO.name, settings).expect_err("both are wrong");
    let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(fields, ["settings.private_key", "settings.alipay_public_key"]);
    assert!(!format!("{errors:?}").contains("hunter2"));
}
