//! Tokens that make no flow wait: fetched once, renewed ahead, kept through steps of the clock.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::answer::Answer;
use crate::support::authority::bearer;
use crate::support::connector::with_secret;
use crate::support::gateway;
use crate::support::stage::Stage;
use crate::support::token_room::TokenRoom;
use crate::support::within;

const SECOND: Duration = Duration::from_secs(1);

/// Longer than any turn of the clock, which token requests under way must outlast.
const FETCH: &str = "tokens: { wait: 1m, fetch: 5m }";

/// A room whose tokens live for `seconds` and are called `token-{n}`.
async fn room_of_lives(stage: &Stage, seconds: u64) -> TokenRoom {
    let room = TokenRoom::with(stage, FETCH, with_secret).await;
    room.authority
        .answer_with(move |n, _| bearer(&format!("token-{n}"), seconds));
    room
}

async fn cache(room: &TokenRoom, outcome: &str) -> f64 {
    let labels = [("outcome", outcome)];
    room.gateway
        .sample("attache_token_cache_total", &labels)
        .await
}

#[tokio::test]
async fn a_thousand_flows_on_a_cold_token_make_one_token_request_and_all_are_answered() {
    let stage = Stage::new();
    let more = "requests_in_flight_max: 1000";
    let room = TokenRoom::with_both(&stage, FETCH, with_secret, more).await;
    room.authority.release(0);

    let mut flows = JoinSet::new();
    let address = room.gateway.flows();
    for _ in 0..1000 {
        flows.spawn(async move { gateway::get(address, "/c/x").await.status });
    }
    room.gateway
        .until_sample("attache_requests_in_flight", &[], |carried| {
            carried >= 1000.0
        })
        .await;
    room.authority.until_requests(1).await;
    // Two seconds pass while the token endpoint thinks.
    room.turned.advance(SECOND * 2);
    room.authority.release_all();
    let statuses = flows.join_all().await;

    assert!(statuses.iter().all(|status| *status == 200));
    assert_eq!(room.authority.count(), 1);
    assert_eq!(cache(&room, "miss").await, 1.0);
    assert_eq!(
        cache(&room, "joined").await + cache(&room, "hit").await,
        999.0
    );
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_token_in_use_is_renewed_while_flows_use_the_one_before() {
    let stage = Stage::new();
    let room = room_of_lives(&stage, 3600).await;
    room.credential().await;
    room.authority.release(1);

    // 80 % of its life and at most a tenth more.
    room.turned.advance(SECOND * 3250);
    room.authority.until_requests(2).await;
    let meanwhile = room.credential().await;
    room.authority.release_all();
    let end = 1_795_000_000.0 + 3250.0 + 3600.0;
    let expiry = "attache_token_expiry_timestamp_seconds";
    room.gateway.until_sample(expiry, &[], |it| it == end).await;
    let renewed = room.credential().await;

    assert_eq!(meanwhile, "Bearer token-1");
    assert_eq!(renewed, "Bearer token-2");
    assert_eq!(
        cache(&room, "miss").await,
        1.0,
        "nobody waited but the first"
    );
    assert_eq!(cache(&room, "joined").await, 0.0);
    room.gateway.drain().await;
}

#[tokio::test]
async fn lives_of_two_seconds_fail_no_flow_and_cost_one_request_a_renewal() {
    let stage = Stage::new();
    let room = room_of_lives(&stage, 2).await;

    for _ in 0..600 {
        assert_eq!(room.get().await.status, 200);
        room.turned.advance(SECOND / 10);
    }

    // 80 % of two seconds, and one for the beginning.
    let renewals = (60.0_f64 / 1.6).ceil() as usize + 1;
    let count = room.authority.count();
    assert!(count <= renewals, "{count} of {renewals}");
    assert!(count >= 60 / 2, "{count}");
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_step_of_the_wall_clock_starts_no_storm_and_uses_no_expired_token() {
    const HOUR_MS: i64 = 3_600_000;
    for step in [HOUR_MS, -HOUR_MS, 24 * HOUR_MS, -24 * HOUR_MS] {
        let stage = Stage::new();
        let room = room_of_lives(&stage, 3600).await;
        room.credential().await;
        room.turned.advance(SECOND * 600);

        room.turned.step_wall_ms(step);
        for _ in 0..50 {
            assert_eq!(room.get().await.status, 200, "{step}");
        }
        let carried = room.credential().await;

        // Forward, the token has expired to everybody; back, it has as long to live as before.
        let fetched = if step > 0 { 2 } else { 1 };
        assert_eq!(room.authority.count(), fetched, "{step}");
        assert_eq!(carried, format!("Bearer token-{fetched}"), "{step}");

        room.turned.advance(SECOND * 3600);
        let carried = room.credential().await;
        assert_eq!(carried, format!("Bearer token-{}", fetched + 1), "{step}");
        room.gateway.drain().await;
    }
}

#[tokio::test]
async fn an_authorization_server_that_is_away_for_most_of_a_life_fails_no_flow() {
    let stage = Stage::new();
    let room = room_of_lives(&stage, 3600).await;
    room.credential().await;
    room.authority.answer_with(|_, _| Answer::status(503));

    for _ in 0..108 {
        room.turned.advance(SECOND * 30);
        assert_eq!(room.credential().await, "Bearer token-1");
    }
    // 3,240 of 3,600 seconds are over, and the renewal has failed for some time.
    room.until_failing(Some("temporary")).await;
    room.authority
        .answer_with(|n, _| bearer(&format!("token-{n}"), 3600));
    let failing = async || room.gateway.sample("attache_token_failing", &[]).await;
    let recovering = async {
        while failing().await > 0.0 {
            room.turned.advance(SECOND);
        }
    };
    within("a renewal", recovering).await;
    room.turned.advance(SECOND * 340);
    let carried = room.credential().await;

    assert_ne!(carried, "Bearer token-1");
    assert_eq!(cache(&room, "refused").await, 0.0);
    assert_eq!(cache(&room, "joined").await, 0.0);
    room.gateway.drain().await;
}

#[tokio::test]
async fn an_authorization_server_that_is_away_longer_is_told_at_once_and_over_when_it_is_back() {
    let stage = Stage::new();
    let room = room_of_lives(&stage, 3600).await;
    room.credential().await;
    room.authority.answer_with(|_, _| Answer::status(503));
    room.turned.advance(SECOND * 3300);
    room.until_failing(Some("temporary")).await;
    assert_eq!(room.credential().await, "Bearer token-1");

    room.turned.advance(SECOND * 260);
    assert_eq!(room.credential().await, "Bearer token-1");
    room.turned.advance(SECOND * 15);

    // Nobody turns the clock on while a flow is answered: it waits for nothing.
    let refused = room.get().await;
    let rejected = async || {
        let labels = [("outcome", "rejected")];
        let requests = "attache_token_requests_total";
        room.gateway.sample(requests, &labels).await
    };
    let landing = async { while rejected().await + 1.0 < room.authority.count() as f64 {} };
    within("token requests under way to fail", landing).await;
    room.authority
        .answer_with(|n, _| bearer(&format!("token-{n}"), 3600));
    let back = room.authority.count();
    room.turned.advance(SECOND * 2);
    room.until_failing(None).await;
    let carried = room.credential().await;

    assert_eq!(refused.status, 503);
    assert_eq!(refused.reason(), "no-credential");
    let retry_after: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!(retry_after <= 30, "{retry_after}");
    assert_ne!(carried, "Bearer token-1");
    assert!(room.authority.count() <= back + 2);
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_warm_connector_has_its_token_before_the_first_flow_and_after_an_edit() {
    let stage = Stage::new();
    let room = TokenRoom::with_both(&stage, "", with_secret, "warm: true").await;
    let fetched = [("connector", "c"), ("outcome", "ok")];
    let requests = "attache_token_requests_total";

    room.authority.until_requests(1).await;
    room.gateway
        .until_sample(requests, &fetched, |it| it == 1.0)
        .await;
    let first = room.credential().await;
    let edited = room.own().replace("client-secret", "other-secret");
    room.gateway.reload(stage.config(&edited)).unwrap();
    room.gateway
        .until_sample(requests, &fetched, |it| it == 2.0)
        .await;
    let second = room.credential().await;

    assert_eq!((&*first, &*second), ("Bearer token-1", "Bearer token-2"));
    assert_eq!(cache(&room, "miss").await, 0.0);
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_connector_that_is_switched_off_is_not_warmed_until_it_is_switched_on() {
    let stage = Stage::new();
    let off = "warm: true, enabled: false";
    let room = TokenRoom::with_both(&stage, "", with_secret, off).await;

    let on = room.own().replace("enabled: false", "enabled: true");
    room.gateway.reload(stage.config(&on)).unwrap();
    let fetched = [("connector", "c"), ("outcome", "ok")];
    let requests = "attache_token_requests_total";
    room.gateway
        .until_sample(requests, &fetched, |it| it >= 1.0)
        .await;

    assert_eq!(room.credential().await, "Bearer token-1");
    assert_eq!(room.authority.count(), 1);
    room.gateway.drain().await;
}
