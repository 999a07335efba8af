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
use http::HeaderValue;
use http::uri::Authority;

use crate::config::{AccessLog, Hosts, Limits, Timeouts};
use crate::connector::{Connector, ConnectorId, Origin, ResourceDomain, Revision};
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
    /// A persistent map: replacing one entry among many copies only the path to it.
    pub entries: imbl::HashMap<ConnectorId, Arc<Entry>>,
}

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

/// An origin under one TLS identity, with what every request to it repeats.
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
    /// The origin's authority, for HTTP/2.
    pub authority: Authority,
    /// The same for `Host`.
    pub host: HeaderValue,
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
    ///
    /// Returns `None` if the origin's authority cannot stand in a request; [`Origin`] makes sure
    /// that it can.
    pub fn new(
        resource: ResourceDomain,
        tls: ClientTls,
        (pool, retired): (PoolId, Retired),
    ) -> Option<Self> {
        let origin: &Origin = resource.origin();
        let authority = Authority::try_from(origin.authority()).ok()?;
        let host = HeaderValue::from_str(origin.authority()).ok()?;
        Some(Self {
            resource,
            tls,
            pool,
            retired,
            authority,
            host,
        })
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
