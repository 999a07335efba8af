//! Attaché as it comes: release build, default features, metrics on, every limit at its default.

use std::fs;
use std::path::Path;

use super::{PREFIX, Started, Targets, target};
use crate::origin;
use crate::processors::Place;
use crate::running::Running;
use crate::stage::{ORIGIN_NAME, Stage, free_port};

/// What a scenario wants otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttacheExtra {
    /// `logs.access`: off, errors, all. `errors` is the default.
    pub(crate) access_log: Option<&'static str>,
    /// Instead of as many as there are threads.
    pub(crate) workers: Option<usize>,
    /// More connectors, as list entries of YAML that begin with `  - `.
    pub(crate) connectors: String,
    /// More keys at the top.
    pub(crate) settings: String,
}

pub(super) fn start(stage: &Stage, threads: usize, extra: &AttacheExtra) -> Started {
    let (port, admin) = (free_port(), free_port());
    let configuration = stage.file(&format!("attache-{port}.yaml"));
    let workers = extra.workers.unwrap_or(threads);
    fs::write(&configuration, text(stage, port, admin, workers, extra)).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_attache"));
    let mut command = stage.processors.bound_command(Place::Gateway, program);
    command.args(["serve", "--config"]).arg(&configuration);
    Started {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        running: Running::start(&mut command, stage.file(&format!("attache-{port}.log"))),
        targets: Targets {
            http1_origin: target(port, PREFIX),
            http2_clients: Some(target(port, PREFIX)),
            http2_origin: Some(target(port, "/h2")),
            token: Some(target(port, "/token")),
        },
    }
}

/// Nothing in it is tuned: addresses, trust in the CA of this run, and how it stops.
fn text(stage: &Stage, port: u16, admin: u16, workers: usize, extra: &AttacheExtra) -> String {
    let (ca, access) = (stage.ca(), extra.access_log.unwrap_or("errors"));
    let (ca, settings, connectors) = (ca.display(), &extra.settings, &extra.connectors);
    let origin = format!("https://{ORIGIN_NAME}:{}", stage.origin.port());
    let http2 = format!("https://{ORIGIN_NAME}:{}", stage.origin_http2.port());
    let tokens = format!(
        "https://{ORIGIN_NAME}:{}/token",
        stage.token_endpoint.port()
    );
    let (user, password) = (origin::USERNAME, origin::PASSWORD);
    let basic = format!("auth: {{ basic: {{ username: {user}, password: \"{password}\" }} }}");
    let oauth2 = format!(
        "auth: {{ oauth2: {{ token_url: \"{tokens}\", client_id: bench, client_secret: bench }} }}"
    );
    format!(
        "listen: 127.0.0.1:{port}\n\
         admin: {{ listen: 127.0.0.1:{admin} }}\n\
         workers: {workers}\n\
         logs: {{ access: {access} }}\n\
         timeouts: {{ drain_delay: 0s, drain: 1s }}\n\
         trust: {{ ca_bundles: [{{ file: {ca} }}], allow_addresses: [127.0.0.0/8, \"::1/128\"] }}\n\
         {settings}\
         connectors:\n  \
         - {{ id: o, name: o, resource_domain: \"{origin}\", {basic} }}\n  \
         - {{ id: h2, name: h2, resource_domain: \"{http2}\", {basic} }}\n  \
         - {{ id: token, name: token, resource_domain: \"{origin}\", {oauth2} }}\n\
         {connectors}"
    )
}
