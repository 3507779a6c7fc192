//! What suppliers read in the texts of a content, and how long these may be: the data behind escaping and cutting.
//!
//! A line here is all that a field needs. Sources are the vendors' pages named beside the channels in the catalog.

use tidings_contract::{LengthUnit, Markup, TextLimit, TextRule};

use LengthUnit::{Bytes, Chars, Utf16};
use Markup::{ChatMarkdown, Html, Markdown, Plain, SlackMrkdwn, TelegramMarkdownV2};

const fn rule(field: &'static str, markup: Markup) -> TextRule {
    TextRule { field, when: None, markup, limit: None }
}

const fn typed(field: &'static str, types: &'static [&'static str], markup: Markup) -> TextRule {
    TextRule { field, when: Some(("type", types)), markup, limit: None }
}

/// The same, and longer ones are refused or cut.
const fn at_most(rule: TextRule, most: usize, unit: LengthUnit) -> TextRule {
    TextRule { limit: Some(TextLimit { most, unit, split: false }), ..rule }
}

/// The same, and longer ones can also go out as several messages.
const fn in_parts(rule: TextRule, most: usize, unit: LengthUnit) -> TextRule {
    TextRule { limit: Some(TextLimit { most, unit, split: true }), ..rule }
}

/// The rules of each channel, first match first.
static RULES: &[(&str, &[TextRule])] = &[
    // DingTalk: Custom robot access; a message has at most 20,000 bytes, of which the frame takes a little.
    (
        "dingtalk_robot",
        &[
            in_parts(typed("text", &["text"], Plain), 18_000, Bytes),
            in_parts(typed("text", &["markdown"], ChatMarkdown), 18_000, Bytes),
            at_most(typed("text", &["actionCard"], ChatMarkdown), 18_000, Bytes),
        ],
    ),
    // DingTalk: Message types and data formats of work notices; 2,048 bytes.
    (
        "dingtalk_work",
        &[
            in_parts(typed("text", &["text"], Plain), 2_048, Bytes),
            in_parts(typed("text", &["markdown"], ChatMarkdown), 2_048, Bytes),
            at_most(typed("text", &["action_card"], ChatMarkdown), 2_048, Bytes),
        ],
    ),
    // WeCom: Group robots (91770): text 2,048 bytes, markdown 4,096 bytes.
    (
        "wecom_robot",
        &[
            in_parts(typed("text", &["text"], Plain), 2_048, Bytes),
            in_parts(typed("text", &["markdown", "markdown_v2"], ChatMarkdown), 4_096, Bytes),
        ],
    ),
    // WeCom: Sending application messages (90236): text and markdown 2,048 bytes, of which the vendor cuts a text by itself; a
    // textcard's title 128 and description 512 characters. A text may hold links in HTML, a description a few tags.
    (
        "wecom_app",
        &[
            in_parts(typed("text", &["text"], ChatMarkdown), 2_048, Bytes),
            in_parts(typed("text", &["markdown"], ChatMarkdown), 2_048, Bytes),
            at_most(typed("title", &["textcard"], Plain), 128, Chars),
            at_most(typed("description", &["textcard"], ChatMarkdown), 512, Chars),
        ],
    ),
    // Feishu: Custom bot usage guide: a request has at most 20 KB. `<at user_id="all">` mentions everyone.
    ("feishu_robot", &[in_parts(typed("text", &["text"], ChatMarkdown), 18_000, Bytes), rule("card", ChatMarkdown)]),
    // Feishu: Sending messages: a request has at most 150 KB with a text, 30 KB with a card or a post, after JSON's escapes.
    ("feishu_app", &[in_parts(typed("text", &["text"], ChatMarkdown), 140_000, Bytes), rule("card", ChatMarkdown)]),
    // Slack: Truncating really long messages: 40,000 characters.
    (
        "slack",
        &[
            in_parts(rule("text", SlackMrkdwn), 40_000, Chars),
            rule("blocks", SlackMrkdwn),
            rule("attachments", SlackMrkdwn),
        ],
    ),
    // Telegram Bot API: sendMessage, 4,096 after entities are parsed; captions 1,024. Markup counts here, so a text with
    // much of it is held to be too long a little early.
    (
        "telegram",
        &[
            TextRule { field: "text", when: Some(("parse_mode", &["HTML"])), markup: Html, limit: None },
            TextRule {
                field: "text",
                when: Some(("parse_mode", &["MarkdownV2"])),
                markup: TelegramMarkdownV2,
                limit: None,
            },
            in_parts(typed("text", &["text"], Plain), 4_096, Utf16),
            at_most(typed("text", &["photo", "document", "video", "audio", "voice", "animation"], Plain), 1_024, Utf16),
        ],
    ),
    // Discord: Webhook resource, Execute Webhook: 2,000 characters.
    (
        "discord",
        &[in_parts(rule("text", Markdown), 2_000, Chars), rule("embeds", Markdown), rule("components", Markdown)],
    ),
    // Microsoft Learn: Text features of adaptive cards; Create an Incoming Webhook: a message has at most 28 KB, of which the
    // card around the text takes a part.
    (
        "teams",
        &[in_parts(typed("text", &["text"], Markdown), 24_000, Bytes), rule("facts", Markdown), rule("card", Markdown)],
    ),
    ("email", &[rule("html", Html)]),
];

/// The rules for the texts of a channel's content, first match first; none for a channel whose texts are plain.
pub fn text_rules(channel: &str) -> &'static [TextRule] {
    RULES.iter().find(|(name, _)| *name == channel).map_or(&[], |(_, rules)| rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CHANNELS;

    #[test]
    fn every_rule_is_for_a_field_that_there_is() {
        for (name, rules) in RULES {
            let Some(channel) = CHANNELS.iter().find(|channel| channel.name == *name) else { continue };
            let known = |field: &str| channel.fields.iter().any(|known| known.name == field);
            for rule in *rules {
                assert!(known(rule.field), "{name}: {}", rule.field);
                assert!(rule.when.is_none_or(|(field, values)| known(field) && !values.is_empty()), "{name}: {rule:?}");
                assert!(rule.limit.is_none_or(|limit| limit.most >= 100), "{name}: {rule:?}");
            }
        }
        assert!(!text_rules("email").is_empty() && text_rules("webhook").is_empty());
    }
}
