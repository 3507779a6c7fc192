//! The rules at intake, one table each, on both sides of every boundary.

use std::sync::Arc;

use tidings_contract::{Blame, DeliveryId, Outcome, Time};
use tidings_machine::partition::{
    Accept, Answer, Barred, Cap, CapKind, Closing, Command, EVERY_CHANNEL, Hint, Policy, Quiet, Recipient, Redrive,
    Refusal, Rules, Ruling, Sheet, Span, State, Suppress, SuppressionReason, What, Window,
};

use super::fixture::{Fixture, HERE, START, delivered, done, message, part, sheet, story};

pub(super) const MINUTE: u64 = 60_000;
pub(super) const HOUR: u64 = 60 * MINUTE;

/// Minutes since the epoch, counted from the start of the tests.
pub(super) fn minute(n: u64) -> u32 {
    u32::try_from(START / MINUTE + n).expect("it fits")
}

pub(super) fn with(rules: Rules) -> Sheet {
    let mut sheet = Sheet { rules, ..sheet() };
    sheet.policy.retry.give_up_after_ms = 24 * HOUR;
    sheet
}

/// One cap, for recipients with one mark.
pub(super) fn cap(kind: CapKind, windows: &[(u64, u32)]) -> Rules {
    let windows = windows.iter().map(|(window_ms, most)| Window { window_ms: *window_ms, most: *most }).collect();
    let title = if kind == CapKind::Dedup { "dedup/d@1" } else { "frequency/f@3" };
    Rules { caps: vec![Cap { title: title.to_owned(), kind, windows }], ..Rules::default() }
}

/// Quiet from minute 10 to minute 20, waiting or dropping.
pub(super) fn quiet(drop: bool) -> Rules {
    Rules {
        quiet: vec![Quiet { title: "quiet_hours/q@2".to_owned(), drop }],
        zones: vec![vec![Span { from: minute(10), until: minute(20), quiet: 0 }]],
        ..Rules::default()
    }
}

pub(super) fn one(to: &str) -> Recipient {
    Recipient { to: to.to_owned(), zone: Some(0), marks: vec![Some(7)], ..Recipient::default() }
}

fn accept(n: u64, now: Time, sheet: Sheet, recipient: Recipient) -> Accept {
    Accept { recipients: vec![recipient], ..part(n, now, sheet) }
}

impl Fixture {
    /// Accepts message `n` for one recipient; what the rehearsal said before must be what happens.
    pub(super) fn admit(&mut self, n: u64, sheet: Sheet, recipient: Recipient) -> (DeliveryId, State) {
        let said = self.machine.rehearse(self.now, message(n), HERE, &sheet, std::slice::from_ref(&recipient));
        let verdict = self.accept(accept(n, self.now, sheet, recipient))[0];
        assert_eq!(said[0].state, verdict.state, "the rehearsal said {said:?}");
        if verdict.state == State::Pending {
            assert_eq!(said[0].due, self.pending(verdict.delivery).due);
        } else {
            assert_eq!(said[0].reason, self.ended(verdict.delivery).delivery.reason);
        }
        (verdict.delivery, verdict.state)
    }

    /// The rule and the reason's code of a suppressed delivery.
    pub(super) fn why(&self, id: DeliveryId) -> (String, String) {
        let delivery = &self.ended(id).delivery;
        let rule = delivery.events.iter().find_map(|event| match &event.what {
            What::Suppressed { rule, .. } => Some(rule.clone()),
            _ => None,
        });
        (rule.expect("a rule"), delivery.reason.as_ref().expect("a reason").code.clone())
    }

    fn suppress(&mut self, channel: &str, address: &str, until: Option<Time>) -> Answer {
        let reason = SuppressionReason::Unsubscribed;
        let (channel, address, by) = (channel.to_owned(), address.to_owned(), "key_1".to_owned());
        self.ask(Command::Suppress(Box::new(Suppress { channel, address, reason, until, by, bounce: None })))
    }

    fn unsuppress(&mut self, channel: &str, address: &str) -> Answer {
        self.ask(Command::Unsuppress { channel: channel.to_owned(), address: address.to_owned() })
    }

