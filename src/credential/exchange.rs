//! One HTTP exchange with a token endpoint, or with the revocation endpoint beside it.
//!
//! # Invariants
//!
//! One POST over verified TLS, one answer, and the connection is closed (RFC 6749 §3.2). No
//! redirect is followed. At most [`BODY_BYTES_MAX`] bytes are read, nothing is decoded, and all of
//! it ends within the fetch's limit.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::answer::check_shape;
use super::basic;
use super::error::TokenError;
use super::oauth::{HttpRequest, HttpResponse};
use super::token::Moment;
use crate::clock::Clock;
use crate::config::Tokens;
use crate::connector::{HttpsUrl, OAuth2, StaticHeader};
use crate::dial::{AddressPolicy, Dialer, Stream};
use crate::retry_after;
use crate::secret::wiped_bytes;
use crate::tls::client::ClientTls;

/// The longest wait a token endpoint may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// An answer of this many bytes or more is refused.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// The largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The most fields in an answer.
const FIELDS_MAX: usize = 100;

/// What an exchange needs.
pub(super) struct Line<'a> {
    /// The way out.
    pub(super) dialer: &'a Dialer,
    /// The identity shown to the token endpoint.
    pub(super) tls: &'a ClientTls,
    /// Where token endpoints may lie.
    pub(super) policy: &'a AddressPolicy,
    /// Measures the limit.
    pub(super) clock: &'a Clock,
    /// Holds the limit.
    pub(super) tokens: &'a Tokens,
    /// Where to.
    pub(super) url: &'a HttpsUrl,
    /// What of the answer is read.
    pub(super) wanted: Wanted,
    /// Which fields go with it.
    pub(super) oauth2: &'a OAuth2,
    /// What the head of the answer said, once there is one.
    pub(super) answered: OnceLock<Answered>,
}

/// What of a good answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The body: a token stands in it.
    Body,
    /// Its status alone (RFC 7009 §2.2).
    Status,
}

/// What counts of an answer's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// Its status; that of a success is 200.
    pub(super) status: StatusCode,
    /// How long the server asks us to wait (RFC 9110 §10.2.3).
    pub(super) retry_after: Option<Duration>,
}

impl Answered {
    /// What `answer` says, now.
    pub(super) fn of(answer: &HttpResponse, clock: &Clock) -> Self {
        let fields = answer.headers();
        Self {
            status: answer.status(),
            retry_after: retry_after::read(fields, clock.wall(), RETRY_AFTER_MAX),
        }
    }
}

impl Line<'_> {
    /// Carries `request` to the token endpoint. The answer has status 200 and a body, or the
    /// status of an error and perhaps a body; of its fields only `Retry-After` is left.
    ///
    /// # Errors
    ///
    /// [`TokenError`] for every other ending.
    pub(super) async fn carry(&self, request: HttpRequest) -> Result<HttpResponse, TokenError> {
        let limit = self.tokens.fetch;
        let deadline = Moment::of(self.clock).deadline(limit);
        let request = self.dress(request)?;
        let origin = self.url.origin();
        let dialed = self
            .dialer
            .dial(origin, self.tls, self.policy, limit)
            .await
            .map_err(TokenError::Dial)?;
        let answer = tokio::select! {
            biased;
            answer = ask(dialed.stream, request, self.wanted) => answer?,
            () = self.clock.sleep_until(deadline) => return Err(TokenError::TimedOut { limit }),
        };
        self.answered
            .get_or_init(|| Answered::of(&answer, self.clock));
        Ok(answer)
    }

    /// The request as it goes on the wire: origin form, our fields beside the configured ones.
    fn dress(&self, request: HttpRequest) -> Result<Request<Full<Bytes>>, TokenError> {
        let (mut parts, body) = request.into_parts();
        let unwritable = |_| TokenError::Unwritable;
        parts.uri = self
            .url
            .path_and_query()
            .parse()
            .map_err(|_| TokenError::Unwritable)?;
        let authority = self.url.origin().authority();
        let fields = &mut parts.headers;
        if let Some(authorization) = fields.get_mut(header::AUTHORIZATION) {
            authorization.set_sensitive(true);
        }
        fields.insert(
            header::HOST,
            HeaderValue::from_str(authority).map_err(unwritable)?,
        );
        let ours = HeaderValue::from_static;
        fields.insert(header::ACCEPT_ENCODING, ours("identity"));
        fields.insert(header::CONNECTION, ours("close"));
        fields.insert(
            header::USER_AGENT,
            ours(concat!("attache/", env!("CARGO_PKG_VERSION"))),
        );
        // What is configured takes the place of what we would have said.
        for field @ StaticHeader { name, .. } in &self.oauth2.token_headers {
            fields.insert(name.clone(), basic::fixed(field).map_err(unwritable)?);
        }
        let body = wiped_bytes(Zeroizing::new(body));
        Ok(Request::from_parts(parts, Full::new(body)))
    }
}

async fn ask(
    stream: Stream,
    request: Request<Full<Bytes>>,
    wanted: Wanted,
) -> Result<HttpResponse, TokenError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(FIELDS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(2 * HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // The set aborts its task when it is dropped, and that closes the connection.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let answer = sender.send_request(request).await.map_err(broken)?;
    read(answer, wanted).await
}

pub(super) async fn read<B>(answer: Response<B>, wanted: Wanted) -> Result<HttpResponse, TokenError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let status = answer.status();
    let waits = answer.headers().get_all(header::RETRY_AFTER);
    let waits: Vec<_> = waits.iter().cloned().collect();
    if status.is_redirection() {
        return Err(TokenError::Redirected { status });
    }
    let refused = status.is_client_error() || status.is_server_error();
    let succeeded = matches!(status, StatusCode::OK | StatusCode::CREATED);
    if !refused && !succeeded {
        return Err(TokenError::UnexpectedStatus { status });
    }
    let body = match read_body(answer).await {
        Ok(body) => body,
        Err(_) if wanted == Wanted::Status => Vec::new(),
        // The refusal is what counts; an unreadable reason is no reason.
        Err(_) if refused => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut whole = Response::new(body);
    *whole.status_mut() = if succeeded { StatusCode::OK } else { status };
    for value in waits {
        whole.headers_mut().append(header::RETRY_AFTER, value);
    }
    Ok(whole)
}

async fn read_body<B>(answer: Response<B>) -> Result<Vec<u8>, TokenError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let encodings = answer.headers().get_all(header::CONTENT_ENCODING);
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !encodings.iter().all(plain) {
        return Err(TokenError::Encoded);
    }
    let limited = Limited::new(answer.into_body(), BODY_BYTES_MAX - 1);
    let body = limited.collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return TokenError::TooLong {
                bytes_max: BODY_BYTES_MAX,
            };
        }
        match error.downcast::<hyper::Error>() {
            Ok(error) => broken(*error),
            Err(_) => TokenError::Empty,
        }
    })?;
    let body = Vec::from(body.to_bytes());
    check_shape(&body)?;
    Ok(body)
}

fn broken(error: hyper::Error) -> TokenError {
    if error.is_parse() || error.is_parse_too_large() {
        TokenError::NotHttp(error)
    } else {
        TokenError::Broken(error)
    }
}
