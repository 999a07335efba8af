//! Endpoints of the audit log.

use std::time::SystemTime;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::answer::json;
use super::caller::Caller;
use super::openapi::Everywhere;
use super::page::{Page, Query};
use super::problem::Problem;
use crate::clock::rfc3339;
use crate::connector::Organization;
use crate::control::access::{Actor, Denied};
use crate::control::store::{self, AuditEntry, AuditFilter, AuditOutcome};
use crate::harmless;

/// Its routes, under `/api/v1`.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list))
}

/// JSON lines: one object, one line feed.
const LINES: &str = "application/x-ndjson";
/// Entries that are read at a time for a stream of lines.
const PIECE: u32 = 200;
/// The longest text that entries are looked for by.
const FILTER_CHARS_MAX: usize = 512;

/// One change, or one that was refused.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AuditEntry)]
pub(super) struct View {
    /// Grows with every entry.
    id: u64,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// Who: `token:` and the token's ID, `oidc:` and the subject, `cli`, or `unknown`.
    actor: String,
    /// What they were, if that is known.
    #[schema(required)]
    role: Option<&'static str>,
    /// Whose thing it was done to; null where it is the gateway's.
    #[schema(required)]
    organization: Option<String>,
    /// What.
    #[schema(example = "connector.edit")]
    action: String,
    /// To what: an ID or name.
    target: String,
    /// `done` or `refused`.
    outcome: &'static str,
    /// Why it was refused: a problem's, as in its `type`.
    #[schema(required)]
    reason: Option<String>,
    /// Where the request came from.
    address: String,
    /// What the request is called in logs.
    request_id: String,
    /// What it was before; never shows a secret.
    #[schema(required, value_type = Option<Object>)]
    before: Option<serde_json::Value>,
    /// What it is now, or was to be; never shows a secret.
    #[schema(required, value_type = Option<Object>)]
    after: Option<serde_json::Value>,
}

impl From<AuditEntry> for View {
    fn from(entry: AuditEntry) -> Self {
        let (outcome, reason) = match entry.outcome {
            AuditOutcome::Done => ("done", None),
            AuditOutcome::Refused(reason) => ("refused", Some(reason)),
        };
        Self {
            id: entry.id,
            at: rfc3339(entry.at).to_string(),
            actor: entry.actor,
            role: entry.role.map(crate::connector::Role::name),
            organization: entry.organization.map(|own| own.as_str().to_owned()),
            action: entry.action,
            target: entry.target,
            outcome,
            reason,
            address: entry.address,
            request_id: entry.request_id,
            before: entry.before,
            after: entry.after,
        }
    }
}

/// Read the audit log
///
/// From the oldest entry on, those of your organization, or all for those who run the gateway. With
/// `Accept: application/x-ndjson` all entries come as one stream, each on a line of its own; if it
/// breaks off, go on after the last one that came.
#[utoipa::path(
    get,
    path = "/audit",
    tag = "audit",
    operation_id = "list-audit",
    params(
        ("organization" = Option<String>, Query, description = "Whose things they are about."),
        ("target" = Option<String>, Query, description = "To what it was done.", max_length = 512),
        ("actor" = Option<String>, Query, description = "Who did it.", max_length = 512),
        ("action" = Option<String>, Query, description = "What was done.", max_length = 512),
        ("since" = Option<String>, Query, description = "The earliest moment (RFC 3339)."),
        ("limit" = Option<u32>, Query, description = "How many a page has at most; lines have no pages.", minimum = 1, maximum = 200),
        ("after" = Option<u64>, Query, description = "The number of the last entry that is known: `next` of the page before."),
    ),
    responses((status = 200, description = "A page, or lines.", content(
        (Page<View> = "application/json"),
        (View = "application/x-ndjson"),
    )), Everywhere)
)]
async fn list(
    State(shared): State<Shared>,
    Caller(actor): Caller,
    fields: HeaderMap,
    mut query: Query,
) -> Result<Response, Problem> {
    let form = "an organization";
    let filter = AuditFilter {
        organization: query.read("organization", form, |text| Organization::parse(text).ok()),
        target: query.text("target", FILTER_CHARS_MAX),
        actor: query.text("actor", FILTER_CHARS_MAX),
        action: query.text("action", FILTER_CHARS_MAX),
        since: query.read("since", "a date and time (RFC 3339)", date),
    };
    let number = |text: &str| u64::try_from(text.parse::<i64>().ok()?).ok();
    let after = query.read("after", "the number of an entry", number);
    let limit = query.limit();
    query.done()?;
    if wants_lines(&fields) {
        return lines(shared, actor, filter, after).await;
    }
    let page = store::Page {
        after,
        limit: limit + 1,
    };
    let entries = shared.administration.entries(&actor, filter, page).await?;
    let items = entries.into_iter().map(View::from).collect();
    Ok(json(&Page::of(items, limit, |item: &View| {
        item.id.to_string()
    })))
}

fn date(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
}

/// Whether lines are named at all: nobody names them who would rather have a page.
fn wants_lines(fields: &HeaderMap) -> bool {
    let lines = fields.get_all(ACCEPT).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case(LINES))
}

/// All entries, read piece by piece as the client takes them.
async fn lines(
    shared: Shared,
    actor: Actor,
    filter: AuditFilter,
    after: Option<u64>,
) -> Result<Response, Problem> {
    let reading = Reading {
        shared,
        actor,
        filter,
    };
    // The first piece decides between an answer and a problem.
    let first = reading.piece(after).await?;
    let rest = stream::try_unfold((reading, Some(first)), |(reading, piece)| async {
        let Some(piece) = piece else {
            return Ok::<_, Denied>(None);
        };
        let next = match piece.last {
            Some(last) => Some(reading.piece(Some(last)).await?),
            None => None,
        };
        Ok(Some((piece.text, (reading, next))))
    });
    let mut answer = Response::new(Body::from_stream(rest));
    let fields = answer.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(LINES));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderValue::from_static("nosniff");
    fields.insert("x-content-type-options", nosniff);
    Ok(answer)
}

/// What lines are asked for, and by whom.
struct Reading {
    shared: Shared,
    actor: Actor,
    filter: AuditFilter,
}

/// Some lines, and the last entry in them if more may follow.
struct Piece {
    text: Bytes,
    last: Option<u64>,
}

impl Reading {
    async fn piece(&self, after: Option<u64>) -> Result<Piece, Denied> {
        let page = store::Page {
            after,
            limit: PIECE,
        };
        let filter = self.filter.clone();
        let read = self
            .shared
            .administration
            .entries(&self.actor, filter, page);
        let entries = read.await?;
        let is_full = u32::try_from(entries.len()).is_ok_and(|read| read == PIECE);
        let last = entries.last().filter(|_| is_full).map(|entry| entry.id);
        let mut text = Vec::new();
        for entry in entries {
            // Texts, numbers and JSON; there is nothing in them that could fail to be written.
            text.extend(harmless::to_json(&View::from(entry)).unwrap_or_default());
            text.push(b'\n');
        }
        let text = text.into();
        Ok(Piece { text, last })
    }
}
