//! What was due when the owner changed: it may have been attempted without a record, and what may have arrived keeps its
//! slots.

use tidings_contract::{Blame, DeliveryId, Outcome, Reason, Time};
use tidings_machine::partition::{
    Answer, CapKind, Closing, Command, Delivery, Limits, OnUnknown, Owner, Policy, Rules, Sheet, State, What,
};

use super::fixture::{Fixture, START, delivered, done, outcome_of, story};
use super::rules::{HOUR, cap, one, with};

const OTHER: Owner = Owner { node: 2, boot: 22 };
/// When the first deliveries of these tests expire.
const EXPIRES: Time = Time(START + 60_000);

/// At most one an hour, by a cap and by the template's own dedup.
fn sparing() -> Sheet {
    let sheet = with(cap(CapKind::Frequency, &[(HOUR, 1)]));
    Sheet { policy: Policy { dedup_window_ms: Some(HOUR), ..sheet.policy }, expires_at: Some(EXPIRES), ..sheet }
}

fn recipient() -> tidings_machine::partition::Recipient {
    tidings_machine::partition::Recipient { fingerprint: Some(77), ..one("a") }
}

fn take_over(fixture: &mut Fixture, epoch: u64) {
    let limits = Limits::default();
    assert_eq!(fixture.ask(Command::TakeOver { owner: OTHER, epoch, limits }), Answer::Owned);
}

fn close(fixture: &mut Fixture, delivery: DeliveryId, epoch: u64, closing: Closing) -> Answer {
    fixture.ask(Command::Close { delivery, epoch, closing })
}

/// How a delivery ends in epoch 6.
type End = fn(&mut Fixture, DeliveryId) -> State;

const ENDS: [(&str, End); 4] = [
    ("expired", |fixture, id| {
        fixture.now = EXPIRES;
        assert_eq!(close(fixture, id, 6, Closing::Expired), done(State::Expired));
        State::Expired
    }),
    ("cancelled", |fixture, id| {
        fixture.cancel(id);
        assert_eq!(close(fixture, id, 6, Closing::Cancelled), done(State::Cancelled));
        State::Cancelled
    }),
    ("refused by the provider", |fixture, id| {
        let never = Outcome::never(Blame::Recipient, "bad_number", "");
        let command = outcome_of(id, 1, 6, fixture.now, never);
        assert_eq!(fixture.ask(command), done(State::Failed));
        State::Failed
    }),
    ("suppressed late", |fixture, id| {
        let closing = Closing::Suppressed { rule: "words/w@1".to_owned(), detail: "a word".to_owned() };
        assert_eq!(close(fixture, id, 6, closing), done(State::Suppressed));
        State::Suppressed
    }),
];

/// Whether the trace has the doubt, and what a second delivery of the same to the same becomes.
fn aftermath(fixture: &mut Fixture, id: DeliveryId) -> (bool, State) {
    let told = |delivery: &Delivery| {
        delivery.events.iter().any(|event| matches!(event.what, What::OwnerChanged { since } if since > Time(START)))
    };
    let told = told(&fixture.ended(id).delivery);
    let (_, state) = fixture.admit(2, Sheet { expires_at: None, ..sparing() }, recipient());
    (told, state)
}

#[test]
fn what_was_due_when_the_owner_changed_keeps_its_slots_however_it_ends() {
    for (name, end) in ENDS {
        let mut fixture = Fixture::owned();
        let (id, _) = fixture.admit(1, sparing(), recipient());
        take_over(fixture.pass(1_000), 6);
        let state = end(fixture.pass(1_000), id);
        assert_eq!(aftermath(&mut fixture, id), (true, State::Suppressed), "{name}");
        let reason = fixture.ended(id).delivery.reason.as_ref().map(|reason| reason.code.as_str());
        let told = matches!(state, State::Expired | State::Cancelled);
        assert_eq!(reason == Some("owner_changed"), told, "{name}: {reason:?}");
    }
}

#[test]
fn what_no_owner_before_can_have_attempted_gives_its_slots_back() {
    type Before = fn(&mut Fixture) -> DeliveryId;
    let cases: [(&str, Before); 5] = [
        ("the owner is the same", |fixture| {
            let (id, _) = fixture.admit(1, sparing(), recipient());
            let again = Command::TakeOver { owner: super::fixture::OWNER, epoch: 6, limits: Limits::default() };
            assert_eq!(fixture.pass(1_000).ask(again), Answer::Owned);
            id
        }),
        ("accepted after the change", |fixture| {
            take_over(fixture.pass(1_000), 6);
            fixture.pass(1).admit(1, sparing(), recipient()).0
        }),
        ("due after the change", |fixture| {
            let (id, _) = fixture.admit(1, sparing(), recipient());
            let later = Outcome::Later { reason: Reason::new("503", ""), after_ms: Some(5_000) };
            fixture.report(id, 1, later);
            take_over(fixture.pass(1_000), 6);
            id
        }),
        ("an attempt would have been claimed", |fixture| {
            let policy = Policy { on_unknown: OnUnknown::Stop, ..sparing().policy };
            let (id, _) = fixture.admit(1, Sheet { policy, ..sparing() }, recipient());
            take_over(fixture.pass(1_000), 6);
            id
        }),
        ("it still waits for its leave", |fixture| {
            let sheet = Sheet { send_at: Some(fixture.now.after_ms(500)), ..sparing() };
            let (id, _) = fixture.admit(1, sheet, recipient());
            take_over(fixture.pass(1_000), 6);
            id
        }),
    ];
    for (name, before) in cases {
        let mut fixture = Fixture::owned();
        let id = before(&mut fixture);
        fixture.cancel(id);
        assert_eq!(close(fixture.pass(1), id, 6, Closing::Cancelled), done(State::Cancelled), "{name}");
        assert_eq!(aftermath(&mut fixture, id), (false, State::Pending), "{name}");
        assert_eq!(fixture.ended(id).delivery.reason, None, "{name}");
    }
}

#[test]
fn a_doubt_is_told_once_and_does_not_keep_a_delivery_from_being_delivered() {
    let mut fixture = Fixture::owned();
    let sheet = with(Rules::default());
    let (id, _) = fixture.admit(1, sheet, recipient());
    take_over(fixture.pass(1_000), 6);
    let now = fixture.now;
    fixture.ask(outcome_of(id, 1, 6, now, Outcome::later("503", "")));
    fixture.pass(1_000);
    fixture.ask(outcome_of(id, 2, 6, now, delivered()));
    let delivery = &fixture.ended(id).delivery;
    assert_eq!(story(delivery), ["accepted", "owner_changed", "later", "retry", "delivered", "ended"]);
    assert_eq!((delivery.state, &delivery.reason), (State::Delivered, &None));
}
