//! The data plane: one request's way, read in one place.
//!
//! `serve` observes: it is the one place for metrics, the access log and error → answer.
//! `carry` does: identify → resolve → authorize → admit → obtain → send (rewrite → forward) →
//! settle, and the answer is relayed. The rooms stand in the order a request meets them.
//!
//! # Invariants
//!
//! The directory is read once per request; a dial asks it once more for the address rules alone, so
//! that a range that was just refused is refused to connections that are yet to be made. Only `authorize` makes a `Permit`, and `forward` needs
//! one. No lock is held across network I/O.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use http::{HeaderValue, Request, Response, StatusCode, Version, header, request};
use hyper::body::{Body, Incoming};

use crate::clock::Clock;
use crate::credential::Obtained;
use crate::dial::Dialer;
use crate::directory::Directory;
use crate::doorkeeper::Doorkeeper;
use crate::logging::AccessLog;
use crate::metrics::{Metrics, Series};

mod plane;
mod listener;
mod worker;
mod conversation;
mod rest;
mod caller;
mod greeting;
mod fields;
mod observe;
mod certified;
mod principal;
mod resolve;
mod authorize;
mod admit;
mod rewrite;
mod overrides;
mod scrub;
mod trailers;
mod outbound;
mod kept;
mod errand;
mod expired;
mod retry;
mod forward;
mod alarm;
mod upgrade;
mod ahead;
mod io;
mod strict;
mod meter;
mod linger;
mod sweep;
mod stall;
mod pool;
mod connect;
mod lease;
mod respond;
mod location;
mod relay;
mod tunnel;
mod malformed;
pub mod error;
#[doc(hidden)]
pub mod doors;

pub use plane::{DataPlane, Parts};

use admit::InFlight;
use authorize::Permit;
use caller::Visit;
use errand::Errand;
use error::Refusal;
use fields::{Field, Fields};
use observe::Observation;
use outbound::Outbound;
use pool::Supply;
use relay::Relay;
use respond::Carried;
use rewrite::Via;
use stall::Taking;
use trailers::Unfit;

/// What all workers share.
#[derive(Debug)]
struct Plane {
    directory: Arc<Directory>,
    dialer: Dialer,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Where requests are counted that name no connector.
    unknown: Arc<Series>,
    access_log: AccessLog,
    via: Via,
    doorkeeper: Doorkeeper,
    in_flight: InFlight,
    draining: AtomicBool,
}

