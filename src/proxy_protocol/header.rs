//! The bytes of a header (§2.2).

use std::net::{IpAddr, SocketAddr};

use super::checksum::crc32c;

/// The longest header that is read, in bytes. Addresses take 216 at most; the rest is what
/// balancers like to add.
pub const HEADER_BYTES_MAX: usize = 4096;
/// What every header begins with: the signature, version and command, family, length.
pub(super) const START_BYTES: usize = 16;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// In the upper half of the byte behind the signature.
const VERSION: u8 = 0x20;
const LOCAL: u8 = 0x00;
const PROXY: u8 = 0x01;
/// The type of a checksum among the values behind the addresses (§2.2.3).
const CRC32C: u8 = 0x03;

/// Both ends of the connection that a balancer relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who connected to the balancer.
    pub source: SocketAddr,
    /// Where they did.
    pub destination: SocketAddr,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whom the connection is between; `None` if it speaks for itself: the balancer's own (§2.2,
    /// LOCAL), or of a kind that has no addresses of ours.
    pub ends: Option<Ends>,
    /// How many bytes it takes.
    pub length: usize,
}

/// Why a header is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// There is none of version 2.
    #[error("there is no PROXY protocol header of version 2")]
    Missing,
    /// It ends before its end.
    #[error("it is cut off")]
    Truncated,
    /// It says that it is longer than is put up with.
    #[error("it has {length} bytes, more than {HEADER_BYTES_MAX}")]
    TooLong {
        /// How long it would be.
        length: usize,
    },
    /// It has parts that there are not, or too few bytes for what it says.
    #[error("it is malformed")]
    Malformed,
    /// Its checksum is another one.
    #[error("its checksum is wrong")]
    Checksum,
}

/// Reads the header that `bytes` begin with.
///
/// # Errors
///
/// [`HeaderError`]; where that is [`HeaderError::Truncated`], more bytes may make a header of it.
pub fn parse(bytes: &[u8]) -> Result<Header, HeaderError> {
    check_start(bytes)?;
    let length = length(bytes)?;
    let header = bytes.get(..length).ok_or(HeaderError::Truncated)?;
    let (start, block) = header.split_at(START_BYTES);
    let ends = match start[12] ^ VERSION {
        // The balancer itself, to see whether we are well; its block means nothing (§2.2).
        LOCAL => None,
        _proxy => {
            let (ends, addresses_length) = addresses(start[13], block)?;
            if let Some(addresses_length) = addresses_length {
                check_values(header, START_BYTES + addresses_length)?;
            }
            ends
        }
    };
    Ok(Header { ends, length })
}

/// Refuses what cannot be the beginning of a header, however it goes on.
pub(super) fn check_start(bytes: &[u8]) -> Result<(), HeaderError> {
    let signature = bytes.iter().zip(SIGNATURE);
    if signature.clone().any(|(is, should)| is != should) {
        return Err(HeaderError::Missing);
    }
    match bytes.get(12).map(|byte| (byte & 0xf0, byte & 0x0f)) {
        // A version or a command that there is not yet must not be guessed at (§2.2).
        Some((version, _)) if version != VERSION => Err(HeaderError::Missing),
        Some((_, command)) if ![LOCAL, PROXY].contains(&command) => Err(HeaderError::Malformed),
        Some(_) | None => Ok(()),
    }
}

/// How long the header is that `bytes` begin with.
pub(super) fn length(bytes: &[u8]) -> Result<usize, HeaderError> {
    let counted = bytes.get(14..START_BYTES).and_then(number);
    let length = START_BYTES + usize::from(counted.ok_or(HeaderError::Truncated)?);
    match length <= HEADER_BYTES_MAX {
        true => Ok(length),
        false => Err(HeaderError::TooLong { length }),
    }
}

/// The ends that `block` begins with, if they are of TCP, and how many bytes they take, if that is
/// known.
///
/// A receiver may take the real ends for what it has no use for, UDP and Unix sockets (§2.2).
fn addresses(family: u8, block: &[u8]) -> Result<(Option<Ends>, Option<usize>), HeaderError> {
    let (bytes, unused) = match family {
        0x00 => return Ok((None, None)),
        0x11 => (4, false),
        0x12 => (4, true),
        0x21 => (16, false),
        0x22 => (16, true),
        0x31 | 0x32 => (108, true),
        _unlisted => return Err(HeaderError::Malformed),
    };
    let ports_length = if bytes == 108 { 0 } else { 4 };
    let length = 2 * bytes + ports_length;
    let block = block.get(..length).ok_or(HeaderError::Malformed)?;
    if unused {
        return Ok((None, Some(length)));
    }
    let end = |at: usize, port_at: usize| {
        let address = address(block.get(at..at + bytes)?)?;
        let port = number(block.get(port_at..port_at + 2)?)?;
        Some(SocketAddr::new(address, port))
    };
    let ends = end(0, 2 * bytes)
        .zip(end(bytes, 2 * bytes + 2))
        .map(|(source, destination)| Ends {
            source,
            destination,
        });
    Ok((Some(ends.ok_or(HeaderError::Malformed)?), Some(length)))
}

/// An IPv4-mapped address is that IPv4 address (RFC 4291 §2.5.5.2): a rule about it holds either
/// way.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| v6())
        .ok()
        .map(|address| address.to_canonical())
}

/// Walks the values behind the addresses, which fill the header to its end (§2.2): a checksum has
/// to be right (§2.2.3), nothing else is looked at.
fn check_values(header: &[u8], begin: usize) -> Result<(), HeaderError> {
    let mut at = begin;
    while at < header.len() {
        let kind = header[at];
        let length = header.get(at + 1..at + 3).and_then(number);
        let begin = at + 3;
        let end = begin + usize::from(length.ok_or(HeaderError::Malformed)?);
        let value = header.get(begin..end).ok_or(HeaderError::Malformed)?;
        if kind == CRC32C {
            let said = <[u8; 4]>::try_from(value).map_err(|_| HeaderError::Malformed)?;
            let parts = [&header[..begin], &[0; 4], &header[end..]];
            if crc32c(parts) != u32::from_be_bytes(said) {
                return Err(HeaderError::Checksum);
            }
        }
        at = end;
    }
    Ok(())
}

fn number(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_be_bytes)
}
