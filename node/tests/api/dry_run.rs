//! The dry run: it keeps nothing, and what it says is what then happens, for random policies.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::lone::Lone;

const PEOPLE: [&str; 4] = ["+8613800138000", "+8613900139000", "+8613700137000", "+8613600136000"];

#[tokio::test]
async fn a_dry_run_keeps_nothing_and_has_the_problems_of_a_send() {
    let node = Lone::ready_to_send().await;
    let body = json!({"template": "hello", "to": [PEOPLE[0], "12"], "variables": {"name": "n"}});
    let said = node.post("/v1/messages?dry_run=true", body.clone()).await.expect(200);
    assert_eq!((&said["dry_run"], &said["version"]), (&json!(true), &json!(1)));
    assert_eq!(
        (&said["deliveries"][0]["state"], &said["rejected"][0]["code"]),
        (&json!("pending"), &json!("invalid_recipient"))
    );
    assert!(said["deliveries"][0]["due"].is_string());
    assert_eq!(node.accepted().await, 0);
    let nobody = json!({"template": "nobody", "to": [PEOPLE[0]]});
    assert_eq!(node.post("/v1/messages?dry_run=true", nobody).await.problem(404), "unknown_template");
    let bad = json!({"template": "hello", "to": ["12"], "variables": {"name": "n"}});
    assert_eq!(node.post("/v1/messages?dry_run=true", bad).await.problem(422), "no_valid_recipient");
    assert_eq!(node.post("/v1/messages?dry_run=maybe", body).await.problem(422), "invalid_request");
    node.stop().await;
}

/// A random policy of a kind that can decide either way.
fn policy(chance: &mut StdRng) -> Value {
    let selector = match chance.random_range(0..4) {
        0 => json!({"templates": ["hello"]}),
        1 => json!({"tags": ["news"]}),
        2 => json!({"message_types": ["marketing"]}),
        _ => json!({}),
    };
    let (kind, spec) = match chance.random_range(0..8) {
        0 => ("discard", json!({"recipients": [PEOPLE[chance.random_range(0..4)]]})),
        1 => ("discard", json!({"tags": ["news"]})),
        2 => ("allow", json!({"recipients": PEOPLE[..chance.random_range(1..4)]})),
        3 => {
            let (from, to) = (chance.random_range(0..12), chance.random_range(13..24));
            let then = if chance.random() { "drop" } else { "defer" };
            let windows = json!([{"from": format!("{from:02}:00"), "to": format!("{to:02}:00")}]);
            ("quiet_hours", json!({"windows": windows, "time_zone": "Asia/Shanghai", "then": then}))
        }
        4 => {
            let key = [json!(["content"]), json!(["template"]), json!(["variables.name"])];
            let key = &key[chance.random_range(0..3)];
            ("dedup", json!({"window_ms": 3_600_000, "most": chance.random_range(1..3), "key": key}))
        }
        5 => {
            let mode = if chance.random() { "mask" } else { "reject" };
            let word = ["0", "1", "12"][chance.random_range(0..3)];
            ("words", json!({"mode": mode, "words": [word]}))
        }
        6 => {
            let of = ["account", "recipient", "template", "key", "all"][chance.random_range(0..5)];
            let permits = chance.random_range(3..6);
            ("limits", json!({"of": of, "windows": [{"permits": permits, "window_ms": 1_000}]}))
        }
        _ => ("frequency", json!({"windows": [{"window_ms": 3_600_000, "most": chance.random_range(1..4)}]})),
    };
    json!({"kind": kind, "spec": spec, "selector": selector})
}

fn message(chance: &mut StdRng) -> Value {
    let to: Vec<Value> = (0..chance.random_range(1..6))
        .map(|n| {
            let zone = ["UTC", "America/New_York", "Asia/Tokyo"][chance.random_range(0..3)];
            let who = PEOPLE[chance.random_range(0..4)];
            json!({"to": who, "time_zone": zone, "variables": {"name": format!("{}{n}", chance.random_range(0..2))}})
        })
        .collect();
    let template = ["hello", "sale"][chance.random_range(0..2)];
    let tags = if chance.random() { json!(["news"]) } else { json!([]) };
    json!({"template": template, "to": to, "tags": tags})
}

