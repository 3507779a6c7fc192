//! One step of a group's membership towards the replicas that are wanted.
//!
//! Learners first, without waiting; voters are changed together (joint consensus) once the new ones have nearly caught
//! up, so a new replica never holds up the others; what is not wanted goes last. A leader that is to leave makes the
//! first wanted replica leader before that one removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;

use crate::group::AnyGroup;
use crate::types::{Peer, Raft};

/// Most voters of the control group; further nodes learn from it.
const CONTROL_VOTERS: usize = 5;
/// How many entries behind a replica may be to count as caught up.
const NEAR: u64 = 200;
/// How often handing over to the preferred leader is tried.
const HAND_OVER_EVERY: Duration = Duration::from_secs(10);

/// The nodes that should vote in control: those who do and still exist, filled up by number.
pub(crate) fn control_voters(raft: &Raft, nodes: impl Iterator<Item = u64>) -> Vec<u64> {
    let metrics = raft.metrics();
    let voters: BTreeSet<u64> = metrics.borrow().membership_config.membership().voter_ids().collect();
    choose_voters(&voters, nodes)
}

fn choose_voters(voters: &BTreeSet<u64>, nodes: impl Iterator<Item = u64>) -> Vec<u64> {
    let (mut chosen, rest): (Vec<u64>, Vec<u64>) = nodes.partition(|node| voters.contains(node));
    chosen.extend(rest);
    chosen.truncate(CONTROL_VOTERS);
    chosen
}

/// What a leader sees of its group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct View {
    me: u64,
    voters: BTreeSet<u64>,
    nodes: BTreeSet<u64>,
    joint: bool,
    /// Those that have nearly everything.
    near: BTreeSet<u64>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    AddLearner(u64),
    SetVoters(BTreeSet<u64>),
    Remove(BTreeSet<u64>),
    /// To the first of them that answers.
    HandOver(Vec<u64>),
}

/// Decides the next step. `wanted` are the voters, the first preferred as leader; `learners` also stay.
fn decide(view: &View, wanted: &[u64], learners: &BTreeSet<u64>) -> Step {
    let target: BTreeSet<u64> = wanted.iter().copied().collect();
    let Some(first) = wanted.first() else { return Step::Nothing };
    // The preferred leader may be the one that is dead.
    let able = || wanted.iter().copied().filter(|node| *node != view.me && view.near.contains(node)).collect();
    if view.joint {
        return Step::SetVoters(if target.is_subset(&view.nodes) { target } else { view.voters.clone() });
    }
    if let Some(new) = target.union(learners).find(|node| !view.nodes.contains(node)) {
        return Step::AddLearner(*new);
    }
    if target != view.voters {
        if !target.difference(&view.voters).all(|node| view.near.contains(node)) {
            return Step::Nothing;
        }
        if target.contains(&view.me) {
            return Step::SetVoters(target);
        }
        if target.is_subset(&view.voters) {
            return Step::HandOver(able());
        }
        return Step::SetVoters(target.into_iter().chain([view.me]).collect());
    }
    let extra: BTreeSet<u64> =
        view.nodes.iter().filter(|n| !target.contains(n) && !learners.contains(n)).copied().collect();
    if !extra.is_empty() {
        return Step::Remove(extra);
    }
    if *first != view.me && view.near.contains(first) { Step::HandOver(vec![*first]) } else { Step::Nothing }
}

/// Takes one step; returns to whom leadership may be handed, the best first, if that is what is next.
pub(crate) async fn step(
    group: &dyn AnyGroup,
    me: u64,
    wanted: &[u64],
    nodes: &BTreeMap<u64, Peer>,
) -> Result<Vec<u64>, String> {
    let raft = group.raft();
    let is_control = group.id() == crate::types::GroupId::Control;
    // Control has no preferred leader: whoever leads it may go on, as long as it is a voter.
    let mut wanted = wanted.to_vec();
    if is_control && let Some(at) = wanted.iter().position(|node| *node == me) {
        wanted.swap(0, at);
    }
    let learners: BTreeSet<u64> = if is_control { nodes.keys().copied().collect() } else { BTreeSet::new() };
    match decide(&view(raft, me), &wanted, &learners) {
        Step::Nothing => {}
        Step::AddLearner(node) => {
            let peer = nodes.get(&node).cloned().ok_or_else(|| format!("control does not know node {node}"))?;
            raft.add_learner(node, peer, false).await.map_err(|e| e.to_string())?;
        }
        Step::SetVoters(voters) => {
            // Those who lose their vote go as a step of their own.
            raft.change_membership(voters, true).await.map_err(|e| e.to_string())?;
        }
        Step::Remove(gone) => {
            raft.change_membership(ChangeMembers::RemoveNodes(gone), true).await.map_err(|e| e.to_string())?;
        }
        Step::HandOver(next) => {
            let tried = *group.transfer_tried().lock();
            let due = tried.is_none_or(|at| at.elapsed() >= HAND_OVER_EVERY);
            return Ok(if due { next } else { Vec::new() });
        }
    }
    Ok(Vec::new())
}

