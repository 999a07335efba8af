use std::sync::Arc;
use std::time::Duration;

use super::{pair, read, read_in, refused, with_auth};
use crate::connector::{Cookies, Forwarded, Http2, Scheme};

#[test]
fn resource_domains_that_credentials_may_not_travel_to_are_refused() {
    for (url, why) in [
        ("http://a.example", "must begin with https://"),
        ("ftp://a.example", "must begin with https://"),
        ("a.example", "is not a URL"),
        (
            "https://u:p@a.example",
            "must not carry a user name or password",
        ),
        ("https://a.example/?x=1", "must not carry a query"),
        ("'https://a.example/#x'", "must not carry a fragment"),
        ("https://a.example/../b", "dot segments"),
    ] {
        let text = with_auth("none").replace("https://a.example", url);
        let said = refused(&text);

        assert!(
            said.starts_with("4:22: connectors[a].resource_domain: "),
            "{said}"
        );
        assert!(said.contains(why), "{url}: {said}");
    }
}

#[test]
fn what_a_connector_must_say_is_asked_for() {
    let said = refused("connectors:\n  - {}\n");

    for key in ["id", "name", "resource_domain", "auth"] {
        let line = format!("2:5: connectors[0].{key}: is required: ");
        assert!(said.contains(&line), "{said}");
    }
}

#[test]
fn ids_outside_the_alphabet_are_refused() {
    for id in ["A", "-a", "a_b", "a/b", "'a b'", "ä"] {
        let said = refused(&with_auth("none").replace("id: a", &format!("id: {id}")));

        assert!(
            said.starts_with("2:9: connectors[0].id: is not a connector ID: "),
            "{said}"
        );
    }
}

#[test]
fn a_second_connector_of_the_same_id_or_name_is_refused() {
    let two = |id: &str, name: &str| {
        let second = format!(
            "  - id: {id}\n    name: {name}\n    resource_domain: https://b.example\n    auth: none\n"
        );
        refused(&(with_auth("none") + &second))
    };

    assert_eq!(
        two("a", "B"),
        "6:9: connectors[a].id: connector IDs are unique in the whole gateway; line 2 has the same"
    );
    assert_eq!(
        two("b", "A"),
        "7:11: connectors[b].name: connector names are unique in their organization; line 3 has the same"
    );
}

#[test]
fn connectors_of_two_organizations_may_have_the_same_name() {
    let theirs = "  - id: b\n    organization: theirs\n    name: A\n    resource_domain: https://b.example\n    auth: none\n";

    let config = read(&(with_auth("none") + theirs)).unwrap();

    let whose: Vec<_> = config
        .connectors
        .iter()
        .map(|one| one.organization.as_str())
        .collect();
    assert_eq!(whose, ["default", "theirs"]);
}

#[test]
fn organizations_outside_the_alphabet_are_refused() {
    for organization in ["A", "-a", "a_b", "'*'", "''"] {
        let said = refused(&with_auth("none").replace(
            "name: A",
            &format!("name: A\n    organization: {organization}"),
        ));

        assert_eq!(
            said,
            "4:19: connectors[a].organization: must be an organization of 1 to 64 of a-z, 0-9 and '-'"
        );
    }
}

#[test]
fn names_and_other_texts_have_an_end() {
    let long = format!("name: {}", "x".repeat(201));
    let said = refused(&with_auth("none").replace("name: A", &long));

    assert!(said.contains("a name of 1 to 200 bytes"), "{said}");
}

#[test]
fn other_kinds_are_refused_until_they_exist() {
    let said = refused(&with_auth("none").replace("id: a", "id: a\n    kind: salesforce"));

    assert_eq!(said, "3:11: connectors[a].kind: must be one of custom");
}

#[test]
fn an_absent_auth_is_refused_with_the_choices() {
    for auth in ["", "null", "{}"] {
        let said = refused(&with_auth(auth));

        assert!(
            said.contains("connectors[a].auth: is required: none (in words"),
            "{said}"
        );
    }
    for auth in ["{ none: , basic: {} }", "{ header: {}, oauth2: {} }"] {
        assert!(refused(&with_auth(auth)).contains("write exactly one"));
    }
    for auth in ["basic", "true", "[none]", "5"] {
        assert!(refused(&with_auth(auth)).contains("auth: must be none (in words"));
    }
}

#[test]
fn no_authentication_may_be_said_in_three_ways() {
    for auth in ["none", "{ none: }", "{ none: {} }"] {
        let config = read(&with_auth(auth)).unwrap();

        assert_eq!(config.connectors[0].kind.scheme(), &Scheme::None);
    }
    assert!(refused(&with_auth("{ none: { a: 1 } }")).contains("auth.none"));
}

