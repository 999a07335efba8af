//! One token request for any number of flows, and how long its token is served.

use futures_util::future::join_all;

use super::server::{answer, json, token};
use super::*;

#[tokio::test]
async fn two_hundred_flows_on_a_cold_slot_make_one_token_request() {
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.oauth2()));
    stage.server.close();

    let flows = join_all((0..200).map(|_| source.obtain()));
    let (obtained, ()) = tokio::join!(flows, async {
        stage.server.has_seen(1).await;
        stage.server.open();
    });

    assert_eq!(stage.server.count(), 1);
    let found = |outcome| {
        let obtained = obtained.iter().map(|one| one.as_ref().expect("a token"));
        obtained.filter(|one| one.cache == Some(outcome)).count()
    };
    assert_eq!(
        (found(CacheOutcome::Miss), found(CacheOutcome::Joined)),
        (1, 199)
    );
    let next = source.obtain().await.expect("a token");
    assert_eq!(next.cache, Some(CacheOutcome::Hit));
    assert_eq!(authorization(&next), "Bearer token-1");
}

#[tokio::test]
async fn ten_flows_that_hang_up_on_a_cold_slot_make_one_token_request() {
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.oauth2()));
    stage.server.close();

    for _ in 0..10 {
        let flow = tokio::spawn({
            let source = source.clone();
            async move { source.obtain().await }
        });
        stage.server.has_seen(1).await;
        flow.abort();
        assert!(flow.await.is_err_and(|ended| ended.is_cancelled()));
    }
    stage.server.open();

    let obtained = source.obtain().await.expect("the fetch went on");
    assert_eq!(authorization(&obtained), "Bearer token-1");
    assert_eq!(stage.server.count(), 1);
}

#[tokio::test]
async fn a_flow_waits_its_time_and_the_fetch_goes_on() {
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.oauth2()));
    stage.server.close();

    let (gave_up, ()) = tokio::join!(source.obtain(), async {
        stage.server.has_seen(1).await;
        stage.turned.advance(stage.settings.tokens.wait);
    });
    let fetching = source.state();
    stage.server.open();
    let obtained = source.obtain().await.expect("the same fetch");

    let gave_up = gave_up.expect_err("it waited long enough");
    assert!(matches!(*gave_up.reason, TokenError::StillFetching { .. }));
    assert_eq!(gave_up.cache, CacheOutcome::Miss);
    assert!(!gave_up.retry_after.is_zero());
    let now = Fetching::Now;
    assert_eq!(fetching, Some(TokenState::Absent { fetching: now }));
    assert_eq!(authorization(&obtained), "Bearer token-1");
    assert_eq!(stage.server.count(), 1);
}

#[tokio::test]
async fn a_failure_is_shared_among_those_who_waited_and_told_to_those_who_come_after() {
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.oauth2()));
    stage
        .server
        .will_answer(json(401, r#"{"error":"invalid_client"}"#));

    let waited = join_all((0..20).map(|_| source.obtain())).await;
    let after = join_all((0..20).map(|_| source.obtain())).await;

    assert!(waited.iter().chain(&after).all(|one| {
        matches!(one, Err(unobtained) if unobtained.reason.code() == Some("invalid_client"))
    }));
    assert_eq!(stage.server.count(), 1);
    let recovered = stage.recovered(&source).await;
    assert_eq!(authorization(&recovered), "Bearer token-2");
}

#[tokio::test]
async fn a_changed_connector_remembers_no_failure() {
    let stage = Stage::new().await;
    let connector = connector("crm", stage.oauth2());
    stage
        .server
        .will_answer(json(401, r#"{"error":"invalid_client"}"#));
    let at = |revision| {
        let (label, revision) = (Arc::from("crm"), Revision(revision));
        let source = stage
            .credentials
            .source(&connector, revision, &stage.settings, label);
        source.expect("a usable identity")
    };

    at(1).obtain().await.expect_err("refused");
    let edited = at(2).obtain().await;

    assert!(edited.is_ok());
}

#[tokio::test]
async fn the_wait_a_server_asks_for_is_told_to_flows() {
    // RFC 9110 §10.2.3, RFC 6585 §4; the longest that is believed is five minutes.
    let now = 1_u64 << 30;
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(now + 77));
    for (status, value, seconds) in [
        (429, "42", 42),
        (503, "42", 42),
        (400, "42", 42),
        (503, &date, 77),
        (429, "86400", 300),
        (429, "99999999999999999999", 300),
        (429, "Fri, 31 Dec 9999 23:59:59 GMT", 300),
    ] {
        let stage = Stage::new().await;
        let fields = format!("Retry-After: {value}\r\n");
        stage.server.will_answer(answer(status, &fields, "{}"));

        let refused = stage.obtain(stage.oauth2()).await.expect_err("no token");

        assert_eq!(refused.retry_after, Duration::from_secs(seconds), "{value}");
    }
}

#[tokio::test]
async fn a_wait_that_cannot_be_read_is_none() {
    // protocol.md row 63.
    for value in ["Thu, 99 Foo 2026", "-1", "1e9", "\u{e9}", ""] {
        let stage = Stage::new().await;
        let fields = format!("Retry-After: {value}\r\n");
        stage.server.will_answer(answer(429, &fields, "{}"));

        let refused = stage.obtain(stage.oauth2()).await.expect_err("no token");

        assert!(refused.retry_after <= Duration::from_millis(100), "{value}");
    }
}

#[tokio::test]
async fn everybody_who_waited_gets_a_token_that_lives_for_no_time_and_nobody_else_does() {
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.oauth2()));
    stage.server.will_answer(token("t-1", 0));

    let waited = join_all((0..50).map(|_| source.obtain())).await;
    let later = source.obtain().await.expect("another token");

    let first: Vec<_> = waited
        .iter()
        .map(|one| one.as_ref().expect("a token"))
        .collect();
    assert!(first.iter().all(|one| authorization(one) == "Bearer t-1"));
    assert_eq!(authorization(&later), "Bearer token-2");
    assert_eq!(later.cache, Some(CacheOutcome::Miss));
}

