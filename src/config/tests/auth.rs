use std::path::Path;
use std::time::Duration;

use super::{read, read_in, refused, with_auth, write_pair};
use crate::config::Config;
use crate::connector::{ClientAuthentication, GrantType, OAuth2, Scheme, SigningAlgorithm};

const LEAST: &str = "token_url: https://login.example/token, client_id: me";

fn oauth2(rest: &str) -> String {
    with_auth(&format!("{{ oauth2: {{ {LEAST}, {rest} }} }}"))
}

fn read_oauth2(config: &Config) -> &OAuth2 {
    match config.connectors[0].kind.scheme() {
        Scheme::OAuth2(oauth2) => oauth2,
        Scheme::None | Scheme::Basic(_) | Scheme::Header(_) | Scheme::ClientCertificate(_) => {
            panic!("not oauth2")
        }
    }
}

/// Each of `faults` must be said, under its key.
fn assert_faults(said: &str, faults: &[(&str, &str)]) {
    for (key, why) in faults {
        let found = said
            .lines()
            .any(|line| line.contains(&format!("auth.{key}: ")) && line.contains(why));
        assert!(found, "{key}: {why}: {said}");
    }
    assert_eq!(said.lines().count(), faults.len(), "{said}");
}

#[test]
fn a_basic_username_holds_no_colon() {
    for username in ["'a:b'", "\"a\\nb\"", "[a]", "null"] {
        let said = refused(&with_auth(&format!(
            "{{ basic: {{ username: {username}, password: {{ env: SET }} }} }}"
        )));
        assert_faults(&said, &[("basic.username", "RFC 7617 §2")]);
    }
    assert!(
        read(&with_auth(
            "{ basic: { username: '', password: { env: SET } } }"
        ))
        .is_ok()
    );
}

#[test]
fn a_validation_url_is_https() {
    let said = refused(&with_auth(
        "{ basic: { username: a, password: { env: SET }, validation_url: http://a.example } }",
    ));

    assert_faults(&said, &[("basic.validation_url", "https://")]);
}

#[test]
fn a_validation_url_is_on_the_resource_domains_own_origin() {
    let said = refused(&with_auth(
        "{ basic: { username: a, password: { env: SET }, validation_url: 'https://b.example/me' } }",
    ));

    assert_faults(&said, &[("basic.validation_url", "own origin")]);
}

#[test]
fn fields_of_the_connection_carry_no_credential() {
    for name in [
        "Connection",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "TE",
        "Upgrade",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "Trailer",
        "Via",
        "Expect",
        "Connector-Id",
        "Forwarded",
        "X-Forwarded-For",
        "content_length",
        "X_Forwarded_Proto",
    ] {
        let text = with_auth(&format!(
            "{{ header: {{ name: {name}, value: {{ env: SET }} }} }}"
        ));
        assert_faults(&refused(&text), &[("header.name", "RFC 9110 §7.6.1")]);
    }
    for name in ["'X Key'", "'X:'", "''", "é"] {
        let text = with_auth(&format!(
            "{{ header: {{ name: {name}, value: {{ env: SET }} }} }}"
        ));
        assert_faults(&refused(&text), &[("header.name", "the name of a field")]);
    }
}

#[test]
fn oauth2_asks_for_what_every_request_needs() {
    let said = refused(&with_auth("{ oauth2: {} }"));

    assert_faults(
        &said,
        &[
            ("oauth2.token_url", "is required"),
            ("oauth2.client_id", "is required"),
            ("oauth2.client_secret", "is required"),
        ],
    );
}

#[test]
fn each_grant_has_its_own_keys() {
    let client = "client_secret: { env: SET }";
    let said = refused(&oauth2(&format!(
        "{client}, username: a, password: {{ env: SET }}"
    )));
    assert_faults(
        &said,
        &[
            (
                "oauth2.username",
                "does not go with grant: client_credentials",
            ),
            (
                "oauth2.password",
                "does not go with grant: client_credentials",
            ),
        ],
    );
    let said = refused(&oauth2(&format!("{client}, grant: password")));
    assert_faults(
        &said,
        &[
            ("oauth2.username", "is required"),
            ("oauth2.password", "is required"),
        ],
    );
    let said = refused(&oauth2(&format!("{client}, grant: authorization_code")));
    assert_faults(&said, &[("oauth2.grant", "client_credentials, password")]);
}