    pub(super) fn defer(&mut self, delivery: DeliveryId) -> Answer {
        self.ask(Command::Defer { delivery, epoch: 5 })
    }
}

#[test]
fn a_list_that_says_no_suppresses_and_the_first_in_order_is_named() {
    let lists = || Rules { lists: ["discard/bad@4", "allow/staff@1"].map(str::to_owned).into(), ..Rules::default() };
    let barred = |lists: &[u8]| -> Vec<Barred> {
        lists.iter().map(|list| Barred { list: *list, detail: format!("list {list}") }).collect()
    };
    let cases = [
        (&[][..], None),
        (&[0], Some(("discard/bad@4", "discarded"))),
        (&[1], Some(("allow/staff@1", "not_allowed"))),
        (&[1, 0], Some(("discard/bad@4", "discarded"))),
    ];
    for (n, (no, wanted)) in cases.into_iter().enumerate() {
        let mut fixture = Fixture::owned();
        let (id, state) = fixture.admit(n as u64, with(lists()), Recipient { barred: barred(no), ..one("a") });
        match wanted {
            None => assert_eq!(state, State::Pending),
            Some((rule, code)) => assert_eq!(fixture.why(id), (rule.to_owned(), code.to_owned()), "{no:?}"),
        }
    }
}

#[test]
fn the_suppression_list_holds_per_channel_or_for_all_and_until_its_time() {
    // The entry's channel and address, when it ends, when the message comes, whether it is suppressed.
    let cases = [
        ("sms", "a", None, 0, true),
        ("sms", "b", None, 0, false),
        ("email", "a", None, 0, false),
        (EVERY_CHANNEL, "a", None, 0, true),
        ("sms", "a", Some(5_000), 4_999, true),
        ("sms", "a", Some(5_000), 5_000, false),
    ];
    for (channel, address, until, at, suppressed) in cases {
        let mut fixture = Fixture::owned();
        assert_eq!(fixture.suppress(channel, address, until.map(|ms| Time(START + ms))), done(State::Pending));
        fixture.pass(at);
        let (id, state) = fixture.admit(1, sheet(), one("a"));
        assert_eq!(state == State::Suppressed, suppressed, "{channel} {address} {until:?} {at}");
        if suppressed {
            assert_eq!(fixture.why(id), ("suppression_list".to_owned(), "suppression_list".to_owned()));
        }
    }
}

#[test]
fn the_suppression_list_is_idempotent_ordered_and_can_be_left() {
    let mut fixture = Fixture::owned();
    fixture.suppress("sms", "b", None);
    fixture.suppress("sms", "a", None);
    fixture.suppress(EVERY_CHANNEL, "a", None);
    let before = fixture.bytes();
    assert_eq!(fixture.suppress("sms", "a", None), done(State::Pending));
    assert_eq!(fixture.bytes(), before, "the same again changes nothing");
    let keys = |fixture: &Fixture, after| -> Vec<String> {
        fixture.machine.suppressions(after).map(|((address, channel), _)| format!("{address}/{channel}")).collect()
    };
    assert_eq!(keys(&fixture, None), ["a/*", "a/sms", "b/sms"]);
    assert_eq!(keys(&fixture, Some(("a".to_owned(), "sms".to_owned()))), ["b/sms"]);
    assert_eq!(fixture.unsuppress("sms", "a"), done(State::Pending));
    assert_eq!(fixture.unsuppress("sms", "a"), Answer::Refused(Refusal::NotSuppressed));
    assert_eq!(fixture.admit(1, sheet(), one("a")).1, State::Suppressed, "the entry of every channel stands");
    fixture.unsuppress(EVERY_CHANNEL, "a");
    assert_eq!(fixture.admit(2, sheet(), one("a")).1, State::Pending);
    let past = Some(fixture.now);
    assert_eq!(fixture.suppress("sms", "a", past), Answer::Refused(Refusal::TooLate));
}

