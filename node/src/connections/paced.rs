//! An answer that is handed over in small pieces, so that it is seen whether anybody reads it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::Version;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::pulse::Pulse;
use crate::bodies::Claims;

/// Longest piece, in bytes. An answer that moves less than this in `http.write_ms` is taken for one that nobody reads.
const PIECE: usize = 32 * 1024;

/// A request under way, from its head to the end of its answer.
#[derive(Debug)]
pub(super) struct Turn {
    pulse: Arc<Pulse>,
    number: u64,
}

impl Turn {
    pub(super) fn begin(pulse: &Arc<Pulse>, version: Version) -> Self {
        Self { number: pulse.begin(version), pulse: Arc::clone(pulse) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pulse.finish(self.number);
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Paced {
    body: Body,
    /// What is left of a piece that was too long.
    rest: Bytes,
    turn: Turn,
    /// The room that the answer takes, and what its request claimed; both given back with it.
    _room: Option<OwnedSemaphorePermit>,
    _claims: Claims,
}

impl Paced {
    pub(super) fn new(body: Body, turn: Turn, room: Option<OwnedSemaphorePermit>, claims: Claims) -> Self {
        Self { body, rest: Bytes::new(), turn, _room: room, _claims: claims }
    }

    fn next_piece(&mut self) -> Bytes {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.turn.pulse.handed(self.turn.number);
        piece
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Whatever keeps the next piece from coming is ours and not the reader's.
        self.turn.pulse.taken(self.turn.number);
        if self.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.next_piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (left, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(left.lower() + rest);
        if let Some(upper) = left.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;

    use super::super::pulse::Patience;
    use super::*;

    #[tokio::test]
    async fn an_answer_comes_whole_in_small_pieces_of_known_size() {
        let second = Duration::from_secs(1);
        let pulse = Arc::new(Pulse::new(Patience { head: second, idle: second, write: second, life: None }));
        let bytes: Vec<u8> = (0..2 * PIECE + 7).map(|n| (n % 251) as u8).collect();
        let turn = Turn::begin(&pulse, Version::HTTP_11);
        let mut paced = Paced::new(Body::from(bytes.clone()), turn, None, Claims::default());
        let (mut lengths, mut all) = (Vec::new(), Vec::new());
        while let Some(frame) = paced.frame().await {
            let piece = frame.expect("it does not break").into_data().expect("it has no trailers");
            lengths.push(piece.len());
            all.extend_from_slice(&piece);
            assert_eq!(paced.size_hint().exact(), Some((bytes.len() - all.len()) as u64));
        }
        assert_eq!((lengths, all), (vec![PIECE, PIECE, 7], bytes));
        assert!(paced.is_end_stream());
    }
}
