//! `allow` of a connector: refusals first.

use http::Method;

use super::{read, refused};
use crate::connector::{Allow, Rule};

const DIGEST: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn with(allow: &str) -> String {
    format!(
        "connectors:\n  - {{ id: a, organization: north, name: A, resource_domain: https://a.example, auth: none, allow: {allow} }}\n"
    )
}

fn allowed(allow: &str) -> Option<Allow> {
    let config = read(&with(allow)).unwrap();
    config.connectors[0].requests.allow.clone()
}

#[test]
fn what_no_request_can_be_is_refused_as_a_rule() {
    let long = format!("[/{}]", "x".repeat(1024));
    for (part, why) in [
        ("principals: ivr", "must be a list"),
        ("principals: []", "leave the key out to allow any"),
        ("principals: ['']", "a principal's name"),
        ("principals: [\"a\\nb\"]", "a principal's name"),
        ("principals: [{ name: ivr }]", "a principal's name"),
        ("methods: []", "leave the key out"),
        ("methods: [get]", "a method in capitals"),
        ("methods: [CONNECT]", "never carried"),
        ("methods: [TRACE]", "never carried"),
        ("methods: [TRACK]", "never carried"),
        ("methods: ['GET POST']", "a method in capitals"),
        ("paths: []", "leave the key out"),
        ("paths: [orders]", "begins with /"),
        ("paths: ['']", "begins with /"),
        ("paths: [https://a.example/x]", "begins with /"),
        ("paths: [/orders?x]", "without dot segments"),
        ("paths: ['/orders#x']", "without dot segments"),
        ("paths: [/orders/../x]", "without dot segments"),
        ("paths: [/./x]", "without dot segments"),
        ("paths: ['/%2e%2e/x']", "without dot segments"),
        ("paths: ['/.%2E;a/x']", "without dot segments"),
        ("paths: ['/a\\\\b']", "without dot segments"),
        ("paths: ['/a b']", "without dot segments"),
        ("paths: [/é]", "without dot segments"),
        (&format!("paths: {long}"), "without dot segments"),
        ("networks: []", "leave the key out"),
        ("networks: [10.1.0.1/16]", "without bits behind"),
        ("networks: [example.com]", "without bits behind"),
        ("networks: ['::ffff:10.0.0.0/104']", "not mapped into IPv6"),
        ("networks: ['::ffff:10.0.0.1']", "not mapped into IPv6"),
        ("path: [/x]", "the nearest is `paths`"),
    ] {
        let said = refused(&with(&format!("[{{ {part} }}]")));

        assert!(said.contains("connectors[a].allow[0]."), "{part}: {said}");
        assert!(said.contains(why), "{part}: {said}");
        assert_eq!(said.lines().count(), 1, "{part}: {said}");
    }
}

#[test]
fn a_list_of_rules_has_bounds() {
    let rules = |count: usize| format!("[{}]", vec!["{}"; count].join(", "));
    let methods = |count: usize| format!("[{{ methods: [{}] }}]", vec!["GET"; count].join(", "));

    assert_eq!(allowed(&rules(100)).unwrap().rules().len(), 100);
    assert!(refused(&with(&rules(101))).contains("at most 100"));
    assert!(allowed(&methods(100)).is_some());
    assert!(refused(&with(&methods(101))).contains("at most 100"));
    for bad in ["true", "GET", "{ methods: [GET] }", "[GET]"] {
        assert!(refused(&with(bad)).contains("must be"), "{bad}");
    }
}

#[test]
fn nothing_allows_all_and_an_empty_list_nobody() {
    assert_eq!(allowed("null"), None);
    assert_eq!(allowed("[]"), Some(Allow::default()));
    assert_eq!(allowed("[{}]"), Some(Allow::new([Rule::default()])));
    let nulls = "[{ principals: null, methods: null, paths: null, networks: null }]";
    assert_eq!(allowed(nulls), Some(Allow::new([Rule::default()])));
}

#[test]
fn a_rule_is_read_as_it_is_written() {
    let read = allowed(
        "[{ methods: [GET, PATCH], paths: [/, /Orders/, '/a%2fb'], networks: [10.0.0.0/8, 192.0.2.7, '2001:db8::/32'] }]",
    );

    let texts = ["/", "/Orders/", "/a%2fb"].map(Box::<str>::from);
    let networks = ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"];
    let rule = Rule {
        principals: None,
        methods: Some([Method::GET, Method::PATCH].into()),
        paths: Some(texts.into()),
        networks: Some(networks.map(|text| text.parse().unwrap()).into()),
    };
    assert_eq!(read, Some(Allow::new([rule])));
}

#[test]
fn a_principal_that_nobody_is_is_warned_of() {
    let config = |organization: &str, name: &str| {
        let key = format!(
            "inbound: {{ keys: [{{ name: ivr, organization: {organization}, sha256: {DIGEST} }}] }}\n"
        );
        read(&(key + &with(&format!("[{{ principals: [{name}] }}]")))).unwrap()
    };

    for (organization, name) in [("north", "irv"), ("south", "ivr"), ("default", "ivr")] {
        let warnings = config(organization, name).warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let place = "connectors[a].allow[0].principals";
        assert!(warnings[0].contains(place), "{warnings:?}");
        assert!(warnings[0].contains("nobody can be it"), "{warnings:?}");
    }
    assert!(config("north", "ivr").warnings.is_empty());
    let nobody = read(&with("[{ principals: [ivr] }]")).unwrap();
    assert_eq!(nobody.warnings.len(), 1);
}
