//! Who stands at a listener, of either plane: what a connection goes through before HTTP is spoken
//! on it, and what is told of those that do not get so far.
//!
//! # Invariants
//!
//! Each connection that is refused here is counted by why, and of those of one kind one a second at
//! most is written down, with who it was. One that merely opens and ends, as probes do, is neither.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::clock::Clock;
use crate::logging::with_sources;
use crate::metrics::{BalancerRefusal, DoorMetrics, HandshakeRefusal, Listener};
use crate::proxy_protocol::{self, Balancers, Ends, HeaderError, Refused};
use crate::tls::fault::Fault;

/// How often at most one connection of a kind is written down.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// Who stands at one listener and tells of those it turns away.
#[derive(Debug)]
pub struct Doorkeeper {
    listener: Listener,
    metrics: Arc<DoorMetrics>,
    clock: Clock,
    headers: Quiet,
    handshakes: Quiet,
}

impl Doorkeeper {
    /// One who counts into `metrics` what comes to `listener`.
    pub fn new(listener: Listener, metrics: Arc<DoorMetrics>, clock: Clock) -> Self {
        Self {
            listener,
            metrics,
            clock,
            headers: Quiet::default(),
            handshakes: Quiet::default(),
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
        match proxy_protocol::read(socket).await {
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
        if self.headers.is_over(self.clock.monotonic()) {
            let error = with_sources(&refused);
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

    /// Tells of a TLS handshake with `peer` that failed by `error`.
    ///
    /// To the client, TLS 1.3 may have looked well: its certificate is judged when it is done (RFC
    /// 8446 §2), so that nobody but the gateway can say why it got no answer.
    pub fn handshake_failed(&self, peer: SocketAddr, error: &io::Error) {
        let Some(reason) = refusal(error) else {
            return;
        };
        self.metrics.handshake_refused(self.listener, reason);
        if self.handshakes.is_over(self.clock.monotonic()) {
            let (listener, reason) = (self.listener.name(), reason.name());
            let error = with_sources(error);
            tracing::warn!(%peer, listener, reason, error, "a TLS handshake failed");
        }
    }
}

/// What a handshake that failed by `error` is counted as; `None` for one that nobody refused.
fn refusal(error: &io::Error) -> Option<HandshakeRefusal> {
    if error.kind() == io::ErrorKind::TimedOut {
        return Some(HandshakeRefusal::Timeout);
    }
    // So is called what TLS found wrong. All else is a client that went away.
    let is_refused = error.kind() == io::ErrorKind::InvalidData;
    is_refused.then(|| match Fault::of(error) {
        Fault::Certificate | Fault::Revocation => HandshakeRefusal::Certificate,
        Fault::Alert | Fault::Protocol => HandshakeRefusal::Protocol,
    })
}

/// Until when nothing more is written down, by the clock, in milliseconds.
#[derive(Debug, Default)]
struct Quiet(AtomicU64);

impl Quiet {
    /// Whether it is over at the time `now`. If so, it begins anew.
    fn is_over(&self, now: Duration) -> bool {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now_ms = ms(now);
        let next_ms = now_ms + ms(NOTED_EVERY);
        let due = |until_ms| (until_ms <= now_ms).then_some(next_ms);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, due)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_that_are_turned_away_one_a_second_is_written_down() {
        let quiet = Quiet::default();
        let written = |now_ms| {
            let now = Duration::from_millis(now_ms);
            (0..100).filter(|_| quiet.is_over(now)).count()
        };

        assert_eq!(written(5_000), 1);
        assert_eq!(written(5_999), 0);
        assert_eq!(written(6_000), 1);
    }

    #[test]
    fn a_client_that_goes_away_was_not_refused() {
        for (kind, counted) in [
            (io::ErrorKind::UnexpectedEof, None),
            (io::ErrorKind::ConnectionReset, None),
            (io::ErrorKind::BrokenPipe, None),
            (io::ErrorKind::TimedOut, Some(HandshakeRefusal::Timeout)),
            (io::ErrorKind::InvalidData, Some(HandshakeRefusal::Protocol)),
        ] {
            assert_eq!(refusal(&kind.into()), counted, "{kind}");
        }
    }
}
