//! What sends requests, one after the other over one connection: the most repeatable load there is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use http::{Request, StatusCode, Version};

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Sends `count` requests to the gateway's `paths`, in turns, and reads every answer to its end.
pub(crate) type Send = Box<dyn FnMut(usize)>;

/// A connected sender.
pub(crate) fn connect(
    protocol: Protocol,
    gateway: SocketAddr,
    paths: Vec<String>,
    answer_bytes: usize,
) -> Send {
    match protocol {
        Protocol::Http1 => http1(gateway, paths, answer_bytes),
        Protocol::Http2 => http2(gateway, paths, answer_bytes),
    }
}

fn http1(gateway: SocketAddr, paths: Vec<String>, answer_bytes: usize) -> Send {
    let mut stream = TcpStream::connect(gateway).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
    let requests: Vec<_> = paths
        .iter()
        .map(|path| {
            format!(
                "GET {path} HTTP/1.1\r\nhost: {gateway}\r\nuser-agent: flow\r\naccept: */*\r\n\r\n"
            )
        })
        .collect();
    let mut read = Vec::new();
    Box::new(move |count| {
        for request in requests.iter().cycle().take(count) {
            stream.write_all(request.as_bytes()).unwrap();
            read_answer(&mut stream, &mut read, answer_bytes);
        }
    })
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

fn http2(gateway: SocketAddr, paths: Vec<String>, answer_bytes: usize) -> Send {
    let runtime = super::runtime();
    let mut sender = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender
    });
    let requests: Vec<_> = paths
        .iter()
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
