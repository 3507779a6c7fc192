//! Declared providers: a supplier nobody built in, declared, used, changed and taken away, against a server of its own.

use serde_json::{Value, json};
use tidings_channels::testing::{HttpReply, HttpServer};

use crate::cluster::Three;
use crate::lone::{Lone, until};

const ANN: &str = "+8613800138000";
const SECRET: &str = "declared-pa55";
const NAME: &str = "/v1/providers/declared/lintong";

/// The answer of a supplier that took everything.
fn taken(id: &str) -> HttpReply {
    let result = |phone: &str| json!({"code": 0, "message": "ok", "msgId": id, "phone": phone});
    let phones: Vec<Value> = (0..30).map(|n| result(&format!("138001380{n:02}"))).collect();
    HttpReply::json(200, &json!({"code": 0, "message": "ok", "data": phones}))
}

/// LinTong as a document; requests go to `url` under the account's endpoint.
fn lintong(url: &str) -> Value {
    json!({
        "url": url, "most": 100, "number": "national",
        "derive": [
            {"name": "inner", "hash": "md5", "text": "{{ secret }}"},
            {"name": "sign", "hash": "md5", "text": "{{ user }}{{ at_ms }}{{ inner }}"}],
        "body": {"userName": "{{ user }}", "timestamp": "{{ at_ms }}", "messageList": "{{ items }}",
            "sign": "{{ sign }}"},
        "item": {"phone": "{{ to }}", "content": "{{ text }}"},
        "answer": {"list": "/data", "recipient": "/phone", "code": "/code", "success": ["0"], "words": "/message",
            "id": "/msgId"},
    })
}

fn declaration(url: &str) -> Value {
    json!({"channel": "sms", "description": "LinTong, declared", "definition": lintong(url)})
}

fn account(server: &HttpServer) -> Value {
    let settings = json!({"user": "shop", "secret": SECRET, "endpoint": server.url("/api")});
    json!({"provider": "declared/lintong", "settings": settings})
}

async fn supplier() -> HttpServer {
    HttpServer::start(taken("v-1")).await.expect("a free port")
}

async fn one_delivery(node: &Lone) -> Value {
    let sent = node.send(json!({"template": "hello", "to": [ANN]})).await;
    node.ended(sent["deliveries"][0]["id"].as_str().expect("an id")).await
}

fn listed(providers: &Value, name: &str) -> Vec<Value> {
    let all = providers["providers"].as_array().expect("a list");
    all.iter().filter(|provider| provider["name"] == name).cloned().collect()
}

#[tokio::test]
async fn a_supplier_is_declared_used_changed_and_taken_away_without_a_release() {
    let (node, supplier) = (Lone::start().await, supplier().await);
    assert_eq!(node.put("/v1/accounts/main", account(&supplier)).await.problem(422), "invalid_request");
    let declared = node.put(NAME, declaration("/send")).await.expect(200);
    assert_eq!((&declared["version"], &declared["max_recipients"]), (&json!(1), &json!(100)));
    assert_eq!(node.put(NAME, declaration("/send")).await.expect(200)["version"], 1, "the same changes nothing");
    let shown = listed(&node.get("/v1/providers").await.expect(200), "declared/lintong");
    assert_eq!((&shown[0]["doc"], &shown[0]["channel"]), (&json!("LinTong, declared"), &json!("sms")));
    assert!(shown.len() == 1 && shown[0]["definition"].is_null(), "documents are not part of the list");
    let example = json!({"provider": "declared/lintong", "settings": shown[0]["example"]});
    node.put("/v1/accounts/example", example).await.expect(200);

    node.put("/v1/accounts/main", account(&supplier)).await.expect(200);
    node.template("hello", json!({"channel": "sms", "account": "main", "content": {"text": "hi"}})).await;
    let trace = one_delivery(&node).await;
    assert_eq!(trace["state"], "delivered", "{trace}");
    assert_eq!(trace["provider_id"], "v-1");
    let request = supplier.requests().pop().expect("one came");
    let body = request.json();
    assert_eq!((request.target.as_str(), request.method.as_str()), ("/api/send", "POST"));
    assert_eq!((&body["userName"], &body["messageList"][0]["phone"]), (&json!("shop"), &json!("13800138000")));

    // The next delivery goes by the new document; nobody wrote the account again.
    assert_eq!(node.put(NAME, declaration("/v2/send")).await.expect(200)["version"], 2);
    supplier.set(taken("v-2"));
    assert_eq!(one_delivery(&node).await["provider_id"], "v-2");
    assert_eq!(supplier.requests().pop().expect("one came").target, "/api/v2/send");
    let account = node.get("/v1/accounts/main").await.expect(200);
    assert_eq!(account["settings"]["secret"], "***");
    assert!(account["settings"]["definition"].is_null(), "{account}");

    assert_eq!(node.get(NAME).await.expect(200)["definition"]["url"], "/v2/send");
    let old = node.get("/v1/providers/declared%2Flintong?version=1").await.expect(200);
    assert_eq!((&old["definition"], &old["created_by"]), (&lintong("/send"), &declared["created_by"]));
    assert_eq!(node.get(&format!("{NAME}?version=3")).await.problem(404), "not_found");

    assert_eq!(node.delete(NAME).await.problem(409), "conflict");
    for path in ["/v1/templates/hello", "/v1/accounts/main", "/v1/accounts/example", NAME] {
        node.delete(path).await.expect(204);
    }
    for got in [node.get(NAME).await, node.delete(NAME).await] {
        assert_eq!(got.problem(404), "not_found");
    }
    let audit = node.get("/v1/audit").await.expect(200).to_string();
    assert!(audit.contains("put_provider") && audit.contains("delete_provider"), "{audit}");
    node.stop().await;
}

