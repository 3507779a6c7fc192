//! Receipts of suppliers and callbacks to callers, over HTTP.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::double;
use crate::lone::Lone;

/// 24 bytes in base64, as Standard Webhooks wants them.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn call_back(node: &Lone, account: &str, password: &str, body: &Value) -> crate::lone::Got {
    let path = format!("/v1/receipts/{account}?from=double");
    node.call("POST", &path, None, &[("x-password", password)], Some(body.to_string())).await
}

fn marks(trace: &Value) -> Vec<String> {
    let events = trace["events"].as_array().expect("a list").iter();
    events.filter_map(|event| event["mark"].as_str().map(str::to_owned)).collect()
}

async fn send_one(node: &Lone, to: &str) -> String {
    let sent = node.send(json!({"template": "hello", "to": [to], "variables": {"name": "Ann"}})).await;
    sent["deliveries"][0]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_receipt_marks_its_delivery_and_a_forged_one_does_not() {
    let (node, _) = double::node().await;
    let id = send_one(&node, "+8613800138000").await;
    node.ended(&id).await;
    let report = json!({"id": "double-+8613800138000", "ok": true, "words": "arrived"});
    let forged = call_back(&node, "twin", "open barley", &report).await;
    assert_eq!(forged.problem(401), "callback_refused");
    assert!(!forged.body.to_string().contains("sesame"), "{}", forged.body);
    assert_eq!(call_back(&node, "nobody", "open sesame", &report).await.problem(404), "not_found");
    for _ in 0..2 {
        let taken = call_back(&node, "twin", "open sesame", &report).await;
        assert_eq!((taken.status, &taken.body["code"], &taken.body["result"]), (200, &json!(0), &json!(0)));
    }
    let trace = node.get(&format!("/v1/deliveries/{id}")).await.expect(200);
    assert_eq!(marks(&trace), ["received"]);
    let marked = trace["events"].as_array().and_then(|events| events.last()).expect("an event");
    assert_eq!(
        (&marked["reason"]["words"], &marked["told_at"]),
        (&json!("arrived"), &json!("2027-01-15T08:00:00.000Z"))
    );
    let huge = "x".repeat(2 << 20);
    let huge = node.call("POST", "/v1/receipts/twin", None, &[], Some(huge)).await;
    assert_eq!(huge.problem(413), "body_too_large");
    node.stop().await;
}

#[tokio::test]
async fn a_receipt_that_comes_first_is_kept() {
    let (node, _) = double::node().await;
    let report = json!({"id": "double-+8613800138000", "ok": false, "words": "no such number"});
    assert_eq!(call_back(&node, "twin", "open sesame", &report).await.status, 200);
    let id = send_one(&node, "+8613800138000").await;
    assert_eq!(marks(&node.ended(&id).await), ["bounced"]);
    node.stop().await;
}

#[tokio::test]
async fn callers_are_told_and_can_tell_that_it_is_us() {
    let (node, _) = double::node().await;
    let (addr, got) = double::receiver().await;
    let url = format!("http://{addr}/hook");
    let callback = |secret: &str, events: Value| {
        json!({"channel": "sms", "account": "twin", "content": {"text": "Hello {{ name }}"},
            "callback": {"url": url, "secret": secret, "events": events, "allow_private": true}})
    };
    let written = node.template("hello", callback(SECRET, json!(["delivered", "bounced"]))).await;
    assert_eq!(written["callback"]["secret"], "***");
    assert_eq!(written["callback"]["events"], json!(["delivered", "bounced"]));
    let again = node.template("hello", callback("***", json!(["delivered", "bounced"]))).await;
    assert_eq!(written["version"], again["version"], "stars are the stored secret");
    for (secret, events, field) in
        [("short", json!(["delivered"]), "callback.secret"), (SECRET, json!([]), "callback.events")]
    {
        let wrong = node.put("/v1/templates/hello", callback(secret, events)).await;
        assert_eq!(wrong.problem(422), "invalid_request");
        assert_eq!(wrong.body["errors"][0]["field"], field, "{}", wrong.body);
        assert!(!wrong.body.to_string().contains(SECRET), "{}", wrong.body);
    }
    let id = send_one(&node, "+8613800138000").await;
    node.ended(&id).await;
    let report = json!({"id": "double-+8613800138000", "ok": false, "words": "no such number"});
    call_back(&node, "twin", "open sesame", &report).await.expect(200);
    node.until("both callbacks came", async || (got.lock().len() == 2).then_some(())).await;
    for (headers, body) in got.lock().iter() {
        let header = |name: &str| headers[name].to_str().expect("a text").to_owned();
        let told: Value = serde_json::from_slice(body).expect("it is JSON");
        assert_eq!(told["data"]["delivery_id"], json!(id), "{told}");
        let key = STANDARD.decode(&SECRET[6..]).expect("base64");
        let signed = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp"));
        let signed = [signed.as_bytes(), body].concat();
        assert_eq!(header("webhook-signature"), format!("v1,{}", STANDARD.encode(hmac_sha256(&key, &signed))));
    }
    let types: Vec<Value> = got.lock().iter().filter_map(|(_, body)| serde_json::from_slice(body).ok()).collect();
    let mut types: Vec<_> = types.iter().filter_map(|told| told["type"].as_str()).collect();
    types.sort_unstable();
    assert_eq!(types, ["delivery.bounced", "delivery.delivered"]);
    let list = node.get("/v1/deliveries?template=tidings/callback").await.expect(200);
    assert_eq!(list["deliveries"].as_array().map(Vec::len), Some(2), "{list}");
    node.stop().await;
}

#[tokio::test]
async fn a_key_has_a_callback_of_its_own() {
    let (node, _) = double::node().await;
    let (addr, got) = double::receiver().await;
    let made = node.post("/v1/keys", json!({"name": "shop", "role": "sender"})).await.expect(201);
    let (id, key) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a key"));
    let path = format!("/v1/keys/{id}/callback");
    let callback = json!({"url": format!("http://{addr}/hook"), "secret": SECRET, "allow_private": true});
    let shape = node.put(&path, callback).await.expect(200);
    assert_eq!((&shape["secret"], shape["events"].as_array().map(Vec::len)), (&json!("***"), Some(11)));
    assert_eq!(node.get(&path).await.expect(200), shape);
    let body = json!({"template": "hello", "to": ["+8613800138000"], "variables": {"name": "Ann"}}).to_string();
    node.call("POST", "/v1/messages", Some(key), &[], Some(body.clone())).await.expect(202);
    // Another key's messages are none of its business.
    send_one(&node, "+8613800138001").await;
    node.until("the callback came", async || (got.lock().len() == 1).then_some(())).await;
    assert_eq!(node.delete(&path).await.status, 204);
    assert_eq!(node.get(&path).await.status, 404);
    assert_eq!(
        node.put("/v1/keys/nobody/callback", json!({"url": "https://a.example", "secret": SECRET})).await.status,
        404
    );
    node.call("POST", "/v1/messages", Some(key), &[], Some(body)).await.expect(202);
    let counts = node
        .until("all has ended", async || {
            let stats = node.get("/v1/stats").await.expect(200);
            (stats["accepted"] == 4 && stats["ended"]["delivered"] == 4).then_some(stats)
        })
        .await;
    assert_eq!(got.lock().len(), 1, "{counts}");
    node.stop().await;
}

/// HMAC-SHA256 (RFC 2104), written out here so that the signature is judged by other code than what made it.
fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let pad = |byte: u8| -> Vec<u8> {
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key);
        block.iter().map(|one| one ^ byte).collect()
    };
    let inner = Sha256::digest([pad(0x36), text.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

#[tokio::test]
async fn a_bounce_puts_the_address_on_the_suppression_list_where_its_template_asks_for_it() {
    let (node, _) = double::node().await;
    let content = json!({"text": "Hello {{ name }}"});
    let spec = json!({"channel": "sms", "account": "twin", "content": content, "suppress_bounces": true});
    node.template("hello", spec).await;
    let id = send_one(&node, "+8613800138000").await;
    node.ended(&id).await;
    let report = json!({"id": "double-+8613800138000", "ok": false, "words": "no such number", "gone": true});
    assert_eq!(call_back(&node, "twin", "open sesame", &report).await.status, 200);
    let listed = node.get("/v1/suppressions").await.expect(200);
    let entry = &listed["suppressions"][0];
    assert_eq!((&entry["address"], &entry["reason"]), (&json!("+8613800138000"), &json!("bounced")));
    assert_eq!((&entry["delivery"], &entry["code"]), (&json!(id), &json!("report")));
    let trace = node.get(&format!("/v1/deliveries/{id}")).await.expect(200);
    let last = trace["events"].as_array().and_then(|events| events.last()).expect("an event");
    assert_eq!((&last["what"], &last["to"]), (&json!("address_suppressed"), &json!("+8613800138000")));
    let next = node.send(json!({"template": "hello", "to": ["+8613800138000"], "variables": {"name": "Ann"}})).await;
    assert_eq!(next["deliveries"][0]["state"], "suppressed");
    node.stop().await;
}

#[tokio::test]
async fn templates_of_a_supplier_that_has_none_are_a_clear_answer() {
    let (node, _) = double::node().await;
    assert_eq!(node.get("/v1/accounts/twin/templates").await.problem(409), "unsupported");
    assert_eq!(node.get("/v1/accounts/nobody/templates").await.problem(404), "unknown_account");
    node.stop().await;
}