#[test]
fn quiet_hours_defer_or_drop_what_would_leave_in_them() {
    // When it would leave, and whether that is quiet.
    let cases =
        [(10 * MINUTE - 1, false), (10 * MINUTE, true), (20 * MINUTE - 1, true), (20 * MINUTE, false), (0, false)];
    for drop in [false, true] {
        for send_at in [true, false] {
            for (at, quiet_then) in cases {
                let mut fixture = Fixture::owned();
                let mut sheet = with(quiet(drop));
                if send_at {
                    sheet.send_at = Some(Time(START + at));
                } else {
                    fixture.pass(at);
                }
                let (id, state) = fixture.admit(1, sheet, one("a"));
                match (quiet_then, drop) {
                    (false, _) => assert_eq!((state, fixture.pending(id).due), (State::Pending, Time(START + at))),
                    (true, true) => {
                        assert_eq!(fixture.why(id), ("quiet_hours/q@2".to_owned(), "quiet_hours".to_owned()));
                    }
                    (true, false) => {
                        let delivery = fixture.pending(id);
                        let end = START + 20 * MINUTE;
                        assert!((end..end + MINUTE).contains(&delivery.due.0), "{:?}", delivery.due);
                        assert_eq!(delivery.first_due, delivery.due, "patience counts from there");
                        assert_eq!(story(&delivery).last(), Some(&"deferred"));
                    }
                }
            }
        }
    }
}

#[test]
fn who_lives_in_no_zone_of_the_sheet_is_never_quiet() {
    let mut fixture = Fixture::owned();
    fixture.pass(15 * MINUTE);
    for (n, zone) in [(1, None), (2, Some(1)), (3, Some(255))] {
        assert_eq!(fixture.admit(n, with(quiet(true)), Recipient { zone, ..one("a") }).1, State::Pending, "{zone:?}");
    }
}

#[test]
fn a_deferral_beyond_the_expiry_is_the_end() {
    for (expires, state) in [(20 * MINUTE, State::Expired), (20 * MINUTE + 1, State::Pending)] {
        let mut fixture = Fixture::owned();
        fixture.pass(15 * MINUTE);
        let expiring = Sheet { expires_at: Some(Time(START + expires)), ..with(quiet(false)) };
        let (id, found) = fixture.admit(1, expiring, one("a"));
        assert_eq!(found, state);
        if state == State::Expired {
            assert_eq!(story(&fixture.ended(id).delivery), ["accepted", "deferred", "ended"]);
        }
    }
}

#[test]
fn a_retry_waits_for_the_end_of_quiet_hours_or_is_dropped() {
    for (drop, busy_at, wanted) in [
        (false, 9 * MINUTE, None),
        (false, 10 * MINUTE, Some(State::Pending)),
        (true, 10 * MINUTE, Some(State::Suppressed)),
    ] {
        let mut fixture = Fixture::owned();
        let (id, _) = fixture.admit(1, with(quiet(drop)), one("a"));
        fixture.pass(busy_at - 500);
        let answer = fixture.report(id, 1, Outcome::later("503", "busy"));
        match wanted {
            None => {
                assert_eq!(answer, done(State::Pending));
                assert!(fixture.pending(id).due < Time(START + 10 * MINUTE));
            }
            Some(State::Pending) => {
                let delivery = fixture.pending(id);
                let end = START + 20 * MINUTE;
                assert!((end..end + MINUTE).contains(&delivery.due.0), "{:?}", delivery.due);
                assert_eq!(story(&delivery), ["accepted", "later", "retry", "deferred"]);
                let newest = fixture.hints.last();
                assert!(matches!(newest, Some(Hint::Due { delivery, .. }) if delivery.due.0 >= end), "{newest:?}");
            }
            Some(state) => {
                assert_eq!(answer, done(state));
                assert_eq!(fixture.why(id).1, "quiet_hours");
            }
        }
    }
}

#[test]
fn a_dropped_retry_after_an_attempt_that_may_have_been_taken_is_unknown() {
    let mut fixture = Fixture::owned();
    let (id, _) = fixture.admit(1, with(quiet(true)), one("a"));
    fixture.pass(10 * MINUTE - 200);
    assert_eq!(fixture.report(id, 1, Outcome::unknown("timeout", "")), done(State::Unknown));
}

