//! The knobs: one schema, one file of defaults, one way to load and one to check.

mod check;
mod live;
mod load;
mod mistake;
mod schema;

pub use live::{Change, LIVE};
pub use load::DEFAULT_TOML;
pub use mistake::{Mistake, Mistakes};
pub use schema::{
    Access, Breaker, Cluster, Config, Delivery, Disk, Dispatch, Http, Intake, Log, LogFormat, Node, Raft, Receipts,
    Retry,
};
