//! Connections and bodies of people who mean harm, or whose programs are broken: a node gives each a bounded part, and answers
//! the others.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::double;
use crate::lone::{Lone, call, client};

/// Longest wait for something that must come true.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that is used byte by byte.
struct Wire(TcpStream);

impl Wire {
    async fn to(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.expect("the node listens"))
    }

    async fn says(mut self, text: &str) -> Self {
        self.0.write_all(text.as_bytes()).await.expect("it can be written");
        self
    }

    /// Everything that comes until the other side ends the connection.
    async fn rest(mut self) -> String {
        let mut all = Vec::new();
        // A reset is an end too.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut all)).await.expect("the node ends the connection");
        String::from_utf8_lossy(&all).into_owned()
    }

    /// The next answer, whole.
    async fn answer(&mut self) -> String {
        let mut all = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&all).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
                if body.len() >= length.parse().expect("a number") {
                    return text;
                }
            }
            let read = timeout(PATIENCE, self.0.read_buf(&mut all)).await.expect("an answer comes");
            assert!(read.expect("it can be read") > 0, "the connection ended: {text:?}");
        }
    }
}

fn head(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: node\r\n{more}\r\n")
}

/// The head of a request with a key and a JSON body of so many bytes, of which nothing has come yet.
fn begun(node: &Lone, path: &str, length: usize) -> String {
    let more =
        format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n", node.key);
    head("POST", path, &more)
}

