//! Which way a delivery goes after each attempt: again, with another account, by another channel, or no more.

use std::sync::Arc;

use tidings_contract::{Blame, Outcome};
use tidings_machine::partition::{
    Accept, Answer, BreakerPolicy, CallPolicy, Choice, CodeAction, CodeRule, Command, Health, Hint, Leg, OnUnknown,
    Policy, Refusal, RetryPolicy, RouteRef, Sheet, State, Via, Way, WayAccount, choose,
};

use super::fixture::{Fixture, delivered, done, part, sheet, story};

fn account(name: &str, weight: u32, tier: u8) -> WayAccount {
    let breaker = BreakerPolicy { min_calls: 4, ..BreakerPolicy::default() };
    WayAccount { account: name.to_owned(), weight, tier, call: CallPolicy { breaker, ..CallPolicy::default() } }
}

fn rule(code: &str, action: CodeAction) -> CodeRule {
    CodeRule { code: code.to_owned(), action }
}

/// `a` and `b` of one tier and `c` behind them; each is given up after two attempts.
fn way(rules: Vec<CodeRule>) -> Way {
    Way {
        route: Some(RouteRef { name: "sms".to_owned(), version: 3 }),
        accounts: vec![account("a", 70, 0), account("b", 30, 0), account("c", 1, 1)],
        rules,
        attempts_per_account: 2,
        call: CallPolicy::default(),
    }
}

fn mail() -> Leg {
    let retry = RetryPolicy { max_attempts: 2, first_ms: 1_000, longest_ms: 60_000, give_up_after_ms: 600_000 };
    let way = Way { accounts: vec![account("mail", 1, 0)], ..Way::default() };
    Leg { template: "otp-mail".to_owned(), version: 7, channel: "email".to_owned(), way, retry }
}

fn routed(rules: Vec<CodeRule>) -> Sheet {
    Sheet { account: None, way: Some(Arc::new(way(rules))), legs: vec![Arc::new(mail())], ..sheet() }
}

fn with_mail(fixture: &Fixture, sheet: Sheet) -> Accept {
    let mut accept = part(1, fixture.now, sheet);
    accept.recipients[0].fallback = vec![Some("ann@example.com".to_owned())];
    accept
}

fn later() -> Outcome {
    Outcome::later("http_503", "busy")
}

fn never(blame: Blame) -> Outcome {
    Outcome::never(blame, "refused", "no")
}

fn unknown() -> Outcome {
    Outcome::unknown("timeout", "")
}

/// Reports attempts one after the other, each with its account, and gives the last answer.
fn attempts(fixture: &mut Fixture, id: tidings_contract::DeliveryId, reports: &[(&str, Outcome)]) -> Answer {
    let mut last = done(State::Pending);
    for (n, (account, outcome)) in reports.iter().enumerate() {
        fixture.pass(1_000);
        last = fixture.ask(Command::Outcome {
            delivery: id,
            attempt: n as u16 + 1,
            epoch: 5,
            account: (*account).to_owned(),
            began: fixture.now,
            outcome: outcome.clone(),
            via: None,
            masked: Vec::new(),
            charge: None,
        });
    }
    last
}

