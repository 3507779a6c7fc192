//! The limiter: exact in any window however leases are used, and nearly all of the limit is granted.

use proptest::prelude::*;
use tidings_contract::{AccountLimit, Time};
use tidings_machine::partition::{Answer, Command, Lease};

use super::fixture::Fixture;

fn lease(fixture: &mut Fixture, limit: AccountLimit, want: u32) -> (u32, Time, Option<Time>) {
    match fixture.ask(Command::Lease(Lease { account: "main".to_owned(), limit, want, node: 1 })) {
        Answer::Leased { permits, until, again } => (permits, until, again),
        other => panic!("a lease was not answered: {other:?}"),
    }
}

#[test]
fn a_window_is_not_overdrawn_and_tells_when_to_come_back() {
    let limit = AccountLimit { permits: 10, window_ms: 1_000 };
    let mut fixture = Fixture::owned();
    let start = fixture.now;
    assert_eq!(lease(&mut fixture, limit, 4), (4, start.after_ms(20), None));
    fixture.pass(500);
    assert_eq!(lease(&mut fixture, limit, 10), (6, start.after_ms(520), Some(start.after_ms(1_020))));
    fixture.pass(519);
    assert_eq!(lease(&mut fixture, limit, 1).0, 0, "the first four may have been used 999 ms ago");
    fixture.pass(1);
    assert_eq!(lease(&mut fixture, limit, 10), (4, start.after_ms(1_040), Some(start.after_ms(1_520))));
}

#[test]
fn a_changed_limit_holds_at_once_and_remembers() {
    let mut fixture = Fixture::owned();
    assert_eq!(lease(&mut fixture, AccountLimit { permits: 10, window_ms: 60_000 }, 10).0, 10);
    assert_eq!(lease(&mut fixture, AccountLimit { permits: 12, window_ms: 60_000 }, 10).0, 2);
    assert_eq!(lease(&mut fixture, AccountLimit { permits: 5, window_ms: 60_000 }, 10).0, 0);
    fixture.pass(1_999);
    assert_eq!(lease(&mut fixture, AccountLimit { permits: 12, window_ms: 1_000 }, 1).0, 0, "they may be 999 ms old");
    fixture.pass(1);
    assert_eq!(lease(&mut fixture, AccountLimit { permits: 12, window_ms: 1_000 }, 20).0, 12);
}

#[test]
fn an_idle_account_is_forgotten() {
    let mut fixture = Fixture::owned();
    lease(&mut fixture, AccountLimit { permits: 1, window_ms: 1_000 }, 5);
    assert_eq!(fixture.machine.sizes().limited_accounts, 1);
    fixture.pass(1_020).ask(Command::Tick);
    assert_eq!(fixture.machine.sizes().limited_accounts, 0);
}

#[test]
fn steady_demand_gets_nearly_all_of_a_minutes_limit() {
    let limit = AccountLimit { permits: 600, window_ms: 60_000 };
    let mut fixture = Fixture::owned();
    let mut granted = 0;
    for _ in 0..60 * 60 * 10 {
        granted += u64::from(lease(&mut fixture, limit, 1).0);
        fixture.pass(100);
    }
    let allowed = 600 * 60;
    assert!(granted * 100 >= allowed * 95 && granted <= allowed + 600, "{granted} of {allowed}");
}

#[test]
fn the_memory_of_a_busy_account_is_bounded() {
    let limit = AccountLimit { permits: 1_000_000, window_ms: 60_000 };
    let mut fixture = Fixture::owned();
    for _ in 0..30_000 {
        lease(&mut fixture, limit, 1);
        fixture.pass(7);
    }
    assert!(fixture.bytes().len() < 12_000, "{} bytes", fixture.bytes().len());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever holds permits may use each at any time until it lapses; the most that any window can hold is what counts.
    #[test]
    fn no_use_of_permits_can_overdraw_any_window(
        permits in 1u32..40,
        window_ms in 1_000u64..8_000,
        steps in proptest::collection::vec((0u64..400, 1u32..20, 0u64..=1_000), 1..250),
    ) {
        let limit = AccountLimit { permits, window_ms };
        let mut fixture = Fixture::owned();
        let mut uses: Vec<u64> = Vec::new();
        for (pause, want, place) in steps {
            fixture.pass(pause);
            let (got, until, _) = lease(&mut fixture, limit, want);
            // All of a lease at one place of its lifetime: at its start, its last moment, or between.
            let at = fixture.now.0 + (until.0 - 1 - fixture.now.0) * place / 1_000;
            uses.extend(std::iter::repeat_n(at, got as usize));
        }
        uses.sort_unstable();
        for (first, start) in uses.iter().enumerate() {
            let within = uses[first..].iter().take_while(|at| **at < start + window_ms).count();
            prop_assert!(within <= permits as usize, "{} uses in a window of {} permits", within, permits);
        }
    }
}
