//! How a message leaves: the channels there are, the providers that serve them, and the one HTTP client.

pub mod http;

mod address;
mod attachments;
mod barrier;
mod batch;
mod catalog;
mod codes;
mod company_app;
mod declared;
mod destinations;
mod dkim;
mod inbox;
mod json_api;
mod keypairs;
mod mail;
mod media;
mod message;
mod multipart;
mod nesting;
mod phone;
mod providers;
mod reading;
mod recipient;
mod registry;
mod resolving;
mod show;
mod signing;
mod sms;
mod smtp;
mod smtp_line;
mod smtp_reply;
mod stable_id;
mod stand_ins;
mod status;
mod texts;
mod wechat;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

#[cfg(test)]
mod conformance;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod golden_keys;

pub use catalog::{CHANNELS, check_content};
pub use declared::Described;
pub use destinations::{goes_elsewhere, moved};
pub use inbox::{InboxEntry, SandboxInbox};
pub use media::{materials_of, may_name_materials};
pub use recipient::check_recipient;
pub use registry::Registry;
pub use show::{Preview, ShownRequest, features, preview, preview_account};
pub use sms::{Encoding, SegmentRules, Segments, segments_of};
pub use texts::text_rules;
