//! The fence around a call to a provider: asked at the last moment whether the call may still begin.
//!
//! The host knows who may attempt a delivery, and for how long; only the code that holds the open connection knows when the
//! first byte of a request leaves. The fence joins the two without a parameter in every provider: the host polls the call
//! inside of [`fenced`], and whatever talks to the world takes the fence with [`fence`] and asks it right before it writes.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::Outcome;

/// Whether a call may still begin.
pub trait Fence: Send + Sync {
    /// Asked right before something leaves that a supplier would act on. After a `false` nothing of it may leave, and the
    /// outcome is [`Outcome::fenced`]. Quick, and right only at this moment: it is asked again for the next request.
    fn holds(&self) -> bool;

    /// Asked again while something goes out that a supplier acts on only at its end, as a mail is taken at its final dot. What
    /// had to be there for the call to begin, a permit for example, may be gone by now.
    fn goes_on(&self) -> bool {
        self.holds()
    }
}

thread_local! {
    static AROUND: RefCell<Option<Arc<dyn Fence>>> = const { RefCell::new(None) };
}

/// The fence around the code that runs; `None` where nobody put one, as for previews and checks.
pub fn fence() -> Option<Arc<dyn Fence>> {
    AROUND.with_borrow(Clone::clone)
}

/// A future with a fence around it: [`fence`] gives it to everything that is polled inside. Tasks that it spawns are outside.
pub struct Fenced<'a, T> {
    fence: Arc<dyn Fence>,
    inside: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
}

/// Puts a fence around a future.
pub fn fenced<'a, T>(fence: Arc<dyn Fence>, inside: impl Future<Output = T> + Send + 'a) -> Fenced<'a, T> {
    Fenced { fence, inside: Box::pin(inside) }
}

/// Puts back what was there before, also when the poll panics.
struct Before(Option<Arc<dyn Fence>>);

impl Drop for Before {
    fn drop(&mut self) {
        AROUND.set(self.0.take());
    }
}

impl<T> Future for Fenced<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let _before = Before(AROUND.replace(Some(Arc::clone(&self.fence))));
        self.inside.as_mut().poll(cx)
    }
}

impl<T> std::fmt::Debug for Fenced<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fenced").finish_non_exhaustive()
    }
}

impl Outcome {
    /// The reason code of a call that the fence stopped.
    pub const FENCED: &'static str = "fenced";

    /// The fence said no before anything left: there was no attempt, and the host records none.
    pub fn fenced() -> Self {
        Self::later(Self::FENCED, "this node may not attempt it any more")
    }

    /// Whether it is [`Outcome::fenced`].
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Later { reason, .. } if reason.code == Self::FENCED)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    struct Says(bool);

    impl Fence for Says {
        fn holds(&self) -> bool {
            self.0
        }
    }

    fn once<T>(future: impl Future<Output = T>) -> Poll<T> {
        Box::pin(future).as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_fence_is_seen_inside_and_not_outside_also_after_a_panic() {
        assert!(fence().is_none());
        let inside = async { fence().map(|fence| fence.holds()) };
        assert_eq!(once(fenced(Arc::new(Says(true)), inside)), Poll::Ready(Some(true)));
        assert!(fence().is_none());
        let panics = std::panic::catch_unwind(|| once(fenced(Arc::new(Says(true)), async { panic!("a provider") })));
        assert!(panics.is_err() && fence().is_none());
    }

    #[test]
    fn an_inner_fence_hides_the_outer_one_for_as_long_as_it_lasts() {
        let seen = async {
            let inner = fenced(Arc::new(Says(false)), async { fence().map(|fence| fence.holds()) }).await;
            (inner, fence().map(|fence| fence.holds()))
        };
        assert_eq!(once(fenced(Arc::new(Says(true)), seen)), Poll::Ready((Some(false), Some(true))));
    }

    #[test]
    fn only_the_fences_own_outcome_counts_as_fenced() {
        assert!(Outcome::fenced().is_fenced());
        assert!(!Outcome::later("http_503", "fenced").is_fenced());
    }
}
