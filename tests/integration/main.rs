//! One binary for all integration tests: each module is a room, `support` holds the stand-ins.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what cannot be done here fails the test that asked for it"
)]

mod support;

mod access;
mod access_log;
mod addressing;
mod answer_heads;
mod answers;
mod api;
mod bad_origins;
mod bench_origin;
mod bench_report;
mod breaker;
mod bulkheads;
mod canaries;
mod certificates;
mod check_connect;
mod cli_connector;
mod cli_connector_gateway;
mod config;
mod connections;
mod crashes;
mod credentials;
mod demo;
mod dialing;
mod disk_full;
mod documents;
mod drain;
mod early_answers;
mod expect;
mod expired_tokens;
mod faults;
mod feed;
mod flows;
mod framing;
mod grants;
mod grpc;
mod hanging_up;
mod heads;
mod hosts;
mod idle_clients;
mod inbound;
mod inbound_keys;
mod instructions;
mod keys;
mod life;
mod load_tool;
mod observe;
mod oidc;
mod oidc_flows;
mod pools;
mod protocols;
mod rate_limits;
mod refusals;
mod registry;
mod reload;
mod reload_settings;
mod replay;
mod resolving;
mod retries;
mod retries_http2;
mod scrubbing;
mod sealing;
mod separation;
mod serve;
mod server_sent_events;
mod size_limits;
mod slow_clients;
mod stand_ins;
mod store_away;
mod store;
mod streaming;
mod time_limits;
mod token_edits;
mod token_endpoint;
mod token_failures;
mod token_life;
mod tokens;
mod tunnels;
mod upgrades;
mod validate;
mod walls;
