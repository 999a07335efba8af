//! Connectors as administrators write them: refusals first.

use serde_json::{Value, json};

use super::{pair, read as read_yaml};
use crate::config::ConnectorDefaults;
use crate::config::stored::{
    FieldFault, Identity, Secrets, advice, destination, kept_fields, put_secrets, read, read_with,
    take_secrets,
};
use crate::connector::{
    ClientAuthentication, ClientCertificate, Connector, ConnectorId, Custom, GrantType, Kind,
    OAuth2, Organization, Scheme,
};
use crate::secret::Secret;

const CANARY: &str = "hunter2";

fn defaults() -> ConnectorDefaults {
    read_yaml("").unwrap().connector_defaults
}

fn with_identity<T>(claim: impl FnOnce(&Identity<'_>) -> T) -> T {
    let id = ConnectorId::parse("crm").unwrap();
    claim(&Identity {
        id: &id,
        organization: &Organization::default(),
        name: "CRM",
        kind: "custom",
        enabled: true,
    })
}

fn good(document: &Value) -> Connector {
    with_identity(|identity| read(identity, document, &defaults())).unwrap()
}

fn refused(document: &Value) -> Vec<FieldFault> {
    with_identity(|identity| read(identity, document, &defaults())).unwrap_err()
}

/// What is said at `field` of a document that must be refused.
fn said_at(field: &str, document: &Value) -> String {
    let faults = refused(document);
    let fault = faults.iter().find(|fault| fault.field == field);
    fault.unwrap_or_else(|| panic!("{faults:?}")).detail.clone()
}

fn with_auth(auth: Value) -> Value {
    json!({"resource_domain": "https://crm.example.com", "auth": auth})
}

fn oauth2(own: Value) -> Value {
    let mut oauth2 = json!({"token_url": "https://a.example/token", "client_id": "a"});
    let all = oauth2.as_object_mut().unwrap();
    all.extend(own.as_object().unwrap().clone());
    with_auth(json!({"oauth2": oauth2}))
}

/// A document of every way of authentication, each secret of it once.
fn every_scheme() -> Vec<Value> {
    let (certificate, key) = pair(&rcgen::PKCS_RSA_SHA256);
    let pair = json!({"certificate": certificate, "private_key": key});
    let by_certificate = |method: &str| {
        oauth2(
            json!({"client_authentication": method, "client_certificate": pair, "certificate_to_resource": true}),
        )
    };
    let mut signed = by_certificate("private_key_jwt");
    signed["auth"]["oauth2"]["assertion"] = json!({"audience": "https://a.example"});
    vec![
        with_auth(json!("none")),
        with_auth(json!({"basic": {"username": "svc", "password": "first hunter2"}})),
        with_auth(json!({"header": {"name": "X-Key", "value": "second hunter2"}})),
        with_auth(json!({"client_certificate": pair})),
        oauth2(json!({
            "client_secret": "third hunter2",
            "token_parameters": {"audience": "fourth hunter2", "x": "fifth hunter2"},
            "token_headers": {"X~A": "sixth hunter2"},
        })),
        oauth2(json!({
            "grant": "password", "username": "u", "password": "seventh hunter2",
            "client_authentication": "client_secret_post", "client_secret": "eighth hunter2",
        })),
        by_certificate("tls_client_auth"),
        by_certificate("self_signed_tls_client_auth"),
        signed,
    ]
}

/// Every secret that `connector` holds. A field that is added anywhere has to be thought of here.
fn secrets_of(connector: &Connector) -> Vec<&str> {
    let Kind::Custom(Custom {
        resource_domain: _,
        probe: _,
        scheme,
    }) = &connector.kind;
    let secrets = match scheme {
        Scheme::None => vec![],
        Scheme::Basic(basic) => vec![&basic.password],
        Scheme::Header(header) => vec![&header.value],
        Scheme::ClientCertificate(certificate) => vec![private_key(certificate)],
        Scheme::OAuth2(oauth) => oauth_secrets(oauth),
    };
    let mut secrets: Vec<_> = secrets.into_iter().map(Secret::expose).collect();
    secrets.sort_unstable();
    secrets
}

fn private_key(certificate: &ClientCertificate) -> &Secret {
    let ClientCertificate {
        certificate_pem: _,
        private_key_pem,
    } = certificate;
    private_key_pem
}

fn oauth_secrets(oauth: &OAuth2) -> Vec<&Secret> {
    let OAuth2 {
        grant,
        token_url: _,
        revocation_url: _,
        client_id: _,
        client_authentication,
        certificate_to_resource: _,
        scope: _,
        token_parameters,
        token_headers,
    } = oauth;
    let mut secrets: Vec<&Secret> = token_parameters.values().collect();
    secrets.extend(token_headers.iter().map(|header| &header.value));
    match grant {
        GrantType::ClientCredentials => {}
        GrantType::Password {
            username: _,
            password,
        } => secrets.push(password),
    }
    match client_authentication {
        ClientAuthentication::None => {}
        ClientAuthentication::ClientSecretBasic(secret)
        | ClientAuthentication::ClientSecretPost(secret) => secrets.push(secret),
        ClientAuthentication::PrivateKeyJwt {
            certificate,
            assertion: _,
        }
        | ClientAuthentication::TlsClientAuth(certificate)
        | ClientAuthentication::SelfSignedTlsClientAuth(certificate) => {
            secrets.push(private_key(certificate));
        }
    }
    secrets
}

#[test]
fn a_secret_from_the_gateways_own_files_or_environment_is_refused() {
    for source in [
        json!({"env": "HOME"}),
        json!({"file": "/etc/passwd"}),
        json!({"command": "id"}),
        json!({"file": "x", "env": "y"}),
    ] {
        for (field, document) in [
            (
                "/auth/basic/password",
                with_auth(json!({"basic": {"username": "a", "password": source}})),
            ),
            (
                "/auth/header/value",
                with_auth(json!({"header": {"name": "X-Key", "value": source}})),
            ),
            (
                "/auth/client_certificate/certificate",
                with_auth(json!({"client_certificate": {"certificate": source}})),
            ),
            (
                "/auth/client_certificate/private_key",
                with_auth(json!({"client_certificate": {"private_key": source}})),
            ),
            (
                "/auth/oauth2/client_secret",
                oauth2(json!({"client_secret": source})),
            ),
            (
                "/auth/oauth2/token_parameters/a",
                oauth2(json!({"client_secret": "s", "token_parameters": {"a": source}})),
            ),
            (
                "/auth/oauth2/token_headers/X~0A",
                oauth2(json!({"client_secret": "s", "token_headers": {"X~A": source}})),
            ),
            (
                "/ca_bundle",
                json!({"resource_domain": "https://a.example", "auth": "none", "ca_bundle": source}),
            ),
            (
                "/crl",
                json!({"resource_domain": "https://a.example", "auth": "none", "crl": source}),
            ),
        ] {
            let said = said_at(field, &document);
            assert!(said.contains("configuration file"), "{field}: {said}");
        }
    }
}

#[test]
fn a_private_key_among_certificates_is_refused_since_they_are_shown() {
    let (certificate, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let both = [format!("{certificate}{key}"), format!("{key}{certificate}")];
    for both in &both {
        let own = json!({"certificate": both, "private_key": key});
        let mutual = with_auth(json!({"client_certificate": own}));
        let client = oauth2(json!({
            "client_authentication": "tls_client_auth",
            "client_certificate": own,
        }));
        let mut trusting = with_auth(json!("none"));
        trusting["ca_bundle"] = json!(both);
        for (field, document) in [
            ("/auth/client_certificate/certificate", mutual),
            ("/auth/oauth2/client_certificate/certificate", client),
            ("/ca_bundle", trusting),
        ] {
            let said = said_at(field, &document);
            assert!(said.contains("a private key"), "{field}: {said}");
        }
    }
}

#[test]
fn a_secret_that_is_kept_nowhere_is_refused() {
    let document = with_auth(json!({"basic": {"username": "a", "password": {"kept": true}}}));

    let said = said_at("/auth/basic/password", &document);

    assert!(said.contains("nothing is kept here"), "{said}");
}

#[test]
fn what_is_no_string_is_no_secret_and_no_text() {
    for value in [
        json!(12345),
        json!(true),
        json!(["a"]),
        json!({}),
        json!({"kept": false}),
    ] {
        let document = with_auth(json!({"basic": {"username": "a", "password": value}}));
        refused(&document);
        let document = with_auth(json!({"basic": {"username": value, "password": "a"}}));
        said_at("/auth/basic/username", &document);
    }
}

#[test]
fn numbers_and_truth_values_are_not_strings() {
    for (field, own) in [
        ("/enabled", json!({"enabled": true})),
        ("/forwarded", json!({"forwarded": "true"})),
        (
            "/requests_in_flight_max",
            json!({"requests_in_flight_max": "5"}),
        ),
        (
            "/requests_in_flight_max",
            json!({"requests_in_flight_max": 0}),
        ),
        (
            "/requests_in_flight_max",
            json!({"requests_in_flight_max": 5.0}),
        ),
        ("/upstream/connect", json!({"upstream": {"connect": 5}})),
        (
            "/expired_on/statuses/1",
            json!({"expired_on": {"statuses": [401, "403"]}}),
        ),
        ("/cookies", json!({"cookies": true})),
        ("/upgrades/0", json!({"upgrades": [1]})),
        ("/allow", json!({"allow": {}})),
        ("/allow/0", json!({"allow": ["GET"]})),
        (
            "/allow/0/methods/1",
            json!({"allow": [{"methods": ["GET", "get"]}]}),
        ),
        (
            "/allow/1/paths/0",
            json!({"allow": [{}, {"paths": ["/a/../b"]}]}),
        ),
        ("/allow/0/networks", json!({"allow": [{"networks": []}]})),
        (
            "/allow/0/principals/0",
            json!({"allow": [{"principals": [7]}]}),
        ),
    ] {
        let mut document = with_auth(json!("none"));
        let all = document.as_object_mut().unwrap();
        all.extend(own.as_object().unwrap().clone());

        said_at(field, &document);
    }
}

#[test]
fn an_unknown_key_is_named_with_the_nearest() {
    let mut document = with_auth(json!({"basic": {"usrname": "a", "password": "hunter2"}}));
    document["cokies"] = json!("drop");

    let said = said_at("/cokies", &document);
    assert!(said.contains("the nearest is `cookies`"), "{said}");
    let said = said_at("/auth/basic/usrname", &document);
    assert!(said.contains("the nearest is `username`"), "{said}");
}

#[test]
fn what_stands_beside_a_document_is_refused_within_it() {
    for key in ["id", "organization", "name", "kind", "enabled"] {
        let mut document = with_auth(json!("none"));
        document[key] = json!("custom");

        said_at(&format!("/{key}"), &document);
    }
    for none in [json!(null), json!([]), json!("none"), json!(1)] {
        said_at("", &none);
    }
}

#[test]
fn a_name_or_kind_that_is_none_is_refused_by_its_own_field() {
    let id = ConnectorId::parse("crm").unwrap();
    let organization = Organization::default();
    for (field, name, kind) in [
        ("/name", "", "custom"),
        ("/name", "a\nb", "custom"),
        ("/name", &"x".repeat(201)[..], "custom"),
        ("/kind", "CRM", "salesfarce"),
    ] {
        let identity = Identity {
            id: &id,
            organization: &organization,
            name,
            kind,
            enabled: true,
        };
        let faults = read(&identity, &with_auth(json!("none")), &defaults()).unwrap_err();
        assert_eq!(faults[0].field, field, "{faults:?}");
    }
}

#[test]
fn no_refusal_repeats_a_value() {
    let shapes = [
        json!("hunter2"),
        json!(["hunter2"]),
        json!({"hunter2": "hunter2"}),
        json!({"file": "hunter2"}),
        json!({"env": "hunter2"}),
        json!("${hunter2}"),
        json!("hunter2\n"),
        json!("https://u:hunter2@a.example"),
        json!("-----BEGIN CERTIFICATE-----\nhunter2\n-----END hunter2-----"),
    ];
    for shape in shapes {
        for whole in every_scheme() {
            let mut places = vec![String::new()];
            leaves(&whole, "", &mut places);
            for place in places {
                let mut document = whole.clone();
                *document.pointer_mut(&place).unwrap() = shape.clone();
                let read = with_identity(|identity| read(identity, &document, &defaults()));
                for fault in read.err().into_iter().flatten() {
                    assert!(!fault.detail.contains(CANARY), "{place}: {fault:?}");
                }
            }
        }
    }
}

/// The pointer to every value within `value`.
fn leaves(value: &Value, pointer: &str, places: &mut Vec<String>) {
    if let Value::Object(map) = value {
        for (key, value) in map {
            let pointer = format!("{pointer}/{}", key.replace('~', "~0"));
            leaves(value, &pointer, places);
            places.push(pointer);
        }
    }
}

#[test]
fn every_secret_that_can_be_read_is_taken_out_and_put_back() {
    for whole in every_scheme() {
        let connector = good(&whole);
        let mut document = whole.clone();

        let secrets = take_secrets(&mut document);

        let mut taken: Vec<_> = secrets.values().map(Secret::expose).collect();
        taken.sort_unstable();
        assert_eq!(taken, secrets_of(&connector));
        let left = document.to_string();
        assert!(
            !left.contains(CANARY) && !left.contains("PRIVATE"),
            "{left}"
        );
        assert_eq!(kept_fields(&document).len(), secrets.len());
        assert_eq!(put_secrets(&document, &secrets), whole);
        let opened =
            with_identity(|identity| read_with(identity, &document, &secrets, &defaults()));
        assert_eq!(opened.unwrap(), connector);
    }
}

#[test]
fn a_secret_is_put_where_it_was_kept_and_nowhere_else() {
    let document = with_auth(json!({"basic": {"username": {"kept": true}, "password": "new"}}));
    let old = ["/auth/basic/password", "/auth/basic/username"];
    let secrets: Secrets = old
        .map(|place| (place.to_owned(), Secret::new("old".to_owned())))
        .into();

    let whole = put_secrets(&document, &secrets);

    assert_eq!(whole, document);
}

#[test]
fn yaml_and_json_say_the_same_connector() {
    let rest = json!({
        "probe": "/health?a=b", "cookies": "pass", "forwarded": true,
        "expired_on": {"statuses": [401, 403], "pointer": "/e", "equals": 7},
        "replay_body_bytes_max": 0, "retry": {"statuses": [502], "attempts": 3},
        "requests_in_flight_max": 7, "requests_per_second": {"rate": 5},
        "breaker": null, "request_body_bytes_max": "1KiB", "upgrades": ["websocket"],
        "allow": [{"principals": ["ivr"], "methods": ["GET"], "paths": ["/x"], "networks": ["10.0.0.0/8"]}],
        "scrub": "all", "upstream": {"connect": "2s", "connections_max": 9, "http2": "off"},
    });
    for mut document in every_scheme() {
        let all = document.as_object_mut().unwrap();
        all.extend(rest.as_object().unwrap().clone());
        let mut whole = document.clone();
        let identity =
            json!({"id": "crm", "name": "CRM", "kind": "custom", "organization": "default"});
        let all = whole.as_object_mut().unwrap();
        all.extend(identity.as_object().unwrap().clone());
        // Every JSON text is YAML (YAML 1.2 §1.3).
        let yaml = read_yaml(&json!({"connectors": [whole]}).to_string()).unwrap();

        assert_eq!(good(&document), *yaml.connectors[0]);
    }
}

#[test]
fn what_a_document_does_not_say_is_as_the_gateway_has_it() {
    let defaults = read_yaml("upstream: { connect: 3s, connections_max: 7 }")
        .unwrap()
        .connector_defaults;
    let document = json!({
        "resource_domain": "https://a.example", "auth": "none",
        "upstream": {"connections_max": 8},
    });

    let connector = with_identity(|identity| read(identity, &document, &defaults)).unwrap();

    assert_eq!(connector.upstream.connections_max, 8);
    assert_eq!(connector.upstream.connect_timeout.as_secs(), 3);
}

/// RFC 9700 §2.4.
#[test]
fn the_password_grant_is_advised_against_and_a_plain_string_is_not() {
    let document = oauth2(
        json!({"grant": "password", "username": "u", "password": "p", "client_secret": "s"}),
    );

    let said = with_identity(|identity| advice(identity, &document, &Secrets::new(), &defaults()));

    let fields: Vec<_> = said.iter().map(|advice| advice.field.as_str()).collect();
    assert_eq!(fields, ["/auth/oauth2/grant"]);
    assert!(said[0].detail.contains("RFC 9700 §2.4"));
}

#[test]
fn a_secret_that_looks_like_interpolation_is_taken_as_it_is() {
    let whole = with_auth(json!({"basic": {"username": "a", "password": "${PATH}"}}));

    assert_eq!(secrets_of(&good(&whole)), ["${PATH}"]);
}

#[test]
fn another_destination_is_told_from_this_one_and_another_secret_is_not() {
    let mut hashes = Vec::new();
    for whole in every_scheme() {
        let mut document = whole.clone();
        let secrets = take_secrets(&mut document);
        assert_eq!(destination(&whole), destination(&document));
        for place in secrets.keys() {
            let mut other = whole.clone();
            *other.pointer_mut(place).unwrap() = json!("another");
            assert_eq!(destination(&other), destination(&whole), "{place}");
        }
        document["cookies"] = json!("pass");
        document["ca_bundle"] = json!(null);
        assert_eq!(destination(&whole), destination(&document));
        document["crl"] = json!("another");
        assert_eq!(destination(&whole), destination(&document));
        document["ca_bundle"] = json!("another");
        assert_ne!(destination(&whole), destination(&document));
        let mut elsewhere = whole.clone();
        elsewhere["resource_domain"] = json!("https://evil.example");
        assert_ne!(destination(&whole), destination(&elsewhere));
        hashes.push(destination(&whole));
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), every_scheme().len());
}

#[test]
fn a_destination_is_the_same_however_its_keys_are_ordered() {
    let one = r#"{"auth": {"basic": {"username": "a", "password": "b"}}, "resource_domain": "x"}"#;
    let other =
        r#"{"resource_domain": "x", "auth": {"basic": {"password": "c", "username": "a"}}}"#;
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();

    assert_eq!(destination(&read(one)), destination(&read(other)));
}
