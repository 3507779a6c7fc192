//! Slack, Telegram, Discord and Teams.

use tidings_contract::{ChannelInfo, RecipientKind};

use super::{optional, required};
use crate::message::Form::{Decimal, Flag, Json, Number, Rows, Text};
use crate::message::{Field, Kind, may, need};

pub(super) const SLACK: ChannelInfo = ChannelInfo {
    name: "slack",
    doc: "A message in Slack. Recipients: a channel, user or conversation id, or #name; an incoming webhook has its own \
          channel and takes any name.",
    recipient: RecipientKind::Opaque,
    fields: &[
        optional("text", "The text in Slack's markup. text, blocks or both must be there."),
        optional("blocks", "A list of blocks, as Slack describes them."),
        optional("attachments", "A list of attachments, as Slack describes them."),
        optional("thread_ts", "The id of the message that is answered."),
        optional("unfurl_links", "Whether links are shown with a preview."),
        optional("unfurl_media", "Whether links to media are shown with a preview."),
        optional("mrkdwn", "false shows the text as it is."),
    ],
    open: false,
    example: r#"{"text": "Build *{{ number }}* is ready: <https://example.com/{{ id }}|look>"}"#,
};

/// The fields of a message (Slack: chat.postMessage; Sending messages using incoming webhooks).
pub(crate) const SLACK_FIELDS: &[Field] = &[
    may("text", "text", Text),
    may("blocks", "blocks", Json),
    may("attachments", "attachments", Json),
    may("thread_ts", "thread_ts", Text),
    may("unfurl_links", "unfurl_links", Flag),
    may("unfurl_media", "unfurl_media", Flag),
    may("mrkdwn", "mrkdwn", Flag),
];

pub(super) const TELEGRAM: ChannelInfo = ChannelInfo {
    name: "telegram",
    doc: "A message of a Telegram bot. Recipients: a chat id or the @name of a channel.",
    recipient: RecipientKind::Opaque,
    fields: &[
        required("type", "The kind of message: text, photo, document, video, audio, voice, animation or location."),
        optional("text", "The text; with other types the caption."),
        optional("file", "The file: an address that Telegram fetches, or its id of a file it has."),
        optional("parse_mode", "How the text is marked up: MarkdownV2 or HTML; as it is without it."),
        optional("latitude", "Where a location is, in degrees."),
        optional("longitude", "Where a location is, in degrees."),
        optional("reply_markup", "Buttons, as Telegram describes them."),
        optional("link_preview_options", "How links are shown, as Telegram describes it; text only."),
        optional("message_thread_id", "The topic of a forum."),
        optional("disable_notification", "true sends without a sound."),
        optional("protect_content", "true keeps the message from being passed on."),
    ],
    open: false,
    example: r#"{"type": "text", "text": "Build <b>{{ number }}</b> is ready.", "parse_mode": "HTML"}"#,
};

/// The types of messages, each with the method that sends it (Telegram Bot API: Available methods).
pub(crate) const TELEGRAM_KINDS: &[Kind] = &[
    Kind {
        name: "text",
        vendors: "sendMessage",
        fields: &[
            need("text", "text", Text),
            PARSE,
            may("link_preview_options", "link_preview_options", Json),
            MARKUP,
            TOPIC,
            SILENT,
            PROTECT,
        ],
    },
    file("photo", "sendPhoto", &[need("file", "photo", Text), CAPTION, PARSE, MARKUP, TOPIC, SILENT, PROTECT]),
    file("document", "sendDocument", &[need("file", "document", Text), CAPTION, PARSE, MARKUP, TOPIC, SILENT, PROTECT]),
    file("video", "sendVideo", &[need("file", "video", Text), CAPTION, PARSE, MARKUP, TOPIC, SILENT, PROTECT]),
    file("audio", "sendAudio", &[need("file", "audio", Text), CAPTION, PARSE, MARKUP, TOPIC, SILENT, PROTECT]),
    file("voice", "sendVoice", &[need("file", "voice", Text), CAPTION, PARSE, MARKUP, TOPIC, SILENT, PROTECT]),
    file(
        "animation",
        "sendAnimation",
        &[need("file", "animation", Text), CAPTION, PARSE, MARKUP, TOPIC, SILENT, PROTECT],
    ),
    Kind {
        name: "location",
        vendors: "sendLocation",
        fields: &[
            need("latitude", "latitude", Decimal),
            need("longitude", "longitude", Decimal),
            MARKUP,
            TOPIC,
            SILENT,
            PROTECT,
        ],
    },
];

