//! What a preview shows, and how texts are finished on their way out.

use serde_json::json;
use tidings_channels::testing::{HttpReply, HttpServer, SmtpScript, SmtpServer};

use crate::lone::Lone;

#[tokio::test]
async fn a_preview_shows_the_request_that_is_sent_with_secrets_masked() {
    let node = Lone::start().await;
    let server = HttpServer::start(HttpReply::json(200, &json!({"errcode": 0}))).await.expect("a free port");
    let settings = json!({"access_token": "t0ken76f1", "secret": "SEC5a3d9", "url": server.url("/robot/send")});
    node.put("/v1/accounts/ops", json!({"provider": "dingtalk_robot", "settings": settings})).await.expect(200);
    let spec = json!({"channel": "dingtalk_robot", "track": {"from": "{{ campaign }}"},
        "content": {"type": "markdown", "title": "Build", "text": "**{{ who }}**: [look](https://ci.example/{{ id }}#log)"}});
    let template = node.template("build", spec).await;
    assert_eq!(template["variables"], json!(["campaign", "id", "who"]));
    let variables = json!({"who": "<@all> **x**", "id": 7, "campaign": "ci"});
    let path = "/v1/templates/build/preview";
    let shown = node.post(path, json!({"to": "ops", "variables": variables})).await.expect(200);
    let text = "**＜@all＞ ＊＊x＊＊**: [look](https://ci.example/7?from=ci#log)";
    assert_eq!((&shown["content"]["text"], &shown["account"]), (&json!(text), &json!("ops")), "{shown}");
    assert_eq!(shown["lengths"], json!([{"field": "text", "length": text.len(), "most": 18_000, "unit": "bytes"}]));
    let request = &shown["requests"][0];
    let url = request["url"].as_str().expect("a URL");
    assert!(url.starts_with(&format!("{}?access_token=***&timestamp=", server.url("/robot/send"))), "{url}");
    let curl = request["curl"].as_str().expect("a command");
    assert!(curl.starts_with("curl -X POST 'http://127.0.0.1:") && curl.contains("--data-raw '{"), "{curl}");
    for secret in ["t0ken76f1", "SEC5a3d9"] {
        assert!(!shown.to_string().contains(secret), "{shown}");
    }
    assert_eq!(server.connections(), 0, "nothing went out");

    let sent = node.send(json!({"template": "build", "to": ["ops"], "variables": variables})).await;
    assert_eq!(node.ended(sent["deliveries"][0]["id"].as_str().expect("an id")).await["state"], "delivered");
    assert_eq!(server.requests()[0].body, request["body"].as_str().expect("a body").as_bytes());

    let content = node.post(path, json!({"variables": variables})).await.expect(200);
    assert!(content["requests"].is_null() && content["content"]["text"] == text, "{content}");
    assert_eq!(node.post(path, json!({"to": "nobody", "variables": variables})).await.problem(404), "unknown_account");
    let missing = node.post(path, json!({"to": "ops", "variables": {"who": "x", "id": 1}})).await;
    assert_eq!(missing.problem(422), "invalid_request");
    node.stop().await;
}

#[tokio::test]
async fn a_text_that_is_too_long_goes_the_way_that_its_template_chose() {
    let node = Lone::start().await;
    let server = HttpServer::start(HttpReply::json(200, &json!({"errcode": 0}))).await.expect("a free port");
    let settings = json!({"access_token": "t0ken76f1", "url": server.url("/robot/send")});
    node.put("/v1/accounts/ops", json!({"provider": "dingtalk_robot", "settings": settings})).await.expect(200);
    let long = "word ".repeat(5_000);
    for (way, requests, state) in [("refuse", 0, "failed"), ("cut", 1, "delivered"), ("split", 2, "delivered")] {
        let spec =
            json!({"channel": "dingtalk_robot", "too_long": way, "content": {"type": "text", "text": "{{ x }}"}});
        let shown = node.template("long", spec).await["too_long"].clone();
        assert_eq!(shown, if way == "refuse" { json!(null) } else { json!(way) });
        let before = server.count();
        let sent = node.send(json!({"template": "long", "to": ["ops"], "variables": {"x": long}})).await;
        let trace = node.ended(sent["deliveries"][0]["id"].as_str().expect("an id")).await;
        assert_eq!((&trace["state"], server.count() - before), (&json!(state), requests), "{way}: {trace}");
        if way == "refuse" {
            assert!(trace.to_string().contains("too_long"), "{trace}");
            let shown = node.post("/v1/templates/long/preview", json!({"to": "ops", "variables": {"x": long}})).await;
            assert_eq!(shown.problem(422), "invalid_request");
        }
    }
    let texts: Vec<String> =
        server.requests().iter().map(|r| r.json()["text"]["content"].as_str().unwrap_or_default().to_owned()).collect();
    assert!(texts[0].ends_with('…') && texts.iter().all(|text| text.len() <= 18_000));
    assert_eq!(format!("{} {}", texts[1], texts[2]), long);
    let shown =
        node.post("/v1/templates/long/preview", json!({"to": "ops", "variables": {"x": long}})).await.expect(200);
    assert_eq!(
        (shown["further"].as_array().map(Vec::len), shown["requests"].as_array().map(Vec::len)),
        (Some(1), Some(2))
    );
    node.stop().await;
}

