//! The figures that Prometheus reads: their names, in one place.

use std::time::Duration;

use metrics::{Counter, Histogram};
use tidings_contract::{Lane, Outcome};
use tidings_machine::partition::State;

/// A delivery reached a final state.
pub(crate) fn ended(state: State) {
    metrics::counter!("tidings_deliveries_ended_total", "state" => state.name()).increment(1);
}

/// An actor was restarted.
pub(crate) fn restarted(actor: &str) {
    metrics::counter!("tidings_actor_restarts_total", "actor" => actor.to_owned()).increment(1);
}

/// Whether the breaker of an account is open: 1 for open and half-open, 0 for closed.
pub(crate) fn breaker(account: &str, open: bool) {
    metrics::gauge!("tidings_breaker_open", "account" => account.to_owned()).set(if open { 1.0 } else { 0.0 });
}

/// A rule of a route wants somebody to be told about an error code.
pub(crate) fn alert(account: &str, code: &str) {
    let labels = [("account", account.to_owned()), ("code", code.to_owned())];
    metrics::counter!("tidings_route_alerts_total", &labels).increment(1);
}

/// A fetch of an access token came back.
pub(crate) fn token_fetched(provider: &'static str, came: bool) {
    let result = if came { "fetched" } else { "failed" };
    metrics::counter!("tidings_token_fetches_total", "provider" => provider, "result" => result).increment(1);
}

/// An upload of a material came to its end.
pub(crate) fn uploaded(provider: &'static str, taken: bool) {
    let result = if taken { "taken" } else { "failed" };
    metrics::counter!("tidings_uploads_total", "provider" => provider, "result" => result).increment(1);
}

/// Receipts came: how many, and what became of them.
pub(crate) fn receipts(result: &'static str, count: u64) {
    metrics::counter!("tidings_receipts_total", "result" => result).increment(count);
}

/// A provider was asked to take a delivery back.
pub(crate) fn recall_asked(provider: &'static str, class: &'static str) {
    metrics::counter!("tidings_recalls_total", "provider" => provider, "class" => class).increment(1);
}

/// How long after it was due a delivery is taken up, in seconds.
pub(crate) fn lag() -> Histogram {
    metrics::histogram!("tidings_dispatch_lag_seconds")
}

/// How many deliveries wait in a lane of a pool of a partition, due but not in motion.
pub(crate) fn waiting(partition: &str, pool: &str, lane: Lane, count: usize) {
    let lane = match lane {
        Lane::High => "high",
        Lane::Normal => "normal",
        Lane::Low => "low",
    };
    let labels = [("partition", partition.to_owned()), ("pool", pool.to_owned()), ("lane", lane.to_owned())];
    metrics::gauge!("tidings_waiting", &labels).set(count as f64);
}

/// How many provider calls of a pool are under way.
pub(crate) fn in_flight(pool: &str, count: usize) {
    metrics::gauge!("tidings_in_flight", "pool" => pool.to_owned()).set(count as f64);
}

/// The figures of one provider, looked up once.
#[derive(Clone)]
pub(crate) struct CallMeters {
    classes: [Counter; 4],
    seconds: Histogram,
}

impl CallMeters {
    pub(crate) fn new(provider: &'static str) -> Self {
        let class = |class| metrics::counter!("tidings_attempts_total", "provider" => provider, "class" => class);
        Self {
            classes: ["delivered", "later", "never", "unknown"].map(class),
            seconds: metrics::histogram!("tidings_provider_call_seconds", "provider" => provider),
        }
    }

    /// A call came back.
    pub(crate) fn call(&self, took: Duration) {
        self.seconds.record(took.as_secs_f64());
    }

    /// An attempt came back.
    pub(crate) fn attempt(&self, outcome: &Outcome) {
        let class = match outcome {
            Outcome::Delivered { .. } => 0,
            Outcome::Later { .. } => 1,
            Outcome::Never { .. } => 2,
            _ => 3,
        };
        self.classes[class].increment(1);
    }
}

impl std::fmt::Debug for CallMeters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallMeters")
    }
}
