//! What is told of a request when it is over: once, whatever became of it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, request};

use super::admit::Place;
use super::caller::Visit;
use super::error::Refusal;
use super::fields::{Field, Fields};
use super::forward::{Answer, Failure, Standing};
use super::outbound::Upload;
use super::principal::Principal;
use super::rewrite::REQUEST_ID;
use super::worker::Worker;
use crate::config::AccessLog;
use crate::connector;
use crate::credential::TokenError;
use crate::directory::{Berth, BreakerChange, Entry};
use crate::logging::{self, Record};
use crate::metrics::CacheOutcome;

/// The longest `X-Request-Id` that is taken over from a flow, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The code that is counted where the client went away before it was answered.
const CLIENT_GONE: u16 = 499;

/// A request being carried. Dropping it counts it and writes its line.
#[derive(Debug)]
pub(crate) struct Observation {
    visit: Arc<Visit>,
    access: AccessLog,
    request_id: HeaderValue,
    method: Method,
    /// Kept only where a line may be written.
    path: Option<PathAndQuery>,
    /// The same.
    principal: Option<Arc<connector::Principal>>,
    /// The beginning of the digest of the key that was shown.
    key: Option<[u8; 4]>,
    started: Duration,
    /// Whether the request had to wait since it began.
    has_waited: bool,
    upstream_started: Option<Duration>,
    upstream_took: Option<Duration>,
    entry: Option<Arc<Entry>>,
    status: Option<StatusCode>,
    reason: Option<&'static str>,
    error: Option<Box<str>>,
    version: Version,
    upload: Option<Arc<Upload>>,
    /// Of a tunnel, what the flow sent through it.
    bytes_tunnelled: u64,
    /// Whether the origin may have seen an earlier attempt.
    reached_before: bool,
    bytes_sent: u64,
    place: Option<Place>,
    /// The place among its connector's.
    berth: Option<Berth>,
}

impl Observation {
    /// Begins with a request's head.
    ///
    /// Boxed: it goes from hand to hand, and at last to hyper with the answer's body.
    pub(crate) fn begin(visit: &Arc<Visit>, flow: &request::Parts, fields: Fields) -> Box<Self> {
        let worker = &visit.worker;
        let started = worker.clock().monotonic();
        visit.meter.request_began();
        worker.counters().request_started();
        Box::new(Self {
            visit: Arc::clone(visit),
            access: AccessLog::Off,
            request_id: request_id(&flow.headers, fields, worker, started),
            method: flow.method.clone(),
            path: None,
            principal: None,
            key: None,
            started,
            has_waited: false,
            upstream_started: None,
            upstream_took: None,
            entry: None,
            status: None,
            reason: None,
            error: None,
            version: flow.version,
            upload: None,
            bytes_tunnelled: 0,
            reached_before: false,
            bytes_sent: 0,
            place: None,
            berth: None,
        })
    }

    fn worker(&self) -> &Worker {
        &self.visit.worker
    }

    /// Where and when the request began.
    pub(crate) fn began(&self) -> (usize, Duration) {
        (self.worker().index, self.started)
    }

    /// The directory was read: this is what it wants written down.
    pub(crate) fn wanted(&mut self, access: AccessLog, flow: &request::Parts) {
        self.access = access;
        if access != AccessLog::Off {
            self.path = flow.uri.path_and_query().cloned();
        }
    }

    /// It is known who calls.
    pub(crate) fn called_by(&mut self, principal: Principal<'_>) {
        if self.access != AccessLog::Off {
            self.principal = principal.named().cloned();
            self.key = principal.key().and_then(|key| key.first_chunk().copied());
        }
    }

    /// The connector was found.
    pub(crate) fn resolved(&mut self, entry: &Arc<Entry>) {
        self.entry = Some(Arc::clone(entry));
    }

    /// The request was admitted; its places are given up when it is over.
    pub(crate) fn admitted(&mut self, (place, berth): (Place, Berth)) {
        self.place = Some(place);
        self.berth = Some(berth);
    }

    /// The request has a body, of which this is known.
    pub(crate) fn uploading(&mut self, upload: Option<&Arc<Upload>>) {
        self.upload = upload.cloned();
    }

