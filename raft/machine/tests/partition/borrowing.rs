//! Borrowed permits: exact in every window of several at once, however they are used, given back or led anew.

use proptest::prelude::*;
use tidings_contract::{AccountLimit, Time};
use tidings_machine::partition::{Answer, Borrow, Command, GiveBack, Settle, life_ms, margin_ms};

use super::fixture::Fixture;

const MINUTE: u64 = 60_000;
const DAY: u64 = 86_400_000;

fn windows(windows: &[(u32, u64)]) -> Vec<AccountLimit> {
    windows.iter().map(|(permits, window_ms)| AccountLimit { permits: *permits, window_ms: *window_ms }).collect()
}

fn borrow_of(fixture: &mut Fixture, subject: &str, windows: &[AccountLimit], want: u32) -> (u32, Time, Option<Time>) {
    let borrow = Borrow { subject: subject.to_owned(), windows: windows.to_vec(), want, node: 1 };
    match fixture.ask(Command::Borrow(borrow)) {
        Answer::Leased { permits, until, again } => (permits, until, again),
        other => panic!("nothing was leased: {other:?}"),
    }
}

fn borrow(fixture: &mut Fixture, windows: &[AccountLimit], want: u32) -> (u32, Time, Option<Time>) {
    borrow_of(fixture, "account/main", windows, want)
}

fn give_back(fixture: &mut Fixture, until: Time, permits: u32) {
    fixture.ask(Command::GiveBack(GiveBack { subject: "account/main".to_owned(), until, permits }));
}

#[test]
fn a_grant_satisfies_every_window_and_again_is_when_the_last_empty_one_opens() {
    for (limits, wants, got, again) in [
        // One window: what is left of it.
        (vec![(20, MINUTE)], vec![15, 15], vec![15, 5], Some(MINUTE + 1_000 + 1_000)),
        // The minute has more than the day.
        (vec![(20, MINUTE), (25, DAY)], vec![20, 1], vec![20, 0], Some(MINUTE + 2_000)),
        // The day is what is empty.
        (vec![(20, MINUTE), (20, DAY)], vec![20, 1], vec![20, 0], Some(DAY + 2_000)),
        // Enough of everything: nothing to come back for.
        (vec![(20, MINUTE), (20, DAY)], vec![7, 7], vec![7, 7], None),
    ] {
        let mut fixture = Fixture::owned();
        let start = fixture.now;
        let limits = windows(&limits);
        let given: Vec<_> = wants.iter().map(|want| borrow(&mut fixture, &limits, *want)).collect();
        assert_eq!(given.iter().map(|(permits, ..)| *permits).collect::<Vec<_>>(), got, "{limits:?}");
        assert_eq!(given.last().and_then(|(.., again)| *again), again.map(|ms| start.after_ms(ms)), "{limits:?}");
    }
}

#[test]
fn the_last_millisecond_of_a_window_and_its_margin_still_counts() {
    let limits = windows(&[(3, 6_000)]);
    assert_eq!((life_ms(&limits), margin_ms(6_000)), (120, 120));
    let mut fixture = Fixture::owned();
    assert_eq!(borrow(&mut fixture, &limits, 3).0, 3);
    fixture.pass(6_000 + 120 + 120 - 1);
    assert_eq!(borrow(&mut fixture, &limits, 3).0, 0);
    fixture.pass(1);
    assert_eq!(borrow(&mut fixture, &limits, 3).0, 3);
}

#[test]
fn subjects_do_not_share_and_an_account_is_the_one_of_the_older_command() {
    let limits = windows(&[(3, MINUTE)]);
    let mut fixture = Fixture::owned();
    for subject in ["account/main", "template/main", "key/main", "recipient/sms/main", "account/main#night"] {
        assert_eq!(borrow_of(&mut fixture, subject, &limits, 5).0, 3, "{subject}");
        assert_eq!(borrow_of(&mut fixture, subject, &limits, 5).0, 0, "{subject}");
    }
    let lease = tidings_machine::partition::Lease { account: "main".to_owned(), limit: limits[0], want: 1, node: 1 };
    assert!(matches!(fixture.ask(Command::Lease(lease)), Answer::Leased { permits: 0, .. }));
}

