//! Revocation lists in a configuration: a bad one is a fault at its place.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

use super::{pair, read_in, with_auth, write_pair};

/// A CA's certificate and a list of it, both PEM.
fn issued() -> (String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2049, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&ca).unwrap();
    (ca.pem(), list.pem().unwrap())
}

fn with_crl(source: &str) -> String {
    with_auth(&format!("none\n    crl: {source}"))
}

/// What is said of the connector whose lists are in the file `lists.pem`, which holds `text`.
fn said_of(dir: &Path, text: &str) -> String {
    std::fs::write(dir.join("lists.pem"), text).unwrap();
    let error = read_in(&with_crl("{ file: lists.pem }"), dir);
    error.map(drop).expect_err(text).to_string()
}

#[test]
fn a_list_that_cannot_be_used_is_a_fault_at_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, list) = issued();
    let (_, key) = pair(&PKCS_ECDSA_P256_SHA256);
    // Its first whole line of 64 characters (RFC 7468 §2).
    let half = format!("{}-----END X509 CRL-----\n", &list[..90]);
    for (text, why) in [
        ("", "holds no PEM revocation list"),
        (&*ca, "holds no PEM revocation list"),
        (&*half, "holds a revocation list that cannot be used"),
        (&list[..200], "holds PEM that cannot be read"),
        (
            &*format!("{list}{half}"),
            "holds a revocation list that cannot be used",
        ),
        (&*format!("{list}{key}"), "PEM revocation lists alone"),
    ] {
        let said = said_of(dir.path(), text);

        let place = "6:10: connectors[a].crl: ";
        assert!(said.starts_with(place) && said.contains(why), "{said}");
        assert!(!said.contains(&list[40..80]), "{said}");
    }
    let none = read_in(&with_crl("{ file: gone.pem }"), dir.path());
    assert!(none.unwrap_err().to_string().contains("gone.pem"));
    let plain = read_in(&with_crl("https://ca.example/list.crl"), dir.path());
    assert!(plain.unwrap_err().to_string().contains("PEM text"));
}

#[test]
fn a_list_may_be_a_file_or_stand_in_the_configuration_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, list) = issued();
    // Both in one file is good for both keys.
    std::fs::write(dir.path().join("both.pem"), format!("{ca}{list}")).unwrap();
    let both = with_auth("none\n    crl: { file: both.pem }\n    ca_bundle: { file: both.pem }");
    let inline = with_crl(&serde_json::to_string(&list).unwrap());

    for text in [both, inline] {
        let config = read_in(&text, dir.path()).unwrap();

        let crl = config.connectors[0].crl.as_deref().unwrap();
        assert!(crl.contains(&list), "{text}");
    }
    let none = read_in(&with_crl("null"), dir.path()).unwrap();
    assert_eq!(none.connectors[0].crl, None);
}

#[test]
fn what_was_good_as_a_bundle_is_still_judged_as_a_list() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, list) = issued();
    std::fs::write(dir.path().join("ca.pem"), ca).unwrap();
    std::fs::write(dir.path().join("list.pem"), list).unwrap();
    for file in ["ca.pem", "list.pem"] {
        let own = format!("none\n    ca_bundle: {{ file: {file} }}\n    crl: {{ file: {file} }}");

        assert!(read_in(&with_auth(&own), dir.path()).is_err(), "{file}");
    }
}

#[test]
fn the_lists_of_clients_come_with_their_ca() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, list) = issued();
    std::fs::write(dir.path().join("clients.pem"), &ca).unwrap();
    std::fs::write(dir.path().join("clients.crl"), &list).unwrap();
    write_pair(dir.path(), "server", &PKCS_ECDSA_P256_SHA256);
    let own = "certificate: { file: server.crt }, private_key: { file: server.key }";
    let lists = "client_crl: { file: clients.crl }";
    for (key, before) in [("tls", ""), ("admin.tls", "admin: { ")] {
        let text = |more: &str| {
            let end = if before.is_empty() { "" } else { " }" };
            format!("{before}tls: {{ {own}, {more} }}{end}\n")
        };
        let good = text(&format!("client_ca: {{ file: clients.pem }}, {lists}"));
        let config = read_in(&good, dir.path()).unwrap();
        let tls = config.tls.or(config.admin.tls).unwrap();
        assert_eq!(tls.client_crl_pem.as_deref(), Some(&*list));

        for (bad, why) in [
            (text(lists), "together with client_ca"),
            (
                text("client_ca: { file: clients.pem }, client_crl: { file: clients.pem }"),
                "holds no PEM revocation list",
            ),
        ] {
            let said = read_in(&bad, dir.path()).unwrap_err().to_string();
            let place = format!("{key}.client_crl: ");
            assert!(said.contains(&place) && said.contains(why), "{said}");
        }
    }
}
