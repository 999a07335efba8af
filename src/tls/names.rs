//! What a client certificate calls its holder: its subject alternative names (RFC 5280 §4.2.1.6),
//! and patterns of them.
//!
//! # Invariants
//!
//! A certificate is its names as they stand in it, or it is nobody's: one that has a name which
//! could be read in two ways, with a NUL in it for instance, matches nothing at all, not even by its
//! other names. Common names are not looked at (RFC 9525 §2).

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

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, CustomExtension, KeyPair, SanType};

    use super::*;

    fn text(text: &str) -> Ia5String {
        Ia5String::try_from(text).unwrap()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(text(name))
    }

    fn uri(name: &str) -> SanType {
        SanType::URI(text(name))
    }

    fn email(name: &str) -> SanType {
        SanType::Rfc822Name(text(name))
    }

    fn certificate(params: CertificateParams) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn names(names: Vec<SanType>) -> Option<AlternativeNames> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        AlternativeNames::of(&certificate(params))
    }

    fn matches(pattern: &str, all: Vec<SanType>) -> bool {
        let pattern = NamePattern::parse(pattern).unwrap();
        names(all).is_some_and(|names| pattern.matches(&names))
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [
            "",
            "ivr.example",
            "dns:",
            "DNS:ivr.example",
            "dns: ivr.example",
            "dns:ivr.example.",
            "dns:.example",
            "dns:a..example",
            "dns:*",
            "dns:*.",
            "dns:*.example",
            "dns:*.*.example",
            "dns:*x.flows.example",
            "dns:a.*.example",
            "dns:flows.*",
            "dns:ü.example",
            "dns:a\0.example",
            "uri:",
            "uri:*",
            "uri:spiffe:*",
            "uri:spiffe://*",
            "uri:spiffe://acme*",
            "uri:spiffe://acme/flow*",
            "uri:spiffe://acme/*/flow",
            "uri:spiffe://*/flow/",
            "uri:spiffe:///flow/*",
            "uri:spiffe://acme/../*",
            "uri:spiffe://acme//*",
            "uri:spiffe://acme/flow?x=/*",
            "uri:spiffe://acme/%2e/*",
            "uri:no scheme/x",
            "uri:1a://x/y",
            "email:",
            "email:ops",
            "email:@flows.example",
            "email:*@flows.example",
            "email:a@b@flows.example",
            "email:ops@",
            "ip:",
            "ip:192.0.2.0/24",
            "ip:192.0.2",
            "cn:ivr",
        ] {
            assert_eq!(NamePattern::parse(bad), None, "{bad:?}");
        }
        let long = format!("uri:spiffe://acme/{}", "x".repeat(PATTERN_BYTES_MAX));
        assert_eq!(NamePattern::parse(&long), None);
    }

    #[test]
    fn a_pattern_fits_no_name_but_what_it_says() {
        for (pattern, name) in [
            ("dns:ivr.example", dns("a.ivr.example")),
            ("dns:ivr.example", dns("ivr.example.attacker.example")),
            ("dns:ivr.example", dns("xivr.example")),
            ("dns:ivr.example", email("ops@ivr.example")),
            ("dns:ivr.example", uri("https://ivr.example")),
            ("dns:*.flows.example", dns("flows.example")),
            ("dns:*.flows.example", dns("a.b.flows.example")),
            ("dns:*.flows.example", dns("aflows.example")),
            ("dns:*.flows.example", dns("a.flows.example.com")),
            ("dns:*.flows.example", dns("*.flows.example")),
            ("uri:spiffe://acme/ivr", uri("spiffe://acme/ivr2")),
            ("uri:spiffe://acme/ivr", uri("spiffe://acme/IVR")),
            ("uri:spiffe://acme/ivr", uri("spiffe://acme/ivr/")),
            ("uri:spiffe://acme/flow/*", uri("spiffe://acme/flow/")),
            ("uri:spiffe://acme/flow/*", uri("spiffe://acme/flow")),
            ("uri:spiffe://acme/flow/*", uri("spiffe://acme/flows/1")),
            ("uri:spiffe://acme/flow/*", uri("spiffe://acme/flow/..")),
            (
                "uri:spiffe://acme/flow/*",
                uri("spiffe://acme/flow/a/../../b"),
            ),
            (
                "uri:spiffe://acme/flow/*",
                uri("spiffe://acme/flow/%2e%2e/b"),
            ),
            ("uri:spiffe://acme/flow/*", uri("spiffe://acme/flow//b")),
            ("uri:spiffe://acme/flow/*", uri("spiffe://acme/flow/b/")),
            ("uri:spiffe://acme/flow/*", uri("spiffe://acme/flow/b?c")),
            ("uri:spiffe://acme/flow/*", uri("spiffe://acme/flow/b#c")),
            ("uri:spiffe://acme/flow/*", uri("spiffe://evil/flow/b")),
            ("email:ops@flows.example", email("Ops@flows.example")),
            ("email:ops@flows.example", email("ops@a.flows.example")),
            ("email:ops@flows.example", dns("flows.example")),
            ("ip:192.0.2.7", SanType::IpAddress([192, 0, 2, 8].into())),
            ("ip:192.0.2.7", dns("192.0.2.7")),
        ] {
            assert!(!matches(pattern, vec![name.clone()]), "{pattern}: {name:?}");
        }
        assert!(!matches("dns:ivr.example", Vec::new()));
    }

    #[test]
    fn a_pattern_fits_what_it_says_among_other_names() {
        for (pattern, name) in [
            ("dns:ivr.example", dns("IVR.Example")),
            ("dns:IVR.example", dns("ivr.example")),
            ("dns:localhost", dns("localhost")),
            ("dns:*.flows.example", dns("ivr_7.FLOWS.example")),
            ("uri:spiffe://acme/ivr", uri("spiffe://acme/ivr")),
            ("uri:urn:flow:7", uri("urn:flow:7")),
            ("uri:spiffe://acme/*", uri("spiffe://acme/flow/7")),
            ("uri:spiffe://acme/flow/*", uri("spiffe://acme/flow/a/b")),
            ("email:ops@flows.example", email("ops@Flows.example")),
            ("ip:192.0.2.7", SanType::IpAddress([192, 0, 2, 7].into())),
            (
                "ip:2001:db8::7",
                SanType::IpAddress("2001:db8::7".parse().unwrap()),
            ),
        ] {
            let other = dns("other.example");
            assert!(
                matches(pattern, vec![other, name.clone()]),
                "{pattern}: {name:?}"
            );
        }
    }

    /// protocol.md row 44, of the other side's certificates.
    #[test]
    fn a_certificate_with_a_name_that_can_be_read_in_two_ways_is_nobody_s() {
        let good = dns("ivr.example");
        assert!(names(vec![good.clone()]).is_some());
        for odd in [
            dns("ivr.example\0.attacker.example"),
            dns("\0"),
            dns(""),
            dns("ivr.example."),
            dns("ivr .example"),
            dns("ivr.example\n"),
            dns("*"),
            dns("a.*.example"),
            dns("**.example"),
            dns(&format!("{}.example", "a".repeat(64))),
            uri("spiffe://acme/ivr\0"),
            uri("spiffe://acme/ivr x"),
            uri("/relative"),
            uri(""),
            email("ops\0@ivr.example"),
            email("ops@ivr.example\0"),
            email("ops"),
        ] {
            assert_eq!(names(vec![good.clone(), odd.clone()]), None, "{odd:?}");
        }
        let many = vec![good; NAMES_MAX + 1];
        assert_eq!(names(many), None);
    }

    /// OID 2.5.29.17, whose content no test library would write.
    #[test]
    fn names_that_are_malformed_or_listed_twice_over_are_nobody_s() {
        let with = |extensions: &[&[u8]]| {
            let mut params = CertificateParams::default();
            let san = &[2, 5, 29, 17];
            let extensions = extensions.iter();
            params.custom_extensions = extensions
                .map(|content| CustomExtension::from_oid_content(san, content.to_vec()))
                .collect();
            AlternativeNames::of(&certificate(params))
        };
        // SEQUENCE { dNSName "a.b" }
        let good: &[u8] = &[0x30, 5, 0x82, 3, b'a', b'.', b'b'];
        assert!(with(&[good]).is_some());

        // Latin-1, an address of three octets, no SEQUENCE, a name longer than its SEQUENCE.
        for bad in [
            &[0x30, 5, 0x82, 3, b'a', 0xe9, b'b'][..],
            &[0x30, 5, 0x87, 3, 192, 0, 2],
            &[0x04, 1, 0],
            &[0x30, 5, 0x82, 9, b'a', b'.', b'b'],
        ] {
            assert_eq!(with(&[bad]), None, "{bad:?}");
        }
        assert_eq!(with(&[good, good]), None);
    }

    #[test]
    fn a_common_name_is_no_name_and_what_is_no_certificate_has_none() {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "ivr.example");
        let der = certificate(params);
        let ivr = NamePattern::parse("dns:ivr.example").unwrap();

        assert!(!ivr.matches(&AlternativeNames::of(&der).unwrap()));
        assert_eq!(AlternativeNames::of(b""), None);
        assert_eq!(AlternativeNames::of(&der[..der.len() - 1]), None);
        assert_eq!(AlternativeNames::of(&[&der[..], b"x"].concat()), None);
    }
}
