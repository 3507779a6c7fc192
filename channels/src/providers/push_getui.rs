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
    Blame, Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Reason, Secret, Settings, Target, Time, Token,
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
    source: "GeTui: RestAPI V2, Authentication; RestAPI V2, Push API; RestAPI V2, Return codes",
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
        (Later, &[2, 50_001, 50_002]),
        (After(60_000), &[10_003, 10_005, 30_005]),
        (Spent, &[10_001]),
        (Recipient, &[20_002]),
        (Content, &[1, 20_001, 20_003, 30_004]),
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

/// Results by task and client id.
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
        message["request_id"] = hex32(&target.delivery).into();
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
    let found = results.iter().find_map(|(task, results)| Some((task, results.get(cid)?)));
    match found.map(|(task, status)| (task, status.as_str())) {
        Some((task, "successed_online" | "successed_offline")) => {
            Outcome::Delivered { provider_id: Some(task.clone()) }
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
pub(super) mod tests {
    use super::*;
    use crate::conformance::{Golden, Partial, Subject, TokenCase};
    use crate::golden::{AT, Trial, brief};
    use crate::testing::{HttpReply, HttpServer};

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| {
                json!({"app_id": "app1", "app_key": "key1", "master_secret": "s3cret-99a", "endpoint": url,
                    "timeout_ms": 3_000})
            },
            to: |_| "cid1".to_owned(),
            content: || json!({"title": "T", "body": "B"}),
            taken: fine,
            blame: "Account",
            complains: |words| HttpReply::json(400, &json!({"code": 20_001, "msg": words})),
            partial: || {
                let said = json!({"code": 0, "msg": "", "data": {"t1": {"cid1": "successed_online"},
                    "t2": {"cid2": "successed_ignore"}}});
                vec![Partial {
                    to: vec!["cid1", "cid2", "cid3"],
                    reply: HttpReply::json(200, &said),
                    expected: vec!["delivered t1", "never successed_ignore Recipient", "unknown answer"],
                }]
            },
            token: Some(|| TokenCase {
                fetched: HttpReply::json(200, &given(AT.0 + 86_400_000)),
                token: "36f1fef9ce0f",
                expires_in: Duration::from_secs(86_400),
                expired: vec![HttpReply::json(401, &json!({"code": 10_001, "msg": "token is invalid"}))],
            }),
            golden: || {
                let golden = |name, to| Golden {
                    name,
                    page: "GeTui: RestAPI V2, Push API",
                    to,
                    content: json!({"title": "T", "body": "B", "url": "https://a.example", "ttl_s": 7_200}),
                    masked: &[],
                };
                vec![golden("single", &["cid1"]), golden("batch", &["cid1", "cid2"])]
            },
            ..Subject::HTTP
        })
    }

    fn given(ends: u64) -> Value {
        json!({"code": 0, "msg": "success", "data": {"expire_time": ends.to_string(), "token": "36f1fef9ce0f"}})
    }

    fn fine() -> HttpReply {
        HttpReply::json(200, &json!({"code": 0, "msg": "success", "data": {"RASS_1": {"cid1": "successed_offline"}}}))
    }

    fn trial() -> Trial {
        Trial {
            provider: INFO.name,
            settings: json!({"app_id": "app1", "app_key": "key1", "master_secret": "s3cret"}),
            path: "",
            token: Some("t0ken"),
            secrets: &["t0ken", "s3cret"],
        }
    }

    // GeTui: RestAPI V2, Push API: "cid single push", push_message, push_channel and settings.
    #[tokio::test]
    async fn a_notice_to_one_is_what_the_vendor_describes() {
        let id = hex32(&crate::testing::call(&["cid1"], json!({})).targets[0].delivery);
        let body = |mut rest: Value| {
            rest["request_id"] = json!(id);
            rest["audience"] = json!({"cid": ["cid1"]});
            rest
        };
        let notice = |rest: Value| {
            let mut notice = json!({"title": "T", "body": "B"});
            overlay(&mut notice, &rest);
            json!({"push_message": {"notification": notice}})
        };
        let mut full = notice(json!({"click_type": "url", "url": "https://a.example", "big_image": "i",
            "channel_id": "c", "notify_id": 1_603_074_050}));
        full["settings"] = json!({"ttl": 7_200_000, "strategy": {"default": 1}});
        let cases = [
            (json!({"title": "T", "body": "B"}), body(notice(json!({"click_type": "startapp"})))),
            (
                json!({"title": "T", "body": "B", "data": {"a": 1}}),
                body(notice(json!({"click_type": "payload", "payload": "{\"a\":1}"}))),
            ),
            (
                json!({"title": "T", "body": "B", "url": "https://a.example", "image": "i", "category": "c",
                    "collapse": "order-7", "ttl_s": 7_200, "vendor": {"settings": {"strategy": {"default": 1}}}}),
                body(full),
            ),
        ];
        let headers = json!({"content-type": "application/json; charset=utf-8", "token": "***"});
        trial().goldens("cid1", &fine(), "POST /v2/app1/push/single/cid", &headers, cases).await;
        let mut offline = trial();
        offline.settings["offline_channels"] = json!(true);
        let content = json!({"title": "T", "body": "B", "subtitle": "S", "sound": "s", "badge": 3, "url": "u"});
        let mut expected = body(notice(json!({"click_type": "url", "url": "u"})));
        expected["push_channel"] = json!({
            "android": {"ups": {"notification": {"title": "T", "body": "B", "click_type": "url", "url": "u"}}},
            "ios": {"type": "notify", "auto_badge": "3", "aps": {"alert": {"title": "T", "body": "B", "subtitle": "S"},
                "content-available": 0, "sound": "s"}}});
        offline.goldens("cid1", &fine(), "POST /v2/app1/push/single/cid", &headers, [(content, expected)]).await;
    }

    // GeTui: RestAPI V2, Push API: "create message" and "cid list push". The vendor's field is `taskid`, in lower case.
    #[tokio::test]
    async fn many_with_one_content_go_as_a_list_with_a_result_for_each() {
        let cids: Vec<String> = (0..=MOST_BATCH).map(|n| format!("cid{n}")).collect();
        let to: Vec<&str> = cids.iter().map(String::as_str).collect();
        let created = HttpReply::json(200, &json!({"code": 0, "msg": "", "data": {"taskid": "RASL_1"}}));
        let statuses: Map<String, Value> =
            to.iter().skip(1).map(|cid| ((*cid).to_owned(), "successed_online".into())).collect();
        let pushed = HttpReply::json(200, &json!({"code": 0, "msg": "", "data": {"RASL_1": statuses}}));
        let content = json!({"title": "T", "body": "B"});
        let (outcomes, requests) = trial().send(&to, &content, [created.clone(), pushed]).await;
        assert_eq!(brief(&outcomes[0]), "unknown answer");
        assert!(outcomes[1..].iter().all(|outcome| brief(outcome) == "delivered RASL_1"));
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0]["request"], "POST /v2/app1/push/list/message");
        assert_eq!(requests[0]["body"]["push_message"]["notification"]["title"], "T");
        assert_eq!(requests[0]["body"]["audience"], Value::Null);
        assert_eq!(requests[1]["request"], "POST /v2/app1/push/list/cid");
        assert_eq!(requests[1]["body"], json!({"audience": {"cid": to}, "taskid": "RASL_1", "is_async": false}));
        // Making the message known sends nothing, so a break there is no riddle; a break at the second call is.
        for (replies, expected) in [
            (vec![HttpReply::Reset], "later broken"),
            (
                vec![HttpReply::json(400, &json!({"code": 20_001, "msg": "title is invalid"}))],
                "never code_20001 Content",
            ),
            (vec![created, HttpReply::Reset], "unknown broken"),
        ] {
            let (outcomes, _) = trial().send(&to, &content, replies).await;
            assert!(outcomes.iter().all(|outcome| brief(outcome) == expected), "{expected}: {:?}", outcomes[0]);
        }
    }

    #[tokio::test]
    async fn one_bad_client_id_costs_nobody_else_the_notice() {
        let server = HttpServer::start(fine()).await.expect("a free port");
        let bad = HttpReply::json(400, &json!({"code": 20_001, "msg": "target user is invalid"}));
        server.then([bad.clone()]);
        let mut call = crate::testing::call(&["cid1", "cid1"], json!({"title": "T", "body": "B"}));
        call.token = Some(Secret::new("t0ken"));
        let outcomes = trial().account(&server).send(&call).await;
        assert!(outcomes.iter().all(|outcome| brief(outcome) == "delivered RASS_1"), "{outcomes:?}");
        assert_eq!(server.count(), 3);
        let single = trial().send(&["cid1"], &json!({"title": "T", "body": "B"}), [bad]).await;
        assert_eq!((brief(&single.0[0]), single.1.len()), ("never code_20001_cid Recipient".to_owned(), 1));
    }

    #[tokio::test]
    async fn every_documented_code_has_its_class() {
        let says = |status: u16, code: i64| HttpReply::json(status, &json!({"code": code, "msg": "m"}));
        let cases = [
            (fine(), "delivered RASS_1"),
            (says(401, 10_001), "later token_invalid"),
            (says(401, 10_002), "never code_10002 Account"),
            (says(401, 10_003), "later code_10003 60000"),
            (says(401, 10_005), "later code_10005 60000"),
            (says(400, 20_001), "never code_20001 Content"),
            (says(200, 1), "never code_1 Content"),
            (says(200, 2), "later code_2"),
            (says(200, 301), "never code_301 Account"),
            (says(403, 30_001), "never code_30001 Account"),
            (says(404, 404), "never code_404 Account"),
            (HttpReply::json(200, &json!({"code": 0, "msg": ""})), "unknown answer"),
        ];
        trial().classes("cid1", &json!({"title": "T", "body": "B"}), cases).await;
        let (outcomes, requests) =
            Trial { token: None, ..trial() }.send(&["c"], &json!({"title": "T", "body": "B"}), []).await;
        assert_eq!((outcomes, requests), (vec![no_token()], vec![]));
    }

    #[tokio::test]
    async fn a_token_is_asked_for_with_a_signature_over_the_time() {
        let server = HttpServer::start(HttpReply::json(200, &given(AT.0 + 1_000))).await.expect("a free port");
        let token = trial().account(&server).fetch_token_at(AT).await.expect("it has tokens").expect("it was given");
        assert_eq!((token.secret.expose(), token.expires_in), ("36f1fef9ce0f", Duration::from_secs(1)));
        let request = &trial().requests(&server)[0];
        assert_eq!(request["request"], "POST /v2/app1/auth");
        // printf 'key11700000000123s3cret' | sha256sum
        assert_eq!(
            request["body"],
            json!({"appkey": "key1", "timestamp": "1700000000123", "sign": "88e01e0d78f1e167654b30a4818667b8e0a65fae9276d45d886d250c4e58f503"})
        );
    }
}
