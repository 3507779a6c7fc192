//! The motion: what is done about the replicated state, and when. Every part is a ractor actor under one supervisor, works
//! on a [`Ledger`], and may be killed at any moment: the state is the truth, what an actor remembers is a convenience.

mod accounts;
mod alarm;
mod aside;
mod asking;
mod bell;
mod bounces;
mod breakers;
mod call;
mod callback;
mod choosing;
mod dedup;
mod desk;
mod dispatcher;
mod endpoint;
mod flight;
mod gate;
mod health;
mod in_force;
mod lanes;
mod ledger;
mod legs;
mod limited;
mod media;
mod meters;
mod motion;
mod opened;
mod outbox;
mod parked;
mod parts;
mod pause;
mod policies;
mod pool;
mod queue;
mod rate_limiter;
mod recalls;
mod receipts;
mod recorder;
pub mod render;
mod room;
mod screen;
mod sender;
mod settings;
mod slot;
mod status;
mod supervisor;
mod switchboard;
mod template;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod threads;
mod timers;
mod token_cache;
mod token_fetch;
mod tokens;
mod unwell;
mod upload;
mod vendor_templates;
mod waiting;
pub mod words;
mod work;

#[cfg(test)]
mod tests;

pub use accounts::{Accounts, Opened};
pub use dedup::{FingerprintError, FingerprintItem, Fingerprints, fingerprint};
pub use ledger::{Lease, Ledger, LedgerError};
pub use motion::{Motion, Parts, StartError, start};
pub use pause::Pause;
pub use policies::{LaneRule, LimitOf, LimitRule};
pub use receipts::{CallbackError, Reported};
pub use settings::Settings;
pub use status::ActorStatus;
pub use vendor_templates::TemplatesError;
