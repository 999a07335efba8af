//! What administrators manage, kept: both databases keep the same promises.

mod administration;
mod changes;
mod migrations;
mod records;
mod replicas;
mod room;
mod shared_tokens;
mod trouble;
