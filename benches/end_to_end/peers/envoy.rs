//! Envoy with `credential_injector`.

use super::{PREFIX, Started, Targets, configure, find, target, words};
use crate::processors::Place;
use crate::running::Running;
use crate::stage::{Stage, free_port};

const CONFIGURATION: &str = include_str!("envoy.yaml");

pub(super) fn start(stage: &Stage, threads: usize) -> Option<Started> {
    let program = find("envoy")?;
    let port = free_port();
    let configuration = configure(
        stage,
        &format!("envoy-{port}.yaml"),
        CONFIGURATION,
        &[
            ("reuseport", &(threads > 1).to_string()),
            ("port", &port.to_string()),
        ],
    );
    let mut command = stage.processors.bound_command(Place::Gateway, &program);
    command.arg("--config-path").arg(&configuration);
    // Its main thread is beside that many workers.
    command.args(["--concurrency", &threads.to_string()]);
    // Nothing here takes over from another, or would be two at once.
    command.args(["--disable-hot-restart", "--log-level", "warning"]);
    Some(Started {
        version: version(&words(&program, "--version")),
        running: Running::start(&mut command, stage.file(&format!("envoy-{port}.log"))),
        targets: Targets {
            http1_origin: target(port, PREFIX),
            http2_clients: Some(target(port, PREFIX)),
            http2_origin: Some(target(port, "/h2/o")),
            token: None,
        },
    })
}

/// `… version: COMMIT/VERSION/…` is what it says of itself.
fn version(words: &str) -> String {
    let parts = words
        .split_once("version: ")
        .map(|(_, rest)| rest.split('/'));
    let version = parts.and_then(|mut parts| parts.nth(1));
    version.unwrap_or("unknown").to_owned()
}
