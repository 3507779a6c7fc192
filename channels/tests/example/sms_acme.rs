//! `sms/acme`: sends text messages by Acme's HTTP interface.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidings_contract::{
    Blame, Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Secret, Setting, Settings, Target,
};

use crate::SandboxInbox;
use crate::http::{Client, ClientOptions, HeaderMap, Method, Url, each};
use crate::reading::Reading;
use crate::status::{outcome_of_api, without};

static INFO: ProviderInfo = ProviderInfo {
    name: "sms/acme",
    channel: "sms",
    doc: "Sends text messages by Acme.",
    source: "Acme: Send a message",
    settings: &[
        Setting { name: "endpoint", required: true, secret: false, doc: "The address of the interface." },
        Setting { name: "key", required: true, secret: true, doc: "The key." },
    ],
    example: r#"{"endpoint": "https://sms.acme.example/send", "key": "k"}"#,
    max_recipients: 1,
    deadline: Duration::from_secs(15),
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Acme)
}

#[derive(Debug)]
struct Acme;

#[derive(Debug)]
struct Account {
    client: Client,
    url: Url,
    key: Secret,
}

impl Provider for Acme {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let url = reading.endpoint("endpoint", "");
        let key = reading.needed_secret("key").cloned();
        let (url, key) = reading.finish(url.zip(key))?;
        let client = Client::new(ClientOptions::provider(Duration::from_secs(10), false))
            .map_err(|failure| vec![FieldError::new("settings", failure.to_string())])?;
        Ok(Arc::new(Account { client, url, key }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        each(call, |target| self.one(call, target)).await
    }
}

impl Account {
    async fn one(&self, call: &Call, target: &Target) -> Outcome {
        let Some(text) = target.content["text"].as_str() else {
            return Outcome::never(Blame::Content, "content", "text is missing");
        };
        let body = serde_json::json!({"to": target.to, "text": text});
        let sent = self.client.json(Method::POST, self.url.clone(), Some(&self.key), HeaderMap::new(), Some(&body));
        match sent.await {
            Ok(answer) => without(outcome_of_api(&answer, call.at), [&self.key]),
            Err(failure) => failure.into(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::conformance::{Golden, Subject};
    use crate::testing::HttpReply;

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"endpoint": url, "key": "acme-key-1f2e"}),
            to: |_| "+12125552368".to_owned(),
            content: || json!({"text": "hi"}),
            taken: || HttpReply::status(200),
            gibberish: "delivered",
            blame: "Account",
            golden: || {
                vec![Golden {
                    name: "text",
                    page: "Acme: Send a message",
                    to: &[],
                    content: json!({"text": "hi"}),
                    masked: &[],
                }]
            },
            ..Subject::HTTP
        })
    }
}
