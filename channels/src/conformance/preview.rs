//! The door closed before every provider: what a preview shows is what is sent, no secret is in it, and neither a preview nor
//! the question what an account can do lets anything out.

use std::time::Duration;

use serde_json::json;
use tidings_contract::Secret;
use tokio::time::sleep;

use crate::providers::subjects;
use crate::testing::HttpServer;
use crate::{Registry, features, preview};

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
async fn no_secret_is_shown() {
    let registry = Registry::new();
    for subject in subjects() {
        let url = "http://127.0.0.1:9/in";
        let settings = (subject.settings)(url);
        let provider = registry.get(subject.provider).expect("it is registered");
        let names = provider.info().settings.iter().filter(|setting| setting.secret).map(|setting| setting.name);
        let secrets: Vec<Secret> = names.filter_map(|name| settings[name].as_str()).map(Secret::new).collect();
        let shown = preview(subject.account(url).as_ref(), &subject.call(url), &secrets).await;
        let printed = json!(shown.requests).to_string();
        for secret in &secrets {
            assert!(!printed.contains(secret.expose()), "{} shows a secret: {printed}", subject.provider);
        }
    }
}
