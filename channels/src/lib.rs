//! How a message leaves: the channels there are, the providers that serve them, and the one HTTP client.

pub mod http;

mod address;
mod catalog;
mod declared;
mod inbox;
mod mail;
mod providers;
mod reading;
mod recipient;
mod registry;
mod signing;
mod sms;
mod smtp;
mod smtp_reply;
mod status;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

#[cfg(test)]
mod conformance;

pub use catalog::{CHANNELS, check_content};
pub use inbox::{InboxEntry, SandboxInbox};
pub use recipient::check_recipient;
pub use registry::Registry;
pub use sms::{Encoding, SegmentRules, Segments};
