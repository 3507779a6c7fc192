//! The suite for mail: every way a submission can end, on plain and encrypted connections.

use std::net::TcpListener;
use std::sync::Arc;

use serde_json::{Value, json};
use tidings_contract::{Channel, Outcome};

use super::brief;
use crate::Registry;
use crate::testing::{SmtpScript, SmtpServer, SmtpStep, call, open};

fn content() -> Value {
    json!({"subject": "Hi", "text": "Hello\n.\nthere", "html": "<p>Hello</p>"})
}

/// An account for that server; `more` overrides.
fn account(server: &SmtpServer, more: Value) -> Arc<dyn Channel> {
    let mut settings = json!({"host": "localhost", "port": server.addr().port(), "from": "Shop <no-reply@shop.example>",
        "tls": "none", "helo": "test.example", "timeout_ms": 20_000});
    for (name, value) in more.as_object().cloned().unwrap_or_default() {
        settings[name] = value;
    }
    open(&Registry::new(), "email/smtp", settings).expect("the settings are right")
}

async fn once(script: SmtpScript, more: Value) -> (String, usize) {
    let server = SmtpServer::start(script).await.expect("a free port");
    let outcomes = account(&server, more).send(&call(&["ann@example.com"], content())).await;
    (brief(&outcomes[0]), server.mails().len())
}

