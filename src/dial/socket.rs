//! A TCP stream whose reads and writes cost no more than they must.
//!
//! rustls asks for 4 KiB at a time, and hands over even one record as a vector. A large answer is
//! read in larger pieces here, from which rustls is served; one piece is written by send(2), for
//! which the kernel's way is shorter.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How much of a large answer is read at once, in bytes.
const AHEAD_BYTES: usize = 64 * 1024;

/// A TCP stream to an origin.
#[derive(Debug)]
pub struct Socket<S = TcpStream> {
    stream: S,
    /// What was read and not asked for yet. Holds memory only while much arrives.
    ahead: BytesMut,
    /// Whether the last read was filled, so that there is more.
    floods: bool,
}

impl<S> Socket<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            ahead: BytesMut::new(),
            floods: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.is_empty() {
            if !this.floods {
                ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
                this.floods = buf.remaining() == 0;
                return Poll::Ready(Ok(()));
            }
            this.ahead.reserve(AHEAD_BYTES);
            let read = pin!(this.stream.read_buf(&mut this.ahead)).poll(cx);
            if read.is_pending() {
                // What filled the last read may have been all: the wait may be an idle one.
                this.ahead = BytesMut::new();
            }
            let count = ready!(read)?;
            this.floods = count >= AHEAD_BYTES;
        }
        let count = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead[..count]);
        this.ahead.advance(count);
        if this.ahead.is_empty() && !this.floods {
            this.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs {
            [one] => Pin::new(&mut self.stream).poll_write(cx, one),
            bufs => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn what_is_read_ahead_comes_whole_and_in_order_and_holds_nothing_afterwards() {
        for length in [1, 4095, 4096, 4097, 65_536, 70_000, 400_000] {
            let sent: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let (mut far, near) = tokio::io::duplex(200_000);
            let mut socket = Socket::new(near);
            let text = sent.clone();
            let sending = tokio::spawn(async move {
                far.write_all(&text).await.unwrap();
                far
            });

            let mut received = Vec::new();
            let mut piece = [0; 4096];
            while received.len() < length {
                let count = socket.read(&mut piece).await.unwrap();
                assert!(count > 0);
                received.extend_from_slice(&piece[..count]);
            }
            let far = sending.await.unwrap();
            drop(far);

            assert_eq!(socket.read(&mut piece).await.unwrap(), 0);
            assert!(received == sent, "{length}");
            assert_eq!(socket.ahead.capacity(), 0, "{length}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_filled_its_last_read_leaves_nothing_held_while_more_is_awaited() {
        for length in [4096, 4096 + AHEAD_BYTES] {
            let (mut far, near) = tokio::io::duplex(200_000);
            let mut socket = Socket::new(near);
            far.write_all(&vec![1; length]).await.unwrap();
            let (mut received, mut piece) = (0, [0; 4096]);
            while received < length {
                received += socket.read(&mut piece).await.unwrap();
            }

            let awaited = {
                let reading = pin!(socket.read(&mut piece));
                reading.poll(&mut Context::from_waker(std::task::Waker::noop()))
            };

            assert!(awaited.is_pending());
            assert_eq!(socket.ahead.capacity(), 0, "{length}");
            far.write_all(b"more").await.unwrap();
            assert_eq!(socket.read(&mut piece).await.unwrap(), 4, "{length}");
        }
    }
}
