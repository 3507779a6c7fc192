//! Contents that are filled apart, and those that kill the place where that is done.

use std::sync::{Arc, Once};
use std::time::Duration;

use tidings_contract::Clock;
use tidings_machine::partition::{BreakerPolicy, CallPolicy, State, Way, WayAccount, What};
use tokio::time::sleep;

use super::{LONG, after, busy, delivered, states, world};
use crate::render::RenderError;
use crate::render::apart::{Apart, Asked, Told, Whose, Wish, here, install};
use crate::testing::{Spec, World};

/// A content with this in it kills whatever fills it.
const DEADLY: &str = "{% set deadly = 1 %}";

/// A place apart whose processes die of deadly contents.
#[derive(Debug)]
struct Mortal;

impl Apart for Mortal {
    fn ask(&self, _: Whose, asked: &Asked) -> Vec<Result<Told, RenderError>> {
        if asked.wish == Wish::Fill && asked.source.content.contains(DEADLY) {
            return vec![Err(RenderError::died("it wanted more memory than it may have")); asked.with.len()];
        }
        here(asked)
    }
}

fn said() -> Spec {
    Spec { template: "said".to_owned(), ..Spec::default() }
}

/// A world with a template that says this besides the name.
async fn saying(more: &str) -> World {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| install(Arc::new(Mortal)));
    let world = world(|_, _| after(5, delivered())).await;
    world.template("said", &serde_json::json!({ "text": format!("{more}Hello {{{{ name }}}}") }).to_string());
    world
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_tell_the_cost_of_is_filled_apart_and_arrives_as_it_should() {
    let world = saying("{% set x = [1, 2] * 2 %}{{ x|length }} ").await;
    world.send(&said(), 300);
    assert_eq!(world.until_ended(300, LONG).await, 300);
    assert_eq!(states(&world), [(State::Delivered, 300)].into());
    assert!(
        world
            .channel
            .seen()
            .iter()
            .all(|seen| seen.content["text"].as_str().is_some_and(|text| text.starts_with("4 Hello ")))
    );
}

#[tokio::test(start_paused = true)]
async fn what_kills_whoever_fills_it_ends_as_failed_after_the_second_death_and_is_never_attempted() {
    let world = saying(DEADLY).await;
    let began = world.clock.now();
    let sent = world.send(&said(), 5);
    assert_eq!(world.until_ended(5, LONG).await, 5);
    assert_eq!(states(&world), [(State::Failed, 5)].into());
    assert!(world.channel.seen().is_empty());
    for id in sent {
        let ended = world.ended(&id).expect("it ended");
        let deaths = ended.delivery.events.iter().filter(|event| matches!(event.what, What::RenderingDied { .. }));
        assert_eq!(deaths.count(), 2);
        assert_eq!(ended.delivery.reason.as_ref().map(|reason| reason.code.as_str()), Some("poisonous_content"));
        assert!(ended.delivery.ended_at.is_some_and(|at| at >= began.after_ms(1_000)), "it rests in between");
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_counts_also_while_there_is_no_account_to_send_with() {
    let world = saying(DEADLY).await;
    world.account("broken", "fake/one", None);
    world.channel.break_account("broken", Some(busy()));
    let breaker = BreakerPolicy { min_calls: 10, open_ms: 3_600_000, ..BreakerPolicy::default() };
    let call = CallPolicy { breaker, ..CallPolicy::default() };
    let only = WayAccount { account: "broken".to_owned(), weight: 1, tier: 0, call };
    let way = Some(Arc::new(Way { accounts: vec![only], attempts_per_account: 2, ..Way::default() }));
    world.send(&Spec { account: None, way: way.clone(), ..Spec::default() }, 40);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.ledger.ended_count(), 0, "the breaker is open, and they wait for it");
    let sent = world.send(&Spec { account: None, way, ..said() }, 3);
    assert_eq!(world.until_ended(3, LONG).await, 3);
    for id in sent {
        let ended = world.ended(&id).expect("it ended");
        assert_eq!(ended.delivery.reason.as_ref().map(|reason| reason.code.as_str()), Some("poisonous_content"));
        let deaths = ended.delivery.events.iter().filter(|event| matches!(event.what, What::RenderingDied { .. }));
        assert_eq!(deaths.count(), 2);
    }
}
