//! What an operator writes, checked and turned into the program's own nouns.
//!
//! # Invariants
//!
//! A [`Config`] in hand is good: every value is within its bound, every file was read, every key
//! pair matches, every ID and name is unique. A bad one never becomes a `Config`; its
//! [`ConfigError`] names file, line, column and key, and never shows a secret.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use ipnet::IpNet;

use crate::connector::{Connector, HttpsUrl, Organization, Role, SigningAlgorithm};
use crate::proxy_protocol::Balancers;
use crate::secret::Secret;

mod allow;
mod assertion;
mod auth;
mod bulkhead;
mod connectors;
mod document;
mod error;
mod files;
mod identity;
mod inbound;
mod json;
mod keys;
mod listeners;
mod load;
mod oauth;
mod oidc;
mod path;
mod pem;
mod proxy_protocol;
mod reader;
mod recovery;
mod settings;
mod store;
pub mod stored;
#[doc(hidden)]
pub mod doors;
#[cfg(test)]
mod tests;
mod units;

pub use connectors::ConnectorDefaults;
pub use error::{ConfigError, Fault, Faults};
pub use inbound::{Browsers, Inbound, InboundCertificate, InboundKey};
pub use store::{InvalidMasterKey, MasterKey, Store, StoreUrl};

/// The longest name, URL or other text that is no secret, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

impl Config {
    /// Reads, checks and resolves the configuration file at `path`: YAML, and the secrets,
    /// certificates and keys it names, whose paths are relative to it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the file cannot be read, or with everything that is wrong in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load::file(path)
    }

    /// As [`Config::load`], from `text`; paths in it are relative to `base_dir`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Faulty`] with everything that is wrong in it.
    pub fn parse(text: &str, base_dir: &Path) -> Result<Self, ConfigError> {
        load::text(text, None, base_dir, &|name| std::env::var_os(name))
    }
}

/// A whole, checked configuration. Its connectors are what is published, not copied.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where flows connect. Not reloadable.
    pub listen: Vec<SocketAddr>,
    /// Worker threads; at least one. Not reloadable.
    pub workers: usize,
    /// Names flows may use in `Host` beside loopback names and the bound addresses.
    pub hosts: Hosts,
    /// TLS for flows, if any.
    pub tls: Option<ServerTls>,
    /// Whom the gateway lets in.
    pub inbound: Inbound,
    /// The admin listener. Not reloadable.
    pub admin: Admin,
    /// The extra metrics listener and the bound on series.
    pub metrics: Metrics,
    /// What is logged, and how.
    pub logs: Logs,
    /// Whom the gateway believes and where it may connect.
    pub trust: Trust,
    /// Limits of the whole gateway.
    pub limits: Limits,
    /// Time limits towards flows.
    pub timeouts: Timeouts,
    /// The life of tokens.
    pub tokens: Tokens,
    /// Where connectors are kept that administrators manage, if there are any. Not reloadable.
    pub store: Option<Store>,
    /// The connectors, in the order they were written.
    pub connectors: Vec<Arc<Connector>>,
    /// What connectors have that say nothing else, those of a store included.
    pub connector_defaults: ConnectorDefaults,
    /// What is allowed but unwise; logged at load and shown by `attache check`.
    pub warnings: Vec<String>,
    /// The files it was read from, those it names included: a change of any is a change of it.
    pub files: Vec<PathBuf>,
}

/// Names that are ours in `Host` and `:authority`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// These, in lower case without a trailing dot, beside loopback names and bound addresses.
    Listed(Vec<String>),
    /// Any name (`["*"]`).
    Any,
}

impl Hosts {
    /// Whether `host` names us to a client that connected to `local`: a loopback name, that very
    /// address, or a listed name. Its port does not matter: ports are mapped on the way here.
    pub fn include(&self, host: &Authority, local: SocketAddr) -> bool {
        self.list(host.host()) || Self::are_own(host, local)
    }

    /// Whether `host` is a loopback name or the very address of `local`, which are ours whatever is
    /// listed.
    pub fn are_own(host: &Authority, local: SocketAddr) -> bool {
        let name = host.host();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            let address = address.to_canonical();
            if address.is_loopback() || address == local.ip().to_canonical() {
                return true;
            }
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        name.eq_ignore_ascii_case("localhost")
    }

    /// Whether `name` is listed.
    pub fn list(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        match self {
            Self::Listed(listed) => listed.iter().any(|ours| name.eq_ignore_ascii_case(ours)),
            Self::Any => true,
        }
    }
}

