//! An administrator's token of an OpenID provider, and the provider's keys: `control::access`.
//!
//! The first line is a token's head, the second its claims, the third the provider's keys, all
//! JSON; a first line with two dots is a whole token. A token that nobody signed names nobody.

#![no_main]

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use attache::config::{Config, Oidc};
use attache::control::access::doors::{KeySet, identify, identity};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const SETTINGS: &str = "admin: { oidc: { issuer: 'https://id.example', audience: attache, \
    role_claim: /realm/roles, organization_claim: org, roles: { boss: full-admin, \
    reader: external-read-only-admin } } }";

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let head = lines.next().unwrap_or_default();
    let (claims, keys) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let token = match std::str::from_utf8(head) {
        Ok(token) if token.matches('.').count() == 2 => token.to_owned(),
        _ => {
            let part = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
            format!("{}.{}.{}", part(head), part(claims), part(&[0x5a; 64]))
        }
    };
    // Nobody here has the private half of these.
    let refused = identify(&token, ours(), settings(), now).expect_err("nobody has signed it");
    assert!(!refused.contains(|c: char| c.is_control()), "{refused:?}");

    if let Ok(document) = serde_json::from_slice::<Value>(keys) {
        let set = KeySet::of(&document);
        assert!(set.len() <= 100);
        let _whatever = identify(&token, &set, settings(), now);
    }
    let Ok(claims) = serde_json::from_slice::<Value>(claims) else {
        return;
    };
    if let Ok((name, title)) = identity(&claims, settings(), now) {
        let is_plain = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_control());
        assert!(
            name.starts_with("oidc:") && name.len() <= 260 && is_plain(&name),
            "{name:?}"
        );
        assert!(title.len() <= 255 && is_plain(&title), "{title:?}");
        assert_eq!(claims["iss"], "https://id.example");
        let ours = json!("attache");
        let named = claims["aud"] == ours
            || claims["aud"]
                .as_array()
                .is_some_and(|all| all.contains(&ours));
        assert!(named && claims.get("cnf").is_none());
        let leeway = 30.0;
        assert!(
            claims["exp"]
                .as_f64()
                .is_some_and(|end| end + leeway > 1_800_000_000.0)
        );
    }
});

fn settings() -> &'static Oidc {
    static READ: OnceLock<Config> = OnceLock::new();
    let config = READ.get_or_init(|| {
        attache::config::doors::parse(SETTINGS, &|_| None).expect("a good configuration")
    });
    config.admin.oidc.as_ref().expect("a provider")
}

/// The public keys of RFC 7517 Appendix A.1.
fn ours() -> &'static KeySet {
    static KEYS: OnceLock<KeySet> = OnceLock::new();
    KEYS.get_or_init(|| {
        let set = KeySet::of(&json!({"keys": [{
            "kty": "EC", "crv": "P-256", "kid": "1",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        }]}));
        assert_eq!(set.len(), 1);
        set
    })
}
