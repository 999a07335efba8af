//! Bytes both ways, once a flow and an origin have left HTTP (RFC 9110 §7.8): WebSocket (RFC 6455)
//! for instance.
//!
//! # Shape
//!
//! `open` answers 101 and leaves a [`Tunnel`] with the caller; the task of the client's connection
//! takes it when that answer is out and carries it. So a tunnel is a client connection like others:
//! in the sweep, in the drain, in `limits.connections_max`. It is a request in flight until it ends.
//!
//! # Invariants
//!
//! Nothing that the flow sent behind its request reaches the origin before the origin's 101: hyper
//! holds it, bounded by its buffer, and gives it back with the stream.
//!
//! The gateway writes nothing of its own into a tunnel. One that it has to end, or that broke off
//! on one side, is closed without the other protocol's or TLS's farewell: what was sent so far must
//! not look whole.
//!
//! A tunnel carries a credential's authority for as long as it lives, so it lives no longer than
//! the connector grants it: it ends once the connector is removed, switched off, leads elsewhere,
//! authenticates otherwise, lists the protocol no more or no longer allows what was asked, and once the
//! caller is no longer who it was. Other edits leave it alone. A caller with a certificate is looked
//! at again when the certificate ends, and from time to time, as before a request (`certified.rs`).

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use http::{Response, header};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};

use super::authorize::Permit;
use super::caller::Visit;
use super::forward::Answer;
use super::io::Io;
use super::lease::Lease;
use super::meter::{Meter, Signal};
use super::observe::Observation;
use super::relay::Relay;
use super::respond::{self, Carried};
use super::stall::Stall;
use super::upgrade;
use super::worker::Worker;
use crate::metrics::Series;

/// What is held of either way's bytes while the other side does not take them.
const BUFFER_BYTES: usize = 8 * 1024;

/// A connection that both sides have left HTTP on.
#[derive(Debug)]
pub(crate) struct Tunnel {
    observation: Box<Observation>,
    permit: Permit,
    lease: Option<Lease>,
    _counted: Counted,
}

/// Why a tunnel was cut.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("nothing went through the tunnel for {0:?}")]
    Idle(Duration),
    #[error("one side of the tunnel took nothing for too long")]
    Stalled,
    #[error("the tunnel was open when timeouts.drain was over")]
    Draining,
    #[error("the connector grants the tunnel no more")]
    Withdrawn,
    #[error("the tunnel broke off")]
    BrokeOff(#[source] io::Error),
    #[error("a side that took nothing left HTTP amid what it was told")]
    Unwritten,
}

/// Answers 101 and has the caller's connection carry the tunnel when that is out.
pub(crate) fn open(
    carried: Carried,
    visit: &Visit,
    observation: Box<Observation>,
) -> Response<Relay> {
    let Carried {
        answer: Answer {
            response,
            lease,
            mask,
        },
        permit,
        ..
    } = carried;
    let (mut head, body) = response.into_parts();
    drop(respond::pass_on(
        &mut head,
        body,
        mask,
        &permit,
        &observation,
    ));
    // RFC 9110 §8.6: no 1xx says how long it is.
    head.headers.remove(header::CONTENT_LENGTH);
    if let Some(protocol) = permit.upgrade() {
        // It went to the origin in the same way.
        drop(upgrade::say(&mut head.headers, protocol));
    }
    let counted = Counted::new(&permit, &visit.worker);
    visit.caller.leave_http(Box::new(Tunnel {
        observation,
        permit,
        lease,
        _counted: counted,
    }));
    Response::from_parts(head, Relay::nothing())
}

