//! What the admin and the metrics listener answer: `/metrics`, `/livez` and `/readyz`, and on the
//! admin listener the API.

use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use serde::Serialize;

use super::api::{AnswerBody, Api, browser};
use super::health::{Overview, date};
use super::host::HostRule;
use super::listener::{Caller, Way};
use super::problem::{Problem, answer, request_id};
use super::{BulkheadReport, Control, Door};

/// The text format of Prometheus.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";
const JSON_TYPE: &str = "application/json";
/// The most connectors `/readyz?verbose` lists, of each list.
const LISTED_MAX: usize = 1000;

/// What is known of a connector's token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenReport {
    /// The connector's ID.
    pub connector: String,
    /// Its token's state.
    pub state: TokenState,
    /// When the token held now expires or has expired.
    #[serde(serialize_with = "date_or_null")]
    pub expires_at: Option<SystemTime>,
    /// How its token requests fail, while they do; a token held is used all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<FailureReport>,
}

/// How a connector's token requests fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureReport {
    /// `temporary` or `permanent`.
    pub class: &'static str,
    /// As in `attache_token_requests_total`.
    pub outcome: &'static str,
    /// The authorization server's error code (RFC 6749 §5.2), where it gave one.
    pub code: Option<String>,
    /// What went wrong last, as the log says it; never shows a secret.
    pub error: String,
    /// When the first attempt failed.
    #[serde(serialize_with = "date")]
    pub since: SystemTime,
    /// How many failed since then.
    pub attempts: u32,
    /// When the next may go out; in the past if no flow has asked lately.
    #[serde(serialize_with = "date")]
    pub next_attempt_at: SystemTime,
}

/// The state of a connector's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenState {
    /// None was obtained so far.
    Absent,
    /// One is held and may be used.
    Fresh,
    /// The one held is used no more; the next flow obtains another.
    Spent,
}

/// The body of `/readyz?verbose`.
#[derive(Serialize)]
struct Verbose {
    #[serde(flatten)]
    overview: Overview,
    tokens: Vec<TokenReport>,
    /// How many more there are.
    tokens_omitted: usize,
    /// Connectors that are not at rest, the worst first.
    bulkheads: Vec<BulkheadReport>,
    bulkheads_omitted: usize,
}

fn date_or_null<S: serde::Serializer>(at: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => date(at, to),
        None => to.serialize_none(),
    }
}

/// Answers a request that came in by `way`.
pub(super) async fn respond<B>(
    request: Request<B>,
    way: Way,
    door: &Door,
    control: &Control,
) -> Response<AnswerBody>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let id = request_id(request.headers());
    if let Err(problem) = admit(&request, way, door) {
        return whole(problem.response(&id));
    }
    // Who may see the metrics need not see that there is anything to administer.
    if door.hosts != HostRule::Free && Api::serves(request.uri().path()) {
        let from = (way.peer, way.security);
        return control.api.respond(request, from, id).await;
    }
    whole(match page(&request, way, door) {
        Ok(page) => page(control),
        Err(problem) => problem.response(&id),
    })
}

fn whole(answer: Response<Full<Bytes>>) -> Response<AnswerBody> {
    answer.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

/// Whether a request may be answered at all.
fn admit<B>(request: &Request<B>, way: Way, door: &Door) -> Result<(), Problem> {
    if way.caller == Caller::Unknown {
        return Err(Problem::CallerUnknown);
    }
    match door
        .hosts
        .admits(request.uri(), request.headers(), way.local)
    {
        true => Ok(()),
        false => Err(Problem::BadHost),
    }
}

type Page = fn(&Control) -> Response<Full<Bytes>>;

fn page<B>(request: &Request<B>, way: Way, door: &Door) -> Result<Page, Problem> {
    // Scrapers are no browsers; whoever looks at the metrics with one is let in as by the Host rule.
    if door.hosts != HostRule::Free && !browser::is_own(request.headers(), way.security) {
        return Err(Problem::BrowserRefused);
    }
    let uri = request.uri();
    let page: Page = match uri.path() {
        "/metrics" => metrics,
        "/livez" => alive,
        // Who may see the metrics need not see why a reload failed.
        "/readyz" if asks_for_more(uri) && door.hosts != HostRule::Free => verbose,
        "/readyz" => ready,
        _ => return Err(Problem::NotFound),
    };
    match *request.method() {
        Method::GET | Method::HEAD => Ok(page),
        _ => Err(Problem::Method),
    }
}

fn asks_for_more(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    query
        .split('&')
        .any(|pair| matches!(pair, "verbose" | "verbose=" | "verbose=1" | "verbose=true"))
}

fn metrics(control: &Control) -> Response<Full<Bytes>> {
    answer(StatusCode::OK, METRICS_TYPE, control.metrics.encode())
}

fn alive(control: &Control) -> Response<Full<Bytes>> {
    match control.health.is_alive() {
        true => answer(StatusCode::OK, TEXT_TYPE, "alive\n"),
        false => unavailable("not alive: a worker died"),
    }
}

fn ready(control: &Control) -> Response<Full<Bytes>> {
    match control.health.readiness() {
        Ok(ready) => answer(StatusCode::OK, TEXT_TYPE, format!("{}\n", ready.sentence())),
        Err(why) => unavailable(why.sentence()),
    }
}

fn unavailable(sentence: &str) -> Response<Full<Bytes>> {
    let body = format!("{sentence}\n");
    answer(StatusCode::SERVICE_UNAVAILABLE, TEXT_TYPE, body)
}

fn verbose(control: &Control) -> Response<Full<Bytes>> {
    let overview = control.health.overview();
    let status = match overview.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut tokens = (control.tokens)();
    let tokens_omitted = tokens.len().saturating_sub(LISTED_MAX);
    tokens.truncate(LISTED_MAX);
    let mut bulkheads = (control.bulkheads)();
    let bulkheads_omitted = bulkheads.len().saturating_sub(LISTED_MAX);
    bulkheads.truncate(LISTED_MAX);
    let body = Verbose {
        overview,
        tokens,
        tokens_omitted,
        bulkheads,
        bulkheads_omitted,
    };
    // Texts, numbers and dates; there is nothing in them that could fail to be written.
    answer(
        status,
        JSON_TYPE,
        serde_json::to_vec_pretty(&body).unwrap_or_default(),
    )
}
