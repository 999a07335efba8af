//! One request at a stand-in, while it arrives and after.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rustls_pki_types::CertificateDer;

use super::message;
use super::origin::Shared;

/// A request as a stand-in recorded it.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// The connection it came on, counted from 0.
    pub(crate) connection: usize,
    /// HTTP/1.1 or HTTP/2.
    pub(crate) version: Version,
    /// The method.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// `Host`, or `:authority`.
    pub(crate) authority: String,
    /// The fields, names in lower case; lines of the same name in order.
    pub(crate) fields: Vec<(String, String)>,
    /// The content so far.
    pub(crate) body: Vec<u8>,
    /// The trailer fields.
    pub(crate) trailers: Vec<(String, String)>,
    /// How far it got.
    pub(crate) progress: Progress,
    /// The client's certificate, if it showed one.
    pub(crate) client_certificate: Option<CertificateDer<'static>>,
}

/// How much of a request has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Its head, and what was read of its body.
    Arriving,
    /// All of it.
    Whole,
    /// It broke off.
    BrokenOff,
}

impl Recorded {
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
}

/// A request that is being answered.
pub(crate) struct Exchange {
    index: usize,
    body: Incoming,
    shared: Arc<Shared>,
}

impl Exchange {
    pub(super) fn record(
        request: Request<Incoming>,
        connection: usize,
        client_certificate: Option<CertificateDer<'static>>,
        shared: Arc<Shared>,
    ) -> Self {
        let (head, body) = request.into_parts();
        let fields = texts(&head.headers);
        let host = message::all(&fields, "host")
            .first()
            .map(|&host| host.to_owned());
        let authority = head.uri.authority().map(ToString::to_string);
        let recorded = Recorded {
            connection,
            version: head.version,
            method: head.method.to_string(),
            target: head
                .uri
                .path_and_query()
                .map(ToString::to_string)
                .unwrap_or_default(),
            authority: authority.or(host).unwrap_or_default(),
            fields,
            body: Vec::new(),
            trailers: Vec::new(),
            progress: Progress::Arriving,
            client_certificate,
        };
        let index = {
            let mut records = shared.records.lock().unwrap();
            records.push(recorded);
            records.len() - 1
        };
        shared.tally.send_modify(|tally| tally.heads += 1);
        Self {
            index,
            body,
            shared,
        }
    }

    /// The request as far as it has arrived.
    pub(crate) fn recorded(&self) -> Recorded {
        self.shared.records.lock().unwrap()[self.index].clone()
    }

    /// The next piece of content; `None` at the end or where it breaks off, which
    /// [`Recorded::progress`] tells apart.
    pub(crate) async fn piece(&mut self) -> Option<Bytes> {
        loop {
            let frame = match self.body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => return self.end(Progress::BrokenOff),
                None => return self.end(Progress::Whole),
            };
            match frame.into_data() {
                Ok(data) => {
                    self.update(|recorded| recorded.body.extend_from_slice(&data));
                    return Some(data);
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.update(|recorded| recorded.trailers = texts(&trailers));
                }
            }
        }
    }

    /// Reads the rest of the body.
    pub(crate) async fn finish(&mut self) -> Recorded {
        while self.piece().await.is_some() {}
        self.recorded()
    }

    fn end(&self, progress: Progress) -> Option<Bytes> {
        let before = self.recorded().progress;
        self.update(|recorded| recorded.progress = progress);
        if before == Progress::Arriving && progress == Progress::Whole {
            self.shared.tally.send_modify(|tally| tally.whole += 1);
        }
        None
    }

    fn update(&self, change: impl FnOnce(&mut Recorded)) {
        change(&mut self.shared.records.lock().unwrap()[self.index]);
    }
}

/// Fields as text; bytes become the characters of the same number.
pub(super) fn texts(fields: &HeaderMap) -> Vec<(String, String)> {
    fields
        .iter()
        .map(|(name, value)| {
            let value = value.as_bytes().iter().map(|&byte| char::from(byte));
            (name.to_string(), value.collect())
        })
        .collect()
}
