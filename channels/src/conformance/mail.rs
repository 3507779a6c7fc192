//! What a mail is made of, seen at the server: signed, with files that were fetched once, and a way off the list.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tidings_contract::{Blame, Material, Materials, Outcome};

use super::{Golden, brief};
use crate::Registry;
use crate::testing::{HttpReply, HttpServer, SmtpScript, SmtpServer, call, open};

async fn send(content: Value, more: Value) -> (Vec<String>, Vec<String>) {
    let server = SmtpServer::start(SmtpScript::default()).await.expect("a free port");
    let mut settings = json!({"host": "localhost", "port": server.addr().port(), "tls": "none",
        "from": "Shop <no-reply@shop.example>", "attachment_hosts": ["127.0.0.1"]});
    settings.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let account = open(&Registry::new(), "email/smtp", settings).expect("the settings are right");
    let outcomes = account.send(&call(&["ann@example.com", "bob@example.com"], content)).await;
    let mails = server.mails().into_iter().map(|mail| mail.data).collect();
    (outcomes.iter().map(brief).collect(), mails)
}

/// A mail of every kind.
pub(super) fn goldens() -> Vec<Golden> {
    let to = &["ann@example.com"];
    let listed = json!({"subject": "发票", "html": "<p>Hello &amp; bye</p>", "text": "Hello & bye", "from_name": "店",
        "reply_to": "Ann <ann@shop.example>", "unsubscribe_url": "https://shop.example/off",
        "unsubscribe_mailto": "off@shop.example"});
    let mut all = Golden::each(
        "RFC 5322, RFC 2045 to 2047",
        to,
        [
            ("text", json!({"subject": "Hi", "text": "Hello\n.\nbye"})),
            ("html", json!({"subject": "Hi", "html": "<p>Hello &amp; bye</p>"})),
        ],
    );
    all.extend(Golden::each("RFC 2046 §5.1.4, RFC 2369, RFC 8058", to, [("both_unsubscribable", listed)]));
    all
}

/// What arrives of a golden mail.
pub(super) async fn sent(golden: &Golden) -> String {
    let (outcomes, mails) = send(golden.content.clone(), json!({})).await;
    assert_eq!(outcomes, ["delivered", "delivered"], "{}", golden.name);
    mails[0].replace("\r\n", "\n")
}

#[tokio::test]
async fn a_whole_mail_arrives_signed_and_its_file_was_fetched_once() {
    let file = HttpReply::text(200, "%PDF-1.7").with("Content-Type", "application/pdf");
    let files = HttpServer::start(file).await.expect("a free port");
    let content = json!({"subject": "发票", "html": "<p>Hello</p><img src=\"cid:logo\">",
        "unsubscribe_url": "https://shop.example/off", "unsubscribe_mailto": "off@shop.example",
        "attachments": [{"url": files.url("/in/invoice.pdf")},
            {"url": files.url("/logo"), "name": "logo.png", "media_type": "image/png", "inline": "logo"}]});
    for (algorithm, key) in [
        ("rsa-sha256", include_str!("../testing/dkim_rsa.pem")),
        ("ed25519-sha256", include_str!("../testing/dkim_ed25519.pem")),
    ] {
        let dkim = json!({"dkim_key": key, "dkim_selector": "s1"});
        let (outcomes, mails) = send(content.clone(), dkim).await;
        assert_eq!(outcomes, ["delivered", "delivered"]);
        let mail = &mails[0];
        let signature = mail.split("\r\nFrom:").next().expect("headers");
        assert!(
            signature.starts_with(&format!("DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; d=shop.example;"))
        );
        for name in ["from", "subject", "list-unsubscribe", "list-unsubscribe-post", "content-type"] {
            assert!(signature.contains(name), "{name} is signed (RFC 8058 §4): {signature}");
        }
        for part in [
            "Content-Type: multipart/mixed",
            "Content-Type: multipart/related",
            "Content-Type: multipart/alternative",
            "filename=\"invoice.pdf\"",
            "Content-Type: application/pdf",
            "JVBERi0xLjc=",
            "Content-ID: <logo>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        ] {
            assert!(mail.contains(part), "{part} in {mail}");
        }
    }
    assert_eq!(files.count(), 4, "two files for each of two accounts, however many recipients");
}

#[tokio::test]
async fn a_mail_whose_files_cannot_be_had_is_not_sent() {
    let gone = HttpServer::start(HttpReply::status(404)).await.expect("a free port");
    let busy = HttpServer::start(HttpReply::status(503)).await.expect("a free port");
    let large = HttpServer::start(HttpReply::text(200, &"x".repeat(700))).await.expect("a free port");
    let of = |urls: &[String]| {
        let files: Vec<_> = urls.iter().map(|url| json!({"url": url})).collect();
        json!({"subject": "s", "text": "t", "attachments": files})
    };
    for (content, expected) in [
        (of(&[gone.url("/f")]), "never attachment Content"),
        (of(&[busy.url("/f")]), "later attachment"),
        (of(&[large.url("/f")]), "delivered"),
        (of(&[large.url("/f"), large.url("/g")]), "never attachment_too_large Content"),
        (of(&["http://localhost:1/".to_owned()]), "never address_forbidden Content"),
        (json!({"subject": "s", "text": "t", "attachments": "x"}), "never content Content"),
    ] {
        let (outcomes, mails) = send(content.clone(), json!({"attachment_bytes": 1_024})).await;
        assert_eq!(outcomes, [expected, expected], "{content}");
        assert_eq!(mails.len(), if expected == "delivered" { 2 } else { 0 });
    }
}

#[derive(Debug)]
struct OneMaterial;

#[async_trait]
impl Materials for OneMaterial {
    async fn get(&self, id: &str) -> Result<Arc<Material>, Outcome> {
        if !id.starts_with('a') {
            return Err(Outcome::never(Blame::Content, "unknown_material", "there is none"));
        }
        let bytes = b"%PDF".as_slice().into();
        Ok(Arc::new(Material { name: "terms.pdf".to_owned(), media_type: "application/pdf".to_owned(), bytes }))
    }
}

#[tokio::test]
async fn a_material_goes_with_a_mail_under_its_own_name_or_another() {
    let server = SmtpServer::start(SmtpScript::default()).await.expect("a free port");
    let settings = json!({"host": "localhost", "port": server.addr().port(), "tls": "none", "from": "a@shop.example"});
    let account = open(&Registry::new(), "email/smtp", settings).expect("the settings are right");
    let (known, unknown) = ("a".repeat(64), "b".repeat(64));
    for (file, expected) in [
        (json!({"material": known}), "delivered"),
        (json!({"material": known, "name": "AGB.pdf"}), "delivered"),
        (json!({"material": unknown}), "never unknown_material Content"),
    ] {
        let content = json!({"subject": "s", "text": "t", "attachments": [file]});
        let mut call = call(&["ann@example.com"], content);
        assert_eq!(brief(&account.send(&call).await[0]), "never material Content", "the host keeps none");
        call.materials = Some(Arc::new(OneMaterial));
        assert_eq!(brief(&account.send(&call).await[0]), expected);
    }
    let mails = server.mails();
    assert!(
        mails[0].data.contains("filename=\"terms.pdf\"") && mails[0].data.contains("JVBERg=="),
        "{}",
        mails[0].data
    );
    assert!(mails[1].data.contains("filename=\"AGB.pdf\""), "{}", mails[1].data);
}
