//! Whether there is room: limits are checked before anything is spent on a request.
//!
//! # Invariants
//!
//! First the whole gateway's limits, then the connector's; a request that is refused by either has
//! cost no token and no connection, and holds no place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use http::HeaderMap;
use hyper::body::{Body, Incoming};

use super::ahead::Arriving;
use super::error::Refusal;
use crate::config::Limits;
use crate::directory::{Berth, Entry, Full};

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

/// The largest body that a request to `entry` may have, which its own must not be over as far as
/// its head says.
pub(crate) fn check_body(body: &Incoming, entry: &Entry, limits: &Limits) -> Result<u64, Refusal> {
    let own = entry.connector.bulkhead.request_body_bytes_max;
    let body_bytes_max = own.unwrap_or(limits.request_body_bytes_max);
    if body.size_hint().lower() > body_bytes_max {
        return Err(Refusal::BodyTooLarge(body_bytes_max));
    }
    Ok(body_bytes_max)
}

/// Refuses an answer that is, by its head, larger than the connector's may be. One to HEAD says a
/// length without having it (RFC 9110 §9.3.2).
pub(crate) fn check_answer(body: &Arriving, entry: &Entry) -> Result<(), Refusal> {
    match entry.connector.bulkhead.response_body_bytes_max {
        Some(max) if !body.is_end_stream() && body.size_hint().lower() > max => {
            Err(Refusal::ResponseTooLarge(max))
        }
        Some(_) | None => Ok(()),
    }
}

/// Admits a request that began on `worker` at the time `began`, to the gateway and to its connector.
///
/// Whoever gets the two places gives the connector's back by [`ConnectorState::leave`].
///
/// [`ConnectorState::leave`]: crate::directory::ConnectorState::leave
pub(crate) fn admit(
    in_flight: &InFlight,
    limits: &Limits,
    entry: &Entry,
    (worker, began): (usize, Duration),
) -> Result<(Place, Berth), Refusal> {
    let place = in_flight.enter(limits)?;
    let bulkhead = &entry.connector.bulkhead;
    match entry.state.enter(worker, bulkhead, began) {
        Ok(berth) => Ok((place, berth)),
        Err(Full::InFlight(max)) => Err(Refusal::ConnectorBusy(max)),
        Err(Full::Rate { free_in }) => Err(Refusal::RateLimited { free_in }),
        Err(Full::Breaker { open_for }) => Err(Refusal::BreakerOpen { open_for }),
    }
}
