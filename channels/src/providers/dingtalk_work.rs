//! `dingtalk_work`: sends work notices of a DingTalk application to people and departments.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tidings_contract::{
    Call, Channel, FieldError, Material, Outcome, Provider, ProviderInfo, Reason, Receipt, ReceiptMark, Secret, Sent,
    Settings, Target, Time, Token, Unsupported,
};

use crate::SandboxInbox;
use crate::batch::{self, Group, groups};
use crate::catalog::dingtalk::WORK_KINDS;
use crate::codes::DINGTALK;
use crate::http::{HeaderMap, Method, header};
use crate::json_api::{
    Api, ApiSettings, DEADLINE, ENDPOINT, GivenToken, TIMEOUT, Verdict, needed, needed_secret, no_token, refused,
};
use crate::message::build;
use crate::multipart::form;
use crate::reading::Reading;

/// Most users of one call; the result of a call with more cannot be asked for.
const MOST_USERS: usize = 100;
const SEND: &str = "/topapi/message/corpconversation/asyncsend_v2";
const RESULT: &str = "/topapi/message/corpconversation/getsendresult";
const RECALL: &str = "/topapi/message/corpconversation/recall";

static INFO: ProviderInfo = ProviderInfo {
    name: "dingtalk_work",
    channel: "dingtalk_work",
    doc: "Sends work notices of a DingTalk application. Vendor's limits: 5,000 people a minute, 500 notices a day for each \
          person, the same text to the same person once a day (a repeat is taken and not shown).",
    source: "DingTalk open platform: Sending work notices; Message types of work notices; Getting the result of work \
             notices; Taking work notices back; Getting an application's access token; Uploading media",
    settings: &[
        needed("app_key", "The application's key (ding…)."),
        needed_secret("app_secret", "The application's secret."),
        needed("agent_id", "The application's id, a whole number."),
        ENDPOINT,
        TIMEOUT,
    ],
    example: r#"{"app_key": "ding0123456789abcdef", "app_secret": "0123456789abcdef", "agent_id": 836390886}"#,
    max_recipients: MOST_USERS,
    deadline: DEADLINE,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(DingtalkWork)
}

#[derive(Debug)]
struct DingtalkWork;

#[derive(Debug)]
struct Account {
    api: Api,
    app_key: String,
    app_secret: Secret,
    agent_id: u64,
}

