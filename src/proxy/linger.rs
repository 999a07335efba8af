//! Reads on, for a while, what a client still sends that has its last answer.
//!
//! Closing a connection on which bytes arrive resets it, and a reset may destroy the answer before
//! the client has read it. So the sending half is shut down first, and what comes is thrown away
//! until the client closes too (RFC 9112 §9.6): for [`LINGER`] and [`LINGER_BYTES_MAX`] at most.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};

/// How long a client may go on sending.
pub(super) const LINGER: Duration = Duration::from_secs(5);
/// How much it may send meanwhile, in bytes.
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How much of it is held at a time, in bytes.
const PIECE_BYTES: usize = 8192;

/// What a client may still send.
#[derive(Debug)]
pub(super) struct Linger {
    bytes_left: usize,
}

impl Linger {
    pub(super) fn new() -> Self {
        Self {
            bytes_left: LINGER_BYTES_MAX,
        }
    }

    /// Ready once the client has closed, or has sent too much.
    pub(super) fn poll_over<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<()>
    where
        S: AsyncRead + Unpin,
    {
        let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
        while self.bytes_left > 0 {
            let mut piece = ReadBuf::uninit(&mut piece);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut piece));
            if read.is_err() || piece.filled().is_empty() {
                break;
            }
            self.bytes_left = self.bytes_left.saturating_sub(piece.filled().len());
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_client_that_never_stops_is_read_no_further_than_the_bound() {
        let mut endless = tokio::io::repeat(7).take(u64::MAX);
        let mut linger = Linger::new();

        poll_fn(|cx| linger.poll_over(&mut endless, cx)).await;

        let read = u64::MAX - endless.limit();
        let bound = u64::try_from(LINGER_BYTES_MAX).unwrap_or(u64::MAX);
        assert!((bound..bound + 8192).contains(&read), "{read}");
    }
}
