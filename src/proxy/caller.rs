//! Who calls, and what each call is called.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use http::uri::Authority;
use tokio::net::TcpStream;

use super::certified::Certified;
use super::meter::Meter;
use super::tunnel::Tunnel;
use super::worker::Worker;
use crate::clock::Clock;
use crate::config::Hosts;
use crate::proxy_protocol::Ends;

/// The longest line of `Host` that is remembered, in bytes: a domain name's 253 (RFC 1035 §2.3.4),
/// a last dot, and a port. A longer one names nobody, and would be held as long as its connection.
const HOST_BYTES_MAX: usize = 260;

/// A client connection, as its requests see it: they share it, so that each counts one reference
/// and not three.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) worker: Arc<Worker>,
    pub(crate) caller: Caller,
    pub(crate) meter: Arc<Meter>,
}

/// Who is at the other end of a client connection.
#[derive(Debug)]
pub(crate) struct Caller {
    peer: SocketAddr,
    local: SocketAddr,
    certificate: Option<Box<Certified>>,
    tls: bool,
    /// The host that it first said, which nearly all say with each request.
    host: OnceLock<KnownHost>,
    /// What its connection turns into once the answer to the present request is out.
    tunnel: Mutex<Option<Box<Tunnel>>>,
}

/// What a line of `Host` was found to say.
#[derive(Debug)]
pub(crate) struct KnownHost {
    /// The line: copied, for it lies in the buffer of a whole head.
    line: Box<[u8]>,
    pub(crate) name: Box<str>,
    /// Whether it is ours whatever the configuration says.
    pub(crate) is_own: bool,
}

impl Caller {
    /// Whoever is at the other end of `socket`, which speaks no TLS yet.
    pub(super) fn of(socket: &TcpStream) -> io::Result<Self> {
        Ok(Self::between(Ends {
            source: socket.peer_addr()?,
            destination: socket.local_addr()?,
        }))
    }

    /// Whoever is at the source of `ends`, which speaks no TLS yet, and reached the gateway, or the
    /// balancer before it, at their destination.
    pub(super) fn between(ends: Ends) -> Self {
        Self {
            peer: ends.source,
            local: ends.destination,
            certificate: None,
            tls: false,
            host: OnceLock::new(),
            tunnel: Mutex::default(),
        }
    }

    /// The same, known to speak TLS, with the certificate that it showed.
    pub(super) fn over_tls(self, certificate: Option<Certified>) -> Self {
        Self {
            certificate: certificate.map(Box::new),
            tls: true,
            ..self
        }
    }

    /// Has the connection carry `tunnel` from the end of the present answer on.
    pub(crate) fn leave_http(&self, tunnel: Box<Tunnel>) {
        *self.lock() = Some(tunnel);
    }

    /// What the connection is to carry. Whoever serves it asks when HTTP has ended on it, however
    /// it did: a tunnel knows its caller, so one that was left here would stay for ever.
    pub(super) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Box<Tunnel>>> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the host that `line` names, if it is the one that was said first.
    pub(crate) fn known_host(&self, line: &HeaderValue) -> Option<&KnownHost> {
        let known = self.host.get();
        known.filter(|known| *known.line == *line.as_bytes())
    }

