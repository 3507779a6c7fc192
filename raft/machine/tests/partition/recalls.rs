//! Recalls: what was taken back is counted as such once, and what nobody can tell is never called a failure.

use tidings_contract::{Blame, DeliveryId, Outcome, Reason};
use tidings_machine::partition::{
    Answer, Command, RecallCommand, RecallStanding, Record, Refusal, SentAs, State, Want, What,
};

use super::fixture::{Fixture, delivered, sheet};

fn want(fixture: &mut Fixture, delivery: DeliveryId) -> Result<RecallStanding, Refusal> {
    let sent = SentAs {
        account: "main".to_owned(),
        to: "+8613800138000".to_owned(),
        provider_id: "p-1".to_owned(),
        template: "otp".to_owned(),
        accepted_at: fixture.now,
        subject: None,
    };
    let want = Want { delivery, by: "key_1".to_owned(), accept_by: fixture.now.after_ms(5_000), sent };
    standing(fixture.ask(Command::Recall(RecallCommand::Want(Box::new(want)))))
}

fn told(
    fixture: &mut Fixture,
    delivery: DeliveryId,
    attempt: u16,
    outcome: Outcome,
) -> Result<RecallStanding, Refusal> {
    standing(fixture.ask(Command::Recall(RecallCommand::Outcome { delivery, epoch: 5, attempt, outcome })))
}

fn standing(answer: Answer) -> Result<RecallStanding, Refusal> {
    match answer {
        Answer::Recall(standing) => Ok(standing),
        Answer::Refused(refusal) => Err(refusal),
        other => panic!("not an answer about recalls: {other:?}"),
    }
}

fn sent(fixture: &mut Fixture) -> DeliveryId {
    let id = fixture.accept_one(1, sheet());
    fixture.report(id, 1, delivered());
    id
}

fn count(fixture: &Fixture, state: State) -> u64 {
    fixture.machine.totals().ended.get(&state).copied().unwrap_or_default()
}

/// What the archive was told of the delivery after its end.
fn amended(fixture: &Fixture) -> Vec<What> {
    let what = |record: &Record| match record {
        Record::Amend { event, .. } => Some(event.what.clone()),
        _ => None,
    };
    fixture.records.iter().filter_map(what).collect()
}

#[test]
fn what_is_taken_back_moves_from_delivered_to_recalled_once() {
    let mut fixture = Fixture::owned();
    let id = sent(&mut fixture);
    assert_eq!(want(&mut fixture, id), Ok(RecallStanding::Wanted));
    assert_eq!(want(&mut fixture, id), Ok(RecallStanding::Wanted), "asking twice is asking once");
    assert_eq!(fixture.machine.recalls().count(), 1);
    assert_eq!(told(&mut fixture, id, 1, delivered()), Ok(RecallStanding::Recalled));
    assert_eq!(want(&mut fixture, id), Ok(RecallStanding::Recalled));
    assert_eq!(told(&mut fixture, id, 1, delivered()), Err(Refusal::NotPending));
    assert_eq!((count(&fixture, State::Delivered), count(&fixture, State::Recalled)), (0, 1));
    let day = fixture.machine.day_counts("otp", fixture.now.day()).expect("counted today");
    assert_eq!((day.accepted, day.ended.get(&State::Recalled)), (1, Some(&1)));
    let amended = amended(&fixture);
    assert!(
        matches!(
            amended.as_slice(),
            [
                What::RecallRequested { .. },
                What::RecallAttempted { attempt: 1, .. },
                What::Ended { state: State::Recalled, .. }
            ]
        ),
        "{amended:?}"
    );
}

#[test]
fn a_provider_that_refuses_leaves_the_delivery_delivered() {
    let mut fixture = Fixture::owned();
    let id = sent(&mut fixture);
    want(&mut fixture, id).expect("it is wanted");
    let reason = Reason::new("too_old", "after two minutes");
    let refused = told(&mut fixture, id, 1, Outcome::Never { reason: reason.clone(), blame: Blame::Content });
    assert_eq!(refused, Ok(RecallStanding::NotRecallable(reason)));
    assert_eq!((count(&fixture, State::Delivered), count(&fixture, State::Recalled)), (1, 0));
}

#[test]
fn what_nobody_can_tell_is_asked_again_and_ends_as_unknown_never_as_a_failure() {
    let mut fixture = Fixture::owned();
    let id = sent(&mut fixture);
    want(&mut fixture, id).expect("it is wanted");
    for attempt in 1..5 {
        assert_eq!(told(&mut fixture, id, attempt, Outcome::unknown("timeout", "")), Ok(RecallStanding::Wanted));
        let (_, recall) = fixture.machine.recalls().next().expect("it is open");
        assert!(recall.due > fixture.now);
    }
    let last = told(&mut fixture, id, 5, Outcome::unknown("timeout", ""));
    assert_eq!(last, Ok(RecallStanding::Unknown(Reason::new("timeout", ""))));
    assert_eq!(count(&fixture, State::Delivered), 1);
    assert_eq!(want(&mut fixture, id), Ok(RecallStanding::Wanted), "it may be asked for once more");
}

#[test]
fn only_the_owner_reports_and_only_the_next_attempt_counts() {
    let mut fixture = Fixture::owned();
    let id = sent(&mut fixture);
    want(&mut fixture, id).expect("it is wanted");
    assert_eq!(told(&mut fixture, id, 2, delivered()), Err(Refusal::WrongAttempt));
    let stale = RecallCommand::Outcome { delivery: id, epoch: 4, attempt: 1, outcome: delivered() };
    assert_eq!(standing(fixture.ask(Command::Recall(stale))), Err(Refusal::NotOwner));
}

#[test]
fn what_is_pending_is_cancelled_and_not_recalled_and_a_late_wish_is_refused() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet());
    assert_eq!(want(&mut fixture, id), Err(Refusal::Groundless));
    fixture.report(id, 1, delivered());
    let now = fixture.now;
    fixture.now = now.after_ms(6_000);
    fixture.ask(Command::Tick);
    fixture.now = now;
    assert_eq!(want(&mut fixture, id), Err(Refusal::TooLate));
}
