//! Who may call a connector, and what for.
//!
//! # Invariants
//!
//! What no rule lists is denied. Texts are compared as they came, byte for byte: a path that is
//! encoded in another way, or a method in another case, is another one, and so is not listed.

use std::net::IpAddr;

use http::Method;
use ipnet::IpNet;

/// Which requests a connector takes, and what they may turn into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Those that it takes; `None`: those of whoever reaches it.
    pub allow: Option<Allow>,
    /// The protocols that they may upgrade to, in lower case (RFC 9110 §7.8).
    pub upgrades: Box<[String]>,
}

/// Which requests a connector takes: those that one of its rules lists. Without any rule, none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    rules: Box<[Rule]>,
}

/// What is allowed together; `None` allows any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The names of the principals that may call, of the connector's own organization.
    pub principals: Option<Box<[Box<str>]>>,
    /// With which methods (RFC 9110 §9.1: in their case).
    pub methods: Option<Box<[Method]>>,
    /// Where to: request paths, and all that lies below them.
    pub paths: Option<Box<[Box<str>]>>,
    /// Where from; addresses of IPv4 are written as such.
    pub networks: Option<Box<[IpNet]>>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The caller's name, if it has one.
    pub principal: Option<&'a str>,
    /// The method.
    pub method: &'a Method,
    /// The path behind the connector's ID as it came, without the query.
    pub path: &'a str,
    /// The caller's address.
    pub from: IpAddr,
}

impl Allow {
    /// Allows what any of `rules` lists.
    pub fn new(rules: impl Into<Box<[Rule]>>) -> Self {
        Self {
            rules: rules.into(),
        }
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether one rule lists all of what is `asked`.
    pub fn permits(&self, asked: &Asked<'_>) -> bool {
        self.rules.iter().any(|rule| rule.lists(asked))
    }
}

impl Rule {
    fn lists(&self, asked: &Asked<'_>) -> bool {
        let known = |names: &[Box<str>]| names.iter().any(|name| asked.principal == Some(name));
        let carried = |methods: &[Method]| methods.contains(asked.method);
        let below = |paths: &[Box<str>]| paths.iter().any(|path| covers(path, asked.path));
        let from = asked.from.to_canonical();
        let within = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&from));
        self.principals.as_deref().is_none_or(known)
            && self.methods.as_deref().is_none_or(carried)
            && self.paths.as_deref().is_none_or(below)
            && self.networks.as_deref().is_none_or(within)
    }
}

/// Whether `path` is `listed` or lies below it: `/orders` covers `/orders` and `/orders/7`, and
/// neither `/orders2` nor `/orders;v=2`. An empty path asks for the same as `/`.
fn covers(listed: &str, path: &str) -> bool {
    let path = if path.is_empty() { "/" } else { path };
    match path.strip_prefix(listed) {
        Some(rest) => rest.is_empty() || listed.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Option<Box<[Box<str>]>> {
        Some(texts.iter().map(|&text| text.into()).collect())
    }

    fn networks(networks: &[&str]) -> Option<Box<[IpNet]>> {
        Some(networks.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn asked(path: &str) -> Asked<'_> {
        Asked {
            principal: Some("ivr"),
            method: &Method::GET,
            path,
            from: IpAddr::from([192, 0, 2, 7]),
        }
    }

    fn only(rule: Rule) -> Allow {
        Allow::new([rule])
    }

    #[test]
    fn without_a_rule_nobody_may_do_anything() {
        assert!(!Allow::default().permits(&asked("/")));
    }

    #[test]
    fn a_rule_without_parts_allows_all() {
        let nobody = Asked {
            principal: None,
            ..asked("")
        };

        assert!(only(Rule::default()).permits(&nobody));
    }

    #[test]
    fn only_what_is_listed_and_what_lies_below_it_is_covered() {
        for (listed, path) in [
            ("/orders", "/orders2"),
            ("/orders", "/order"),
            ("/orders", "/Orders"),
            ("/orders", "/%6frders"),
            ("/orders", "/orders%2f7"),
            ("/orders", "/orders;v=2"),
            ("/orders", "/orders?"),
            ("/orders", "//orders"),
            ("/orders", "/x/orders"),
            ("/orders", ""),
            ("/orders", "/"),
            ("/orders/", "/orders"),
            ("/orders/", "/orders;/7"),
            ("/orders/new", "/orders//new"),
            ("/%C3%A9", "/%c3%a9"),
        ] {
            assert!(!covers(listed, path), "{listed}: {path}");
        }
        for (listed, path) in [
            ("/", ""),
            ("/", "/"),
            ("/", "//x"),
            ("/orders", "/orders"),
            ("/orders", "/orders/"),
            ("/orders", "/orders//7"),
            ("/orders", "/orders/7;v=2"),
            ("/orders/", "/orders/7"),
        ] {
            assert!(covers(listed, path), "{listed}: {path}");
        }
    }

    #[test]
    fn a_request_that_misses_one_part_of_a_rule_is_denied() {
        let allow = only(Rule {
            principals: texts(&["ivr"]),
            methods: Some([Method::GET].into()),
            paths: texts(&["/orders"]),
            networks: networks(&["192.0.2.0/24"]),
        });
        let good = asked("/orders/7");
        let lower = Method::from_bytes(b"get").unwrap();

        assert!(allow.permits(&good));
        for (what, bad) in [
            ("path", asked("/prices")),
            (
                "method",
                Asked {
                    method: &Method::HEAD,
                    ..good
                },
            ),
            (
                "the method's case",
                Asked {
                    method: &lower,
                    ..good
                },
            ),
            (
                "principal",
                Asked {
                    principal: Some("IVR"),
                    ..good
                },
            ),
            (
                "no principal",
                Asked {
                    principal: None,
                    ..good
                },
            ),
            (
                "address",
                Asked {
                    from: IpAddr::from([192, 0, 3, 7]),
                    ..good
                },
            ),
        ] {
            assert!(!allow.permits(&bad), "{what}");
        }
    }

    #[test]
    fn parts_of_two_rules_do_not_add_up() {
        let allow = Allow::new([
            Rule {
                methods: Some([Method::GET].into()),
                paths: texts(&["/orders"]),
                ..Rule::default()
            },
            Rule {
                methods: Some([Method::POST].into()),
                paths: texts(&["/prices"]),
                ..Rule::default()
            },
        ]);

        assert!(!allow.permits(&asked("/prices")));
        let post = Asked {
            method: &Method::POST,
            ..asked("/orders")
        };
        assert!(!allow.permits(&post));
        assert!(allow.permits(&asked("/orders")));
    }

    #[test]
    fn a_mapped_address_is_one_of_ipv4_and_no_other_network_s() {
        let from = |address: &str| Asked {
            from: address.parse().unwrap(),
            ..asked("/")
        };
        let of = |listed: &str| {
            only(Rule {
                networks: networks(&[listed]),
                ..Rule::default()
            })
        };

        assert!(of("192.0.2.0/24").permits(&from("::ffff:192.0.2.7")));
        assert!(!of("::/0").permits(&from("::ffff:192.0.2.7")));
        assert!(!of("::/0").permits(&from("192.0.2.7")));
        assert!(!of("0.0.0.0/0").permits(&from("2001:db8::1")));
        assert!(of("2001:db8::/32").permits(&from("2001:db8::1")));
    }
}
