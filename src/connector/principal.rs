//! Who calls, by name.

use super::Organization;

/// A caller that the configuration names: a flow runtime, which shows a key or a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    /// What operators call it; unique in its organization.
    pub name: Box<str>,
    /// Whose connectors it reaches; no others exist for it.
    pub organization: Organization,
}