#[test]
fn what_is_given_back_in_time_can_be_granted_again_and_what_comes_late_cannot() {
    let limits = windows(&[(10, MINUTE), (10, DAY)]);
    let mut fixture = Fixture::owned();
    let (_, until, _) = borrow(&mut fixture, &limits, 10);
    give_back(&mut fixture, until, 4);
    assert_eq!(borrow(&mut fixture, &limits, 10).0, 4);
    fixture.pass(1_000);
    give_back(&mut fixture, until, 6);
    assert_eq!(borrow(&mut fixture, &limits, 10).0, 0, "it had lapsed: a grant after it may stand where it stood");
    give_back(&mut fixture, until.after_ms(DAY), 6);
    assert_eq!(borrow(&mut fixture, &limits, 10).0, 0, "there never was such a lease");
}

fn settle(fixture: &mut Fixture, windows: &[AccountLimit], until: Time, permits: u32) -> Option<Time> {
    let settle = Settle { subject: "account/main".to_owned(), windows: windows.to_vec(), until, permits };
    match fixture.ask(Command::Settle(settle)) {
        Answer::Leased { permits: 0, again, .. } => again,
        other => panic!("settling grants nothing: {other:?}"),
    }
}

#[test]
fn what_was_used_early_counts_from_then_on_and_what_lapsed_as_before() {
    let limits = windows(&[(10, MINUTE), (100, DAY)]);
    let mut fixture = Fixture::owned();
    let start = fixture.now;
    let (_, until, _) = borrow(&mut fixture, &limits, 10);
    // Six were used within 100 ms, the others nobody knows of.
    fixture.pass(100);
    assert_eq!(settle(&mut fixture, &limits, until, 6), Some(start.after_ms(100 + MINUTE + 1_000)));
    fixture.pass(MINUTE + 1_000 - 1);
    assert_eq!(borrow(&mut fixture, &limits, 10).0, 0);
    fixture.pass(1);
    let (got, until, again) = borrow(&mut fixture, &limits, 10);
    assert_eq!((got, again), (6, Some(start.after_ms(1_000 + MINUTE + 1_000))), "the other four as the lease said");
    // Too late, of another lease, or of a subject that nobody knows: nothing changes.
    fixture.pass(1_000).ask(Command::Tick);
    let before = fixture.bytes();
    settle(&mut fixture, &limits, until, 6);
    assert_eq!(fixture.bytes(), before);
}

#[test]
fn steady_demand_that_settles_gets_more_of_a_window() {
    let limits = windows(&[(20, 6_000)]);
    let granted = |settles: bool| {
        let mut fixture = Fixture::owned();
        let mut granted = 0;
        for _ in 0..60_000 {
            let (got, until, _) = borrow(&mut fixture, &limits, 20);
            granted += got;
            fixture.pass(10);
            if settles && got > 0 {
                settle(&mut fixture, &limits, until, got);
            }
        }
        granted
    };
    // Of 2,000 in ten minutes.
    assert!((1_900..=1_940).contains(&granted(false)), "{}", granted(false));
    assert!(granted(true) >= 1_950, "{}", granted(true));
}

#[test]
fn changed_windows_hold_at_once_and_remember() {
    let mut fixture = Fixture::owned();
    assert_eq!(borrow(&mut fixture, &windows(&[(10, MINUTE)]), 10).0, 10);
    assert_eq!(borrow(&mut fixture, &windows(&[(10, MINUTE), (11, DAY)]), 10).0, 0);
    assert_eq!(borrow(&mut fixture, &windows(&[(20, MINUTE), (11, DAY)]), 10).0, 1);
    assert_eq!(borrow(&mut fixture, &windows(&[(12, DAY)]), 10).0, 1);
}

