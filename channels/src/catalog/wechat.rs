//! WeChat's channels and Alipay's: template messages that the supplier has approved.

use tidings_contract::{ChannelInfo, ContentField, RecipientKind};

use super::{optional, required};
use crate::message::Form::{Json, Text};
use crate::message::{Field, may, need};

const TEMPLATE: ContentField = required("template_id", "The vendor's id of the approved template.");
const DATA: ContentField =
    required("data", "What the template's placeholders hold: {name: text} or {name: {value: text}}.");

pub(super) const OFFICIAL: ChannelInfo = ChannelInfo {
    name: "wechat_official",
    doc: "A template message of a WeChat official account. Recipients: open ids.",
    recipient: RecipientKind::Opaque,
    fields: &[
        TEMPLATE,
        DATA,
        optional("url", "Where a tap leads."),
        optional("miniprogram", "The mini program a tap opens, if it can: {appid, pagepath}."),
    ],
    open: false,
    example: r#"{"template_id": "ngqIpbwh8bUfcSsECmogfXcV14J0tQlEpBO27izEYtY",
        "url": "https://example.com/{{ id }}", "data": {"keyword1": "{{ goods }}", "keyword2": "{{ price }}"}}"#,
};

/// The fields of a message (WeChat: Template messages of official accounts).
pub(crate) const OFFICIAL_FIELDS: &[Field] = &[
    need("template_id", "template_id", Text),
    may("url", "url", Text),
    may("miniprogram", "miniprogram", Json),
    need("data", "data", Json),
];

pub(super) const MINI: ChannelInfo = ChannelInfo {
    name: "wechat_mini",
    doc: "A subscribe message of a WeChat mini program. Recipients: open ids.",
    recipient: RecipientKind::Opaque,
    fields: &[
        TEMPLATE,
        DATA,
        optional("page", "The page that a tap opens, with its parameters."),
        optional("miniprogram_state", "Which version a tap opens: formal (default), trial or developer."),
        optional("lang", "The language: zh_CN (default), en_US, zh_HK or zh_TW."),
    ],
    open: false,
    example: r#"{"template_id": "TEMPLATE_ID", "page": "pages/order?id={{ id }}",
        "data": {"thing1": "{{ goods }}", "amount2": "{{ price }}"}}"#,
};

/// The fields of a message (WeChat: sendMessage of subscribe messages).
pub(crate) const MINI_FIELDS: &[Field] = &[
    need("template_id", "template_id", Text),
    may("page", "page", Text),
    need("data", "data", Json),
    may("miniprogram_state", "miniprogram_state", Text),
    may("lang", "lang", Text),
];

pub(super) const ALIPAY: ChannelInfo = ChannelInfo {
    name: "alipay_mini",
    doc: "A template message of an Alipay mini program. Recipients: user ids (2088…) or open ids.",
    recipient: RecipientKind::Opaque,
    fields: &[TEMPLATE, DATA, required("page", "The page that a tap opens, with its parameters.")],
    open: false,
    example: r#"{"template_id": "MDI4YzIxMDE2M2I5YTQzYjUxNWE4MjA4NmU1MTIyYmM=", "page": "pages/order?id={{ id }}",
        "data": {"keyword1": "{{ goods }}"}}"#,
};

/// The fields of a message (Alipay: alipay.open.app.mini.templatemessage.send).
pub(crate) const ALIPAY_FIELDS: &[Field] =
    &[need("template_id", "user_template_id", Text), need("page", "page", Text), need("data", "data", Json)];
