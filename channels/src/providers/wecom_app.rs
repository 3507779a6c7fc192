//! `wecom_app`: sends messages of a WeCom application to people, departments and tags.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tidings_contract::{
    Blame, Call, Channel, FieldError, Material, MediaPlace, Outcome, Provider, ProviderInfo, Reason, Secret, Sent,
    Settings, Target, Time, Token, Unsupported, Uploaded,
};

use crate::SandboxInbox;
use crate::batch::{self, Group, groups};
use crate::catalog::wecom::APP_KINDS;
use crate::codes::{WECOM, WECOM_MEDIA, is_invalid_media};
use crate::company_app::CompanyApp;
use crate::http::{Answer, HeaderMap};
use crate::json_api::{DEADLINE, ENDPOINT, GivenMedia, TIMEOUT, Verdict, needed, needed_secret, no_token, refused};
use crate::media::places;
use crate::message::build;
use crate::multipart::form;

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
struct Account(CompanyApp);

impl Provider for WecomApp {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let app = CompanyApp::open(settings, ["corp_id", "corp_secret"], "https://qyapi.weixin.qq.com")?;
        Ok(Arc::new(Account(app)))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        let Some(token) = &call.token else { return vec![no_token(); call.targets.len()] };
        let groups = groups(call, MOST_USERS, |target| Whom::of(&target.to) != Whom::User);
        batch::send(groups, self.0.api.timeout(), DEADLINE, |group| self.group(call.at, token, group)).await
    }

    async fn fetch_token(&self) -> Option<Result<Token, Reason>> {
        Some(self.0.fetch_token("/cgi-bin/gettoken", ["corpid", "corpsecret"], &WECOM).await)
    }

    async fn recall(&self, sent: &Sent, token: Option<&Secret>) -> Result<Outcome, Unsupported> {
        let Some(token) = token else { return Ok(no_token()) };
        let url = self.0.api.url("/cgi-bin/message/recall", &[("access_token", token.expose())]);
        let sent = self.0.api.post(url, HeaderMap::new(), &json!({"msgid": sent.provider_id})).await;
        Ok(self.0.api.settle(sent, Some(token), |answer| {
            let said = Verdict::accept::<Verdict>(answer, Time(0), &WECOM);
            said.map_or_else(|outcome| outcome, |_| Outcome::Delivered { provider_id: None })
        }))
    }

    fn media(&self, content: &Value) -> Vec<MediaPlace> {
        places(APP_KINDS, content)
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
        let url = self.0.api.url("/cgi-bin/media/upload", &[("access_token", token.expose()), ("type", kind)]);
        let read = |answer: &_| Verdict::accept::<GivenMedia>(answer, Time(0), &WECOM);
        let sent = self.0.api.upload(url, HeaderMap::new(), form(&[], "media", material), Some(token), read);
        Ok(sent.await.map(|given| Uploaded { id: given.media_id, good_for: WECOM_MEDIA }))
    }
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
        let url = self.0.api.url("/cgi-bin/message/send", &[("access_token", token.expose())]);
        match self.0.api.post(url, HeaderMap::new(), &body).await {
            Ok(answer) => {
                let outcomes = judge(&answer, at, &targets);
                outcomes.into_iter().map(|outcome| self.0.api.clean(outcome, Some(token))).collect()
            }
            Err(failure) => vec![failure.into(); targets.len()],
        }
    }

    /// The vendor's message out of our content, to all of `targets`.
    fn body(&self, content: &Value, targets: &[&Target]) -> Result<Value, String> {
        let (kind, mut part) = build(APP_KINDS, content)?;
        let mut body = json!({"msgtype": kind.vendors, "agentid": self.0.agent_id});
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
#[path = "../provider_tests/wecom_app.rs"]
pub(super) mod tests;
