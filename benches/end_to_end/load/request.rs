//! What is sent: the same request again and again.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, header};

/// A request, and the bytes it is over HTTP/1.1.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: Method,
    /// Path and query, as they are sent.
    path: String,
    host: String,
    fields: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why a request cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("a request that cannot be written: {0}")]
pub(crate) struct RequestError(#[from] http::Error);

impl Request {
    pub(crate) fn get(path: String, host: &str) -> Self {
        Self::new(Method::GET, path, host, Bytes::new())
    }

    pub(crate) fn post(path: String, host: &str, body: Bytes) -> Self {
        Self::new(Method::POST, path, host, body)
    }

    pub(crate) fn new(method: Method, path: String, host: &str, body: Bytes) -> Self {
        Self {
            method,
            path,
            host: host.to_owned(),
            fields: HeaderMap::new(),
            body,
        }
    }

    /// The same with `fields`; a `Host` among them stands instead of the target's.
    pub(crate) fn with_fields(mut self, mut fields: HeaderMap) -> Self {
        if let Some(host) = fields.remove(header::HOST) {
            self.host = String::from_utf8_lossy(host.as_bytes()).into_owned();
        }
        self.fields = fields;
        self
    }

    /// What it is answered with has no body (RFC 9110 §9.3.2).
    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Its head over HTTP/1.1. `closing` asks for the connection's end behind the answer
    /// (RFC 9112 §9.6).
    pub(crate) fn http1(&self, closing: Closing) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\n",
            self.method, self.path, self.host
        )
        .into_bytes();
        for (name, value) in &self.fields {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        if self.has_length() {
            head.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        match closing {
            Closing::Kept => {}
            Closing::Closed => head.extend_from_slice(b"connection: close\r\n"),
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// It over HTTP/2, without its body.
    pub(crate) fn http2(&self, scheme: &str) -> Result<http::Request<()>, RequestError> {
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(self.host.as_str())
            .path_and_query(self.path.as_str())
            .build()?;
        let mut request = http::Request::builder()
            .method(&self.method)
            .uri(uri)
            .body(())?;
        *request.headers_mut() = self.fields.clone();
        if self.has_length() {
            let length = self.body.len().into();
            request.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        Ok(request)
    }

    /// RFC 9110 §8.6: where content is usual, a length of 0 is said too.
    fn has_length(&self) -> bool {
        let usual = [Method::POST, Method::PUT, Method::PATCH].contains(&self.method);
        usual || !self.body.is_empty()
    }
}

/// What becomes of a connection behind an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    Kept,
    Closed,
}
