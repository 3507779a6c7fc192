//! The bounds and waits of the actors.

use std::time::Duration;

/// The bounds and waits of the actors. The defaults are what a node runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Most provider calls of one pool under way at a time on this node.
    pub pool_size: usize,
    /// Most deliveries of one pool and one partition in motion at a time; the others wait in the state. It bounds the memory
    /// of the actors: they hold no more than this × pools × partitions led.
    pub in_motion: usize,
    /// Most pending deliveries read from a replica at a time; bounds how long its lock is held.
    pub page: usize,
    /// Most commands in one proposal.
    pub batch: usize,
    /// Most recipients whose fingerprints may wait at a time; more are refused.
    pub fingerprints: usize,
    /// Most compiled template versions kept, by each actor that keeps some.
    pub templates: usize,
    /// Most opened accounts kept by each pool.
    pub accounts: usize,
    /// Most deliveries that wait in memory for a permit of one account; the others go back.
    pub waiting_for_permits: usize,
    /// How long a delivery rests that was lost inside the process (an actor died), before it is taken up again.
    pub rest: Duration,
    /// How long a delivery waits for a template or an account that this node does not know, before it is impossible: a node
    /// may lead a partition before it has heard the newest of control.
    pub unknown_things: Duration,
    /// How often the count of what is waited for is compared with the count of what is pending.
    pub check_every: Duration,
    /// How long a partition may be without any command before it is told that time has passed.
    pub tick_every: Duration,
    /// How long outcomes are offered while nobody takes them and this node does not lead, before they are given up.
    pub give_up_outcomes: Duration,
    /// How often the suppliers that have to be asked for receipts are asked.
    pub pull_every: Duration,
    /// How long receipts of a delivery are expected after it was taken.
    pub receipts_for: Duration,
    /// How long calls under way may take to end when the process stops.
    pub stop_within: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pool_size: 64,
            in_motion: 1_024,
            page: 512,
            batch: 1_024,
            fingerprints: 20_000,
            templates: 1_024,
            accounts: 1_024,
            waiting_for_permits: 256,
            rest: Duration::from_millis(200),
            unknown_things: Duration::from_secs(60),
            check_every: Duration::from_secs(15),
            tick_every: Duration::from_secs(60),
            give_up_outcomes: Duration::from_secs(60),
            pull_every: Duration::from_secs(10),
            receipts_for: Duration::from_secs(3 * 86_400),
            stop_within: Duration::from_secs(10),
        }
    }
}
