use super::{pair, read, read_in, refused, with_auth, write_pair};
use crate::config::Config;
use crate::connector::{Basic, Scheme};

fn with_password(password: &str) -> String {
    with_auth(&format!(
        "{{ basic: {{ username: svc, password: {password} }} }}"
    ))
}

fn basic(config: &Config) -> &Basic {
    match config.connectors[0].kind.scheme() {
        Scheme::Basic(basic) => basic,
        Scheme::None | Scheme::Header(_) | Scheme::ClientCertificate(_) | Scheme::OAuth2(_) => {
            panic!("not basic")
        }
    }
}

const PASSWORD: &str = "connectors[a].auth.basic.password";

#[test]
fn a_missing_file_is_named_with_the_key_that_names_it() {
    let dir = tempfile::tempdir().unwrap();

    let error = read_in(&with_password("{ file: no/such }"), dir.path()).unwrap_err();

    let path = dir.path().join("no/such");
    let said = error.to_string();
    let expected = format!(
        "5:47: {PASSWORD}: the file {} cannot be read: ",
        path.display()
    );
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains("No such file"), "{said}");
}

#[test]
fn a_variable_that_is_not_set_is_named() {
    let said = refused(&with_password("{ env: ORDERS_PASSWORD }"));

    assert_eq!(
        said,
        format!("5:47: {PASSWORD}: the environment variable ORDERS_PASSWORD is not set")
    );
}

#[test]
fn sources_that_say_nothing_or_too_much_are_refused() {
    for password in [
        "{}",
        "[]",
        "null",
        "{ env: SET, file: x }",
        "{ file: '' }",
        "{ file: \"a\\nb\" }",
        "{ file: [x] }",
        "{ env: '' }",
        "{ env: 'A=B' }",
        "{ path: x }",
    ] {
        let said = refused(&with_password(password));
        assert!(said.contains(PASSWORD), "{password}: {said}");
    }
}

#[test]
fn an_empty_secret_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("newline"), "\n").unwrap();
    std::fs::write(dir.path().join("nothing"), "").unwrap();
    for password in [
        "''",
        "{ env: EMPTY }",
        "{ file: newline }",
        "{ file: nothing }",
    ] {
        let said = read_in(&with_password(password), dir.path())
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("is empty; a secret has at least one character"),
            "{said}"
        );
    }
}

#[test]
fn one_newline_of_a_file_is_dropped_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [("none", "p w"), ("unix", "p w\n"), ("dos", "p w\r\n")] {
        std::fs::write(dir.path().join(name), content).unwrap();
        let config = read_in(&with_password(&format!("{{ file: {name} }}")), dir.path()).unwrap();
        assert_eq!(basic(&config).password.expose(), "p w", "{name}");
        assert!(config.warnings.is_empty());
    }
    for (name, content) in [("two", "p\n\n"), ("first", "\np"), ("inner", "a\r\nb\n")] {
        std::fs::write(dir.path().join(name), content).unwrap();
        let read = read_in(&with_password(&format!("{{ file: {name} }}")), dir.path());
        assert!(
            read.unwrap_err().to_string().contains("holds a line break"),
            "{name}"
        );
    }
}

#[test]
fn characters_that_would_change_a_request_are_refused() {
    // protocol.md, row 59.
    for password in [
        "\"a\\0b\"",
        "\"a\\rb\"",
        "\"a\\nb\"",
        "\"a\\x7fb\"",
        "\"a\\tb\"",
        "{ env: MULTILINE }",
    ] {
        let said = refused(&with_password(password));
        assert!(said.contains("holds a"), "{password}: {said}");
    }
    let header =
        |value: &str| with_auth(&format!("{{ header: {{ name: X-Key, value: {value} }} }}"));
    for value in ["\"a\\nb\"", "\"a\\0b\"", "' a'", "'a '", "\"\\ta\""] {
        let said = refused(&header(value));
        assert!(said.contains("header.value"), "{value}: {said}");
    }
    assert!(read(&header("\"a\\tb\"")).is_ok());
}

