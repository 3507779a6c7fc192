//! Messages that a fault sends beside the load: for later, under a limit, under a cap, under one key again and again. The
//! provider double's own clock, which nobody bends, judges when they came.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use hyper::Method;
use serde_json::{Value, json};
use tidings_contract::Time;

use super::course::Scene;
use crate::cluster::{PATIENCE, eventually};
use crate::failure::ensure;
use crate::load::Tally;
use crate::receiver::{SECRET, Seen};
use crate::testbed::provider::INSIDE;
use crate::{Proof, When};

/// The load never counts up to this number.
const FIRST: u64 = 1 << 40;
/// The account's limit: so many in so long.
const LIMIT: (usize, Duration) = (20, Duration::from_secs(6));
/// The template's cap: so many for one recipient in an hour.
const CAP: usize = 3;
/// Nothing may come earlier than by what the clocks of nodes may differ (`raft.max_clock_offset_ms`).
const EARLY: Duration = Duration::from_millis(500);
/// A busy machine may be so late.
const LATE: Duration = Duration::from_secs(5);

/// What was sent, and what is to be judged of it.
#[derive(Debug, Default)]
pub struct Beside {
    accepted: HashMap<u64, String>,
    may_be_held: HashSet<u64>,
    due: Vec<Due>,
    limited: HashSet<u64>,
    capped: HashMap<u64, usize>,
    messages: HashMap<String, String>,
    second: Vec<String>,
    next: u64,
}

/// A delivery for later.
#[derive(Clone, Copy, Debug)]
struct Due {
    n: u64,
    at: Instant,
    /// Whether the cluster was well when it was due, so that it must not be late either.
    prompt: bool,
}

impl Beside {
    /// What its callers know, for the judge of the load.
    pub(super) fn told(&self) -> Tally {
        let (accepted, may_be_held) = (self.accepted.clone(), self.may_be_held.clone());
        Tally { accepted, may_be_held, ..Tally::default() }
    }

    /// Everything that is wrong with the times at the provider, and with keys.
    pub(super) fn judge(&self, seen: &Seen) -> Vec<String> {
        let mut came: HashMap<u64, &[Instant]> = HashMap::new();
        for arrival in seen.arrivals.values() {
            came.insert(arrival.n, &arrival.copies);
        }
        let first = |n: u64| came.get(&n).and_then(|copies| copies.first()).copied();
        let mut wrong = Vec::new();
        let early = self.due.iter().filter(|due| first(due.n).is_some_and(|came| came + EARLY < due.at)).count();
        if early > 0 {
            wrong.push(format!("{early} of {} came before their time", self.due.len()));
        }
        let prompt: Vec<_> = self.due.iter().filter(|due| due.prompt).collect();
        let late = prompt.iter().filter(|due| first(due.n).is_none_or(|came| came > due.at + LATE)).count();
        if late > 0 {
            wrong.push(format!("{late} of {} came more than {LATE:?} after their time", prompt.len()));
        }
        let limited = self.limited.iter().filter_map(|n| came.get(n)).flat_map(|copies| copies.iter().copied());
        let most = fullest(limited.collect(), LIMIT.1);
        if most > LIMIT.0 {
            wrong.push(format!("{most} came in {:?} under a limit of {}", LIMIT.1, LIMIT.0));
        }
        let mut of_one: HashMap<usize, usize> = HashMap::new();
        for who in self.capped.iter().filter(|(n, _)| came.contains_key(n)).map(|(_, who)| who) {
            *of_one.entry(*who).or_default() += 1;
        }
        let most = of_one.values().copied().max().unwrap_or_default();
        if most > CAP {
            wrong.push(format!("{most} came to one recipient under a cap of {CAP}"));
        }
        if let Some(one) = self.second.first() {
            wrong.push(format!("{} keys made a second message, such as {one}", self.second.len()));
        }
        wrong
    }

    /// What was judged, in a few words.
    pub(super) fn words(&self) -> String {
        let (due, limited, capped, keys) = (self.due.len(), self.limited.len(), self.capped.len(), self.messages.len());
        format!("{due} for later, {limited} under a limit, {capped} under a cap, {keys} keys judged at the provider")
    }
}

