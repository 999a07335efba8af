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
mod credentials;
mod demo;
mod documents;
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
mod walls;
