//! Stand-ins for everything the gateway meets: a PKI, origins, authorization servers, clients.
//!
//! # Invariants
//!
//! Every listener binds port 0 of a loopback address. Nothing sleeps: stand-ins count what happens
//! to them, and a test waits for a count ([`within`] bounds every wait). A stand-in ends with the
//! value that started it.
#![allow(
    dead_code,
    reason = "the stand-ins are complete before the rooms that use them"
)]

use std::future::Future;
use std::time::Duration;

pub(crate) mod administrator;
pub(crate) mod answer;
pub(crate) mod authority;
pub(crate) mod balancer;
pub(crate) mod body;
pub(crate) mod canary;
pub(crate) mod chaos;
pub(crate) mod child;
pub(crate) mod client;
pub(crate) mod connector;
pub(crate) mod exchange;
pub(crate) mod expiring;
pub(crate) mod fleet;
pub(crate) mod flow;
pub(crate) mod frames;
pub(crate) mod gateway;
pub(crate) mod island;
pub(crate) mod load;
pub(crate) mod key;
pub(crate) mod message;
pub(crate) mod names;
pub(crate) mod neighbours;
pub(crate) mod oidc;
pub(crate) mod openssl;
pub(crate) mod origin;
pub(crate) mod passage;
pub(crate) mod pki;
pub(crate) mod postgres;
pub(crate) mod raw;
pub(crate) mod resending;
pub(crate) mod sample;
pub(crate) mod scene;
pub(crate) mod sockets;
pub(crate) mod stage;
pub(crate) mod store_room;
pub(crate) mod tape;
mod tee;
pub(crate) mod tls;
pub(crate) mod token_room;
pub(crate) mod vault;
pub(crate) mod whole_run;
pub(crate) mod wire;

/// The longest a test waits for anything. Generous, since a busy machine is no failure; a test
/// that meets it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `future`, and fails the test by name of `what` if it takes longer than [`PATIENCE`].
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// Asks until `is` says so.
pub(crate) async fn until(what: &str, is: impl AsyncFn() -> bool) {
    within(what, async { while !is().await {} }).await;
}
