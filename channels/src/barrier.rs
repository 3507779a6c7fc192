//! Where the fence around a call meets the wire: a request's body that is held back until the fence says yes.
//!
//! The HTTP library polls the body in the task of the open connection, after it has put the head into its buffer and before it
//! writes any of it (hyper's `proto/h1/dispatch.rs`, `poll_write` before `poll_flush`). So a body that fails there keeps the whole
//! request from leaving. On HTTP/2 the head leaves first, and a body that fails resets the stream: no server acts on a request
//! whose body never came. A request without a body is asked for before the connection is obtained only.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tidings_contract::{Fence, Outcome, fence};

use crate::http::Failure;

/// The fence around one request, and whether it said no before anything of the request had left.
#[derive(Clone)]
pub(crate) struct Barrier {
    fence: Option<Arc<dyn Fence>>,
    shut: Arc<AtomicBool>,
}

/// Why a body failed.
#[derive(Debug, thiserror::Error)]
#[error("the call may not be made any more")]
pub(crate) struct HeldBack;

impl Barrier {
    /// The one around the code that runs.
    pub(crate) fn around() -> Self {
        Self { fence: fence(), shut: Arc::default() }
    }

    /// Whether something may leave now.
    pub(crate) fn opens(&self) -> bool {
        let opens = self.fence.as_ref().is_none_or(|fence| fence.holds());
        if !opens {
            self.shut.store(true, Ordering::SeqCst);
        }
        opens
    }

    /// Whether the rest may leave of what has begun to.
    pub(crate) fn stays_open(&self) -> bool {
        let opens = self.fence.as_ref().is_none_or(|fence| fence.goes_on());
        if !opens {
            self.shut.store(true, Ordering::SeqCst);
        }
        opens
    }

    /// Whether it said no.
    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::SeqCst)
    }

    /// What a caller hears of that.
    pub(crate) fn failure(&self) -> Failure {
        Failure::NotSent { code: Outcome::FENCED, words: HeldBack.to_string() }
    }

    /// A body that leaves only through the barrier; as it is where there is no fence.
    pub(crate) fn before(&self, body: Bytes) -> Behind {
        Behind { barrier: self.clone(), body: Some(body) }
    }
}

/// A body behind a barrier: one piece, and not empty.
pub(crate) struct Behind {
    barrier: Barrier,
    body: Option<Bytes>,
}

impl Body for Behind {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let Some(body) = self.body.take() else { return Poll::Ready(None) };
        if self.barrier.opens() {
            return Poll::Ready(Some(Ok(Frame::data(body))));
        }
        Poll::Ready(Some(Err(std::io::Error::other(HeldBack))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.as_ref().map_or(0, |body| body.len() as u64))
    }
}

#[cfg(test)]
#[path = "barrier_tests.rs"]
mod tests;
