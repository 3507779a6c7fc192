//! A machine, a clock and a node for tests.

use serde::{Deserialize, Serialize};
use tidings_contract::Time;
use tidings_machine::{Machine, Output};

/// Adds up numbers and remembers when it last did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) total: u64,
    pub(crate) at: Time,
}

impl Machine for Sum {
    type Command = u64;
    type Answer = u64;
    type Hint = u64;
    type Record = u64;

    fn now(&self) -> Time {
        self.at
    }

    fn sets_time_back(_: &u64) -> bool {
        false
    }

    fn apply(&mut self, at: Time, command: u64, out: &mut Output<u64, u64>) -> u64 {
        self.total += command;
        self.at = self.at.max(at);
        out.hints.push(command);
        out.records.push(command);
        self.total
    }
}
