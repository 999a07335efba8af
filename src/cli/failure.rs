//! What did not work, and what the process answers.

use super::{FAILED, WRONG};

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
