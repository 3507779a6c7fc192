//! Materials: kept by the cluster, sent with mails, and not lost by a restart or a backup.

use serde_json::{Value, json};
use tidings_channels::http::{HeaderValue, Url};
use tidings_channels::testing::{SmtpScript, SmtpServer};
use tidings_contract::Secret;

use crate::lone::{Lone, client};

async fn put(node: &Lone, name: &str, media_type: &'static str, bytes: &[u8]) -> (u16, Value) {
    let url = format!("http://{}/v1/materials?name={name}", node.running.api_addr);
    let url: Url = url.parse().expect("a URL");
    let key = Secret::new(node.key.as_str());
    let answer = client()
        .upload(url, Some(&key), HeaderValue::from_static(media_type), bytes.to_vec().into())
        .await
        .expect("the node answers");
    (answer.status, answer.json().expect("JSON"))
}

async fn content(node: &Lone, id: &str) -> (u16, Vec<u8>, String) {
    let got = node.get(&format!("/v1/materials/{id}/content")).await;
    let header = |name: &str| got.header(name).unwrap_or_default().to_owned();
    (got.status, got.answer.body.to_vec(), format!("{} {}", header("content-type"), header("content-disposition")))
}

#[tokio::test]
async fn a_material_is_known_by_its_bytes_and_outlives_a_restart() {
    let node = Lone::start().await;
    // Several pieces, the last one short.
    let bytes: Vec<u8> = (0..250_000_u32).map(|n| (n % 251) as u8).collect();
    let (status, material) = put(&node, "terms.pdf", "application/pdf; v=1", &bytes).await;
    assert_eq!(
        (status, &material["bytes"], &material["media_type"]),
        (201, &json!(250_000), &json!("application/pdf"))
    );
    let id = material["id"].as_str().expect("an id").to_owned();
    assert_eq!(id.len(), 64);
    let (_, again) = put(&node, "terms.pdf", "application/pdf", &bytes).await;
    assert_eq!(again["id"], id.as_str());
    let list = node.get("/v1/materials").await.expect(200);
    assert_eq!(list["materials"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(content(&node, &id).await, (200, bytes.clone(), "application/pdf attachment".to_owned()));

    let node = node.restart().await;
    assert_eq!(node.get(&format!("/v1/materials/{id}")).await.expect(200)["name"], "terms.pdf");
    assert_eq!(content(&node, &id).await.1, bytes);
    assert_eq!(node.delete(&format!("/v1/materials/{id}")).await.status, 204);
    assert_eq!(node.get(&format!("/v1/materials/{id}")).await.problem(404), "not_found");
    assert_eq!(content(&node, &id).await.0, 404);
    assert_eq!(node.delete(&format!("/v1/materials/{id}")).await.problem(404), "not_found");
    // What was removed can come back.
    assert_eq!(put(&node, "terms.pdf", "application/pdf", &bytes).await.0, 201);
    assert_eq!(content(&node, &id).await.1, bytes);
    node.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_material_is_refused() {
    let node = Lone::with(|config| config.intake.max_material_bytes = 1_024).await;
    for (name, media_type, bytes, code) in [
        ("a%2Fb", "image/png", &b"x"[..], "invalid_request"),
        ("", "image/png", b"x", "invalid_request"),
        ("a", "multipart/form-data", b"x", "unsupported_media_type"),
        ("a", "png", b"x", "unsupported_media_type"),
        ("a", "image/png", b"", "invalid_request"),
        ("a", "image/png", &[7; 1_025], "body_too_large"),
    ] {
        let (_, problem) = put(&node, name, media_type, bytes).await;
        assert_eq!(problem["code"], code, "{name} {media_type}: {problem}");
    }
    assert_eq!(node.get("/v1/materials").await.expect(200)["materials"], json!([]));
    node.stop().await;
}

#[tokio::test]
async fn a_material_goes_with_a_mail_and_stays_while_a_template_names_it() {
    let node = Lone::start().await;
    let server = SmtpServer::start(SmtpScript::default()).await.expect("a free port");
    let settings =
        json!({"host": "localhost", "port": server.addr().port(), "tls": "none", "from": "no-reply@shop.example"});
    node.put("/v1/accounts/mail", json!({"provider": "email/smtp", "settings": settings})).await.expect(200);
    let (_, material) = put(&node, "terms.pdf", "application/pdf", b"%PDF-1.7").await;
    let id = material["id"].as_str().expect("an id");
    let spec = json!({"channel": "email", "account": "mail",
        "content": {"subject": "s", "text": "t", "attachments": [{"material": id}, {"material": "{{ other }}", "name": "b.bin"}]}});
    node.template("terms", spec).await;
    let (_, other) = put(&node, "x", "application/octet-stream", b"other").await;
    for (other, state) in [(other["id"].clone(), "delivered"), (json!("0".repeat(64)), "failed")] {
        let body = json!({"template": "terms", "to": ["ann@example.com"], "variables": {"other": other}});
        let trace = node.ended(node.send(body).await["deliveries"][0]["id"].as_str().expect("an id")).await;
        assert_eq!(trace["state"], state, "{trace}");
        assert_eq!(state == "failed", trace.to_string().contains("unknown_material"), "{trace}");
    }
    let mail = &server.mails()[0].data;
    assert!(mail.contains("filename=\"terms.pdf\"") && mail.contains("JVBERi0xLjc="), "{mail}");
    assert!(mail.contains("filename=\"b.bin\"") && mail.contains("b3RoZXI="), "{mail}");

    let path = format!("/v1/materials/{id}");
    assert_eq!(node.delete(&path).await.problem(409), "conflict");
    assert_eq!(node.delete("/v1/templates/terms").await.status, 204);
    assert_eq!(node.delete(&path).await.status, 204);
    node.stop().await;
}
