//! Which settings of an account decide where its secrets go. A stored secret goes nowhere new: whoever changes one of these
//! gives the secrets again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use url::Url;

/// Settings that cannot decide where a secret goes, nor whether others on the way can read it. Any other one counts as one
/// that does, so that a setting that comes later is safe until somebody has looked at it.
const HARMLESS: &[&str] = &[
    "access_key_id",
    "account_sid",
    "agent_id",
    "alipay_public_key",
    "allow_private",
    "api_key_sid",
    "app_id",
    "app_key",
    "attachment_bytes",
    "capacity",
    "connections",
    "corp_id",
    "delay_ms",
    "dkim_domain",
    "dkim_selector",
    "fail",
    "fail_first",
    "from",
    "helo",
    "key_id",
    "messaging_service_sid",
    "offline_channels",
    "sdk_app_id",
    "secret_id",
    "sign_name",
    "team_id",
    "template_id",
    "templates",
    "text_param",
    "timeout_ms",
    "topic",
    "user",
    "user_name",
    "username",
    "webhook_id",
];
/// The setting that holds a whole document.
const DEFINITION: &str = "definition";

/// The settings that decide where secrets go and differ between `before` and `after`, in the order of their names.
pub fn moved(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differs = |name: &&String| {
        let (old, new) = (before.get(*name), after.get(*name));
        match (old, new) {
            (Some(old), Some(new)) if name.as_str() == DEFINITION => goes_elsewhere(old, new),
            _ => old != new,
        }
    };
    let decides = |name: &&String| !HARMLESS.contains(&name.as_str());
    names.into_iter().filter(decides).filter(differs).cloned().collect()
}

/// Whether a document that describes a supplier sends to a host that the one before it did not send to.
pub fn goes_elsewhere(before: &Value, after: &Value) -> bool {
    let known = hosts(before);
    hosts(after).iter().any(|host| !known.contains(host))
}

/// Where a document sends: scheme, host and port of each URL, or nothing for those that stand under the account's endpoint.
fn hosts(document: &Value) -> BTreeSet<String> {
    let url = document.get("url").and_then(Value::as_str).unwrap_or("/");
    let token = document.pointer("/token/url").and_then(Value::as_str);
    let host = |text: &str| match Url::parse(text) {
        Ok(url) => url.origin().ascii_serialization(),
        Err(_) if text.starts_with('/') => String::new(),
        // Nothing that can be sent to; told apart from everything else.
        Err(_) => text.to_owned(),
    };
    [Some(url), token].into_iter().flatten().map(host).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Registry;

    fn plain(value: &Value) -> BTreeMap<String, Value> {
        serde_json::from_value(value.clone()).expect("an object")
    }

    #[test]
    fn the_destinations_of_every_provider_are_known() {
        let registry = Registry::new();
        let mut found = BTreeSet::new();
        for provider in registry.providers() {
            let open = provider.info().settings.iter().filter(|setting| !setting.secret);
            found.extend(open.map(|setting| setting.name).filter(|name| !HARMLESS.contains(name)));
        }
        let known = [
            "attachment_hosts",
            "ca_pem",
            "callback_url",
            "definition",
            "endpoint",
            "host",
            "port",
            "region",
            "sandbox",
            "status_callback",
            "tls",
            "token_endpoint",
            "url",
        ];
        let found: Vec<_> = found.into_iter().collect();
        let new: Vec<_> = found.iter().filter(|name| !known.contains(name)).collect();
        assert!(new.is_empty(), "do these decide where a secret goes? {new:?}");
    }

    #[test]
    fn every_setting_but_the_harmless_ones_counts_however_it_changes() {
        let before = json!({"host": "smtp.a.example", "port": 587, "from": "a@a.example", "username": "a"});
        for (after, named) in [
            (json!({"host": "smtp.a.example", "port": 587, "from": "b@a.example", "username": "b"}), vec![]),
            (json!({"host": "smtp.b.example", "port": 587}), vec!["host"]),
            (json!({"host": "smtp.a.example"}), vec!["port"]),
            (json!({"host": "smtp.a.example", "port": 587, "tls": "none", "proxy": "x"}), vec!["proxy", "tls"]),
        ] {
            assert_eq!(moved(&plain(&before), &plain(&after)), named, "{after}");
        }
    }

    #[test]
    fn a_document_may_change_in_everything_but_where_it_sends() {
        let of = |url: &str, token: Option<&str>| json!({"url": url, "body": {"a": url.len()}, "token": token.map(|url| json!({"url": url}))});
        let before = of("https://a.example/send", Some("https://auth.a.example/token"));
        for (after, elsewhere) in [
            (of("https://a.example/v2/send", Some("https://auth.a.example:443/token")), false),
            (of("https://a.example/send", None), false),
            (of("https://A.example/send", Some("https://a.example/token")), false),
            (of("https://b.example/send", None), true),
            (of("http://a.example/send", None), true),
            (of("https://a.example:8443/send", None), true),
            (of("https://a.example@b.example/send", None), true),
            (of("https://a.example/send", Some("https://auth.b.example/token")), true),
            (of("/send", None), true),
        ] {
            assert_eq!(goes_elsewhere(&before, &after), elsewhere, "{after}");
            let (old, new) = (json!({"definition": before}), json!({"definition": after}));
            assert_eq!(!moved(&plain(&old), &plain(&new)).is_empty(), elsewhere);
        }
        assert!(!goes_elsewhere(&json!({}), &of("/v2", None)), "both stand under the account's endpoint");
    }
}
