//! The two pure state machines of Tidings: what operators decide (`control`) and what becomes of deliveries (`partition`).
//!
//! State + command at *t* → state + answer + hints + records. Nothing here waits, reads a clock, draws a random number,
//! depends on hash order or touches a disk; `clippy.toml` beside this crate and the dependency list enforce it.

mod absent;
pub mod control;
pub mod partition;
pub mod repair;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_contract::Time;

/// A replicated state machine: a pure function of its commands.
pub trait Machine: Clone + Debug + Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What can be asked of it.
    type Command: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What it answers to the proposer.
    type Answer: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What the leader's actors might want to do now. Losing one costs delay, never a message.
    type Hint: Clone + Debug + Send + Sync + 'static;
    /// What every replica keeps on disk beside the state. Writing one twice changes nothing.
    type Record: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The newest time it has seen.
    fn now(&self) -> Time;

    /// Whether the command sets the machine's time back. Such a one is alone in its entry, and nothing else is under way
    /// beside it: an entry behind it that was stamped before it would set the time forward again.
    fn sets_time_back(command: &Self::Command) -> bool;

    /// Applies one command that its proposer stamped with `at`. Time never goes back: an older stamp counts as the newest seen.
    fn apply(&mut self, at: Time, command: Self::Command, out: &mut Output<Self::Hint, Self::Record>) -> Self::Answer;
}

/// What applying commands gave beside the answers, in the order it arose.
#[derive(Clone, Debug)]
pub struct Output<H, R> {
    /// For the leader's actors.
    pub hints: Vec<H>,
    /// For the archive of every replica.
    pub records: Vec<R>,
}

impl<H, R> Default for Output<H, R> {
    fn default() -> Self {
        Self { hints: Vec::new(), records: Vec::new() }
    }
}