fn view(raft: &Raft, me: u64) -> View {
    let metrics = raft.metrics();
    let metrics = metrics.borrow();
    let membership = metrics.membership_config.membership();
    let last = metrics.last_log_index.unwrap_or(0);
    let reached = metrics.replication.iter().flatten();
    let near = reached.filter(|(_, id)| id.is_some_and(|id| id.index + NEAR >= last)).map(|(node, _)| *node).collect();
    View {
        me,
        voters: membership.voter_ids().collect(),
        nodes: membership.nodes().map(|(id, _)| *id).collect(),
        joint: membership.get_joint_config().len() > 1,
        near,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nodes: &[u64]) -> BTreeSet<u64> {
        nodes.iter().copied().collect()
    }

    fn seen(voters: &[u64], nodes: &[u64], near: &[u64]) -> View {
        View { me: 1, voters: set(voters), nodes: set(nodes), joint: false, near: set(near) }
    }

    #[test]
    fn membership_moves_one_step_at_a_time() {
        let joint = View { joint: true, ..seen(&[1, 2], &[1, 2, 3], &[]) };
        let cases = [
            ("nothing to do", seen(&[1, 2], &[1, 2], &[1, 2]), vec![1, 2], Step::Nothing),
            ("a new replica learns first", seen(&[1], &[1], &[1]), vec![1, 2, 3], Step::AddLearner(2)),
            ("it waits until it caught up", seen(&[1], &[1, 2], &[1]), vec![1, 2], Step::Nothing),
            ("then it votes", seen(&[1], &[1, 2], &[1, 2]), vec![1, 2], Step::SetVoters(set(&[1, 2]))),
            ("the last step removes", seen(&[1, 2], &[1, 2, 3], &[1]), vec![1, 2], Step::Remove(set(&[3]))),
            ("the preferred one leads", seen(&[1, 2], &[1, 2], &[1, 2]), vec![2, 1], Step::HandOver(vec![2])),
            ("not while it is behind", seen(&[1, 2], &[1, 2], &[1]), vec![2, 1], Step::Nothing),
            (
                "a leaving leader stays until others vote",
                seen(&[1], &[1, 2], &[1, 2]),
                vec![2],
                Step::SetVoters(set(&[1, 2])),
            ),
            ("then hands over", seen(&[1, 2], &[1, 2], &[1, 2]), vec![2], Step::HandOver(vec![2])),
            (
                "a leaving leader passes by one that is behind",
                seen(&[1, 2, 3], &[1, 2, 3], &[1, 3]),
                vec![2, 3],
                Step::HandOver(vec![3]),
            ),
            (
                "a dead node is replaced without its help",
                seen(&[1, 2, 3], &[1, 2, 3, 4], &[1, 2, 4]),
                vec![1, 2, 4],
                Step::SetVoters(set(&[1, 2, 4])),
            ),
            (
                "with fewer nodes there are fewer voters",
                seen(&[1, 2, 3], &[1, 2, 3], &[1, 2]),
                vec![1, 2],
                Step::SetVoters(set(&[1, 2])),
            ),
            ("a change half done is completed", joint, vec![1, 3], Step::SetVoters(set(&[1, 3]))),
            ("no wish, no step", seen(&[1], &[1], &[1]), vec![], Step::Nothing),
        ];
        for (what, view, wanted, step) in cases {
            assert_eq!(decide(&view, &wanted, &BTreeSet::new()), step, "{what}");
        }
    }

    #[test]
    fn control_keeps_its_voters_and_takes_at_most_five() {
        assert_eq!(choose_voters(&set(&[7]), [1, 2, 7].into_iter()), [7, 1, 2]);
        assert_eq!(choose_voters(&set(&[9]), 1..=9), [9, 1, 2, 3, 4]);
        assert_eq!(choose_voters(&set(&[9]), [1].into_iter()), [1]);
    }
}
