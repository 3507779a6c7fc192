//! How many such processes there are, and who gets one: deliveries and callers of the API have places of their own, so that
//! neither can keep the other waiting.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tidings_actors::render::RenderError;
use tidings_actors::render::apart::{Apart, Asked, Pair, Told, Whose};

use super::child::{Broken, Child};

/// Processes for deliveries, and as many for callers.
const EACH: usize = 2;
/// Most who wait for one.
const WAITING: usize = 64;
/// How long they wait.
const WITHIN: Duration = Duration::from_secs(15);
/// After so many answers a process makes room for a fresh one.
const ANSWERS: u64 = 20_000;
/// After so many deaths a question is not asked further.
const DEATHS: usize = 2;

/// The places.
#[derive(Debug, Default)]
pub(super) struct Places {
    motion: Side,
    edge: Side,
}

/// The places of one side.
#[derive(Debug, Default)]
struct Side {
    standing: Mutex<Standing>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Standing {
    taken: usize,
    waiting: usize,
    idle: Vec<Child>,
}

impl Apart for Places {
    fn ask(&self, whose: Whose, asked: &Asked) -> Vec<Result<Told, RenderError>> {
        let side = if whose == Whose::Motion { &self.motion } else { &self.edge };
        let Some(mut child) = side.take() else {
            let busy = RenderError::busy("too many templates are being filled; try again");
            return vec![Err(busy); asked.with.len()];
        };
        let answers = ask_all(&mut child, asked);
        side.give_back(child.filter(|child| child.answered < ANSWERS));
        answers
    }
}

impl Side {
    /// Takes a place, with the process that is there, if one is. `None` when there is none within a while.
    fn take(&self) -> Option<Option<Child>> {
        let mut standing = self.standing.lock();
        if standing.taken >= EACH {
            if standing.waiting >= WAITING {
                return None;
            }
            standing.waiting += 1;
            let full = |standing: &mut Standing| standing.taken >= EACH;
            let waited = self.freed.wait_while_for(&mut standing, full, WITHIN);
            standing.waiting -= 1;
            if waited.timed_out() && standing.taken >= EACH {
                return None;
            }
        }
        standing.taken += 1;
        Some(standing.idle.pop())
    }

    fn give_back(&self, child: Option<Child>) {
        let mut standing = self.standing.lock();
        standing.taken -= 1;
        standing.idle.extend(child);
        self.freed.notify_one();
    }
}

/// Asks for all of them, one after the other. What a process dies of that has answered before is asked once more of a
/// fresh one: only what kills a fresh one did it.
fn ask_all(place: &mut Option<Child>, asked: &Asked) -> Vec<Result<Told, RenderError>> {
    let mut answers = Vec::with_capacity(asked.with.len());
    let mut deaths = 0;
    while answers.len() < asked.with.len() {
        if deaths >= DEATHS {
            answers.push(Err(RenderError::busy("others before it took too much")));
            continue;
        }
        let mut child = match place.take().map_or_else(Child::start, Ok) {
            Ok(child) => child,
            Err(error) => {
                answers.push(Err(RenderError::busy(&format!("the process for it does not start: {error}"))));
                continue;
            }
        };
        match ask_rest(&mut child, asked, &mut answers) {
            Ok(()) => *place = Some(child),
            Err(Broken::Died(_)) if child.answered > 0 => {}
            Err(Broken::Died(how)) => {
                tracing::warn!(how, "a process that fills templates died of one");
                deaths += 1;
                answers.push(Err(RenderError::died(&how)));
            }
            Err(Broken::Slow) => {
                deaths += 1;
                answers.push(Err(RenderError::busy("it was not given the time that it needs")));
            }
        }
    }
    answers
}

/// Asks for what has no answer yet.
fn ask_rest(child: &mut Child, asked: &Asked, answers: &mut Vec<Result<Told, RenderError>>) -> Result<(), Broken> {
    let rest: Vec<Pair> = asked.with[answers.len()..].to_vec();
    let rest = Asked { source: asked.source.clone(), wish: asked.wish, with: rest };
    // What cannot be written any more is told by the answers.
    let _ = child.ask(&rest);
    while answers.len() < asked.with.len() {
        let told = child.answer()?;
        answers.push(Ok(told));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_by_one_at_a_time_and_given_back() {
        let side = Side::default();
        let taken: Vec<_> = (0..EACH).map(|_| side.take()).collect();
        assert!(taken.iter().all(Option::is_some));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| side.take().is_some());
            side.give_back(None);
            assert!(waits.join().expect("it does not panic"));
        });
        assert_eq!(side.standing.lock().taken, EACH);
    }
}
