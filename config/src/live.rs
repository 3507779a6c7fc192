//! Which keys may change while a node runs, and what differs between two configurations.

use std::fmt;

use toml::{Table, Value};

use crate::{Config, Mistake, Mistakes};

/// The keys that a running node takes over from its file when it is told to read it again. Their comments in `default.toml`
/// end with "Live.".
pub const LIVE: &[&str] = &[
    "node.stop_deadline_ms",
    "http.body_ms",
    "intake.max_body_bytes",
    "intake.max_material_bytes",
    "intake.max_recipients",
    "intake.deadline_ms",
    "intake.idempotency_hours",
    "intake.max_delay_days",
    "intake.disk_free_bytes",
    "intake.memory_bytes",
    "access.stale_after_ms",
    "access.failed_sign_ins_per_minute",
    "access.open_metrics",
    "access.open_docs",
    "dispatch.pool_size",
    "dispatch.max_outstanding",
    "retry.max_attempts",
    "retry.first_ms",
    "retry.longest_ms",
    "retry.give_up_after_ms",
    "breaker.window_ms",
    "breaker.min_calls",
    "breaker.failure_percent",
    "breaker.consecutive",
    "breaker.open_ms",
    "breaker.longest_open_ms",
    "delivery.timeout_ms",
    "delivery.attempts_per_account",
    "delivery.expires_after_ms",
    "log.level",
];

/// One key that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which: `dispatch.pool_size`.
    pub key: String,
    /// What it was; `***` for a secret.
    pub was: String,
    /// What it is now.
    pub is: String,
    /// Whether a running node takes it over; otherwise it needs a restart.
    pub live: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is now {}", self.key, self.was, self.is)
    }
}

impl Config {
    /// What differs in `next`, by section and key in alphabetical order.
    pub fn changes(&self, next: &Self) -> Vec<Change> {
        let (ours, theirs) = (self.table(), next.table());
        let mut changes = Vec::new();
        for (section, keys) in &ours {
            for (key, was) in keys.as_table().into_iter().flatten() {
                let Some(is) = theirs.get(section).and_then(|keys| keys.get(key)) else { continue };
                let name = format!("{section}.{key}");
                // Both are masked when they are shown, so they are compared themselves.
                let differs = match name.as_str() {
                    "cluster.secret" => self.cluster.secret.expose() != next.cluster.secret.expose(),
                    _ => was != is,
                };
                if differs {
                    let live = LIVE.contains(&name.as_str());
                    changes.push(Change { key: name, was: was.to_string(), is: is.to_string(), live });
                }
            }
        }
        changes
    }

    /// This configuration with the live keys of `next`: what a running node goes on with.
    ///
    /// # Errors
    /// When the mixture does not fit together.
    pub fn with_live(&self, next: &Self) -> Result<Self, Mistakes> {
        let (mut mixed, theirs) = (self.table(), next.table());
        for (section, key) in LIVE.iter().filter_map(|name| name.split_once('.')) {
            let value = theirs.get(section).and_then(|keys| keys.get(key));
            let keys = mixed.get_mut(section).and_then(Value::as_table_mut);
            if let (Some(keys), Some(value)) = (keys, value) {
                keys.insert(key.to_owned(), value.clone());
            }
        }
        let mixed: Result<Self, _> = mixed.try_into();
        let mut mixed = mixed.map_err(|error| Mistakes(vec![Mistake::new("configuration", "", error.message())]))?;
        mixed.cluster.secret = self.cluster.secret.clone();
        mixed.validate()?;
        Ok(mixed)
    }

    fn table(&self) -> Table {
        // The schema is made of tables, numbers and texts, all of which TOML has.
        Table::try_from(self).unwrap_or_default()
    }
}
