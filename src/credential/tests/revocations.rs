//! Tokens that are ended at their authorization server (RFC 7009).

use super::server::{answer, json, token};
use super::*;
use crate::connector::StaticHeader;

impl Stage {
    /// Client credentials at a server that takes tokens back.
    fn revocable(&self) -> OAuth2 {
        let port = self.server.address.port();
        let url = format!("https://login.example:{port}/revoke?tenant=a");
        OAuth2 {
            revocation_url: Some(HttpsUrl::parse(&url).expect("a URL")),
            ..self.oauth2()
        }
    }

    /// A source of `oauth2` that holds a token.
    async fn holding(&self, oauth2: OAuth2) -> Source {
        let source = self.source(&connector("crm", oauth2));
        source.obtain().await.expect("a token");
        source
    }

    /// Waits until `count` revocations had this outcome.
    async fn until_revoked(&self, outcome: &str, count: usize) {
        let line = format!(r#"attache_token_revocations_total{{outcome="{outcome}"}} {count}"#);
        within(&line, async {
            while !self.metrics.encode().contains(&line) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// RFC 7009 §2.2.1, and everything else that may go wrong: none of it is waited for.
#[tokio::test]
async fn a_revocation_that_fails_is_counted_and_not_tried_again() {
    for (told, outcome) in [
        (
            json(400, r#"{"error":"unsupported_token_type"}"#),
            "rejected",
        ),
        (json(503, ""), "rejected"),
        (b"220 smtp\r\n\r\n".to_vec(), "malformed"),
        (Vec::new(), "unreachable"),
    ] {
        let stage = Stage::new().await;
        let source = stage.holding(stage.revocable()).await;
        stage.server.will_answer(told);

        stage.credentials.revoke(&source);

        stage.until_revoked(outcome, 1).await;
        assert_eq!(stage.server.count(), 2);
    }
}

/// protocol.md, row 57.
#[tokio::test]
async fn no_redirect_of_a_revocation_is_followed() {
    for status in [301, 302, 303, 307, 308] {
        let stage = Stage::new().await;
        let source = stage.holding(stage.revocable()).await;
        let port = stage.server.address.port();
        let location = format!("Location: https://login.example:{port}/elsewhere\r\n");
        stage.server.will_answer(answer(status, &location, ""));

        stage.credentials.revoke(&source);

        stage.until_revoked("rejected", 1).await;
        assert_eq!(stage.server.count(), 2, "{status}");
    }
}

#[tokio::test]
async fn a_token_is_not_revoked_at_a_refused_address() {
    for host in ["[::ffff:10.0.0.1]", "[::1]", "169.254.169.254"] {
        let stage = Stage::new().await;
        let port = stage.server.address.port();
        let url = format!("https://{host}:{port}/revoke");
        let elsewhere = OAuth2 {
            revocation_url: Some(HttpsUrl::parse(&url).expect("a URL")),
            ..stage.oauth2()
        };
        let source = stage.holding(elsewhere).await;

        stage.credentials.revoke(&source);

        stage.until_revoked("unreachable", 1).await;
        assert_eq!(stage.server.count(), 1, "{host}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_a_revocation_is_left_after_a_while() {
    let stage = Stage::new().await;
    let source = stage.holding(stage.revocable()).await;
    stage.server.close();

    stage.credentials.revoke(&source);
    stage.server.has_seen(2).await;
    stage.turned.advance(stage.settings.tokens.fetch);

    stage.until_revoked("timeout", 1).await;
}

#[tokio::test]
async fn where_nothing_can_be_or_is_to_be_revoked_nobody_is_asked() {
    let stage = Stage::new().await;
    let irrevocable = stage.holding(stage.oauth2()).await;
    let empty = stage.source(&connector("empty", stage.revocable()));
    let spent = stage.source(&connector("spent", stage.revocable()));
    stage.server.will_answer(token("short", 10));
    spent.obtain().await.expect("a token");
    stage.turned.advance(Duration::from_secs(10));
    for source in [
        &irrevocable,
        &empty,
        &spent,
        &Source::Fixed(Credential::None),
    ] {
        stage.credentials.revoke(source);
    }

    // Sent after those that are not to be.
    let last = stage.source(&connector("last", stage.revocable()));
    last.obtain().await.expect("a token");
    stage.credentials.revoke(&last);
    stage.until_revoked("ok", 1).await;

    let revocations = stage.server.seen();
    let revocations = revocations
        .iter()
        .filter(|seen| seen.head.contains("/revoke"));
    assert_eq!(revocations.count(), 1);
}

/// RFC 7009 §2.1.
#[tokio::test]
async fn a_held_token_is_sent_to_its_revocation_endpoint_with_the_clients_authentication() {
    let stage = Stage::new().await;
    stage.server.will_answer(token("held", 3600));
    let field = StaticHeader {
        name: "x-gate".parse().expect("a name"),
        value: secret("gate"),
    };
    let oauth2 = OAuth2 {
        token_headers: vec![field],
        ..stage.revocable()
    };
    let source = stage.holding(oauth2).await;
    let authorization = stage.server.last().field("authorization");
    // What it says is not read (RFC 7009 §2.2).
    stage.server.will_answer(answer(200, "", "<html>[[["));

    stage.credentials.revoke(&source);
    stage.until_revoked("ok", 1).await;

    let sent = stage.server.last();
    assert!(
        sent.head.starts_with("POST /revoke?tenant=a HTTP/1.1\r\n"),
        "{}",
        sent.head
    );
    assert_eq!(sent.parameter("token").as_deref(), Some("held"));
    assert_eq!(
        sent.parameter("token_type_hint").as_deref(),
        Some("access_token")
    );
    assert_eq!(sent.field("authorization"), authorization);
    assert_eq!(sent.field("x-gate").as_deref(), Some("gate"));
    assert_eq!(sent.parameters().len(), 2);
    let state = source.state();
    assert!(
        matches!(state, Some(TokenState::Absent { .. })),
        "{state:?}"
    );
}

/// RFC 6749 §2.3.1: the same as in a token request.
#[tokio::test]
async fn a_client_that_shows_its_secret_in_the_body_does_so_here_too() {
    let stage = Stage::new().await;
    let oauth2 = OAuth2 {
        client_authentication: ClientAuthentication::ClientSecretPost(secret(SECRET)),
        ..stage.revocable()
    };
    let source = stage.holding(oauth2).await;

    stage.credentials.revoke(&source);
    stage.until_revoked("ok", 1).await;

    let sent = stage.server.last();
    assert_eq!(sent.parameter("client_id").as_deref(), Some("client-1"));
    assert_eq!(sent.parameter("client_secret").as_deref(), Some(SECRET));
    assert_eq!(sent.field("authorization"), None);
}

#[tokio::test]
async fn a_token_that_comes_after_its_connector_went_is_revoked_too() {
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.revocable()));
    stage.server.will_answer(token("late", 3600));
    stage.server.close();
    let waiting = tokio::spawn({
        let source = source.clone();
        async move { source.obtain().await.is_ok() }
    });
    stage.server.has_seen(1).await;

    stage.credentials.revoke(&source);
    stage.server.open();

    stage.until_revoked("ok", 1).await;
    assert_eq!(
        stage.server.last().parameter("token").as_deref(),
        Some("late")
    );
    assert!(waiting.await.expect("no panic"));
}
