//! Who may call a connector: its `allow`.

use http::Method;
use ipnet::IpNet;

use super::document::Node;
use super::error::Problem;
use super::reader::{Path, Reader, Section};
use super::settings::ranges;
use crate::connector::{Allow, Organization, Rule};

pub(super) const RULE_KEYS: &[&str] = &["principals", "methods", "paths", "networks"];

/// The most rules of a connector.
pub(super) const RULES_MAX: usize = 100;
/// The most entries of each part of a rule.
pub(super) const LISTED_MAX: usize = 100;
/// The longest principal's name, in bytes.
const PRINCIPAL_BYTES_MAX: usize = 200;
/// The longest method, in bytes.
const METHOD_BYTES_MAX: usize = 32;
/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 1024;

const PRINCIPAL_FORM: &str =
    "a principal's name as under `inbound`: 1 to 200 bytes without control characters";
const METHOD_FORM: &str =
    "a method in capitals such as GET (RFC 9110 §9.1); CONNECT, TRACE and TRACK are never carried";
const PATH_FORM: &str = "a request path that begins with /, as flows send it behind the connector's ID: without dot segments, ?, # and \\";
const NETWORK_FORM: &str = "an address or range of IPv4, not mapped into IPv6";
const SOME_FORM: &str = "a list of at least one; leave the key out to allow any";
const NAMELESS: &str =
    "`inbound` names no such principal in this connector's organization: nobody can be it";

/// Reads `allow` of a connector of `organization`; `None` allows whoever reaches it.
///
/// One with a fault allows nobody, should anybody ever ask.
pub(super) fn allow<'d>(
    reader: &mut Reader<'d>,
    connector: &Section<'d>,
    path: &Path<'_>,
    organization: &Organization,
) -> Option<Allow> {
    let node = connector.optional("allow")?;
    let path = path.key("allow");
    let nodes = reader.list(node, &path, RULES_MAX).iter();
    let read = |(index, node)| rule(reader, node, &path.index(index), organization);
    let rules: Vec<_> = nodes.enumerate().filter_map(read).collect();
    Some(Allow::new(rules))
}

fn rule<'d>(
    reader: &mut Reader<'d>,
    node: &'d Node,
    path: &Path<'_>,
    organization: &Organization,
) -> Option<Rule> {
    let section = reader.mapping(node, path, RULE_KEYS)?;
    Some(Rule {
        principals: part(
            reader,
            &section,
            path,
            ("principals", PRINCIPAL_FORM),
            |text| (text.len() <= PRINCIPAL_BYTES_MAX).then(|| text.into()),
        )
        .inspect(|names| warn_of_strangers(reader, &section, path, (names, organization))),
        methods: part(reader, &section, path, ("methods", METHOD_FORM), method),
        paths: part(reader, &section, path, ("paths", PATH_FORM), request_path),
        networks: networks(reader, &section, path),
    })
}

/// Reads a list of texts; `None` where it allows any.
fn part<'d, T>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
    (key, form): (&'static str, &'static str),
    read: impl Fn(&str) -> Option<T>,
) -> Option<Box<[T]>> {
    let nodes = nodes(reader, section, path, key)?;
    let path = path.key(key);
    let mut listed = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let path = path.index(index);
        let Some(text) = reader.text(node, &path, form) else {
            continue;
        };
        let Some(text) = reader.plain(node, &path, text, form) else {
            continue;
        };
        match read(text) {
            Some(one) => listed.push(one),
            None => reader.fault(node.at, &path, Problem::MustBe(form)),
        }
    }
    Some(listed.into())
}

/// The list under `key`, which has entries if it is there: one that has none would let nobody in,
/// and may be thought to let everybody.
fn nodes<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
    key: &'static str,
) -> Option<&'d [Node]> {
    let node = section.optional(key)?;
    let path = path.key(key);
    let faults = reader.faults.len();
    let nodes = reader.list(node, &path, LISTED_MAX);
    if nodes.is_empty() && reader.faults.len() == faults {
        reader.fault(node.at, &path, Problem::MustBe(SOME_FORM));
    }
    Some(nodes)
}

fn method(text: &str) -> Option<Method> {
    let carried = !["CONNECT", "TRACE", "TRACK"].contains(&text);
    let capitals = !text.bytes().any(|byte| byte.is_ascii_lowercase());
    let fits = carried && capitals && text.len() <= METHOD_BYTES_MAX;
    fits.then(|| Method::from_bytes(text.as_bytes()).ok())?
}

/// A path that a request can have: what is listed in vain would be a rule that misleads.
fn request_path(text: &str) -> Option<Box<str>> {
    let legal = |byte: u8| byte.is_ascii_graphic() && !b"?#\\".contains(&byte);
    let is_dot = |segment: &str| {
        let decoded = segment.to_ascii_lowercase().replace("%2e", ".");
        matches!(decoded.split(';').next(), Some("." | ".."))
    };
    let fits = text.starts_with('/')
        && text.len() <= PATH_BYTES_MAX
        && text.bytes().all(legal)
        && !text.split('/').any(is_dot);
    fits.then(|| text.into())
}

fn networks<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<Box<[IpNet]>> {
    let nodes = nodes(reader, section, path, "networks")?;
    let (node, path) = (section.optional("networks")?, path.key("networks"));
    if nodes.is_empty() {
        return Some(Box::default());
    }
    let listed = ranges(reader, node, &path);
    let mapped = listed.iter().any(|network| {
        matches!(network, IpNet::V6(network) if network.addr().to_ipv4_mapped().is_some())
    });
    if mapped {
        reader.fault(node.at, &path, Problem::MustBe(NETWORK_FORM));
    }
    Some(listed.into())
}

/// A name that nobody can have is a slip, or somebody who is no longer let in.
fn warn_of_strangers<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
    (names, organization): (&[Box<str>], &Organization),
) {
    let Some(principals) = reader.principals.clone() else {
        return;
    };
    let known = |name: &str| {
        let is_it = |one: &crate::connector::Principal| {
            *one.name == *name && one.organization == *organization
        };
        principals.iter().any(|one| is_it(one))
    };
    if !names.iter().all(|name| known(name)) {
        let at = section.place("principals");
        reader.warn(at, &path.key("principals"), NAMELESS);
    }
}
