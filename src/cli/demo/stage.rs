//! The demonstration's stage: its two stand-ins, running, and the configuration that leads there.
//!
//! # Invariants
//!
//! Every secret and port is of this run alone. Dropping the stage ends both servers and waits for
//! nothing, so it may be dropped anywhere, within a runtime too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

use super::authority::{
    Authority, CERTIFICATE_CLIENT, PASSWORD_CLIENT, Registered, SECRET_CLIENT, TOKEN_PATH, USERNAME,
};
use super::pki::{Pki, random_secret};
use super::resource::{
    BASIC_BASE, BASIC_USERNAME, CERTIFICATE_BASE, PASSWORD_BASE, Resource, SECRET_BASE,
};
use super::server;
use super::tokens::Tokens;
use crate::clock::Clock;
use crate::secret::Secret;

/// Where the stand-ins listen.
const AT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The stand-ins and what the gateway must know of them.
#[derive(Debug)]
pub(super) struct Stage {
    runtime: Option<Runtime>,
    authority: Arc<Authority>,
    resource_domain: SocketAddr,
    authorization_server: SocketAddr,
    pki: Pki,
    secrets: Secrets,
}

/// The secrets of one run; each is known to the gateway and to one stand-in.
#[derive(Debug)]
struct Secrets {
    basic_password: Secret,
    client_secret: Secret,
    password_client_secret: Secret,
    password: Secret,
}

impl Stage {
    /// Makes certificates and secrets and starts both stand-ins.
    pub(super) fn set(clock: &Clock) -> anyhow::Result<Self> {
        let secrets = Secrets {
            basic_password: random_secret(),
            client_secret: random_secret(),
            password_client_secret: random_secret(),
            password: random_secret(),
        };
        let pki = Pki::throw_away(AT, clock.wall())?;
        let tokens = Arc::new(Tokens::new(clock.clone()));
        let registered = Registered {
            client_secret: secrets.client_secret.clone(),
            password_client_secret: secrets.password_client_secret.clone(),
            password: secrets.password.clone(),
        };
        let authority = Arc::new(Authority::new(registered, Arc::clone(&tokens)));
        let resource = Arc::new(Resource::new(secrets.basic_password.clone(), tokens));
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("demo-stand-ins")
            .enable_all()
            .build()
            .context("the demonstration's own threads could not be started")?;
        let authorization_server =
            server::start(runtime.handle(), AT, &pki, Arc::clone(&authority))?;
        let resource_domain = server::start(runtime.handle(), AT, &pki, resource)?;
        Ok(Self {
            runtime: Some(runtime),
            authority,
            resource_domain,
            authorization_server,
            pki,
            secrets,
        })
    }

    /// Where the resource domain listens.
    pub(super) fn resource_domain(&self) -> SocketAddr {
        self.resource_domain
    }

    /// Where the authorization server listens.
    pub(super) fn authorization_server(&self) -> SocketAddr {
        self.authorization_server
    }

    /// Requests to the token endpoint so far.
    pub(super) fn token_requests(&self) -> u64 {
        self.authority.token_requests()
    }

    /// The configuration of a gateway in front of this stage, with its secrets in it.
    pub(super) fn configuration(&self, listen: SocketAddr, admin: SocketAddr) -> Secret {
        let ca = block(&self.pki.ca_pem, 6);
        Secret::new(format!(
            "listen: \"{listen}\"
admin: {{ listen: \"{admin}\" }}
logs: {{ access: all }}
timeouts: {{ drain_delay: 0s, drain: 5s }}
trust:
  ca_bundles:
    - |
{ca}
  allow_addresses: [127.0.0.0/8]
connectors:
{}{}{}{}",
            self.basic(),
            self.client_secret(),
            self.certificate(),
            self.password(),
        ))
    }

    fn basic(&self) -> String {
        self.connector(
            "demo-basic",
            BASIC_BASE,
            &format!(
                "basic: {{ username: {BASIC_USERNAME}, password: \"{}\" }}",
                self.secrets.basic_password.expose()
            ),
        )
    }

    fn client_secret(&self) -> String {
        self.connector(
            "demo-client-secret",
            SECRET_BASE,
            &format!(
                "oauth2:
        grant: client_credentials
        token_url: {}
        client_id: {SECRET_CLIENT}
        client_secret: \"{}\"
        client_authentication: client_secret_basic",
                self.token_url(),
                self.secrets.client_secret.expose(),
            ),
        )
    }

    fn certificate(&self) -> String {
        self.connector(
            "demo-certificate",
            CERTIFICATE_BASE,
            &format!(
                "oauth2:
        grant: client_credentials
        token_url: {}
        client_id: {CERTIFICATE_CLIENT}
        client_authentication: tls_client_auth
        client_certificate:
          certificate: |
{}
          private_key: |
{}
        certificate_to_resource: true",
                self.token_url(),
                block(&self.pki.client.certificate_pem, 12),
                block(self.pki.client.private_key_pem.expose(), 12),
            ),
        )
    }

    fn password(&self) -> String {
        self.connector(
            "demo-password",
            PASSWORD_BASE,
            &format!(
                "oauth2:
        grant: password
        username: {USERNAME}
        password: \"{}\"
        token_url: {}
        client_id: {PASSWORD_CLIENT}
        client_secret: \"{}\"
        client_authentication: client_secret_basic",
                self.secrets.password.expose(),
                self.token_url(),
                self.secrets.password_client_secret.expose(),
            ),
        )
    }

    fn connector(&self, id: &str, base: &str, auth: &str) -> String {
        format!(
            "  - id: {id}
    name: {id}
    resource_domain: https://{}{base}
    auth:
      {auth}
",
            self.resource_domain
        )
    }

    fn token_url(&self) -> String {
        format!("https://{}{TOKEN_PATH}", self.authorization_server)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// `text` as the lines of a YAML block scalar.
fn block(text: &str, indent: usize) -> String {
    text.lines()
        .map(|line| format!("{:indent$}{line}", ""))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests;