#[test]
fn what_waited_too_long_for_its_turn_waits_for_the_end_of_quiet_hours_too() {
    for (drop, at, wanted) in [
        (false, 10 * MINUTE - 1, Answer::Refused(Refusal::Groundless)),
        (false, 10 * MINUTE, done(State::Pending)),
        (true, 10 * MINUTE, done(State::Suppressed)),
        (false, 20 * MINUTE, Answer::Refused(Refusal::Groundless)),
    ] {
        let mut fixture = Fixture::owned();
        let rules = Rules { caps: cap(CapKind::Frequency, &[(HOUR, 1)]).caps, ..quiet(drop) };
        let (id, _) = fixture.admit(1, with(rules.clone()), one("a"));
        fixture.pass(at);
        assert_eq!(fixture.defer(id), wanted, "{drop} at {at}");
        if wanted == done(State::Pending) {
            let delivery = fixture.pending(id);
            assert!(delivery.due >= Time(START + 20 * MINUTE) && delivery.first_due == delivery.due);
            assert_eq!(fixture.defer(id), Answer::Refused(Refusal::Groundless), "not twice");
            fixture.pass(HOUR);
            let sheet = Sheet { send_at: Some(delivery.due), ..with(rules.clone()) };
            assert_eq!(fixture.admit(2, sheet, one("a")).1, State::Suppressed, "its slot went with it");
        }
        if wanted == done(State::Suppressed) {
            fixture.pass(10 * MINUTE);
            assert_eq!(fixture.admit(2, with(rules), one("a")).1, State::Pending, "its slot is free");
        }
    }
}

#[test]
fn a_claimed_attempt_and_a_foreign_epoch_cannot_be_deferred() {
    let mut fixture = Fixture::owned();
    let (id, _) = fixture.admit(1, with(quiet(false)), one("a"));
    fixture.pass(12 * MINUTE);
    assert_eq!(fixture.ask(Command::Defer { delivery: id, epoch: 4 }), Answer::Refused(Refusal::NotOwner));
    fixture.begin(id, 1);
    assert_eq!(fixture.defer(id), Answer::Refused(Refusal::Groundless));
}

#[test]
fn caps_hold_in_every_window_at_once() {
    for kind in [CapKind::Dedup, CapKind::Frequency] {
        // At most 2 an hour and 3 a day: when each comes, and whether it is let through.
        let steps = [
            (0, true),
            (HOUR - 1, true),
            (HOUR - 1, false),
            (HOUR, true),
            (3 * HOUR, false),
            (24 * HOUR - 1, false),
            (24 * HOUR, true),
            (25 * HOUR - 2, false),
            (25 * HOUR - 1, true),
            (25 * HOUR, true),
        ];
        let mut fixture = Fixture::owned();
        for (n, (at, through)) in steps.into_iter().enumerate() {
            fixture.now = Time(START + at);
            let sheet = with(cap(kind, &[(HOUR, 2), (24 * HOUR, 3)]));
            let (id, state) = fixture.admit(n as u64, sheet, one("a"));
            assert_eq!(state == State::Pending, through, "{kind:?} number {n} at {at}");
            if through {
                assert_eq!(fixture.report(id, 1, delivered()), done(State::Delivered));
            } else {
                let wanted = if kind == CapKind::Dedup { "content_dedup" } else { "frequency_cap" };
                assert_eq!(fixture.why(id).1, wanted);
            }
        }
    }
}

#[test]
fn caps_count_what_will_leave_around_the_same_time() {
    // One of 2 an hour is accepted now to leave at each of these; then one that would leave at `at`.
    let cases = [(0, true), (HOUR, true), (HOUR + 1, false), (3 * HOUR - 1, false), (3 * HOUR, true)];
    for (at, through) in cases {
        let mut fixture = Fixture::owned();
        for (n, leaves) in [2 * HOUR, 2 * HOUR].into_iter().enumerate() {
            let sheet = Sheet { send_at: Some(Time(START + leaves)), ..with(cap(CapKind::Frequency, &[(HOUR, 2)])) };
            assert_eq!(fixture.admit(n as u64, sheet, one("a")).1, State::Pending);
        }
        let sheet = Sheet { send_at: Some(Time(START + at)), ..with(cap(CapKind::Frequency, &[(HOUR, 2)])) };
        assert_eq!(fixture.admit(9, sheet, one("a")).1 == State::Pending, through, "leaving at {at}");
    }
}

