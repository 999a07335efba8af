//! Attaché: an authenticating reverse-proxy gateway.
//!
//! A *flow* sends a plain request addressed to a *connector ID* and a *request path*; Attaché
//! resolves the connector's *resource domain*, attaches the *credential* and forwards over TLS.
//! It holds the credentials so that flows never do.

// In reading order.
pub mod connector;
pub mod secret;
pub mod clock;
pub mod config;
pub mod tls;
pub mod dial;
pub mod metrics;
pub mod logging;
pub mod credential;
pub mod directory;
pub mod proxy;
pub mod control;
pub mod gateway;
pub mod cli;