#[tokio::test]
async fn a_clock_set_forward_costs_one_fetch() {
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.oauth2()));
    source.obtain().await.expect("a token");

    stage.turned.step_wall_ms(86_400_000);
    for _ in 0..10 {
        source.obtain().await.expect("a token");
    }

    assert_eq!(stage.server.count(), 2);
}

#[tokio::test]
async fn a_clock_set_back_costs_nothing_and_lengthens_no_life() {
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.oauth2()));
    source.obtain().await.expect("a token");

    stage.turned.step_wall_ms(-86_400_000);
    source.obtain().await.expect("the same");
    assert_eq!(stage.server.count(), 1);

    stage.turned.advance(Duration::from_secs(3600));
    source.obtain().await.expect("another");
    assert_eq!(stage.server.count(), 2);
}

#[tokio::test]
async fn two_connectors_with_one_token_url_never_share_a_token() {
    // CVE-2026-2836; protocol.md, row 22 and point 12.
    let stage = Stage::new().await;
    let same = || stage.oauth2();
    let scoped = OAuth2 {
        scope: Some("other".to_owned()),
        ..stage.oauth2()
    };

    let mut tokens = Vec::new();
    for connector in [
        connector("a", same()),
        connector("b", same()),
        connector("c", scoped),
    ] {
        let obtained = stage.source(&connector).obtain().await.expect("a token");
        tokens.push(authorization(&obtained).to_owned());
    }

    assert_eq!(
        tokens,
        ["Bearer token-1", "Bearer token-2", "Bearer token-3"]
    );
}

#[tokio::test]
async fn a_changed_connector_does_not_serve_its_old_token() {
    let stage = Stage::new().await;
    let connector = connector("crm", stage.oauth2());
    let at = |revision| {
        let label = Arc::from("crm");
        let source =
            stage
                .credentials
                .source(&connector, Revision(revision), &stage.settings, label);
        source.expect("a usable identity")
    };
    let old = at(1);
    old.obtain().await.expect("a token");

    let new = at(2).obtain().await.expect("a token");

    assert_eq!(authorization(&new), "Bearer token-2");
}

#[tokio::test]
async fn a_retired_slot_is_not_found_again() {
    let stage = Stage::new().await;
    let connector = connector("crm", stage.oauth2());
    let old = stage.source(&connector);
    old.obtain().await.expect("a token");

    stage.credentials.retire(&old);
    let new = stage.source(&connector).obtain().await.expect("a token");

    assert_eq!(authorization(&new), "Bearer token-2");
    assert!(matches!(old.state(), Some(TokenState::Fresh { .. })));
}

#[tokio::test]
async fn a_spent_token_is_told_from_none() {
    let stage = Stage::new().await;
    let source = stage.source(&connector("crm", stage.oauth2()));
    let fetching = Fetching::Not;
    assert_eq!(source.state(), Some(TokenState::Absent { fetching }));
    source.obtain().await.expect("a token");
    let Some(TokenState::Fresh {
        remaining,
        expires_at,
    }) = source.state()
    else {
        panic!("it is fresh: {source:?}");
    };

    stage.turned.advance(remaining);

    let spent = TokenState::Spent {
        expires_at,
        fetching,
    };
    assert_eq!(source.state(), Some(spent));
}