/// The largest number of times within any span shorter than `window`.
fn fullest(mut times: Vec<Instant>, window: Duration) -> usize {
    times.sort_unstable();
    let mut first = 0;
    let spans = times.iter().enumerate().map(|(last, at)| {
        while *at - times[first] >= window {
            first += 1;
        }
        last - first + 1
    });
    spans.max().unwrap_or_default()
}

impl Scene {
    /// Puts the account with a limit and the template with a cap.
    ///
    /// # Errors
    /// When they are refused.
    pub async fn teach_limits(&self) -> Proof {
        let retry = json!({"max_attempts": 20, "first_ms": 200, "longest_ms": 2_000, "give_up_after_ms": 600_000});
        let account = |more: Value| {
            let mut account = json!({"provider": "webhook", "settings": {"secret": SECRET, "allow_private": true}});
            account["limit"] = more;
            account
        };
        let template = |of: &str, rules: Value| json!({"channel": "webhook", "account": of, "content": {"n": "{{ n }}"}, "retry": retry, "rules": rules});
        let window = json!({"permits": LIMIT.0, "window_ms": u64::try_from(LIMIT.1.as_millis()).when("a window")?});
        let capped = json!({"frequency": {"windows": [{"window_ms": 3_600_000, "most": CAP}]}});
        let cluster = &self.stand.cluster;
        cluster.teach("limited", &account(window), &template("limited", json!({}))).await?;
        cluster.teach("capped", &account(Value::Null), &template("capped", capped)).await
    }

    /// Sends `count` that are due after `wait`; whether the cluster will be well by then.
    ///
    /// # Errors
    /// When nobody takes them.
    #[allow(clippy::disallowed_methods, reason = "a caller has a clock of its own")]
    pub async fn send_for_later(&mut self, count: u64, wait: Duration, prompt: bool) -> Proof {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).when("asking for the time")?;
        let at = Instant::now() + wait;
        let due = Time(u64::try_from((now + wait).as_millis()).when("asking for the time")?).to_string();
        let numbers = self.beside.numbers(count);
        let to = numbers.iter().map(|n| (format!("later/{n}"), *n)).collect();
        self.send_beside("hook", to, Some(due), None).await?;
        self.beside.due.extend(numbers.iter().map(|n| Due { n: *n, at, prompt }));
        Ok(())
    }

    /// Sends `count` through the account with a limit.
    ///
    /// # Errors
    /// When nobody takes them.
    pub async fn send_limited(&mut self, count: u64) -> Proof {
        let numbers = self.beside.numbers(count);
        let to = numbers.iter().map(|n| (format!("limited/{n}"), *n)).collect();
        self.send_beside("limited", to, None, None).await?;
        self.beside.limited.extend(numbers);
        Ok(())
    }

    /// Sends one more than the cap allows to each of 16 recipients.
    ///
    /// # Errors
    /// When nobody takes them.
    pub async fn send_capped(&mut self) -> Proof {
        for _ in 0..=CAP {
            let numbers = self.beside.numbers(16);
            let to = numbers.iter().enumerate().map(|(who, n)| (format!("capped/{who}"), *n)).collect();
            self.beside.may_be_held.extend(&numbers);
            self.send_beside("capped", to, None, None).await?;
            self.beside.capped.extend(numbers.into_iter().enumerate().map(|(who, n)| (n, who)));
        }
        Ok(())
    }

    /// Sends the same message under each of 16 keys; every time the same, so that only the first makes one.
    ///
    /// # Errors
    /// When nobody takes them.
    pub async fn send_keyed(&mut self) -> Proof {
        for key in 0..16 {
            let n = FIRST / 2 + key;
            let name = format!("the-same-{key}");
            let message = self.send_beside("hook", vec![(format!("keyed/{key}"), n)], None, Some(&name)).await?;
            let first = self.beside.messages.entry(name).or_insert_with(|| message.clone());
            if *first != message {
                self.beside.second.push(format!("{first} and {message}"));
            }
        }
        Ok(())
    }

    /// Sends one message, to one node after another until one takes all of it; under a key, so that none is made twice.
    async fn send_beside(
        &mut self,
        template: &str,
        to: Vec<(String, u64)>,
        due: Option<String>,
        key: Option<&str>,
    ) -> Proof<String> {
        let own = format!("beside-{}", to.first().map(|(_, n)| *n).unwrap_or_default());
        let recipient =
            |(path, n): &(String, u64)| json!({"to": format!("{INSIDE}/{path}"), "variables": {"n": n.to_string()}});
        let mut body = json!({"template": template, "to": to.iter().map(recipient).collect::<Vec<_>>()});
        if let Some(due) = due {
            body["send_at"] = due.into();
        }
        let (cluster, headers) = (&self.stand.cluster, [("idempotency-key", key.unwrap_or(&own))]);
        let turn = std::cell::Cell::new(0);
        let taken = eventually("a message beside the load is taken", PATIENCE, async || {
            turn.set(turn.get() + 1);
            let url = format!("{}/v1/messages", cluster.url(turn.get()));
            let answer = cluster.admin.call(Method::POST, &url, &headers, body.to_string().into()).await;
            let taken: Value = answer.when("sending")?.expect_status(202)?.json()?;
            let all = taken["deliveries"].as_array().is_some_and(|taken| taken.len() == to.len());
            ensure(all, || format!("not all of it was taken: {taken}"))?;
            Ok(taken)
        })
        .await?;
        for delivery in taken["deliveries"].as_array().into_iter().flatten() {
            let index = delivery["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            let (_, n) = index.and_then(|index| to.get(index)).when("reading an accepted delivery")?;
            let id = delivery["id"].as_str().when("reading an accepted delivery")?;
            self.beside.accepted.insert(*n, id.to_owned());
        }
        Ok(taken["message_id"].as_str().when("reading a message's id")?.to_owned())
    }
}

