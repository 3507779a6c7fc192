//! The faults, one file each: a testbed of its own, a load over all its nodes, one thing broken and mended, and the judge.

pub mod beside;
pub mod clock;
pub mod copied_disk;
pub mod corrupt_tail;
pub mod course;
pub mod cut_majority;
pub mod cut_minority;
pub mod cut_one_way;
pub mod dead_core;
pub mod delayed;
pub mod dropped;
pub mod flapping;
pub mod freeze_leader;
pub mod full_disk;
pub mod join;
pub mod kill_all;
pub mod kill_follower;
pub mod kill_leader;
pub mod lost_disk;
pub mod memory_out;
pub mod narrow_link;
pub mod revoked;
pub mod rolled_back;
pub mod same_number;
pub mod slow_sync;
pub mod soak;
pub mod strangers;
pub mod swapped;
pub mod table;
pub mod two_wiped;

use crate::testbed::{bent, disk, late, links};
use crate::{Failure, Proof};
use table::Row;

/// One fault that `just testbed-faults` knows.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What one types.
    pub name: &'static str,
    /// What is done.
    pub what: &'static str,
    /// Why it cannot be done on this machine, if it cannot.
    pub missing: fn() -> Option<String>,
}

/// All of them, in the order of the table.
pub const FAULTS: [Fault; 31] = [
    Fault { name: "kill-leader", what: "kill -9 of the leader of most partitions", missing: nothing },
    Fault { name: "kill-follower", what: "kill -9 of the node that leads fewest", missing: nothing },
    Fault { name: "kill-all", what: "kill -9 of all three at once", missing: nothing },
    Fault { name: "freeze-leader", what: "the leader of most frozen for 15 s", missing: nothing },
    Fault {
        name: "cut-minority",
        what: "the leader of most cut off from both others for 12 s",
        missing: links::missing,
    },
    Fault { name: "cut-majority", what: "all three cut off from each other for 10 s", missing: links::missing },
    Fault {
        name: "cut-one-way",
        what: "the leader of most hears, and is not heard, for 12 s",
        missing: links::missing,
    },
    Fault { name: "flapping", what: "the links of the leader of most cut and joined 8 times", missing: links::missing },
    Fault { name: "dropped", what: "10 % of all packets between nodes lost for 15 s", missing: links::missing },
    Fault { name: "delayed", what: "packets of one node 80 ± 40 ms late for 15 s", missing: late::missing },
    Fault {
        name: "narrow-link",
        what: "one node sends 1 Mbit/s through a full queue for 15 s",
        missing: narrow_link::missing,
    },
    Fault { name: "clock-ahead", what: "the clock of the leader of most 1 h ahead for 12 s", missing: bent::missing },
    Fault { name: "clock-behind", what: "the clock of the leader of most 1 h behind for 12 s", missing: bent::missing },
    Fault { name: "day-ahead", what: "the clock of the leader of most 25 h ahead for 12 s", missing: bent::missing },
    Fault { name: "two-ahead", what: "the clocks of two of three 1 h ahead for 12 s", missing: bent::missing },
    Fault {
        name: "clocks-apart",
        what: "the clocks of two of three jump apart six times in 12 s, by seconds, hours, days",
        missing: bent::missing,
    },
    Fault { name: "full-disk", what: "the disk of one node full for 12 s", missing: disk::missing },
    Fault { name: "slow-sync", what: "each sync of one leader 150 ms longer for 15 s", missing: bent::missing },
    Fault {
        name: "corrupt-tail",
        what: "bytes at the tail of one database flipped while it is down",
        missing: nothing,
    },
    Fault { name: "lost-disk", what: "one node comes back with an empty disk", missing: nothing },
    Fault {
        name: "rolled-back",
        what: "one disk is put back to a copy from before a start of its node",
        missing: nothing,
    },
    Fault { name: "copied-disk", what: "a copy of one disk is run beside it under the same number", missing: nothing },
    Fault { name: "same-number", what: "an empty node takes the number of one that runs", missing: nothing },
    Fault {
        name: "silent-peers",
        what: "160 strangers at each node's port for peers, half of them silent, half dripping, for 15 s",
        missing: nothing,
    },
    Fault {
        name: "slow-connections",
        what: "300 strangers at each node's API, half of them silent, half dripping, for 15 s",
        missing: nothing,
    },
    Fault {
        name: "dead-core",
        what: "every sync of the leader of most fails, so that its Raft cores die",
        missing: bent::missing,
    },
    Fault { name: "memory-out", what: "the leader of most may take 8 MiB more memory, for 12 s", missing: nothing },
    Fault { name: "two-wiped", what: "two of three disks emptied at once; an operator forces one", missing: nothing },
    Fault {
        name: "key-revoked-cut-off",
        what: "a key is revoked while the leader of most is cut off from both others for 12 s",
        missing: links::missing,
    },
    Fault { name: "swapped", what: "two nodes restarted with swapped addresses", missing: nothing },
    Fault { name: "join", what: "a fourth node joins while the leader of most is killed", missing: nothing },
];

/// Breaks one thing under load and judges what came of it.
///
/// # Errors
/// When the testbed cannot be run. A broken promise stands in the row.
pub async fn run(name: &str) -> Proof<Row> {
    match name {
        "kill-leader" => kill_leader::run().await,
        "kill-follower" => kill_follower::run().await,
        "kill-all" => kill_all::run().await,
        "freeze-leader" => freeze_leader::run().await,
        "cut-minority" => cut_minority::run().await,
        "cut-majority" => cut_majority::run().await,
        "cut-one-way" => cut_one_way::run().await,
        "flapping" => flapping::run().await,
        "dropped" => dropped::run().await,
        "delayed" => delayed::run().await,
        "narrow-link" => narrow_link::run().await,
        "clock-ahead" => clock::run(clock::AHEAD).await,
        "clock-behind" => clock::run(clock::BEHIND).await,
        "day-ahead" => clock::run(clock::DAY_AHEAD).await,
        "two-ahead" => clock::run(clock::TWO_AHEAD).await,
        "clocks-apart" => clock::run(clock::APART).await,
        "full-disk" => full_disk::run().await,
        "slow-sync" => slow_sync::run().await,
        "corrupt-tail" => corrupt_tail::run().await,
        "lost-disk" => lost_disk::run().await,
        "rolled-back" => rolled_back::run().await,
        "copied-disk" => copied_disk::run().await,
        "same-number" => same_number::run().await,
        "silent-peers" => strangers::at_peers().await,
        "slow-connections" => strangers::at_api().await,
        "dead-core" => dead_core::run().await,
        "memory-out" => memory_out::run().await,
        "two-wiped" => two_wiped::run().await,
        "key-revoked-cut-off" => revoked::run().await,
        "swapped" => swapped::run().await,
        "join" => join::run().await,
        other => {
            let names: Vec<_> = FAULTS.iter().map(|fault| fault.name).collect();
            Err(Failure::new(format!("there is no fault {other}; there are: {}", names.join(", "))))
        }
    }
}

/// For faults that need nothing but docker.
fn nothing() -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unknown_fault_is_answered_with_the_names_of_all() {
        let words = run("no-such").await.expect_err("there is none").to_string();
        for fault in FAULTS {
            assert!(words.contains(fault.name), "{words}");
        }
    }
}
