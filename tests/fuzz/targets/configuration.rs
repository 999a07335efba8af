//! A configuration's text: `config`.
//!
//! No text makes the reader panic, and what it says of a bad one is bounded and shows no secret.
//! What is accepted reads again as the same, and can be published. There are no files and no
//! commands here; of variables there are `SECRET`, `CERTIFICATE` and `KEY`.

#![no_main]

use std::ffi::OsString;
use std::sync::OnceLock;

use attache::config::{Config, doors};
use attache_fuzz::{CANARY, publish};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match doors::parse(text, &variable) {
        Ok(config) => accepted(text, &config),
        Err(error) => {
            let said = error.to_string();
            // Each fault in a line: at most a hundred, with a key and a value's form.
            assert!(said.len() <= 8 * data.len() + 64 * 1024, "{}", said.len());
            assert!(
                !said.contains(CANARY) && !said.contains("PRIVATE KEY-----M"),
                "{said}"
            );
        }
    }
});

fn accepted(text: &str, config: &Config) {
    let again = doors::parse(text, &variable).expect("it was accepted before");
    assert_eq!(again.connectors, config.connectors);
    assert_eq!(again.warnings, config.warnings);
    assert!(config.workers > 0 && !config.listen.is_empty());
    for warning in &config.warnings {
        assert!(!warning.contains(CANARY), "{warning}");
    }
    let snapshot = publish(config).expect("what is accepted can be published");
    assert_eq!(snapshot.entries.len(), config.connectors.len());
    for connector in &config.connectors {
        let entry = snapshot
            .entry(connector.id.as_str())
            .expect("every connector");
        assert!(entry.upstream.resource.base_path().starts_with('/'));
    }
}

fn variable(name: &str) -> Option<OsString> {
    let (certificate, key) = pair();
    let value = match name {
        "SECRET" => CANARY,
        "CERTIFICATE" => certificate,
        "KEY" => key,
        _ => return None,
    };
    Some(value.into())
}

/// Made by each run, so that none is in the tree.
fn pair() -> &'static (String, String) {
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let parameters = rcgen::CertificateParams::new(["gateway.example".to_owned()]);
        let certificate = parameters.expect("a name").self_signed(&key);
        (
            certificate.expect("a certificate").pem(),
            key.serialize_pem(),
        )
    })
}
