//! Flows that send one request after another, as many clients of a gateway do, and count.
//!
//! # Invariants
//!
//! They honour what they are told: after `Connection: close` or GOAWAY they connect anew, and they
//! end once a connection is refused. A request counts as failed if it was sent and not answered as
//! the origin answers; one that never left the client (the connection had been given up before)
//! does not count.
//!
//! A connection that is reset before a byte came from the other side counts as refused too: it lay
//! in the system's queue when the listener closed, and no listener can know of it.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Collected};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::body::Outgoing;
use super::within;

/// Requests side by side on one HTTP/2 connection.
const STREAMS: usize = 4;

/// Flows at work.
pub(crate) struct Load {
    flows: JoinSet<()>,
    count: watch::Sender<Count>,
    stop: watch::Sender<bool>,
}

/// What became of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    /// Requests answered as the origin answers.
    pub(crate) answered: usize,
    /// What became of the others.
    pub(crate) failed: Vec<String>,
    /// HTTP/2 requests that the other side said it would not process.
    pub(crate) unprocessed: usize,
    /// Connections that were refused.
    pub(crate) refused: usize,
    /// Connections made.
    pub(crate) connections: usize,
    /// Answers that said `Connection: close`.
    pub(crate) farewells: usize,
}

#[derive(Clone)]
struct Flow {
    address: SocketAddr,
    target: &'static str,
    count: watch::Sender<Count>,
    stop: watch::Receiver<bool>,
    /// Between an answer and the next request of a flow over HTTP/1.1.
    pause: Duration,
}

impl Load {
    /// `http1` flows with a connection each, and `http2` with one for four requests at a time.
    /// The origin must answer `ok` to GET `target`.
    pub(crate) fn start(address: SocketAddr, target: &'static str, flows: (usize, usize)) -> Self {
        Self::paced(address, target, flows, Duration::ZERO)
    }

    /// The same, whose flows over HTTP/1.1 pause between two requests, so that they leave the
    /// machine to others.
    pub(crate) fn paced(
        address: SocketAddr,
        target: &'static str,
        (http1, http2): (usize, usize),
        pause: Duration,
    ) -> Self {
        let (count, stop) = (watch::Sender::default(), watch::Sender::new(false));
        let flow = Flow {
            address,
            target,
            count: count.clone(),
            stop: stop.subscribe(),
            pause,
        };
        let mut flows = JoinSet::new();
        for _ in 0..http1 {
            flows.spawn(flow.clone().over_http1());
        }
        for _ in 0..http2 {
            flows.spawn(flow.clone().over_http2());
        }
        Self { flows, count, stop }
    }

    /// What has become of them so far.
    pub(crate) fn count(&self) -> Count {
        self.count.borrow().clone()
    }

    /// Waits until `more` further requests were answered.
    pub(crate) async fn further(&self, more: usize) {
        let wanted = self.count.borrow().answered + more;
        let mut count = self.count.subscribe();
        let waiting = count.wait_for(|count| count.answered >= wanted || !count.failed.is_empty());
        within("flows to be answered", waiting).await.unwrap();
    }

    /// Waits until every flow was refused a connection.
    pub(crate) async fn refused(mut self) -> Count {
        let ending = async { while self.flows.join_next().await.is_some() {} };
        within("flows to be refused", ending).await;
        self.count()
    }

    /// Lets every flow finish its request and end.
    pub(crate) async fn stopped(self) -> Count {
        self.stop.send_replace(true);
        self.refused().await
    }
}

impl Flow {
    async fn over_http1(self) {
        while let Some(stream) = self.connect().await {
            let heard = stream.heard.clone();
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            while !self.stopped() && sender.ready().await.is_ok() {
                let request = Request::get(self.target)
                    .header("host", self.address.to_string())
                    .body(Outgoing::Whole(None))
                    .unwrap();
                if !self
                    .settle(sender.try_send_request(request).await, &heard)
                    .await
                {
                    break;
                }
                if !self.pause.is_zero() {
                    tokio::time::sleep(self.pause).await;
                }
            }
        }
    }

