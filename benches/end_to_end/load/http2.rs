//! A client over HTTP/2 with prior knowledge (RFC 9113 §3.3), or over TLS by ALPN: some requests
//! side by side on each connection.

use std::future::{pending, poll_fn};
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use tokio::sync::Mutex;

use super::answer::{Answer, Fault};
use super::refusal::{PROBLEM_BYTES_MAX, Refused};
use super::request::{Request, RequestError};
use super::target::{Stream, Target};

/// What a server may send before it is told that it was read; large enough that it never waits.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;

/// A connection that several clients share; made anew when it has ended.
#[derive(Debug)]
pub(crate) struct Link {
    target: Arc<Target>,
    /// Counts connections, so that of many clients that see one end only the first makes another.
    open: Mutex<(u64, Option<SendRequest<Bytes>>)>,
}

/// One of the clients that share a connection.
#[derive(Debug)]
pub(crate) struct Http2 {
    link: Arc<Link>,
    request: http::Request<()>,
    body: Bytes,
    own: Option<(u64, SendRequest<Bytes>)>,
}

impl Link {
    pub(crate) fn new(target: Arc<Target>) -> Arc<Self> {
        Arc::new(Self {
            target,
            open: Mutex::default(),
        })
    }

    /// The connection, or another than the `ended`.
    async fn sender(&self, ended: Option<u64>) -> Result<(u64, SendRequest<Bytes>), Fault> {
        let mut open = self.open.lock().await;
        if ended == Some(open.0) {
            open.1 = None;
        }
        if let Some(sender) = &open.1 {
            return Ok((open.0, sender.clone()));
        }
        let sender = greet(self.target.connect().await.map_err(Fault::Connect)?).await?;
        *open = (open.0 + 1, Some(sender.clone()));
        Ok((open.0, sender))
    }
}

async fn greet(stream: Stream) -> Result<SendRequest<Bytes>, Fault> {
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .enable_push(false)
        .handshake(stream)
        .await?;
    // Its streams say how it ends.
    tokio::spawn(async { drop(connection.await) });
    Ok(sender)
}

impl Http2 {
    pub(crate) fn new(link: Arc<Link>, request: &Request) -> Result<Self, RequestError> {
        let scheme = match link.target.tls {
            Some(_) => "https",
            None => "http",
        };
        Ok(Self {
            request: request.http2(scheme)?,
            body: request.body.clone(),
            link,
            own: None,
        })
    }

    /// Sends the request and reads the answer, over a new connection if there is none.
    pub(crate) async fn exchange(&mut self) -> Result<Answer, Fault> {
        let (answer, stream) = match self.begin().await {
            // A connection that ended before it took the request has not seen it.
            Err(Fault::Http2(_)) => {
                self.renew().await?;
                self.begin().await?
            }
            begun => begun?,
        };
        let answering = async { read(answer.await?).await };
        if self.body.is_empty() {
            return answering.await;
        }
        // An answer may come before the body is written, and says more than why that went wrong.
        let body = self.body.clone();
        let writing = async {
            drop(write(stream, body).await);
            pending().await
        };
        tokio::select! {
            answer = answering => answer,
            never = writing => never,
        }
    }

    async fn begin(&mut self) -> Result<(ResponseFuture, SendStream<Bytes>), Fault> {
        let (_, sender) = match &mut self.own {
            Some(own) => own,
            none => none.insert(self.link.sender(None).await?),
        };
        poll_fn(|cx| sender.poll_ready(cx)).await?;
        Ok(sender.send_request(self.request.clone(), self.body.is_empty())?)
    }

    /// Leaves a connection that has ended.
    async fn renew(&mut self) -> Result<(), Fault> {
        let ended = self.own.take().map(|(number, _)| number);
        self.own = Some(self.link.sender(ended).await?);
        Ok(())
    }
}

/// Writes a body as the server makes room (RFC 9113 §5.2).
async fn write(mut stream: SendStream<Bytes>, mut body: Bytes) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Ok(());
        };
        let piece = body.split_to(room?.min(body.len()));
        stream.send_data(piece, body.is_empty())?;
    }
    Ok(())
}

async fn read(answer: http::Response<RecvStream>) -> Result<Answer, Fault> {
    let (head, mut body) = answer.into_parts();
    let proxy_status: Vec<_> = head
        .headers
        .get_all("proxy-status")
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    let (mut bytes, mut kept) = (0, Vec::new());
    while let Some(piece) = body.data().await {
        let piece = piece?;
        bytes += piece.len() as u64;
        if !proxy_status.is_empty() {
            let room = PROBLEM_BYTES_MAX.saturating_sub(kept.len());
            kept.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        body.flow_control().release_capacity(piece.len())?;
    }
    Ok(Answer {
        status: head.status.as_u16(),
        bytes,
        refused: Refused::read(&proxy_status.join(", "), &kept),
    })
}