    /// Remembers that `line` says `authority`, if it is the first and no longer than a name can be.
    pub(crate) fn learn_host(&self, line: &HeaderValue, authority: &Authority) {
        if line.len() > HOST_BYTES_MAX {
            return;
        }
        self.host.get_or_init(|| KnownHost {
            line: line.as_bytes().into(),
            name: authority.host().into(),
            is_own: Hosts::are_own(authority, self.local),
        });
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// The certificate that it showed, if it did.
    pub(super) fn certified(&self) -> Option<&Certified> {
        self.certificate.as_deref()
    }

    /// The element for `Forwarded` (RFC 7239 §4).
    pub(crate) fn forwarded(&self) -> Option<HeaderValue> {
        let proto = if self.tls { "https" } else { "http" };
        let text = match self.peer.ip().to_canonical() {
            std::net::IpAddr::V4(address) => format!("for={address};proto={proto}"),
            std::net::IpAddr::V6(address) => format!("for=\"[{address}]\";proto={proto}"),
        };
        HeaderValue::try_from(text).ok()
    }
}

/// Makes request IDs: version 7 UUIDs (RFC 9562 §5.7) from a random start, without a system call
/// for each.
#[derive(Debug)]
pub(super) struct RequestIds {
    next: AtomicU64,
    fixed: [u8; 2],
    /// When the monotonic clock began, in milliseconds of the wall clock, as last looked at.
    began_ms: AtomicU64,
}

impl RequestIds {
    pub(super) fn new(clock: &Clock) -> Self {
        let random = uuid::Uuid::new_v4().into_bytes();
        let (start, rest) = random.split_at(8);
        let ids = Self {
            next: AtomicU64::new(start.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))),
            fixed: [rest[0], rest[1]],
            began_ms: AtomicU64::new(0),
        };
        ids.date(clock);
        ids
    }

    /// Looks at the wall clock, so that no request has to.
    pub(super) fn date(&self, clock: &Clock) {
        let since_epoch = clock.wall().duration_since(std::time::UNIX_EPOCH);
        let began = since_epoch
            .unwrap_or_default()
            .saturating_sub(clock.monotonic());
        self.began_ms.store(ms(began), Ordering::Relaxed);
    }

    /// The next ID, for a request that arrived at the time `now`.
    pub(super) fn next(&self, now: Duration) -> HeaderValue {
        // An odd constant walks through every value before one comes again.
        let serial = self
            .next
            .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mut random = [0; 10];
        random[..8].copy_from_slice(&serial.to_be_bytes());
        random[8..].copy_from_slice(&self.fixed);
        let at_ms = self.began_ms.load(Ordering::Relaxed) + ms(now);
        let id = uuid::Builder::from_unix_timestamp_millis(at_ms, &random).into_uuid();
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = id.hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::clock::Turned;

    fn caller() -> Caller {
        let local = SocketAddr::from(([127, 0, 0, 1], 8080));
        Caller::between(Ends {
            source: local,
            destination: local,
        })
    }

    fn learn(caller: &Caller, line: &str) -> bool {
        let line = HeaderValue::from_str(line).unwrap();
        let authority = Authority::try_from(line.as_bytes()).unwrap();
        caller.learn_host(&line, &authority);
        caller.known_host(&line).is_some()
    }

    #[test]
    fn an_id_has_the_date_of_its_request_by_the_wall_clock_as_last_looked_at() {
        let turned = Turned::starting_at(UNIX_EPOCH + Duration::from_millis(1_800_000_000_000));
        let clock = Clock::turned(&turned);
        let ids = RequestIds::new(&clock);
        let date = |id: HeaderValue| {
            let id = uuid::Uuid::parse_str(id.to_str().unwrap()).unwrap();
            let (seconds, nanoseconds) = id.get_timestamp().unwrap().to_unix();
            seconds * 1000 + u64::from(nanoseconds) / 1_000_000
        };
        turned.advance(Duration::from_millis(77));
        assert_eq!(date(ids.next(clock.monotonic())), 1_800_000_000_077);

        turned.step_wall_ms(3_600_000);
        ids.date(&clock);

        assert_eq!(date(ids.next(clock.monotonic())), 1_800_003_600_077);
    }

    #[test]
    fn a_host_is_remembered_as_it_was_said_first_and_no_other() {
        let caller = caller();

        assert!(learn(&caller, "gateway.example:8080"));

        for other in ["Gateway.example:8080", "gateway.example", "other.example"] {
            assert!(!learn(&caller, other), "{other}");
        }
    }

    #[test]
    fn a_host_longer_than_any_name_holds_no_memory() {
        let long = |bytes| format!("{}:65535", "a".repeat(bytes));

        assert!(learn(&caller(), &long(254)));
        assert!(!learn(&caller(), &long(255)));
        let after_a_long_one = caller();
        assert!(!learn(&after_a_long_one, &long(60_000)));
        assert!(learn(&after_a_long_one, "gateway.example"));
    }
}
