//! The few frames of HTTP/2 that a faulty peer needs (RFC 9113 §6), written out.

use super::{Peer, Said};
use crate::support::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, FRAME_HEAD, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
    frame, goaway,
};

/// A frame that a peer sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Frame {
    /// The head of an answer with this status.
    Head(u16),
    /// A piece of its content.
    Data(&'static [u8]),
    /// The last piece.
    LastData(&'static [u8]),
    /// RST_STREAM with this error code (RFC 9113 §7).
    Reset(u32),
    /// GOAWAY with this error code, before the request: it was not and will not be processed.
    GoAwayBefore(u32),
    /// GOAWAY with this error code, behind the request.
    GoAwayBehind(u32),
    /// Content of this many bytes, more of it than the window allows (RFC 9113 §6.9.1).
    Flood(usize),
}

impl Frame {
    /// The frame's bytes, where it concerns the request on `stream`.
    pub(super) fn on(self, stream: u32) -> Vec<u8> {
        match self {
            Self::Head(status) => frame(HEADERS, END_HEADERS, stream, &status_field(status)),
            Self::Data(content) => frame(DATA, 0, stream, content),
            Self::LastData(content) => frame(DATA, END_STREAM, stream, content),
            Self::Reset(code) => frame(RST_STREAM, 0, stream, &code.to_be_bytes()),
            Self::GoAwayBefore(code) => goaway(stream.saturating_sub(2), code),
            Self::GoAwayBehind(code) => goaway(stream, code),
            Self::Flood(bytes) => {
                let piece = frame(DATA, 0, stream, &[b'x'; 16 * 1024]);
                piece.repeat(bytes.div_ceil(16 * 1024))
            }
        }
    }
}

/// 200 and `content`.
pub(super) fn answer(content: &'static str) -> Said {
    Said::nothing()
        .frame(Frame::Head(200))
        .frame(Frame::LastData(content.as_bytes()))
}

/// `:status`, as a literal with the name of static table entry 8 (RFC 7541 §6.2.2, appendix A).
fn status_field(status: u16) -> Vec<u8> {
    let mut field = vec![0x08, 3];
    field.extend(status.to_string().bytes());
    field
}

impl Peer {
    /// Takes the client's preface and says its own (RFC 9113 §3.4).
    pub(super) async fn shake_hands(&mut self) -> bool {
        let preface = self.wire.exactly(PREFACE.len()).await;
        let settings = frame(SETTINGS, 0, 0, &[]);
        preface.as_deref() == Some(PREFACE) && self.wire.try_write(settings).await.is_ok()
    }

    /// The stream of the next request that is whole; `None` once the other side is gone.
    pub(super) async fn http2_request(&mut self) -> Option<u32> {
        loop {
            let head = self.wire.exactly(FRAME_HEAD).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let payload = self.wire.exactly(usize::try_from(length).unwrap()).await?;
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let reply = match kind {
                SETTINGS if flags & ACK == 0 => frame(SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => frame(PING, ACK, 0, &payload),
                DATA | HEADERS if flags & END_STREAM != 0 => return Some(stream),
                _ => continue,
            };
            self.wire.try_write(reply).await.ok()?;
        }
    }
}
