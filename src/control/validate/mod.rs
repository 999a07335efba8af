//! Walks a connector's way leg by leg and names the one that fails: resolve → connect → TLS → token
//! or validation URL → probe.
//!
//! # Invariants
//!
//! No flow's request is made: an origin sees a handshake, and what the connector itself names to be
//! called, its validation URL and its probe. A credential goes where it goes in service and nowhere
//! else; redirects are not followed. No secret, token or text of another server is told, nor a
//! refused address. A walk has an end, whoever answers how slowly. Nothing of it is left: its token
//! is apart from those of service, and it is counted in no series of a connector's.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;

use crate::clock::{Clock, rfc3339};
use crate::config::Config;
use crate::connector::{ClientCertificate, Connector, Http2, HttpsUrl, Origin, Revision, Scheme};
use crate::credential::{self, Credential, Credentials, TokenError};
use crate::dial::{AddressPolicy, DialError, Dialed, Dialer, Protocol, Stream};
use crate::logging::with_sources;
use crate::metrics::TokenMetrics;
use crate::tls::TlsError;
use crate::tls::client::{ClientTls, TrustAnchors};

mod call;
mod hint;
mod report;

use call::Called;
use hint::Place;
use report::Broken;
pub use report::{Leg, LegOutcome, Report};

const RESOLVE: &str = "resolve";
const CONNECT: &str = "connect";
const TLS: &str = "tls";
const TOKEN: &str = "token";
const VALIDATION: &str = "validation";
const PROBE: &str = "probe";

/// The longest that a whole walk may take: an administrator waits for it.
const WALK_MAX: Duration = Duration::from_secs(30);

/// How long an origin may take to refuse the client's certificate. With TLS 1.3 it does so after
/// the client's handshake is complete (RFC 8446 §4.4.2.4), and says nothing if it accepts it.
const VERDICT_WAIT: Duration = Duration::from_millis(500);

/// Where walks are counted: nobody reads it.
const LABEL: &str = "validation";

/// Walks connectors. Cheap to clone; all clones have the same settings.
#[derive(Clone, Debug)]
pub struct Validator(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dialer: Dialer,
    clock: Clock,
    credentials: Credentials,
    settings: ArcSwap<Settings>,
}

/// What a configuration says about the way.
#[derive(Debug)]
struct Settings {
    policy: AddressPolicy,
    credential: credential::Settings,
}

impl Settings {
    fn of(config: &Config) -> Result<Self, TlsError> {
        let bundles = config.trust.ca_bundles.iter().map(AsRef::as_ref);
        Ok(Self {
            policy: AddressPolicy::allowing(&config.trust.allow_addresses),
            credential: credential::Settings {
                tokens: Arc::new(config.tokens),
                policy: AddressPolicy::allowing(&config.trust.token_endpoint_allow_addresses),
                anchors: TrustAnchors::system_and(bundles)?,
            },
        })
    }
}

impl Validator {
    /// Walks under the settings of `config`, on the ways that `dialer` finds; what belongs to no
    /// caller runs on `runtime`.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the configuration's trust anchors cannot be used.
    pub fn new(
        config: &Config,
        dialer: Dialer,
        clock: Clock,
        runtime: Handle,
    ) -> Result<Self, TlsError> {
        let settings = Settings::of(config)?;
        // Apart from those of service, and with room for no token.
        let metrics = Arc::new(TokenMetrics::default());
        let (way, time) = (dialer.clone(), clock.clone());
        let credentials = Credentials::new(runtime, way, time, metrics, 0, None);
        Ok(Self(Arc::new(Shared {
            dialer,
            clock,
            credentials,
            settings: ArcSwap::from_pointee(settings),
        })))
    }

    /// Walks under the settings of `config` from now on. A walk under way keeps its own.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if its trust anchors cannot be used; then nothing changed.
    pub fn update(&self, config: &Config) -> Result<(), TlsError> {
        self.0.settings.store(Arc::new(Settings::of(config)?));
        Ok(())
    }

