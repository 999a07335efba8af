//! What a secret is bound to: where it goes, and as what.
//!
//! Whoever may edit a connector must not thereby read its secret. An edit that keeps a secret
//! therefore keeps everything that decides where it is sent, or the secret is given anew:
//!
//! | key | why it binds |
//! |---|---|
//! | `resource_domain` | gets the password, the field or the token with every request; its base path too, since hosts may be shared |
//! | `ca_bundle` | whoever it trusts can stand in for any host named here |
//! | `auth.basic.username`, `auth.header.name` | under another name an origin may tell the value: a field `Origin` comes back in `Access-Control-Allow-Origin` |
//! | `auth.basic.validation_url` | is sent the password |
//! | `auth.oauth2.token_url`, `.revocation_url` | get the client's secret, the resource owner's password, tokens and signed assertions |
//! | `auth.oauth2.grant`, `.client_authentication`, `.client_id`, `.username` | decide which of them goes where, and in whose name |
//! | `auth.oauth2.assertion` | an assertion for another audience is good elsewhere |
//! | `auth.oauth2.certificate_to_resource`, the certificates | who is shown that we hold the private key |
//! | names of `token_parameters` and `token_headers` | what a value is sent as |
//!
//! So everything in `auth` binds but its secrets themselves and what [`FREE`] names, which a key that
//! is added later does not join by itself. `probe` is a path below the resource domain, as flows
//! send them, and leads nowhere else. Other keys decide how requests travel, not where. `crl` does not
//! bind: lists last for days, and whoever had to give every secret anew to renew one would have none.
//!
//! # Invariants
//!
//! A secret that was given for one place is never sent to another. Staged and earlier secrets have
//! the same bonds: they are dropped where the current ones would have to be given anew.

use serde_json::{Map, Value};

use crate::config::stored::{FieldFault, kept_fields, take_secrets};

/// The keys that may be edited only while a connector is inactive.
pub(super) const CREDENTIAL_KEYS: [&str; 3] = ["resource_domain", "auth", "ca_bundle"];

/// Keys of `auth.oauth2` that bind nothing: what a token is asked for, by whom and where it then
/// goes staying the same.
const FREE: [&str; 1] = ["scope"];

/// A fault for each secret that `next` keeps although it would go elsewhere than `now` sends it.
pub(super) fn unbound(now: &Value, next: &Value) -> Vec<FieldFault> {
    if bonds(now) == bonds(next) {
        return Vec::new();
    }
    let fault = |field| FieldFault {
        field,
        detail: "has to be given anew: where it is sent, or as what, has changed".to_owned(),
    };
    kept_fields(next).into_iter().map(fault).collect()
}

/// Whether `next` says other credentials than `now`, secrets aside.
pub(super) fn credentials_differ(now: &Value, next: &Value) -> bool {
    credentials(now) != credentials(next)
}

fn bonds(document: &Value) -> Value {
    let mut bonds = credentials(document);
    if let Some(Value::Object(oauth2)) = bonds.pointer_mut("/auth/oauth2") {
        FREE.iter().for_each(|key| drop(oauth2.remove(*key)));
    }
    bonds
}

/// The credential keys, with every secret as kept; one that is null is as if it were not there.
fn credentials(document: &Value) -> Value {
    let written = CREDENTIAL_KEYS.into_iter().filter_map(|key| {
        let value = document.get(key).filter(|value| !value.is_null())?;
        Some((key.to_owned(), value.clone()))
    });
    let mut credentials = Value::Object(written.collect::<Map<_, _>>());
    // The secrets are dropped, and overwritten, here.
    drop(take_secrets(&mut credentials));
    credentials
}
