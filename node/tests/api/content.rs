//! Templates, accounts, and what is built in.

use std::process::Command;

use serde_json::json;
use tidings_channels::Registry;

use crate::lone::Lone;

#[tokio::test]
async fn a_template_has_versions_and_can_be_previewed_and_taken_out_of_use() {
    let node = Lone::start().await;
    node.account("demo", json!({})).await;
    let spec = |text: &str| json!({"channel": "sms", "account": "demo", "content": {"text": text}, "retry": {"max_attempts": 3}});
    let first = node.template("hello", spec("Hello {{ name }}")).await;
    assert_eq!((&first["version"], &first["variables"]), (&json!(1), &json!(["name"])));
    assert_eq!((&first["retry"]["max_attempts"], &first["message_type"]), (&json!(3), &json!("notice")));
    assert_eq!(node.template("hello", spec("Hello {{ name }}")).await["version"], 1);
    assert_eq!(node.template("hello", spec("Bye {{ name }}")).await["version"], 2);
    assert_eq!(node.get("/v1/templates/hello").await.expect(200)["version"], 2);
    assert_eq!(
        node.get("/v1/templates/hello?version=1").await.expect(200)["content"],
        json!({"text": "Hello {{ name }}"})
    );
    let versions = node.get("/v1/templates/hello/versions").await.expect(200);
    assert_eq!(versions["templates"].as_array().map(Vec::len), Some(2));
    assert_eq!(node.get("/v1/templates").await.expect(200)["templates"].as_array().map(Vec::len), Some(1));

    let preview =
        node.post("/v1/templates/hello/preview", json!({"to": "13800138000", "variables": {"name": "Ann"}})).await;
    let preview = preview.expect(200);
    assert_eq!(preview["content"], json!({"text": "Bye Ann"}));
    assert_eq!((&preview["segments"]["segments"], &preview["requests"][0]["method"]), (&json!(1), &json!("KEEP")));
    let missing = node.post("/v1/templates/hello/preview", json!({"variables": {}})).await;
    assert_eq!(missing.problem(422), "invalid_request");

    let in_use = node.delete("/v1/accounts/demo").await;
    assert_eq!(in_use.problem(409), "conflict");
    assert_eq!(node.delete("/v1/templates/hello").await.status, 204);
    assert_eq!(node.delete("/v1/templates/nobody").await.problem(404), "unknown_template");
    let gone = node
        .post("/v1/messages", json!({"template": "hello", "to": ["13800138000"], "variables": {"name": "n"}}))
        .await;
    assert_eq!(gone.problem(404), "unknown_template");
    assert_eq!(node.delete("/v1/accounts/demo").await.status, 204);
    assert_eq!(node.delete("/v1/accounts/demo").await.problem(404), "unknown_account");
    node.stop().await;
}

#[tokio::test]
async fn content_dedup_suppresses_the_twin_and_says_why() {
    let node = Lone::start().await;
    node.account("demo", json!({})).await;
    let content = json!({"text": "Hello {{ name }}"});
    let spec = json!({"channel": "sms", "account": "demo", "content": content, "dedup": {"window_ms": 60_000}});
    node.template("once", spec).await;
    let body = |name: &str| json!({"template": "once", "to": ["13800138000"], "variables": {"name": name}});
    let mut states = Vec::new();
    for name in ["Ann", "Ann", "Bob"] {
        let sent = node.send(body(name)).await;
        states.push(node.ended(sent["deliveries"][0]["id"].as_str().expect("an id")).await);
    }
    let names: Vec<_> = states.iter().map(|trace| trace["state"].as_str().expect("a state")).collect();
    assert_eq!(names, ["delivered", "suppressed", "delivered"]);
    assert_eq!(states[1]["events"][1]["rule"], "content_dedup");
    node.stop().await;
}

#[tokio::test]
async fn every_provider_and_channel_is_listed_with_an_example() {
    let node = Lone::start().await;
    let built_in = node.get("/v1/providers").await.expect(200);
    for list in ["providers", "channels"] {
        let list = built_in[list].as_array().expect("a list");
        assert!(list.len() >= 4 && list.iter().all(|entry| entry["example"].is_object()), "{list:?}");
    }
    node.stop().await;
}

/// What the program says to these words.
async fn told(node: &Lone, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    let url = format!("http://{}", node.running.api_addr);
    command.args(words).env("TIDINGS_URL", url).env("TIDINGS_KEY", &node.key).env("NO_COLOR", "1");
    let said = tokio::task::spawn_blocking(move || command.output()).await.expect("it was asked");
    let said = said.expect("the binary runs");
    assert!(said.status.success(), "{words:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).into_owned()
}

#[tokio::test]
async fn the_program_shows_every_provider_with_settings_limits_and_an_account_that_it_takes_as_it_stands() {
    let node = Lone::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let listed = told(&node, &["providers"]).await;
    let names: Vec<_> = Registry::new().providers().map(|provider| provider.info().name).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(listed.contains(name), "{name} is not listed: {listed}");
        let shown = told(&node, &["providers", name]).await;
        let info = Registry::new().get(name).expect("it is registered").info();
        for setting in info.settings {
            assert!(shown.contains(setting.name), "{name}: {} is not shown: {shown}", setting.name);
        }
        assert!(shown.contains(&format!("at most {} recipients, {:?}", info.max_recipients, info.deadline)), "{shown}");
        let (_, account) = shown.split_once("FILE`:\n").expect("an account is shown");
        let file = dir.path().join("account.json");
        std::fs::write(&file, account.replace("my-account", &name.replace(['/', '_'], "-"))).expect("a file");
        let taken = told(&node, &["account", "apply", "-f", file.to_str().expect("a path")]).await;
        assert!(taken.contains("account "), "{name}: {taken}");
    }
    node.stop().await;
}
