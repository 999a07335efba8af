//! The kinds of connector. Each kind has its own fields; `custom` is the only one so far.

use super::{HttpsUrl, ResourceDomain, Scheme};

/// What sort of API a connector leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any HTTPS API, addressed by a resource domain that the administrator enters.
    Custom(Custom),
}

/// The fields of a `custom` connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custom {
    /// Where requests go.
    pub resource_domain: ResourceDomain,
    /// Called when the connector is validated, with its credential, and never otherwise: a URL
    /// below the resource domain.
    pub probe: Option<Box<HttpsUrl>>,
    /// How that origin wants authentication.
    pub scheme: Scheme,
}

impl Kind {
    /// Where requests go, unless that comes with the token (as Salesforce's `instance_url` does).
    pub fn resource_domain(&self) -> Option<&ResourceDomain> {
        match self {
            Self::Custom(custom) => Some(&custom.resource_domain),
        }
    }

    /// The URL below the resource domain that a validation calls, if any.
    pub fn probe(&self) -> Option<&HttpsUrl> {
        match self {
            Self::Custom(custom) => custom.probe.as_deref(),
        }
    }

    /// How the origin wants authentication.
    pub fn scheme(&self) -> &Scheme {
        match self {
            Self::Custom(custom) => &custom.scheme,
        }
    }
}
