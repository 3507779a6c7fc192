//! `wecom_robot`: posts to a robot of a WeCom group.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Value, json};
use tidings_contract::{
    Call, Channel, FieldError, Material, Outcome, Provider, ProviderInfo, Reason, Secret, Settings, Target, Time,
    Unsupported,
};

use crate::SandboxInbox;
use crate::catalog::wecom::ROBOT_KINDS;
use crate::codes::WECOM;
use crate::http::{HeaderMap, Method, each, header};
use crate::json_api::{Api, ApiSettings, DEADLINE, ENDPOINT, TIMEOUT, Verdict, needed_secret, refused};
use crate::message::build;
use crate::multipart::form;
use crate::reading::Reading;

static INFO: ProviderInfo = ProviderInfo {
    name: "wecom_robot",
    channel: "wecom_robot",
    doc: "Posts to a robot of a WeCom group. Vendor's limit: 20 messages a minute for each robot.",
    source: "WeCom developer centre: Group robots (document 91770); Global error codes (document 90313)",
    settings: &[
        needed_secret("key", "What stands after key= in the robot's webhook address, without the rest of the address."),
        ENDPOINT,
        TIMEOUT,
    ],
    example: r#"{"key": "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"}"#,
    max_recipients: 1,
    deadline: DEADLINE,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(WecomRobot)
}

#[derive(Debug)]
struct WecomRobot;

#[derive(Debug)]
struct Account {
    api: Api,
    key: Secret,
}

