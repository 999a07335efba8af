//! `attache check --connect`: walks each connector's way and names the leg that fails.
//!
//! # Invariants
//!
//! No flow's request is made: an origin sees a handshake and nothing more. A credential goes where
//! it goes in service, to the token endpoint, and otherwise to the validation URL alone; redirects
//! are not followed. No secret, token or text of another server is shown.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;

use super::check::{self, CheckOutcome};
use crate::clock::{Clock, rfc3339};
use crate::config::Config;
use crate::connector::{ClientCertificate, Connector, Http2, HttpsUrl, Origin, Revision, Scheme};
use crate::credential::{self, Credential, Credentials, TokenError};
use crate::dial::{
    AddressPolicy, DialError, Dialed, Dialer, Leg, Lookup, Protocol, Resolver, Stream,
};
use crate::logging::with_sources;
use crate::metrics::Metrics;
use crate::tls::TlsError;
use crate::tls::client::{ClientTls, TrustAnchors};

mod hint;

use hint::Place;

/// The leg to the token endpoint.
const TOKEN: &str = "token";
/// The leg to the validation URL.
const VALIDATION: &str = "validation";
const USER_AGENT: &str = concat!("attache/", env!("CARGO_PKG_VERSION"));

/// Connectors that are walked at once.
const WALKS_MAX: usize = 16;
/// How long an origin may take to refuse the client's certificate. With TLS 1.3 it does so after
/// the client's handshake is complete (RFC 8446 §4.4.2.4), and says nothing if it accepts it.
const VERDICT_WAIT: Duration = Duration::from_millis(500);