#[test]
fn the_password_grant_is_warned_of() {
    // protocol.md, line 45.
    let config = read(&oauth2(
        "grant: password, username: a, password: { env: SET }, client_authentication: none",
    ))
    .unwrap();

    assert!(matches!(
        read_oauth2(&config).grant,
        GrantType::Password { .. }
    ));
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].contains("RFC 9700 §2.4"));
}

#[test]
fn each_client_authentication_has_its_own_keys() {
    let secret = "client_secret: { env: SET }";
    let certificate =
        "client_certificate: { certificate: { file: a.crt }, private_key: { file: a.key } }";
    let assertion = "assertion: { audience: x }";
    for method in ["client_secret_basic", "client_secret_post"] {
        let said = refused(&oauth2(&format!(
            "client_authentication: {method}, {secret}, {certificate}, {assertion}"
        )));
        assert_faults(
            &said,
            &[
                ("oauth2.client_certificate", method),
                ("oauth2.assertion", method),
            ],
        );
    }
    for method in ["tls_client_auth", "self_signed_tls_client_auth"] {
        let said = refused(&oauth2(&format!(
            "client_authentication: {method}, {secret}, {assertion}"
        )));
        assert_faults(
            &said,
            &[
                ("oauth2.client_secret", method),
                ("oauth2.assertion", method),
                ("oauth2.client_certificate", "is required"),
            ],
        );
    }
    let said = refused(&oauth2(&format!(
        "client_authentication: private_key_jwt, {secret}"
    )));
    assert_faults(
        &said,
        &[
            ("oauth2.client_secret", "private_key_jwt"),
            ("oauth2.client_certificate", "is required"),
            ("oauth2.assertion.audience", "is required"),
        ],
    );
    let said = refused(&oauth2(&format!("client_authentication: none, {secret}")));
    assert_faults(
        &said,
        &[("oauth2.client_secret", "client_authentication: none")],
    );
    let said = refused(&oauth2("client_authentication: client_secret_jwt"));
    assert_faults(&said, &[("oauth2.client_authentication", "must be one of")]);
}

#[test]
fn a_certificate_can_be_shown_only_where_there_is_one() {
    let said = refused(&oauth2(
        "client_secret: { env: SET }, certificate_to_resource: true",
    ));

    assert_faults(
        &said,
        &[("oauth2.certificate_to_resource", "without a certificate")],
    );
}

#[test]
fn parameters_of_the_gateways_own_may_not_be_given_twice() {
    // protocol.md, line 40.
    for name in [
        "grant_type",
        "client_id",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
        "scope",
        "username",
        "password",
        "refresh_token",
    ] {
        let said = refused(&oauth2(&format!(
            "client_secret: {{ env: SET }}, token_parameters: {{ {name}: x }}"
        )));
        assert_faults(&said, &[("oauth2.token_parameters", "RFC 6749 §3.2")]);
    }
    let said = refused(&oauth2(
        "client_secret: { env: SET }, token_parameters: { 'a b': x }",
    ));
    assert_faults(&said, &[("oauth2.token_parameters", "RFC 6749 §8.2")]);
    let said = refused(&oauth2(
        "client_secret: { env: SET }, token_parameters: { a: '' }",
    ));
    assert_faults(&said, &[("oauth2.token_parameters", "is empty")]);
}

#[test]
fn token_headers_are_fields_of_the_operators_own() {
    for (headers, why) in [
        ("{ Host: a }", "RFC 9110 §7.6.1"),
        ("{ X-A: { env: SET }, x-a: { env: SET } }", "given before"),
        ("{ Authorization: { env: SET } }", "RFC 6749 §2.3"),
        ("{ X-A: \"a\\nb\" }", "line break"),
        ("[a]", "must be a mapping"),
    ] {
        let said = refused(&oauth2(&format!(
            "client_secret: {{ env: SET }}, token_headers: {headers}"
        )));
        assert_faults(&said, &[("oauth2.token_headers", why)]);
    }
}

#[test]
fn scopes_are_separated_by_single_spaces() {
    for scope in ["''", "'a  b'", "' a'", "'a\"b'", "[a, b]", "é"] {
        let said = refused(&oauth2(&format!(
            "client_secret: {{ env: SET }}, scope: {scope}"
        )));
        assert_faults(&said, &[("oauth2.scope", "RFC 6749 §3.3")]);
    }
}

