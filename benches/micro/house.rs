//! What the rooms stand in: connectors as they are published, and a flow in front of them.

use std::fmt::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use attache::clock::Clock;
use attache::config::Config;
use attache::control::publisher::Publisher;
use attache::credential::{Credential, Credentials};
use attache::dial::{Dialer, Lookup, Resolver};
use attache::directory::Snapshot;
use attache::metrics::Metrics;
use attache::proxy::doors::Doors;
use tokio::runtime::{Builder, Runtime};

use crate::origin::Origin;

/// Everything that was published, and what keeps it alive.
pub(crate) struct House {
    pub(crate) doors: Doors,
    publisher: Publisher,
    /// Where tokens are fetched.
    runtime: Runtime,
}

impl House {
    /// Publishes `connectors` connectors beside `basic` and `token`.
    pub(crate) fn of(connectors: usize) -> Self {
        let config = Config::parse(&configuration(connectors), Path::new(".")).unwrap();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (clock, handle) = (Clock::system(), runtime.handle().clone());
        let metrics = Metrics::new(1, config.metrics.connectors_max);
        let resolver = Resolver::new(
            Lookup::System,
            clock.clone(),
            handle.clone(),
            metrics.lookups(),
        );
        let credentials = Credentials::new(
            handle,
            Dialer::new(resolver),
            clock,
            metrics.tokens(),
            config.tokens.entries_max,
            None,
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let flow = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Self {
            doors: Doors::of(&flow).unwrap(),
            publisher: Publisher::new(&config, credentials, metrics).unwrap(),
            runtime,
        }
    }

    /// What a request reads.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.publisher.directory().current())
    }

    /// What a request to the connector `id` carries.
    pub(crate) fn credential(&self, id: &str) -> Credential {
        let snapshot = self.snapshot();
        let source = &snapshot.entry(id).unwrap().source;
        self.runtime.block_on(source.obtain()).unwrap().credential
    }
}

/// Defaults, but for the connectors and where their tokens come from.
fn configuration(connectors: usize) -> String {
    let origin = Origin::start();
    let ca = serde_json::to_string(&origin.ca_pem).unwrap();
    let address = origin.address;
    let mut text =
        format!("trust: {{ ca_bundles: [{ca}], allow_addresses: [127.0.0.0/8] }}\nconnectors:\n");
    let basic = "basic: { username: svc, password: password-of-some-length }";
    let token = format!(
        "oauth2: {{ token_url: \"https://{address}/token\", client_id: svc, \
         client_secret: some-secret }}"
    );
    let many = (0..connectors).map(|number| (format!("many-{number}"), basic));
    let ours = [("basic".to_owned(), basic), ("token".to_owned(), &token)];
    for (id, auth) in ours.into_iter().chain(many) {
        writeln!(
            text,
            "  - {{ id: {id}, name: {id}, resource_domain: \"https://{address}\", \
             auth: {{ {auth} }} }}"
        )
        .unwrap();
    }
    text
}
