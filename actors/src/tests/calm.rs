//! Deliveries while nothing goes wrong inside the process.

use std::time::Duration;

use tidings_contract::Outcome;
use tidings_machine::partition::State;

use crate::Settings;
use crate::testing::{FakeChannel, Spec, Step, World};

const LATENCY: Duration = Duration::from_millis(3);

pub(super) async fn world(script: impl Fn(&tidings_contract::Call, &tidings_contract::Target) -> Step + Send + Sync + 'static) -> World {
    World::new(2, LATENCY, Settings::default(), FakeChannel::new(script)).await.expect("a world starts")
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_rendered_sent_and_recorded() {
    let world = world(|_, _| Step::deliver()).await;
    let sent = world.send(&Spec::default(), 5);
    assert_eq!(world.until_ended(5, Duration::from_secs(5)).await, 5);
    for delivery in &sent {
        assert_eq!(world.state(delivery), State::Delivered);
    }
    let seen = world.channel.seen();
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|seen| seen.attempt == 1 && *seen.content == serde_json::json!({"text": "Hi Ann"})));
    let _ = Outcome::later("a", "b");
}
