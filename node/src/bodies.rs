//! Room for bodies: one budget for requests with a key, one for those without, one for large answers.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use parking_lot::Mutex;
use tidings_config::Http;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{Code, Problem};

/// Room is given in units of so many bytes.
const UNIT: usize = 1_024;

/// Whose budget a body is claimed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// A request that came with a key that may do what it asks for.
    Callers,
    /// A request that anybody can make.
    Strangers,
}

/// The budgets.
#[derive(Debug)]
pub(crate) struct Bodies {
    callers: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

/// What one request has claimed. Kept until its answer is out, because what was read lives about as long.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims(Arc<Mutex<Vec<OwnedSemaphorePermit>>>);

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

impl Bodies {
    pub(crate) fn new(http: &Http) -> Self {
        let of = |bytes: usize| Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS)));
        Self {
            callers: of(http.bodies_bytes),
            strangers: of(http.stranger_bodies_bytes),
            answers: of(http.answers_bytes),
        }
    }

    fn of(&self, share: Share) -> &Arc<Semaphore> {
        match share {
            Share::Callers => &self.callers,
            Share::Strangers => &self.strangers,
        }
    }

    /// Claims `bytes` more for a request.
    ///
    /// # Errors
    /// `busy` when the budget is used up.
    pub(crate) fn claim(&self, share: Share, bytes: usize, claims: &Claims) -> Result<(), Problem> {
        let room = Arc::clone(self.of(share)).try_acquire_many_owned(units(bytes)).map_err(|_| {
            metrics::counter!("tidings_http_bodies_refused_total", "share" => share.name()).increment(1);
            Problem::new(Code::Busy, "this node reads as many bytes of bodies as it may")
        })?;
        claims.0.lock().push(room);
        Ok(())
    }

    /// Room for an answer of so many bytes, if there is any.
    pub(crate) fn room_for_answer(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let room =
            Arc::clone(&self.answers).try_acquire_many_owned(units(usize::try_from(bytes).unwrap_or(usize::MAX)));
        room.inspect_err(|_| metrics::counter!("tidings_http_answers_refused_total").increment(1)).ok()
    }

    /// The figures for `/metrics`: what is free of each budget.
    pub(crate) fn gauge(&self, node: &str) {
        let shares = [("callers", &self.callers), ("strangers", &self.strangers), ("answers", &self.answers)];
        for (share, room) in shares {
            let labels = [("node", node.to_owned()), ("share", share.to_owned())];
            metrics::gauge!("tidings_http_bodies_free_bytes", &labels).set((room.available_permits() * UNIT) as f64);
        }
    }
}

impl Share {
    const fn name(self) -> &'static str {
        match self {
            Self::Callers => "callers",
            Self::Strangers => "strangers",
        }
    }
}

/// How long the body is, if its head says so (RFC 9110 §8.6).
pub(crate) fn declared(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_never_exceeded_and_strangers_cannot_take_the_callers() {
        let http =
            Http { bodies_bytes: 10 * UNIT, stranger_bodies_bytes: 4 * UNIT, ..tidings_config::Config::default().http };
        let bodies = Bodies::new(&http);
        let (one, other) = (Claims::default(), Claims::default());
        bodies.claim(Share::Strangers, 4 * UNIT, &one).expect("there is room");
        let refused = bodies.claim(Share::Strangers, 1, &other).expect_err("strangers have no more");
        assert_eq!((refused.code(), refused.status()), (Code::Busy, 503));
        bodies.claim(Share::Callers, 9 * UNIT + 1, &other).expect("callers have all of theirs");
        bodies.claim(Share::Callers, 1, &one).expect_err("a unit that was begun is taken whole");
        drop(other);
        bodies.claim(Share::Callers, 10 * UNIT, &one).expect("what was claimed came back");
    }

    #[test]
    fn large_answers_have_a_budget_too() {
        let http = Http { answers_bytes: 3 * UNIT, ..tidings_config::Config::default().http };
        let bodies = Bodies::new(&http);
        let first = bodies.room_for_answer(2 * UNIT as u64);
        assert!(first.is_some() && bodies.room_for_answer(2 * UNIT as u64).is_none());
        drop(first);
        assert!(bodies.room_for_answer(3 * UNIT as u64).is_some() && bodies.room_for_answer(u64::MAX).is_none());
    }
}
