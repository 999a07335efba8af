//! Whether there is room: limits are checked before anything is spent on a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use http::HeaderMap;
use hyper::body::{Body, Incoming};

use super::error::Refusal;
use crate::config::Limits;

/// Requests being carried by the whole gateway.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<CachePadded<AtomicUsize>>);

/// A request's place among those in flight, given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<CachePadded<AtomicUsize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl InFlight {
    /// Takes a place among `limits.requests_in_flight_max`.
    fn enter(&self, limits: &Limits) -> Result<Place, Refusal> {
        let place = Place(Arc::clone(&self.0));
        // Counted first and given back on refusal: the limit is never overrun.
        if self.0.fetch_add(1, Ordering::AcqRel) >= limits.requests_in_flight_max {
            return Err(Refusal::TooManyRequests(limits.requests_in_flight_max));
        }
        Ok(place)
    }
}

/// Counts the fields, which hyper does for HTTP/1.1 alone: HTTP/2 packs thousands of them, split
/// cookies say, into few bytes.
pub(crate) fn check_fields(headers: &HeaderMap, limits: &Limits) -> Result<(), Refusal> {
    if headers.len() > limits.fields_max {
        return Err(Refusal::TooManyFields(limits.fields_max));
    }
    Ok(())
}

/// Admits a request whose body is, as far as its head says, within the limit.
pub(crate) fn admit(
    in_flight: &InFlight,
    body: &Incoming,
    limits: &Limits,
) -> Result<Place, Refusal> {
    let body_bytes_max = limits.request_body_bytes_max;
    if body.size_hint().lower() > body_bytes_max {
        return Err(Refusal::BodyTooLarge(body_bytes_max));
    }
    in_flight.enter(limits)
}
