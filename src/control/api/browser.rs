//! The browser rule: a page of another site that makes an administrator's browser send a request is
//! refused, before it is looked at who asks.
//!
//! # Invariants
//!
//! Nothing here lets a page of another origin read or change anything: there is no CORS answer, and
//! what a browser marks as another site's (Fetch Metadata, `Origin`) is refused.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Uri};

use super::problem::Problem;
use super::reason::Reason;
use super::shell::Security;

/// Refuses a request with these `fields` unless it [`is_own`].
///
/// # Errors
///
/// `browser-refused`.
pub(super) fn check(fields: &HeaderMap, security: Security) -> Result<(), Problem> {
    match is_own(fields, security) {
        true => Ok(()),
        false => Err(Problem::of(Reason::BrowserRefused)),
    }
}

/// Whether a request with these `fields` may have been sent on behalf of nobody but its sender.
pub(in crate::control) fn is_own(fields: &HeaderMap, security: Security) -> bool {
    is_own_site(fields) && is_own_origin(fields, security)
}

/// `Sec-Fetch-Site`: `none` is somebody who typed the address; clients but browsers send nothing.
fn is_own_site(fields: &HeaderMap) -> bool {
    let mut lines = fields.get_all("sec-fetch-site").iter();
    lines.all(|line| line == "same-origin" || line == "none")
}

/// `Origin` (RFC 6454 §7): the address that the request went to, or nothing.
fn is_own_origin(fields: &HeaderMap, security: Security) -> bool {
    let own = fields.get(HOST).and_then(|host| host.to_str().ok());
    let is_own = |line: &HeaderValue| {
        let uri: Option<Uri> = line.to_str().ok().and_then(|text| text.parse().ok());
        let (Some(uri), Some(own)) = (uri, own) else {
            return false;
        };
        let scheme = match uri.scheme_str() {
            Some("https") => true,
            // TLS may end before us, but not turn into nothing on the way to us.
            Some("http") => security == Security::Plain,
            Some(_) | None => false,
        };
        let authority = uri.authority();
        scheme && authority.is_some_and(|named| named.as_str().eq_ignore_ascii_case(own))
    };
    fields.get_all(ORIGIN).iter().all(is_own)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn passes(security: Security, sent: &[(&'static str, &'static str)]) -> bool {
        let mut fields = HeaderMap::new();
        fields.append(HOST, HeaderValue::from_static("localhost:9901"));
        for (name, value) in sent {
            let name = HeaderName::from_static(name);
            fields.append(name, HeaderValue::from_static(value));
        }
        check(&fields, security).is_ok()
    }

    #[test]
    fn what_another_site_made_a_browser_send_is_refused() {
        for sent in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "")],
            &[("sec-fetch-site", "SAME-ORIGIN")],
            &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "https://attacker.example")],
            &[("origin", "http://localhost")],
            &[("origin", "http://localhost:9902")],
            &[("origin", "http://localhost:9901.attacker.example")],
            &[("origin", "http://user@localhost:9901")],
            &[("origin", "ftp://localhost:9901")],
            &[("origin", "localhost:9901")],
            &[
                ("origin", "http://localhost:9901"),
                ("origin", "http://attacker.example"),
            ],
        ] {
            assert!(!passes(Security::Plain, sent), "{sent:?}");
        }
    }

    #[test]
    fn a_page_without_tls_is_no_page_of_a_listener_with_tls() {
        let sent = [("origin", "http://localhost:9901")];

        assert!(!passes(Security::Tls, &sent));
        assert!(passes(Security::Plain, &sent));
    }

    #[test]
    fn what_is_no_browser_and_our_own_pages_pass() {
        for sent in [
            &[][..],
            &[("sec-fetch-site", "none")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("origin", "https://LOCALHOST:9901"),
            ],
        ] {
            assert!(passes(Security::Tls, sent), "{sent:?}");
        }
    }
}
