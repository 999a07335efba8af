//! The request's head, built anew from what may travel.
//!
//! # Invariants
//!
//! Strip first, inject last: nothing a flow sends (`Connection: authorization`, an underscore
//! spelling, a field of its own) removes, replaces or doubles what the gateway sets. Authority,
//! scheme and server name come from the configuration alone.

use http::header::{self, Entry as Slot};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request};

use super::authorize::Permit;
use super::caller::Caller;
use super::fields::{Field, Fields};
use super::outbound::Outbound;
use super::overrides::Overrides;
use super::scrub;
use crate::connector::{Cookies, Forwarded};
use crate::credential::Credential;

/// The header that names the connector, beside the path form.
pub(crate) const CONNECTOR_ID: HeaderName = HeaderName::from_static("connector-id");
/// The header that carries the request's ID.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Fields that concern one connection only (RFC 9110 §7.6.1), whether `Connection` names them or
/// not, and what is known of a head that has them. `TE` is said anew by [`say_te`].
pub(crate) const HOP_BY_HOP: [(Field, &str); 7] = [
    (Field::Connection, "connection"),
    (Field::OtherHopByHop, "http2-settings"),
    (Field::OtherHopByHop, "keep-alive"),
    (Field::OtherHopByHop, "proxy-connection"),
    (Field::Te, "te"),
    (Field::TransferEncoding, "transfer-encoding"),
    (Field::Upgrade, "upgrade"),
];

pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether a name is one that HTTP/1.1 has no room for: a quotation mark is the only byte that the
/// library lets stand in names of HTTP/2, and that no name holds (RFC 9110 §5.1, RFC 9113 §8.2.1).
pub(super) fn is_quoted(name: &HeaderName) -> bool {
    name.as_str().as_bytes().contains(&b'"')
}

/// The fields that all `Connection` lines name (RFC 9110 §7.6.1), but for the two words that nearly
/// all of them consist of: `close` is no field, and `keep-alive` never travels.
pub(crate) fn connection_options(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|option| {
            !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive")
        })
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .collect()
}

/// Whether a `Connection` line that hyper does not read, for it is no text, says `close`: the request
/// is the connection's last all the same (RFC 9112 §9.6).
pub(crate) fn is_unheard_close(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONNECTION);
    lines.iter().any(|line| {
        let mut options = line.as_bytes().split(|byte| *byte == b',');
        line.to_str().is_err() && options.any(|it| it.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}

/// Whether a field's name, read with `_` as `-`, is one that only the gateway sets.
///
/// Servers that turn names into environment variables (RFC 3875 §4.1.18) cannot tell the two
/// spellings apart.
pub(super) fn is_ours(name: &str) -> bool {
    let dashed;
    let name = if name.contains('_') {
        dashed = name.replace('_', "-");
        dashed.as_str()
    } else {
        name
    };
    matches!(
        name,
        "authorization"
            | "proxy-authorization"
            | "connector-id"
            | "forwarded"
            | "host"
            | "via"
            | "x-request-id"
            | "content-length"
            | "transfer-encoding"
    ) || name.starts_with("x-forwarded-")
}

/// Whether two names are one to servers that read `_` as `-`.
pub(super) fn is_spelling_of(name: &HeaderName, ours: &HeaderName) -> bool {
    let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte };
    let (name, ours) = (name.as_str().bytes(), ours.as_str().bytes());
    name.len() == ours.len() && name.map(dashed).eq(ours.map(dashed))
}

/// What a request's head is made of beside the flow's own fields.
#[derive(Debug)]
pub(crate) struct Injected<'a> {
    pub(crate) credential: Credential,
    pub(crate) request_id: &'a HeaderValue,
    pub(crate) via: &'a HeaderValue,
    pub(crate) caller: &'a Caller,
}

