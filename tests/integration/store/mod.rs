//! What administrators manage, kept: both databases keep the same promises.

mod administration;
mod changes;
mod migrations;
mod records;
mod room;
mod trouble;
