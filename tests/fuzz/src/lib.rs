//! What the targets share: connectors as they are published, and inputs as messages.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use attache::clock::Clock;
use attache::config::Config;
use attache::control::publisher::{PublishError, Publisher};
use attache::credential::Credentials;
use attache::dial::{Dialer, Lookup, Resolver};
use attache::directory::Snapshot;
use attache::metrics::Metrics;
use attache::proxy::doors::Doors;
use http::{HeaderMap, HeaderName, HeaderValue};

pub mod decode;
pub mod heads;

/// A credential that is nowhere else.
pub const CANARY: &str = "canary-7f3a9c51e0";

/// The connectors that requests are tried on, with what decides a head.
pub const CONNECTORS: &str = r#"
hosts: ["*"]
connectors:
  - id: bare
    name: Bare
    resource_domain: https://origin.example
    auth: { basic: { username: svc, password: canary-7f3a9c51e0 } }
  - id: base
    name: Base
    resource_domain: https://origin.example/api
    auth: { header: { name: X-Api-Key, value: canary-7f3a9c51e0 } }
  - id: deep
    name: Deep
    resource_domain: https://origin.example:8443/api/data/v9.2/
    auth: { none: {} }
    cookies: pass
    forwarded: true
    upgrades: [websocket]
"#;

/// What [`CONNECTORS`] are published as.
pub fn snapshot() -> Arc<Snapshot> {
    static SNAPSHOT: OnceLock<Arc<Snapshot>> = OnceLock::new();
    let published = SNAPSHOT.get_or_init(|| {
        let config = Config::parse(CONNECTORS, Path::new(".")).expect("a good configuration");
        publish(&config).expect("it can be published")
    });
    Arc::clone(published)
}

/// Publishes `config` as a start of the gateway would, without one task run.
///
/// # Errors
///
/// What the publisher says.
pub fn publish(config: &Config) -> Result<Arc<Snapshot>, PublishError> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().expect("a runtime");
    let (clock, handle) = (Clock::system(), runtime.handle().clone());
    let metrics = Metrics::new(1, config.metrics.connectors_max);
    let lookups = metrics.lookups();
    let resolver = Resolver::new(Lookup::System, clock.clone(), handle.clone(), lookups);
    let credentials = Credentials::new(
        handle,
        Dialer::new(resolver),
        clock,
        metrics.tokens(),
        config.tokens.entries_max,
        None,
    );
    let publisher = Publisher::new(config, credentials, metrics)?;
    Ok(Arc::clone(&publisher.directory().current()))
}

/// A flow that has said nothing yet.
pub fn doors() -> Doors {
    let local = ([127, 0, 0, 1], 8080).into();
    Doors::between(([192, 0, 2, 7], 40_000).into(), local)
}

/// The lines of a message and what stands behind the first empty one.
pub fn message(data: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let (mut lines, mut rest) = (Vec::new(), data);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.is_empty() {
            return (lines, rest);
        }
        lines.push(line);
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    (lines, &[])
}

/// The fields that `lines` say; lines that no parser lets through are left out.
pub fn fields(lines: &[&[u8]]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}
