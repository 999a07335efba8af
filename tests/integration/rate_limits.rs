//! `requests_per_second`: a burst, then the lasting rate; whoever is over it is told when to come
//! back, and nothing is spent on them.

use std::time::Duration;

use crate::support::answer::Answer;
use crate::support::authority::Authority;
use crate::support::connector::{connector_with, connectors, oauth2};
use crate::support::gateway::Running;
use crate::support::neighbours::{Neighbours, told};
use crate::support::origin::{Origin, whole};
use crate::support::stage::Stage;

async fn limited(keys: &str) -> Neighbours {
    Neighbours::start(keys, whole(|_| Answer::text("ok"))).await
}

/// How many requests are answered before one is refused.
async fn served(neighbours: &Neighbours) -> usize {
    let mut served = 0;
    while neighbours.get().await.status == 200 {
        served += 1;
    }
    served
}

#[tokio::test]
async fn a_burst_is_served_and_then_the_lasting_rate() {
    // RFC 6585 §4.
    let scene = limited("requests_per_second: { rate: 2, burst: 5 }").await;
    assert_eq!(served(&scene).await, 5);
    let refused = scene.get().await;

    let too_many = (429, "rate-limited".to_owned(), Some("1"));
    assert_eq!(told(&refused), too_many);
    let error = Some("attache; error=http_request_denied");
    assert_eq!(refused.field("proxy-status"), error);
    assert_eq!(refused.json()["may_have_reached_origin"], false);
    scene.turned.advance(Duration::from_millis(499));
    assert_eq!(scene.get().await.status, 429);
    scene.turned.advance(Duration::from_millis(1));
    assert_eq!(served(&scene).await, 1);
    scene.turned.advance(Duration::from_secs(3600));
    assert_eq!(served(&scene).await, 5);

    assert_eq!(scene.origin.tally().heads, 11);
    assert!((scene.refused("rate-limited").await - 5.0).abs() < 0.1);
}

#[tokio::test]
async fn a_connector_over_its_rate_costs_another_nothing() {
    let scene = limited("requests_per_second: { rate: 1, burst: 1 }").await;
    served(&scene).await;

    for _ in 0..20 {
        assert_eq!(scene.get().await.status, 429);
        scene.assert_other_served().await;
    }

    assert_eq!(
        scene.gauge("attache_connector_requests_in_flight").await,
        0.0
    );
}

#[tokio::test]
async fn a_reload_refills_nothing_and_an_edit_of_the_rate_holds_at_once() {
    let scene = limited("requests_per_second: { rate: 1, burst: 3 }").await;
    assert_eq!(served(&scene).await, 3);

    scene.reload("cookies: pass, requests_per_second: { rate: 1, burst: 3 }");
    assert_eq!(served(&scene).await, 0);
    scene.reload("requests_per_second: { rate: 100, burst: 10 }");
    assert_eq!(served(&scene).await, 0, "nothing is given away");
    scene.turned.advance(Duration::from_millis(50));
    assert_eq!(served(&scene).await, 5);
    scene.reload("");

    for _ in 0..30 {
        assert_eq!(scene.get().await.status, 200);
    }
}

#[tokio::test]
async fn a_request_over_the_rate_costs_no_token() {
    let stage = Stage::new();
    let origin = Origin::plain(&stage.server()).await;
    let authority = Authority::plain(&stage.server()).await;
    let own = |scope: &str| {
        let rest = format!("client_id: c, client_secret: s-1, scope: {scope}");
        let auth = oauth2(&authority.token_url(), &rest);
        let keys = "requests_per_second: { rate: 1, burst: 1 }";
        connectors(&[connector_with("orders", &origin.url("/"), &auth, keys)])
    };
    let (gateway, turned) = Running::start_turned(&stage, &own("one")).await;
    assert_eq!(gateway.get("/orders/x").await.status, 200);

    // Another scope, so that no token is held.
    gateway.reload(stage.config(&own("two"))).unwrap();
    let refused = gateway.get("/orders/x").await;
    let asked = authority.count();
    turned.advance(Duration::from_secs(1));

    assert_eq!(refused.status, 429);
    assert_eq!(asked, 1);
    assert_eq!(gateway.get("/orders/x").await.status, 200);
    assert_eq!(authority.count(), 2);
}
