//! Where a redirect leads: the gateway's address of what lies on the connector's own origin.

use http::{HeaderMap, HeaderValue, header};
use url::{Position, Url};

use super::authorize::Permit;
use super::resolve::{self, Addressed};

/// Rewrites a `Location` on the connector's own origin, behind its base path, to the gateway's
/// address. Others pass untouched and are never followed, but for one that a client would resolve
/// against the gateway's address (RFC 9110 §10.2.2) and take for another connector's: that one is
/// written out with its origin.
pub(crate) fn relocate(headers: &mut HeaderMap, permit: &Permit) {
    let location = headers.get(header::LOCATION);
    let Some(text) = location.and_then(|location| location.to_str().ok()) else {
        return;
    };
    let rewritten = on_origin(text, permit)
        .and_then(|path| gateway_address(path, permit))
        .or_else(|| written_out(text, permit));
    if let Some(Ok(rewritten)) = rewritten.map(HeaderValue::try_from) {
        headers.insert(header::LOCATION, rewritten);
    }
}

/// What of `location` stands behind the connector's own origin, if it is written with all of it or
/// with nothing but a path.
fn on_origin<'a>(location: &'a str, permit: &Permit) -> Option<&'a str> {
    let authority = permit.entry().upstream.resource.origin().authority();
    let path_alone =
        || Some(location).filter(|text| text.starts_with('/') && !text.starts_with("//"));
    location
        .strip_prefix("https://")
        .and_then(|rest| rest.strip_prefix(authority))
        .filter(|path| path.is_empty() || path.starts_with(['/', '?']))
        .or_else(path_alone)
}

/// The gateway's address of what is `path` on the origin. Nothing outside the base path has one,
/// and nothing that dot segments could lead outside of it.
fn gateway_address(path: &str, permit: &Permit) -> Option<String> {
    let entry = permit.entry();
    let base = entry.upstream.resource.base_path().trim_end_matches('/');
    let rest = path.strip_prefix(base)?;
    if !(rest.is_empty() || rest.starts_with(['/', '?'])) || holds_dots(rest) {
        return None;
    }
    Some(match permit.addressed() {
        Addressed::ByPath => format!("/{}{rest}", entry.connector.id),
        Addressed::ByField if rest.starts_with('/') => rest.to_owned(),
        Addressed::ByField => format!("/{rest}"),
    })
}

/// A relative `location` as the origin means it, where the gateway's address would make something
/// else of it.
fn written_out(location: &str, permit: &Permit) -> Option<String> {
    let resource = &permit.entry().upstream.resource;
    let path = path_of(location);
    let absolute = location.starts_with("//") || path.split('/').next()?.contains(':');
    // Behind `/{connector-id}` alone, the next name would stand in the connector's place.
    let at_base = permit.target().path() == resource.base_path() && !path.is_empty();
    if absolute || !(path.starts_with('/') || at_base || holds_dots(path)) {
        return None;
    }
    let asked = format!("{}{}", resource.origin(), permit.target());
    let meant = Url::parse(&asked).ok()?.join(location).ok()?;
    gateway_address(&meant[Position::BeforePath..], permit).or_else(|| Some(meant.into()))
}

fn holds_dots(reference: &str) -> bool {
    resolve::check_path(path_of(reference)).is_err()
}

fn path_of(reference: &str) -> &str {
    reference.split(['?', '#']).next().unwrap_or_default()
}
