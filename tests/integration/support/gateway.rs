//! The gateway under test, and what its listeners say.

use std::net::SocketAddr;
use std::path::Path;

use super::child::Child;
use super::client::{Answered, Client};
use super::sample;

/// Starts the program itself with a configuration file.
pub(crate) fn process(config: &Path) -> Child {
    Child::attache(&["serve", "--config", config.to_str().unwrap()])
}

/// What a listener answers to one GET.
pub(crate) async fn get(address: SocketAddr, target: &str) -> Answered {
    Client::http1(address).await.get(target).await
}

/// One sample of `/metrics` (see [`sample::sample`]).
pub(crate) async fn sample(address: SocketAddr, name: &str, labels: &[(&str, &str)]) -> f64 {
    let answered = get(address, "/metrics").await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    sample::sample(&answered.text(), name, labels).unwrap_or_default()
}
