//! One binary for all integration tests: each module is a room, `support` holds the stand-ins.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what cannot be done here fails the test that asked for it"
)]

mod support;

mod addressing;
mod answer_heads;
mod bad_origins;
mod certificates;
mod config;
mod demo;
mod documents;
mod drain;
mod flows;
mod framing;
mod heads;
mod hosts;
mod grants;
mod oidc;
mod serve;
mod protocols;
mod size_limits;
mod separation;
mod stand_ins;
mod streaming;
mod time_limits;
mod token_endpoint;
mod token_edits;
mod tokens;
mod oidc;
mod serve;
mod stand_ins;
mod walls;

mod bad_origins;
mod check_connect;
mod credentials;
mod grants;
mod oidc_flows;
mod separation;
mod token_edits;
mod token_endpoint;
mod tokens;
