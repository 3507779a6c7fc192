//! Calls that carry many recipients: who has the same content goes together, a few calls run at once, none begins late.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::Value;
use tidings_contract::{Call, Outcome, Target};
use tokio::time::Instant;

/// Requests of one call that are under way at once.
const AT_ONCE: usize = 8;

/// Targets of one call with the same content.
#[derive(Clone, Debug)]
pub(crate) struct Group<'a> {
    /// What they get.
    pub(crate) content: &'a Arc<Value>,
    /// Who they are.
    pub(crate) targets: Vec<&'a Target>,
    /// Where they stand in the call.
    places: Vec<usize>,
}

impl Group<'_> {
    /// Where the first of them stands in the call.
    pub(crate) fn place(&self) -> usize {
        self.places.first().copied().unwrap_or_default()
    }

    /// The same targets packed anew, at most `most` together, whatever they get. `content` is then that of the first.
    pub(crate) fn packed(groups: Vec<Self>, most: usize) -> Vec<Self> {
        let mut packed: Vec<Self> = Vec::new();
        for group in groups {
            for (target, place) in group.targets.into_iter().zip(group.places) {
                match packed.last_mut().filter(|last| last.targets.len() < most) {
                    Some(last) => {
                        last.targets.push(target);
                        last.places.push(place);
                    }
                    None => packed.push(Group { content: &target.content, targets: vec![target], places: vec![place] }),
                }
            }
        }
        packed
    }
}

/// Puts targets with one content together, at most `most` of them, keeping the order. One for whom `alone` says so
/// stays alone.
pub(crate) fn groups<'a>(call: &'a Call, most: usize, alone: impl Fn(&Target) -> bool) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (place, target) in call.targets.iter().enumerate() {
        let fits = |group: &&mut Group<'a>| {
            let same = Arc::ptr_eq(group.content, &target.content) || group.content == &target.content;
            same && group.targets.len() < most && !alone(group.targets[0])
        };
        let single = alone(target);
        match groups.iter_mut().rev().find(fits) {
            Some(group) if !single => {
                group.targets.push(target);
                group.places.push(place);
            }
            _ => groups.push(Group { content: &target.content, targets: vec![target], places: vec![place] }),
        }
    }
    groups
}

/// Sends every group and gives the outcomes in the order of the call's targets, up to the last that is in a group.
///
/// One request takes `timeout` at most, and none is begun that could not end before `deadline`: who was not begun with
/// comes back as `Later`, so that nothing is unknown without need.
pub(crate) async fn send<'a, F>(
    groups: Vec<Group<'a>>,
    timeout: Duration,
    deadline: Duration,
    one: impl Fn(Group<'a>) -> F,
) -> Vec<Outcome>
where
    F: Future<Output = Vec<Outcome>> + Send,
{
    let last_start = Instant::now() + deadline.saturating_sub(timeout + Duration::from_secs(1));
    let count = groups.iter().flat_map(|group| &group.places).max().map_or(0, |last| last + 1);
    let begun = groups.iter().enumerate().map(|(at, group)| {
        let request = one(group.clone());
        async move { if at < AT_ONCE || Instant::now() <= last_start { request.await } else { Vec::new() } }
    });
    let results: Vec<Vec<Outcome>> = stream::iter(begun.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await;
    let mut outcomes = vec![None; count];
    for (group, results) in groups.iter().zip(results) {
        for (place, outcome) in group.places.iter().zip(results) {
            outcomes[*place] = Some(outcome);
        }
    }
    let late = || Outcome::later("not_begun", "the requests before it took too long");
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(late)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_contract::Blame;

    use super::*;
    use crate::testing::call;

    #[test]
    fn targets_with_one_content_go_together_up_to_the_limit() {
        let mut call = call(&["a", "b", "c", "@all", "d"], json!({"text": "hi"}));
        call.targets[1].content = Arc::new(json!({"text": "you"}));
        call.targets[4].content = Arc::new(json!({"text": "hi"}));
        let names = |most| {
            let groups = groups(&call, most, |target| target.to == "@all");
            groups.iter().map(|g| g.targets.iter().map(|t| t.to.as_str()).collect::<String>()).collect::<Vec<_>>()
        };
        assert_eq!(names(9), ["acd", "b", "@all"]);
        assert_eq!(names(2), ["ac", "b", "@all", "d"]);
    }

    #[tokio::test(start_paused = true)]
    async fn outcomes_stand_in_the_order_of_the_targets_and_nobody_is_begun_with_late() {
        let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let call = call(&names, json!({}));
        let groups = groups(&call, 1, |_| false);
        let second = Duration::from_secs(1);
        let outcomes = send(groups, second, second * 3, |group| {
            let name = group.targets[0].to.clone();
            async move {
                tokio::time::sleep(second).await;
                vec![Outcome::never(Blame::Recipient, name, "")]
            }
        });
        // Sixteen end within the two seconds in which calls may begin; a third round would begin at two seconds sharp.
        let outcomes = outcomes.await;
        for (at, outcome) in outcomes.iter().enumerate() {
            let expected = if at < 16 { at.to_string() } else { "not_begun".to_owned() };
            assert_eq!(outcome.reason().map(|reason| reason.code.clone()), Some(expected));
        }
    }
}