fn assertion_in(dir: &Path, key: &str, assertion: &str) -> Result<Config, String> {
    let text = oauth2(&format!(
        "client_authentication: private_key_jwt, certificate_to_resource: true, client_certificate: {{ certificate: {{ file: {key}.crt }}, private_key: {{ file: {key}.key }} }}, assertion: {{ audience: https://login.example, {assertion} }}"
    ));
    read_in(&text, dir).map_err(|error| error.to_string())
}

#[test]
fn an_assertions_algorithm_fits_its_key() {
    // protocol.md, line 55.
    let dir = tempfile::tempdir().unwrap();
    write_pair(dir.path(), "rsa", &rcgen::PKCS_RSA_SHA256);
    write_pair(dir.path(), "p256", &rcgen::PKCS_ECDSA_P256_SHA256);
    write_pair(dir.path(), "p384", &rcgen::PKCS_ECDSA_P384_SHA384);
    let read =
        |key, algorithm: &str| assertion_in(dir.path(), key, &format!("algorithm: {algorithm}"));

    for (key, algorithm) in [
        ("rsa", "ES256"),
        ("p256", "RS256"),
        ("p256", "PS256"),
        ("p384", "ES256"),
    ] {
        let said = read(key, algorithm).map(drop).unwrap_err();
        assert_faults(&said, &[("oauth2.assertion.algorithm", algorithm)]);
    }
    for algorithm in ["none", "HS256", "rs256", "EdDSA", "RS1"] {
        let said = read("rsa", algorithm).map(drop).unwrap_err();
        assert_faults(
            &said,
            &[("oauth2.assertion.algorithm", "RS256, PS256, ES256")],
        );
    }
    for (key, algorithm) in [("rsa", "RS256"), ("rsa", "PS256"), ("p256", "ES256")] {
        assert!(read(key, algorithm).is_ok(), "{key} {algorithm}");
    }
}

#[test]
fn an_assertion_is_short_lived_and_has_defaults() {
    // protocol.md, line 53.
    let dir = tempfile::tempdir().unwrap();
    write_pair(dir.path(), "rsa", &rcgen::PKCS_RSA_SHA256);

    for lifetime in ["6m", "4s", "60"] {
        let said = assertion_in(dir.path(), "rsa", &format!("lifetime: {lifetime}"));
        let said = said.map(drop).unwrap_err();
        assert_faults(&said, &[("oauth2.assertion.lifetime", "from 5s to 5m")]);
    }
    let config = assertion_in(dir.path(), "rsa", "").unwrap();
    let oauth2 = read_oauth2(&config);
    assert!(oauth2.certificate_to_resource);
    match &oauth2.client_authentication {
        ClientAuthentication::PrivateKeyJwt { assertion, .. } => {
            assert_eq!(assertion.algorithm, SigningAlgorithm::Rs256);
            assert_eq!((assertion.typ.as_str(), &assertion.key_id), ("JWT", &None));
            assert_eq!(assertion.lifetime, Duration::from_secs(60));
        }
        other @ (ClientAuthentication::None
        | ClientAuthentication::ClientSecretBasic(_)
        | ClientAuthentication::ClientSecretPost(_)
        | ClientAuthentication::TlsClientAuth(_)
        | ClientAuthentication::SelfSignedTlsClientAuth(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_client_that_says_nothing_else_has_a_secret_for_basic() {
    let config = read(&oauth2(
        "client_secret: { env: SET }, token_parameters: { audience: x }",
    ))
    .unwrap();

    let oauth2 = read_oauth2(&config);
    assert_eq!(oauth2.grant, GrantType::ClientCredentials);
    assert_eq!(oauth2.client_authentication.name(), "client_secret_basic");
    assert_eq!(oauth2.scope, None);
    assert_eq!(oauth2.token_parameters["audience"].expose(), "x");
    assert!(config.warnings.is_empty());
}

/// RFC 7009 §2: the URL of the revocation endpoint is one of https.
#[test]
fn a_revocation_url_is_https() {
    for url in ["http://a.example/revoke", "a.example"] {
        let said = refused(&oauth2(&format!(
            "client_secret: {{ env: SET }}, revocation_url: {url}"
        )));
        assert_faults(&said, &[("oauth2.revocation_url", "https")]);
    }
    let rest = "client_secret: { env: SET }, revocation_url: 'https://a.example/revoke?t=1'";
    let config = read(&oauth2(rest)).unwrap();
    let url = read_oauth2(&config).revocation_url.as_ref();
    assert_eq!(
        url.map(|url| url.as_str()),
        Some("https://a.example/revoke?t=1")
    );
}
