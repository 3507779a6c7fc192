//! What `sms/twilio` is to the suite, and its receipts.

use super::*;
use crate::Registry;
use crate::conformance::{Golden, Subject};
use crate::testing::{HttpReply, HttpServer, open};
use serde_json::json;

const CALLBACK: &str = "https://tidings.example/v1/callbacks/twilio?a=b";

fn settings(url: &str) -> Value {
    json!({"account_sid": "ACexample", "auth_token": "twilio-token-4f0e", "api_key_sid": "SKexample",
        "api_key_secret": "twilio-key-88d1", "from": "+15005550006", "status_callback": CALLBACK, "endpoint": url,
        "timeout_ms": 3_000})
}

fn fault(code: i64, message: &str) -> HttpReply {
    let status = match code {
        20_003 => 401,
        20_429 | 14_107 => 429,
        20_500 => 500,
        20_503 => 503,
        _ => 400,
    };
    let info = format!("https://www.twilio.com/docs/errors/{code}");
    HttpReply::json(status, &json!({"code": code, "message": message, "more_info": info, "status": status}))
}

fn answers() -> Vec<(HttpReply, String)> {
    let known = CODES.iter().map(|(code, verdict)| (fault(*code, "no"), verdict.brief(&format!("error_{code}"))));
    let new = [
        (fault(20_429, "no").with("Retry-After", "3"), "later error_20429 after 3000".to_owned()),
        (fault(99_999, "no"), "never error_99999 Content".to_owned()),
        (HttpReply::json(201, &json!({"status": "queued"})), "unknown answer".to_owned()),
    ];
    known.chain(new).collect()
}

pub(in crate::providers) fn subject() -> Option<Subject> {
    Some(Subject {
        provider: INFO.name,
        settings,
        to: |_| "+12125552368".to_owned(),
        content: || json!({"text": "hi"}),
        taken: || {
            HttpReply::json(201, &json!({"sid": "SM1f", "status": "queued", "num_segments": "1", "error_code": null}))
        },
        blame: "Account",
        complains: |words| fault(21_602, words),
        answers,
        derived: &["U0tleGFtcGxlOnR3aWxpby1rZXktODhkMQ=="],
        golden: || {
            let golden = |name, content| Golden {
                name,
                page: "Twilio: Messages resource, Create a Message",
                to: &[],
                content,
                masked: &["Basic "],
            };
            let template = json!({"template_id": "HXb5b62575e6e4ff6129ad7c8efe1f983e", "params": ["Ann", "12/1"]});
            vec![
                golden("text", json!({"text": "Hi & welcome", "url": "https://a.example/?b=c"})),
                golden("template", template),
            ]
        },
        ..Subject::HTTP
    })
}

