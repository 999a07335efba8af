//! One request of a walk: the validation URL's, or the probe's.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use super::hint::{self, Place};
use super::report::Broken;
use super::{PROBE, VALIDATION, Walk, told};
use crate::connector::{Http2, HttpsUrl};
use crate::credential::Credential;
use crate::dial::Stream;
use crate::logging::with_sources;

const USER_AGENT: &str = concat!("attache/", env!("CARGO_PKG_VERSION"));

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Called {
    /// Takes a username and a password, or refuses them.
    Validation,
    /// Answers as the API does.
    Probe,
}

impl Called {
    fn leg(self) -> &'static str {
        match self {
            Self::Validation => VALIDATION,
            Self::Probe => PROBE,
        }
    }

    /// What to look at where it does not answer as HTTP.
    fn hint(self) -> &'static str {
        match self {
            Self::Validation => hint::VALIDATION,
            Self::Probe => hint::PROBE,
        }
    }

    fn status_hint(self, status: StatusCode) -> &'static str {
        match self {
            Self::Validation => hint::validation_status(status),
            Self::Probe => hint::probe_status(status),
        }
    }
}

impl Walk<'_> {
    /// Calls `url` with `credential`, and is content with any status below 400: a redirect is an
    /// answer, and not followed.
    pub(super) async fn call(
        &self,
        called: Called,
        url: &HttpsUrl,
        credential: Credential,
    ) -> Result<StatusCode, Broken> {
        let broken = |reason: String, hint| Broken {
            leg: called.leg(),
            step: None,
            reason,
            hint,
        };
        let certificate = self.connector.kind.scheme().certificate_to_resource();
        let tls = self.identity(certificate, Http2::Off)?;
        let dialed = self.dial(url.origin(), &tls).await.map_err(|error| {
            let hint = hint::dial(&error, Place::ResourceDomain);
            broken(told(&error), hint)
        })?;
        let request = request(url, credential).map_err(|_| {
            let reason = "the request could not be written".to_owned();
            broken(reason, called.hint())
        })?;
        let limit = self.connector.upstream.response_head_timeout;
        let status = match tokio::time::timeout(limit, ask(dialed.stream, request)).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return Err(broken(with_sources(&error), called.hint())),
            Err(_) => {
                let reason = format!("no answer within {limit:?}");
                return Err(broken(reason, called.hint()));
            }
        };
        match status.is_success() || status.is_redirection() {
            true => Ok(status),
            false => {
                let reason = format!("it answered with status {}", status.as_u16());
                Err(broken(reason, called.status_hint(status)))
            }
        }
    }
}

fn request(url: &HttpsUrl, credential: Credential) -> http::Result<Request<Empty<Bytes>>> {
    let request = Request::get(url.path_and_query())
        .header(header::HOST, url.origin().authority())
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, USER_AGENT);
    match credential {
        Credential::None => request,
        Credential::Field { name, value, .. } => request.header(name, value),
    }
    .body(Empty::new())
}

/// Sends one request and returns its answer's status; the rest of the answer is not read.
async fn ask(stream: Stream, request: Request<Empty<Bytes>>) -> hyper::Result<StatusCode> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The set aborts its task when it is dropped, and that closes the connection.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    Ok(sender.send_request(request).await?.status())
}
