//! The partition machine: what becomes of the deliveries of one slice of the recipients.

mod answer;
mod apply;
mod attempts;
mod closing;
mod command;
mod counts;
mod dead_letters;
mod dedup;
mod delivery;
mod event;
mod expiring;
mod idempotency;
mod intake;
mod limiter;
mod record;
mod redrive;
mod restored;
mod retry;
mod sheet;
mod sheets;
mod state;

pub use answer::{Answer, Claimed, Hint, Refusal, Verdict};
pub use command::{Accept, Chunk, Claim, Closing, Command, Lease, Limits, Owner, Recipient, Redrive};
pub use delivery::{Delivery, State};
pub use event::{Event, What};
pub use record::{Ended, Header, Record};
pub use sheet::{OnUnknown, Policy, RetryPolicy, Sheet};
pub use state::{Counts, DeadLetter, Partition, Sizes};
