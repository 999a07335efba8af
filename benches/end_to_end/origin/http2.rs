//! HTTP/2, by hyper.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::room::Room;

/// More than a load sends side by side on all its connections together, should a contender put them
/// on one.
const STREAMS_MAX: u32 = 1024;
/// Room for a body that is sent here, on a stream and on a connection.
const WINDOW_BYTES: u32 = 1024 * 1024;

pub(super) async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    room: Arc<Room>,
) {
    let service = service_fn(move |request| answer(request, Arc::clone(&room)));
    let mut server = Builder::new(TokioExecutor::new());
    server
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    // How a connection ends is the contender's affair.
    drop(server.serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(
    request: Request<Incoming>,
    room: Arc<Room>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    // Twice is once too often.
    let authorization = match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        _ => None,
    };
    let (status, body) = room.answer(request.uri().path(), authorization);
    let mut incoming = request.into_body();
    while let Some(Ok(frame)) = incoming.frame().await {
        drop(frame);
    }
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    Ok(response)
}
