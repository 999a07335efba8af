//! Certificates, private keys and revocation lists: `tls`.
//!
//! The first byte says how the rest is to be taken: as PEM text, or as DER that is wrapped in PEM,
//! or as changes to a private key that is put together here (none is in the tree). Nothing panics,
//! and what is said of a bad text repeats nothing of it.

#![no_main]

use attache::connector::{ClientCertificate, Http2, SigningAlgorithm};
use attache::secret::Secret;
use attache::tls::client::{self, ClientTls, TrustAnchors};
use attache::tls::{self, TlsError, revocation};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;

/// What begins and ends a text of PEM (RFC 7468 §2).
const LABELS: [&str; 6] = [
    "CERTIFICATE",
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "X509 CRL",
];

fuzz_target!(|data: &[u8]| {
    let Some((how, rest)) = data.split_first() else {
        return;
    };
    let label = LABELS[usize::from(how / 4) % LABELS.len()];
    let text = match how % 4 {
        0 => match std::str::from_utf8(rest) {
            Ok(text) => text.to_owned(),
            Err(_) => return,
        },
        1 => wrapped(label, rest),
        2 => wrapped("PRIVATE KEY", &changed(rest)),
        // As it is pasted where line ends are lost.
        _ => wrapped(label, rest).replace('\n', ""),
    };
    let certificates = client::certificates(&text);
    match &certificates {
        Ok(found) => assert!(!found.is_empty()),
        Err(error) => harmless(error, &text),
    }
    let _not_after = tls::not_after(&text);
    match client::check_anchors(&text) {
        Ok(()) => {
            assert!(certificates.is_ok());
            TrustAnchors::system_and([])
                .and_then(|none| none.and([&*text]))
                .expect("anchors");
        }
        Err(error) => harmless(&error, &text),
    }
    if let Err(error) = revocation::check_revocations(&text) {
        harmless(&error, &text);
    }
    let _next_update = revocation::next_update(&text);
    if let Err(error) = client::private_key(&text) {
        harmless(&error, &text);
    }
    use SigningAlgorithm::{Es256, Ps256, Rs256};
    for algorithm in [Rs256, Ps256, Es256] {
        if let Err(error) = client::can_sign(&text, algorithm) {
            harmless(&error, &text);
        }
    }
    let pair = ClientCertificate {
        certificate_pem: text.clone(),
        private_key_pem: Secret::new(text.clone()),
    };
    if client::check_pair(&pair).is_ok() {
        let anchors = TrustAnchors::system_and([]).expect("no anchors of our own");
        ClientTls::new(&anchors, Some(&pair), Http2::Auto).expect("a pair that was checked");
    }
});

/// What `error` says and what it stems from shows no part of `text`, which may be a key.
fn harmless(error: &TlsError, text: &str) {
    let said = attache::logging::with_sources(error);
    // Labels are no secrets.
    let is_label = |part: &&str| part.starts_with("BEGIN ") || part.starts_with("END ");
    let parts = text.lines().flat_map(|line| line.split("-----"));
    for part in parts.filter(|part| !is_label(part)) {
        let Some(part) = part.get(..24) else {
            continue;
        };
        assert!(!said.contains(part), "{said}");
        let listed = format!("{:?}", part.as_bytes());
        assert!(!said.contains(listed.trim_matches(['[', ']'])), "{said}");
    }
}

fn wrapped(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64);
    let lines: Vec<_> = lines
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// A P-256 key (RFC 5915, RFC 5958) with one byte changed for every two of `changes`, of which the
/// first may also cut it.
fn changed(changes: &[u8]) -> Vec<u8> {
    let mut key = vec![
        0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
        0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25,
        0x02, 0x01, 0x01, 0x04, 0x20,
    ];
    key.extend([0x11; 32]);
    for change in changes.chunks_exact(2) {
        match key.get_mut(usize::from(change[0])) {
            Some(byte) => *byte ^= change[1],
            None => key.truncate(usize::from(change[1])),
        }
    }
    key
}
