//! Waiting until a message has ended for every recipient, with a bar for many.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::client::{Api, Ask, Reply};
use super::failure::Failure;

/// First wait between two questions; each later one is half as long again.
const FIRST: Duration = Duration::from_millis(50);
/// Longest wait between two questions.
const LONGEST: Duration = Duration::from_secs(1);

/// Waits until no delivery of `message` is pending and gives the node's last answer about it.
///
/// The bar goes to stderr, and only when that is a terminal.
///
/// # Errors
/// After `limit` with deliveries pending, which go on all the same; and when the node cannot be asked.
pub(super) async fn until_ended(api: &Api, message: &str, limit: Duration) -> Result<Reply, Failure> {
    let deadline = Instant::now() + limit;
    let bar = ProgressBar::hidden();
    let mut wait = FIRST;
    loop {
        // What was just accepted may be asked of a replica that does not know it yet.
        let reply = api.find(Ask::get(&["v1", "messages", message])).await?;
        let counts = reply.as_ref().map(|reply| Counts::of(&reply.value)).unwrap_or_default();
        show(&bar, counts);
        match reply {
            Some(reply) if counts.pending == 0 => {
                bar.finish_and_clear();
                return Ok(reply);
            }
            _ if Instant::now() >= deadline => {
                bar.finish_and_clear();
                return Err(Failure::Failed(format!(
                    "{} of {} deliveries have not ended in {} s; they go on: tidings trace {message}",
                    counts.pending,
                    counts.all,
                    limit.as_secs()
                )));
            }
            _ => sleep(wait).await,
        }
        wait = (wait * 3 / 2).min(LONGEST);
    }
}

/// How far a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    all: u64,
    pending: u64,
}

impl Counts {
    /// From `states` in the answer about a message.
    fn of(message: &Value) -> Self {
        let states = message["states"].as_object();
        let all = states.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
        Self { all, pending: message.pointer("/states/pending").and_then(Value::as_u64).unwrap_or_default() }
    }
}

fn show(bar: &ProgressBar, counts: Counts) {
    if counts.all < 2 {
        return;
    }
    if bar.length() != Some(counts.all) {
        bar.set_length(counts.all);
        bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("  {bar:40} {pos}/{len} ended, {elapsed}") {
            bar.set_style(style);
        }
    }
    bar.set_position(counts.all - counts.pending.min(counts.all));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_is_counted_among_all() {
        let message = serde_json::json!({"states": {"pending": 2, "delivered": 3}});
        assert_eq!(Counts::of(&message), Counts { all: 5, pending: 2 });
        assert_eq!(Counts::of(&Value::Null), Counts::default());
    }
}
