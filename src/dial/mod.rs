//! The one way out: resolve a name, check its addresses, connect, shake hands.
//!
//! Resource domains and token endpoints are both reached through [`Dialer::dial`], so the address
//! rules and certificate checks hold for both.
//!
//! # Invariants
//!
//! The address that is checked is the address that is connected to: a name is never resolved again
//! between check and use, and every address is checked on every dial. No byte of a request is written before the
//! handshake has verified the certificate.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connector::Origin;
use crate::tls::ALPN_H2;
use crate::tls::client::ClientTls;

mod address;
mod lookup;
mod name;
mod race;
mod resolver;
mod socket;

pub use address::{AddressPolicy, RefusedRange};
pub use lookup::{Lookup, Script};
pub use name::Answer;
pub use resolver::Resolver;
pub use socket::Socket;

/// A connected, verified stream.
pub type Stream = TlsStream<Socket>;

/// Connects to origins. Cheap to clone; all clones share one resolver.
#[derive(Clone, Debug)]
pub struct Dialer {
    resolver: Resolver,
}

/// What a dial came to.
#[derive(Debug)]
pub struct Dialed {
    /// The stream, ready for a request.
    pub stream: Stream,
    /// The protocol both sides agreed on.
    pub protocol: Protocol,
    /// The address that was reached.
    pub peer: SocketAddr,
    /// When that was known to be an address of the origin, by the resolver's clock.
    pub resolved_at: Duration,
}

/// Where to connect to.
#[derive(Debug)]
struct Targets {
    /// In the order they are tried; at least one.
    addresses: Vec<SocketAddr>,
    resolved_at: Duration,
}

/// The HTTP version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

/// A step on the way to an origin, in the order they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// Name to addresses.
    Resolve,
    /// TCP.
    Connect,
    /// The TLS handshake.
    Tls,
}

/// Why an origin was not reached. Nothing of a request was sent.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address, or the resolver failed.
    #[error("the name {host} could not be resolved")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// Every address of the name lies in a range that is refused.
    #[error("{host} resolves to {address}, which lies in the refused range {range}")]
    AddressRefused {
        /// The name.
        host: String,
        /// One of its addresses.
        address: IpAddr,
        /// The range.
        range: RefusedRange,
    },
    /// No address took a connection.
    #[error("no connection to {address}")]
    Connect {
        /// The last address tried.
        address: SocketAddr,
        /// What the last attempt said.
        #[source]
        source: io::Error,
    },
    /// The handshake failed or the certificate was not accepted.
    #[error("the TLS handshake with {host} failed")]
    Tls {
        /// The name the certificate had to carry.
        host: String,
        /// What rustls said.
        #[source]
        source: io::Error,
    },
    /// The time for the whole dial ran out.
    #[error("not connected within {limit:?}: still at {leg:?}")]
    TimedOut {
        /// Where the time ran out.
        leg: Leg,
        /// The limit.
        limit: Duration,
    },
}

impl DialError {
    /// The step that failed.
    pub fn leg(&self) -> Leg {
        match self {
            Self::Resolve { .. } | Self::AddressRefused { .. } => Leg::Resolve,
            Self::Connect { .. } => Leg::Connect,
            Self::Tls { .. } => Leg::Tls,
            Self::TimedOut { leg, .. } => *leg,
        }
    }
}

impl Dialer {
    /// A dialer whose names are looked up by `resolver`.
    pub fn new(resolver: Resolver) -> Self {
        Self { resolver }
    }

    /// Connects to `origin` under the identity `tls`, within `limit` in all.
    ///
    /// Cancel-safe: dropping the future closes whatever was half open.
    ///
    /// # Errors
    ///
    /// [`DialError`], whose [`DialError::leg`] names the step. Nothing of a request was sent.
    pub async fn dial(
        &self,
        origin: &Origin,
        tls: &ClientTls,
        policy: &AddressPolicy,
        limit: Duration,
    ) -> Result<Dialed, DialError> {
        let mut leg = Leg::Resolve;
        let walk = async {
            let (tcp, resolved_at) = self.connect(origin, policy, &mut leg).await?;
            leg = Leg::Tls;
            shake_hands(origin, tls, tcp, resolved_at).await
        };
        match tokio::time::timeout(limit, walk).await {
            Ok(outcome) => outcome,
            Err(_) => {
                if leg == Leg::Connect {
                    self.resolver.doubt(&origin.host());
                }
                Err(DialError::TimedOut { leg, limit })
            }
        }
    }

    /// Resolves and connects; once more if no address takes a connection and the name has others
    /// by now. Also says when the addresses were looked up.
    async fn connect(
        &self,
        origin: &Origin,
        policy: &AddressPolicy,
        leg: &mut Leg,
    ) -> Result<(TcpStream, Duration), DialError> {
        let targets = self.targets(origin, policy).await?;
        *leg = Leg::Connect;
        let (address, source) = match race::connect(&targets.addresses).await {
            Ok(tcp) => return Ok((tcp, targets.resolved_at)),
            Err(failed) => failed,
        };
        self.resolver.doubt(&origin.host());
        match self.targets(origin, policy).await {
            Ok(other) if other.addresses != targets.addresses => {
                match race::connect(&other.addresses).await {
                    Ok(tcp) => Ok((tcp, other.resolved_at)),
                    Err((address, source)) => Err(DialError::Connect { address, source }),
                }
            }
            Ok(_) | Err(_) => Err(DialError::Connect { address, source }),
        }
    }

    /// The addresses of `origin` that `policy` lets through, both families in turn.
    ///
    /// # Errors
    ///
    /// [`DialError::Resolve`] or [`DialError::AddressRefused`].
    async fn targets(&self, origin: &Origin, policy: &AddressPolicy) -> Result<Targets, DialError> {
        let found = match origin.address() {
            Some(address) => Answer {
                addresses: [address].into(),
                at: self.resolver.now(),
            },
            None => self
                .resolver
                .lookup(&origin.host())
                .await
                .map_err(|source| DialError::Resolve {
                    host: origin.host(),
                    source,
                })?,
        };
        let mut refused = None;
        let mut allowed = Vec::with_capacity(found.addresses.len());
        for &address in found.addresses.iter() {
            match policy.check(address) {
                Ok(()) => allowed.push(SocketAddr::new(address, origin.port())),
                Err(range) => refused = Some((address, range)),
            }
        }
        match (allowed.is_empty(), refused) {
            (true, Some((address, range))) => Err(DialError::AddressRefused {
                host: origin.host(),
                address,
                range,
            }),
            (true, None) => Err(DialError::Resolve {
                host: origin.host(),
                source: io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
            }),
            (false, _) => Ok(Targets {
                addresses: race::interleave(allowed, SocketAddr::is_ipv6),
                resolved_at: found.at,
            }),
        }
    }
}

async fn shake_hands(
    origin: &Origin,
    tls: &ClientTls,
    tcp: TcpStream,
    resolved_at: Duration,
) -> Result<Dialed, DialError> {
    let failed = |source| DialError::Tls {
        host: origin.host(),
        source,
    };
    let name = match origin.address() {
        Some(address) => ServerName::from(address),
        None => ServerName::try_from(origin.host())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?,
    };
    let peer = tcp.peer_addr().map_err(failed)?;
    let stream = TlsConnector::from(tls.config())
        .connect(name, Socket::new(tcp))
        .await
        .map_err(failed)?;
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(ALPN_H2) => Protocol::Http2,
        Some(_) | None => Protocol::Http11,
    };
    Ok(Dialed {
        stream,
        protocol,
        peer,
        resolved_at,
    })
}
