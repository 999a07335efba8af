//! A TCP balancer before the gateway: what it writes ahead of its clients' bytes, by the PROXY
//! protocol's text (`proxy-protocol.txt` §2.2) and not by the gateway's code.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::client::Client;
use super::wire::Wire;
use super::within;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The block of a header for a connection between two addresses of one family.
fn block(source: SocketAddr, destination: SocketAddr) -> (u8, Vec<u8>) {
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let family = if source.is_ipv4() { 0x11 } else { 0x21 };
    let ports = [source.port(), destination.port()].map(u16::to_be_bytes);
    let block = [octets(source), octets(destination), ports.concat()].concat();
    (family, block)
}

/// Any header, right or wrong.
pub(crate) fn header_of(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, block].concat()
}

/// One for a client at `source` that connected to `destination`.
pub(crate) fn header(source: &str, destination: &str) -> Vec<u8> {
    header_with(source, destination, &[])
}

/// The same with `values` behind the addresses, a type and a value each.
pub(crate) fn header_with(source: &str, destination: &str, values: &[(u8, &[u8])]) -> Vec<u8> {
    let (family, mut block) = block(source.parse().unwrap(), destination.parse().unwrap());
    for (kind, value) in values {
        block.push(*kind);
        block.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        block.extend_from_slice(value);
    }
    header_of(0x21, family, &block)
}

/// One of the balancer's own, to see whether the gateway is there.
pub(crate) fn local() -> Vec<u8> {
    header_of(0x20, 0x00, &[])
}

/// A connection to `address` on which `header` has been written.
pub(crate) async fn connect(address: SocketAddr, header: &[u8]) -> TcpStream {
    let connecting = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(header).await.unwrap();
        stream
    };
    within("a connection", connecting).await
}

/// The same for a client that writes exact bytes.
pub(crate) async fn wire(address: SocketAddr, header: &[u8]) -> Wire {
    Wire::over(connect(address, header).await)
}

/// A connection from `from`, on which nothing has been written.
pub(crate) async fn wire_from(from: &str, address: SocketAddr) -> Wire {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(SocketAddr::new(from.parse().unwrap(), 0))
        .unwrap();
    let connected = within("a connection", socket.connect(address)).await;
    Wire::over(connected.unwrap())
}

/// A client behind `header` that speaks HTTP/1.1.
pub(crate) async fn http1(address: SocketAddr, header: &[u8]) -> Client {
    let stream = connect(address, header).await;
    Client::http1_over(stream, address.to_string()).await
}

/// A client behind `header` that speaks HTTP/2 with prior knowledge (RFC 9113 §3.3).
pub(crate) async fn http2(address: SocketAddr, header: &[u8]) -> Client {
    let stream = connect(address, header).await;
    Client::http2_over(stream, address.to_string()).await
}

/// A client behind `header` that shakes hands over TLS with `localhost`.
pub(crate) async fn tls(address: SocketAddr, header: &[u8], config: Arc<ClientConfig>) -> Client {
    let stream = connect(address, header).await;
    let name = ServerName::try_from("localhost").unwrap();
    let handshake = TlsConnector::from(config).connect(name, stream);
    let stream = within("a handshake", handshake).await.unwrap();
    Client::tls_over(stream, address).await
}
