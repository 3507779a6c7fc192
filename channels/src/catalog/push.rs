//! Notices pushed to an app. One channel for all suppliers: what a token or client id means is the account's matter.

use tidings_contract::{ChannelInfo, RecipientKind};

use super::{optional, required};
use crate::message::Form::{Flag, Json, Number, Text};
use crate::message::{Field, may, need};

pub(super) const PUSH: ChannelInfo = ChannelInfo {
    name: "push",
    doc: "A notice pushed to an app. Recipients: the supplier's id of the device (client id, registration or device token).",
    recipient: RecipientKind::Opaque,
    fields: &[
        required("title", "The title."),
        required("body", "The text."),
        optional("subtitle", "A second title; APNs only."),
        optional("image", "The address of a picture."),
        optional("url", "What a tap opens; the app without it. APNs hands it to the app as url."),
        optional("data", "What the app gets beside the notice: an object; FCM takes texts only."),
        optional("badge", "The number on the app's icon."),
        optional("sound", "The sound's name."),
        optional("category", "The kind of notice: APNs' category, Android's channel."),
        optional("collapse", "A newer notice with the same text here takes the place of an older one."),
        optional("ttl_s", "How long the supplier keeps it for a device that is off, in seconds."),
        optional("urgent", "false lets the device save power (default true)."),
        optional("vendor", "Anything further in the supplier's own form, laid over the message."),
    ],
    open: false,
    example: r#"{"title": "Shipped", "body": "Your parcel {{ number }} is on its way.",
        "url": "https://example.com/{{ id }}", "ttl_s": 86400}"#,
};

/// The fields of a notice, under our own names: each supplier puts them elsewhere.
pub(crate) const FIELDS: &[Field] = &[
    need("title", "title", Text),
    need("body", "body", Text),
    may("subtitle", "subtitle", Text),
    may("image", "image", Text),
    may("url", "url", Text),
    may("data", "data", Json),
    may("badge", "badge", Number),
    may("sound", "sound", Text),
    may("category", "category", Text),
    may("collapse", "collapse", Text),
    may("ttl_s", "ttl_s", Number),
    may("urgent", "urgent", Flag),
    may("vendor", "vendor", Json),
];
