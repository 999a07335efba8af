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
//! shows none, or a bad one, is told nothing: the connection is closed, counted, and written down
//! once a second at most.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

use crate::clock::Clock;
use crate::metrics::{BalancerRefusal, Listener, ProxyProtocolMetrics};

mod checksum;
mod header;
#[cfg(test)]
mod tests;

pub use header::{Ends, HEADER_BYTES_MAX, Header, HeaderError, parse};

/// How often at most one connection that was closed is written down.
const NOTED_EVERY: Duration = Duration::from_secs(1);

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

/// Who stands at one listener and tells of those it turns away.
#[derive(Debug)]
pub struct Doorkeeper {
    listener: Listener,
    metrics: Arc<ProxyProtocolMetrics>,
    clock: Clock,
    /// Until when nobody else is written down, by the clock, in milliseconds.
    quiet_until_ms: AtomicU64,
}

impl Doorkeeper {
    /// One who counts into `metrics` what comes to `listener`.
    pub fn new(listener: Listener, metrics: Arc<ProxyProtocolMetrics>, clock: Clock) -> Self {
        Self {
            listener,
            metrics,
            clock,
            quiet_until_ms: AtomicU64::new(0),
        }
    }

    /// Lets `socket` in if it comes from one of `balancers`.
    ///
    /// # Errors
    ///
    /// [`Refused::Stranger`], counted; the connection is to be closed.
    pub fn admit(&self, socket: &TcpStream, balancers: &Balancers) -> Result<(), Refused> {
        let peer = socket.peer_addr().map_err(Refused::Gone)?;
        match balancers.include(peer.ip()) {
            true => Ok(()),
            false => Err(self.noted(peer, Refused::Stranger)),
        }
    }

    /// Takes the header off `socket`: who is behind the balancer, and whom they reached.
    ///
    /// Waits for as long as the header is incomplete: the caller has a limit.
    ///
    /// # Errors
    ///
    /// [`Refused`], counted; the connection is to be closed.
    pub async fn introduce(&self, socket: &mut TcpStream) -> Result<Ends, Refused> {
        let own = Ends {
            source: socket.peer_addr().map_err(Refused::Gone)?,
            destination: socket.local_addr().map_err(Refused::Gone)?,
        };
        match read(socket).await {
            Ok(Some(ends)) => Ok(ends),
            Ok(None) => Ok(own),
            Err(refused) => Err(self.noted(own.source, refused)),
        }
    }

    /// Counts `refused`, and writes it down if nothing was a moment ago.
    fn noted(&self, peer: SocketAddr, refused: Refused) -> Refused {
        let reason = match &refused {
            Refused::Stranger => BalancerRefusal::Stranger,
            Refused::Header(HeaderError::Missing) => BalancerRefusal::Missing,
            Refused::Header(
                HeaderError::Truncated
                | HeaderError::TooLong { .. }
                | HeaderError::Malformed
                | HeaderError::Checksum,
            ) => BalancerRefusal::Malformed,
            // Balancers look whether the gateway is there by connecting and saying nothing.
            Refused::Gone(_) => return refused,
        };
        self.metrics.refused(self.listener, reason);
        if self.may_write() {
            let error = crate::logging::with_sources(&refused);
            let listener = self.listener.name();
            tracing::warn!(
                %peer,
                listener,
                error,
                "a connection was closed that was to begin with a PROXY protocol header"
            );
        }
        refused
    }

    fn may_write(&self) -> bool {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now_ms = ms(self.clock.monotonic());
        let next_ms = now_ms + ms(NOTED_EVERY);
        let due = |until_ms| (until_ms <= now_ms).then_some(next_ms);
        self.quiet_until_ms
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, due)
            .is_ok()
    }
}

/// Reads a header off `stream` and nothing behind it; `None` if the connection speaks for itself.
async fn read<S>(stream: &mut S) -> Result<Option<Ends>, Refused>
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
