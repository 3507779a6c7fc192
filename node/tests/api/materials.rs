//! Materials: kept by the cluster, sent with mails, and not lost by a restart or a backup.

use serde_json::{Value, json};
use tidings_channels::http::{HeaderValue, Url};
use tidings_channels::testing::{HttpReply, HttpRequest, HttpServer, SmtpScript, SmtpServer};
use tidings_contract::{Secret, Time};

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
    let body = |other: &Value| json!({"template": "terms", "to": ["ann@example.com"], "variables": {"other": other}});
    let trace = node.ended(node.send(body(&other["id"])).await["deliveries"][0]["id"].as_str().expect("an id")).await;
    assert_eq!(trace["state"], "delivered", "{trace}");
    let refused = node.post("/v1/messages", body(&json!("0".repeat(64)))).await;
    assert_eq!(refused.problem(422), "no_valid_recipient");
    assert_eq!(refused.body["rejected"][0]["code"], "unknown_material", "{}", refused.body);
    let mail = &server.mails()[0].data;
    assert!(mail.contains("filename=\"terms.pdf\"") && mail.contains("JVBERi0xLjc="), "{mail}");
    assert!(mail.contains("filename=\"b.bin\"") && mail.contains("b3RoZXI="), "{mail}");

    let path = format!("/v1/materials/{id}");
    assert_eq!(node.delete(&path).await.problem(409), "conflict");
    assert_eq!(node.delete("/v1/templates/terms").await.status, 204);
    assert_eq!(node.delete(&path).await.status, 204);
    node.stop().await;
}

/// The parts of a form: head and body of each.
type FormParts<'a> = &'a [(&'a str, &'a [u8])];

