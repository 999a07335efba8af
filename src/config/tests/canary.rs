//! A secret in a wrong place is never shown, wherever it was put.

use super::{read, with_auth};

const CANARY: &str = "hunter2";

/// Neither the error, its `Debug` output nor the warnings may hold the canary. (Where it stands
/// in the place of a name, the configuration is good and may show it.)
fn assert_silent(text: &str) {
    let shown = match read(text) {
        Ok(config) => config.warnings.join("\n"),
        Err(error) => format!("{error}\n{error:?}"),
    };
    assert!(!shown.contains(CANARY), "{text}\n{shown}");
}

#[test]
fn a_secret_in_place_of_any_value_is_not_shown() {
    let shapes = [
        "hunter2",
        "'hunter2'",
        "[hunter2]",
        "[[hunter2]]",
        "[{ hunter2: hunter2 }]",
        "{ hunter2: x }",
        "{ hunter2 }",
        "{ fil: hunter2 }",
        "{ file: [hunter2] }",
        "{ file: { x: hunter2 } }",
        "{ file: \"hunter2\\n\" }",
        "{ file: \"-----BEGIN hunter2\" }",
        "{ env: hunter2 }",
        "{ env: 'hunter2=x' }",
        "{ env: [hunter2] }",
        "{ env: hunter2, file: hunter2 }",
        "${hunter2}",
        "'${X}hunter2'",
        "\"hunter2\\u0000\"",
        "\"hunter2\\nhunter2\"",
        "!hunter2 x",
        "!!int hunter2",
        "*hunter2",
        "&hunter2 hunter2",
        "[hunter2",
        "\"hunter2",
        "hunter2: hunter2",
        "hunter2\n hunter2: [",
        "|hunter2\n  hunter2",
        "@hunter2",
        "{ <<: hunter2 }",
        "https://u:hunter2@a.example",
        "http://hunter2",
        concat!("-----BEGIN PRIVATE", " KEY-----hunter2"),
        "\"-----BEGIN CERTIFICATE-----\\nhunter2\\n-----END hunter2-----\"",
        "\"-----BEGIN hunter2-----\\nAAAA\\n-----END CERTIFICATE-----\"",
    ];
    for shape in shapes {
        for key in super::super::settings::ROOT_KEYS {
            assert_silent(&format!("{key}: {shape}\n"));
        }
        for key in [
            "ca_bundle",
            "crl",
            "kind",
            "enabled",
            "cookies",
            "forwarded",
            "upstream",
        ] {
            assert_silent(&with_auth(&format!("none\n    {key}: {shape}")));
        }
        assert_silent(&format!("trust: {{ ca_bundles: [{shape}] }}"));
        assert_silent(&format!("limits: {{ fields_max: {shape} }}"));
        assert_silent(&with_auth(shape));
        for auth in AUTHS {
            assert_silent(&with_auth(&auth.replace('@', shape)));
        }
    }
}

const AUTHS: &[&str] = &[
    "{ none: @ }",
    "{ basic: @ }",
    "{ basic: { username: @, password: { env: SET } } }",
    "{ basic: { username: 'a:hunter2', password: { env: SET } } }",
    "{ basic: { username: a, password: @ } }",
    "{ basic: { username: a, password: { env: SET }, validation_url: @ } }",
    "{ header: @ }",
    "{ header: { name: X-Key, value: @ } }",
    "{ header: { name: 'X hunter2', value: @ } }",
    "{ client_certificate: @ }",
    "{ client_certificate: { certificate: @, private_key: @ } }",
    "{ oauth2: @ }",
    "{ oauth2: { grant: @ } }",
    "{ oauth2: { client_secret: @ } }",
    "{ oauth2: { token_url: @, client_id: @, client_secret: { env: SET } } }",
    "{ oauth2: { grant: password, password: @, username: @ } }",
    "{ oauth2: { client_authentication: @, client_secret: @ } }",
    "{ oauth2: { client_authentication: private_key_jwt, client_certificate: @, assertion: @ } }",
    "{ oauth2: { client_authentication: private_key_jwt, assertion: { audience: @, lifetime: @, algorithm: @, typ: @, key_id: @ } } }",
    "{ oauth2: { certificate_to_resource: @, scope: @ } }",
    "{ oauth2: { token_parameters: @, token_headers: @ } }",
    "{ oauth2: { token_parameters: { a: @, client_secret: @ }, token_headers: { X-A: @, Host: @ } } }",
    "{ oauth2: { token_parameters: { 'hunter2 ': x }, token_headers: { 'hunter2 ': x } } }",
    "{ hunter2: @ }",
];

#[test]
fn a_secret_that_slipped_into_a_key_is_not_shown() {
    for text in [
        with_auth("{ basic: { username: svc, hunter2 } }"),
        with_auth("{ basic: { username: svc, password hunter2 } }"),
        with_auth("{ basic: { username: svc, password:hunter2 } }"),
        with_auth("{ basic: { username: svc, hunter2: hunter2, hunter2: hunter2 } }"),
        with_auth("{ header: { name: a, value: x, ? [hunter2] : x } }"),
        "tls: { hunter2 }".to_owned(),
        "hunter2".to_owned(),
        "hunter2: hunter2".to_owned(),
        "- hunter2".to_owned(),
    ] {
        assert_silent(&text);
    }
}

#[test]
fn a_good_configuration_shows_no_secret_either() {
    for auth in [
        "{ basic: { username: svc, password: hunter2 } }",
        "{ header: { name: X-Key, value: hunter2 } }",
        "{ oauth2: { token_url: https://a.example, client_id: a, client_secret: hunter2, token_parameters: { x: hunter2 }, token_headers: { X-A: hunter2 } } }",
        "{ oauth2: { grant: password, username: a, password: hunter2, token_url: https://a.example, client_id: a, client_secret: hunter2 } }",
    ] {
        let config = read(&with_auth(auth)).unwrap();
        assert!(
            !format!("{config:?} {config:#?}").contains(CANARY),
            "{auth}"
        );
        assert_silent(&with_auth(auth));
    }
}