#[test]
fn an_oversized_secret_or_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("long"), "x".repeat(16 * 1024 + 1)).unwrap();
    std::fs::write(dir.path().join("huge"), "x".repeat(4 * 1024 * 1024 + 1)).unwrap();
    std::fs::write(dir.path().join("binary"), [0xff, 0xfe]).unwrap();
    for (name, why) in [
        ("long", "longer than 16KiB"),
        ("huge", "larger than 4MiB"),
        ("binary", "not UTF-8"),
    ] {
        let read = read_in(&with_password(&format!("{{ file: {name} }}")), dir.path());
        let said = read.unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_plain_secret_works_and_is_warned_of_without_showing_it() {
    let config = read(&with_password("hunter2")).unwrap();

    assert_eq!(basic(&config).password.expose(), "hunter2");
    assert_eq!(
        config.warnings,
        [format!(
            "5:47: {PASSWORD}: the secret stands in the configuration itself; write {{ env: NAME }} or {{ file: PATH }}"
        )]
    );
}

#[test]
fn a_secret_of_digits_keeps_its_zeros() {
    for password in ["0012", "1e999", "0x1F", "true", "1_000"] {
        let config = read(&with_password(password)).unwrap();

        assert_eq!(basic(&config).password.expose(), password);
    }
}

#[test]
fn the_environment_is_read() {
    let config = read(&with_password("{ env: SET }")).unwrap();

    assert_eq!(basic(&config).password.expose(), "from the environment");
}

#[test]
fn key_pairs_that_do_not_fit_are_refused_and_the_wrong_half_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write_pair(dir.path(), "a", &rcgen::PKCS_ECDSA_P256_SHA256);
    write_pair(dir.path(), "b", &rcgen::PKCS_ECDSA_P256_SHA256);
    std::fs::write(dir.path().join("text"), "hunter2").unwrap();
    std::fs::write(
        dir.path().join("broken"),
        "-----BEGIN CERTIFICATE-----\nhunter2\n",
    )
    .unwrap();
    let read = |certificate: &str, key: &str| {
        let auth = format!(
            "{{ client_certificate: {{ certificate: {{ file: {certificate} }}, private_key: {{ file: {key} }} }} }}"
        );
        read_in(&with_auth(&auth), dir.path())
    };

    assert!(read("a.crt", "a.key").is_ok());
    for (certificate, key, said) in [
        (
            "a.crt",
            "b.key",
            "client_certificate: certificate and private key do not belong together",
        ),
        (
            "a.key",
            "a.key",
            "client_certificate.certificate: the file ",
        ),
        ("text", "a.key", "text holds no PEM certificate"),
        ("broken", "a.key", "broken holds PEM that cannot be read"),
        ("a.crt", "a.crt", "a.crt holds no PEM private key"),
        (
            "a.crt",
            "missing",
            "client_certificate.private_key: the file ",
        ),
    ] {
        let error = read(certificate, key).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn an_inline_key_is_warned_of_and_an_inline_certificate_is_not() {
    let (certificate, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let indented = |pem: &str| pem.trim().replace('\n', "\n            ");
    let auth = format!(
        "\n      client_certificate:\n        certificate: |\n            {}\n        private_key: |\n            {}",
        indented(&certificate),
        indented(&key)
    );

    let config = read(&with_auth(&auth)).unwrap();

    assert_eq!(config.warnings.len(), 1);
    assert!(
        config.warnings[0].contains("private_key: the private key stands in the configuration")
    );
}

#[test]
fn a_configuration_knows_every_file_it_was_read_from() {
    let dir = tempfile::tempdir().unwrap();
    let (file, secret) = (dir.path().join("attache.yaml"), dir.path().join("secret"));
    std::fs::write(&secret, "s").unwrap();
    std::fs::write(&file, with_password("{ file: secret }")).unwrap();

    let config = Config::load(&file).unwrap();

    assert_eq!(config.files, [file, secret]);
}
