//! A client that writes exact bytes and reads exact answers, and what judges a whole exchange.
//!
//! The oracle stands below: [`model`] reads what a client sent as strictly as RFC 9112 lets it,
//! [`recorder`] is an origin that keeps what it receives, [`canonical`] says what that may be, and
//! [`oracle`] holds both beside the answers. [`corpus`] and [`mutator`] make the streams, and
//! [`room`] puts a gateway between.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::message::{self, Kind, Message, Stream};
use super::within;

pub(crate) mod canonical;
pub(crate) mod corpus;
pub(crate) mod http2;
pub(crate) mod model;
pub(crate) mod mutator;
pub(crate) mod oracle;
pub(crate) mod recorder;
pub(crate) mod room;

/// One connection to whatever listens at an address.
pub(crate) struct Wire {
    stream: Box<dyn ReadWrite>,
    read: Vec<u8>,
}

/// Either kind of stream.
pub(crate) trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for T {}

impl Wire {
    /// Connects without TLS.
    pub(crate) async fn plain(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await;
        Self::over(stream.unwrap())
    }

    /// The same; dropping it resets the connection instead of closing it.
    pub(crate) async fn resetting(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await;
        let stream = stream.unwrap();
        stream.set_zero_linger().unwrap();
        Self::over(stream)
    }

    /// Connects with TLS, asking for `localhost`.
    pub(crate) async fn tls(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await;
        let name = ServerName::try_from("localhost").unwrap();
        let handshake = TlsConnector::from(config).connect(name, stream.unwrap());
        Self::over(within("a handshake", handshake).await.unwrap())
    }

    /// Speaks over `stream`.
    pub(crate) fn over(stream: impl ReadWrite + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            read: Vec::new(),
        }
    }

    /// Writes `bytes` as they are.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_write(bytes).await.unwrap();
    }

    /// Writes `bytes`, where the other side may have closed already.
    pub(crate) async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let writing = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        within("bytes to be taken", writing).await
    }

    /// Ends this side; the other may still write.
    pub(crate) async fn half_close(&mut self) {
        self.try_half_close().await.unwrap();
    }

    /// The same, where the other side may have closed already.
    pub(crate) async fn try_half_close(&mut self) -> std::io::Result<()> {
        within("half a close", self.stream.shutdown()).await
    }

    /// The next answer to anything but HEAD; 1xx are answers of their own.
    pub(crate) async fn answer(&mut self) -> Message {
        self.message(Kind::Response).await.unwrap()
    }

    /// The next message of `kind`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, a connection that ended within it included.
    pub(crate) async fn message(&mut self, kind: Kind) -> Result<Message, String> {
        let mut stream = Stream::Open;
        loop {
            if let Some((message, taken)) = message::read(&self.read, kind, stream)? {
                self.read.drain(..taken);
                return Ok(message);
            }
            if stream == Stream::Ended {
                return Err("ended before a message".to_owned());
            }
            if self.fill().await == 0 {
                stream = Stream::Ended;
            }
        }
    }

    /// The next `count` bytes.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            let missing = count - self.read.len();
            assert!(self.fill().await > 0, "ended {missing} bytes too soon");
        }
        self.read.drain(..count).collect()
    }

    /// Whether a byte is there already.
    pub(crate) fn has_more(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.read).now_or_never();
        !self.read.is_empty() || read.is_some()
    }

    /// Reads whatever comes, to the end; whether that was the other side's own word (TLS has one,
    /// RFC 8446 §6.1) and not a reset or a mere close.
    pub(crate) async fn ends_properly(&mut self) -> bool {
        loop {
            let reading = self.stream.read_buf(&mut self.read);
            match within("an end", reading).await {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// The stream itself; nothing of it may have been read ahead.
    pub(crate) fn into_stream(self) -> Box<dyn ReadWrite> {
        assert!(self.read.is_empty(), "read ahead: {:?}", self.read);
        self.stream
    }

    /// The stream itself, and what of it was read ahead.
    pub(crate) fn into_parts(self) -> (Box<dyn ReadWrite>, Vec<u8>) {
        (self.stream, self.read)
    }

    /// Waits until a head has come, and leaves it where it is.
    pub(crate) async fn until_head(&mut self) {
        while !self.read.windows(4).any(|four| four == b"\r\n\r\n") {
            assert!(self.fill().await > 0, "ended before a head");
        }
    }

    /// Whether the other side has closed without another byte; waits until it has done either.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && self.fill().await == 0
    }

    /// The next `count` bytes; `None` if the other side closes before.
    pub(crate) async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read.len() < count {
            if self.fill().await == 0 {
                return None;
            }
        }
        Some(self.read.drain(..count).collect())
    }

    /// Everything until the other side closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await > 0 {}
        std::mem::take(&mut self.read)
    }

    /// Reads what there is; 0 at the end. A reset is an end too.
    async fn fill(&mut self) -> usize {
        let reading = self.stream.read_buf(&mut self.read);
        within("bytes", reading).await.unwrap_or_default()
    }
}
