//! The admin API: HTTP over the registry, the store, and who administers.
//!
//! A request passes the shell ([`Api::respond`]): the browser rule, authentication, the router, and
//! then one line in the log and one count. Handlers take a [`caller::Caller`] and answer
//! `Result<Response, Problem>`.
//!
//! # Invariants
//!
//! Nothing of a body is read before its sender is known. Whatever a handler does, a panic included,
//! becomes an answer; every refusal is one of [`PROBLEMS`]. No answer shows a secret. `axum` is
//! named here and nowhere else.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

use self::caller::Caller;
use self::problem::Problem;
use crate::clock::Clock;
use crate::control::access::Actor;

mod admin_tokens;
mod answer;
mod audit;
mod body;
mod caller;
mod connectors;
mod etag;
mod openapi;
mod organizations;
mod page;
mod problem;
mod reason;
mod whoami;

pub use reason::{PROBLEMS, Reason};

/// What the API works with.
#[derive(Debug)]
pub struct Parts {
    /// Where time comes from.
    pub clock: Clock,
}

/// What handlers take as their `State`.
type Shared = Arc<Parts>;

/// The body of an answer.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The admin API.
#[derive(Clone, Debug)]
pub struct Api {
    router: Router,
}

impl Api {
    /// The API over `parts`.
    pub fn new(parts: Parts) -> Self {
        let shared: Shared = Arc::new(parts);
        let (router, _document) = routes().split_for_parts();
        Self {
            router: router.with_state(shared),
        }
    }

    /// Answers a request from `peer`, which the listener's own rules let through.
    pub(super) async fn respond<B>(
        &self,
        request: Request<B>,
        peer: SocketAddr,
        request_id: String,
    ) -> http::Response<AnswerBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let answer = match self.authenticate(&request, peer, &request_id).await {
            Ok(actor) => self.route(request.map(Body::new), actor).await,
            Err(problem) => problem.into_response(),
        };
        let answer = match answer.extensions().get::<Problem>() {
            Some(problem) => problem.render(&request_id),
            None => answer,
        };
        answer.map(|body| body.map_err(Into::into).boxed_unsync())
    }

    async fn authenticate<B>(
        &self,
        request: &Request<B>,
        _peer: SocketAddr,
        _request_id: &str,
    ) -> Result<Actor, Problem> {
        let _given = request.headers().get(AUTHORIZATION);
        Err(Problem::of(Reason::Unauthenticated))
    }

    async fn route(&self, mut request: Request<Body>, actor: Actor) -> Response {
        request.extensions_mut().insert(Caller(actor));
        let Ok(answer) = self.router.clone().oneshot(request).await;
        answer
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
    OpenApiRouter::new().nest("/api/v1", api)
}
