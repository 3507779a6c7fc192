//! `tidings cancel`: stops what has not been sent yet.

use clap::Args;
use serde_json::json;

use super::Context;
use super::client::Ask;
use super::failure::Failure;
use super::output::{flat, rows};

/// The arguments of `tidings cancel`.
#[derive(Args)]
pub(super) struct Cancel {
    /// The id of a delivery (dlv_…) or of a message (msg_…)
    id: String,
}

impl Cancel {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let kind = if self.id.starts_with("dlv_") { "deliveries" } else { "messages" };
        let reply = context.api()?.ask(Ask::post(&["v1", kind, &self.id, "cancel"], json!({}))).await?;
        context.out.answer(&reply, |value| {
            let count = |name: &str| flat(&value[name]);
            let line = format!(
                "{} cancelled, {} ended before, {} still deciding (an attempt is under way)",
                count("cancelled"),
                count("too_late"),
                count("pending")
            );
            match rows(value, "deliveries") {
                [] => line,
                all => line + "\n" + &context.out.table(all, &[("DELIVERY", "/id"), ("STATE", "/state")], ""),
            }
        })
    }
}
