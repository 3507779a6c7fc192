//! The checker of Wing and Gong, with the memory of Lowe: is there an order of the calls, each somewhere between its
//! beginning and its end, that the model allows?
//!
//! A call without an answer may take effect at any time after its beginning, or never. Calls on different subjects are
//! checked apart, which is sound (linearizability is local) and keeps the search small.
//!
//! Crates that were looked at do not fit: `todc-utils` panics on calls without an answer, `stateright` tries every order
//! without remembering which it tried, and wants the model to foretell an answer that the system draws by chance.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// Most calls on one subject.
const CALLS: usize = 128;
/// Most places of the search before it is given up.
const PLACES: usize = 4_000_000;

/// What one subject may do, one call after the other.
pub trait Model {
    /// What it remembers.
    type State: Clone + Default + Eq + Hash;
    /// A call together with what it was answered.
    type Call: Clone + Debug;

    /// The state after `call`, if that answer is possible in `state`.
    fn step(state: &Self::State, call: &Self::Call) -> Option<Self::State>;
}

/// A call and when it was under way, in any unit that all calls share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span<C> {
    /// The call with its answer.
    pub call: C,
    /// When it was made.
    pub begun: u64,
    /// When its answer came; `None` if nobody can tell whether it took effect, or when.
    pub ended: Option<u64>,
}

/// What the checker found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Some order explains every answer.
    Linear,
    /// No order does. At most so many of the answered calls can be put in order.
    Impossible(u32),
    /// The history is too long or too tangled to be searched.
    Undecided,
}

/// Looks for an order of `history` that `M` allows.
pub fn check<M: Model>(history: &[Span<M::Call>]) -> Verdict {
    if history.len() > CALLS {
        return Verdict::Undecided;
    }
    let answered: u128 = (0..history.len()).filter(|at| history[*at].ended.is_some()).map(|at| 1 << at).sum();
    let mut seen: HashSet<(u128, M::State)> = HashSet::new();
    let mut open = vec![(0_u128, M::State::default())];
    let mut most = 0;
    while let Some((done, state)) = open.pop() {
        most = most.max((done & answered).count_ones());
        if done & answered == answered {
            return Verdict::Linear;
        }
        if seen.len() >= PLACES {
            return Verdict::Undecided;
        }
        if !seen.insert((done, state.clone())) {
            continue;
        }
        let left = || (0..history.len()).filter(|at| done >> at & 1 == 0);
        // Nothing that began after this may come before the call that ended then.
        let soonest = left().filter_map(|at| history[at].ended).min().unwrap_or(u64::MAX);
        for at in left().filter(|at| history[*at].begun <= soonest) {
            if let Some(next) = M::step(&state, &history[at].call) {
                open.push((done | 1 << at, next));
            }
        }
    }
    Verdict::Impossible(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register with one value, for the textbook cases.
    struct Register;

    #[derive(Clone, Debug)]
    enum Call {
        Write(u8),
        Read(u8),
    }

    impl Model for Register {
        type State = u8;
        type Call = Call;

        fn step(state: &u8, call: &Call) -> Option<u8> {
            match call {
                Call::Write(value) => Some(*value),
                Call::Read(value) => (value == state).then_some(*state),
            }
        }
    }

    fn span(call: Call, begun: u64, ended: u64) -> Span<Call> {
        Span { call, begun, ended: Some(ended) }
    }

    fn lost(call: Call, begun: u64) -> Span<Call> {
        Span { call, begun, ended: None }
    }

    fn verdict(history: &[Span<Call>]) -> Verdict {
        check::<Register>(history)
    }

    #[test]
    fn what_some_order_explains_is_accepted() {
        assert_eq!(verdict(&[]), Verdict::Linear);
        let overlapping = [span(Call::Write(1), 0, 10), span(Call::Read(1), 2, 3), span(Call::Read(1), 5, 6)];
        assert_eq!(verdict(&overlapping), Verdict::Linear);
        let before_and_after = [span(Call::Write(1), 0, 10), span(Call::Read(0), 2, 3), span(Call::Read(1), 5, 6)];
        assert_eq!(verdict(&before_and_after), Verdict::Linear);
    }

    #[test]
    fn an_old_value_after_a_new_one_is_rejected() {
        let backwards = [span(Call::Write(1), 0, 10), span(Call::Read(1), 2, 3), span(Call::Read(0), 5, 6)];
        assert_eq!(verdict(&backwards), Verdict::Impossible(2));
        let stale = [span(Call::Write(1), 0, 1), span(Call::Read(0), 2, 3)];
        assert_eq!(verdict(&stale), Verdict::Impossible(1));
        let from_nowhere = [span(Call::Write(1), 0, 1), span(Call::Read(2), 0, 9)];
        assert_eq!(verdict(&from_nowhere), Verdict::Impossible(1));
    }

    #[test]
    fn a_call_without_an_answer_takes_effect_late_or_never_but_not_before_it_was_made() {
        let late = [lost(Call::Write(1), 0), span(Call::Read(0), 5, 6), span(Call::Read(1), 7, 8)];
        assert_eq!(verdict(&late), Verdict::Linear);
        let never = [lost(Call::Write(1), 0), span(Call::Read(0), 5, 6)];
        assert_eq!(verdict(&never), Verdict::Linear);
        let twice = [lost(Call::Write(1), 0), span(Call::Read(1), 5, 6), span(Call::Read(0), 7, 8)];
        assert_eq!(verdict(&twice), Verdict::Impossible(1));
        let early = [span(Call::Read(1), 0, 1), lost(Call::Write(1), 2)];
        assert_eq!(verdict(&early), Verdict::Impossible(0));
    }

    #[test]
    fn many_overlapping_calls_are_decided_and_too_many_are_not_guessed() {
        let crowd = |count: u64| (0..count).map(|n| span(Call::Write((n % 3) as u8), 0, 100)).collect::<Vec<_>>();
        let mut history = crowd(12);
        history.push(span(Call::Read(2), 200, 201));
        assert_eq!(verdict(&history), Verdict::Linear);
        history.push(span(Call::Read(1), 300, 301));
        assert_eq!(verdict(&history), Verdict::Impossible(13));
        assert_eq!(verdict(&crowd(200)), Verdict::Undecided);
    }
}
