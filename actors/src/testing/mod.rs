//! What tests and the example stand on: a ledger over the real machine in memory that can fail in every way a real one can,
//! and a provider that does what a script says and remembers everything.

mod clock;
mod ledger;
mod provider;
mod world;

pub use clock::TokioClock;
pub use ledger::{FakeLedger, Fault};
pub use provider::{Abilities, FakeAccounts, FakeChannel, MANY, ONE, Seen, Step};
pub use world::{Spec, World};