#[tokio::test]
async fn every_end_of_a_submission_has_its_class() {
    let script = SmtpScript::default;
    let cases = [
        (script(), "delivered", 1),
        (script().says("GREETING", "554 go away"), "never smtp_554 Account", 0),
        (script().says("GREETING", "421 busy"), "later smtp_421", 0),
        (script().at("GREETING", SmtpStep::Close), "later connect", 0),
        (script().at("GREETING", SmtpStep::Hang), "later connect", 0),
        (script().at("EHLO", SmtpStep::Endless), "later connect", 0),
        (script().at("RCPT", SmtpStep::Endless), "later broken", 0),
        (script().at("END", SmtpStep::Endless), "unknown broken", 1),
        (script().says("MAIL", "550 5.7.1 sender refused"), "never smtp_550 Account", 0),
        (script().says("RCPT", "550 5.1.1 no such user"), "never smtp_550 Gone", 0),
        (
            script().says(
                "RCPT",
                "550-Verification failed for <no-reply@shop.example>\r\n550-No Such User Here\r\n550 refused",
            ),
            "never smtp_550 Account",
            0,
        ),
        (script().says("RCPT", "450 4.2.1 greylisted"), "later smtp_450", 0),
        (script().at("RCPT", SmtpStep::Close), "later broken", 0),
        (script().at("RCPT", SmtpStep::Hang), "later timeout", 0),
        (script().says("DATA", "451 not now"), "later smtp_451", 0),
        (script().says("END", "554 5.6.0 looks like spam"), "never smtp_554 Content", 0),
        (script().says("END", "552 5.3.4 too big"), "never smtp_552 Content", 0),
        (script().says("END", "451 4.3.0 try again"), "later smtp_451", 0),
        (script().says("END", "nonsense"), "unknown broken", 0),
        (script().at("END", SmtpStep::Close), "unknown broken", 1),
        (script().at("END", SmtpStep::Hang), "unknown timeout", 1),
    ];
    for (script, expected, kept) in cases {
        let what = format!("{:?}", script.steps);
        // Only where the server says nothing is the time limit ever reached.
        let hangs = script.steps.values().any(|step| matches!(step, SmtpStep::Hang));
        let timeout = json!({"timeout_ms": if hangs { 1_500 } else { 20_000 }});
        assert_eq!(once(script, timeout).await, (expected.to_owned(), kept), "{what}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_took_nothing() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let server = SmtpServer::start(SmtpScript::default()).await.expect("a free port");
    let outcomes = account(&server, json!({ "port": port })).send(&call(&["ann@example.com"], content())).await;
    assert_eq!(brief(&outcomes[0]), "later connect");
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_written_over_every_kind_of_connection() {
    let login = Some(("shop".to_owned(), "pa55word".to_owned()));
    let given = json!({"username": "shop", "password": "pa55word"});
    let cases = [
        ("none", SmtpScript { login: login.clone(), ..SmtpScript::default() }),
        ("starttls", SmtpScript { starttls: true, login: login.clone(), ..SmtpScript::default() }),
        ("starttls", SmtpScript { starttls: true, login: login.clone(), login_only: true, ..SmtpScript::default() }),
        ("implicit", SmtpScript { implicit_tls: true, login, ..SmtpScript::default() }),
    ];
    for (tls, script) in cases {
        let server = SmtpServer::start(script).await.expect("a free port");
        let mut more = given.clone();
        (more["tls"], more["ca_pem"]) = (json!(tls), json!(server.certificate()));
        let call = call(&["ann@example.com"], content());
        let outcomes = account(&server, more).send(&call).await;
        assert_eq!(outcomes, [Outcome::Delivered { provider_id: Some("Q1".to_owned()) }], "{tls}");
        let mails = server.mails();
        let mail = &mails[0];
        assert_eq!(
            (mail.from.as_str(), mail.to.as_slice()),
            ("no-reply@shop.example", ["ann@example.com".to_owned()].as_slice())
        );
        assert_eq!((mail.user.as_deref(), mail.encrypted), (Some("shop"), tls != "none"));
        assert!(mail.data.contains("\r\nHello\r\n.\r\nthere\r\n"), "a line with a dot survives: {}", mail.data);
        assert!(mail.data.contains(&format!("Message-ID: <{}@shop.example>", call.targets[0].delivery)));
    }
}

#[tokio::test]
async fn what_is_not_safe_is_not_used() {
    let login = || SmtpScript { login: Some(("shop".into(), "right".into())), starttls: true, ..SmtpScript::default() };
    let cases = [
        // No STARTTLS offered, no matter who took it away.
        (SmtpScript::default(), json!({"tls": "starttls"}), "never starttls Account"),
        // A certificate nobody vouches for.
        (login(), json!({"tls": "starttls"}), "later tls"),
        (SmtpScript { implicit_tls: true, ..SmtpScript::default() }, json!({"tls": "implicit"}), "later tls"),
        (login(), json!({"username": "shop", "password": "wrong"}), "never smtp_535 Account"),
        (login(), json!({}), "never smtp_530 Account"),
        (SmtpScript::default(), json!({"username": "shop", "password": "right"}), "never auth Account"),
    ];
    for (script, more, expected) in cases {
        assert_eq!(once(script, more.clone()).await, (expected.to_owned(), 0), "{more}");
    }
}

#[tokio::test]
async fn connections_are_used_again_even_after_a_refusal_and_replaced_when_stale() {
    let server = SmtpServer::start(SmtpScript::default()).await.expect("a free port");
    let account = account(&server, json!({}));
    let call = call(&["ann@example.com"], content());
    for script in [SmtpScript::default(), SmtpScript::default().says("RCPT", "550 5.1.1 no"), SmtpScript::default()] {
        server.set(script);
        account.send(&call).await;
    }
    assert_eq!((server.connections(), server.mails().len()), (1, 2));

    // The server gives idle connections up: what meets one goes out on a fresh one.
    server.set(SmtpScript::default().says("MAIL", "421 4.4.2 idle too long"));
    assert_eq!(brief(&account.send(&call).await[0]), "later smtp_421");
    server.set(SmtpScript::default());
    assert_eq!(brief(&account.send(&call).await[0]), "delivered");
    assert_eq!(server.mails().len(), 3);
}

#[tokio::test]
async fn a_server_that_takes_no_more_on_a_connection_gets_the_next_mail_on_another_one() {
    let server = SmtpServer::start(SmtpScript::default()).await.expect("a free port");
    let account = account(&server, json!({"connections": 1}));
    let call = call(&["ann@example.com"], content());
    assert_eq!(brief(&account.send(&call).await[0]), "delivered");
    server.set(SmtpScript::default().says("MAIL", "451 4.7.1 too many messages in this session"));
    assert_eq!(brief(&account.send(&call).await[0]), "later smtp_451", "another connection was refused too");
    assert_eq!(server.connections(), 2);
    for verb in ["MAIL", "RCPT", "DATA", "END"] {
        let before = server.connections();
        for step in [SmtpScript::default().says(verb, "451 4.7.1 come back later"), SmtpScript::default()] {
            server.set(step);
            account.send(&call).await;
        }
        assert!(server.connections() > before, "after a 4xx to {verb} the connection is given up");
    }
}

#[tokio::test]
async fn what_is_said_in_the_clear_before_tls_is_no_word_of_the_servers() {
    for more in ["250 injected", "250 injected\r\n250 injected\r\n250 injected"] {
        let script = SmtpScript { starttls: true, ..SmtpScript::default() };
        let script = script.at("STARTTLS", SmtpStep::Adds(more.to_owned())).says("RCPT", "550 5.7.1 refused");
        let server = SmtpServer::start(script).await.expect("a free port");
        let more = json!({"tls": "starttls", "ca_pem": server.certificate()});
        let outcomes = account(&server, more).send(&call(&["ann@example.com"], content())).await;
        assert!(brief(&outcomes[0]).starts_with("later"), "{outcomes:?}");
        assert!(outcomes[0].reason().is_some_and(|reason| reason.words.contains("in the clear")), "{outcomes:?}");
    }
}

#[tokio::test]
async fn mails_at_once_take_no_more_connections_than_allowed() {
    let server = SmtpServer::start(SmtpScript::default()).await.expect("a free port");
    let account = account(&server, json!({"connections": 2}));
    let call = call(&["ann@example.com"], content());
    let outcomes = tokio::join!(account.send(&call), account.send(&call), account.send(&call), account.send(&call));
    for outcome in [outcomes.0, outcomes.1, outcomes.2, outcomes.3] {
        assert_eq!(brief(&outcome[0]), "delivered");
    }
    assert!(server.connections() <= 2, "{} connections", server.connections());
    assert_eq!(server.mails().len(), 4);
}

#[tokio::test]
async fn a_dropped_submission_does_no_harm_to_the_next() {
    let server = SmtpServer::start(SmtpScript::default().at("END", SmtpStep::Hang)).await.expect("a free port");
    let account = account(&server, json!({"connections": 1}));
    let call = call(&["ann@example.com"], content());
    {
        let mut dropped = account.send(&call);
        while server.mails().is_empty() {
            let step = tokio::time::timeout(std::time::Duration::ZERO, &mut dropped).await;
            assert!(step.is_err(), "the server does not reply");
        }
    }
    server.set(SmtpScript::default());
    assert_eq!(brief(&account.send(&call).await[0]), "delivered");
}
