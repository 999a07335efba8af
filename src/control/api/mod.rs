//! The admin API: HTTP over the registry, the store, and who administers.
//!
//! A request passes the shell: the browser rule, authentication, its handler, and then one line in
//! the log and one count. Handlers take a `Caller` and answer `Result<Response, Problem>`.
//!
//! # Invariants
//!
//! Nothing of a body is read before its sender is known. Whatever a handler does, a panic included,
//! becomes an answer; every refusal is one of [`PROBLEMS`]. No answer shows a secret. `axum` is
//! named here and nowhere else.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

use self::idempotency::Flights;
use self::shell::{Noted, Visit};
use crate::clock::Clock;
use crate::control::access::{Administration, Authentication};
use crate::control::registry::Registry;
use crate::control::store::Store;
use crate::metrics::Metrics;

mod admin_tokens;
mod answer;
mod audit;
mod body;
pub(super) mod browser;
mod caller;
mod connectors;
mod etag;
mod idempotency;
mod openapi;
mod organizations;
mod page;
mod path;
mod problem;
mod reason;
mod sending;
mod shell;
mod whoami;
#[doc(hidden)]
pub mod doors;

pub use reason::{PROBLEMS, Reason};
pub(super) use shell::Security;

/// What the API works with.
#[derive(Debug)]
pub struct Parts {
    /// Where time comes from.
    pub clock: Clock,
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
    /// Who administrators are.
    pub authentication: Authentication,
    /// Their tokens and organizations, and the audit log.
    pub administration: Administration,
    /// The rules of a connector's life.
    pub registry: Registry,
    /// What is kept.
    pub store: Store,
}

/// What handlers take as their `State`; [`Parts`], and what the API keeps for itself.
type Shared = Arc<Desk>;

/// See [`Shared`].
struct Desk {
    parts: Parts,
    room: Arc<Semaphore>,
    flights: Flights,
}

impl std::ops::Deref for Desk {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// The body of an answer.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The admin API. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Routed>);

struct Routed {
    /// None without a store.
    desk: Option<Shared>,
    router: Router,
    document: Bytes,
    /// The names of operations by the method and template of their paths.
    operations: HashMap<(Method, String), String>,
}

impl Api {
    /// The API over `parts`.
    pub fn new(parts: Parts) -> Self {
        let desk = Arc::new(Desk {
            parts,
            room: shell::room(),
            flights: Flights::default(),
        });
        let (router, document) = routes().split_for_parts();
        let around = axum::middleware::from_fn_with_state(Arc::clone(&desk), shell::surround);
        let router = router.fallback(shell::nothing).layer(around);
        Self(Arc::new(Routed {
            router: router.with_state(Arc::clone(&desk)),
            desk: Some(desk),
            operations: openapi::operations(&document),
            document: openapi::write(document),
        }))
    }

    /// What there is without a store: the description, and a refusal that says how to get one.
    pub fn without_store() -> Self {
        let document = routes().into_openapi();
        Self(Arc::new(Routed {
            desk: None,
            router: Router::new(),
            operations: HashMap::new(),
            document: openapi::write(document),
        }))
    }

    /// Whether a request for `path` is for the API.
    pub(super) fn serves(path: &str) -> bool {
        path == "/openapi.json" || path == "/api" || path.starts_with("/api/")
    }

    /// Answers a request from `peer`, which the listener's own rules let through.
    pub(super) async fn respond<B>(
        &self,
        mut request: Request<B>,
        (peer, security): (SocketAddr, Security),
        request_id: String,
    ) -> http::Response<AnswerBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let visit = Visit {
            peer,
            request_id: request_id.into(),
            security,
        };
        let request_id = Arc::clone(&visit.request_id);
        request.extensions_mut().insert(visit);
        let describes = request.uri().path() == "/openapi.json";
        let answer = match &self.0.desk {
            // The shell looks at browsers itself, and writes them down.
            Some(desk) if !describes => self.route(desk, request.map(Body::new)).await,
            Some(_) | None => match browser::check(request.headers(), security) {
                Err(problem) => problem.into_response(),
                Ok(()) if describes => openapi::serve(&self.0.document, request.method()),
                Ok(()) => shell::without_store(),
            },
        };
        let answer = shell::finish(answer, &request_id);
        answer.map(|body| body.map_err(Into::into).boxed_unsync())
    }

    async fn route(&self, desk: &Shared, request: Request<Body>) -> Response {
        let began = desk.clock.monotonic();
        let method = request.method().clone();
        let visit = request.extensions().get::<Visit>();
        let request_id = visit.map_or_else(|| "".into(), |visit| Arc::clone(&visit.request_id));
        let Ok(answer) = self.0.router.clone().oneshot(request).await;
        let noted = answer.extensions().get::<Noted>().cloned();
        let noted = noted.unwrap_or_default();
        let status = answer.status();
        let took = desk.clock.monotonic().saturating_sub(began);
        shell::write_down((&method, &request_id), &noted, status, took);
        let named = noted.template.unwrap_or_default();
        let operation = self.0.operations.get(&(method, named));
        let operation = operation.map_or("none", String::as_str);
        desk.metrics.admin().count(operation, status);
        answer
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

/// Every route, with its description.
fn routes() -> OpenApiRouter<Shared> {
    let api = OpenApiRouter::new()
        .merge(whoami::routes())
        .merge(connectors::routes())
        .merge(organizations::routes())
        .merge(audit::routes())
        .merge(admin_tokens::routes());
    OpenApiRouter::with_openapi(openapi::head()).nest("/api/v1", api)
}
