//! `custom_http`: any supplier with an HTTP interface, described by a document in the account's settings.

use std::sync::Arc;

use tidings_contract::{Channel, FieldError, Provider, ProviderInfo, Settings};

use crate::SandboxInbox;
use crate::declared::{Account, Definition};
use crate::reading::Reading;
use crate::sms;

static INFO: ProviderInfo = ProviderInfo {
    name: "custom_http",
    channel: "*",
    doc: "Sends by any HTTP interface that a document describes: requests, signature, access token, meaning of answers.",
    source: "Tidings itself; JSON pointers are those of RFC 6901",
    settings: &[
        sms::plain("definition", true, "The document; see the part on described suppliers in the README of channels."),
        sms::plain("user", false, "What {{ user }} stands for."),
        sms::sealed("secret", false, "What {{ secret }} stands for."),
        sms::plain(
            "endpoint",
            false,
            "Under which URLs of the document stand that begin with a slash. https, except on this machine.",
        ),
        sms::TIMEOUT,
    ],
    example: r#"{"user": "shop", "secret": "secret", "definition": {
        "url": "https://sms.supplier.example/send", "number": "national",
        "derive": [{"name": "sign", "hash": "hmac_sha256", "key": "{{ secret }}", "text": "{{ user }}{{ at_ms }}"}],
        "headers": {"X-Sign": "{{ sign }}"},
        "body": {"user": "{{ user }}", "time": "{{ at_ms }}", "phone": "{{ to }}", "text": "{{ content.text }}"},
        "answer": {"code": "/code", "success": ["0"], "words": "/message", "id": "/id",
            "classes": {"1001": "account", "1002": "recipient"}, "otherwise": "later"}}}"#,
    max_recipients: 200,
    deadline: sms::DEADLINE,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(CustomHttp)
}

#[derive(Debug)]
struct CustomHttp;

impl Provider for CustomHttp {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let timeout = reading.timeout(10_000, 20_000);
        let user = reading.text("user").unwrap_or_default().to_owned();
        let secret = reading.secret("secret").cloned();
        let endpoint = reading.text("endpoint");
        let read = reading.value("definition").map(|document| Definition::read(document, endpoint));
        let definition = match read {
            Some(Ok(definition)) => Some(definition),
            Some(Err(detail)) => {
                reading.wrong("definition", detail);
                None
            }
            None => {
                reading.wrong("definition", "is required");
                None
            }
        };
        let definition = reading.finish(definition)?;
        Ok(Arc::new(Account { client: sms::client(timeout)?, definition, user, secret }))
    }
}

#[cfg(test)]
#[path = "../provider_tests/custom_http.rs"]
pub(super) mod tests;
