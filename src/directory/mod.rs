//! Where the two planes meet: what is published, and what a request reads.
//!
//! # Invariants
//!
//! A request loads the current [`Snapshot`] once and clones one [`Entry`] out of it; it never holds
//! the snapshot across an `await`, so retired snapshots are dropped by whoever publishes. An entry
//! never changes: an edit publishes another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};

use crate::config::{AccessLog, Hosts, Inbound, Limits, Timeouts};
use crate::connector::{Connector, ConnectorId, ResourceDomain, Revision};
use crate::credential::Source;
use crate::dial::AddressPolicy;
use crate::tls::client::ClientTls;
use crate::tls::server::ServerIdentity;

mod breaker;
mod echo;
mod budget;
mod rate;
mod state;

pub use breaker::{BreakerChange, BreakerStand};
pub use budget::RetryBudget;
pub use echo::Echo;
pub use state::{Berth, ConnectionPermit, ConnectorState, Full, Vitals};

/// The published state, swapped as a whole.
#[derive(Debug)]
pub struct Directory {
    current: ArcSwap<Snapshot>,
}

/// Everything the data plane needs to know, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The gateway's own settings.
    pub settings: Arc<Settings>,
    /// What requests find their connectors in.
    pub entries: Entries,
}

/// Every connector by its ID. A persistent map: replacing one entry among many copies only the
/// path to it.
pub type Entries = imbl::HashMap<ConnectorId, Arc<Entry>>;

/// What the data plane reads of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Limits of the whole gateway.
    pub limits: Limits,
    /// Time limits towards flows.
    pub timeouts: Timeouts,
    /// Names that are ours in `Host`.
    pub hosts: Hosts,
    /// TLS for flows, if any.
    pub tls: Option<ServerIdentity>,
    /// Whom the gateway lets in.
    pub inbound: Inbound,
    /// Addresses resource domains may have.
    pub policy: AddressPolicy,
    /// Which requests get a line in the access log.
    pub access: AccessLog,
}

/// One connector as the data plane sees it: one generation of it, whole.
#[derive(Debug)]
pub struct Entry {
    /// The connector.
    pub connector: Arc<Connector>,
    /// Counts its changes.
    pub revision: Revision,
    /// What outlives changes: limits in use, counters.
    pub state: Arc<ConnectorState>,
    /// Where its requests go.
    pub upstream: Upstream,
    /// Where its credential comes from.
    pub source: Source,
}

/// An origin under one TLS identity.
#[derive(Debug)]
pub struct Upstream {
    /// The origin and base path.
    pub resource: ResourceDomain,
    /// The identity its connections are made under.
    pub tls: ClientTls,
    /// The pool its connections lie in.
    pub pool: PoolId,
    /// Whether that pool is retired.
    pub retired: Retired,
}

/// Names a pool of connections: an origin under one TLS identity and trust. Never used again once
/// it is retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolId(pub u64);

/// Whether a pool is retired: no connector leads to it any more, and no connection goes back to it.
#[derive(Clone, Debug, Default)]
pub struct Retired(Arc<AtomicBool>);

impl Retired {
    /// Retires the pool, for all who hold this.
    pub fn retire(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is retired.
    pub fn is_retired(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Upstream {
    /// Puts an upstream together.
    pub fn new(
        resource: ResourceDomain,
        tls: ClientTls,
        (pool, retired): (PoolId, Retired),
    ) -> Self {
        Self {
            resource,
            tls,
            pool,
            retired,
        }
    }
}

impl Directory {
    /// A directory that shows `first` until something else is published.
    pub fn new(first: Snapshot) -> Self {
        Self {
            current: ArcSwap::from_pointee(first),
        }
    }

    /// The current snapshot. Take out what is needed and let go of it before any `await`.
    pub fn current(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Replaces the snapshot. The old one is dropped here, on the publisher's thread, unless a
    /// request is reading it this instant.
    pub fn publish(&self, next: Snapshot) {
        drop(self.current.swap(Arc::new(next)));
    }
}

impl Snapshot {
    /// The entry of a connector.
    pub fn entry(&self, id: &str) -> Option<&Arc<Entry>> {
        self.entries.get(id)
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;

    /// One of each is kept for each of 100,000 connectors, which are to take no more than a
    /// kibibyte each beside their secrets: text, map and allocator take as much again.
    #[test]
    fn what_is_kept_of_each_connector_stays_small() {
        for (what, bytes, most) in [
            ("connector", size_of::<Connector>(), 208),
            ("entry", size_of::<Entry>(), 168),
            ("state", size_of::<ConnectorState>(), 136),
        ] {
            assert!(bytes <= most, "{what} takes {bytes} bytes");
        }
    }
}
