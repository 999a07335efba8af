//! The rules of a connector's life: who may do what to it, and when.
//!
//! # Invariants
//!
//! What is saved was validated first; a change and its audit entry are one transaction, in which
//! everything that another change could have altered meanwhile is looked at again. What belongs to
//! another organization does not exist, in no answer and no count.

use serde_json::Value;

use crate::connector::Organization;
use crate::control::store::Phase;

mod refused;
mod view;

pub use refused::{FieldFault, Refused};
pub use view::{ConnectorView, Source, phase_name};

/// Which state of a connector a change is meant for (RFC 9110 §13.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Whatever it is now (`*`).
    Any,
    /// The one of this revision.
    Revision(u64),
}

/// A change of a connector's keys: of [`ConnectorView::json`].
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// All of them. Those that the gateway sets itself may be left out, or stand as they are.
    Replace(Value),
    /// A merge patch (RFC 7396).
    Merge(Value),
}

/// Which connectors are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this organization.
    pub organization: Option<Organization>,
    /// Those in this phase; without it, all but the deleted ones.
    pub state: Option<Phase>,
    /// Those of this kind.
    pub kind: Option<String>,
    /// The one of this name.
    pub name: Option<String>,
    /// Those that come from there.
    pub source: Option<Source>,
}

/// A page of connectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// In the order of their IDs.
    pub items: Vec<ConnectorView>,
    /// The ID after which the next page begins, if there is one.
    pub next: Option<String>,
}
