//! `sms/lintong`: sends by LinTong's HTTP interface, many recipients and texts a request, with a result for each.
//!
//! Source: the wire format of the system that Tidings replaces; the vendor publishes no page. Its codes are therefore
//! not known: 0 is yes, and whatever else it says is a no that may be asked again.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Value, json};
use tidings_contract::{
    Blame, Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Secret, Settings, Target, Time,
};

use crate::SandboxInbox;
use crate::http::{Answer, Client, Failure, Method, Url};
use crate::reading::Reading;
use crate::signing::hex;
use crate::sms::{self, Group, Sms, Verdict, domestic, judged};
use crate::status::{outcome_of_api, without, words};

/// Most phone numbers in one request. The vendor names no limit; the system before this one never sent more.
const MOST: usize = 100;

static INFO: ProviderInfo = ProviderInfo {
    name: "sms/lintong",
    channel: "sms",
    doc: "Sends text messages by LinTong. It knows no templates and no receipts.",
    source: "LinTong's wire format as used by the system that Tidings replaces",
    settings: &[
        sms::plain("user_name", true, "The user's name."),
        sms::sealed("password", true, "The user's password."),
        sms::plain("sign_name", false, "Put before the text in 【】, where the text does not begin with 【 itself."),
        sms::plain("endpoint", true, "The address messages are posted to. https, except on this machine."),
        sms::TIMEOUT,
    ],
    example: r#"{"user_name": "shop", "password": "secret", "endpoint": "https://sms.lintong.example/send"}"#,
    max_recipients: MOST,
    deadline: sms::DEADLINE,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Lintong)
}

#[derive(Debug)]
struct Lintong;

#[derive(Debug)]
struct Account {
    client: Client,
    url: Url,
    user_name: String,
    password: Secret,
    sign_name: Option<String>,
}

impl Provider for Lintong {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let timeout = reading.timeout(10_000, 20_000);
        let user_name = reading.needed_text("user_name").to_owned();
        let sign_name = reading.text("sign_name").map(str::to_owned);
        let password = reading.needed_secret("password").cloned();
        let url = reading.endpoint("endpoint", "");
        let (url, password) = reading.finish(url.zip(password))?;
        Ok(Arc::new(Account { client: sms::client(timeout)?, url, user_name, password, sign_name }))
    }
}

/// A number or a text, as the vendor pleases.
#[derive(Deserialize)]
#[serde(untagged)]
enum Either {
    Number(serde_json::Number),
    Text(String),
}

impl std::fmt::Display for Either {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

#[derive(Deserialize)]
struct Reply {
    code: Either,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    data: Option<Vec<Status>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    code: Either,
    #[serde(default)]
    message: Option<String>,
    msg_id: Option<Either>,
    phone: String,
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        let sorted = sms::groups(call, MOST, |target| self.text(target));
        sms::run(sorted, sms::WINDOW, |group| self.submit(group, call.at)).await
    }
}

impl Account {
    fn text(&self, target: &Target) -> Result<((), String), Outcome> {
        let sms = Sms::read(&target.content)?;
        let Some(text) = sms.text else {
            return Err(Outcome::never(Blame::Content, "content", "text is missing: this supplier has no templates"));
        };
        let sign_name = sms.sign_name.as_ref().or(self.sign_name.as_ref()).filter(|_| !text.starts_with('【'));
        Ok(((), sign_name.map_or_else(|| text.clone(), |sign_name| format!("【{sign_name}】{text}"))))
    }

    async fn submit(&self, group: Group<'_, (), String>, at: Time) -> Vec<Outcome> {
        let numbers: Vec<_> = group.targets.iter().map(|target| domestic(&target.to).unwrap_or(&target.to)).collect();
        let messages = numbers.iter().zip(&group.values);
        let messages: Vec<_> = messages.map(|(phone, content)| json!({"phone": phone, "content": content})).collect();
        let outcomes = match self.request(&messages, at).await {
            Ok(answer) => judge(&answer, at, &numbers),
            Err(failure) => vec![failure.into(); numbers.len()],
        };
        outcomes.into_iter().map(|outcome| without(outcome, [&self.password])).collect()
    }

