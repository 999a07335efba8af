//! A gateway that is administered over its API, from here or elsewhere.
//!
//! # Invariants
//!
//! The token goes to the server it was given for and nowhere else, over verified TLS or to this
//! machine itself. Neither it nor another secret is taken from an argument, which every process of
//! this machine could read, nor shown in an error.

use super::{FAILED, WRONG};

mod client;
mod problem;
mod profile;

pub(super) use client::{Answer, Ask, Client};
pub(super) use problem::legs;
pub(super) use profile::Flags;

/// What did not work, and what the process answers.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: anyhow::Error,
    pub(super) code: u8,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            code: FAILED,
        }
    }
}

/// A failure for wrong usage or settings.
pub(super) fn wrong(error: impl Into<anyhow::Error>) -> Failure {
    Failure {
        error: error.into(),
        code: WRONG,
    }
}
