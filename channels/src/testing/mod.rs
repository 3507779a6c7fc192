//! Scripted servers and short ways to make calls, for tests here and in other crates (feature `testing`).
//!
//! The servers listen on a free port of this machine, record what they were sent and stop when they are dropped.

mod http;
mod smtp;

use std::sync::Arc;

use serde_json::Value;
use tidings_contract::{
    Call, Channel, DeliveryId, FieldError, MessageId, MessageType, PartitionId, Settings, Target, Time,
};

pub use http::{HttpReply, HttpRequest, HttpServer};
pub use smtp::{ReceivedMail, SmtpScript, SmtpServer, SmtpStep};

use crate::Registry;

/// Opens an account named `test` of that provider.
///
/// # Errors
/// What is wrong with the settings; an unknown provider is an error at `provider`.
pub fn open(registry: &Registry, provider: &str, settings: Value) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
    let Some(provider) = registry.get(provider) else {
        return Err(vec![FieldError::new("provider", "is not built in")]);
    };
    let given = match settings {
        Value::Object(given) => given.into_iter().collect(),
        _ => return Err(vec![FieldError::new("settings", "must be an object")]),
    };
    provider.open("test", &Settings::sort(provider.info().settings, given)?)
}

/// A first attempt at every one of `to` with one content, at 2026-11-23T18:00:00Z.
pub fn call(to: &[&str], content: Value) -> Call {
    let at = Time(1_795_456_800_000);
    let message = MessageId::new(at, PartitionId(0), 7);
    let content = Arc::new(content);
    let target = |(index, to): (u16, &&str)| Target {
        delivery: DeliveryId::new(message, index, PartitionId(0)),
        attempt: 1,
        to: (*to).to_owned(),
        content: Arc::clone(&content),
        part: 0,
    };
    Call {
        channel: "test".to_owned(),
        message_type: MessageType::Notice,
        at,
        targets: (0..).zip(to).map(target).collect(),
        token: None,
        materials: None,
    }
}
