//! A connector as administrators send it: the API's bodies and `config::stored`.
//!
//! A body that is read is read alike by another parser. Its secrets come out and go in again, and
//! the connector is the same. What is said of a bad one shows none of them.

#![no_main]

use std::sync::OnceLock;

use attache::config::ConnectorDefaults;
use attache::config::stored::{
    self, FieldFault, Identity, advice, destination, kept_fields, put_secrets, read, read_with,
    take_secrets,
};
use attache::connector::{ConnectorId, Organization};
use attache::control::api;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some(document) = api::doors::body(data) else {
        return;
    };
    let other: Value = serde_json::from_slice(data).expect("JSON that was read");
    assert_eq!(other, document);

    let id = ConnectorId::parse("crm").expect("an ID");
    let organization = Organization::default();
    let identity = Identity {
        id: &id,
        organization: &organization,
        name: "CRM",
        kind: "custom",
        enabled: true,
    };
    let kept_before = kept_fields(&document);
    let whole = read(&identity, &document, defaults());
    let mut taken = document.clone();
    let secrets = take_secrets(&mut taken);
    let kept = kept_fields(&taken);
    assert_eq!(kept.len(), kept_before.len() + secrets.len());
    assert!(secrets.keys().all(|place| kept.contains(place)));
    let mut nothing_left = taken.clone();
    assert!(take_secrets(&mut nothing_left).is_empty() && nothing_left == taken);
    assert_eq!(put_secrets(&taken, &secrets), document);
    assert_eq!(destination(&taken), destination(&document));

    let put_back = read_with(&identity, &taken, &secrets, defaults());
    match (&whole, &put_back) {
        (Ok(whole), Ok(put_back)) => {
            assert!(kept_before.is_empty());
            assert_eq!(whole, put_back);
            // A connector with secrets is none without them.
            let without = read(&identity, &taken, defaults());
            assert_eq!(without.is_ok(), secrets.is_empty());
            let advised = advice(&identity, &taken, &secrets, defaults());
            shows_nothing(&advised, &secrets);
        }
        (Err(whole), Err(put_back)) => {
            assert_eq!(whole, put_back);
            assert!(!whole.is_empty());
            shows_nothing(whole, &secrets);
        }
        (_, _) => panic!("{whole:?} {put_back:?}"),
    }
});

/// No fault repeats a secret; a word that the gateway's own sentences are made of is none.
fn shows_nothing(faults: &[FieldFault], secrets: &stored::Secrets) {
    for secret in secrets.values().map(|secret| secret.expose()) {
        let is_word = !secret.contains(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase());
        if secret.len() < 12 || is_word {
            continue;
        }
        assert!(
            faults.iter().all(|fault| !fault.detail.contains(secret)),
            "{faults:?}"
        );
    }
}

fn defaults() -> &'static ConnectorDefaults {
    static DEFAULTS: OnceLock<ConnectorDefaults> = OnceLock::new();
    DEFAULTS.get_or_init(|| {
        let config = attache::config::doors::parse("", &|_| None);
        config
            .expect("nothing is a configuration")
            .connector_defaults
    })
}
