//! What the program is not built from.

/// The names of every package that the lock file knows, those of other systems included.
fn packages() -> impl Iterator<Item = &'static str> {
    let lock = include_str!("../../Cargo.lock");
    let names = lock
        .lines()
        .filter_map(|line| line.strip_prefix("name = \""));
    names.map(|name| name.trim_end_matches('"'))
}

#[test]
fn no_package_with_a_known_flaw_or_without_a_keeper_is_locked() {
    // protocol.md, rows 64 and 65 (RUSTSEC-2023-0071; RUSTSEC-2025-0134, RUSTSEC-2025-0068).
    const BANNED: [(&str, &str); 8] = [
        (
            "rsa",
            "tells its key by the time it takes; signatures are aws-lc-rs's",
        ),
        (
            "rustls-pemfile",
            "nobody keeps it; PEM is read by rustls-pki-types",
        ),
        ("serde_yml", "nobody keeps it; YAML is read by serde-saphyr"),
        ("serde_yaml", "nobody keeps it"),
        ("libyml", "nobody keeps it"),
        ("unsafe-libyaml", "nobody keeps it"),
        ("openssl-sys", "a second implementation of TLS"),
        ("native-tls", "a second implementation of TLS"),
    ];

    assert!(packages().any(|name| name == "rustls"), "the lock is read");
    for (banned, why) in BANNED {
        assert!(packages().all(|name| name != banned), "{banned}: {why}");
    }
}
