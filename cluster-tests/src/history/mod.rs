//! What callers did and were told, and whether some order of it explains everything: linearizability.

mod check;
mod model;

pub use check::{Model, Span, Verdict, check};
pub use model::{Claim, Claimed, IdempotencyKey, Slot, SlotCall, Taken};
