//! The lease of a group's leader: until when nobody else can have been elected, by a clock that a frozen process or a sleeping
//! machine does not stop.
//!
//! A follower that takes an append votes for nobody for `election_max_ms` (openraft 0.9, `Engine::handle_vote_req`, whose lease
//! is `election_timeout_max`). So the leader notes when it began to send each append or heartbeat, and counts from there once
//! the yes is back: from the newest of these times that a majority has reached, nobody is elected for that long, less a margin
//! for clocks that run at different speeds and for a call to get out. What is noted is a time and not an age, so an answer that
//! is read after a freeze proves no more than it would have before.
//!
//! A majority includes this node itself, which votes too: it gives its lease up before it grants a vote, and while it hands over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::{EntryPayload, RaftMetrics};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::base::boottime;
use crate::types::{Entry, Peer, Vote};

/// The least margin. A tenth of the lease, if that is more.
const MARGIN_MS: u64 = 50;
/// Stands for the whole lease of a group whose only voter is this node: nobody else can be elected.
const FOR_EVER: u64 = u64::MAX;

/// The lease under which this node leads a group in one term.
#[derive(Debug)]
pub struct Tenure {
    term: u64,
    /// Until when, in nanoseconds of [`boottime`]; 0 while there is none.
    until: AtomicU64,
}

impl Tenure {
    /// The term.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// How much of it is left at this moment; `None` when it is over. It may come back as long as nobody else is elected.
    pub fn left(&self) -> Option<Duration> {
        let until = self.until.load(Ordering::Acquire);
        let left = until.checked_sub(boottime()?).filter(|left| *left > 0);
        left.map(Duration::from_nanos)
    }
}

/// What is known of the lease of one group on this node.
#[derive(Debug)]
pub(crate) struct Lease {
    me: u64,
    /// How long after it was sent an append keeps everybody else from being elected, in nanoseconds.
    lasts: u64,
    members: OnceLock<watch::Receiver<RaftMetrics<u64, Peer>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest vote that this node led under, or gave to somebody.
    vote: Option<Vote>,
    tenure: Option<Arc<Tenure>>,
    /// When the newest append was sent that a member said yes to in this term.
    heard: BTreeMap<u64, u64>,
    /// The newest configuration of this term and its index: one set of voters, or two while they change.
    voters: (Option<u64>, Vec<BTreeSet<u64>>),
    /// Members that were asked to stand. What was sent to them before this says nothing of what they will do.
    asked_to_stand: BTreeMap<u64, u64>,
    /// Reasons for which there is no lease now.
    bars: usize,
}

/// While it is there, the group has no lease here.
pub(crate) struct Bar(Arc<Lease>);

impl Drop for Bar {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.bars = state.bars.saturating_sub(1);
        self.0.settle(&mut state);
    }
}

impl Lease {
    /// For a group in which node `me` may come to lead, where followers refuse to vote for `election_max_ms`.
    pub(crate) fn new(me: u64, election_max_ms: u64) -> Arc<Self> {
        let margin = MARGIN_MS.max(election_max_ms / 10);
        let lasts = election_max_ms.saturating_sub(margin) * 1_000_000;
        Arc::new(Self { me, lasts, members: OnceLock::new(), state: Mutex::default() })
    }

    /// Where the group's members can be read.
    pub(crate) fn reads(&self, metrics: watch::Receiver<RaftMetrics<u64, Peer>>) {
        // Told once, when the group is opened.
        let _ = self.members.set(metrics);
    }

    /// An append of this node as leader is about to leave: the time that counts if it is taken.
    pub(crate) fn sending(&self, vote: &Vote, entries: &[Entry]) -> Option<u64> {
        let mut state = self.state.lock();
        if !self.leads_under(&mut state, vote) {
            return None;
        }
        let mut changed = false;
        // From here on a follower may know of a new configuration, so from here on it is the one that counts.
        for entry in entries {
            if let EntryPayload::Membership(members) = &entry.payload {
                changed |= state.learn(Some(entry.log_id.index), members.get_joint_config());
            }
        }
        if changed {
            self.settle(&mut state);
        }
        boottime()
    }

    /// `target` said yes to an append that was sent at `sent`.
    pub(crate) fn taken(&self, vote: &Vote, target: u64, sent: u64) {
        let mut state = self.state.lock();
        if !self.leads_under(&mut state, vote) || state.asked_to_stand.get(&target).is_some_and(|from| sent < *from) {
            return;
        }
        let heard = state.heard.entry(target).or_default();
        *heard = sent.max(*heard);
        self.settle(&mut state);
    }

    /// This node leads under that vote.
    pub(crate) fn leads(&self, vote: &Vote) {
        let mut state = self.state.lock();
        if self.leads_under(&mut state, vote) {
            self.settle(&mut state);
        }
    }

