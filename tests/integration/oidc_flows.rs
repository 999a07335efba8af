//! Flows whose tokens come from a real authorization server (npm's oidc-provider), to an origin
//! that asks that server whether it knows the token.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::connector::{connector, connectors, oauth2, pair, quoted};
use crate::support::exchange::Recorded;
use crate::support::gateway::Running;
use crate::support::oidc::{ODD_SECRET, Oidc, PASSWORD, USERNAME};
use crate::support::origin::{Origin, Setup, scripted};
use crate::support::pki::Identity;
use crate::support::stage::Stage;
use crate::support::tls::{Ask, Protocols};

struct Room {
    stage: Stage,
    oidc: Arc<Oidc>,
    origin: Origin,
}

impl Room {
    async fn new() -> Self {
        let stage = Stage::new();
        let oidc = Arc::new(Oidc::start(&stage.ca).await);
        let setup = Setup {
            ask: Ask::Any,
            protocols: Protocols::Both,
            ..Setup::new(&stage.server())
        };
        let asked = Arc::clone(&oidc);
        let handler = scripted(move |mut exchange| {
            let oidc = Arc::clone(&asked);
            async move { judge(&oidc, &exchange.finish().await).await }
        });
        let origin = Origin::start(setup, handler).await;
        Self {
            stage,
            oidc,
            origin,
        }
    }

    /// A connector whose authorization server is the real one.
    fn connector(&self, id: &str, rest: &str) -> String {
        connector(
            id,
            &self.origin.url("/"),
            &oauth2(&self.oidc.token_url(), rest),
        )
    }

    /// What the server knows of the token in the answer to `GET /{id}/x`.
    async fn known(&self, gateway: &Running, id: &str) -> Value {
        let answered = gateway.get(&format!("/{id}/x")).await;
        assert_eq!(answered.status, 200, "{id}: {}", answered.text());
        answered.json()
    }
}

/// Answers as a resource server does: 200 with what the server knows of the token, or 401. A bound
/// token is good only from whoever shows its certificate (RFC 8705 §3).
async fn judge(oidc: &Oidc, request: &Recorded) -> Answer {
    let refusal = Answer::status(401).field("www-authenticate", "Bearer");
    let carried = request.field("authorization").unwrap_or_default();
    let Some(token) = carried.strip_prefix("Bearer ") else {
        return refusal;
    };
    let known = oidc.introspect(token).await;
    let shown = request.client_certificate.as_ref().map(thumbprint);
    let bound = known["cnf"]["x5t#S256"].as_str();
    if known["active"] != true || (bound.is_some() && bound != shown.as_deref()) {
        return refusal;
    }
    Answer::json(&known)
}

fn thumbprint(certificate: &rustls_pki_types::CertificateDer<'static>) -> String {
    use base64::Engine;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest)
}

fn with_secret(client: &str, secret: &str) -> String {
    let secret = quoted(secret);
    format!("client_id: {client}, client_authentication: {client}, client_secret: {secret}")
}

#[tokio::test]
async fn secrets_that_the_server_does_not_know_obtain_nothing() {
    let room = Room::new().await;
    let all = ["client_secret_basic", "client_secret_post"].map(|client| {
        let id = client.replace('_', "-");
        room.connector(&id, &with_secret(client, "wrong-secret"))
    });
    let gateway = Running::start(&room.stage, &connectors(&all)).await;

    for id in ["client-secret-basic", "client-secret-post"] {
        let answered = gateway.get(&format!("/{id}/x")).await;

        assert_eq!(answered.status, 503, "{id}: {}", answered.text());
        let labels = [("connector", id), ("outcome", "rejected")];
        let rejected = gateway
            .sample("attache_token_requests_total", &labels)
            .await;
        assert_eq!(rejected, 1.0, "{id}");
    }
    assert_eq!(room.origin.tally().accepted, 0);
    gateway.drain().await;
}

#[tokio::test]
async fn secrets_obtain_tokens_by_basic_and_in_the_body() {
    // protocol.md, line 39.
    let room = Room::new().await;
    let clients = ["client_secret_basic", "client_secret_post"];
    let all = clients.map(|client| {
        let rest = format!("{}, scope: api", with_secret(client, ODD_SECRET));
        room.connector(&client.replace('_', "-"), &rest)
    });
    let gateway = Running::start(&room.stage, &connectors(&all)).await;

    for client in clients {
        let id = client.replace('_', "-");
        let known = room.known(&gateway, &id).await;
        let again = room.known(&gateway, &id).await;

        assert_eq!(known["client_id"], client);
        assert_eq!(known["scope"], "api");
        assert_eq!(again["iat"], known["iat"], "the token was kept");
        let granted = room.oidc.granted(client, "client_credentials", 1).await;
        assert_eq!(granted, 1, "{client}");
    }
    gateway.drain().await;
}

