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
pub(super) struct IfMatch(Option<Vec<u64>>);

/// `If-None-Match`, which a read may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IfNoneMatch(Option<Tags>);

impl IfMatch {
    /// The revisions that it names: none for `*`. A weak tag never matches (§13.1.1), and one that
    /// is not of our making is nobody's.
    pub(super) fn revisions(&self) -> Option<&[u64]> {
        self.0.as_deref()
    }

    /// Whether a change of what has `revision` may go on.
    ///
    /// # Errors
    ///
    /// `precondition-failed`.
    pub(super) fn check(&self, revision: u64) -> Result<(), Problem> {
        match self
            .revisions()
            .is_none_or(|named| named.contains(&revision))
        {
            true => Ok(()),
            false => Err(Problem::of(Reason::PreconditionFailed)),
        }
    }

    fn of(tags: Tags) -> Self {
        Self(match tags {
            Tags::Any => None,
            Tags::Listed(tags) => Some(tags.iter().filter_map(Tag::revision).collect()),
        })
    }
}

impl Tag {
    /// The revision that a strong tag of ours names.
    fn revision(&self) -> Option<u64> {
        let text = std::str::from_utf8(&self.opaque).ok()?;
        let revision: u64 = text.parse().ok()?;
        // One revision has one tag: `"017"` and `"+17"` are not ours.
        let is_ours = self.strength == Strength::Strong && revision.to_string() == text;
        is_ours.then_some(revision)
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
            Some(tags) => Ok(Self::of(tags)),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Option<IfMatch>, Problem> {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(IF_MATCH, HeaderValue::from_str(line).unwrap());
        }
        tags(&fields, &IF_MATCH).map(|tags| tags.map(IfMatch::of))
    }

    fn passes(lines: &[&str], revision: u64) -> bool {
        read(lines).unwrap().unwrap().check(revision).is_ok()
    }

    #[test]
    fn what_is_no_list_of_tags_is_malformed() {
        // RFC 9110 §8.8.3, §5.6.1.
        for bad in [
            "",
            " ",
            ",",
            "17",
            "\"17",
            "17\"",
            "w/\"17\"",
            "W/ \"17\"",
            "\"1 7\"",
            "\"1\" \"2\"",
            "\"1\", *",
            "*, \"1\"",
            "* *",
            "\"1\"; \"2\"",
            "'17'",
        ] {
            let reason = read(&[bad]).map_err(|problem| problem.reason());
            assert_eq!(reason, Err(Reason::BadRequest), "{bad:?}");
        }
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn a_change_needs_the_present_tag_strong_and_exact() {
        // RFC 9110 §13.1.1: strong comparison (§8.8.3.2).
        for stale in [
            "\"16\"",
            "W/\"17\"",
            "\"017\"",
            "\"+17\"",
            "\"\"",
            "\"seventeen\"",
            "\"16\", W/\"17\"",
            "\"99999999999999999999\"",
        ] {
            assert!(!passes(&[stale], 17), "{stale}");
        }
        for present in [
            "\"17\"",
            "*",
            " * ",
            "\"16\",\"17\"",
            ", \"x\" ,, \"17\" ,",
            "W/\"1\", \"17\"",
        ] {
            assert!(passes(&[present], 17), "{present}");
        }
        assert!(passes(&["\"16\"", "\"17\""], 17));
    }

    #[test]
    fn what_was_read_before_is_compared_weakly() {
        // RFC 9110 §13.1.2.
        let holds = |line: &str| {
            let mut fields = HeaderMap::new();
            fields.append(IF_NONE_MATCH, HeaderValue::from_str(line).unwrap());
            IfNoneMatch(tags(&fields, &IF_NONE_MATCH).unwrap()).holds(17)
        };
        assert!(holds("\"17\"") && holds("W/\"17\"") && holds("*") && holds("\"1\", \"17\""));
        assert!(!holds("\"18\"") && !holds("\"017\""));
        assert!(!IfNoneMatch(None).holds(17));
    }
}
