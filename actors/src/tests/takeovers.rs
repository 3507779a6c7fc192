//! A node that takes a partition over attempts nothing by what control said before.

use std::sync::Arc;
use std::time::Duration;

use tidings_contract::{AccountLimit, PartitionId};
use tidings_machine::partition::State;
use tokio::time::sleep;

use super::{LONG, after, delivered, world};
use crate::testing::{Spec, World};

/// A node that leads nothing, with ten deliveries to be made.
async fn waiting() -> World {
    let world = world(|_, _| after(5, delivered())).await;
    for partition in [0, 1] {
        world.ledger.lead(PartitionId(partition), None);
    }
    sleep(Duration::from_secs(1)).await;
    world.send(&Spec::default(), 10);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.channel.seen().len(), 0, "it leads nothing");
    world
}

fn lead(world: &World) {
    for partition in [0, 1] {
        world.ledger.lead(PartitionId(partition), Some(2));
    }
}

#[tokio::test(start_paused = true)]
async fn the_limits_that_hold_are_those_of_the_moment_in_which_it_became_the_owner() {
    let world = waiting().await;
    world.ledger.change_unheard(|control| {
        let main = control.accounts.get("main").map(|account| tidings_machine::control::Account::clone(account));
        let limit = Some(AccountLimit { permits: 1, window_ms: 60_000 });
        let changed = main.map(|main| tidings_machine::control::Account { limit, revision: main.revision + 1, ..main });
        control.accounts.extend(changed.map(|changed| ("main".to_owned(), Arc::new(changed))));
    });
    lead(&world);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(world.channel.seen().len(), 1, "one a minute");
    assert_eq!(world.until_ended(10, LONG).await, 10);
    assert_eq!(super::states(&world), [(State::Delivered, 10)].into());
}

#[tokio::test(start_paused = true)]
async fn a_control_that_nobody_leads_holds_deliveries_up_for_five_seconds_and_no_longer() {
    let world = waiting().await;
    world.ledger.without_control(true);
    lead(&world);
    sleep(Duration::from_millis(4_900)).await;
    assert_eq!(world.channel.seen().len(), 0);
    sleep(Duration::from_millis(500)).await;
    assert_eq!(world.channel.seen().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn deliveries_go_on_as_soon_as_control_is_led_again() {
    let world = waiting().await;
    world.ledger.without_control(true);
    lead(&world);
    sleep(Duration::from_secs(2)).await;
    world.ledger.without_control(false);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(world.channel.seen().len(), 10);
}
