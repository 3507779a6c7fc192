//! Nodes that leave for good: forgotten once no group holds them, and how such a node learns that it was.

use std::sync::Arc;
use std::time::Duration;

use tidings_machine::control::{Action, Answer, Command};
use tokio::time::{Instant, timeout};

use crate::group::{AnyGroup, leads};
use crate::leaving::{ask_members, members_by_leader};
use crate::ledgers::{Inner, Ledgers};
use crate::placement::Wishes;
use crate::types::GroupId;

/// How often a node asks another whether it still belongs.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long forgetting a node may take; it is tried again.
const FORGET: Duration = Duration::from_secs(5);

/// Whoever leads control forgets the nodes that were asked to leave and hold nothing any more. A node that is dead is
/// forgotten just the same: its peers alone say who is in a group.
pub(crate) async fn forget_emptied(inner: &Arc<Inner>, wishes: &Wishes) {
    if wishes.draining.is_empty() || leads(inner.control.raft()).is_none() {
        return;
    }
    for node in wishes.draining.iter().copied() {
        if !is_empty(inner, node, wishes).await {
            continue;
        }
        let ledgers = Ledgers { inner: Arc::clone(inner) };
        let command = Command { by: "cluster".into(), action: Action::ForgetNode { node } };
        match timeout(FORGET, ledgers.propose_control(vec![command])).await {
            Ok(Ok(answers)) if answers.first() == Some(&Answer::Done) => {
                tracing::info!(node, "the node holds nothing any more; it is no member from here on");
            }
            Ok(other) => tracing::warn!(node, ?other, "the node could not be forgotten; tried again"),
            Err(_) => tracing::warn!(node, "the node could not be forgotten in time; tried again"),
        }
    }
}

/// Whether neither control counts its vote nor any partition has it as a member.
async fn is_empty(inner: &Inner, node: u64, wishes: &Wishes) -> bool {
    let metrics = inner.control.raft().metrics();
    if metrics.borrow().membership_config.membership().voter_ids().any(|voter| voter == node) {
        return false;
    }
    for partition in wishes.placement.keys() {
        let members = members_by_leader(inner, *partition, wishes).await;
        if !members.is_some_and(|members| members.settled && !members.nodes.contains(&node)) {
            return false;
        }
    }
    true
}

/// Asks the members in turn, so that a node that was removed while it was away, or did not hear of it, is told.
#[derive(Default)]
pub(crate) struct AskAround {
    last: Option<(u64, Instant)>,
}

impl AskAround {
    /// One question, if it is time. What is answered does not matter: a removed node is answered nothing else.
    pub(crate) async fn look(&mut self, inner: &Inner, wishes: &Wishes) {
        if self.last.is_some_and(|(_, at)| at.elapsed() < ASK_EVERY) {
            return;
        }
        let me = inner.node();
        let others: Vec<u64> = wishes.nodes.keys().copied().filter(|node| *node != me).collect();
        let after = self.last.and_then(|(last, _)| others.iter().copied().find(|node| *node > last));
        let Some(next) = after.or(others.first().copied()) else { return };
        self.last = Some((next, Instant::now()));
        let _known = ask_members(inner, GroupId::Control, next).await;
    }
}