impl Provider for DingtalkWork {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let app_key = reading.needed_text("app_key").to_owned();
        let app_secret = reading.needed_secret("app_secret").cloned();
        let agent_id = reading.known("agent_id", "must be a whole number", settings.number("agent_id"));
        let api = ApiSettings::read(&mut reading, "https://oapi.dingtalk.com");
        let ((app_secret, agent_id), api) = reading.finish(app_secret.zip(agent_id).zip(api))?;
        Ok(Arc::new(Account { api: api.open([&app_secret])?, app_key, app_secret, agent_id }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        let Some(token) = &call.token else { return vec![no_token(); call.targets.len()] };
        let alone = |target: &Target| target.to == "@all" || target.to.starts_with("dept:");
        let groups = groups(call, MOST_USERS, alone);
        batch::send(groups, self.api.timeout(), DEADLINE, |group| self.group(call.at, token, group)).await
    }

    async fn fetch_token(&self) -> Option<Result<Token, Reason>> {
        let query = [("appkey", self.app_key.as_str()), ("appsecret", self.app_secret.expose())];
        let sent = self.api.call(Method::GET, self.api.url("/gettoken", &query), HeaderMap::new(), bytes::Bytes::new());
        let read = |answer: &_| Verdict::accept::<GivenToken>(answer, Time(0), &DINGTALK);
        Some(self.api.settle_token(sent.await, read).map(Token::from))
    }

    async fn recall(&self, sent: &Sent, token: Option<&Secret>) -> Result<Outcome, Unsupported> {
        let Some(token) = token else { return Ok(no_token()) };
        let Ok(task) = sent.provider_id.parse::<u64>() else { return Err(Unsupported("recall")) };
        let body = json!({"agent_id": self.agent_id, "msg_task_id": task});
        let sent =
            self.api.post(self.api.url(RECALL, &[("access_token", token.expose())]), HeaderMap::new(), &body).await;
        Ok(self.api.settle(sent, Some(token), |answer| {
            let said = Verdict::accept::<Verdict>(answer, Time(0), &DINGTALK);
            said.map_or_else(|outcome| outcome, |_| Outcome::Delivered { provider_id: None })
        }))
    }

    async fn upload(&self, material: &Material, token: Option<&Secret>) -> Result<Result<String, Reason>, Unsupported> {
        let Some(token) = token else { return Ok(Err(Reason::new(Token::INVALID, "no access token was given"))) };
        let kind = match material.media_type.split('/').next() {
            Some("image") => "image",
            Some("video") => "video",
            Some("audio") => "voice",
            _ => "file",
        };
        let url = self.api.url("/media/upload", &[("access_token", token.expose())]);
        let (content_type, body) = form(&[("type", kind)], "media", material);
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
        let sent = self.api.call(Method::POST, url, headers, body).await;
        let read = |answer: &_| Verdict::accept::<Uploaded>(answer, Time(0), &DINGTALK);
        Ok(self.api.settle_as(sent, Some(token), read).map(|uploaded| uploaded.media_id))
    }

    async fn ask_receipts(
        &self,
        sent: &[Sent],
        token: Option<&Secret>,
    ) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        let Some(token) = token else { return Ok(Err(Reason::new(Token::INVALID, "no access token was given"))) };
        let mut ids: Vec<&str> = sent.iter().map(|sent| sent.provider_id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut receipts = Vec::new();
        for id in ids {
            match self.result(id, token).await {
                Ok(result) => receipts.extend(result.receipts(id)),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let asked = |receipt: &Receipt| {
            sent.iter().any(|sent| sent.provider_id == receipt.provider_id && receipt.to.as_ref() == Some(&sent.to))
        };
        receipts.retain(asked);
        Ok(Ok(receipts))
    }
}

/// What the answer to an upload holds.
#[derive(Deserialize)]
struct Uploaded {
    media_id: String,
}

/// What the answer to a notice holds.
#[derive(Deserialize)]
struct Taken {
    task_id: u64,
}

#[derive(Deserialize)]
struct Asked {
    send_result: SendResult,
}

/// What became of a notice, by user ids.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SendResult {
    invalid_user_id_list: Vec<String>,
    forbidden_user_id_list: Vec<String>,
    failed_user_id_list: Vec<String>,
    read_user_id_list: Vec<String>,
    unread_user_id_list: Vec<String>,
    forbidden_list: Vec<Forbidden>,
}

/// Why somebody did not get a notice.
#[derive(Deserialize)]
struct Forbidden {
    code: String,
    userid: String,
}

impl SendResult {
    fn receipts(self, id: &str) -> Vec<Receipt> {
        let why = |to: &str| {
            let found = self.forbidden_list.iter().find(|forbidden| forbidden.userid == to);
            found.map_or_else(|| "forbidden".to_owned(), |forbidden| format!("errcode_{}", forbidden.code))
        };
        let lists: [(&Vec<String>, ReceiptMark, Option<&str>); 5] = [
            (&self.read_user_id_list, ReceiptMark::Read, None),
            (&self.unread_user_id_list, ReceiptMark::Received, None),
            (&self.invalid_user_id_list, ReceiptMark::Bounced, Some("invalid_user")),
            (&self.failed_user_id_list, ReceiptMark::Bounced, Some("failed")),
            (&self.forbidden_user_id_list, ReceiptMark::Bounced, Some("")),
        ];
        let mut receipts = Vec::new();
        for (names, mark, code) in lists {
            receipts.extend(names.iter().map(|to| Receipt {
                provider_id: id.to_owned(),
                to: Some(to.clone()),
                mark,
                reason: code.map(|code| Reason::new(if code.is_empty() { why(to) } else { code.to_owned() }, "")),
                at: None,
            }));
        }
        receipts
    }
}

impl Account {
    async fn result(&self, id: &str, token: &Secret) -> Result<SendResult, Reason> {
        let Ok(task) = id.parse::<u64>() else { return Ok(SendResult::default()) };
        let body = json!({"agent_id": self.agent_id, "task_id": task});
        let sent =
            self.api.post(self.api.url(RESULT, &[("access_token", token.expose())]), HeaderMap::new(), &body).await;
        let read = |answer: &_| Verdict::accept::<Asked>(answer, Time(0), &DINGTALK);
        self.api.settle_as(sent, Some(token), read).map(|asked| asked.send_result)
    }

    async fn group(&self, at: Time, token: &Secret, group: Group<'_>) -> Vec<Outcome> {
        let count = group.targets.len();
        let body = match self.body(group.content, &group.targets) {
            Ok(body) => body,
            Err(detail) => return vec![refused(detail); count],
        };
        let sent =
            self.api.post(self.api.url(SEND, &[("access_token", token.expose())]), HeaderMap::new(), &body).await;
        let outcome =
            self.api.settle(sent, Some(token), |answer| match Verdict::accept::<Taken>(answer, at, &DINGTALK) {
                Ok(taken) => Outcome::Delivered { provider_id: Some(taken.task_id.to_string()) },
                Err(outcome) => outcome,
            });
        // The vendor takes or refuses the whole; who really got it is told by receipts.
        vec![outcome; count]
    }

    /// The vendor's message out of our content, to all of `targets`.
    fn body(&self, content: &Value, targets: &[&Target]) -> Result<Value, String> {
        let (kind, mut part) = build(WORK_KINDS, content)?;
        if kind.name == "action_card" {
            let single = part.contains_key("single_title") && part.contains_key("single_url");
            if part.contains_key("btn_json_list") {
                part.entry("btn_orientation").or_insert_with(|| "1".into());
                part.retain(|name, _| !name.starts_with("single"));
            } else if !single {
                let lacking = if part.contains_key("single_title") { "single_url" } else { "single_title" };
                return Err(format!("{lacking} is missing"));
            }
        }
        if let Some(duration) = part.get_mut("duration") {
            // The vendor wants its number as a text.
            *duration = duration.to_string().into();
        }
        let mut body = json!({"agent_id": self.agent_id, "msg": {"msgtype": kind.vendors, kind.vendors: part}});
        match targets[0].to.as_str() {
            "@all" => body["to_all_user"] = true.into(),
            to => match to.strip_prefix("dept:") {
                Some(dept) => body["dept_id_list"] = dept.into(),
                None => {
                    let users: Vec<_> = targets.iter().map(|target| target.to.as_str()).collect();
                    body["userid_list"] = users.join(",").into();
                }
            },
        }
        Ok(body)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::conformance::{Golden, Partial, Subject, TokenCase};
    use crate::golden::{Trial, coded};
    use crate::testing::{HttpReply, HttpServer};

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"app_key": "ding1", "app_secret": "s3cret-44b", "agent_id": 836_390_886, "endpoint": url, "timeout_ms": 3_000}),
            content: || json!({"type": "text", "text": "hi"}),
            taken: fine,
            blame: "Account",
            complains: |words| HttpReply::json(200, &json!({"errcode": 33_012, "errmsg": words})),
            partial: || {
                vec![Partial {
                    to: vec!["ann", "bob"],
                    reply: fine(),
                    expected: vec!["delivered 256271667526", "delivered 256271667526"],
                }]
            },
            token: Some(|| TokenCase {
                fetched: HttpReply::json(
                    200,
                    &json!({"errcode": 0, "errmsg": "ok", "access_token": "96fc7a7axxx", "expires_in": 7_200}),
                ),
                token: "96fc7a7axxx",
                expires_in: Duration::from_secs(7_200),
                expired: vec![
                    HttpReply::json(200, &json!({"errcode": 42_001, "errmsg": "expired"})),
                    HttpReply::json(200, &json!({"errcode": 40_014, "errmsg": "invalid"})),
                ],
            }),
            golden: || {
                vec![Golden {
                    name: "text",
                    page: "DingTalk open platform: Sending work notices",
                    to: &["ann", "bob"],
                    content: json!({"type": "text", "text": "hi"}),
                    masked: &[],
                }]
            },
            ..Subject::HTTP
        })
    }

    fn fine() -> HttpReply {
        HttpReply::json(200, &json!({"errcode": 0, "task_id": 256_271_667_526_u64, "request_id": "4jzllmte0wau"}))
    }

    fn trial() -> Trial {
        Trial {
            provider: INFO.name,
            settings: json!({"app_key": "ding1", "app_secret": "s3cret", "agent_id": 836_390_886}),
            path: "",
            token: Some("t0ken"),
            secrets: &["t0ken", "s3cret"],
        }
    }

    // DingTalk: Sending work notices; Message types of work notices, one case for each.
    #[tokio::test]
    async fn every_type_is_the_vendors_message() {
        let msg = |kind: &str, part: Value| json!({"agent_id": 836_390_886, "userid_list": "ann", "msg": {"msgtype": kind, kind: part}});
        let (head, body) = (
            json!({"bgcolor": "FFBBBBBB", "text": "h"}),
            json!({"title": "T",
            "form": [{"key": "k", "value": "v"}], "rich": {"num": "15.6", "unit": "yuan"}, "content": "c",
            "image": "@lAD", "file_count": "3", "author": "Li"}),
        );
        let status = json!({"status_value": "done", "status_bg": "0xFFF65E5E"});
        let buttons = json!([{"title": "Yes", "action_url": "y"}, {"title": "No", "action_url": "n"}]);
        let cases = [
            (json!({"type": "text", "text": "hi"}), msg("text", json!({"content": "hi"}))),
            (json!({"type": "image", "media_id": "@m"}), msg("image", json!({"media_id": "@m"}))),
            (
                json!({"type": "voice", "media_id": "@m", "duration": 10}),
                msg("voice", json!({"media_id": "@m", "duration": "10"})),
            ),
            (json!({"type": "file", "media_id": "@m"}), msg("file", json!({"media_id": "@m"}))),
            (
                json!({"type": "link", "title": "T", "text": "x", "message_url": "u", "pic_url": "@lALO"}),
                msg("link", json!({"title": "T", "text": "x", "messageUrl": "u", "picUrl": "@lALO"})),
            ),
            (
                json!({"type": "markdown", "title": "T", "text": "# x"}),
                msg("markdown", json!({"title": "T", "text": "# x"})),
            ),
            (
                json!({"type": "action_card", "title": "T", "text": "x", "single_title": "Go", "single_url": "u"}),
                msg("action_card", json!({"title": "T", "markdown": "x", "single_title": "Go", "single_url": "u"})),
            ),
            (
                json!({"type": "action_card", "title": "T", "text": "x", "btn_orientation": 0, "btns": buttons}),
                msg(
                    "action_card",
                    json!({"title": "T", "markdown": "x", "btn_orientation": "0", "btn_json_list": buttons}),
                ),
            ),
            (
                json!({"type": "oa", "message_url": "u", "pc_message_url": "p", "head": head, "body": body,
                    "status_bar": status}),
                msg(
                    "oa",
                    json!({"message_url": "u", "pc_message_url": "p", "head": head, "body": body, "status_bar": status}),
                ),
            ),
        ];
        let headers = json!({"content-type": "application/json; charset=utf-8"});
        trial().goldens("ann", &fine(), &format!("POST {SEND}?access_token=***"), &headers, cases).await;
    }

    #[tokio::test]
    async fn people_share_a_request_and_departments_and_everyone_have_one_of_their_own() {
        let content = json!({"type": "text", "text": "hi"});
        for (to, name, value) in [
            (vec!["ann", "bob"], "userid_list", json!("ann,bob")),
            (vec!["dept:7"], "dept_id_list", json!("7")),
            (vec!["@all"], "to_all_user", json!(true)),
        ] {
            let (outcomes, requests) = trial().send(&to, &content, [fine()]).await;
            assert_eq!(requests.len(), 1);
            assert_eq!(requests[0]["body"][name], value);
            let taken = Outcome::Delivered { provider_id: Some("256271667526".to_owned()) };
            assert_eq!(outcomes, vec![taken; to.len()]);
        }
    }

    #[tokio::test]
    async fn every_documented_code_has_its_class() {
        let cases = [
            (-1, "later errcode_-1"),
            (88, "later errcode_88 60000"),
            (90_018, "later errcode_90018 60000"),
            (143_103, "later errcode_143103 60000"),
            (143_104, "later errcode_143104 60000"),
            (143_105, "later errcode_143105 3600000"),
            (143_106, "never errcode_143106 Content"),
            (1_430_002, "never errcode_1430002 Content"),
            (1_430_003, "later errcode_1430003"),
            (1_430_000, "never errcode_1430000 Recipient"),
            (1_430_004, "never errcode_1430004 Recipient"),
            (33_012, "never errcode_33012 Recipient"),
            (40_014, "later token_invalid"),
            (42_001, "later token_invalid"),
            (60_020, "never errcode_60020 Account"),
            (40_035, "never errcode_40035 Content"),
            (999_999, "later errcode_999999"),
        ];
        let content = json!({"type": "text", "text": "hi"});
        trial().classes("ann", &content, coded(200, "errcode", "errmsg", &cases)).await;
        let (outcomes, requests) = Trial { token: None, ..trial() }.send(&["ann"], &content, []).await;
        assert_eq!((outcomes, requests), (vec![no_token()], vec![]));
    }

    #[tokio::test]
    async fn what_became_of_a_notice_is_told_for_each_person_asked_about() {
        let said = json!({"errcode": 0, "send_result": {"invalid_user_id_list": ["zoe"],
            "forbidden_user_id_list": ["bob"], "failed_user_id_list": [], "read_user_id_list": ["ann"],
            "unread_user_id_list": ["cid", "stranger"], "invalid_dept_id_list": [],
            "forbidden_list": [{"code": "143105", "count": 500, "userid": "bob"}]}});
        let server = HttpServer::start(HttpReply::json(200, &said)).await.expect("a free port");
        let delivery = crate::testing::call(&["ann"], json!({})).targets[0].delivery;
        let sent = ["ann", "bob", "cid", "zoe"].map(|to| Sent { delivery, to: to.into(), provider_id: "42".into() });
        let token = Secret::new("t0ken");
        let receipts = trial().account(&server).ask_receipts(&sent, Some(&token)).await;
        let receipts = receipts.expect("it can be asked").expect("it answered");
        let mut told: Vec<_> = receipts
            .iter()
            .map(|r| {
                (r.to.as_deref().unwrap_or(""), r.mark, r.reason.as_ref().map_or("", |reason| reason.code.as_str()))
            })
            .collect();
        told.sort_by_key(|(to, ..)| (*to).to_owned());
        assert_eq!(
            told,
            [
                ("ann", ReceiptMark::Read, ""),
                ("bob", ReceiptMark::Bounced, "errcode_143105"),
                ("cid", ReceiptMark::Received, ""),
                ("zoe", ReceiptMark::Bounced, "invalid_user"),
            ]
        );
        let requests = trial().requests(&server);
        assert_eq!(requests.len(), 1, "one notice is asked about once");
        assert_eq!(requests[0]["request"], format!("POST {RESULT}?access_token=***"));
        assert_eq!(requests[0]["body"], json!({"agent_id": 836_390_886, "task_id": 42}));
    }

    #[tokio::test]
    async fn tokens_are_fetched_notices_taken_back_and_files_uploaded() {
        let given = json!({"errcode": 0, "errmsg": "ok", "access_token": "96fc7a7axxx", "expires_in": 7_200});
        let server = HttpServer::start(HttpReply::json(200, &given)).await.expect("a free port");
        let account = trial().account(&server);
        let token = account.fetch_token().await.expect("it has tokens").expect("it was given");
        assert_eq!((token.secret.expose(), token.expires_in.as_secs()), ("96fc7a7axxx", 7_200));
        server.set(HttpReply::json(200, &json!({"errcode": 0, "errmsg": "ok", "media_id": "@lADO", "type": "image"})));
        let delivery = crate::testing::call(&["ann"], json!({})).targets[0].delivery;
        let sent = Sent { delivery, to: "ann".to_owned(), provider_id: "42".to_owned() };
        let outcome = account.recall(&sent, Some(&Secret::new("t0ken"))).await;
        assert_eq!(outcome, Ok(Outcome::Delivered { provider_id: None }));
        let material = Material { name: "a.png".into(), media_type: "image/png".into(), bytes: Arc::from(&b"png"[..]) };
        assert_eq!(account.upload(&material, Some(&Secret::new("t0ken"))).await, Ok(Ok("@lADO".to_owned())));
        let requests = trial().requests(&server);
        assert_eq!(requests[0]["request"], "GET /gettoken?appkey=ding1&appsecret=***");
        assert_eq!(requests[1]["request"], format!("POST {RECALL}?access_token=***"));
        assert_eq!(requests[1]["body"], json!({"agent_id": 836_390_886, "msg_task_id": 42}));
        assert_eq!(requests[2]["request"], "POST /media/upload?access_token=***");
        assert!(requests[2]["body"].as_str().is_some_and(|body| body.contains("name=\"type\"\r\n\r\nimage\r\n")));
    }
}
