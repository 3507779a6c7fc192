//! Nothing that is secret is printed: not by `Debug`, not in an outcome, not in a log at its most talkative.

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::json;

use super::Subject;
use super::golden::secrets;
use crate::Registry;
use crate::golden::AT;
use crate::providers::subjects;
use crate::testing::{HttpReply, HttpServer, SmtpScript, SmtpServer, call, open};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_reaches_a_log_an_outcome_or_a_debug_print() {
    let log = Log::default();
    let writer = log.clone();
    // For the whole process: the libraries below speak through `log`, which has one listener only.
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).init();

    let whsec = format!("whsec_{}", STANDARD.encode(*b"webhook-key-0123456789ab"));
    let (token, sec, password) = ("t0ken-76f1", "SEC-5a3d9", "pa55-w0rd-e8b2");
    // Both repeat a secret in their answer, as a careless supplier might.
    let said = json!({"errcode": 300_001, "errmsg": format!("no token {token} {sec}")});
    let http = HttpServer::start(HttpReply::json(200, &said)).await.expect("a free port");
    let login = Some(("shop".to_owned(), password.to_owned()));
    let refusal = format!("550 5.7.1 {password}");
    let script = SmtpScript { starttls: true, login, ..SmtpScript::default() }.says("RCPT", &refusal);
    let smtp = SmtpServer::start(script).await.expect("a free port");

    let registry = Registry::new();
    let url = http.url("/in");
    let accounts = [
        ("webhook", url.as_str(), json!({"secret": whsec, "allow_private": true})),
        ("dingtalk_robot", "ops", json!({"access_token": token, "secret": sec, "url": url})),
        ("dingtalk_robot", "ops", json!({"access_token": token, "secret": sec, "url": "http://127.0.0.1:1/"})),
        (
            "email/smtp",
            "ann@example.com",
            json!({"host": "localhost", "port": smtp.addr().port(), "from": "a@shop.example", "username": "shop",
                "password": password, "ca_pem": smtp.certificate()}),
        ),
        (
            "email/smtp",
            "ann@example.com",
            json!({"host": "localhost", "port": smtp.addr().port(), "from": "a@shop.example", "username": "shop",
                "password": password, "tls": "none"}),
        ),
    ];
    let mut printed = String::new();
    for (provider, to, settings) in accounts {
        let account = open(&registry, provider, settings).expect("the settings are right");
        let call = call(&[to], json!({"type": "text", "text": "hi", "subject": "s"}));
        printed.push_str(&format!("{account:?} {:?}\n", account.send(&call).await));
    }
    assert!(http.count() == 2 && printed.contains("***"), "the servers were reached: {printed}");

    let mut sealed = Vec::new();
    for subject in subjects() {
        sealed.extend(careless(&subject, &mut printed).await);
    }
    printed.push_str(&String::from_utf8_lossy(&log.0.lock()));
    assert!(printed.contains("TRACE"), "the log was listening");
    let plain = STANDARD.encode(format!("\0shop\0{password}"));
    for secret in [&whsec, &whsec[6..], "webhook-key", token, sec, password, &plain, &STANDARD.encode(password)] {
        assert!(!printed.contains(secret), "{secret} was printed");
    }
    for (provider, secret) in sealed {
        assert!(!printed.contains(&secret), "{provider}: {secret} was printed");
    }
}

/// Prints what a supplier comes to that repeats every secret in every kind of answer; gives what must not be printed.
async fn careless(subject: &Subject, printed: &mut String) -> Vec<(&'static str, String)> {
    let server = HttpServer::start(HttpReply::Hang).await.expect("a free port");
    let url = server.url("/in");
    let mut sealed: Vec<String> = secrets(subject, &url).iter().map(|secret| secret.expose().to_owned()).collect();
    sealed.extend(subject.token.map(|case| case().token.to_owned()));
    assert!(sealed.iter().all(|secret| secret.len() >= 6), "{}: {sealed:?} are too short", subject.provider);
    let said = sealed.join(" ");
    let (account, call) = (subject.account(&url), subject.call(&url));
    for reply in [
        (subject.taken)(),
        (subject.complains)(&said),
        HttpReply::text(200, &said),
        HttpReply::text(400, &said),
        HttpReply::text(503, &said),
        HttpReply::Reset,
    ] {
        server.set(reply);
        printed.push_str(&format!("{account:?} {:?}\n", account.send(&call).await));
        if let Some(fetched) = account.fetch_token_at(AT).await {
            printed.push_str(&format!("{fetched:?}\n"));
        }
    }
    let base64: Vec<_> = sealed.iter().map(|secret| STANDARD.encode(secret)).collect();
    let all = sealed.into_iter().chain(base64).chain(subject.derived.iter().map(|text| (*text).to_owned()));
    all.map(|secret| (subject.provider, secret)).collect()
}
