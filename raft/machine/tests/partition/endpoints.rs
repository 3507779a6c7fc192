//! What the outcomes of calls say of recipients' servers, and what they do not say of the account.

use tidings_contract::{Blame, Outcome, Time};
use tidings_machine::partition::{BreakerPolicy, Command, Endpoint, Hint, Part, Sheet, Via, Way, Wellness};

use crate::fixture::{Fixture, delivered, sheet};

/// A URL of a host, both by a number.
fn endpoint(host: u8, url: u8) -> Endpoint {
    Endpoint { host: [host; 16], url: [100 + url; 16] }
}

fn way(policy: BreakerPolicy) -> Sheet {
    let mut way = Way::default();
    way.call.breaker = policy;
    Sheet { channel: "webhook".to_owned(), way: Some(std::sync::Arc::new(way)), ..sheet() }
}

/// A call that began `took` milliseconds ago comes back.
fn call(fixture: &mut Fixture, n: u64, endpoint: Endpoint, took: u64, outcome: Outcome) {
    let id = fixture.accept_one(n, way(BreakerPolicy::default()));
    let began = Time(fixture.now.0 - took);
    let via = Some(Box::new(Via { endpoint: Some(endpoint), ..Via::default() }));
    let (account, masked) = ("main".to_owned(), Vec::new());
    fixture.ask(Command::Outcome {
        delivery: id,
        attempt: 1,
        epoch: 5,
        account,
        began,
        outcome,
        masked,
        via,
        charge: None,
    });
}

fn calls(fixture: &mut Fixture, first: u64, count: u64, endpoint: Endpoint, outcome: &Outcome) {
    (first..first + count).for_each(|n| call(fixture, n, endpoint, 0, outcome.clone()));
}

fn later(code: &str) -> Outcome {
    Outcome::later(code, "no")
}

fn standing(fixture: &Fixture, endpoint: Endpoint) -> Wellness {
    fixture.machine.wellness(&endpoint, fixture.now)
}

#[test]
fn no_connection_speaks_against_the_host_and_a_bad_answer_against_the_url() {
    for (outcome, host, url) in [
        (later("connect"), true, false),
        (later("dns"), true, false),
        (later("tls"), true, false),
        (later("http_500"), false, true),
        (later("http_429"), false, true),
        (Outcome::unknown("timeout", ""), false, true),
        (Outcome::unknown("broken", ""), false, true),
        (Outcome::unknown("truncated", ""), false, true),
        (Outcome::never(Blame::Recipient, "http_404", ""), false, false),
        (Outcome::never(Blame::Account, "http_401", ""), false, false),
        (Outcome::never(Blame::Recipient, "address_forbidden", ""), false, false),
        (Outcome::unknown("cut", ""), false, false),
        (Outcome::unknown("panic", ""), false, false),
        (delivered(), false, false),
    ] {
        let mut fixture = Fixture::owned();
        calls(&mut fixture, 0, 30, endpoint(1, 1), &outcome);
        let open = |wellness| matches!(wellness, Wellness::Open(..));
        assert_eq!(open(standing(&fixture, endpoint(1, 1))), host || url, "{outcome:?}");
        assert_eq!(open(standing(&fixture, endpoint(1, 2))), host, "another URL of the host: {outcome:?}");
        assert_eq!(standing(&fixture, endpoint(2, 3)), Wellness::Well, "another host: {outcome:?}");
        let blamed = fixture.hints.iter().any(|hint| matches!(hint, Hint::Failing { .. } | Hint::Probed { .. }));
        assert!(!blamed, "the account is not blamed for {outcome:?}");
    }
}

#[test]
fn a_host_that_answers_anything_is_there() {
    let mut fixture = Fixture::owned();
    for n in 0..60 {
        let outcome = if n % 3 == 0 { later("http_500") } else { later("connect") };
        call(&mut fixture, n, endpoint(1, u8::try_from(n).expect("small")), 0, outcome);
        fixture.pass(1_000);
    }
    // Two of three calls found no connection: that is a share.
    assert!(
        matches!(standing(&fixture, endpoint(1, 99)), Wellness::Well),
        "no five in a row, no twenty in ten seconds"
    );
    calls(&mut fixture, 100, 5, endpoint(1, 1), &later("connect"));
    assert!(matches!(standing(&fixture, endpoint(1, 99)), Wellness::Open(Part::Host, _)), "five in a row");
}

