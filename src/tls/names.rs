//! What a client certificate calls its holder: its subject alternative names (RFC 5280 §4.2.1.6),
//! and patterns of them.
//!
//! # Invariants
//!
//! A certificate is its names as they stand in it, or it is nobody's: one that has a name which
//! could be read in two ways, with a NUL in it for instance, matches nothing at all, not even by its
//! other names. Common names are not looked at (RFC 9525 §6.3).

use std::net::IpAddr;

use x509_parser::extensions::GeneralName;

/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 512;
/// The most names of one certificate.
const NAMES_MAX: usize = 100;
/// The longest domain name, in bytes (RFC 1035 §2.3.4).
const DOMAIN_BYTES_MAX: usize = 253;
/// The longest of its labels, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// What a subject alternative name may be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NamePattern {
    /// This domain name, in lower case.
    Domain(Box<str>),
    /// A domain name of one label more than this, in front of it.
    Subdomain(Box<str>),
    /// This URI, byte for byte.
    Uri(Box<str>),
    /// A URI that begins with this, which ends with a slash, and goes on.
    UriBelow(Box<str>),
    /// This mailbox; its domain is in lower case.
    Mailbox(Box<str>),
    /// This address.
    Address(IpAddr),
}

impl NamePattern {
    /// Reads a pattern: `dns:ivr.example`, `dns:*.flows.example`, `uri:spiffe://acme/ivr`,
    /// `uri:spiffe://acme/flow/*`, `email:ops@flows.example`, `ip:192.0.2.7`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > PATTERN_BYTES_MAX {
            return None;
        }
        let (sort, name) = text.split_once(':')?;
        match sort {
            "dns" => match name.strip_prefix("*.") {
                // `*.example` would be all the world's.
                Some(parent) => domain(parent)
                    .filter(|parent| parent.contains('.'))
                    .map(Self::Subdomain),
                None => domain(name).map(Self::Domain),
            },
            "uri" => match name.strip_suffix('*') {
                Some(above) => (is_uri(above) && below_authority(above).is_some_and(is_open))
                    .then(|| Self::UriBelow(above.into())),
                None => is_uri(name).then(|| Self::Uri(name.into())),
            },
            "email" => mailbox(name).map(Self::Mailbox),
            "ip" => name.parse().ok().map(Self::Address),
            _ => None,
        }
    }

    /// Whether one of `names` is so.
    pub fn matches(&self, names: &AlternativeNames) -> bool {
        names.0.iter().any(|name| self.is(name))
    }

    fn is(&self, name: &Name) -> bool {
        match (self, name) {
            (Self::Domain(listed), Name::Domain(name)) => listed == name,
            (Self::Subdomain(parent), Name::Domain(name)) => name
                .split_once('.')
                .is_some_and(|(_, above)| above == &**parent),
            (Self::Uri(listed), Name::Uri(name)) => listed == name,
            (Self::UriBelow(above), Name::Uri(name)) => {
                name.strip_prefix(&**above).is_some_and(is_straight)
            }
            (Self::Mailbox(listed), Name::Mailbox(name)) => listed == name,
            (Self::Address(listed), Name::Address(name)) => listed == name,
            (
                Self::Domain(_)
                | Self::Subdomain(_)
                | Self::Uri(_)
                | Self::UriBelow(_)
                | Self::Mailbox(_)
                | Self::Address(_),
                Name::Domain(_) | Name::Uri(_) | Name::Mailbox(_) | Name::Address(_),
            ) => false,
        }
    }
}

/// The names of one certificate that patterns can be of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlternativeNames(Vec<Name>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Domain(Box<str>),
    Uri(Box<str>),
    Mailbox(Box<str>),
    Address(IpAddr),
}

impl AlternativeNames {
    /// The names of the certificate `der`; `None` if it cannot be read, or one of them is odd.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let mut names = Vec::new();
        if let Some(listed) = certificate.subject_alternative_name().ok()? {
            let listed = &listed.value.general_names;
            if listed.len() > NAMES_MAX {
                return None;
            }
            for name in listed {
                names.extend(read(name)?);
            }
        }
        Some(Self(names))
    }
}

/// The name, if patterns can be of its kind; the outer `None` if it is odd.
fn read(name: &GeneralName<'_>) -> Option<Option<Name>> {
    Some(Some(match name {
        GeneralName::DNSName(name) => match name.strip_prefix("*.") {
            // A server's certificate that is a client's too: its other names count.
            Some(parent) => return domain(parent).map(|_| None),
            None => Name::Domain(domain(name)?),
        },
        GeneralName::URI(name) => Name::Uri(is_uri(name).then(|| (*name).into())?),
        GeneralName::RFC822Name(name) => Name::Mailbox(mailbox(name)?),
        GeneralName::IPAddress(octets) => Name::Address(address(octets)?),
        GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::RegisteredID(_) => return Some(None),
        GeneralName::Invalid(..) => return None,
    }))
}

/// A domain name in lower case, if it is one (RFC 5280 §4.2.1.6, RFC 1034 §3.5; underscores are
/// common).
fn domain(text: &str) -> Option<Box<str>> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label =
        |label: &str| (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(legal);
    let fits = text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(is_label);
    fits.then(|| text.to_ascii_lowercase().into())
}

/// Whether `text` is an absolute URI with an authority or without, of printable ASCII alone.
fn is_uri(text: &str) -> bool {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    scheme.is_some_and(is_scheme)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"*\\\"<>^`{|}".contains(&byte))
}

/// The path of a URI that has an authority.
fn below_authority(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let slash = rest.find('/').filter(|end| *end > 0)?;
    Some(&rest[slash..])
}

/// Whether a path ends amid its segments, so that more can follow, and begins straight.
fn is_open(path: &str) -> bool {
    match path.strip_suffix('/') {
        Some("") => true,
        Some(path) => path.strip_prefix('/').is_some_and(is_straight),
        None => false,
    }
}

/// Whether `rest` is segments that nobody reads as a way up, or as something but a path: a holder of
/// `spiffe://acme/flow/../admin` is no flow.
fn is_straight(rest: &str) -> bool {
    !rest.contains(['%', '?', '#'])
        && rest
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | ".."))
}

/// A mailbox (RFC 5280 §4.2.1.6) with its domain in lower case; what stands before the `@` keeps
/// its case (RFC 5321 §2.4).
fn mailbox(text: &str) -> Option<Box<str>> {
    let (local, host) = text.split_once('@')?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'+-/=?^_`{|}~".contains(&byte);
    let host = domain(host)?;
    let fits = !local.is_empty() && local.bytes().all(legal);
    fits.then(|| format!("{local}@{host}").into())
}

/// RFC 5280 §4.2.1.6: four octets, or sixteen.
fn address(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let sixteen = <[u8; 16]>::try_from(octets).map(IpAddr::from);
    four.or(sixteen).ok()
}
