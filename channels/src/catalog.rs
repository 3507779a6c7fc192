//! The channels there are, and whether a template's content has the shape of its channel.

pub(crate) mod chat;
pub(crate) mod dingtalk;
pub(crate) mod feishu;
pub(crate) mod push;
pub(crate) mod wechat;
pub(crate) mod wecom;

use serde_json::{Map, Value};
use tidings_contract::{ChannelInfo, ContentField, FieldError, RecipientKind};

use crate::message::{self, Field, Kind};

const fn required(name: &'static str, doc: &'static str) -> ContentField {
    ContentField { name, required: true, doc }
}

const fn optional(name: &'static str, doc: &'static str) -> ContentField {
    ContentField { name, required: false, doc }
}

/// Every channel that can be sent through today.
pub static CHANNELS: &[ChannelInfo] = &[
    wechat::ALIPAY,
    dingtalk::ROBOT,
    dingtalk::WORK,
    chat::DISCORD,
    ChannelInfo {
        name: "email",
        doc: "A mail.",
        recipient: RecipientKind::Email,
        fields: &[
            required("subject", "The subject; line breaks become spaces."),
            optional("html", "The HTML body. html, text or both must be there."),
            optional("text", "The plain text body; the alternative when there is HTML too."),
            optional("from_name", "The sender's name; the address is the account's."),
            optional("reply_to", "Where answers go: an address, or Name <address>."),
            optional(
                "attachments",
                "A list of {url or material, name, media_type, inline}; inline is the id for cid: in html.",
            ),
            optional("unsubscribe_url", "An https address that takes a one-click unsubscription (RFC 8058)."),
            optional("unsubscribe_mailto", "A mail address that takes unsubscriptions (RFC 2369)."),
        ],
        open: false,
        example: r#"{"subject": "Welcome, {{ name }}", "html": "<p>Hello {{ name }}</p>", "text": "Hello {{ name }}"}"#,
    },
    feishu::APP,
    feishu::ROBOT,
    push::PUSH,
    chat::SLACK,
    ChannelInfo {
        name: "sms",
        doc: "A text message.",
        recipient: RecipientKind::Phone,
        fields: &[
            optional("text", "The text. text, template_id or both must be there."),
            optional("url", "A link; put after the text."),
            optional("template_id", "The supplier's template, or a name that the account maps to one."),
            optional("params", "What the template is filled with: a list, or an object by name."),
            optional("sign_name", "The signature before the text, without brackets; default the account's."),
        ],
        open: false,
        example: r#"{"template_id": "otp", "params": {"code": "{{ code }}"}, "text": "Your code is {{ code }}."}"#,
    },
    chat::TEAMS,
    chat::TELEGRAM,
    ChannelInfo {
        name: "webhook",
        doc: "A signed HTTP POST (Standard Webhooks).",
        recipient: RecipientKind::Url,
        fields: &[optional("type", "What happened, as dotted words such as invoice.paid.")],
        open: true,
        example: r#"{"type": "invoice.paid", "data": {"id": "{{ id }}"}}"#,
    },
    wechat::MINI,
    wechat::OFFICIAL,
    wecom::APP,
    wecom::ROBOT,
];

