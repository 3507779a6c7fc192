//! Feishu's channels: the robot of a group, and messages of an application.

use tidings_contract::{ChannelInfo, ContentField, RecipientKind};

use super::{optional, required};
use crate::message::Form::{Json, JsonWith, Media, Text};
use crate::message::{Field, Form, Kind, may, need};

const TEXT: ContentField = optional("text", "The text; <at user_id=\"…\"> mentions somebody, user_id all everyone.");
const TITLE: ContentField = optional("title", "The title of a post.");
const PARAGRAPHS: ContentField = optional(
    "paragraphs",
    "The paragraphs of a post: a list of lists of {tag, text, href, user_id, …}. One flat list is one paragraph.",
);
const LOCALE: ContentField = optional("locale", "The language of a post: zh_cn (default), en_us or ja_jp.");
const IMAGE: ContentField = optional("image_key", "The vendor's id of an uploaded picture; needed by image.");
const CARD: ContentField = optional("card", "The card of an interactive, as the vendor describes it.");

pub(super) const ROBOT: ChannelInfo = ChannelInfo {
    name: "feishu_robot",
    doc: "A custom robot in a Feishu group.",
    recipient: RecipientKind::Account,
    fields: &[
        required("type", "The kind of message: text, post, image, share_chat or interactive."),
        TEXT,
        TITLE,
        PARAGRAPHS,
        LOCALE,
        IMAGE,
        optional("share_chat_id", "The id of the group that a share_chat shows."),
        CARD,
    ],
    open: false,
    example: r#"{"type": "post", "title": "Build {{ number }}", "paragraphs": [
        [{"tag": "text", "text": "It is ready: "}, {"tag": "a", "text": "look", "href": "https://example.com/{{ id }}"}],
        [{"tag": "at", "user_id": "all"}]]}"#,
};

/// The types of the robot's messages (Feishu: Custom bot usage guide).
pub(crate) const ROBOT_KINDS: &[Kind] = &[
    Kind { name: "text", vendors: "text", fields: &[need("text", "text", Text)] },
    Kind { name: "post", vendors: "post", fields: POST },
    Kind { name: "image", vendors: "image", fields: &[need("image_key", "image_key", Text)] },
    Kind { name: "share_chat", vendors: "share_chat", fields: &[need("share_chat_id", "share_chat_id", Text)] },
    Kind { name: "interactive", vendors: "interactive", fields: &[need("card", "card", Json)] },
];

/// Where a post and a card hold the vendor's ids of files: the elements `img` and `media`.
const PLACES: Form = JsonWith(&[("image_key", "image"), ("img_key", "image"), ("file_key", "file")]);

/// A post is put together by language; the provider does so.
const POST: &[Field] =
    &[may("title", "title", Text), need("paragraphs", "content", PLACES), may("locale", "locale", Text)];

pub(super) const APP: ChannelInfo = ChannelInfo {
    name: "feishu_app",
    doc: "A message of a Feishu application. Recipients: an open id (ou_…), union id (on_…), chat id (oc_…), mail address \
          or user id.",
    recipient: RecipientKind::Opaque,
    fields: &[
        required(
            "type",
            "The kind of message: text, post, image, file, audio, media, sticker, interactive, share_chat or share_user.",
        ),
        TEXT,
        TITLE,
        PARAGRAPHS,
        LOCALE,
        optional(
            "image_key",
            "The vendor's id of an uploaded picture, or material:<id> for a material; needed by image.",
        ),
        optional(
            "file_key",
            "The vendor's id of an uploaded file, or material:<id> for a material; needed by file, audio, media and sticker.",
        ),
        optional("chat_id", "The id of the group that a share_chat shows."),
        optional("user_id", "The open id of the person that a share_user shows."),
        CARD,
    ],
    open: false,
    example: r#"{"type": "text", "text": "Hello {{ name }}"}"#,
};

/// The types of an application's messages (Feishu: Structure of the content of messages).
pub(crate) const APP_KINDS: &[Kind] = &[
    Kind { name: "text", vendors: "text", fields: &[need("text", "text", Text)] },
    Kind { name: "post", vendors: "post", fields: POST },
    Kind { name: "image", vendors: "image", fields: &[need("image_key", "image_key", Media("image"))] },
    Kind { name: "file", vendors: "file", fields: &[FILE] },
    Kind { name: "audio", vendors: "audio", fields: &[FILE] },
    Kind { name: "media", vendors: "media", fields: &[FILE, may("image_key", "image_key", Media("image"))] },
    Kind { name: "sticker", vendors: "sticker", fields: &[FILE] },
    Kind { name: "interactive", vendors: "interactive", fields: &[need("card", "card", PLACES)] },
    Kind { name: "share_chat", vendors: "share_chat", fields: &[need("chat_id", "chat_id", Text)] },
    Kind { name: "share_user", vendors: "share_user", fields: &[need("user_id", "user_id", Text)] },
];

const FILE: Field = need("file_key", "file_key", Media("file"));
