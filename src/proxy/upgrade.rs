//! A request that asks to leave HTTP for another protocol on its connection (RFC 9110 §7.8).
//!
//! # Invariants
//!
//! Only what a connector lists is ever asked of its origin, and only on a connection that carries
//! nothing else, before or after. Both sides leave HTTP together or not at all: an origin's 101 is
//! passed on only if it names the protocol that it was asked for.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header, request};

use super::error::Refusal;
use super::rewrite;

/// Where the first protocol that `flow` asks for, of those that are `allowed`, stands among them.
///
/// HTTP/1.1 alone has upgrades (RFC 9110 §7.8, RFC 9113 §8.6), and names them in `Connection` too.
pub(crate) fn wanted(flow: &request::Parts, allowed: &[String]) -> Option<usize> {
    if allowed.is_empty() || flow.version != Version::HTTP_11 || !is_connection_wide(&flow.headers)
    {
        return None;
    }
    let lines = flow.headers.get_all(header::UPGRADE).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .find_map(|asked| {
            let asked = asked.trim_ascii();
            let is_it = |name: &String| name.as_bytes().eq_ignore_ascii_case(asked);
            allowed.iter().position(is_it)
        })
}

/// Says in a head of HTTP/1.1 that its connection is to speak `protocol`, or will.
pub(crate) fn say(headers: &mut HeaderMap, protocol: &str) -> Result<(), Refusal> {
    let unbuildable = |error: header::InvalidHeaderValue| Refusal::Unbuildable(error.into());
    let protocol = HeaderValue::try_from(protocol).map_err(unbuildable)?;
    headers.insert(header::UPGRADE, protocol);
    // Some servers compare this word letter by letter. What else `Connection` would name, `TE`,
    // is of no use where no trailers come.
    headers.remove(header::TE);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    Ok(())
}

/// Whether an origin switches protocols where it was not `asked` to, or to another than asked for.
pub(crate) fn is_unasked<B>(response: &Response<B>, asked: Option<&str>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        && !asked.is_some_and(|protocol| is_agreed(response.headers(), protocol))
}

/// RFC 9110 §15.2.2: a 101 names what the connection speaks from there on.
fn is_agreed(headers: &HeaderMap, protocol: &str) -> bool {
    let mut lines = headers.get_all(header::UPGRADE).iter();
    let named = lines
        .next()
        .is_some_and(|line| line.as_bytes().eq_ignore_ascii_case(protocol.as_bytes()));
    named && lines.next().is_none() && is_connection_wide(headers)
}

/// Whether `Connection` names `Upgrade`, without which it is no word to this hop (RFC 9110 §7.8).
fn is_connection_wide(headers: &HeaderMap) -> bool {
    let names = |name: &HeaderName| *name == header::UPGRADE;
    headers.contains_key(header::UPGRADE) && rewrite::connection_options(headers).iter().any(names)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asking(version: Version, fields: &[(&str, &str)]) -> Option<usize> {
        let mut request = Request::builder().version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (flow, ()) = request.body(()).unwrap().into_parts();
        wanted(&flow, &["websocket".to_owned(), "x-chat".to_owned()])
    }

    #[test]
    fn what_a_connector_does_not_list_is_not_asked_for() {
        for refused in ["h2c", "websocket/13", "web socket", "", "TLS/1.0, h2c"] {
            let fields = [("connection", "upgrade"), ("upgrade", refused)];
            assert_eq!(asking(Version::HTTP_11, &fields), None, "{refused}");
        }
    }

    #[test]
    fn the_first_that_is_listed_is_asked_for_whatever_its_case() {
        for (upgrade, expected) in [
            ("WebSocket", 0),
            ("h2c, X-Chat,websocket", 1),
            ("x-other , websocket", 0),
        ] {
            let fields = [("connection", "x-a, Upgrade"), ("upgrade", upgrade)];
            assert_eq!(
                asking(Version::HTTP_11, &fields),
                Some(expected),
                "{upgrade}"
            );
        }
    }

    #[test]
    fn only_http11_with_the_word_in_connection_asks() {
        let upgrade = ("upgrade", "websocket");
        assert_eq!(asking(Version::HTTP_11, &[upgrade]), None);
        let fields = [("connection", "keep-alive"), upgrade];
        assert_eq!(asking(Version::HTTP_11, &fields), None);
        for version in [Version::HTTP_10, Version::HTTP_2] {
            let fields = [("connection", "upgrade"), upgrade];
            assert_eq!(asking(version, &fields), None, "{version:?}");
        }
    }

    #[test]
    fn a_101_that_names_another_protocol_or_several_or_none_is_unasked() {
        let switching = |fields: &[(&str, &str)]| {
            let mut response = Response::builder().status(101);
            for (name, value) in fields {
                response = response.header(*name, *value);
            }
            is_unasked(&response.body(()).unwrap(), Some("websocket"))
        };
        let connection = ("connection", "upgrade");

        assert!(!switching(&[connection, ("upgrade", "WebSocket")]));
        assert!(switching(&[connection]));
        assert!(switching(&[("upgrade", "websocket")]));
        assert!(switching(&[connection, ("upgrade", "x-chat")]));
        assert!(switching(&[connection, ("upgrade", "websocket, x-chat")]));
        let twice = [
            connection,
            ("upgrade", "websocket"),
            ("upgrade", "websocket"),
        ];
        assert!(switching(&twice));
    }
}