#[tokio::test]
async fn a_template_cannot_ask_for_what_its_channel_cannot_do() {
    let node = Lone::start().await;
    node.account("demo", json!({})).await;
    let hook = json!({"channel": "webhook", "account": "demo", "content": {"a": "b"}});
    let mail = json!({"channel": "email", "account": "demo", "content": {"subject": "s", "text": "t"}});
    for (base, more, field) in [
        (&hook, json!({"track": {"a": "b"}}), "track"),
        (&mail, json!({"too_long": "split"}), "too_long"),
        (&mail, json!({"track": {"a b": "c"}}), "track.a b"),
        (
            &mail,
            json!({"content": {"subject": "s", "text": "t", "attachments": [{"url": "ftp://a.example/"}]}}),
            "content.attachments",
        ),
        (
            &mail,
            json!({"content": {"subject": "s", "text": "t", "unsubscribe_url": "http://a.example"}}),
            "content.unsubscribe_url",
        ),
    ] {
        let mut spec = base.clone();
        spec.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        let answer = node.put("/v1/templates/t", spec).await;
        assert_eq!(answer.problem(422), "invalid_request", "{more}");
        assert_eq!(answer.body["errors"][0]["field"], field, "{}", answer.body);
    }
    let broken = node
        .put(
            "/v1/templates/t",
            json!({"channel": "email", "account": "demo", "track": {"a": "{{ x"},
        "content": {"subject": "s", "text": "t"}}),
        )
        .await;
    assert_eq!(broken.problem(422), "template_syntax");
    assert_eq!(broken.body["errors"][0]["field"], "track.a");
    node.stop().await;
}

#[tokio::test]
async fn a_mail_is_shown_whole_and_arrives_as_shown() {
    let node = Lone::start().await;
    let server = SmtpServer::start(SmtpScript::default()).await.expect("a free port");
    let settings =
        json!({"host": "localhost", "port": server.addr().port(), "tls": "none", "from": "no-reply@shop.example"});
    node.put("/v1/accounts/mail", json!({"provider": "email/smtp", "settings": settings})).await.expect(200);
    let spec = json!({"channel": "email", "account": "mail", "content": {"subject": "Hi {{ name }}",
        "html": "<p>Hello {{ name }}</p>", "unsubscribe_url": "https://shop.example/off?u={{ id }}"}});
    node.template("welcome", spec).await;
    let variables = json!({"name": "<b>Ann</b>\r\nBcc: all@example.com", "id": 7});
    let shown = node
        .post("/v1/templates/welcome/preview", json!({"to": "ann@example.com", "variables": variables}))
        .await
        .expect(200);
    let request = &shown["requests"][0];
    let body = request["body"].as_str().expect("a mail");
    assert_eq!(request["method"], "SMTP");
    assert!(body.contains("Hello &lt;b&gt;Ann&lt;&#x2f;b&gt;") && body.contains("text/plain"), "{body}");
    assert!(request["curl"].as_str().is_some_and(|curl| curl.contains("--mail-rcpt 'ann@example.com'")), "{request}");
    let sent = node.send(json!({"template": "welcome", "to": ["ann@example.com"], "variables": variables})).await;
    assert_eq!(node.ended(sent["deliveries"][0]["id"].as_str().expect("an id")).await["state"], "delivered");
    let mail = server.mails()[0].data.clone();
    let headers = mail.split("\r\n\r\n").next().expect("headers come first").to_owned();
    let header = |name: &str, mail: &str| mail.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!((header("Bcc:", &headers), header("List-Unsubscribe:", &headers)), (0, 1), "{mail}");
    let bare = |mail: &str| {
        mail.lines()
            .filter(|l| !l.contains("=_") && !l.starts_with("Date") && !l.starts_with("Message-ID"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(bare(mail.trim_end()), bare(body.trim_end()), "but for ids and time it is the same mail");
    node.stop().await;
}
