//! Failed token requests, as flows, the metrics and administrators see them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use attache::clock::rfc3339;

use crate::support::answer::Answer;
use crate::support::authority::{bearer, rejection};
use crate::support::client::Answered;
use crate::support::connector::with_secret;
use crate::support::gateway;
use crate::support::stage::Stage;
use crate::support::token_room::TokenRoom;
use crate::support::within;

const SECOND: Duration = Duration::from_secs(1);

/// Claims a refusal, and says when the flow is to come again.
fn refused(answered: &Answered) -> u64 {
    assert_eq!(answered.status, 503, "{}", answered.text());
    assert_eq!(answered.reason(), "no-credential");
    answered.field("retry-after").unwrap().parse().unwrap()
}

/// An outage that is watched: no time passes while an attempt is under way.
struct Outage<'a> {
    room: &'a TokenRoom,
    /// What the gateway's clock shows.
    now: SystemTime,
    /// How many token requests there were after each step.
    counts: Vec<usize>,
}

impl<'a> Outage<'a> {
    /// Begins with a flow that is refused.
    async fn begin(room: &'a TokenRoom) -> Self {
        refused(&room.get().await);
        Self {
            room,
            now: UNIX_EPOCH + SECOND * 1_795_000_000,
            counts: vec![room.authority.count()],
        }
    }

    /// Lets `time` pass in steps, with a flow that is refused after each.
    async fn go_on(&mut self, time: Duration, step: Duration) {
        for _ in 0..time.as_millis() / step.as_millis() {
            self.room.turned.advance(step);
            self.now += step;
            refused(&self.room.get().await);
            within("the attempt that is due", self.attempted()).await;
            self.counts.push(self.room.authority.count());
        }
    }

    /// Returns once the next attempt lies ahead.
    async fn attempted(&self) {
        let now = rfc3339(self.now).to_string();
        loop {
            let told = gateway::get(self.room.gateway.admin(), "/readyz?verbose").await;
            let next = told.json()["tokens"][0]["failing"]["next_attempt_at"].clone();
            if next.as_str().is_some_and(|next| next > &*now) {
                return;
            }
        }
    }

    fn count(&self) -> usize {
        self.room.authority.count()
    }
}

#[tokio::test]
async fn token_requests_are_counted_by_outcome_and_a_failure_and_a_token_s_end_are_shown() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.answer_with(|n, _| match n {
        1 => rejection(401, "invalid_client"),
        2 => Answer::text("no JSON"),
        _ => bearer(&format!("token-{n}"), 3600),
    });

    refused(&room.get().await);
    refused(&room.get().await);
    room.until_failing(Some("permanent")).await;
    // A flow asks within the minute before the probe, so that it is made.
    room.turned.advance(SECOND * 290);
    refused(&room.get().await);
    room.turned.advance(SECOND * 40);
    room.until_failing(Some("temporary")).await;
    room.turned.advance(SECOND * 2);
    room.until_failing(None).await;
    for _ in 0..3 {
        room.credential().await;
    }

    let gateway = &room.gateway;
    let outcome = async |name, outcome| gateway.sample(name, &[("outcome", outcome)]).await;
    for (expected, name) in [(1.0, "rejected"), (1.0, "malformed"), (1.0, "ok")] {
        let count = outcome("attache_token_requests_total", name).await;
        assert_eq!(count, expected, "{name}");
    }
    for (expected, name) in [(1.0, "miss"), (2.0, "refused"), (3.0, "hit")] {
        let count = outcome("attache_token_cache_total", name).await;
        assert_eq!(count, expected, "{name}");
    }
    let took = gateway.sample("attache_token_request_duration_seconds_count", &[]);
    assert_eq!(took.await, 3.0);
    let of_c = [("connector", "c")];
    let ends = gateway.sample("attache_token_expiry_timestamp_seconds", &of_c);
    assert_eq!(ends.await, 1_795_000_000.0 + 332.0 + 3600.0);
    let refusals = [("connector", "c"), ("reason", "no-credential")];
    assert_eq!(
        gateway.sample("attache_refused_total", &refusals).await,
        3.0
    );
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_malformed_answer_once_is_overcome_without_a_flow() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.answer_with(|n, _| match n {
        1 => Answer::text("<html>"),
        _ => bearer(&format!("token-{n}"), 3600),
    });

    assert_eq!(refused(&room.get().await), 1);
    room.turned.advance(SECOND / 10);
    room.until_failing(None).await;

    assert_eq!(room.credential().await, "Bearer token-2");
    assert_eq!(room.authority.count(), 2);
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_permanent_failure_is_not_hammered_at() {
    // protocol.md, line 46.
    for code in ["invalid_client", "invalid_scope", "unauthorized_client"] {
        let stage = Stage::new();
        let room = TokenRoom::new(&stage, with_secret).await;
        room.authority.answer_with(move |_, _| rejection(400, code));

        let mut outage = Outage::begin(&room).await;
        outage.go_on(SECOND * 3600, SECOND * 20).await;

        let count = outage.count();
        assert!((10..=13).contains(&count), "{code}: {count}");
        room.gateway.drain().await;
    }
}

