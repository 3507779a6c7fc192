//! What was scheduled under a cap, when its time has come and something late is in its way.

use std::time::Duration;

use tidings_contract::Clock;
use tidings_machine::partition::{Cap, CapKind, OnUnknown, RetryPolicy, Rules, State, Window};
use tokio::time::Instant;

use super::{LONG, after, busy, delivered, world};
use crate::testing::Spec;

const WINDOW_MS: u64 = 10_000;

/// One in ten seconds.
fn capped(on_unknown: OnUnknown) -> Spec {
    let windows = vec![Window { window_ms: WINDOW_MS, most: 1 }];
    let caps = vec![Cap { title: "frequency/f@1".to_owned(), kind: CapKind::Frequency, windows }];
    let retry = RetryPolicy { max_attempts: 400, first_ms: 1_000, longest_ms: 1_000, give_up_after_ms: 600_000 };
    Spec { rules: Rules { caps, ..Rules::default() }, on_unknown, retry, ..Spec::default() }
}

#[tokio::test(start_paused = true)]
async fn the_recipient_gets_only_as_many_as_the_cap_allows_in_any_window() {
    // How long the first one is not taken, and whether the second, which leaves after 30 s, is.
    for (late_ms, both) in [(0, true), (19_000, true), (25_000, false), (40_000, false)] {
        for on_unknown in [OnUnknown::Retry, OnUnknown::Stop] {
            let taken_from = Instant::now() + Duration::from_millis(late_ms);
            let world =
                world(move |_, _| after(5, if Instant::now() < taken_from { busy() } else { delivered() })).await;
            let spec = capped(on_unknown);
            let to = ["+8613800138000".to_owned()];
            let first = world.send_to(&spec, &to)[0];
            let then = world.clock.now().after_ms(30_000);
            let second = world.send_to(&Spec { send_at: Some(then), ..spec }, &to)[0];
            assert_eq!(world.until_ended(2, LONG).await, 2);
            assert_eq!(world.state(&first), State::Delivered, "{late_ms}");
            let wanted = if both { State::Delivered } else { State::Suppressed };
            assert_eq!(world.state(&second), wanted, "{late_ms} {on_unknown:?}");
            let attempts = world.channel.seen().iter().filter(|seen| seen.delivery == second).count();
            assert_eq!(attempts, usize::from(both), "{late_ms} {on_unknown:?}");
        }
    }
}
