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
use super::pki::{Pki, random_text};
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
        let fresh = || Secret::new(random_text());
        let secrets = Secrets {
            basic_password: fresh(),
            client_secret: fresh(),
            password_client_secret: fresh(),
            password: fresh(),
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
mod tests {
    use std::time::Duration;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use http::{Request, Response, StatusCode};
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::TokioIo;

    use super::*;
    use crate::cli::demo::server::Answer;
    use crate::connector::{ClientCertificate, Http2, HttpsUrl};
    use crate::dial::{AddressPolicy, Dialer, Lookup, Resolver};
    use crate::tls::client::{ClientTls, TrustAnchors};

    /// A client as the gateway is one: over the project's own way out.
    struct Client {
        dialer: Dialer,
        policy: AddressPolicy,
        tls: ClientTls,
    }

    impl Client {
        fn of(stage: &Stage, shows_certificate: bool) -> Self {
            let anchors = TrustAnchors::system_and([stage.pki.ca_pem.as_str()]).unwrap();
            let certificate = shows_certificate.then(|| ClientCertificate {
                certificate_pem: stage.pki.client.certificate_pem.clone(),
                private_key_pem: stage.pki.client.private_key_pem.clone(),
            });
            let runtime = tokio::runtime::Handle::current();
            Self {
                dialer: Dialer::new(Resolver::new(Lookup::System, Clock::system(), runtime)),
                policy: AddressPolicy::allowing(&["127.0.0.0/8".parse().unwrap()]),
                tls: ClientTls::new(&anchors, certificate.as_ref(), Http2::Off).unwrap(),
            }
        }

        async fn send(&self, to: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
            let url = HttpsUrl::parse(&format!("https://{to}/")).unwrap();
            let dialed = self
                .dialer
                .dial(
                    url.origin(),
                    &self.tls,
                    &self.policy,
                    Duration::from_secs(30),
                )
                .await
                .unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(dialed.stream))
                    .await
                    .unwrap();
            tokio::spawn(connection);
            let (head, body) = sender.send_request(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Response::from_parts(head, Full::new(body))
        }

        async fn token(&self, stage: &Stage, form: &str, credentials: &str) -> Answer {
            let mut request = Request::post(TOKEN_PATH)
                .header("host", "authority")
                .header("content-type", "application/x-www-form-urlencoded");
            if !credentials.is_empty() {
                let basic = format!("Basic {}", STANDARD.encode(credentials));
                request = request.header("authorization", basic);
            }
            let request = request.body(Full::from(form.to_owned())).unwrap();
            self.send(stage.authorization_server, request).await
        }
    }

    fn get(path: &str, authorization: &str) -> Request<Full<Bytes>> {
        Request::get(path)
            .header("host", "resource")
            .header("authorization", authorization)
            .body(Full::default())
            .unwrap()
    }

    async fn access_token(answer: Answer) -> String {
        assert_eq!(answer.status(), StatusCode::OK);
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        format!("Bearer {}", body["access_token"].as_str().unwrap())
    }

    #[tokio::test]
    async fn a_stranger_gets_neither_token_nor_record() {
        let stage = Stage::set(&Clock::system()).unwrap();
        let client = Client::of(&stage, false);
        let form = "grant_type=client_credentials&client_id=demo-certificate";

        let no_token = client.token(&stage, form, "").await;
        let no_record = client
            .send(stage.resource_domain, get("/certificate/echo", "Bearer x"))
            .await;

        assert_eq!(no_token.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(no_record.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(stage.token_requests(), 1);
    }

    #[tokio::test]
    async fn a_bound_token_is_good_only_with_the_certificate_in_the_handshake() {
        // RFC 8705 §3, over real handshakes.
        let stage = Stage::set(&Clock::system()).unwrap();
        let (holder, thief) = (Client::of(&stage, true), Client::of(&stage, false));
        let form = "grant_type=client_credentials&client_id=demo-certificate";
        let token = access_token(holder.token(&stage, form, "").await).await;

        let stolen = thief
            .send(stage.resource_domain, get("/certificate/echo", &token))
            .await;
        let held = holder
            .send(stage.resource_domain, get("/certificate/echo", &token))
            .await;

        assert_eq!(stolen.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(held.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_body_beyond_the_bound_is_refused() {
        let stage = Stage::set(&Clock::system()).unwrap();
        let client = Client::of(&stage, false);

        let answer = client
            .token(&stage, &"x".repeat(64 * 1024 + 1), "a:b")
            .await;

        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(stage.token_requests(), 0);
    }

    #[tokio::test]
    async fn a_secret_buys_a_token_that_opens_its_base_path() {
        let stage = Stage::set(&Clock::system()).unwrap();
        let client = Client::of(&stage, false);
        let credentials = format!(
            "demo-client-secret:{}",
            stage.secrets.client_secret.expose()
        );

        let token = client
            .token(&stage, "grant_type=client_credentials", &credentials)
            .await;
        let token = access_token(token).await;
        let answer = client
            .send(stage.resource_domain, get("/client-secret/echo", &token))
            .await;

        assert_eq!(answer.status(), StatusCode::OK);
    }

    #[test]
    fn two_stages_stand_side_by_side() {
        let (one, other) = (
            Stage::set(&Clock::system()).unwrap(),
            Stage::set(&Clock::system()).unwrap(),
        );

        assert_ne!(one.resource_domain, other.resource_domain);
        assert_ne!(one.secrets.basic_password, other.secrets.basic_password);
    }

    #[test]
    fn debug_output_of_the_stage_shows_no_secret() {
        let stage = Stage::set(&Clock::system()).unwrap();

        let shown = format!("{stage:?}");

        for secret in [
            &stage.secrets.basic_password,
            &stage.secrets.client_secret,
            &stage.secrets.password_client_secret,
            &stage.secrets.password,
        ] {
            assert!(!shown.contains(secret.expose()));
        }
        assert!(!shown.contains("PRIVATE KEY"));
    }
}
