//! Routes over HTTP: written in versions, refused with the field, and what becomes of messages that go by them.

use serde_json::{Value, json};

use crate::lone::Lone;

const ANN: &str = "+8613800138000";

/// Accounts that serve everything: one that works, one that says later, one that says never.
async fn node() -> Lone {
    let node = Lone::start().await;
    node.account("good", json!({})).await;
    node.account("busy", json!({"fail": "later"})).await;
    node.account("never", json!({"fail": "never"})).await;
    node
}

async fn route(node: &Lone, name: &str, accounts: Value) -> Value {
    node.put(&format!("/v1/routes/{name}"), json!({"channel": "sms", "accounts": accounts})).await.expect(200)
}

async fn one_delivery(node: &Lone, template: &str, to: Value) -> Value {
    let sent = node.send(json!({"template": template, "to": [to]})).await;
    node.ended(sent["deliveries"][0]["id"].as_str().expect("an id")).await
}

fn whats(trace: &Value) -> Vec<&str> {
    trace["events"].as_array().expect("events").iter().filter_map(|event| event["what"].as_str()).collect()
}

#[tokio::test]
async fn a_route_is_written_in_versions_listed_used_and_removed_when_nobody_uses_it() {
    let node = node().await;
    let first =
        route(&node, "sms", json!([{"account": "good", "weight": 70}, {"account": "busy", "weight": 30}])).await;
    assert_eq!((first["version"].as_u64(), first["accounts"][0]["tier"].as_u64()), (Some(1), Some(0)));
    let same = route(&node, "sms", json!([{"account": "good", "weight": 70}, {"account": "busy", "weight": 30}])).await;
    assert_eq!(same["version"], 1, "the same content changes nothing");
    let second = route(&node, "sms", json!([{"account": "good"}])).await;
    assert_eq!(second["version"], 2);
    let old = node.get("/v1/routes/sms?version=1").await.expect(200);
    assert_eq!(old["accounts"].as_array().map(Vec::len), Some(2));
    let listed = node.get("/v1/routes").await.expect(200);
    assert_eq!(listed["routes"].as_array().map(Vec::len), Some(1));
    node.template("hello", json!({"channel": "sms", "route": "sms", "content": {"text": "hi"}})).await;
    assert_eq!(node.delete("/v1/routes/sms").await.problem(409), "conflict");
    assert_eq!(node.delete("/v1/accounts/good").await.problem(409), "conflict");
    let trace = one_delivery(&node, "hello", json!(ANN)).await;
    assert_eq!(trace["state"], "delivered");
    let chosen = &trace["events"][1];
    assert_eq!(
        (&chosen["what"], &chosen["account"], &chosen["route"]),
        (&json!("chosen"), &json!("good"), &json!("sms@2"))
    );
    assert_eq!(chosen["why"], "weight 1 of 1");
    node.delete("/v1/templates/hello").await.expect(204);
    node.delete("/v1/routes/sms").await.expect(204);
    assert_eq!(node.get("/v1/routes/sms").await.problem(404), "not_found");
    let audit = node.get("/v1/audit").await.expect(200).to_string();
    assert!(audit.contains("put_route") && audit.contains("delete_route"), "{audit}");
    node.stop().await;
}

