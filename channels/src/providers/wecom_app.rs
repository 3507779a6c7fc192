//! `wecom_app`: sends messages of a WeCom application to people, departments and tags.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tidings_contract::{
    Blame, Call, Channel, FieldError, Material, Outcome, Provider, ProviderInfo, Reason, Secret, Sent, Settings,
    Target, Time, Token, Unsupported,
};

use crate::SandboxInbox;
use crate::batch::{self, Group, groups};
use crate::catalog::wecom::APP_KINDS;
use crate::codes::WECOM;
use crate::http::{Answer, HeaderMap, Method, header};
use crate::json_api::{
    Api, ApiSettings, DEADLINE, ENDPOINT, GivenToken, TIMEOUT, Verdict, needed, needed_secret, no_token, refused,
};
use crate::message::build;
use crate::multipart::form;
use crate::reading::Reading;

/// Most users of one call (document 90236).
const MOST_USERS: usize = 1_000;

static INFO: ProviderInfo = ProviderInfo {
    name: "wecom_app",
    channel: "wecom_app",
    doc: "Sends messages of a WeCom application. Vendor's limits: 30 messages a minute and 1,000 an hour for each person.",
    source: "WeCom developer centre: Sending application messages (90236); Taking application messages back (94867); \
             Access tokens (91039); Uploading temporary media (90253); Global error codes (90313)",
    settings: &[
        needed("corp_id", "The company's id (ww…)."),
        needed_secret("corp_secret", "The application's secret."),
        needed("agent_id", "The application's id, a whole number."),
        ENDPOINT,
        TIMEOUT,
    ],
    example: r#"{"corp_id": "ww0123456789abcdef", "corp_secret": "0123456789abcdef", "agent_id": 1000002}"#,
    max_recipients: MOST_USERS,
    deadline: DEADLINE,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(WecomApp)
}

#[derive(Debug)]
struct WecomApp;

#[derive(Debug)]
struct Account {
    api: Api,
    corp_id: String,
    corp_secret: Secret,
    agent_id: u64,
}

