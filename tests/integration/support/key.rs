//! Keys of flow runtimes, as they are configured and shown.

use aws_lc_rs::digest::{SHA256, digest};

/// The digest of `key`, in hexadecimal digits.
pub(crate) fn sha256(key: &str) -> String {
    let digest = digest(&SHA256, key.as_bytes());
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// `inbound` with these keys, each of them a name, an organization and the key itself.
pub(crate) fn keyed(keys: &[(&str, &str, &str)]) -> String {
    format!("inbound: {{ keys: [{}] }}\n", listed(keys))
}

/// The same, without `inbound`.
pub(crate) fn listed(keys: &[(&str, &str, &str)]) -> String {
    let keys = keys.iter().map(|(name, organization, key)| {
        let sha256 = sha256(key);
        format!("{{ name: {name}, organization: {organization}, sha256: {sha256} }}")
    });
    keys.collect::<Vec<_>>().join(", ")
}

/// The line that shows `key`.
pub(crate) fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}\r\n")
}
