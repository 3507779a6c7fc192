//! `custom_http`: any supplier with an HTTP interface, described by a document in the account's settings.

use std::sync::Arc;

use tidings_contract::{Channel, FieldError, Provider, ProviderInfo, Settings};

use crate::{SandboxInbox, declared, sms};

static INFO: ProviderInfo = ProviderInfo {
    name: "custom_http",
    channel: "*",
    doc: "Sends by any HTTP interface that a document describes: requests, signature, access token, meaning of answers.",
    source: "Tidings itself; JSON pointers are those of RFC 6901",
    settings: &[
        sms::plain("definition", true, "The document; see the part on described suppliers in the README of channels."),
        declared::USER,
        declared::SECRET,
        declared::ENDPOINT,
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
        declared::open(settings, settings.plain.get("definition"))
    }
}

#[cfg(test)]
#[path = "../provider_tests/custom_http.rs"]
pub(super) mod tests;