    /// A credential was at hand, or had to be waited for.
    pub(crate) fn token(&mut self, outcome: CacheOutcome) {
        self.has_waited |= outcome != CacheOutcome::Hit;
        self.worker().counters().token_cache(outcome);
    }

    /// The request is handed to the origin, at the time that is returned. While nothing had to be
    /// waited for, that is when it began.
    pub(crate) fn forwarding(&mut self) -> Duration {
        let now = match self.has_waited {
            true => self.worker().clock().monotonic(),
            false => self.started,
        };
        self.upstream_started = Some(now);
        // Another attempt begins later.
        self.has_waited = true;
        now
    }

    /// An attempt to get an answer from the origin has ended; the breaker is told of each.
    pub(crate) fn attempted(&mut self, attempt: &Result<Answer, Failure>) {
        let (Some(entry), Some(berth)) = (&self.entry, &mut self.berth) else {
            return;
        };
        let failed = match attempt {
            Ok(answer) => is_outage(answer.response.status()),
            // A connection that ended as the request came, or one that took nothing of it.
            Err(failure)
                if matches!(failure.standing, Standing::Orphaned | Standing::Untouched) =>
            {
                return;
            }
            Err(failure) if failure.refusal.is_origins_failure() => true,
            // It says nothing of the origin.
            Err(_) => return,
        };
        let change = match failed {
            true => {
                let now = self.visit.worker.clock().monotonic();
                let limits = &entry.connector.bulkhead;
                entry.state.failed(berth, limits, now)
            }
            false => entry.state.answered(berth),
        };
        if let Some(change) = change {
            tell(entry, change);
        }
    }

    /// The request goes out again; the last attempt got an answer, or failed for `refusal`.
    pub(crate) fn sends_again(&mut self, refusal: Option<&Refusal>) {
        self.reached_before |= refusal.is_none_or(Refusal::may_have_reached_origin);
    }

    /// It should have gone out again, but no credential could be obtained.
    pub(crate) fn not_sent_again(&mut self, reason: &TokenError) {
        self.error = Some(logging::with_sources(reason).into());
    }

    /// Whether the origin may have seen a request that ends with `refusal`, in any attempt.
    pub(crate) fn may_have_reached_origin(&self, refusal: &Refusal) -> bool {
        self.reached_before || refusal.may_have_reached_origin()
    }

    /// What is known of the request's body, if there is one.
    pub(crate) fn upload(&self) -> Option<&Upload> {
        self.upload.as_deref()
    }

