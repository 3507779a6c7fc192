//! Secrets: masked in every answer, sealed on disk, absent from logs.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tidings_contract::Secret;
use tidings_node::serve;

use crate::lone::{CLUSTER_SECRET, Lone};

const PASSWORD: &str = "correct-horse-battery-staple";
const OTHER: &str = "another-horse-another-battery";

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

fn files(dir: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(dir).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            files(&path, look);
        } else {
            look(&path, &std::fs::read(&path).expect("it can be read"));
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_secret_is_in_no_answer_no_log_and_no_file() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    // One thread runs the whole node, so its default subscriber sees all of it.
    let _guard = tracing::subscriber::set_default(subscriber);
    let node = Lone::start().await;
    let settings = |password: &str| json!({"host": "mail.example.com", "from": "a@example.com", "username": "ann", "password": password});
    let body = |password: &str| json!({"provider": "email/smtp", "settings": settings(password)});
    let mut answers = vec![node.put("/v1/accounts/mail", body(PASSWORD)).await.expect(200)];
    assert_eq!(answers[0]["settings"]["password"], "***");
    // Stars keep what is stored, also when something else changes.
    let mut kept = body("***");
    kept["limit"] = json!({"permits": 5, "window_ms": 1_000});
    answers.push(node.put("/v1/accounts/mail", kept).await.expect(200));
    answers.push(node.put("/v1/accounts/other", body("***")).await.body);
    assert_eq!(answers[2]["code"], "invalid_request");
    let mut wrong = body(OTHER);
    wrong["settings"]["port"] = json!("not a number");
    answers.push(node.put("/v1/accounts/mail", wrong).await.body);
    answers.push(node.get("/v1/accounts").await.expect(200));
    answers.push(node.get("/v1/audit").await.expect(200));
    for answer in &answers {
        assert!(
            !holds(answer.to_string().as_bytes(), PASSWORD) && !holds(answer.to_string().as_bytes(), OTHER),
            "{answer}"
        );
    }
    let key = node.key.clone();
    let dir = node.stop().await;
    let log = lines.0.lock().clone();
    assert!(!log.is_empty(), "nothing was logged at all");
    for secret in [PASSWORD, OTHER, CLUSTER_SECRET, key.as_str()] {
        assert!(!holds(&log, secret), "a secret is in the log");
        files(dir.path(), &mut |path, bytes| assert!(!holds(bytes, secret), "a secret is in {}", path.display()));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_access_token_and_the_secret_of_a_callback_are_nowhere_in_plain_text() {
    const HOOK: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (node, double) = crate::double::node().await;
    let callback = json!({"url": "https://127.0.0.1:9/hook", "secret": HOOK});
    let spec = json!({"channel": "sms", "account": "twin", "content": {"text": "Hello"}, "callback": callback});
    let mut answers = vec![node.template("told", spec).await];
    let sent = node.send(json!({"template": "told", "to": ["+8613800138000"]})).await;
    let id = sent["deliveries"][0]["id"].as_str().expect("an id").to_owned();
    answers.push(node.ended(&id).await);
    answers.push(node.post(&format!("/v1/deliveries/{id}/recall"), json!({})).await.expect(200));
    answers.push(node.get("/v1/deliveries").await.expect(200));
    answers.push(node.get("/v1/templates").await.expect(200));
    assert_eq!(double.tokens.lock().len(), 2, "the token was used");
    let tokens = double.tokens.lock().clone();
    assert!(tokens.iter().all(|token| token.as_ref().is_some_and(|t| t.starts_with(crate::double::TOKEN))));
    let dir = node.stop().await;
    let log = lines.0.lock().clone();
    for secret in [crate::double::TOKEN, &HOOK[6..]] {
        assert!(answers.iter().all(|answer| !holds(answer.to_string().as_bytes(), secret)), "a secret is in an answer");
        assert!(!holds(&log, secret), "a secret is in the log");
        files(dir.path(), &mut |path, bytes| assert!(!holds(bytes, secret), "a secret is in {}", path.display()));
    }
}

#[tokio::test]
async fn a_directory_opens_with_its_own_secret_only() {
    let node = Lone::start().await;
    let mut config = node.config.clone();
    let right = config.cluster.secret.clone();
    let dir = node.stop().await;
    config.cluster.secret = Secret::new("the secret of some other cluster");
    let error = serve(config.clone()).await.expect_err("it is another secret");
    assert!(error.to_string().contains("a cluster's secret cannot be changed"), "{error}");
    // Nothing was touched by the attempt.
    config.cluster.secret = right;
    let running = serve(config).await.expect("it is the right one");
    running.stop().await;
    drop(dir);
}

#[tokio::test]
async fn a_node_of_no_cluster_may_still_be_given_the_right_secret() {
    let node = Lone::unfounded(|config| config.cluster.secret = Secret::new("a secret with a typing mistake")).await;
    let mut config = node.config.clone();
    let _dir = node.stop().await;
    config.cluster.secret = Secret::new(CLUSTER_SECRET);
    serve(config).await.expect("nothing was sealed yet").stop().await;
}

#[tokio::test]
async fn a_stored_secret_goes_nowhere_new() {
    let node = Lone::start().await;
    let needed = |answer: &crate::lone::Got, field: &str| {
        assert_eq!(answer.problem(422), "secrets_needed", "{}", answer.body);
        assert_eq!(answer.body["errors"][0]["field"], field, "{}", answer.body);
        assert!(!answer.body.to_string().contains(PASSWORD), "{}", answer.body);
    };
    let mail = |changed: serde_json::Value, password: &str| {
        let mut settings = json!({"host": "mail.example.com", "from": "a@example.com", "username": "ann"});
        settings.as_object_mut().expect("an object").extend(changed.as_object().expect("an object").clone());
        settings["password"] = json!(password);
        json!({"provider": "email/smtp", "settings": settings})
    };
    node.put("/v1/accounts/mail", mail(json!({}), PASSWORD)).await.expect(200);
    for elsewhere in [json!({"host": "mail.evil.example"}), json!({"port": 2525}), json!({"tls": "implicit"})] {
        needed(&node.put("/v1/accounts/mail", mail(elsewhere.clone(), "***")).await, "settings.password");
        node.put("/v1/accounts/mail", mail(elsewhere, PASSWORD)).await.expect(200);
        node.put("/v1/accounts/mail", mail(json!({}), PASSWORD)).await.expect(200);
    }
    node.put("/v1/accounts/mail", mail(json!({"from": "b@example.com"}), "***")).await.expect(200);

    let declared =
        |url: &str| json!({"definition": {"url": url, "headers": {"x": "{{ secret }}"}, "body": {"to": "{{ to }}"}}});
    let path = "/v1/providers/declared/acme";
    node.put(path, declared("https://acme.example/send")).await.expect(200);
    let account = json!({"provider": "declared/acme", "settings": {"secret": PASSWORD}});
    node.put("/v1/accounts/acme", account).await.expect(200);
    needed(&node.put(path, declared("https://evil.example/send")).await, "definition");
    node.put(path, declared("https://acme.example/v2/send")).await.expect(200);
    let endpoint =
        json!({"provider": "declared/acme", "settings": {"secret": "***", "endpoint": "https://evil.example"}});
    needed(&node.put("/v1/accounts/acme", endpoint).await, "settings.secret");

    let custom = |url: &str, secret: &str| json!({"provider": "custom_http", "settings": {"secret": secret, "definition": declared(url)["definition"]}});
    node.put("/v1/accounts/own", custom("https://acme.example/send", PASSWORD)).await.expect(200);
    needed(&node.put("/v1/accounts/own", custom("https://evil.example/send", "***")).await, "settings.secret");

    let signer = "whsec_dGhpcyBzZWNyZXQgaXMgb25seSBmb3IgcHJvb2Zz";
    let callback = |url: &str, secret: &str| json!({"channel": "email", "account": "mail", "content": {"subject": "s", "text": "t"}, "callback": {"url": url, "secret": secret}});
    node.put("/v1/templates/told", callback("https://caller.example/in", signer)).await.expect(200);
    needed(&node.put("/v1/templates/told", callback("https://evil.example/in", "***")).await, "callback.secret");
    node.put("/v1/templates/told", callback("https://evil.example/in", signer)).await.expect(200);
    node.stop().await;
}