    async fn over_http2(self) {
        while let Some(stream) = self.connect().await {
            let heard = stream.heard.clone();
            // h2 itself tells a request that never left from one that was sent; hyper does not.
            let Ok((sender, connection)) = h2::client::handshake(stream).await else {
                continue;
            };
            tokio::spawn(connection);
            let mut streams = JoinSet::new();
            for _ in 0..STREAMS {
                streams.spawn(self.clone().on_stream(sender.clone(), heard.clone()));
            }
            drop(sender);
            while streams.join_next().await.is_some() {}
        }
    }

    async fn on_stream(self, sender: h2::client::SendRequest<Bytes>, heard: Heard) {
        while !self.stopped()
            && let Ok(mut ready) = sender.clone().ready().await
        {
            let request = Request::get(format!("http://{}{}", self.address, self.target))
                .body(())
                .unwrap();
            // After GOAWAY no stream is opened (RFC 9113 §6.8).
            let Ok((response, _)) = ready.send_request(request, true) else {
                return;
            };
            match response.await {
                Ok(response) => drop(self.read(response.map(Received)).await),
                // Sent while GOAWAY was on its way, and named by it as not processed: it may be sent
                // again (RFC 9113 §6.8).
                Err(error)
                    if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) =>
                {
                    return self.count.send_modify(|count| count.unprocessed += 1);
                }
                Err(error) => return self.broke(with_sources(&error), &heard),
            }
        }
    }

    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// A connection; `None` once they are refused, or the test has had enough.
    async fn connect(&self) -> Option<Connected> {
        if self.stopped() || self.count.borrow().refused > 0 {
            return None;
        }
        match TcpStream::connect(self.address).await {
            Ok(stream) => {
                stream.set_nodelay(true).unwrap();
                self.count.send_modify(|count| count.connections += 1);
                Some(Connected {
                    stream,
                    heard: Heard::default(),
                })
            }
            Err(error) => {
                let kinds = [ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset];
                match kinds.contains(&error.kind()) {
                    true => self.count.send_modify(|count| count.refused += 1),
                    false => self.failed(format!("connecting: {error}")),
                }
                None
            }
        }
    }

    /// Counts what became of a request, and says whether its connection carries another.
    async fn settle(
        &self,
        sent: Result<Response<Incoming>, TrySendError<Request<Outgoing>>>,
        heard: &Heard,
    ) -> bool {
        match sent {
            Ok(response) => self.read(response).await,
            Err(mut error) => {
                let never_left = error.take_message().is_some();
                if !never_left {
                    self.broke(with_sources(error.error()), heard);
                }
                false
            }
        }
    }

    async fn read<B>(&self, response: Response<B>) -> bool
    where
        B: Body<Data = Bytes>,
        B::Error: Error + 'static,
    {
        let (head, body) = response.into_parts();
        let last = head
            .headers
            .get("connection")
            .is_some_and(|value| value == "close");
        match body.collect().await.map(Collected::to_bytes) {
            Ok(body) if head.status == 200 && body == "ok" => {
                self.count.send_modify(|count| {
                    count.answered += 1;
                    count.farewells += usize::from(last);
                });
            }
            Ok(_) => self.failed(format!("answered {}", head.status)),
            Err(error) => self.failed(with_sources(&error)),
        }
        !last
    }

    /// A connection broke with a request on it.
    fn broke(&self, why: String, heard: &Heard) {
        match heard.0.load(Ordering::Acquire) {
            true => self.failed(why),
            false => self.count.send_modify(|count| count.refused += 1),
        }
    }

    fn failed(&self, why: String) {
        self.count.send_modify(|count| count.failed.push(why));
    }
}

/// A connection that knows whether the other side has said anything.
struct Connected {
    stream: TcpStream,
    heard: Heard,
}

#[derive(Clone, Default)]
struct Heard(Arc<AtomicBool>);

impl AsyncRead for Connected {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        // An end in order is something said as well.
        self.heard.0.store(true, Ordering::Release);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connected {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A body over HTTP/2.
struct Received(h2::RecvStream);

impl Body for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let data = ready!(self.0.poll_data(cx));
        Poll::Ready(data.map(|data| {
            let data = data?;
            self.0.flow_control().release_capacity(data.len())?;
            Ok(Frame::data(data))
        }))
    }
}

fn with_sources(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    let texts: Vec<String> = chain.map(ToString::to_string).collect();
    texts.join(": ")
}