fn form(parts: FormParts<'_>) -> Vec<u8> {
    let mut form = Vec::new();
    for (head, body) in parts {
        form.extend_from_slice(format!("--b0undary\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        form.extend_from_slice(body);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(b"--b0undary--\r\n");
    form
}

async fn put_form(node: &Lone, query: &str, form: Vec<u8>) -> (u16, Value) {
    let url: Url = format!("http://{}/v1/materials{query}", node.running.api_addr).parse().expect("a URL");
    let kind = HeaderValue::from_static("multipart/form-data; boundary=b0undary");
    let answer = client().upload(url, Some(&Secret::new(node.key.as_str())), kind, form.into()).await;
    let answer = answer.expect("the node answers");
    (answer.status, answer.json().expect("JSON"))
}

#[tokio::test]
async fn a_form_brings_the_file_with_its_name_and_type() {
    let node = Lone::start().await;
    let bytes: Vec<u8> = (0..250_000_u32).map(|n| (n % 251) as u8).collect();
    let head = "name=\"file\"; filename=\"terms.pdf\"\r\nContent-Type: application/pdf";
    let (status, material) = put_form(&node, "", form(&[(head, &bytes)])).await;
    let told = (&material["name"], &material["media_type"], &material["bytes"]);
    assert_eq!((status, told), (201, (&json!("terms.pdf"), &json!("application/pdf"), &json!(250_000))), "{material}");
    let id = material["id"].as_str().expect("an id");
    assert_eq!(content(&node, id).await.1, bytes);
    // The same bytes are the same material, whichever way they come and whatever they are called.
    let (_, raw) = put(&node, "terms.pdf", "application/pdf", &bytes).await;
    assert_eq!(raw["id"], id);
    let parts: [(&str, &[u8]); 3] =
        [("name=\"name\"", b"a.bin"), (head, &bytes), ("name=\"media_type\"", b"image/png")];
    let (_, named) = put_form(&node, "", form(&parts)).await;
    assert_eq!(
        (&named["id"], &named["name"], &named["media_type"]),
        (&json!(id), &json!("a.bin"), &json!("image/png"))
    );
    let (_, asked) = put_form(&node, "?name=b.bin", form(&parts)).await;
    assert_eq!(asked["name"], "b.bin");
    assert_eq!(node.get("/v1/materials").await.expect(200)["materials"].as_array().map(Vec::len), Some(1));
    node.stop().await;
}

#[tokio::test]
async fn what_no_form_can_bring_is_refused_by_the_name_of_its_field() {
    let node = Lone::with(|config| config.intake.max_material_bytes = 1_024).await;
    let file = "name=\"file\"; filename=\"a.txt\"";
    let cases: [(FormParts<'_>, u16, &str); 6] = [
        (&[("name=\"name\"", b"a")], 422, "invalid_request"),
        (&[(file, b"")], 422, "invalid_request"),
        (&[(file, &[7; 1_025])], 413, "body_too_large"),
        (&[(file, &[7; 200_000])], 413, "body_too_large"),
        (&[(file, b"x"), ("name=\"kind\"", b"a")], 400, "unknown_field"),
        (&[("name=\"file\"", b"x")], 422, "invalid_request"),
    ];
    for (parts, status, code) in cases {
        let (got, problem) = put_form(&node, "", form(parts)).await;
        assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{problem}");
    }
    let (_, broken) = put_form(&node, "", b"--b0undary\r\nContent-Disp".to_vec()).await;
    assert_eq!(broken["code"], "invalid_request", "{broken}");
    assert_eq!(node.get("/v1/materials").await.expect(200)["materials"], json!([]));
    node.stop().await;
}

#[tokio::test]
async fn a_supplier_gets_a_file_once_and_again_when_it_does_not_know_it() {
    let node = Lone::start().await;
    // One answer for uploads and messages alike.
    let fine = |id: &str| HttpReply::json(200, &json!({"errcode": 0, "errmsg": "ok", "media_id": id}));
    let server = HttpServer::start(fine("m1")).await.expect("a free port");
    let settings = json!({"key": "693a91f6-7aoc", "endpoint": server.url("").trim_end_matches('/')});
    node.put("/v1/accounts/ops", json!({"provider": "wecom_robot", "settings": settings})).await.expect(200);
    let (_, material) = put(&node, "terms.pdf", "application/pdf", b"%PDF-1.7").await;
    let id = material["id"].as_str().expect("an id");
    let spec = |media_id: String| json!({"channel": "wecom_robot", "content": {"type": "file", "media_id": media_id}});
    let refused = node.put("/v1/templates/terms", spec("material:terms.pdf".to_owned())).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    node.template("terms", spec(format!("material:{id}"))).await;
    let send = async |node: &Lone| {
        let sent = node.send(json!({"template": "terms", "to": ["ops"]})).await;
        node.ended(sent["deliveries"][0]["id"].as_str().expect("an id")).await
    };
    let seen = || -> Vec<String> {
        let brief = |request: &HttpRequest| match request.target.contains("upload_media") {
            true => "upload".to_owned(),
            false => request.json()["file"]["media_id"].as_str().expect("an id").to_owned(),
        };
        server.requests().iter().map(brief).collect()
    };
    for _ in 0..2 {
        assert_eq!(send(&node).await["state"], "delivered");
    }
    assert_eq!(seen(), ["upload", "m1", "m1"]);
    assert!(String::from_utf8_lossy(&server.requests()[0].body).contains("filename=\"terms.pdf\""));
    let shown = node.post("/v1/templates/terms/preview", json!({"to": "ops"})).await.expect(200);
    assert_eq!(shown["requests"][0]["body"], "{\"file\":{\"media_id\":\"***\"},\"msgtype\":\"file\"}", "{shown}");

    // What the supplier called it outlives the node.
    let node = node.restart().await;
    assert_eq!(send(&node).await["state"], "delivered");
    assert_eq!(seen().len(), 4, "{:?}", seen());
    server.set(fine("m2"));
    server.then([HttpReply::json(200, &json!({"errcode": 40_007, "errmsg": "invalid media_id"}))]);
    let trace = send(&node).await;
    assert_eq!(trace["state"], "delivered", "{trace}");
    assert!(trace.to_string().contains("media_gone"), "{trace}");
    assert_eq!(seen()[4..], ["m1", "upload", "m2"]);
    node.stop().await;
}

#[tokio::test]
async fn what_was_deleted_is_refused_and_what_waited_for_it_fails_though_the_supplier_still_has_it() {
    let node = Lone::start().await;
    let fine = HttpReply::json(200, &json!({"errcode": 0, "errmsg": "ok", "media_id": "m1"}));
    let server = HttpServer::start(fine).await.expect("a free port");
    let settings = json!({"key": "693a91f6-7aoc", "endpoint": server.url("").trim_end_matches('/')});
    node.put("/v1/accounts/ops", json!({"provider": "wecom_robot", "settings": settings})).await.expect(200);
    let spec = json!({"channel": "wecom_robot", "content": {"type": "file", "media_id": "material:{{ file }}"}});
    node.template("terms", spec).await;
    let (_, material) = put(&node, "terms.pdf", "application/pdf", b"%PDF-1.7").await;
    let id = material["id"].as_str().expect("an id");
    let body = json!({"template": "terms", "to": ["ops"], "variables": {"file": id}});
    let delivery = |sent: Value| sent["deliveries"][0]["id"].as_str().expect("an id").to_owned();
    let sent = delivery(node.send(body.clone()).await);
    assert_eq!(node.ended(&sent).await["state"], "delivered");
    assert_eq!(server.count(), 2, "an upload and a message");

    // One is taken before the deletion and goes out after it.
    let taken = node.get(&format!("/v1/deliveries/{sent}")).await.expect(200);
    let taken = Time::parse(taken["accepted_at"].as_str().expect("a time")).expect("a time");
    let mut waiting = body.clone();
    waiting["send_at"] = json!(taken.after_ms(3_000).to_string());
    let waiting = delivery(node.send(waiting).await);
    assert_eq!(node.delete(&format!("/v1/materials/{id}")).await.status, 204);
    let refused = node.post("/v1/messages", body.clone()).await;
    assert_eq!(refused.problem(422), "no_valid_recipient");
    assert_eq!(refused.body["rejected"][0]["code"], "unknown_material", "{}", refused.body);
    let tried = node.post("/v1/messages?dry_run=true", body.clone()).await;
    assert_eq!(tried.problem(422), "no_valid_recipient", "a dry run says the same");
    let trace = node.ended(&waiting).await;
    assert_eq!(trace["state"], "failed", "{trace}");
    assert!(trace.to_string().contains("unknown_material"), "{trace}");
    assert_eq!(server.count(), 2, "nothing more reached the supplier");

    // Put again it is there again, with its bytes.
    assert_eq!(put(&node, "terms.pdf", "application/pdf", b"%PDF-1.7").await.0, 201);
    assert_eq!(content(&node, id).await.1, b"%PDF-1.7");
    assert_eq!(node.ended(&delivery(node.send(body).await)).await["state"], "delivered");
    node.stop().await;
}