#[tokio::test]
async fn a_route_that_cannot_be_is_refused_with_the_path_of_the_field() {
    let node = node().await;
    let mail = json!({"provider": "email/smtp", "settings": {"host": "localhost", "from": "a@example.com"}});
    node.put("/v1/accounts/mail", mail).await.expect(200);
    let good = json!([{"account": "good"}]);
    for (body, field) in [
        (json!({"channel": "smoke", "accounts": good}), "channel"),
        (json!({"channel": "dingtalk_robot", "accounts": good}), "channel"),
        (json!({"channel": "sms", "accounts": []}), "accounts"),
        (json!({"channel": "sms", "accounts": [{"account": "good", "weight": 0}]}), "accounts"),
        (json!({"channel": "sms", "accounts": [{"account": "good"}, {"account": "nobody"}]}), "accounts[1].account"),
        (json!({"channel": "sms", "accounts": [{"account": "mail"}]}), "accounts[0].account"),
        (json!({"channel": "sms", "accounts": [{"account": "good"}, {"account": "good"}]}), "accounts[1].account"),
        (json!({"channel": "sms", "accounts": [{"account": "good", "weight": 1_000_001}]}), "accounts[0].weight"),
        (json!({"channel": "sms", "accounts": good, "rules": [{"code": "", "action": "stop"}]}), "rules[0].code"),
        (json!({"channel": "sms", "accounts": good, "rules": [{"code": "*****", "action": "stop"}]}), "rules[0].code"),
        (
            json!({"channel": "sms", "accounts": good, "delivery": {"breaker": {"window_ms": 0}}}),
            "delivery.breaker.window_ms",
        ),
        (json!({"channel": "sms", "accounts": good, "fallback": "bad"}), "fallback"),
        (json!({"channel": "sms", "accounts": good, "fallback": "nobody"}), "fallback"),
    ] {
        let got = node.put("/v1/routes/bad", body.clone()).await;
        assert_eq!(got.problem(422), "invalid_request", "{body}");
        assert_eq!(got.body["errors"][0]["field"], field, "{body}: {}", got.body);
    }
    route(&node, "one", json!([{"account": "good"}])).await;
    let two = json!({"channel": "sms", "accounts": [{"account": "busy"}], "fallback": "one"});
    node.put("/v1/routes/two", two).await.expect(200);
    let circle = node.put("/v1/routes/one", json!({"channel": "sms", "accounts": good, "fallback": "two"})).await;
    assert_eq!(circle.problem(422), "invalid_request");
    assert_eq!(circle.body["errors"][0]["field"], "fallback");
    assert_eq!(node.delete("/v1/routes/one").await.problem(409), "conflict");
    node.stop().await;
}

#[tokio::test]
async fn a_template_names_an_account_or_a_route_and_its_fallbacks_form_no_circle() {
    let node = node().await;
    route(&node, "sms", json!([{"account": "good"}])).await;
    let marketing = json!({"channel": "sms", "message_types": ["marketing"], "accounts": [{"account": "good"}]});
    node.put("/v1/routes/marketing", marketing).await.expect(200);
    let text = json!({"text": "hi"});
    let mail = json!({"channel": "email", "account": "good", "content": {"subject": "s", "text": "t"}, "fallback": {"template": "sms"}});
    node.template("sms", json!({"channel": "sms", "account": "good", "content": text})).await;
    node.template("mail", mail).await;
    for (body, field) in [
        (json!({"channel": "sms", "content": text}), "account"),
        (json!({"channel": "sms", "account": "good", "route": "sms", "content": text}), "route"),
        (json!({"channel": "sms", "route": "nobody", "content": text}), "route"),
        (json!({"channel": "sms", "route": "marketing", "content": text}), "route"),
        (json!({"channel": "email", "route": "sms", "content": {"subject": "s", "text": "t"}}), "route"),
        (json!({"channel": "dingtalk_robot", "route": "sms", "content": {"type": "text", "text": "hi"}}), "route"),
        (
            json!({"channel": "sms", "account": "good", "content": text, "fallback": {"template": "sms"}}),
            "fallback.template",
        ),
        (
            json!({"channel": "sms", "account": "good", "content": text, "fallback": {"template": "mail"}}),
            "fallback.template",
        ),
        (
            json!({"channel": "sms", "account": "good", "content": text, "fallback": {"template": "x"}}),
            "fallback.template",
        ),
        (
            json!({"channel": "sms", "account": "good", "content": text, "on_unknown": "stop", "failover_on_unknown": true}),
            "failover_on_unknown",
        ),
        (json!({"channel": "sms", "account": "good", "content": text, "timeout_ms": 1}), "timeout_ms"),
    ] {
        let got = node.put("/v1/templates/sms", body.clone()).await;
        assert_eq!(got.problem(422), "invalid_request", "{body}");
        assert_eq!(got.body["errors"][0]["field"], field, "{body}: {}", got.body);
    }
    assert_eq!(node.delete("/v1/templates/sms").await.problem(409), "conflict", "another falls back to it");
    node.stop().await;
}