#[test]
fn a_slot_is_kept_or_given_back_by_how_the_delivery_ends() {
    type End = fn(&mut Fixture, DeliveryId) -> Answer;
    let cases: [(&str, State, bool, End); 6] = [
        ("delivered", State::Delivered, false, |f, id| f.report(id, 1, delivered())),
        ("failed", State::Failed, true, |f, id| f.report(id, 1, Outcome::never(Blame::Recipient, "550", "no"))),
        ("unknown", State::Unknown, false, |f, id| {
            f.begin(id, 1);
            f.close(id, Closing::Lost)
        }),
        ("cancelled", State::Cancelled, true, |f, id| {
            f.cancel(id);
            f.close(id, Closing::Cancelled)
        }),
        ("expired", State::Expired, true, |f, id| {
            f.pass(1_000);
            f.close(id, Closing::Expired)
        }),
        ("pending", State::Pending, false, |_, _| done(State::Pending)),
    ];
    for kind in [CapKind::Dedup, CapKind::Frequency] {
        for (name, state, free, end) in cases {
            let mut fixture = Fixture::owned();
            let sheet = Sheet { expires_at: Some(Time(START + 1_000)), ..with(cap(kind, &[(HOUR, 1)])) };
            let (id, _) = fixture.admit(1, sheet, one("a"));
            assert_eq!(end(&mut fixture, id), done(state), "{name}");
            let again = fixture.admit(2, with(cap(kind, &[(HOUR, 1)])), one("a")).1;
            assert_eq!(again == State::Pending, free, "after {name}");
        }
    }
}

#[test]
fn different_marks_are_different_people_and_none_is_nobody() {
    let mut fixture = Fixture::owned();
    let capped = || with(cap(CapKind::Frequency, &[(HOUR, 1)]));
    for (n, mark, through) in
        [(1, Some(1), true), (2, Some(2), true), (3, Some(1), false), (4, None, true), (5, None, true)]
    {
        let (_, state) = fixture.admit(n, capped(), Recipient { marks: vec![mark], ..one("a") });
        assert_eq!(state == State::Pending, through, "{mark:?}");
    }
}

#[test]
fn a_policy_that_was_changed_counts_what_it_counted_before() {
    let mut fixture = Fixture::owned();
    for n in 0..3 {
        let (id, _) = fixture.admit(n, with(cap(CapKind::Frequency, &[(HOUR, 5)])), one("a"));
        fixture.report(id, 1, delivered());
    }
    assert_eq!(fixture.admit(8, with(cap(CapKind::Frequency, &[(HOUR, 3)])), one("a")).1, State::Suppressed);
    assert_eq!(fixture.admit(9, with(cap(CapKind::Frequency, &[(HOUR, 4)])), one("a")).1, State::Pending);
}

#[test]
fn two_of_one_part_count_for_each_other_also_in_the_rehearsal() {
    let mut fixture = Fixture::owned();
    let both = [0, 1].map(|index| Recipient { index, ..one("a") });
    let sheet = with(cap(CapKind::Frequency, &[(HOUR, 1)]));
    let said = fixture.machine.rehearse(fixture.now, message(1), HERE, &sheet, &both);
    let verdicts = fixture.accept(Accept { recipients: both.to_vec(), ..part(1, fixture.now, sheet) });
    assert_eq!(said.iter().map(|one| one.state).collect::<Vec<_>>(), [State::Pending, State::Suppressed]);
    assert_eq!(verdicts.iter().map(|one| one.state).collect::<Vec<_>>(), [State::Pending, State::Suppressed]);
}