/// Rules; attempts; whether the recipient has a mail address; what the story ends with; the state.
type Case = (Vec<CodeRule>, Vec<(&'static str, Outcome)>, bool, &'static [&'static str], State);

#[test]
fn every_transition_between_accounts_and_legs() {
    use CodeAction::{Alert, Retry, Stop, Switch, SwitchChannel};
    let account = || never(Blame::Account);
    let none: Vec<CodeRule> = Vec::new();
    let cases: Vec<Case> = vec![
        (none.clone(), vec![("a", account())], false, &["never", "switched"], State::Pending),
        (none.clone(), vec![("a", later())], false, &["later", "retry"], State::Pending),
        (none.clone(), vec![("a", later()), ("a", later())], false, &["later", "switched"], State::Pending),
        (none.clone(), vec![("a", later()), ("b", later())], false, &["later", "retry"], State::Pending),
        (
            none.clone(),
            vec![("a", account()), ("b", account()), ("c", account())],
            false,
            &["never", "ended"],
            State::Failed,
        ),
        (
            none.clone(),
            vec![("a", account()), ("b", account()), ("c", account())],
            true,
            &["never", "fell_back"],
            State::Pending,
        ),
        // The last account keeps what is left of the attempts, where there is no other leg.
        (
            none.clone(),
            vec![("a", account()), ("b", account()), ("c", later()), ("c", later())],
            false,
            &["later", "ended"],
            State::Failed,
        ),
        (
            none.clone(),
            vec![("a", account()), ("b", account()), ("c", later()), ("c", later())],
            true,
            &["later", "fell_back"],
            State::Pending,
        ),
        (none.clone(), vec![("a", never(Blame::Recipient))], false, &["never", "ended"], State::Failed),
        (none.clone(), vec![("a", never(Blame::Recipient))], true, &["never", "fell_back"], State::Pending),
        (none.clone(), vec![("a", never(Blame::Content))], true, &["never", "fell_back"], State::Pending),
        (vec![rule("ref*", Retry)], vec![("a", account())], true, &["never", "retry"], State::Pending),
        (vec![rule("http_5*", Switch)], vec![("a", later())], true, &["later", "switched"], State::Pending),
        (vec![rule("http_503", SwitchChannel)], vec![("a", later())], true, &["later", "fell_back"], State::Pending),
        (vec![rule("http_503", SwitchChannel)], vec![("a", later())], false, &["later", "retry"], State::Pending),
        (vec![rule("http_503", Stop)], vec![("a", later())], true, &["later", "ended"], State::Failed),
        (
            vec![rule("*", Alert), rule("http_503", Stop)],
            vec![("a", later())],
            true,
            &["later", "ended"],
            State::Failed,
        ),
        (vec![rule("*", Alert)], vec![("a", later())], true, &["later", "retry"], State::Pending),
        // What may have been taken stays with its account, whatever comes then.
        (none.clone(), vec![("a", unknown())], true, &["unknown", "retry"], State::Pending),
        (
            none.clone(),
            vec![("a", unknown()), ("a", later()), ("a", later())],
            true,
            &["later", "retry"],
            State::Pending,
        ),
        (none.clone(), vec![("a", unknown()), ("a", account())], true, &["never", "ended"], State::Unknown),
        (vec![rule("*", Switch)], vec![("a", unknown())], true, &["unknown", "retry"], State::Pending),
        (
            none.clone(),
            vec![("a", unknown()), ("a", later()), ("a", later()), ("a", later())],
            true,
            &["later", "ended"],
            State::Unknown,
        ),
    ];
    for (rules, reports, mailbox, end, state) in cases {
        let mut fixture = Fixture::owned();
        let sheet = routed(rules.clone());
        let accept = if mailbox { with_mail(&fixture, sheet) } else { part(1, fixture.now, sheet) };
        let id = fixture.accept(accept)[0].delivery;
        assert_eq!(attempts(&mut fixture, id, &reports), done(state), "{rules:?} {reports:?} {mailbox}");
        let told =
            if state == State::Pending { story(&fixture.pending(id)) } else { story(&fixture.ended(id).delivery) };
        assert_eq!(&told[told.len() - 2..], end, "{rules:?} {reports:?} {mailbox}: {told:?}");
    }
}

#[test]
fn a_template_may_allow_to_fail_over_after_an_unknown_outcome() {
    for (allowed, end) in [(false, "ended"), (true, "switched")] {
        let mut fixture = Fixture::owned();
        let id = fixture.accept_one(1, Sheet { failover_on_unknown: allowed, ..routed(vec![]) });
        attempts(&mut fixture, id, &[("a", unknown()), ("a", never(Blame::Account))]);
        let told = match fixture.machine.delivery(&id) {
            Some((delivery, _)) => story(&delivery),
            None => story(&fixture.ended(id).delivery),
        };
        assert_eq!(told.last(), Some(&end), "{told:?}");
    }
}

#[test]
fn at_most_once_ends_with_the_first_unknown_outcome_on_any_route() {
    let mut fixture = Fixture::owned();
    let policy = Policy { on_unknown: OnUnknown::Stop, ..sheet().policy };
    let accept = with_mail(&fixture, Sheet { policy, ..routed(vec![rule("*", CodeAction::Switch)]) });
    let id = fixture.accept(accept)[0].delivery;
    assert_eq!(attempts(&mut fixture, id, &[("a", unknown())]), done(State::Unknown));
}

#[test]
fn a_new_leg_has_its_own_address_attempts_and_time_and_the_delivery_ends_once() {
    let mut fixture = Fixture::owned();
    let accept = with_mail(&fixture, routed(vec![]));
    let id = fixture.accept(accept)[0].delivery;
    attempts(&mut fixture, id, &[("a", never(Blame::Recipient))]);
    let waiting = fixture.pending(id);
    assert_eq!((waiting.leg(), waiting.address(), waiting.due), (1, "ann@example.com", fixture.now));
    assert_eq!(waiting.to, "+8613800138000", "it is still found by its first address");
    for (attempt, state) in [(2, State::Pending), (3, State::Failed)] {
        fixture.pass(1_000);
        assert_eq!(fixture.report(id, attempt, later()), done(state), "two attempts by mail");
    }
    let ended = fixture.ended(id);
    assert_eq!(ended.delivery.attempts, 3);
    assert_eq!(fixture.machine.totals().accepted, 1);
}

#[test]
fn the_owner_moves_a_delivery_on_when_every_breaker_is_open() {
    let ask = |fixture: &mut Fixture, delivery, epoch| {
        fixture.ask(Command::FallBack { delivery, epoch, why: "a: breaker open".to_owned() })
    };
    let mut fixture = Fixture::owned();
    let accept = with_mail(&fixture, routed(vec![]));
    let id = fixture.accept(accept)[0].delivery;
    assert_eq!(ask(&mut fixture, id, 4), Answer::Refused(Refusal::NotOwner));
    assert_eq!(ask(&mut fixture, id, 5), done(State::Pending));
    assert_eq!(story(&fixture.pending(id)).last(), Some(&"fell_back"));
    assert_eq!(ask(&mut fixture, id, 5), Answer::Refused(Refusal::Groundless), "there is no further leg");
    let other = fixture.accept_one(2, routed(vec![]));
    assert_eq!(ask(&mut fixture, other, 5), Answer::Refused(Refusal::Groundless), "it has no address for it");
    let mut accept = with_mail(&fixture, routed(vec![]));
    accept.message = super::fixture::message(3);
    let doubtful = fixture.accept(accept)[0].delivery;
    attempts(&mut fixture, doubtful, &[("a", unknown())]);
    assert_eq!(ask(&mut fixture, doubtful, 5), Answer::Refused(Refusal::Groundless), "it may have been taken");
}

#[test]
fn an_account_is_chosen_by_tier_weight_and_health_and_says_why() {
    use Health::{Closed, HalfOpen, Open, Probe};
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, routed(vec![]));
    let (delivery, sheet) = fixture.machine.delivery(&id).expect("it is pending");
    let until = fixture.now.after_ms(500);
    for (health, chosen, part) in [
        ([Open(until), Closed, Closed], Some("b"), "weight 30 of 30; skipped a: breaker open until"),
        ([Closed, Open(until), Closed], Some("a"), "weight 70 of 70"),
        ([Open(until), HalfOpen, Closed], Some("c"), "weight 1 of 1 in tier 1; skipped a: breaker open"),
        ([Closed, Probe, Closed], Some("b"), "probe of the half-open breaker of b"),
        ([Open(until), Open(until), Open(until.after_ms(9))], None, "c: breaker open"),
        ([HalfOpen, HalfOpen, HalfOpen], None, "a: breaker half-open"),
    ] {
        let mut of = |name: &str| health[way(vec![]).index(name).map_or(0, usize::from)];
        match choose(&delivery, &sheet, &mut of) {
            Choice::Go { account, why, .. } => {
                assert_eq!(Some(account), chosen, "{health:?}: {why}");
                assert!(why.contains(part), "{why}");
            }
            Choice::Wait { until: again, why } => {
                assert_eq!(chosen, None, "{health:?}: {why}");
                assert!(why.contains(part), "{why}");
                assert_eq!(again, health.contains(&Open(until)).then_some(until));
            }
        }
    }
}

#[test]
fn shares_follow_the_weights_within_two_percent() {
    let mut fixture = Fixture::owned();
    let mut counts = [0_u32; 3];
    for n in 0..10_000 {
        let id = fixture.accept_one(n, routed(vec![]));
        let (delivery, sheet) = fixture.machine.delivery(&id).expect("it is pending");
        let Choice::Go { account, .. } = choose(&delivery, &sheet, &mut |_| Health::Closed) else {
            panic!("all are closed")
        };
        counts[way(vec![]).index(account).map_or(0, usize::from)] += 1;
        fixture.report(id, 1, delivered());
    }
    assert!((6_800..=7_200).contains(&counts[0]) && counts[0] + counts[1] == 10_000, "{counts:?}");
}

fn call(fixture: &mut Fixture, n: u64, epoch: u64, outcome: Outcome) -> Option<(u64, u32, u32)> {
    let id = fixture.accept_one(n, routed(vec![]));
    let via = Some(Box::new(Via { breaker: epoch, probe: false, why: String::new(), ..Via::default() }));
    let (account, began) = ("a".to_owned(), fixture.now);
    fixture.hints.clear();
    fixture.ask(Command::Outcome {
        delivery: id,
        attempt: 1,
        epoch: 5,
        account,
        began,
        outcome,
        via,
        masked: Vec::new(),
        charge: None,
    });
    fixture.hints.iter().find_map(|hint| match hint {
        Hint::Failing { epoch, calls, failures, .. } => Some((*epoch, *calls, *failures)),
        _ => None,
    })
}

#[test]
fn an_account_is_failing_when_half_of_enough_calls_in_a_window_failed() {
    let (good, bad) = (delivered, later);
    let blameless = || never(Blame::Recipient);
    for (calls, failing) in [
        (vec![(0, bad()), (1, bad()), (1, bad())], None),
        (vec![(0, bad()), (1, bad()), (1, bad()), (1, bad())], Some((0, 4, 4))),
        (vec![(0, good()), (1, good()), (1, bad()), (1, bad())], Some((0, 4, 2))),
        (vec![(0, good()), (1, good()), (1, good()), (1, bad())], None),
        // Half of them failed, but the last one did not: it is getting better.
        (vec![(0, bad()), (1, bad()), (1, good()), (1, good())], None),
        (vec![(0, unknown()), (1, unknown()), (1, never(Blame::Account)), (1, bad())], Some((0, 4, 4))),
        (vec![(0, blameless()), (1, blameless()), (1, blameless()), (1, bad())], None),
        // The window is 10 s in pieces of half a second.
        (vec![(0, bad()), (1, bad()), (1, bad()), (9_400, bad())], Some((0, 4, 4))),
        (vec![(0, bad()), (1, bad()), (1, bad()), (10_500, bad())], None),
    ] {
        let mut fixture = Fixture::owned();
        let mut last = None;
        for (n, (after, outcome)) in calls.iter().enumerate() {
            fixture.pass(*after);
            last = call(&mut fixture, n as u64, 0, outcome.clone());
        }
        assert_eq!(last, failing, "{calls:?}");
    }
}

#[test]
fn what_was_seen_in_an_older_epoch_of_a_breaker_counts_no_more() {
    let mut fixture = Fixture::owned();
    (0..3).for_each(|n| assert_eq!(call(&mut fixture, n, 0, later()), None));
    assert_eq!(call(&mut fixture, 3, 2, later()), None, "it closed meanwhile: the count begins anew");
    (4..9).for_each(|n| assert_eq!(call(&mut fixture, n, 0, later()), None, "it began before"));
    (9..11).for_each(|n| assert_eq!(call(&mut fixture, n, 2, later()), None));
    assert_eq!(call(&mut fixture, 11, 2, later()), Some((2, 4, 4)));
}

#[test]
fn a_probe_tells_how_it_went_and_an_alert_is_hinted_at() {
    for (outcome, good) in [(delivered(), true), (never(Blame::Recipient), true), (later(), false), (unknown(), false)]
    {
        let mut fixture = Fixture::owned();
        let id = fixture.accept_one(1, routed(vec![rule("http_5*", CodeAction::Alert)]));
        let via = Some(Box::new(Via { breaker: 3, probe: true, why: "probe".to_owned(), ..Via::default() }));
        let (account, began) = ("a".to_owned(), fixture.now);
        fixture.ask(Command::Outcome {
            delivery: id,
            attempt: 1,
            epoch: 5,
            account,
            began,
            outcome: outcome.clone(),
            via,
            masked: Vec::new(),
            charge: None,
        });
        let probed = fixture.hints.iter().any(|hint| {
            matches!(hint, Hint::Probed { account, epoch: 3, good: said, .. } if account == "a" && *said == good)
        });
        assert!(probed, "{outcome:?}: {:?}", fixture.hints);
        let alerted = fixture.hints.iter().any(|hint| matches!(hint, Hint::Alert { code, .. } if code == "http_503"));
        assert_eq!(alerted, outcome == later());
    }
}
