//! DingTalk's channels: the robot of a group, and work notices.

use tidings_contract::{ChannelInfo, RecipientKind};

use super::{optional, required};
use crate::message::Form::{BitText, Flag, Json, JsonWith, Media, Number, Rows, Text, Texts};
use crate::message::{Field, Kind, may, need};

pub(super) const ROBOT: ChannelInfo = ChannelInfo {
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
};

/// The types of the robot's messages (DingTalk: Message types of custom robots).
pub(crate) const ROBOT_KINDS: &[Kind] = &[
    Kind { name: "text", vendors: "text", fields: &[need("text", "content", Text), USERS, MOBILES, ALL] },
    Kind {
        name: "link",
        vendors: "link",
        fields: &[
            need("title", "title", Text),
            need("text", "text", Text),
            need("message_url", "messageUrl", Text),
            may("pic_url", "picUrl", Text),
        ],
    },
    Kind {
        name: "markdown",
        vendors: "markdown",
        fields: &[need("title", "title", Text), need("text", "text", Text), USERS, MOBILES, ALL],
    },
    Kind {
        name: "actionCard",
        vendors: "actionCard",
        fields: &[
            need("title", "title", Text),
            need("text", "text", Text),
            may("btn_orientation", "btnOrientation", BitText),
            may("single_title", "singleTitle", Text),
            may("single_url", "singleURL", Text),
            may("btns", "btns", Rows(&[need("title", "title", Text), need("action_url", "actionURL", Text)])),
        ],
    },
    Kind {
        name: "feedCard",
        vendors: "feedCard",
        fields: &[need(
            "links",
            "links",
            Rows(&[
                need("title", "title", Text),
                need("message_url", "messageURL", Text),
                need("pic_url", "picURL", Text),
            ]),
        )],
    },
];

// Who is mentioned stands beside the message, not in it; the provider moves it there.
const USERS: Field = may("at_user_ids", "atUserIds", Texts);
const MOBILES: Field = may("at_mobiles", "atMobiles", Texts);
const ALL: Field = may("at_all", "isAtAll", Flag);

pub(super) const WORK: ChannelInfo = ChannelInfo {
    name: "dingtalk_work",
    doc: "A work notice in DingTalk. Recipients: a user id, dept:<id> for a department, @all for everyone.",
    recipient: RecipientKind::Opaque,
    fields: &[
        required("type", "The kind of message: text, image, voice, file, link, markdown, action_card or oa."),
        optional("text", "The text; markdown in a markdown and an action_card."),
        optional("title", "The title; needed by link, markdown and action_card."),
        optional(
            "media_id",
            "The vendor's id of an uploaded file, or material:<id> for a material; needed by image, voice and file.",
        ),
        optional("duration", "How long a voice is, in seconds, less than 60."),
        optional("message_url", "Where a link or an oa leads."),
        optional("pc_message_url", "Where an oa leads on a desktop."),
        optional(
            "pic_url",
            "The picture of a link: the vendor's id of it, material:<id> for a material, or an address.",
        ),
        optional("single_title", "The text of an action_card's only button."),
        optional("single_url", "Where that button leads."),
        optional("btns", "The buttons of an action_card: a list of {title, action_url}."),
        optional("btn_orientation", "How buttons stand: 0 one below the other, 1 side by side (default)."),
        optional("head", "The head of an oa: {bgcolor, text}."),
        optional("status_bar", "The status of an oa: {status_value, status_bg}."),
        optional(
            "body",
            "The body of an oa: {title, form: [{key, value}], rich, content, image, file_count, author}; image may be \
             material:<id>.",
        ),
    ],
    open: false,
    example: r#"{"type": "action_card", "title": "Leave", "text": "**{{ name }}** asks for leave.",
        "single_title": "Look", "single_url": "https://example.com/{{ id }}"}"#,
};

/// The types of work notices (DingTalk: Message types of work notices).
pub(crate) const WORK_KINDS: &[Kind] = &[
    Kind { name: "text", vendors: "text", fields: &[need("text", "content", Text)] },
    Kind { name: "image", vendors: "image", fields: &[media("image")] },
    Kind { name: "voice", vendors: "voice", fields: &[media("voice"), need("duration", "duration", Number)] },
    Kind { name: "file", vendors: "file", fields: &[media("file")] },
    Kind {
        name: "link",
        vendors: "link",
        fields: &[
            need("message_url", "messageUrl", Text),
            need("pic_url", "picUrl", Media("image")),
            need("title", "title", Text),
            need("text", "text", Text),
        ],
    },
    Kind { name: "markdown", vendors: "markdown", fields: &[need("title", "title", Text), need("text", "text", Text)] },
    Kind {
        name: "action_card",
        vendors: "action_card",
        fields: &[
            need("title", "title", Text),
            need("text", "markdown", Text),
            may("btn_orientation", "btn_orientation", BitText),
            may("single_title", "single_title", Text),
            may("single_url", "single_url", Text),
            may("btns", "btn_json_list", Rows(&[need("title", "title", Text), need("action_url", "action_url", Text)])),
        ],
    },
    Kind {
        name: "oa",
        vendors: "oa",
        fields: &[
            need("message_url", "message_url", Text),
            may("pc_message_url", "pc_message_url", Text),
            need("head", "head", Json),
            may("status_bar", "status_bar", Json),
            need("body", "body", JsonWith(&[("image", "image")])),
        ],
    },
];

const fn media(kind: &'static str) -> Field {
    need("media_id", "media_id", Media(kind))
}
