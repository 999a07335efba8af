//! What administrators manage, kept: both databases keep the same promises.

mod changes;
mod migrations;
mod records;
mod room;
mod trouble;
