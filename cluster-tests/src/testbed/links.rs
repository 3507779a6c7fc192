//! The links between nodes, cut and slowed inside the nodes' own network namespaces.

use super::compose::tool;
use super::container::Container;
use crate::Proof;

/// Why links cannot be broken here, if they cannot: entering a namespace needs root, iptables and nsenter.
pub fn missing() -> Option<String> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("only root may enter the containers' networks".to_owned());
    }
    [("nsenter", "--version"), ("iptables", "--version")]
        .into_iter()
        .find(|(program, flag)| tool(program, &[flag]).is_err())
        .map(|(program, _)| format!("there is no {program}"))
}

/// Why links cannot be made narrow here, if they cannot.
pub fn missing_shaper() -> Option<String> {
    if let Some(why) = missing() {
        return Some(why);
    }
    let tried = ["--net", "tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "1mbit", "burst", "10k"];
    let tried = [&tried[..], &["latency", "10ms"]].concat();
    tool("unshare", &tried).err().map(|failure| format!("no tbf in this kernel ({failure})"))
}

/// Whatever `from` sends to `to` is lost; the other way stays open.
///
/// # Errors
/// When the rule cannot be set.
pub fn cut(from: &Container, to: &Container) -> Proof {
    iptables(to, &["-A", "INPUT", "-s", &from.address()?, "-j", "DROP"])
}

/// Nothing passes between the two.
///
/// # Errors
/// When a rule cannot be set.
pub fn cut_both(one: &Container, other: &Container) -> Proof {
    cut(one, other)?;
    cut(other, one)
}

/// So many of a hundred packets that arrive at `at` from the network of nodes are lost, by chance.
///
/// # Errors
/// When the rule cannot be set.
pub fn lose(at: &Container, percent: u8) -> Proof {
    let share = format!("0.{percent:02}");
    iptables(at, &["-A", "INPUT", "-m", "statistic", "--mode", "random", "--probability", &share, "-j", "DROP"])
}

/// Everything that `at` sends queues in the kernel as `qdisc` says.
///
/// # Errors
/// When the kernel does not know it.
pub fn shape(at: &Container, qdisc: &[&str]) -> Proof {
    let args = [&["tc", "qdisc", "add", "dev", "eth0", "root"], qdisc].concat();
    inside(at, &args)
}

/// Everything that `at` sends waits in that queue for a program to let it go; if there is no program, it passes.
///
/// # Errors
/// When the kernel has no such queues.
pub fn queue(at: &Container, number: u16) -> Proof {
    let number = number.to_string();
    iptables(at, &["-A", "OUTPUT", "-o", "eth0", "-j", "NFQUEUE", "--queue-num", &number, "--queue-bypass"])
}

/// Takes all of that back at a running node.
///
/// # Errors
/// When it cannot be.
pub fn mend(at: &Container) -> Proof {
    iptables(at, &["-F"])?;
    // There is nothing to take back when nothing was shaped.
    let _unshaped = inside(at, &["tc", "qdisc", "del", "dev", "eth0", "root"]);
    Ok(())
}

fn iptables(at: &Container, args: &[&str]) -> Proof {
    inside(at, &[&["iptables", "-w", "5"], args].concat())
}

fn inside(at: &Container, args: &[&str]) -> Proof {
    let pid = at.pid()?.to_string();
    tool("nsenter", &[&["--target", &pid, "--net"], args].concat()).map(drop)
}
