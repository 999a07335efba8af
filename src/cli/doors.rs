//! A door into the reading of a gateway's refusals, for `tests/fuzz` alone;
//! `crate::credential::doors` says why it is here in every build.

use http::StatusCode;
use serde_json::Value;

use super::remote;

/// What is shown of a refusal.
pub fn sentences(status: StatusCode, body: &Value, retry_after: Option<u64>) -> String {
    remote::sentences(status, body, retry_after)
}
