//! The partition machine: what becomes of the deliveries of one slice of the recipients.

mod answer;
mod apply;
mod asking;
mod attempts;
mod bounces;
mod breakers;
mod callback;
mod choice;
mod closing;
mod command;
mod counts;
mod dead_letters;
mod dedup;
mod delivery;
mod doubt;
mod endpoints;
mod event;
mod expiring;
mod failover;
mod idempotency;
mod intake;
mod judge;
mod leaving;
mod legs;
mod limiter;
mod outside;
mod own;
mod poison;
mod quiet;
mod recalls;
mod receipts;
mod record;
mod redrive;
mod rehearsing;
mod repair;
mod restored;
mod retry;
mod rules;
mod sheet;
mod sheets;
mod slots;
mod state;
mod suppressions;
mod tokens;
mod unsubscribing;
mod way;
mod wishes;
mod words;

pub use answer::{Answer, Claimed, Hint, Refusal, Verdict};
pub use asking::Ask;
pub use callback::{About, CALLBACK_CHANNEL, CALLBACK_TEMPLATE, Callback, CallbackSpec, Happening, Subject};
pub use choice::{Choice, Health, choose};
pub use command::{
    Accept, Borrow, Chunk, Claim, Closing, Command, GiveBack, Lease, Limits, Owner, Recipient, Redrive, Settle,
    Suppress,
};
pub use delivery::{Delivery, State};
pub use endpoints::{Endpoint, EndpointKey, Part, Wellness};
pub use event::{Event, What};
pub use judge::{Finding, Judgement, Ruling};
pub use legs::{LegBarred, LegCommand, LegRules, LegWord, Passage};
pub use limiter::{life_ms, margin_ms};
pub use outside::OutsideSizes;
pub use own::Own;
pub use poison::MOST_DEATHS;
pub use recalls::{Recall, RecallCommand, RecallStanding, SentAs, Want};
pub use receipts::{Expect, Mark, ReceiptAnswer, ReceiptCommand};
pub use record::{Ended, Header, Record};
pub use rules::{Barred, Cap, CapKind, LegHours, Quiet, Rules, Span, Window};
pub use sheet::{OnUnknown, Policy, RetryPolicy, Sheet};
pub use slots::mark;
pub use state::{Counts, DeadLetter, Partition, Sizes};
pub use suppressions::{Bounce, EVERY_CHANNEL, Suppression, SuppressionKey, SuppressionReason};
pub use tokens::{HeldToken, TokenAnswer, TokenCommand};
pub use way::{
    BreakerPolicy, CallPolicy, CodeAction, CodeRule, Course, Leg, LegView, RouteRef, Tried, Via, Waited, Way,
    WayAccount, code_fits,
};
pub use wishes::{BreakerWishes, RetryWishes, Wishes};
pub use words::{Masked, WordRule};
