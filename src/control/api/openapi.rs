//! The OpenAPI document (3.1) that is served at `/openapi.json`.

use std::collections::HashMap;

use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, StatusCode};
use utoipa::openapi::path::PathItem;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

mod asked;
mod auth;
mod connector;
mod limits;
mod mend;
mod refusals;
mod report;

pub(super) use asked::{ConnectorPath, Listed, Precondition, Promotion, StagedSecrets};
pub(super) use connector::{
    Connector, ConnectorEdit, ConnectorPatch, Kind, NewConnector, Source, State,
};
pub(super) use refusals::{
    Change, ChangeWithBody, Create, Everywhere, Tested, Tried, TriedWithBody, refused_for,
};
pub(super) use report::{TestReport, legs, test_report};

use super::problem::Problem;

use super::reason::Reason;

/// The document without its paths.
pub(super) fn head() -> OpenApi {
    let license = LicenseBuilder::new()
        .name("Apache-2.0")
        .identifier(Some("Apache-2.0"))
        .build();
    let info = InfoBuilder::new()
        .title("Attaché admin API")
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(license))
        .build();
    let components = ComponentsBuilder::new().schemas_from_iter(refusals::schemas());
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components.build()))
        .build()
}

/// The document as text.
pub(super) fn write(document: OpenApi) -> Bytes {
    // Texts and numbers; there is nothing in it that could fail to be written.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    mend::mend(&mut document);
    let text = serde_json::to_vec_pretty(&document);
    text.unwrap_or_default().into()
}

/// The names of the operations of `document`, by the method and template of their paths.
pub(super) fn operations(document: &OpenApi) -> HashMap<(Method, String), String> {
    let mut operations = HashMap::new();
    for (path, item) in &document.paths.paths {
        for (method, operation) in methods(item) {
            if let Some(id) = operation.operation_id.clone() {
                operations.insert((method, path.clone()), id);
            }
        }
    }
    operations
}

type Operation = utoipa::openapi::path::Operation;

fn methods(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

/// Shows `document` to whoever asks.
pub(super) fn serve(document: &Bytes, method: &Method) -> axum::response::Response {
    match *method {
        Method::GET | Method::HEAD => {
            let body = document.clone();
            crate::control::problem::answer(StatusCode::OK, "application/json", body).map(Body::new)
        }
        _ => {
            let methods = HeaderValue::from_static("GET, HEAD");
            Problem::of(Reason::Method).allow(methods).into_response()
        }
    }
}
