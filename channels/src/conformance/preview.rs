//! The door closed before every provider: what a preview shows is what is sent, no secret is in it, and neither a preview nor
//! the question what an account can do lets anything out.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_contract::Settings;
use tokio::time::sleep;

use crate::providers::subjects;
use crate::show::forms;
use crate::testing::{HttpServer, call};
use crate::{Registry, features, preview, preview_account};

#[tokio::test]
async fn what_is_shown_is_what_is_sent_and_nothing_goes_out() {
    for subject in subjects() {
        let server = HttpServer::start((subject.taken)()).await.expect("a free port");
        let url = server.url("/in");
        let (account, call) = (subject.account(&url), subject.call(&url));
        let shown = preview(account.as_ref(), &call, []).await;
        assert_eq!((server.connections(), shown.refused), (0, None), "{}", subject.provider);
        account.send(&call).await;
        let sent = &server.requests()[0];
        let first = shown.requests.first().unwrap_or_else(|| panic!("{} shows nothing", subject.provider));
        let path = |text: &str| text.split('?').next().unwrap_or_default().to_owned();
        assert_eq!((&first.method, first.bytes), (&sent.method, sent.body.len()), "{}", subject.provider);
        assert!(first.url.contains(&path(&sent.target)), "{}: {} {}", subject.provider, first.url, sent.target);
        for (name, _) in &first.headers {
            assert!(sent.header(name).is_some(), "{}: {name} is shown and not sent", subject.provider);
        }
    }
}

#[tokio::test]
async fn what_an_account_can_do_is_found_out_without_a_word_to_its_supplier() {
    let (mut reporting, mut pulled, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    for subject in subjects() {
        let server = HttpServer::start((subject.taken)()).await.expect("a free port");
        let url = server.url("/in");
        let account = subject.account(&url);
        let found = features(account.as_ref());
        // Long enough for a connection that was begun.
        sleep(Duration::from_millis(20)).await;
        assert_eq!(server.connections(), 0, "{}", subject.provider);
        assert_eq!(found.wants_token, subject.token.is_some(), "{}", subject.provider);
        reporting.extend(found.reports.then_some(subject.provider));
        pulled.extend(found.pulls.then_some(subject.provider));
        asked.extend(found.asks.then_some(subject.provider));
    }
    assert_eq!((asked, pulled), (vec!["dingtalk_work"], vec!["sms/tencent", "sms/yunpian"]));
    assert_eq!(reporting, ["dingtalk_work", "sms/aliyun", "sms/tencent", "sms/twilio", "sms/yunpian"]);
}

#[tokio::test]
async fn no_secret_is_shown_nor_anything_that_is_made_of_one() {
    let registry = Registry::new();
    for subject in subjects() {
        let url = "http://127.0.0.1:9/in";
        let provider = registry.get(subject.provider).expect("it is registered");
        let Value::Object(given) = (subject.settings)(url) else { panic!("settings are an object") };
        let settings = Settings::sort(provider.info().settings, given.into_iter().collect()).expect("they are right");
        let shown = preview_account(provider.as_ref(), "account", &settings, &subject.call(url)).await;
        assert_eq!(shown.refused, None, "{}", subject.provider);
        assert!(!shown.requests.is_empty(), "{} shows nothing", subject.provider);
        let printed = json!(shown.requests).to_string();
        for secret in settings.secret.values() {
            for form in forms(secret) {
                assert!(!printed.contains(&form), "{} shows {form}: {printed}", subject.provider);
            }
        }
        for derived in subject.derived {
            assert!(!printed.contains(derived), "{} shows {derived}: {printed}", subject.provider);
        }
    }
}

#[tokio::test]
async fn whatever_a_document_makes_of_a_secret_is_masked_and_the_rest_is_shown() {
    let steps = json!([
        {"name": "login", "text": "{{ user }}:{{ secret }}", "encoding": "base64"},
        {"name": "md5", "hash": "md5", "text": "{{ secret }}"},
        {"name": "sha", "hash": "sha256", "text": "x{{ secret }}y", "encoding": "base64"},
        {"name": "signed", "hash": "hmac_sha1", "key": "{{ secret }}", "text": "{{ at_ms }}"},
        {"name": "twice", "hash": "md5", "text": "{{ md5 }}{{ login }}"},
    ]);
    let body = json!({"to": "{{ to }}", "login": "Basic {{ login }}", "a": "{{ md5 }}-{{ sha }}", "b": ["{{ signed }}"],
        "c": "{{ twice }}", "half": "pre{{ secret }}post", "said": "{{ content.text }}", "user": "{{ user }}"});
    let definition = json!({"url": "https://acme.example/send", "derive": steps, "body": body,
        "query": {"k": "{{ md5 }}", "v": "1"}, "headers": {"x-login": "{{ login }}", "x-user": "{{ user }}"}});
    let registry = Registry::new();
    let provider = registry.get("custom_http").expect("it is registered");
    let secret = "S3cret/of+ours 错";
    let given = json!({"user": "shop", "secret": secret, "definition": definition});
    let Value::Object(given) = given else { panic!("an object") };
    let settings = Settings::sort(provider.info().settings, given.into_iter().collect()).expect("they are right");
    let call = call(&["+8613800138000"], json!({"text": "your code is 123456"}));
    let shown = preview_account(provider.as_ref(), "acme", &settings, &call).await;
    let request = &shown.requests[0];
    for part in [r#""said":"your code is 123456""#, r#""to":"+8613800138000""#, r#""user":"shop""#, r#""c":"***""#] {
        assert!(request.body.contains(part), "{part} in {}", request.body);
    }
    assert!(request.url.contains("k=***&v=1") && request.curl.contains("https://acme.example/send"), "{}", request.url);
    // The account itself, with the door closed, would show them.
    let open = provider.open("acme", &settings).expect("it opens");
    let real = preview(open.as_ref(), &call, []).await;
    let printed = json!(shown.requests).to_string();
    let values: Value = serde_json::from_str(&real.requests[0].body).expect("JSON");
    for name in ["login", "a", "c", "half"] {
        let text = values[name].as_str().expect("a text");
        assert!(text.split(['-', ' ']).all(|part| part.len() < 6 || !printed.contains(part)), "{name}: {text}");
    }
    assert!(!printed.contains(values["b"][0].as_str().expect("a text")));
}