    /// Walks the way of `connector`, to its end or to the leg that fails.
    ///
    /// Cancel-safe: a caller that goes away ends the walk.
    pub async fn walk(&self, connector: &Connector) -> Report {
        let shared = &*self.0;
        let settings = shared.settings.load_full();
        let walk = Walk {
            shared,
            settings: &settings,
            connector,
            walked: Mutex::default(),
        };
        let deadline = shared.clock.monotonic().saturating_add(WALK_MAX);
        let broken = tokio::select! {
            ended = walk.legs() => ended.err(),
            () = shared.clock.sleep_until(deadline) => Some(walk.too_long()),
        };
        Report::of(way(connector), walk.into_walked(), broken)
    }
}

/// The legs of `connector`'s way, in the order they are walked.
fn way(connector: &Connector) -> impl Iterator<Item = &'static str> {
    let credential = match connector.kind.scheme() {
        Scheme::None | Scheme::Header(_) | Scheme::ClientCertificate(_) => None,
        Scheme::Basic(_) => Some(VALIDATION),
        Scheme::OAuth2(_) => Some(TOKEN),
    };
    let reach = [RESOLVE, CONNECT, TLS].into_iter();
    reach.chain(credential).chain([PROBE])
}

/// One walk.
struct Walk<'a> {
    shared: &'a Shared,
    settings: &'a Settings,
    connector: &'a Connector,
    walked: Mutex<Vec<Leg>>,
}