/// The fields of a channel's message.
pub(crate) enum Shape {
    /// By type of message.
    Kinds(&'static [Kind]),
    /// The same for all.
    Fields(&'static [Field]),
    /// Texts and files.
    Mail,
    /// A text, or a template with its parameters.
    Sms,
    /// Anything.
    Open,
}

pub(crate) fn shape(channel: &str) -> Shape {
    match channel {
        "alipay_mini" => Shape::Fields(wechat::ALIPAY_FIELDS),
        "dingtalk_robot" => Shape::Kinds(dingtalk::ROBOT_KINDS),
        "dingtalk_work" => Shape::Kinds(dingtalk::WORK_KINDS),
        "discord" => Shape::Fields(chat::DISCORD_FIELDS),
        "feishu_app" => Shape::Kinds(feishu::APP_KINDS),
        "feishu_robot" => Shape::Kinds(feishu::ROBOT_KINDS),
        "push" => Shape::Fields(push::FIELDS),
        "slack" => Shape::Fields(chat::SLACK_FIELDS),
        "teams" => Shape::Kinds(chat::TEAMS_KINDS),
        "telegram" => Shape::Kinds(chat::TELEGRAM_KINDS),
        "wechat_mini" => Shape::Fields(wechat::MINI_FIELDS),
        "wechat_official" => Shape::Fields(wechat::OFFICIAL_FIELDS),
        "wecom_app" => Shape::Kinds(wecom::APP_KINDS),
        "wecom_robot" => Shape::Kinds(wecom::ROBOT_KINDS),
        "email" => Shape::Mail,
        "sms" => Shape::Sms,
        _ => Shape::Open,
    }
}

/// What is wrong with a template's `content`, field by field; empty when nothing is.
///
/// Placeholders stand as they are: only what is fixed in the template is judged.
pub fn check_content(channel: &ChannelInfo, content: &Value) -> Vec<FieldError> {
    let Value::Object(content) = content else {
        return vec![FieldError::new("content", "must be an object")];
    };
    let mut errors = Vec::new();
    for field in channel.fields.iter().filter(|f| f.required && !has(content, f.name)) {
        errors.push(missing(field.name, &format!("is required: {}", field.doc)));
    }
    if !channel.open {
        let known: Vec<_> = channel.fields.iter().map(|f| f.name).collect();
        for name in content.keys().filter(|name| !known.contains(&name.as_str())) {
            errors.push(missing(name, &format!("is not a field of {}; it has: {}", channel.name, known.join(", "))));
        }
    }
    match shape(channel.name) {
        Shape::Kinds(kinds) => errors.extend(message::check(kinds, content)),
        Shape::Fields(fields) => {
            // What is required was looked for above already.
            let found = message::check_fields(fields, &Value::Object(content.clone()), "content.");
            errors.extend(found.into_iter().filter(|error| error.detail != message::MISSING));
        }
        Shape::Sms => sms(content, &mut errors),
        Shape::Mail => errors.extend(crate::mail::check(content)),
        Shape::Open => {}
    }
    if let Some((_, names)) = ONE_OF.iter().find(|(name, _)| *name == channel.name)
        && !names.iter().any(|name| has(content, name))
    {
        errors.push(missing(names[0], &format!("{} is required", names.join(" or "))));
    }
    let card = matches!(content.get("type").and_then(Value::as_str), Some("actionCard" | "action_card"));
    if card && channel.name.starts_with("dingtalk_") && !has(content, "btns") {
        let lacking = ["single_title", "single_url"].into_iter().filter(|name| !has(content, name));
        errors.extend(lacking.map(|name| missing(name, message::MISSING)));
    }
    errors
}

/// Channels whose content needs one of several fields.
const ONE_OF: &[(&str, &[&str])] = &[
    ("email", &["text", "html"]),
    ("slack", &["text", "blocks", "attachments"]),
    ("discord", &["text", "embeds", "components"]),
];

/// The types of messages of a channel: those that its contents name, else the fields of which a content needs one, else
/// a single one without a name.
#[cfg(test)]
pub(crate) fn message_types(channel: &str) -> Vec<&'static str> {
    let one_of = ONE_OF.iter().find(|(name, _)| *name == channel).map(|(_, names)| names.to_vec());
    match shape(channel) {
        Shape::Kinds(kinds) => kinds.iter().map(|kind| kind.name).collect(),
        Shape::Sms => vec!["text", "template_id"],
        _ => one_of.unwrap_or_else(|| vec![""]),
    }
}

/// Whether a content of the channel is of that type.
#[cfg(test)]
pub(crate) fn is_of_type(channel: &str, content: &Value, name: &str) -> bool {
    match shape(channel) {
        Shape::Kinds(_) => content["type"] == name,
        _ => name.is_empty() || !content[name].is_null(),
    }
}

fn missing(name: &str, detail: &str) -> FieldError {
    FieldError::new(format!("content.{name}"), detail)
}

/// Whether the field is there and says something.
fn has(content: &Map<String, Value>, name: &str) -> bool {
    !matches!(content.get(name), None | Some(Value::Null)) && content.get(name).and_then(Value::as_str) != Some("")
}

fn sms(content: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    for (name, value) in content.iter().filter(|(_, value)| !value.is_null()) {
        let fits = match (name.as_str(), value) {
            ("params", Value::Array(items)) => items.iter().all(plain),
            ("params", Value::Object(items)) => items.values().all(plain),
            ("params", _) => false,
            (_, value) => value.is_string(),
        };
        match (fits, name.as_str()) {
            (true, _) => {}
            (false, "params") => errors.push(missing(name, "must be a list or an object of texts")),
            (false, _) => errors.push(missing(name, "must be a text")),
        }
    }
    if !has(content, "text") && !has(content, "template_id") {
        // What is missing comes before what is too much.
        errors.insert(0, missing("text", "text or template_id is required"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(channel: &str, content: &Value) -> Vec<String> {
        let channel = CHANNELS.iter().find(|c| c.name == channel).expect("the channel exists");
        check_content(channel, content).into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn every_field_of_a_message_is_described_and_every_described_field_is_sent() {
        use std::collections::BTreeSet;
        for channel in CHANNELS {
            let fields: Vec<&Field> = match shape(channel.name) {
                Shape::Kinds(kinds) => kinds.iter().flat_map(|kind| kind.fields).collect(),
                Shape::Fields(fields) => fields.iter().collect(),
                Shape::Mail | Shape::Sms | Shape::Open => continue,
            };
            let sent: BTreeSet<_> = fields.iter().map(|field| field.ours).collect();
            let described = channel.fields.iter().map(|field| field.name).filter(|name| *name != "type");
            assert_eq!(sent, described.collect(), "{}", channel.name);
        }
    }

    #[test]
    fn every_type_of_message_is_named_in_the_description_of_its_channel() {
        for channel in CHANNELS {
            let Shape::Kinds(kinds) = shape(channel.name) else { continue };
            let doc = channel.fields.iter().find(|field| field.name == "type").map_or("", |field| field.doc);
            for kind in kinds {
                assert!(doc.contains(kind.name), "{}: {} is not in: {doc}", channel.name, kind.name);
            }
        }
    }

    #[test]
    fn content_of_the_wrong_shape_is_named_field_by_field() {
        let cases = [
            ("sms", json!({"text": "hi", "url": "https://example.com"}), vec![]),
            ("sms", json!({}), vec!["content.text"]),
            ("sms", json!({"text": ""}), vec!["content.text"]),
            ("sms", json!({"text": 7}), vec!["content.text"]),
            ("sms", json!({"template_id": "otp", "params": {"code": 7}}), vec![]),
            ("sms", json!({"template_id": "otp", "params": ["a", true]}), vec![]),
            ("sms", json!({"template_id": "otp", "params": {"code": {}}}), vec!["content.params"]),
            ("sms", json!({"template_id": 7, "text": "x"}), vec!["content.template_id"]),
            ("sms", json!("hi"), vec!["content"]),
            ("sms", json!({"text": "hi", "txet": "hi"}), vec!["content.txet"]),
            ("email", json!({"subject": "s", "text": "t"}), vec![]),
            ("email", json!({"subject": "s"}), vec!["content.text"]),
            ("webhook", json!({"anything": [1, 2]}), vec![]),
            ("webhook", json!({}), vec![]),
            ("dingtalk_robot", json!({"type": "text", "text": "hi"}), vec![]),
            ("dingtalk_robot", json!({"type": "image"}), vec!["content.type"]),
            ("dingtalk_robot", json!({"text": "hi"}), vec!["content.type"]),
            ("dingtalk_robot", json!({"type": "link", "text": "hi"}), vec!["content.title", "content.message_url"]),
            ("dingtalk_robot", json!({"type": "feedCard", "links": {}}), vec!["content.links"]),
            (
                "dingtalk_robot",
                json!({"type": "actionCard", "title": "t", "text": "x", "btns": [{"title": "a"}]}),
                vec!["content.btns[0].action_url"],
            ),
            ("slack", json!({"text": "x"}), vec![]),
            ("slack", json!({"thread_ts": "1.2"}), vec!["content.text"]),
            ("slack", json!({"blocks": "{{ blocks }}"}), vec![]),
            ("discord", json!({"embeds": 7}), vec!["content.embeds"]),
            ("wechat_mini", json!({"template_id": "T"}), vec!["content.data"]),
            ("push", json!({"title": "T", "body": "B", "badge": "{{ n }}"}), vec![]),
            ("push", json!({"title": "T", "badge": "x"}), vec!["content.body", "content.badge"]),
            ("wecom_app", json!({"type": "news", "articles": [{}]}), vec!["content.articles[0].title"]),
            ("wecom_robot", json!({"type": "template_card", "card": "x"}), vec!["content.card"]),
            (
                "dingtalk_work",
                json!({"type": "action_card", "title": "T", "text": "x"}),
                vec!["content.single_title", "content.single_url"],
            ),
            ("webhook", json!({"type": "actionCard"}), vec![]),
            (
                "dingtalk_robot",
                json!({"type": "text", "text": "x", "at_mobiles": [138]}),
                vec!["content.at_mobiles[0]"],
            ),
        ];
        for (channel, content, expected) in cases {
            assert_eq!(wrong(channel, &content), expected, "{channel} {content}");
        }
    }
}
