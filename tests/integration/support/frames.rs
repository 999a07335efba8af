//! HTTP/2 written out and read frame by frame: what no library would let a test say.
//!
//! Field lines are literals with a new name, without indexing and without Huffman's code (RFC 7541
//! §6.2.2): any bytes can stand in them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::wire::{ReadWrite, Wire};
use super::within;

/// RFC 9113 §6.1.
pub(crate) const DATA: u8 = 0;
/// §6.2.
pub(crate) const HEADERS: u8 = 1;
/// §6.3.
pub(crate) const PRIORITY: u8 = 2;
/// §6.4.
pub(crate) const RST_STREAM: u8 = 3;
/// §6.5.
pub(crate) const SETTINGS: u8 = 4;
/// §6.6.
pub(crate) const PUSH_PROMISE: u8 = 5;
/// §6.7.
pub(crate) const PING: u8 = 6;
/// §6.8.
pub(crate) const GOAWAY: u8 = 7;
/// §6.9.
pub(crate) const WINDOW_UPDATE: u8 = 8;
/// §6.10.
pub(crate) const CONTINUATION: u8 = 9;

/// Of SETTINGS and PING.
pub(crate) const ACK: u8 = 1;
/// Of DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 1;
/// Of HEADERS, CONTINUATION and PUSH_PROMISE.
pub(crate) const END_HEADERS: u8 = 4;
/// Of DATA and HEADERS.
pub(crate) const PADDED: u8 = 8;

/// What a client says first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The head of every frame, in bytes.
pub(crate) const FRAME_HEAD: usize = 9;

/// One frame as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its type.
    pub(crate) kind: u8,
    /// Its flags.
    pub(crate) flags: u8,
    /// Its stream; 0 is the connection.
    pub(crate) stream: u32,
    /// What is in it.
    pub(crate) payload: Vec<u8>,
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A frame from the front of `bytes`, and how many of them it took; `None` if it is not all there.
pub(crate) fn read(bytes: &[u8]) -> Option<(Frame, usize)> {
    let head = bytes.get(..FRAME_HEAD)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let end = FRAME_HEAD + usize::try_from(length).unwrap();
    let frame = Frame {
        kind: head[3],
        flags: head[4],
        stream: u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]),
        payload: bytes.get(FRAME_HEAD..end)?.to_vec(),
    };
    Some((frame, end))
}

/// One field line.
pub(crate) fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut line = vec![0];
    for text in [name.as_ref(), value.as_ref()] {
        integer(&mut line, text.len());
        line.extend(text);
    }
    line
}

/// Field lines, one behind the other.
pub(crate) fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let lines = fields.iter().map(|(name, value)| field(name, value));
    lines.collect::<Vec<_>>().concat()
}

/// An integer behind one bit of something else (RFC 7541 §5.1).
fn integer(to: &mut Vec<u8>, value: usize) {
    const PREFIX_MAX: usize = 0x7f;
    if value < PREFIX_MAX {
        to.push(u8::try_from(value).unwrap());
        return;
    }
    to.push(0x7f);
    let mut rest = value - PREFIX_MAX;
    while rest >= 0x80 {
        to.push(u8::try_from(rest % 0x80).unwrap() | 0x80);
        rest /= 0x80;
    }
    to.push(u8::try_from(rest).unwrap());
}

/// A head in one frame: HEADERS with END_HEADERS and `flags`.
pub(crate) fn head<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    flags: u8,
    stream: u32,
    fields: &[(N, V)],
) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(fields))
}

/// GOAWAY that names `last_stream`.
pub(crate) fn goaway(last_stream: u32, code: u32) -> Vec<u8> {
    let payload = [last_stream.to_be_bytes(), code.to_be_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

/// One side of a connection.
pub(crate) struct Frames {
    stream: Box<dyn ReadWrite>,
    read: Vec<u8>,
}

impl Frames {
    /// The client's side, before anything was said.
    pub(crate) fn over(stream: impl ReadWrite + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            read: Vec::new(),
        }
    }

    /// The origin's side, once the client has said its preface and this side its own (RFC 9113
    /// §3.4).
    pub(crate) async fn of_origin(mut wire: Wire) -> Self {
        let preface = wire.exactly(PREFACE.len()).await;
        assert_eq!(preface.as_deref(), Some(PREFACE));
        let (stream, read) = wire.into_parts();
        let mut frames = Self { stream, read };
        frames.write(frame(SETTINGS, 0, 0, &[])).await.unwrap();
        frames
    }

    /// Writes `bytes`, where the other side may have closed already.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let writing = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        within("frames to be taken", writing).await
    }

    /// Ends this side.
    pub(crate) async fn close(&mut self) {
        // The other may be gone.
        let _ = self.stream.shutdown().await;
    }

    /// The next frame, whatever it is; `None` once the other side is gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, taken)) = read(&self.read) {
                self.read.drain(..taken);
                return Some(frame);
            }
            let reading = self.stream.read_buf(&mut self.read);
            if !matches!(within("frames", reading).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// The next frame that is about a request or the connection's end; others are answered as they
    /// want it.
    pub(crate) async fn telling(&mut self) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            let reply = match (frame.kind, frame.flags & ACK) {
                (SETTINGS, 0) => self::frame(SETTINGS, ACK, 0, &[]),
                (PING, 0) => self::frame(PING, ACK, 0, &frame.payload),
                (DATA | HEADERS | RST_STREAM | GOAWAY | CONTINUATION, _) => return Some(frame),
                _ => continue,
            };
            // Its end is found by reading.
            let _ = self.write(reply).await;
        }
    }

    /// The stream of the next request that is whole; `None` once the other side is gone.
    pub(crate) async fn request(&mut self) -> Option<u32> {
        loop {
            let frame = self.telling().await?;
            if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                return Some(frame.stream);
            }
        }
    }

    /// Whatever comes, to the end.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut rest = Vec::new();
        while let Some(frame) = self.next().await {
            rest.push(frame);
        }
        rest
    }
}

#[test]
fn a_frame_is_read_as_it_was_written_and_only_when_it_is_all_there() {
    let bytes = frame(DATA, END_STREAM, 5, b"hello");

    for short in 0..bytes.len() {
        assert_eq!(read(&bytes[..short]), None);
    }
    let (frame, taken) = read(&[&bytes[..], b"more"].concat()).unwrap();

    assert_eq!((frame.kind, frame.flags, frame.stream), (0, 1, 5));
    assert_eq!((frame.payload.as_slice(), taken), (&b"hello"[..], 14));
}

#[test]
fn long_texts_have_their_length_in_several_bytes() {
    // RFC 7541 §5.1, appendix C.1.2.
    for (length, expected) in [(126, &[126][..]), (127, &[127, 0]), (1337, &[127, 186, 9])] {
        let mut written = Vec::new();
        integer(&mut written, length);
        assert_eq!(written, expected);
    }
}