#[tokio::test]
async fn what_a_dry_run_says_is_what_happens_for_random_policies() {
    let node = Lone::ready_to_send().await;
    let sale =
        json!({"channel": "sms", "account": "demo", "message_type": "marketing", "content": {"text": "{{ name }}!"}});
    node.template("sale", sale).await;
    let mut chance = StdRng::seed_from_u64(7);
    let mut states = std::collections::BTreeMap::new();
    for round in 0..25 {
        for n in 0..3 {
            let name = format!("/v1/policies/p{n}");
            node.delete(&name).await;
            node.put(&name, policy(&mut chance)).await.expect(200);
        }
        let entry = json!({"channel": "sms", "address": PEOPLE[round % 4], "reason": "manual"});
        node.post("/v1/suppressions", entry).await.expect(200);
        for _ in 0..3 {
            let body = message(&mut chance);
            let said = node.post("/v1/messages?dry_run=true", body.clone()).await.expect(200);
            let sent = node.send(body.clone()).await;
            let (said, sent) =
                (said["deliveries"].as_array().expect("a list"), sent["deliveries"].as_array().expect("a list"));
            assert_eq!(said.len(), sent.len(), "{body}");
            for (said, sent) in said.iter().zip(sent) {
                compare(&node, said, sent, &body).await;
                *states.entry(sent["state"].as_str().expect("a state").to_owned()).or_insert(0) += 1;
            }
        }
        let gone = format!("/v1/suppressions?channel=sms&address=%2B{}", &PEOPLE[round % 4][1..]);
        assert_eq!(node.delete(&gone).await.status, 204);
    }
    assert!(
        states.get("pending").is_some_and(|n| *n > 10) && states.get("suppressed").is_some_and(|n| *n > 10),
        "{states:?}"
    );
    node.stop().await;
}

/// The dry run's word, the answer and the trace of one delivery tell one story: what is decided when it comes, and what is
/// decided when it leaves.
async fn compare(node: &Lone, said: &Value, sent: &Value, body: &Value) {
    let rules = said["rules"].as_array().expect("rules");
    let ruling =
        |kind: &str| rules.iter().filter(|rule| rule["ruling"] == kind).map(|rule| &rule["rule"]).collect::<Vec<_>>();
    let decisive = ruling("suppress").first().copied();
    // Words are looked for when the content is there.
    let late = decisive.is_some_and(|rule| rule.as_str().is_some_and(|rule| rule.starts_with("words/")));
    let at_once = if late { &json!("pending") } else { &said["state"] };
    assert_eq!((&said["index"], at_once), (&sent["index"], &sent["state"]), "{body}: {said}");
    let id = sent["id"].as_str().expect("an id");
    let waits = !ruling("defer").is_empty() && *at_once == "pending";
    let trace = if waits { node.get(&format!("/v1/deliveries/{id}")).await.expect(200) } else { node.ended(id).await };
    let events = trace["events"].as_array().expect("events");
    let told = |what: &str| {
        events.iter().filter(|event| event["what"] == what).map(|event| &event["rule"]).collect::<Vec<_>>()
    };
    if !(late && waits) {
        assert_eq!(decisive, told("suppressed").first().copied(), "{body}: {said} {trace}");
    }
    if decisive.is_none() || waits {
        assert_eq!(ruling("defer").first(), told("deferred").first(), "{body}: {said} {trace}");
    }
    if decisive.is_none() && !waits {
        assert_eq!(trace["state"], "delivered", "{body}: {said} {trace}");
        assert_eq!(ruling("mask"), told("masked"), "{body}: {said} {trace}");
    }
    for rule in told("waited") {
        assert!(ruling("pass").contains(&rule), "{rule} made it wait: {said} {trace}");
    }
}

/// What a leg's rules say, by kind.
fn by_kind(leg: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = |rule: &Value| text(rule).split('/').next().unwrap_or_default().to_owned();
    let rules = leg["rules"].as_array().expect("rules").iter();
    rules.map(|rule| (kind(&rule["rule"]), text(&rule["ruling"]))).collect()
}

