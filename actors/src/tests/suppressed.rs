//! Addresses that come on the suppression list while deliveries to them wait.

use std::time::Duration;

use tidings_contract::{AccountLimit, Clock, partition_of};
use tidings_machine::partition::{Command, OnUnknown, State, Suppress, SuppressionReason, What};
use tokio::time::sleep;

use super::{LONG, after, attempts, busy, delivered, world};
use crate::testing::{Spec, Step, World};

const ANN: &str = "+8613800138000";
const BOB: &str = "+8613900139000";

fn suppress(world: &World, address: &str) {
    let (channel, address, by) = ("sms".to_owned(), address.to_owned(), "key".to_owned());
    let home = partition_of(&address, 2);
    let wish = Suppress { channel, address, reason: SuppressionReason::Unsubscribed, until: None, by, bounce: None };
    world.ledger.apply(home, vec![Command::Suppress(Box::new(wish))]);
}

fn to(who: &str) -> [String; 1] {
    [who.to_owned()]
}

#[tokio::test(start_paused = true)]
async fn what_was_scheduled_before_is_not_sent() {
    for on_unknown in [OnUnknown::Retry, OnUnknown::Stop] {
        let world = world(|_, _| after(5, delivered())).await;
        let spec = Spec { send_at: Some(world.clock.now().after_ms(60_000)), on_unknown, ..Spec::default() };
        let (ann, bob) = (world.send_to(&spec, &to(ANN))[0], world.send_to(&spec, &to(BOB))[0]);
        sleep(Duration::from_secs(30)).await;
        suppress(&world, ANN);
        sleep(Duration::from_secs(20)).await;
        assert_eq!(world.state(&ann), State::Pending, "nobody looks before it is due");
        assert_eq!(world.until_ended(2, LONG).await, 2);
        assert_eq!((world.state(&ann), world.state(&bob)), (State::Suppressed, State::Delivered));
        assert!(world.channel.seen().iter().all(|seen| seen.delivery == bob));
        let events = world.ended(&ann).expect("it ended").delivery.events;
        let named = |what: &What| matches!(what, What::Suppressed { rule, .. } if rule == "suppression_list");
        assert!(events.iter().any(|event| named(&event.what)), "{events:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_further_attempt_is_not_made_and_an_earlier_unknown_one_is_not_forgotten() {
    // What the first attempt comes back with, and how the delivery ends.
    let unknown = tidings_contract::Outcome::unknown("timeout", "no answer");
    for (first, end) in [(busy(), State::Suppressed), (unknown, State::Unknown)] {
        let class = first.class();
        let world = world(move |_, _| after(5, first.clone())).await;
        let ann = world.send_to(&Spec::default(), &to(ANN))[0];
        sleep(Duration::from_millis(100)).await;
        suppress(&world, ANN);
        assert_eq!(world.until_ended(1, LONG).await, 1);
        let ended = world.ended(&ann).expect("it ended");
        assert_eq!(ended.delivery.state, end);
        assert_eq!(attempts(&ended).iter().map(|(n, class, _)| (*n, *class)).collect::<Vec<_>>(), [(1, class)]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_under_way_ends_as_it_does() {
    for on_unknown in [OnUnknown::Retry, OnUnknown::Stop] {
        let world = world(|_, _| after(5_000, delivered())).await;
        let ann = world.send_to(&Spec { on_unknown, ..Spec::default() }, &to(ANN))[0];
        sleep(Duration::from_secs(1)).await;
        suppress(&world, ANN);
        assert_eq!(world.until_ended(1, LONG).await, 1);
        assert_eq!(world.state(&ann), State::Delivered, "{on_unknown:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_place_or_a_permit_is_looked_up_again() {
    let settings = crate::Settings { pool_size: 1, ..Default::default() };
    let slow = crate::testing::FakeChannel::new(|_, target| match target.to.as_str() {
        ANN => Step::deliver(),
        _ => after(9_000, delivered()),
    });
    let world = World::new(2, super::LATENCY, settings, slow).await.expect("a world starts");
    let one = Some(AccountLimit { permits: 1, window_ms: 60_000 });
    world.account("slow", "fake/one", one);
    for account in ["main", "slow"] {
        let spec = Spec { account: Some(account.to_owned()), ..Spec::default() };
        let bob = world.send_to(&spec, &to(BOB))[0];
        sleep(Duration::from_millis(50)).await;
        let ann = world.send_to(&spec, &to(ANN))[0];
        sleep(Duration::from_millis(500)).await;
        assert_eq!(world.state(&ann), State::Pending, "the first one's call is under way");
        suppress(&world, ANN);
        let before = world.ledger.ended_count();
        assert_eq!(world.until_ended(before + 2, LONG).await, before + 2);
        assert_eq!((world.state(&bob), world.state(&ann)), (State::Delivered, State::Suppressed), "{account}");
        assert!(world.channel.seen().iter().all(|seen| seen.delivery != ann));
        let unsuppress = Command::Unsuppress { channel: "sms".to_owned(), address: ANN.to_owned() };
        world.ledger.apply(partition_of(ANN, 2), vec![unsuppress]);
    }
}
