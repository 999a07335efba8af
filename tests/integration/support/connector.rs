//! Connectors as a test writes them.

use super::pki::Identity;
use super::stage::Stage;

/// The `connectors` of a configuration, each made by [`connector`].
pub(crate) fn connectors(all: &[String]) -> String {
    format!("connectors:\n{}", all.concat())
}

/// One connector, whose `auth` is YAML.
pub(crate) fn connector(id: &str, resource_domain: &str, auth: &str) -> String {
    connector_with(id, resource_domain, auth, "")
}

/// The same with more keys, in YAML's flow style.
pub(crate) fn connector_with(id: &str, resource_domain: &str, auth: &str, more: &str) -> String {
    let (resource_domain, more) = (quoted(resource_domain), more.trim());
    let more = match more {
        "" => String::new(),
        more => format!(", {more}"),
    };
    format!(
        "  - {{ id: {id}, name: {id}, resource_domain: {resource_domain}, auth: {auth}{more} }}\n"
    )
}

/// `auth` for Basic.
pub(crate) fn basic(username: &str, password: &str) -> String {
    let (username, password) = (quoted(username), quoted(password));
    format!("{{ basic: {{ username: {username}, password: {password} }} }}")
}

/// `auth` for OAuth 2.0 with the keys of `rest`, in YAML's flow style.
pub(crate) fn oauth2(token_url: &str, rest: &str) -> String {
    let token_url = quoted(token_url);
    format!("{{ oauth2: {{ token_url: {token_url}, {rest} }} }}")
}

/// `auth` for client credentials with a secret, which is all that most tests need.
pub(crate) fn with_secret(token_url: &str) -> String {
    oauth2(token_url, "client_id: client, client_secret: client-secret")
}

/// Writes `identity` as files of `stage` and says how a configuration names them.
pub(crate) fn pair(stage: &Stage, stem: &str, identity: &Identity) -> String {
    identity.write(stage.directory(), stem);
    format!("{{ certificate: {{ file: {stem}.pem }}, private_key: {{ file: {stem}.key }} }}")
}

/// A text as YAML reads it back, whatever is in it.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}