/// Builds the head that the origin receives. The flow's stays as it is, for another attempt: to
/// count up what its values share is cheaper than a copy of all.
pub(crate) fn rewrite(
    (flow, fields): (&request::Parts, Fields),
    permit: &Permit,
    injected: Injected<'_>,
    body: Outbound,
) -> Request<Outbound> {
    let connector = &permit.entry().connector;
    let connection = fields.has(Field::Connection);
    let named = connection.then(|| connection_options(&flow.headers));
    let overrides = Overrides::of(connector);
    let takes_trailers = fields.has(Field::Te) && accepts_trailers(&flow.headers);
    let travels = |name: &HeaderName| {
        let sent_as_credential = match &injected.credential {
            Credential::None => false,
            Credential::Field { name: ours, .. } => is_spelling_of(name, ours),
        };
        !(is_hop_by_hop(name)
            || is_ours(name.as_str())
            || sent_as_credential
            || overrides.keep_back(name)
            || named.iter().flatten().any(|named| named == name)
            || (*name == header::COOKIE && connector.cookies == Cookies::Drop))
    };
    let mut headers = HeaderMap::with_capacity(flow.headers.len() + 6);
    let cookies = fields.has(Field::Cookie);
    let cookies = cookies.then(|| join_cookies(&flow.headers)).flatten();
    let expects_continue = fields.has(Field::Expect) && expects_continue(&flow.headers);
    for (name, value) in &flow.headers {
        let joined = *name == header::COOKIE && cookies.is_some();
        // Answering `100 Continue` is this hop's own business (RFC 9110 §10.1.1).
        let answered = *name == header::EXPECT && expects_continue;
        if travels(name) && !joined && !answered {
            headers.append(name, value.clone());
        }
    }
    if let Some(cookies) = cookies.filter(|_| travels(&header::COOKIE)) {
        headers.insert(header::COOKIE, cookies);
    }
    if fields.has(Field::Via) {
        for via in flow.headers.get_all(header::VIA) {
            headers.append(header::VIA, via.clone());
        }
    }
    headers.append(header::VIA, injected.via.clone());
    headers.insert(REQUEST_ID, injected.request_id.clone());
    if connector.forwarded == Forwarded::Add
        && let Some(value) = injected.caller.forwarded()
    {
        headers.insert(header::FORWARDED, value);
    }
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        say_te(&mut headers);
    }
    if let Credential::Field { name, value, .. } = injected.credential {
        scrub::ask_for_identity(&mut headers, connector);
        headers.insert(name, value);
    }
    if let Some(hops) = hops_left(flow) {
        let left = HeaderValue::from(hops.saturating_sub(1));
        headers.insert(header::MAX_FORWARDS, left);
    }
    let mut request = Request::new(body);
    *request.method_mut() = permit.method().clone();
    *request.uri_mut() = Uri::from(permit.target().clone());
    *request.headers_mut() = headers;
    request
}

/// The hops that OPTIONS may still take. Other methods have no use for the field, and TRACE is not
/// carried (RFC 9110 §7.6.2).
fn hops_left(flow: &request::Parts) -> Option<u64> {
    if flow.method != Method::OPTIONS {
        return None;
    }
    let digits = flow.headers.get(header::MAX_FORWARDS)?.as_bytes();
    let hops = digits.iter().try_fold(0_u64, |hops, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        // More than fit count as many as do.
        Some(hops.saturating_mul(10).saturating_add(digit))
    });
    hops.filter(|_| !digits.is_empty())
}

/// Whether the request may go no further than here.
pub(crate) fn is_last_hop(flow: &request::Parts) -> bool {
    hops_left(flow) == Some(0)
}

/// Whether the client reads trailers (RFC 9110 §10.1.4).
fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|line| {
        let mut codings = line.as_bytes().split(|byte| *byte == b',');
        codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

fn expects_continue(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::EXPECT);
    lines
        .iter()
        .all(|line| line.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// HTTP/2 may split `Cookie` over several lines; HTTP/1.1 and servers behind want one (RFC 9113
/// §8.2.3).
fn join_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(header::COOKIE).iter();
    let (first, second) = (lines.next()?, lines.next()?);
    let crumbs = [first, second].into_iter().chain(lines);
    let joined = crumbs.map(HeaderValue::as_bytes).collect::<Vec<_>>();
    HeaderValue::from_bytes(&joined.join(&b"; "[..])).ok()
}

/// `TE` concerns one connection, so HTTP/1.1 names it in `Connection` too (RFC 9110 §10.1.4).
pub(crate) fn say_te(headers: &mut HeaderMap) {
    if headers.contains_key(header::TE)
        && let Slot::Vacant(slot) = headers.entry(header::CONNECTION)
    {
        slot.insert(HeaderValue::from_static("te"));
    }
}

/// Our mark in `Via` (RFC 9110 §7.6.3): a pseudonym, made anew by each process, so that a request
/// that comes back is known.
#[derive(Debug)]
pub(crate) struct Via {
    pseudonym: String,
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    /// A mark that ends in `unique`.
    pub(crate) fn new(unique: &str) -> Self {
        let pseudonym = format!("attache-{unique}");
        let say = |version: &str| {
            HeaderValue::from_str(&format!("{version} {pseudonym}"))
                .unwrap_or(HeaderValue::from_static("1.1 attache"))
        };
        Self {
            http10: say("1.0"),
            http11: say("1.1"),
            http2: say("2"),
            pseudonym,
        }
    }

    /// The line for a request that arrived as `version`.
    pub(crate) fn line(&self, version: Version) -> &HeaderValue {
        if version == Version::HTTP_2 {
            &self.http2
        } else if version == Version::HTTP_10 {
            &self.http10
        } else {
            &self.http11
        }
    }

    /// Whether the request passed through this process before.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all(header::VIA);
        lines.iter().any(|line| {
            line.as_bytes()
                .split(|byte| *byte == b',')
                .filter_map(|hop| {
                    hop.split(u8::is_ascii_whitespace)
                        .filter(|word| !word.is_empty())
                        .nth(1)
                })
                .any(|name| name == self.pseudonym.as_bytes())
        })
    }
}

