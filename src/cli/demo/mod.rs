//! `attache demo`.

#![allow(
    dead_code,
    reason = "the command that starts the stage needs the composition root"
)]

mod authority;
mod pki;
mod records;
mod resource;
mod server;
mod stage;
mod tokens;
