//! `teams`: posts an adaptive card by an incoming webhook of a Microsoft Teams workflow.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tidings_contract::{Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Settings, Target, Time};

use crate::SandboxInbox;
use crate::catalog::chat::TEAMS_KINDS;
use crate::http::{Answer, HeaderMap, Url, each};
use crate::json_api::{Api, ApiSettings, Class, DEADLINE, ENDPOINT, TIMEOUT, needed_secret, refused};
use crate::message::build;
use crate::reading::Reading;
use crate::status::{outcome_of_api, words};

static INFO: ProviderInfo = ProviderInfo {
    name: "teams",
    channel: "teams",
    doc: "Posts an adaptive card to a channel or chat of Microsoft Teams by a workflow's webhook. Vendor's limit: 4 a second.",
    source: "Microsoft Learn: Create incoming webhooks with Workflows; Create and send messages (incoming webhooks)",
    settings: &[
        needed_secret("url", "The whole address that the workflow shows, its signature included. Must be https."),
        ENDPOINT,
        TIMEOUT,
    ],
    example: r#"{"url": "https://prod-00.westeurope.logic.azure.com/workflows/0/triggers/manual/paths/invoke?sig=s"}"#,
    max_recipients: 1,
    deadline: DEADLINE,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Teams)
}

#[derive(Debug)]
struct Teams;

struct Account {
    api: Api,
    url: Url,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address is a secret: whoever has it can post.
        f.debug_struct("Account").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl Provider for Teams {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let secret = reading.needed_secret("url").cloned();
        let url = secret.as_ref().and_then(|secret| Url::parse(secret.expose()).ok());
        let url = reading.known("url", "must be an https URL", url.filter(|url| url.scheme() == "https"));
        // Without an endpoint of its own the account's origin is that of the address.
        let origin = url.as_ref().map_or_else(String::new, |url| url.origin().ascii_serialization());
        let api = ApiSettings::read(&mut reading, if origin.is_empty() { "https://localhost" } else { &origin });
        let ((url, api), secret) = reading.finish(url.zip(api).zip(secret))?;
        let signature = url.query_pairs().find(|(name, _)| name == "sig").map(|(_, sig)| sig.into_owned());
        let signature = signature.filter(|signature| signature.len() > 3).map(tidings_contract::Secret::new);
        let api = api.open(std::iter::once(&secret).chain(&signature))?;
        Ok(Arc::new(Account { api, url }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        each(call, |target| self.one(call.at, target)).await
    }
}

impl Account {
    async fn one(&self, at: Time, target: &Target) -> Outcome {
        let card = match card(&target.content) {
            Ok(card) => card,
            Err(detail) => return refused(detail),
        };
        let body = json!({"type": "message", "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": card}]});
        let mut url = self.api.url(self.url.path(), &[]);
        url.set_query(self.url.query());
        let sent = self.api.post(url, HeaderMap::new(), &body).await;
        self.api.settle(sent, None, |answer| judge(answer, at))
    }
}

/// A workflow answers 202 with nothing. The connectors before it answer 200 with `1`, and put another service's refusal
/// into the text of a 200 as well.
fn judge(answer: &Answer, at: Time) -> Outcome {
    let text = answer.text();
    match (answer.status, text.trim()) {
        (202, _) | (200, "" | "1") => Outcome::Delivered { provider_id: None },
        (200, said) if said.contains("HTTP error 429") => Class::Later.outcome("teams_429".to_owned(), &words(answer)),
        (200, said) if said.contains("HTTP error 413") || said.contains("BadRequest") => {
            Class::Content.outcome("teams_413".to_owned(), &words(answer))
        }
        (200..=299, _) => Outcome::unknown("answer", words(answer)),
        (400 | 413, _) => Class::Content.outcome(format!("http_{}", answer.status), &words(answer)),
        _ => outcome_of_api(answer, at),
    }
}

/// The adaptive card out of our content.
fn card(content: &Value) -> Result<Value, String> {
    let (kind, mut part) = build(TEAMS_KINDS, content)?;
    if kind.name == "card" {
        return Ok(part.remove("card").unwrap_or_default());
    }
    let mut blocks = Vec::new();
    if let Some(title) = part.get("title") {
        blocks.push(json!({"type": "TextBlock", "text": title, "size": "Large", "weight": "Bolder", "wrap": true}));
    }
    blocks.push(json!({"type": "TextBlock", "text": part.get("text"), "wrap": true}));
    if let Some(facts) = part.get("facts") {
        blocks.push(json!({"type": "FactSet", "facts": facts}));
    }
    let mut card = json!({"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard",
        "version": "1.4", "body": blocks});
    if let Some(url) = part.get("url") {
        let title = part.get("url_title").cloned().unwrap_or_else(|| "Open".into());
        card["actions"] = json!([{"type": "Action.OpenUrl", "title": title, "url": url}]);
    }
    Ok(card)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::conformance::{Golden, Subject};
    use crate::golden::Trial;
    use crate::testing::{HttpReply, open};

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"url": "https://a.example/in?sig=s1gn-83b", "endpoint": url, "timeout_ms": 3_000}),
            content: || json!({"type": "text", "text": "hi"}),
            taken: || HttpReply::status(202),
            blame: "Account",
            derived: &["s1gn-83b"],
            golden: || {
                Golden::each(
                    "Microsoft Learn: Create incoming webhooks with Workflows; Adaptive Cards schema 1.4",
                    &["ops"],
                    [
                        (
                            "text",
                            json!({"type": "text", "title": "T", "text": "hi", "facts": [{"title": "a", "value": "b"}],
                                "url": "https://a.example"}),
                        ),
                        (
                            "card",
                            json!({"type": "card", "card": {"type": "AdaptiveCard", "version": "1.5", "body": []}}),
                        ),
                    ],
                )
            },
            ..Subject::HTTP
        })
    }

    fn trial() -> Trial {
        let settings = json!({"url": "https://a.example/workflows/1/invoke?api-version=1&sig=s1gn"});
        Trial { provider: INFO.name, settings, path: "", token: None, secrets: &["s1gn"] }
    }

    #[tokio::test]
    async fn every_kind_of_answer_has_its_class() {
        let failed = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429";
        let large = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413";
        let cases = [
            (HttpReply::status(202), "delivered"),
            (HttpReply::text(200, "1"), "delivered"),
            (HttpReply::text(200, failed), "later teams_429"),
            (HttpReply::text(200, large), "never teams_413 Content"),
            (HttpReply::text(200, "<html>"), "unknown answer"),
            (HttpReply::text(400, "Bad payload"), "never http_400 Content"),
            (HttpReply::status(401), "never http_401 Account"),
            (HttpReply::status(429).with("Retry-After", "2"), "later http_429 2000"),
        ];
        trial().classes("ops", &json!({"type": "text", "text": "hi"}), cases).await;
    }

    #[test]
    fn the_address_must_be_https_and_is_not_printed() {
        for bad in ["http://a.example/?sig=s1gn", "s1gn"] {
            let errors = open(&crate::Registry::new(), INFO.name, json!({ "url": bad })).expect_err("it is wrong");
            assert_eq!(errors[0].field, "settings.url");
            assert!(!format!("{errors:?}").contains("s1gn"), "{errors:?}");
        }
        let account = open(&crate::Registry::new(), INFO.name, trial().settings).expect("it is right");
        assert!(!format!("{account:?}").contains("s1gn"), "{account:?}");
    }
}
