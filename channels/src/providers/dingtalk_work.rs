//! `dingtalk_work`: sends work notices of a DingTalk application to people and departments.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tidings_contract::{
    Call, Channel, FieldError, Material, MediaPlace, Outcome, Provider, ProviderInfo, Reason, Receipt, ReceiptMark,
    Secret, Sent, Settings, Target, Time, Token, Unsupported, Uploaded,
};

use crate::SandboxInbox;
use crate::batch::{self, Group, groups};
use crate::catalog::dingtalk::WORK_KINDS;
use crate::codes::{DINGTALK, is_invalid_media};
use crate::company_app::CompanyApp;
use crate::http::HeaderMap;
use crate::json_api::{DEADLINE, ENDPOINT, GivenMedia, TIMEOUT, Verdict, needed, needed_secret, no_token, refused};
use crate::media::places;
use crate::message::build;
use crate::multipart::form;

/// Most users of one call; the result of a call with more cannot be asked for.
const MOST_USERS: usize = 100;
/// Recipients that are many people.
const EVERYONE: &str = "@all";
const DEPARTMENT: &str = "dept:";
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
struct Account(CompanyApp);

impl Provider for DingtalkWork {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let app = CompanyApp::open(settings, ["app_key", "app_secret"], "https://oapi.dingtalk.com")?;
        Ok(Arc::new(Account(app)))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        let Some(token) = &call.token else { return vec![no_token(); call.targets.len()] };
        let alone = |target: &Target| is_group(&target.to);
        let groups = groups(call, MOST_USERS, alone);
        batch::send(groups, self.0.api.timeout(), DEADLINE, |group| self.group(call.at, token, group)).await
    }

    async fn fetch_token(&self) -> Option<Result<Token, Reason>> {
        Some(self.0.fetch_token("/gettoken", ["appkey", "appsecret"], &DINGTALK).await)
    }

    async fn recall(&self, sent: &Sent, token: Option<&Secret>) -> Result<Outcome, Unsupported> {
        let Some(token) = token else { return Ok(no_token()) };
        let Ok(notice) = sent.provider_id.parse::<u64>() else { return Err(Unsupported("recall")) };
        let body = json!({"agent_id": self.0.agent_id, "msg_task_id": notice});
        let sent =
            self.0.api.post(self.0.api.url(RECALL, &[("access_token", token.expose())]), HeaderMap::new(), &body).await;
        Ok(self.0.api.settle(sent, Some(token), |answer| {
            let said = Verdict::accept::<Verdict>(answer, Time(0), &DINGTALK);
            said.map_or_else(|outcome| outcome, |_| Outcome::Delivered { provider_id: None })
        }))
    }

    fn media(&self, content: &Value) -> Vec<MediaPlace> {
        places(WORK_KINDS, content)
    }

    fn media_gone(&self, reason: &Reason) -> bool {
        is_invalid_media(reason)
    }

    async fn upload(
        &self,
        material: &Material,
        kind: &str,
        token: Option<&Secret>,
    ) -> Result<Result<Uploaded, Outcome>, Unsupported> {
        let Some(token) = token else { return Ok(Err(no_token())) };
        let url = self.0.api.url("/media/upload", &[("access_token", token.expose())]);
        let read = |answer: &_| Verdict::accept::<GivenMedia>(answer, Time(0), &DINGTALK);
        let sent =
            self.0.api.upload(url, HeaderMap::new(), form(&[("type", kind)], "media", material), Some(token), read);
        Ok(sent.await.map(|given| Uploaded { id: given.media_id, good_for: Uploaded::LONG }))
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
                Ok(result) => {
                    let of_groups = sent.iter().filter(|sent| sent.provider_id == id && is_group(&sent.to));
                    receipts.extend(of_groups.filter_map(|sent| result.of_group(sent)));
                    receipts.extend(result.receipts(id));
                }
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

fn is_group(to: &str) -> bool {
    to == EVERYONE || to.starts_with(DEPARTMENT)
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
    invalid_dept_id_list: Vec<Value>,
    forbidden_list: Vec<Forbidden>,
}

/// Why somebody did not get a notice.
#[derive(Deserialize)]
struct Forbidden {
    code: String,
    userid: String,
}

impl SendResult {
    /// What can be known of a notice to many people under one name: that nobody got it, that somebody did, or that somebody
    /// read it. Of more people than a call may name, the vendor lists none.
    fn of_group(&self, sent: &Sent) -> Option<Receipt> {
        let dept = sent.to.strip_prefix(DEPARTMENT).unwrap_or_default();
        let is_it = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned) == dept;
        let nobody = [&self.invalid_user_id_list, &self.forbidden_user_id_list, &self.failed_user_id_list];
        let (mark, code) = match self {
            _ if self.invalid_dept_id_list.iter().any(is_it) => (ReceiptMark::Bounced, Some("invalid_dept")),
            _ if !self.read_user_id_list.is_empty() => (ReceiptMark::Read, None),
            _ if !self.unread_user_id_list.is_empty() => (ReceiptMark::Received, None),
            _ if nobody.iter().any(|people| !people.is_empty()) => (ReceiptMark::Bounced, Some("nobody")),
            _ => return None,
        };
        let reason = code.map(|code| Reason::new(code, ""));
        Some(Receipt { to: Some(sent.to.clone()), reason, ..Receipt::new(&sent.provider_id, mark) })
    }

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
                to: Some(to.clone()),
                reason: code.map(|code| Reason::new(if code.is_empty() { why(to) } else { code.to_owned() }, "")),
                ..Receipt::new(id, mark)
            }));
        }
        receipts
    }
}

impl Account {
    async fn result(&self, id: &str, token: &Secret) -> Result<SendResult, Reason> {
        let Ok(notice) = id.parse::<u64>() else { return Ok(SendResult::default()) };
        let body = json!({"agent_id": self.0.agent_id, "task_id": notice});
        let sent =
            self.0.api.post(self.0.api.url(RESULT, &[("access_token", token.expose())]), HeaderMap::new(), &body).await;
        let read = |answer: &_| Verdict::accept::<Asked>(answer, Time(0), &DINGTALK);
        self.0.api.settle_as(sent, Some(token), read).map(|asked| asked.send_result)
    }

    async fn group(&self, at: Time, token: &Secret, group: Group<'_>) -> Vec<Outcome> {
        let count = group.targets.len();
        let body = match self.body(group.content, &group.targets) {
            Ok(body) => body,
            Err(detail) => return vec![refused(detail); count],
        };
        let sent =
            self.0.api.post(self.0.api.url(SEND, &[("access_token", token.expose())]), HeaderMap::new(), &body).await;
        let outcome =
            self.0.api.settle(sent, Some(token), |answer| match Verdict::accept::<Taken>(answer, at, &DINGTALK) {
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
        let mut body = json!({"agent_id": self.0.agent_id, "msg": {"msgtype": kind.vendors, kind.vendors: part}});
        match targets[0].to.as_str() {
            EVERYONE => body["to_all_user"] = true.into(),
            to => match to.strip_prefix(DEPARTMENT) {
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
#[path = "../provider_tests/dingtalk_work.rs"]
pub(super) mod tests;
