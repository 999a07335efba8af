//! From a request's target to a connector and a path on its origin.
//!
//! # Invariants
//!
//! A [`Route`] leads to one connector's origin, behind its base path: no target, under any
//! decoding, climbs out of it. What is forwarded is what came, byte for byte (RFC 9110 §7.7).

use std::net::Ipv6Addr;
use std::sync::Arc;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Uri, Version, request};

use super::caller::Caller;
use super::error::Refusal;
use super::fields::{Field, Fields};
use super::principal::Principal;
use super::rewrite::CONNECTOR_ID;
use crate::config::Hosts;
use crate::connector::{ConnectorId, join};
use crate::directory::{Entry, Snapshot};

/// A connector, and where on its origin the request goes.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) entry: Arc<Entry>,
    pub(crate) target: PathAndQuery,
    pub(crate) addressed: Addressed,
}

/// How the request named its connector, which decides how answers name places on the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addressed {
    /// `/{connector-id}/…`
    ByPath,
    /// `Connector-Id: {connector-id}`
    ByField,
}

/// Finds the route of `flow` in `snapshot`, for `principal`: another organization's connector does
/// not exist.
pub(crate) fn resolve(
    (flow, fields): (&request::Parts, Fields),
    caller: &Caller,
    principal: Principal<'_>,
    snapshot: &Snapshot,
) -> Result<Route, Refusal> {
    check_host(flow, caller, &snapshot.settings.hosts)?;
    let target = flow.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let (id, rest, addressed) = address(target, &flow.headers, fields)?;
    check_path(rest.split_once('?').map_or(rest, |(path, _)| path))?;
    let entry = snapshot.entry(id);
    let entry = entry.filter(|entry| principal.reaches(&entry.connector.organization));
    let entry = entry.ok_or(Refusal::NoSuchConnector)?;
    let joined = join(entry.upstream.resource.base_path(), rest);
    let target = PathAndQuery::try_from(joined)
        .map_err(|_| Refusal::BadPath("The path holds characters that no path may hold."))?;
    Ok(Route {
        entry: Arc::clone(entry),
        target,
        addressed,
    })
}

/// Splits a target into the connector's ID and what stands behind it.
fn address<'a>(
    target: &'a str,
    headers: &'a HeaderMap,
    fields: Fields,
) -> Result<(&'a str, &'a str, Addressed), Refusal> {
    if !target.starts_with('/') {
        return Err(Refusal::BadPath(
            "The path must begin with a slash and a connector ID.",
        ));
    }
    let mut lines = fields
        .has(Field::ConnectorId)
        .then(|| headers.get_all(CONNECTOR_ID).iter())
        .into_iter()
        .flatten();
    match (lines.next(), lines.next()) {
        (Some(_), Some(_)) => Err(Refusal::BadRequest("Connector-Id was sent more than once.")),
        (Some(id), None) => {
            let id = id.to_str().ok().filter(|id| ConnectorId::parse(id).is_ok());
            let id = id.ok_or(Refusal::BadRequest("Connector-Id holds no connector ID."))?;
            Ok((id, target, Addressed::ByField))
        }
        (None, _) => {
            let behind_slash = &target[1..];
            let end = behind_slash.find(['/', '?']).unwrap_or(behind_slash.len());
            let (id, rest) = behind_slash.split_at(end);
            if id.is_empty() {
                return Err(Refusal::BadPath(
                    "The path must begin with a connector ID: /{connector-id}/{path}.",
                ));
            }
            Ok((id, rest, Addressed::ByPath))
        }
    }
}

const DOT_SEGMENT: Refusal = Refusal::BadPath("The path holds dot segments.");

/// How often a path is decoded to see what hides in it. Each decoding may take as little as two
/// bytes off, so without a bound a path of nested encodings would keep a worker busy for seconds.
const DECODINGS_MAX: usize = 8;

/// Refuses paths that some server would read as another path: dot segments, backslashes and
/// control bytes, however often they are percent-encoded.
pub(crate) fn check_path(path: &str) -> Result<(), Refusal> {
    let mut bytes = path.as_bytes();
    let mut decoded;
    for _ in 0..=DECODINGS_MAX {
        if bytes
            .iter()
            .any(|byte| byte.is_ascii_control() || *byte == b'\\')
        {
            return Err(Refusal::BadPath(
                "The path holds backslashes or control characters.",
            ));
        }
        if bytes.split(|byte| *byte == b'/').any(is_dot_segment) {
            return Err(DOT_SEGMENT);
        }
        let is_encoded = bytes.contains(&b'%');
        if (is_encoded || !bytes.is_ascii()) && is_disguised(bytes) {
            return Err(DOT_SEGMENT);
        }
        if !is_encoded {
            return Ok(());
        }
        let once: Vec<u8> = percent_encoding::percent_decode(bytes).collect();
        if once == bytes {
            return Ok(());
        }
        decoded = once;
        bytes = &decoded;
    }
    Err(Refusal::BadPath("The path is percent-encoded too often."))
}