fn status_of(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test]
async fn who_says_nothing_or_drips_a_head_or_idles_is_disconnected() {
    let node = Lone::with(|config| {
        config.http.head_ms = 300;
        config.http.idle_ms = 600;
    })
    .await;
    let addr = node.running.api_addr;
    assert_eq!(Wire::to(addr).await.rest().await, "", "silent from the beginning");
    assert_eq!(Wire::to(addr).await.says("GET /healthz HTTP/1.1\r\nHost: a\r\nX: ").await.rest().await, "");
    assert_eq!(
        Wire::to(addr).await.says("PRI * HTTP/2.0\r\n\r\nS").await.rest().await,
        "",
        "a preface that does not end"
    );
    let dripped = tokio::spawn(async move {
        let mut wire = Wire::to(addr).await;
        for byte in head("GET", "/healthz", "").into_bytes() {
            if wire.0.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        wire.rest().await
    });
    assert_eq!(dripped.await.expect("it does not panic"), "", "a head that comes byte by byte");
    let mut used = Wire::to(addr).await.says(&head("GET", "/healthz", "")).await;
    assert_eq!(status_of(&used.answer().await), "200");
    assert_eq!(used.rest().await, "", "idle after a request");
    let mut used = Wire::to(addr).await.says(&head("GET", "/healthz", "")).await;
    assert_eq!(status_of(&used.answer().await), "200");
    assert_eq!(used.says("GET /he").await.rest().await, "", "a second head that does not end");
    node.stop().await;
}

#[tokio::test]
async fn silent_connections_give_way_and_beyond_the_limits_only_health_is_answered() {
    let node = Lone::with(|config| config.http.connections = 20).await;
    let addr = node.running.api_addr;
    let mut silent = Vec::new();
    for _ in 0..60 {
        silent.push(Wire::to(addr).await);
    }
    assert_eq!(node.get("/v1/stats").await.status, 200, "silent ones give way");
    drop(silent);
    // Connections that asked something do not give way.
    let mut used = Vec::new();
    let full = loop {
        let mut wire = Wire::to(addr).await.says(&head("GET", "/readyz", "")).await;
        let answer = wire.answer().await;
        assert_eq!(status_of(&answer), "200", "{answer}");
        if answer.contains("connection: close") {
            break used.len();
        }
        used.push(wire);
    };
    assert!((10..=20).contains(&full), "{full} connections have a place");
    let answer = Wire::to(addr).await.says(&head("GET", "/healthz", "")).await.rest().await;
    assert_eq!(status_of(&answer), "200", "{answer}");
    let key = format!("Authorization: Bearer {}\r\n", node.key);
    let answer = Wire::to(addr).await.says(&head("GET", "/v1/stats", &key)).await.rest().await;
    assert!(status_of(&answer) == "503" && answer.contains("\"busy\""), "{answer}");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    used.truncate(full / 2);
    let got = call(&client(), addr, "GET", "/v1/stats", Some(&node.key), &[], None).await;
    assert_eq!(got.status, 200, "places come back");
    node.stop().await;
}

#[tokio::test]
async fn nothing_of_a_body_is_read_before_it_is_known_who_sends_it_for_whom() {
    let (node, _) = double::node().await;
    let addr = node.running.api_addr;
    let length = "Content-Type: application/json\r\nContent-Length: 1000000\r\n";
    let key = format!("Authorization: Bearer {}\r\n{length}", node.key);
    for (path, more, status) in [
        ("/v1/receipts/nobody", length, "404"),
        ("/v1/receipts/nobody", "Transfer-Encoding: chunked\r\n", "404"),
        ("/v1/messages", length, "401"),
        ("/v1/messages/batch", length, "401"),
        ("/v1/materials", length, "401"),
        ("/v1/suppressions", length, "401"),
        ("/v1/cluster/init", length, "401"),
        ("/v1/cluster/init", &key, "401"),
        ("/v1/nothing", length, "404"),
    ] {
        // Not one byte of the body is ever sent.
        let mut wire = Wire::to(addr).await.says(&head("POST", path, more)).await;
        let answer = wire.answer().await;
        assert_eq!(status_of(&answer), status, "{path}: {answer}");
    }
    let mut wire = Wire::to(addr).await.says(&begun(&node, "/v1/messages", 1 << 40)).await;
    let answer = wire.answer().await;
    assert_eq!(status_of(&answer), "413", "{answer}");
    node.stop().await;
}

#[tokio::test]
async fn bodies_that_do_not_come_are_given_up() {
    let node = Lone::with(|config| config.http.body_ms = 300).await;
    for path in ["/v1/messages", "/v1/messages/batch", "/v1/suppressions"] {
        let mut wire = Wire::to(node.running.api_addr).await.says(&begun(&node, path, 1_000)).await;
        let answer = wire.answer().await;
        assert!(status_of(&answer) == "408" && answer.contains("slow_body"), "{path}: {answer}");
    }
    let key = format!("Authorization: Bearer {}\r\nContent-Type: image/png\r\nContent-Length: 9\r\n", node.key);
    let mut wire = Wire::to(node.running.api_addr).await.says(&head("POST", "/v1/materials?name=a", &key)).await;
    let answer = wire.answer().await;
    assert_eq!(status_of(&answer), "408", "{answer}");
    node.stop().await;
}

#[tokio::test]
async fn all_bodies_together_have_a_bound_and_strangers_cannot_take_the_callers() {
    let (node, _) = double::node_with(|config| {
        config.http.bodies_bytes = 11 << 20;
        config.http.stranger_bodies_bytes = 1 << 20;
    })
    .await;
    let addr = node.running.api_addr;
    // Strangers send all they may and stop before the end.
    let mut strangers = Vec::new();
    let part = "x".repeat(600 << 10);
    for _ in 0..2 {
        let begun = head("POST", "/v1/receipts/twin", "Content-Length: 1000000\r\n");
        strangers.push(Wire::to(addr).await.says(&begun).await.says(&part).await);
    }
    let answer = strangers.pop().expect("there are two").answer().await;
    assert!(status_of(&answer) == "503" && answer.contains("\"busy\"") && answer.contains("retry-after"), "{answer}");
    node.post("/v1/suppressions", json!({"channel": "*", "address": "+8613800138000", "reason": "manual"}))
        .await
        .expect(200);
    // Callers declare what they mean to send, and are refused before they send it.
    let mut callers = Vec::new();
    for _ in 0..2 {
        callers.push(Wire::to(addr).await.says(&begun(&node, "/v1/messages", 4 << 20)).await);
    }
    let refused = node
        .until("the budget is used up", async || {
            let mut wire = Wire::to(addr).await.says(&begun(&node, "/v1/messages", 4 << 20)).await;
            let answer = timeout(Duration::from_millis(300), wire.answer()).await;
            answer.ok()
        })
        .await;
    assert!(status_of(&refused) == "503" && refused.contains("\"busy\""), "{refused}");
    assert_eq!(node.get("/healthz").await.status, 200);
    drop(callers);
    node.until("the room comes back", async || {
        let got = node.post("/v1/messages", json!({"template": "none", "to": ["x".repeat(3 << 20)]})).await;
        (got.status == 404).then_some(())
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_its_connection_and_costs_its_bytes_once() {
    let node = Lone::with(|config| {
        config.http.write_ms = 500;
        config.http.answers_bytes = 24 << 20;
    })
    .await;
    let addr = node.running.api_addr;
    let bytes: Vec<u8> = (0..10_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (http, key) = (client(), node.key.clone());
    let url = format!("http://{addr}/v1/materials?name=large").parse().expect("a URL");
    let mut headers = tidings_channels::http::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {key}").parse().expect("a header"));
    headers.insert("content-type", "image/png".parse().expect("a header"));
    let post = "POST".parse().expect("a method");
    let kept = http.call(post, url, headers, bytes.clone().into()).await.expect("the node answers");
    let kept: Value = kept.json().expect("it is JSON");
    let path = format!("/v1/materials/{}/content", kept["id"].as_str().expect("it has an id"));
    let asked = head("GET", &path, &format!("Authorization: Bearer {key}\r\nConnection: close\r\n"));
    let mut readers = Vec::new();
    for _ in 0..4 {
        readers.push(Wire::to(addr).await.says(&asked).await);
    }
    // Nobody reads until the node has ended what was not read; then it is seen how it went.
    let ended = "tidings_http_connections_ended_total{reason=\"unread\"} 2";
    node.until("unread answers end", async || node.metrics().await.contains(ended).then_some(())).await;
    let mut refused = 0;
    for mut reader in readers {
        let mut all = Vec::new();
        let _ = timeout(PATIENCE, reader.0.read_to_end(&mut all)).await.expect("the node ends the connection");
        let text = String::from_utf8_lossy(&all[..all.len().min(1_000)]).into_owned();
        refused += usize::from(status_of(&text) == "503");
        assert!(all.len() < bytes.len(), "it was not read, and came whole: {}", all.len());
    }
    assert_eq!(refused, 2, "four large answers were held in room for two");
    // Whoever reads gets it whole.
    let whole = node.get(&path).await;
    assert_eq!((whole.status, whole.answer.body.len()), (200, bytes.len()));
    assert!(whole.answer.body == bytes, "the bytes are the same");
    node.stop().await;
}

#[tokio::test]
async fn a_batch_is_bounded_as_a_whole_and_so_is_its_answer() {
    let node = Lone::ready_to_send().await;
    let message = json!({"template": "hello", "to": vec!["x"; 10_000]});
    let batch = json!({"messages": vec![&message; 100]});
    let got = node.post("/v1/messages/batch", batch).await;
    assert_eq!(got.problem(422), "too_many_recipients");
    assert!(got.answer.body.len() < 1_000);
    let got = node.post("/v1/messages/batch", json!({"messages": [message]})).await;
    assert_eq!(got.body["results"][0]["problem"]["code"], "no_valid_recipient");
    assert_eq!(got.body["results"][0]["problem"]["rejected"].as_array().map(Vec::len), Some(10_000));
    // A name that the template's author chose is not repeated to the end for each recipient.
    let long = "n".repeat(100_000);
    node.template(
        "long",
        json!({"channel": "sms", "account": "demo", "content": {"text": format!("{{{{ {long} }}}}")}}),
    )
    .await;
    let to: Vec<_> = (0..1_000).map(|n| format!("+861380013{n:04}")).collect();
    let got = node.post("/v1/messages", json!({"template": "long", "to": to})).await;
    assert_eq!(got.problem(422), "no_valid_recipient");
    assert!(got.answer.body.len() < 1_000_000, "{}", got.answer.body.len());
    node.stop().await;
}

#[tokio::test]
async fn what_can_never_be_kept_is_too_large_and_what_asks_too_much_is_not_repeated_in_full() {
    let node = Lone::ready_to_send().await;
    let text = |bytes: usize| json!({"channel": "email", "account": "demo", "content": {"subject": "a", "text": "x".repeat(bytes)}});
    let got = node.put("/v1/templates/large", text(240 << 10)).await;
    assert_eq!(got.problem(413), "too_large", "{}", got.body);
    assert_eq!((got.header("retry-after"), got.body.get("retry_after_ms")), (None, None));
    let got =
        node.put("/v1/accounts/large", json!({"provider": "sandbox", "settings": {}, "x".repeat(1 << 20): 1})).await;
    assert_eq!(got.problem(400), "unknown_field");
    assert!(got.answer.body.len() < 3_000, "{}", got.answer.body.len());
    let got = node.get(&format!("/{}", "x".repeat(8_000))).await;
    assert_eq!(got.problem(404), "not_found");
    assert!(got.answer.body.len() < 2_000, "{}", got.answer.body.len());
    node.stop().await;
}

#[tokio::test]
async fn more_recipients_of_one_partition_than_it_may_ever_hold_are_too_large() {
    let node = Lone::with(|config| {
        config.cluster.partitions = 1;
        config.intake.pending_per_partition = 5;
    })
    .await;
    node.account("demo", json!({})).await;
    node.template("hello", json!({"channel": "sms", "account": "demo", "content": {"text": "Hello"}})).await;
    let to: Vec<_> = (0..6).map(|n| format!("+861380013000{n}")).collect();
    let got = node.post("/v1/messages", json!({"template": "hello", "to": to})).await;
    assert_eq!(got.problem(413), "too_large");
    assert_eq!(got.header("retry-after"), None);
    assert_eq!(got.body["rejected"][0]["retryable"], false);
    node.stop().await;
}
