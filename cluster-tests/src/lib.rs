//! The proof: real processes, faults, an oracle that counts at the provider, and the bench.
//!
//! Nothing here is linked into the node. The harness starts the `tidings` binary as an operator would, speaks its
//! HTTP API as a caller would, and believes only what the receiver at the other end counted.

pub mod bench;
pub mod binary;
pub mod client;
pub mod cluster;
pub mod failure;
pub mod faults;
pub mod health;
pub mod history;
pub mod load;
mod membership;
pub mod moody;
pub mod mta;
pub mod oracle;
pub mod process;
mod python;
pub mod receiver;
pub mod report;
pub mod scenarios;
pub mod steadiness;
pub mod testbed;
pub mod two_accounts;
pub mod vendors;

pub use failure::{Failure, Proof, When};
