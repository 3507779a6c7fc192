//! The channels there are, and whether a template's content has the shape of its channel.

use serde_json::{Map, Value};
use tidings_contract::{ChannelInfo, ContentField, FieldError, RecipientKind};

const fn required(name: &'static str, doc: &'static str) -> ContentField {
    ContentField { name, required: true, doc }
}

const fn optional(name: &'static str, doc: &'static str) -> ContentField {
    ContentField { name, required: false, doc }
}

/// Every channel that can be sent through today.
pub static CHANNELS: &[ChannelInfo] = &[
    ChannelInfo {
        name: "dingtalk_robot",
        doc: "A custom robot in a DingTalk group.",
        recipient: RecipientKind::Account,
        fields: &[
            required("type", "The kind of message: text, link, markdown, actionCard or feedCard."),
            optional("text", "The text; markdown in a markdown and an actionCard. Not in a feedCard."),
            optional("title", "The title; needed by link, markdown and actionCard."),
            optional("message_url", "Where a link leads; needed by link."),
            optional("pic_url", "The picture of a link."),
            optional("single_title", "The text of an actionCard's only button."),
            optional("single_url", "Where that button leads."),
            optional("btns", "The buttons of an actionCard: a list of {title, action_url}."),
            optional("btn_orientation", "How buttons stand: 0 one below the other (default), 1 side by side."),
            optional("links", "The rows of a feedCard: a list of {title, message_url, pic_url}."),
            optional("at_mobiles", "A list of phone numbers to be mentioned; text and markdown only."),
            optional("at_user_ids", "A list of user ids to be mentioned; text and markdown only."),
            optional("at_all", "true mentions everyone; text and markdown only."),
        ],
        open: false,
        example: r#"{"type": "markdown", "title": "Build", "text": "Build **{{ number }}** is ready.", "at_all": false}"#,
    },
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
    ChannelInfo {
        name: "sms",
        doc: "A text message.",
        recipient: RecipientKind::Phone,
        fields: &[required("text", "The text."), optional("url", "A link; put after the text.")],
        open: false,
        example: r#"{"text": "Your code is {{ code }}."}"#,
    },
    ChannelInfo {
        name: "webhook",
        doc: "A signed HTTP POST (Standard Webhooks).",
        recipient: RecipientKind::Url,
        fields: &[optional("type", "What happened, as dotted words such as invoice.paid.")],
        open: true,
        example: r#"{"type": "invoice.paid", "data": {"id": "{{ id }}"}}"#,
    },
];

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
    match channel.name {
        "dingtalk_robot" => dingtalk(content, &mut errors),
        "email" => {
            errors.extend(crate::mail::check(content));
            if !has(content, "html") && !has(content, "text") {
                errors.push(missing("text", "html or text is required"));
            }
        }
        "sms" => texts(content, &mut errors),
        _ => {}
    }
    errors
}

fn missing(name: &str, detail: &str) -> FieldError {
    FieldError::new(format!("content.{name}"), detail)
}

/// Whether the field is there and says something.
fn has(content: &Map<String, Value>, name: &str) -> bool {
    !matches!(content.get(name), None | Some(Value::Null)) && content.get(name).and_then(Value::as_str) != Some("")
}

/// Complains about every field that is not a text.
fn texts(content: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    for (name, _) in content.iter().filter(|(_, value)| !value.is_string() && !value.is_null()) {
        errors.push(missing(name, "must be a text"));
    }
}

fn dingtalk(content: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let needed: &[&str] = match content.get("type").and_then(Value::as_str) {
        Some("text") => &["text"],
        Some("link") => &["title", "text", "message_url"],
        Some("markdown") => &["title", "text"],
        Some("actionCard") if has(content, "btns") => &["title", "text"],
        Some("actionCard") => &["title", "text", "single_title", "single_url"],
        Some("feedCard") => &["links"],
        None => return,
        Some(_) => {
            errors.push(missing("type", "must be text, link, markdown, actionCard or feedCard"));
            return;
        }
    };
    for name in needed.iter().filter(|name| !has(content, name)) {
        errors.push(missing(name, "is required by this type"));
    }
    for name in ["at_mobiles", "at_user_ids", "btns", "links"] {
        let items = match content.get(name) {
            None | Some(Value::Null) => continue,
            Some(Value::Array(items)) => items,
            Some(_) => {
                errors.push(missing(name, "must be a list"));
                continue;
            }
        };
        let fields: &[&str] = match name {
            "btns" => &["title", "action_url"],
            "links" => &["title", "message_url", "pic_url"],
            _ => &[],
        };
        for (at, item) in items.iter().enumerate() {
            if fields.is_empty() && !item.is_string() {
                errors.push(missing(&format!("{name}[{at}]"), "must be a text"));
            }
            for field in fields.iter().filter(|field| !item.get(field).is_some_and(Value::is_string)) {
                errors.push(missing(&format!("{name}[{at}].{field}"), "is required and must be a text"));
            }
        }
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
    fn content_of_the_wrong_shape_is_named_field_by_field() {
        let cases = [
            ("sms", json!({"text": "hi", "url": "https://example.com"}), vec![]),
            ("sms", json!({}), vec!["content.text"]),
            ("sms", json!({"text": ""}), vec!["content.text"]),
            ("sms", json!({"text": 7}), vec!["content.text"]),
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
