//! A real authorization server: npm's oidc-provider, as `tests/oidc/server.mjs` sets it up.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::child::Child;
use super::client::{Answered, Client};
use super::pki::{Ca, Identity, Leaf};
use super::tls::{self, Protocols};

/// A secret that breaks whoever forgets to form-encode it (RFC 6749 §2.3.1).
pub(crate) const ODD_SECRET: &str = "a:b%/+& =secret";
/// The account of the password grant.
pub(crate) const USERNAME: &str = "login@example.com";
/// Its password.
pub(crate) const PASSWORD: &str = "pa ss&word=1+%";
/// How long its tokens live.
const TOKEN_SECONDS: u64 = 600;

/// A running server with one client of each kind, each called by its way of authentication; the
/// client `password` may use the password grant, and `introspector` asks after tokens.
pub(crate) struct Oidc {
    child: Child,
    port: u16,
    ca: Arc<Ca>,
    /// What the client `tls_client_auth` shows; signed by the CA.
    pub(crate) tls_client: Identity,
    /// What the client `self_signed_tls_client_auth` shows.
    pub(crate) self_signed_client: Identity,
    /// The key of the client `private_key_jwt` (RSA).
    pub(crate) assertion_client: Identity,
    /// The key of the client `private_key_jwt_ec`.
    pub(crate) assertion_ec_client: Identity,
    _configuration: TempDir,
}

impl Oidc {
    /// Starts a server whose certificate `ca` signed.
    pub(crate) async fn start(ca: &Arc<Ca>) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc");
        assert!(
            root.join("node_modules/oidc-provider").is_dir(),
            "oidc-provider is not installed: run tests/run, or `npm ci` in tests/oidc"
        );
        let tls_client = ca.client("tls-client");
        let self_signed_client = Leaf::client("self-signed-client").self_signed();
        let assertion_client = Leaf::client("assertion-client").rsa().self_signed();
        let assertion_ec_client = Leaf::client("assertion-ec-client").self_signed();
        let server = ca.server(&[]);
        let configuration = json!({
            "tls": {
                "certificate": server.certificate_pem,
                "private_key": server.key_pem,
                "client_ca": ca.pem(),
            },
            "token_seconds": TOKEN_SECONDS,
            "accounts": { USERNAME: PASSWORD },
            "clients": clients(&[
                ("self_signed_tls_client_auth", &self_signed_client),
                ("private_key_jwt", &assertion_client),
                ("private_key_jwt_ec", &assertion_ec_client),
            ]),
        });
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("config.json");
        std::fs::write(&file, configuration.to_string()).unwrap();
        let mut command = Command::new("node");
        command.arg("server.mjs").arg(&file).current_dir(root);
        let child = Child::start(command);
        let ready = child
            .stdout
            .line("port", |line| line.contains("port"))
            .await;
        let ready: Value = serde_json::from_str(&ready).unwrap();
        Self {
            child,
            port: u16::try_from(ready["port"].as_u64().unwrap()).unwrap(),
            ca: Arc::clone(ca),
            tls_client,
            self_signed_client,
            assertion_client,
            assertion_ec_client,
            _configuration: directory,
        }
    }

    /// The issuer identifier.
    pub(crate) fn issuer(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The token endpoint.
    pub(crate) fn token_url(&self) -> String {
        format!("{}/token", self.issuer())
    }

    /// How many tokens `client` was given for a grant of type `grant`, once it is `count` at least.
    pub(crate) async fn granted(&self, client: &str, grant: &str, count: usize) -> usize {
        let expected = json!({ "granted": client, "grant": grant });
        let is = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|it| it == expected);
        self.child.stdout.until(count, is).await
    }

    /// Posts a form to `path`, showing `identity` if there is one.
    pub(crate) async fn post(
        &self,
        path: &str,
        identity: Option<&Identity>,
        authorization: Option<&str>,
        form: &[(&str, &str)],
    ) -> Answered {
        let config = tls::client(&self.ca, identity, Protocols::Http1);
        let mut client = Client::tls(([127, 0, 0, 1], self.port).into(), config).await;
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut fields = vec![("content-type", "application/x-www-form-urlencoded")];
        fields.extend(authorization.map(|value| ("authorization", value)));
        client.call("POST", path, &fields, body).await
    }

    /// What the server knows of a token (RFC 7662 §2.2).
    pub(crate) async fn introspect(&self, token: &str) -> Value {
        let form = [
            ("token", token),
            ("client_id", "introspector"),
            ("client_secret", ODD_SECRET),
        ];
        self.post("/token/introspection", None, None, &form)
            .await
            .json()
    }
}

fn clients(keys: &[(&str, &Identity)]) -> Value {
    let client = |id: &str, method: &str, grants: &[&str]| {
        json!({
            "client_id": id,
            "token_endpoint_auth_method": method,
            "grant_types": grants,
            "redirect_uris": [],
            "response_types": [],
            "scope": "api offline_access",
        })
    };
    let mut all = Vec::new();
    for method in ["client_secret_basic", "client_secret_post"] {
        all.push(client(method, method, &["client_credentials"]));
    }
    for id in ["password", "introspector"] {
        let grants: &[&str] = if id == "password" {
            &["password", "refresh_token"]
        } else {
            &[]
        };
        all.push(client(id, "client_secret_post", grants));
    }
    for one in &mut all {
        one["client_secret"] = ODD_SECRET.into();
    }
    for (id, identity) in keys {
        let method = id.trim_end_matches("_ec");
        let mut one = client(id, method, &["client_credentials"]);
        one["certificate"] = identity.certificate_pem.as_str().into();
        all.push(one);
    }
    let mut one = client(
        "tls_client_auth",
        "tls_client_auth",
        &["client_credentials"],
    );
    one["tls_client_auth_san_dns"] = "tls-client.clients.example".into();
    all.push(one);
    for one in &mut all {
        if one["token_endpoint_auth_method"]
            .as_str()
            .unwrap()
            .contains("tls")
        {
            one["tls_client_certificate_bound_access_tokens"] = true.into();
        }
    }
    all.into()
}