#[test]
fn a_connector_overrides_single_limits_and_inherits_the_others() {
    let text = format!(
        "upstream: {{ connect: 2s, http2: off, connections_max: 7 }}\n{}    upstream: {{ stall: 1m, http2: auto }}\n",
        with_auth("none")
    );

    let upstream = *read(&text).unwrap().connectors[0].upstream;

    assert_eq!(upstream.connect_timeout, Duration::from_secs(2));
    assert_eq!(upstream.stall_timeout, Duration::from_secs(60));
    assert_eq!(upstream.http2, Http2::Auto);
    assert_eq!(upstream.connections_max, 7);
    assert_eq!(upstream.age_max, Duration::from_secs(600));
}

#[test]
fn what_a_connector_does_not_say_is_the_careful_choice() {
    let config = read(&with_auth("none")).unwrap();
    let connector = &config.connectors[0];

    assert!(connector.enabled);
    assert_eq!(connector.cookies, Cookies::Drop);
    assert_eq!(connector.forwarded, Forwarded::Omit);
    assert_eq!(connector.ca_bundle, None);
    assert_eq!(connector.crl, None);
    assert_eq!(*connector.upstream, crate::connector::Upstream::default());
}

#[test]
fn connectors_of_one_bundle_share_it() {
    let dir = tempfile::tempdir().unwrap();
    let (certificate, _) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    std::fs::write(dir.path().join("ca.pem"), certificate).unwrap();
    let one = |id: &str| {
        format!(
            "  - {{ id: {id}, name: {id}, resource_domain: https://a.example, auth: none, ca_bundle: {{ file: ca.pem }} }}\n"
        )
    };

    let config = read_in(
        &format!("connectors:\n{}{}", one("a"), one("b")),
        dir.path(),
    )
    .unwrap();

    let bundle = |index: usize| config.connectors[index].ca_bundle.clone().unwrap();
    assert!(Arc::ptr_eq(&bundle(0), &bundle(1)));
}

#[test]
fn anchors_and_aliases_may_share_what_connectors_have_in_common() {
    let text = "connectors:
  - &base { id: a, name: A, resource_domain: https://a.example, auth: none, upstream: &slow { stall: 1m } }
  - { <<: *base, id: b, name: B }
  - { id: c, name: C, resource_domain: https://c.example, auth: none, upstream: *slow }
";

    let config = read(text).unwrap();

    assert_eq!(config.connectors.len(), 3);
    for connector in &config.connectors {
        assert_eq!(connector.upstream.stall_timeout, Duration::from_secs(60));
    }
}

#[test]
fn a_hundred_thousand_connectors_load() {
    use std::fmt::Write;

    let mut text = String::from("connectors:\n");
    for index in 0..100_000 {
        writeln!(
            text,
            "  - {{ id: c{index}, name: C{index}, resource_domain: https://c{index}.example/api, auth: {{ basic: {{ username: svc, password: {{ env: SET }} }} }} }}"
        )
        .unwrap();
    }

    let config = read(&text).unwrap();

    assert_eq!(config.connectors.len(), 100_000);
    assert!(config.warnings.is_empty());
}

#[test]
fn a_probe_is_a_request_path_and_no_other_place() {
    for probe in [
        "health",
        "https://b.example/health",
        "'//b.example#x'",
        "/a/../b",
        "/%2e%2e/b",
        "'/a b'",
        "'/a\\b'",
        "'@b.example/'",
        "''",
    ] {
        let said = refused(&with_auth(&format!("none\n    probe: {probe}")));

        assert!(said.contains("connectors[a].probe: "), "{probe}: {said}");
    }
}

#[test]
fn a_probe_stands_below_the_resource_domain() {
    for (base, probe, whole) in [
        ("", "/health?a=b", "https://a.example/health?a=b"),
        ("/api/", "/health", "https://a.example/api/health"),
        ("/api", "?$top=1", "https://a.example/api?$top=1"),
        ("/api", "//b.example/", "https://a.example/api//b.example/"),
    ] {
        let text = with_auth(&format!("none\n    probe: '{probe}'"));
        let text = text.replace("https://a.example", &format!("https://a.example{base}"));
        let config = read(&text).unwrap();

        let probe = config.connectors[0].kind.probe().unwrap();
        assert_eq!(probe.as_str(), whole);
    }
    let silent = read(&with_auth("none\n    probe: null")).unwrap();
    assert_eq!(silent.connectors[0].kind.probe(), None);
}