impl Tunnel {
    /// Carries bytes between `client`, which came with `visit`, and the origin until both have said
    /// all they had to say, or the tunnel is cut.
    pub(super) async fn carry<S>(mut self: Box<Self>, client: Io<S>, visit: &Visit)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if let Err(cut) = self.try_carry(client, visit).await {
            self.observation.broke_off(&cut);
        }
    }

    async fn try_carry<S>(&mut self, mut client: Io<S>, visit: &Visit) -> Result<(), Cut>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let near = &visit.meter;
        let bare = match &mut self.lease {
            Some(lease) => lease.bare().await,
            None => None,
        };
        // hyper forgets what it has not written yet when it gives a stream back.
        let Some(bare) = bare.filter(|_| !near.is_blocked()) else {
            return Err(Cut::Unwritten);
        };
        let far = Arc::clone(&bare.meter);
        far.changes_hands();
        let mut origin = bare.io.into_tunnel(bare.read_ahead);
        let limit = self.permit.entry().connector.upstream.tunnel_idle_timeout;
        let tally = Tally {
            begun: (near.bytes_read(), far.bytes_read()),
            meters: (near, &far),
            observation: &mut self.observation,
        };
        let mut stall = Stall::new(limit);
        let mut seen = tally.bytes();
        let (held, here) = (BUFFER_BYTES, &mut client);
        let mut copying = pin!(copy_bidirectional_with_sizes(here, &mut origin, held, held));
        let moving = pin!(poll_fn(|cx| {
            for meter in [near, &*far] {
                match meter.asked(cx) {
                    Signal::None | Signal::Rest | Signal::Drain => {}
                    Signal::Close => return Poll::Ready(Err(Cut::Stalled)),
                    Signal::Stop => return Poll::Ready(Err(Cut::Draining)),
                }
            }
            if let Poll::Ready(ended) = copying.as_mut().poll(cx) {
                return Poll::Ready(ended.map(drop).map_err(Cut::BrokeOff));
            }
            if seen != tally.bytes() {
                seen = tally.bytes();
                stall.moved();
            }
            ready!(stall.poll_over(cx));
            Poll::Ready(Err(Cut::Idle(limit)))
        }));
        as_long_as_it_stands(&self.permit, visit, moving).await
    }
}

/// Goes on `moving` bytes until that ends or `permit` stands no more.
async fn as_long_as_it_stands(
    permit: &Permit,
    Visit { worker, caller, .. }: &Visit,
    mut moving: Pin<&mut impl Future<Output = Result<(), Cut>>>,
) -> Result<(), Cut> {
    let clock = worker.clock();
    loop {
        let mut published = pin!(worker.published.notified());
        published.as_mut().enable();
        let now = clock.monotonic();
        if !permit.stands(caller, &worker.directory().current(), (clock, now)) {
            return Err(Cut::Withdrawn);
        }
        let until = caller.certified().and_then(|shown| shown.holds_until(now));
        // Bytes come last: in a tunnel that is never at rest they would use up all that tokio lets
        // one task do at a time, and no timer is looked at after that.
        tokio::select! {
            biased;
            () = published => {}
            () = clock.sleep_until(until.unwrap_or_default()), if until.is_some() => {}
            ended = &mut moving => return ended,
        }
    }
}

/// Tells the observation, when it is dropped, what has come from either side since the tunnel
/// began.
struct Tally<'a> {
    begun: (u64, u64),
    meters: (&'a Meter, &'a Meter),
    observation: &'a mut Observation,
}

impl Tally<'_> {
    /// Bytes from the flow and from the origin.
    fn bytes(&self) -> (u64, u64) {
        let since = |meter: &Meter, begun: u64| meter.bytes_read().saturating_sub(begun);
        (
            since(self.meters.0, self.begun.0),
            since(self.meters.1, self.begun.1),
        )
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        let (from_flow, from_origin) = self.bytes();
        self.observation.tunnelled(from_flow, from_origin);
    }
}

/// Counts a tunnel as long as it is open.
#[derive(Debug)]
struct Counted {
    series: Arc<Series>,
    worker: usize,
}

impl Counted {
    fn new(permit: &Permit, worker: &Worker) -> Self {
        let series = Arc::clone(&permit.entry().state.series);
        series.tunnel(worker.index, 1);
        Self {
            series,
            worker: worker.index,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.series.tunnel(self.worker, -1);
    }
}
