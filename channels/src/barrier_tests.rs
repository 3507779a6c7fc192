//! Nothing of a request or a mail leaves once the fence said no, and whatever leaves is as it was without one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tidings_contract::{Blame, Channel, fenced};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;
use crate::Registry;
use crate::http::{Client, ClientOptions, HeaderMap, Method, Url};
use crate::testing::{HttpReply, HttpServer, SmtpScript, SmtpServer, SmtpStep, call, open};

/// Says yes so many times, and then no.
#[derive(Debug)]
struct Yes(AtomicUsize);

impl Yes {
    fn times(times: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(times)))
    }
}

impl Fence for Yes {
    fn holds(&self) -> bool {
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

const OFTEN: usize = 1_000_000;

fn client() -> Client {
    Client::new(ClientOptions::provider(Duration::from_secs(5), false)).expect("a client")
}

async fn post(client: &Client, url: &str, fence: Arc<Yes>) -> Result<u16, Failure> {
    let url: Url = url.parse().expect("an address");
    let calling = client.call(Method::POST, url, HeaderMap::new(), Bytes::from_static(b"{\"n\":1}"));
    fenced(fence, calling).await.map(|answer| answer.status)
}

fn held_back(failure: Result<u16, Failure>) -> bool {
    matches!(failure, Err(failure) if Outcome::from(failure.clone()).is_fenced())
}

#[tokio::test]
async fn a_request_behind_an_open_barrier_is_the_same_as_without_one() {
    let server = HttpServer::start(HttpReply::status(200)).await.expect("a server");
    let client = client();
    post(&client, &server.url("/a"), Yes::times(OFTEN)).await.expect("an answer");
    let url: Url = server.url("/a").parse().expect("an address");
    let plain = client.call(Method::POST, url, HeaderMap::new(), Bytes::from_static(b"{\"n\":1}"));
    plain.await.expect("an answer");
    let seen = server.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!(format!("{:?}", seen[0]), format!("{:?}", seen[1]), "length, headers and body are the same");
}

#[tokio::test]
async fn not_a_byte_leaves_on_an_open_connection_when_the_fence_says_no_at_the_last_moment() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let reading = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut bytes = Vec::new();
        // The client closes the connection on which it held a request back.
        let _ = stream.read_to_end(&mut bytes).await;
        bytes
    });
    // Yes before the connection, no when it is there.
    assert!(held_back(post(&client(), &url, Yes::times(1)).await));
    assert_eq!(reading.await.expect("it read"), b"", "something of the request left");
}

#[tokio::test]
async fn a_kept_connection_is_asked_for_too() {
    let server = HttpServer::start(HttpReply::status(200)).await.expect("a server");
    let client = client();
    for _ in 0..3 {
        post(&client, &server.url("/"), Yes::times(OFTEN)).await.expect("an answer");
        assert!(held_back(post(&client, &server.url("/"), Yes::times(1)).await));
        assert!(held_back(post(&client, &server.url("/"), Yes::times(0)).await));
    }
    assert_eq!(server.requests().len(), 3);
}

fn mail(server: &SmtpServer, tls: &str) -> Arc<dyn Channel> {
    let addr = server.addr();
    let settings = json!({
        "host": "localhost", "port": addr.port(), "tls": tls, "from": "no-reply@example.com",
        "ca_pem": server.certificate(),
    });
    open(&Registry::new(), "email/smtp", settings).expect("an account")
}

fn content() -> Value {
    json!({"subject": "Hello", "text": "Hello Ann"})
}

#[tokio::test]
async fn a_mail_is_held_back_at_every_moment_before_its_final_dot() {
    for security in ["none", "starttls", "implicit"] {
        let implicit_tls = security == "implicit";
        let script = SmtpScript { implicit_tls, starttls: security == "starttls", ..SmtpScript::default() };
        let server = SmtpServer::start(script).await.expect("a server");
        let account = mail(&server, security);
        let call = call(&["ann@example.com"], content());
        let mut held = 0;
        // One yes more each time, until there are enough for the whole mail.
        for yes in 0..100 {
            let outcome = fenced(Yes::times(yes), account.send(&call)).await.remove(0);
            if matches!(outcome, Outcome::Delivered { .. }) {
                break;
            }
            assert!(outcome.is_fenced(), "{security}, after {yes} times: {outcome:?}");
            assert_eq!(server.mails().len(), 0, "{security}, after {yes} times");
            held += 1;
        }
        // Before MAIL, before the mail, and before the dot at least.
        assert!(held >= 3, "{security}: it was asked {held} times");
        assert_eq!(server.mails().len(), 1, "{security}");
        let again = fenced(Yes::times(OFTEN), account.send(&call)).await.remove(0);
        assert!(matches!(again, Outcome::Delivered { .. }), "{security}: {again:?}");
        assert_eq!((server.mails().len(), server.mails()[1].encrypted), (2, security != "none"));
    }
}

#[tokio::test]
async fn what_becomes_of_a_mail_whose_dot_has_left_does_not_depend_on_the_fence_any_more() {
    let server = SmtpServer::start(SmtpScript::default().at("END", SmtpStep::Close)).await.expect("a server");
    let account = mail(&server, "none");
    let outcome = fenced(Yes::times(OFTEN), account.send(&call(&["ann@example.com"], content()))).await.remove(0);
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    server.set(SmtpScript::default().says("RCPT", "550 5.1.1 no such user"));
    let outcome = fenced(Yes::times(OFTEN), account.send(&call(&["bob@example.com"], content()))).await.remove(0);
    assert!(matches!(outcome, Outcome::Never { blame: Blame::Gone, .. }), "{outcome:?}");
}
