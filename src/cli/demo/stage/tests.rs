//! The stand-ins over real sockets, and the configuration that leads to them.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;

use super::*;
use crate::cli::demo::server::Answer;
use crate::config::Config;
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
            dialer: Dialer::new(Resolver::new(
                Lookup::System,
                Clock::system(),
                runtime,
                Default::default(),
            )),
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

#[test]
fn the_configuration_is_a_good_one() {
    let stage = Stage::set(&Clock::system()).unwrap();
    let (flows, admin) = ("127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap());

    let configuration = stage.configuration(flows, admin);
    let config = Config::parse(configuration.expose(), Path::new(".")).unwrap();

    let ids: Vec<_> = config
        .connectors
        .iter()
        .map(|one| one.id.as_str())
        .collect();
    assert_eq!(
        ids,
        [
            "demo-basic",
            "demo-client-secret",
            "demo-certificate",
            "demo-password"
        ]
    );
    assert_eq!((config.listen, config.admin.listen), (vec![flows], admin));
    assert_eq!(config.trust.ca_bundles.len(), 1);
}
