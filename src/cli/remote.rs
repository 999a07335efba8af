//! A gateway that is administered over its API, from here or elsewhere.
//!
//! # Invariants
//!
//! The token goes to the server it was given for and nowhere else, over verified TLS or to this
//! machine itself. Neither it nor another secret is taken from an argument, which every process of
//! this machine could read, nor shown in an error.

mod client;
mod problem;
mod profile;

pub(super) use client::{Answer, Ask, Client};
pub(super) use problem::{legs, sentences};
pub(super) use profile::Flags;
