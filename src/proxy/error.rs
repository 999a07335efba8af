//! Everything the gateway itself may answer, and the table that says so.
//!
//! # Invariants
//!
//! Each [`Refusal`] has one [`Reason`]; each reason one row of [`TABLE`], which README repeats and a
//! test compares. What a flow is told is chosen in [`Refusal::detail`]; what an operator is told is
//! the error with its sources. The two never mix.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::credential::TokenError;
use crate::dial::{DialError, Leg};
use crate::tls::fault::Fault;

mod table;

pub use table::{Reason, Row, TABLE};

/// Why a request was not carried to its end.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request is malformed (RFC 9112 §3, RFC 9113 §8.1.1).
    #[error("the request is malformed: {0}")]
    BadRequest(&'static str),
    /// The path could be read in two ways, or addresses nothing.
    #[error("the path is refused: {0}")]
    BadPath(&'static str),
    /// `Host` or `:authority` is missing, doubled, contradictory or not ours (RFC 9112 §3.2).
    #[error("the host is refused: {0}")]
    BadHost(&'static str),
    /// Inbound authentication is on and the caller has none.
    #[error("the caller showed no client certificate")]
    CallerUnknown,
    /// Keys are asked for, and this caller showed none that is ours.
    #[error("the caller showed no key, or none that is listed")]
    KeyUnknown,
    /// The certificate that the caller showed in its handshake does not hold now.
    #[error("the caller's certificate has ended, or its CA or list does not vouch for it any more")]
    CertificateEnded,
    /// The certificate that the caller showed holds, and is nobody's that is listed.
    #[error("no name of the caller's certificate is listed under inbound.certificates")]
    CertificateUnlisted,
    /// The caller's key is one principal's, and its certificate another's.
    #[error("the caller's key and certificate name different principals")]
    CallerTwofold,
    /// A browser sends the request for some page.
    #[error("the request is a browser's")]
    BrowserRefused,
    /// No rule of the connector lists the request.
    #[error("the connector allows no such request")]
    CallerDenied,
    /// The connector is switched off.
    #[error("the connector is inactive")]
    ConnectorInactive,
    /// No connector has this ID.
    #[error("no such connector")]
    NoSuchConnector,
    /// CONNECT and TRACE (RFC 9110 §9.3.6, §9.3.8).
    #[error("the method is not carried")]
    Method,
    /// The client stopped sending amid its body.
    #[error("the client sent nothing of its body for {0:?}")]
    ClientTimeout(Duration),
    /// The body is, by its length, larger than `limits.request_body_bytes_max`.
    #[error("the request body is over {0} bytes")]
    BodyTooLarge(u64),
    /// The body was found larger than `limits.request_body_bytes_max` when it was on its way.
    #[error("the request body grew over {0} bytes")]
    BodyGrewTooLarge(u64),
    /// The head holds more than `limits.fields_max` fields.
    #[error("the request's head has more than {0} fields")]
    TooManyFields(usize),
    /// The request's body broke off or is malformed.
    #[error("the request body is malformed or broke off")]
    BadBody,
    /// No connection to the origin.
    #[error("the origin was not reached")]
    Unreachable(#[source] DialError),
    /// No connection took a byte of the request, or the origin said that it did nothing with it.
    #[error("the origin took nothing of the request, however often it was handed over")]
    Unsent(#[source] hyper::Error),
    /// The origin hung up before it answered.
    #[error("the origin closed the connection before it answered")]
    Disconnected(#[source] hyper::Error),
    /// What the origin sent is no HTTP answer.
    #[error("the origin's answer is malformed")]
    OriginProtocol(#[source] hyper::Error),
    /// The origin's answer can be read in two ways, or not be written (RFC 9112 §6.3, RFC 9113 §8.2.1).
    #[error("the origin's answer cannot be passed on: {0}")]
    OriginHead(&'static str),
    /// The origin switched protocols unasked (RFC 9110 §15.2.2).
    #[error("the origin switched protocols without being asked")]
    UnaskedUpgrade,
    /// The origin's answer did not begin in time.
    #[error("no answer from the origin within {0:?}")]
    OriginSilent(Duration),
    /// The origin took nothing of the request for too long.
    #[error("the origin took nothing of the request for {0:?}")]
    OriginStalled(Duration),
    /// There is no credential to attach.
    #[error("no credential could be obtained")]
    NoCredential {
        /// Why.
        #[source]
        reason: Arc<TokenError>,
        /// When another attempt is worth while.
        retry_after: Duration,
    },
    /// The gateway carries as many requests as it may.
    #[error("{0} requests are in flight already")]
    TooManyRequests(usize),
    /// The connector carries as many requests as it may.
    #[error("{0} requests of the connector are in flight already")]
    ConnectorBusy(u32),
    /// The connector gets more requests in a time than it may.
    #[error("over the connector's requests_per_second")]
    RateLimited {
        /// When there is room for one.
        free_in: Duration,
    },
    /// The origin failed too often and is left alone.
    #[error("the connector's breaker is open")]
    BreakerOpen {
        /// When it may be tried again; `None` while one request tries.
        open_for: Option<Duration>,
    },
    /// The answer's body is, by its length, larger than the connector's may be.
    #[error("the answer's body is over {0} bytes")]
    ResponseTooLarge(u64),
    /// The connector has as many connections as it may, and none came free.
    #[error("all {0} connections of the connector stayed busy")]
    NoConnectionFree(u32),
    /// The gateway ends, and the request was still in flight at the drain's bound.
    #[error("the request was in flight when timeouts.drain was over")]
    Draining,
    /// Our own `Via` came back (RFC 9110 §7.6.3).
    #[error("the request passed through this gateway before")]
    Loop,
    /// A request or answer head that cannot be built, though every part was checked.
    #[error("the request could not be put together")]
    Unbuildable(#[source] http::Error),
}

/// How long a flow is asked to wait where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Refusal {
    /// The refusal's word.
    pub fn reason(&self) -> Reason {
        match self {
            Self::BadRequest(_) | Self::BadBody => Reason::BadRequest,
            Self::BadPath(_) => Reason::BadPath,
            Self::BadHost(_) => Reason::BadHost,
            Self::CallerUnknown
            | Self::KeyUnknown
            | Self::CertificateEnded
            | Self::CertificateUnlisted
            | Self::CallerTwofold => Reason::CallerUnknown,
            Self::BrowserRefused => Reason::BrowserRefused,
            Self::CallerDenied => Reason::CallerDenied,
            Self::ConnectorInactive => Reason::ConnectorInactive,
            Self::NoSuchConnector => Reason::NoSuchConnector,
            Self::Method => Reason::Method,
            Self::ClientTimeout(_) => Reason::ClientTimeout,
            Self::BodyTooLarge(_) | Self::BodyGrewTooLarge(_) => Reason::BodyTooLarge,
            Self::TooManyFields(_) => Reason::HeadTooLarge,
            Self::Unreachable(DialError::AddressRefused { .. }) => Reason::AddressRefused,
            Self::Unreachable(DialError::Tls { .. }) => Reason::OriginTls,
            Self::Unreachable(DialError::TimedOut { .. })
            | Self::OriginSilent(_)
            | Self::OriginStalled(_) => Reason::OriginTimeout,
            Self::Unreachable(DialError::Resolve { .. } | DialError::Connect { .. })
            | Self::Disconnected(_)
            | Self::Unsent(_) => Reason::OriginUnreachable,
            Self::OriginProtocol(_) | Self::OriginHead(_) | Self::UnaskedUpgrade => {
                Reason::OriginProtocol
            }
            Self::NoCredential { .. } => Reason::NoCredential,
            Self::RateLimited { .. } => Reason::RateLimited,
            Self::BreakerOpen { .. } => Reason::BreakerOpen,
            Self::ResponseTooLarge(_) => Reason::ResponseTooLarge,
            Self::TooManyRequests(_) | Self::ConnectorBusy(_) | Self::NoConnectionFree(_) => {
                Reason::Busy
            }
            Self::Draining => Reason::Draining,
            Self::Loop => Reason::Loop,
            Self::Unbuildable(_) => Reason::BadRequest,
        }
    }

    /// The error type for `Proxy-Status` (RFC 9209 §2.3).
    pub fn proxy_status(&self) -> &'static str {
        match self {
            Self::Unreachable(DialError::Resolve { .. }) => "dns_error",
            Self::Unreachable(DialError::Tls { source, .. }) => match Fault::of(source) {
                Fault::Certificate | Fault::Revocation => "tls_certificate_error",
                Fault::Alert => "tls_alert_received",
                Fault::Protocol => "tls_protocol_error",
            },
            Self::Unreachable(DialError::TimedOut {
                leg: Leg::Resolve, ..
            }) => "dns_timeout",
            Self::Unreachable(DialError::TimedOut { .. }) => "connection_timeout",
            Self::Disconnected(_) | Self::Unsent(_) => "connection_terminated",
            Self::OriginStalled(_) => "connection_write_timeout",
            Self::Unreachable(DialError::AddressRefused { .. } | DialError::Connect { .. })
            | Self::BadRequest(_)
            | Self::BadBody
            | Self::BadPath(_)
            | Self::BadHost(_)
            | Self::CallerUnknown
            | Self::KeyUnknown
            | Self::CertificateEnded
            | Self::CertificateUnlisted
            | Self::CallerTwofold
            | Self::BrowserRefused
            | Self::CallerDenied
            | Self::ConnectorInactive
            | Self::NoSuchConnector
            | Self::Method
            | Self::ClientTimeout(_)
            | Self::BodyTooLarge(_)
            | Self::BodyGrewTooLarge(_)
            | Self::TooManyFields(_)
            | Self::OriginProtocol(_)
            | Self::OriginHead(_)
            | Self::UnaskedUpgrade
            | Self::OriginSilent(_)
            | Self::NoCredential { .. }
            | Self::TooManyRequests(_)
            | Self::ConnectorBusy(_)
            | Self::RateLimited { .. }
            | Self::BreakerOpen { .. }
            | Self::ResponseTooLarge(_)
            | Self::NoConnectionFree(_)
            | Self::Draining
            | Self::Loop
            | Self::Unbuildable(_) => self.reason().row().proxy_status,
        }
    }

    /// When it is worth trying again, where that is known (RFC 9110 §10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::NoCredential { retry_after, .. } = self {
            return Some(*retry_after);
        }
        // RFC 6585 §4.
        if let Self::RateLimited { free_in } = self {
            return Some(*free_in);
        }
        if let Self::BreakerOpen { open_for } = self {
            return Some(open_for.unwrap_or(RETRY_AFTER));
        }
        let passes = self.reason().row().status == StatusCode::SERVICE_UNAVAILABLE;
        passes.then_some(RETRY_AFTER)
    }

    /// Whether the origin may have seen the request, so that a flow knows what a repetition risks.
    pub fn may_have_reached_origin(&self) -> bool {
        match self {
            Self::ClientTimeout(_)
            | Self::BadBody
            | Self::Disconnected(_)
            | Self::OriginProtocol(_)
            | Self::OriginHead(_)
            | Self::UnaskedUpgrade
            | Self::OriginSilent(_)
            | Self::OriginStalled(_)
            | Self::BodyGrewTooLarge(_)
            | Self::ResponseTooLarge(_)
            | Self::Draining => true,
            Self::BadRequest(_)
            | Self::BodyTooLarge(_)
            | Self::TooManyFields(_)
            | Self::BadPath(_)
            | Self::BadHost(_)
            | Self::CallerUnknown
            | Self::KeyUnknown
            | Self::CertificateEnded
            | Self::CertificateUnlisted
            | Self::CallerTwofold
            | Self::BrowserRefused
            | Self::CallerDenied
            | Self::ConnectorInactive
            | Self::NoSuchConnector
            | Self::Method
            | Self::Unreachable(_)
            | Self::Unsent(_)
            | Self::NoCredential { .. }
            | Self::TooManyRequests(_)
            | Self::ConnectorBusy(_)
            | Self::RateLimited { .. }
            | Self::BreakerOpen { .. }
            | Self::NoConnectionFree(_)
            | Self::Loop
            | Self::Unbuildable(_) => false,
        }
    }

    /// Whether it says that the origin is not well, which its breaker goes by. What a flow, a token
    /// endpoint or a limit of ours is to blame for says nothing of the origin.
    pub fn is_origins_failure(&self) -> bool {
        matches!(
            self.reason(),
            Reason::OriginUnreachable
                | Reason::OriginTls
                | Reason::OriginTimeout
                | Reason::OriginProtocol
                | Reason::AddressRefused
        )
    }

    /// What the flow is told. Never an error's own text, which is for operators.
    pub fn detail(&self) -> &'static str {
        match self {
            Self::BadRequest(what) | Self::BadPath(what) | Self::BadHost(what) => what,
            Self::BadBody => "The request's body is malformed or ended early.",
            Self::CallerUnknown => "This gateway asks callers for a client certificate.",
            Self::KeyUnknown => "This gateway asks callers for a key: Authorization: Bearer.",
            Self::CertificateEnded => "The certificate that was shown does not hold any more.",
            Self::CertificateUnlisted => {
                "This gateway does not list the certificate that was shown."
            }
            Self::CallerTwofold => "The key and the certificate are not of one caller.",
            Self::BrowserRefused => "This gateway takes no requests from browsers.",
            Self::CallerDenied => "This connector does not take such requests from this caller.",
            Self::ConnectorInactive => "An administrator has switched this connector off.",
            Self::NoSuchConnector => "There is no connector with this ID.",
            Self::Method => "CONNECT and TRACE are not carried.",
            Self::ClientTimeout(_) => "The rest of the request did not arrive in time.",
            Self::BodyTooLarge(_) | Self::BodyGrewTooLarge(_) => {
                "The request's body is larger than this gateway carries."
            }
            Self::TooManyFields(_) => "The request's head has more fields than this gateway reads.",
            Self::Unreachable(error) => unreachable_detail(error),
            Self::Disconnected(_) => "The resource domain hung up before it answered.",
            Self::Unsent(_) => "The resource domain took nothing of the request.",
            Self::OriginProtocol(_) | Self::OriginHead(_) => {
                "What the resource domain answered is not valid HTTP."
            }
            Self::UnaskedUpgrade => "The resource domain switched protocols unasked.",
            Self::OriginSilent(_) => "The resource domain did not answer in time.",
            Self::OriginStalled(_) => "The resource domain stopped taking the request.",
            Self::NoCredential { .. } => {
                "No access token could be obtained for this connector; its administrator can see why."
            }
            Self::TooManyRequests(_) => "The gateway carries as many requests as it may.",
            Self::ConnectorBusy(_) => "This connector carries as many requests as it may.",
            Self::RateLimited { .. } => "This connector takes no more requests for now.",
            Self::BreakerOpen { .. } => {
                "The resource domain failed too often lately and is left alone for a while."
            }
            Self::ResponseTooLarge(_) => {
                "The resource domain's answer is larger than this connector carries."
            }
            Self::NoConnectionFree(_) => "Every connection to the resource domain is in use.",
            Self::Draining => "The gateway shuts down and could wait no longer for the answer.",
            Self::Loop => "The request has passed through this gateway before.",
            Self::Unbuildable(_) => "The request cannot be forwarded as it is.",
        }
    }
}

fn unreachable_detail(error: &DialError) -> &'static str {
    match error {
        DialError::Resolve { .. } => "The resource domain's name could not be resolved.",
        DialError::AddressRefused { .. } => {
            "The resource domain's address is one this gateway does not connect to."
        }
        DialError::Connect { .. } => "The resource domain does not accept connections.",
        DialError::Tls { source, .. } => match Fault::of(source) {
            Fault::Certificate | Fault::Revocation => {
                "The resource domain's certificate is not trusted."
            }
            Fault::Alert => "The resource domain refused the TLS handshake.",
            Fault::Protocol => "The resource domain does not speak TLS as this gateway does.",
        },
        DialError::TimedOut { .. } => "The resource domain could not be reached in time.",
    }
}
