//! What happens around every operation: the browser rule, who asks, one line in the log, one count.
//!
//! # Invariants
//!
//! An operation that began goes on although its client hangs up: half of it is done by nobody. So
//! many go on at once at most. One that panics is a 500, counted and logged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, AUTHORIZATION, HeaderValue};
use http::{Method, StatusCode};
use tokio::sync::Semaphore;

use super::caller::Caller;
use super::problem::Problem;
use super::reason::Reason;
use super::{Shared, browser};

/// Operations at once.
pub(super) const OPERATIONS_MAX: usize = 64;

/// How a request came in.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// Who connected.
    pub(super) peer: SocketAddr,
    /// What the request is called in logs.
    pub(super) request_id: Arc<str>,
    /// Whether it came over TLS that ends here.
    pub(super) security: Security,
}

/// How the connection of a request is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) enum Security {
    /// Not by us.
    Plain,
    /// By TLS that ends here.
    Tls,
}

/// What the shell found out about a request, for the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted {
    /// The template that its path matched.
    pub(super) template: Option<String>,
    /// Who sent it.
    pub(super) actor: Option<String>,
    /// What went wrong, if that is not the administrator's to know.
    pub(super) cause: Option<String>,
}

/// Answers a request that the router matched, or did not.
pub(super) async fn surround(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let template = request.extensions().get::<MatchedPath>();
    let mut noted = Noted {
        template: template.map(|path| path.as_str().to_owned()),
        ..Noted::default()
    };
    let answered = admit(&shared, request, &mut noted).await;
    let mut answer = match answered {
        Ok(request) => carry(&shared, request, next).await,
        Err(problem) => problem.into_response(),
    };
    let problem = answer.extensions().get::<Problem>();
    noted.cause = problem.and_then(Problem::cause).map(str::to_owned);
    answer.extensions_mut().insert(noted);
    answer
}

/// Lets those in who may ask.
async fn admit(
    shared: &Shared,
    mut request: Request,
    noted: &mut Noted,
) -> Result<Request, Problem> {
    let Some(visit) = request.extensions().get::<Visit>().cloned() else {
        return Err(Problem::of(Reason::Internal));
    };
    let fields = request.headers();
    browser::check(fields, visit.security)?;
    let address = visit.peer.ip();
    let asks = shared
        .authentication
        .authenticate(fields, address, &visit.request_id);
    let actor = asks.await?;
    noted.actor = Some(actor.name.clone());
    // What proved it is needed by nobody any more.
    request.headers_mut().remove(AUTHORIZATION);
    request.extensions_mut().insert(Caller(actor));
    Ok(request)
}

async fn carry(shared: &Shared, request: Request, next: Next) -> Response {
    let Ok(permit) = Arc::clone(&shared.room).acquire_owned().await else {
        return Problem::of(Reason::Internal).into_response();
    };
    let operation = tokio::spawn(async move {
        let answer = next.run(request).await;
        drop(permit);
        answer
    });
    match operation.await {
        Ok(answer) => answer,
        // The panic itself is in the log already.
        Err(_) => {
            shared.parts.metrics.worker(0).panicked();
            Problem::of(Reason::Internal).into_response()
        }
    }
}

/// Room for the operations that go on at once.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(OPERATIONS_MAX))
}

/// Writes down what is not written yet: a refusal of a handler, or of the router.
pub(super) fn finish(answer: Response, request_id: &str) -> Response {
    let (parts, body) = answer.into_parts();
    let problem = parts.extensions.get::<Problem>().cloned();
    let problem = problem.or_else(|| unnamed(&parts));
    let mut answer = match problem {
        Some(problem) => problem.render(request_id),
        None => Response::from_parts(parts, body),
    };
    let id = HeaderValue::try_from(request_id);
    // A sane one is a field's value.
    let id = id.unwrap_or_else(|_| HeaderValue::from_static(""));
    answer.headers_mut().insert("x-request-id", id);
    answer
}

/// What an answer says that the router, or what it reads a request with, made by itself.
fn unnamed(answer: &http::response::Parts) -> Option<Problem> {
    match answer.status {
        StatusCode::METHOD_NOT_ALLOWED => {
            let none = HeaderValue::from_static("");
            let methods = answer.headers.get(ALLOW).cloned().unwrap_or(none);
            Some(Problem::of(Reason::Method).allow(methods))
        }
        StatusCode::NOT_FOUND => Some(Problem::of(Reason::NotFound)),
        status if status.is_client_error() => Some(Problem::of(Reason::BadRequest)),
        status if status.is_server_error() => Some(Problem::of(Reason::Internal)),
        _ => None,
    }
}

/// One line for one request.
pub(super) fn write_down(
    (method, request_id): (&Method, &str),
    noted: &Noted,
    status: StatusCode,
    took: Duration,
) {
    if let Some(error) = &noted.cause {
        tracing::error!(error, request_id, "an administrator's request failed");
    }
    tracing::info!(
        method = %method,
        path = noted.template.as_deref().unwrap_or("none"),
        status = status.as_u16(),
        actor = noted.actor.as_deref().unwrap_or("none"),
        request_id,
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "an administrator's request was answered"
    );
}

/// There is nothing at this path.
pub(super) async fn nothing() -> Problem {
    Problem::of(Reason::NotFound)
}

/// The answer of a gateway without a store, whoever asks.
pub(super) fn without_store() -> Response<Body> {
    Problem::of(Reason::NoStore).into_response()
}