#[tokio::test]
async fn a_delivery_switches_accounts_and_falls_back_to_another_channel_with_one_trace() {
    let node = node().await;
    route(&node, "tiers", json!([{"account": "never"}, {"account": "good", "tier": 1}])).await;
    let rules = json!({"channel": "sms", "accounts": [{"account": "never"}, {"account": "good", "tier": 1}],
        "rules": [{"code": "*", "action": "switch"}]});
    node.put("/v1/routes/switching", rules).await.expect(200);
    node.template(
        "mail",
        json!({"channel": "email", "account": "good", "content": {"subject": "s", "text": "Dear {{ name }}"}}),
    )
    .await;
    for (template, by) in [("plain", "tiers"), ("switching", "switching")] {
        let spec = json!({"channel": "sms", "route": by, "content": {"text": "hi"}, "fallback": {"template": "mail"}});
        node.template(template, spec).await;
    }
    let switched = one_delivery(&node, "switching", json!(ANN)).await;
    assert_eq!(switched["state"], "delivered");
    assert_eq!(whats(&switched), ["accepted", "chosen", "attempted", "switched", "chosen", "attempted", "ended"]);
    let to = json!({"to": ANN, "fallback": {"email": "Ann@Example.com"}, "variables": {"name": "Ann"}});
    let fell = one_delivery(&node, "plain", to).await;
    assert_eq!((&fell["state"], &fell["to"]), (&json!("delivered"), &json!(ANN)));
    assert_eq!(whats(&fell), ["accepted", "chosen", "attempted", "fell_back", "chosen", "attempted", "ended"]);
    let event = &fell["events"][3];
    assert_eq!((&event["channel"], &event["template"]), (&json!("email"), &json!("mail@1")));
    let found = node.get("/v1/deliveries?recipient=%2B8613800138000").await.expect(200);
    assert_eq!(found["deliveries"].as_array().map(Vec::len), Some(2), "found by its first address");
    let without = one_delivery(&node, "plain", json!(ANN)).await;
    assert_eq!(without["state"], "failed", "there was no address to fall back to");
    node.stop().await;
}

#[tokio::test]
async fn a_recipient_with_a_bad_further_address_is_rejected() {
    let node = node().await;
    node.template(
        "mail",
        json!({"channel": "email", "account": "good", "content": {"subject": "s", "text": "Dear {{ name }}"}}),
    )
    .await;
    let spec =
        json!({"channel": "sms", "account": "good", "content": {"text": "hi"}, "fallback": {"template": "mail"}});
    node.template("plain", spec).await;
    for (fallback, code, part) in [
        (json!({"email": "nobody"}), "invalid_recipient", "fallback.email"),
        (json!({"fax": "1"}), "invalid_recipient", "fallback.fax"),
        (json!({"email": "a@example.com"}), "missing_variable", "mail needs: name"),
    ] {
        let body = json!({"template": "plain", "to": [{"to": ANN, "fallback": fallback}]});
        let got = node.post("/v1/messages", body).await;
        assert_eq!(got.problem(422), "no_valid_recipient");
        assert_eq!(got.body["rejected"][0]["code"], code, "{}", got.body);
        assert!(got.body["rejected"][0]["detail"].as_str().is_some_and(|detail| detail.contains(part)), "{}", got.body);
    }
    node.stop().await;
}

