//! Nouns: what a connector is, without any I/O.
//!
//! # Invariants
//!
//! Every type here is checked when it is made ([`ConnectorId::parse`], [`ResourceDomain::parse`]),
//! so that no later room checks it again. A connector can only name `https` origins.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

mod allow;
mod bulkhead;
mod kind;
mod organization;
mod origin;
mod principal;
mod recovery;
mod role;
mod scheme;
mod stored;

pub use allow::{Allow, Asked, Requests, Rule};
pub use bulkhead::{Breaker, Bulkhead, Rate};
pub use kind::{Custom, Kind};
pub use organization::{InvalidOrganization, ORGANIZATION_BYTES_MAX, Organization};
pub use origin::{HttpsUrl, InvalidUrl, Origin, ResourceDomain, join};
pub use principal::Principal;
pub use recovery::{BodySign, ExpiredOn, Recovery, Retry};
pub use role::{Access, Role, UnknownRole};
pub use scheme::{
    Assertion, Basic, ClientAuthentication, ClientCertificate, GrantType, OAuth2, RESERVED_FIELDS,
    RESERVED_PARAMETERS, Scheme, SigningAlgorithm, StaticHeader,
};
pub use stored::{Fallback, Stored};

/// The longest connector ID, in bytes.
pub const CONNECTOR_ID_BYTES_MAX: usize = 64;

/// The configured, authorised way to one API.
///
/// There may be 100,000 of them: what most have alike they share, and what few have lies apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connector {
    /// What flows address it by; unique in the gateway, never changes.
    pub id: ConnectorId,
    /// Whose it is; does not exist for anybody else.
    pub organization: Organization,
    /// What administrators call it; unique in its organization.
    pub name: Box<str>,
    /// An inactive connector answers 403 to flows.
    pub enabled: bool,
    /// What sort of API it leads to, with that sort's own fields.
    pub kind: Kind,
    /// PEM certificates trusted for this connector's connections beside the gateway's own anchors.
    pub ca_bundle: Option<Arc<str>>,
    /// PEM revocation lists (RFC 5280 §5) that its connections' certificates are looked up in.
    pub crl: Option<Arc<str>>,
    /// Whether session cookies travel.
    pub cookies: Cookies,
    /// Whether `Forwarded` (RFC 7239) is added to what the origin receives.
    pub forwarded: Forwarded,
    /// Whether its token is obtained at the start, before a flow asks.
    pub warm: bool,
    /// When a request is sent again.
    pub recovery: Arc<Recovery>,
    /// The most that it may take.
    pub bulkhead: Arc<Bulkhead>,
    /// Where the credential is masked in answers.
    pub scrub: Scrub,
    /// Which requests it takes.
    pub requests: Arc<Requests>,
    /// Limits towards the resource domain.
    pub upstream: Arc<Upstream>,
    /// What only a connector from the store has; one from a configuration file has none of it.
    pub stored: Option<Arc<Stored>>,
}

/// A connector's address within the gateway: `[a-z0-9][a-z0-9-]{0,63}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectorId(Arc<str>);

/// Why a text is no connector ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a connector ID is 1 to {CONNECTOR_ID_BYTES_MAX} of a-z, 0-9 and '-', and does not begin with '-'"
)]
pub struct InvalidConnectorId;

impl ConnectorId {
    /// Reads an ID.
    ///
    /// # Errors
    ///
    /// [`InvalidConnectorId`] if `text` is empty, too long, or holds another character.
    pub fn parse(text: &str) -> Result<Self, InvalidConnectorId> {
        if text.len() <= CONNECTOR_ID_BYTES_MAX && is_label(text.as_bytes()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidConnectorId)
        }
    }

    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A UUID as text (RFC 9562 §4) is an ID.
impl From<uuid::Uuid> for ConnectorId {
    fn from(uuid: uuid::Uuid) -> Self {
        Self(uuid.hyphenated().to_string().into())
    }
}

/// Lets a map keyed by IDs be searched with the text of a request, without a copy.
impl std::borrow::Borrow<str> for ConnectorId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` is `[a-z0-9][a-z0-9-]*`.
fn is_label(text: &[u8]) -> bool {
    let lower_or_digit = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.first().is_some_and(lower_or_digit)
        && text
            .iter()
            .all(|byte| lower_or_digit(byte) || *byte == b'-')
}

/// Counts a connector's changes; a token or connection of an earlier revision is never used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// Whether `Cookie` and `Set-Cookie` travel: a session cookie is a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cookies {
    /// Removed in both directions.
    #[default]
    Drop,
    /// Travel in both directions.
    Pass,
}

/// Whether the origin is told who called (RFC 7239).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwarded {
    /// Nothing is added.
    #[default]
    Omit,
    /// A `Forwarded` field is added.
    Add,
}

/// Where the credential that was attached is masked, should the origin echo it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scrub {
    /// Nowhere.
    Off,
    /// In the fields of answers.
    #[default]
    Fields,
    /// In their fields, and in bodies that are text.
    All,
}

/// Limits towards a resource domain; the gateway's defaults unless the connector says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The longest that name resolution, TCP and TLS may take together.
    pub connect_timeout: Duration,
    /// The longest wait for an answer's head, from the moment the request is handed over.
    pub response_head_timeout: Duration,
    /// The longest pause within a body, either way.
    pub stall_timeout: Duration,
    /// The most connections open at once, over all workers.
    pub connections_max: u32,
    /// How long a connection may lie idle before it is closed.
    pub idle_timeout: Duration,
    /// How old a connection may grow before it takes no further request.
    pub age_max: Duration,
    /// The longest pause on an upgraded connection, both ways together.
    pub tunnel_idle_timeout: Duration,
    /// Whether HTTP/2 is offered in the TLS handshake.
    pub http2: Http2,
}

/// Whether HTTP/2 is offered to a resource domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Http2 {
    /// Offered by ALPN; the origin chooses (RFC 7301).
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Off,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_millis(1500),
            response_head_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(30),
            connections_max: 256,
            idle_timeout: Duration::from_secs(30),
            age_max: Duration::from_secs(600),
            tunnel_idle_timeout: Duration::from_secs(600),
            http2: Http2::Auto,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_outside_the_alphabet_are_refused() {
        for bad in ["", "-a", "A", "a_b", "a.b", "a/b", "ä", &"a".repeat(65)] {
            assert!(ConnectorId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn uuids_and_short_names_are_ids() {
        for good in [
            "a",
            "0",
            "orders",
            "9b04cc45-e715-45e4-a568-4635a88494f9",
            &"a".repeat(64),
        ] {
            assert!(ConnectorId::parse(good).is_ok(), "{good:?}");
        }
    }
}
