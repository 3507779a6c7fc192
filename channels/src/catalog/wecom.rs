//! WeCom's channels: the robot of a group, and messages of an application.

use tidings_contract::{ChannelInfo, RecipientKind};

use super::{optional, required};
use crate::message::Form::{Bit, Flag, Json, Media, Rows, Text, Texts};
use crate::message::{Field, Kind, may, need};

pub(super) const ROBOT: ChannelInfo = ChannelInfo {
    name: "wecom_robot",
    doc: "A robot in a WeCom group.",
    recipient: RecipientKind::Account,
    fields: &[
        required(
            "type",
            "The kind of message: text, markdown, markdown_v2, image, news, file, voice or template_card.",
        ),
        optional("text", "The text of a text, markdown or markdown_v2."),
        optional("mentioned_list", "A list of user ids to be mentioned by a text; @all mentions everyone."),
        optional("mentioned_mobile_list", "A list of phone numbers to be mentioned by a text; @all mentions everyone."),
        optional(
            "base64",
            "The picture of an image, a JPG or PNG of at most 2 MiB: in base64, or material:<id> for a material.",
        ),
        optional("articles", "The rows of a news, 1 to 8: a list of {title, description, url, picurl}."),
        optional(
            "media_id",
            "The vendor's id of an uploaded file, or material:<id> for a material; needed by file and voice.",
        ),
        optional("card", "The template_card as the vendor describes it: {card_type, main_title, …}."),
    ],
    open: false,
    example: r#"{"type": "markdown", "text": "Build **{{ number }}** is <font color=\"info\">ready</font>."}"#,
};

/// The types of the robot's messages (WeCom: Group robots, document 91770).
pub(crate) const ROBOT_KINDS: &[Kind] = &[
    Kind {
        name: "text",
        vendors: "text",
        fields: &[
            CONTENT,
            may("mentioned_list", "mentioned_list", Texts),
            may("mentioned_mobile_list", "mentioned_mobile_list", Texts),
        ],
    },
    Kind { name: "markdown", vendors: "markdown", fields: &[CONTENT] },
    Kind { name: "markdown_v2", vendors: "markdown_v2", fields: &[CONTENT] },
    Kind { name: "image", vendors: "image", fields: &[need("base64", "base64", Text)] },
    Kind {
        name: "news",
        vendors: "news",
        fields: &[need(
            "articles",
            "articles",
            Rows(&[
                need("title", "title", Text),
                may("description", "description", Text),
                need("url", "url", Text),
                may("picurl", "picurl", Text),
            ]),
        )],
    },
    Kind { name: "file", vendors: "file", fields: &[media("file")] },
    Kind { name: "voice", vendors: "voice", fields: &[media("voice")] },
    // The card is the whole part, not a field in it; the provider lifts it.
    Kind { name: "template_card", vendors: "template_card", fields: &[need("card", "card", Json)] },
];

const CONTENT: Field = need("text", "content", Text);

const fn media(kind: &'static str) -> Field {
    need("media_id", "media_id", Media(kind))
}

pub(super) const APP: ChannelInfo = ChannelInfo {
    name: "wecom_app",
    doc: "A message of a WeCom application. Recipients: a user id, party:<id>, tag:<id>, @all for everyone who sees it.",
    recipient: RecipientKind::Opaque,
    fields: &[
        required(
            "type",
            "The kind of message: text, image, voice, video, file, textcard, news, mpnews, markdown, miniprogram_notice \
             or template_card.",
        ),
        optional("text", "The text of a text or markdown."),
        optional(
            "media_id",
            "The vendor's id of an uploaded file, or material:<id> for a material; needed by image, voice, video and file.",
        ),
        optional("title", "The title; needed by textcard and miniprogram_notice."),
        optional("description", "The description; needed by textcard."),
        optional("url", "Where a textcard leads; needed by textcard."),
        optional("btntxt", "The text of a textcard's button."),
        optional(
            "articles",
            "The rows, 1 to 8. news: {title, description, url, picurl, appid, pagepath}. mpnews: {title, \
             thumb_media_id, author, content_source_url, content, digest}; thumb_media_id may be material:<id>.",
        ),
        optional("appid", "The mini program of a miniprogram_notice."),
        optional("page", "The page in it."),
        optional("emphasis_first_item", "Whether a miniprogram_notice shows its first row large."),
        optional("content_item", "The rows of a miniprogram_notice: a list of {key, value}."),
        optional("card", "The template_card as the vendor describes it: {card_type, main_title, …}."),
        optional("safe", "true keeps the message from being passed on; not for every type."),
        optional("id_trans", "true puts names in the place of ids in the text."),
    ],
    open: false,
    example: r#"{"type": "textcard", "title": "Leave", "description": "{{ name }} asks for leave.",
        "url": "https://example.com/{{ id }}"}"#,
};

/// The types of an application's messages (WeCom: Sending application messages, document 90236).
pub(crate) const APP_KINDS: &[Kind] = &[
    Kind { name: "text", vendors: "text", fields: &[CONTENT, SAFE, TRANS] },
    Kind { name: "image", vendors: "image", fields: &[media("image"), SAFE] },
    Kind { name: "voice", vendors: "voice", fields: &[media("voice")] },
    Kind {
        name: "video",
        vendors: "video",
        fields: &[media("video"), may("title", "title", Text), may("description", "description", Text), SAFE],
    },
    Kind { name: "file", vendors: "file", fields: &[media("file"), SAFE] },
    Kind {
        name: "textcard",
        vendors: "textcard",
        fields: &[
            need("title", "title", Text),
            need("description", "description", Text),
            need("url", "url", Text),
            may("btntxt", "btntxt", Text),
            TRANS,
        ],
    },
    Kind {
        name: "news",
        vendors: "news",
        fields: &[
            need(
                "articles",
                "articles",
                Rows(&[
                    need("title", "title", Text),
                    may("description", "description", Text),
                    may("url", "url", Text),
                    may("picurl", "picurl", Text),
                    may("appid", "appid", Text),
                    may("pagepath", "pagepath", Text),
                ]),
            ),
            TRANS,
        ],
    },
    Kind {
        name: "mpnews",
        vendors: "mpnews",
        fields: &[
            need(
                "articles",
                "articles",
                Rows(&[
                    need("title", "title", Text),
                    need("thumb_media_id", "thumb_media_id", Media("image")),
                    may("author", "author", Text),
                    may("content_source_url", "content_source_url", Text),
                    need("content", "content", Text),
                    may("digest", "digest", Text),
                ]),
            ),
            SAFE,
            TRANS,
        ],
    },
    Kind { name: "markdown", vendors: "markdown", fields: &[CONTENT] },
    Kind {
        name: "miniprogram_notice",
        vendors: "miniprogram_notice",
        fields: &[
            need("appid", "appid", Text),
            may("page", "page", Text),
            need("title", "title", Text),
            may("description", "description", Text),
            may("emphasis_first_item", "emphasis_first_item", Flag),
            may("content_item", "content_item", Rows(&[need("key", "key", Text), need("value", "value", Text)])),
            TRANS,
        ],
    },
    Kind { name: "template_card", vendors: "template_card", fields: &[need("card", "card", Json), TRANS] },
];

// Both stand beside the message, not in it; the provider moves them there.
const SAFE: Field = may("safe", "safe", Bit);
const TRANS: Field = may("id_trans", "enable_id_trans", Bit);
