//! The admin API, over real sockets and a store of each test's own.

mod bodies;
mod browsers;
mod conditions;
mod connectors;
mod desk;
mod document;
mod idempotency;
mod roles;
mod schemathesis;
mod secrecy;
