//! Why connections at the peer port are refused: counted each time, logged once a minute for each reason.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::seldom::Seldom;

/// Why a connection was refused. The names are labels of `tidings_peer_refused_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It ended, or its time did, before it said anything.
    Silent,
    /// It does not speak TLS 1.3 or not our protocol; older versions of this program are among these.
    Protocol,
    /// It ended, or its time did, before it proved anything.
    Unproven,
    /// Its proof is wrong.
    Secret,
    /// It knows the secret and does not belong here: another cluster, a number that is taken, not whom it wanted.
    Identity,
    /// Its disk is not the one that is known, or is older than it was, or ours is for it.
    Disk,
    /// It was the oldest of too many that had proven nothing yet.
    Crowded,
    /// Its address failed before and has to wait.
    Slowed,
    /// All places for peers are taken.
    Full,
}

impl Reason {
    const ALL: [Self; 9] = [
        Self::Silent,
        Self::Protocol,
        Self::Unproven,
        Self::Secret,
        Self::Identity,
        Self::Disk,
        Self::Crowded,
        Self::Slowed,
        Self::Full,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Protocol => "protocol",
            Self::Unproven => "unproven",
            Self::Secret => "secret",
            Self::Identity => "identity",
            Self::Disk => "disk",
            Self::Crowded => "crowded",
            Self::Slowed => "slowed",
            Self::Full => "full",
        }
    }

    /// How long its address has to wait at most if it goes on so. What cost us next to nothing counts for nothing: a peer may
    /// be behind the same address. A peer that is slow, or whose node is, may end before it proved anything.
    pub(super) fn longest_wait(self) -> Option<Duration> {
        match self {
            Self::Protocol | Self::Secret => Some(Duration::from_secs(10)),
            Self::Unproven => Some(Duration::from_secs(1)),
            Self::Silent | Self::Identity | Self::Disk | Self::Crowded | Self::Slowed | Self::Full => None,
        }
    }
}

/// A connection that was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turned {
    pub(crate) reason: Reason,
    pub(crate) why: String,
    /// Which node it is, if it proved that it is one.
    node: Option<u64>,
}

impl Turned {
    pub(crate) fn new(reason: Reason, why: impl Into<String>) -> Self {
        Self { reason, why: why.into(), node: None }
    }

    /// The same, of a node that proved who it is.
    pub(crate) fn of(self, node: u64) -> Self {
        Self { node: Some(node), ..self }
    }
}

/// The refusals of one node.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    seldom: [Seldom; Reason::ALL.len()],
}

impl Refusals {
    /// Counts one, and logs it unless one of its reason was logged less than a minute ago.
    pub(super) fn note(&self, turned: &Turned, from: SocketAddr, now: Instant) {
        let reason = turned.reason.name();
        metrics::counter!("tidings_peer_refused_total", "reason" => reason).increment(1);
        let Some(left_out) = self.seldom[turned.reason as usize].turn(now) else { return };
        let (why, node) = (&turned.why, turned.node);
        tracing::warn!(reason, why, %from, node, left_out, "a connection at the peer port was refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_place_and_a_name_of_its_own() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
            assert_eq!(Reason::ALL.into_iter().filter(|other| other.name() == reason.name()).count(), 1);
        }
    }
}