impl Plane {
    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// An answer on its way. Boxed: hyper moves what it is given, and this is four kilobytes.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Relay>, Infallible>> + Send>>;

/// Carries one request and tells what became of it.
///
/// The observation begins at once, not when the future is first polled: a client that half-closes
/// behind its request must find the request counted by then.
fn serve(visit: &Arc<Visit>, request: Request<Incoming>) -> Answering {
    let (flow, body) = request.into_parts();
    let fields = Fields::of(&flow.headers);
    let observation = Observation::begin(visit, &flow, fields);
    let visit = Arc::clone(visit);
    Box::pin(async move { Ok(answer(&visit, (flow, fields), body, observation).await) })
}

async fn answer(
    visit: &Visit,
    (flow, fields): (request::Parts, Fields),
    body: Incoming,
    mut observation: Box<Observation>,
) -> Response<Relay> {
    let meter = &visit.meter;
    let (version, has_body) = (flow.version, !body.is_end_stream());
    meter.expect_body(has_body);
    let mut close = fields.has(Field::Connection) && rewrite::is_unheard_close(&flow.headers);
    let carried = {
        let mut carrying = pin!(carry(visit, flow, fields, body, &mut observation));
        poll_fn(|cx| match meter.gives_up() {
            true => Poll::Ready(Err(Refusal::Draining)),
            false => carrying.as_mut().poll(cx),
        })
        .await
    };
    close |= visit.worker.plane().is_draining();
    let mut response = match carried {
        Ok(None) => {
            // As behind a refusal, below.
            close |= has_body;
            respond::last_hop(observation)
        }
        Ok(Some(carried)) if carried.switches() => {
            observation.answered(StatusCode::SWITCHING_PROTOCOLS);
            return tunnel::open(carried, visit, observation);
        }
        Ok(Some(carried)) => {
            observation.answered(carried.answer.response.status());
            let taking = (version == Version::HTTP_2).then(|| Taking::new(meter));
            respond::relay(carried, taking, observation)
        }
        Err(refusal) => {
            // What is left of the body must not be read as the next request.
            close |= has_body;
            observation.refused(&refusal);
            respond::refuse(&refusal, observation)
        }
    };
    if close && version != Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    if version == Version::HTTP_10 {
        // RFC 9112 §9.3: a client's `keep-alive` of old is no promise about the hops behind it.
        // hyper closes behind an answer of that version.
        *response.version_mut() = version;
    }
    response
}

/// A request's way to its origin; `None` if it may go no further than here (RFC 9110 §7.6.2).
async fn carry(
    Visit {
        worker,
        caller,
        meter,
    }: &Visit,
    flow: request::Parts,
    fields: Fields,
    body: Incoming,
    observation: &mut Observation,
) -> Result<Option<Carried>, Refusal> {
    let plane = worker.plane();
    let (permit, body) = {
        let snapshot = plane.directory.current();
        let settings = &snapshot.settings;
        observation.wanted(settings.access, &flow);
        principal::refuse_browsers(fields, &settings.inbound)?;
        let (_, now) = observation.began();
        let shown = || principal::shown_key(&flow.headers);
        let principal = principal::identify(caller, settings, (&plane.clock, now), shown)?;
        observation.called_by(principal);
        authorize::check_method(&flow.method)?;
        authorize::check_codings(&flow.headers, fields)?;
        authorize::check_head(&flow)?;
        admit::check_fields(&flow.headers, &settings.limits)?;
        let route = resolve::resolve((&flow, fields), caller, principal, &snapshot)?;
        observation.resolved(&route.entry);
        let permit = authorize::authorize(route, (&flow, fields), (caller, principal), &plane.via)?;
        if rewrite::is_last_hop(&flow) {
            return Ok(None);
        }
        let (limits, entry) = (&settings.limits, permit.entry());
        let body_bytes_max = admit::check_body(&body, entry, limits)?;
        let places = admit::admit(&plane.in_flight, limits, entry, observation.began())?;
        observation.admitted(places);
        let kept_bytes_max = errand::kept_bytes_max(&permit);
        let stall_limit = settings.timeouts.body;
        let unfit = Unfit::in_request((&flow, fields), entry);
        let body = (body, unfit);
        let body = Outbound::new(body, body_bytes_max, kept_bytes_max, stall_limit, meter);
        observation.uploading(body.upload());
        (permit, body)
    };
    let obtained = obtain(&permit, observation).await?;
    let (upload, again, token) = (body.upload().cloned(), body.again(), obtained.token);
    let errand = Errand {
        worker,
        caller,
        permit: &permit,
        flow: &flow,
        fields,
    };
    let outcome = errand.send(obtained, body, Supply::Any, observation).await;
    let answer = errand.settle(outcome, token, again, observation).await?;
    admit::check_answer(answer.response.body(), permit.entry())?;
    Ok(Some(Carried {
        answer,
        upload,
        permit,
    }))
}

/// Gets the credential that the permitted request is to carry.
async fn obtain(permit: &Permit, observation: &mut Observation) -> Result<Obtained, Refusal> {
    match permit.entry().source.obtain().await {
        Ok(obtained) => {
            if let Some(outcome) = obtained.cache {
                observation.token(outcome);
            }
            Ok(obtained)
        }
        Err(unobtained) => {
            observation.token(unobtained.cache);
            Err(Refusal::NoCredential {
                reason: unobtained.reason,
                retry_after: unobtained.retry_after,
            })
        }
    }
}