/// Reads the configuration at `path` as `check` does; then walks the way of every connector that
/// is enabled, and says of each leg on `out` how it went.
///
/// # Errors
///
/// If `out` or `err` cannot be written to, or the system has no thread to give.
pub fn run(path: &Path, out: &mut impl Write, err: &mut impl Write) -> io::Result<CheckOutcome> {
    let Some(config) = check::read(path, out, err)? else {
        return Ok(CheckOutcome::Faulty);
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let reached = runtime.block_on(walk_all(&config, out));
    // A look-up that hangs must not keep the process.
    runtime.shutdown_background();
    reached
}

async fn walk_all(config: &Config, out: &mut impl Write) -> io::Result<CheckOutcome> {
    let way = Way::new(config).map_err(io::Error::other)?;
    let (walked, inactive): (Vec<_>, Vec<_>) =
        config.connectors.iter().partition(|one| one.enabled);
    let mut reports = stream::iter(&walked)
        .map(|connector| way.walk(connector))
        .buffered(WALKS_MAX);
    let mut reached = 0;
    while let Some(report) = reports.next().await {
        write!(out, "{report}")?;
        reached += usize::from(report.broken.is_none());
    }
    for connector in inactive {
        writeln!(out, "{}: inactive, not walked", connector.id)?;
    }
    writeln!(out, "connectors reached: {reached} of {}", walked.len())?;
    Ok(match reached == walked.len() {
        true => CheckOutcome::Good,
        false => CheckOutcome::Unreached,
    })
}

/// What came of one connector's walk.
struct Report {
    connector: String,
    /// The legs that went well, and what was found at each.
    good: Vec<(&'static str, String)>,
    /// The one that did not, where the walk ended.
    broken: Option<Broken>,
}

/// Why a leg failed, and what to look at.
struct Broken {
    leg: &'static str,
    reason: String,
    hint: &'static str,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connector = &self.connector;
        for (leg, found) in &self.good {
            writeln!(f, "{connector}: {leg}: good ({found})")?;
        }
        match &self.broken {
            None => Ok(()),
            Some(Broken { leg, reason, hint }) => {
                writeln!(f, "{connector}: {leg}: failed: {reason}; {hint}")
            }
        }
    }
}

/// What every walk needs.
struct Way {
    dialer: Dialer,
    policy: AddressPolicy,
    credentials: Credentials,
    settings: credential::Settings,
}

impl Way {
    fn new(config: &Config) -> Result<Self, TlsError> {
        let bundles = config.trust.ca_bundles.iter().map(AsRef::as_ref);
        let (clock, runtime) = (Clock::system(), Handle::current());
        let metrics = Metrics::new(1, 1);
        let lookups = metrics.lookups();
        let resolver = Resolver::new(Lookup::System, clock.clone(), runtime.clone(), lookups);
        let dialer = Dialer::new(resolver);
        let metrics = metrics.tokens();
        let entries_max = config.tokens.entries_max;
        Ok(Self {
            credentials: Credentials::new(
                runtime,
                dialer.clone(),
                clock,
                metrics,
                entries_max,
                None,
            ),
            dialer,
            policy: AddressPolicy::allowing(&config.trust.allow_addresses),
            settings: credential::Settings {
                tokens: Arc::new(config.tokens),
                policy: AddressPolicy::allowing(&config.trust.token_endpoint_allow_addresses),
                anchors: TrustAnchors::system_and(bundles)?,
            },
        })
    }

    async fn walk(&self, connector: &Connector) -> Report {
        let mut good = Vec::new();
        let broken = self.legs(connector, &mut good).await.err();
        Report {
            connector: connector.id.to_string(),
            good,
            broken,
        }
    }

    async fn legs(
        &self,
        connector: &Connector,
        good: &mut Vec<(&'static str, String)>,
    ) -> Result<(), Broken> {
        if let Some(domain) = connector.kind.resource_domain() {
            self.reach(connector, domain.origin(), good).await?;
        }
        match connector.kind.scheme() {
            Scheme::None | Scheme::Header(_) | Scheme::ClientCertificate(_) => {}
            Scheme::Basic(basic) => {
                if let Some(url) = &basic.validation_url {
                    let status = self.validate(connector, url).await?;
                    good.push((VALIDATION, format!("status {}", status.as_u16())));
                }
            }
            Scheme::OAuth2(_) => {
                let expires_at = self.fetch(connector).await?;
                good.push((TOKEN, format!("expires {}", rfc3339(expires_at))));
            }
        }
        Ok(())
    }

    /// Resolve → connect → TLS.
    async fn reach(
        &self,
        connector: &Connector,
        origin: &Origin,
        good: &mut Vec<(&'static str, String)>,
    ) -> Result<(), Broken> {
        let unreached = |error: DialError| Broken {
            leg: leg_name(error.leg()),
            reason: with_sources(&error),
            hint: hint::dial(&error, Place::ResourceDomain),
        };
        let certificate = connector.kind.scheme().certificate_to_resource();
        let tls = self.identity(connector, certificate, connector.upstream.http2)?;
        let limit = connector.upstream.connect_timeout;
        match self.dialer.dial(origin, &tls, &self.policy, limit).await {
            Ok(Dialed {
                stream,
                protocol,
                peer,
                ..
            }) => {
                good.push((leg_name(Leg::Resolve), peer.ip().to_string()));
                good.push((leg_name(Leg::Connect), peer.to_string()));
                taken(stream).await?;
                good.push((leg_name(Leg::Tls), version(protocol).to_owned()));
                Ok(())
            }
            Err(error) => {
                if error.leg() != Leg::Resolve {
                    good.push((leg_name(Leg::Resolve), origin.host()));
                }
                if error.leg() == Leg::Tls {
                    good.push((leg_name(Leg::Connect), format!("port {}", origin.port())));
                }
                Err(unreached(error))
            }
        }
    }

    fn identity(
        &self,
        connector: &Connector,
        certificate: Option<&ClientCertificate>,
        http2: Http2,
    ) -> Result<ClientTls, Broken> {
        let own = connector.ca_bundle.as_deref();
        let anchors = self.settings.anchors.and(own);
        let identity = anchors.and_then(|anchors| ClientTls::new(&anchors, certificate, http2));
        identity.map_err(|error| Broken {
            leg: leg_name(Leg::Tls),
            reason: with_sources(&error),
            hint: "check the connector's certificate, key and ca_bundle",
        })
    }

    /// One token request, as service makes it; says when its token expires.
    async fn fetch(&self, connector: &Connector) -> Result<SystemTime, Broken> {
        let label = Arc::from(connector.id.as_str());
        let fetched = self
            .credentials
            .fetch_once(connector, &self.settings, label);
        match fetched.await {
            // Without OAuth 2.0 there is no token, and nobody asks here for one.
            Ok(expires_at) => Ok(expires_at.unwrap_or(SystemTime::UNIX_EPOCH)),
            Err(error) => Err(Broken {
                leg: token_leg_name(&error),
                reason: with_sources(&error),
                hint: hint::token(&error),
            }),
        }
    }

    /// Calls the validation URL with the connector's own credential.
    async fn validate(&self, connector: &Connector, url: &HttpsUrl) -> Result<StatusCode, Broken> {
        let broken = |reason, hint| Broken {
            leg: VALIDATION,
            reason,
            hint,
        };
        let limits = &connector.upstream;
        let tls = self.identity(connector, None, Http2::Off)?;
        let origin = url.origin();
        let dialing = self
            .dialer
            .dial(origin, &tls, &self.policy, limits.connect_timeout);
        let dialed = dialing.await.map_err(|error| {
            let hint = hint::dial(&error, Place::ResourceDomain);
            broken(with_sources(&error), hint)
        })?;
        let request = self.validation(connector, url).await;
        let request = request.ok_or_else(|| {
            let reason = "the request could not be written".to_owned();
            broken(reason, hint::VALIDATION)
        })?;
        let limit = limits.response_head_timeout;
        let status = match tokio::time::timeout(limit, ask(dialed.stream, request)).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return Err(broken(with_sources(&error), hint::VALIDATION)),
            Err(_) => {
                return Err(broken(
                    format!("no answer within {limit:?}"),
                    hint::VALIDATION,
                ));
            }
        };
        match status.is_success() || status.is_redirection() {
            true => Ok(status),
            false => Err(broken(
                format!("it answered with status {}", status.as_u16()),
                hint::validation_status(status),
            )),
        }
    }

    async fn validation(
        &self,
        connector: &Connector,
        url: &HttpsUrl,
    ) -> Option<Request<Empty<Bytes>>> {
        let label = Arc::from(connector.id.as_str());
        let source = self
            .credentials
            .source(connector, Revision::default(), &self.settings, label)
            .ok()?;
        let Credential::Field { name, value, .. } = source.obtain().await.ok()?.credential else {
            return None;
        };
        Request::get(url.path_and_query())
            .header(header::HOST, url.origin().authority())
            .header(header::ACCEPT, "*/*")
            .header(header::CONNECTION, "close")
            .header(header::USER_AGENT, USER_AGENT)
            .header(name, value)
            .body(Empty::new())
            .ok()
    }
}

/// Waits until the origin has refused the client's certificate, or the lack of one, or has had
/// the time to.
async fn taken(mut stream: Stream) -> Result<(), Broken> {
    let broken = |reason| Broken {
        leg: leg_name(Leg::Tls),
        reason,
        hint: hint::CLIENT_CERTIFICATE,
    };
    let mut first = [0];
    match tokio::time::timeout(VERDICT_WAIT, stream.read(&mut first)).await {
        // HTTP/2 servers speak first (RFC 9113 §3.4), HTTP/1.1 servers never.
        Ok(Ok(1..)) | Err(_) => Ok(()),
        Ok(Ok(0)) => Err(broken("the origin hung up after the handshake".to_owned())),
        Ok(Err(error)) => Err(broken(with_sources(&error))),
    }
}

/// Sends one request and returns its answer's status; the rest of the answer is not read.
async fn ask(stream: Stream, request: Request<Empty<Bytes>>) -> hyper::Result<StatusCode> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The set aborts its task when it is dropped, and that closes the connection.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    Ok(sender.send_request(request).await?.status())
}

fn leg_name(leg: Leg) -> &'static str {
    match leg {
        Leg::Resolve => "resolve",
        Leg::Connect => "connect",
        Leg::Tls => "tls",
    }
}

/// The token leg is a way of its own.
fn token_leg_name(error: &TokenError) -> &'static str {
    let TokenError::Dial(error) = error else {
        return TOKEN;
    };
    match error.leg() {
        Leg::Resolve => "token (resolve)",
        Leg::Connect => "token (connect)",
        Leg::Tls => "token (tls)",
    }
}

fn version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http11 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2",
    }
}
