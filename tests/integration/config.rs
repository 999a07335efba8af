//! The configuration as an operator meets it: files on disk and `attache check`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the functions that stage these tests are no tests themselves"
)]

use std::path::{Path, PathBuf};

use attache::cli::check::{self, CheckOutcome};
use attache::config::{Config, ConfigError};
use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
use tempfile::TempDir;

/// A directory with a configuration in it.
fn stage(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("attache.yaml");
    std::fs::write(&file, text).unwrap();
    (dir, file)
}

/// What `attache check` answers, says, and complains of.
fn check(file: &Path) -> (CheckOutcome, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let outcome = check::run(file, &mut out, &mut err).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (outcome, text(out), text(err))
}

fn write_pair(dir: &Path, name: &str, algorithm: &'static SignatureAlgorithm) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = CertificateParams::new(vec!["a.example".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    std::fs::write(dir.join(format!("{name}.crt")), certificate.pem()).unwrap();
    std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// A good connector of this ID and name, with this `auth`.
fn connector(id: &str, name: &str, auth: &str) -> String {
    format!(
        "  - id: {id}\n    name: {name}\n    resource_domain: https://{id}.example\n    auth: {auth}\n"
    )
}

#[test]
fn every_bad_input_gets_a_sentence_of_its_own_with_file_line_column_and_key() {
    let good = connector("a", "A", "none");
    let secret = "{ basic: { username: a, password: { file: no-such-file } } }";
    let mismatch =
        "{ client_certificate: { certificate: { file: a.crt }, private_key: { file: b.key } } }";
    let unreadable =
        "{ client_certificate: { certificate: { file: a.crt }, private_key: { file: a.crt } } }";
    let cases = [
        (
            format!("connectors:\n{good}").replace("https", "http"),
            "4:22: connectors[a].resource_domain: must begin with https://",
        ),
        (
            format!("connectors:\n{good}{}", connector("a", "B", "none")),
            "6:9: connectors[a].id: connector IDs are unique in the whole gateway",
        ),
        (
            format!("connectors:\n{good}{}", connector("b", "A", "none")),
            "7:11: connectors[b].name: connector names are unique in their organization",
        ),
        (
            format!("connectors:\n{good}    colour: red\n"),
            "6:5: connectors[a].colour: is not a known key; the nearest is `",
        ),
        (
            format!("connectors:\n{}", connector("a", "A", secret)),
            "5:45: connectors[a].auth.basic.password: the file ",
        ),
        (
            format!("connectors:\n{}", connector("a", "A", mismatch)),
            "5:33: connectors[a].auth.client_certificate: certificate and private key do not belong together",
        ),
        (
            format!("connectors:\n{}", connector("a", "A", unreadable)),
            "5:78: connectors[a].auth.client_certificate.private_key: the file ",
        ),
        (
            "listen: 0.0.0.0:8080\n".to_owned(),
            "1:9: listen: 0.0.0.0:8080 is not a loopback address",
        ),
        (
            "workers: 1\nworkers: 2\n".to_owned(),
            "2:1: workers: this key was given before",
        ),
        (
            "workers: ${CORES}\n".to_owned(),
            "1:10: workers: looks like ${…}",
        ),
        ("a: [\n".to_owned(), "1:4: is not valid YAML: "),
    ];
    for (text, said) in cases {
        let (dir, file) = stage(&text);
        write_pair(dir.path(), "a", &rcgen::PKCS_ECDSA_P256_SHA256);
        write_pair(dir.path(), "b", &rcgen::PKCS_ECDSA_P256_SHA256);

        let (outcome, out, err) = check(&file);

        assert_eq!((outcome, outcome.exit_code()), (CheckOutcome::Faulty, 2));
        assert_eq!(out, "");
        let expected = format!("{}:{said}", file.display());
        assert!(err.starts_with(&expected), "{expected}\n{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}

#[test]
fn a_file_that_is_missing_too_large_or_no_text_is_refused() {
    let (dir, file) = stage("");
    let sparse = std::fs::File::create(dir.path().join("large")).unwrap();
    sparse.set_len(256 * 1024 * 1024 + 1).unwrap();
    std::fs::write(dir.path().join("binary"), [0xff, 0xfe, 0x00]).unwrap();

    let load = |name: &str| Config::load(&dir.path().join(name)).map(drop).unwrap_err();

    assert!(matches!(load("missing"), ConfigError::Unreadable { .. }));
    assert!(matches!(load("large"), ConfigError::TooLarge { .. }));
    assert!(matches!(load("binary"), ConfigError::NotText { .. }));
    let (outcome, _, err) = check(&file.with_file_name("missing"));
    assert_eq!(outcome, CheckOutcome::Faulty);
    assert!(
        err.contains("missing: cannot be read: No such file"),
        "{err}"
    );
}

#[test]
fn faults_can_be_read_one_by_one() {
    let (_dir, file) = stage("workers: x\nlogs: { level: y }\n");

    match Config::load(&file).unwrap_err() {
        ConfigError::Faulty(faults) => {
            let places: Vec<_> = faults
                .iter()
                .map(|fault| (fault.line(), fault.column(), fault.key()))
                .collect();
            assert_eq!(places, [(1, 10, "workers"), (2, 16, "logs.level")]);
        }
        other @ (ConfigError::Unreadable { .. }
        | ConfigError::TooLarge { .. }
        | ConfigError::NotText { .. }) => panic!("{other:?}"),
    }
}

#[test]
fn a_plain_secret_is_warned_of_with_connector_and_key_but_without_the_value() {
    let auth = "{ basic: { username: svc, password: hunter2 } }";
    let (_dir, file) = stage(&format!(
        "connectors:\n{}",
        connector("orders", "Orders", auth)
    ));

    let (outcome, out, err) = check(&file);

    assert_eq!(outcome, CheckOutcome::Good);
    assert!(
        out.ends_with("good; connectors: 1, of which inactive: 0; warnings: 1\n"),
        "{out}"
    );
    let expected = format!(
        "warning: {}:5:47: connectors[orders].auth.basic.password: ",
        file.display()
    );
    assert!(err.starts_with(&expected), "{err}");
    assert!(!err.contains("hunter2") && !out.contains("hunter2"));
}

#[test]
fn paths_are_relative_to_the_file_they_stand_in() {
    let auth = "{ basic: { username: svc, password: { file: secrets/orders } } }";
    let (dir, file) = stage(&format!(
        "connectors:\n{}",
        connector("orders", "Orders", auth)
    ));
    std::fs::create_dir(dir.path().join("secrets")).unwrap();
    std::fs::write(dir.path().join("secrets/orders"), "p\n").unwrap();

    assert_eq!(Config::load(&file).unwrap().connectors.len(), 1);
}

#[test]
fn the_shipped_configurations_are_good() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let (outcome, _, err) = check(&shipped.join("attache.yaml"));
    assert_eq!((outcome, err.as_str()), (CheckOutcome::Good, ""));

    let (dir, file) = stage(&std::fs::read_to_string(shipped.join("reference.yaml")).unwrap());
    std::fs::create_dir(dir.path().join("secrets")).unwrap();
    for secret in ["orders", "maps", "crm", "archive", "archive-client"] {
        std::fs::write(dir.path().join("secrets").join(secret), "s\n").unwrap();
    }
    write_pair(dir.path(), "ledger", &rcgen::PKCS_ECDSA_P256_SHA256);
    write_pair(dir.path(), "claims", &rcgen::PKCS_RSA_SHA256);
    let (outcome, out, err) = check(&file);
    assert_eq!(outcome, CheckOutcome::Good, "{err}");
    assert!(out.contains("connectors: 7,"), "{out}");
}