    /// From here until the bar is dropped there is no lease.
    pub(crate) fn bar(self: &Arc<Self>) -> Bar {
        let mut state = self.state.lock();
        state.bars += 1;
        self.settle(&mut state);
        Bar(Arc::clone(self))
    }

    /// This node may have given its vote: what it led under before is over for good.
    pub(crate) fn gave(&self, vote: &Vote) {
        let mut state = self.state.lock();
        if state.vote.as_ref().is_none_or(|newest| newest < vote) {
            state.end();
            state.vote = Some(*vote);
        }
    }

    /// `target` is asked to stand, and may do so at any time until more is known.
    pub(crate) fn asks_to_stand(&self, target: u64) {
        let mut state = self.state.lock();
        state.heard.remove(&target);
        state.asked_to_stand.insert(target, FOR_EVER);
        self.settle(&mut state);
    }

    /// `target` has heard that it was asked to stand: an append that is sent after this it refuses, or it did not stand.
    pub(crate) fn has_stood(&self, target: u64) {
        if let Some(now) = boottime() {
            self.state.lock().asked_to_stand.insert(target, now);
        }
    }

    /// `target` certainly did not hear that it was asked to stand.
    pub(crate) fn was_not_asked(&self, target: u64) {
        self.state.lock().asked_to_stand.remove(&target);
    }

    /// A member that may still stand because it was asked to, although nobody hands over any more.
    pub(crate) fn may_stand(&self) -> Option<u64> {
        let state = self.state.lock();
        let asked = state.asked_to_stand.iter().find(|(_, from)| **from == FOR_EVER);
        asked.filter(|_| state.bars == 0).map(|(target, _)| *target)
    }

    /// The lease of that term, if this node leads in it. It may be over at the moment.
    pub(crate) fn tenure(&self, term: u64) -> Option<Arc<Tenure>> {
        self.state.lock().tenure.clone().filter(|tenure| tenure.term == term)
    }

    /// How long ago the newest append was sent that a majority has taken; `None` where this node does not lead.
    pub(crate) fn since_majority(&self) -> Option<Duration> {
        let state = self.state.lock();
        state.tenure.as_ref()?;
        let reached = reached(&state.voters.1, self.me, &state.heard)?;
        Some(Duration::from_nanos(boottime()?.saturating_sub(reached)))
    }

    /// Whether `vote` is the one that this node leads under; a newer one begins a new tenure.
    fn leads_under(&self, state: &mut State, vote: &Vote) -> bool {
        if !vote.committed || vote.leader_id.node_id != self.me {
            return false;
        }
        if state.vote.as_ref().is_none_or(|newest| newest < vote) {
            state.end();
            state.vote = Some(*vote);
            state.heard.clear();
            state.asked_to_stand.clear();
            state.voters = (None, Vec::new());
            state.tenure = Some(Arc::new(Tenure { term: vote.leader_id.term, until: AtomicU64::new(0) }));
        }
        state.vote.as_ref() == Some(vote)
    }

    /// Works out anew until when the lease lasts.
    fn settle(&self, state: &mut State) {
        let Some(tenure) = state.tenure.clone() else { return };
        if let Some(metrics) = self.members.get() {
            let metrics = metrics.borrow();
            let known = &metrics.membership_config;
            state.learn(known.log_id().map(|id| id.index), known.membership().get_joint_config());
        }
        let reached = reached(&state.voters.1, self.me, &state.heard).filter(|_| state.bars == 0);
        tenure.until.store(reached.map_or(0, |at| at.saturating_add(self.lasts)), Ordering::Release);
    }
}

impl State {
    /// Takes over a configuration if it is newer, and gives whether it was.
    fn learn(&mut self, index: Option<u64>, voters: &[BTreeSet<u64>]) -> bool {
        let newer = self.voters.1.is_empty() || index > self.voters.0;
        if newer {
            self.voters = (index, voters.to_vec());
        }
        newer
    }

    fn end(&mut self) {
        if let Some(tenure) = self.tenure.take() {
            tenure.until.store(0, Ordering::Release);
        }
    }
}

/// The newest time of sending that a majority of each configuration has reached. This node counts as having heard itself
/// just now, where it votes.
fn reached(configs: &[BTreeSet<u64>], me: u64, heard: &BTreeMap<u64, u64>) -> Option<u64> {
    let of_one = |voters: &BTreeSet<u64>| {
        let time = |voter: &u64| if *voter == me { Some(FOR_EVER) } else { heard.get(voter).copied() };
        let mut times: Vec<u64> = voters.iter().filter_map(time).collect();
        times.sort_unstable_by(|one, other| other.cmp(one));
        times.get(voters.len() / 2).copied()
    };
    let mut newest: Option<u64> = None;
    for voters in configs {
        let reached = of_one(voters)?;
        newest = Some(newest.map_or(reached, |other| other.min(reached)));
    }
    newest
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
