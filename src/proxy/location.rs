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
    behind(location, authority).or_else(path_alone)
}

/// What of `location` stands behind `https` and `authority`. The case of both is of no matter (RFC
/// 3986 §6.2.2.1), and a default port may be written out (§6.2.3).
fn behind<'a>(location: &'a str, authority: &str) -> Option<&'a str> {
    let (scheme, rest) = location.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (written, path) = rest.split_at(end);
    let same = [Some(written), written.strip_suffix(":443")]
        .into_iter()
        .flatten()
        .any(|written| written.eq_ignore_ascii_case(authority));
    (scheme.eq_ignore_ascii_case("https") && same && !path.starts_with('#')).then_some(path)
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
    // Two slashes begin an authority (RFC 3986 §4.2), which would be the origin's to choose.
    if permit.addressed() == Addressed::ByField && rest.starts_with("//") {
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
    let absolute = location.starts_with("//") || has_scheme(path);
    // Behind `/{connector-id}` alone, the next name would stand in the connector's place.
    let at_base = permit.target().path() == resource.base_path() && !path.is_empty();
    let relative = !absolute && (path.starts_with('/') || at_base || holds_dots(path));
    if !relative && !lacks_authority(location) {
        return None;
    }
    let asked = format!("{}{}", resource.origin(), permit.target());
    let asked = Url::parse(&asked).ok()?;
    let meant = asked.join(location).ok()?;
    // A backslash may have led elsewhere (WHATWG URL §4.4, relative slash state).
    let ours = (meant.origin() == asked.origin()).then_some(&meant[Position::BeforePath..]);
    ours.and_then(|path| gateway_address(path, permit))
        .or_else(|| Some(meant.into()))
}

/// Whether `reference` begins with a scheme (RFC 3986 §3.1). `1:/../x` does not, and clients take it for
/// a path.
fn has_scheme(reference: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(legal)
    })
}

/// Whether `location` names the scheme of the web and no authority: to a client that reads URLs as
/// browsers do, `https:/x` is `/x` on the host that it asked (WHATWG URL §4.4, scheme state), which
/// is the gateway. They pass over tabs and over spaces before the scheme, but over no others (§4.4,
/// basic URL parser), and a backslash is a slash.
fn lacks_authority(location: &str) -> bool {
    let written = location.trim_start_matches(|c: char| c <= ' ');
    let heard = |byte: &u8| !matches!(byte, b'\t' | b'\n' | b'\r');
    let mut bytes = written.bytes().filter(heard);
    let scheme: Vec<u8> = bytes
        .by_ref()
        .take_while(|byte| *byte != b':')
        .take(6)
        .collect();
    let web = scheme.eq_ignore_ascii_case(b"https") || scheme.eq_ignore_ascii_case(b"http");
    let slash = |byte| matches!(byte, Some(b'/' | b'\\'));
    web && !(slash(bytes.next()) && slash(bytes.next()))
}

fn holds_dots(reference: &str) -> bool {
    resolve::check_path(path_of(reference)).is_err()
}

fn path_of(reference: &str) -> &str {
    reference.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_known_however_it_is_written() {
        // RFC 3986 §6.2.2.1, §6.2.3.
        for (location, authority) in [
            ("https://api.example/x", "api.example"),
            ("HTTPS://API.Example/x", "api.example"),
            ("https://api.example:443/x", "api.example"),
            ("https://[::1]:443/x", "[::1]"),
            ("https://api.example:8443/x", "api.example:8443"),
        ] {
            assert_eq!(behind(location, authority), Some("/x"), "{location}");
        }
        assert_eq!(behind("https://api.example?q", "api.example"), Some("?q"));
        assert_eq!(behind("https://api.example", "api.example"), Some(""));
    }

    #[test]
    fn only_what_begins_as_a_scheme_has_to_is_one() {
        // RFC 3986 §3.1.
        for location in ["https://a.example", "mailto:x", "a+b-c.1:", "A:/x"] {
            assert!(has_scheme(location), "{location}");
        }
        for location in ["1:/x", "@:x", ":x", "a/b:c", "a_b:c", "./a:b", "x", ""] {
            assert!(!has_scheme(location), "{location}");
        }
    }

    #[test]
    fn a_web_address_without_an_authority_is_known_however_it_is_written() {
        for location in [
            "https:/x",
            "https:x",
            "https:",
            "HTTP:/x",
            "https:/@/x",
            "https:\\x",
            "h\tttps:/x",
            " https:/x",
            "https:\t/x",
            "https:/ /../x",
            "https: //x",
            "\t https:/\t /x",
        ] {
            assert!(lacks_authority(location), "{location:?}");
        }
        for location in [
            "https://a.example",
            "https:\\\\a.example",
            "https:/\t/a.example",
            " \thttps://a.example",
            "http s:/x",
            "http:///a.example",
            "httpsx:/x",
            "mailto:x",
            "/https:/x",
            "x",
            "",
        ] {
            assert!(!lacks_authority(location), "{location:?}");
        }
    }

    #[test]
    fn another_origin_is_no_part_of_ours() {
        for location in [
            "http://api.example/x",
            "https://api.example.evil/x",
            "https://api.example:8443/x",
            "https://api.example:4443/x",
            "https://api.example@evil.example/x",
            "https://evil.example/https://api.example/x",
            "https://user@api.example/x",
            "//api.example/x",
            "/https://api.example/x",
            "https:/api.example/x",
        ] {
            assert_eq!(behind(location, "api.example"), None, "{location}");
        }
    }
}
