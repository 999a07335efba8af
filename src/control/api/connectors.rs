//! Endpoints of connectors.

use utoipa_axum::router::OpenApiRouter;

use super::Shared;

/// Their routes, under `/api/v1`.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
}
