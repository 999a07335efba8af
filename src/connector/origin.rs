//! Where requests go: `https` origins, base paths and fixed URLs.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::uri::Authority;
use url::{Host, Position, Url};

/// The port of `https` where none is written (RFC 9110 §4.2.2).
const HTTPS_PORT: u16 = 443;

/// An `https` origin: host and port (RFC 9110 §4.3.1). Plain `http` cannot be expressed.
#[derive(Clone)]
pub struct Origin(Arc<OriginParts>);

struct OriginParts {
    /// Holds the host's name, and the port where it is not 443.
    authority: Authority,
    /// The same text, in the same memory, for `Host`.
    field: HeaderValue,
    address: Option<IpAddr>,
    port: u16,
}

impl Origin {
    fn new(host: &Host<&str>, port: u16) -> Result<Self, InvalidUrl> {
        let text = Bytes::from(match port {
            HTTPS_PORT => host.to_string(),
            _ => format!("{host}:{port}"),
        });
        let address = match host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(*address)),
            Host::Ipv6(address) => Some(IpAddr::V6(*address)),
        };
        let field = HeaderValue::from_maybe_shared(text.clone());
        Ok(Self(Arc::new(OriginParts {
            authority: Authority::from_maybe_shared(text).map_err(|_| InvalidUrl::Host)?,
            field: field.map_err(|_| InvalidUrl::Host)?,
            address,
            port,
        })))
    }

    /// The host's name or address, without brackets.
    pub fn host(&self) -> String {
        match self.0.address {
            None => self.0.authority.host().to_owned(),
            Some(address) => address.to_string(),
        }
    }

    /// The address, where the host is written as one.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.address
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// What `Host` and `:authority` say: the port only where it is not 443.
    pub fn authority(&self) -> &str {
        self.0.authority.as_str()
    }

    /// The same for `:authority` (RFC 9113 §8.3.1).
    pub fn authority_part(&self) -> &Authority {
        &self.0.authority
    }

    /// The same for `Host` (RFC 9110 §7.2).
    pub fn host_field(&self) -> &HeaderValue {
        &self.0.field
    }
}

/// The authority says both host and port.
impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.authority() == other.authority()
    }
}

impl Eq for Origin {}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.authority().hash(state);
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An origin and the base path behind which request paths are appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceDomain {
    origin: Origin,
    /// As it was written, at least `/`.
    base_path: Arc<str>,
}

/// Why a text is no URL that credentials may be sent to. The text itself is not repeated: it may
/// hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Not a URL at all.
    #[error("is not a URL; write https://host, with a port and a path if need be")]
    Malformed(#[source] url::ParseError),
    /// Another scheme.
    #[error("must begin with https:// (credentials never travel in the clear)")]
    NotHttps,
    /// A user or password in it.
    #[error("must not carry a user name or password; those belong under auth")]
    UserInfo,
    /// A host that cannot stand in a request.
    #[error("has a host that cannot stand in a request")]
    Host,
    /// A fragment.
    #[error("must not carry a fragment (#…)")]
    Fragment,
    /// A query where none belongs.
    #[error("must not carry a query (?…); flows send their own")]
    Query,
    /// Dot segments or characters that no path may hold.
    #[error("has a path with dot segments, backslashes, spaces or control characters")]
    Path,
}

impl ResourceDomain {
    /// Reads `https://host[:port][/base/path]`.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`]: anything but an `https` URL without user, query and fragment, or a base
    /// path that a server could read in two ways.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let url = parse_https(text)?;
        if url.query().is_some() {
            return Err(InvalidUrl::Query);
        }
        Ok(Self {
            origin: origin_of(&url)?,
            base_path: url.path().into(),
        })
    }

    /// The origin.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The URL that the request path `rest` leads to; `rest` is empty or begins with `/` or `?`.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`], as for [`HttpsUrl::parse`].
    pub fn below(&self, rest: &str) -> Result<HttpsUrl, InvalidUrl> {
        let path = join(&self.base_path, rest);
        HttpsUrl::parse(&format!("{}{path}", self.origin))
    }

    /// The base path as written, at least `/`.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }
}

/// Puts `rest` behind `base`, which loses its trailing slash if anything follows.
pub fn join(base: &str, rest: &str) -> String {
    let (path, query) = match rest.find('?') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let base = match path {
        "" => base,
        _ => base.strip_suffix('/').unwrap_or(base),
    };
    let mut joined = String::with_capacity(base.len() + rest.len());
    joined.push_str(base);
    joined.push_str(path);
    joined.push_str(query);
    joined
}

/// A fixed `https` URL that the gateway itself calls: a token endpoint, a validation URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsUrl {
    origin: Origin,
    text: Box<str>,
    /// Where the path begins in it.
    path_at: usize,
}

impl HttpsUrl {
    /// Reads an `https` URL; a query is allowed (RFC 6749 §3.2), a fragment is not.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`], as for [`ResourceDomain::parse`].
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let url = parse_https(text)?;
        Ok(Self {
            origin: origin_of(&url)?,
            text: url.as_str().into(),
            path_at: url[..Position::BeforePath].len(),
        })
    }

    /// The origin it is on.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The whole URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Path and query, as a request line carries them.
    pub fn path_and_query(&self) -> String {
        self.text[self.path_at..].to_owned()
    }
}