impl Walk<'_> {
    async fn legs(&self) -> Result<(), Broken> {
        if let Some(domain) = self.connector.kind.resource_domain() {
            self.reach(domain.origin()).await?;
        }
        let token = match self.connector.kind.scheme() {
            Scheme::None | Scheme::Header(_) | Scheme::ClientCertificate(_) => None,
            Scheme::Basic(basic) => {
                self.validate(basic.validation_url.as_deref()).await?;
                None
            }
            Scheme::OAuth2(_) => self.fetch().await?,
        };
        self.probe(token).await
    }

    /// Resolve → connect → TLS.
    async fn reach(&self, origin: &Origin) -> Result<(), Broken> {
        let certificate = self.connector.kind.scheme().certificate_to_resource();
        let tls = self.identity(certificate, self.connector.upstream.http2)?;
        match self.dial(origin, &tls).await {
            Ok(Dialed {
                stream,
                protocol,
                peer,
                ..
            }) => {
                self.good(RESOLVE, peer.ip().to_string());
                self.good(CONNECT, peer.to_string());
                taken(stream).await?;
                self.good(TLS, version(protocol).to_owned());
                Ok(())
            }
            Err(error) => {
                let leg = leg_name(&error);
                if leg != RESOLVE {
                    self.good(RESOLVE, origin.host());
                }
                if leg == TLS {
                    self.good(CONNECT, format!("port {}", origin.port()));
                }
                Err(Broken {
                    leg,
                    step: None,
                    reason: told(&error),
                    hint: hint::dial(&error, Place::ResourceDomain),
                })
            }
        }
    }

    async fn dial(&self, origin: &Origin, tls: &ClientTls) -> Result<Dialed, DialError> {
        let limit = self.connector.upstream.connect_timeout;
        let dialer = &self.shared.dialer;
        dialer.dial(origin, tls, &self.settings.policy, limit).await
    }

    fn identity(
        &self,
        certificate: Option<&ClientCertificate>,
        http2: Http2,
    ) -> Result<ClientTls, Broken> {
        let anchors = self.settings.credential.anchors.of(self.connector);
        let identity = anchors.and_then(|anchors| ClientTls::new(&anchors, certificate, http2));
        identity.map_err(|error| Broken {
            leg: TLS,
            step: None,
            reason: with_sources(&error),
            hint: hint::IDENTITY,
        })
    }

    /// One token request, as service makes it.
    async fn fetch(&self) -> Result<Option<Credential>, Broken> {
        let credentials = &self.shared.credentials;
        let settings = &self.settings.credential;
        match credentials
            .fetch_once(self.connector, settings, LABEL.into())
            .await
        {
            Ok(None) => Ok(None),
            Ok(Some(fetched)) => {
                self.good(TOKEN, format!("expires {}", rfc3339(fetched.expires_at)));
                Ok(Some(fetched.credential))
            }
            Err(error) => Err(Broken {
                leg: TOKEN,
                step: token_step(&error),
                reason: told(&error),
                hint: hint::token(&error),
            }),
        }
    }

    /// Calls the validation URL with the username and the password.
    async fn validate(&self, url: Option<&HttpsUrl>) -> Result<(), Broken> {
        let Some(url) = url else {
            self.skipped(VALIDATION, hint::NO_VALIDATION_URL);
            return Ok(());
        };
        let status = self.call(Called::Validation, url, self.fixed()).await?;
        self.good(VALIDATION, format!("status {}", status.as_u16()));
        Ok(())
    }

    /// Calls the probe with the credential that flows' requests carry: `token`, where there is one.
    async fn probe(&self, token: Option<Credential>) -> Result<(), Broken> {
        let Some(url) = self.connector.kind.probe() else {
            self.skipped(PROBE, hint::NO_PROBE);
            return Ok(());
        };
        let credential = token.unwrap_or_else(|| self.fixed());
        let status = self.call(Called::Probe, url, credential).await?;
        self.good(PROBE, format!("status {}", status.as_u16()));
        Ok(())
    }

    /// The credential of a connector that has the same one with every request.
    fn fixed(&self) -> Credential {
        let settings = &self.settings.credential;
        let credentials = &self.shared.credentials;
        let source =
            credentials.source(self.connector, Revision::default(), settings, LABEL.into());
        match source {
            Ok(credential::Source::Fixed(credential)) => credential,
            Ok(credential::Source::Token(_)) | Err(_) => Credential::None,
        }
    }

    /// The walk has no more time: the leg it was at did not come to its end.
    fn too_long(&self) -> Broken {
        let walked = self.walked();
        let next = way(self.connector).find(|name| !walked.iter().any(|leg| leg.name == *name));
        Broken {
            leg: next.unwrap_or(PROBE),
            step: None,
            reason: format!("not at its end within {WALK_MAX:?}"),
            hint: hint::SLOW,
        }
    }

    fn good(&self, leg: &'static str, found: String) {
        self.walked().push(Leg::good(leg, found));
    }

    fn skipped(&self, leg: &'static str, why: &'static str) {
        self.walked().push(Leg::skipped(leg, why));
    }

    fn walked(&self) -> MutexGuard<'_, Vec<Leg>> {
        let walked = self.walked.lock();
        walked.unwrap_or_else(PoisonError::into_inner)
    }

    fn into_walked(self) -> Vec<Leg> {
        let walked = self.walked.into_inner();
        walked.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the origin has refused the client's certificate, or the lack of one, or has had
/// the time to.
async fn taken(mut stream: Stream) -> Result<(), Broken> {
    let broken = |reason| Broken {
        leg: TLS,
        step: None,
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

/// What is said of `error`; not what a name resolves to where that is refused. Whoever may write or
/// try connectors would learn by name what stands in a network that is closed to them.
pub fn told(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    let mut dials = chain.filter_map(|error| error.downcast_ref::<DialError>());
    match dials.next() {
        Some(DialError::AddressRefused { host, range, .. }) => {
            format!("{host} resolves to an address in the refused range {range}")
        }
        Some(
            DialError::Resolve { .. }
            | DialError::Connect { .. }
            | DialError::Tls { .. }
            | DialError::TimedOut { .. },
        )
        | None => with_sources(error),
    }
}

fn leg_name(error: &DialError) -> &'static str {
    match error.leg() {
        crate::dial::Leg::Resolve => RESOLVE,
        crate::dial::Leg::Connect => CONNECT,
        crate::dial::Leg::Tls => TLS,
    }
}

/// The token leg is a way of its own.
fn token_step(error: &TokenError) -> Option<&'static str> {
    let TokenError::Dial(error) = error else {
        return None;
    };
    Some(leg_name(error))
}

fn version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http11 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2",
    }
}