/// Methods that no gateway of this kind carries: a tunnel, and an echo of the credential. Methods are
/// compared with their case (RFC 9110 §9.1), but not by every server, and some echo under `TRACK` too.
pub(crate) fn is_refused_method(method: &Method) -> bool {
    let refused = |name: &str| method.as_str().eq_ignore_ascii_case(name);
    match *method {
        Method::GET | Method::POST | Method::PUT | Method::PATCH | Method::DELETE => false,
        _ => ["CONNECT", "TRACE", "TRACK"].into_iter().any(refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscore_spellings_of_our_names_are_ours() {
        for name in [
            "authorization",
            "x_forwarded_for",
            "x-forwarded-host",
            "connector_id",
            "via",
        ] {
            assert!(is_ours(name), "{name}");
        }
        assert!(!is_ours("x-custom"));
        assert!(!is_ours("accept"));
    }

    #[test]
    fn every_hop_by_hop_field_is_known_by_its_name_and_in_a_head() {
        for (field, name) in HOP_BY_HOP {
            let name = HeaderName::from_static(name);
            assert!(is_hop_by_hop(&name), "{name}");
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static("x"))]);

            assert!(Fields::of(&headers).has(field));
        }
        assert!(!is_hop_by_hop(&header::ACCEPT));
    }

    #[test]
    fn every_line_of_connection_is_read() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONNECTION, HeaderValue::from_static("close, X-A"));
        headers.append(header::CONNECTION, HeaderValue::from_static("x-b"));
        headers.append(
            header::CONNECTION,
            HeaderValue::from_bytes(b"\xff").unwrap_or(HeaderValue::from_static("x")),
        );

        let named = connection_options(&headers);

        assert_eq!(named, ["x-a", "x-b"]);
    }

    #[test]
    fn close_is_heard_beside_what_is_no_text() {
        for (line, unheard) in [
            (&b"\xff, Close"[..], true),
            (b"close\t,\x80", true),
            (b"\xff", false),
            (b"close\xff", false),
            // hyper hears this itself.
            (b"close", false),
        ] {
            let value = HeaderValue::from_bytes(line).unwrap_or(HeaderValue::from_static(""));
            let headers = HeaderMap::from_iter([(header::CONNECTION, value)]);

            assert_eq!(is_unheard_close(&headers), unheard, "{line:?}");
        }
    }

    #[test]
    fn our_own_mark_is_found_in_any_line_and_place() {
        let via = Via::new("1a2b");
        let mut headers = HeaderMap::new();
        headers.append(header::VIA, HeaderValue::from_static("1.1 other"));
        assert!(!via.is_in(&headers));

        headers.append(
            header::VIA,
            HeaderValue::from_static("2 x, 1.1 attache-1a2b"),
        );

        assert!(via.is_in(&headers));
    }

    #[test]
    fn our_own_mark_is_found_behind_any_white_space() {
        // RFC 9110 §5.6.3: what we wrote as one space may come back as several, or as a tab.
        let via = Via::new("1a2b");
        for line in [
            "1.1  attache-1a2b",
            "1.1\tattache-1a2b",
            "2 x,\t1.1 \tattache-1a2b",
        ] {
            let mut headers = HeaderMap::new();
            headers.append(header::VIA, HeaderValue::from_static(line));

            assert!(via.is_in(&headers), "{line:?}");
        }
    }
}