impl Provider for WecomApp {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let corp_id = reading.needed_text("corp_id").to_owned();
        let corp_secret = reading.needed_secret("corp_secret").cloned();
        let agent_id = reading.known("agent_id", "must be a whole number", settings.number("agent_id"));
        let api = ApiSettings::read(&mut reading, "https://qyapi.weixin.qq.com");
        let ((corp_secret, agent_id), api) = reading.finish(corp_secret.zip(agent_id).zip(api))?;
        Ok(Arc::new(Account { api: api.open([&corp_secret])?, corp_id, corp_secret, agent_id }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        let Some(token) = &call.token else { return vec![no_token(); call.targets.len()] };
        let groups = groups(call, MOST_USERS, |target| Whom::of(&target.to) != Whom::User);
        batch::send(groups, self.api.timeout(), DEADLINE, |group| self.group(call.at, token, group)).await
    }

    async fn fetch_token(&self) -> Option<Result<Token, Reason>> {
        let query = [("corpid", self.corp_id.as_str()), ("corpsecret", self.corp_secret.expose())];
        let url = self.api.url("/cgi-bin/gettoken", &query);
        let sent = self.api.call(Method::GET, url, HeaderMap::new(), bytes::Bytes::new()).await;
        let read = |answer: &_| Verdict::accept::<GivenToken>(answer, Time(0), &WECOM);
        Some(self.api.settle_token(sent, read).map(Token::from))
    }

    async fn recall(&self, sent: &Sent, token: Option<&Secret>) -> Result<Outcome, Unsupported> {
        let Some(token) = token else { return Ok(no_token()) };
        let url = self.api.url("/cgi-bin/message/recall", &[("access_token", token.expose())]);
        let sent = self.api.post(url, HeaderMap::new(), &json!({"msgid": sent.provider_id})).await;
        Ok(self.api.settle(sent, Some(token), |answer| {
            let said = Verdict::accept::<Verdict>(answer, Time(0), &WECOM);
            said.map_or_else(|outcome| outcome, |_| Outcome::Delivered { provider_id: None })
        }))
    }

    async fn upload(&self, material: &Material, token: Option<&Secret>) -> Result<Result<String, Reason>, Unsupported> {
        let Some(token) = token else { return Ok(Err(Reason::new(Token::INVALID, "no access token was given"))) };
        let kind = match material.media_type.split('/').next() {
            Some("image") => "image",
            Some("video") => "video",
            _ if material.media_type == "audio/amr" => "voice",
            _ => "file",
        };
        let url = self.api.url("/cgi-bin/media/upload", &[("access_token", token.expose()), ("type", kind)]);
        let (content_type, body) = form(&[], "media", material);
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
        let sent = self.api.call(Method::POST, url, headers, body).await;
        let read = |answer: &_| Verdict::accept::<Uploaded>(answer, Time(0), &WECOM);
        Ok(self.api.settle_as(sent, Some(token), read).map(|uploaded| uploaded.media_id))
    }
}

/// What the answer to an upload holds.
#[derive(Deserialize)]
struct Uploaded {
    media_id: String,
}

/// What kind of recipient a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom<'a> {
    User,
    Everyone,
    Party(&'a str),
    Tag(&'a str),
}

impl<'a> Whom<'a> {
    fn of(to: &'a str) -> Self {
        match (to, to.strip_prefix("party:"), to.strip_prefix("tag:")) {
            ("@all", ..) => Self::Everyone,
            (_, Some(id), _) => Self::Party(id),
            (_, _, Some(id)) => Self::Tag(id),
            _ => Self::User,
        }
    }
}

/// What an answer holds beside the verdict: names joined by `|`, user ids in lower case.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    invaliduser: String,
    #[serde(default)]
    invalidparty: String,
    #[serde(default)]
    invalidtag: String,
    #[serde(default)]
    unlicenseduser: String,
    msgid: Option<String>,
}

impl Account {
    async fn group(&self, at: Time, token: &Secret, group: Group<'_>) -> Vec<Outcome> {
        let (content, targets) = (group.content.clone(), group.targets.clone());
        let body = match self.body(&content, &targets) {
            Ok(body) => body,
            Err(detail) => return vec![refused(detail); targets.len()],
        };
        let url = self.api.url("/cgi-bin/message/send", &[("access_token", token.expose())]);
        match self.api.post(url, HeaderMap::new(), &body).await {
            Ok(answer) => {
                let outcomes = judge(&answer, at, &targets);
                outcomes.into_iter().map(|outcome| self.api.clean(outcome, Some(token))).collect()
            }
            Err(failure) => vec![failure.into(); targets.len()],
        }
    }

