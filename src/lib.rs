//! Attaché: an authenticating reverse-proxy gateway.
//!
//! A *flow* sends a plain request addressed to a *connector ID* and a *request path*; Attaché
//! resolves the connector's *resource domain*, attaches the *credential* and forwards over TLS.
//! It holds the credentials so that flows never do.
//!
//! # The map, in reading order
//!
//! Two planes meet in one value. The data plane carries requests and reads the directory; the
//! control plane lets administrators manage connectors, keeps them, publishes them into it, and
//! shows health and metrics. Neither names the other.
//!
//! | room | what is in it |
//! |---|---|
//! | [`connector`] | the nouns: what a connector is, without any I/O |
//! | [`secret`] · [`clock`] | text that must not get out; the only place that asks for the time |
//! | [`harmless`] | text from outside, made harmless for whoever reads it |
//! | [`retry_after`] | how long another host asks us to wait |
//! | [`config`] | what an operator writes, checked and turned into those nouns |
//! | [`tls`] · [`dial`] | certificates and trust; the one way out to another host |
//! | [`metrics`] · [`logging`] | what is counted, what is written down |
//! | [`proxy_protocol`] | who is behind a TCP balancer, for either plane |
//! | [`doorkeeper`] | what a connection goes through before HTTP, and who is turned away |
//! | [`credential`] | where credentials come from: Basic, fields, tokens and their life |
//! | [`directory`] | where the planes meet: what is published, what a request reads |
//! | [`proxy`] | the data plane, in the order a request meets its rooms |
//! | [`control`] | the control plane: the publisher, health, `/metrics`, and what follows |
//! | [`control::access`] | who administers: tokens, OpenID, roles, organizations |
//! | [`control::store`] | what is kept, in SQLite or PostgreSQL; secrets sealed, a snapshot beside |
//! | [`control::validate`] | walks a connector's way, leg by leg, before it is saved |
//! | [`control::registry`] | the rules of a connector's life, without HTTP and without SQL |
//! | [`control::api`] | the HTTP over these three, and its OpenAPI description |
//! | [`control::feed`] | what changes in the store goes to the publisher, within a second |
//! | [`gateway`] | the composition root, which builds, reloads and drains both planes |
//! | [`cli`] | one file a command: `serve`, `check`, `demo`, `connector`, `audit`, `admin`, `key` |
//!
//! # Invariants
//!
//! 1. A credential goes to its connector's origin or token endpoint and nowhere else: to no log,
//!    metric, error, redirect, other host or answer.
//! 2. No request that was accepted is lost by a reload or a drain, and no change of a connector
//!    that was acknowledged by a crash, a drain or a full disk; a bad configuration changes
//!    nothing. The store is on no request's path: while it is away, what it held last is served.
//! 3. Everything has a limit, with its unit, in the reference configuration and in a test.
//! 4. One slow or broken connector or token endpoint costs the others nothing.
//! 5. `proxy` never names `control`, nor the reverse; `directory` names neither; `credential` and
//!    `tls` name none of the three; `connector` names none of them all. Only `gateway` and `cli`
//!    know both planes. A test reads the source to hold this.
//!
//! # Glossary
//!
//! One word per thing, in code, logs, metrics and documents.
//!
//! - **flow**: the caller. **principal**: who that is, as far as the gateway was shown.
//! - **connector**: the configured way to one API, with a `ConnectorId` that never changes and a
//!   `Revision` that counts its changes.
//! - **resource domain**: where an administrator says the API is. **origin**: its scheme, host and
//!   port, which requests are forwarded to (RFC 9110 §4.3.1). **upstream**: the same, in names of
//!   metrics and settings only.
//! - **route**, **permit**: what a request was resolved to, and the proof that it may go there.
//! - **scheme**: how an origin wants authentication. **secret**: what is stored for it.
//!   **credential**: what is attached to one request.
//! - **authorization server**, **token endpoint**, **grant type**, **client authentication**: as in
//!   RFC 6749. A **client assertion** authenticates a client (RFC 7523 §2.2). A
//!   **certificate-bound token** holds only together with a certificate (RFC 8705 §3).
//! - **fresh**, **spent**: a token that may be attached, and one that no longer may.
//! - **administrator**: who manages connectors, as far as their role goes. **organization**: whose
//!   connectors, inbound keys and administrators are; what is another's does not exist.
//! - **store**: where connectors are kept that administrators write, beside the configuration's.
//!   Its **revision** counts all its changes, and a record's is that of its last one (its ETag).
//! - **registry**: the rules by which a stored connector comes, changes and goes.
//! - **seal**, **open**: to encrypt a secret so that it opens in its own place only, and back. A
//!   **master key** is what that hangs on.
//! - **hop-by-hop field**: a field of one connection, never forwarded (RFC 9110 §7.6.1).
//! - **refusal**: what the gateway answers itself. **proxy status**: how it says so (RFC 9209).
//! - **drain**: to end without losing what was accepted.
//!
//! The verbs: resolve, authorize, admit, obtain, fetch, rewrite, forward, relay, refuse, publish,
//! seal, open, drain.

// In reading order.
pub mod connector;
pub mod secret;
pub mod harmless;
pub mod clock;
pub mod retry_after;
pub mod config;
pub mod tls;
pub mod dial;
pub mod metrics;
pub mod logging;
pub mod proxy_protocol;
pub mod doorkeeper;
pub mod credential;
pub mod directory;
pub mod proxy;
pub mod control;
pub mod gateway;
pub mod cli;