#[test]
fn it_opens_twice_as_long_each_time_and_one_yes_closes_it() {
    let mut fixture = Fixture::owned();
    let (of, bad) = (endpoint(1, 1), later("http_503"));
    calls(&mut fixture, 0, 5, of, &bad);
    for (n, open_ms) in [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000].into_iter().enumerate() {
        assert_eq!(standing(&fixture, of), Wellness::Open(Part::Url, fixture.now.after_ms(open_ms)));
        fixture.pass(open_ms);
        assert_eq!(standing(&fixture, of), Wellness::HalfOpen(Part::Url));
        call(&mut fixture, 10 + n as u64, of, 0, bad.clone());
    }
    fixture.pass(60_000);
    call(&mut fixture, 100, of, 0, delivered());
    assert_eq!(standing(&fixture, of), Wellness::Well);
    // Soon after it opens for longer again, and after a rest as at first.
    calls(&mut fixture, 101, 5, of, &bad);
    assert_eq!(standing(&fixture, of), Wellness::Open(Part::Url, fixture.now.after_ms(60_000)));
    fixture.pass(60_000);
    call(&mut fixture, 110, of, 0, delivered());
    fixture.pass(200_000);
    calls(&mut fixture, 111, 5, of, &bad);
    assert_eq!(standing(&fixture, of), Wellness::Open(Part::Url, fixture.now.after_ms(2_000)));
}

#[test]
fn what_began_before_it_opened_or_closed_changes_nothing() {
    let mut fixture = Fixture::owned();
    let of = endpoint(1, 1);
    calls(&mut fixture, 0, 5, of, &later("http_503"));
    fixture.pass(1_000);
    call(&mut fixture, 5, of, 1_500, delivered());
    assert!(matches!(standing(&fixture, of), Wellness::Open(..)), "the yes is of before");
    fixture.pass(1_500);
    call(&mut fixture, 6, of, 2_600, Outcome::unknown("timeout", ""));
    assert_eq!(standing(&fixture, of), Wellness::HalfOpen(Part::Url), "a call of before is no probe");
    call(&mut fixture, 7, of, 10, delivered());
    fixture.pass(100);
    (8..20).for_each(|n| call(&mut fixture, n, of, 3_000, Outcome::unknown("timeout", "")));
    assert_eq!(standing(&fixture, of), Wellness::Well, "those began before it closed");
}

#[test]
fn a_policy_without_breakers_has_none_here_either() {
    let mut fixture = Fixture::owned();
    let never = BreakerPolicy { failure_percent: 0, consecutive: 0, ..BreakerPolicy::default() };
    for n in 0..50 {
        let id = fixture.accept_one(n, way(never));
        let via = Some(Box::new(Via { endpoint: Some(endpoint(1, 1)), ..Via::default() }));
        let (account, began, masked) = ("main".to_owned(), fixture.now, Vec::new());
        let outcome = later("http_503");
        let (delivery, charge) = (id, None);
        fixture.ask(Command::Outcome { delivery, attempt: 1, epoch: 5, account, began, outcome, masked, via, charge });
    }
    assert_eq!(standing(&fixture, endpoint(1, 1)), Wellness::Well);
}

#[test]
fn what_is_held_is_bounded_forgotten_in_time_and_in_the_snapshot() {
    let mut fixture = Fixture::owned();
    for n in 0..10_000_u64 {
        let mut of = endpoint(0, 0);
        of.host[..8].copy_from_slice(&n.to_be_bytes());
        of.url[..8].copy_from_slice(&(1_000_000 + n).to_be_bytes());
        call(&mut fixture, n, of, 0, later("connect"));
        fixture.pass(1);
    }
    assert_eq!(fixture.machine.sizes().watched_endpoints, 4_096);
    calls(&mut fixture, 20_000, 5, endpoint(1, 1), &later("http_503"));
    let open = standing(&fixture, endpoint(1, 1));
    fixture.machine = postcard::from_bytes(&fixture.bytes()).expect("a snapshot can be read");
    assert_eq!(standing(&fixture, endpoint(1, 1)), open);
    fixture.pass(300_000);
    (0..10).for_each(|_| {
        fixture.ask(Command::Tick);
    });
    assert_eq!(fixture.machine.sizes().watched_endpoints, 0);
}