impl Provider for WecomRobot {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let key = reading.needed_secret("key").cloned();
        if key.as_ref().is_some_and(|key| key.expose().contains([':', '/', '=', '&'])) {
            reading.wrong("key", "must be what stands after key= and nothing else");
        }
        let api = ApiSettings::read(&mut reading, "https://qyapi.weixin.qq.com");
        let (key, api) = reading.finish(key.zip(api))?;
        Ok(Arc::new(Account { api: api.open([&key])?, key }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        each(call, |target| self.one(call.at, target)).await
    }

    async fn upload(&self, material: &Material, _: Option<&Secret>) -> Result<Result<String, Reason>, Unsupported> {
        let kind = if material.media_type == "audio/amr" { "voice" } else { "file" };
        let url = self.api.url("/cgi-bin/webhook/upload_media", &[("key", self.key.expose()), ("type", kind)]);
        let (content_type, body) = form(&[], "media", material);
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
        let sent = self.api.call(Method::POST, url, headers, body).await;
        let read = |answer: &_| Verdict::accept::<Uploaded>(answer, Time(0), &WECOM);
        Ok(self.api.settle_as(sent, None, read).map(|uploaded| uploaded.media_id))
    }
}

/// What the answer to an upload holds.
#[derive(Deserialize)]
struct Uploaded {
    media_id: String,
}

impl Account {
    async fn one(&self, at: Time, target: &Target) -> Outcome {
        let body = match body(&target.content) {
            Ok(body) => body,
            Err(detail) => return refused(detail),
        };
        let url = self.api.url("/cgi-bin/webhook/send", &[("key", self.key.expose())]);
        let sent = self.api.post(url, HeaderMap::new(), &body).await;
        self.api.settle(sent, None, |answer| match Verdict::accept::<Verdict>(answer, at, &WECOM) {
            Ok(_) => Outcome::Delivered { provider_id: None },
            Err(outcome) => outcome,
        })
    }
}

/// The vendor's message out of our content.
fn body(content: &Value) -> Result<Value, String> {
    let (kind, mut part) = build(ROBOT_KINDS, content)?;
    let part = match kind.vendors {
        "template_card" => part.remove("card").unwrap_or_default(),
        "image" => {
            // The vendor wants the hash of the picture itself beside it.
            let base64: String =
                part["base64"].as_str().unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
            let bytes = STANDARD.decode(&base64).map_err(|_| "base64 is not base64".to_owned())?;
            let md5: String = Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            json!({"base64": base64, "md5": md5})
        }
        _ => part.into(),
    };
    Ok(json!({"msgtype": kind.vendors, kind.vendors: part}))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::conformance::{Golden, Subject};
    use crate::golden::{Trial, coded};
    use crate::testing::{HttpReply, HttpServer};

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"key": "693axxx6-7aoc", "endpoint": url, "timeout_ms": 3_000}),
            content: || json!({"type": "text", "text": "hi"}),
            taken: fine,
            blame: "Account",
            complains: |words| HttpReply::json(200, &json!({"errcode": 93_000, "errmsg": words})),
            golden: || {
                let card = json!({"card_type": "text_notice", "main_title": {"title": "T", "desc": "D"},
                    "card_action": {"type": 1, "url": "https://work.weixin.qq.com"}});
                Golden::each(
                    "WeCom developer centre: Group robots (document 91770)",
                    &["ops"],
                    [
                        (
                            "text",
                            json!({"type": "text", "text": "hi", "mentioned_list": ["wangqing", "@all"],
                                "mentioned_mobile_list": ["13800001111", "@all"]}),
                        ),
                        ("markdown", json!({"type": "markdown", "text": "**hi** <@wangqing>"})),
                        ("markdown_v2", json!({"type": "markdown_v2", "text": "# hi"})),
                        // The bytes of "hello"; their MD5 is what `printf hello | md5sum` says.
                        ("image", json!({"type": "image", "base64": "aGVs\nbG8="})),
                        (
                            "news",
                            json!({"type": "news",
                                "articles": [{"title": "T", "url": "u", "description": "d", "picurl": "p"}]}),
                        ),
                        ("file", json!({"type": "file", "media_id": "3a8a"})),
                        ("voice", json!({"type": "voice", "media_id": "3a8a"})),
                        ("template_card", json!({"type": "template_card", "card": card})),
                    ],
                )
            },
            ..Subject::HTTP
        })
    }

    fn fine() -> HttpReply {
        HttpReply::json(200, &json!({"errcode": 0, "errmsg": "ok"}))
    }

    fn trial() -> Trial {
        Trial {
            provider: INFO.name,
            settings: json!({"key": "693axxx6-7aoc-4bc4-97a0-0ec2sifa5aaa"}),
            path: "",
            token: None,
            secrets: &["693axxx6-7aoc-4bc4-97a0-0ec2sifa5aaa"],
        }
    }

    #[tokio::test]
    async fn every_documented_code_has_its_class() {
        let cases = [
            (-1, "later errcode_-1"),
            (45_009, "later errcode_45009 60000"),
            (40_007, "never errcode_40007 Content"),
            (40_008, "never errcode_40008 Content"),
            (40_058, "never errcode_40058 Content"),
            (44_004, "never errcode_44004 Content"),
            (45_002, "never errcode_45002 Content"),
            (93_000, "never errcode_93000 Account"),
            (93_004, "never errcode_93004 Account"),
            (93_008, "never errcode_93008 Account"),
            (999_999, "later errcode_999999"),
        ];
        let content = json!({"type": "text", "text": "hi"});
        trial().classes("ops", &content, coded(200, "errcode", "errmsg", &cases)).await;
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_refused_before_anything_goes_out() {
        for (content, words) in [
            (json!({"type": "image", "base64": "no base64!"}), "base64 is not base64"),
            (json!({"type": "file"}), "media_id is missing"),
        ] {
            let (outcomes, requests) = trial().send(&["ops"], &content, []).await;
            assert_eq!((outcomes, requests), (vec![refused(words)], vec![]));
        }
    }

    #[tokio::test]
    async fn a_file_is_uploaded_as_a_form_and_its_media_id_comes_back() {
        let server = HttpServer::start(HttpReply::json(
            200,
            &json!({"errcode": 0, "errmsg": "ok", "type": "file", "media_id": "1G6nrLmr5", "created_at": "1380000000"}),
        ));
        let server = server.await.expect("a free port");
        let account = trial().account(&server);
        let material =
            Material { name: "a.txt".into(), media_type: "text/plain".into(), bytes: Arc::from(&b"hello"[..]) };
        assert_eq!(account.upload(&material, None).await, Ok(Ok("1G6nrLmr5".to_owned())));
        let request = &server.requests()[0];
        assert_eq!(request.method, "POST");
        let key = "693axxx6-7aoc-4bc4-97a0-0ec2sifa5aaa";
        assert_eq!(request.target, format!("/cgi-bin/webhook/upload_media?key={key}&type=file"));
        assert!(request.header("content-type").is_some_and(|kind| kind.starts_with("multipart/form-data; boundary=")));
        let body = String::from_utf8_lossy(&request.body);
        assert!(body.contains("name=\"media\"; filename=\"a.txt\"; filelength=5\r\n"), "{body}");

        server.set(HttpReply::json(200, &json!({"errcode": 40_006, "errmsg": "too large"})));
        let refused = account.upload(&material, None).await;
        assert_eq!(refused, Ok(Err(Reason::new("errcode_40006", "too large"))));
    }
}
