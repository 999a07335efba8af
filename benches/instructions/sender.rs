//! What sends requests, one after the other: the most repeatable load there is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use http::{Request, StatusCode, Version};

/// How a client speaks and connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// HTTP/1.1 over one connection.
    Http1,
    /// HTTP/1.1 over a new connection for each request.
    Http1Anew,
    /// HTTP/2 over one connection.
    Http2,
}

/// What is sent and awaited.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// Where, in turns.
    pub(crate) paths: Vec<String>,
    /// The content of each request; a GET if there is none. HTTP/2 clients send none.
    pub(crate) upload_bytes: usize,
    /// The content of each answer.
    pub(crate) answer_bytes: usize,
}

/// Sends so many requests, and reads every answer to its end.
pub(crate) type Send = Box<dyn FnMut(usize)>;

/// Makes what sends `exchange` to `gateway`.
pub(crate) fn connect(client: Client, gateway: SocketAddr, exchange: &Exchange) -> Send {
    match client {
        Client::Http1 => http1(gateway, exchange, Kept::Always),
        Client::Http1Anew => http1(gateway, exchange, Kept::Never),
        Client::Http2 => http2(gateway, exchange),
    }
}

/// Whether a connection is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Always,
    Never,
}

fn http1(gateway: SocketAddr, exchange: &Exchange, kept: Kept) -> Send {
    let answer_bytes = exchange.answer_bytes;
    let paths = exchange.paths.iter();
    let requests: Vec<_> = paths
        .map(|path| request(gateway, path, exchange.upload_bytes))
        .collect();
    let mut stream = dial(gateway);
    let mut read = Vec::new();
    Box::new(move |count| {
        for request in requests.iter().cycle().take(count) {
            if kept == Kept::Never {
                stream = dial(gateway);
            }
            stream.write_all(request.as_bytes()).unwrap();
            read_answer(&mut stream, &mut read, answer_bytes);
        }
    })
}

fn dial(gateway: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(gateway).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
    stream
}

/// A whole request, so that it leaves in one write.
fn request(gateway: SocketAddr, path: &str, upload_bytes: usize) -> String {
    let fields = format!("host: {gateway}\r\nuser-agent: flow\r\naccept: */*\r\n");
    match upload_bytes {
        0 => format!("GET {path} HTTP/1.1\r\n{fields}\r\n"),
        bytes => format!(
            "POST {path} HTTP/1.1\r\n{fields}content-length: {bytes}\r\n\r\n{}",
            "a".repeat(bytes)
        ),
    }
}

fn read_answer(stream: &mut TcpStream, read: &mut Vec<u8>, answer_bytes: usize) {
    let mut piece = [0; 32 * 1024];
    read.clear();
    loop {
        let count = stream.read(&mut piece).unwrap();
        assert_ne!(count, 0, "the gateway ended the connection");
        read.extend_from_slice(&piece[..count]);
        if let Some(head) = read.windows(4).position(|end| end == b"\r\n\r\n")
            && read.len() >= head + 4 + answer_bytes
        {
            assert!(
                read.starts_with(b"HTTP/1.1 200 "),
                "{}",
                String::from_utf8_lossy(read)
            );
            return;
        }
    }
}

fn http2(gateway: SocketAddr, exchange: &Exchange) -> Send {
    let answer_bytes = exchange.answer_bytes;
    let runtime = super::runtime();
    let mut sender = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender
    });
    let paths = exchange.paths.iter();
    let requests: Vec<_> = paths
        .map(|path| {
            Request::get(format!("http://{gateway}{path}"))
                .version(Version::HTTP_2)
                .header("user-agent", "flow")
                .header("accept", "*/*")
                .body(())
                .unwrap()
        })
        .collect();
    Box::new(move |count| {
        for request in requests.iter().cycle().take(count) {
            let answered = answered(&mut sender, request.clone());
            let within = async { tokio::time::timeout(super::PATIENCE, answered).await };
            assert_eq!(runtime.block_on(within).unwrap(), answer_bytes);
        }
    })
}

/// The length of the answer.
async fn answered(sender: &mut h2::client::SendRequest<Bytes>, request: Request<()>) -> usize {
    std::future::poll_fn(|cx| sender.poll_ready(cx))
        .await
        .unwrap();
    let (answer, _) = sender.send_request(request, true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body();
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        length += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    length
}
