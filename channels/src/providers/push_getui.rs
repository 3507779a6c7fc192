//! `push/getui`: pushes notices to apps by GeTui.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tidings_contract::{
    Blame, Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Reason, Secret, Sent, Settings, Target, Time,
    Token, Unsupported,
};

use crate::SandboxInbox;
use crate::batch::{self, Group};
use crate::catalog::push::FIELDS;
use crate::http::{Answer, HeaderMap, HeaderName};
use crate::json_api::Class::{Account as Ours, After, Content, Later, Recipient, Token as Spent};
use crate::json_api::{
    Api, ApiSettings, Codes, ENDPOINT, TIMEOUT, needed, needed_secret, no_token, optional, read_coded, refused,
    secret_header,
};
use crate::message::{fields, overlay};
use crate::reading::Reading;
use crate::signing::sha256_hex;
use crate::stable_id::hex32;
use crate::status::words;
use tokio::time::Instant;

/// Most messages of one batch.
const MOST_BATCH: usize = 200;
/// Most client ids of one list. A content for more people than a batch holds goes as a list.
const MOST_LIST: usize = 1_000;
/// Longest time of a call: a list takes two requests.
const LONGER: Duration = Duration::from_secs(45);
/// The reason for which the vendor refuses a client id.
const BAD_CID: &str = "code_20001_cid";
const TOKEN: HeaderName = HeaderName::from_static("token");

static INFO: ProviderInfo = ProviderInfo {
    name: "push/getui",
    channel: "push",
    doc: "Pushes notices to apps by GeTui. Recipients are client ids.",
    source: "GeTui: RestAPI V2, Authentication; RestAPI V2, Push API (push_message.revoke); RestAPI V2, Return codes",
    settings: &[
        needed("app_id", "The app's id."),
        needed("app_key", "The app's key."),
        needed_secret("master_secret", "The app's master secret."),
        optional(
            "offline_channels",
            "Whether the makers of phones carry notices to devices that are off (default false); they must be set up at \
             the vendor.",
        ),
        ENDPOINT,
        TIMEOUT,
    ],
    example: r#"{"app_id": "appid0123456789", "app_key": "appkey0123456789", "master_secret": "0123456789abcdef"}"#,
    max_recipients: MOST_LIST,
    deadline: LONGER,
};

/// The vendor's return codes.
const CODES: Codes<i64> = Codes {
    prefix: "code",
    classes: &[
        (Later, &[2, 30_019, 50_001, 50_002]),
        // 30015: so many lists may be made in a minute.
        (After(60_000), &[10_003, 10_005, 30_015]),
        // So many lists and pushes a day.
        (After(3_600_000), &[30_008, 30_009]),
        (Spent, &[10_001]),
        (Recipient, &[20_002]),
        (Content, &[1, 20_001, 20_003]),
        (Ours, &[301, 404, 405, 10_002, 10_004, 10_006, 30_001, 30_002, 30_003, 40_001]),
    ],
    other: Later,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Getui)
}

#[derive(Debug)]
struct Getui;

#[derive(Debug)]
struct Account {
    api: Api,
    app_id: String,
    app_key: String,
    master_secret: Secret,
    offline_channels: bool,
}