#[tokio::test]
async fn what_holds_is_shown_with_the_layer_it_comes_from() {
    let node = node().await;
    let account = json!({"provider": "sandbox", "delivery": {"timeout_ms": 900, "breaker": {"consecutive": 7}}});
    node.put("/v1/accounts/slow", account).await.expect(200);
    let policy = json!({"kind": "delivery", "selector": {"channels": ["sms"]}, "spec": {"retry": {"max_attempts": 4}, "timeout_ms": 5_000}});
    node.put("/v1/policies/quick", policy).await.expect(200);
    let body = json!({"channel": "sms", "accounts": [{"account": "slow"}, {"account": "good", "tier": 1}],
        "delivery": {"breaker": {"min_calls": 5}}});
    node.put("/v1/routes/sms", body).await.expect(200);
    let spec = json!({"channel": "sms", "route": "sms", "content": {"text": "hi"}, "retry": {"first_ms": 50}});
    node.template("hello", spec).await;
    let shown = node.get("/v1/templates/hello/effective").await.expect(200);
    let leg = &shown["legs"][0];
    let of = |held: &Value, key: &str| {
        let found =
            held.as_array().and_then(|all| all.iter().find(|one| one["key"] == key)).cloned().unwrap_or_default();
        (found["value"].as_u64().unwrap_or_default(), found["from"].as_str().unwrap_or_default().to_owned())
    };
    for (key, value, from) in [
        ("retry.max_attempts", 4, "delivery/quick@1"),
        ("retry.first_ms", 50, "template hello@1"),
        ("retry.give_up_after_ms", 21_600_000, "built-in"),
        ("breaker.min_calls", 5, "route sms@1"),
        ("timeout_ms", 5_000, "delivery/quick@1"),
    ] {
        assert_eq!(of(&leg["held"], key), (value, from.to_owned()), "{key}: {shown}");
    }
    let slow = &leg["accounts"][0];
    assert_eq!(of(&slow["held"], "timeout_ms"), (900, "account slow".to_owned()));
    assert_eq!(of(&slow["held"], "breaker.consecutive"), (7, "account slow".to_owned()));
    assert_eq!(of(&leg["accounts"][1]["held"], "timeout_ms"), (5_000, "delivery/quick@1".to_owned()));
    node.stop().await;
}

#[tokio::test]
async fn a_breaker_that_opened_is_shown_with_its_account_and_closes_when_the_account_is_mended() {
    let node = node().await;
    let breaking = json!({"provider": "sandbox", "settings": {"fail": "later"}, "delivery": {"breaker": {"consecutive": 3, "open_ms": 60_000}}});
    node.put("/v1/accounts/breaking", breaking).await.expect(200);
    route(&node, "sms", json!([{"account": "breaking"}, {"account": "good", "tier": 1}])).await;
    node.template("hello", json!({"channel": "sms", "route": "sms", "content": {"text": "hi"}, "retry": {"first_ms": 20, "longest_ms": 20}})).await;
    for n in 0..4 {
        let trace = one_delivery(&node, "hello", json!(format!("+861380013800{n}"))).await;
        assert_eq!(trace["state"], "delivered");
    }
    let open = node.until("the breaker opens", async || {
        let account = node.get("/v1/accounts/breaking").await.expect(200);
        (account["health"]["breaker"] == "open").then_some(account)
    });
    let open = open.await;
    assert!(open["health"]["why"].as_str().is_some_and(|why| why.contains("calls failed")), "{open}");
    let trace = one_delivery(&node, "hello", json!("+8613800138009")).await;
    assert_eq!(whats(&trace), ["accepted", "chosen", "attempted", "ended"]);
    let why = trace["events"][1]["why"].as_str().expect("a reason");
    assert!(why.contains("in tier 1; skipped breaking: breaker open until"), "{why}");
    let alone = json!({"channel": "sms", "account": "breaking", "content": {"text": "hi"}});
    node.template("alone", alone).await;
    let sent = node.send(json!({"template": "alone", "to": [ANN]})).await;
    let waiting = node.get(&format!("/v1/deliveries/{}", sent["deliveries"][0]["id"].as_str().expect("an id"))).await;
    let waiting = waiting.expect(200);
    assert_eq!((&waiting["state"], &waiting["attempts"]), (&json!("pending"), &json!(0)));
    assert!(waiting["waits_for"].as_str().is_some_and(|why| why.contains("breaker open until")), "{waiting}");
    let mended = json!({"provider": "sandbox", "settings": {}, "delivery": {"breaker": {"consecutive": 3}}});
    node.put("/v1/accounts/breaking", mended).await.expect(200);
    assert_eq!(node.get("/v1/accounts/breaking").await.expect(200)["health"]["breaker"], "closed");
    let checked = node.post("/v1/accounts/breaking/check", json!({})).await.expect(200);
    assert_eq!((&checked["opens"], &checked["health"]["breaker"]), (&json!(true), &json!("closed")));
    assert_eq!(node.post("/v1/accounts/nobody/check", json!({})).await.problem(404), "unknown_account");
    node.stop().await;
}
