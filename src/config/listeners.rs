//! Where the gateway listens: for flows, for administrators, for scrapers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::document::{Content, Node};
use super::error::Problem;
use super::oidc::oidc;
use super::proxy_protocol::balancers;
use super::reader::{Path, Reader, Section};
use super::units::{Bounded, Count};
use super::{Admin, Config, Hosts, Metrics, ServerTls};
use crate::tls::client::check_anchors;
use crate::tls::server::{Protocols, server_config};

pub(super) const TLS_KEYS: &[&str] = &["certificate", "private_key", "client_ca", "client_crl"];
pub(super) const ADMIN_KEYS: &[&str] = &[
    "listen",
    "tls",
    "hosts",
    "proxy_protocol",
    "balancers",
    "oidc",
];
pub(super) const METRICS_KEYS: &[&str] = &["listen", "connectors_max"];
const FLOW_LISTEN: SocketAddr = loopback(8080);
const ADMIN_LISTEN: SocketAddr = loopback(9901);
/// The most entries of the lists here.
const ADDRESSES_MAX: usize = 64;
const HOSTS_MAX: usize = 1_000;
pub(super) const CONNECTORS_WITH_SERIES_MAX: Bounded<Count> = Bounded {
    key: "connectors_max",
    default: Count(1_000),
    min: Count(0),
    max: Count(1_000_000),
};

/// Loopback, where nobody is exposed by accident.
const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

const ADDRESS_FORM: &str =
    "an IP address with a port, such as 127.0.0.1:8080 or [::1]:8080 (names are not resolved)";

fn address<'d>(reader: &mut Reader<'d>, node: &'d Node, path: &Path<'_>) -> Option<SocketAddr> {
    let text = reader.text(node, path, ADDRESS_FORM)?;
    let read = text.parse().ok();
    if read.is_none() {
        reader.fault(node.at, path, Problem::MustBe(ADDRESS_FORM));
    }
    read
}

/// One address or a list of them.
pub(super) fn flows<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    path: &Path<'_>,
) -> Vec<SocketAddr> {
    let path = path.key("listen");
    let Some(node) = root.written("listen") else {
        return vec![FLOW_LISTEN];
    };
    if !matches!(node.content, Content::List(_)) {
        return address(reader, node, &path).into_iter().collect();
    }
    let nodes = reader.list(node, &path, ADDRESSES_MAX);
    if nodes.is_empty() {
        reader.fault(node.at, &path, Problem::MustBe("at least one address"));
    }
    let read = |(index, node)| address(reader, node, &path.index(index));
    nodes.iter().enumerate().filter_map(read).collect()
}

const HOST_FORM: &str = "a host name or IP address without a port; [\"*\"] alone means any";

pub(super) fn hosts<'d>(reader: &mut Reader<'d>, section: &Section<'d>, path: &Path<'_>) -> Hosts {
    let path = path.key("hosts");
    let Some(node) = section.written("hosts") else {
        return Hosts::Listed(Vec::new());
    };
    let nodes = reader.list(node, &path, HOSTS_MAX);
    if let [only] = nodes
        && reader.document.text(only) == Some("*")
    {
        reader.warn(only.at, &path, ANY_HOST);
        return Hosts::Any;
    }
    let mut listed = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let path = path.index(index);
        let Some(text) = reader.text(node, &path, HOST_FORM) else {
            continue;
        };
        match host(text) {
            Some(host) => listed.push(host),
            None => reader.fault(node.at, &path, Problem::MustBe(HOST_FORM)),
        }
    }
    Hosts::Listed(listed)
}

/// A host as `Host` carries it: lower case, no trailing dot, IPv6 in brackets (RFC 3986 §3.2.2).
fn host(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<std::net::Ipv6Addr>() {
        return Some(format!("[{address}]"));
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    let host = url::Host::parse(bare).ok()?.to_string();
    (!host.contains('*')).then_some(host)
}

const WITH_CLIENT_CA: &str = "given together with client_ca, whose certificates it revokes";

pub(super) fn tls<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<ServerTls> {
    let path = path.key("tls");
    let node = section.optional("tls")?;
    let section = reader.mapping(node, &path, TLS_KEYS)?;
    let client_ca = section.optional("client_ca");
    let client_ca_pem =
        client_ca.map(|node| reader.bundle(node, &path.key("client_ca"), check_anchors));
    let client_crl = section.optional("client_crl");
    let client_crl_pem = client_crl.map(|node| reader.revocations(node, &path.key("client_crl")));
    if let (Some(node), None) = (client_crl, client_ca) {
        reader.fault(
            node.at,
            &path.key("client_crl"),
            Problem::MustBe(WITH_CLIENT_CA),
        );
    }
    let pair = reader.key_pair(&section, &path)?;
    let whole = |read: Option<Option<Arc<str>>>| match read {
        Some(read) => read.map(|read| Some(read.to_string())),
        None => Some(None),
    };
    let (client_ca_pem, client_crl_pem) = (whole(client_ca_pem)?, whole(client_crl_pem)?);
    let tls = ServerTls {
        certificate_pem: pair.certificate_pem,
        private_key_pem: pair.private_key_pem,
        client_ca_pem,
        client_crl_pem,
    };
    match server_config(&tls, Protocols::Http2AndHttp11) {
        Ok(_) => Some(tls),
        Err(error) => {
            reader.fault(node.at, &path, Problem::Tls(error));
            None
        }
    }
}

pub(super) fn admin<'d>(reader: &mut Reader<'d>, root: &Section<'d>, path: &Path<'_>) -> Admin {
    let section = reader.section(root, path, "admin", ADMIN_KEYS);
    let path = path.key("admin");
    let written = section.written("listen");
    let listen = written
        .and_then(|node| address(reader, node, &path.key("listen")))
        .unwrap_or(ADMIN_LISTEN);
    if is_open(&listen) && section.optional("tls").is_none() {
        let at = section.place("listen");
        reader.fault(at, &path.key("listen"), Problem::OpenAdmin(listen));
    }
    Admin {
        listen,
        tls: tls(reader, &section, &path),
        hosts: hosts(reader, &section, &path),
        balancers: balancers(reader, &section, &path),
        oidc: oidc(reader, &section, &path),
    }
}

