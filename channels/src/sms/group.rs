//! Sorts the targets of one call into requests that several recipients share, and runs them side by side.

use std::future::Future;
use std::time::Duration;

use futures::{StreamExt, stream};
use tidings_contract::{Call, Outcome, Target};
use tokio::time::Instant;

/// Requests of one call that are under way at once.
const ABREAST: usize = 32;

/// Targets that share a request; never the same recipient twice.
#[derive(Debug)]
pub(crate) struct Group<'a, K, V = ()> {
    /// What they have in common.
    pub(crate) key: K,
    /// The targets, in their order in the call.
    pub(crate) targets: Vec<&'a Target>,
    /// What each has for itself.
    pub(crate) values: Vec<V>,
    places: Vec<usize>,
}

/// Targets sorted by what they have in common; `Err` at the places of those that cannot be sent.
pub(crate) type Sorted<'a, K, V> = (Vec<Group<'a, K, V>>, Vec<Option<Outcome>>);

/// Sorts the targets of `call` into groups of at most `most`.
pub(crate) fn groups<K: PartialEq, V>(
    call: &Call,
    most: usize,
    read: impl Fn(&Target) -> Result<(K, V), Outcome>,
) -> Sorted<'_, K, V> {
    let mut groups: Vec<Group<'_, K, V>> = Vec::new();
    let mut outcomes = vec![None; call.targets.len()];
    for (place, target) in call.targets.iter().enumerate() {
        let (key, value) = match read(target) {
            Ok(read) => read,
            Err(outcome) => {
                outcomes[place] = Some(outcome);
                continue;
            }
        };
        let fits = |group: &&mut Group<'_, K, V>| {
            group.key == key && group.targets.len() < most && group.targets.iter().all(|known| known.to != target.to)
        };
        match groups.iter_mut().find(fits) {
            Some(group) => {
                group.targets.push(target);
                group.values.push(value);
                group.places.push(place);
            }
            None => groups.push(Group { key, targets: vec![target], values: vec![value], places: vec![place] }),
        }
    }
    (groups, outcomes)
}

/// Makes one request for each group and puts the outcomes where their targets stand in the call.
///
/// `window` is how long after the start a request may still begin; what comes too late was certainly not sent.
pub(crate) async fn run<'a, K, V, T, F>(
    sorted: Sorted<'a, K, V>,
    window: Duration,
    send: impl Fn(Group<'a, K, V>) -> F,
) -> Vec<T>
where
    T: From<Outcome>,
    F: Future<Output = Vec<T>> + Send,
{
    let (groups, refused) = sorted;
    let mut outcomes: Vec<Option<T>> = refused.into_iter().map(|outcome| outcome.map(T::from)).collect();
    let begun = Instant::now();
    // The requests are made before they are polled, so that what they borrow is plain to see.
    let mut waiting = Vec::with_capacity(groups.len());
    for mut group in groups {
        let places = std::mem::take(&mut group.places);
        let request = send(group);
        waiting.push(async move {
            let late = begun.elapsed() > window;
            (places, if late { None } else { Some(request.await) })
        });
    }
    let mut answers = stream::iter(waiting).buffer_unordered(ABREAST);
    while let Some((places, answer)) = answers.next().await {
        let mut answer = answer.map(Vec::into_iter);
        for place in places {
            outcomes[place] = match &mut answer {
                None => Some(Outcome::later("crowded", "no time was left for it in this call").into()),
                Some(answer) => answer.next(),
            };
        }
    }
    // A request that forgets a recipient leaves nobody the wiser.
    let forgotten = || Outcome::unknown("answer", "no verdict").into();
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(forgotten)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_contract::Blame;

    use super::*;
    use crate::testing::call;

    fn key(target: &Target) -> Result<(char, ()), Outcome> {
        let first = target.to.chars().next().unwrap_or(' ');
        if first == '!' { Err(Outcome::never(Blame::Recipient, "bad", "")) } else { Ok((first, ())) }
    }

    #[tokio::test(start_paused = true)]
    async fn outcomes_stand_where_their_targets_stand() {
        let call = call(&["a1", "b1", "!", "a2", "a1", "a3"], json!({}));
        let (groups, left) = groups(&call, 2, key);
        let names: Vec<Vec<_>> =
            groups.iter().map(|group| group.targets.iter().map(|target| target.to.as_str()).collect()).collect();
        assert_eq!(names, [vec!["a1", "a2"], vec!["b1"], vec!["a1", "a3"]]);
        let outcomes = run((groups, left), Duration::from_secs(1), |group| async move {
            tokio::time::sleep(Duration::from_millis(if group.key == 'a' { 50 } else { 10 })).await;
            group.targets.iter().map(|target| Outcome::later(target.to.clone(), "")).collect()
        });
        let codes: Vec<_> =
            outcomes.await.iter().map(|outcome| outcome.reason().expect("none is delivered").code.clone()).collect();
        assert_eq!(codes, ["a1", "b1", "bad", "a2", "a1", "a3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_too_late_is_not_sent() {
        let names: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let call = call(&names, json!({}));
        let outcomes =
            run(groups(&call, 1, |target| Ok((target.to.clone(), ()))), Duration::from_secs(1), |group| async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                vec![Outcome::Delivered { provider_id: None }; group.targets.len()]
            });
        let outcomes = outcomes.await;
        let sent = outcomes.iter().filter(|outcome| outcome.class() == "delivered").count();
        assert_eq!((sent, outcomes.len()), (ABREAST, 40));
        assert!(outcomes[39].reason().is_some_and(|reason| reason.code == "crowded"));
    }
}