/// Dots, slashes and backslashes as no encoding has them and some servers read them all the same: in
/// UTF-8 that is longer than it may be (RFC 3629 §3), or as `%uXXXX`.
fn is_disguised(bytes: &[u8]) -> bool {
    const OVERLONG: [&[u8]; 6] = [
        b"\xc0\xae",
        b"\xc0\xaf",
        b"\xc1\x9c",
        b"\xe0\x80\xae",
        b"\xe0\x80\xaf",
        b"\xe0\x81\x9c",
    ];
    const CODE_POINTS: [&[u8]; 3] = [b"%u002e", b"%u002f", b"%u005c"];
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    let escapes = |text: &[u8]| {
        let mut parts = bytes.windows(text.len());
        parts.any(|part| part.eq_ignore_ascii_case(text))
    };
    let has_escape = bytes.windows(2).any(|two| matches!(two, b"%u" | b"%U"));
    !bytes.is_ascii() && OVERLONG.into_iter().any(holds)
        || has_escape && CODE_POINTS.into_iter().any(escapes)
}

/// `.` and `..`, also with the path parameters that some servers cut off first (RFC 3986 §3.3).
fn is_dot_segment(segment: &[u8]) -> bool {
    let name = segment.split(|byte| *byte == b';').next();
    matches!(name, Some(b"." | b".."))
}

/// Refuses requests whose host is missing, doubled, contradictory or not ours.
///
/// A name that is not ours means that somebody's browser or resolver was led here.
fn check_host(flow: &request::Parts, caller: &Caller, ours: &Hosts) -> Result<(), Refusal> {
    let mut lines = flow.headers.get_all(HOST).iter();
    let (first, second) = (lines.next(), lines.next());
    if second.is_some() {
        return Err(Refusal::BadHost("Host was sent more than once."));
    }
    if let (None, Some(line)) = (flow.uri.authority(), first)
        && let Some(known) = caller.known_host(line)
    {
        return include(known.is_own || ours.list(&known.name));
    }
    let host = first
        .map(|line| Authority::try_from(line.as_bytes()))
        .transpose()
        .map_err(|_| Refusal::BadHost("Host is not a host."))?;
    check_form(flow, first.is_some())?;
    let authority = authority_of(&flow.uri, host)?;
    let authority = match authority {
        Some(authority) => authority,
        // RFC 9112 §3.2: only HTTP/1.0 knows requests without one.
        None if flow.version == Version::HTTP_10 => return Ok(()),
        None => return Err(MISSING_HOST),
    };
    if !is_host_and_port(&authority) {
        return Err(Refusal::BadHost("Host is not a host."));
    }
    if let Some(line) = first {
        caller.learn_host(line, &authority);
    }
    include(ours.include(&authority, caller.local()))
}

/// RFC 9112 §3.2: `uri-host [ ":" port ]`, without the user that an authority may have. The parser
/// lets anything stand for a port, and between brackets.
fn is_host_and_port(authority: &Authority) -> bool {
    let host = authority.host();
    let literal = host.strip_prefix('[').map(|it| it.trim_end_matches(']'));
    let port = match authority.as_str().strip_prefix(host) {
        Some("") => "",
        Some(behind) => match behind.strip_prefix(':') {
            Some(port) => port,
            None => return false,
        },
        None => return false,
    };
    literal.is_none_or(|literal| literal.parse::<Ipv6Addr>().is_ok())
        && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Refuses a target that names an authority in a form that this gateway has no use for: another
/// scheme's (RFC 9110 §7.4), that of CONNECT (RFC 9112 §3.2.3), or one that is to make up for `Host`,
/// without which no request of HTTP/1.1 is valid (§3.2).
fn check_form(flow: &request::Parts, has_host: bool) -> Result<(), Refusal> {
    if flow.uri.authority().is_none() {
        return Ok(());
    }
    let scheme = flow.uri.scheme();
    if !scheme.is_some_and(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme)) {
        return Err(Refusal::BadPath(
            "The target is neither a path nor an http or https URI.",
        ));
    }
    if !has_host && flow.version == Version::HTTP_11 {
        return Err(MISSING_HOST);
    }
    Ok(())
}

const MISSING_HOST: Refusal = Refusal::BadHost("Host is missing.");

fn include(ours: bool) -> Result<(), Refusal> {
    match ours {
        true => Ok(()),
        false => Err(Refusal::BadHost(
            "Host names somebody else; the gateway's own names are under hosts.",
        )),
    }
}

