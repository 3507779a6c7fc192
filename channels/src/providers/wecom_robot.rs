//! `wecom_robot`: posts to a robot of a WeCom group.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use tidings_contract::{
    Call, Channel, FieldError, Material, Materials, MediaPlace, Outcome, Provider, ProviderInfo, Reason, Secret,
    Settings, Target, Time, Unsupported, Uploaded, material_in,
};

use crate::SandboxInbox;
use crate::catalog::wecom::ROBOT_KINDS;
use crate::codes::{WECOM, WECOM_MEDIA, is_invalid_media};
use crate::http::{HeaderMap, each};
use crate::json_api::{Api, ApiSettings, DEADLINE, ENDPOINT, GivenMedia, TIMEOUT, Verdict, needed_secret, refused};
use crate::media::places;
use crate::message::build;
use crate::multipart::form;
use crate::reading::Reading;
use crate::show;

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
        each(call, |target| self.one(call.at, target, call.materials.as_deref())).await
    }

    fn media(&self, content: &Value) -> Vec<MediaPlace> {
        places(ROBOT_KINDS, content)
    }

    fn media_gone(&self, reason: &Reason) -> bool {
        is_invalid_media(reason)
    }

    async fn upload(
        &self,
        material: &Material,
        kind: &str,
        _: Option<&Secret>,
    ) -> Result<Result<Uploaded, Outcome>, Unsupported> {
        let url = self.api.url("/cgi-bin/webhook/upload_media", &[("key", self.key.expose()), ("type", kind)]);
        let read = |answer: &_| Verdict::accept::<GivenMedia>(answer, Time(0), &WECOM);
        let sent = self.api.upload(url, HeaderMap::new(), form(&[], "media", material), None, read).await;
        Ok(sent.map(|given| Uploaded { id: given.media_id, good_for: WECOM_MEDIA }))
    }
}

impl Account {
    async fn one(&self, at: Time, target: &Target, materials: Option<&dyn Materials>) -> Outcome {
        let picture = match picture(&target.content, materials).await {
            Ok(picture) => picture,
            Err(outcome) => return outcome,
        };
        let body = match body(&target.content, picture) {
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

/// The picture of an image that is named as a material: it goes out in the message itself, not by an id.
async fn picture(content: &Value, materials: Option<&dyn Materials>) -> Result<Option<Arc<Material>>, Outcome> {
    let named = content.get("base64").and_then(Value::as_str).and_then(material_in);
    let Some(id) = named.filter(|_| content.get("type").is_some_and(|kind| kind == "image")) else { return Ok(None) };
    let id = id.map_err(|detail| refused(format!("base64 {detail}")))?;
    if show::is_on() {
        // A preview fetches nothing.
        let bytes = b"(read when the message is sent)".as_slice().into();
        return Ok(Some(Arc::new(Material { name: id, media_type: "image/png".to_owned(), bytes })));
    }
    let materials = materials.ok_or_else(|| refused("base64 names a material, and there are none here"))?;
    materials.get(&id).await.map(Some)
}

/// The vendor's message out of our content.
fn body(content: &Value, picture: Option<Arc<Material>>) -> Result<Value, String> {
    let (kind, mut part) = build(ROBOT_KINDS, content)?;
    let part = match (kind.vendors, picture) {
        ("template_card", _) => part.remove("card").unwrap_or_default(),
        ("image", Some(picture)) => image(STANDARD.encode(&picture.bytes), &picture.bytes),
        ("image", None) => {
            let base64: String =
                part["base64"].as_str().unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
            let bytes = STANDARD.decode(&base64).map_err(|_| "base64 is not base64".to_owned())?;
            image(base64, &bytes)
        }
        _ => part.into(),
    };
    Ok(json!({"msgtype": kind.vendors, kind.vendors: part}))
}

/// The vendor wants the hash of the picture itself beside it.
fn image(base64: String, bytes: &[u8]) -> Value {
    let md5: String = Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"base64": base64, "md5": md5})
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::conformance::{Golden, MATERIAL, Subject, UploadCase, every};
    use crate::golden::{Trial, coded};
    use crate::testing::{HttpReply, HttpServer};

    const PAGE: &str = "WeCom developer centre: Group robots (document 91770)";

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"key": "693axxx6-7aoc", "endpoint": url, "timeout_ms": 3_000}),
            content: || json!({"type": "text", "text": "hi"}),
            taken: fine,
            blame: "Account",
            complains: |words| HttpReply::json(200, &json!({"errcode": 93_000, "errmsg": words})),
            answers: || {
                every(&WECOM, 999_999, |code| HttpReply::json(200, &json!({"errcode": code, "errmsg": "the words"})))
            },
            golden: || {
                let card = json!({"card_type": "text_notice", "main_title": {"title": "T", "desc": "D"},
                    "card_action": {"type": 1, "url": "https://work.weixin.qq.com"}});
                Golden::each(
                    PAGE,
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
            uploads: || {
                let case = |name, kind, file| UploadCase::wecom(name, PAGE, kind, file);
                vec![
                    case("upload_file", "file", ("terms.pdf", "application/pdf")),
                    case("upload_voice", "voice", ("a.amr", "audio/amr")),
                ]
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

    #[derive(Debug)]
    struct Shelf;

    #[async_trait]
    impl Materials for Shelf {
        async fn get(&self, id: &str) -> Result<Arc<Material>, Outcome> {
            assert_eq!(id, MATERIAL);
            let bytes = Arc::from(&b"hello"[..]);
            Ok(Arc::new(Material { name: "a.png".into(), media_type: "image/png".into(), bytes }))
        }
    }

    #[tokio::test]
    async fn a_picture_that_is_a_material_goes_out_in_the_message() {
        let server = HttpServer::start(fine()).await.expect("a free port");
        let account = trial().account(&server);
        let named = |base64: &str| {
            let mut call = crate::testing::call(&["ops"], json!({"type": "image", "base64": base64}));
            call.materials = Some(Arc::new(Shelf));
            call
        };
        let outcomes = account.send(&named(&format!("material:{MATERIAL}"))).await;
        assert_eq!(outcomes, [Outcome::Delivered { provider_id: None }]);
        let image = json!({"base64": "aGVsbG8=", "md5": "5d41402abc4b2a76b9719d911017c592"});
        assert_eq!(server.requests()[0].json(), json!({"msgtype": "image", "image": image}));
        let outcomes = account.send(&named("material:a.png")).await;
        assert_eq!(outcomes, [refused("base64 must be material: and the id of a material")]);
        let homeless = Call { materials: None, ..named(&format!("material:{MATERIAL}")) };
        assert_eq!(account.send(&homeless).await, [refused("base64 names a material, and there are none here")]);
        assert_eq!(server.count(), 1);
    }
}
