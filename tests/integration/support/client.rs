//! A well-behaved client, over HTTP/1.1 or HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::body::Outgoing;
use super::exchange::texts;
use super::message::{self, Message};
use super::wire::ReadWrite;
use super::within;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    sender: Sender,
    /// What goes into `Host` or `:authority`.
    authority: String,
    driver: JoinHandle<hyper::Result<()>>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Outgoing>),
    Http2(http2::SendRequest<Outgoing>),
}

/// An answer, all of it.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// The status.
    pub(crate) status: StatusCode,
    /// The version the answer came in.
    pub(crate) version: Version,
    /// The fields, names in lower case; lines of the same name in order.
    pub(crate) fields: Vec<(String, String)>,
    /// The content.
    pub(crate) body: Vec<u8>,
    /// The trailer fields.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Client {
    /// HTTP/1.1 without TLS.
    pub(crate) async fn http1(address: SocketAddr) -> Self {
        Self::http1_over(connect(address).await, address.to_string()).await
    }

    /// HTTP/2 by prior knowledge (RFC 9113 §3.3).
    pub(crate) async fn http2(address: SocketAddr) -> Self {
        Self::http2_over(connect(address).await, address.to_string()).await
    }

    /// Whatever ALPN settles on, over TLS to `localhost`.
    pub(crate) async fn tls(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let handshake = TlsConnector::from(config).connect(name, connect(address).await);
        Self::tls_over(within("a handshake", handshake).await.unwrap(), address).await
    }

    /// Whatever ALPN settled on, over a handshake that is done.
    pub(crate) async fn tls_over(stream: TlsStream<TcpStream>, address: SocketAddr) -> Self {
        let authority = format!("localhost:{}", address.port());
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            Self::http2_over(stream, authority).await
        } else {
            Self::http1_over(stream, authority).await
        }
    }

    /// HTTP/1.1 over a connection that is there.
    pub(crate) async fn http1_over(stream: impl ReadWrite + 'static, authority: String) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        Self {
            driver: tokio::spawn(connection),
            sender: Sender::Http1(sender),
            authority,
        }
    }

    /// HTTP/2 over a connection that is there.
    pub(crate) async fn http2_over(stream: impl ReadWrite + 'static, authority: String) -> Self {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        Self {
            driver: tokio::spawn(connection),
            sender: Sender::Http2(sender),
            authority,
        }
    }

    /// Returns once the connection has ended.
    pub(crate) async fn closed(self) {
        // How it ended is the test's to find out.
        drop(within("a connection to end", self.driver).await);
    }

    /// GET, and the whole answer.
    pub(crate) async fn get(&mut self, target: &str) -> Answered {
        self.call("GET", target, &[], Outgoing::Whole(None)).await
    }

    /// Any request, and the whole answer.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: impl Into<Outgoing>,
    ) -> Answered {
        let response = self.send(method, target, fields, body).await.unwrap();
        within("an answer's body", Answered::read(response))
            .await
            .unwrap()
    }

    /// GET beside others on the same HTTP/2 connection, and the head of its answer.
    pub(crate) fn beside(
        &self,
        target: &str,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + use<> {
        let Sender::Http2(sender) = &self.sender else {
            panic!("HTTP/1.1 carries one request at a time");
        };
        let mut sender = sender.clone();
        let request = Request::get(format!("http://{}{target}", self.authority));
        let request = request.body(Outgoing::Whole(None)).unwrap();
        async move {
            sender.ready().await?;
            sender.send_request(request).await
        }
    }

    /// Any request, and the head of the answer.
    ///
    /// # Errors
    ///
    /// What became of the connection instead.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: impl Into<Outgoing>,
    ) -> hyper::Result<Response<Incoming>> {
        let mut request = Request::builder().method(method);
        request = match &self.sender {
            Sender::Http1(_) => request.uri(target).header("host", &self.authority),
            Sender::Http2(_) => request.uri(format!("http://{}{target}", self.authority)),
        };
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        within("an answer's head", async {
            match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        })
        .await
    }
}

impl Answered {
    /// Reads an answer to its end.
    ///
    /// # Errors
    ///
    /// Where the answer broke off.
    pub(crate) async fn read(response: Response<Incoming>) -> io::Result<Self> {
        let (head, body) = response.into_parts();
        let whole = body.collect().await.map_err(io::Error::other)?;
        let trailers = whole.trailers().map(texts).unwrap_or_default();
        Ok(Self {
            status: head.status,
            version: head.version,
            fields: texts(&head.headers),
            body: whole.to_bytes().to_vec(),
            trailers,
        })
    }

    /// Every value of `name`, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        message::all(&self.fields, name)
    }

    /// The only value of `name`; fails the test if it stands there twice.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.all(name);
        assert!(found.len() < 2, "{name} stands {} times", found.len());
        found.first().copied()
    }

    /// The content as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Why the gateway refused: the end of the problem's `type`; empty if it is no problem of its.
    pub(crate) fn reason(&self) -> String {
        message::reason(&self.body)
    }

    /// The content as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl From<Message> for Answered {
    fn from(message: Message) -> Self {
        Self {
            status: StatusCode::from_u16(message.status()).unwrap(),
            version: Version::HTTP_11,
            fields: message.fields,
            body: message.body,
            trailers: message.trailers,
        }
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = within("a connection", TcpStream::connect(address))
        .await
        .unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
