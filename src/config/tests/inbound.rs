//! Whom the gateway lets in, by key, certificate and address: refusals first.

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

fn certificates(certificates: &str) -> String {
    format!("inbound: {{ certificates: [{certificates}] }}")
}

/// TLS with, and without, a CA for clients; in a directory that has them.
const ASKING: &str = "tls: { certificate: { file: server.crt }, private_key: { file: server.key }, client_ca: { file: server.crt } }";
const NOT_ASKING: &str =
    "tls: { certificate: { file: server.crt }, private_key: { file: server.key } }";

fn with_tls(text: &str) -> Result<crate::config::Config, crate::config::ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    super::write_pair(dir.path(), "server", &rcgen::PKCS_ECDSA_P256_SHA256);
    read_in(text, dir.path())
}

#[test]
fn a_certificate_says_whose_it_is_by_a_name_that_can_be_told() {
    for (certificate, what, why) in [
        ("{ san: 'dns:a.example' }", "[0].name", "is required"),
        ("{ name: ivr }", "[0].san", "is required"),
        (
            "{ name: ivr, san: ivr.example }",
            "[0].san",
            "must be a subject",
        ),
        (
            "{ name: ivr, san: 'dns:*' }",
            "[0].san",
            "must be a subject",
        ),
        ("{ name: ivr, san: [] }", "[0].san", "must be a subject"),
        ("{ name: '', san: 'dns:a.example' }", "[0].name", "must be"),
        (
            "{ name: ivr, organization: A, san: 'dns:a.example' }",
            "[0].organization",
            "must be",
        ),
        (
            "{ name: ivr, san: 'dns:a.example' }, { name: b, san: 'dns:A.example' }",
            "[1].san",
            "each pattern is listed once",
        ),
        ("{ name: ivr, sans: x }", "[0].sans", "the nearest is `san`"),
    ] {
        let text = format!("{ASKING}\n{}", certificates(certificate));
        let said = with_tls(&text)
            .map(drop)
            .expect_err(certificate)
            .to_string();

        let line = said
            .lines()
            .find(|line| line.contains(&format!("inbound.certificates{what}")));
        assert!(line.is_some_and(|line| line.contains(why)), "{said}");
    }
}

#[test]
fn certificates_that_nobody_is_asked_for_are_a_fault() {
    let listed = certificates("{ name: ivr, san: 'dns:ivr.example' }");

    for text in [listed.clone(), format!("{NOT_ASKING}\n{listed}")] {
        let said = with_tls(&text).map(drop).expect_err(&text).to_string();

        assert!(said.contains("inbound.certificates: asks for"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let config = with_tls(&format!("{ASKING}\n{listed}")).unwrap();
    assert_eq!(&*config.inbound.certificates[0].principal.name, "ivr");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

/// What opens a listener, and what does not, to more than this machine.
#[test]
fn nothing_but_loopback_is_bound_without_authentication_or_the_words() {
    let key = keys(&format!("{{ name: ivr, sha256: {DIGEST} }}"));
    let listed = certificates("{ name: ivr, san: 'dns:ivr.example' }");
    for address in [
        "0.0.0.0:80",
        "192.0.2.7:80",
        "'[::]:80'",
        "'[2001:db8::7]:80'",
        "'[::ffff:0.0.0.0]:80'",
        "'[::ffff:192.0.2.7]:80'",
        "['127.0.0.1:80', '0.0.0.0:81']",
        "['[::1]:80', '[::]:81']",
    ] {
        let listen = format!("listen: {address}\n");
        for closed in [
            "",
            "trust_network: false",
            "inbound: { keys: [], certificates: [], browsers: refuse }",
            NOT_ASKING,
        ] {
            let said = with_tls(&format!("{listen}{closed}")).map(drop);
            let said = said.expect_err(address).to_string();
            assert!(said.contains("trust_network: true"), "{address}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
        for open in [
            "trust_network: true",
            &key,
            ASKING,
            &format!("{ASKING}\n{listed}"),
            &format!("{NOT_ASKING}\n{key}"),
            &format!("{ASKING}\n{key}"),
        ] {
            let read = with_tls(&format!("{listen}{open}"));
            assert!(read.is_ok(), "{address} {open}: {read:?}");
        }
    }
    for address in [
        "127.0.0.1:80",
        "127.8.9.1:80",
        "'[::1]:80'",
        "'[::ffff:127.0.0.1]:80'",
        "['127.0.0.1:80', '[::1]:81']",
    ] {
        let config = read(&format!("listen: {address}")).unwrap();
        assert!(config.warnings.is_empty(), "{address}");
    }
}

#[test]
fn browsers_are_refused_unless_it_is_said_and_that_is_warned_of() {
    use crate::config::Browsers;

    assert_eq!(read("").unwrap().inbound.browsers, Browsers::Refuse);
    let open = read("inbound: { browsers: allow }").unwrap();
    assert_eq!(open.inbound.browsers, Browsers::Allow);
    assert!(open.warnings[0].contains("inbound.browsers"));
    for bad in ["true", "Allow", "null", "[]", "''"] {
        let said = refused(&format!("inbound: {{ browsers: {bad} }}"));
        assert!(said.contains("refuse, allow"), "{said}");
    }
}