/// A TLS listener's identity and whom it asks for certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// The chain, leaf first, PEM.
    pub certificate_pem: String,
    /// The leaf's key, PEM.
    pub private_key_pem: Secret,
    /// The CA (PEM) whose client certificates are accepted; `None` asks for none.
    pub client_ca_pem: Option<String>,
    /// Revocation lists (PEM) that client certificates are looked up in.
    pub client_crl_pem: Option<String>,
}

/// The admin listener: health, metrics, and later the API and console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Its address; anything but loopback needs `tls`.
    pub listen: SocketAddr,
    /// Its TLS identity, if any.
    pub tls: Option<ServerTls>,
    /// Further names allowed in its `Host`.
    pub hosts: Hosts,
    /// The balancers in front of it, where connections begin with a PROXY protocol header.
    pub balancers: Option<Balancers>,
    /// Whose tokens administrators may show beside the gateway's own.
    pub oidc: Option<Oidc>,
}

/// An OpenID provider whose tokens name administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// Its identifier, as tokens have it in `iss`.
    pub issuer: String,
    /// What it calls this gateway in `aud`.
    pub audience: String,
    /// Where its keys are, unless its discovery document is to be asked.
    pub jwks_url: Option<HttpsUrl>,
    /// PEM certificates trusted for its connections beside the gateway's own anchors.
    pub ca_bundle: Option<Arc<str>>,
    /// The claim with what administrators are: a name, or a JSON pointer.
    pub role_claim: String,
    /// Which role each value of it gives.
    pub roles: BTreeMap<String, Role>,
    /// The claim with whose administrators they are, if it differs between them.
    pub organization_claim: Option<String>,
    /// Whose they are where no claim says so.
    pub organization: Organization,
    /// What tokens may be signed with.
    pub algorithms: Vec<SigningAlgorithm>,
}

/// The metrics listener and its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// An extra listener with `/metrics`, `/livez` and `/readyz` only, free of the Host rule.
    pub listen: Option<SocketAddr>,
    /// The most connectors with series of their own; the rest share `connector="other"`.
    pub connectors_max: usize,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logs {
    /// The shape of a line.
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: tracing::Level,
    /// Which requests get a line.
    pub access: AccessLog,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which requests get a line in the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// None.
    Off,
    /// Those the gateway refused and those answered with 5xx.
    Errors,
    /// Every one.
    All,
}

/// Whom the gateway believes and where it may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// PEM bundles trusted beside the system's.
    pub ca_bundles: Vec<Arc<str>>,
    /// Otherwise refused ranges that resource domains may resolve to.
    pub allow_addresses: Vec<IpNet>,
    /// The same for token endpoints; equals `allow_addresses` unless written.
    pub token_endpoint_allow_addresses: Vec<IpNet>,
}

/// Limits of the whole gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections open at once.
    pub connections_max: usize,
    /// Requests being carried at once.
    pub requests_in_flight_max: usize,
    /// A request's head, in bytes.
    pub head_bytes_max: usize,
    /// A request's fields.
    pub fields_max: usize,
    /// A request's body, in bytes.
    pub request_body_bytes_max: u64,
    /// The configuration file, in bytes.
    pub config_bytes_max: u64,
}

/// Time limits towards flows. `body` and `write` are per stall, not in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TLS handshake and protocol detection.
    pub handshake: Duration,
    /// A request's head, from its first byte.
    pub head: Duration,
    /// A connection without a request.
    pub idle: Duration,
    /// A pause within a request's body.
    pub body: Duration,
    /// A pause in which a client takes nothing of its answer.
    pub write: Duration,
    /// How long a draining gateway still accepts connections.
    pub drain_delay: Duration,
    /// How long requests in flight may take after that.
    pub drain: Duration,
}

/// The life of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// The longest a flow waits for a token; the fetch goes on.
    pub wait: Duration,
    /// The longest one token request may take.
    pub fetch: Duration,
    /// How long a token without `expires_in` is used.
    pub default_lifetime: Duration,
    /// When a token is renewed, in hundredths of its lifetime.
    pub renew_at_percent: u32,
    /// The most failed token requests of one connector in a minute.
    pub retries_per_minute_max: u32,
    /// Token slots kept.
    pub entries_max: u64,
}

/// Reads a duration as an operator writes it: `1500ms`, `30s`, `10m`, `2h`.
pub fn read_duration(text: &str) -> Option<Duration> {
    <units::Span as units::Quantity>::parse(text).map(units::Span::duration)
}