impl Provider for Getui {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let [app_id, app_key] = ["app_id", "app_key"].map(|name| reading.needed_text(name).to_owned());
        let master_secret = reading.needed_secret("master_secret").cloned();
        let offline_channels = reading.flag("offline_channels", false);
        let api = ApiSettings::read(&mut reading, "https://restapi.getui.com");
        let (master_secret, api) = reading.finish(master_secret.zip(api))?;
        Ok(Arc::new(Account { api: api.open([&master_secret])?, app_id, app_key, master_secret, offline_channels }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        let Some(token) = &call.token else { return vec![no_token(); call.targets.len()] };
        // A list takes two requests one after the other, so both must have their time.
        let (begun, timeout) = (Instant::now(), self.api.timeout() * 2);
        let groups = batches(call);
        let one = |group| self.group(call.at, token, group);
        let mut outcomes = batch::send(groups.clone(), timeout, LONGER, one).await;
        // A batch that was refused for somebody's client id is sent one by one, so that the others have theirs.
        let shared = groups.into_iter().filter(|group| group.targets.len() > 1).collect();
        let refused = |group: &Group<'_>| outcomes[group.place()].reason().is_some_and(|reason| reason.code == BAD_CID);
        let alone: Vec<_> = Group::packed(shared, 1).into_iter().filter(refused).collect();
        let places: Vec<_> = alone.iter().map(Group::place).collect();
        let again = batch::send(alone, self.api.timeout(), LONGER.saturating_sub(begun.elapsed()), one).await;
        for place in places {
            outcomes[place] = again[place].clone();
        }
        outcomes
    }

    /// A push of its own tells the device to take the other one off again. The vendor takes back what its own channel
    /// brought; what a maker's channel did stays.
    async fn recall(&self, sent: &Sent, token: Option<&Secret>) -> Result<Outcome, Unsupported> {
        let Some(token) = token else { return Ok(no_token()) };
        let body = json!({
            // Not that of the notice, or the vendor would drop it as a repeat.
            "request_id": &sha256_hex(format!("revoke {}", sent.delivery).as_bytes())[..32],
            "audience": {"cid": [sent.to]},
            "push_message": {"revoke": {"old_task_id": sent.provider_id, "force": false}},
        });
        let results: Result<Results, Outcome> = self.post(Time(0), token, "/push/single/cid", &body).await;
        Ok(match results.map_or_else(|outcome| outcome, |results| judge(&results, &sent.to)) {
            Outcome::Delivered { .. } => Outcome::Delivered { provider_id: None },
            other => other,
        })
    }

    async fn fetch_token_at(&self, at: Time) -> Option<Result<Token, Reason>> {
        let timestamp = at.0.to_string();
        let text = format!("{}{timestamp}{}", self.app_key, self.master_secret.expose());
        let sign: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        let body = json!({"sign": sign, "timestamp": timestamp, "appkey": self.app_key});
        let sent = self.api.post(self.url("/auth"), HeaderMap::new(), &body).await;
        let given = self.api.settle_token(sent, |answer| accept::<Given>(answer, at));
        // The vendor tells the moment at which the token ends.
        Some(given.map(|given| {
            let ends = given.expire_time.parse::<u64>().unwrap_or(at.0);
            Token { secret: given.token, expires_in: Duration::from_millis(ends.saturating_sub(at.0)) }
        }))
    }
}

#[derive(Deserialize)]
struct Given {
    token: Secret,
    expire_time: String,
}

#[derive(Deserialize)]
struct Said<T> {
    code: i64,
    #[serde(default)]
    msg: String,
    data: Option<T>,
}

#[derive(Deserialize)]
struct Created {
    taskid: String,
}

/// Results by the vendor's id of the push (`taskid`) and client id.
type Results = BTreeMap<String, BTreeMap<String, String>>;

/// Everyone with one content in a list if they are more than a batch holds; all others in batches, whatever they get.
fn batches(call: &Call) -> Vec<Group<'_>> {
    let mut groups = batch::groups(call, MOST_LIST, |_| false);
    let lists = groups.extract_if(.., |group| group.targets.len() > MOST_BATCH).collect::<Vec<_>>();
    lists.into_iter().chain(Group::packed(groups, MOST_BATCH)).collect()
}

impl Account {
    fn url(&self, path: &str) -> crate::http::Url {
        self.api.url(&format!("/v2/{}{path}", self.app_id), &[])
    }

    async fn group(&self, at: Time, token: &Secret, group: Group<'_>) -> Vec<Outcome> {
        let mut messages = Vec::with_capacity(group.targets.len());
        let mut outcomes: Vec<Option<Outcome>> = vec![None; group.targets.len()];
        let is_list = group.targets.len() > MOST_BATCH;
        for (place, target) in group.targets.iter().enumerate().take(if is_list { 1 } else { MOST_BATCH }) {
            match self.message(target, is_list) {
                Ok(message) => messages.push(message),
                Err(detail) if is_list => return vec![refused(detail); group.targets.len()],
                Err(detail) => outcomes[place] = Some(refused(detail)),
            }
        }
        let results = match messages.len() {
            0 => Ok(Results::new()),
            _ if is_list => self.list(at, token, &messages[0], &group.targets).await,
            1 => self.post(at, token, "/push/single/cid", &messages[0]).await,
            _ => {
                self.post(at, token, "/push/single/batch/cid", &json!({"is_async": false, "msg_list": messages})).await
            }
        };
        let judged = |(outcome, target): (Option<Outcome>, &&Target)| {
            outcome.unwrap_or_else(|| match &results {
                Ok(results) => judge(results, &target.to),
                Err(failed) => failed.clone(),
            })
        };
        outcomes.into_iter().zip(&group.targets).map(judged).collect()
    }

