//! Answers that break a rule harmlessly, as real servers do, and are taken.

use super::server::{answer, json, token};
use super::*;

/// How long the token in `body` may be attached.
async fn fresh_for(stage: &Stage, answer: Vec<u8>) -> Duration {
    stage.server.will_answer(answer);
    let source = stage.source(&connector("crm", stage.oauth2()));
    let obtained = source.obtain().await.expect("a token");
    assert_eq!(authorization(&obtained), "Bearer t-1");
    let state = source.state();
    stage.credentials.retire(&source);
    match state {
        Some(TokenState::Fresh { remaining, .. }) => remaining,
        Some(TokenState::Absent { .. } | TokenState::Spent { .. }) | None => Duration::ZERO,
    }
}

#[tokio::test]
async fn a_lifetime_is_read_however_it_is_written() {
    let stage = Stage::new().await;
    for (written, seconds) in [
        ("3600", 3570),
        (r#""3600""#, 3570),
        (r#"" 3600 ""#, 3570),
        ("3600.0", 3570),
        (r#""3600.0""#, 3570),
        ("3.6e3", 3570),
        ("60", 54),
        ("0", 0),
        ("-1", 0),
        ("null", 270),
        ("1e300", 365 * 86_400 - 30),
        ("18446744073709551615", 365 * 86_400 - 30),
    ] {
        let body = format!(r#"{{"access_token":"t-1","expires_in":{written}}}"#);

        let remaining = fresh_for(&stage, json(200, &body)).await;

        assert_eq!(remaining, Duration::from_secs(seconds), "{written}");
    }
}

#[tokio::test]
async fn a_token_without_a_lifetime_gets_the_default_one() {
    // RFC 6749 §5.1: expires_in is recommended, not required.
    let stage = Stage::new().await;

    let remaining = fresh_for(&stage, json(200, r#"{"access_token":"t-1"}"#)).await;

    assert_eq!(remaining, Duration::from_secs(270));
}

#[tokio::test]
async fn the_token_type_may_be_missing_and_of_any_case() {
    // RFC 6749 §5.1; protocol.md, line 41.
    let stage = Stage::new().await;
    for kind in [
        "",
        r#","token_type":null"#,
        r#","token_type":"bearer""#,
        r#","token_type":"Bearer""#,
        r#","token_type":"BEARER""#,
    ] {
        let body = format!(r#"{{"access_token":"t-1"{kind}}}"#);

        assert!(
            !fresh_for(&stage, json(200, &body)).await.is_zero(),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn members_that_are_not_known_are_ignored() {
    // RFC 6749 §5.1; protocol.md, line 41.
    let stage = Stage::new().await;
    let body = r#" { "scope": ["a", "b"], "instance_url": "https://x.example", "ext_expires_in": 1,
        "access_token": "t-1", "issued_at": {"a": [[[{}]]]}, "refresh_token": null, "]]]": "\"[[" } "#;

    assert!(!fresh_for(&stage, json(200, body)).await.is_zero());
}

#[tokio::test]
async fn the_content_type_and_the_framing_do_not_matter() {
    let stage = Stage::new().await;
    let body = r#"{"access_token":"t-1"}"#;
    for taken in [
        answer(200, "", body),
        answer(200, "Content-Type: text/html\r\n", body),
        answer(
            200,
            "Content-Type: application/json;charset=UTF-8\r\n",
            body,
        ),
        answer(200, "Content-Encoding: identity\r\n", body),
        json(201, body),
        format!("HTTP/1.1 103 x\r\nLink: y\r\n\r\nHTTP/1.1 200 x\r\n\r\n{body}").into(),
        format!("HTTP/1.0 200 x\r\n\r\n{body}").into(),
        format!("HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n16\r\n{body}\r\n0\r\n\r\n")
            .into(),
    ] {
        assert!(!fresh_for(&stage, taken).await.is_zero());
    }
}

#[tokio::test]
async fn a_refresh_token_in_a_client_credentials_answer_is_ignored() {
    // RFC 6749 §4.4.3; protocol.md, line 43.
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.oauth2()));
    let body = r#"{"access_token":"t-1","expires_in":60,"refresh_token":"r-1"}"#;
    stage.server.will_answer(json(200, body));
    source.obtain().await.expect("a token");

    stage.turned.advance(Duration::from_secs(60));
    source.obtain().await.expect("another");

    let last = stage.server.last();
    assert_eq!(
        last.parameter("grant_type").as_deref(),
        Some("client_credentials")
    );
    assert_eq!(last.parameter("refresh_token"), None);
}

fn with_refresh_token(access_token: &str, refresh_token: &str) -> Vec<u8> {
    json(
        200,
        &format!(
            r#"{{"access_token":"{access_token}","expires_in":60,"refresh_token":"{refresh_token}"}}"#
        ),
    )
}

#[tokio::test]
async fn a_refresh_token_is_preferred_to_the_password_and_replaced_when_another_comes() {
    // RFC 6749 §6.
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.password()));
    stage.server.will_answer(with_refresh_token("t-1", "r-1"));
    stage.server.will_answer(with_refresh_token("t-2", "r-2"));
    stage.server.will_answer(token("t-3", 60));

    for _ in 0..4 {
        source.obtain().await.expect("a token");
        stage.turned.advance(Duration::from_secs(60));
    }

    let sent: Vec<_> = stage
        .server
        .seen()
        .iter()
        .map(|seen| (seen.parameter("password"), seen.parameter("refresh_token")))
        .collect();
    let refresh = |token: &str| (None, Some(token.to_owned()));
    let password = (Some("pass word&=".to_owned()), None);
    assert_eq!(
        sent,
        [password, refresh("r-1"), refresh("r-2"), refresh("r-2")]
    );
}

#[tokio::test]
async fn a_refused_refresh_token_is_forgotten_and_the_password_sent_once() {
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.password()));
    stage.server.will_answer(with_refresh_token("t-1", "r-1"));
    source.obtain().await.expect("a token");
    stage.turned.advance(Duration::from_secs(60));
    stage
        .server
        .will_answer(json(400, r#"{"error":"invalid_grant"}"#));
    stage
        .server
        .will_answer(json(400, r#"{"error":"invalid_grant"}"#));

    let refused = source.obtain().await.expect_err("both are refused");
    let recovered = stage.recovered(&source).await;

    assert_eq!(refused.reason.code(), Some("invalid_grant"));
    assert_eq!(authorization(&recovered), "Bearer token-4");
    let grants: Vec<_> = stage
        .server
        .seen()
        .iter()
        .filter_map(|seen| seen.parameter("grant_type"))
        .collect();
    assert_eq!(
        grants,
        ["password", "refresh_token", "password", "password"]
    );
}

#[tokio::test]
async fn a_busy_server_does_not_cost_the_refresh_token() {
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.password()));
    stage.server.will_answer(with_refresh_token("t-1", "r-1"));
    source.obtain().await.expect("a token");
    stage.turned.advance(Duration::from_secs(60));
    stage.server.will_answer(json(503, ""));

    source.obtain().await.expect_err("busy");
    stage.recovered(&source).await;

    assert_eq!(stage.server.count(), 3);
    assert_eq!(
        stage.server.last().parameter("refresh_token").as_deref(),
        Some("r-1")
    );
}

#[tokio::test]
async fn every_token_request_is_counted_by_its_outcome() {
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.password()));
    stage.server.will_answer(with_refresh_token("t-1", "r-1"));
    source.obtain().await.expect("a token");
    stage.turned.advance(Duration::from_secs(60));
    stage
        .server
        .will_answer(json(400, r#"{"error":"invalid_grant"}"#));
    stage.server.will_answer(json(200, "[]"));
    stage.server.will_answer("");

    source.obtain().await.expect_err("refused, then unreadable");
    stage.turned.advance(Duration::from_secs(2));
    stage.failed(&source, 2).await;
    stage.recovered(&source).await;

    let counted = stage.metrics.encode();
    for (outcome, count) in [
        ("ok", 2),
        ("rejected", 1),
        ("malformed", 1),
        ("unreachable", 1),
    ] {
        let line = format!(
            r#"attache_token_requests_total{{connector="crm",outcome="{outcome}"}} {count}"#
        );
        assert!(counted.contains(&line), "{line} is not in {counted}");
    }
    let expiry = (1_u64 << 30) + 60 + 2 + 330 + 3600;
    let line = format!(r#"attache_token_expiry_timestamp_seconds{{connector="crm"}} {expiry}"#);
    assert!(counted.contains(&line), "{line} is not in {counted}");
}
