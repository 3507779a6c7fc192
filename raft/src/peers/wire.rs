//! Frames between peers: a length, a number that pairs answers with questions, a tag, and a body.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// Most bytes of one frame; an append carries about 1 MiB, a piece of a snapshot 128 KiB.
pub(crate) const MAX_FRAME: usize = 8 << 20;
/// Number and tag in front of the body.
const HEAD: usize = 9;

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
}

impl Kind {
    const ALL: [Self; 12] = [
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
    pub(crate) body: Bytes,
}

impl Frame {
    fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEAD + self.body.len());
        bytes.put_u64(self.number);
        bytes.put_u8(self.tag);
        bytes.extend_from_slice(&self.body);
        bytes.freeze()
    }

    fn decode(mut bytes: BytesMut) -> Option<Self> {
        (bytes.len() >= HEAD).then(|| Self { number: bytes.get_u64(), tag: bytes.get_u8(), body: bytes.freeze() })
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

/// Writes frames until the sender is gone or the connection breaks; what is ready goes out together.
pub(crate) async fn write_all<W: AsyncWrite + Unpin>(io: W, mut frames: mpsc::Receiver<Frame>) {
    let mut out = FramedWrite::new(io, codec());
    while let Some(frame) = frames.recv().await {
        // Whoever else is about to send gets a turn first: one write then serves several groups.
        tokio::task::yield_now().await;
        if out.feed(frame.encode()).await.is_err() {
            return;
        }
        while let Ok(frame) = frames.try_recv() {
            if out.feed(frame.encode()).await.is_err() {
                return;
            }
        }
        if SinkExt::<Bytes>::flush(&mut out).await.is_err() {
            return;
        }
    }
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
            .map(|n| Frame { number: u64::from(n), tag: n, body: Bytes::from(vec![n; usize::from(n) * 50]) })
            .collect();
        for frame in sent.clone() {
            sender.send(frame).await.expect("the writer lives");
        }
        let mut incoming = Incoming::new(far);
        for frame in sent {
            assert_eq!(incoming.next().await, Some(frame));
        }
        drop(sender);
        assert_eq!(incoming.next().await, None);
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