#[test]
fn a_rehearsal_tells_what_every_rule_says_and_changes_nothing() {
    let mut fixture = Fixture::owned();
    fixture.suppress("sms", "a", None);
    fixture.pass(15 * MINUTE);
    let rules = Rules {
        lists: vec!["discard/bad@4".to_owned()],
        caps: cap(CapKind::Frequency, &[(HOUR, 1), (24 * HOUR, 2)]).caps,
        ..quiet(false)
    };
    let sheet = Sheet { expires_at: Some(Time(START + HOUR)), ..with(rules) };
    let before = fixture.bytes();
    let said = fixture.machine.rehearse(fixture.now, message(1), HERE, &sheet, &[one("a")]);
    assert_eq!(fixture.bytes(), before);
    let told: Vec<_> = said[0].findings.iter().map(|finding| (finding.title.as_str(), finding.ruling)).collect();
    let until = said[0].due;
    assert_eq!(
        told,
        [
            ("discard/bad@4", Ruling::Pass),
            ("suppression_list", Ruling::Suppress),
            ("expiry", Ruling::Pass),
            ("quiet_hours/q@2", Ruling::Defer { until }),
            ("frequency/f@3", Ruling::Pass),
        ]
    );
    assert_eq!(said[0].findings[4].detail, "0 of 1 within 3600000 ms, 0 of 2 within 86400000 ms");
    assert_eq!(said[0].state, State::Suppressed);
}

#[test]
fn a_redrive_is_not_capped_and_holds_to_every_other_rule() {
    let capped = || with(cap(CapKind::Frequency, &[(HOUR, 1)]));
    let mut fixture = Fixture::owned();
    let (dead, _) = fixture.admit(1, capped(), one("a"));
    fixture.report(dead, 1, Outcome::never(Blame::Recipient, "550", "no"));
    let (other, _) = fixture.admit(2, capped(), one("a"));
    fixture.report(other, 1, delivered());
    let redrive = |sheet: Sheet, recipient: Recipient| {
        let by = "key_1".to_owned();
        Command::Redrive(Box::new(Redrive { delivery: dead, by, sheet: Arc::new(sheet), recipient }))
    };
    let barred = vec![Barred { list: 0, detail: "no".to_owned() }];
    let listed = with(Rules { lists: vec!["discard/bad@4".to_owned()], ..Rules::default() });
    assert_eq!(fixture.ask(redrive(listed, Recipient { barred, ..one("a") })), Answer::Refused(Refusal::Suppressed));
    fixture.suppress("sms", "a", None);
    assert_eq!(fixture.ask(redrive(capped(), one("a"))), Answer::Refused(Refusal::Suppressed));
    fixture.unsuppress("sms", "a");
    fixture.pass(15 * MINUTE);
    assert_eq!(fixture.ask(redrive(with(quiet(true)), one("a"))), Answer::Refused(Refusal::Suppressed));
    assert!(fixture.machine.dead_letter(&dead).is_some(), "the dead letter stays");
    let rules = Rules { caps: cap(CapKind::Frequency, &[(HOUR, 1)]).caps, ..quiet(false) };
    let made = fixture.ask(redrive(with(rules), one("a")));
    let Answer::Accepted(verdicts) = made else { panic!("{made:?}") };
    let delivery = fixture.pending(verdicts[0].delivery);
    assert!(delivery.due >= Time(START + 20 * MINUTE));
    assert_eq!(story(&delivery), ["accepted", "redrive_of", "deferred"]);
}

#[test]
fn the_archive_keeps_the_rules_and_not_when_each_zone_is_quiet() {
    let mut fixture = Fixture::owned();
    let (id, _) = fixture.admit(1, with(quiet(false)), one("a"));
    fixture.report(id, 1, delivered());
    let rules = &fixture.ended(id).sheet.rules;
    assert!(rules.zones.is_empty());
    assert_eq!(rules.quiet[0].title, "quiet_hours/q@2");
}

#[test]
fn the_dedup_of_a_template_and_that_of_a_policy_hold_both() {
    let own = Policy { dedup_window_ms: Some(1_000), ..sheet().policy };
    let mut fixture = Fixture::owned();
    let both = || Sheet { policy: own, ..with(cap(CapKind::Dedup, &[(HOUR, 2)])) };
    let recipient = || Recipient { fingerprint: Some(1), ..one("a") };
    for (n, at, rule) in
        [(1, 0, None), (2, 500, Some("content_dedup")), (3, 1_000, None), (4, 2_000, Some("dedup/d@1"))]
    {
        fixture.now = Time(START + at);
        let (id, state) = fixture.admit(n, both(), recipient());
        match rule {
            None => assert_eq!(fixture.report(id, 1, delivered()), done(State::Delivered), "number {n}"),
            Some(rule) => assert_eq!((state, fixture.why(id).0.as_str()), (State::Suppressed, rule), "number {n}"),
        }
    }
}
