use std::time::Duration;

use super::{pair, read, read_in, refused};
use crate::config::{Config, Hosts};

#[test]
fn quantities_out_of_bounds_are_refused_with_what_is_allowed() {
    for (text, said) in [
        (
            "workers: 1025",
            "1:10: workers: must be a whole number, from 0 to 1024",
        ),
        (
            "workers: -1",
            "1:10: workers: must be a whole number, from 0 to 1024",
        ),
        (
            "workers: many",
            "1:10: workers: must be a whole number, from 0 to 1024",
        ),
        (
            "workers:",
            "1:8: workers: must be a whole number, from 0 to 1024",
        ),
        (
            "limits:\n  head_bytes_max: 4KiB",
            "2:19: limits.head_bytes_max: must be a size in bytes, KiB, MiB or GiB such as 64KiB, from 8KiB to 1MiB",
        ),
        (
            "limits: { config_bytes_max: 257MiB }",
            "1:29: limits.config_bytes_max: must be a size in bytes, KiB, MiB or GiB such as 64KiB, from 1KiB to 256MiB",
        ),
        (
            "timeouts: { idle: 30 }",
            "1:19: timeouts.idle: must be a duration such as 1500ms, 30s, 10m or 2h, from 10ms to 1h",
        ),
        (
            "upstream: { connect: 2m }",
            "1:22: upstream.connect: must be a duration such as 1500ms, 30s, 10m or 2h, from 10ms to 1m",
        ),
        (
            "tokens: { entries_max: 0 }",
            "1:24: tokens.entries_max: must be a whole number, from 1 to 10000000",
        ),
        (
            "metrics: { connectors_max: 1000001 }",
            "1:28: metrics.connectors_max: must be a whole number, from 0 to 1000000",
        ),
    ] {
        assert_eq!(refused(text), said);
    }
}

#[test]
fn words_that_are_no_choice_are_refused_with_the_choices() {
    for (text, said) in [
        (
            "logs: { format: xml }",
            "1:17: logs.format: must be one of text, json",
        ),
        (
            "logs: { level: loud }",
            "1:16: logs.level: must be one of error, warn, info, debug, trace",
        ),
        (
            "logs: { access: some }",
            "1:17: logs.access: must be one of off, errors, all",
        ),
        (
            "upstream: { http2: on }",
            "1:20: upstream.http2: must be one of auto, off",
        ),
        (
            "trust_network: yes",
            "1:16: trust_network: must be one of true, false",
        ),
    ] {
        assert_eq!(refused(text), said);
    }
}

#[test]
fn an_unknown_key_names_its_place_and_the_nearest_known_key() {
    let said = refused("limits:\n  conections_max: 5\n");

    assert_eq!(
        said,
        "2:3: limits.conections_max: is not a known key; the nearest is `connections_max` (known here: connections_max, requests_in_flight_max, head_bytes_max, fields_max, request_body_bytes_max, config_bytes_max)"
    );
}

#[test]
fn a_repeated_key_is_named_unless_it_may_be_a_secret() {
    assert_eq!(
        refused("limits:\n  head_bytes_max: 64KiB\n  head_bytes_max: 64KiB\n"),
        "3:3: head_bytes_max: this key was given before in the same mapping"
    );
    assert_eq!(
        refused("limits:\n  hunter2: 1\n  hunter2: 2\n"),
        "3:3: this key was given before in the same mapping"
    );
}

#[test]
fn keys_of_later_versions_are_refused_not_ignored() {
    for text in [
        "metrics: { balancers: [] }",
        "connectors: [{ rotation: null }]",
        "connectors: [{ upstream: { warm: 1 } }]",
    ] {
        let said = refused(text);

        assert!(
            said.contains("is not a known key; the nearest is"),
            "{text}: {said}"
        );
    }
}

