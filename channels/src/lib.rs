//! How a message leaves: the channels there are, the providers that serve them, and the one HTTP client.

pub mod http;

mod address;
mod attachments;
mod catalog;
mod dkim;
mod inbox;
mod mail;
mod providers;
mod reading;
mod recipient;
mod registry;
mod show;
mod smtp;
mod smtp_reply;
mod status;
mod texts;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

#[cfg(test)]
mod conformance;

pub use catalog::{CHANNELS, check_content};
pub use inbox::{InboxEntry, SandboxInbox};
pub use recipient::check_recipient;
pub use registry::Registry;
pub use show::{Preview, ShownRequest, preview};
pub use texts::text_rules;