#[tokio::test]
async fn the_wait_that_a_busy_server_asks_for_is_kept_and_told() {
    // RFC 6585 §4, RFC 9110 §10.2.3; protocol.md, line 46.
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.answer_with(|n, _| match n {
        1 => Answer::status(429).field("retry-after", "45"),
        _ => bearer(&format!("token-{n}"), 3600),
    });

    assert_eq!(refused(&room.get().await), 45);
    for left in (1..45).rev() {
        room.turned.advance(SECOND);
        assert_eq!(refused(&room.get().await), left);
        assert_eq!(room.authority.count(), 1);
    }
    room.turned.advance(SECOND);
    room.until_failing(None).await;

    assert_eq!(room.credential().await, "Bearer token-2");
    room.gateway.drain().await;
}

#[tokio::test]
async fn no_minute_of_an_outage_under_load_holds_more_than_thirty_token_requests() {
    // protocol.md, line 46.
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.answer_with(|_, _| Answer::status(500));

    let mut outage = Outage::begin(&room).await;
    outage.go_on(SECOND * 150, SECOND / 4).await;

    let minutes = outage.counts.windows(60 * 4 + 1);
    let most = minutes.map(|minute| minute[60 * 4] - minute[0]).max();
    assert!((25..=30).contains(&most.unwrap()), "{most:?}");
    room.gateway.drain().await;
}

#[tokio::test]
async fn fewer_attempts_a_minute_are_made_where_fewer_are_allowed() {
    let stage = Stage::new();
    let settings = "tokens: { retries_per_minute_max: 3 }";
    let room = TokenRoom::with(&stage, settings, with_secret).await;
    room.authority.answer_with(|_, _| Answer::status(500));

    let mut outage = Outage::begin(&room).await;
    outage.go_on(SECOND * 180, SECOND).await;

    let most = outage
        .counts
        .windows(61)
        .map(|minute| minute[60] - minute[0]);
    assert_eq!(most.max(), Some(3));
    room.gateway.drain().await;
}

#[tokio::test]
async fn no_flow_queues_behind_an_attempt_that_hangs() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.answer_with(|n, _| match n {
        1 => Answer::status(500),
        _ => bearer(&format!("token-{n}"), 3600),
    });
    room.authority.release(1);
    refused(&room.get().await);
    room.turned.advance(SECOND / 10);
    room.authority.until_requests(2).await;

    // The clock stands still: a flow that waited would wait for ever.
    for _ in 0..20 {
        assert_eq!(refused(&room.get().await), 1);
    }
    room.authority.release_all();
    room.until_failing(None).await;

    assert_eq!(room.credential().await, "Bearer token-2");
    room.gateway.drain().await;
}

#[tokio::test]
async fn an_edit_of_the_connector_forgets_its_failure() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.answer_with(|n, _| match n {
        1 => rejection(401, "invalid_client"),
        _ => bearer(&format!("token-{n}"), 3600),
    });
    refused(&room.get().await);
    refused(&room.get().await);

    let edited = room.own().replace("client-secret", "right-secret");
    room.gateway.reload(stage.config(&edited)).unwrap();

    room.until_failing(None).await;
    assert_eq!(room.credential().await, "Bearer token-2");
    room.gateway.drain().await;
}

#[tokio::test]
async fn a_reload_of_something_else_forgets_no_failure() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority
        .answer_with(|_, _| rejection(401, "invalid_client"));
    refused(&room.get().await);

    let other = format!("limits: {{ fields_max: 90 }}\n{}", room.own());
    room.gateway.reload(stage.config(&other)).unwrap();

    refused(&room.get().await);
    assert_eq!(room.authority.count(), 1);
    room.gateway.drain().await;
}

#[tokio::test]
async fn administrators_see_what_fails_since_when_and_until_when_and_no_secret() {
    let stage = Stage::new();
    let room = TokenRoom::new(&stage, with_secret).await;
    room.authority.answer_with(|_, _| {
        let said = serde_json::json!({
            "error": "temporarily_unavailable", "error_description": "not client-secret",
        });
        let answer = Answer::json(&said).with_status(503);
        answer.field("retry-after", "90")
    });
    refused(&room.get().await);

    let told = gateway::get(room.gateway.admin(), "/readyz?verbose").await;

    assert_eq!(
        told.status, 200,
        "readiness is not a token endpoint's matter"
    );
    let shown = told.json()["tokens"][0].clone();
    let failing = serde_json::json!({
        "class": "temporary",
        "outcome": "rejected",
        "code": "temporarily_unavailable",
        "error": "the token endpoint refused: status 503, error temporarily_unavailable",
        "since": "2026-11-18T11:06:40.000Z",
        "attempts": 1,
        "next_attempt_at": "2026-11-18T11:08:10.000Z",
    });
    assert_eq!(shown["failing"], failing, "{shown:#}");
    assert_eq!(shown["state"], "absent");
    assert!(!told.text().contains("client-secret"));
    room.gateway.drain().await;
}
