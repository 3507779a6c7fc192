//! Packets that come late: the kernel queues what a node sends for a program (`NFQUEUE`), which lets each packet go when
//! its time has come. It needs no netem, which not every kernel has.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nfq::{Message, Queue, Verdict};

use super::container::Container;
use super::links;
use crate::{Proof, When};

/// The queue's number inside the namespace of the node.
const QUEUE: u16 = 7;
/// Most packets that are held; the kernel drops what comes beyond.
const MOST: u32 = 20_000;
/// How exact the times are.
const STEP: Duration = Duration::from_millis(1);

/// Why packets cannot be delayed here, if they cannot.
pub fn missing() -> Option<String> {
    links::missing().or_else(|| {
        let queue = QUEUE.to_string();
        let tried = ["--net", "iptables", "-A", "OUTPUT", "-j", "NFQUEUE", "--queue-num", &queue];
        super::compose::tool("unshare", &tried).err().map(|failure| format!("no NFQUEUE in this kernel ({failure})"))
    })
}

/// Everything that one node sends comes late for as long as this lives.
#[derive(Debug)]
pub struct Late {
    holding: Child,
}

impl Late {
    /// What `at` sends to other hosts comes `mean ± spread` later from here on, and so not always in order.
    ///
    /// # Errors
    /// When the program or the rule cannot be put into the node's network.
    pub fn start(at: &Container, mean: Duration, spread: Duration) -> Proof<Self> {
        let own = std::env::current_exe().when("finding the running program")?;
        let mut command = Command::new("nsenter");
        command.args(["--target", &at.pid()?.to_string(), "--net"]).arg(own).args([
            "late",
            &mean.as_millis().to_string(),
            &spread.as_millis().to_string(),
        ]);
        let holding = command.stdin(Stdio::null()).spawn().when("starting the program that holds packets")?;
        let late = Self { holding };
        links::queue(at, QUEUE)?;
        Ok(late)
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        // The rule lets packets pass when nobody listens to the queue.
        let _gone = self.holding.kill();
        let _reaped = self.holding.wait();
    }
}

/// Holds every packet of the queue for `mean ± spread`, until it is ended.
///
/// # Errors
/// When the kernel has no such queue.
pub fn hold(mean: Duration, spread: Duration) -> Proof {
    let mut queue = Queue::open().when("opening the packet queue")?;
    queue.bind(QUEUE).when("binding the packet queue")?;
    queue.set_queue_max_len(QUEUE, MOST).when("setting the length of the packet queue")?;
    queue.set_nonblocking(true);
    let chance = RandomState::new();
    let mut held: BTreeMap<(Instant, u64), Message> = BTreeMap::new();
    for number in 0.. {
        match queue.recv() {
            Ok(packet) => {
                held.insert((Instant::now() + wait(mean, spread, chance.hash_one(number)), number), packet);
            }
            Err(nothing) if nothing.kind() == ErrorKind::WouldBlock => std::thread::park_timeout(STEP),
            Err(broken) => return Err(broken).when("reading the packet queue"),
        }
        while let Some(first) = held.first_entry().filter(|entry| entry.key().0 <= Instant::now()) {
            let mut packet = first.remove();
            packet.set_verdict(Verdict::Accept);
            queue.verdict(packet).when("letting a packet go")?;
        }
    }
    Ok(())
}

/// A time between `mean - spread` and `mean + spread`.
fn wait(mean: Duration, spread: Duration, drawn: u64) -> Duration {
    let range = u64::try_from(spread.as_micros()).unwrap_or(u64::MAX / 2).saturating_mul(2).max(1);
    mean.saturating_sub(spread) + Duration::from_micros(drawn % range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_lies_around_the_mean() {
        let (mean, spread) = (Duration::from_millis(80), Duration::from_millis(40));
        for drawn in [0, 1, 79_999, 80_000, u64::MAX] {
            let wait = wait(mean, spread, drawn);
            assert!(wait >= mean - spread && wait < mean + spread, "{wait:?}");
        }
        assert_eq!(super::wait(mean, Duration::ZERO, 99), mean);
    }
}
