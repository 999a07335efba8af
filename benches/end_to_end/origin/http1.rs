//! HTTP/1.1 as cheaply as an origin can speak it: the head is looked at once, the answer goes out in
//! one write.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::room::Room;

/// More than any contender's head, and a TLS record.
const BUFFER_BYTES: usize = 32 * 1024;
/// Longer bodies are written by themselves rather than copied behind their heads.
const COPIED_BYTES_MAX: usize = 16 * 1024;

/// What of a head matters here.
#[derive(Default)]
struct Head {
    path: String,
    authorization: Option<Vec<u8>>,
    body_bytes: usize,
    chunked: bool,
    last: bool,
}

/// Answers requests until the connection ends, however it does.
pub(super) async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, room: Arc<Room>) {
    let (mut read, mut head) = (BytesMut::with_capacity(BUFFER_BYTES), Head::default());
    let mut answer = BytesMut::with_capacity(BUFFER_BYTES);
    while read_head(&mut stream, &mut read, &mut head).await.is_some() {
        if skip_body(&mut stream, &mut read, &head).await.is_none() {
            return;
        }
        let (status, body) = room.answer(&head.path, head.authorization.as_deref());
        let written = write(&mut stream, &mut answer, status, &body).await;
        if written.is_none() || head.last {
            break;
        }
    }
    // Whoever closed first need not hear of it.
    drop(stream.shutdown().await);
}

async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    answer: &mut BytesMut,
    status: StatusCode,
    body: &Bytes,
) -> Option<()> {
    answer.clear();
    answer.put_slice(b"HTTP/1.1 ");
    answer.put_slice(status.as_str().as_bytes());
    answer.put_slice(b" ");
    answer.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    answer.put_slice(
        b"\r\ncontent-type: application/json\r\ncache-control: no-store\r\ncontent-length: ",
    );
    answer.put_slice(body.len().to_string().as_bytes());
    answer.put_slice(b"\r\n\r\n");
    if body.len() <= COPIED_BYTES_MAX {
        answer.put_slice(body);
        stream.write_all(answer).await.ok()?;
    } else {
        stream.write_all(answer).await.ok()?;
        stream.write_all(body).await.ok()?;
    }
    stream.flush().await.ok()
}

/// Takes a head off `read`, after reading it; `None` when the connection ends or makes no sense.
async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut BytesMut,
    head: &mut Head,
) -> Option<()> {
    let end = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        more(stream, read).await?;
    };
    let lines = read.split_to(end + 4);
    head.read(&lines[..end])
}

/// Reads what has come, or waits for it.
async fn more(stream: &mut (impl AsyncRead + Unpin), read: &mut BytesMut) -> Option<()> {
    read.reserve(BUFFER_BYTES / 2);
    (stream.read_buf(read).await.ok()? > 0).then_some(())
}

async fn skip_body(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut BytesMut,
    head: &Head,
) -> Option<()> {
    if !head.chunked {
        return skip(stream, read, head.body_bytes).await;
    }
    // RFC 9112 §7.1; nobody here sends trailers.
    loop {
        let size = loop {
            if let Some(end) = read.windows(2).position(|two| two == b"\r\n") {
                let line = read.split_to(end + 2);
                let size = line[..end].split(|byte| *byte == b';').next()?;
                break usize::from_str_radix(str::from_utf8(size).ok()?.trim(), 16).ok()?;
            }
            more(stream, read).await?;
        };
        skip(stream, read, size + 2).await?;
        if size == 0 {
            return Some(());
        }
    }
}

async fn skip(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut BytesMut,
    mut bytes: usize,
) -> Option<()> {
    loop {
        let have = bytes.min(read.len());
        read.advance(have);
        bytes -= have;
        if bytes == 0 {
            return Some(());
        }
        more(stream, read).await?;
    }
}

impl Head {
    fn read(&mut self, lines: &[u8]) -> Option<()> {
        let mut lines = lines.split(|byte| *byte == b'\n');
        let mut request_line = lines.next()?.split(|byte| *byte == b' ');
        let target = str::from_utf8(request_line.nth(1)?).ok()?;
        self.path.clear();
        self.path.push_str(target);
        (self.authorization, self.body_bytes) = (None, 0);
        (self.chunked, self.last) = (false, false);
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"authorization") {
                // Twice is once too often: the second makes it wrong.
                let before = self.authorization.take().unwrap_or_default();
                self.authorization = Some([&before, value].concat());
            } else if name.eq_ignore_ascii_case(b"content-length") {
                self.body_bytes = str::from_utf8(value).ok()?.parse().ok()?;
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                self.chunked = value.eq_ignore_ascii_case(b"chunked");
            } else if name.eq_ignore_ascii_case(b"connection") {
                self.last = value.eq_ignore_ascii_case(b"close");
            }
        }
        Some(())
    }
}