    /// Makes the message known, which sends nothing yet, and then sends it to everyone.
    async fn list(&self, at: Time, token: &Secret, message: &Value, targets: &[&Target]) -> Result<Results, Outcome> {
        let created = self.post::<Created>(at, token, "/push/list/message", message).await;
        let created = created.map_err(|outcome| match outcome {
            Outcome::Unknown { reason } => Outcome::Later { reason, after_ms: None },
            other => other,
        })?;
        let cids: Vec<_> = targets.iter().map(|target| target.to.as_str()).collect();
        let body = json!({"audience": {"cid": cids}, "taskid": created.taskid, "is_async": false});
        self.post(at, token, "/push/list/cid", &body).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        at: Time,
        token: &Secret,
        path: &str,
        body: &Value,
    ) -> Result<T, Outcome> {
        match self.api.post(self.url(path), secret_header(TOKEN, "", token), body).await {
            Ok(answer) => accept(&answer, at).map_err(|outcome| self.api.clean(outcome, Some(token))),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The vendor's message out of our content; a list names its people later.
    fn message(&self, target: &Target, is_list: bool) -> Result<Value, String> {
        let given = fields(FIELDS, &target.content, "")?;
        let mut notification = Map::new();
        for (ours, vendors) in
            [("title", "title"), ("body", "body"), ("image", "big_image"), ("category", "channel_id")]
        {
            if let Some(value) = given.get(ours) {
                notification.insert(vendors.to_owned(), value.clone());
            }
        }
        let (click, name, value) = match (given.get("url"), given.get("data")) {
            (Some(url), _) => ("url", "url", url.clone()),
            (None, Some(data)) => ("payload", "payload", data.to_string().into()),
            (None, None) => ("startapp", "click_type", "startapp".into()),
        };
        notification.insert(name.to_owned(), value);
        notification.insert("click_type".to_owned(), click.into());
        if let Some(collapse) = given.get("collapse").and_then(Value::as_str) {
            // A whole number that is the same for the same text.
            let hash = Sha256::digest(collapse);
            let id = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) & 0x7fff_ffff;
            notification.insert("notify_id".to_owned(), id.into());
        }
        let mut message = json!({"push_message": {"notification": notification}});
        if self.offline_channels {
            message["push_channel"] = offline(&given);
        }
        if let Some(seconds) = given.get("ttl_s").and_then(Value::as_i64) {
            message["settings"] = json!({"ttl": seconds.saturating_mul(1_000)});
        }
        if let Some(vendor) = given.get("vendor") {
            overlay(&mut message, vendor);
        }
        message["request_id"] = hex32(target).into();
        if !is_list {
            message["audience"] = json!({"cid": [target.to]});
        }
        Ok(message)
    }
}

/// What the makers of phones are given to show.
fn offline(given: &Map<String, Value>) -> Value {
    let [title, body] = ["title", "body"].map(|name| given.get(name).cloned().unwrap_or_default());
    let mut shown = json!({"title": title, "body": body, "click_type": "startapp"});
    if let Some(url) = given.get("url") {
        shown["click_type"] = "url".into();
        shown["url"] = url.clone();
    }
    let mut alert = json!({"title": title, "body": body});
    if let Some(subtitle) = given.get("subtitle") {
        alert["subtitle"] = subtitle.clone();
    }
    let mut ios = json!({"type": "notify", "aps": {"alert": alert, "content-available": 0,
        "sound": given.get("sound").cloned().unwrap_or_else(|| "default".into())}});
    if let Some(badge) = given.get("badge") {
        ios["auto_badge"] = badge.to_string().into();
    }
    json!({"android": {"ups": {"notification": shown}}, "ios": ios})
}

/// What became of one client id.
fn judge(results: &Results, cid: &str) -> Outcome {
    let found = results.iter().find_map(|(push, results)| Some((push, results.get(cid)?)));
    match found.map(|(push, status)| (push, status.as_str())) {
        Some((push, "successed_online" | "successed_offline")) => {
            Outcome::Delivered { provider_id: Some(push.clone()) }
        }
        Some((_, status)) => Outcome::never(Blame::Recipient, status, "the vendor did not push to this client id"),
        None => Outcome::unknown("answer", "the answer does not name this client id"),
    }
}

/// Reads the `data` of an answer whose `code` is 0.
///
/// # Errors
/// The outcome of any other code; unknown if the answer lacks what was asked for.
fn accept<T: DeserializeOwned>(answer: &Answer, at: Time) -> Result<T, Outcome> {
    let said: Said<Value> = read_coded(answer, at)?;
    let unknown = || Outcome::unknown("answer", words(answer));
    match said.code {
        0 => serde_json::from_value(said.data.ok_or_else(unknown)?).map_err(|_| unknown()),
        // One code for all wrong parameters; the client id is one of them.
        20_001 if said.msg.contains("target user") => Err(Outcome::never(Blame::Recipient, BAD_CID, said.msg)),
        code => Err(CODES.outcome(&code, &said.msg)),
    }
}

#[cfg(test)]
#[path = "../provider_tests/push_getui.rs"]
pub(super) mod tests;