/// The one authority a request names, in its target or its `Host` (RFC 9112 §3.2.2, RFC 9113
/// §8.3.1).
fn authority_of(uri: &Uri, host: Option<Authority>) -> Result<Option<Authority>, Refusal> {
    match (uri.authority(), host) {
        (None, host) => Ok(host),
        (Some(target), None) => Ok(Some(target.clone())),
        (Some(target), Some(host)) if *target == host => Ok(Some(host)),
        (Some(_), Some(_)) => Err(Refusal::BadHost(
            "The target and Host name different hosts.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_as_the_reference_says() {
        for (base, rest, joined) in [
            ("/api/", "/x?y", "/api/x?y"),
            ("/api/", "?x", "/api/?x"),
            ("/api", "?x", "/api?x"),
            ("/api/", "", "/api/"),
            ("/api/", "//x", "/api//x"),
            ("/", "/x", "/x"),
            ("/", "", "/"),
            ("/api", "/x", "/api/x"),
            ("/api/", "/?a=/../b", "/api/?a=/../b"),
            ("/api/", "/", "/api/"),
        ] {
            assert_eq!(join(base, rest), joined, "{base} + {rest}");
        }
    }

    #[test]
    fn dot_segments_are_found_under_any_decoding() {
        for path in [
            "/..",
            "/../x",
            "/a/../b",
            "/.",
            "/./a",
            "/%2e%2e/x",
            "/%2E%2e/x",
            "/.%2e/x",
            "/..%2fx",
            "/..%2Fx",
            "/a%2f..%2fb",
            "/%252e%252e/x",
            "/%25252e%25252e/x",
            "/..;/x",
            "/..;a=b/x",
            "/%2e%2e%3b/x",
            "/a%5cb",
            "/a\\b",
            "/a%255cb",
            "/a%00",
            "/a%0d%0ab",
            "/a%7f",
            "/a\u{1}",
            "/%c0%ae%c0%ae/x",
            "/..%c0%af",
            "/a%c1%9cb",
            "/%e0%80%ae./x",
            "/%u002e%u002e/x",
            "/a%U002Fb",
            "/%25u005c",
        ] {
            assert!(check_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_path_that_is_encoded_over_and_over_is_refused_before_it_costs_anything() {
        let nested = |times: usize| format!("/%{}41", "25".repeat(times));

        assert!(check_path(&nested(DECODINGS_MAX - 1)).is_ok());
        // As long as a target may be: decoded to its end, this took minutes.
        for times in [DECODINGS_MAX + 1, 32_000] {
            let refused = check_path(&nested(times));
            assert!(matches!(refused, Err(Refusal::BadPath(_))), "{times}");
        }
    }

    #[test]
    fn what_only_looks_odd_is_carried() {
        for path in [
            "",
            "/",
            "//",
            "/...",
            "/..a",
            "/a..b",
            "/.well-known/x",
            "/%27%25x%25%27",
            "/a%zz",
            "/%",
            "/%2",
            "/a;b",
            "/(a)'$+",
            "/a%2fb",
            "/ä",
            "/%c0%c1",
            "/%u00e9",
            "/%u",
        ] {
            assert!(check_path(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn a_host_has_no_user_and_its_port_is_a_number() {
        // RFC 9112 §3.2, RFC 3986 §3.2.2 and §3.2.3.
        let fits = |text: &str| Authority::try_from(text).is_ok_and(|it| is_host_and_port(&it));
        for good in [
            "a",
            "a.",
            "a:",
            "a:80",
            "[::1]",
            "[::1]:443",
            "127.0.0.1:8080",
        ] {
            assert!(fits(good), "{good}");
        }
        for bad in [
            "a@b",
            "a:b@c",
            "a:x",
            "a:80x",
            "a:-1",
            "[a]",
            "[127.0.0.1]",
            "[::1]x",
            "[::1]:x",
        ] {
            assert!(!fits(bad), "{bad}");
        }
    }

    #[test]
    fn a_target_that_names_an_authority_is_a_uri_of_ours() {
        // RFC 9110 §7.4, RFC 9112 §3.2, §3.2.3.
        let refused = |target: &str, has_host: bool| {
            let request = http::Request::get(target).body(()).unwrap();
            check_form(&request.into_parts().0, has_host).is_err()
        };
        assert!(!refused("/a", false), "Host is looked at elsewhere");
        assert!(!refused("http://a/b", true) && !refused("HTTPS://a/b", true));
        assert!(refused("http://a/b", false));
        for bad in ["a:443", "a", "ftp://a/b", "ws://a/b"] {
            assert!(refused(bad, true), "{bad}");
        }
    }

    #[test]
    fn the_id_ends_at_slash_query_or_end() {
        let headers = HeaderMap::new();
        for (target, id, rest) in [
            ("/crm/x?y", "crm", "/x?y"),
            ("/crm?x", "crm", "?x"),
            ("/crm", "crm", ""),
            ("/crm//x", "crm", "//x"),
        ] {
            let addressed = address(target, &headers, Fields::default()).ok();
            assert_eq!(addressed, Some((id, rest, Addressed::ByPath)), "{target}");
        }
        assert!(address("/", &headers, Fields::default()).is_err());
        assert!(address("//crm/x", &headers, Fields::default()).is_err());
        assert!(address("*", &headers, Fields::default()).is_err());
    }
}
