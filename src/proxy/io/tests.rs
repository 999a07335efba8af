use super::*;
use crate::proxy::meter::Tick;

#[tokio::test]
async fn the_end_of_the_stream_waits_until_the_answer_is_out() {
    use tokio::io::AsyncReadExt;
    let meter = Meter::new(Tick::default());
    let malformed = Arc::new(Malformed::new(http::HeaderValue::from_static("r1")));
    let mut io =
        Io::new(tokio::io::empty(), Bytes::new(), Arc::clone(&meter)).of_http1_client(malformed);
    meter.request_began();
    let mut buffer = [0; 8];

    let before = {
        let reading = std::pin::pin!(io.read(&mut buffer));
        reading.poll(&mut Context::from_waker(std::task::Waker::noop()))
    };
    meter.request_ended();
    let after = io.read(&mut buffer).await;

    assert!(before.is_pending());
    assert!(matches!(after, Ok(0)));
}

#[tokio::test]
async fn what_was_read_ahead_is_read_again() {
    use tokio::io::AsyncReadExt;
    let meter = Meter::new(Tick::default());
    let mut io = Io::new(&b"lo"[..], Bytes::from_static(b"hel"), Arc::clone(&meter));
    let mut text = String::new();

    let read = io.read_to_string(&mut text).await;

    assert!(read.is_ok());
    assert_eq!(text, "hello");
    assert_eq!(meter.bytes_read(), 5);
}

#[tokio::test]
async fn a_client_that_has_ended_is_told_by_closing_unless_over_tls() {
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for plain in [true, false] {
        let (mut client, server) = tokio::io::duplex(64);
        let malformed = Arc::new(Malformed::new(http::HeaderValue::from_static("r1")));
        let io = Io::new(server, Bytes::new(), Meter::new(Tick::default()));
        let mut io = match io.of_http1_client(malformed) {
            io if plain => io.without_encryption(),
            io => io,
        };
        client.shutdown().await.unwrap();
        assert_eq!(io.read(&mut [0; 8]).await.unwrap(), 0);

        io.shutdown().await.unwrap();

        let told = client.read(&mut [0; 8]).now_or_never();
        assert_eq!(told.is_none(), plain);
        drop(io);
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    }
}

/// An origin that always has another record.
struct Floods;

impl AsyncRead for Floods {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buf.put_slice(&[b'a'; PIECE_BYTES][..PIECE_BYTES.min(buf.remaining())]);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn no_more_of_an_answer_is_read_at_once_than_the_most() {
    use tokio::io::AsyncReadExt;
    let meter = Meter::new(Tick::default());
    let mut io = Io::new(Floods, Bytes::new(), meter).of_http1_origin();
    let mut buffer = vec![0; 4 * BULK_BYTES_MAX];

    let count = io.read(&mut buffer).await;

    assert!(matches!(count, Ok(BULK_BYTES_MAX)), "{count:?}");
}

#[test]
fn small_pieces_are_joined_and_large_ones_left_as_they_are() {
    let piece = |bytes: usize| vec![b'a'; bytes];
    let joins = |pieces: &[Vec<u8>]| {
        let pieces: Vec<_> = pieces.iter().map(|piece| io::IoSlice::new(piece)).collect();
        let mut joined = [0; SMALL_BYTES_MAX];
        join(&pieces, &mut joined).map(<[u8]>::len)
    };
    assert_eq!(joins(&[piece(300), piece(0), piece(212)]), Some(512));
    assert_eq!(joins(&[piece(300), piece(213)]), None);
    // One piece needs no copy, whatever its size.
    assert_eq!(joins(&[piece(100_000)]), Some(100_000));
    assert_eq!(joins(&[]), Some(0));
}

#[tokio::test]
async fn what_comes_with_the_end_of_an_origins_stream_counts_as_an_answer_begun() {
    use tokio::io::AsyncReadExt;
    let meter = Meter::new(Tick::default());
    let begun = [b'a'; PIECE_BYTES + 1];
    let mut io = Io::new(&begun[..], Bytes::new(), Arc::clone(&meter)).of_http1_origin();
    let mut buffer = [0; 2 * PIECE_BYTES];

    let count = io.read(&mut buffer).await;
    let read_with_the_end = meter.bytes_read();
    let end = io.read(&mut buffer).await;

    assert!(matches!(count, Ok(count) if count == begun.len()));
    assert_eq!(read_with_the_end, begun.len() as u64);
    assert!(matches!(end, Ok(0)));
}

#[tokio::test]
async fn an_origins_stream_that_breaks_is_read_to_the_break_and_then_says_so() {
    use tokio::io::{AsyncReadExt, ReadHalf};
    struct Breaks(ReadHalf<tokio::io::DuplexStream>);
    impl AsyncRead for Breaks {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
            match buf.filled().len() == before {
                // As rustls has it where close_notify is missing (RFC 8446 §6.1).
                true => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                false => Poll::Ready(Ok(())),
            }
        }
    }
    let (mut far, near) = tokio::io::duplex(4 * PIECE_BYTES);
    tokio::io::AsyncWriteExt::write_all(&mut far, &[b'a'; 2 * PIECE_BYTES])
        .await
        .ok();
    drop(far);
    let meter = Meter::new(Tick::default());
    let stream = Breaks(tokio::io::split(near).0);
    let mut io = Io::new(stream, Bytes::new(), Arc::clone(&meter)).of_http1_origin();
    let mut buffer = [0; 4 * PIECE_BYTES];

    let read = io.read(&mut buffer).await;
    let broke = io.read(&mut buffer).await;

    assert!(matches!(read, Ok(count) if count == 2 * PIECE_BYTES));
    assert!(broke.is_err_and(|error| error.kind() == io::ErrorKind::UnexpectedEof));
    assert_eq!(meter.bytes_read(), 2 * PIECE_BYTES as u64);
}