impl Beside {
    fn numbers(&mut self, count: u64) -> Vec<u64> {
        let first = FIRST + self.next;
        self.next += count;
        (first..first + count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::Arrival;

    fn seen(arrivals: &[(u64, Instant)]) -> Seen {
        let arrivals = arrivals.iter().map(|(n, at)| (format!("dlv_{n}"), Arrival { n: *n, copies: vec![*at] }));
        Seen { arrivals: arrivals.collect(), ..Seen::default() }
    }

    #[test]
    fn what_comes_before_its_time_or_long_after_it_is_found() {
        let at = Instant::now() + Duration::from_secs(60);
        let beside = |prompt| Beside { due: vec![Due { n: 1, at, prompt }], ..Beside::default() };
        let judged = |prompt, came| beside(prompt).judge(&seen(&[(1, came)])).join("; ");
        assert_eq!(judged(true, at - Duration::from_millis(400)), "");
        assert_eq!(judged(true, at - Duration::from_secs(1)), "1 of 1 came before their time");
        assert!(judged(true, at + Duration::from_secs(6)).contains("after their time"));
        assert_eq!(judged(false, at + Duration::from_secs(6)), "", "the clocks were wrong when it was due");
    }

    #[test]
    fn one_too_many_in_a_sliding_window_or_under_a_cap_is_found() {
        let at = Instant::now();
        let spread = |last: u64| -> Vec<_> {
            (0..=20).map(|n| (n, at + Duration::from_millis(if n == 20 { last } else { n }))).collect()
        };
        let limited = Beside { limited: (0..=20).collect(), ..Beside::default() };
        assert_eq!(limited.judge(&seen(&spread(6_000))), Vec::<String>::new());
        assert_eq!(limited.judge(&seen(&spread(5_999))), ["21 came in 6s under a limit of 20"]);
        let capped = |many: u64| Beside { capped: (0..many).map(|n| (n, 7)).collect(), ..Beside::default() };
        assert_eq!(capped(3).judge(&seen(&spread(0))), Vec::<String>::new());
        assert_eq!(capped(4).judge(&seen(&spread(0))), ["4 came to one recipient under a cap of 3"]);
    }
}
