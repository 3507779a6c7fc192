//! The line to a mail server: a connection on which nothing of a mail leaves once its barrier is shut, its final dot included.
//!
//! The SMTP library hands a mail and its dot to the connection by itself, so the place to ask is below it: every write of the
//! bytes that go to the socket, ciphered or not.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead as FuturesRead, AsyncWrite as FuturesWrite};
#[allow(deprecated, reason = "it is the only way to TLS from the first byte over a stream of one's own")]
use lettre::transport::smtp::client::AsyncNetworkStream;
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::barrier::{Barrier, HeldBack};

/// What guards a connection, for both ends of it: the one that submits a mail, and the one that writes its bytes.
#[derive(Clone, Default)]
pub(crate) struct Line(Arc<Mutex<Option<Barrier>>>);

impl Line {
    /// From here on bytes leave only as long as this barrier is open; `None` lets all pass.
    pub(crate) fn guard(&self, barrier: Option<Barrier>) {
        *self.0.lock() = barrier;
    }

    /// Makes an SMTP connection of a stream: TLS if it is wanted from the first byte, the server's greeting, EHLO.
    #[allow(deprecated, reason = "it is the only way to TLS from the first byte over a stream of one's own")]
    pub(crate) async fn greet(
        &self,
        stream: TcpStream,
        tls: Option<TlsParameters>,
        hello: &ClientId,
    ) -> Result<AsyncSmtpConnection, lettre::transport::smtp::Error> {
        let guarded: Box<dyn AsyncTokioStream> =
            Box::new(Guarded { stream, line: self.clone(), said: 0, answer: None });
        let stream = match tls {
            None => guarded,
            Some(tls) => {
                let mut stream = AsyncNetworkStream::use_existing_tokio1(guarded);
                stream.upgrade_tls(tls).await?;
                Box::new(Ciphered(stream)) as Box<dyn AsyncTokioStream>
            }
        };
        AsyncSmtpConnection::connect_with_transport(stream, hello).await
    }

    /// The library reads the reply only after everything has left, the dot too: from then on nothing can be held back, and a
    /// mail that may have been taken must not be called one that was.
    fn has_left(&self) {
        let mut guard = self.0.lock();
        if guard.as_ref().is_some_and(|barrier| !barrier.is_shut()) {
            *guard = None;
        }
    }

    fn passes(&self) -> io::Result<()> {
        let open = self.0.lock().as_ref().is_none_or(|barrier| !barrier.is_shut() && barrier.stays_open());
        if open { Ok(()) } else { Err(io::Error::other(HeldBack)) }
    }
}

/// Most bytes that a server may say, or send for TLS, before anything is said to it again. A reply has some lines of 512
/// octets (RFC 5321 §4.5.3.1.5); the library keeps all of them until the last one has come, and reads them anew with each.
pub(crate) const SAID: usize = 64 * 1024;

/// The socket behind a line.
#[derive(Debug)]
struct Guarded {
    stream: TcpStream,
    line: Line,
    /// Bytes that came since something was last written.
    said: usize,
    /// What the server answers to STARTTLS, while it does.
    answer: Option<Vec<u8>>,
}

impl Guarded {
    /// Looks at what came while STARTTLS is answered. The library keeps what stands behind that answer, and would take it for
    /// the server's word under TLS; but it came in the clear, from anybody (RFC 3207 §4.2).
    fn look(&mut self, came: &[u8]) -> io::Result<()> {
        let Some(answer) = &mut self.answer else { return Ok(()) };
        answer.extend_from_slice(came);
        let Some(end) = end_of_reply(answer) else { return Ok(()) };
        let more = answer.len() > end;
        self.answer = None;
        if more {
            Err(io::Error::other("the server said more than its answer to STARTTLS, in the clear"))
        } else {
            Ok(())
        }
    }
}

/// Where the first reply ends: behind the line whose code is followed by no hyphen (RFC 5321 §4.2.1).
fn end_of_reply(text: &[u8]) -> Option<usize> {
    let mut start = 0;
    while let Some(length) = text[start..].windows(2).position(|pair| pair == b"\r\n") {
        let line = &text[start..start + length];
        start += length + 2;
        if line.get(3) != Some(&b'-') {
            return Some(start);
        }
    }
    None
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl AsyncTokioStream for Guarded {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.line.has_left();
        if self.said > SAID {
            return Poll::Ready(Err(io::Error::other("the server does not come to the end of its reply")));
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        self.said += into.filled().len() - before;
        self.look(&into.filled()[before..])?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.line.passes()?;
        self.said = 0;
        if bytes.eq_ignore_ascii_case(b"STARTTLS\r\n") {
            self.answer = Some(Vec::new());
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A stream that speaks TLS already, in the library's own type.
#[allow(deprecated, reason = "it is the only way to TLS from the first byte over a stream of one's own")]
#[derive(Debug)]
struct Ciphered(AsyncNetworkStream);

impl AsyncTokioStream for Ciphered {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}

impl AsyncRead for Ciphered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(FuturesRead::poll_read(Pin::new(&mut self.0), cx, into.initialize_unfilled()))?;
        into.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ciphered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        FuturesWrite::poll_write(Pin::new(&mut self.0), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        FuturesWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        FuturesWrite::poll_close(Pin::new(&mut self.0), cx)
    }
}
