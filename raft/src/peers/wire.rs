//! Frames between peers: a length, a number that pairs answers with questions, a tag, and a body.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// Most bytes of one frame; an append carries about 1 MiB, a piece of a snapshot 128 KiB.
pub(crate) const MAX_FRAME: usize = 8 << 20;
/// Number, tag and syncs in front of the body.
const HEAD: usize = 17;
/// So many bytes are gathered before they are written: four records of TLS.
const GATHER: usize = 64 << 10;
/// A peer that takes nothing for so long is given up. One write carries at most [`GATHER`] bytes and a frame.
const TAKES_NOTHING: Duration = Duration::from_secs(20);

/// What is asked of a peer. The numbers are the protocol: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Raft: append entries to a group's log.
    Append = 1,
    /// Raft: vote in a group.
    Vote = 2,
    /// A snapshot of a group begins.
    SnapshotBegin = 3,
    /// One piece of a snapshot or of an archive.
    SnapshotPiece = 4,
    /// A snapshot is complete: install it.
    SnapshotEnd = 5,
    /// Propose commands to a group.
    Propose = 6,
    /// The log index up to which a read must have applied to be fresh.
    ReadIndex = 7,
    /// A question between the programs above this crate.
    Ask = 8,
    /// Stand for election in a group, because its leader hands over.
    Elect = 9,
    /// Let a node join the cluster.
    Join = 10,
    /// Who leads a group and who is a member of it.
    Members = 11,
    /// A group's part of a backup: begin it, or hand out more of it.
    Backup = 20,
    /// What each heard of the disks of the others.
    Disks = 21,
    /// What the peer's clocks show.
    Clock = 30,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::Append,
        Self::Vote,
        Self::SnapshotBegin,
        Self::SnapshotPiece,
        Self::SnapshotEnd,
        Self::Propose,
        Self::ReadIndex,
        Self::Ask,
        Self::Elect,
        Self::Join,
        Self::Members,
        Self::Backup,
        Self::Disks,
        Self::Clock,
    ];

    pub(crate) fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == tag)
    }
}

/// The tag of an answer.
pub(crate) const ANSWER: u8 = 0x80;
/// The tag of a refusal, with its reason as text.
pub(crate) const FAILURE: u8 = 0x81;
/// The tag of what a node that was removed is told instead of an answer, as text.
pub(crate) const GONE: u8 = 0x82;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) number: u64,
    pub(crate) tag: u8,
    /// How far the sender's disk is synced: at least as far as whatever the body promises.
    pub(crate) syncs: u64,
    pub(crate) body: Bytes,
}

impl Frame {
    fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEAD + self.body.len());
        bytes.put_u64(self.number);
        bytes.put_u8(self.tag);
        bytes.put_u64(self.syncs);
        bytes.extend_from_slice(&self.body);
        bytes.freeze()
    }

    fn decode(mut bytes: BytesMut) -> Option<Self> {
        (bytes.len() >= HEAD).then(|| Self {
            number: bytes.get_u64(),
            tag: bytes.get_u8(),
            syncs: bytes.get_u64(),
            body: bytes.freeze(),
        })
    }
}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_codec()
}

/// Frames as they come in.
pub(crate) struct Incoming<R>(FramedRead<R, LengthDelimitedCodec>);

impl<R: AsyncRead + Unpin> Incoming<R> {
    pub(crate) fn new(io: R) -> Self {
        Self(FramedRead::new(io, codec()))
    }

    /// The next frame; `None` at the end of the connection or after nonsense.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        Frame::decode(self.0.next().await?.ok()?)
    }
}

/// A frame on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) frame: Frame,
    /// Its share of what may wait to be written; let go of once it is written.
    pub(crate) waits: Option<OwnedSemaphorePermit>,
}

impl From<Frame> for Outgoing {
    fn from(frame: Frame) -> Self {
        Self { frame, waits: None }
    }
}

/// Writes frames until the sender is gone, the connection breaks, or the other end takes nothing any more; what is ready
/// goes out together.
pub(crate) async fn write_all<W: AsyncWrite + Unpin>(io: W, frames: mpsc::Receiver<Outgoing>) {
    write_within(io, frames, TAKES_NOTHING).await;
}

async fn write_within<W: AsyncWrite + Unpin>(io: W, mut frames: mpsc::Receiver<Outgoing>, within: Duration) {
    let mut out = FramedWrite::new(io, codec());
    out.set_backpressure_boundary(GATHER);
    while let Some(first) = frames.recv().await {
        // Whoever else is about to send gets a turn first: one write then serves several groups.
        tokio::task::yield_now().await;
        let mut next = Some(first);
        while let Some(Outgoing { frame, waits }) = next {
            if !in_time(within, out.feed(frame.encode())).await {
                return;
            }
            drop(waits);
            next = frames.try_recv().ok();
        }
        if !in_time(within, SinkExt::<Bytes>::flush(&mut out)).await {
            return;
        }
    }
}

/// Whether it was written, and in time.
async fn in_time(within: Duration, writing: impl Future<Output = std::io::Result<()>>) -> bool {
    matches!(tokio::time::timeout(within, writing).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in() {
        let (near, far) = tokio::io::duplex(64);
        let (sender, frames) = mpsc::channel(8);
        tokio::spawn(write_all(near, frames));
        let sent: Vec<_> = (0..5_u8)
            .map(|n| Frame {
                number: u64::from(n),
                tag: n,
                syncs: u64::from(n) << 40,
                body: Bytes::from(vec![n; usize::from(n) * 50]),
            })
            .collect();
        for frame in sent.clone() {
            sender.send(frame.into()).await.expect("the writer lives");
        }
        let mut incoming = Incoming::new(far);
        for frame in sent {
            assert_eq!(incoming.next().await, Some(frame));
        }
        drop(sender);
        assert_eq!(incoming.next().await, None);
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (near, _far) = tokio::io::duplex(64);
        let (sender, frames) = mpsc::channel(8);
        let body = Bytes::from(vec![0; GATHER]);
        sender.send(Frame { number: 1, tag: 1, syncs: 1, body }.into()).await.expect("there is room");
        // Returns although the sender lives and the other end is open.
        write_within(near, frames, Duration::from_millis(50)).await;
        assert!(sender.is_closed());
    }

    #[tokio::test]
    async fn an_oversized_length_ends_the_connection() {
        let (near, far) = tokio::io::duplex(64);
        let mut near = near;
        tokio::io::AsyncWriteExt::write_all(&mut near, &u32::MAX.to_be_bytes()).await.expect("written");
        assert_eq!(Incoming::new(far).next().await, None);
    }

    #[test]
    fn every_kind_is_found_by_its_tag() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_tag(kind as u8), Some(kind));
        }
        assert_eq!(Kind::from_tag(0), None);
    }
}
