//! Every actor dies in the middle of its work: everything ends, nothing is attempted twice at a time, and nothing twice but
//! where a provider call was cut.

use std::collections::BTreeSet;
use std::time::Duration;

use tidings_machine::partition::{OnUnknown, State};
use tokio::time::sleep;

use super::{LONG, after, attempts, delivered, states, taken, world};
use crate::testing::{Spec, World};

const COUNT: u16 = 1_000;

/// Sends 1,000 deliveries and kills the actors of these names, again and again, while they are on their way.
async fn survive(names: &[&str], spec: &Spec) -> World {
    let world = world(|_, target| after(3 + u64::from(target.delivery.index()) % 40, delivered())).await;
    for batch in 0..10u16 {
        let to: Vec<String> = (0..COUNT / 10).map(|n| format!("+86138{:08}", batch * 100 + n)).collect();
        world.send_to(spec, &to);
        sleep(Duration::from_millis(13)).await;
        for name in names {
            world.motion.kill(name);
        }
    }
    assert_eq!(world.until_ended(COUNT.into(), LONG).await, usize::from(COUNT));
    assert_eq!(world.channel.violations(), Vec::<String>::new());
    let restarts: u64 = world.motion.observe().iter().map(|actor| actor.restarts).sum();
    assert!(restarts > 0, "nothing was killed");
    let cut: BTreeSet<_> = world.channel.seen().iter().filter(|seen| seen.cut).map(|seen| seen.delivery).collect();
    for (delivery, times) in taken(&world.channel) {
        assert!(times == 1 || cut.contains(&delivery), "{delivery} was taken {times} times");
    }
    world
}

async fn survive_all_delivered(names: &[&str]) {
    let world = survive(names, &Spec::default()).await;
    assert_eq!(states(&world), [(State::Delivered, COUNT.into())].into());
}

#[tokio::test(start_paused = true)]
async fn the_dispatchers_may_die() {
    survive_all_delivered(&["dispatcher/p0", "dispatcher/p1"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_template_actor_may_die() {
    survive_all_delivered(&["template"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_may_die() {
    let world = survive(&["sender/sms/notice"], &Spec::default()).await;
    assert_eq!(states(&world), [(State::Delivered, COUNT.into())].into());
    let cut = world.ledger.ended().values().filter(|e| attempts(e)[0] == (1, "unknown", "cut".to_owned())).count();
    assert!(cut > 0, "the trace tells of calls that were cut");
}

#[tokio::test(start_paused = true)]
async fn the_recorders_may_die() {
    survive_all_delivered(&["recorder/p0", "recorder/p1"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_timers_may_die() {
    survive_all_delivered(&["timers/p0", "timers/p1"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_dedup_actor_may_die() {
    survive_all_delivered(&["dedup"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_rate_limiter_may_die() {
    survive_all_delivered(&["rate_limiter"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_supervisor_may_die_with_everything_below_it() {
    survive_all_delivered(&["supervisor"]).await;
}

#[tokio::test(start_paused = true)]
async fn everything_may_die_at_once() {
    survive_all_delivered(&["template", "dispatcher/p0", "recorder/p1", "sender/sms/notice", "timers/p0", "dedup"])
        .await;
}

#[tokio::test(start_paused = true)]
async fn with_stop_nothing_is_attempted_twice_whoever_dies() {
    let spec = Spec { on_unknown: OnUnknown::Stop, ..Spec::default() };
    for name in ["sender/sms/notice", "recorder/p0", "dispatcher/p0", "template", "supervisor"] {
        let world = survive(&[name], &spec).await;
        let seen = world.channel.seen();
        let once: BTreeSet<_> = seen.iter().map(|seen| seen.delivery).collect();
        assert_eq!(once.len(), seen.len(), "{name}: a delivery was attempted twice");
        for ended in world.ledger.ended().values() {
            let cut = !seen.iter().any(|seen| seen.delivery == ended.delivery.id && seen.taken);
            let wanted = if cut { State::Unknown } else { State::Delivered };
            assert_eq!(ended.delivery.state, wanted, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_dies_again_and_again_is_restarted_ever_more_slowly_and_never_given_up() {
    let world = world(|_, _| after(1, delivered())).await;
    sleep(Duration::from_millis(100)).await;
    for _ in 0..200 {
        world.motion.kill("template");
        sleep(Duration::from_millis(20)).await;
    }
    let restarts = world.motion.observe().into_iter().find(|actor| actor.name == "template").map(|a| a.restarts);
    assert!(restarts.is_some_and(|restarts| (5..20).contains(&restarts)), "{restarts:?}");
    world.send(&Spec::default(), 10);
    assert_eq!(world.until_ended(10, LONG).await, 10);
}