pub(super) fn metrics<'d>(reader: &mut Reader<'d>, root: &Section<'d>, path: &Path<'_>) -> Metrics {
    let section = reader.section(root, path, "metrics", METRICS_KEYS);
    let path = path.key("metrics");
    let listen = section.optional("listen");
    Metrics {
        listen: listen.and_then(|node| address(reader, node, &path.key("listen"))),
        connectors_max: reader
            .quantity(&section, &path, &CONNECTORS_WITH_SERIES_MAX)
            .as_usize(),
    }
}

const ANY_HOST: &str = "any Host is accepted, so a web page may reach this listener through a name of its own (DNS rebinding)";
const KEYS_IN_THE_CLEAR: &str =
    "flows send their keys in the clear to a listener that is not loopback; set `tls`";
const BALANCED: &str = "everyone whom the balancer lets through may use every connector; ask for keys or certificates, or say `trust_network: true`";
const TRUSTED_NETWORK: &str =
    "everyone who can reach a listener that is not loopback may use every connector";

/// Whether more than this machine can reach `address`.
fn is_open(address: &SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// Who can reach a listener must have been meant to.
pub(super) fn check_exposure<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    path: &Path<'_>,
    config: &Config,
) {
    let trusted = reader.flag(root, path, "trust_network").unwrap_or(false);
    // Faulty TLS settings are a fault of their own already.
    let asks = match &config.tls {
        Some(tls) => tls.client_ca_pem.is_some(),
        None => root.optional("tls").is_some(),
    };
    if !asks && !config.inbound.certificates.is_empty() {
        let at = root.place("inbound");
        let path = path.key("inbound");
        reader.fault(at, &path.key("certificates"), Problem::NoClientCa);
    }
    // Faulty keys are a fault of their own as well.
    let asks_for_keys = !config.inbound.keys.is_empty() || keys_are_written(root);
    let open = config.listen.iter().find(|address| is_open(address));
    if open.is_none() && config.inbound.balancers.is_some() && !(trusted || asks || asks_for_keys) {
        let path = path.key("inbound");
        reader.warn(root.place("inbound"), &path.key("proxy_protocol"), BALANCED);
    }
    if let Some(address) = open {
        if asks_for_keys && config.tls.is_none() {
            reader.warn(root.place("listen"), &path.key("listen"), KEYS_IN_THE_CLEAR);
        }
        if trusted {
            let path = path.key("trust_network");
            reader.warn(root.place("trust_network"), &path, TRUSTED_NETWORK);
        } else if !asks && !asks_for_keys {
            let problem = Problem::OpenListen(*address);
            reader.fault(root.place("listen"), &path.key("listen"), problem);
        }
    }
}

/// Whether the configuration lists keys, be they good or bad.
fn keys_are_written(root: &Section<'_>) -> bool {
    let Some(Content::Map(entries)) = root.optional("inbound").map(|node| &node.content) else {
        return false;
    };
    let keys = entries.iter().find(|entry| entry.key == "keys");
    keys.is_some_and(|keys| matches!(&keys.value.content, Content::List(keys) if !keys.is_empty()))
}

/// No two listeners can have one address; port 0 is a different one each time.
pub(super) fn check_collisions<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    path: &Path<'_>,
    config: &Config,
) {
    let flows = config.listen.iter().map(|address| ("listen", *address));
    let admin = std::iter::once(("admin", config.admin.listen));
    let metrics = config.metrics.listen.map(|address| ("metrics", address));
    let mut seen: Vec<SocketAddr> = Vec::new();
    for (key, address) in flows.chain(admin).chain(metrics) {
        if address.port() != 0 && seen.contains(&address) {
            let problem = Problem::SameAddress(address);
            reader.fault(root.place(key), &path.key(key), problem);
        }
        seen.push(address);
    }
}