#[test]
fn the_published_example_has_the_published_signature() {
    let fields = [
        ("To", "+18005551212"),
        ("CallSid", "CA1234567890ABCDE"),
        ("Digits", "1234"),
        ("From", "+12349013030"),
        ("Caller", "+12349013030"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (token, url) = (Secret::new("12345"), "https://mycompany.com/myapp.php?foo=1&bar=2");
    assert!(is_signed(&token, url, &fields, "0/KCTR6DLpKmkAf8muzZqo1nDgQ="));
    assert!(!is_signed(&token, url, &fields[1..], "0/KCTR6DLpKmkAf8muzZqo1nDgQ="), "a field is gone");
    assert!(!is_signed(&token, "https://mycompany.com/", &fields, "0/KCTR6DLpKmkAf8muzZqo1nDgQ="));
    assert!(!is_signed(&Secret::new("1234"), url, &fields, "0/KCTR6DLpKmkAf8muzZqo1nDgQ="));
    assert!(!is_signed(&token, url, &fields, "nonsense"));
}

/// A callback as Twilio would sign it.
fn signed(body: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    fields.sort();
    let text: String = fields.iter().map(|(name, value)| format!("{name}{value}")).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"twilio-token-4f0e");
    let tag = hmac::sign(&key, format!("{CALLBACK}{text}").as_bytes());
    vec![("x-twilio-signature".to_owned(), STANDARD.encode(tag))]
}

#[test]
fn callbacks_are_verified_and_what_is_on_its_way_is_no_receipt() {
    let account = open(&Registry::new(), INFO.name, settings("https://a.example")).expect("the settings are right");
    let cases = [
        ("delivered", "", Some((ReceiptMark::Received, None))),
        ("read", "", Some((ReceiptMark::Read, None))),
        ("undelivered", "&ErrorCode=30003", Some((ReceiptMark::Bounced, Some("error_30003: undelivered")))),
        ("failed", "", Some((ReceiptMark::Bounced, Some("failed: failed")))),
        ("sent", "", None),
    ];
    for (status, more, expected) in cases {
        let body = format!("MessageSid=SM1f&To=%2B12125552368&MessageStatus={status}{more}");
        let receipts = account.read_callback(&signed(&body), body.as_bytes(), Time(0)).expect("it calls back");
        let receipts = receipts.expect("it is signed");
        let seen = receipts.first().map(|r| (r.mark, r.reason.as_ref().map(ToString::to_string)));
        assert_eq!(seen, expected.map(|(mark, reason)| (mark, reason.map(str::to_owned))), "{status}");
        assert!(receipts.iter().all(|r| r.provider_id == "SM1f" && r.to.as_deref() == Some("+12125552368")));
        let forged = body.replace("SM1f", "SM2f");
        assert!(account.read_callback(&signed(&body), forged.as_bytes(), Time(0)).expect("it calls back").is_err());
        assert!(account.read_callback(&[], body.as_bytes(), Time(0)).expect("it calls back").is_err());
    }
}

#[test]
fn a_sender_and_a_whole_api_key_are_needed() {
    for (settings, expected) in [
        (json!({"account_sid": "AC1", "auth_token": "t"}), "settings.from"),
        (
            json!({"account_sid": "AC1", "auth_token": "t", "from": "x", "api_key_sid": "SK1"}),
            "settings.api_key_secret",
        ),
        (json!({"account_sid": "AC/1", "auth_token": "t", "from": "x"}), "settings.account_sid"),
        (
            json!({"account_sid": "AC1", "auth_token": "t", "from": "x", "status_callback": "/a"}),
            "settings.status_callback",
        ),
        (
            json!({"account_sid": "AC1", "auth_token": "t", "from": "x", "endpoint": "http://a.example"}),
            "settings.endpoint",
        ),
    ] {
        let errors = open(&Registry::new(), INFO.name, settings).expect_err("it is wrong");
        assert_eq!(errors.iter().map(|e| e.field.as_str()).collect::<Vec<_>>(), [expected]);
    }
}

#[tokio::test]
async fn what_the_vendor_counted_and_charges_is_told_where_it_is_known() {
    let message = |segments: &str, price: Value| {
        HttpReply::json(201, &json!({"sid": "SM1", "num_segments": segments, "price": price, "price_unit": "USD"}))
    };
    let dollars = Charge { segments: Some(2), micros: Some(7_500), currency: Some("USD".to_owned()) };
    for (reply, expected) in [
        (message("2", json!("-0.0075")), Some(dollars)),
        (message("1", json!(null)), Some(Charge::segments(1))),
        (message("0", json!(null)), None),
        (fault(21_610, "stopped"), None),
    ] {
        let server = HttpServer::start(reply).await.expect("a free port");
        let account = open(&Registry::new(), INFO.name, settings(&server.url(""))).expect("the settings are right");
        let charged = account.send_charged(&crate::testing::call(&["+12125552368"], json!({"text": "hi"}))).await;
        assert_eq!(charged[0].charge, expected);
    }
}

#[test]
fn a_receipt_says_whether_the_number_is_nobodys() {
    let account = open(&Registry::new(), INFO.name, settings("https://a.example")).expect("the settings are right");
    for (code, gone) in [("30005", true), ("21610", true), ("30003", false), ("30007", false)] {
        let body = format!("MessageSid=SM1&MessageStatus=undelivered&ErrorCode={code}&To=%2B12125552368");
        let receipts = account.read_callback(&signed(&body), body.as_bytes(), Time(0)).expect("it calls back");
        assert_eq!(receipts.expect("it is believed")[0].gone, gone, "{code}");
    }
}
