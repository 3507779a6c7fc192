//! `tidings health`: whether a node is alive and ready, as an exit code; for images without a shell.

use clap::Args;
use serde_json::Value;

use super::Context;
use super::client::Ask;
use super::failure::Failure;
use super::output::{flat, rows};

/// The arguments of `tidings health`.
#[derive(Args)]
#[command(
    after_help = "Ends with 0 if the node can do its work, 1 if it says why it cannot, 3 if it does not answer. No key is needed."
)]
pub(super) struct Health {
    /// Only ask whether it is alive: a node that answers that it is not ready is
    #[arg(long)]
    alive: bool,
}

impl Health {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match context.api()?.ask(Ask::get(&["readyz"])).await {
            Ok(reply) => context.out.answer(&reply, |_| "ready".to_owned()),
            Err(Failure::Refused { status: 503, body }) => {
                let reasons = reasons(&body);
                if self.alive { context.out.line(reasons) } else { Err(Failure::Failed(reasons)) }
            }
            Err(failure) => Err(failure),
        }
    }
}

/// What stands in the way, as the node says it.
fn reasons(body: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let reasons: Vec<_> = rows(&answer, "reasons").iter().map(flat).collect();
    format!("not ready: {}", reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_told() {
        let body = br#"{"ready": false, "reasons": ["p0 has no known leader", "the node is stopping"]}"#;
        assert_eq!(reasons(body), "not ready: p0 has no known leader; the node is stopping");
    }
}