    async fn request(&self, messages: &[Value], at: Time) -> Result<Answer, Failure> {
        let body = json!({"userName": self.user_name, "timestamp": at.0, "messageList": messages,
            "sign": sign(&self.user_name, at, &self.password)});
        let headers = sms::headers([("content-type", "application/json;charset=utf-8")]);
        self.client.call(Method::POST, self.url.clone(), headers, Bytes::from(body.to_string())).await
    }
}

/// MD5 over the user's name, the time in milliseconds, and the MD5 of the password, both in lower case hexadecimal.
fn sign(user_name: &str, at: Time, password: &Secret) -> String {
    let inner = hex(&Md5::digest(password.expose()));
    hex(&Md5::digest(format!("{user_name}{}{inner}", at.0)))
}

fn judge(answer: &Answer, at: Time, numbers: &[&str]) -> Vec<Outcome> {
    let whole = |outcome: Outcome| vec![outcome; numbers.len()];
    let reply = match answer.json::<Reply>() {
        Ok(reply) => reply,
        Err(_) if answer.is_success() => return whole(Outcome::unknown("answer", words(answer))),
        Err(_) => return whole(outcome_of_api(answer, at)),
    };
    match (reply.data, reply.code.to_string().as_str()) {
        (Some(statuses), _) if !statuses.is_empty() => numbers.iter().map(|number| found(&statuses, number)).collect(),
        (_, "0") => whole(Outcome::unknown("answer", words(answer))),
        (_, code) => whole(judged(Verdict::Later, &format!("code_{code}"), &reply.message.unwrap_or_default())),
    }
}

fn found(statuses: &[Status], number: &str) -> Outcome {
    let Some(status) = statuses.iter().find(|status| status.phone == number) else {
        return Outcome::unknown("answer", "the answer does not name this number");
    };
    match status.code.to_string().as_str() {
        "0" => Outcome::Delivered { provider_id: status.msg_id.as_ref().map(ToString::to_string) },
        code => judged(Verdict::Later, &format!("code_{code}"), status.message.as_deref().unwrap_or_default()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::conformance::{Golden, Partial, Subject};
    use crate::testing::HttpReply;

    fn reply(statuses: &[(&str, i64)]) -> HttpReply {
        let data: Vec<_> = statuses
            .iter()
            .map(|(phone, code)| json!({"code": code, "message": "m", "msgId": format!("id{phone}"), "phone": phone}))
            .collect();
        HttpReply::json(200, &json!({"code": 0, "message": "ok", "data": data}))
    }

    fn refused(words: &str) -> HttpReply {
        HttpReply::json(200, &json!({"code": 1001, "message": words, "data": null}))
    }

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"user_name": "shop", "password": "lintong-pass-0c3d", "endpoint": url, "timeout_ms": 3_000}),
            to: |_| "+8613800138000".to_owned(),
            content: || json!({"text": "hi"}),
            taken: || reply(&[("13800138000", 0)]),
            blame: "Account",
            complains: refused,
            answers: || {
                let empty = json!({"code": "0", "data": []});
                vec![
                    (reply(&[("13800138000", 7)]), "later code_7".to_owned()),
                    (refused("no"), "later code_1001".to_owned()),
                    (HttpReply::json(200, &empty), "unknown answer".to_owned()),
                ]
            },
            partial: || {
                vec![Partial {
                    to: vec!["+8613800138000", "+8613800138001", "+8613800138002"],
                    reply: reply(&[("13800138001", 3), ("13800138000", 0)]),
                    expected: vec!["delivered id13800138000", "later code_3", "unknown answer"],
                }]
            },
            golden: || {
                vec![Golden {
                    name: "text",
                    page: INFO.source,
                    to: &["+8613800138000", "+12125552368"],
                    content: json!({"text": "hi", "sign_name": "Shop"}),
                    masked: &[],
                }]
            },
            ..Subject::HTTP
        })
    }

    #[test]
    fn the_signature_is_what_another_program_computes() {
        // printf "shop1700000000123$(printf 'secret' | md5sum | cut -c1-32)" | md5sum
        let seen = sign("shop", Time(1_700_000_000_123), &Secret::new("secret"));
        assert_eq!(seen, "53011f0fc758f71374438ec5a9cd8e9a");
    }
}