#[tokio::test]
async fn assertions_obtain_tokens_under_every_algorithm() {
    // protocol.md, line 54.
    // RFC 7523 §2.2, RFC 10070: the audience is the issuer; some servers still want their URL.
    let room = Room::new().await;
    let rsa = pair(&room.stage, "rsa", &room.oidc.assertion_client);
    let ec = pair(&room.stage, "ec", &room.oidc.assertion_ec_client);
    let (issuer, url) = (room.oidc.issuer(), room.oidc.token_url());
    let ways = [
        ("rs", "private_key_jwt", &rsa, "RS256", &issuer, "JWT"),
        (
            "ps",
            "private_key_jwt",
            &rsa,
            "PS256",
            &issuer,
            "client-authentication+jwt",
        ),
        ("es", "private_key_jwt_ec", &ec, "ES256", &issuer, "JWT"),
        ("url", "private_key_jwt", &rsa, "RS256", &url, "JWT"),
    ];
    let all = ways.map(|(id, client, pair, algorithm, audience, typ)| {
        let rest = format!(
            "client_id: {client}, client_authentication: private_key_jwt, \
             client_certificate: {pair}, \
             assertion: {{ audience: \"{audience}\", algorithm: {algorithm}, typ: {typ} }}"
        );
        room.connector(id, &rest)
    });
    let gateway = Running::start(&room.stage, &connectors(&all)).await;

    for (id, client, ..) in ways {
        let known = room.known(&gateway, id).await;

        assert_eq!(known["client_id"], client, "{id}");
    }
    gateway.drain().await;
}

#[tokio::test]
async fn an_assertion_for_somebody_else_or_by_another_key_obtains_nothing() {
    let room = Room::new().await;
    let known = pair(&room.stage, "known", &room.oidc.assertion_client);
    let other = crate::support::pki::Leaf::client("other")
        .rsa()
        .self_signed();
    let other = pair(&room.stage, "other", &other);
    let issuer = room.oidc.issuer();
    let elsewhere = "https://elsewhere.example".to_owned();
    let all = [("audience", &known, &elsewhere), ("key", &other, &issuer)];
    let all = all.map(|(id, pair, audience)| {
        let rest = format!(
            "client_id: private_key_jwt, client_authentication: private_key_jwt, \
             client_certificate: {pair}, assertion: {{ audience: \"{audience}\" }}"
        );
        room.connector(id, &rest)
    });
    let gateway = Running::start(&room.stage, &connectors(&all)).await;

    for id in ["audience", "key"] {
        let answered = gateway.get(&format!("/{id}/x")).await;

        assert_eq!(answered.status, 503, "{id}: {}", answered.text());
    }
    assert_eq!(room.origin.tally().accepted, 0);
    gateway.drain().await;
}

fn with_certificate(stage: &Stage, client: &str, stem: &str, identity: &Identity) -> String {
    let pair = pair(stage, stem, identity);
    format!("client_id: {client}, client_authentication: {client}, client_certificate: {pair}")
}

#[tokio::test]
async fn certificates_obtain_tokens_that_only_their_bearer_may_use() {
    // RFC 8705 §§2.1, 2.2, 3.
    let room = Room::new().await;
    let mut all = Vec::new();
    let clients = [
        ("tls_client_auth", &room.oidc.tls_client),
        ("self_signed_tls_client_auth", &room.oidc.self_signed_client),
    ];
    for (client, identity) in clients {
        let id = client.replace('_', "-");
        let rest = with_certificate(&room.stage, client, &id, identity);
        all.push(room.connector(&id, &format!("{rest}, certificate_to_resource: true")));
        // The same token without its certificate.
        all.push(room.connector(&format!("{id}-bare"), &rest));
    }
    let gateway = Running::start(&room.stage, &connectors(&all)).await;

    for (client, identity) in clients {
        let id = client.replace('_', "-");
        let known = room.known(&gateway, &id).await;
        let bare = gateway.get(&format!("/{id}-bare/x")).await;

        assert_eq!(known["client_id"], client);
        assert_eq!(known["cnf"]["x5t#S256"], identity.thumbprint());
        // The origin's own 401 passes through (RFC 9110 §11.6.1).
        assert_eq!(bare.status, 401);
        assert_eq!(bare.field("www-authenticate"), Some("Bearer"));
    }
    gateway.drain().await;
}

#[tokio::test]
async fn a_certificate_that_the_server_does_not_know_obtains_nothing() {
    let room = Room::new().await;
    let stranger = crate::support::pki::Leaf::client("tls-client").self_signed();
    let clients = ["tls_client_auth", "self_signed_tls_client_auth"];
    let all = clients.map(|client| {
        let rest = with_certificate(&room.stage, client, "stranger", &stranger);
        room.connector(&client.replace('_', "-"), &rest)
    });
    let gateway = Running::start(&room.stage, &connectors(&all)).await;

    for client in clients {
        let answered = gateway
            .get(&format!("/{}/x", client.replace('_', "-")))
            .await;

        assert_eq!(answered.status, 503, "{client}: {}", answered.text());
    }
    assert_eq!(room.origin.tally().accepted, 0);
    gateway.drain().await;
}

#[tokio::test]
async fn a_password_is_followed_by_refresh_tokens_that_the_server_rotates() {
    // RFC 6749 §4.3, §6; RFC 9700 §2.4, §4.14.2.
    let room = Room::new().await;
    let rest = format!(
        "grant: password, username: {}, password: {}, client_id: password, client_secret: {}, \
         client_authentication: client_secret_post, scope: api",
        quoted(USERNAME),
        quoted(PASSWORD),
        quoted(ODD_SECRET),
    );
    let own = connectors(&[room.connector("c", &rest)]);
    let (gateway, turned) = Running::start_turned(&room.stage, &own).await;

    for _ in 0..3 {
        let known = room.known(&gateway, "c").await;
        assert_eq!(known["sub"], json!(USERNAME));
        // Longer than the server's tokens live.
        turned.advance(Duration::from_secs(3600));
    }

    assert_eq!(room.oidc.granted("password", "refresh_token", 2).await, 2);
    assert_eq!(room.oidc.granted("password", "password", 1).await, 1);
    gateway.drain().await;
}
