//! One question to the provider: a GET of a JSON document.
//!
//! # Invariants
//!
//! Over verified TLS to an address that token endpoints may have. No redirect is followed; an
//! answer has [`BODY_BYTES_MAX`] bytes at most, and all of it ends within [`LIMIT`].

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::clock::in_real_time;
use crate::config;
use crate::connector::{Http2, HttpsUrl, InvalidUrl};
use crate::dial::{AddressPolicy, DialError, Dialer};
use crate::tls::TlsError;
use crate::tls::client::{ClientTls, TrustAnchors};

/// All of a question.
const LIMIT: Duration = Duration::from_secs(5);
/// An answer's body.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// An answer's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The most fields in it.
const FIELDS_MAX: usize = 100;

/// The way to the provider.
pub(super) struct Line {
    dialer: Dialer,
    /// What of it the configuration's `trust` decides; a question under way keeps its own.
    bounds: ArcSwap<Bounds>,
}

/// Whom the provider may be, and where.
struct Bounds {
    anchors: TrustAnchors,
    tls: ClientTls,
    policy: AddressPolicy,
}

impl Bounds {
    fn of(settings: &config::Oidc, trust: &config::Trust) -> Result<Self, TlsError> {
        let bundles = trust.ca_bundles.iter().chain(&settings.ca_bundle);
        let anchors = TrustAnchors::system_and(bundles.map(|bundle| &**bundle))?;
        Ok(Self {
            tls: ClientTls::new(&anchors, None, Http2::Off)?,
            policy: AddressPolicy::allowing(&trust.token_endpoint_allow_addresses),
            anchors,
        })
    }

    /// Whether they let in whom `other` lets in.
    fn are_those_of(&self, other: &Self) -> bool {
        self.anchors.are_those_of(&other.anchors) && self.policy == other.policy
    }
}

/// What new bounds are beside those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The same.
    Same,
    /// Others: what was fetched within the old ones might not have been within these.
    Changed,
}

/// Why a document was not had.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("the provider was not reached")]
    Dial(#[source] DialError),
    #[error("the exchange with the provider broke off")]
    Broken(#[source] hyper::Error),
    #[error("the provider's answer is too long or broke off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the provider did not answer within {LIMIT:?}")]
    TimedOut,
    #[error("the provider answered with {0}")]
    Status(StatusCode),
    #[error("the provider's answer is no JSON")]
    Json(#[source] serde_json::Error),
    #[error("the provider's document {0}")]
    Unfit(&'static str),
    #[error("the URL of the provider's document cannot be used")]
    Url(#[source] InvalidUrl),
    #[error("the URL of the provider's document cannot be written in a request")]
    Unwritable(#[source] http::Error),
}

impl Line {
    /// The way to the provider of `settings`, within what `trust` allows.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a bundle cannot be used.
    pub(super) fn new(
        dialer: Dialer,
        settings: &config::Oidc,
        trust: &config::Trust,
    ) -> Result<Self, TlsError> {
        let bounds = ArcSwap::from_pointee(Bounds::of(settings, trust)?);
        Ok(Self { dialer, bounds })
    }

    /// Keeps within what `trust` allows from now on, and says whether that is something else.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a bundle cannot be used; then nothing changed.
    pub(super) fn keep_within(
        &self,
        settings: &config::Oidc,
        trust: &config::Trust,
    ) -> Result<Kept, TlsError> {
        let bounds = Arc::new(Bounds::of(settings, trust)?);
        let before = self.bounds.swap(Arc::clone(&bounds));
        Ok(match bounds.are_those_of(&before) {
            true => Kept::Same,
            false => Kept::Changed,
        })
    }

    /// The document at `url`.
    ///
    /// # Errors
    ///
    /// [`LineError`].
    pub(super) async fn fetch(&self, url: &HttpsUrl) -> Result<Value, LineError> {
        let limit = in_real_time(LIMIT);
        let asked = timeout_at(limit, self.ask(url)).await;
        let body = asked.unwrap_or(Err(LineError::TimedOut))?;
        serde_json::from_slice(&body).map_err(LineError::Json)
    }

    async fn ask(&self, url: &HttpsUrl) -> Result<Bytes, LineError> {
        let request = Request::get(url.path_and_query())
            .header(header::HOST, url.origin().authority())
            .header(header::ACCEPT, "application/json")
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::CONNECTION, "close")
            .header(
                header::USER_AGENT,
                concat!("attache/", env!("CARGO_PKG_VERSION")),
            )
            .body(Empty::<Bytes>::new())
            .map_err(LineError::Unwritable)?;
        let bounds = self.bounds.load_full();
        let dialed = self
            .dialer
            .dial(url.origin(), &bounds.tls, &bounds.policy, LIMIT)
            .await
            .map_err(LineError::Dial)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(FIELDS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(dialed.stream))
            .await
            .map_err(LineError::Broken)?;
        // The set aborts its task when it is dropped, and that closes the connection.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(LineError::Broken)?;
        if answer.status() != StatusCode::OK {
            return Err(LineError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), BODY_BYTES_MAX);
        let body = body.collect().await.map_err(LineError::Body)?;
        Ok(body.to_bytes())
    }
}