#[tokio::test]
async fn a_declared_provider_and_its_accounts_outlive_the_process() {
    let (node, supplier) = (Lone::start().await, supplier().await);
    node.put(NAME, declaration("/send")).await.expect(200);
    node.put("/v1/accounts/main", account(&supplier)).await.expect(200);
    node.template("hello", json!({"channel": "sms", "account": "main", "content": {"text": "hi"}})).await;
    let node = node.restart().await;
    assert_eq!(one_delivery(&node).await["state"], "delivered");
    assert_eq!(supplier.count(), 1);
    node.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_declaration_is_said_with_the_path_of_the_field() {
    let node = Lone::start().await;
    let with = |field: &str, value: Value| {
        let mut body = json!({"definition": {"url": "https://a.example", "body": {}}});
        body["definition"][field] = value;
        body
    };
    let good = json!({"definition": {"url": "https://a.example", "body": {}}});
    let mut elsewhere = good.clone();
    elsewhere["channel"] = json!("email");
    for (name, body, field) in [
        ("declared/a", with("boddy", json!(1)), "definition.boddy"),
        ("declared/a", with("body", json!({"x": ["{{ secrt }}"]})), "definition.body.x[0]"),
        ("declared/a", with("url", json!("http://a.example")), "definition.url"),
        ("declared/a", with("derive", json!([{"name": "a", "text": 7}])), "definition.derive[0].text"),
        ("declared/a", with("answer", json!({"code": "/c"})), "definition.answer.success"),
        ("declared/a", json!({"definition": {"url": "https://a.example"}}), "definition"),
        ("declared/a", json!({"definition": "none"}), "definition"),
        ("declared/a", json!({"channel": "smoke", "definition": good["definition"]}), "channel"),
        ("declared/a", json!({"description": "x".repeat(1_001), "definition": good["definition"]}), "description"),
        ("sms/a", elsewhere, "channel"),
        ("sms/yunpian", good.clone(), "name"),
        ("sandbox", good.clone(), "name"),
        ("smoke/a", good.clone(), "name"),
        ("declared/A", good.clone(), "name"),
        ("declared%2Fa%2Fb", good.clone(), "name"),
    ] {
        let got = node.put(&format!("/v1/providers/{name}"), body.clone()).await;
        assert_eq!(got.problem(422), "invalid_request", "{body}");
        assert_eq!(got.body["errors"][0]["field"], field, "{name} {body}: {}", got.body);
    }
    let own = node.put("/v1/providers/sms/a", good).await.expect(200);
    assert_eq!(own["channel"], "sms", "its name says so");
    assert_eq!(node.delete("/v1/providers/sms/yunpian").await.problem(409), "conflict");
    assert_eq!(node.get("/v1/providers/sms/yunpian").await.expect(200)["version"], Value::Null);
    let mail = json!({"channel": "email", "account": "a", "content": {"subject": "s", "text": "t"}});
    node.put("/v1/accounts/a", json!({"provider": "sms/a"})).await.expect(200);
    let got = node.put("/v1/templates/mail", mail).await;
    assert_eq!((got.problem(422), &got.body["errors"][0]["field"]), ("unknown_account", &json!("account")));
    node.stop().await;
}

#[tokio::test]
async fn an_account_has_what_its_definition_asks_for_before_and_after_a_change() {
    let node = Lone::start().await;
    let asking = |text: &str| json!({"definition": {"url": "https://a.example", "headers": {"x": text}, "body": {"to": "{{ to }}"}}});
    let path = "/v1/providers/declared/acme";
    let account = |settings: Value| json!({"provider": "declared/acme", "settings": settings});
    node.put(path, asking("{{ user }}")).await.expect(200);
    let fields = |body: &Value| body["errors"][0]["field"].as_str().unwrap_or_default().to_owned();
    let got = node.put("/v1/accounts/a", account(json!({}))).await;
    assert_eq!((got.problem(422), fields(&got.body).as_str()), ("invalid_request", "settings.user"));
    let got = node.put("/v1/accounts/a", account(json!({"user": "u", "definition": {}}))).await;
    assert_eq!((got.problem(422), fields(&got.body).as_str()), ("invalid_request", "settings.definition"));
    node.put("/v1/accounts/a", account(json!({"user": "u"}))).await.expect(200);
    // A change must not take an account out of use; what it will ask for can be added first.
    let got = node.put(path, asking("{{ secret }}")).await;
    assert_eq!((got.problem(422), fields(&got.body).as_str()), ("invalid_request", "definition"));
    assert!(got.body["detail"].as_str().is_some_and(|detail| detail.contains("account a")), "{}", got.body);
    node.put("/v1/accounts/a", account(json!({"user": "u", "secret": SECRET}))).await.expect(200);
    assert_eq!(node.put(path, asking("{{ secret }}")).await.expect(200)["version"], 2);
    node.put("/v1/accounts/a", account(json!({"secret": "***"}))).await.expect(200);
    let checked = node.post("/v1/accounts/a/check", json!({})).await.expect(200);
    assert_eq!(checked["opens"], true, "{checked}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_definition_is_what_every_node_sends_by() {
    let (three, supplier) = (Three::start().await, supplier().await);
    three.ask(0, "PUT", NAME, Some(declaration("/v1"))).await.expect(200);
    three.ask(1, "PUT", "/v1/accounts/main", Some(account(&supplier))).await.expect(200);
    let template = json!({"channel": "sms", "account": "main", "content": {"text": "hi"}});
    three.ask(2, "PUT", "/v1/templates/hello", Some(template)).await.expect(200);
    let to: Vec<String> = (0..30).map(|n| format!("+86138001380{n:02}")).collect();
    let mut seen = 0;
    for (at, url) in ["/v1", "/v2", "/v3"].into_iter().enumerate() {
        three.ask(at, "PUT", NAME, Some(declaration(url))).await.expect(200);
        for reader in 0..3 {
            until("every node has heard of it", async || {
                let provider = three.ask(reader, "GET", NAME, None).await.body;
                (provider["definition"]["url"] == url).then_some(())
            })
            .await;
        }
        // The recipients are on all partitions, and so are sent to by all nodes.
        let body = json!({"template": "hello", "to": to});
        let sent = three.ask(at, "POST", "/v1/messages", Some(body)).await.expect(202);
        let path = format!("/v1/messages/{}", sent["message_id"].as_str().expect("an id"));
        until("all are delivered", async || {
            let message = three.ask(at, "GET", &path, None).await.body;
            (message["states"] == json!({"delivered": 30})).then_some(())
        })
        .await;
        let requests = supplier.requests().split_off(seen);
        assert!(requests.len() >= 3, "each partition's leader sends its own");
        assert!(requests.iter().all(|request| request.target == format!("/api{url}")), "{requests:?}");
        seen += requests.len();
    }
    three.stop().await;
}
