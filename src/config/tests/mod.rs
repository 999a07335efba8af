//! Tests of the configuration as a whole: refusals first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the functions that stage these tests are no tests themselves"
)]

use std::ffi::OsString;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

use super::{Config, ConfigError, load};

mod allow;
mod auth;
mod canary;
mod connectors;
mod inbound;
mod proxy_protocol;
mod reference;
mod revocation;
mod secrets;
mod settings;
mod store;
mod stored;
mod trouble;

/// The environment of every test here.
fn environment(name: &str) -> Option<OsString> {
    match name {
        "SET" => Some("from the environment".into()),
        "EMPTY" => Some(OsString::new()),
        "MULTILINE" => Some("a\nb".into()),
        _ => None,
    }
}

fn read_in(text: &str, base_dir: &Path) -> Result<Config, ConfigError> {
    load::text(text, None, base_dir, &environment)
}

fn read(text: &str) -> Result<Config, ConfigError> {
    read_in(text, Path::new("nowhere"))
}

/// What is said of `text`, which must be refused: one line a fault.
fn refused(text: &str) -> String {
    let error = read(text).map(drop).expect_err(text);
    error.to_string()
}

/// A connector with this `auth`, and the key under which its faults stand.
fn with_auth(auth: &str) -> String {
    format!(
        "connectors:\n  - id: a\n    name: A\n    resource_domain: https://a.example\n    auth: {auth}\n"
    )
}

/// A certificate and its key, both PEM.
fn pair(algorithm: &'static SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Writes a pair as `{name}.crt` and `{name}.key`.
fn write_pair(dir: &Path, name: &str, algorithm: &'static SignatureAlgorithm) {
    let (certificate, key) = pair(algorithm);
    std::fs::write(dir.join(format!("{name}.crt")), certificate).unwrap();
    std::fs::write(dir.join(format!("{name}.key")), key).unwrap();
}