fn parse_https(text: &str) -> Result<Url, InvalidUrl> {
    let url = Url::parse(text).map_err(InvalidUrl::Malformed)?;
    if url.scheme() != "https" {
        return Err(InvalidUrl::NotHttps);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(InvalidUrl::UserInfo);
    }
    if url.fragment().is_some() {
        return Err(InvalidUrl::Fragment);
    }
    // The parser tidies paths up; what it would have changed is refused instead of guessed at.
    let written = text
        .split_once("://")
        .and_then(|(_, rest)| rest.find(['/', '\\', '?']).map(|at| &rest[at..]))
        .unwrap_or("/");
    let tidied = &url[Position::BeforePath..];
    match written == tidied || (written.starts_with('?') && tidied == format!("/{written}")) {
        true => Ok(url),
        false => Err(InvalidUrl::Path),
    }
}

fn origin_of(url: &Url) -> Result<Origin, InvalidUrl> {
    let host = url
        .host()
        .ok_or(InvalidUrl::Malformed(url::ParseError::EmptyHost))?;
    Origin::new(&host, url.port().unwrap_or(HTTPS_PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_plain_https_is_refused() {
        let refused = [
            ("http://a.example", InvalidUrl::NotHttps),
            ("https://u:p@a.example", InvalidUrl::UserInfo),
            ("https://a.example/#x", InvalidUrl::Fragment),
            ("https://a.example/?x", InvalidUrl::Query),
            ("https://a.example/a/../b", InvalidUrl::Path),
            ("https://a.example/%2e%2e/b", InvalidUrl::Path),
            ("https://a.example/a b", InvalidUrl::Path),
            ("https://a.example\\b", InvalidUrl::Path),
        ];
        for (text, why) in refused {
            assert_eq!(ResourceDomain::parse(text), Err(why), "{text}");
        }
        assert!(matches!(
            ResourceDomain::parse("orders.example"),
            Err(InvalidUrl::Malformed(_))
        ));
    }

    /// The WHATWG URL standard §3.5 reads a host that ends in a number as an IPv4 address, in any
    /// base and length, after percent-decoding and IDNA: what is checked is what it stands for.
    #[test]
    fn a_host_that_stands_for_an_address_is_read_as_that_address() {
        for (host, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("0177.0.0.1", "127.0.0.1"),
            ("0xA9FEA9FE", "169.254.169.254"),
            ("0", "0.0.0.0"),
            ("%31%32%37.0.0.1", "127.0.0.1"),
            ("127%2e0%2e0%2e1", "127.0.0.1"),
            ("１２７.０.０.１", "127.0.0.1"),
            ("127。0。0。1", "127.0.0.1"),
            ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
            ("[0::0:1]", "::1"),
        ] {
            let domain = ResourceDomain::parse(&format!("https://{host}:8443/api"));
            let read = domain.map(|domain| domain.origin().address());
            assert_eq!(read, Ok(address.parse().ok()), "{host}");
        }
    }

    #[test]
    fn a_host_that_is_neither_a_name_nor_an_address_is_refused() {
        for host in [
            "256.256.256.256",
            "1.2.3.4.5",
            "0x100000000",
            "127.0.0.0x1g.1",
            "1.2.3.08",
            "127..0.1",
            "[::1%25eth0]",
            "[::1",
            "::1",
            "[v1.x]",
            "[127.0.0.1]",
            "a%00.example",
            "a%2fb.example",
            "a%40b.example",
            "a b.example",
            "a%0d%0ab.example",
            "xn--a.example",
            "",
        ] {
            let read = ResourceDomain::parse(&format!("https://{host}/api"));
            assert!(read.is_err(), "{host}: {read:?}");
        }
    }

    #[test]
    fn the_base_path_stays_as_written() {
        for (text, base) in [
            ("https://a.example", "/"),
            ("https://a.example/", "/"),
            ("https://a.example/api", "/api"),
            ("https://a.example:8443/api/data/v9.2/", "/api/data/v9.2/"),
            ("https://a.example/a//b", "/a//b"),
        ] {
            let domain = ResourceDomain::parse(text).map(|d| d.base_path().to_owned());
            assert_eq!(domain, Ok(base.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_authority_names_the_port_only_where_it_is_not_443() {
        for (text, authority) in [
            ("https://A.example:443/x", "a.example"),
            ("https://a.example:8443", "a.example:8443"),
            ("https://[::1]:8443", "[::1]:8443"),
            ("https://127.0.0.1", "127.0.0.1"),
        ] {
            let domain = ResourceDomain::parse(text).map(|d| d.origin().authority().to_owned());
            assert_eq!(domain, Ok(authority.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_token_url_may_carry_a_query() {
        let url = HttpsUrl::parse("https://login.example/token?tenant=a");

        assert_eq!(
            url.map(|url| url.path_and_query()),
            Ok("/token?tenant=a".to_owned())
        );
    }
}
