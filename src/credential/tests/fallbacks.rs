//! Secrets that were promoted and are refused, while those before them are kept.

use serde_json::json as value;

use super::server::{json, token};
use super::*;
use crate::connector::{Fallback, Stored};

const NEW: &str = "new-secret";

fn with(stage: &Stage, client_secret: &str) -> OAuth2 {
    OAuth2 {
        client_authentication: ClientAuthentication::ClientSecretPost(secret(client_secret)),
        ..stage.oauth2()
    }
}

/// A connector with new secrets, and the old ones kept for `kept`.
fn promoted(stage: &Stage, kept: Duration) -> Connector {
    let now = Clock::turned(&stage.turned).wall();
    Connector {
        stored: Some(Arc::new(Stored {
            revision: 2,
            fallback: Some(Fallback {
                oauth2: Arc::new(with(stage, SECRET)),
                until: now + kept,
            }),
        })),
        ..connector("crm", with(stage, NEW))
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn refused(code: &str) -> Vec<u8> {
    json(400, &format!(r#"{{"error":"{code}"}}"#))
}

fn shown(stage: &Stage) -> Vec<String> {
    let seen = stage.server.seen();
    let secrets = seen.iter().filter_map(|one| one.parameter("client_secret"));
    secrets.collect()
}

fn counted(stage: &Stage) -> bool {
    let line = "attache_token_fallbacks_total{connector=\"crm\"} 1\n";
    stage.metrics.encode().contains(line)
}

#[tokio::test]
async fn promoted_secrets_that_are_refused_are_answered_by_one_try_with_the_old() {
    for code in ["invalid_client", "invalid_grant", "unauthorized_client"] {
        let stage = Stage::new().await;
        let source = stage.source(&promoted(&stage, HOUR));
        stage.server.will_answer(refused(code));

        let obtained = source.obtain().await;

        assert!(obtained.is_ok(), "{code}: {obtained:?}");
        assert_eq!(shown(&stage), [NEW, SECRET], "{code}");
        assert!(source.failure().is_none(), "{code}");
        assert!(counted(&stage), "{code}");
    }
}

#[tokio::test]
async fn promoted_secrets_that_are_good_leave_the_old_alone() {
    let stage = Stage::new().await;

    let source = stage.source(&promoted(&stage, HOUR));
    source.obtain().await.expect("a token");

    assert_eq!(shown(&stage), [NEW]);
    assert!(!counted(&stage));
}

#[tokio::test]
async fn what_says_nothing_about_the_secrets_is_not_answered_with_the_old() {
    for (status, code) in [
        (503, "invalid_client"),
        (429, "invalid_grant"),
        (400, "invalid_scope"),
        (400, "invalid_request"),
        (400, "slow_down"),
    ] {
        let stage = Stage::new().await;
        let body = format!(r#"{{"error":"{code}"}}"#);
        stage.server.will_answer(json(status, &body));

        let source = stage.source(&promoted(&stage, HOUR));
        source.obtain().await.expect_err("refused");

        assert_eq!(shown(&stage), [NEW], "{status} {code}");
    }
}

#[tokio::test]
async fn old_secrets_are_not_used_once_they_are_not_kept() {
    let stage = Stage::new().await;
    let source = stage.source(&promoted(&stage, HOUR));
    stage.turned.advance(HOUR);
    stage.server.will_answer(refused("invalid_client"));

    let error = source.obtain().await.expect_err("refused");

    assert_eq!(error.reason.code(), Some("invalid_client"));
    assert_eq!(shown(&stage), [NEW]);
}

#[tokio::test]
async fn refused_secrets_are_not_shown_again_for_five_minutes_while_the_old_are_good() {
    let stage = Stage::new().await;
    let source = stage.source(&promoted(&stage, HOUR));
    stage.server.will_answer(refused("invalid_client"));
    for _ in 0..2 {
        stage.server.will_answer(token("short", 10));
    }
    source.obtain().await.expect("a token");

    stage.turned.advance(Duration::from_secs(290));
    source.obtain().await.expect("a token");
    assert_eq!(shown(&stage), [NEW, SECRET, SECRET]);
    stage.turned.advance(Duration::from_secs(10));
    source.obtain().await.expect("a token");

    assert_eq!(shown(&stage)[3..], [NEW]);
}

#[tokio::test]
async fn where_both_are_refused_it_is_told_of_the_new() {
    let stage = Stage::new().await;
    let source = stage.source(&promoted(&stage, HOUR));
    stage.server.will_answer(refused("invalid_client"));
    stage.server.will_answer(refused("invalid_grant"));

    let error = source.obtain().await.expect_err("refused");

    assert_eq!(error.reason.code(), Some("invalid_client"));
    assert_eq!(shown(&stage), [NEW, SECRET]);
    assert!(!counted(&stage));
}

#[tokio::test]
async fn where_the_old_fail_for_a_while_they_are_tried_again_soon() {
    let stage = Stage::new().await;
    let source = stage.source(&promoted(&stage, HOUR));
    stage.server.will_answer(refused("invalid_client"));
    stage.server.will_answer(json(503, "{}"));

    let error = source.obtain().await.expect_err("refused");
    assert_eq!(error.reason.class(), FailureClass::Temporary);
    stage.turned.advance(Duration::from_secs(5));
    stage.server.has_seen(3).await;

    assert_eq!(shown(&stage), [NEW, SECRET, SECRET]);
}

#[tokio::test]
async fn a_validation_shows_the_new_secrets_alone() {
    let stage = Stage::new().await;
    stage.server.will_answer(refused("invalid_client"));

    let label = Arc::from("crm");
    let connector = promoted(&stage, HOUR);
    let fetched = stage
        .credentials
        .fetch_once(&connector, &stage.settings, label);

    assert!(fetched.await.is_err());
    assert_eq!(shown(&stage), [NEW]);
}

#[tokio::test]
async fn a_refresh_token_belongs_to_the_secrets_that_it_was_given_for() {
    let given = |access: &str, refresh: &str| {
        let body = value!({
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": 100,
            "refresh_token": refresh,
        });
        json(200, &body.to_string())
    };
    let stage = Stage::new().await;
    let password = |client_secret| OAuth2 {
        grant: stage.password().grant,
        ..with(&stage, client_secret)
    };
    let mut stored = Stored::clone(promoted(&stage, HOUR).stored.as_ref().expect("its own"));
    stored.fallback.as_mut().expect("its own").oauth2 = Arc::new(password(SECRET));
    let source = stage.source(&Connector {
        stored: Some(Arc::new(stored)),
        ..connector("crm", password(NEW))
    });
    stage.server.will_answer(given("a-1", "r-new"));
    stage.server.will_answer(refused("invalid_client"));
    stage.server.will_answer(given("a-2", "r-old"));

    for _ in 0..3 {
        source.obtain().await.expect("a token");
        stage.turned.advance(Duration::from_secs(100));
    }
    source.obtain().await.expect("a token");

    let spent: Vec<_> = stage.server.seen();
    let spent = spent.iter().map(|one| one.parameter("refresh_token"));
    let spent: Vec<_> = spent.take(4).collect();
    let token = |text: &str| Some(text.to_owned());
    assert_eq!(spent, [None, token("r-new"), None, token("r-old")]);
    assert_eq!(shown(&stage)[..4], [NEW, NEW, SECRET, SECRET]);
}
