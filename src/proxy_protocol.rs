//! How a TCP balancer says who is behind it: the PROXY protocol, version 2.
//!
//! Section numbers are those of HAProxy's `proxy-protocol.txt`, which is the protocol's text.
//! [`header`](parse) knows the bytes; what is here takes them off a connection, for either plane,
//! before TLS and HTTP are spoken on it.
//!
//! # Invariants
//!
//! Not one byte behind the header is read: it is the client's. A header takes
//! [`HEADER_BYTES_MAX`] bytes at most, and what cannot be one any more is not waited for. Whoever
//! shows none, or a bad one, is told nothing; the [`doorkeeper`](crate::doorkeeper) tells of it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt};

mod checksum;
mod header;
#[cfg(test)]
mod tests;

pub use header::{Ends, HEADER_BYTES_MAX, Header, HeaderError, parse};

/// From where connections may come that begin with a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balancers(Arc<[IpNet]>);

impl Balancers {
    /// Those within `networks`; all, if there is none.
    pub fn within(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    /// Whether whoever reaches the listener is believed.
    pub fn are_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `address` is one of theirs. An IPv4-mapped one is the IPv4 address that it maps
    /// (RFC 4291 §2.5.5.2).
    pub fn include(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.are_all() || self.0.iter().any(|network| network.contains(&address))
    }
}

/// Why a connection was closed that was to begin with a header.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It comes from nowhere that headers are believed from.
    #[error("it does not come from one of the listed balancers")]
    Stranger,
    /// What it began with.
    #[error("its header was not accepted")]
    Header(#[from] HeaderError),
    /// It has ended, or broke off, before it said anything wrong.
    #[error("it ended before its header")]
    Gone(#[source] io::Error),
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Gone(error) => error,
            refused @ (Refused::Stranger | Refused::Header(_)) => {
                Self::new(io::ErrorKind::InvalidData, refused)
            }
        }
    }
}

/// Reads a header off `stream` and nothing behind it; `None` if the connection speaks for itself.
pub(crate) async fn read<S>(stream: &mut S) -> Result<Option<Ends>, Refused>
where
    S: AsyncRead + Unpin,
{
    let mut bytes = vec![0; header::START_BYTES];
    let mut filled = 0;
    while filled < bytes.len() {
        let count = stream.read(&mut bytes[filled..]).await;
        let count = count.map_err(Refused::Gone)?;
        match (count, filled) {
            (0, 0) => return Err(Refused::Gone(io::ErrorKind::UnexpectedEof.into())),
            (0, _) => return Err(HeaderError::Truncated.into()),
            _ => filled += count,
        }
        // Who begins otherwise, with a request for instance, would wait for an answer.
        header::check_start(&bytes[..filled])?;
    }
    bytes.resize(header::length(&bytes)?, 0);
    match stream.read_exact(&mut bytes[header::START_BYTES..]).await {
        Ok(_) => Ok(parse(&bytes)?.ends),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(HeaderError::Truncated.into())
        }
        Err(error) => Err(Refused::Gone(error)),
    }
}