    /// The origin has answered.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
        let now = self.worker().clock().monotonic();
        self.upstream_took = self.upstream_started.map(|started| now - started);
    }

    /// The gateway refuses the request.
    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        let row = refusal.reason().row();
        self.status = Some(row.status);
        self.reason = Some(row.name);
        self.error = Some(logging::with_sources(refusal).into());
        // An HTTP/2 origin that has begun to answer may still be taking it.
        if let Some(upload) = &self.upload {
            upload.abandon();
        }
    }

    /// The answer broke off.
    pub(crate) fn broke_off(&mut self, error: &(dyn Error + 'static)) {
        self.error = Some(logging::with_sources(error).into());
    }

    /// `count` bytes of the answer's body were handed over.
    pub(crate) fn sent(&mut self, count: usize) {
        self.bytes_sent += u64::try_from(count).unwrap_or(u64::MAX);
    }

    /// The credential was masked in the answer, this often. An origin that repeats it is worth a
    /// word now and then.
    pub(crate) fn masked(&self, count: u64) {
        let Some(entry) = self.entry.as_ref().filter(|_| count > 0) else {
            return;
        };
        entry.state.series.scrubbed(self.worker().index, count);
        if entry.state.echo.is_news(self.worker().clock().monotonic()) {
            let connector = &entry.connector.id;
            tracing::warn!(%connector, "the resource domain repeats the credential it is sent; it was masked");
        }
    }

    /// A tunnel has carried so much so far, in bytes to the origin and to the flow.
    pub(crate) fn tunnelled(&mut self, to_origin: u64, to_flow: u64) {
        self.bytes_tunnelled = to_origin;
        self.bytes_sent = to_flow;
    }

    /// The connector's ID, once it is known.
    pub(crate) fn connector(&self) -> Option<&str> {
        let entry = self.entry.as_ref()?;
        Some(entry.connector.id.as_str())
    }

    /// The request's method.
    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// The request's ID.
    pub(crate) fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// The request's ID, as the origin receives it.
    pub(crate) fn request_id_value(&self) -> &HeaderValue {
        &self.request_id
    }

    fn count(&self, status: StatusCode, took: Duration) {
        let worker = self.worker().index;
        let unknown;
        let series = match &self.entry {
            Some(entry) => &entry.state.series,
            None => {
                unknown = self.worker().unknown_series();
                &unknown
            }
        };
        series.answered(worker, &self.method, status, took, self.upstream_took);
        if let Some(reason) = self.reason {
            series.refused(worker, reason);
        }
    }

    fn record(&mut self, status: StatusCode, took: Duration) -> Record {
        let path = self.path.as_ref().map_or("", PathAndQuery::path);
        let connector = self.connector().unwrap_or("none");
        let principal = self.principal.as_ref().map(|principal| &*principal.name);
        Record {
            at: self.worker().clock().wall(),
            texts: logging::Texts::of(self.request_id(), connector, principal, path),
            key: self.key,
            method: self.method.clone(),
            status,
            refusal: self.reason,
            cause: self.error.take(),
            duration: took,
            upstream_duration: self.upstream_took,
            request_bytes: self
                .upload
                .as_ref()
                .map_or(self.bytes_tunnelled, |upload| upload.bytes()),
            response_bytes: self.bytes_sent,
            peer: self.visit.caller.peer(),
            protocol: self.version,
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let gone = StatusCode::from_u16(CLIENT_GONE).unwrap_or(StatusCode::BAD_REQUEST);
        let status = self.status.unwrap_or(gone);
        let took = self.worker().clock().monotonic() - self.started;
        self.count(status, took);
        if let (Some(entry), Some(berth)) = (&self.entry, self.berth.take()) {
            entry.state.leave(self.worker().index, berth);
        }
        self.worker().counters().request_ended();
        // An HTTP/2 stream is a task of its own, whose panic its connection does not see.
        if self.version == Version::HTTP_2 && std::thread::panicking() {
            self.worker().counters().panicked();
        }
        self.visit.meter.request_ended();
        let broke = self.error.is_some() && self.access != AccessLog::Off;
        if broke || logging::wants(self.access, status, self.reason) {
            let record = self.record(status, took);
            self.worker().write_record(record);
        }
    }
}

/// Whether an answer says that the origin, or what it stands on, is not there. A 500 is an
/// application's own and mostly concerns one request.
fn is_outage(status: StatusCode) -> bool {
    [
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ]
    .contains(&status)
}

fn tell(entry: &Entry, change: BreakerChange) {
    let connector = entry.connector.id.as_str();
    match change {
        BreakerChange::Opened => {
            tracing::warn!(connector, "the breaker opened: the resource domain fails");
        }
        BreakerChange::Closed => {
            tracing::info!(connector, "the breaker closed: the resource domain answers");
        }
    }
}

/// The flow's `X-Request-Id` if it is sane, else one made here.
fn request_id(headers: &HeaderMap, fields: Fields, worker: &Worker, now: Duration) -> HeaderValue {
    if !fields.has(Field::RequestId) {
        return worker.next_request_id(now);
    }
    let mut sent = headers.get_all(REQUEST_ID).iter();
    match (sent.next(), sent.next()) {
        (Some(id), None) if is_sane(id.as_bytes()) => id.clone(),
        (Some(_) | None, _) => worker.next_request_id(now),
    }
}

fn is_sane(id: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(byte);
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_request_ids_are_taken_over() {
        for bad in ["", "a b", "a\"b", "é", &"a".repeat(129)] {
            assert!(!is_sane(bad.as_bytes()), "{bad}");
        }
        for good in ["a", "9b04cc45-e715", "Root=1-67a:b", &"a".repeat(128)] {
            assert!(is_sane(good.as_bytes()), "{good}");
        }
    }
}
