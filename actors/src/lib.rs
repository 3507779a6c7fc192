//! The motion: what is done about the replicated state, and when. Every part is a ractor actor under one supervisor, works
//! on a [`Ledger`], and may be killed at any moment: the state is the truth, what an actor remembers is a convenience.

mod accounts;
mod ledger;
pub mod render;

pub use accounts::{Accounts, Opened};
pub use ledger::{Ledger, LedgerError};
