//! The life of a delivery while nothing goes wrong inside the process.

use std::time::Duration;

use serde_json::json;
use tidings_contract::Outcome;
use tidings_machine::partition::{OnUnknown, RetryPolicy, State, What};

use super::{LONG, after, attempts, busy, delivered, refused, world};
use crate::testing::{Spec, Step};

#[tokio::test(start_paused = true)]
async fn a_delivery_is_rendered_sent_and_recorded() {
    let world = world(|_, _| Step::deliver()).await;
    let sent = world.send(&Spec { own: Some(json!({"name": "Bo"}).to_string()), ..Spec::default() }, 5);
    assert_eq!(world.until_ended(5, LONG).await, 5);
    for delivery in &sent {
        assert_eq!(world.state(delivery), State::Delivered);
    }
    let seen = world.channel.seen();
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|seen| seen.attempt == 1 && *seen.content == json!({"text": "Hi Bo"})));
}

#[tokio::test(start_paused = true)]
async fn retries_follow_the_schedule_of_the_template() {
    let world = world(|_, target| if target.attempt < 4 { after(1, busy()) } else { Step::deliver() }).await;
    let retry = RetryPolicy { max_attempts: 5, first_ms: 1_000, longest_ms: 10_000, give_up_after_ms: 3_600_000 };
    world.send(&Spec { retry, ..Spec::default() }, 1);
    assert_eq!(world.until_ended(1, LONG).await, 1);
    let seen = world.channel.seen();
    assert_eq!(seen.iter().map(|seen| seen.attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for (pair, full) in seen.windows(2).zip([1_000, 2_000, 4_000]) {
        let wait = pair[1].at.0 - pair[0].at.0;
        // Half of the wait is jitter; the call, the log and the wake-up take a few milliseconds.
        assert!((full / 2..full + 20).contains(&wait), "waited {wait} ms of {full}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_ends_failed_when_the_schedule_is_used_up() {
    let world = world(|_, _| Step::Give(Duration::ZERO, busy())).await;
    let retry = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
    let sent = world.send(&Spec { retry, ..Spec::default() }, 1);
    world.until_ended(1, LONG).await;
    let ended = world.ended(&sent[0]).expect("it ended");
    assert_eq!((ended.delivery.state, attempts(&ended).len()), (State::Failed, 3));
    assert_eq!(ended.delivery.reason.map(|reason| reason.code), Some("http_503".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_ever_is_tried_once() {
    let world = world(|_, _| Step::Give(Duration::ZERO, refused())).await;
    let sent = world.send(&Spec::default(), 1);
    world.until_ended(1, LONG).await;
    assert_eq!((world.state(&sent[0]), world.channel.seen().len()), (State::Failed, 1));
}

#[tokio::test(start_paused = true)]
async fn the_provider_may_ask_for_a_longer_wait() {
    let later = Outcome::Later { reason: tidings_contract::Reason::new("http_429", ""), after_ms: Some(30_000) };
    let world = world(
        move |_, target| {
            if target.attempt == 1 { Step::Give(Duration::ZERO, later.clone()) } else { Step::deliver() }
        },
    )
    .await;
    world.send(&Spec::default(), 1);
    world.until_ended(1, LONG).await;
    let seen = world.channel.seen();
    let wait = seen[1].at.0 - seen[0].at.0;
    assert!((30_000..34_000).contains(&wait), "waited {wait} ms");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_end_is_tried_again_unless_the_template_says_stop() {
    let lost = || Outcome::Unknown { reason: tidings_contract::Reason::new("reset", "") };
    let world =
        world(move |_, target| if target.attempt == 1 { after(1, lost()) } else { after(1, delivered()) }).await;
    let again = world.send(&Spec::default(), 1);
    let stop = world.send_to(&Spec { on_unknown: OnUnknown::Stop, ..Spec::default() }, &["+8613900000000".to_owned()]);
    world.until_ended(2, LONG).await;
    assert_eq!(world.state(&again[0]), State::Delivered);
    let ended = world.ended(&stop[0]).expect("it ended");
    assert_eq!((ended.delivery.state, attempts(&ended).len()), (State::Unknown, 1));
    let count = |delivery| world.channel.seen().iter().filter(|seen| seen.delivery == delivery).count();
    assert_eq!((count(again[0]), count(stop[0])), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn with_stop_every_attempt_stands_in_the_log_before_it_is_made() {
    let world = world(|_, target| if target.attempt == 1 { after(5, busy()) } else { after(5, delivered()) }).await;
    let sent = world.send(&Spec { on_unknown: OnUnknown::Stop, ..Spec::default() }, 20);
    assert_eq!(world.until_ended(20, LONG).await, 20);
    for delivery in sent {
        let ended = world.ended(&delivery).expect("it ended");
        let seen: Vec<_> = world.channel.seen().into_iter().filter(|seen| seen.delivery == delivery).collect();
        let begun = ended.delivery.events.iter().filter(|event| matches!(event.what, What::Begun { .. }));
        let begun: Vec<_> = begun.map(|event| event.at).collect();
        assert_eq!((seen.len(), begun.len(), ended.delivery.state), (2, 2, State::Delivered));
        assert!(seen.iter().zip(begun).all(|(seen, begun)| seen.at >= begun));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_its_time_and_everything_soon_after() {
    let world = world(|_, _| Step::deliver()).await;
    let now = tidings_contract::Clock::now(&*world.clock);
    for n in 1..=20 {
        let send_at = Some(now.after_ms(n * 700));
        world.send(&Spec { send_at, ..Spec::default() }, 1);
    }
    assert_eq!(world.until_ended(20, LONG).await, 20);
    for (n, seen) in (1..).zip(world.channel.seen()) {
        let late = seen.at.0.checked_sub(now.0 + n * 700).expect("not before its time");
        assert!(late < 20, "{late} ms late");
    }
}

#[tokio::test(start_paused = true)]
async fn a_robots_account_is_the_recipient() {
    let world = world(|_, _| Step::deliver()).await;
    world.account("ops-robot", "fake/one", None);
    let spec = Spec { account: None, ..Spec::default() };
    let sent = world.send_to(&spec, &["ops-robot".to_owned()]);
    world.until_ended(1, LONG).await;
    assert_eq!(world.state(&sent[0]), State::Delivered);
}
