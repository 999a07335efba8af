//! The Host rule of the admin listener: a page in an administrator's browser that rebinds its name
//! to our address is refused, because the name it uses is not ours.

use std::net::SocketAddr;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

use crate::config::Hosts;

/// Which names a listener answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRule {
    /// Any, or none: for probes and scrapers.
    Free,
    /// Loopback names, the address the client connected to, and these.
    Ours(Hosts),
}

impl HostRule {
    /// Whether a request that came in at `local` names us, by its target if that names anybody
    /// (RFC 9112 §3.2.2), and by the only `Host` it has (§3.2).
    pub(super) fn admits(&self, uri: &Uri, fields: &HeaderMap, local: SocketAddr) -> bool {
        let hosts = match self {
            Self::Free => return true,
            Self::Ours(hosts) => hosts,
        };
        let mut lines = fields.get_all(HOST).iter();
        let (Some(host), None) = (lines.next(), lines.next()) else {
            return false;
        };
        let Ok(host) = Authority::try_from(host.as_bytes()) else {
            return false;
        };
        !host.as_str().contains('@')
            && hosts.include(&host, local)
            && uri.authority().is_none_or(|target| *target == host)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn admits(rule: &HostRule, uri: &str, hosts: &[&str]) -> bool {
        let mut fields = HeaderMap::new();
        for host in hosts {
            fields.append(HOST, HeaderValue::from_str(host).unwrap());
        }
        let local = "192.0.2.7:9901".parse().unwrap();
        rule.admits(&uri.parse().unwrap(), &fields, local)
    }

    fn ours() -> HostRule {
        HostRule::Ours(Hosts::Listed(vec!["gateway.internal".into()]))
    }

    #[test]
    fn names_that_are_not_ours_are_refused() {
        for host in [
            "attacker.example",
            "localhost.attacker.example",
            "gateway.internal.attacker.example",
            "192.0.2.8:9901",
            "user@localhost",
            "localhost@attacker.example",
            "0.0.0.0",
            "[::]",
            "",
            "local host",
        ] {
            assert!(!admits(&ours(), "/readyz", &[host]), "{host:?}");
        }
    }

    #[test]
    fn a_host_that_is_missing_or_doubled_is_refused() {
        assert!(!admits(&ours(), "/readyz", &[]));
        assert!(!admits(&ours(), "/readyz", &["localhost", "localhost"]));
    }

    #[test]
    fn a_target_that_names_another_than_the_host_is_refused() {
        for target in [
            "http://attacker.example/readyz",
            "http://localhost:1/readyz",
        ] {
            assert!(!admits(&ours(), target, &["localhost"]), "{target}");
        }
        assert!(admits(&ours(), "http://localhost/readyz", &["localhost"]));
    }

    #[test]
    fn loopback_the_bound_address_and_listed_names_are_ours() {
        for host in [
            "localhost",
            "LOCALHOST:9901",
            "localhost.",
            "127.0.0.1:9901",
            "127.1.2.3",
            "[::1]:9901",
            "192.0.2.7:80",
            "Gateway.Internal:443",
        ] {
            assert!(admits(&ours(), "/readyz", &[host]), "{host:?}");
        }
    }

    #[test]
    fn any_name_is_ours_where_the_rule_says_so() {
        let any = HostRule::Ours(Hosts::Any);
        assert!(admits(&any, "/readyz", &["whatever.example"]));
        assert!(!admits(&any, "/readyz", &[]));
        assert!(admits(&HostRule::Free, "/readyz", &[]));
    }
}
