//! Endpoints of organizations and what each may have.

use utoipa_axum::router::OpenApiRouter;

use super::Shared;

/// Its routes, under `/api/v1`.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
}
