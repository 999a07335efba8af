//! A resource domain below HTTP: the test reads and writes the bytes of each connection itself.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::origin::Setup;
use super::tls;
use super::wire::Wire;
use super::within;

/// A listener whose connections are taken one by one.
pub(crate) struct RawOrigin {
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

impl RawOrigin {
    /// Listens as `setup` says.
    pub(crate) async fn start(setup: Setup) -> Self {
        Self {
            listener: TcpListener::bind((setup.bind, 0)).await.unwrap(),
            config: tls::server(&setup.identity, &setup.ask, setup.protocols),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// `https://localhost:{port}{path}`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address().port())
    }

    /// The next connection, before any TLS.
    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        let (stream, _) = within("a connection to the raw origin", self.listener.accept())
            .await
            .unwrap();
        // What is written is on its way before the next step, a reset for instance.
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// The next connection, after a handshake in which HTTP/1.1 alone is offered.
    pub(crate) async fn accept_http1(&self) -> Wire {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = self.accept_tcp().await;
        let handshake = TlsAcceptor::from(Arc::new(config)).accept(tcp);
        Wire::over(within("a handshake", handshake).await.unwrap())
    }

    /// The next connection, after the handshake.
    pub(crate) async fn accept(&self) -> Wire {
        self.shake_hands(self.accept_tcp().await).await
    }

    /// The same, to be read and written by the test itself.
    pub(crate) async fn accept_tls(&self) -> TlsStream<TcpStream> {
        self.secure(self.accept_tcp().await).await
    }

    /// A connection that was accepted, after the handshake.
    pub(crate) async fn shake_hands(&self, tcp: TcpStream) -> Wire {
        Wire::over(self.secure(tcp).await)
    }

    async fn secure(&self, tcp: TcpStream) -> TlsStream<TcpStream> {
        let handshake = TlsAcceptor::from(Arc::clone(&self.config)).accept(tcp);
        within("a handshake", handshake).await.unwrap()
    }
}
