//! Who administers: roles, what each may do, and who is asking.
//!
//! # Invariants
//!
//! What a role may do is said in one place, [`Role::access`]. An [`Actor`] is made by
//! [`Authentication::authenticate`] for whoever proved who they are, and by the commands of those
//! who hold the store itself; it lives for one request.

use std::fmt;
use std::net::IpAddr;

use crate::connector::Organization;
pub use crate::connector::{Access, Role, UnknownRole};

mod administration;
mod authentication;
mod issue;
mod ledger;
mod oidc;
mod organizations;
mod throttle;
mod token;

pub use administration::{Administration, Denied};
pub use authentication::{Authentication, Unauthenticated};
pub use issue::{Issued, TOKEN_LIFETIME, TOKEN_LIFETIME_MAX, Wanted};
pub use oidc::Provider;
#[doc(hidden)]
pub use oidc::doors;
pub use organizations::{CONNECTORS_MAX, LIMITED_KINDS};
pub use token::{HashError, Minted, TOKEN_PREFIX, Token};

/// Whose connectors an administrator sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of one organization; every other one does not exist.
    One(Organization),
    /// Those of every organization (`*`): who runs the gateway itself.
    All,
}

/// An administrator, for the length of one request.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Who: `token:` and the token's ID, or `oidc:` and the subject.
    pub name: String,
    /// What they are called where people read it.
    pub title: String,
    /// What they are.
    pub role: Role,
    /// Whose connectors they see.
    pub scope: Scope,
    /// Where the request came from.
    pub address: IpAddr,
    /// What the request is called in logs.
    pub request_id: String,
}

impl Scope {
    /// Whether what belongs to `organization` exists for this administrator.
    pub fn includes(&self, organization: &Organization) -> bool {
        match self {
            Self::One(own) => own == organization,
            Self::All => true,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(organization) => organization.fmt(f),
            Self::All => f.write_str("*"),
        }
    }
}