const fn file(name: &'static str, vendors: &'static str, fields: &'static [Field]) -> Kind {
    Kind { name, vendors, fields }
}

const CAPTION: Field = may("text", "caption", Text);
const PARSE: Field = may("parse_mode", "parse_mode", Text);
const MARKUP: Field = may("reply_markup", "reply_markup", Json);
const TOPIC: Field = may("message_thread_id", "message_thread_id", Number);
const SILENT: Field = may("disable_notification", "disable_notification", Flag);
const PROTECT: Field = may("protect_content", "protect_content", Flag);

pub(super) const DISCORD: ChannelInfo = ChannelInfo {
    name: "discord",
    doc: "A message in a channel of Discord, by a webhook.",
    recipient: RecipientKind::Account,
    fields: &[
        optional("text", "The text, at most 2,000 characters. text, embeds or components must be there."),
        optional("embeds", "A list of embeds, at most 10, as Discord describes them."),
        optional("components", "A list of components, as Discord describes them."),
        optional("username", "Another name than the webhook's."),
        optional("avatar_url", "Another picture than the webhook's."),
        optional("allowed_mentions", "Who may be mentioned, as Discord describes it; without it everyone in the text."),
        optional("tts", "true reads the text aloud."),
        optional("thread_name", "The name of the thread to begin, in a forum."),
        optional("flags", "Flags of the message, as Discord describes them."),
    ],
    open: false,
    example: r#"{"text": "Build **{{ number }}** is ready.", "allowed_mentions": {"parse": []}}"#,
};

/// The fields of a message (Discord: Webhook resource, Execute Webhook).
pub(crate) const DISCORD_FIELDS: &[Field] = &[
    may("text", "content", Text),
    may("embeds", "embeds", Json),
    may("components", "components", Json),
    may("username", "username", Text),
    may("avatar_url", "avatar_url", Text),
    may("allowed_mentions", "allowed_mentions", Json),
    may("tts", "tts", Flag),
    may("thread_name", "thread_name", Text),
    may("flags", "flags", Number),
];

pub(super) const TEAMS: ChannelInfo = ChannelInfo {
    name: "teams",
    doc: "An adaptive card in a channel or chat of Microsoft Teams.",
    recipient: RecipientKind::Account,
    fields: &[
        required("type", "The kind of message: text, a card made of the fields below, or card, one of your own."),
        optional("text", "The text of a text, in the markdown of adaptive cards."),
        optional("title", "The title of a text."),
        optional("facts", "The rows of a text: a list of {title, value}."),
        optional("url", "Where the button of a text leads."),
        optional("url_title", "What stands on that button; Open without it."),
        optional("card", "The adaptive card of a card, with its type and version."),
    ],
    open: false,
    example: r#"{"type": "text", "title": "Build", "text": "Build **{{ number }}** is ready.",
        "url": "https://example.com/{{ id }}"}"#,
};

/// The types of messages; both become an adaptive card.
pub(crate) const TEAMS_KINDS: &[Kind] = &[
    Kind {
        name: "text",
        vendors: "text",
        fields: &[
            need("text", "text", Text),
            may("title", "title", Text),
            may("facts", "facts", Rows(&[need("title", "title", Text), need("value", "value", Text)])),
            may("url", "url", Text),
            may("url_title", "url_title", Text),
        ],
    },
    Kind { name: "card", vendors: "card", fields: &[need("card", "card", Json)] },
];
