//! Entity tags and the conditions that name them (RFC 9110 §§8.8.3, 13.1).
//!
//! # Invariants
//!
//! A record's tag is its revision in quotes, and strong. Whoever changes what exists says which
//! revision they saw; a tag that is not one of ours is never the present one.

use axum::extract::FromRequestParts;
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::problem::Problem;
use super::reason::Reason;

/// The tags that a field lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    /// `*`
    Any,
    /// Some, each with whether it is weak.
    Listed(Vec<Tag>),
}

/// One tag as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    opaque: Vec<u8>,
    strength: Strength,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strength {
    Strong,
    Weak,
}

/// `If-Match`, which a change must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IfMatch(pub(super) Tags);

/// `If-None-Match`, which a read may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IfNoneMatch(Option<Tags>);

impl IfMatch {
    /// Whether a change of what has `revision` may go on; strong comparison (§13.1.1).
    ///
    /// # Errors
    ///
    /// `precondition-failed`.
    pub(super) fn check(&self, revision: u64) -> Result<(), Problem> {
        let own = revision.to_string();
        let named = match &self.0 {
            Tags::Any => true,
            Tags::Listed(tags) => tags
                .iter()
                .any(|tag| tag.strength == Strength::Strong && tag.opaque == own.as_bytes()),
        };
        match named {
            true => Ok(()),
            false => Err(Problem::of(Reason::PreconditionFailed)),
        }
    }
}

impl IfNoneMatch {
    /// Whether whoever asks has `revision` already; weak comparison (§13.1.2).
    pub(super) fn holds(&self, revision: u64) -> bool {
        let own = revision.to_string();
        match &self.0 {
            None => false,
            Some(Tags::Any) => true,
            Some(Tags::Listed(tags)) => tags.iter().any(|tag| tag.opaque == own.as_bytes()),
        }
    }
}

/// The field that names `revision`.
pub(super) fn etag(revision: u64) -> (HeaderName, HeaderValue) {
    let tag = HeaderValue::try_from(format!("\"{revision}\""));
    // Digits in quotes are a field's value whatever they say.
    (
        ETAG,
        tag.unwrap_or_else(|_| HeaderValue::from_static("\"0\"")),
    )
}

/// The answer to whoever has the present revision already (§15.4.5).
pub(super) fn not_modified(revision: u64) -> axum::response::Response {
    use axum::response::IntoResponse;
    (StatusCode::NOT_MODIFIED, [etag(revision)]).into_response()
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match tags(&parts.headers, &IF_MATCH)? {
            Some(tags) => Ok(Self(tags)),
            None => Err(Problem::of(Reason::PreconditionRequired)),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        tags(&parts.headers, &IF_NONE_MATCH).map(Self)
    }
}

/// What all lines of the field `name` list together (§5.3); `None` if there is none.
fn tags(fields: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let lines: Vec<&[u8]> = fields
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let text = lines.join(&b',');
    if text.trim_ascii() == b"*" {
        return Ok(Some(Tags::Any));
    }
    let malformed = || {
        Problem::of(Reason::BadRequest).detail(format!(
            "{name} is neither * nor a list of entity tags in quotes (RFC 9110 §8.8.3)."
        ))
    };
    let listed = list(&text).filter(|tags| !tags.is_empty());
    listed
        .map(|tags| Some(Tags::Listed(tags)))
        .ok_or_else(malformed)
}

/// `#entity-tag` (§§5.6.1, 8.8.3); empty elements count for nothing.
fn list(mut text: &[u8]) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    loop {
        text = text.trim_ascii_start();
        match text {
            [] => return Some(tags),
            [b',', rest @ ..] => text = rest,
            _ => {
                let (tag, rest) = tag(text)?;
                tags.push(tag);
                text = rest.trim_ascii_start();
                if !matches!(text, [] | [b',', ..]) {
                    return None;
                }
            }
        }
    }
}

fn tag(text: &[u8]) -> Option<(Tag, &[u8])> {
    let (strength, text) = match text.strip_prefix(b"W/") {
        Some(rest) => (Strength::Weak, rest),
        None => (Strength::Strong, text),
    };
    let text = text.strip_prefix(b"\"")?;
    let end = text.iter().position(|byte| *byte == b'"')?;
    let (opaque, rest) = text.split_at(end);
    let legal = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
    let tag = Tag {
        opaque: opaque.to_vec(),
        strength,
    };
    opaque.iter().all(legal).then_some((tag, &rest[1..]))
}
