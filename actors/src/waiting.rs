//! What the trace says of a delivery that waits for a limit. A short wait is told with its attempt, at no cost of its own; a
//! long one is told when it begins, once for each attempt, so that whoever looks meanwhile sees why nothing happens.

use tidings_contract::Time;
use tidings_machine::partition::{Waited, What};

use crate::in_force::InForce;
use crate::limited::Subject;
use crate::outbox::Entry;
use crate::switchboard::Switchboard;
use crate::work::Letter;

/// What the trace says of a limit that has no room for a letter before `until`.
pub(crate) fn waited(in_force: &InForce, subject: &Subject, letter: &Letter, until: Time) -> Waited {
    // A policy counts for itself, and its name stands behind what it counts.
    let (of, rule) = match subject.name.rsplit_once('#') {
        Some((of, policy)) => (of, format!("limits/{policy}@{}", in_force.version_of(policy))),
        None => (&*subject.name, format!("account_limit/{}@{}", letter.account_name, letter.account.revision)),
    };
    Waited { rule, subject: of.to_owned(), until }
}

/// Notes that the letter waited here; told with its attempt. The first limit that it waited for is the one that counts.
pub(crate) fn note(board: &Switchboard, subject: &Subject, letter: &mut Letter, until: Time) {
    let known = letter.via.as_ref().is_some_and(|via| via.waited.is_some());
    if !known && !letter.begun {
        let limit = waited(&board.in_force(), subject, letter, until);
        letter.via.get_or_insert_default().waited = Some(limit);
    }
}

/// Sends a letter back to wait in the state until `back`, because the subject has no room before `until`; the trace is told,
/// unless it was already. Without an `until` it only waits for its turn. What expires before then ends when it does.
pub(crate) fn go_home(board: &Switchboard, subject: &Subject, letter: Letter, until: Option<Time>, back: Time) {
    let back = letter.work.within_life(back);
    let attempt = letter.attempt();
    let told = letter
        .work
        .delivery
        .events
        .iter()
        .rev()
        .any(|event| matches!(&event.what, What::Waited { attempt: other, .. } if *other == attempt));
    let Some(until) = until.filter(|_| !told) else { return letter.work.ticket.not_before(back) };
    let first = letter.via.as_ref().and_then(|via| via.waited.clone());
    let waited = first.unwrap_or_else(|| waited(&board.in_force(), subject, &letter, until));
    let desk = std::sync::Arc::clone(letter.work.ticket.desk());
    let entry = Entry::Wait { ticket: letter.work.ticket, attempt, waited: Box::new(waited), back };
    board.record(&desk, [entry]);
}