#[test]
fn something_that_looks_like_interpolation_is_refused_with_the_way_to_write_it() {
    for (text, name) in [
        ("listen: ${ADDRESS}", "ADDRESS"),
        ("workers: ${WORKERS}", "WORKERS"),
        ("hosts: ${HOSTS}", "HOSTS"),
        ("hosts: [\"${HOST}\"]", "HOST"),
        ("logs: ${LOGS}", "LOGS"),
        ("logs: { level: ${LEVEL} }", "LEVEL"),
        ("trust_network: '${TRUST}'", "TRUST"),
        ("admin: { listen: '127.0.0.1:${PORT}' }", "NAME"),
        (
            "connectors: [{ auth: { basic: { password: a${B}c } } }]",
            "NAME",
        ),
        (
            "connectors: [{ auth: { basic: { password: { file: '${DIR}/x' } } } }]",
            "NAME",
        ),
    ] {
        let said = refused(text);

        let written = format!("is written {{ env: {name} }}, everything else as it is");
        assert!(said.contains(&written), "{text}: {said}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once_in_the_order_of_the_text() {
    let said = refused(
        "workers: x\nlogs: { level: loud }\nconnectors:\n  - id: A\n    name: A\n    resource_domain: http://a.example\n    auth: none\n  - id: b\n",
    );

    let keys: Vec<_> = said
        .lines()
        .map(|line| line.split(": ").nth(1).unwrap())
        .collect();
    assert_eq!(
        keys,
        [
            "workers",
            "logs.level",
            "connectors[0].id",
            "connectors[0].resource_domain",
            "connectors[b].name",
            "connectors[b].resource_domain",
            "connectors[b].auth",
        ]
    );
}

#[test]
fn more_faults_than_anyone_reads_are_counted() {
    let text = format!("connectors: [{}]", vec!["5"; 150].join(","));

    let said = refused(&text);

    assert_eq!(said.lines().count(), 101);
    assert!(said.ends_with("\nand 50 more"), "{said}");
}

#[test]
fn sections_of_another_shape_are_refused() {
    for text in [
        "5",
        "[]",
        "limits: 5",
        "limits: []",
        "tls: true",
        "connectors: {}",
        "hosts: a",
    ] {
        let said = refused(text);

        assert!(said.contains("must be a"), "{text}: {said}");
    }
}

#[test]
fn listening_beyond_loopback_has_to_be_meant() {
    for address in [
        "0.0.0.0:80",
        "'[::]:80'",
        "192.0.2.1:0",
        "[127.0.0.1:1, '[2001:db8::1]:2']",
    ] {
        let said = refused(&format!("listen: {address}"));

        assert!(
            said.contains("is not a loopback address: set `trust_network: true`"),
            "{said}"
        );
    }
    let said = refused("admin: { listen: 0.0.0.0:9901 }");
    assert_eq!(
        said,
        "1:18: admin.listen: 0.0.0.0:9901 is not a loopback address; `admin.tls` is required for it"
    );
}

#[test]
fn a_trusted_network_is_warned_of_and_allowed() {
    let config = read("listen: 0.0.0.0:8080\ntrust_network: true").unwrap();

    assert_eq!(
        config.warnings,
        [
            "2:16: trust_network: everyone who can reach a listener that is not loopback may use every connector"
        ]
    );
    assert!(read("trust_network: true").unwrap().warnings.is_empty());
}

#[test]
fn client_certificates_open_a_listener_without_trusting_its_network() {
    let dir = tempfile::tempdir().unwrap();
    super::write_pair(dir.path(), "server", &rcgen::PKCS_ECDSA_P256_SHA256);
    let identity = "certificate: { file: server.crt }, private_key: { file: server.key }";

    let asked =
        format!("listen: 0.0.0.0:80\ntls: {{ {identity}, client_ca: {{ file: server.crt }} }}");
    let config = read_in(&asked, dir.path()).unwrap();
    assert!(config.warnings.is_empty() && config.tls.unwrap().client_ca_pem.is_some());

    let unasked = format!("listen: 0.0.0.0:80\ntls: {{ {identity} }}");
    assert!(read_in(&unasked, dir.path()).is_err());
    let admin = format!("admin: {{ listen: 0.0.0.0:1, tls: {{ {identity} }} }}");
    assert!(read_in(&admin, dir.path()).is_ok());
}

#[test]
fn addresses_that_are_none_or_taken_are_refused() {
    for text in [
        "listen: localhost:8080",
        "listen: 127.0.0.1",
        "listen: 8080",
        "listen: []",
        "listen:",
        "admin: { listen: null }",
        "metrics: { listen: 1 }",
    ] {
        let said = refused(text);
        assert!(
            said.contains("listen") && said.contains("must be"),
            "{text}: {said}"
        );
    }
    assert_eq!(
        refused("listen: [127.0.0.1:9901]"),
        "1:1: admin: 127.0.0.1:9901 is the address of another listener as well"
    );
    let free = "listen: [127.0.0.1:0, 127.0.0.1:0]\nadmin: { listen: 127.0.0.1:0 }";
    assert_eq!(read(free).unwrap().listen.len(), 2);
}

#[test]
fn hosts_are_names_without_ports() {
    for text in [
        "[a:80]", "['a b']", "['*', a]", "['*.a']", "['']", "[[a]]", "[a/b]",
    ] {
        let said = refused(&format!("hosts: {text}"));
        assert!(said.contains("must be a host name"), "{text}: {said}");
    }
    let config = read("hosts: [Gateway.Example., 192.0.2.1, '2001:DB8::1', '[::2]']").unwrap();
    let listed = ["gateway.example", "192.0.2.1", "[2001:db8::1]", "[::2]"];
    assert_eq!(
        config.hosts,
        Hosts::Listed(listed.map(str::to_owned).to_vec())
    );
}

#[test]
fn any_host_is_warned_of() {
    let config = read("hosts: ['*']\nadmin: { hosts: ['*'] }").unwrap();

    assert_eq!((config.hosts, config.admin.hosts), (Hosts::Any, Hosts::Any));
    assert_eq!(config.warnings.len(), 2);
    assert!(config.warnings[0].starts_with("1:9: hosts: any Host is accepted"));
}

#[test]
fn ranges_with_host_bits_are_refused_because_they_say_two_things() {
    for text in [
        "[10.1.2.3/8]",
        "[10.0.0.0/33]",
        "[a]",
        "10.0.0.0/8",
        "[fd00::1/8]",
    ] {
        assert!(refused(&format!("trust: {{ allow_addresses: {text} }}")).contains("must be"));
    }
}

#[test]
fn token_endpoints_are_allowed_what_origins_are_unless_it_is_said() {
    let both = read("trust: { allow_addresses: [10.0.0.0/8, '::1'] }")
        .unwrap()
        .trust;
    assert_eq!(both.allow_addresses.len(), 2);
    assert_eq!(both.token_endpoint_allow_addresses, both.allow_addresses);

    let own = read("trust: { allow_addresses: [10.0.0.0/8], token_endpoint_allow_addresses: [] }");
    assert!(own.unwrap().trust.token_endpoint_allow_addresses.is_empty());
}

#[test]
fn a_bundle_that_holds_no_certificate_is_refused() {
    let (certificate, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), certificate).unwrap();
    std::fs::write(dir.path().join("key.pem"), key).unwrap();
    let bundle = |name: &str| read_in(&format!("trust: {{ ca_bundles: [{name}] }}"), dir.path());

    assert_eq!(
        bundle("{ file: ca.pem }").unwrap().trust.ca_bundles.len(),
        1
    );
    let said = bundle("{ file: key.pem }").unwrap_err().to_string();
    assert!(said.contains("key.pem holds no PEM certificate"), "{said}");
    let said = bundle("ca.pem").unwrap_err().to_string();
    assert!(said.contains("must be { file: PATH }"), "{said}");
}

#[test]
fn an_empty_text_is_the_default_configuration() {
    let config = read("").unwrap();

    assert!(config.workers > 0);
    assert_eq!(config.timeouts.drain, Duration::from_secs(30));
    assert!(config.connectors.is_empty() && config.warnings.is_empty());
    let sections =
        "limits:\ntimeouts:\nupstream:\ntokens:\nadmin:\nmetrics:\nlogs:\ntrust:\nconnectors:\n";
    assert_eq!(debug(&read(sections).unwrap()), debug(&config));
}

#[test]
fn a_text_longer_than_it_says_itself_is_refused() {
    let text = format!(
        "limits: {{ config_bytes_max: 1KiB }}\n#{}",
        "x".repeat(2_000)
    );

    let said = refused(&text);

    assert!(
        said.contains("limits.config_bytes_max allows 1KiB"),
        "{said}"
    );
}

fn debug(config: &Config) -> String {
    format!("{config:?}")
}

#[test]
fn an_openid_provider_has_to_be_whole_and_known_by_https() {
    let with = |keys: &str| format!("admin: {{ oidc: {{ {keys} }} }}");
    let roles = "roles: { a: full-admin }";
    for (keys, said) in [
        (
            format!("audience: a, {roles}"),
            "1:16: admin.oidc.issuer: is required: the issuer identifier as it stands in the tokens: an https:// URL",
        ),
        (
            format!("issuer: 'http://a.example', audience: a, {roles}"),
            "1:26: admin.oidc.issuer: must begin with https:// (credentials never travel in the clear)",
        ),
        (
            format!("issuer: 'https://a.example?x', audience: a, {roles}"),
            "1:26: admin.oidc.issuer: must not carry a query (?…); flows send their own",
        ),
        (
            format!("issuer: 'https://a.example', {roles}"),
            "1:16: admin.oidc.audience: is required: what the issuer calls this gateway in `aud`",
        ),
        (
            "issuer: 'https://a.example', audience: a".to_owned(),
            "1:16: admin.oidc.roles: is required: a mapping of the claim's values to roles; at least one",
        ),
        (
            "issuer: 'https://a.example', audience: a, roles: {}".to_owned(),
            "1:67: admin.oidc.roles: must be a mapping of the claim's values to roles; at least one",
        ),
        (
            "issuer: 'https://a.example', audience: a, roles: { a: root }".to_owned(),
            "1:72: admin.oidc.roles: must be one of the roles, such as full-admin or external-read-only-admin (`attache admin --help`)",
        ),
        (
            format!("issuer: 'https://a.example', audience: a, {roles}, jwks_url: 'http://b'"),
            "1:96: admin.oidc.jwks_url: must begin with https:// (credentials never travel in the clear)",
        ),
        (
            format!("issuer: 'https://a.example', audience: a, {roles}, organization: '*'"),
            "1:100: admin.oidc.organization: must be an organization of 1 to 64 of a-z, 0-9 and '-'",
        ),
    ] {
        assert_eq!(refused(&with(&keys)), said);
    }
}

#[test]
fn tokens_are_signed_with_a_private_key_or_not_believed() {
    for algorithms in ["[none]", "[HS256]", "[RS256, HS256]", "[]", "[RS512]"] {
        let text = format!(
            "admin: {{ oidc: {{ issuer: 'https://a.example', audience: a, roles: {{ a: full-admin }}, algorithms: {algorithms} }} }}"
        );

        let said = refused(&text);

        assert!(
            said.contains("admin.oidc.algorithms: must be a list of RS256, PS256, ES256"),
            "{said}"
        );
    }
}
