//! Keys of flow runtimes: refusals first.

use super::{read, read_in, refused};
use crate::connector::Organization;

const DIGEST: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn keys(keys: &str) -> String {
    format!("inbound: {{ keys: [{keys}] }}")
}

#[test]
fn what_is_no_digest_is_refused_and_not_repeated() {
    let short = &DIGEST[1..];
    let long = format!("{DIGEST}0");
    let foreign = DIGEST.replace('2', "g");
    let wide = format!("{}é", &DIGEST[2..]);
    for bad in ["hunter2", short, &long, &foreign, &wide, "''", "null"] {
        let said = refused(&keys(&format!("{{ name: ivr, sha256: {bad} }}")));

        assert!(said.contains("inbound.keys[0].sha256: "), "{said}");
        assert!(said.contains("SHA-256 digest"), "{said}");
        assert!(bad.len() < 5 || !said.contains(bad), "{said}");
    }
}

#[test]
fn a_key_says_whose_it_is_in_words_that_are_known() {
    for (key, what, why) in [
        (
            format!("{{ sha256: {DIGEST} }}"),
            "keys[0].name",
            "is required",
        ),
        (
            format!("{{ name: \"a\\nb\", sha256: {DIGEST} }}"),
            "keys[0].name",
            "must be",
        ),
        (
            format!("{{ name: {}, sha256: {DIGEST} }}", "x".repeat(201)),
            "keys[0].name",
            "must be",
        ),
        (
            format!("{{ name: ivr, organization: North, sha256: {DIGEST} }}"),
            "keys[0].organization",
            "must be",
        ),
        (
            format!("{{ name: ivr, sha256: {DIGEST} }}, {{ name: other, sha256: {DIGEST} }}"),
            "keys[1].sha256",
            "listed once",
        ),
        (
            format!("{{ nam: ivr, sha256: {DIGEST} }}"),
            "keys[0].nam:",
            "the nearest is `name`",
        ),
    ] {
        let said = refused(&keys(&key));

        let line = said.lines().find(|line| line.contains(what));
        assert!(line.is_some_and(|line| line.contains(why)), "{said}");
    }
}

#[test]
fn keys_open_a_listener_without_trusting_its_network() {
    let key = keys(&format!("{{ name: ivr, sha256: {DIGEST} }}"));
    let open = format!("listen: 0.0.0.0:80\n{key}");
    let warnings = read(&open).unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("in the clear"), "{warnings:?}");
    assert!(read(&key).unwrap().warnings.is_empty());
    let dir = tempfile::tempdir().unwrap();
    super::write_pair(dir.path(), "server", &rcgen::PKCS_ECDSA_P256_SHA256);
    let tls = "tls: { certificate: { file: server.crt }, private_key: { file: server.key } }";
    let config = read_in(&format!("{open}\n{tls}"), dir.path()).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);

    assert!(read("listen: 0.0.0.0:80\ninbound: { keys: [] }").is_err());
    let faulty = keys("{ name: ivr, sha256: x }");
    let said = refused(&format!("listen: 0.0.0.0:80\n{faulty}"));
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_name_may_have_several_keys_and_belongs_to_default_unless_it_says_so() {
    let upper = DIGEST.replace('2', "3").to_uppercase();
    let config = read(&keys(&format!(
        "{{ name: ivr, sha256: {DIGEST} }}, {{ name: ivr, organization: north, sha256: \"{upper}\" }}"
    )))
    .unwrap();

    let [first, second] = &*config.inbound.keys else {
        panic!("{:?}", config.inbound.keys);
    };
    assert_eq!(
        (&*first.principal.name, &first.principal.organization),
        ("ivr", &Organization::default())
    );
    // FIPS 180-4, of `hello`.
    assert_eq!(first.sha256[..4], [0x2c, 0xf2, 0x4d, 0xba]);
    assert_eq!(second.principal.organization.as_str(), "north");
    assert_eq!(second.sha256[..4], [0x3c, 0xf3, 0x4d, 0xba]);
}
