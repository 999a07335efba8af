//! An HTTP/1.1 client's connection, which rests while nothing is asked on it.
//!
//! hyper keeps some 20 KiB for a connection that has carried a request, for as long as it is open,
//! and flows keep thousands open. So what hyper holds is given up when the sweep says that nothing
//! was asked for a while ([`Signal::Rest`]), and made anew when the client speaks again.
//!
//! # Invariants
//!
//! No byte is lost: what arrived before the rest is carried first, and what hyper had read of a
//! request is read again. The sweep and the drain see no difference: a connection that rests idles,
//! since its last answer.
//!
//! A connection in use pays nothing: it is never asked to rest.
//!
//! [`Signal::Rest`]: super::meter::Signal::Rest

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::conversation::{Attended, attend, while_patient};
use super::io::Io;
use super::meter::Meter;
use super::relay::Relay;

/// HTTP/1.1 on a client's stream.
type Http1<S, V> = Pin<Box<http1::Connection<TokioIo<Io<S>>, V>>>;

/// What is left of a connection that rests.
struct Resting<S, V> {
    io: Io<S>,
    service: V,
}

/// Serves `connection` until it ends, letting it rest meanwhile: `speak` puts HTTP on its stream
/// again. Returns how it ended, and the connection unless it ended in a rest.
pub(super) async fn serve<S, V>(
    mut connection: Http1<S, V>,
    speak: impl Fn(Io<S>, V) -> Http1<S, V>,
    meter: &Meter,
) -> (hyper::Result<()>, Option<Http1<S, V>>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    V: Service<Request<Incoming>, Response = Response<Relay>, Error = Infallible>,
{
    meter.let_rest();
    loop {
        match attend(connection.as_mut(), meter, None).await {
            Attended::Ended(ended) => return (ended, Some(connection)),
            Attended::Rests => {}
        }
        let mut resting = take_apart(connection);
        let spoken = poll_fn(|cx| resting.io.poll_spoken(cx));
        let spoken = while_patient(meter, spoken).await;
        meter.end_rest();
        if spoken.is_err() {
            // Its time is up, or it was reset: an idle connection's end is nobody's loss.
            return (Ok(()), None);
        }
        let Resting { io, service } = *resting;
        connection = speak(io, service);
    }
}

/// Boxed, and no part of the future above: of a TLS stream it is large, and would be there as often
/// as it is moved.
fn take_apart<S, V>(connection: Http1<S, V>) -> Box<Resting<S, V>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    V: Service<Request<Incoming>, Response = Response<Relay>, Error = Infallible>,
{
    let parts = Pin::into_inner(connection).into_parts();
    let mut io = parts.io.into_inner();
    io.read_again(parts.read_buf);
    let service = parts.service;
    Box::new(Resting { io, service })
}

/// The stream of a connection on which HTTP has ended, as one side of a tunnel.
pub(super) fn leave_http<S, V>(connection: Http1<S, V>) -> Io<S>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    V: Service<Request<Incoming>, Response = Response<Relay>, Error = Infallible>,
{
    let parts = Pin::into_inner(connection).into_parts();
    parts.io.into_inner().into_tunnel(parts.read_buf)
}

#[cfg(test)]
mod tests;