    /// The vendor's message out of our content, to all of `targets`.
    fn body(&self, content: &Value, targets: &[&Target]) -> Result<Value, String> {
        let (kind, mut part) = build(APP_KINDS, content)?;
        let mut body = json!({"msgtype": kind.vendors, "agentid": self.agent_id});
        for name in ["safe", "enable_id_trans"] {
            if let Some(value) = part.remove(name) {
                body[name] = value;
            }
        }
        body[kind.vendors] =
            if kind.vendors == "template_card" { part.remove("card").unwrap_or_default() } else { part.into() };
        match Whom::of(&targets[0].to) {
            Whom::Party(id) => body["toparty"] = id.into(),
            Whom::Tag(id) => body["totag"] = id.into(),
            Whom::User | Whom::Everyone => {
                let users: Vec<_> = targets.iter().map(|target| target.to.as_str()).collect();
                body["touser"] = users.join("|").into();
            }
        }
        Ok(body)
    }
}

/// One outcome per target: those that the vendor names as invalid did not get it, all others did.
fn judge(answer: &Answer, at: Time, targets: &[&Target]) -> Vec<Outcome> {
    let said = match Verdict::accept::<Said>(answer, at, &WECOM) {
        Ok(said) => said,
        Err(outcome) => return vec![outcome; targets.len()],
    };
    let names = |list: &str, to: &str| list.split('|').any(|name| !name.is_empty() && name.eq_ignore_ascii_case(to));
    let one = |target: &&Target| {
        let (bad, to) = match Whom::of(&target.to) {
            Whom::Party(id) => (&said.invalidparty, id),
            Whom::Tag(id) => (&said.invalidtag, id),
            Whom::User | Whom::Everyone => (&said.invaliduser, target.to.as_str()),
        };
        if names(bad, to) {
            return Outcome::never(Blame::Recipient, "invaliduser", "unknown, or does not see the application");
        }
        if names(&said.unlicenseduser, to) {
            return Outcome::never(Blame::Account, "unlicenseduser", "has no licence for the interface");
        }
        Outcome::Delivered { provider_id: said.msgid.clone() }
    };
    targets.iter().map(one).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::conformance::{Golden, Partial, Subject, TokenCase};
    use crate::golden::{Trial, brief, coded};
    use crate::testing::{HttpReply, HttpServer, open};

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"corp_id": "ww1", "corp_secret": "s3cret-44a", "agent_id": 1_000_002, "endpoint": url, "timeout_ms": 3_000}),
            content: || json!({"type": "text", "text": "hi"}),
            taken: fine,
            blame: "Account",
            complains: |words| HttpReply::json(200, &json!({"errcode": 81_013, "errmsg": words})),
            partial: || {
                let said = json!({"errcode": 0, "errmsg": "ok", "invaliduser": "bob|x", "unlicenseduser": "cid", "msgid": "m1"});
                vec![Partial {
                    to: vec!["Ann", "Bob", "cid"],
                    reply: HttpReply::json(200, &said),
                    expected: vec!["delivered m1", "never invaliduser Recipient", "never unlicenseduser Account"],
                }]
            },
            token: Some(|| TokenCase {
                fetched: HttpReply::json(
                    200,
                    &json!({"errcode": 0, "errmsg": "ok", "access_token": "accesstoken000001", "expires_in": 7_200}),
                ),
                token: "accesstoken000001",
                expires_in: Duration::from_secs(7_200),
                expired: vec![
                    HttpReply::json(200, &json!({"errcode": 42_001, "errmsg": "expired"})),
                    HttpReply::json(200, &json!({"errcode": 40_014, "errmsg": "invalid"})),
                ],
            }),
            golden: || {
                vec![Golden {
                    name: "text",
                    page: "WeCom developer centre: Sending application messages (document 90236)",
                    to: &["ann", "bob"],
                    content: json!({"type": "text", "text": "hi"}),
                    masked: &[],
                }]
            },
            ..Subject::HTTP
        })
    }

    fn fine() -> HttpReply {
        HttpReply::json(200, &json!({"errcode": 0, "errmsg": "ok", "invaliduser": "", "msgid": "m1"}))
    }

    fn trial() -> Trial {
        Trial {
            provider: INFO.name,
            settings: json!({"corp_id": "ww1", "corp_secret": "s3cret", "agent_id": 1_000_002}),
            path: "",
            token: Some("t0ken"),
            secrets: &["t0ken", "s3cret"],
        }
    }

    // WeCom: Sending application messages (document 90236), one case for each of its message types.
    #[tokio::test]
    async fn every_type_is_the_vendors_message() {
        let card = json!({"card_type": "text_notice", "main_title": {"title": "T"}});
        let article =
            json!({"title": "T", "description": "d", "url": "u", "picurl": "p", "appid": "wx1", "pagepath": "pp"});
        let page = json!({"title": "T", "thumb_media_id": "m", "author": "a", "content_source_url": "u", "content": "c",
            "digest": "d"});
        let rows = json!([{"key": "k", "value": "v"}]);
        let part =
            |kind: &str, part: Value| json!({"touser": "ann", "msgtype": kind, "agentid": 1_000_002, kind: part});
        let with = |mut body: Value, name: &str| {
            body[name] = json!(1);
            body
        };
        let cases = [
            (json!({"type": "text", "text": "hi", "safe": true}), with(part("text", json!({"content": "hi"})), "safe")),
            (json!({"type": "image", "media_id": "m"}), part("image", json!({"media_id": "m"}))),
            (json!({"type": "voice", "media_id": "m"}), part("voice", json!({"media_id": "m"}))),
            (
                json!({"type": "video", "media_id": "m", "title": "T", "description": "d"}),
                part("video", json!({"media_id": "m", "title": "T", "description": "d"})),
            ),
            (json!({"type": "file", "media_id": "m"}), part("file", json!({"media_id": "m"}))),
            (
                json!({"type": "textcard", "title": "T", "description": "d", "url": "u", "btntxt": "b", "id_trans": 1}),
                with(
                    part("textcard", json!({"title": "T", "description": "d", "url": "u", "btntxt": "b"})),
                    "enable_id_trans",
                ),
            ),
            (json!({"type": "news", "articles": [article]}), part("news", json!({"articles": [article]}))),
            (json!({"type": "mpnews", "articles": [page]}), part("mpnews", json!({"articles": [page]}))),
            (json!({"type": "markdown", "text": "**hi**"}), part("markdown", json!({"content": "**hi**"}))),
            (
                json!({"type": "miniprogram_notice", "appid": "wx1", "page": "p", "title": "T", "description": "d",
                    "emphasis_first_item": "true", "content_item": rows}),
                part(
                    "miniprogram_notice",
                    json!({"appid": "wx1", "page": "p", "title": "T", "description": "d", "emphasis_first_item": true,
                        "content_item": rows}),
                ),
            ),
            (json!({"type": "template_card", "card": card}), part("template_card", card.clone())),
        ];
        let headers = json!({"content-type": "application/json; charset=utf-8"});
        let request = "POST /cgi-bin/message/send?access_token=***";
        trial().goldens("ann", &fine(), request, &headers, cases).await;
    }

    #[tokio::test]
    async fn people_share_a_request_and_each_has_an_outcome_of_its_own() {
        let said =
            json!({"errcode": 0, "errmsg": "ok", "invaliduser": "bob|x", "unlicenseduser": "cid", "msgid": "m1"});
        let party = json!({"errcode": 0, "errmsg": "ok", "invalidparty": "7", "msgid": "m2"});
        let replies = [HttpReply::json(200, &said), HttpReply::json(200, &party), fine(), fine()];
        let to = ["Ann", "Bob", "party:7", "cid", "tag:3", "@all"];
        let server = HttpServer::start(HttpReply::status(500)).await.expect("a free port");
        server.then(replies);
        let mut call = crate::testing::call(&to, json!({"type": "text", "text": "hi"}));
        call.token = Some(Secret::new("t0ken"));
        // One at a time, so that the replies meet their requests.
        let account = trial().account(&server);
        let mut outcomes = vec![String::new(); to.len()];
        for places in [vec![0, 1, 3], vec![2], vec![4], vec![5]] {
            let mut part = call.clone();
            part.targets = places.iter().map(|place| call.targets[*place].clone()).collect();
            for (place, outcome) in places.iter().zip(account.send(&part).await) {
                outcomes[*place] = brief(&outcome);
            }
        }
        assert_eq!(
            outcomes,
            [
                "delivered m1",
                "never invaliduser Recipient",
                "never invaliduser Recipient",
                "never unlicenseduser Account",
                "delivered m1",
                "delivered m1"
            ]
        );
        let seen: Vec<Value> = server.requests().iter().map(|request| request.json()).collect();
        assert_eq!(seen[0]["touser"], "Ann|Bob|cid");
        assert_eq!((&seen[1]["toparty"], &seen[1]["touser"]), (&json!("7"), &Value::Null));
        assert_eq!((&seen[2]["totag"], &seen[3]["touser"]), (&json!("3"), &json!("@all")));
        // And all at once they make as many requests.
        account.send(&call).await;
        assert_eq!(server.count(), 8);
    }

    #[tokio::test]
    async fn every_documented_code_has_its_class() {
        let cases = [
            (-1, "later errcode_-1"),
            (45_009, "later errcode_45009 60000"),
            (40_014, "later token_invalid"),
            (42_001, "later token_invalid"),
            (81_013, "never errcode_81013 Recipient"),
            (60_111, "never errcode_60111 Recipient"),
            (40_007, "never errcode_40007 Content"),
            (45_002, "never errcode_45002 Content"),
            (90_206, "never errcode_90206 Account"),
            (60_020, "never errcode_60020 Account"),
            (301_002, "never errcode_301002 Account"),
            (999_999, "later errcode_999999"),
        ];
        let content = json!({"type": "text", "text": "hi"});
        trial().classes("ann", &content, coded(200, "errcode", "errmsg", &cases)).await;
        let (outcomes, requests) = Trial { token: None, ..trial() }.send(&["ann", "bob"], &content, []).await;
        assert_eq!((outcomes, requests), (vec![no_token(); 2], vec![]));
    }

    #[tokio::test]
    async fn tokens_are_fetched_and_messages_taken_back() {
        let given = json!({"errcode": 0, "errmsg": "ok", "access_token": "accesstoken000001", "expires_in": 7_200});
        let server = HttpServer::start(HttpReply::json(200, &given)).await.expect("a free port");
        let account = trial().account(&server);
        let token = account.fetch_token().await.expect("it has tokens").expect("it was given");
        assert_eq!((token.secret.expose(), token.expires_in.as_secs()), ("accesstoken000001", 7_200));
        server.set(HttpReply::json(200, &json!({"errcode": 40_001, "errmsg": "invalid credential s3cret"})));
        let refused = account.fetch_token().await.expect("it has tokens").expect_err("the secret is wrong");
        assert_eq!(refused, Reason::new("errcode_40001", "the supplier gave no access token"));

        server.set(fine());
        let delivery = crate::testing::call(&["ann"], json!({})).targets[0].delivery;
        let sent = Sent { delivery, to: "ann".to_owned(), provider_id: "m1".to_owned() };
        let outcome = account.recall(&sent, Some(&Secret::new("t0ken"))).await;
        assert_eq!(outcome, Ok(Outcome::Delivered { provider_id: None }));
        let requests = trial().requests(&server);
        assert_eq!(requests[0]["request"], "GET /cgi-bin/gettoken?corpid=ww1&corpsecret=***");
        assert_eq!(requests[2]["request"], "POST /cgi-bin/message/recall?access_token=***");
        assert_eq!(requests[2]["body"], json!({"msgid": "m1"}));
    }

    #[tokio::test]
    async fn a_picture_is_uploaded_as_one() {
        let server = HttpServer::start(HttpReply::json(200, &json!({"errcode": 0, "errmsg": "", "media_id": "m9"})));
        let server = server.await.expect("a free port");
        let material = Material { name: "a.png".into(), media_type: "image/png".into(), bytes: Arc::from(&b"png"[..]) };
        let uploaded = trial().account(&server).upload(&material, Some(&Secret::new("t0ken"))).await;
        assert_eq!(uploaded, Ok(Ok("m9".to_owned())));
        let request = &trial().requests(&server)[0]["request"];
        assert_eq!(request, "POST /cgi-bin/media/upload?access_token=***&type=image");
    }

    #[test]
    fn an_application_has_a_number() {
        let settings = json!({"corp_id": "ww1", "corp_secret": "s", "agent_id": "x"});
        let errors = open(&crate::Registry::new(), INFO.name, settings).expect_err("it is wrong");
        assert_eq!(errors[0].field, "settings.agent_id");
    }
}