#[test]
fn steady_demand_gets_nearly_all_of_both_windows() {
    // The minute alone would give 28,800 a day.
    let limits = windows(&[(20, MINUTE), (20_000, DAY)]);
    let mut fixture = Fixture::owned();
    let (mut granted, mut first_hour) = (0, 0);
    for second in 0..86_400 {
        granted += u64::from(borrow(&mut fixture, &limits, 3).0);
        fixture.pass(1_000);
        if second == 3_599 {
            first_hour = granted;
        }
    }
    assert!((1_140..=1_220).contains(&first_hour), "{first_hour} of 1,200 in an hour");
    assert_eq!(granted, 20_000);
    assert!(fixture.bytes().len() < 20_000, "{} bytes", fixture.bytes().len());
}

#[test]
fn an_idle_subject_is_forgotten_after_its_longest_window() {
    let limits = windows(&[(1, 1_000), (5, MINUTE)]);
    let mut fixture = Fixture::owned();
    borrow(&mut fixture, &limits, 5);
    fixture.pass(MINUTE + 1_019).ask(Command::Tick);
    assert_eq!(fixture.machine.sizes().limited_accounts, 1);
    fixture.pass(1).ask(Command::Tick);
    assert_eq!(fixture.machine.sizes().limited_accounts, 0);
}

/// One step of a user: a pause, how many it wants, where in the life of the lease they are used, how many it gives back,
/// how late their calls arrive (in thousandths of the margin), whether another node with a clock behind leads now, and whether
/// it says when it has used them.
type Step = (u64, u32, u64, u32, u64, bool, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step =
        (0u64..700, 1u32..20, 0u64..=1_000, 0u32..5, 0u64..=1_000, proptest::bool::weighted(0.05), proptest::bool::ANY);
    proptest::collection::vec(step, 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a user does with its permits, and whoever leads, the provider sees no window overdrawn.
    #[test]
    fn no_use_of_permits_can_overdraw_any_of_the_windows(
        few in (1u32..30, 1_000u64..4_000),
        many in (1u32..60, 4_000u64..30_000),
        steps in steps(),
    ) {
        let limits = windows(&[few, many]);
        let mut fixture = Fixture::owned();
        let mut arrivals: Vec<u64> = Vec::new();
        for (pause, want, place, unused, late, anew, settles) in steps {
            fixture.pass(pause);
            if anew {
                // Another replica leads: it has what the log said, and its clock is behind. The machine's never goes back.
                let bytes = fixture.bytes();
                fixture.machine = postcard::from_bytes(&bytes).expect("a snapshot can be read");
                let behind = Time(fixture.now.0 - 300);
                let now = std::mem::replace(&mut fixture.now, behind);
                fixture.ask(Command::Tick);
                fixture.now = now;
            }
            let (got, until, _) = borrow(&mut fixture, &limits, want);
            let unused = unused.min(got);
            if unused > 0 {
                give_back(&mut fixture, until, unused);
            }
            let begun = fixture.now.0 + (until.0 - 1 - fixture.now.0) * place / 1_000;
            let at = begun + margin_ms(few.1) * late / 1_000;
            arrivals.extend(std::iter::repeat_n(at, (got - unused) as usize));
            if settles && got > unused {
                fixture.pass(begun - fixture.now.0);
                settle(&mut fixture, &limits, until, got - unused);
            }
        }
        arrivals.sort_unstable();
        for AccountLimit { permits, window_ms } in limits {
            let permits = permits as usize;
            for seen in arrivals.windows(permits + 1) {
                let span = seen[permits] - seen[0];
                prop_assert!(span >= window_ms, "{} arrive within {span} ms of {window_ms}", permits + 1);
            }
        }
    }
}