#[tokio::test]
async fn a_dry_run_tells_what_the_rules_of_further_channels_would_say() {
    let node = Lone::ready_to_send().await;
    let mail = json!({"channel": "email", "account": "demo", "content": {"subject": "s", "text": "Dear {{ name }}"}});
    node.template("mail", mail).await;
    let text = json!({"channel": "sms", "account": "demo", "content": {"text": "{{ name }}"},
        "fallback": {"template": "mail"}});
    node.template("text", text).await;
    let mails = |kind: &str, spec: Value| json!({"kind": kind, "selector": {"channels": ["email"]}, "spec": spec});
    let always = json!({"windows": [{"from": "00:00", "to": "24:00"}], "time_zone": "UTC", "then": "drop"});
    let once = json!({"windows": [{"window_ms": 3_600_000, "most": 1}]});
    for (name, policy) in [
        ("gone", mails("discard", json!({"recipients": ["old@example.com"]}))),
        ("mails", mails("frequency", once)),
        ("fruit", mails("words", json!({"mode": "reject", "words": ["pear"]}))),
        ("slow", mails("limits", json!({"of": "recipient", "windows": [{"permits": 9, "window_ms": 1_000}]}))),
    ] {
        node.put(&format!("/v1/policies/{name}"), policy).await.expect(200);
    }
    node.send(json!({"template": "mail", "to": ["bob@example.com"], "variables": {"name": "n"}})).await;
    let entry = json!({"channel": "email", "address": "cat@example.com", "reason": "manual"});
    node.post("/v1/suppressions", entry).await.expect(200);
    // The mail address and the name, and what the rules of the mail say.
    let cases = [
        (
            "ann",
            "Ann",
            vec![("suppression_list", "pass"), ("frequency", "pass"), ("words", "pass"), ("limits", "pass")],
        ),
        (
            "bob",
            "Bob",
            vec![("suppression_list", "pass"), ("frequency", "suppress"), ("words", "pass"), ("limits", "pass")],
        ),
        (
            "cat",
            "pear",
            vec![("suppression_list", "suppress"), ("frequency", "pass"), ("words", "suppress"), ("limits", "pass")],
        ),
        ("old", "Old", vec![("discard", "suppress")]),
    ];
    let to: Vec<Value> = cases.iter().zip(PEOPLE).map(|((mail, name, _), sms)| {
        json!({"to": sms, "variables": {"name": name}, "fallback": {"email": format!("{mail}@example.com")}})
    }).collect();
    let body = json!({"template": "text", "to": to});
    let said = node.post("/v1/messages?dry_run=true", body.clone()).await.expect(200);
    for (n, (mail, _, rules)) in cases.iter().enumerate() {
        let delivery = &said["deliveries"][n];
        assert_eq!(delivery["state"], "pending", "what a further channel says does not change it: {delivery}");
        assert!(delivery["rules"].as_array().expect("rules").iter().all(|rule| rule["ruling"] == "pass"), "{delivery}");
        let leg = &delivery["legs"][0];
        assert_eq!((&leg["channel"], &leg["template"]), (&json!("email"), &json!("mail")));
        assert_eq!((&leg["to"], leg.get("incomplete")), (&json!(format!("{mail}@example.com")), None));
        let wanted: Vec<_> = rules.iter().map(|(kind, ruling)| ((*kind).to_owned(), (*ruling).to_owned())).collect();
        assert_eq!(by_kind(leg), wanted, "{leg}");
    }
    node.put("/v1/policies/night?confirm=true", mails("quiet_hours", always)).await.expect(200);
    let said = node.post("/v1/messages?dry_run=true", body).await.expect(200);
    let first = &by_kind(&said["deliveries"][0]["legs"][0])[0];
    assert_eq!((first.0.as_str(), first.1.as_str()), ("quiet_hours", "suppress"), "{said}");
    let plain = json!({"template": "text", "to": [PEOPLE[0]], "variables": {"name": "n"}});
    let said = node.post("/v1/messages?dry_run=true", plain).await.expect(200);
    assert_eq!(said["deliveries"][0].get("legs"), None, "there is no address to fall back to");
    assert_eq!(node.accepted().await, 1, "nothing was kept");
    node.stop().await;
}

#[tokio::test]
async fn a_dry_run_and_a_preview_tell_of_sensitive_words() {
    let node = Lone::ready_to_send().await;
    node.put("/v1/policies/mild", json!({"kind": "words", "spec": {"mode": "mask", "words": ["pear"]}}))
        .await
        .expect(200);
    let strict = json!({"kind": "words", "spec": {"mode": "reject", "words": ["apple"]}});
    node.put("/v1/policies/strict", strict).await.expect(200);
    let to = json!([
        {"to": PEOPLE[0], "variables": {"name": "plum"}},
        {"to": PEOPLE[1], "variables": {"name": "pear"}},
        {"to": PEOPLE[2], "variables": {"name": "apple"}},
    ]);
    let said = node.post("/v1/messages?dry_run=true", json!({"template": "hello", "to": to})).await.expect(200);
    let words = |n: usize| -> Vec<(String, String, String)> {
        let rules = said["deliveries"][n]["rules"].as_array().expect("rules").iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let words = rules.filter(|rule| text(&rule["rule"]).starts_with("words/"));
        words.map(|rule| (text(&rule["rule"]), text(&rule["ruling"]), text(&rule["detail"]))).collect()
    };
    let states: Vec<_> = (0..3).map(|n| said["deliveries"][n]["state"].clone()).collect();
    assert_eq!(states, ["pending", "pending", "suppressed"]);
    let free = "the content holds none of its words";
    let told = |rule: &str, ruling: &str, detail: &str| (rule.to_owned(), ruling.to_owned(), detail.to_owned());
    assert_eq!(words(0), [told("words/strict@1", "pass", free), told("words/mild@1", "pass", free)]);
    let masked = "1 places are masked, in content.text";
    assert_eq!(words(1), [told("words/strict@1", "pass", free), told("words/mild@1", "mask", masked)]);
    assert_eq!(words(2), [told("words/strict@1", "suppress", "content.text holds `apple`")]);
    let preview = async |name: &str| {
        let asked = json!({"to": PEOPLE[0], "variables": {"name": name}});
        node.post("/v1/templates/hello/preview", asked).await.expect(200)
    };
    let masked = preview("pear").await;
    assert!(masked["content"]["text"].as_str().is_some_and(|text| text.contains("****")), "{masked}");
    assert!(masked["requests"][0]["body"].as_str().is_some_and(|body| !body.contains("pear")), "{masked}");
    assert_eq!((&masked["words"][1]["rule"], &masked["words"][1]["ruling"]), (&json!("words/mild@1"), &json!("mask")));
    let refused = preview("apple").await;
    assert_eq!(refused["refused"]["code"], "words", "{refused}");
    assert_eq!(refused.get("requests"), None, "nothing would be sent");
    node.stop().await;
}
