//! `Idempotency-Key`: a request that creates, sent again, creates once.
//!
//! # Invariants
//!
//! What was answered is kept in the transaction that created, for [`ANSWERS_KEPT`], and holds no secret. The
//! request itself is kept as a digest under a master key, since a bare one of a short password could
//! be guessed. Of two at once one creates; the other is told to come back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::OptionalFromRequestParts;
use http::request::Parts;
use serde_json::Value;

use super::Shared;
use super::problem::Problem;
use super::reason::Reason;
use crate::control::access::Actor;
use crate::control::store::{ANSWERS_KEPT, Store};

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// When the other of two at once may come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const FIELD: &str = "idempotency-key";

/// What a client names a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(String);

impl Key {
    /// As it came.
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        let mut lines = parts.headers.get_all(FIELD).iter();
        let Some(line) = lines.next() else {
            return Ok(None);
        };
        let text = line.to_str().ok().filter(|text| is_key(text));
        match (text, lines.next()) {
            (Some(text), None) => Ok(Some(Self(text.to_owned()))),
            (Some(_) | None, Some(_)) | (None, None) => Err(Problem::of(Reason::BadRequest)
                .detail("Idempotency-Key is one text of 1 to 255 visible ASCII characters.")),
        }
    }
}

fn is_key(text: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The requests of this process that are being worked on, by who sent them and their keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Flights(Arc<Mutex<HashSet<(String, Key)>>>);

/// Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Flight {
    flights: Flights,
    which: (String, Key),
}

impl Flights {
    /// Begins to work on the request that `actor` names `key`.
    ///
    /// # Errors
    ///
    /// `in-progress` if it is worked on already.
    pub(super) fn begin(&self, actor: &Actor, key: &Key) -> Result<Flight, Problem> {
        let which = (actor.name.clone(), key.clone());
        match self.all().insert(which.clone()) {
            true => Ok(Flight {
                flights: self.clone(),
                which,
            }),
            false => Err(Problem::of(Reason::InProgress).retry_after(RETRY_AFTER)),
        }
    }

    fn all(&self) -> MutexGuard<'_, HashSet<(String, Key)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.all().remove(&self.which);
    }
}

/// What somebody asks for: one digest of it for each master key, the current one's first.
pub(super) struct Asked(Vec<Vec<u8>>);

impl Asked {
    /// That `actor` asks to create what `body` says.
    pub(super) fn new(store: &Store, actor: &Actor, body: &Value) -> Self {
        let said = zeroize::Zeroizing::new(format!("create_connector {} {body}", actor.scope));
        Self(store.keyring().digests(said.as_bytes()).collect())
    }

    /// The digest to keep.
    pub(super) fn digest(&self) -> Vec<u8> {
        self.0.first().cloned().unwrap_or_default()
    }

    /// What was answered to the same request before, if that is not too long ago.
    ///
    /// # Errors
    ///
    /// `idempotency-mismatch` if it was another request.
    pub(super) async fn answered(
        &self,
        shared: &Shared,
        actor: &Actor,
        key: &Key,
    ) -> Result<Option<Value>, Problem> {
        let kept = shared.store.answer(&actor.name, &key.0).await?;
        let now = shared.clock.wall();
        match kept.filter(|kept| now < kept.at + ANSWERS_KEPT) {
            Some(kept) if self.0.contains(&kept.request) => Ok(Some(kept.answer)),
            Some(_) => Err(Problem::of(Reason::IdempotencyMismatch)),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_long_or_invisible_is_no_key() {
        for bad in ["", " ", "a b", "a\tb", "ä", &"k".repeat(256)] {
            assert!(!is_key(bad), "{bad:?}");
        }
        assert!(is_key(&"k".repeat(255)));
        assert!(is_key("0199f3a2-7c1e-7f00-8d1b-2f6f4b0e9a11"));
    }
}
