//! A body over HTTP/1.1: where it ends, and how many bytes of it there are.

use super::head::Length;

/// A body of which some has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// So many bytes are to come.
    Counted(u64),
    Chunked(Chunk),
    ToEnd,
}

/// Where in a chunked body one is (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// Amid a chunk's size; the digits so far.
    Size {
        bytes: u64,
        digits: u32,
    },
    /// Behind the size, before its line's end.
    Extension {
        bytes: u64,
    },
    /// So many bytes of a chunk are to come.
    Data {
        left: u64,
    },
    /// Behind a chunk's bytes, before its line's end.
    DataEnd,
    /// Amid the trailer section; how long the line is so far.
    Trailer {
        line: usize,
    },
    Ended,
}

/// Why bytes are no chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed chunk")]
pub(crate) struct ChunkError;

impl Body {
    pub(crate) fn new(length: Length) -> Self {
        match length {
            Length::Bytes(bytes) => Self::Counted(bytes),
            Length::Chunked => Self::Chunked(Chunk::Size {
                bytes: 0,
                digits: 0,
            }),
            Length::ToEnd => Self::ToEnd,
        }
    }

    /// It is there whole.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Self::Counted(left) => *left == 0,
            Self::Chunked(chunk) => *chunk == Chunk::Ended,
            Self::ToEnd => false,
        }
    }

    /// Reads what of `bytes` belongs to the body and gives its content to `content`; says how many
    /// bytes those were.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        mut content: impl FnMut(&[u8]),
    ) -> Result<usize, ChunkError> {
        match self {
            Self::Counted(left) => {
                let taken = upto(*left, bytes);
                *left -= taken.len() as u64;
                content(taken);
                Ok(taken.len())
            }
            Self::ToEnd => {
                content(bytes);
                Ok(bytes.len())
            }
            Self::Chunked(chunk) => {
                let mut at = 0;
                while at < bytes.len() && *chunk != Chunk::Ended {
                    if let Chunk::Data { left } = *chunk {
                        let taken = upto(left, &bytes[at..]);
                        content(taken);
                        at += taken.len();
                        *chunk = match left - taken.len() as u64 {
                            0 => Chunk::DataEnd,
                            left => Chunk::Data { left },
                        };
                    } else {
                        *chunk = chunk.next(bytes[at])?;
                        at += 1;
                    }
                }
                Ok(at)
            }
        }
    }
}

impl Chunk {
    /// What comes after `byte`, which is none of a chunk's content.
    fn next(self, byte: u8) -> Result<Self, ChunkError> {
        match (self, byte) {
            (Self::Size { bytes, digits }, byte) => match (byte as char).to_digit(16) {
                Some(digit) if digits < 15 => Ok(Self::Size {
                    bytes: bytes * 16 + u64::from(digit),
                    digits: digits + 1,
                }),
                None if digits > 0 => Self::Extension { bytes }.next(byte),
                Some(_) | None => Err(ChunkError),
            },
            (Self::Extension { bytes: 0 }, b'\n') => Ok(Self::Trailer { line: 0 }),
            (Self::Extension { bytes }, b'\n') => Ok(Self::Data { left: bytes }),
            (Self::Extension { bytes }, _) => Ok(Self::Extension { bytes }),
            (Self::DataEnd, b'\r') => Ok(Self::DataEnd),
            (Self::DataEnd, b'\n') => Ok(Self::Size {
                bytes: 0,
                digits: 0,
            }),
            (Self::DataEnd, _) => Err(ChunkError),
            (Self::Trailer { line: 0 }, b'\n') => Ok(Self::Ended),
            (Self::Trailer { .. }, b'\n') => Ok(Self::Trailer { line: 0 }),
            (Self::Trailer { line }, b'\r') => Ok(Self::Trailer { line }),
            (Self::Trailer { line }, _) => Ok(Self::Trailer { line: line + 1 }),
            (Self::Data { .. } | Self::Ended, _) => Err(ChunkError),
        }
    }
}

/// The first `count` of `bytes`, or all.
fn upto(count: u64, bytes: &[u8]) -> &[u8] {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    &bytes[..count.min(bytes.len())]
}
